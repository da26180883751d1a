"""Calls and writes in the user's own code that take plain numbers only: the end of the error for a traced one.

    rng.choice(x, 5)    compiled code of np.random asks x for a plain array; x[rng.choice(len(x), 5)] has a derivative

Code that is compiled has no frame, so the line that calls it seems to ask. The source of the line says what it calls.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np

from rmad.errors.source import called_at, written_at

__all__ = ["is_cast_to_integers", "of_line"]

_DRAWS = {
    "choice": "x[{rng}.choice(len(x), …)]",
    "permutation": "x[{rng}.permutation(len(x))]",
    "permuted": "x[{rng}.permutation(len(x))]",
    "shuffle": "x = x[{rng}.permutation(len(x))]",
    **dict.fromkeys(("normal", "laplace", "logistic", "gumbel"), "loc + scale * {rng}.{name}(size=…)"),
    **dict.fromkeys(("exponential", "rayleigh"), "scale * {rng}.{name}(size=…)"),
    "lognormal": "np.exp(mean + sigma * {rng}.normal(size=…))",
    "multivariate_normal": "mean + np.linalg.cholesky(cov) @ {rng}.normal(size=len(mean))",
    "uniform": "low + (high - low) * {rng}.uniform(size=…)",
    "weibull": "{rng}.exponential(size=…) ** (1 / a)",
}
"""Per function of np.random, with a traced array in its arguments, what has the same distribution and a derivative."""


def of_line(frame: FrameType | None) -> str:
    """Says what the line of a frame calls or writes into, and what to write instead; empty if that is not known."""
    if frame is None:
        return ""
    if found := called_at(frame):
        return _of_call(*found)
    if name := written_at(frame):
        return (
            f"{name} is a plain array that rmad does not follow; write into one that the function makes, as "
            f"np.zeros(n) or np.array({name}) in it does"
        )
    return ""


def is_cast_to_integers(frame: FrameType) -> bool:
    """True if the line of the frame calls np.int64 or its like, of which the result is a constant."""
    f = (called_at(frame) or ("", None))[1]
    return isinstance(f, type) and issubclass(f, np.integer | np.bool_)


def _of_call(name: str, f: Any) -> str:
    short = getattr(f, "__name__", "")
    module: str = getattr(f, "__module__", None) or type(getattr(f, "__self__", None)).__module__
    if module.startswith("numpy.random"):
        instead = _DRAWS.get(short, "a distribution of fixed numbers, scaled by the traced ones")
        return f"{name} takes plain numbers only; use {instead.format(rng=name.rpartition('.')[0], name=short)}"
    if isinstance(f, np.ufunc):
        return f"{name} takes no lists of traced numbers; use np.array([…]) around a list, {name}(np.array([…]))"
    if f is complex:
        return "complex(a, b) makes a number of Python's; use a + 1j * b"
    if isinstance(f, type) and module == "numpy":
        return f"{name}(x) makes a plain number; use x.astype({name})"
    home = module.partition(".")[0]
    if home not in ("math", "cmath", "numpy"):
        return ""
    if "." not in name and hasattr(sys.modules[home], short):  # imported before a function for traced numbers was there
        instead = f"{'np' if home == 'numpy' else home}.{short}"
        return f"{name} by itself is that of {home}, for plain numbers; use {instead}, by that name"
    return f"{name} takes plain numbers only; use np.{short}" if hasattr(np, short) else ""
