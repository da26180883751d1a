"""A distribution as its formulas in standard form; location, scale, support and broadcasting are the same for all.

A formula sees standardized numbers inside the support, z = (x - loc) / scale, and valid parameters only. Everywhere
else it gets the harmless numbers `inside` and 1, and its result is replaced by -inf, 0, 1 or NaN. So no derivative is
ever 0 · inf there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad.as_written.lists import as_array
from rmad.machine import arrays
from rmad.tracing.traced import Traced, stop
from rmad.types import Array

__all__ = ["Continuous", "Discrete", "Frozen", "doubles", "positive"]

Formula = Callable[..., Any]


def doubles(x: Any) -> Any:
    """x in double precision, as SciPy's distributions compute; lists may hold traced numbers."""
    x = x if hasattr(x, "__array_function__") and x.dtype.kind != "O" else as_array(x)[()]
    if x.dtype.kind not in "biuf":
        raise TypeError(f"densities are functions of real numbers, not of {x.dtype}")
    dtype = np.result_type(x.dtype, np.float64)
    return x if x.dtype == dtype else x.astype(dtype)


def positive(*parameters: Any) -> Any:
    """True where all parameters are positive, which is all that most distributions want."""
    valid: Any = np.True_
    for p in parameters:
        valid = valid & (p > 0)
    return valid


class Standard(NamedTuple):
    """z = (x - loc) / scale and what goes with it; the masks are plain."""

    z: Any
    shapes: list[Any]
    scale: Any  # None for one
    full: tuple[int, ...]  # the shape of the result
    defined: Any  # True where the parameters are valid and z is a number
    inside: Any  # True where z is also in the support
    above: Any  # True where it is above the support


class Distribution:
    """What distributions of one variable share.

    name: SciPy's; shapes: the names of SciPy's shape parameters; doc: the formula, for help().
    support: (low, high) of z, numbers or functions of the shapes; closed: its ends, if they are finite, belong to it.
    inside: a number in the support for any shapes; valid: (shapes) → which shapes are valid.
    """

    density: str
    scaled: bool

    def __init__(
        self,
        name: str,
        shapes: str,
        doc: str,
        log_density: Formula,
        *,
        cdf: Formula,
        sf: Formula,
        logcdf: Formula | None = None,
        logsf: Formula | None = None,
        ppf: Formula | None = None,
        isf: Formula | None = None,
        support: tuple[Any, Any] = (-np.inf, np.inf),
        closed: bool = True,
        inside: float = 0.0,
        valid: Formula = positive,
    ) -> None:
        self.name, self.shapes, self.__doc__ = name, tuple(shapes.split()), doc
        self.log_density, self.support, self.closed, self.inside, self.valid = (
            log_density,
            support,
            closed,
            inside,
            valid,
        )
        self.formulas = {"cdf": cdf, "sf": sf, "logcdf": logcdf, "logsf": logsf}
        self.quantiles = {"ppf": ppf, "isf": isf}
        self.parameters = (*self.shapes, "loc", "scale") if self.scaled else (*self.shapes, "loc")

    def __repr__(self) -> str:
        return f"<rmad.stats.{self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        """The distribution with its parameters fixed: norm(mu, sigma).logpdf(x)."""
        self._parsed("()", args, kwargs)
        return Frozen(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"rmad.stats.{self.name} has no {name!r}; of plain numbers, see scipy.stats.{self.name}.{name}"
        )

    # -- the methods ------------------------------------------------------------------------------------------------

    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """P(X ≤ x)"""
        return self._distribution("cdf", x, args, kwargs, (0.0, 1.0))

    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """P(X > x) = 1 - cdf(x), accurate where it is small."""
        return self._distribution("sf", x, args, kwargs, (1.0, 0.0))

    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """log P(X ≤ x)"""
        return self._distribution("logcdf", x, args, kwargs, (-np.inf, 0.0))

    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """log P(X > x)"""
        return self._distribution("logsf", x, args, kwargs, (0.0, -np.inf))

    def _log_density(self, method: str, x: Any, args: Any, kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            s = self._standard(method, x, args, kwargs, self._holds)
            y = self.log_density(s.z, *s.shapes)
            if s.scale is not None:
                y = y - np.log(s.scale)
            return _filled(y, s, -np.inf, -np.inf)

    def _distribution(self, method: str, x: Any, args: Any, kwargs: Any, ends: tuple[float, float]) -> Any:
        formula = self.formulas[method]
        with np.errstate(all="ignore"):
            s = self._standard(method, x, args, kwargs, self._holds_inner)
            z = self._whole(s.z)
            y = formula(z, *s.shapes) if formula else self._logarithm(method[3:], z, s.shapes)
            return _filled(y, s, *ends)

    def _logarithm(self, method: str, z: Any, shapes: Sequence[Any]) -> Any:
        """log p, and log1p(-q) with q = 1 - p where p is near one: there log p would lose the digits of q."""
        p, q = (self.formulas[name] for name in (("cdf", "sf") if method == "cdf" else ("sf", "cdf")))
        y = p(z, *shapes)  # type: ignore[misc]
        small = stop(y) < 0.5
        if arrays.is_all(small):
            return np.log(y)
        rest = np.where(small, 0, q(z, *shapes))  # type: ignore[misc]
        return np.where(small, np.log(np.where(small, y, 1)), np.log1p(-rest))

    # -- arguments ----------------------------------------------------------------------------------------------------

    def _parsed(self, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Parameters by name, as a call of Python would bind them."""
        what = f"{self.name}{method}" if method == "()" else f"{self.name}.{method}"
        if len(args) > len(self.parameters):
            raise TypeError(f"{what} takes {', '.join(self.parameters)} next to x, but got {len(args)} of them")
        given = dict(zip(self.parameters, args, strict=False))
        for name, value in kwargs.items():
            if name not in self.parameters:
                raise TypeError(f"{what} has no parameter {name!r}, it takes {', '.join(self.parameters)}")
            if name in given:
                raise TypeError(f"{what} got two values of {name}")
            given[name] = value
        if missing := [name for name in self.shapes if name not in given]:
            raise TypeError(f"{what} needs the parameter {', '.join(missing)}")
        return given

    def _standard(self, method: str, x: Any, args: Any, kwargs: Any, holds: Formula) -> Standard:
        given = {name: doubles(value) for name, value in self._parsed(method, args, kwargs).items()}
        x, loc, scale = doubles(x), given.get("loc"), given.get("scale")
        shapes = [given[name] for name in self.shapes]
        full = np.broadcast_shapes(x.shape, *(p.shape for p in given.values()))
        z = stop(x) if loc is None else stop(x) - stop(loc)
        z = z if scale is None else z / stop(scale)
        valid = self.valid(*map(stop, shapes))
        if scale is not None:
            valid = valid & (stop(scale) > 0)
        if not arrays.is_all(valid):
            shapes = [np.where(valid, p, 1.0) for p in shapes]
            scale = None if scale is None else np.where(valid, scale, 1.0)
        low, high = (end(*map(stop, shapes)) if callable(end) else end for end in self.support)
        defined = valid & ~np.isnan(z)
        above = defined & (z >= high)
        inside = defined & holds(z, low, high)
        finite = np.isfinite(z)
        if not arrays.is_all(finite):
            x = np.where(finite, x, 0.0)
            loc = None if loc is None else np.where(finite, loc, 0.0)
        z = x if loc is None else x - loc
        z = z if scale is None else z / scale
        if not arrays.is_all(inside):
            z = np.where(inside, z, self.inside)
        return Standard(z, shapes, scale, full, defined, inside, above)

    def _holds(self, z: Any, low: Any, high: Any) -> Any:
        """True where the density is given by the formula."""
        raise NotImplementedError

    def _holds_inner(self, z: Any, low: Any, high: Any) -> Any:
        """True where the distribution function is given by the formula."""
        raise NotImplementedError

    def _whole(self, z: Any) -> Any:
        return z


def _filled(y: Any, s: Standard, below: float, above: float) -> Any:
    """y inside the support, `below` and `above` outside of it, NaN where nothing is defined."""
    if not arrays.is_all(s.inside):
        outside = np.where(s.defined, np.where(s.above, above, below), np.nan)
        y = np.where(s.inside, y, outside)
    y = y if y.shape == s.full else np.copy(np.broadcast_to(y, s.full))
    return y if isinstance(y, Traced) else y[()]


class Continuous(Distribution):
    """A density of z, with loc and scale."""

    scaled = True

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """log of the density at x; -inf outside the support, NaN for invalid parameters"""
        return self._log_density("logpdf", x, args, kwargs)

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """The density at x"""
        return np.exp(self._log_density("pdf", x, args, kwargs))  # type: ignore[no-any-return]

    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Array:
        """The quantile: x with P(X ≤ x) = q; NaN unless 0 ≤ q ≤ 1"""
        return self._quantile("ppf", q, args, kwargs)

    def isf(self, q: Any, *args: Any, **kwargs: Any) -> Array:
        """x with P(X > x) = q, accurate where q is small"""
        return self._quantile("isf", q, args, kwargs)

    def _quantile(self, method: str, q: Any, args: Any, kwargs: Any) -> Any:
        given = {name: doubles(value) for name, value in self._parsed(method, args, kwargs).items()}
        q, shapes = doubles(q), [given[name] for name in self.shapes]
        full = np.broadcast_shapes(q.shape, *(p.shape for p in given.values()))
        loc, scale = given.get("loc", 0.0), given.get("scale", 1.0)
        at = stop(q)
        valid = self.valid(*map(stop, shapes)) & (stop(scale) > 0) & (at >= 0) & (at <= 1)
        inner = valid & (at > 0) & (at < 1)
        with np.errstate(all="ignore"):
            shapes = [np.where(inner, p, 1.0) for p in shapes]
            z = self.quantiles[method](np.where(inner, q, 0.5), *shapes)  # type: ignore[misc]
            low, high = (end(*map(stop, shapes)) if callable(end) else end for end in self.support)
            ends = np.where(at == (method == "isf"), low, high)
            far = np.isinf(ends) & ~inner
            y = loc + scale * np.where(inner, z, np.where(far, 0.0, ends))
            y = np.where(valid & ~far, y, np.where(valid, ends, np.nan))
        y = y if y.shape == full else np.copy(np.broadcast_to(y, full))
        return y if isinstance(y, Traced) else y[()]

    def _holds(self, z: Any, low: Any, high: Any) -> Any:
        if self.closed:
            return (z >= low) & (z <= high) & np.isfinite(z)
        return (z > low) & (z < high)

    def _holds_inner(self, z: Any, low: Any, high: Any) -> Any:
        return (z > low) & (z < high)


class Discrete(Distribution):
    """Probabilities of whole numbers k, with loc.

    The derivative of logpmf in k is that of the formula, which continues it between the whole numbers; distribution
    functions are steps in k.
    """

    scaled = False

    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Array:
        """log P(X = k); -inf outside the support, NaN for invalid parameters"""
        return self._log_density("logpmf", k, args, kwargs)

    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Array:
        """P(X = k)"""
        return np.exp(self._log_density("pmf", k, args, kwargs))  # type: ignore[no-any-return]

    def _holds(self, z: Any, low: Any, high: Any) -> Any:
        return (z >= low) & (z <= high) & (np.floor(z) == z) & np.isfinite(z)

    def _holds_inner(self, z: Any, low: Any, high: Any) -> Any:
        return (z >= low) & (z < high)

    def _whole(self, z: Any) -> Any:
        return np.floor(z)


class Frozen:
    """A distribution with its parameters: frozen.logpdf(x) = distribution.logpdf(x, *args, **kwargs)."""

    def __init__(self, dist: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.dist, self.args, self.kwds = dist, args, kwargs

    def __repr__(self) -> str:
        return f"<rmad.stats.{self.dist.name} with its parameters>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.dist, name)
        return lambda x: method(x, *self.args, **self.kwds)
