"""Functions sampled on a grid: differences, gradients, integrals, interpolation."""

from __future__ import annotations

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import axes_of, cast, from_end, kept, stacked
from rmad.rules import as_array, linear
from rmad.tracing.handlers import implements
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed
from rmad.types import Array


def _difference_transpose(u, x, n, axis) -> Array:
    """y_j = x_{j+1} - x_j, so x̄_i = u_{i-1} - u_i: minus the differences of u between a zero in front and one behind.

    Of n differences the signs multiply, and n zeros stand on either side.
    """
    if n == 0 or not u.size:
        return u if n == 0 else arrays.zeros(u, x.shape)
    shape = [n if k == axis % x.ndim else m for k, m in enumerate(x.shape)]
    zeros = arrays.zeros(u, shape)
    w = np.diff(np.concatenate([zeros, u, zeros], axis=axis), n, axis=axis)
    return -w if n % 2 else w


difference = linear(lambda x, n, axis: np.diff(x, n, axis=axis), _difference_transpose, "diff")
difference.on_stack = lambda k, block: stacked(k, block, block.args[1], from_end(block.args[2], block.x.ndim))


@implements(np.diff)
def diff(a, n=1, axis=-1, prepend=None, append=None) -> Array:
    a = as_array(a)

    def end(e) -> Array:
        """A scalar stands for a slice of itself."""
        e = arrays.moved_to(a, as_array(e))
        return e if e.ndim else np.broadcast_to(e, kept(a.shape, axis))

    before = [] if _absent(prepend) else [end(prepend)]
    after = [] if _absent(append) else [end(append)]
    if before or after:
        a = np.concatenate([*before, a, *after], axis=axis)
    return difference(a, n, axis)


def _absent(x) -> bool:
    return x is None or x is np._NoValue


@composed(np.trapezoid)
def trapezoid(y, x=None, dx=1.0, axis=-1) -> Array:
    """Σ (x_{k+1} - x_k) (y_k + y_{k+1}) / 2."""
    y = as_array(y)
    if x is None:
        d = dx
    else:
        x = as_array(x)
        d = np.diff(x) if x.ndim == 1 else np.diff(x, axis=axis)
        if x.ndim == 1:
            d = np.reshape(d, [-1 if k == axis % y.ndim else 1 for k in range(y.ndim)])
    head, tail = _slices(y.ndim, axis, slice(1, None), slice(None, -1))
    return np.sum(d * (y[head] + y[tail]) / 2.0, axis=axis)


def _slices(ndim, axis, *parts) -> list[tuple[slice, ...]]:
    """Keys that take each of the slices along `axis` and everything along the others."""
    return [(slice(None),) * (axis % ndim) + (part,) for part in parts]


# -- np.gradient ------------------------------------------------------------------------------------------


@composed(np.gradient)
def gradient(f, *varargs, axis=None, edge_order=1) -> Array | tuple[Array, ...]:
    """Central differences inside, one-sided ones of order `edge_order` at the ends."""
    f = as_array(f)
    axes = axes_of(axis, f.ndim)
    spacings = [1.0] * len(axes) if not varargs else list(varargs) * (len(axes) if len(varargs) == 1 else 1)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes")
    if len(varargs) == 1 and np.ndim(varargs[0]) != 0 and len(axes) > 1:
        raise TypeError("gradient: coordinates must be given for every axis")
    parts = tuple(_gradient_along(f, h, k, edge_order) for h, k in zip(spacings, axes, strict=True))
    return parts[0] if len(parts) == 1 else parts


def _gradient_along(f, h, axis, edge_order) -> Array:
    n = f.shape[axis]
    if edge_order not in (1, 2) or n < edge_order + 1:
        raise ValueError(f"gradient: {n} points along axis {axis}; edge_order {edge_order} is 1 or 2, needs one more")
    if np.ndim(h):
        h = as_array(h)
        if h.shape != (n,):
            raise ValueError(f"gradient: coordinates of shape {h.shape} along an axis of {n} points")
        h = np.reshape(np.diff(h), [-1 if k == axis else 1 for k in range(f.ndim)])
    slope = np.diff(f, axis=axis) / h
    before, after, first, last, second, penult = _slices(
        f.ndim, axis, slice(None, -1), slice(1, None), slice(None, 1), slice(-1, None), slice(1, 2), slice(-2, -1)
    )
    if np.ndim(h):
        left, right = h[before], h[after]
        inside = (slope[before] * right + slope[after] * left) / (left + right)
    else:
        inside = (slope[before] + slope[after]) / 2
    if edge_order == 1:
        ends = slope[first], slope[last]
    elif np.ndim(h):
        # the parabola through three points: the outer slope, corrected by the change to the next one
        bend = (slope[after] - slope[before]) / (h[after] + h[before])
        ends = slope[first] - h[first] * bend[first], slope[last] + h[last] * bend[last]
    else:
        ends = (3 * slope[first] - slope[second]) / 2, (3 * slope[last] - slope[penult]) / 2
    return cast(np.concatenate([ends[0], inside, ends[1]], axis=axis), np.result_type(f, np.float16))


# -- interpolation ----------------------------------------------------------------------------------------


@composed(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None) -> Array:
    """Piecewise linear in x; at a knot the slope is that to the right. Differentiable in x, xp and fp."""
    x, xp, fp = (cast(a, np.result_type(as_array(a), float)) for a in (x, xp, fp))
    x = arrays.moved_to(xp, x)
    if period is not None:
        left = right = None
        x, xp = np.remainder(x, abs(period)), np.remainder(xp, abs(period))
        order = np.argsort(stop(xp))
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - abs(period), xp, xp[:1] + abs(period)])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    plain, knots = stop(x), stop(xp)
    below, above = plain < knots[0], plain > knots[-1]
    if len(knots) == 1:
        y = np.broadcast_to(fp[0], plain.shape)
    else:
        k = np.clip(np.searchsorted(knots, plain, side="right") - 1, 0, len(knots) - 2)
        # out of range the value is that of an end: a place inside keeps the unused branch finite
        at = np.where(below | above, knots[k], x) if arrays.may_be_any(below | above) else x
        y = fp[k] + (at - xp[k]) * ((fp[k + 1] - fp[k]) / (xp[k + 1] - xp[k]))
    if arrays.may_be_any(below):
        y = np.where(below, fp[0] if left is None else left, y)
    if arrays.may_be_any(above):
        y = np.where(above, fp[-1] if right is None else right, y)
    return y
