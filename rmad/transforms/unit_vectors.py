"""Stacks of unit vectors of a tree, and what a sweep makes of them: a Jacobian in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.machine.memory import keep_freed_memory
from rmad.record import Record
from rmad.stacked import at_a_time
from rmad.tracing.traced import Traced
from rmad.trees.leaf import sizes
from rmad.trees.tree import TreeDef
from rmad.types import Array

__all__ = ["Swept", "Units"]


class Units:
    """The unit vectors of the arrays of a tree: per array e_1 … e_n, and if it is complex, then i e_1 … i e_n.

    count: of all vectors. segments: (array, unit, first, last), vectors first … last − 1 being `unit` times those of
    one array. varies: False for arrays that are constant, and have none.
    """

    def __init__(self, tree: TreeDef, varies: Sequence[bool]) -> None:
        self.shapes, self.dtypes = tree.shapes, tree.dtypes
        self.segments: list[tuple[int, complex, int, int]] = []
        self.count = 0
        for j, (n, dtype) in enumerate(zip(sizes(tree.shapes), tree.dtypes, strict=True)):
            for unit in (1, 1j) if dtype.kind == "c" else (1,):
                if varies[j]:
                    self.segments.append((j, unit, self.count, self.count + n))
                    self.count += n

    def stacks(self, start: int, stop: int, like: Array) -> list[Array | None]:
        """Vectors start … stop − 1, (stop − start, *shape) per array, of the kind of `like`; None for zeros."""
        found: list[Any] = [None] * len(self.shapes)
        for j, unit, first, last in self.segments:
            some = arrays.arange(like, max(first, start), min(last, stop))
            if len(some):
                if found[j] is None:
                    found[j] = arrays.zeros(like, (stop - start, math.prod(self.shapes[j])), self.dtypes[j])
                found[j][some - start, some - first] = unit
        return [None if V is None else V.reshape(-1, *shape) for V, shape in zip(found, self.shapes, strict=True)]


class Swept:
    """The products with unit vectors, by array of the result and by segment.

    last: True if the axis of the vectors comes last.
    """

    def __init__(
        self, units: Units, sweep: Callable[[list[Array | None]], list[Any]], record: Record, last: bool
    ) -> None:
        self.units, self.last = units, last
        self.found: dict[tuple[int, int], Any] = {}
        step = at_a_time(record.tape, tuning.STACK_BYTES)
        keep_freed_memory()
        for start in range(0, units.count, step):
            stop = min(start + step, units.count)
            for r, rows in enumerate(sweep(units.stacks(start, stop, record.tape.like))):
                if rows is not None:
                    self._keep(r, rows, start, stop)

    def _keep(self, r: int, rows: Array, start: int, stop: int) -> None:
        """Keeps the products with vectors start … stop − 1: traced ones as they are, others in arrays of their own."""
        for s, (_, _, first, last) in enumerate(self.units.segments):
            low, high = max(first, start), min(last, stop)
            if low >= high:
                continue
            part = rows[low - start : high - start]
            part = np.moveaxis(part, 0, -1) if self.last else part
            if isinstance(part, Traced):
                self.found.setdefault((r, s), []).append(part)
                continue
            if (r, s) not in self.found:
                shape = (*part.shape[:-1], last - first) if self.last else (last - first, *part.shape[1:])
                self.found[r, s] = arrays.zeros(part, shape)
            to = slice(low - first, high - first)
            self.found[r, s][(..., to) if self.last else to] = part

    def of(self, r: int, j: int) -> list[Any]:
        """The products with the unit vectors of array j, and with i times these if it is complex; None for zeros."""
        products = []
        for s, (array, _, first, last) in enumerate(self.units.segments):
            if array == j:
                parts = self.found.get((r, s))
                if isinstance(parts, list):
                    parts = np.concatenate(parts, axis=-1 if self.last else 0)
                    if parts.shape[-1 if self.last else 0] < last - first:
                        parts = None  # vectors of other arrays, on which alone the result depends
                products.append(parts)
        return products
