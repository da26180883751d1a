"""Constraints on hyper-parameters, as data: each class has a table HYPER, from a parameter's name to its rule.

    HYPER = {"damping": Number(at_least="damping_min"), "cg_iterations": COUNT | SCHEDULE, "nesterov": Flag()}

`checked` applies a table, and tests/optim/test_hyper.py tries every row of every table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "COUNT",
    "FRACTION",
    "NONE",
    "SCHEDULE",
    "Flag",
    "Instance",
    "Number",
    "OneOf",
    "Rule",
    "Schedule",
    "check",
    "checked",
    "generator",
    "table",
    "value_at",
]

Schedule: TypeAlias = Callable[[int], float]
"""A hyper-parameter as a function of the number of updates made so far, k = 0, 1, …"""


class Rule:
    """Base: rule(name, value, given) returns the value as it is kept; ValueError or TypeError names the parameter.

    `given` holds the other parameters by name, for rules whose bound is one of them.
    """

    noun = ""  # after "must be a" in the message of an `Instance` that takes such a value too

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: (name, value, given) -> value")

    def takes(self, value: Any) -> bool:
        """True if the value has the type that the rule is about, in range or not."""
        raise NotImplementedError(f"{type(self).__name__}: value -> bool")

    def __or__(self, other: Also) -> Either:
        return Either(self, (other,))

    def __and__(self, other: Rule) -> Both:
        return Both(self, other)


@dataclass(frozen=True)
class Both(Rule):
    """The values that pass two rules; the first is asked first."""

    first: Rule
    second: Rule

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Any:
        return self.second(name, self.first(name, value, given), given)


@dataclass(frozen=True)
class Also:
    """A value that is accepted as it is, next to those of a rule."""

    name: str
    accepts: Callable[[Any], bool]


NONE = Also("None", lambda value: value is None)
SCHEDULE = Also("a schedule", callable)


@dataclass(frozen=True)
class Either(Rule):
    """The values of a rule, and others: `Number(above=0.0) | SCHEDULE | NONE`."""

    rule: Rule
    also: tuple[Also, ...]

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Any:
        return value if any(other.accepts(value) for other in self.also) else self.rule(name, value, given)

    def __or__(self, other: Also) -> Either:
        return Either(self.rule, (*self.also, other))


@dataclass(frozen=True)
class Number(Rule):
    """A finite number > above, ≥ at_least, < below, ≤ at_most; whole: an integer, kept as an int.

    at_least may be the name of another parameter. or_zero: 0 passes whatever the lower bound is. A message gives the
    bound that does not hold, or `bounds`.
    """

    above: float = -math.inf
    at_least: float | str = -math.inf
    below: float = math.inf
    at_most: float = math.inf
    whole: bool = False
    or_zero: bool = False
    bounds: str = ""

    noun = "number"

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Any:
        if type(value) not in (int, float) and (np.shape(value) != () or np.asarray(value).dtype.kind not in "iufb"):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if self.or_zero and value == 0:
            return value
        if broken := self._broken(value, self.lowest(given)):
            raise ValueError(f"{name} must be {self.bounds or broken}, got {value!r}")
        if not self.whole:
            return value
        if value != int(value):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        return int(value)

    def lowest(self, given: Mapping[str, Any] | None) -> float:
        """The bound at_least, which may be the value of another parameter."""
        return (given or {})[self.at_least] if isinstance(self.at_least, str) else self.at_least

    def _broken(self, value: float, at_least: float) -> str:
        """The bound that does not hold, or ""."""
        if not (math.isfinite(value) and value > self.above and value >= at_least):
            return f"> {self.above:g}" if self.above > -math.inf else f"≥ {at_least:g}"
        if value > self.at_most:
            return f"≤ {self.at_most:g}"
        return f"< {self.below:g}" if value >= self.below else ""

    def takes(self, value: Any) -> bool:
        return isinstance(value, int | float | np.number)


COUNT = Number(at_least=1, whole=True)
FRACTION = Number(at_least=0.0, below=1.0, bounds="≥ 0 and < 1")


@dataclass(frozen=True)
class Flag(Rule):
    """True or False. Anything else is a TypeError: the string "no" would count as true."""

    noun = "bool"

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> bool:
        if not self.takes(value):
            raise TypeError(f"{name} must be True or False, got {value!r}")
        return bool(value)

    def takes(self, value: Any) -> bool:
        return isinstance(value, bool | np.bool_)


@dataclass(frozen=True)
class OneOf(Rule):
    """One of some strings. quoted: the message reads '"a" or "b"' instead of 'one of a, b'."""

    names: tuple[str, ...]
    quoted: bool = True

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> str:
        if not (isinstance(value, str) and value in self.names):
            listed = " or ".join(f'"{n}"' for n in self.names) if self.quoted else f"one of {', '.join(self.names)}"
            raise ValueError(f"{name} must be {listed}, got {value!r}")
        return value


@dataclass(frozen=True)
class Instance(Rule):
    """An object of a class; other: or a value of another rule, such as a bool that stands for the default object."""

    kind: type
    other: Rule | None = None

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Any:
        if isinstance(value, self.kind):
            return value
        if self.other is None or not self.other.takes(value):
            other = f"{self.other.noun} or a " if self.other else ""
            raise ValueError(f"{name} must be a {other}{self.kind.__name__}, got {value!r}")
        return self.other(name, value, given)


def table(cls: type) -> dict[str, Rule]:
    """The rules of a class: those of its bases, then its own."""
    rules: dict[str, Rule] = {}
    for base in reversed(cls.__mro__):
        rules |= vars(base).get("HYPER", {})
    return rules


def checked(rules: Mapping[str, Rule], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that have a rule, as they are kept. ValueError or TypeError names the first that is refused."""
    return {name: rule(name, given[name], given) for name, rule in rules.items()}


def check(made: Any) -> None:
    """Checks the fields of a dataclass against the table of its class, and leaves them as they were given."""
    checked(table(type(made)), vars(made))


def value_at(name: str, value: float | Schedule, k: int) -> float:
    """A number, or the value of a schedule.

    Parameters
    ----------
    name : str
        The hyper-parameter, for the message.
    value : float or callable
        A number, returned as it is, or a schedule k → float.
    k : int
        The number of updates made.

    Returns
    -------
    float
        The number, or the value at k.

    Raises
    ------
    ValueError
        If the value of a schedule is no finite number ≥ 0.
    """
    return Number(at_least=0.0)(f"{name} at update {k}", float(value(k))) if callable(value) else value


def generator(rng: Any) -> np.random.Generator:
    """rng if it is a generator of random numbers, a new one with the seed 0 for None; TypeError otherwise."""
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a Generator, as np.random.default_rng(0), not {type(rng).__name__}")
    return rng
