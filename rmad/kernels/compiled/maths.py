"""exp, sigmoid, tanh, softplus and two losses in float32 as loops that LLVM turns into vector code (the extra `fast`).

e^x = 2^k e^r, k = round(x / log 2), |r| ≤ log(2)/2: e^r − 1 is a polynomial, 2^k the bits of a float. Adding 1.5 · 2²³
rounds k and leaves it in the last bits. Everything else is written in e = e^−|x| ≤ 1, which cannot overflow; below
2^−126 it counts as 0. log(1 + e) is a polynomial in e. No loop branches, so that all lanes of a vector go the same way.
A product and a sum may become one fma; nothing else is reordered, but for the sums of a loss. exp, tanh and softplus
are wrong by less than 1.1, 1.4 and 1.8 units of the last place, sigmoid by 2.1 (tests/rmad/test_fast.py); NumPy's
float32 exp by 2.5. `rmad.kernels.elementwise` decides which arrays come here; all are flat.

Source of the polynomial of e^r − 1: Cephes (S. L. Moshier, 1992), expf.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from rmad.kernels.compiled.convolution import compiled
from rmad.tuning import FLOAT32_LOSS_TERMS as TERMS

__all__ = [
    "add_to_rows",
    "exp",
    "sigmoid",
    "sigmoid_and_derivative",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_and_gradient",
    "softplus",
    "softplus_and_derivative",
    "tanh",
    "tanh_and_derivative",
    "tanh_slope",
]

F, INT = np.float32, np.int32
ZERO, ONE, TWO, FOUR = (F(x) for x in (0, 1, 2, 4))
LOG2_E = F(1.4426950408889634)
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)  # the first has few digits: k times it is exact
ROUND = F(12582912)  # 1.5 · 2²³
BITS_OF_ROUND, BITS_OF_ONE = INT(0x4B400000), INT(0x3F800000)
SMALLEST = F(87.33654)  # −log of the smallest normal number

exactly = compiled(fastmath={"contract"}, error_model="numpy")
in_any_order = compiled(fastmath={"contract", "reassoc"}, error_model="numpy")


@exactly
def _expm1(r):
    """e^r − 1, |r| ≤ log(2)/2"""
    p = F(1.9875691500e-4) * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    return p * (r * r) + r


@exactly
def _power_of_two(k):
    """2^k for integers −126 ≤ k ≤ 127"""
    return INT((k + INT(127)) << INT(23)).view(F)


@exactly
def _parts(x):
    """s, q: e^x = s + s q, −87.34 ≤ x ≤ 88"""
    t = F(x * LOG2_E + ROUND)
    k = t - ROUND
    s = INT((t.view(INT) << INT(23)) + BITS_OF_ONE).view(F)
    return s, _expm1((x - k * LN2_HIGH) - k * LN2_LOW)


@exactly
def _exp_minus(a):
    """e^−a, a ≥ 0"""
    s, q = _parts(-a)
    return ZERO if a > SMALLEST else s * q + s


@exactly
def _log1p(e):
    """log(1 + e), 0 ≤ e ≤ 1, to 5e-9 in exact numbers"""
    p = F(-3.3184686e-3) * e + F(2.0204566e-2)
    p = p * e + F(-5.7664409e-2)
    p = p * e + F(1.0680552e-1)
    p = p * e + F(-1.5355395e-1)
    p = p * e + F(1.9695400e-1)
    p = p * e + F(-2.4958587e-1)
    p = p * e + F(3.3330512e-1)
    p = p * e + F(-4.9999931e-1)
    return p * (e * e) + e


@exactly
def exp(x, y):
    """y ← e^x, infinite above 88.72, with the numbers below 2^−126 too"""
    for j in range(x.size):
        a = x[j]
        a = F(-104) if a < F(-104) else F(89) if a > F(89) else a
        t = F(a * LOG2_E + ROUND)
        k = t - ROUND
        q = _expm1((a - k * LN2_HIGH) - k * LN2_LOW)
        n = t.view(INT) - BITS_OF_ROUND
        half = n >> INT(1)  # 2^k alone may be too large or too small
        s = _power_of_two(half)
        y[j] = (s * q + s) * _power_of_two(n - half)


@exactly
def sigmoid(x, y):
    """y ← 1/(1 + e^−x)"""
    for j in range(x.size):
        e = _exp_minus(abs(x[j]))
        y[j] = (e if x[j] < ZERO else ONE) / (ONE + e)


@exactly
def sigmoid_and_derivative(x, y, d):
    """y ← 1/(1 + e^−x), d ← y (1 − y) = e/(1 + e)², without cancellation"""
    for j in range(x.size):
        negative = x[j] < ZERO
        e = _exp_minus(abs(x[j]))
        r = ONE / (ONE + e)
        er = e * r
        y[j] = er if negative else r
        d[j] = er * r


@exactly
def _tanh(x):
    """tanh x, e = e^−2|x| and 1/(1 + e): 1 − 2e/(1 + e), and a polynomial where that cancels, to 5e-9"""
    e = _exp_minus(TWO * abs(x))
    r = ONE / (ONE + e)
    z = x * x
    p = F(-5.6483154e-3) * z + F(2.0589825e-2)
    p = p * z + F(-5.3725127e-2)
    p = p * z + F(1.3331275e-1)
    p = p * z + F(-3.3333275e-1)
    y = ONE - (e + e) * r
    return (p * z + ONE) * x if z < F(0.4) else -y if x < ZERO else y, e, r


@exactly
def tanh_slope(e, r):
    """4e/(1 + e)² = 1 − tanh² x, without cancellation, from the other two results of _tanh"""
    return (FOUR * e) * (r * r)


@exactly
def tanh(x, y):
    """y ← tanh x"""
    for j in range(x.size):
        y[j], _, _ = _tanh(x[j])


@exactly
def tanh_and_derivative(x, y, d):
    """y ← tanh x, d ← 1 − y² = 4e/(1 + e)²"""
    for j in range(x.size):
        y[j], e, r = _tanh(x[j])
        d[j] = tanh_slope(e, r)


@exactly
def softplus(x, y):
    """y ← log(1 + e^x) = max(x, 0) + log(1 + e^−|x|)"""
    for j in range(x.size):
        y[j] = (x[j] if x[j] > ZERO else ZERO) + _log1p(_exp_minus(abs(x[j])))


@exactly
def softplus_and_derivative(x, y, d):
    """y ← log(1 + e^x), d ← 1/(1 + e^−x)"""
    for j in range(x.size):
        a = x[j]
        e = _exp_minus(abs(a))
        y[j] = (a if a > ZERO else ZERO) + _log1p(e)
        d[j] = (e if a < ZERO else ONE) / (ONE + e)


@exactly
def add_to_rows(y, b):
    """y ← y + b for every row of y: (n, o), b: (o,)"""
    for r in range(y.shape[0]):
        for j in range(b.size):
            y[r, j] += b[j]


# -- losses ------------------------------------------------------------------------------------------------------------


@in_any_order
def _plus(total, term):
    return total + term


@exactly
def _bits(z, t):
    """Σ max(z, 0) − z t + log(1 + e^−|z|), and the number of t outside [0, 1]"""
    total, outside = ZERO, ZERO
    for j in range(z.size):
        a, b = z[j], t[j]
        total = _plus(total, (a if a > ZERO else ZERO) - a * b + _log1p(_exp_minus(abs(a))))
        outside = _plus(outside, ONE if (b < ZERO) | (b > ONE) else ZERO)
    return total, outside


@exactly
def _bits_and_gradient(z, t, over_n, u):
    total, outside = ZERO, ZERO
    for j in range(z.size):
        a, b = z[j], t[j]
        e = _exp_minus(abs(a))
        u[j] = (((e if a < ZERO else ONE) - b) - b * e) / (ONE + e) * over_n
        total = _plus(total, (a if a > ZERO else ZERO) - a * b + _log1p(e))
        outside = _plus(outside, ONE if (b < ZERO) | (b > ONE) else ZERO)
    return total, outside


@exactly
def sigmoid_cross_entropy(z, t):
    """Σ −t log σ(z) − (1 − t) log(1 − σ(z)), and the number of t outside [0, 1]"""
    total, outside = 0.0, 0.0
    for j in range(0, z.size, TERMS):
        part, wrong = _bits(z[j : j + TERMS], t[j : j + TERMS])
        total += part
        outside += wrong
    return total, outside


@exactly
def sigmoid_cross_entropy_and_gradient(z, t, over_n, u):
    """The same, and u ← (σ(z) − t)/n"""
    total, outside = 0.0, 0.0
    for j in range(0, z.size, TERMS):
        part, wrong = _bits_and_gradient(z[j : j + TERMS], t[j : j + TERMS], over_n, u[j : j + TERMS])
        total += part
        outside += wrong
    return total, outside
