"""The sets of points of one update: gradient, curvature, backtracking, line search, reduction ratio.

References
----------
Martens & Sutskever (2012), section 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from optim import hyper
from optim.hyper import NONE, SCHEDULE, Number, Rule, Schedule, generator
from optim.problem.batch import cases, take
from optim.types import Batch

__all__ = ["Roles", "Sets"]

Size = int | float | Schedule


class Sets(NamedTuple):
    """The batches of one update, each (x, t); sets that hold the same arrays are one and the same object."""

    gradient: Batch  # S
    curvature: Batch  # S′
    backtracking: Batch
    line_search: Batch
    ratio: Batch

    @classmethod
    def given(
        cls,
        S: Batch,
        curvature: Batch | None,
        backtracking: Batch | None,
        line_search: Batch | None,
        ratio: Batch | None,
    ) -> Sets:
        """The sets as `step` gets them: None is S. TypeError names one that is not a pair."""
        S_c = _pair("curvature_batch", curvature, S) or S
        return cls(
            S,
            S_c,
            _pair("backtracking_batch", backtracking, S, S_c) or S,
            _pair("line_search_batch", line_search, S, S_c) or S,
            _pair("ratio_batch", ratio, S, S_c) or S,
        )


def _pair(name: str, batch: Any, *sets: Batch) -> Batch | None:
    """The batch, or the set that holds the same arrays, so that what is known of it is not computed again."""
    if batch is None:
        return None
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise TypeError(f"{name} must be a pair (x, t), not {type(batch).__name__}")
    return next((S for S in sets if batch[0] is S[0] and batch[1] is S[1]), (batch[0], batch[1]))


class Roles:
    """Draws the batches of update k: `opt.step(**roles(opt.k))`.

    The size of a set is a share of the data (a float up to 1.0, which is all of it), a number of cases (an int), or a
    schedule of `optim.schedules` that gives such a number (growing batches, section 12.2). The curvature and
    backtracking sets have no case in common as long as together they are at most all. If the gradient's set holds all
    cases, they are chunks of one order of all cases per round, one chunk after the other. If it holds a part, they are
    the first cases of that part and those after them: B then has the curvature of cases whose gradient is in b (section
    12.1). The others are drawn at random. Update k has the same batches whenever it is asked for.

    Parameters
    ----------
    x, t : whatever model and loss take
        All data, cases along the first axis.
    gradient : int, float or schedule, default 1.0
        Size of the gradient's set.
    curvature : int, float or schedule, default None
        Size of the curvature's set; None is the gradient's set.
    backtracking : int, float or schedule, default None
        Size of the set on which iterates of CG are compared; None is the gradient's set.
    ratio : int, float or schedule, default None
        Size of the set that measures ρ; None is the gradient's set.
    line_search : int, float or schedule, default None
        Size of the line search's set; None is the gradient's set.
    rng : numpy.random.Generator
        Draws the seed of all orders.

    Raises
    ------
    ValueError, TypeError
        If a size is out of range or of the wrong type, or x and t have no cases.

    References
    ----------
    Martens & Sutskever (2012), section 12.

    Examples
    --------
    >>> import optim
    >>> roles = optim.Roles(np.arange(6), gradient=1.0, curvature=2, rng=np.random.default_rng(0))
    >>> len(roles(0)["x"]), len(roles(0)["curvature_batch"][0])
    (6, 2)
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "gradient": Number(above=0.0) | SCHEDULE,
        "curvature": Number(above=0.0) | SCHEDULE | NONE,
        "backtracking": Number(above=0.0) | SCHEDULE | NONE,
        "ratio": Number(above=0.0) | SCHEDULE | NONE,
        "line_search": Number(above=0.0) | SCHEDULE | NONE,
    }

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
        sizes = hyper.checked(Roles.HYPER, locals())
        n = cases(x, t)
        if not n:
            raise ValueError("x and t must have cases along their first axis, as many in each array, and at least one")
        self.x, self.t, self.n = x, t, n
        self.sizes = {name: size for name, size in sizes.items() if size is not None}
        for name in self.sizes:
            self._size(name, 0)
        self._seed = int(generator(rng).integers(2**32))

    def __call__(self, k: int) -> dict[str, Any]:
        """The arguments of `step` at update k: x, t, and name_batch for every set that was given a size."""
        x, t = self._drawn("gradient", k)
        batches: dict[str, Any] = {"x": x, "t": t}
        for name in ("ratio", "line_search"):
            if name in self.sizes:
                batches[f"{name}_batch"] = self._drawn(name, k)
        order, place = self._order(k)
        for name in ("curvature", "backtracking"):
            if name in self.sizes:
                size = self._size(name, k)
                batches[f"{name}_batch"] = self._taken(np.take(order, place + np.arange(size), mode="wrap"))
                place += size
        return batches

    def _size(self, name: str, k: int) -> int:
        size = self.sizes[name]
        value = size(k) if callable(size) else size
        self.HYPER[name](name, value)
        if isinstance(value, float) and not callable(size):
            if value > 1:
                raise ValueError(f"{name} must be a share ≤ 1.0 or a whole number of cases, got {value!r}")
            return max(1, round(value * self.n))
        return min(self.n, max(1, round(value)))

    def _drawn(self, name: str, k: int) -> Batch:
        size = self._size(name, k)
        if size == self.n:
            return self.x, self.t
        role = ("gradient", "ratio", "line_search").index(name)
        return self._taken(self._permutation(1 + role, k)[:size])

    def _order(self, k: int) -> tuple[Any, int]:
        """An order of all cases, and the place in it where the curvature's set begins."""
        if self._size("gradient", k) < self.n:
            return self._permutation(1, k), 0  # the gradient's set begins there, too
        chunk = next((name for name in ("curvature", "backtracking") if name in self.sizes), "gradient")
        width = self._size(chunk, k)
        rounds, place = divmod(k, max(1, self.n // width))
        return self._permutation(0, rounds), place * width

    def _permutation(self, role: int, k: int) -> Any:
        return np.random.default_rng([self._seed, role, k]).permutation(self.n)

    def _taken(self, which: Any) -> Batch:
        return take(self.x, which), take(self.t, which)
