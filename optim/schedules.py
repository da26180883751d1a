"""Schedules: a hyper-parameter as a function of the number of updates made so far, k = 0, 1, …

Anywhere an optimizer takes a schedule it takes a number too. A schedule is a plain callable k → float; these four are
comparable, and their repr is the call that makes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from optim.hyper import Number, Rule, Schedule, check, value_at

__all__ = ["Constant", "Cosine", "Linear", "Schedule", "Step", "value_at"]


@dataclass(frozen=True)
class Constant:
    """start.

    Parameters
    ----------
    start : float
        The value, ≥ 0.

    Examples
    --------
    >>> from optim.schedules import Constant
    >>> Constant(0.1)(1000)
    0.1
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"start": Number(at_least=0.0)}

    start: float

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, k: int) -> float:
        return self.start


@dataclass(frozen=True)
class Step:
    """start · factorⁿ, n = ⌊k / every⌋.

    Parameters
    ----------
    start : float
        The first value, > 0.
    every : int
        Updates between two changes, ≥ 1.
    factor : float, default 0.1
        Ratio of one value to the one before it, > 0.

    Examples
    --------
    >>> from optim.schedules import Step
    >>> [Step(1.0, every=2, factor=0.5)(k) for k in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "start": Number(above=0.0),
        "every": Number(at_least=1),
        "factor": Number(above=0.0),
    }

    start: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, k: int) -> float:
        return self.start * self.factor ** (k // self.every)


@dataclass(frozen=True)
class _Decay:
    HYPER: ClassVar[Mapping[str, Rule]] = {
        "start": Number(above=0.0),
        "steps": Number(at_least=1),
        "end": Number(at_least=0.0),
    }

    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        check(self)

    def _gone(self, k: int) -> float:
        return min(k / self.steps, 1.0)


@dataclass(frozen=True)
class Linear(_Decay):
    """start + (end − start) k/K, and `end` from k = K on.

    Parameters
    ----------
    start : float
        The first value, > 0.
    steps : int
        K, the number of updates until `end`, ≥ 1.
    end : float, default 0.0
        The last value, ≥ 0.

    Examples
    --------
    >>> from optim.schedules import Linear
    >>> [Linear(1.0, steps=4)(k) for k in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __call__(self, k: int) -> float:
        w = self._gone(k)
        return (1 - w) * self.start + w * self.end


@dataclass(frozen=True)
class Cosine(_Decay):
    """end + ½ (start − end)(1 + cos πk/K), and `end` from k = K on.

    Parameters
    ----------
    start : float
        The first value, > 0.
    steps : int
        K, the number of updates until `end`, ≥ 1.
    end : float, default 0.0
        The last value, ≥ 0.

    References
    ----------
    Loshchilov & Hutter (2017), eq. (5).

    Examples
    --------
    >>> from optim.schedules import Cosine
    >>> [round(Cosine(1.0, steps=4)(k), 3) for k in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __call__(self, k: int) -> float:
        w = (1 + math.cos(math.pi * self._gone(k))) / 2
        return w * self.start + (1 - w) * self.end
