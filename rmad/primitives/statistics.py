"""Averages, variances, and the reductions that ignore NaN, written in sums, which have rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from rmad.primitives.arguments import axes_of, cast, count, dropped, masked, refuse_out
from rmad.primitives.reduce import general_max, general_min, general_prod, general_sum, given, mean_where
from rmad.rules import as_array
from rmad.singular.limits import Length, at_zero, pole, ratio
from rmad.tracing.handlers import register
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed, numpys
from rmad.trees.leaf import real_dtype
from rmad.types import Array, Pairs

NONE = np._NoValue  # for arguments that are not given, as in NumPy


def _squared_modulus(x) -> Array:
    return np.square(np.real(x)) + np.square(np.imag(x)) if x.dtype.kind == "c" else np.square(x)


def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NONE, correction=NONE) -> Array:
    """Σ |a - mean|² / (n - ddof)."""
    refuse_out(out)
    a, where = cast(a, dtype), stop(where)
    a = masked(a, where, 0)  # a NaN that is left out stays out of the residuals too
    if mean is NONE:
        mean = mean_where(a, axis, True, where)
    n = count(a, axis, where) - (ddof if correction is NONE else correction)
    n = np.maximum(n, 0).astype(real_dtype(a.dtype))
    squares = masked(_squared_modulus(a - mean), where, 0)
    y = np.sum(squares, axis=axis, keepdims=True) / n
    return y if keepdims else dropped(y, axis)


def _direct_or_exact(f, handler) -> None:
    """Registers var or std. In its simplest case, the most frequent one, the handler itself computes as NumPy does."""
    exact = numpys(f, handler)

    @wraps(handler)
    def choose(a, axis=None, *args, **kwargs) -> Array:
        simple = not args and kwargs.keys() <= {"ddof", "keepdims"} and a.size and a.ndim and a.dtype.char in "fd"
        return (handler if simple else exact)(a, axis, *args, **kwargs)

    register(f, choose)


_direct_or_exact(np.var, var)


def _root_rule(y, x) -> Pairs:
    if at_zero(y) is None:
        d = np.where(y == 0, 0, 0.5 / np.where(y == 0, 1, y)).astype(y.dtype)
        return ((lambda v: d * v, lambda u: d * u),)
    return ((lambda v: pole(0.5 * v, y), lambda u: 0.5 * ratio(u, y)),)


_root_at_zero = Length(lambda x: np.sqrt(x), _root_rule, "square root at zero")


def _root(x) -> Array:
    """√x with derivative 0 at x = 0: the deviation of equal numbers is at its minimum."""
    return _root_at_zero(x) if np.any(stop(x) == 0) else np.sqrt(x)


def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NONE, correction=NONE) -> Array:
    """√var; its derivative is 0 if all elements are equal."""
    return _root(var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


_direct_or_exact(np.std, std)


@composed(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False) -> Array | tuple[Array, Array]:
    """Σ w a / Σ w."""
    a = as_array(a)
    if weights is None:
        y = np.mean(a, axis=axis, keepdims=keepdims)
        total = np.full_like(stop(y), count(a, axis))
        return (y, total) if returned else y
    weights = as_array(weights)
    if weights.shape != a.shape:
        weights = _aligned(weights, a.shape, axis)
    total = np.sum(weights, axis=axis, keepdims=keepdims)
    if np.any(stop(total) == 0):
        raise ZeroDivisionError("weights sum to zero, can't be normalized")
    y = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (y, np.broadcast_to(total, y.shape)) if returned else y


def _aligned(weights, shape, axis) -> Array:
    """Weights given along `axis` only, with their axes in the places of those of a."""
    if axis is None:
        raise TypeError(f"axis must be given when a has shape {shape} and weights {weights.shape}")
    axes = axes_of(axis, len(shape))
    if weights.shape != tuple(shape[k] for k in axes):
        raise ValueError(f"weights of shape {weights.shape} do not fit a of shape {shape} along axis {axis}")
    weights = np.transpose(weights, np.argsort(axes))
    return np.reshape(weights, [n if k in axes else 1 for k, n in enumerate(shape)])


# -- NaN counts as missing ------------------------------------------------------------------------------


def _present(a, where=True) -> Array:
    return ~np.isnan(stop(a)) & stop(where)


@composed(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    return general_sum(a, axis, dtype, out, keepdims, initial, _present(a, where))


@composed(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    return general_prod(a, axis, dtype, out, keepdims, initial, _present(a, where))


@composed(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True) -> Array:
    refuse_out(out)
    a = cast(a, dtype)
    return mean_where(a, axis, keepdims, _present(a, where))


@composed(np.nanvar)
def nanvar(
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NONE, correction=NONE
) -> Array:
    where = _present(a, where)
    return var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)


@composed(np.nanstd)
def nanstd(
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=NONE, correction=NONE
) -> Array:
    return _root(nanvar(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


def _nan_extremum(f, identity) -> Callable[..., Any]:
    """The extremum of all that is not NaN; NaN if nothing is left."""

    def handler(a, axis=None, out=None, keepdims=False, initial=NONE, where=True) -> Array:
        present = _present(a, where)
        if not given(initial) and np.all(present):
            return f(a, axis, out, keepdims)
        y = f(a, axis, out, keepdims, initial if given(initial) else identity, present)
        if given(initial):
            return y
        return np.where(np.any(present, axis=axis, keepdims=keepdims), y, math.nan)

    return handler


nanmax = composed(np.nanmax)(_nan_extremum(general_max, -math.inf))
nanmin = composed(np.nanmin)(_nan_extremum(general_min, math.inf))


@composed(np.nancumsum)
def nancumsum(a, axis=None, dtype=None, out=None) -> Array:
    return np.cumsum(np.where(_present(a), a, 0), axis, dtype, out)


@composed(np.nancumprod)
def nancumprod(a, axis=None, dtype=None, out=None) -> Array:
    return np.cumprod(np.where(_present(a), a, 1), axis, dtype, out)
