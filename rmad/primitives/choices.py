"""Functions that choose: extrema, clip, where, signs, and functions that are constant between jumps.

The argument that is chosen has the derivative, and ties share it evenly. Functions that are constant between jumps
have derivative zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.primitives.arguments import as_numbers, cast
from rmad.rules import constant, elementwise
from rmad.tracing.handlers import implements, register
from rmad.tracing.traced import stop
from rmad.tracing.valued import scalar
from rmad.types import Array


def _share(y, mine, other) -> Array:
    """1 if y is `mine`, 0 if it is `other`, 1/2 if the two are equal. NaN loses in fmax and fmin."""
    d = as_numbers((y == mine).view(np.int8) + (y != other).view(np.int8), y)  # bytes: half the time of adding masks
    d *= 0.5
    return d


maximum, minimum, fmax, fmin = (
    elementwise(f, lambda y, a, b: _share(y, a, b), lambda y, a, b: _share(y, b, a))
    for f in (np.maximum, np.minimum, np.fmax, np.fmin)
)


@implements(np.clip)
def clip(a, a_min=np._NoValue, a_max=np._NoValue, out=None, *, min=np._NoValue, max=np._NoValue, dtype=None) -> Array:
    """minimum(maximum(a, a_min), a_max): at a bound the derivative is shared between a and the bound."""
    lower, upper = _bounds(a_min, a_max, min, max)
    y = cast(a, dtype)
    y = y if lower is None else np.maximum(y, lower)
    y = y if upper is None else np.minimum(y, upper)
    return y if y.ndim else scalar(y)


def _bounds(a_min, a_max, min, max) -> tuple[Any, Any]:
    """The bounds by their older or by their newer names, which come in pairs; TypeError for a mixture."""
    older, newer = (a_min is not np._NoValue, a_max is not np._NoValue), (min, max) != (np._NoValue,) * 2
    if older == (False, False):
        min, max = (None if bound is np._NoValue else bound for bound in (min, max))
        return min, max
    if newer or not all(older):
        raise TypeError("clip: both bounds, a_min and a_max, or min= and max=, of which one may be left out")
    return a_min, a_max


_where = elementwise(np.where, None, lambda y, c, a, b: as_numbers(c, y), lambda y, c, a, b: as_numbers(~c, y))


@implements(np.where)
def where(condition, *branches) -> Array | tuple[Array, ...]:
    """The derivative of the branch not taken is multiplied by 0: it must be finite."""
    c = stop(condition)
    if not branches:
        return np.where(c)
    c = c if hasattr(c, "dtype") else np.asarray(c)
    return _where(c if c.dtype == bool else c.astype(bool), *branches)


_heaviside = elementwise(np.heaviside, None, lambda y, x, h: as_numbers(np.equal(x, 0), y))
register(np.heaviside, lambda x, h: _heaviside(stop(x), h))

_copysign = elementwise(np.copysign, lambda y, a, b: 2 * as_numbers(np.signbit(a) == np.signbit(b), y) - 1)
register(np.copysign, lambda a, b: _copysign(a, stop(b)))

_nextafter = elementwise(np.nextafter, lambda y, a, b: np.ones_like(y))
register(np.nextafter, lambda a, b: _nextafter(a, stop(b)))

# -- constant between jumps ------------------------------------------------------------------------------

_CONSTANT = """
    equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor
    isnan isinf isfinite isposinf isneginf isclose allclose array_equal array_equiv isreal iscomplex isin
    signbit floor ceil trunc rint fix round around floor_divide spacing
    all any shape ndim size result_type can_cast min_scalar_type common_type may_share_memory
"""
for _name in _CONSTANT.split():
    constant(getattr(np, _name))
