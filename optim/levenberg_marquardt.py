"""The Levenberg-Marquardt method, on the Gauss-Newton matrix of any convex loss.

Source: Marquardt (1963), "An algorithm for least-squares estimation of nonlinear parameters"; Moré (1978).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import above, at_least, whole
from optim.parts.cg import pcg
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import dot, is_finite

__all__ = ["LevenbergMarquardt"]

Solve = Callable[[float], tuple[Any, str]]  # λ → δ, or a reason why there is none


class LevenbergMarquardt(Optimizer):
    """θ ← θ + δ, (G + λD) δ = −∇f, D = I or diag(G); λ × factor until f falls, then λ / factor.

    damping: λ at the start; damping_min: its floor. factor: Marquardt's ν. scaling: "identity" (Levenberg) or
    "diagonal" (Marquardt: the step does not depend on the units of θ). solver: "dense" forms G by p products, for small
    problems; "cg" is matrix-free, J and Jᵀ by sweeps, to the relative residual cg_tolerance in at most cg_iterations
    steps (scaling="diagonal" takes p products more for the diagonal); "auto" is dense up to 300 parameters. tries: the
    most values of λ in one step. l2: adds ½ l2‖θ‖² to f, its curvature to G. x, t: the whole problem, for a
    deterministic method; a batch does as well.

    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.
    """

    most_dense = 300  # parameters
    _state = ("damping",)

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        damping: float = 1e-2,
        damping_min: float = 1e-12,
        factor: float = 10.0,
        scaling: str = "identity",
        solver: str = "auto",
        cg_iterations: int = 250,
        cg_tolerance: float = 1e-6,
        tries: int = 20,
        l2: float = 0.0,
    ) -> None:
        super().__init__(model, loss, l2=l2)
        self.damping_min = above("damping_min", damping_min, 0.0)
        self.damping = float(at_least("damping", damping, damping_min))
        self.factor = above("factor", factor, 1.0)
        for name, value, known in (
            ("scaling", scaling, ("identity", "diagonal")),
            ("solver", solver, ("auto", "dense", "cg")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        self.scaling = scaling
        small = self.objective.size <= self.most_dense
        self.solver = solver if solver != "auto" else "dense" if small else "cg"
        self.cg_iterations = whole("cg_iterations", cg_iterations, 1)
        self.cg_tolerance = at_least("cg_tolerance", cg_tolerance, 0.0)
        self.tries = whole("tries", tries, 1)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(self, x: Any, t: Any = None) -> StepInfo:
        """One update on (x, t): f on it falls, or the step is rejected and θ and λ stay."""
        self.objective.begin_step()
        q = self.objective.quadratic(x, t)
        f, gradient = q.value, q.gradient
        squared_norm = dot(gradient, gradient)
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        record: dict[str, Any] = {"loss": f, "gradient_norm": norm, "damping": self.damping}
        reason = not_finite(f, gradient, squared_norm)
        if reason:
            return self._reject(reason, record)
        if squared_norm == 0:
            return self._converged("the gradient is zero", record)
        solve = self._dense(q, gradient) if self.solver == "dense" else self._by_cg(q, gradient)
        theta, lam, rounding = self.objective.flat(), self.damping, 8 * float(np.finfo(gradient.dtype).eps) * abs(f)
        for _ in range(self.tries):
            delta, reason = solve(lam)
            record["products"] = q.products
            if reason.startswith("non-finite"):
                return self._reject(reason, record)
            if not reason:
                Gd = np.empty_like(delta)
                q.ggn_product(delta, Gd)
                M = dot(gradient, delta) + dot(delta, Gd) / 2
                f_new = self.objective.value_at(theta + delta, x, t)
                record |= {"damping": lam, "reduction_ratio": (f_new - f) / M if M else math.nan}
                if f_new < f and is_finite(theta + delta):
                    self._accept(theta + delta)
                    self.damping = max(lam / self.factor, self.damping_min)
                    return StepInfo(**record | {"products": q.products}, step_size=1.0)
                reason = "no decrease of the loss" if math.isfinite(f_new) else "non-finite loss at every damping"
                if abs(M) <= rounding:
                    return self._converged("the model predicts no more than the rounding error of the loss", record)
            lam *= self.factor
        return self._reject(reason, record)

    def _dense(self, q: Quadratic, gradient: Any) -> Solve:
        """By Cholesky in float64, G by one product per parameter."""
        G = np.stack([column.astype(np.float64) for column in _columns(q)], axis=1)
        if not np.isfinite(G).all():
            return lambda lam: (None, "non-finite product")
        G, b, D = (G + G.T) / 2, -gradient.astype(np.float64), self._scales(np.diag(G))

        def solve(lam: float) -> tuple[Any, str]:
            try:
                return cho_solve(cho_factor(G + lam * np.diag(D)), b).astype(gradient.dtype), ""
            except LinAlgError:
                return None, "G + λD is not positive definite"

        return solve

    def _by_cg(self, q: Quadratic, gradient: Any) -> Solve:
        """Matrix-free, preconditioned by diag(G) + λD where that diagonal is known."""
        b, D = np.negative(gradient), None
        if self.scaling == "diagonal":
            diagonal = np.array([column[k] for k, column in enumerate(_columns(q))], dtype=gradient.dtype)
            D = self._scales(diagonal)
        small = self.cg_tolerance**2 * dot(b, b)

        def stop(i: int, phi: float, r: Any) -> str | None:
            return "residual" if dot(r, r) <= small else None

        def solve(lam: float) -> tuple[Any, str]:
            if D is None:
                cg = pcg(q.ggn_product, b, damping=lam, iterations=self.cg_iterations, stop=stop, keep=False)
            else:

                def product(v: Any, out: Any) -> None:
                    q.ggn_product(v, out)
                    out += lam * D * v

                inverse = 1 / (diagonal + lam * D)
                cg = pcg(product, b, None, inverse, iterations=self.cg_iterations, stop=stop, keep=False)
            if not cg.finite:
                return None, cg.reason
            return (cg.x, "") if cg.iterations else (None, cg.reason)

        return solve

    def _scales(self, diagonal: Any) -> Any:
        """D; an entry of the diagonal that is zero would leave its parameter undamped."""
        if self.scaling == "identity":
            return np.ones_like(diagonal)
        return np.maximum(diagonal, max(float(diagonal.max()), 1e-30) * 1e-10)


def _columns(q: Quadratic) -> Any:
    """The columns of G, one after the other, in one buffer."""
    e = np.zeros_like(q.theta)
    out = np.empty_like(e)
    for k in range(e.size):
        e[k] = 1
        q.ggn_product(e, out)
        e[k] = 0
        yield out
