"""Fuses the passes of a sweep on a GPU: a pass whose result only other passes read becomes a part of these.

    u ← d u;  s ← Σ u;  w ← r (u − s)        becomes        s ← Σ d u;  w ← r (d u − s)

A launch takes microseconds whatever it does, and a pass that is spared need not write what the others would read. The
planned calls say which arrays they read and write, so this is a look at the finished list, and nothing in `Push` and
`Pull` knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rmad.machine.backend import is_cupy
from rmad.machine.fused import Pass, Total
from rmad.plan.buffers import address
from rmad.plan.calls import Bound, Call, Sweep
from rmad.types import Array

__all__ = ["fuse"]

MOST_INPUTS = 16  # of one kernel
Extent = tuple[int, int]  # the first byte, and the one after the last
EVERYWHERE = (0, np.iinfo(np.int64).max)


def fuse(sweep: Sweep, ends: Sequence[Array | None]) -> list[Call]:
    """The calls of the sweep, with fewer passes; ends: the arrays that are read when it is over."""
    if not sweep.on_gpu:
        return sweep.calls
    calls: list[Any] = list(sweep.calls)
    touched = _Touched(calls)
    kept = [_extent(a) for a in ends if a is not None and a.size]
    for p, call in enumerate(calls):
        if isinstance(call, Pass) and call.y.size:
            readers = _readers(calls, touched, p, kept)
            for q in readers:
                calls[q] = _with(calls[q], call)
            if readers:
                calls[p] = None
                touched.taken_in(p, readers)
    return [call for call in calls if call is not None]


def _readers(calls: Sequence[Any], touched: _Touched, p: int, kept: Sequence[Extent]) -> list[int]:
    """The later passes that read the result of pass p, if p may become a part of all of them; else none."""
    made, readers = calls[p], _uses(calls, touched, p, kept)
    if not readers or not _pays(made, [calls[q] for q in readers]):
        return []
    for x in _arrays(made):
        for q, _, writes in touched.after(p, x):
            in_place = q == readers[-1] and isinstance(calls[q], Pass) and _same(calls[q].y, x)
            if writes and q <= readers[-1] and not in_place:
                return []
    return readers


def _uses(calls: Sequence[Any], touched: _Touched, p: int, kept: Sequence[Extent]) -> list[int]:
    """The later calls that read the result of pass p, if all of them can take it in; else none.

    Its memory may have other uses later. What lies within a stretch that was written meanwhile is not the result.
    """
    extent, readers, changed = _extent(calls[p].y), [], False
    written: list[Extent] = []
    for q, reads, writes in touched.after(p, calls[p].y):
        if any(not any(_within(read, part) for part in written) for read in reads):
            if changed or not _takes(calls[q], calls[p]):
                return []
            readers.append(q)
        written += [each for each, whole in writes if whole]
        changed = changed or bool(writes)
        if any(_within(extent, part) for part in written):
            return readers
    return [] if any(_overlap(extent, end) for end in kept) else readers


def _takes(reader: Any, made: Pass) -> bool:
    """True if the result of a pass is an input of this call as it is, and may be computed where it is read."""
    if not isinstance(reader, Pass | Total) or reader.shape != made.shape or reader.dtype != made.dtype:
        return False
    extent = _extent(made.y)
    others = [reader.y] if isinstance(reader, Pass) and not _same(reader.y, made.y) else []
    others += [x for x in _arrays(reader) if not _same(x, made.y)]
    return not any(_overlap(_extent(x), extent) for x in others if x.size)


def _pays(made: Pass, readers: Sequence[Pass | Total]) -> bool:
    """True if no more numbers go through memory than before, and the kernels are not too large.

    A pass of k large inputs is k + 1 passes over memory and one for each reader; as a part of n readers it is n k.
    """
    large, n = sum(x.size * 2 > made.y.size for x in _arrays(made)), len(readers)
    inputs = max(len(reader.inputs) for reader in readers) + len(made.inputs)
    return n * large <= large + 1 + n and inputs <= MOST_INPUTS


def _with(reader: Pass | Total, made: Pass) -> Pass | Total:
    """The reader with the expression of `made` in place of its result."""
    inputs: list[Any] = []

    def names(given: Sequence[Any]) -> list[str]:
        return [f"({made_here})" if x is _HERE else f"{{{_place(inputs, x)}}}" for x in given]

    made_here = made.code.format(*names(made.inputs))
    given = [_HERE if is_cupy(x) and _same(x, made.y) else x for x in reader.inputs]
    return reader.with_inputs(reader.code.format(*names(given)), inputs)


_HERE = object()


def _place(inputs: list[Any], x: Any) -> int:
    """Where x is among the inputs; it is appended if it is not there."""
    for k, other in enumerate(inputs):
        if other is x or (is_cupy(x) and is_cupy(other) and _same(x, other)):
            return k
    inputs.append(x)
    return len(inputs) - 1


def _arrays(call: Pass | Total) -> list[Array]:
    return [x for x in call.inputs if is_cupy(x)]


def _same(a: Array, b: Array) -> bool:
    """True for views of the same elements in the same order."""
    return a is b or (
        address(a) == address(b) and a.shape == b.shape and a.strides == b.strides and bool(a.dtype == b.dtype)
    )


def _extent(a: Array) -> Extent:
    """The stretch of memory in which the elements lie."""
    first = last = address(a)
    for n, step in zip(a.shape, a.strides, strict=True):
        first, last = first + min(0, (n - 1) * step), last + max(0, (n - 1) * step)
    return first, last + a.itemsize


def _overlap(a: Extent, b: Extent) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _within(a: Extent, b: Extent) -> bool:
    return b[0] <= a[0] and a[1] <= b[1]


class _Touched:
    """The stretches of memory that every call reads and writes, as rows of a table.

    A row: the extent, the number of the call, and for a write if that leaves nothing of the extent out.
    """

    def __init__(self, calls: Sequence[Any]) -> None:
        rows: list[tuple[int, int, int, int]] = []
        for k, call in enumerate(calls):
            reads, writes = _effects(call)
            rows += [(*extent, k, _READ) for extent, _ in reads]
            rows += [(*extent, k, _WRITES if whole else _WRITES_IN) for extent, whole in writes]
        self._rows = np.array(rows, np.int64).reshape(-1, 4)

    def taken_in(self, p: int, readers: Sequence[int]) -> None:
        """Pass p is a part of these calls, which read its inputs now."""
        own = self._rows[:, 2] == p
        inputs = self._rows[own & (self._rows[:, 3] == _READ)]
        self._rows = self._rows[~own]
        for q in readers:
            inputs[:, 2] = q
            self._rows = np.concatenate([self._rows, inputs])

    def after(self, p: int, a: Array) -> Iterator[tuple[int, list[Extent], list[tuple[Extent, bool]]]]:
        """The calls after p, in order, that touch the memory of a: their number, what they read of it, and write."""
        first, stop = _extent(a)
        rows = self._rows[(self._rows[:, 2] > p) & (self._rows[:, 0] < stop) & (self._rows[:, 1] > first)]
        found: dict[int, tuple[list[Any], list[Any]]] = {}
        for start, end, q, kind in rows[np.argsort(rows[:, 2], kind="stable")].tolist():
            reads, writes = found.setdefault(q, ([], []))
            if kind == _READ:
                reads.append((start, end))
            else:
                writes.append(((start, end), kind == _WRITES))
        return ((q, *touched) for q, touched in found.items())


_READ, _WRITES, _WRITES_IN = range(3)
Effects = list[tuple[Extent, bool]]  # extents, and True for those that are all of an array without gaps


def _effects(call: Any) -> tuple[Effects, Effects]:
    """What a call reads and writes."""
    if isinstance(call, Pass | Total):
        reads, writes = _arrays(call), [call.y]
        if isinstance(call, Total) and call.add:
            reads.append(call.y)
    elif isinstance(call, Bound):
        reads, writes = list(call.reads), list(call.writes)
    else:  # it may touch anything
        return [(EVERYWHERE, False)], [(EVERYWHERE, False)]
    of_reads, of_writes = ([(_extent(a), a) for a in arrays if a.size] for arrays in (reads, writes))
    return [(e, True) for e, _ in of_reads], [(e, e[1] - e[0] == a.nbytes) for e, a in of_writes]
