"""Python's `math`, `cmath` and `statistics` of traced numbers: functions of NumPy and SciPy, with Python's values.

The result is a Python number where that of the module is, and takes the dtype of the arrays it meets.
"""

from __future__ import annotations

import cmath
import functools
import math
import operator
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

from rmad.as_written.lists import Numbers, as_array, holds_traced
from rmad.machine.special import sc
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import with_value
from rmad.tracing.weak import Weak

__all__ = ["MODULES", "wrappers"]

MODULES = ("math", "cmath", "statistics")

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


def _of_math() -> dict[str, Callable[..., Any]]:
    twins: dict[str, Callable[..., Any]] = {name: getattr(np, twin) for name, twin in _UFUNCS.items()}
    twins |= {name: _special(twin) for name, twin in _SPECIAL.items()}
    twins |= {"log": _log, "remainder": _remainder, "hypot": _hypot, "dist": _dist}
    return twins | {"fsum": sum, "prod": _product, "sumprod": _sum_of_products}


# -- complex numbers -------------------------------------------------------------------------------------------


def _of_complex(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy in the complex plane, of real numbers, too."""
    return lambda *args: f(*(as_array(a) + 0j for a in args))


def _polar(z: Any) -> Any:
    return np.abs(z), np.angle(z)


def _of_cmath() -> dict[str, Callable[..., Any]]:
    twins = {name: _of_complex(getattr(np, twin)) for name, twin in _UFUNCS.items() if hasattr(cmath, name)}
    return twins | {
        "log": _of_complex(_log),
        "phase": _of_complex(np.angle),
        "polar": _of_complex(_polar),
        "rect": lambda r, phi: r * np.exp(1j * phi),
    }


# -- statistics ------------------------------------------------------------------------------------------------


def _mean(data: Any, weights: Any = None) -> Any:
    return np.average(as_array(data), weights=None if weights is None else as_array(weights))


def _geometric_mean(data: Any) -> Any:
    return np.exp(np.mean(np.log(as_array(data))))


def _harmonic_mean(data: Any, weights: Any = None) -> Any:
    return 1 / _mean(1 / as_array(data), weights)


def _variance(ddof: int, power: float) -> Callable[..., Any]:
    def variance(data: Any, centre: Any = None, *, mu: Any = None, xbar: Any = None) -> Any:
        a = as_array(data)
        given = [c for c in (centre, mu, xbar) if c is not None]
        squares = (a - (given[0] if given else np.mean(a))) ** 2
        return (np.sum(squares) / (len(a) - ddof)) ** power

    return variance


def _covariance(x: Any, y: Any) -> Any:
    return np.cov(as_array(x), as_array(y))[0, 1]


def _correlation(x: Any, y: Any, /, *, method: str = "linear") -> Any:
    if method == "ranked":
        x, y = (np.argsort(np.argsort(stop(as_array(a)))) for a in (x, y))
    return np.corrcoef(as_array(x), as_array(y))[0, 1]


def _linear_regression(x: Any, y: Any, /, *, proportional: bool = False) -> Any:
    x, y = as_array(x), as_array(y)
    if proportional:
        return x @ y / (x @ x), 0.0
    slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    return slope, np.mean(y) - slope * np.mean(x)


_STATISTICS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("mean", "fmean"), _mean),
    "geometric_mean": _geometric_mean,
    "harmonic_mean": _harmonic_mean,
    **{"pvariance": _variance(0, 1.0), "pstdev": _variance(0, 0.5)},
    **{"variance": _variance(1, 1.0), "stdev": _variance(1, 0.5)},
    "covariance": _covariance,
    "correlation": _correlation,
    "linear_regression": _linear_regression,
}
"""Functions that make fractions of the numbers. The others, such as `median`, sort and add, which needs no rule."""


# -- wrappers --------------------------------------------------------------------------------------------------


def wrappers(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """For each function of one of the MODULES that a traced number may reach, one to stand in for it."""
    twins = {"math": _of_math, "cmath": _of_cmath, "statistics": _STATISTICS.copy}[module.__name__]()
    own = vars(module)
    found = {name: _of_numbers(own[name], twin) for name, twin in twins.items() if name in own}
    return found | {name: _constant(own[name]) for name in _CONSTANT if name in own}


def _constant(f: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*Numbers(args).values, **kwargs) if holds_traced(args) else f(*args, **kwargs)

    return call


def _of_numbers(f: Callable[..., Any], twin: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(f)
    def call(*given: Any, **options: Any) -> Any:
        args = [list(a) if hasattr(a, "__next__") else a for a in given]
        if not holds_traced(args) and not holds_traced(list(options.values())):
            above = any(hasattr(a, "above_traced") for a in args)
            return twin(*args, **options) if above else f(*args, **options)
        try:
            value = f(*Numbers(args).values, **{name: Numbers(a).values for name, a in options.items()})
        except TypeError as error:
            shapes = [a.shape for a in args if isinstance(a, Traced) and a.shape]
            if shapes and f.__name__ in _UFUNCS:
                takes = f"np.{_UFUNCS[f.__name__]} takes arrays"
                error.add_note(f"math.{f.__name__} takes numbers, and got an array of shape {shapes[0]}; {takes}.")
            raise
        return _pythons(with_value(twin(*args, **options), value, f.__name__), value)

    return call


def _pythons(y: Any, value: Any) -> Any:
    """The traced numbers in y as Python's, where those in value are."""
    if isinstance(value, tuple):
        parts = [_pythons(a, b) for a, b in zip(y, value, strict=True)]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(y, Traced):
        return value
    return y if isinstance(value, np.generic) else Weak(y.value, y.tape, y.index)
