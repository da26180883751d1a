"""The sets of points of one update: gradient, curvature, backtracking, line search, reduction ratio.

Source: Martens & Sutskever (2012), section 12.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optim.hyper import above, generator
from optim.problem.batch import cases, take
from optim.schedules import Schedule

__all__ = ["Roles"]

Size = int | float | Schedule


class Roles:
    """Draws the batches of update k: `opt.step(**roles(opt.k))`.

    x, t: all data. gradient, curvature, backtracking, ratio, line_search: how large each set is: a share of the data
    (a float up to 1.0, which is all), a number of cases (an int), or a schedule of `optim.schedules` that gives such a
    number (growing batches, section 12.2). None: the curvature, the line search and the backtracking use the gradient's
    set, the ratio the curvature's. The curvature and backtracking sets are chunks of one new order of all cases in
    every round, one chunk after the other, so that they have no case in common while together they are at most all; the
    others are drawn at random. rng: where the orders come from; update k has the same batches whenever it is asked for.
    """

    def __init__(
        self,
        x: Any,
        t: Any = None,
        *,
        gradient: Size = 1.0,
        curvature: Size | None = None,
        backtracking: Size | None = None,
        ratio: Size | None = None,
        line_search: Size | None = None,
        rng: np.random.Generator,
    ) -> None:
        n = cases(x, t)
        if not n:
            raise ValueError("x and t must have cases along their first axis, as many in each array, and at least one")
        self.x, self.t, self.n = x, t, n
        sizes = {
            "gradient": gradient,
            "curvature": curvature,
            "backtracking": backtracking,
            "ratio": ratio,
            "line_search": line_search,
        }
        self.sizes = {name: size for name, size in sizes.items() if size is not None}
        for name in self.sizes:
            self._size(name, 0)
        self._seed = int(generator(rng).integers(2**32))

    def __call__(self, k: int) -> dict[str, Any]:
        """The arguments of `step` at update k: x, t, and name_batch for every set that is not the default's."""
        x, t = self._drawn("gradient", k)
        batches: dict[str, Any] = {"x": x, "t": t}
        for name in ("ratio", "line_search"):
            if name in self.sizes:
                batches[f"{name}_batch"] = self._drawn(name, k)
        start = 0
        for name in ("curvature", "backtracking"):
            if name in self.sizes:
                batches[f"{name}_batch"], start = self._chunk(k, start, self._size(name, k))
        return batches

    def _size(self, name: str, k: int) -> int:
        size = self.sizes[name]
        value = size(k) if callable(size) else size
        above(name, value, 0.0)
        if isinstance(value, float) and not callable(size):
            if value > 1:
                raise ValueError(f"{name} must be a share ≤ 1.0 or a whole number of cases, got {value!r}")
            return max(1, round(value * self.n))
        return min(self.n, max(1, round(value)))

    def _drawn(self, name: str, k: int) -> tuple[Any, Any]:
        size = self._size(name, k)
        if size == self.n:
            return self.x, self.t
        role = ("gradient", "ratio", "line_search").index(name)
        return self._taken(np.random.default_rng([self._seed, 1 + role, k]).permutation(self.n)[:size])

    def _chunk(self, k: int, start: int, size: int) -> tuple[tuple[Any, Any], int]:
        """Cases from `start` places behind where the k-th chunk of curvature begins, and the place after them."""
        width = self._size("curvature", k) if "curvature" in self.sizes else size
        rounds, place = divmod(k, max(1, self.n // width))
        order = np.random.default_rng([self._seed, 0, rounds]).permutation(self.n)
        return self._taken(np.take(order, place * width + start + np.arange(size), mode="wrap")), start + size

    def _taken(self, which: Any) -> tuple[Any, Any]:
        return take(self.x, which), take(self.t, which)
