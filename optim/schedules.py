"""Schedules: a hyper-parameter as a function of the number of updates made so far, k = 0, 1, …

Anywhere an optimizer takes a schedule it takes a number too. A schedule is a plain callable k → float; these four are
comparable, and their repr is the call that makes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from optim.hyper import above, at_least

__all__ = ["Constant", "Cosine", "Linear", "Schedule", "Step", "value_at"]

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """start."""

    start: float

    def __post_init__(self) -> None:
        at_least("start", self.start, 0.0)

    def __call__(self, k: int) -> float:
        return self.start


@dataclass(frozen=True)
class Step:
    """start · factorⁿ, n = ⌊k / every⌋."""

    start: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        above("start", self.start, 0.0)
        at_least("every", self.every, 1)
        above("factor", self.factor, 0.0)

    def __call__(self, k: int) -> float:
        return self.start * self.factor ** (k // self.every)


@dataclass(frozen=True)
class _Decay:
    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        above("start", self.start, 0.0)
        at_least("steps", self.steps, 1)
        at_least("end", self.end, 0.0)

    def _gone(self, k: int) -> float:
        return min(k / self.steps, 1.0)


@dataclass(frozen=True)
class Linear(_Decay):
    """start + (end − start) k/K, and `end` from k = K = steps on."""

    def __call__(self, k: int) -> float:
        w = self._gone(k)
        return (1 - w) * self.start + w * self.end


@dataclass(frozen=True)
class Cosine(_Decay):
    """end + ½ (start − end)(1 + cos πk/K), and `end` from k = K = steps on. Loshchilov & Hutter (2017), eq. (5)."""

    def __call__(self, k: int) -> float:
        w = (1 + math.cos(math.pi * self._gone(k))) / 2
        return w * self.start + (1 - w) * self.end


def value_at(name: str, value: float | Schedule, k: int) -> float:
    """A number, or a schedule's value at k; ValueError where that is no finite number ≥ 0."""
    return at_least(f"{name} at update {k}", float(value(k)), 0.0) if callable(value) else value
