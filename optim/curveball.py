"""CurveBall: heavy-ball momentum with a curvature term.

References
----------
Henriques, Ehrhardt, Albanie & Vedaldi (2018), "Small steps and giant leaps: Minimal Newton solvers for Deep Learning",
section 3; where it is silent, the constants of the authors' MATLAB code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from optim.base import Optimizer, StepInfo, all_or_nothing, not_finite
from optim.hyper import NONE, Flag, Number, Rule
from optim.parts.damping import decided_by_rounding, raised, relaxed
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.problem.vectors import blocks, inner, is_finite, read
from optim.types import Batch, Loss, Model
from rmad.extend import Array

__all__ = ["CurveBall"]


class System(NamedTuple):
    """The damped model along Δz and z, bᵀc + ½ cᵀA c for the step c₁ Δz + c₂ z: eq. (19)."""

    A: Array  # (2, 2)
    b: Array  # (2,)

    def change(self, c: Array) -> float:
        return float(c @ self.b + c @ self.A @ c / 2)


class CurveBall(Optimizer):
    """θ ← θ + α z,  z ← ρ z − β Δz,  Δz = (G + λI) z + ∇f = Jᵀ(L″ J z + ∂L) + λ z. Eqs. (14)–(18).

    A step is a forward pass, a push and a pull; one more push for eq. (19), and every fifth time one more forward pass
    for λ. The gradient alone is never formed, so gradient_norm is NaN. z = 0 at the start and after a step into a loss
    that is not finite.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    lr : float, default 1.0
        α > 0; the default is that of the paper.
    momentum : float, default None
        ρ in [0, 1], given together with beta; None minimizes the quadratic model over span{Δz, z} at every step, eq.
        (19).
    beta : float, default None
        β > 0, given together with momentum.
    damping : float, default 1.0
        λ at the start, 0 for none; the paper takes 1 with batch normalization, 10 without.
    adapt_damping : bool, default True
        Every 5 steps λ × 0.999⁵ if f fell by more than 3/2 of what the model predicted, λ / 0.999⁵ if by less than 1/2
        of it.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f, and l2 I to G.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.

    Attributes
    ----------
    beta_rho : (float, float)
        β and ρ of the last step.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Henriques, Ehrhardt, Albanie & Vedaldi (2018), section 3.

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.CurveBall(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "lr": Number(above=0.0),
        "momentum": Number(at_least=0.0, at_most=1.0) | NONE,
        "beta": Number(above=0.0) | NONE,
        "damping": Number(at_least=0.0),
        "adapt_damping": Flag(),
    }
    factor, interval = 0.999, 5  # of λ
    low, high = 1 / 2, 3 / 2  # γ below and above these changes λ
    _state = ("k", "z", "damping")

    lr: float
    momentum: float | None
    beta: float | None
    damping: float
    adapt_damping: bool

    def __init__(
        self,
        model: Model,
        loss: Loss,
        lr: float = 1.0,
        *,
        momentum: float | None = None,
        beta: float | None = None,
        damping: float = 1.0,
        adapt_damping: bool = True,
        l2: float = 0.0,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        if (momentum is None) != (beta is None):
            raise ValueError(f"momentum and beta go together, got momentum={momentum!r}, beta={beta!r}")
        self._keep(CurveBall.HYPER, locals())
        self.damping = self._start = float(damping)
        self.k = 0
        self.beta_rho = math.nan, math.nan
        self.z = np.zeros_like(self.objective.flat())

    @all_or_nothing
    def step(self, x: object, t: object = None) -> StepInfo:
        """Makes one update on a batch; skipped if the loss, Δz or the result is not finite.

        Parameters
        ----------
        x, t : whatever model and loss take
            The batch.

        Returns
        -------
        StepInfo
            The step; reduction_ratio is γ at every fifth step, else NaN.

        Raises
        ------
        TrainingDiverged
            At the tenth rejected step in a row.
        """
        self.objective.begin_step()
        q = self.objective.quadratic(x, t)
        delta = np.empty_like(self.z)
        zGz, slope_z = q.residual(self.z, delta)
        if self.damping:
            for delta_k, z_k in blocks(delta, self.z):
                np.add(delta_k, self.damping * z_k, out=delta_k)  # eq. (18)
        _, norm2, zGz, slope_z = read(q.f, inner(delta, delta), zGz, slope_z)
        record: dict[str, Any] = {"loss": q.value, "damping": self.damping}
        reason = not_finite(q.value, delta, norm2)
        if reason:
            z = " or curvature product" if reason.endswith("gradient") and self.z.any() else ""
            return self._reject(reason + z, record | {"products": q.products})

        due = self.adapt_damping and self.k % self.interval == 0
        if due:
            self._check_function(q.value, x, t)
        system = self._system(q, delta, norm2, zGz, slope_z) if self.beta is None or due else None
        A, b = system or (None, None)
        beta, rho = self._coefficients(A, b, float(np.finfo(delta.dtype).eps))
        record["products"] = q.products
        del q  # its buffers are as long as θ
        for delta_k, z_k in blocks(delta, self.z):
            np.multiply(delta_k, beta, out=delta_k)
            np.subtract(rho * z_k, delta_k, out=delta_k)
        self.z = delta  # z ← ρ z − β Δz, eq. (15)
        return self._move((x, t), system if due else None, beta, rho, record)

    def _move(self, batch: Batch, system: System | None, beta: float, rho: float, record: dict[str, Any]) -> StepInfo:
        """Moves θ along z; a given system also sets the next λ."""
        flat = self.objective.flat()
        for theta_k, z_k in blocks(flat, self.z):
            np.add(theta_k, self.lr * z_k, out=theta_k)  # θ ← θ + α z, eq. (16)
        if not is_finite(flat):
            return self._reject_and_forget("non-finite parameters after the update", record)
        if system is not None:
            f_new, z2, theta2 = read(self.objective.scalar_at(flat, *batch), inner(self.z, self.z), inner(flat, flat))
            if not math.isfinite(f_new):
                return self._reject_and_forget("non-finite loss after the update", record)
            actual, predicted = f_new - record["loss"], system.change(self.lr * np.array([-beta, rho]))
            # γ, with the damped model, which eq. (19) minimizes (as in the authors' code)
            record["reduction_ratio"] = actual / predicted if predicted != 0 else math.nan
            if decided_by_rounding(actual, predicted, record["loss"], self.lr**2 * z2, theta2, flat.dtype):
                system = None
                self.damping = relaxed(self.damping, self.factor**self.interval, self._start)
        self._accept(flat)
        self.k += 1
        self.beta_rho = beta, rho
        if system is not None:
            self._rescale(record["reduction_ratio"])
        return StepInfo(**record, step_size=self.lr)

    def _system(self, q: Quadratic, delta: Array, norm2: float, zGz: float, slope_z: float) -> System:
        """The matrix and the right side of eq. (19), of the damped model: one push."""
        lam, along = self.damping, q.residual_along(delta, self.z)
        dGd, zGd, slope_d, zd, zz = read(*along, inner(self.z, delta), inner(self.z, self.z))
        zGd += lam * zd
        A = np.array([[dGd + lam * norm2, zGd], [zGd, zGz + lam * zz]])
        return System(A, np.array([slope_d, slope_z]))

    def _coefficients(self, A: Any, b: Any, eps: float) -> tuple[float, float]:
        """β and ρ: as given, or (−β, ρ) = −A⁻¹ b, eq. (19); 0 for one that is not finite."""
        if self.beta is not None and self.momentum is not None:
            return self.beta, self.momentum
        minus_beta, rho = minimizer(A, b, eps)
        return -minus_beta if math.isfinite(minus_beta) else 0.0, rho if math.isfinite(rho) else 0.0

    def _rescale(self, gamma: float) -> None:
        change = self.factor**self.interval
        if gamma > self.high:
            self.damping *= change
        elif gamma < self.low:
            self.damping = raised(self.damping, 1 / change, self._start)

    def _reject_and_forget(self, reason: str, record: dict[str, Any]) -> StepInfo:
        """Rejects a step that goes too far, and gives up the direction that led there."""
        self.z = np.zeros_like(self.z)
        return self._reject(reason, record, stacklevel=6)

    def _on_reject(self) -> None:
        if self.adapt_damping:
            self.damping = raised(self.damping, self.factor**-self.interval, self._start)


def minimizer(A: Array, b: Array, eps: float) -> tuple[float, float]:
    """c = argmin bᵀc + ½ cᵀA c for a 2×2 A ≥ 0: −A⁻¹b, by the pseudo-inverse if A is singular to within eps.

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
