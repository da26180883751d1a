"""Krylov subspace descent: f itself minimized over the span of a few products, instead of a model of it.

References
----------
Vinyals & Povey (2012), "Krylov Subspace Descent for Deep Learning"; Martens & Sutskever (2012), section 8.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize

from optim.hyper import Number, Rule, check
from optim.parts.cg import CGResult, Iterate, precondition
from optim.parts.directions import Direction, Subproblem
from optim.problem.vectors import dot
from rmad.extend import Array

__all__ = ["KrylovSubspace"]


@dataclass(frozen=True)
class KrylovSubspace(Direction):
    """δ = argmin f(θ + δ) over span{P⁻¹b, P⁻¹A P⁻¹b, …, δ_{k−1}}, by BFGS from δ = 0.

    Without a preconditioner the subspace does not depend on λ, so it holds what Tikhonov damping of any strength would
    find. Memory: one vector per dimension.

    Parameters
    ----------
    dimension : int, default 20
        Products that span the subspace; the previous update is one vector more.
    iterations : int, default 30
        The most iterations of BFGS, each a value and a gradient of f on the batch for backtracking.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range or of the wrong type.

    References
    ----------
    Vinyals & Povey (2012).

    Examples
    --------
    >>> import optim
    >>> optim.KrylovSubspace(dimension=10)
    KrylovSubspace(dimension=10, iterations=30)
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"dimension": Number(at_least=1), "iterations": Number(at_least=1)}

    dimension: int = 20
    iterations: int = 30
    floor = 1e-4  # of the eigenvalues of A in the subspace, relative to the largest: Vinyals & Povey, section 3

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, problem: Subproblem) -> CGResult:
        V, H, products = self._basis(problem)
        if not np.isfinite(H).all():
            return self._failed(problem, products, f"non-finite product in Krylov dimension {len(H)}")
        d, U = np.linalg.eigh(H)
        T = U / np.sqrt(np.maximum(np.abs(d), self.floor * max(float(np.abs(d).max()), np.finfo(float).tiny)))

        def f(a: Array) -> tuple[float, Array]:
            """f(θ + V T a) and its gradient by a, in coordinates whose curvature is about I."""
            value, gradient = problem.f(_combined(V, T @ a))
            if not math.isfinite(value):
                return math.inf, np.zeros_like(a)
            return value, T.T @ np.array([dot(v, gradient) for v in V])

        found = minimize(f, np.zeros(len(V)), jac=True, method="BFGS", options={"maxiter": self.iterations})
        c = T @ found.x
        x = _combined(V, c)
        phi = float(c @ H @ c) / 2 - dot(problem.b, x)
        if not (math.isfinite(phi) and math.isfinite(found.fun)):
            return self._failed(problem, products, "non-finite loss in the Krylov subspace")
        return CGResult([Iterate(len(V), x, phi)], len(V), products, f"Krylov subspace of dimension {len(V)}", True)

    def _basis(self, problem: Subproblem) -> tuple[list[Array], Array, int]:
        """Orthonormal v_j and H_ij = v_iᵀA v_j; A v_j spans what comes next, so that each costs one product."""
        V: list[Array] = []
        H = np.zeros((self.dimension + 1, self.dimension + 1))
        w, previous = np.empty_like(problem.b), problem.x0
        precondition(problem.inverse_P, problem.b, w)
        while True:
            if not _append(V, w):
                if previous is None or not _append(V, previous):
                    break
                previous = None
            j, Av = len(V) - 1, np.empty_like(problem.b)
            problem.product(V[j], Av)
            Av += problem.damping * V[j]
            for i in range(j + 1):
                H[i, j] = H[j, i] = dot(V[i], Av)
            if not np.isfinite(H[: j + 1, j]).all() or j == self.dimension:
                break
            w = np.zeros_like(Av)
            if j + 1 < self.dimension:
                precondition(problem.inverse_P, Av, w)
        return V, H[: len(V), : len(V)], len(V)

    def _failed(self, problem: Subproblem, products: int, reason: str) -> CGResult:
        return CGResult([Iterate(0, np.zeros_like(problem.b), 0.0)], 0, products, reason, False)


def _append(V: list[Array], w: Array) -> bool:
    """Appends the part of w outside the span of V, scaled to length one; False if it is nothing but rounding."""
    w = w.copy()
    before = math.sqrt(dot(w, w))
    if before == 0:
        return False
    w /= before
    for _ in range(2):  # twice: rounding errors of one pass leave components along V
        for v in V:
            w -= dot(v, w) * v
    after = math.sqrt(dot(w, w))
    if after <= 100 * float(np.finfo(w.dtype).eps):
        return False
    w /= after
    V.append(w)
    return True


def _combined(V: list[Array], c: Array) -> Array:
    x = np.zeros_like(V[0])
    for v, coefficient in zip(V, c, strict=True):
        x += float(coefficient) * v
    return x
