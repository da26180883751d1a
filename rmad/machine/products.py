"""Products of matrices and of stacks of them by cuBLAS, bound to their arrays: out ← A B or out ← out + A B.

CuPy's `matmul` copies what does not lie in one piece, and forms what is to be added in an array of its own. A Product
is one call whatever the order of the axes, as long as rows or columns are contiguous: no copy, no launch, no new array.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from rmad.machine.backend import cublas_handle, cublas_library, import_cupy
from rmad.types import Array

__all__ = ["Product", "multiply"]

LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}
PLAIN, TRANSPOSED = 0, 1  # cublasOperation_t


class Product:
    """out ← A B, or out ← out + A B with `add`; called without arguments, as often as wanted.

    A: (…, m, k), B: (…, k, n), out: (…, m, n), with the same leading axes, in one dtype; see `fits`. A change of their
    elements counts, since the addresses are bound.

    name, arguments: the function of cuBLAS, as "sgemmBatched", and what it is called with after the handle.
    """

    __slots__ = ("_held", "_run", "arguments", "name")

    def __init__(self, A: Array, B: Array, out: Array, add: bool = False) -> None:
        if not _layout(out)[0]:  # type: ignore[index]  # it fits
            A, B, out = (np.swapaxes(a, -1, -2) for a in (B, A, out))
        # cuBLAS counts by columns: for it the rows in memory are the columns of outᵀ = Bᵀ Aᵀ
        matrices: tuple[Any, ...] = (B, A, out)
        (b, ld_b), (a, ld_a), (_, ld) = (_layout(x) for x in matrices)  # type: ignore[misc]
        sizes = (PLAIN if b else TRANSPOSED, PLAIN if a else TRANSPOSED, out.shape[-1], out.shape[-2], A.shape[-1])
        letter = out.dtype.char
        one, beta = _number(letter, 1), _number(letter, int(add))
        places = [x.data.ptr for x in matrices]
        count, name, more = _count(out), "gemm", [(), (), ()]
        if count > 1:
            stacks = [_places(x) for x in matrices]
            steps = [_step(stack) for stack in stacks]
            if None in steps:
                tables = import_cupy().array(np.stack(stacks))
                places, name = [table.data.ptr for table in tables], "gemmBatched"
                matrices = (*matrices, tables)
            else:
                more, name = [(step // out.itemsize,) for step in steps], "gemmStridedBatched"  # type: ignore[misc,operator]
        tail = () if count == 1 else (count,)
        left, right, result = ((p, ld, *m) for p, ld, m in zip(places, (ld_b, ld_a, ld), more, strict=True))
        self.name = LETTERS[letter] + name
        self.arguments = (*sizes, one.ctypes.data, *left, *right, beta.ctypes.data, *result, *tail)
        self._held = matrices  # their memory stays theirs
        self._run = getattr(cublas_library(), self.name)

    def __call__(self) -> None:
        self._run(cublas_handle(), *self.arguments)

    @staticmethod
    def fits(A: Array, B: Array, out: Array) -> bool:
        """True if one call can make the product of these arrays of the device."""
        same = A.dtype == B.dtype == out.dtype and out.dtype.char in LETTERS
        stacked = A.shape[:-2] == B.shape[:-2] == out.shape[:-2]
        return same and stacked and bool(A.size and B.size) and all(_layout(a) is not None for a in (A, B, out))


def multiply(A: Array, B: Array, out: Array, add: bool = False) -> None:
    """out ← A B, or out ← out + A B, at once: by a Product if one fits."""
    if Product.fits(A, B, out):
        Product(A, B, out, add)()
    elif add:
        np.add(out, np.matmul(A, B), out=out)
    else:
        np.matmul(A, B, out=out)


def _layout(x: Array) -> tuple[bool, int] | None:
    """(True, elements from row to row) if rows are contiguous, (False, … from column to column) if columns are."""
    (m, n), (down, across), size = x.shape[-2:], x.strides[-2:], x.itemsize
    if down % size or across % size:
        return None
    down, across = down // size, across // size
    if (across == 1 or n == 1) and (down >= n or m == 1):
        return True, down if m > 1 else n
    if (down == 1 or m == 1) and (across >= m or n == 1):
        return False, across if n > 1 else m
    return None


def _count(x: Array) -> int:
    """The number of matrices in a stack."""
    return x.size // (x.shape[-1] * x.shape[-2])


def _places(x: Any) -> np.ndarray[Any, Any]:
    """The address of every matrix of a stack."""
    places: Any = np.array(x.data.ptr, np.intp)
    for n, step in zip(x.shape[:-2], x.strides[:-2], strict=True):
        places = places[..., None] + np.array(range(n), np.intp) * step
    return places.reshape(-1)


def _step(places: np.ndarray[Any, Any]) -> int | None:
    """The distance from each place to the next, None if it varies."""
    steps = np.diff(places)
    return int(steps[0]) if (steps == steps[0]).all() else None


@functools.cache
def _number(letter: str, value: int) -> np.ndarray[Any, Any]:
    """α or β in the host's memory, which cuBLAS reads in the call."""
    return np.array([value], letter)
