"""Cross-entropy of classes, the softmax included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn.functional import log_softmax, softmax
from nn.losses.base import Loss, is_traced
from nn.once import once, passed
from rmad.extend import Array, arrays, fast, gpu_rows, is_cupy, stop

__all__ = ["SoftmaxCrossEntropy", "SoftmaxCurvature"]

NEAR_ONE = 1 - 2.0**-7  # a difference of one and a probability below that loses no more than two digits


class SoftmaxCrossEntropy(Loss):
    """L = −1/n Σ log softmax(z)_t, or −1/n Σ_k t_k log softmax(z)_k.

    z: (n, k) or (n, …, k) with the classes last; t: integer labels (n, …) in 0 … k − 1, or
    probabilities (one-hot among them) of the shape of z, which sum to one over the classes.
    With p = softmax(z): ∂L/∂z = (p − t)/n,  L″ = (diag p − p pᵀ)/n.

    Parameters
    ----------
    per_position : bool, default False
        False sums over the middle axes (positions in a text, pixels); True averages: n is the number of all labels.

    Raises
    ------
    ValueError
        If t does not fit z, holds a label out of range, or probabilities that do not sum to one.
    TypeError
        Unless z holds real floats, and labels are integers.

    Examples
    --------
    >>> import nn
    >>> loss, z = nn.SoftmaxCrossEntropy(), np.array([[0.0, np.log(3.0)]])
    >>> loss.gradient(z, np.array([0])).round(2), loss.gradient(z, np.array([[1.0, 0.0]])).round(2)
    (array([[-0.75,  0.75]]), array([[-0.75,  0.75]]))
    """

    link = "softmax"  # the map from outputs to probabilities

    def __init__(self, *, per_position: bool = False) -> None:
        self.per_position = bool(per_position)

    def __repr__(self) -> str:
        return f"SoftmaxCrossEntropy({'per_position=True' if self.per_position else ''})"

    def _n(self, z: Array) -> int:
        """Returns n, the divisor of the sum over all labels."""
        return int(np.prod(z.shape[:-1])) if self.per_position else z.shape[0]

    def value(self, z: Array, t: Array | None) -> np.float64:
        """Returns L."""
        z, t = self._both(z, t)
        if is_traced(z, t):
            return -_chosen(log_softmax(z), t) / self._n(z)
        return self._shifted(z, t)[0] / self._n(z)

    def gradient(self, z: Array, t: Array | None) -> Array:
        """Returns (p − t)/n."""
        z, t = self._both(z, t)
        return _minus_targets(softmax(z), t, self._n(z))

    def value_and_gradient(self, z: Array, t: Array | None) -> tuple[np.float64, Array]:
        """Returns L and (p − t)/n, with one exponential for both."""
        z, t = self._both(z, t)
        total, e, s = self._shifted(z, t)
        e /= s
        return total / self._n(z), _minus_targets(e, t, self._n(z))

    def curvature(self, z: Array, t: Array | None = None) -> SoftmaxCurvature:
        """Returns v → p (v − pᵀv)/n."""
        z = self._checked(z)
        return SoftmaxCurvature(softmax(z), self._n(z))

    def sqrt_hessian(self, z: Array, t: Array | None = None) -> Array:
        """Returns S_c = √p_c (e_c − p)/√n: Σ_c S_c S_cᵀ = (diag p − p pᵀ)/n.

        S: (m, n, …, k), m the number of outputs of a case.
        """
        z = self._checked(z)
        p, over_n = softmax(z), 1 / self._n(z)
        n, k = p.shape[0], p.shape[-1]
        p = np.reshape(p, (n, -1, k))  # the middle axes do not mix: each has columns of its own
        middle = p.shape[1]
        S = arrays.zeros(p, (middle, k, n, middle, k))
        for b in range(middle):
            root = np.sqrt(p[:, b] * over_n).T[:, :, None]  # (class, case, 1)
            S[b, :, :, b, :] = (arrays.eye(p, k, dtype=p.dtype)[:, None, :] - p[:, b]) * root
        return np.reshape(S, (middle * k, *z.shape))

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Returns t: (n, …), labels drawn with probabilities p."""
        p = softmax(self._checked(z).astype(np.float64))
        c = np.cumsum(p, axis=-1)
        uniform = arrays.moved_to(p, rng.random(p.shape[:-1]))[..., None] * c[..., -1:]
        t = np.minimum(np.sum(c <= uniform, axis=-1), p.shape[-1] - 1)  # rounding may reach the total
        passed(t, ("labels", z.shape[-1]))
        return t

    def _shifted(self, z: Array, t: Array) -> tuple[np.float64, Array, Array]:
        """Returns Σ ℓ, e = exp(z − max z) and its sums s over the classes: (n, …, 1)."""
        e = z - np.max(z, axis=-1, keepdims=True)
        chosen = _chosen(e, t)
        e = fast.exp(e, ours=True)
        s = np.sum(e, axis=-1, keepdims=True)
        return np.sum(np.log(s), dtype=np.float64) - chosen, e, s

    def _checked(self, z: Array) -> Array:
        """Returns z, if it is a batch with an axis of classes."""
        z = super()._checked(z)
        if z.ndim < 2 or not z.shape[-1]:
            raise ValueError(f"{self._name}: z must be (n, k) or (n, …, k), but has shape {z.shape}")
        return z

    def _both(self, z: Array, t: Array | None) -> tuple[Array, Array]:
        """Returns z and t, with all checks done."""
        z = self._checked(z)
        self._given(t, z)
        t = self._array("t", t)
        if t.shape == z.shape:
            t = self._like(t, z)
            self._between_0_and_1(t)
            once(stop(t), "sum to one", lambda: self._sum_to_one(stop(t)))
            return z, t
        if t.shape != z.shape[:-1]:
            raise ValueError(
                f"{self._name}: z has shape {z.shape}, so t must be labels of shape {z.shape[:-1]} "
                f"or probabilities of shape {z.shape}, but it has shape {t.shape}"
            )
        if t.dtype.kind not in "iu":
            raise TypeError(f"{self._name}: labels t must be integers, not {t.dtype}; t.astype(int) makes them")
        once(stop(t), ("labels", z.shape[-1]), lambda: self._are_labels(stop(t), z.shape))
        return z, t

    def _sum_to_one(self, t: Array) -> None:
        """Raises ValueError unless the probabilities of every case sum to one."""
        worst = float(np.max(np.abs(np.sum(t, axis=-1) - 1)))
        if worst > 1e-3:
            raise ValueError(
                f"{self._name}: t must sum to one over the classes (the last axis), but is off by {worst:g}"
            )

    def _are_labels(self, t: Array, shape: tuple[int, ...]) -> None:
        """Raises ValueError unless the labels t are those of the classes of z, an array of this shape."""
        k = shape[-1]
        low, high = arrays.numbers([t.min(), t.max()]) if t.size else (0, 0)
        if low < 0 or high >= k:
            wrong = low if low < 0 else high
            raise ValueError(
                f"{self._name}: t has the label {wrong}, but z of shape {shape} has {k} classes, 0 … {k - 1}"
            )


class SoftmaxCurvature:
    """L″ v = p (v − pᵀv)/n, case by case.

    Parameters
    ----------
    probabilities : (…, k) array
        p.
    n : int
        Number of cases, or of all labels.
    """

    def __init__(self, probabilities: Array, n: int) -> None:
        self.probabilities, self.n = probabilities, n
        self._p_over_n = probabilities * (1 / n)

    def __call__(self, v: Array) -> Array:
        """Returns L″ v, an array like v."""
        y = v - self._mean(v)
        y *= self._p_over_n
        return y

    def product_into(self, v: Array, out: Array) -> Array:
        """Writes L″ v into out, which may be v; returns out."""
        np.subtract(v, self._mean(v), out=out)
        return np.multiply(out, self._p_over_n, out=out)

    def root_product(self, v: Array) -> Array:
        """Returns Σ_c S_c v_c = (√p v − p √pᵀv)/√n without the columns S_c of `sqrt_hessian`, a large array."""
        y = np.sqrt(self.probabilities) * v
        y -= self.probabilities * np.sum(y, axis=-1, keepdims=True)
        y *= 1 / math.sqrt(self.n)
        return y

    def _mean(self, v: Array) -> Array:
        """Returns pᵀv: (…, 1)."""
        return np.einsum("...k,...k->...", self.probabilities, v)[..., None]


def _is_labels(t: Array, z: Array) -> bool:
    return t.ndim < z.ndim


def _chosen(x: Array, t: Array) -> np.float64:
    """Returns Σ x_t over all cases in float64: x at the labels, or ⟨t, x⟩."""
    if not _is_labels(t, x):
        return np.sum(t * x, dtype=np.float64)
    t = np.reshape(t, -1)
    return np.sum(np.reshape(x, (t.size, x.shape[-1]))[arrays.arange(x, t.size), t], dtype=np.float64)


def _minus_targets(p: Array, t: Array, n: int) -> Array:
    """Writes (p − t)/n over p; returns p."""
    if is_cupy(p) and p.dtype.char in "fd":
        p = arrays.contiguous(p)
        gpu_rows.minus_targets(p, arrays.contiguous(t), 1 / n, p)
        return p
    rows = np.reshape(p, (-1, p.shape[-1]))
    is_sure = p.size and np.max(stop(p)) > NEAR_ONE
    at: Any
    if _is_labels(t, p):
        labels = np.reshape(t, -1)
        at = arrays.arange(p, labels.size), labels
    else:
        at = np.nonzero(np.reshape(stop(t), rows.shape) == 1) if is_sure else ()
    if is_sure:  # p_t − 1 = −Σ p over the other classes, which does not cancel
        rows[at] = 0
        others = np.sum(rows, axis=-1)[at[0]]
    if not _is_labels(t, p):
        p -= t
    if is_sure:
        rows[at] = -others
    elif _is_labels(t, p):
        rows[at] -= 1
    p *= 1 / n
    return p
