"""The Levenberg-Marquardt method, on the Gauss-Newton matrix of any convex loss.

References
----------
Marquardt (1963), "An algorithm for least-squares estimation of nonlinear parameters"; Moré (1978).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

import rmad
from optim import tuning
from optim.base import NO_GAIN, Optimizer, StepInfo, all_or_nothing
from optim.hyper import COUNT, Number, OneOf, Rule
from optim.parts.cg import SmallResidual, pcg
from optim.parts.damping import decided_by_rounding, raised, relaxed
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.problem.vectors import dot, inner, is_finite, read
from optim.types import Batch, Loss, Model
from rmad.extend import Array

__all__ = ["LevenbergMarquardt"]

Solve = Callable[[float], tuple[Any, str]]  # λ → δ, or a reason why there is none


class LevenbergMarquardt(Optimizer):
    """θ ← θ + δ, (G + λD) δ = −∇f, D = I or diag(G); λ × factor until f falls, then λ / factor.

    A deterministic method: (x, t) of a step is the whole problem, though a batch works as well.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    damping : float, default 1e-2
        λ at the start, ≥ damping_min.
    damping_min : float, default 1e-12
        Floor of λ, > 0.
    factor : float, default 10.0
        Marquardt's ν > 1; the default is his.
    scaling : {"identity", "diagonal"}, default "identity"
        D: I is Levenberg's, diag(G) Marquardt's, whose step does not depend on the units of θ.
    solver : {"auto", "dense", "cg"}, default "auto"
        "dense" forms G by p products; "cg" is matrix-free, and takes p products more for scaling="diagonal"; "auto" is
        dense up to 300 parameters.
    cg_iterations : int, default 250
        The most CG steps.
    cg_tolerance : float, default 1e-6
        CG ends at this residual ‖r‖ / ‖∇f‖.
    tries : int, default 20
        The most values of λ in one step.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f, and l2 I to G.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Marquardt (1963); Moré (1978).

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.LevenbergMarquardt(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    fit_batch = None
    HYPER: ClassVar[Mapping[str, Rule]] = {
        "damping_min": Number(above=0.0),
        "damping": Number(at_least="damping_min"),
        "factor": Number(above=1.0),
        "scaling": OneOf(("identity", "diagonal"), quoted=False),
        "solver": OneOf(("auto", "dense", "cg"), quoted=False),
        "cg_iterations": COUNT,
        "cg_tolerance": Number(at_least=0.0),
        "tries": COUNT,
    }
    most_dense = tuning.DENSE_UP_TO
    _state = ("damping",)

    damping: float
    damping_min: float
    factor: float
    scaling: str
    solver: str
    cg_iterations: int
    cg_tolerance: float
    tries: int

    def __init__(
        self,
        model: Model,
        loss: Loss,
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
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        self._keep(LevenbergMarquardt.HYPER, locals())
        self.damping = self._start = float(damping)
        if solver == "auto":
            self.solver = "dense" if self.objective.size <= self.most_dense else "cg"

    @all_or_nothing
    def step(self, x: object, t: object = None) -> StepInfo:
        """Makes one update: f on (x, t) falls, or the step is rejected and θ and λ stay.

        Parameters
        ----------
        x, t : whatever model and loss take
            The whole problem, or a batch.

        Returns
        -------
        StepInfo
            The step; damping and reduction_ratio are those of the last λ that was tried.

        Raises
        ------
        TrainingDiverged
            At the tenth rejected step in a row.
        """
        self.objective.begin_step()
        q = self.objective.quadratic(x, t)
        gradient = q.gradient  # on ranks f comes with it
        record, ended = self._begun(q.f, gradient, damping=self.damping, converges=True)
        if ended:
            return ended
        self._check_function(q.value, x, t)
        solve = self._dense(q) if self.solver == "dense" else self._by_cg(q)
        lam, reason = self.damping, ""
        for _ in range(self.tries):
            delta, reason = solve(lam)
            record["products"] = q.products
            if reason.startswith("non-finite"):
                return self._reject(reason, record)
            if not reason:
                done, reason = self._tried(q, delta, lam, (x, t), record)
                if done:
                    return done
            lam = raised(lam, self.factor, self._start)
        return self._reject(reason, record)

    def _tried(
        self, q: Quadratic, delta: Array, lam: float, batch: Batch, record: dict[str, Any]
    ) -> tuple[StepInfo | None, str]:
        """The step to θ + δ if f falls there, or a step that ends at convergence; else None and why it was not made."""
        f, theta, Gd = q.value, self.objective.flat(), np.empty_like(delta)
        new = theta + delta
        q.ggn_product(delta, Gd)
        slope, dGd, delta2, theta2, f_new = read(
            *(inner(a, delta) for a in (q.gradient, Gd, delta)),
            inner(theta, theta),
            self.objective.scalar_at(new, *batch),
        )
        M = slope + dGd / 2
        record |= {"damping": lam, "reduction_ratio": (f_new - f) / M if M else math.nan}
        within_rounding = decided_by_rounding(f_new - f, M, f, delta2, theta2, theta.dtype)
        if within_rounding:
            self.damping = relaxed(self.damping, 1 / self.factor, self._start)
        if f_new < f and is_finite(new):
            self._accept(new)
            if not within_rounding:
                self.damping = max(lam / self.factor, self.damping_min)
            return StepInfo(**record | {"products": q.products}, step_size=1.0), ""
        if within_rounding:
            return self._converged(NO_GAIN, record), ""
        return None, "no decrease of the loss" if math.isfinite(f_new) else "non-finite loss at every damping"

    def _dense(self, q: Quadratic) -> Solve:
        """Solves by Cholesky in float64, with G from one product per parameter."""
        G = np.stack([column.astype(np.float64) for column in _columns(q)], axis=1)
        if not np.isfinite(G).all():
            return lambda lam: (None, "non-finite product")
        G, b, D = (G + G.T) / 2, -q.gradient.astype(np.float64), self._scales(np.diag(G))

        def solve(lam: float) -> tuple[Any, str]:
            delta = _positive_solution(G + lam * np.diag(D), b)
            if delta is None:
                return None, "G + λD is not positive definite"
            return delta.astype(q.gradient.dtype), ""

        return solve

    def _by_cg(self, q: Quadratic) -> Solve:
        """Solves matrix-free by CG, preconditioned by diag(G) + λD if that diagonal is known."""
        b = np.negative(q.gradient)
        stop = SmallResidual(self.cg_tolerance * math.sqrt(dot(b, b)), euclidean=True)
        diagonal: Array | None = None
        if self.scaling == "diagonal":
            diagonal = np.empty_like(b)
            for k, column in enumerate(_columns(q)):
                diagonal[k] = column[k]

        def solve(lam: float) -> tuple[Any, str]:
            inverse_P: Array | None = None
            damping: float | Array = lam
            if diagonal is not None:
                damping = lam * self._scales(diagonal)  # λD
                inverse_P = 1 / (diagonal + damping)
            most = self.cg_iterations
            cg = pcg(q.ggn_product, b, None, inverse_P, damping=damping, iterations=most, stop=stop, keep=False)
            return (cg.x, "") if cg.finite and cg.iterations else (None, cg.reason)

        return solve

    def _scales(self, diagonal: Array) -> Array:
        """D; an entry of the diagonal that is zero would leave its parameter undamped."""
        if self.scaling == "identity":
            return np.ones_like(diagonal)
        return np.maximum(diagonal, max(float(diagonal.max()), 1e-30) * 1e-10)


def _positive_solution(A: Array, b: Array) -> Array | None:
    """A⁻¹ b by Cholesky; None if A is not positive definite, which CuPy shows by NaN in place of an error."""
    if isinstance(A, np.ndarray):
        try:
            return cho_solve(cho_factor(A), b)
        except LinAlgError:
            return None
    L = np.linalg.cholesky(A)
    return rmad.cho_solve((L, True), b, check_finite=False) if np.isfinite(L).all() else None


def _columns(q: Quadratic) -> Iterator[Array]:
    """The columns of G, one after the other, in one buffer."""
    e = np.zeros_like(q.theta)
    out = np.empty_like(e)
    for k in range(e.size):
        e[k] = 1
        q.ggn_product(e, out)
        e[k] = 0
        yield out
