"""Which iterate of CG becomes the update, and when CG has gone too far for it.

References
----------
Martens & Sutskever (2012), section 8.7 and the second recipe of section 13; constants of Martens' MATLAB code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from optim.hyper import COUNT, NONE, Number, OneOf, Rule, check
from optim.parts.cg import CGResult, Iterate, kept_iterations
from optim.parts.linesearch import cg_backtracking, or_infinity
from optim.problem.batch import cases, take
from optim.types import Batch
from rmad.extend import Array

__all__ = ["Backtracking", "HeldOut", "LastIterate", "Worst"]

Value = Callable[[Array], float]


@dataclass(frozen=True)
class LastIterate:
    """No choice: δ is the last iterate of CG."""

    def kept(self, most: int) -> set[int]:
        """The numbers of the iterates to keep in a run of at most so many steps."""
        return set()

    def watch(self, f: Value) -> Worst | None:
        """An observer of the iterates while CG runs, or None; f: δ → f(θ + δ) on the watched cases."""
        return None

    def watched(self, batch: Batch) -> Batch:
        """The watched cases: the curvature batch (x, t), or some of it."""
        return batch

    def choose(self, iterates: Sequence[Iterate], f: Value, M: Value) -> tuple[Iterate, float | None]:
        """The iterate that becomes δ, and f there if that was found out; f and M on the backtracking batch."""
        return iterates[-1], None


@dataclass(frozen=True)
class Backtracking(LastIterate):
    """CG-backtracking, section 8.7: from the last kept iterate back while f improves.

    The iterates at ⌈first · growthⁿ⌉ are kept, or those at every multiple of `every`.

    Parameters
    ----------
    first : float, default 5.0
        The first iterate that is kept, ≥ 1; the default is that of Martens' code.
    growth : float, default 1.3
        Ratio of one kept number to the one before it, > 1; the default is that of Martens' code.
    every : int, default None
        Keep every `every`-th iterate instead.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 8.7.

    Examples
    --------
    >>> import optim
    >>> sorted(optim.Backtracking().kept(20))
    [5, 7, 9, 11, 15, 19]
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "growth": Number(above=1.0),
        "first": Number(at_least=1.0),
        "every": COUNT | NONE,
    }

    first: float = 5.0
    growth: float = 1.3
    every: int | None = None

    def __post_init__(self) -> None:
        check(self)

    def kept(self, most: int) -> set[int]:
        if self.every is not None:
            every = int(self.every)
            return set(range(every, most + 1, every))
        return kept_iterations(most, self.first, self.growth)

    def choose(self, iterates: Sequence[Iterate], f: Value, M: Value) -> tuple[Iterate, float | None]:
        return cg_backtracking(iterates, f)


@dataclass(frozen=True)
class HeldOut(LastIterate):
    """Second recipe of section 13: CG ends when f on the curvature batch gets worse; δ is chosen on other data.

    The cases of the backtracking batch must not be in the curvature batch. The next run starts from the iterate that
    had the highest f on the curvature batch. The report gives gap = 10 as an example, and no number for the rest.

    Parameters
    ----------
    gap : int, default 10
        CG ends when f on the curvature batch is worse than `gap` steps before.
    every : int, default 5
        Every `every`-th iterate is looked at.
    worse : float, default 1e-3
        The relative rise of f, ≥ 0, that counts as worse.
    by : {"objective", "model"}, default "objective"
        δ is the iterate with the least f, or the least quadratic model, on the backtracking batch.
    share : float, default 1.0
        The first cases of the curvature batch, as a share of it in (0, 1], stand for all of it.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 13.

    Examples
    --------
    >>> import optim
    >>> sorted(optim.HeldOut(every=4).kept(15))
    [4, 8, 12]
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "gap": COUNT,
        "every": COUNT,
        "worse": Number(at_least=0.0),
        "share": Number(above=0.0, at_most=1.0),
        "by": OneOf(("objective", "model")),
    }

    gap: int = 10
    every: int = 5
    worse: float = 1e-3
    by: str = "objective"
    share: float = 1.0

    def __post_init__(self) -> None:
        check(self)

    def kept(self, most: int) -> set[int]:
        return set(range(int(self.every), most + 1, int(self.every)))

    def watch(self, f: Value) -> Worst | None:
        return Worst(f, self.gap, self.worse)

    def watched(self, batch: Batch) -> Batch:
        n = cases(*batch)
        if n is None or self.share == 1:
            return batch
        part = slice(0, max(1, round(self.share * n)))
        return take(batch[0], part), take(batch[1], part)

    def choose(self, iterates: Sequence[Iterate], f: Value, M: Value) -> tuple[Iterate, float | None]:
        judge = f if self.by == "objective" else M
        values = [or_infinity(judge(iterate.x)) for iterate in iterates]
        best = min(range(len(values)), key=values.__getitem__)
        return iterates[best], values[best] if self.by == "objective" else None


class Worst:
    """Watches a run of CG: ends it when f gets worse, and remembers the iterate with the highest f."""

    def __init__(self, f: Value, gap: int, worse: float) -> None:
        self._f, self._gap, self._worse = f, gap, worse
        self.seen: list[tuple[int, float]] = []
        self.x: Array | None = None
        self._highest = -math.inf

    def __call__(self, iterate: Iterate) -> str | None:
        value = or_infinity(self._f(iterate.x))
        self.seen.append((iterate.i, value))
        if math.isfinite(value) and value > self._highest:
            self.x, self._highest = iterate.x, value
        before = [v for i, v in self.seen if i <= iterate.i - self._gap]
        if before and value > before[-1] + self._worse * abs(before[-1]):
            return "the objective on the curvature batch got worse"
        return None

    def start(self, cg: CGResult) -> Array:
        """The start of the next run of CG, before the decay ζ."""
        return cg.x if self.x is None else self.x
