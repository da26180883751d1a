"""Hessian-free optimization: algorithm 3 of the report.

Source: Martens & Sutskever (2012), "Training Deep and Recurrent Networks with Hessian-Free Optimization"; Martens
(2010); where they are silent, the constants of Martens' MATLAB code.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from optim.base import Optimizer, StepInfo, at_least, not_finite
from optim.cg import CGResult, pcg, relative_progress
from optim.damping import Tikhonov, reduction_ratio
from optim.linesearch import cg_backtracking, line_search
from optim.preconditioner import diagonal_inverse
from optim.quadratic import Quadratic
from optim.vectors import dot, is_finite

__all__ = ["HessianFree"]

Batch = tuple[Any, Any]


class Batches(NamedTuple):
    """The sets of points of section 12, each (x, t)."""

    gradient: Batch  # S
    curvature: Batch  # S′
    backtracking: Batch


class HessianFree(Optimizer):
    """θ ← θ + α δ,  δ ≈ argmin M̂(δ) = f(θ) + ∇fᵀδ + ½ δᵀ(B + λI)δ by a truncated run of CG. Algorithm 3.

    damping: λ at the start (45 for deep autoencoders with logistic units, on averaged curvature); 0 for none.
    damping_min: the floor of λ. cg_iterations: the most CG steps (section 13: 250; 25 to 50 in the third recipe).
    decay: ζ of the warm start, section 10; 0 starts CG from zero. preconditioner: (mean of per-case squared
    gradients + λ + l2)^0.75, sections 11.2 and 11.3; off for RNNs. backtracking: section 8.7; off takes CG's last
    iterate. cg_tolerance: of the stopping rule, per step of its window; 0 for none. curvature: "ggn" or "hessian".
    l2: adds ½ l2‖θ‖² to f. All but l2 and curvature may be changed between steps.

    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.
    """

    _state = ("damping", "delta")

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        damping: float = 1.0,
        damping_min: float = 1e-6,
        cg_iterations: int = 250,
        cg_tolerance: float = 5e-4,
        decay: float = 0.95,
        preconditioner: bool = True,
        backtracking: bool = True,
        curvature: str = "ggn",
        l2: float = 0.0,
    ) -> None:
        super().__init__(model, loss, l2=l2)
        at_least("damping_min", damping_min, 0.0)
        if damping != 0:  # 0 is no damping, and stays so
            at_least("damping", damping, damping_min)
        self._tikhonov = Tikhonov(float(damping), damping_min)
        self.cg_iterations = int(at_least("cg_iterations", cg_iterations, 1))
        self.cg_tolerance = at_least("cg_tolerance", cg_tolerance, 0.0)
        self.decay = at_least("decay", decay, 0.0)
        if decay > 1:
            raise ValueError(f"decay must be ≤ 1, got {decay!r}")
        if curvature not in ("ggn", "hessian"):
            raise ValueError(f'curvature must be "ggn" or "hessian", got {curvature!r}')
        self.preconditioner, self.backtracking, self.curvature = bool(preconditioner), bool(backtracking), curvature
        self.delta = np.zeros_like(self.objective.flat())  # δ_{k−1}: the last iterate of CG, not the chosen one

    @property
    def damping(self) -> float:
        """λ, as it stands."""
        return self._tikhonov.strength

    @damping.setter
    def damping(self, strength: float) -> None:
        self._tikhonov.strength = at_least("damping", float(strength), 0.0)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(
        self, x: Any, t: Any = None, *, curvature_batch: Batch | None = None, backtracking_batch: Batch | None = None
    ) -> StepInfo:
        """One update. (x, t): the set S of the gradient and of the line search, section 12.

        curvature_batch: (x, t) of the set S′ of the curvature, of ρ and of the preconditioner; S if not given.
        backtracking_batch: where the iterates of CG are compared, section 8.7; S if not given.
        f on S never rises. A step that finds anything NaN or infinite is rejected, and λ raised.
        """
        self.objective.begin_step()
        S = (x, t)
        batches = Batches(S, S if curvature_batch is None else curvature_batch, backtracking_batch or S)
        q = self.objective.quadratic(*batches.curvature)
        f, gradient = (q.value, q.gradient) if curvature_batch is None else self.objective.value_and_gradient(x, t)
        squared_norm = dot(gradient, gradient)
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        record: dict[str, Any] = {"loss": f, "gradient_norm": norm, "damping": self.damping}
        reason = not_finite(f, gradient, squared_norm)
        if not (reason or math.isfinite(q.value)):
            reason = "non-finite loss on the curvature batch"
        if reason:
            return self._reject(reason, record)
        if squared_norm == 0:
            return self._converged("the gradient is zero", record)

        inverse_P = None
        if self.preconditioner:  # sections 11.2, 11.3
            inverse_P = diagonal_inverse(q.squared_gradients(), self.damping + self.objective.l2)
            if not is_finite(inverse_P):
                return self._reject("non-finite preconditioner", record)
        cg = self._solve(q, np.negative(gradient), inverse_P)
        record |= {"cg_iterations": cg.iterations, "products": cg.products}
        if not cg.finite or (cg.iterations == 0 and cg.reason != "solved"):
            return self._reject(cg.reason, record)
        return self._move(batches, q, f, gradient, cg, record)

    def _move(
        self, batches: Batches, q: Quadratic, f: float, gradient: Any, cg: CGResult, record: dict[str, Any]
    ) -> StepInfo:
        """From the iterates of CG to the next θ: which δ, how good the model was there, how far to go."""
        objective, theta = self.objective, self.objective.flat()
        chosen, known = cg.iterates[-1], dict[int, float]()  # known: f(θ + δ) by batch
        if self.backtracking:  # section 8.7
            chosen, known[id(batches.backtracking)] = cg_backtracking(
                cg.iterates, lambda delta: objective.value_at(theta + delta, *batches.backtracking)
            )
        delta = chosen.x
        for batch in (batches.gradient, batches.curvature):
            if id(batch) not in known:
                known[id(batch)] = objective.value_at(theta + delta, *batch)

        M = self._tikhonov.undamped(chosen.phi, dot(delta, delta))  # M(δ) − f(θ), section 4, eq. (1)
        rho = reduction_ratio(known[id(batches.curvature)] - q.value, M)  # section 8.5, eq. (10), on S′
        alpha, f_tried = line_search(  # section 8.8
            lambda a: objective.value_at(theta + a * delta, *batches.gradient),
            f,
            slope=dot(gradient, delta),
            f1=known[id(batches.gradient)],
        )
        record |= {"reduction_ratio": rho}
        rounding = 8 * float(np.finfo(theta.dtype).eps) * abs(f)
        if alpha == 0 and abs(M) <= rounding:
            return self._converged("the model predicts no more than the rounding error of the loss", record)
        new = theta + alpha * delta
        if alpha == 0 or not is_finite(new):
            self.delta = np.zeros_like(theta)  # section 8.5: start the next run of CG from zero
            return self._reject("non-finite parameters" if alpha else _no_decrease(f_tried), record, stacklevel=5)
        self._accept(new)  # θ_k = θ_{k−1} + α δ_k
        self.delta = cg.x
        self._tikhonov.update(rho)  # section 8.5
        return StepInfo(**record, step_size=alpha, reason=cg.reason)

    def _converged(self, why: str, record: dict[str, Any]) -> StepInfo:
        self.rejected_in_a_row = 0
        return StepInfo(**record, reason=f"converged: {why}")

    def _solve(self, q: Quadratic, b: Any, inverse_P: Any) -> CGResult:
        """PCG(b, A, ζ δ_{k−1}, P) with A(v) = B v + λv; algorithm 2, sections 8.1 and 10."""
        return pcg(
            q.ggn_product if self.curvature == "ggn" else q.hessian_product,
            b,
            np.multiply(self.delta, self.decay) if self.decay and self.delta.any() else None,
            inverse_P,
            damping=self.damping,
            iterations=self.cg_iterations,
            stop=relative_progress(self.cg_tolerance),
            keep=self.backtracking,
        )

    def _on_reject(self) -> None:
        self._tikhonov.increase()


def _no_decrease(f_last: float) -> str:
    return "no sufficient decrease of the loss" if math.isfinite(f_last) else "non-finite loss along the line search"
