"""The density of the eigenvalues of a curvature matrix, from products with it, with standard errors.

    tr h(A) ≈ p/k Σ_l Σ_j τ_lj² h(θ_lj)         k probes v_l, each by m steps of Lanczos

θ_lj and τ_lj² are nodes and weights of the Gauss quadrature of v_lᵀ h(A) v_l. The probes are independent, so their
spread gives the standard error of the mean. Source: Golub & Meurant (2010), chapters 6 and 11; Ubaru, Chen & Saad
(2017); Ghorbani, Krishnan & Xiao (2019) for networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator

from optim.hyper import Number, Rule, checked
from optim.problem.vectors import dot
from rmad.extend import Array, arrays

__all__ = ["Spectrum", "lanczos", "spectral_density"]

HYPER: dict[str, Rule] = {"probes": Number(at_least=2), "steps": Number(at_least=1)}
WIDTH: dict[str, Rule] = {"width": Number(at_least=np.finfo(float).tiny)}

_cdf = np.vectorize(lambda s: math.erf(s / math.sqrt(2)) / 2 + 0.5, otypes=[float])


@dataclass(frozen=True)
class Spectrum:
    """tr h(A) ≈ p/k Σ_l Σ_j τ_lj² h(θ_lj), for any h.

    `spectral_density` makes it. Every estimate is a pair: the mean over the probes, and its standard error.

    Parameters
    ----------
    nodes : (probes, steps) array
        θ.
    weights : (probes, steps) array
        τ²; those of a probe sum to one.
    p : int
        The size of the matrix.
    """

    nodes: Array
    weights: Array
    p: int

    def trace_of(self, h: Callable[[Array], Array]) -> tuple[float, float]:
        """Returns Σ_i h(λ_i), h a function of arrays."""
        mean, error = _mean_and_error(self.p * np.sum(self.weights * h(self.nodes), axis=1))
        return float(mean), float(error)

    def count(self, low: float, high: float) -> tuple[float, float]:
        """Returns the number of eigenvalues in [low, high]."""
        return self.trace_of(lambda x: ((x >= low) & (x <= high)).astype(float))

    def density(self, x: Array, width: float) -> tuple[Array, Array]:
        """Returns eigenvalues per unit of λ at the points x, (n,), each a Gaussian of standard deviation `width`."""
        checked(WIDTH, {"width": width})
        s = (np.reshape(x, (-1, 1, 1)) - self.nodes) / width
        each = np.sum(self.weights * np.exp(-s * s / 2), axis=2) * (self.p / (width * math.sqrt(2 * math.pi)))
        return _mean_and_error(each.T)

    def below(self, x: Array, width: float) -> tuple[Array, Array]:
        """Returns the number of eigenvalues below the points x, (n,), each smeared by that Gaussian."""
        checked(WIDTH, {"width": width})
        s = (np.reshape(x, (-1, 1, 1)) - self.nodes) / width
        return _mean_and_error(self.p * np.sum(self.weights * _cdf(s), axis=2).T)


def _mean_and_error(each: Array) -> tuple[Array, Array]:
    return each.mean(axis=0), each.std(axis=0, ddof=1) / math.sqrt(len(each))


def spectral_density(A: LinearOperator, *, rng: np.random.Generator, probes: int = 8, steps: int = 60) -> Spectrum:
    """tr h(A) ≈ p/k Σ_l Σ_j τ_lj² h(θ_lj): the eigenvalues of a symmetric operator by stochastic Lanczos quadrature.

    It takes probes · steps products, and memory for `steps` vectors.

    Parameters
    ----------
    A : (p, p) LinearOperator
        rmad.HessianOperator, rmad.GGNOperator, Quadratic.ggn, or another one, symmetric.
    rng : np.random.Generator
        Draws the probes, vectors of ±1.
    probes : int, default 8
        k ≥ 2; errors fall with its square root.
    steps : int, default 60
        Steps of Lanczos, which resolve the ends of the spectrum first.

    Returns
    -------
    spectrum : Spectrum
        Estimates with standard errors.

    Raises
    ------
    ValueError
        If A is not square, a product is not finite or a number is out of range.

    References
    ----------
    Ubaru, Chen & Saad (2017); Ghorbani, Krishnan & Xiao (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> A = aslinearoperator(np.diag([1.0, 2.0, 2.0, 5.0]))
    >>> mean, error = spectral_density(A, rng=np.random.default_rng(0), steps=4).count(1.5, 2.5)
    >>> round(mean, 6)
    2.0
    """
    if len(A.shape) != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be square, but has shape {A.shape}")
    checked(HYPER, {"probes": probes, "steps": steps})
    p = A.shape[0]
    most = min(int(steps), p)
    nodes, weights = np.zeros((probes, most)), np.zeros((probes, most))
    for k in range(probes):
        v = arrays.moved_to(arrays.sample_of(A), (rng.integers(0, 2, p) * 2 - 1).astype(A.dtype))
        alpha, beta = lanczos(A.matvec, v, most)
        theta, U = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
        nodes[k, : len(theta)], weights[k, : len(theta)] = theta, U[0] ** 2
        nodes[k, len(theta) :] = theta[-1]  # of weight zero: the Krylov space of this probe was exhausted
    return Spectrum(nodes, weights, p)


def lanczos(product: Callable[[Array], Array], v: Array, steps: int) -> tuple[Array, Array]:
    """The diagonal and the off-diagonal of T = QᵀA Q, Q orthonormal from v, A v, A²v, …; each step orthogonal to all.

    Ends early if the space is exhausted: A Q = Q T then, and the eigenvalues of T are eigenvalues of A.
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
        for _ in range(2):  # twice: rounding errors of one pass leave components along Q
            for q in Q:
                w -= w.dtype.type(dot(q, w)) * q
        norm = math.sqrt(dot(w, w))
        if norm <= 100 * float(np.finfo(w.dtype).eps) * largest:
            break
        beta.append(norm)
        Q.append(w / w.dtype.type(norm))
    return np.array(alpha), np.array(beta)
