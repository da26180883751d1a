"""Which iterate of CG becomes the update, and when CG has gone too far for it.

Source: Martens & Sutskever (2012), section 8.7 and the second recipe of section 13; constants of Martens' MATLAB code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optim.hyper import above, at_least, at_most, whole
from optim.parts.cg import CGResult, Iterate
from optim.parts.linesearch import cg_backtracking, or_infinity
from optim.problem.batch import cases, take

__all__ = ["Backtracking", "HeldOut", "LastIterate", "Worst"]

Value = Callable[[Any], float]
Batch = tuple[Any, Any]


@dataclass(frozen=True)
class LastIterate:
    """No choice: δ is where CG ended."""

    def kept(self, most: int) -> set[int]:
        """The numbers of the iterates to keep in a run of at most so many steps."""
        return set()

    def watch(self, f: Value) -> Worst | None:
        """What looks on while CG runs; f: δ → f(θ + δ) on the watched cases."""
        return None

    def watched(self, batch: Batch) -> Batch:
        """Those cases: the curvature batch (x, t), or some of it."""
        return batch

    def choose(self, iterates: Sequence[Iterate], f: Value, M: Value) -> tuple[Iterate, float | None]:
        """The iterate that becomes δ, and f there if that was found out; f and M on the backtracking batch."""
        return iterates[-1], None


@dataclass(frozen=True)
class Backtracking(LastIterate):
    """CG-backtracking, section 8.7: from the last kept iterate back while f improves.

    Kept are the iterates at ⌈first · growthⁿ⌉, or at every multiple of `every`.
    """

    first: float = 5.0
    growth: float = 1.3
    every: int | None = None

    def __post_init__(self) -> None:
        above("growth", self.growth, 1.0)
        at_least("first", self.first, 1.0)
        if self.every is not None:
            whole("every", self.every, 1)

    def kept(self, most: int) -> set[int]:
        if self.every is not None:
            every = int(self.every)
            return set(range(every, most + 1, every))
        kept, at = set[int](), float(self.first)
        while at <= most:
            kept.add(math.ceil(at))
            at *= self.growth
        return kept

    def choose(self, iterates: Sequence[Iterate], f: Value, M: Value) -> tuple[Iterate, float | None]:
        return cg_backtracking(iterates, f)


@dataclass(frozen=True)
class HeldOut(LastIterate):
    """Second recipe of section 13: CG ends when f on the curvature batch gets worse; δ is chosen on other data.

    Looked at is every `every`-th iterate. CG ends where f on the curvature batch is above its value `gap` steps ago by
    more than `worse` of it. δ is the iterate with the least f (by="objective") or quadratic model (by="model") on the
    backtracking batch, whose cases must not be in the curvature batch. The next run starts from the iterate that had
    the highest f on the curvature batch. share: of the curvature batch, whose first cases stand for all of it in both.
    The report gives gap = 10 as an example, and no number for the rest.
    """

    gap: int = 10
    every: int = 5
    worse: float = 1e-3
    by: str = "objective"
    share: float = 1.0

    def __post_init__(self) -> None:
        whole("gap", self.gap, 1)
        whole("every", self.every, 1)
        at_least("worse", self.worse, 0.0)
        at_most("share", above("share", self.share, 0.0), 1)
        if self.by not in ("objective", "model"):
            raise ValueError(f'by must be "objective" or "model", got {self.by!r}')

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
    """Looks on while CG runs: ends it where f got worse, and remembers the iterate with the highest f."""

    def __init__(self, f: Value, gap: int, worse: float) -> None:
        self._f, self._gap, self._worse = f, gap, worse
        self.seen: list[tuple[int, float]] = []
        self.x: Any = None
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

    def start(self, cg: CGResult) -> Any:
        """Where the next run of CG starts, before the decay ζ."""
        return cg.x if self.x is None else self.x
