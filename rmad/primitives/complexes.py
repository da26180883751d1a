"""Real and complex parts, absolute values, and the change of dtype.

abs has derivative zero at the origin; for second derivatives there, see `rmad.singular.limits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.errors.refusals import lossy_dtype
from rmad.primitives.arguments import as_numbers, is_complex, stacked
from rmad.rules import elementwise, linear
from rmad.singular.limits import Length, at_zero, nested_at_zero, pole, ratio
from rmad.tracing.handlers import implements, register
from rmad.tracing.objects import objects
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed, numpys, scalar
from rmad.types import Array, Pairs
from rmad.written import settled

_fabs = elementwise(np.fabs, lambda y, x: np.sign(x))
_real_abs = elementwise(np.absolute, lambda y, x: np.sign(x))
_real = linear(np.real, lambda u, x: u)
_imag = linear(np.imag, lambda u, x: -1j * u)
_conjugate = linear(np.conjugate, lambda u, x: np.conj(u))
_real.on_stack = _imag.on_stack = _conjugate.on_stack = stacked
_finite_or = elementwise(np.nan_to_num, lambda y, x, *rest: as_numbers(np.isfinite(x), y))


def _direction(x) -> Array:
    """x / |x|, and 0 at 0."""
    r = np.absolute(x)
    zero = r == 0
    if isinstance(r, Traced):  # slower, but 1/r² in the derivative of 1/r may overflow
        return np.where(zero, 0, x / np.where(zero, 1, r))
    return x * np.where(zero, 0, 1 / np.where(zero, 1, r))


def _complex_abs_rule(y, x) -> Pairs:
    if at_zero(y) is None:
        s = _direction(x)
        return ((lambda v: np.real(np.conj(s) * v), lambda u: s * u),)
    return ((lambda v: pole(np.real(np.conj(x) * v), y), lambda u: x * ratio(u, y)),)


_complex_abs = Length(lambda x: np.absolute(x), _complex_abs_rule, "absolute of complex")


def _nested_abs_rule(y, x) -> Pairs:
    """sign(x), but for the zeros, which are left to `pole` and `ratio`."""
    s, at = np.sign(x), np.where(y == 0, x, 0)
    return ((lambda v: s * v + pole(at * v, y), lambda u: s * u + at * ratio(u, y)),)


_nested_abs = Length(lambda x: np.absolute(x), _nested_abs_rule, "absolute at zero")


def _absolute(x) -> Array:
    return _complex_abs(x) if is_complex(x) else _nested_abs(x) if nested_at_zero(x) else _real_abs(x)


register(np.absolute, _absolute)
register(np.fabs, lambda x: _nested_abs(x) if nested_at_zero(x) else _fabs(x))
composed(np.sign)(lambda x: _direction(x) if is_complex(x) else np.sign(stop(x)))
register(np.real, lambda val: _real(val) if is_complex(val) else val)


@implements(np.imag)
def imag(val) -> Array:
    if is_complex(val):
        return _imag(val)
    zero = np.zeros_like(stop(val))
    return zero[()] if isinstance(stop(val), np.generic) else zero


register(np.conjugate, lambda x: _conjugate(x) if is_complex(x) else x if x.ndim else scalar(x))


@composed(np.angle)
def angle(z, deg=False) -> Array:
    if not is_complex(z):
        return np.angle(stop(z), deg)
    y = np.arctan2(np.imag(z), np.real(z))
    return y * (180 / np.pi) if deg else y


@composed(np.real_if_close)
def real_if_close(a, tol=100) -> Array:
    return a if is_complex(np.real_if_close(stop(a), tol)) else np.real(a)


def _with_finite(x, copy=True, nan=0.0, posinf=None, neginf=None) -> Array:
    if not is_complex(x):
        return _finite_or(x, True, nan, posinf, neginf)
    parts = (_finite_or(part, True, nan, posinf, neginf) for part in (np.real(x), np.imag(x)))
    return next(parts) + 1j * next(parts)


_finite = numpys(np.nan_to_num, _with_finite)


@implements(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None) -> Array:
    """With copy=False the numbers are written into x, which comes back."""
    y = _finite(settled(x), True, nan, posinf, neginf)
    if copy:
        return y
    x[...] = y
    return x if x.ndim else x[()]


_astype = linear(lambda x, dtype: x.astype(dtype), lambda u, x, dtype: u, name="astype")
_astype.on_stack = lambda k, block: stacked(k, block, *block.args[1:])


@implements("astype")
def astype(x, dtype, casting="unsafe") -> Any:
    """x in another dtype. Integers and booleans are constants; a dtype that holds no number is an error."""
    if casting != "unsafe" and not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"Cannot cast array data from {x.dtype} to {dtype} according to the rule {casting!r}")
    if dtype.kind in "fc":
        return _astype(x, dtype)
    if dtype.kind in "biu":
        return stop(x).astype(dtype)
    if dtype.kind == "O":
        return objects(x)
    raise x.tape.loses(lossy_dtype("astype", dtype))


if hasattr(np, "astype"):  # NumPy 2.1
    register(np.astype, lambda x, dtype, /, *, copy=True, device=None: x.astype(dtype, copy=copy))
