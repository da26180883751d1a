"""Python's `math` of a traced number: the function of NumPy or SciPy with the same name, with the value of `math`.

The result is a Python number as that of `math` is, which takes the dtype of the arrays it meets.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from rmad.as_written.lists import Numbers, forgiven, holds_traced
from rmad.machine.special import sc
from rmad.traced import Traced, stop
from rmad.valued import with_value
from rmad.weak import Weak

__all__ = ["wrappers"]

_UFUNCS = {
    **{name: name for name in ["cbrt", "copysign", "cos", "cosh", "degrees", "exp", "exp2", "expm1", "fabs", "fmod"]},
    **{name: name for name in ["log10", "log1p", "log2", "radians", "sin", "sinh", "sqrt", "tan", "tanh"]},
    **{f"a{name}": f"arc{name}" for name in ["cos", "cosh", "sin", "sinh", "tan", "tanh"]},
    "atan2": "arctan2",
    "pow": "power",
}
_SPECIAL = {"erf": "erf", "erfc": "erfc", "gamma": "gamma", "lgamma": "gammaln"}
_CONSTANT = ["ceil", "floor", "isclose", "isfinite", "isinf", "isnan", "trunc"]


def _log(x: Any, base: Any = math.e) -> Any:
    return np.log(x) if base is math.e else np.log(x) / np.log(base)


def _remainder(x: Any, y: Any) -> Any:
    return x - y * np.round(stop(x) / stop(y))


def _hypot(*coordinates: Any) -> Any:
    return functools.reduce(np.hypot, coordinates, 0.0)


def _dist(p: Any, q: Any) -> Any:
    return _hypot(*(a - b for a, b in zip(p, q, strict=True)))


def _product(numbers: Any, *, start: Any = 1) -> Any:
    return functools.reduce(operator.mul, numbers, start)


def _sum_of_products(p: Any, q: Any) -> Any:
    return sum(a * b for a, b in zip(p, q, strict=True))


def _special(name: str) -> Callable[..., Any]:
    return lambda x: getattr(sc, name)(x)  # imports SciPy, which is slow


def wrappers() -> dict[str, Callable[..., Any]]:
    """For each function of `math` that a traced number may reach, one to stand in for it."""
    twins: dict[str, Callable[..., Any]] = {name: getattr(np, twin) for name, twin in _UFUNCS.items()}
    twins |= {name: _special(twin) for name, twin in _SPECIAL.items()}
    twins |= {"log": _log, "remainder": _remainder, "hypot": _hypot, "dist": _dist}
    twins |= {"fsum": sum, "prod": _product, "sumprod": _sum_of_products}
    found = {name: _of_numbers(getattr(math, name), twin) for name, twin in twins.items() if hasattr(math, name)}
    return found | {name: _constant(getattr(math, name)) for name in _CONSTANT}


def _constant(f: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*Numbers(args).values, **kwargs) if holds_traced(args) else f(*args, **kwargs)

    return call


def _of_numbers(f: Callable[..., Any], twin: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except TypeError as error:
            if not forgiven(error, (args, *kwargs.values())):
                raise
        value = f(*Numbers(args).values, **{name: Numbers(a).values for name, a in kwargs.items()})
        y = with_value(twin(*args, **kwargs), np.float64(value), f.__name__)
        return Weak(y.value, y.tape, y.index) if isinstance(y, Traced) else value

    return call
