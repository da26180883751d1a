"""Cross-entropy of independent bits, the sigmoid included."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.functional import sigmoid, softplus
from nn.losses.base import DiagonalCurvature, Loss, blocks, diagonal_columns, is_traced
from rmad.kernels import elementwise as fast

__all__ = ["SigmoidCrossEntropy"]

_sigmoid_and_slope = fast.with_derivative("sigmoid")


class SigmoidCrossEntropy(Loss):
    """L = 1/n Σ −t log σ(z) − (1 − t) log(1 − σ(z)) = 1/n Σ max(z, 0) − z t + log(1 + e^−|z|)

    z, t: (n, …), t in [0, 1].  ∂L/∂z = (σ(z) − t)/n,  L″ = diag(σ(z) (1 − σ(z)))/n.
    """

    def value(self, z: Any, t: Any) -> Any:
        z, t = self._shaped(z, t)
        loop = fast.loop("sigmoid_cross_entropy", z, t)
        if loop is not None:
            return self._summed(t, *loop(z.reshape(-1), t.reshape(-1)))
        self._between_0_and_1(t)
        if is_traced(z, t):  # softplus is smooth at z = 0, where |z| would lose the second derivative
            return np.sum(softplus(z) - z * t, dtype=np.float64) / z.shape[0]
        total = np.float64(0)
        for block in blocks(z):
            total += _sum(z[block], t[block], *_exp_minus_abs(z[block]))
        return total / z.shape[0]

    def gradient(self, z: Any, t: Any) -> Any:
        z, t = self._both(z, t)
        u = sigmoid(z)
        u -= t
        u *= 1 / z.shape[0]
        return u

    def value_and_gradient(self, z: Any, t: Any) -> tuple[Any, Any]:
        z, t = self._shaped(z, t)
        total, gradient = np.float64(0), np.empty_like(z)
        loop = fast.loop("sigmoid_cross_entropy_and_gradient", z, t, gradient)
        if loop is not None:
            over_n = z.dtype.type(1 / z.shape[0])
            found = loop(z.reshape(-1), t.reshape(-1), over_n, gradient.reshape(-1))
            return self._summed(t, *found), gradient
        self._between_0_and_1(t)
        for block in blocks(z):
            z_b, t_b, u = z[block], t[block], gradient[block]
            a, e = _exp_minus_abs(z_b)
            # σ(z) = 1/(1 + e) for z > 0 and e/(1 + e) for z < 0; e ≤ 1 lets a maximum choose
            np.maximum(np.sign(z_b), e, out=u)
            u /= e + 1
            u -= t_b
            u *= 1 / z.shape[0]
            total += _sum(z_b, t_b, a, e)
        return total / z.shape[0], gradient

    def curvature(self, z: Any, t: Any = None) -> DiagonalCurvature:
        z = self._checked(z)
        both = _sigmoid_and_slope(z)
        if both is not None:
            return DiagonalCurvature(np.multiply(both[1], z.dtype.type(1 / z.shape[0]), out=both[1]))
        # e / (1 + e)², e = exp(−|z|): no cancellation in 1 − σ where z is large
        d = np.negative(np.abs(z))
        np.exp(d, out=d)
        s = d + 1
        s *= s
        s *= z.shape[0]
        d /= s
        return DiagonalCurvature(d)

    def sqrt_hessian(self, z: Any, t: Any = None) -> Any:
        d = self.curvature(z).diagonal
        return diagonal_columns(np.sqrt(d, out=d), z)

    def sample(self, z: Any, rng: np.random.Generator) -> Any:
        """t: like z, ones with probability σ(z)."""
        z = self._checked(z)
        uniform = np.asarray(rng.random(z.shape, dtype=np.float32), like=z)
        return (uniform < sigmoid(z)).astype(z.dtype)

    def _both(self, z: Any, t: Any) -> tuple[Any, Any]:
        z, t = self._shaped(z, t)
        self._between_0_and_1(t)
        return z, t

    def _shaped(self, z: Any, t: Any) -> tuple[Any, Any]:
        z = self._checked(z)
        return z, self._like(t, z)

    def _summed(self, t: Any, total: float, outside: float) -> Any:
        """The mean over cases of a sum that a loop made; it has counted the targets outside of [0, 1]."""
        if outside:
            self._between_0_and_1(t)
        return np.float64(total / t.shape[0])


def _exp_minus_abs(z: Any) -> tuple[Any, Any]:
    """|z|, exp(−|z|)"""
    a = np.abs(z)
    e = np.negative(a)
    return a, np.exp(e, out=e)


def _sum(z: Any, t: Any, a: Any, e: Any) -> Any:
    """Σ |z|/2 + z (1/2 − t) + log(1 + e) in float64, a = |z|, e = exp(−a); both are used up.

    NumPy's log1p takes five times as long as its log. With s the rounded 1 + e,
    log(1 + e) = log s + log(1 + (e − (s − 1))/s), and the first term of the second log is all that counts.
    """
    q = 0.5 - t
    q *= z
    a *= 0.5
    q += a
    s = np.add(e, 1, out=a)
    e -= s - 1
    e /= s
    q += e
    q += np.log(s, out=s)
    return np.sum(q, dtype=np.float64)
