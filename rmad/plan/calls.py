"""The calls of a sweep, bound to the buffers of a plan: each writes into a buffer, or adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine import fused
from rmad.machine.backend import is_cupy
from rmad.machine.products import Product
from rmad.plan.buffers import shares
from rmad.plan.forms import gemm
from rmad.plan.program import Program
from rmad.tapes.blocks import MINUS_ONE, ONE, Block
from rmad.tapes.tape import ArraySpec
from rmad.types import Array

__all__ = ["Bound", "Call", "Sweep"]

Call = Callable[[], Any]


class Bound:
    """A call for arrays of a GPU, with those that it reads and writes; `fuse` looks at them."""

    __slots__ = ("call", "reads", "writes")

    def __init__(self, call: Call, reads: Sequence[Array], writes: Sequence[Array]) -> None:
        self.call, self.reads, self.writes = call, reads, writes

    def __call__(self) -> None:
        self.call()


class Sweep:
    """The calls of one sweep, in the order in which they run, and the methods that append calls which write or add.

    Invariant: once a call is appended, every buffer that it reads holds its value at that moment of the sweep. A buffer
    goes back to the pool after its last reader is appended, so a later call may write into it.
    """

    def __init__(self, program: Program) -> None:
        self.program, self.pool, self.nodes = program, program.pool, program.nodes
        self.calls: list[Call] = []
        self.on_gpu = is_cupy(program.pool.like)

    def emit(self, f: Callable[..., Any], *args: Any) -> None:
        """Appends f(*args)."""
        self.calls.append(partial(f, *args))

    def append(self, call: Call, reads: Iterable[Array], out: Array, add: bool, scratch: Sequence[Array] = ()) -> None:
        """Appends a call that reads these arrays and writes or adds to `out`."""
        if self.on_gpu:
            call = Bound(call, [*reads, out] if add else [*reads], [out, *scratch])
        self.calls.append(call)

    def clear(self, out: Array) -> None:
        """out ← 0"""
        self.append(partial(out.fill, 0), [], out, False)

    def product(self, A: Array, B: Array, out: Array, add: bool) -> None:
        """out ← A B or out ← out + A B, for matrices; a product that is added is formed some rows at a time.

        cuBLAS adds it itself, in one call.
        """
        if add and not isinstance(out, np.ndarray) and Product.fits(A, B, out):
            self.append(Product(A, B, out, add), [A, B], out, add)
            return
        if not add or not out.flags.c_contiguous or not isinstance(out, np.ndarray):
            self.into(out, add, partial(self._append_gemm, A, B))
            return
        rows = max(tuning.ADDED_PRODUCT_ROWS, tuning.ADDED_PRODUCT_CHUNK // (out.shape[1] * out.itemsize))
        for k in range(0, len(out), rows):
            part = out[k : k + rows]
            self.into(part, add, partial(self._append_gemm, A[k : k + rows], B))

    def _append_gemm(self, A: Array, B: Array, out: Array) -> None:
        self.append(gemm(A, B, out), [A, B], out, False)

    @contextmanager
    def rows(self, a: Array) -> Iterator[Array]:
        """a as a matrix with its last axis: a view, or a copy made in every sweep if no view is one."""
        rows = a.reshape(-1, a.shape[-1])
        if shares(rows, a):
            yield rows
            return
        copy = self.pool.take(ArraySpec.of(a))
        self.scaled(ONE, a, copy, False)
        yield copy.reshape(rows.shape)
        self.pool.give(copy)

    def row_product(self, a: Array, B: Array, out: Array, add: bool) -> None:
        """out ← a B or out ← out + a B, over the last axis of a (…, i) and out (…, o)."""
        with self.rows(a) as A:
            target = out.reshape(-1, out.shape[-1])
            if shares(target, out):
                self.product(A, B, target, add)
                return
            temporary = self.pool.take(ArraySpec.of(out))
            self.product(A, B, temporary.reshape(target.shape), False)
            self.scaled(ONE, temporary, out, add)
            self.pool.give(temporary)

    def scaled(self, d: Any, a: Array, out: Array, add: bool) -> None:
        """out ← d a or out ← out + d a; d = ±1 costs no multiplication."""
        if d is ONE and not add and a is out:
            return
        if self.on_gpu and a.dtype == out.dtype:
            self.calls.append(fused.sum_of([(d, a)], out, add))
        elif d is ONE:
            self.emit(np.add, out, a, out) if add else self.emit(np.copyto, out, a)
        elif d is MINUS_ONE:
            self.emit(np.subtract, out, a, out) if add else self.emit(np.negative, a, out)
        else:
            self.into(out, add, lambda target: self.emit(np.multiply, a, d, target))

    def into(self, out: Array, add: bool, write: Callable[[Array], None]) -> None:
        """out ← … or out ← out + …: `write` appends calls that write to `out`, or to a buffer that is then added."""
        if not add:
            write(out)
            return
        temporary = self.pool.take(ArraySpec.of(out))
        write(temporary)
        self.scaled(ONE, temporary, out, True)
        self.pool.give(temporary)

    def matmuls(self, A: Array, B: Array, out: Array, add: bool) -> None:
        """out ← A B or out ← out + A B, for stacks of matrices with the same leading axes."""
        if not isinstance(out, np.ndarray) and Product.fits(A, B, out):
            self.append(Product(A, B, out, add), [A, B], out, add)
            return
        self.into(out, add, lambda target: self.append(partial(np.matmul, A, B, target), [A, B], target, False))

    def kernel(
        self, direction: str, block: Block | tuple[Block, ...], arrays: Sequence[Array], out: Array, add: bool
    ) -> bool:
        """out ← J a or out ← out + J a (or Jᵀ) by a call that the block's primitive offers; False if it has none.

        A primitive may have `kernels`: their `push` and `pull`, (block, new, add), bind a call f(a, out), with
        scratch from new(shape, dtype) that is its own while it runs only, or return None. If they have `push_both`,
        that takes two blocks of one sum and binds f(a, a′, out). On a GPU, f.passes(a, out) may return it as passes.
        """
        first = block[0] if isinstance(block, tuple) else block
        bind = getattr(getattr(first.primitive, "kernels", None), direction, None)
        if bind is None or not out.flags.c_contiguous:
            return False
        scratch: list[Array] = []

        def new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
            scratch.append(self.pool.take(ArraySpec(shape, dtype)))
            return scratch[-1]

        call = bind(block, new, add)
        if call is not None and self.on_gpu and hasattr(call, "passes"):
            self.calls += call.passes(*arrays, out)
        elif call is not None:
            self.append(partial(call, *arrays, out), arrays, out, add, scratch)
        for buffer in scratch:
            self.pool.give(buffer)
        return call is not None

    def computed(
        self,
        f: Callable[[Array], Array],
        back: Callable[[Array], Array | None],
        a: Array,
        out: Array,
        add: bool,
    ) -> None:
        """out ← f(a) or out ← out + f(a), for a block without a form of its own.

        back: the other direction of the block as a view of a buffer, if it is one. Then f only rearranges elements, as
        a reshape of a view with steps does, and a is written through that view of `out`, without a copy in between.
        """
        view = back(out) if a.size == out.size else None
        if view is not None and view.shape == a.shape:
            self.scaled(ONE, a, view, add)
            return
        self.append((lambda: np.add(out, f(a), out)) if add else (lambda: np.copyto(out, f(a))), [a], out, add)

    def column_dots(self, a: Array, b: Array, out: Array, add: bool) -> None:
        """out_i ← Σ a_…i b_…i, or out_i ← out_i + …; NumPy's einsum forms no array of products."""
        if self.on_gpu:
            self.calls.append(fused.Total("{0} * {1}", [a, b], out, tuple(range(a.ndim - 1)), add))
            return
        rows = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
        self.into(out, add, lambda target: self.emit(_column_dots, *rows, target))


def _column_dots(a: Array, b: Array, out: Array) -> None:
    np.einsum("ri,ri->i", a, b, out=out)
