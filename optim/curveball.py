"""CurveBall: heavy-ball momentum with a curvature term.

Source: Henriques, Ehrhardt, Albanie & Vedaldi (2018), "Small steps and giant leaps: Minimal Newton solvers for Deep
Learning", section 3; where it is silent, the constants of the authors' MATLAB code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import above, at_least, at_most, flag
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import blocks, dot, is_finite

__all__ = ["CurveBall"]


class CurveBall(Optimizer):
    """θ ← θ + α z,  z ← ρ z − β Δz,  Δz = (G + λI) z + ∇f = Jᵀ(L″ J z + ∂L) + λ z. Eqs. (14)–(18).

    lr: α. momentum, beta: ρ and β, both given or both None; None minimizes the quadratic model over span{Δz, z}
    at every step, eq. (19). damping: λ at the start, 0 for none (the paper's 1 with batch normalisation, 10 without).
    adapt_damping: every 5 steps λ × 0.999⁵ where the objective fell by more than 3/2 of what the model said, and
    λ / 0.999⁵ where by less than 1/2 of it. l2: adds ½ l2‖θ‖² to f, its curvature to G.

    A step is a forward pass, a push and a pull; one more push for eq. (19), and every fifth time one more forward
    pass for λ. `beta_rho` are β and ρ of the last step. The gradient alone is never formed: gradient_norm is
    NaN. z = 0 at the start and after a step into a loss that is not finite.

    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.
    """

    factor, interval = 0.999, 5  # of λ
    low, high = 1 / 2, 3 / 2  # γ below and above these changes λ
    _state = ("k", "z", "damping")

    def __init__(
        self,
        model: Any,
        loss: Any,
        lr: float = 1.0,
        *,
        momentum: float | None = None,
        beta: float | None = None,
        damping: float = 1.0,
        adapt_damping: bool = True,
        l2: float = 0.0,
    ) -> None:
        super().__init__(model, loss, l2=l2)
        self.lr = above("lr", lr, 0.0)
        if (momentum is None) != (beta is None):
            raise ValueError(f"momentum and beta go together, got momentum={momentum!r}, beta={beta!r}")
        if momentum is not None and beta is not None:
            at_most("momentum", at_least("momentum", momentum, 0.0), 1)
            above("beta", beta, 0.0)
        self.momentum, self.beta = momentum, beta
        self.damping = float(at_least("damping", damping, 0.0))
        self.adapt_damping = flag("adapt_damping", adapt_damping)
        self.k = 0
        self.beta_rho = math.nan, math.nan
        self.z = np.zeros_like(self.objective.flat())

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(self, x: Any, t: Any = None) -> StepInfo:
        """One update on the batch (x, t). Skipped where the loss, Δz or the result is not finite."""
        self.objective.begin_step()
        q = self.objective.quadratic(x, t)
        delta = np.empty_like(self.z)
        zGz, slope_z = q.residual(self.z, delta)
        record: dict[str, Any] = {"loss": q.value, "damping": self.damping}
        for delta_k, z_k in blocks(delta, self.z):
            if self.damping:
                np.add(delta_k, self.damping * z_k, out=delta_k)  # eq. (18)
        norm2 = dot(delta, delta)
        reason = not_finite(q.value, delta, norm2)
        if reason:
            z = " or curvature product" if reason.endswith("gradient") and self.z.any() else ""
            return self._reject(reason + z, record | {"products": q.products})

        due = self.adapt_damping and self.k % self.interval == 0
        A = b = None
        if self.beta is None or due:
            A, b = self._system(q, delta, norm2, zGz, slope_z)
        beta, rho = self._coefficients(A, b, float(np.finfo(delta.dtype).eps))
        f, record["products"] = q.value, q.products
        del q  # its buffers are as long as θ
        for z_k, delta_k in blocks(self.z, delta):
            np.multiply(z_k, rho, out=z_k)
            np.subtract(z_k, beta * delta_k, out=z_k)  # z ← ρ z − β Δz, eq. (15)
        del delta
        flat = self.objective.flat()
        for theta_k, z_k in blocks(flat, self.z):
            np.add(theta_k, self.lr * z_k, out=theta_k)  # θ ← θ + α z, eq. (16)
        if not is_finite(flat):
            return self._reject_and_forget("non-finite parameters after the update", record)
        if due and A is not None and b is not None:
            f_new = self.objective.value_at(flat, x, t)
            if not math.isfinite(f_new):
                return self._reject_and_forget("non-finite loss after the update", record)
            record["reduction_ratio"] = self._ratio(f_new - f, A, b, beta, rho)
        self._accept(flat)
        self.k += 1
        self.beta_rho = beta, rho
        if due:
            self._rescale(record["reduction_ratio"])
        return StepInfo(**record, step_size=self.lr)

    def _system(self, q: Quadratic, delta: Any, norm2: float, zGz: float, slope_z: float) -> tuple[Any, Any]:
        """The matrix and the right side of eq. (19), of the damped model: one push."""
        dGd, zGd, slope_d = q.residual_along(delta, self.z)
        lam, zd = self.damping, dot(self.z, delta)
        zGd += lam * zd
        A = np.array([[dGd + lam * norm2, zGd], [zGd, zGz + lam * dot(self.z, self.z)]])
        return A, np.array([slope_d, slope_z])

    def _coefficients(self, A: Any, b: Any, eps: float) -> tuple[float, float]:
        """β and ρ: as given, or (−β, ρ) = −A⁻¹ b, eq. (19); 0 for what is not finite."""
        if self.beta is not None and self.momentum is not None:
            return self.beta, self.momentum
        minus_beta, rho = minimizer(A, b, eps)
        return -minus_beta if math.isfinite(minus_beta) else 0.0, rho if math.isfinite(rho) else 0.0

    def _ratio(self, actual: float, A: Any, b: Any, beta: float, rho: float) -> float:
        """γ: the change of f over that of the damped model, which eq. (19) minimizes (as in the authors' code)."""
        c = self.lr * np.array([-beta, rho])
        predicted = float(c @ b + c @ A @ c / 2)
        return actual / predicted if predicted != 0 else math.nan

    def _rescale(self, gamma: float) -> None:
        change = self.factor**self.interval
        if gamma > self.high:
            self.damping *= change
        elif gamma < self.low:
            self.damping /= change

    def _reject_and_forget(self, reason: str, record: dict[str, Any]) -> StepInfo:
        """A step that goes too far: the direction that led there is given up."""
        self.z = np.zeros_like(self.z)
        return self._reject(reason, record, stacklevel=5)

    def _on_reject(self) -> None:
        if self.adapt_damping:
            self.damping /= self.factor**self.interval


def minimizer(A: Any, b: Any, eps: float) -> tuple[float, float]:
    """c = argmin bᵀc + ½ cᵀA c for a 2×2 A ≥ 0: −A⁻¹b, by the pseudo-inverse where A is singular to within eps.

    Scaled to [[1, s], [s, 1]] first, whose eigenvectors (1, ±1)/√2 have the eigenvalues 1 ± s: as training converges
    Δz becomes far shorter than z, and that alone must not make A count as singular.
    """
    if not np.isfinite(A).all():
        return math.nan, math.nan
    d = np.sqrt(np.maximum(np.diag(A), 0))
    inverse = np.divide(1.0, d, out=np.zeros(2), where=d > 0)
    s, (b1, b2) = float(A[0, 1] * inverse[0] * inverse[1]), map(float, b * inverse)
    if not inverse.all():  # one direction has no curvature, and so (A ≥ 0) no slope: it is not gone
        return float(-b1 * inverse[0]), float(-b2 * inverse[1])
    along, across = ((b1 + sign * b2) / (1 + sign * s) if 1 + sign * s > 4 * eps else 0.0 for sign in (1, -1))
    return float(-(along + across) / 2 * inverse[0]), float(-(along - across) / 2 * inverse[1])
