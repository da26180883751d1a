"""BFGS and L-BFGS: SciPy's own solvers on a model and a loss.

References
----------
Nocedal & Wright (2006), algorithms 6.1 and 7.5; Byrd, Lu, Nocedal & Zhu (1995).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from optim.base import Optimizer, StepInfo, all_or_nothing
from optim.hyper import COUNT, Number, Rule
from optim.problem.ranks import Ranks
from optim.problem.vectors import is_finite
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["BFGS", "LBFGS"]

Function = Callable[[Array], tuple[float, Array]]  # θ → f, ∇f


class _SciPy(Optimizer, ABC):
    """A step is a run of a solver of scipy.optimize.minimize, of at most `iterations` iterations, on (x, t)."""

    fit_batch = None
    HYPER: ClassVar[Mapping[str, Rule]] = {"iterations": COUNT, "tolerance": Number(at_least=0.0)}

    iterations: int
    tolerance: float

    def __init__(
        self, model: Model, loss: Loss, *, iterations: int, tolerance: float, l2: float, ranks: Ranks | None
    ) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        if not isinstance(self.objective.flat(), np.ndarray):
            raise TypeError(f"{type(self).__name__} runs SciPy's solver, which takes NumPy arrays only")
        self._keep(_SciPy.HYPER, locals())
        self.evaluations = 0  # of f and ∇f in the last step

    @abstractmethod
    def _minimize(self, f: Function, theta: Array) -> OptimizeResult:
        """Runs the solver from `theta`."""

    @all_or_nothing
    def step(self, x: object, t: object = None) -> StepInfo:
        """Runs the solver once. θ is the best point that the run has seen: f never rises.

        Parameters
        ----------
        x, t : whatever model and loss take
            The whole problem.

        Returns
        -------
        StepInfo
            step_size is 1 if θ moved; `reason` is the solver's own message.

        Raises
        ------
        TrainingDiverged
            At the tenth rejected step in a row.
        """
        self.objective.begin_step()
        start, values = self.objective.flat(), list[float]()
        best, f_best, known = start, math.inf, self.objective.value_and_gradient(x, t)

        def f(flat: Array) -> tuple[float, Array]:
            nonlocal best, f_best
            theta = flat.astype(start.dtype)
            if values:
                self.objective.assign(theta)
            value, gradient = self.objective.value_and_gradient(x, t) if values else known
            values.append(value)
            if value < f_best and is_finite(theta):
                best, f_best = theta, value
            return value, gradient.astype(np.float64)

        record, ended = self._begun(*known)
        if ended:
            return ended
        self._check_function(known[0], x, t)
        result = self._minimize(f, start.astype(np.float64))
        self.objective.assign(start)
        self.evaluations = len(values)
        if f_best < record["loss"]:
            self._accept(best)
            return StepInfo(**record, step_size=1.0, reason=str(result.message))
        if not all(map(math.isfinite, values)):
            return self._reject("non-finite loss along the line search", record)
        return self._reject(f"no decrease of the loss: {result.message}", record)


class BFGS(_SciPy):
    """θ ← θ − α H ∇f, H the BFGS estimate of the inverse Hessian, (p, p); α by a line search for Wolfe's conditions.

    The next step goes on from the H of the last.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar.
    iterations : int, default 1
        The most iterations in one step.
    tolerance : float, default 1e-8
        The solver ends when ‖∇f‖∞ is below.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.

    Attributes
    ----------
    inverse_hessian : (p, p) array
        H, the identity at the start.
    evaluations : int
        Evaluations of f and ∇f in the last step.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type, or the arrays are not NumPy's.

    References
    ----------
    Nocedal & Wright (2006), algorithm 6.1.

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.BFGS(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    _state = ("inverse_hessian",)

    def __init__(
        self,
        model: Model,
        loss: Loss,
        *,
        iterations: int = 1,
        tolerance: float = 1e-8,
        l2: float = 0.0,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(model, loss, iterations=iterations, tolerance=tolerance, l2=l2, ranks=ranks)
        self.inverse_hessian = np.eye(self.objective.size)

    def _minimize(self, f: Function, theta: Array) -> OptimizeResult:
        options: Any = {"maxiter": self.iterations, "gtol": self.tolerance, "hess_inv0": self.inverse_hessian}
        result = minimize(f, theta, jac=True, method="BFGS", options=options)
        found: Any = result.hess_inv
        H = (found + found.T) / 2
        usable = np.isfinite(H).all() and np.linalg.eigvalsh(H).min() > 0
        self.inverse_hessian = H if usable else np.eye(theta.size)
        return result


class LBFGS(_SciPy):
    """θ ← θ − α H ∇f, H from the last `memory` pairs of steps and gradients; every step is a run of its own.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar.
    iterations : int, default 20
        The most iterations in one step.
    memory : int, default 10
        Pairs that H is made of.
    tolerance : float, default 1e-8
        The solver ends when ‖∇f‖∞ is below.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.

    Attributes
    ----------
    evaluations : int
        Evaluations of f and ∇f in the last step.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type, or the arrays are not NumPy's.

    References
    ----------
    Nocedal & Wright (2006), algorithm 7.5; Byrd, Lu, Nocedal & Zhu (1995).

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.LBFGS(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"memory": COUNT}

    memory: int

    def __init__(
        self,
        model: Model,
        loss: Loss,
        *,
        iterations: int = 20,
        memory: int = 10,
        tolerance: float = 1e-8,
        l2: float = 0.0,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(model, loss, iterations=iterations, tolerance=tolerance, l2=l2, ranks=ranks)
        self._keep(LBFGS.HYPER, locals())

    def _minimize(self, f: Function, theta: Array) -> OptimizeResult:
        options: Any = {"maxiter": self.iterations, "maxcor": self.memory, "gtol": self.tolerance, "ftol": 0.0}
        return minimize(f, theta, jac=True, method="L-BFGS-B", options=options)
