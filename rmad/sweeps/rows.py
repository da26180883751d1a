"""The places of the cases of a batch in an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rmad.types import Array

__all__ = ["Rows"]


class Rows:
    """The n cases of an array lie along one axis, or in the first one as (n, rest) or, if `last`, (rest, n) rows."""

    def __init__(self, n: int, axis: int, rest: int = 1, last: bool = False) -> None:
        self.n, self.axis, self.rest, self.last = n, axis, rest, last

    @classmethod
    def find(cls, halves: Sequence[Array], u: Sequence[Array]) -> Rows | None:
        """The layout in which the cotangents u of two halves of the cases are zero in each other's rows.

        halves: the numbers of the cases in each.
        """
        return next((rows for rows, fits in cls.tests(halves, u) if fits), None)

    @classmethod
    def candidates(cls, n: int, shape: tuple[int, ...]) -> list[Rows]:
        """Every layout of n cases that a shape allows."""
        found = [cls(n, k) for k, m in enumerate(shape) if m == n]
        if shape and shape[0] > n and shape[0] % n == 0:
            found += [cls(n, 0, shape[0] // n), cls(n, 0, shape[0] // n, True)]
        return found

    @classmethod
    def tests(
        cls, halves: Sequence[Array], u: Sequence[Array], candidates: Sequence[Rows] | None = None
    ) -> Iterator[tuple[Rows, Any]]:
        """Every layout that the shape allows, or of `candidates`, and whether u has it: a 0-d array on u's device."""
        for rows in cls.candidates(sum(map(len, halves)), u[0].shape) if candidates is None else candidates:
            of_others = [rows.view(a)[others] for a, others in zip(u, reversed(halves), strict=True)]
            yield rows, ~(np.any(np.abs(of_others[0]) > 0) | np.any(np.abs(of_others[1]) > 0))

    def view(self, a: Array) -> Any:
        """The array with its cases first, (n, …)."""
        if self.rest == 1:
            return np.moveaxis(a, self.axis, 0)
        if self.last:
            return np.swapaxes(np.reshape(a, (self.rest, self.n, *a.shape[1:])), 0, 1)
        return np.reshape(a, (self.n, self.rest, *a.shape[1:]))

    def without(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """A shape that broadcasts to the array's, without the axis of cases; None if it has such an axis itself."""
        if shape[self.axis] != 1:
            return None
        return (*shape[: self.axis], *shape[self.axis + 1 :]) if self.rest == 1 else shape
