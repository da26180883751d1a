"""Losses to try a method on: means over cases, and the kinds that are none, as callables and as objects.

Each takes outputs z: (n, 3), or a pair of such arrays, and targets t. A batch may be divided only for a mean:

    means       cross-entropy, ½‖z − t‖²
    sums        the same, not divided by n
    weighted    means over the labelled cases, or weighted by label, whose weights sum to another number on every part
    coupled     every case next to the others: contrastive, correlation, log of a mean, square of a mean
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from rmad.primitives.scipy_special import logsumexp
from rmad.primitives.softmax import log_softmax
from rmad.types import Array

__all__ = ["LOSSES", "LossCase", "losses"]

CLASSES = 3


def _terms(z: Any, t: Array) -> Any:
    """−log p of the labels, (n,)."""
    return -log_softmax(z, axis=-1)[np.arange(len(t)), t]


def _one_hot(t: Array) -> Array:
    return np.eye(CLASSES)[t]


def _mean(z: Any, t: Array) -> Any:
    return np.mean(_terms(z, t))


def _sum(z: Any, t: Array) -> Any:
    return np.sum(_terms(z, t))


def _masked(z: Any, t: Array) -> Any:
    """A mean over the cases with a label ≥ 0."""
    k = t >= 0
    return np.sum(_terms(z[np.nonzero(k)[0]], t[k])) / np.sum(k)


def _weighted(z: Any, t: Array) -> Any:
    w = np.array([0.2, 1.0, 3.0])[t]
    return np.sum(w * _terms(z, t)) / np.sum(w)


def _contrastive(z: Any, t: Array) -> Any:
    scores = z @ np.swapaxes(np.tanh(z), 0, 1)
    return np.mean(logsumexp(scores, axis=1)) - np.trace(scores) / len(z)


def _correlation(z: Any, t: Array) -> Any:
    a, b = z - np.mean(z, axis=0), _one_hot(t) - np.mean(_one_hot(t), axis=0)
    return -np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b) + 1e-3)


def _log_of_a_mean(z: Any, t: Array) -> Any:
    return np.log(np.mean(np.exp(_terms(z, t))))


def _square_of_a_mean(z: Any, t: Array) -> Any:
    """Divides as far as value and gradient at z = 0 tell, but not in its curvature."""
    return (np.mean(z) - 1) ** 2 + np.mean(z**2)


def _two_heads(z: Any, t: Array) -> Any:
    return np.mean(_terms(z[0], t)) + np.mean(np.logaddexp(z[1], -z[1]))


def _two_heads_masked(z: Any, t: Array) -> Any:
    return _masked(z[0], t) + np.mean((z[1] - 0.5) ** 2)


class HalfSquares:
    """½ Σ (z − one-hot t)² over outputs, in closed form: a mean over cases, or a sum, which says nothing of means.

    Parameters
    ----------
    mean : bool, divide by n and say so; default True
    """

    def __init__(self, mean: bool = True) -> None:
        self._divides = mean
        if mean:
            self.mean_over_cases = True

    def _weight(self, z: Array) -> float:
        return 1 / len(z) if self._divides else 1.0

    def _error(self, z: Array, t: Array) -> Array:
        return z - np.asarray(_one_hot(t), z.dtype)

    def value(self, z: Array, t: Array) -> Any:
        return 0.5 * self._weight(z) * np.sum(self._error(z, t) ** 2)

    def gradient(self, z: Array, t: Array) -> Array:
        return self._weight(z) * self._error(z, t)

    def hessian_product(self, z: Array, t: Array, v: Array) -> Array:
        return self._weight(z) * v

    def sqrt_hessian(self, z: Array, t: Array) -> Array:
        n, c = len(z), z.size // len(z)
        root = np.broadcast_to(np.sqrt(self._weight(z)) * np.eye(c, dtype=z.dtype)[:, None], (c, n, c))
        return np.reshape(root, (c, *z.shape)).astype(z.dtype)


class LossCase(NamedTuple):
    """A loss with what it is tried on.

    Attributes
    ----------
    name : str
    loss : a callable (z, t) → scalar, or an object with closed forms
    is_mean : bool, L(z, t) = Σ_s w_s L(z_s, t_s) for the parts s of a batch and their shares w_s of the cases
    heads : int, outputs of the model: z is one array (n, 3), or a tuple of two
    unlabelled : float, the share of labels that are −1
    """

    name: str
    loss: Any
    is_mean: bool
    heads: int = 1
    unlabelled: float = 0.0

    def __repr__(self) -> str:
        return f"<loss: {self.name}>"

    def targets(self, n: int, seed: int = 0) -> Array:
        """n labels; the first of them is ≥ 0."""
        rng = np.random.default_rng(seed)
        t = rng.integers(0, CLASSES, n)
        t[1:][rng.random(max(0, n - 1)) < self.unlabelled] = -1
        return t


LOSSES: dict[str, LossCase] = {
    case.name: case
    for case in (
        LossCase("mean", _mean, True),
        LossCase("sum", _sum, False),
        LossCase("masked", _masked, False, unlabelled=0.4),
        LossCase("weighted by label", _weighted, False),
        LossCase("contrastive", _contrastive, False),
        LossCase("correlation", _correlation, False),
        LossCase("log of a mean", _log_of_a_mean, False),
        LossCase("square of a mean", _square_of_a_mean, False),
        LossCase("object", HalfSquares(), True),
        LossCase("object, a sum", HalfSquares(mean=False), False),
        LossCase("two outputs", _two_heads, True, heads=2),
        LossCase("two outputs, masked", _two_heads_masked, False, heads=2, unlabelled=0.4),
    )
}
"""The losses by name."""


def losses(suits: Callable[[LossCase], bool] = lambda case: True) -> st.SearchStrategy[Any]:
    """Losses of every kind.

    Parameters
    ----------
    suits : callable LossCase → bool, which of them are drawn; default all

    Returns
    -------
    strategy of LossCase
    """
    return st.sampled_from([case for case in LOSSES.values() if suits(case)])
