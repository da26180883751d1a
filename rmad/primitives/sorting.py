"""Order statistics: sorting is a permutation, a quantile a mean of two elements. The order itself is constant."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.as_written.own_code import own_code
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.arguments import cast, kept, moved, refuse_out
from rmad.rules import as_array, constant
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed
from rmad.types import Array

ORDERS = "argsort argpartition argmax argmin nanargmax nanargmin lexsort"
PLACES = "searchsorted digitize nonzero flatnonzero argwhere count_nonzero"

for _name in f"{ORDERS} {PLACES}".split():
    constant(getattr(np, _name))


@composed(np.sort)
def sort(a, axis=-1, kind=None, order=None, *, stable=None) -> Array:
    if axis is None:
        a, axis = np.ravel(a), 0
    return np.take_along_axis(a, arrays.order(stop(a), axis, kind, stable), axis=axis)


@composed(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None) -> Array:
    if axis is None:
        a, axis = np.ravel(a), 0
    return np.take_along_axis(a, np.argpartition(stop(a), stop(kth), axis=axis), axis=axis)


@composed(np.unique)
def unique(
    ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True, **options
) -> Array | tuple[Array, ...]:
    """The distinct values, each taken from its first occurrence."""
    found = np.unique(stop(ar), return_index, return_inverse, return_counts, axis, equal_nan=equal_nan, **options)
    values, *others = found if isinstance(found, tuple) else (found,)
    y = _each_taken(ar, values, equal_nan) if axis is None else _rows_taken(ar, axis, equal_nan)
    return (y, *others) if others else y


def _rows_taken(x, axis, equal_nan) -> Array:
    return np.take(x, np.unique(stop(x), True, axis=axis, equal_nan=equal_nan)[1], axis)


def _each_taken(x, values, equal_nan=False) -> Array:
    """The distinct values, in the order that they have there, each taken from its first occurrence in x."""
    _, index = np.unique(stop(x), True, equal_nan=equal_nan)
    places = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.ravel(x)[index[places]]


@composed(np.unique_values)
def unique_values(x) -> Array:
    return _each_taken(x, np.unique_values(stop(x)))


def _unique(f) -> Callable[..., Any]:
    """Functions whose result is a named tuple of the distinct values and of integers."""

    def unique(x) -> Any:
        found = f(stop(x))
        return found._replace(values=_each_taken(x, found.values))

    return composed(f)(unique)


unique_all, unique_counts, unique_inverse = map(_unique, (np.unique_all, np.unique_counts, np.unique_inverse))


# -- quantiles --------------------------------------------------------------------------------------------


DISCRETE = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")  # methods that pick one element


@composed(np.median)
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False) -> Array:
    return _quantile(a, 0.5, axis, out, "linear", keepdims, _places_in_row)


@composed(np.nanmedian)
def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False) -> Array:
    return _quantile(a, 0.5, axis, out, "linear", keepdims, _places_of_present)


def _family(f, scale, places) -> Callable[..., Any]:
    def handler(
        a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None, **old
    ) -> Array:
        if old or (weights is not None and f not in (np.quantile, np.percentile)):
            raise NotImplementedError(
                f"{f.__name__} of a traced array takes no {'interpolation' if old else 'weights'}"
            )
        if weights is not None:
            return own_code(f)(a, q, axis, None, False, method, keepdims, weights=weights)
        if scale != 1:
            q = _given(q) / scale
        return _quantile(a, q, axis, out, method, keepdims, places)

    return handler


def _quantile(a, q, axis, out, method, keepdims, places) -> Any:
    """(1 - γ) x₍ⱼ₎ + γ x₍ⱼ₊₁₎, x sorted: j + γ is the place of the quantile among the ranks 0, 1, …, n - 1."""
    refuse_out(out)
    a = cast(a, None)
    if not a.size:
        return math.nan
    if isinstance(q, Traced) and method != "linear":
        raise NotImplementedError(f"the derivative with respect to q is known for method='linear', not {method!r}")
    q = _given(q)
    dtype = a.dtype if method in DISCRETE else np.result_type(a, q)  # a Python float q does not promote
    q = as_array(q)
    rows, rest = moved(a, axis)
    below, above, gamma, missing = places(rows, np.reshape(q, -1), method)
    low, high = (cast(np.take_along_axis(rows, k, axis=-1), dtype) for k in (below, above))
    y = low + arrays.moved_to(rows, gamma.astype(dtype)) * (high - low) if np.any(stop(gamma)) else low
    if np.any(missing):
        y = np.where(missing, math.nan, y)
    front = np.reshape(np.moveaxis(y, -1, 0), (*q.shape, *rest))
    return np.reshape(front, (*q.shape, *kept(a.shape, axis))) if keepdims else front


def _given(q) -> Any:
    """Lists as arrays; a Python number stays one, which promotes no dtype."""
    return q if isinstance(q, Traced | int | float) or is_cupy(q) else np.asarray(q)


def _places(q, n, method) -> tuple[Any, Any, Any]:
    """j, j + 1, γ of each quantile of n numbers. With method='linear' it is q (n - 1); else NumPy's, of the ranks.

    j is on the CPU, as its uses are a few numbers.
    """
    place = np.quantile(np.arange(float(n)), arrays.on_the_cpu(stop(q)), method=method)
    if method == "linear":
        place = q * (n - 1)
    j = np.minimum(np.floor(arrays.on_the_cpu(stop(place))), n - 1).astype(np.intp)
    return j, np.minimum(j + 1, n - 1), place - arrays.moved_to(place, j.astype(place.dtype))


def _places_in_row(rows, q, method) -> tuple[Any, Any, Any, Any]:
    """The places in each row of the two neighbours of the quantile: (…, k) indices, γ (k), rows with a NaN."""
    plain, n = stop(rows), rows.shape[-1]
    j, after, gamma = _places(q, n, method)
    order = np.argpartition(plain, np.unique([*j, *after, n - 1]).tolist(), axis=-1)
    last = np.take_along_axis(plain, order[..., -1:], axis=-1)  # NaN sorts to the end
    j, after = arrays.moved_to(order, j), arrays.moved_to(order, after)
    return order[..., j], order[..., after], gamma, np.isnan(last)


def _places_of_present(rows, q, method) -> tuple[Any, Any, Any, Any]:
    """The same among the numbers that are not NaN; rows may have different counts of them."""
    plain = stop(rows)
    order = np.argsort(plain, axis=-1)
    n = np.sum(~np.isnan(plain), axis=-1, keepdims=True)
    below = arrays.zeros(n, np.broadcast_shapes(n.shape, q.shape), np.intp)
    above, gamma = below, np.zeros_like(below, dtype=q.dtype)
    for m in arrays.on_the_cpu(np.unique(n)):
        if m > 0:
            j, after, part = (arrays.moved_to(n, a) for a in _places(q, int(m), method))
            here = n == int(m)
            below, above = np.where(here, j, below), np.where(here, after, above)
            gamma = np.where(here, part, gamma)
    return np.take_along_axis(order, below, -1), np.take_along_axis(order, above, -1), gamma, n == 0


quantile = composed(np.quantile)(_family(np.quantile, 1, _places_in_row))
percentile = composed(np.percentile)(_family(np.percentile, 100, _places_in_row))
nanquantile = composed(np.nanquantile)(_family(np.nanquantile, 1, _places_of_present))
nanpercentile = composed(np.nanpercentile)(_family(np.nanpercentile, 100, _places_of_present))
