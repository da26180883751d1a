"""The quadratic model of one update, and the change of f that it predicts for a step.

References
----------
Martens & Sutskever (2012), sections 4, 8.5 and 13.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from optim.parts.cg import InverseP, Iterate
from optim.parts.damping import Penalty, Tikhonov, decided_by_rounding, reduction_ratio
from optim.parts.passes import Product
from optim.parts.preconditioner import Diagonals
from optim.parts.structural import StructuralLoss
from optim.problem.objective import Objective
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import are_finite, inner, is_finite, read
from optim.types import Batch
from rmad.extend import Array

__all__ = ["Along", "DampedModel", "HeldOutModel", "Values", "f_and_gradient_at", "f_at"]


class Along(NamedTuple):
    """Numbers of a step δ from θ: ∇fᵀδ, λ δᵀD δ, ‖δ‖², ‖θ‖²."""

    slope: float
    penalty: float
    delta2: float
    theta2: float

    def stays_finite(self, alpha: float, new: Array) -> bool:
        """True if new = θ + α δ holds neither NaN nor infinity; looked at only if the norms do not say so."""
        bound = math.sqrt(self.theta2) + abs(alpha) * math.sqrt(self.delta2)  # NaN compares False
        return bound < np.finfo(new.dtype).max / 2 or is_finite(new)


class DampedModel(NamedTuple):
    """M̂(δ) = f + ∇fᵀδ + ½ δᵀ(B + λD)δ: f and ∇f on the gradient's set, B on that of the curvature, λD the penalty."""

    q: Quadratic
    f: float
    gradient: Array
    penalty: Penalty
    inverse_P: InverseP

    @classmethod
    def formed(
        cls,
        q: Quadratic,
        f: float,
        gradient: Array,
        rule: Tikhonov,
        inverse_P: Callable[[Diagonals, Penalty], InverseP],
        seed: tuple[int, ...],
    ) -> DampedModel:
        """λD by the rule of section 8, and P for it, as (diag(B) + diag(λD) + l2 + κ)^ξ of section 11.2."""
        diagonals = Diagonals(q, seed)
        penalty = Penalty(rule.strength, rule.matrix(q, diagonals))
        return cls(q, f, gradient, penalty, inverse_P(diagonals, penalty))

    @property
    def preconditioner_is_finite(self) -> bool:
        """False if an entry of P⁻¹ is NaN or infinite."""
        if self.inverse_P is None:
            return True
        P: Any = self.inverse_P
        return are_finite(P.arrays() if hasattr(P, "arrays") else [P])

    def product(self, curvature: str) -> tuple[Product, float | Array]:
        """B̂ = B + λD for CG: the product, and the diagonal that `pcg` adds to it."""
        return self.penalty.split(self.q.ggn_product if curvature == "ggn" else self.q.hessian_product)

    def along(self, delta: Array, theta: Array) -> Along:
        """The numbers of the step δ from θ; from a device in one copy."""
        penalty = self.penalty.quadratic_form(delta)
        return Along(*read(inner(self.gradient, delta), penalty, inner(delta, delta), inner(theta, theta)))

    def change(self, chosen: Iterate, along: Along, damped: bool, structural: StructuralLoss | None) -> float:
        """M(δ) − f(θ), eq. (1), from the value φ = M̂(δ) − f(θ) that CG knows, less the penalties; damped: φ itself."""
        if damped:
            return chosen.phi
        M = chosen.phi - along.penalty / 2
        if structural and structural.strength:  # by one push
            M -= sum(read(*self.q.curvature_along(chosen.x)[structural.outputs : -1])) / 2
        return M


class HeldOutModel:
    """δ → ∇fᵀδ + ½ δᵀB δ on the backtracking batch, without structural damping; formed when it is first called."""

    def __init__(self, objective: Objective, batch: Batch, structural: StructuralLoss | None) -> None:
        self._objective, self._batch, self._structural = objective, batch, structural
        self._q: Quadratic | None = None

    @property
    def products(self) -> int:
        return 0 if self._q is None else self._q.products

    def __call__(self, delta: Array) -> float:
        if self._q is None:
            self._q = self._objective.quadratic(*self._batch)
        loss, (slope, *along) = self._structural, read(inner(self._q.gradient, delta), *self._q.curvature_along(delta))
        return slope + (sum(along[: loss.outputs]) + along[-1] if loss else sum(along)) / 2


def f_at(objective: Objective, delta: Array, batch: Batch) -> float:
    """f(θ + δ) on a batch."""
    return objective.value_at(objective.flat() + delta, *batch)


def f_and_gradient_at(objective: Objective, delta: Array, batch: Batch) -> tuple[float, Array]:
    """f(θ + δ) and ∇f(θ + δ) on a batch."""
    there = copy.copy(objective)
    there.model = objective.model_at(objective.flat() + delta)
    return there.value_and_gradient(*batch)


class Values:
    """f(θ), and f(θ + δ) for the δ that was chosen, on the batches of an update, each found once."""

    def __init__(self, objective: Objective, known: list[tuple[Batch, float]]) -> None:
        self._objective, self._before = objective, {id(batch): value for batch, value in known}

    def chosen(self, delta: Array, batch: Batch, value: float | None) -> None:
        """Sets δ, and f(θ + δ) on a batch if it is known already."""
        self._delta = delta
        self._after = {} if value is None else {id(batch): value}

    def before(self, batch: Batch) -> float:
        """f(θ)."""
        if id(batch) not in self._before:
            self._before[id(batch)] = self._objective.value(*batch)
        return self._before[id(batch)]

    def after(self, batch: Batch) -> float:
        """f(θ + δ)."""
        if id(batch) not in self._after:
            self._after[id(batch)] = f_at(self._objective, self._delta, batch)
        return self._after[id(batch)]

    def ratio(self, batch: Batch, M: float, along: Along) -> tuple[float, bool]:
        """ρ, eq. (10), for M = M(δ) − f(θ), and True if rounding decides it."""
        actual, dtype = self.after(batch) - self.before(batch), self._objective.dtype
        by_rounding = decided_by_rounding(actual, M, self.before(batch), along.delta2, along.theta2, dtype)
        return reduction_ratio(actual, M), by_rounding
