"""Reductions and scans: sums, means, products and extrema over axes.

`where=` puts the identity of the reduction in place of the elements that it leaves out; `initial=` is one more term or
factor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from rmad.machine import arrays, fused
from rmad.primitives.arguments import (
    axes_of,
    cast,
    conj,
    count,
    dropped,
    from_end,
    initial_of,
    known,
    masked,
    moved,
    reduced_axes,
    refuse_out,
    spread,
    stacked,
)
from rmad.rules import Primitive, linear, primitive
from rmad.tracing.handlers import implements, register
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed, numpys, scalar
from rmad.types import Array, Pairs

# -- sums -----------------------------------------------------------------------------------------------


def _sum(x, axis, keepdims) -> Array:
    """np.sum. Its own way to the ufunc takes longer than a short sum."""
    return (np.add.reduce if type(x) is np.ndarray else np.sum)(x, axis=axis, keepdims=keepdims)


def _mean(x, axis, keepdims) -> Array:
    return np.mean(x, axis=axis, keepdims=keepdims)


sum = linear(_sum, lambda u, x, axis, keepdims: spread(u, x, axis, keepdims), name="sum")
mean = linear(_mean, lambda u, x, axis, keepdims: spread(u / count(x, axis), x, axis, keepdims), name="mean")


def _reduced_stack(k, block) -> Any:
    _, axis, keepdims = block.args
    return stacked(k, block, from_end(axis, block.x.ndim), keepdims)


sum.on_stack = mean.on_stack = _reduced_stack


class _Kernels:
    """Pushes and pulls of a sum or mean that write into buffers of a plan on a GPU; on the CPU they gain nothing."""

    def __init__(self, is_mean) -> None:
        self.is_mean = is_mean

    def push(self, block, new, add) -> Any:
        if not self._suits(block, new):
            return None
        axes = axes_of(block.args[1], block.x.ndim)
        return fused.Passes(lambda v, out: [fused.Total("{0}", [v], out, axes, add, mean=self.is_mean)])

    def pull(self, block, new, add) -> Any:
        if not self._suits(block, new):
            return None
        _, axis, keepdims = block.args
        factor = 1 / count(block.x, axis) if self.is_mean else 1
        return fused.Passes(lambda u, out: [fused.sum_of([(factor, spread(u, block.x, axis, keepdims))], out, add)])

    def work(self, block) -> float:
        """One addition an element counts as nothing next to products."""
        return 0.0

    def _suits(self, block, new) -> bool:
        same = block.x.dtype == block.y.dtype and block.x.dtype.char in "fd"
        return same and arrays.kind_of(new((0,), block.x.dtype)) is not np


sum.kernels, mean.kernels = _Kernels(False), _Kernels(True)


def _reduction(*functions, direct, over=None) -> Callable[..., Any]:
    """Decorator of the general case: the primitive `direct` serves calls with an axis only. Default axis: `over`."""

    def decorate(general) -> Callable[..., Any]:
        for f in functions:
            register(f, _short_or_general(direct, numpys(f, general), over))
        return general

    return decorate


def _short_or_general(direct, general, over) -> Callable[..., Any]:
    @wraps(general)
    def handler(a, axis=over, *args, **kwargs) -> Array:
        if args or (kwargs and (len(kwargs) > 1 or "keepdims" not in kwargs)):
            return general(a, axis, *args, **kwargs)
        return direct(a, axis, kwargs.get("keepdims", False))

    return handler


def given(initial) -> bool:
    return initial is not None and initial is not np._NoValue


@_reduction(np.sum, direct=sum.quick)
def general_sum(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    refuse_out(out)
    y = sum(masked(cast(a, dtype), where, 0), axis, keepdims)
    return y + initial_of(initial, y) if given(initial) else y


@_reduction(np.mean, direct=mean.quick)
def general_mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True) -> Array:
    refuse_out(out)
    a, where = cast(a, dtype), stop(where)
    if where is True:
        return mean(a, axis, keepdims)
    return mean_where(a, axis, keepdims, where)


def mean_where(a, axis, keepdims, where) -> Array:
    """The mean of the elements that the mask selects."""
    y = sum(masked(a, where, 0), axis, True) / count(a, axis, where)
    return y if keepdims else dropped(y, axis)


@implements(np.trace)
def _trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None) -> Array:
    refuse_out(out)
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


# -- extrema: the derivative is split evenly between elements that tie ----------------------------------


def _extremum(f) -> Primitive:
    """y = max x: push mean of v over the elements that attain the maximum."""

    def rule(y, x, axis, keepdims) -> Pairs:
        x, y = stop(x), stop(y)
        hit = x == spread(y, x, axis, keepdims)
        n = np.sum(hit, axis=axis, keepdims=True)
        weight = hit.astype(x.real.dtype)
        if arrays.kind_of(n) is not np or not np.all(n == 1):  # on a GPU, a look would wait for the device
            with np.errstate(invalid="ignore"):  # no element equals a maximum of NaN, whose derivative is NaN
                weight /= n.astype(weight.dtype)

        def push(v) -> Array:
            return np.sum(weight * v, axis=axis, keepdims=keepdims)

        def pull(u) -> Array:
            return weight * spread(u, weight, axis, keepdims)

        return ((push, pull),)

    return primitive(lambda x, axis, keepdims: f(x, axis=axis, keepdims=keepdims), rule, name=f.__name__)


max = _extremum(np.max)
min = _extremum(np.min)


@_reduction(*{np.max, np.amax}, direct=max)
def general_max(a, axis=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    refuse_out(out)
    return _bounded(max, np.maximum, -np.inf, a, axis, keepdims, initial, where)


@_reduction(*{np.min, np.amin}, direct=min)
def general_min(a, axis=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    refuse_out(out)
    return _bounded(min, np.minimum, np.inf, a, axis, keepdims, initial, where)


def _bounded(extremum, of_two, identity, a, axis, keepdims, initial, where) -> Array:
    """The extremum of `initial` and of those a that the mask `where` selects."""
    if not given(initial):
        return extremum(a, axis, keepdims)
    a = masked(a, where, identity)
    if any(a.shape[k] == 0 for k in reduced_axes(axis, a.ndim)):
        y = arrays.full(a, np.sum(stop(a), axis=axis, keepdims=keepdims).shape, identity)
    else:
        y = extremum(a, axis, keepdims)
    return of_two(y, initial_of(initial, y))


@composed(np.ptp)
def _ptp(a, axis=None, out=None, keepdims=False) -> Array:
    refuse_out(out)
    return max(a, axis, keepdims) - min(a, axis, keepdims)


# -- products: right even if x has zeros ------------------------------------------------------------------


def _product_rule(y, x, axis=None, keepdims=False) -> Pairs:
    """∂y/∂x_i is the product of the others: y / x_i, or by two scans if some x_i is zero."""
    d: Any
    if y.size == x.size:  # of one element each: linear, and rounding may not give it a second derivative
        d = np.ones_like(stop(x))
    else:
        d = spread(y, x, axis, keepdims) / x if arrays.is_all(stop(x) != 0) else _product_of_others(x, axis)
    return (
        (lambda v: np.sum(d * v, axis=axis, keepdims=keepdims), lambda u: conj(d) * spread(u, d, axis, keepdims)),
    )  # fmt: skip


def _product_of_others(x, axis) -> Array:
    """d_i = Π_{j≠i} x_j over `axis`: the product of all to the left of x_i times that of all to the right."""
    axes = reduced_axes(axis, x.ndim)
    flat, rest = moved(x, axis)
    one = np.ones_like(stop(flat)[..., :1])
    left = np.cumprod(np.concatenate([one, flat[..., :-1]], axis=-1), axis=-1)
    right = np.cumprod(np.concatenate([one, np.flip(flat[..., 1:], -1)], axis=-1), axis=-1)
    d = np.reshape(left * np.flip(right, -1), (*rest, *(x.shape[k] for k in axes)))
    return np.moveaxis(d, range(len(rest), x.ndim), axes)


prod = primitive(np.prod, _product_rule)


def _product(a, axis, keepdims) -> Array:
    """Π a over the axes; a itself over none."""
    if isinstance(axis, tuple) and not axis:
        return a if a.ndim else scalar(a)
    return prod(a, axis=axis, keepdims=keepdims)


@_reduction(np.prod, direct=_product)
def general_prod(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    refuse_out(out)
    a = masked(cast(a, dtype), where, 1)
    y = _product(a, axis, keepdims)
    return y * initial_of(initial, y) if given(initial) else y


# -- scans ----------------------------------------------------------------------------------------------


def _reversed(f, u, axis) -> Array:
    return np.flip(f(np.flip(u, axis)), axis)


cumsum = linear(np.cumsum, lambda u, x, axis: _reversed(lambda w: np.cumsum(w, axis=axis), u, axis))
cumsum.on_stack = lambda k, block: stacked(k, block, axis=from_end(block.kwargs["axis"], block.x.ndim))


def _recurrence(a, w) -> Array:
    """t_k = a_k t_{k-1} + w_k along the last axis, t_{-1} = 0, in log₂ n steps of doubling reach."""
    reach, n = 1, w.shape[-1]
    while reach < n:
        step = w[..., reach:] + a[..., reach:] * w[..., :-reach]
        w = np.concatenate([w[..., :reach], step], axis=-1)
        a = np.concatenate([a[..., :reach], a[..., reach:] * a[..., :-reach]], axis=-1)
        reach *= 2
    return w


def _cumprod_rule(y, x, axis) -> Pairs:
    """y_k = x_k y_{k-1}, so t_k = x_k t_{k-1} + y_{k-1} v_k: no division, hence right even if x has zeros."""
    x, y = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
    one = np.ones_like(stop(y)[..., :1])
    before = np.concatenate([one, y[..., :-1]], axis=-1)
    after = np.concatenate([one, conj(np.flip(x[..., 1:], -1))], axis=-1)  # x_{k+1}, from the end

    def push(v) -> Array:
        return np.moveaxis(_recurrence(x, before * np.moveaxis(v, axis, -1)), -1, axis)

    def pull(u) -> Array:
        s = np.flip(_recurrence(after, np.flip(np.moveaxis(u, axis, -1), -1)), -1)
        return np.moveaxis(conj(before) * s, -1, axis)

    return ((push, pull),)


cumprod = primitive(np.cumprod, _cumprod_rule)


def _scan(scan) -> Callable[..., Any]:
    def handler(a, axis=None, dtype=None, out=None) -> Array:
        refuse_out(out)
        a = cast(a, dtype)
        if axis is None or a.ndim == 0:
            return scan(np.ravel(a), axis=0 if axis is None else axis)
        return scan(a, axis=axis)

    return handler


register(np.cumsum, _scan(cumsum))
register(np.cumprod, _scan(cumprod))


def _cumulative(scan, identity) -> Callable[..., Any]:
    """The array-API scans: one axis, and the identity in front if asked for."""

    def handler(x, /, *, axis=None, dtype=None, out=None, include_initial=False) -> Array:
        x = np.atleast_1d(x)
        if axis is None:
            if x.ndim != 1:
                raise ValueError(f"axis must be given for an array of more than one dimension, x has shape {x.shape}")
            axis = 0
        x = cast(x, dtype)
        if not include_initial:
            return scan(x, axis=axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis)  # as accumulate has it
        y = scan(x, axis=axis)
        first = arrays.full(y, [1 if k == axis % y.ndim else n for k, n in enumerate(y.shape)], identity)
        return np.concatenate([first, y], axis=axis)

    return handler


implements(*known("cumulative_sum"))(_cumulative(cumsum, 0))
implements(*known("cumulative_prod"))(_cumulative(cumprod, 1))


# -- methods of ufuncs ----------------------------------------------------------------------------------


def _reduce(reduction) -> Callable[..., Any]:
    """ufunc.reduce, whose arguments have another order than those of the function."""

    def reduce(array, axis, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
        refuse_out(out)
        return reduction(cast(array, dtype), axis=axis, keepdims=keepdims, initial=initial, where=where)

    return reduce


def _accumulate(scan) -> Callable[..., Any]:
    """ufunc.accumulate: over one axis, 0 unless told otherwise, which may be given as a tuple."""
    return lambda array, axis=0, dtype=None, out=None: scan(cast(array, dtype), axis=axes_of(axis, array.ndim)[0])


for _ufunc, _direct, _handler in (
    (np.add, sum.quick, general_sum),
    (np.multiply, _product, general_prod),
    (np.maximum, max, general_max),
    (np.minimum, min, general_min),
):
    _reduction((_ufunc, "reduce"), direct=_direct, over=0)(_reduce(_handler))
for _ufunc, _handler in ((np.add, cumsum), (np.multiply, cumprod)):
    composed((_ufunc, "accumulate"))(_accumulate(_handler))


@composed((np.logaddexp, "reduce"))
def _logsumexp(array, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True) -> Array:
    """log Σ exp a, shifted by the maximum so that nothing overflows."""
    a = masked(cast(array, dtype), where, -np.inf)
    top = np.max(stop(a), axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # log 0 = -inf is right if all of a is -inf
        y = np.log(np.sum(np.exp(a - top), axis=axis, keepdims=True)) + top
    y = y if keepdims else dropped(y, axis)
    return np.logaddexp(y, initial_of(initial, y)) if given(initial) else y
