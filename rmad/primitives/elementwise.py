"""NumPy's elementwise functions: y = f(x), one derivative per argument as a function of (y, x).

When a function has no derivative at a point, the rule takes one: hypot and arctan2 have derivative zero at the origin;
power(x, 0) has derivative zero everywhere. An infinite slope (sqrt at 0) is infinite, with NumPy's warning.
"""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np

from rmad.errors.source import computes
from rmad.kernels import elementwise as fast
from rmad.kernels import slopes
from rmad.machine.special import sc
from rmad.primitives.arguments import is_complex
from rmad.rules import Elementwise, Primitive, elementwise
from rmad.singular.limits import Length, at_zero, nested_at_zero, pole, ratio
from rmad.tapes.blocks import unbroadcast
from rmad.tracing.handlers import implements, quickly, register
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed
from rmad.tracing.weak import Weak
from rmad.types import Array, Pairs

LN2, LN10 = float(np.log(2)), float(np.log(10))  # Python floats never promote

# -- arithmetic ------------------------------------------------------------------------------------------

add = elementwise(np.add, 1, 1)
subtract = elementwise(np.subtract, 1, -1)
negative = elementwise(np.negative, -1)
positive = elementwise(np.positive, 1)
multiply = elementwise(np.multiply, lambda y, a, b: b, lambda y, a, b: a)
divide = elementwise(
    np.divide, lambda y, a, b: (1 if hasattr(b, "dtype") or b else y.dtype.type(1)) / b, lambda y, a, b: -y / b
)
reciprocal = elementwise(np.reciprocal, lambda y, x: -y * y)
square = elementwise(np.square, lambda y, x: 2 * x)
sqrt = elementwise(np.sqrt, lambda y, x: 0.5 / y)
cbrt = elementwise(np.cbrt, lambda y, x: 1 / (3 * y * y))
remainder = elementwise(np.remainder, 1, lambda y, a, b: -np.floor_divide(a, b))
fmod = elementwise(np.fmod, 1, lambda y, a, b: -np.rint((a - y) / b))
ldexp = elementwise(np.ldexp, lambda y, x, e: np.ldexp(y.dtype.type(1), e))
register(np.divmod, lambda a, b: (np.floor_divide(a, b), np.remainder(a, b)))


@composed(np.modf)
def modf(x) -> tuple[Any, Any]:
    whole = np.trunc(x)
    return x - whole, whole


@composed(np.frexp)
def frexp(x) -> tuple[Any, Any]:
    _, e = np.frexp(stop(x))
    return np.ldexp(x, -e), e


def _power_x(y, x, p) -> Array:
    """p x^(p - 1), which is 0 at x = p = 0."""
    if not hasattr(p, "dtype"):
        return p * x ** (p - 1 if p else 1)
    return p * x ** np.where((x == 0) & (p == 0), 1, p - 1)


def _power_p(y, x, p) -> Array:
    """y log x, which is 0 at x = 0 (the limit for p > 0)."""
    if not hasattr(x, "dtype"):
        x = y.dtype.type(x)
    return y * np.log(np.where(x == 0, 1, x))


def _ones(x) -> Array:
    return np.ones_like(stop(x))[()]


float_power = elementwise(np.float_power, _power_x, _power_p)
_power = elementwise(np.power, _power_x, _power_p)
_power_of_numbers = Elementwise(operator.pow, (_power_x, _power_p), "power")  # np.power differs in the last bit
# as `**` of an ndarray has them
_SHORT_POWERS: dict[float, Any] = {0: _ones, 1: np.positive, 2: np.square, 0.5: np.sqrt, -1: np.reciprocal}


@implements(np.power)
def power(x, p) -> Array:
    if isinstance(x, np.generic) and computes(sys._getframe(2), "**"):  # NumPy calls the ufunc in its place
        return operator_power(x, p)
    short = type(p) in (int, float) and not is_complex(x)
    return _short_power(x, p) if short and p in _SHORT_POWERS else _power(x, p)


def _short_power(x, p) -> Array:
    f = _SHORT_POWERS[p]
    y = quickly(f, (x,))
    return f(x) if y is None else y


@implements("power")
def operator_power(x, p) -> Array:
    """x ** p: an array is squared, and not raised to the power of 2; a number is, by the function of the C library."""
    short = type(p) in (int, float) and p in _SHORT_POWERS
    is_array = type(x) is Traced and type(x.value) is np.ndarray
    if not is_array and not (short and p in (0, 1)) and _are_numbers(x, p):
        return _power_of_numbers(x, p)
    return _short_power(x, p) if short else np.power(x, p)


def _are_numbers(*operands) -> bool:
    """True for numbers that the operator takes as they are: not if one of Python's meets another dtype."""
    plain = [stop(a) for a in operands]
    if not all(isinstance(a, np.generic | float | int | complex) for a in plain):
        return False
    weak = [isinstance(a, Weak) for a in operands]
    return not any(weak) or all(w or not hasattr(a, "dtype") for w, a in zip(weak, operands, strict=True))


# -- derivatives as functions of y, where that loses no digits ---------------------------------------------


# For a traced x, with derivatives of their own, in which no 1 − 2y or 1 − y² cancels. y is given as a number.
_traced_sigmoid_slope = elementwise(slopes.sigmoid_slope, lambda d, x, y: -np.tanh(0.5 * x) * d, name="sigmoid'")
_traced_tanh_slope = elementwise(slopes.tanh_slope, lambda d, x, y: -2 * np.tanh(x) * d, name="tanh'")


def sigmoid_derivative(y, x) -> Array:
    return _traced_sigmoid_slope(x, stop(y)) if isinstance(x, Traced) else slopes.sigmoid_slope(x, y)


def _tanh_derivative(y, x) -> Array:
    return _traced_tanh_slope(x, stop(y)) if isinstance(x, Traced) else slopes.tanh_slope(x, y)


def expm1_derivative(y, x) -> Array:
    """e^x = y + 1."""
    return np.exp(x) if isinstance(x, Traced) else slopes.unless_small(y + 1, np.exp, x)


# -- exponentials and logarithms --------------------------------------------------------------------------

exp = elementwise(np.exp, lambda y, x: y)
exp2 = elementwise(np.exp2, lambda y, x: LN2 * y)
expm1 = elementwise(np.expm1, expm1_derivative)
log = elementwise(np.log, lambda y, x: 1 / x)
log2 = elementwise(np.log2, lambda y, x: 1 / (LN2 * x))
log10 = elementwise(np.log10, lambda y, x: 1 / (LN10 * x))
log1p = elementwise(np.log1p, lambda y, x: 1 / (1 + x))


def _as_floats(x) -> Array:
    """Numbers, integers and booleans as floats: integers hold no result below one."""
    return x if hasattr(x, "dtype") and x.dtype.kind in "fc" else np.multiply(x, 1.0)


def _sigmoid(x) -> Array:
    """1 / (1 + exp(-x)), in one buffer: exp(-x) may overflow to inf, which gives the right 0."""
    y = fast.same("sigmoid", x)
    if y is not None:
        return y
    y = np.negative(_as_floats(x))
    out = y if y.ndim else None
    with np.errstate(over="ignore"):
        y = np.exp(y, out=out)
    y += 1
    return np.divide(1, y, out=out)


def _softplus(x) -> Array:
    """max(x, 0) + log(1 + e), e = exp(-|x|): a quarter of the time that logaddexp(x, 0) takes.

    With s the rounded 1 + e, log(1 + e) = log s + log(1 + (e - (s - 1))/s), of which the first order suffices.
    """
    y = fast.same("softplus", x)
    if y is not None:
        return y
    x = _as_floats(x)
    e = np.exp(-np.abs(x))
    s = e + 1
    e -= s - 1
    e /= s
    e += np.log(s)
    e += np.maximum(x, 0)
    return e


sigmoid = elementwise(_sigmoid, sigmoid_derivative, name="sigmoid")
softplus = elementwise(_softplus, lambda y, x: sigmoid(x), name="softplus")


def _difference(a, b) -> Array:
    """a - b, and 0 if both are the same infinity: logaddexp(-inf, -inf) shares its derivative evenly."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(a) & (a == b), 0, a - b)


logaddexp = elementwise(
    np.logaddexp, lambda y, a, b: sigmoid(_difference(a, b)), lambda y, a, b: sigmoid(_difference(b, a))
)
logaddexp2 = elementwise(
    np.logaddexp2, lambda y, a, b: sigmoid(LN2 * _difference(a, b)), lambda y, a, b: sigmoid(LN2 * _difference(b, a))
)


@composed(np.i0)
def i0(x) -> Array:
    return sc.i0(x)


# -- trigonometric and hyperbolic --------------------------------------------------------------------------

sin = elementwise(np.sin, lambda y, x: np.cos(x))
cos = elementwise(np.cos, lambda y, x: -np.sin(x))
tan = elementwise(np.tan, lambda y, x: 1 + y * y)
sinh = elementwise(np.sinh, lambda y, x: np.cosh(x))
cosh = elementwise(np.cosh, lambda y, x: np.sinh(x))
tanh = elementwise(np.tanh, _tanh_derivative)
_one_minus_square = elementwise(lambda x: (1 - x) * (1 + x), lambda y, x: -2 * x, name="1 - x²")


def _branch(root, f, y) -> Array:
    """The root, or minus the root, whichever is f(y): on a branch cut, y is on one side and NumPy's root on either."""
    if not is_complex(root):
        return root
    side = np.real(stop(root) * np.conj(f(stop(y))))
    return np.where(side < 0, -root, root)


arcsin = elementwise(np.arcsin, lambda y, x: 1 / _branch(np.sqrt(_one_minus_square(x)), np.cos, y))
arccos = elementwise(np.arccos, lambda y, x: -1 / _branch(np.sqrt(_one_minus_square(x)), np.sin, y))
arccosh = elementwise(np.arccosh, lambda y, x: 1 / _branch(np.sqrt(x - 1) * np.sqrt(x + 1), np.sinh, y))
arctanh = elementwise(np.arctanh, lambda y, x: 1 / _one_minus_square(x))


def _arctan_derivative(y, x) -> Array:
    with np.errstate(over="ignore"):  # x² = inf gives the right 0
        return 1 / (1 + x * x)


def _arcsinh_derivative(y, x) -> Array:
    return 1 / _branch(np.sqrt(1 + x * x), np.cosh, y) if is_complex(x) else 1 / np.hypot(1, x)


arctan = elementwise(np.arctan, _arctan_derivative)
arcsinh = elementwise(np.arcsinh, _arcsinh_derivative)


def _per_length(a, h) -> Array:
    """a / h, and 0 at the origin, with its derivatives."""
    zero = h == 0
    q = a / np.where(zero, 1, h)
    return np.where(zero, 0, q) if at_zero(h) is not None else q


def _per_square(a, b, c) -> Array:
    """a / (b² + c²) without overflow, and 0 at the origin."""
    h = np.hypot(b, c)
    return _per_length(_per_length(a, h), h)


# a / √(a² + b²), with its derivatives b²/h³ and -ab/h³ as products: 1/h - a²/h³ cancels where b is small
cosine: Primitive = elementwise(
    lambda a, b: _per_length(a, np.hypot(a, b)),
    lambda y, a, b: _per_length(cosine(b, a) ** 2, np.hypot(a, b)),
    lambda y, a, b: -_per_length(y * cosine(b, a), np.hypot(a, b)),
    name="cosine",
)


def _hypot_derivative(y, a, b) -> Array:
    return cosine(a, b) if isinstance(y, Traced) else _per_length(a, y)


_hypot = elementwise(np.hypot, _hypot_derivative, lambda y, a, b: _hypot_derivative(y, b, a))


def _nested_hypot_rule(y, a, b) -> Pairs:
    """a/y and b/y, but for the zeros of y, which are left to `pole` and `ratio`."""

    def side(x, other) -> Any:
        d, at = cosine(x, other), np.where(y == 0, x, 0)
        return lambda v: d * v + pole(at * v, y), lambda u: unbroadcast(d * u + at * ratio(u, y), np.shape(x))

    return side(a, b), side(b, a)


_nested_hypot = Length(lambda a, b: np.hypot(a, b), _nested_hypot_rule, "hypot at zero")


@implements(np.hypot)
def hypot(a, b) -> Array:
    """√(a² + b²)"""
    return (_nested_hypot if nested_at_zero(a) or nested_at_zero(b) else _hypot)(a, b)


arctan2 = elementwise(np.arctan2, lambda y, a, b: _per_square(b, a, b), lambda y, a, b: -_per_square(a, a, b))

deg2rad, radians = (elementwise(f, lambda y, x: np.pi / 180) for f in (np.deg2rad, np.radians))
rad2deg, degrees = (elementwise(f, lambda y, x: 180 / np.pi) for f in (np.rad2deg, np.degrees))
unwrap = elementwise(np.unwrap, 1)

exp.forward = fast.exp_with_derivative
for _f, _loop in ((tanh, "tanh"), (sigmoid, "sigmoid"), (softplus, "softplus")):
    _f.forward = fast.with_derivative(_loop)


def _sinc(x, k) -> Array:
    """dᵏ/dxᵏ sin(πx)/(πx) = πᵏ sₖ(πx), sₖ(z) = ∫₀¹ tᵏ cos(zt + kπ/2) dt.

    z sₖ = sin(z + kπ/2) - k sₖ₋₁ unless z is small: there that cancels, and the series of sₖ takes over.
    """
    z = np.pi * x
    near = np.abs(z) < k + 1
    far = np.where(near, k + 1, z)
    phase = np.pi * (x - 2 * np.rint(np.real(x) / 2))  # z less a multiple of 2π, from an x that is not rounded
    s = np.sin(phase) / far
    for j in range(1, k + 1):
        s = (np.sin(phase + j * (np.pi / 2)) - j * s) / far
    z = np.where(near, z, 0)
    m0 = (k + 1) // 2
    sign = 1 - 2 * (m0 % 2)
    term = sign * (z if k % 2 else np.ones_like(z))  # (-1)^m z^(2m - k) / (2m - k)!, from m = m0
    total = term / (2 * m0 + 1)
    for m in range(m0 + 1, m0 + 12 + k):
        term = term * (z * z) * (-1 / ((2 * m - k) * (2 * m - k - 1)))
        total = total + term / (2 * m + 1)
    return np.pi**k * np.where(near, total, s)


_sinc_derivative: Primitive = elementwise(_sinc, lambda y, x, k: _sinc_derivative(x, k + 1), name="sinc derivative")
sinc = elementwise(np.sinc, lambda y, x: _sinc_derivative(x, 1))
