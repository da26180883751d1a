"""Cross-entropy of independent bits, the sigmoid included."""

from __future__ import annotations

import numpy as np

from nn.functional import sigmoid, softplus
from nn.losses.base import BETWEEN_0_AND_1, DiagonalCurvature, Loss, blocks, diagonal_columns, is_traced
from nn.once import passed
from rmad.extend import Array, arrays, fast, fused, is_cupy

__all__ = ["SigmoidCrossEntropy"]

_sigmoid_and_slope = fast.with_derivative("sigmoid")
# On a GPU a kernel each; the formulas are those of `_sum` and `_sigmoid_minus`.
_sum_on_gpu = fused.Reduction(
    "T z, T t",
    "float64 total",
    "double(abs(z) / 2 + z * (T(0.5) - t) + log1p(exp(-abs(z))))",
    "a + b",
    "total = a",
    "0",
    "sigmoid_cross_entropy",
)
_gradient_on_gpu = fused.Elementwise(
    "T z, T t, float64 over_n",
    "T u",
    "const T e = exp(-abs(z)); u = T(((z > 0 ? T(1) : e) - t - t * e) / (e + 1) * over_n)",
    "sigmoid_cross_entropy_gradient",
)


class SigmoidCrossEntropy(Loss):
    """L = 1/n Σ −t log σ(z) − (1 − t) log(1 − σ(z)) = 1/n Σ max(z, 0) − z t + log(1 + e^−|z|).

    z, t: (n, …), t in [0, 1].  ∂L/∂z = (σ(z) − t)/n,  L″ = diag(σ(z) (1 − σ(z)))/n.

    Raises
    ------
    ValueError
        If t has another shape than z, or leaves [0, 1].
    TypeError
        Unless z holds real floats and t real numbers.

    Examples
    --------
    >>> import nn
    >>> loss, z, t = nn.SigmoidCrossEntropy(), np.zeros((1, 2)), np.array([[0.0, 1.0]])
    >>> round(float(loss(z, t)), 4), loss.gradient(z, t).tolist()
    (1.3863, [[0.5, -0.5]])
    """

    link = "sigmoid"  # the map from outputs to probabilities

    def value(self, z: Array, t: Array | None) -> np.float64:
        """Returns L."""
        z, t = self._shaped(z, t)
        loop = fast.loop("sigmoid_cross_entropy", z, t)
        if loop is not None:
            return self._summed(t, *loop(z.reshape(-1), t.reshape(-1)))
        self._between_0_and_1(t)
        if is_traced(z, t):  # softplus is smooth at z = 0, where |z| would lose the second derivative
            return np.sum(softplus(z) - z * t, dtype=np.float64) / z.shape[0]
        if _is_on_gpu(z):
            return _sum_on_gpu(z, t) / z.shape[0]
        total = np.float64(0)
        for block in blocks(z):
            total += _sum(z[block], t[block], *_exp_minus_abs(z[block]))
        return total / z.shape[0]

    def gradient(self, z: Array, t: Array | None) -> Array:
        """Returns (σ(z) − t)/n."""
        z, t = self._both(z, t)
        if is_traced(z, t):
            return (sigmoid(z) - t) * (1 / z.shape[0])
        if _is_on_gpu(z):
            return _gradient_on_gpu(z, t, 1 / z.shape[0])
        u = np.empty_like(z)
        _sigmoid_minus(t, z, _exp_minus_abs(z)[1], u)
        u *= 1 / z.shape[0]
        return u

    def value_and_gradient(self, z: Array, t: Array | None) -> tuple[np.float64, Array]:
        """Returns L and (σ(z) − t)/n, with one exponential for both."""
        z, t = self._shaped(z, t)
        if _is_on_gpu(z):
            self._between_0_and_1(t)
            return _sum_on_gpu(z, t) / z.shape[0], _gradient_on_gpu(z, t, 1 / z.shape[0])
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
            _sigmoid_minus(t_b, z_b, e, u)
            u *= 1 / z.shape[0]
            total += _sum(z_b, t_b, a, e)
        return total / z.shape[0], gradient

    def curvature(self, z: Array, t: Array | None = None) -> DiagonalCurvature:
        """Returns v → σ(z) (1 − σ(z)) v/n."""
        return DiagonalCurvature(self._diagonal(z))

    def _diagonal(self, z: Array) -> Array:
        """Returns σ(z) (1 − σ(z))/n."""
        z = self._checked(z)
        both = _sigmoid_and_slope(z)
        if both is not None:
            return np.multiply(both[1], z.dtype.type(1 / z.shape[0]), out=both[1])
        # e / (1 + e)², e = exp(−|z|): no cancellation in 1 − σ for large z
        d = np.negative(np.abs(z))
        np.exp(d, out=d)
        s = d + 1
        s *= s
        s *= z.shape[0]
        d /= s
        return d

    def sqrt_hessian(self, z: Array, t: Array | None = None) -> Array:
        """Returns S: (c, n, …) with √(σ(z) (1 − σ(z))/n) at output c, zeros elsewhere."""
        d = self._diagonal(z)
        return diagonal_columns(np.sqrt(d, out=d), z)

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Returns t, an array like z: ones with probability σ(z), zeros elsewhere."""
        z = self._checked(z)
        uniform = arrays.moved_to(z, rng.random(z.shape, dtype=np.float32))
        t = (uniform < sigmoid(z)).astype(z.dtype)
        passed(t, BETWEEN_0_AND_1)
        return t

    def _both(self, z: Array, t: Array | None) -> tuple[Array, Array]:
        """Returns z and t, with all checks done."""
        z, t = self._shaped(z, t)
        self._between_0_and_1(t)
        return z, t

    def _shaped(self, z: Array, t: Array | None) -> tuple[Array, Array]:
        """Returns z and t, which may leave [0, 1]."""
        z = self._checked(z)
        return z, self._like(t, z)

    def _summed(self, t: Array, total: float, outside: float) -> np.float64:
        """Returns the mean over cases of a compiled loop's sum; `outside` is its count of targets outside of [0, 1]."""
        if outside:
            self._between_0_and_1(t)
        return np.float64(total / t.shape[0])


def _is_on_gpu(z: Array) -> bool:
    return is_cupy(z) and z.dtype.char in "fd"


def _exp_minus_abs(z: Array) -> tuple[Array, Array]:
    """Returns |z| and exp(−|z|)."""
    a = np.abs(z)
    e = np.negative(a)
    return a, np.exp(e, out=e)


def _sigmoid_minus(t: Array, z: Array, e: Array, out: Array) -> None:
    """out ← σ(z) − t = (1 − t − t e)/(1 + e) for z > 0 and (e − t − t e)/(1 + e) for z < 0, e = exp(−|z|).

    So nothing cancels for t = 0 and 1.
    """
    np.maximum(np.sign(z), e, out=out)  # 1 or e, because e ≤ 1
    out -= t
    out -= t * e
    out /= e + 1


def _sum(z: Array, t: Array, a: Array, e: Array) -> np.float64:
    """Returns Σ |z|/2 + z (1/2 − t) + log(1 + e) in float64, a = |z|, e = exp(−a); both are overwritten.

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
