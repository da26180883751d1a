"""The inputs that each number of an array depends on, if they are few: slots, index arrays with one input per number.

    number r depends on the inputs  { s[r] : s a slot, s[r] ≥ 0 }

Rows are selected by one `take` per slot, and sets are joined by putting the slots next to each other: no sparse matrix
is built before the end. Slots that are empty (−1) where others are filled share one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.types import Array

__all__ = ["MOST", "Slots", "as_matrix", "selected", "united"]

MOST = 12  # slots; with more, a sparse matrix is cheaper


class Slots:
    """Sets of inputs out of n, one for each of `size` numbers.

    columns: the slots, (size,) each. full: per slot, True if it is nowhere empty.
    """

    def __init__(self, columns: Sequence[Array], size: int, n: int, full: Sequence[bool] | None = None) -> None:
        self.columns, self.size, self.n = list(columns), size, n
        self.full = [bool(s.min(initial=0) >= 0) for s in columns] if full is None else list(full)

    def rows(self, index: Array) -> Slots:
        """The sets of the numbers index; empty ones where it is negative."""
        if index.min(initial=0) >= 0:
            return Slots([s.take(index) for s in self.columns], len(index), self.n, self.full)
        if not self.size:
            return Slots([], len(index), self.n)
        empty = index < 0
        columns = []
        for s in self.columns:
            taken = s.take(index, mode="wrap")
            taken[empty] = -1
            columns.append(taken)
        return Slots(columns, len(index), self.n, [False] * len(columns))

    def union(self, other: Slots) -> Slots:
        """The unions of sets, one by one."""
        columns, full = list(self.columns), list(self.full)
        for s, filled in zip(other.columns, other.full, strict=True):
            for k, t in enumerate(columns):
                if _same(s, t):
                    break
                if not filled and not full[k] and not np.any((s >= 0) & (t >= 0)):
                    columns[k] = np.maximum(s, t)
                    full[k] = bool(columns[k].min(initial=0) >= 0)
                    break
            else:
                columns.append(s)
                full.append(filled)
        return Slots(columns, self.size, self.n, full)

    def matrix(self) -> Any:
        """The csr_array of bool, (size, n), in canonical form."""
        from scipy.sparse import csr_array

        if not self.columns:
            return csr_array((self.size, self.n), dtype=bool)
        table = np.stack(self.columns, axis=1)
        table.sort(axis=1)
        is_new = table >= 0
        is_new[:, 1:] &= table[:, 1:] != table[:, :-1]
        ends = np.zeros(self.size + 1, table.dtype)
        np.cumsum(is_new.sum(axis=1), out=ends[1:])
        indices = table[is_new]
        matrix = csr_array((np.ones(len(indices), bool), indices, ends), shape=(self.size, self.n))
        matrix.has_canonical_format = True
        return matrix


def selected(index: Array, n: int) -> Slots:
    """Number k depends on input index[k] alone, on none where that is negative."""
    return Slots([index.astype(np.int32 if n < 2**31 and len(index) < 2**27 else np.int64)], len(index), n)


def united(D: Any, E: Any) -> Any:
    """D ∨ E, each `Slots` or a sparse matrix."""
    if D is E:
        return D
    if isinstance(D, Slots) and isinstance(E, Slots):
        both = D.union(E)
        return both if len(both.columns) <= MOST else both.matrix()
    return as_matrix(D) + as_matrix(E)


def as_matrix(D: Any) -> Any:
    """A sparse matrix of D."""
    return D.matrix() if isinstance(D, Slots) else D


def _same(s: Array, t: Array) -> bool:
    if s is t:
        return True
    return bool(s.size and s[0] == t[0] and s[-1] == t[-1] and np.array_equal(s, t))
