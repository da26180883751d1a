"""Half the squared error."""

from __future__ import annotations

import math

import numpy as np

from nn.losses.base import DiagonalCurvature, Loss, blocks, diagonal_columns, is_traced
from rmad.extend import Array, arrays

__all__ = ["SquaredError"]


class SquaredError(Loss):
    """L = 1/(2n) Σ (z − t)².

    z, t: (n, …).  ∂L/∂z = (z − t)/n,  L″ = 1/n.  In contrast to PyTorch's MSELoss it is summed over outputs, and has
    the ½ of a negative log-likelihood.

    Raises
    ------
    ValueError
        If t has another shape than z.
    TypeError
        Unless z holds real floats and t real numbers.

    Examples
    --------
    >>> import nn
    >>> loss, z, t = nn.SquaredError(), np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))
    >>> float(loss(z, t)), loss.gradient(z, t).tolist()
    (7.5, [[0.5, 1.0], [1.5, 2.0]])
    """

    def value(self, z: Array, t: Array | None) -> np.float64:
        """Returns L."""
        z = self._checked(z)
        t = self._like(t, z)
        if is_traced(z, t):
            return np.sum(np.square(z - t), dtype=np.float64) / (2 * z.shape[0])
        total = np.float64(0)
        for block in blocks(z):
            d = z[block] - t[block]
            d *= d
            total += np.sum(d, dtype=np.float64)
        return total / (2 * z.shape[0])

    def gradient(self, z: Array, t: Array | None) -> Array:
        """Returns (z − t)/n."""
        z = self._checked(z)
        u = z - self._like(t, z)
        u *= 1 / z.shape[0]
        return u

    def value_and_gradient(self, z: Array, t: Array | None) -> tuple[np.float64, Array]:
        """Returns L and (z − t)/n, in one pass over the arrays."""
        z = self._checked(z)
        t = self._like(t, z)
        total, gradient = np.float64(0), np.empty_like(z)
        for block in blocks(z):
            u = np.subtract(z[block], t[block], out=gradient[block])
            total += np.sum(u * u, dtype=np.float64)
            u *= 1 / z.shape[0]
        return total / (2 * z.shape[0]), gradient

    def curvature(self, z: Array, t: Array | None = None) -> DiagonalCurvature:
        """Returns v → v/n."""
        return DiagonalCurvature(1 / self._checked(z).shape[0])

    def sqrt_hessian(self, z: Array, t: Array | None = None) -> Array:
        """Returns S: (c, n, …) with 1/√n at output c, zeros elsewhere."""
        z = self._checked(z)
        return diagonal_columns(math.sqrt(1 / z.shape[0]), z)

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Returns t ~ N(z, 1), an array like z."""
        z = self._checked(z)
        return z + arrays.moved_to(z, rng.standard_normal(z.shape, dtype=np.float64)).astype(z.dtype)
