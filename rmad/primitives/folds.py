"""Methods of ufuncs that have no rule of their own: reduce, accumulate and reduceat, as the definition has them.

    hypot.reduce(a)    hypot(hypot(a₀, a₁), a₂) …, one node for each element of the axis

Sums, products and extrema, whose rules take one node, are in `reduce`; ufunc.outer and ufunc.at are calls of the ufunc.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import axes_of, cast, kept, moved, refuse_out
from rmad.primitives.index import stretches
from rmad.rules import as_array
from rmad.tracing.handlers import HANDLERS, register
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed, numpys, scalar
from rmad.types import Array


def _reduced(ufunc, a, axis, dtype, keepdims, initial, where) -> Array:
    """The elements along the axes, one after the other, taken into y = ufunc(y, a_k)."""
    a = cast(as_array(a), dtype)
    mask = None if where is True else np.broadcast_to(stop(where), a.shape)
    rows, rest = moved(a, axis)
    parts = [rows[..., k] for k in range(rows.shape[-1])]
    masks = [None] * len(parts) if mask is None else list(np.moveaxis(moved(mask, axis)[0], -1, 0))
    has_initial = initial is not None and initial is not np._NoValue
    y: Any = None
    if has_initial or mask is not None or not parts:
        first = np.asarray(ufunc.identity, a.dtype) if not has_initial else cast(as_array(initial), a.dtype)
        y = np.broadcast_to(arrays.moved_to(stop(a), first), rest)
    for part, chosen in zip(parts, masks, strict=True):
        y = part if y is None else ufunc(y, part) if chosen is None else np.where(chosen, ufunc(y, part), y)
    return np.reshape(y, kept(a.shape, axis)) if keepdims else scalar(y) if np.ndim(y) == 0 else y


def _accumulated(ufunc, a, axis, dtype) -> Array:
    a = cast(as_array(a), dtype)
    axis = axes_of(axis, a.ndim)[0]
    rows = np.moveaxis(a, axis, 0)
    found: list[Any] = []
    for part in rows:
        found.append(ufunc(found[-1], part) if found else part)
    return np.moveaxis(np.stack(found), 0, axis) if found else a


def _reduce(ufunc) -> Callable[..., Any]:
    def reduce(array, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
        refuse_out(out)
        return _reduced(ufunc, array, axis, dtype, keepdims, initial, where)

    return reduce


def _accumulate(ufunc) -> Callable[..., Any]:
    def accumulate(array, axis=0, dtype=None, out=None) -> Array:
        refuse_out(out)
        return _accumulated(ufunc, array, axis, dtype)

    return accumulate


def _reduceat(ufunc) -> Callable[..., Any]:
    def reduceat(array, indices, axis=0, dtype=None, out=None) -> Array:
        refuse_out(out)
        a = np.moveaxis(as_array(array), axis, 0)
        y = [_reduced(ufunc, a[i:j], 0, dtype, False, None, True) for i, j in stretches(indices, len(a))]
        return np.moveaxis(np.stack(y), 0, axis) if y else a[:0]

    return reduceat


# -- extrema up to each element -------------------------------------------------------------------------------


def _running(a, top) -> Array:
    """max(a₀ … a_k) along axis 0, given its plain value: the mean of all that attain it, so ties are shared."""
    hit = _equal(stop(a), top)
    places = np.expand_dims(arrays.arange(top, len(top)), tuple(range(1, top.ndim)))
    new = np.concatenate([np.ones_like(hit[:1]), ~_equal(top[1:], top[:-1])])
    first = arrays.running(np.maximum, np.where(new, places, 0))
    number = _since(first, hit.astype(np.intp))
    if np.all(number == 1):
        return np.take_along_axis(a, first, axis=0)
    return _since(first, np.where(hit, a, 0)) / number.astype(a.real.dtype)


def _equal(a, b) -> Array:
    return (a == b) | ((a != a) & (b != b))  # NaN


def _since(first, parts) -> Array:
    """Σ parts from `first` to each place, along axis 0."""
    total = np.cumsum(parts, axis=0)
    return total + np.take_along_axis(parts - total, first, axis=0)


def _extremum(ufunc) -> Callable[..., Any]:
    def accumulate(array, axis=0, dtype=None, out=None) -> Array:
        refuse_out(out)
        a = cast(as_array(array), dtype)
        axis = axes_of(axis, a.ndim)[0]
        rows = np.moveaxis(a, axis, 0)
        return np.moveaxis(_running(rows, arrays.running(ufunc, stop(rows))), 0, axis) if a.size else a

    return accumulate


# -- the ufuncs of NumPy of two numbers ------------------------------------------------------------------------


def _constant(ufunc, name) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, name)(*stop(list(args)), **stop(kwargs))

    call.constant = True  # type: ignore[attr-defined]
    return call


_READ_AHEAD = (np.arctan2, np.power)
"""On CPUs with AVX-512, NumPy's loops of these read several running results at once, of which only the first is there:
`reduce` and `reduceat` along contiguous memory are wrong from three elements on (NumPy 2.0 to 2.4)."""


def _in_order(ufunc, name, method) -> Callable[..., Any]:
    """The method of a ufunc with NumPy's errors, and the values of the definition."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        getattr(ufunc, name)(*args, **kwargs)
        return method(*args, **kwargs)

    return call


_METHODS = {"reduce": _reduce, "accumulate": _accumulate, "reduceat": _reduceat}

composed((np.maximum, "accumulate"))(_extremum(np.maximum))
composed((np.minimum, "accumulate"))(_extremum(np.minimum))

for _ufunc in {f for f in vars(np).values() if isinstance(f, np.ufunc) and f in HANDLERS}:
    if _ufunc.signature is not None or not {"dd->d", "dd->?"} & set(_ufunc.types):
        continue
    for _name, _method in _METHODS.items():
        if hasattr(HANDLERS[_ufunc], "constant"):
            register((_ufunc, _name), _constant(_ufunc, _name))
        elif _ufunc in _READ_AHEAD and _name != "accumulate":
            register((_ufunc, _name), numpys(_in_order(_ufunc, _name, _method(_ufunc)), _method(_ufunc)))
        elif (_ufunc, _name) not in HANDLERS:
            composed((_ufunc, _name))(_method(_ufunc))
