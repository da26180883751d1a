"""The inputs that each number on a tape depends on: a sparse boolean matrix per node, pushed through the blocks.

    D_y = ⋁ P_b D_x    over the blocks b of the node y, P_b the pattern of the block ∂y/∂x

The pattern of a block is found by asking it. Elementwise blocks are diagonal. A block whose push gives back numbers
that went in moves elements: random numbers, all different, show which. If its pull does, it sums elements. Primitives
may know their pattern (`pattern`), small blocks are asked for every column, and what is left counts as dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.blocks import Block, Diagonal
from rmad.machine import arrays
from rmad.record import Record
from rmad.sweeps.inline import inlined
from rmad.tape import ArraySpec, Node
from rmad.types import Array

__all__ = ["reach"]

PROBED = 1 << 22  # elements of the blocks that are asked for every column


def reach(record: Record, starts: Sequence[int], n: int) -> tuple[Any, set[str]]:
    """The pattern of the Jacobian, (m, n), and the names of the primitives whose blocks counted as dense.

    starts: of every array of x, the place of its first element among the n columns.
    """
    from scipy.sparse import csr_array, vstack

    nodes, outputs = inlined(record.tape, record.outputs, record.n_inputs)
    last = _last_reads(nodes, outputs)
    found: dict[int, Any] = {}
    dense: set[str] = set()
    for j, node in enumerate(nodes):
        if j < record.n_inputs:
            size = node.spec.size
            found[j] = _selection(np.arange(starts[j], starts[j] + size), n)
            continue
        if not node.inputs:
            continue
        found[j] = _joined(node, found, dense)
        for i in node.inputs:
            if last[i] == j:
                found.pop(i, None)
    parts = [
        csr_array((spec_size, n), dtype=bool) if k is None else found[k]
        for k, spec_size in zip(outputs, map(_size, record.out.shapes), strict=True)
    ]
    pattern = csr_array(vstack(parts, format="csr"), dtype=bool)
    pattern.sum_duplicates()
    pattern.sort_indices()
    return pattern, dense


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _last_reads(nodes: Sequence[Node], outputs: Sequence[int | None]) -> dict[int, int]:
    last = {i: j for j, node in enumerate(nodes) for i in node.inputs}
    return last | {k: len(nodes) for k in outputs if k is not None}


def _joined(node: Node, found: dict[int, Any], dense: set[str]) -> Any:
    total: Any = None
    for i, block in zip(node.inputs, node.blocks, strict=True):
        D = found[i]
        part = _through(block, D, dense)
        total = part if total is None else total + part
    return total


def _through(block: Block, D: Any, dense: set[str]) -> Any:
    """P D for the pattern P of one block."""
    if isinstance(block, Diagonal):
        if block.x.shape == block.y.shape:
            return D
        numbers = np.arange(block.x.size).reshape(block.x.shape)
        return D[np.broadcast_to(numbers, block.y.shape).reshape(-1)]
    P = pattern_of(block)
    if isinstance(P, np.ndarray):
        return _rows(D, P)
    if P is None:
        dense.add(block.primitive.name.strip("_"))
        return _everywhere(D, block.y.size)
    return P @ D


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


def _moved(push: Any, x: ArraySpec, y: ArraySpec) -> Array | None:
    """For each number of y the one of x that it is, -1 if it is zero; None if y holds other numbers."""
    n = x.size
    if not n:
        return np.full(y.size, -1)
    v = (1 + (np.arange(n) + np.random.default_rng(0).uniform(0.2, 0.8, n)) / n).astype(x.dtype)  # one in each n-th
    given = np.asarray(push(v.reshape(x.shape))).reshape(-1)
    source = np.clip(((given - 1) * n), 0, n - 1).astype(np.intp)
    zero = given == 0
    return np.where(zero, -1, source) if np.all((v[source] == given) | zero) else None


def _asked(block: Block) -> Any:
    """The pattern of a small block, from its products with all unit vectors."""
    from scipy.sparse import csr_array

    n, m = block.x.size, block.y.size
    like = arrays.ON_THE_CPU
    if n <= m:
        J = block.push_stack(arrays.eye(like, n, dtype=block.x.dtype).reshape(n, *block.x.shape)).reshape(n, m).T
    else:
        J = block.pull_stack(arrays.eye(like, m, dtype=block.y.dtype).reshape(m, *block.y.shape)).reshape(m, n)
    return csr_array(J != 0)


def _selection(index: Array, n: int) -> Any:
    """(len(index), n), True at [k, index[k]]; an empty row where the index is negative."""
    from scipy.sparse import csr_array

    taken = index >= 0
    ends = np.concatenate([[0], np.cumsum(taken)])
    return csr_array((np.ones(int(ends[-1]), bool), index[taken], ends), shape=(len(index), n))


def _rows(D: Any, index: Array) -> Any:
    """Rows of D; empty ones where the index is negative."""
    if len(index) == D.shape[0] and np.array_equal(index, np.arange(len(index))):
        return D
    return D[index] if index.min(initial=0) >= 0 else _selection(index, D.shape[0]) @ D


def _everywhere(D: Any, m: int) -> Any:
    """m rows, each with whatever any row of D has."""
    from scipy.sparse import csr_array

    columns = np.unique(D.indices)
    return csr_array(
        (np.ones(m * len(columns), bool), np.tile(columns, m), len(columns) * np.arange(m + 1)), shape=(m, D.shape[1])
    )
