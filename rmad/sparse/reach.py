"""The inputs that each number on a tape depends on: a set per number of every node, pushed through the blocks.

    D_y = ⋁ P_b D_x    over the blocks b of the node y, P_b the pattern of the block ∂y/∂x

Small sets are kept as `Slots`, others as sparse boolean matrices. The pattern of a block is found by asking it.
Elementwise blocks are diagonal. A block whose push gives back numbers that went in moves elements: random numbers, all
different, show which. If its pull does, it sums elements. Primitives may know their pattern (`pattern`), small blocks
are asked for every column, and what is left counts as dense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.record import Record
from rmad.sparse.slots import Slots, as_matrix, selected, united
from rmad.sweeps.inline import inlined
from rmad.tapes.blocks import Block, Diagonal
from rmad.tapes.tape import ArraySpec, Node, last_reads
from rmad.trees.leaf import sizes
from rmad.types import Array

__all__ = ["reach"]

PROBED = 1 << 22  # elements of the blocks that are asked for every column


def reach(record: Record, starts: Sequence[int], n: int) -> tuple[Any, set[str]]:
    """The pattern of the Jacobian, (m, n), and the names of the primitives whose blocks counted as dense.

    starts: of every array of x, the place of its first element among the n columns.
    """
    from scipy.sparse import csr_array, vstack

    nodes, outputs = inlined(record.tape, record.outputs, record.n_inputs)
    last = last_reads(nodes, outputs)
    found: dict[int, Any] = {}
    dense: set[str] = set()
    for j, node in enumerate(nodes):
        if j < record.n_inputs:
            size = node.spec.size
            found[j] = selected(np.arange(starts[j], starts[j] + size), n)
            continue
        if not node.inputs:
            continue
        found[j] = _joined(node, found, dense)
        for i in node.inputs:
            if last[i] == j:
                found.pop(i, None)
    parts = [
        csr_array((size, n), dtype=bool) if k is None else as_matrix(found[k])
        for k, size in zip(outputs, sizes(record.out.shapes), strict=True)
    ]
    pattern = parts[0] if len(parts) == 1 else csr_array(vstack(parts, format="csr"), dtype=bool)
    pattern.sum_duplicates()
    return pattern, dense


def _joined(node: Node, found: dict[int, Any], dense: set[str]) -> Any:
    total: Any = None
    for i, block in zip(node.inputs, node.blocks, strict=True):
        D = found[i]
        part = _through(block, D, dense)
        total = part if total is None else united(total, part)
    return total


def _through(block: Block, D: Any, dense: set[str]) -> Any:
    """P D for the pattern P of one block."""
    if isinstance(block, Diagonal):
        if block.x.shape == block.y.shape:
            return D
        numbers = np.arange(block.x.size).reshape(block.x.shape)
        return _rows(D, np.broadcast_to(numbers, block.y.shape).reshape(-1))
    P = pattern_of(block)
    if isinstance(P, np.ndarray):
        return _rows(D, P)
    if P is None:
        dense.add(block.primitive.name.strip("_"))
        return _everywhere(as_matrix(D), block.y.size)
    return P @ as_matrix(D)


def pattern_of(block: Block) -> Any:
    """(m,) the element of x that each one of y is, -1 for none; or a sparse matrix (m, n); None for a dense block."""
    if (taken := _moved(block.push, block.x, block.y)) is not None:
        return taken
    if (given := _moved(block.pull, block.y, block.x)) is not None:
        return _selection(given, block.y.size).T.tocsr()
    known = getattr(block.primitive, "pattern", None)
    if known is not None and (P := known(block)) is not None:
        return P
    if block.x.size * block.y.size <= PROBED:
        return _asked(block)
    return None


def _moved(product: Callable[[Array], Any], x: ArraySpec, y: ArraySpec) -> Array | None:
    """For each number of y the one of x that it is, -1 if it is zero; None if y holds other numbers.

    Of complex numbers, both parts are tried: a part of y may be either part of that number, with any sign.
    """
    n = x.size
    if not n:
        return np.full(y.size, -1)
    v = _distinct(n)
    if x.dtype.kind != "c":
        given = np.asarray(product(v.astype(x.dtype, copy=False).reshape(x.shape))).reshape(-1)
        return (
            _source(given, v.astype(x.dtype, copy=False))
            if given.dtype.kind != "c"
            else _of_parts([given], v.astype(x.dtype))
        )
    return _of_parts(
        [np.asarray(product((unit * v).astype(x.dtype).reshape(x.shape))).reshape(-1) for unit in (1, 1j)], v
    )


@lru_cache(maxsize=4)
def _distinct(n: int) -> Array:
    """n numbers, at random one in each n-th of the interval from 1 to 2."""
    v = 1 + (np.arange(n) + np.random.default_rng(0).uniform(0.2, 0.8, n)) / n
    v.flags.writeable = False
    return v


def _of_parts(products: Sequence[Array], v: Array) -> Array | None:
    """`_source` for the real and imaginary parts of products; None if they come from different numbers."""
    found = np.full(len(products[0]), -1)
    for part in (part for given in products for part in (given.real, given.imag)):
        source = _source(np.abs(part), v.astype(part.dtype))
        if source is None or np.any((found >= 0) & (source >= 0) & (found != source)):
            return None
        found = np.where(source >= 0, source, found)
    return found


def _source(given: Array, v: Array) -> Array | None:
    """The places in v of the given numbers, -1 for zeros; None if there are others."""
    source = np.clip((given - 1) * len(v), 0, len(v) - 1).astype(np.intp)
    right = v.take(source) == given
    if right.all():
        return source
    zero = given == 0
    return np.where(zero, -1, source) if np.all(right | zero) else None


def _asked(block: Block) -> Any:
    """The pattern of a small block, from its products with all unit vectors, and with i times these."""
    from scipy.sparse import csr_array

    n, m = block.x.size, block.y.size
    by_columns = n <= m
    given = block.x if by_columns else block.y
    units = arrays.eye(arrays.ON_THE_CPU, given.size, dtype=given.dtype).reshape(-1, *given.shape)
    found = np.zeros((given.size, m if by_columns else n), bool)
    for unit in (1, 1j) if given.dtype.kind == "c" else (1,):
        V = unit * units
        found |= np.reshape(block.push_stack(V) if by_columns else block.pull_stack(V), found.shape) != 0
    return csr_array(found.T if by_columns else found)


def _selection(index: Array, n: int) -> Any:
    """(len(index), n), True at [k, index[k]]; an empty row where the index is negative."""
    from scipy.sparse import csr_array

    taken = index >= 0
    ends = np.concatenate([[0], np.cumsum(taken)])
    return csr_array((np.ones(int(ends[-1]), bool), index[taken], ends), shape=(len(index), n))


def _rows(D: Any, index: Array) -> Any:
    """Rows of D; empty ones where the index is negative."""
    size = D.size if isinstance(D, Slots) else D.shape[0]
    if len(index) == size and np.array_equal(index, np.arange(size)):
        return D
    if isinstance(D, Slots):
        return D.rows(index)
    return D[index] if index.min(initial=0) >= 0 else _selection(index, D.shape[0]) @ D


def _everywhere(D: Any, m: int) -> Any:
    """m rows, each with whatever any row of D has."""
    from scipy.sparse import csr_array

    columns = np.unique(D.indices)
    return csr_array(
        (np.ones(m * len(columns), bool), np.tile(columns, m), len(columns) * np.arange(m + 1)), shape=(m, D.shape[1])
    )
