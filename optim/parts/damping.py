"""Damping by a penalty ½ λ δᵀD δ, and the Levenberg-Marquardt rule that adapts λ.

    Tikhonov           D = I                              section 8.1
    DiagonalDamping    D = (diag(G) + κ)^ξ                section 8.3
    MatrixDamping      any D                              section 8.3

Source: Martens & Sutskever (2012), sections 8.1 to 8.3 and 8.5; constants of Martens' MATLAB code. Structural damping
(section 8.4) is `optim.parts.structural`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from optim.hyper import Number, at_least
from optim.parts.preconditioner import Diagonal, Diagonals, EmpiricalFisher, Kappa, checked_kappa, kappa_at, to_a_power
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import dot

__all__ = ["DiagonalDamping", "MatrixDamping", "Penalty", "Tikhonov", "reduction_ratio"]


def reduction_ratio(actual: float, predicted: float) -> float:
    """ρ = (f(θ + δ) − f(θ)) / M(δ), eq. (10), with M the undamped model without its constant.

    −∞ where the objective rose, whatever the sign of M (Martens' code); NaN where either is, or M = 0.
    """
    if actual > 0:
        return -math.inf
    return actual / predicted if predicted != 0 else math.nan


class Penalty:
    """½ λ δᵀD δ of one update. D: None for the identity, (p,) a diagonal, or an operator that answers D @ v."""

    def __init__(self, strength: float, D: Any = None) -> None:
        self.strength, self.D = strength, D

    def quadratic_form(self, delta: Any) -> float:
        """λ δᵀD δ."""
        if self.strength == 0:
            return 0.0
        D_delta = delta if self.D is None else self.D * delta if self._is_diagonal else self.D @ delta
        return self.strength * dot(delta, D_delta)

    @property
    def _is_diagonal(self) -> bool:
        return getattr(self.D, "ndim", None) == 1

    @property
    def diagonal(self) -> Any:
        """The diagonal of λD: λ, or (p,); ValueError for an operator that does not know its own."""
        if self.D is None or self.strength == 0:
            return self.strength
        if self._is_diagonal:
            return self.strength * self.D
        if not hasattr(self.D, "diagonal"):
            raise ValueError(
                "damping: the preconditioner approximates diag(B + λD) (section 11.2), and D does not tell its own; "
                "give D a method diagonal(), or take preconditioner=False"
            )
        return self.strength * self.D.diagonal()

    def split(self, product: Callable[[Any, Any], None]) -> tuple[Callable[[Any, Any], None], Any]:
        """The product, with λD v added where D is no diagonal, and what is left for `pcg` to add: λ, or (p,)."""
        if self.D is None or self.strength == 0 or self._is_diagonal:
            return product, self.diagonal

        def damped(v: Any, out: Any) -> None:
            term = self.strength * (self.D @ v)  # before the product: out may be v
            product(v, out)
            np.add(out, term, out)

        return damped, 0.0


class Tikhonov:
    """M̂(δ) = M(δ) + ½ λ‖δ‖², section 8.1. λ = 0 is no damping, and stays so.

    strength: λ. minimum: the floor below which the rule does not lower it (1e-6 in SGN's code).
    """

    low, high = 1 / 4, 3 / 4
    boost, drop = 3 / 2, 2 / 3

    def __init__(self, strength: float, minimum: float = 0.0) -> None:
        self.strength = at_least("strength", float(strength), 0.0)
        self.minimum = at_least("minimum", minimum, 0.0)

    def matrix(self, q: Quadratic, diagonals: Diagonals) -> Any:
        """D at the present parameters: None for the identity, (p,) a diagonal, or an operator that answers D @ v."""
        return None

    def undamped(self, phi: float, squared_norm: float) -> float:
        """M(δ) from the damped value φ = M̂(δ) that CG knows, and ‖δ‖²."""
        return phi - 0.5 * self.strength * squared_norm

    def update(self, rho: float) -> None:
        """The Levenberg-Marquardt rule, section 8.5: λ × 2/3 where ρ > 3/4, λ × 3/2 where ρ < 1/4 or NaN."""
        if rho > self.high:
            self.strength = max(self.strength * self.drop, min(self.minimum, self.strength))
        elif rho < self.low or math.isnan(rho):
            self.increase()

    def increase(self) -> None:
        self.strength *= self.boost


class DiagonalDamping(Tikhonov):
    """M̂(δ) = M(δ) + ½ λ δᵀD δ, D = (diag(G) + κ)^ξ, anew at every update: scale-sensitive damping, section 8.3.

    diagonal: how diag(G) is found, an estimator of `optim.parts.preconditioner`. exponent: ξ, section 11.2; 1 is
    Levenberg and Marquardt's choice, whose steps do not depend on the units of the parameters. kappa: κ, in the units
    of diag(G), a number, (p,) or a function of diag(G); where it is 0, parameters without gradient are not damped.
    """

    def __init__(
        self,
        strength: float,
        minimum: float = 0.0,
        *,
        diagonal: Diagonal | None = None,
        exponent: float = 0.75,
        kappa: Kappa = 0.0,
    ) -> None:
        super().__init__(strength, minimum)
        self.diagonal_of_G = EmpiricalFisher() if diagonal is None else diagonal
        self.exponent = at_least("exponent", exponent, 0.0)
        self.kappa = checked_kappa(kappa)

    def matrix(self, q: Quadratic, diagonals: Diagonals) -> Any:
        d = diagonals.of(self.diagonal_of_G)
        return to_a_power(np.add(d, kappa_at(self.kappa, d)).astype(diagonals.dtype, copy=False), self.exponent)


class MatrixDamping(Tikhonov):
    """M̂(δ) = M(δ) + ½ λ δᵀD δ for any symmetric positive definite D, section 8.3.

    D: (p,) a diagonal, an object that answers D @ v (a LinearOperator), or a function of the local quadratic model
    that gives either at every update: `MatrixDamping(1.0, lambda q: np.exp(2 * q.theta))`, or B itself, `lambda q:
    q.ggn`, which shortens the step and keeps its direction. With a preconditioner an operator must also tell its
    diagonal().
    """

    def __init__(self, strength: float, D: Any, minimum: float = 0.0) -> None:
        super().__init__(strength, minimum)
        if not (callable(D) or getattr(D, "ndim", None) in (1, 2) or hasattr(D, "__matmul__")):
            raise ValueError(f"D must be a (p,) array, an operator or a function of the quadratic model, got {D!r}")
        self.D = D

    def matrix(self, q: Quadratic, diagonals: Diagonals) -> Any:
        is_operator = hasattr(self.D, "__matmul__")
        D = self.D if is_operator else self.D(q)
        size = q.objective.size
        if np.shape(D) not in ((size,), (size, size)) and getattr(D, "shape", None) != (size, size):
            raise ValueError(f"D must be ({size},) or ({size}, {size}), got {np.shape(D)}")
        return D


def damping_rule(damping: float | Tikhonov | None, minimum: float, trust_region: bool) -> Tikhonov:
    """The damping as an object of the optimizer's own, in whatever way it was given."""
    if isinstance(damping, Tikhonov):
        return copy.copy(damping)
    strength = (0.0 if trust_region else 1.0) if damping is None else float(damping)
    return Tikhonov(Number(at_least=minimum, or_zero=True)("damping", strength), minimum)
