"""The eigenvalues of a curvature matrix of which there are only products: how many lie where, with confidence.

    tr h(A) ≈ p/k Σ_l Σ_j τ_lj² h(θ_lj)         k probes v_l, each by m steps of Lanczos

θ_lj and τ_lj² are nodes and weights of the Gauss quadrature of v_lᵀ h(A) v_l. The probes are independent, and so their
spread tells how far the mean is to be trusted. Source: Golub & Meurant (2010), chapters 6 and 11; Ubaru, Chen & Saad
(2017); Ghorbani, Krishnan & Xiao (2019) for networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from optim.hyper import Number, Rule, checked
from optim.problem.vectors import dot

__all__ = ["Spectrum", "lanczos", "spectral_density"]

HYPER: dict[str, Rule] = {"probes": Number(at_least=2), "steps": Number(at_least=1)}
WIDTH: dict[str, Rule] = {"width": Number(at_least=np.finfo(float).tiny)}

_cdf = np.vectorize(lambda s: math.erf(s / math.sqrt(2)) / 2 + 0.5, otypes=[float])


@dataclass(frozen=True)
class Spectrum:
    """Nodes θ and weights, (probes, steps) each, weights of a probe summing to one; p, the size of the matrix.

    Every estimate is a pair: the mean over the probes, and its standard error.
    """

    nodes: Any
    weights: Any
    p: int

    def trace_of(self, h: Callable[[Any], Any]) -> tuple[float, float]:
        """Σ_i h(λ_i), h a function of arrays."""
        mean, error = _mean_and_error(self.p * np.sum(self.weights * h(self.nodes), axis=1))
        return float(mean), float(error)

    def count(self, low: float, high: float) -> tuple[float, float]:
        """How many eigenvalues lie in [low, high]."""
        return self.trace_of(lambda x: ((x >= low) & (x <= high)).astype(float))

    def density(self, x: Any, width: float) -> tuple[Any, Any]:
        """Eigenvalues per unit of λ at the points x, (n,), seen through a Gaussian of standard deviation `width`."""
        checked(WIDTH, {"width": width})
        s = (np.reshape(x, (-1, 1, 1)) - self.nodes) / width
        each = np.sum(self.weights * np.exp(-s * s / 2), axis=2) * (self.p / (width * math.sqrt(2 * math.pi)))
        return _mean_and_error(each.T)

    def below(self, x: Any, width: float) -> tuple[Any, Any]:
        """How many eigenvalues lie below the points x, (n,), each smeared by that Gaussian."""
        checked(WIDTH, {"width": width})
        s = (np.reshape(x, (-1, 1, 1)) - self.nodes) / width
        return _mean_and_error(self.p * np.sum(self.weights * _cdf(s), axis=2).T)


def _mean_and_error(each: Any) -> tuple[Any, Any]:
    return each.mean(axis=0), each.std(axis=0, ddof=1) / math.sqrt(len(each))


def spectral_density(A: Any, *, rng: np.random.Generator, probes: int = 8, steps: int = 60) -> Spectrum:
    """The density of the eigenvalues of a symmetric operator A, (p, p), by probes · steps products.

    A: rmad.HessianOperator, GGNOperator, Quadratic.ggn, or any LinearOperator. probes: at least 2; errors fall with
    their square root. steps: how finely a probe resolves, the ends of the spectrum first. Memory: `steps` vectors.
    ValueError where A is not square or a product is not finite.
    """
    if len(A.shape) != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be square, but has shape {A.shape}")
    checked(HYPER, {"probes": probes, "steps": steps})
    p = A.shape[0]
    most = min(int(steps), p)
    nodes, weights = np.zeros((probes, most)), np.zeros((probes, most))
    for k in range(probes):
        v = (rng.integers(0, 2, p) * 2 - 1).astype(A.dtype)
        alpha, beta = lanczos(A.matvec, v, most)
        theta, U = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
        nodes[k, : len(theta)], weights[k, : len(theta)] = theta, U[0] ** 2
        nodes[k, len(theta) :] = theta[-1]  # of weight zero: the Krylov space of this probe was exhausted
    return Spectrum(nodes, weights, p)


def lanczos(product: Callable[[Any], Any], v: Any, steps: int) -> tuple[Any, Any]:
    """The diagonal and the off-diagonal of T = QᵀA Q, Q orthonormal from v, A v, A²v, …; each step orthogonal to all.

    Ends early where the space is exhausted: A Q = Q T then, and the eigenvalues of T are eigenvalues of A.
    """
    Q = [v / v.dtype.type(math.sqrt(dot(v, v)))]
    alpha, beta = list[float](), list[float]()
    largest = 0.0
    while True:
        w = product(Q[-1])
        alpha.append(dot(Q[-1], w))
        if not math.isfinite(alpha[-1]):
            raise ValueError(f"product {len(alpha)} with the operator is not finite")
        largest = max(largest, abs(alpha[-1]), *beta[-1:])
        if len(alpha) == steps:
            break
        w = w.copy()
        for _ in range(2):  # once leaves a trace of the earlier vectors behind
            for q in Q:
                w -= w.dtype.type(dot(q, w)) * q
        norm = math.sqrt(dot(w, w))
        if norm <= 100 * float(np.finfo(w.dtype).eps) * largest:
            break
        beta.append(norm)
        Q.append(w / w.dtype.type(norm))
    return np.array(alpha), np.array(beta)
