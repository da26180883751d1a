"""Half the squared error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn.losses.base import DiagonalCurvature, Loss, blocks, diagonal_columns, is_traced

__all__ = ["SquaredError"]


class SquaredError(Loss):
    """L = 1/(2n) Σ (z − t)²

    z, t: (n, …).  ∂L/∂z = (z − t)/n,  L″ = 1/n.
    """

    def value(self, z: Any, t: Any) -> Any:
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

    def gradient(self, z: Any, t: Any) -> Any:
        z = self._checked(z)
        u = z - self._like(t, z)
        u *= 1 / z.shape[0]
        return u

    def value_and_gradient(self, z: Any, t: Any) -> tuple[Any, Any]:
        z = self._checked(z)
        t = self._like(t, z)
        total, gradient = np.float64(0), np.empty_like(z)
        for block in blocks(z):
            u = np.subtract(z[block], t[block], out=gradient[block])
            total += np.sum(u * u, dtype=np.float64)
            u *= 1 / z.shape[0]
        return total / (2 * z.shape[0]), gradient

    def curvature(self, z: Any, t: Any = None) -> DiagonalCurvature:
        return DiagonalCurvature(1 / self._checked(z).shape[0])

    def sqrt_hessian(self, z: Any, t: Any = None) -> Any:
        z = self._checked(z)
        return diagonal_columns(math.sqrt(1 / z.shape[0]), z)

    def sample(self, z: Any, rng: np.random.Generator) -> Any:
        """t ~ N(z, 1), like z."""
        z = self._checked(z)
        return z + np.asarray(rng.standard_normal(z.shape, dtype=np.float64), like=z).astype(z.dtype)
