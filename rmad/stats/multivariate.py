"""Densities of vectors and matrices, with SciPy's arguments and shapes.

Covariances are factored by Cholesky, of which NumPy reads the lower triangle only; in the derivative, both triangles
have their half.
Sources: Anderson, An Introduction to Multivariate Statistical Analysis (2003), sections 2.3 and 7.2 (normal, Wishart);
Kotz & Nadarajah, Multivariate t Distributions (2004), eq. 1.1; Kotz, Balakrishnan & Johnson, Continuous Multivariate
Distributions (2000), chapter 49 (Dirichlet).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives.polygamma import log_beta
from rmad.primitives.scipy_linalg import cho_solve, solve_triangular
from rmad.primitives.scipy_special import multigammaln
from rmad.stats.base import Frozen, doubles
from rmad.tracing.traced import Traced, stop
from rmad.types import Array

__all__ = ["dirichlet", "multivariate_normal", "multivariate_t", "wishart"]

LOG_2PI, LOG_PI, LOG_2 = math.log(2 * math.pi), math.log(math.pi), math.log(2)


def _squeezed(y: Any) -> Any:
    y = np.squeeze(y)
    return y if isinstance(y, Traced) else y[()]


def _matrix(a: Any, dim: int, what: str) -> Any:
    """A number or a diagonal as a matrix, (dim, dim)."""
    a = doubles(a)
    if a.ndim == 0:
        a = a * arrays.eye(a, dim, dtype=float)
    elif a.ndim == 1:
        a = np.diag(a)
    if a.shape != (dim, dim):
        raise ValueError(f"{what} has shape {a.shape}, not {(dim, dim)}")
    return a


def _dimension(center: Any, spread: Any) -> int:
    if center is not None:
        return int(np.size(stop(center)))
    return 1 if spread.ndim == 0 else len(spread)


def _log_det(L: Any) -> Any:
    """log |L Lᵀ|"""
    return 2 * np.sum(np.log(np.diagonal(L, axis1=-2, axis2=-1)), axis=-1)


def _points(x: Any, dim: int, what: str) -> Any:
    """x as points, (…, dim): a vector is one of them, or in one dimension one number for each."""
    x = doubles(x)
    x = x[..., np.newaxis] if x.ndim == 0 or (x.ndim == 1 and dim == 1) else x
    if x.shape[-1] not in (1, dim):
        raise ValueError(f"{what}: x has shape {x.shape}, its points have {dim} coordinates")
    return x


def _distance(x: Any, center: Any, spread: Any, what: str) -> tuple[Any, Any, int]:
    """(x - μ)ᵀ Σ⁻¹ (x - μ), log |Σ| and the dimension."""
    spread = doubles(getattr(spread, "covariance", 1.0 if spread is None else spread))
    dim = _dimension(center, spread)
    L = np.linalg.cholesky(_matrix(np.ravel(spread) if dim == 1 else spread, dim, f"{what}: the matrix"))
    x = _points(x, dim, what)
    away = x if center is None else x - np.reshape(doubles(center), dim)
    away = np.broadcast_to(away, (*away.shape[:-1], dim))
    white = solve_triangular(L, np.reshape(away, (-1, dim)).T, lower=True, check_finite=False)
    return np.reshape(np.sum(white * white, axis=0), away.shape[:-1]), _log_det(L), dim


class Multivariate:
    """What distributions of several variables share: the density from its logarithm, and parameters fixed."""

    def __init__(self) -> None:
        self.name = type(self).__name__.lstrip("_")

    def __repr__(self) -> str:
        return f"<rmad.stats.{self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        """The distribution with its parameters fixed: multivariate_normal(mean, cov).logpdf(x)."""
        return Frozen(self, args, kwargs)

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        raise NotImplementedError

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """The density at x"""
        return np.exp(self.logpdf(x, *args, **kwargs))  # type: ignore[no-any-return]


class _multivariate_normal(Multivariate):
    """f(x) = exp(-(x - μ)ᵀ Σ⁻¹ (x - μ)/2) / √((2π)ᵈ |Σ|)"""

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Array:
        """log of the density at x, (…, d); mean: (d,), cov: a number, (d,) for a diagonal, or (d, d).

        LinAlgError if cov is not positive definite, with allow_singular too.
        """
        q, log_det, dim = _distance(x, mean, cov, self.name)
        return _squeezed(-0.5 * (dim * LOG_2PI + log_det + q))  # type: ignore[no-any-return]


class _multivariate_t(Multivariate):
    """f(x) = Γ((ν + d)/2) / (Γ(ν/2) √((νπ)ᵈ |Σ|)) (1 + (x - μ)ᵀ Σ⁻¹ (x - μ)/ν)^(-(ν + d)/2)"""

    def logpdf(self, x: Any, loc: Any = None, shape: Any = 1, df: Any = 1) -> Array:
        """log of the density at x, (…, d); loc: (d,), shape: a number, (d,) for a diagonal, or (d, d)."""
        df = doubles(1 if df is None else df)
        if not stop(df) > 0:
            raise ValueError(f"multivariate_t: df must be greater than zero, got {stop(df)}")
        if np.isinf(stop(df)):
            return multivariate_normal.logpdf(x, loc, shape)
        q, log_det, dim = _distance(x, loc, shape, self.name)
        gammas = math.lgamma(0.5 * dim) - log_beta(0.5 * dim, 0.5 * df)  # log Γ((ν + d)/2) / Γ(ν/2)
        constant = gammas - 0.5 * (dim * (np.log(df) + LOG_PI) + log_det)
        return _squeezed(constant - 0.5 * (df + dim) * np.log1p(q / df))  # type: ignore[no-any-return]


class _dirichlet(Multivariate):
    """f(x) = Γ(Σ αᵢ) ∏ xᵢ^(αᵢ - 1) / Γ(αᵢ), x ≥ 0, Σ xᵢ = 1"""

    def logpdf(self, x: Any, alpha: Any) -> Array:
        """log of the density at x, (k, …) or without its last entry (k - 1, …); alpha: (k,).

        ValueError if alpha is not positive or x is not in the simplex.
        """
        x, alpha = doubles(x), doubles(alpha)
        if alpha.ndim != 1 or np.min(stop(alpha)) <= 0:
            raise ValueError(f"dirichlet: alpha must be a vector of positive numbers, got {stop(alpha)}")
        if len(x) == len(alpha) - 1:
            x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)])
        if len(x) != len(alpha):
            raise ValueError(f"dirichlet: shapes {x.shape} and {alpha.shape} of x and alpha do not fit")
        column = np.reshape(alpha, (-1,) + (1,) * (x.ndim - 1))
        self._check(stop(x), stop(column))
        log_beta = np.sum(sc.gammaln(alpha)) - sc.gammaln(np.sum(alpha))
        return _squeezed(np.sum(sc.xlogy(column - 1, x), axis=0) - log_beta)  # type: ignore[no-any-return]

    @staticmethod
    def _check(x: Any, alpha: Any) -> None:
        if np.any(x < 0) or np.any(abs(np.sum(x, axis=0) - 1) > 1e-9):  # SciPy's tolerance
            raise ValueError("dirichlet: x must not be negative, and must sum to one along its first axis")
        if np.any((x == 0) & (alpha < 1)):
            raise ValueError("dirichlet: x must be greater than zero where alpha is less than one")


class _wishart(Multivariate):
    """f(X) = |X|^((ν - d - 1)/2) exp(-tr(S⁻¹ X)/2) / (2^(νd/2) |S|^(ν/2) Γ_d(ν/2)), X positive definite"""

    def logpdf(self, x: Any, df: Any = None, scale: Any = None) -> Array:
        """log of the density at x, (d, d) or a stack along the last axis, (d, d, n); scale: a number, (d,) or (d, d).

        LinAlgError if x or scale is not positive definite.
        """
        scale = doubles(1.0 if scale is None else scale)
        dim = _dimension(None, scale)
        df = doubles(dim if df is None else df)
        if not stop(df) > dim - 1:
            raise ValueError(f"wishart: df must be greater than {dim - 1}, the dimension minus one, got {stop(df)}")
        X = self._stack(doubles(x), dim)
        C, L = np.linalg.cholesky(_matrix(scale, dim, "wishart: scale")), np.linalg.cholesky(X)
        trace = np.trace(cho_solve((C, True), X, check_finite=False), axis1=-2, axis2=-1)
        constant = 0.5 * df * (dim * LOG_2 + _log_det(C)) + multigammaln(0.5 * df, dim)
        return _squeezed(0.5 * ((df - dim - 1) * _log_det(L) - trace) - constant)  # type: ignore[no-any-return]

    @staticmethod
    def _stack(x: Any, dim: int) -> Any:
        """Matrices (n, d, d)."""
        if x.ndim == 0:
            x = x * arrays.eye(x, dim, dtype=float)
        elif x.ndim == 1:
            x = np.reshape(x, (1, 1, -1)) if dim == 1 else np.diag(x)
        X = np.moveaxis(x, -1, 0) if x.ndim == 3 else x[np.newaxis]
        if X.shape[1:] != (dim, dim):
            raise ValueError(f"wishart: x has shape {x.shape}, its matrices are {(dim, dim)}")
        return X


multivariate_normal, multivariate_t, dirichlet, wishart = (
    _multivariate_normal(),
    _multivariate_t(),
    _dirichlet(),
    _wishart(),
)
