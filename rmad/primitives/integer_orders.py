"""Bessel functions of integer order n, which the derivatives of those of order 0 and 1 are made of.

    bessel_j, bessel_i, bessel_k(x, n)           jₙ, iₙ, kₙ
    scaled_i, scaled_k(x, n)                     iₙ exp(-|x|), kₙ exp(x)

SciPy has them of any order. CuPy does not, but CUDA has jₙ, kₙ follows from k₀ and k₁ (DLMF 10.29.1), and iₙ from its
power series (10.25.2), or for large x from i₀ and i₁.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine.backend import is_cupy
from rmad.machine.fused import Elementwise
from rmad.machine.special import sc
from rmad.primitives.scipy_tails import scaled_i_derivative, scaled_k_derivative
from rmad.rules import Primitive, elementwise
from rmad.types import Array

__all__ = ["bessel_i", "bessel_j", "bessel_k", "scaled_i", "scaled_k"]

# Terms of one sign: nothing cancels. From |x| = 20 on iₙ is so near to i₀ that the recurrence loses a digit at most.
_I = """
const double z = fabs(double(x));
if (z > 20) {
    double before = double(i0), now = double(i1) * (x < 0 ? -1 : 1);
    for (int k = 1; k < n && !isinf(now); k++) {
        const double after = before - 2 * k / z * now;
        before = now;
        now = after;
    }
    y = T(now);
} else {
    double term = scaled ? exp(-z) : 1;
    for (int k = 1; k <= n; k++) term *= z / (2 * k);
    double sum = term;
    for (int k = 1; k < 60; k++) { term *= z * z / (4.0 * k * (k + n)); sum += term; }
    y = T(sum);
}
if (x < 0 && n % 2) y = -y;
"""
_j_on_gpu = Elementwise("T x, int32 n", "T y", "y = T(jn(n, double(x)))", "bessel_j")
_i_on_gpu = Elementwise("T x, T i0, T i1, int32 n, bool scaled", "T y", _I, "bessel_i")


def _k_on_gpu(k0: Array, k1: Array, x: Array, n: int) -> Array:
    """Upward, where k grows: terms of one sign."""
    for k in range(1, n):
        k0, k1 = k1, k0 + (2 * k) * (k1 / x)
    return k1


def _of_order(name: str, on_cpu: Callable[..., Array], on_gpu: Callable[..., Array], derivative: Any) -> Primitive:
    def value(x: Array, n: int) -> Array:
        return on_gpu(x, n) if is_cupy(x) else on_cpu(n, x)

    return elementwise(value, derivative, name=name)


def _below(f: Primitive, first: np.ufunc, x: Any, n: int) -> Any:
    """f of order n - 1 ≥ 1; first: the function of order 1."""
    return first(x) if n == 2 else f(x, n - 1)


bessel_j: Primitive = _of_order(
    "jn",
    sc.jv,
    lambda x, n: _j_on_gpu(x, n),
    lambda y, x, n: 0.5 * (_below(bessel_j, sc.j1, x, n) - bessel_j(x, n + 1)),
)
bessel_i: Primitive = _of_order(
    "in",
    sc.iv,
    lambda x, n: _i_on_gpu(x, sc.i0(x), sc.i1(x), n, False),
    lambda y, x, n: 0.5 * (_below(bessel_i, sc.i1, x, n) + bessel_i(x, n + 1)),
)
scaled_i: Primitive = _of_order(
    "ine",
    sc.ive,
    lambda x, n: _i_on_gpu(x, sc.i0e(x), sc.i1e(x), n, True),
    lambda y, x, n: scaled_i_derivative(y, n, x, lambda x: 0.5 * (_below(scaled_i, sc.i1e, x, n) + scaled_i(x, n + 1))),
)
bessel_k: Primitive = _of_order(
    "kn",
    sc.kv,
    lambda x, n: _k_on_gpu(sc.k0(x), sc.k1(x), x, n),
    lambda y, x, n: -0.5 * (_below(bessel_k, sc.k1, x, n) + bessel_k(x, n + 1)),
)
scaled_k: Primitive = _of_order(
    "kne",
    sc.kve,
    lambda x, n: _k_on_gpu(sc.k0e(x), sc.k1e(x), x, n),
    lambda y, x, n: scaled_k_derivative(
        y, n, x, lambda x: -0.5 * (_below(scaled_k, sc.k1e, x, n) + scaled_k(x, n + 1))
    ),
)
