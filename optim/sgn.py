"""SGN: the stochastic generalized Gauss-Newton method.

Source: Gargiani, Zanelli, Diehl & Hutter (2020), "On the Promise of the Stochastic Generalized Gauss-Newton Method for
Training DNNs", algorithms 1 and 2, sections 2.2 to 3.1; where it is silent, the constants of the authors' code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import above, at_least, at_most, flag, fraction, whole
from optim.parts.cg import CGResult, pcg
from optim.parts.damping import Tikhonov, reduction_ratio
from optim.parts.linesearch import line_search
from optim.parts.preconditioner import Diagonals, Preconditioner, diagonal_inverse
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import blocks, dot, is_finite
from optim.schedules import Schedule, value_at

__all__ = ["SGN"]


class SGN(Optimizer):
    """θ ← θ + α Δθ, (G + ρI) Δθ = −∇f by a few steps of CG from zero, all on one batch. Algorithms 1 and 2.

    damping: ρ at the start, which then follows the reduction ratio (section 3.1; Nocedal & Wright, algorithm 4.1),
    unless trust_region is off; or a schedule of `optim.schedules`, and then ρ follows that. damping_min: its floor.
    cg_iterations: the most CG steps; cg_tolerance: CG ends where ‖r‖∞ is below. adapt_cg: their number follows the
    reduction ratio too: half as many again after a good step, a third fewer after a bad one (the authors' future
    direction, section 4.6). lr: the first α; line_search: halved until Armijo's condition holds (their algorithm 3.1).
    momentum: μ of m ← μ m + (1 − μ)∇f, whose unbiased value takes the gradient's place. preconditioner:
    True for P = (m² + ρ + l2)^preconditioner_exponent, or one of `optim.parts.preconditioner`. l2: adds ½ l2‖θ‖² to
    f, its curvature to G.

    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.
    """

    armijo, shrink, tries = 1e-4, 0.5, 11  # c, the factor of α, and how many values of α: the first and 10 more
    _state = ("k", "damping", "cg_steps", "m")

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        damping: float | Schedule = 1e-3,
        damping_min: float = 1e-6,
        cg_iterations: int = 10,
        cg_tolerance: float = 1e-6,
        adapt_cg: bool = False,
        lr: float = 1.0,
        line_search: bool = True,
        trust_region: bool = True,
        momentum: float = 0.0,
        preconditioner: bool | Preconditioner = False,
        preconditioner_exponent: float = 1.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(model, loss, l2=l2)
        self.schedule = damping if callable(damping) else None
        self.damping_min = at_least("damping_min", damping_min, 0.0)
        if not callable(damping):
            at_least("damping", damping, 0.0)
            at_least("damping", damping, damping_min if damping else 0.0)  # 0 is no damping, and stays so
        self.damping = float(value_at("damping", damping, 0))
        self.cg_iterations = whole("cg_iterations", cg_iterations, 1)
        self.cg_tolerance = at_least("cg_tolerance", cg_tolerance, 0.0)
        self.lr, self.momentum = above("lr", lr, 0.0), fraction("momentum", momentum)
        at_least("preconditioner_exponent", preconditioner_exponent, 0.0)
        self.preconditioner_exponent = at_most("preconditioner_exponent", preconditioner_exponent, 1)
        if not isinstance(preconditioner, bool | Preconditioner):
            raise ValueError(f"preconditioner must be a bool or a Preconditioner, got {preconditioner!r}")
        self.adapt_cg, self.line_search = flag("adapt_cg", adapt_cg), flag("line_search", line_search)
        self.trust_region, self.preconditioner = flag("trust_region", trust_region), preconditioner
        self.k = 0
        self.cg_steps = math.ceil(self.cg_iterations / 3) if adapt_cg else self.cg_iterations  # of the next update
        self.m = np.zeros_like(self.objective.flat()) if momentum else np.zeros(0)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(self, x: Any, t: Any = None) -> StepInfo:
        """One update on the batch (x, t). With the line search f on it never rises; what is not finite is rejected."""
        self.objective.begin_step()
        if self.schedule is not None:
            self.damping = value_at("damping", self.schedule, self.k)
        q = self.objective.quadratic(x, t)
        f, gradient = q.value, q.gradient  # eq. (5)
        squared_norm = dot(gradient, gradient)
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        record: dict[str, Any] = {"loss": f, "gradient_norm": norm, "damping": self.damping}
        reason = not_finite(f, gradient, squared_norm)
        if reason:
            return self._reject(reason, record)
        if squared_norm == 0:
            return self._converged("the gradient is zero", record)
        self.k += 1
        direction = self._averaged(gradient)
        cg = self._solve(q, np.negative(direction), self._preconditioner(q, direction))
        record |= {"cg_iterations": cg.iterations, "products": cg.products}
        if not cg.finite or cg.iterations == 0:
            return self._reject(cg.reason, record)
        del q
        return self._move(f, gradient, direction, cg, (x, t), record)

    def _preconditioner(self, q: Quadratic, direction: Any) -> Any:
        """P⁻¹; None for the identity."""
        added = self.damping + self.objective.l2
        if isinstance(self.preconditioner, Preconditioner):
            return self.preconditioner.inverse(Diagonals(q, (0, self.k)), added)
        if not self.preconditioner:
            return None
        return diagonal_inverse(np.square(direction), added, self.preconditioner_exponent)

    def _averaged(self, gradient: Any) -> Any:
        """m / (1 − μᵏ), m ← μ m + (1 − μ)∇f; the gradient itself where μ = 0."""
        mu = self.momentum
        if not mu:
            return gradient
        for m, u in blocks(self.m, gradient):
            np.multiply(m, mu, out=m)
            np.add(m, (1 - mu) * u, out=m)
        return self.m / (1 - mu**self.k)

    def _solve(self, q: Quadratic, b: Any, inverse_P: Any) -> CGResult:
        """(G + ρI) Δθ = b, eq. (15), by algorithm 2 from Δθ = 0."""

        def stop(i: int, phi: float, r: Any) -> str | None:
            return "residual" if i and max(float(r.max()), -float(r.min())) < self.cg_tolerance else None

        return pcg(
            q.ggn_product, b, None, inverse_P, damping=self.damping, iterations=self.cg_steps, stop=stop, keep=False
        )

    def _move(
        self, f: float, gradient: Any, direction: Any, cg: CGResult, batch: tuple[Any, Any], record: dict[str, Any]
    ) -> StepInfo:
        """From Δθ to the next θ: the ratio at the full step, before the line search; then how far to go."""
        theta, delta = self.objective.flat(), cg.x

        def f_at(alpha: float) -> float:
            return self.objective.value_at(theta + (alpha * self.lr) * delta, *batch)

        slope, norm2 = dot(gradient, delta), dot(delta, delta)
        model_slope = slope if direction is gradient else dot(direction, delta)
        curvature = 2 * (cg.iterates[-1].phi - model_slope) - self.damping * norm2  # ΔθᵀG Δθ, from what CG knows
        M = self.lr * slope + 0.5 * self.lr**2 * curvature  # of the undamped model
        follows = (self.trust_region and self.schedule is None) or self.adapt_cg
        f1 = f_at(1.0) if follows or self.line_search else None
        if follows and f1 is not None:
            record["reduction_ratio"] = reduction_ratio(f1 - f, M)
        alpha, f_tried = 1.0, f
        if self.line_search:
            alpha, f_tried = line_search(
                f_at, f, self.lr * slope, f1=f1, factor=self.shrink, c=self.armijo, tries=self.tries
            )
        if alpha == 0 and abs(M) <= 8 * float(np.finfo(theta.dtype).eps) * abs(f):
            return self._converged("the model predicts no more than the rounding error of the loss", record)
        new = theta + (alpha * self.lr) * delta
        if alpha == 0 or not is_finite(new):
            what = "no sufficient decrease" if math.isfinite(f_tried) else "non-finite loss along the line search"
            return self._reject("non-finite parameters" if alpha else what, record, stacklevel=5)
        self._accept(new)
        if follows:
            self._adapt(record["reduction_ratio"])
        return StepInfo(**record, step_size=alpha * self.lr, reason=cg.reason)

    def _adapt(self, ratio: float) -> None:
        """ρ, and where wanted the number of CG steps, by the reduction ratio."""
        if self.trust_region and self.schedule is None:
            tikhonov = Tikhonov(self.damping, self.damping_min)
            tikhonov.update(ratio)
            self.damping = tikhonov.strength
        if not self.adapt_cg:
            return
        if ratio > Tikhonov.high:
            self.cg_steps = min(math.ceil(1.5 * self.cg_steps), self.cg_iterations)
        elif not ratio >= Tikhonov.low:  # NaN too
            self.cg_steps = max(2 * self.cg_steps // 3, 1)

    def _on_reject(self) -> None:
        self._adapt(-math.inf)
