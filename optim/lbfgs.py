"""BFGS and L-BFGS: SciPy's own solvers on a model and a loss.

Source: Nocedal & Wright (2006), algorithms 6.1 and 7.5; Byrd, Lu, Nocedal & Zhu (1995).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import at_least, whole
from optim.problem.vectors import dot, is_finite

__all__ = ["BFGS", "LBFGS"]


class _SciPy(Optimizer, ABC):
    """A step is a run of a solver of scipy.optimize.minimize, of at most `iterations` iterations, on (x, t)."""

    def __init__(self, model: Any, loss: Any, *, iterations: int, tolerance: float, l2: float) -> None:
        super().__init__(model, loss, l2=l2)
        if not isinstance(self.objective.flat(), np.ndarray):
            raise TypeError(f"{type(self).__name__} runs SciPy's solver, which takes NumPy arrays only")
        self.iterations = whole("iterations", iterations, 1)
        self.tolerance = at_least("tolerance", tolerance, 0.0)
        self.evaluations = 0  # of f and ∇f in the last step

    @abstractmethod
    def _minimize(self, f: Any, theta: Any) -> OptimizeResult:
        """Runs the solver from `theta`."""

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(self, x: Any, t: Any = None) -> StepInfo:
        """One run on (x, t), the whole problem. θ is the best point that the run has seen: f never rises.

        step_size is 1 where θ moved; `reason` is the solver's own word.
        """
        self.objective.begin_step()
        start, values = self.objective.flat(), list[float]()
        best, f_best, known = start, math.inf, self.objective.value_and_gradient(x, t)

        def f(flat: Any) -> tuple[float, Any]:
            nonlocal best, f_best
            theta = flat.astype(start.dtype)
            if values:
                self.objective.assign(theta)
            value, gradient = self.objective.value_and_gradient(x, t) if values else known
            values.append(value)
            if value < f_best and is_finite(theta):
                best, f_best = theta, value
            return value, gradient.astype(np.float64)

        loss, gradient = known
        squared_norm = dot(gradient, gradient)
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        record: dict[str, Any] = {"loss": loss, "gradient_norm": norm}
        reason = not_finite(loss, gradient, squared_norm)
        if reason:
            return self._reject(reason, record)
        try:
            result = self._minimize(f, start.astype(np.float64))
        finally:
            self.objective.assign(start)
        self.evaluations = len(values)
        if f_best < loss:
            self._accept(best)
            return StepInfo(**record, step_size=1.0, reason=str(result.message))
        if not all(map(math.isfinite, values)):
            return self._reject("non-finite loss along the line search", record)
        return self._reject(f"no decrease of the loss: {result.message}", record)


class BFGS(_SciPy):
    """θ ← θ − α H ∇f, H the BFGS estimate of the inverse Hessian, (p, p); α by a line search for Wolfe's conditions.

    iterations: in one step; the next step goes on from the H of the last. tolerance: the solver ends where ‖∇f‖∞ is
    below. l2: adds ½ l2‖θ‖² to f. `inverse_hessian` is H, the identity at the start.
    Raises ValueError for a hyper-parameter out of range, TypeError for arrays that are not NumPy's.
    """

    _state = ("inverse_hessian",)

    def __init__(self, model: Any, loss: Any, *, iterations: int = 1, tolerance: float = 1e-8, l2: float = 0.0) -> None:
        super().__init__(model, loss, iterations=iterations, tolerance=tolerance, l2=l2)
        self.inverse_hessian = np.eye(self.objective.size)

    def _minimize(self, f: Any, theta: Any) -> OptimizeResult:
        options: Any = {"maxiter": self.iterations, "gtol": self.tolerance, "hess_inv0": self.inverse_hessian}
        result = minimize(f, theta, jac=True, method="BFGS", options=options)
        found: Any = result.hess_inv
        H = (found + found.T) / 2
        usable = np.isfinite(H).all() and np.linalg.eigvalsh(H).min() > 0
        self.inverse_hessian = H if usable else np.eye(theta.size)
        return result


class LBFGS(_SciPy):
    """θ ← θ − α H ∇f, H from the last `memory` pairs of steps and gradients; every step is a run of its own.

    iterations: the most in one step. tolerance: it ends where ‖∇f‖∞ is below. l2: adds ½ l2‖θ‖² to f.
    Raises ValueError for a hyper-parameter out of range, TypeError for arrays that are not NumPy's.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        iterations: int = 20,
        memory: int = 10,
        tolerance: float = 1e-8,
        l2: float = 0.0,
    ) -> None:
        super().__init__(model, loss, iterations=iterations, tolerance=tolerance, l2=l2)
        self.memory = whole("memory", memory, 1)

    def _minimize(self, f: Any, theta: Any) -> OptimizeResult:
        options: Any = {"maxiter": self.iterations, "maxcor": self.memory, "gtol": self.tolerance, "ftol": 0.0}
        return minimize(f, theta, jac=True, method="L-BFGS-B", options=options)
