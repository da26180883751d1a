"""Published settings as sets of hyper-parameters: HessianFree.preset(name, model, loss, updates=…), and SGN's "paper".

The recipes of section 13 for HessianFree:

    original   [22]: gradient on much data, curvature on a chunk, up to 250 CG steps, CG-backtracking
    held-out   CG ends when the curvature batch gets worse, δ chosen on other data, warm start from the worst
    momentum   short runs of CG on small batches, warm start raised late, the step lowered at the end
    rnn        Martens & Sutskever (2011): structural damping, 300 CG steps, no preconditioner

References
----------
Martens & Sutskever (2012), section 13; where it is silent, Martens' MATLAB code and Sutskever et al. (2013);
Gargiani, Zanelli, Diehl & Hutter (2020) with the constants of the authors' code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optim.hyper import COUNT, OneOf, Rule, checked
from optim.parts.selection import HeldOut
from optim.parts.structural import StructuralDamping

__all__ = ["PRESETS", "SGN", "Phases", "named", "preset"]


@dataclass(frozen=True)
class Phases:
    """A schedule in phases: ((0, a), (k₁, b), …) is a from update 0 on, b from update k₁ on, and so forth.

    Parameters
    ----------
    phases : tuple of (int, float)
        Pairs of an update and the value from there on; they start at update 0 and come in order.

    Raises
    ------
    ValueError
        If they do not.

    Examples
    --------
    >>> from optim import Phases
    >>> [Phases(((0, 0.9), (2, 0.5)))(k) for k in range(4)]
    [0.9, 0.9, 0.5, 0.5]
    """

    phases: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        starts = [k for k, _ in self.phases]
        if not starts or starts[0] != 0 or any(a >= b for a, b in pairwise(starts)):
            raise ValueError(f"phases must start at update 0 and come in order, got {self.phases!r}")

    def __call__(self, k: int) -> float:
        return self.phases[bisect_right([start for start, _ in self.phases], k) - 1][1]


@dataclass(frozen=True)
class Late:
    """A schedule: `start` until update `at`, then in a straight line to `end` at update `last`, and no further."""

    start: float
    at: int
    end: float
    last: int

    def __call__(self, k: int) -> float:
        w = min(max((k - self.at) / max(1, self.last - self.at), 0.0), 1.0)
        return (1 - w) * self.start + w * self.end


def _decay_of_weights(updates: int) -> Phases:
    """Section 13: "use such regularization at the beginning … only to disable it near the end"; 2e-5: Martens' code."""
    return Phases(((0, 2e-5), (max(1, round(0.8 * updates)), 0.0)))


def _original(updates: int) -> dict[str, Any]:
    return {"damping": 45.0, "cg_iterations": 250, "decay": 0.95, "l2": _decay_of_weights(updates)}


def _held_out(updates: int) -> dict[str, Any]:
    return {**_original(updates), "backtracking": HeldOut()}


def _momentum(updates: int) -> dict[str, Any]:
    late = max(1, round(0.6 * updates))
    return {
        "damping": 45.0,
        "cg_iterations": 50,
        "decay": Phases(((0, 0.95), (late, 0.995))),
        "lr": Late(1.0, late, 0.1, updates),
        "backtracking": False,
        "l2": _decay_of_weights(updates),
    }


def _rnn(updates: int) -> dict[str, Any]:
    return {"damping": 0.01, "cg_iterations": 300, "preconditioner": False, "structural": StructuralDamping(0.03)}


PRESETS: dict[str, Callable[[int], dict[str, Any]]] = {
    "original": _original,
    "held-out": _held_out,
    "momentum": _momentum,
    "rnn": _rnn,
}

SGN: dict[str, dict[str, Any]] = {
    "paper": {"damping": 1e-3, "damping_min": 1e-6, "cg_iterations": 10, "preconditioner": False},
}

HYPER: dict[str, Rule] = {"preset": OneOf(tuple(PRESETS), quoted=False), "updates": COUNT}


def preset(name: str, updates: int = 1000) -> dict[str, Any]:
    """The hyper-parameters of a recipe.

    Parameters
    ----------
    name : {"original", "held-out", "momentum", "rnn"}
        The recipe.
    updates : int, default 1000
        Length of the run, ≥ 1.

    Returns
    -------
    dict
        Arguments of `optim.HessianFree`.

    Raises
    ------
    ValueError
        If the name is unknown or `updates` out of range.
    """
    given = checked(HYPER, {"preset": name, "updates": updates})
    return {"automatic": False} | PRESETS[given["preset"]](given["updates"])


def named(settings: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """One of some settings; ValueError if there is none of that name."""
    return settings[OneOf(tuple(settings), quoted=False)("preset", name)]
