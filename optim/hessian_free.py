"""Hessian-free optimization: algorithm 3 of the report.

Source: Martens & Sutskever (2012), "Training Deep and Recurrent Networks with Hessian-Free Optimization"; Martens
(2010); where they are silent, the constants of Martens' MATLAB code. docs/hessian_free.md maps sections to code.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np

from optim import presets
from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import above, at_least, at_most, flag, whole
from optim.parts.cg import CGResult, Iterate, relative_progress
from optim.parts.damping import Penalty, Tikhonov, damping_rule, reduction_ratio
from optim.parts.directions import ConjugateGradient, Direction, SteihaugToint, Subproblem
from optim.parts.linesearch import LineSearch
from optim.parts.preconditioner import Diagonals, EmpiricalFisher, Preconditioner
from optim.parts.selection import Backtracking, HeldOut, LastIterate, Worst
from optim.parts.structural import StructuralDamping, StructuralLoss
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import dot, is_finite
from optim.schedules import Schedule, value_at

__all__ = ["HessianFree"]

Batch = tuple[Any, Any]


class Batches(NamedTuple):
    """The sets of points of section 12, each (x, t)."""

    gradient: Batch  # S
    curvature: Batch  # S′
    backtracking: Batch
    line_search: Batch
    ratio: Batch


class Model(NamedTuple):
    """The damped quadratic model of one update, M̂(δ) = f + ∇fᵀδ + ½ δᵀ(B + λD)δ, and what goes with it."""

    q: Quadratic
    f: float
    gradient: Any
    penalty: Penalty
    inverse_P: Any


class HessianFree(Optimizer):
    """θ ← θ + α δ,  δ ≈ argmin M̂(δ) = f(θ) + ∇fᵀδ + ½ δᵀ(B + λD)δ by a truncated run of CG. Algorithm 3.

    damping: λ at the start (45 for deep autoencoders with logistic units, on averaged curvature), 0 for none; or an
    object: Tikhonov, DiagonalDamping, MatrixDamping (sections 8.1 to 8.3). By default 1, or 0 in
    a trust region. damping_min: the floor of λ given as a number. ratio: which model ρ is measured by, "undamped" or
    "damped" (section 8.5). structural: a StructuralDamping; the model then returns (outputs, states) (section 8.4).
    curvature: "ggn" or "hessian" (CG ends at negative curvature, sections 5 and 6).
    direction: ConjugateGradient(), SteihaugToint(radius) (section 8.6), KrylovSubspace(dimension) (section 8.1).
    cg_iterations: the most CG steps (section 13: 250; 25 to 50 in the third recipe). cg_tolerance: of the rule that
    ends CG, per step of its window (section 4); 0 for none. decay: ζ of the warm start (section 10); 0: none.
    preconditioner: EmpiricalFisher(), which True stands for, UnbiasedDiagonal() or ExactDiagonal() (section 11);
    KroneckerPreconditioner(); False for none, as for RNNs. backtracking: Backtracking(), which True stands for, or
    HeldOut() (sections 8.7, 13); False takes CG's last iterate. line_search: LineSearch(), which True stands for
    (section 8.8); False takes the full step, or none. lr: the first α (section 12.2). l2: adds ½ l2‖θ‖² to f.
    restart: where CG from a warm start ended with M(δ) > 0, the next run starts from zero (section 8.5).
    cases_in_memory: a larger batch is worked through in chunks of so many cases, with the same results (section 7.1).
    probe_seed: of what a preconditioner draws. cg_iterations, decay, lr and l2 may be schedules of `optim.schedules`.
    All but curvature and structural may be changed between steps.

    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        *,
        damping: float | Tikhonov | None = None,
        damping_min: float = 1e-6,
        ratio: str = "undamped",
        structural: StructuralDamping | None = None,
        curvature: str = "ggn",
        direction: Direction | None = None,
        cg_iterations: int | Schedule = 250,
        cg_tolerance: float = 5e-4,
        decay: float | Schedule = 0.95,
        preconditioner: bool | Preconditioner = True,
        backtracking: bool | LastIterate = True,
        line_search: bool | LineSearch = True,
        lr: float | Schedule = 1.0,
        l2: float | Schedule = 0.0,
        restart: bool = False,
        cases_in_memory: int | None = None,
        probe_seed: int = 0,
    ) -> None:
        self.direction = ConjugateGradient() if direction is None else direction
        for name, part, kind in (("direction", direction, Direction), ("structural", structural, StructuralDamping)):
            if not isinstance(part, kind | None):
                raise ValueError(f"{name} must be a {kind.__name__}, got {part!r}")
        self.structural_loss = StructuralLoss(loss, structural.distance) if structural else None
        super().__init__(model, self.structural_loss or loss, l2=value_at("l2", at_number("l2", l2), 0))
        if cases_in_memory is not None:
            self.objective.cases_in_memory = whole("cases_in_memory", cases_in_memory, 1)
        self._rule = damping_rule(damping, damping_min, isinstance(self.direction, SteihaugToint))
        self.radius = getattr(self.direction, "radius", 0.0)
        self.cg_iterations, self.decay, self.lr, self.l2 = cg_iterations, decay, lr, l2
        self.cg_tolerance = at_least("cg_tolerance", cg_tolerance, 0.0)
        self.preconditioner, self.backtracking, self.line_search = preconditioner, backtracking, line_search
        one_of("curvature", curvature, ("ggn", "hessian"))
        one_of("ratio", ratio, ("undamped", "damped"))
        if structural and curvature == "hessian":
            raise ValueError('structural damping is a part of the Gauss-Newton matrix: curvature must be "ggn"')
        self.structural, self.curvature, self.ratio = structural, curvature, ratio
        self.restart = flag("restart", restart)
        self.probe_seed = whole("probe_seed", probe_seed, 0)
        self.k = 0  # updates made
        self.delta = np.zeros_like(self.objective.flat())  # δ_{k−1}: the last iterate of CG, not the chosen one
        self._now()

    @classmethod
    def preset(cls, name: str, model: Any, loss: Any, *, updates: int = 1000, **hyper: Any) -> HessianFree:
        """One of the recipes of section 13 for a run of so many updates: "original", "held-out", "momentum", "rnn".

        Further hyper-parameters replace those of the recipe, which `optim.presets` lists. The batches are the caller's
        (`Roles` draws them): original: gradient on all data, curvature on a share; held-out: a backtracking_batch
        apart from the curvature's; momentum: all on one small batch, larger ones for the gradient at the end.
        """
        return cls(model, loss, **(presets.preset(name, updates) | hyper))

    @property
    def damping(self) -> float:
        """λ, as it stands."""
        return self._rule.strength

    @damping.setter
    def damping(self, strength: float) -> None:
        self._rule.strength = at_least("damping", float(strength), 0.0)

    @property
    def _state(self) -> tuple[str, ...]:  # type: ignore[override]
        return "k", "damping", "delta", "radius", "probe_seed"

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(
        self,
        x: Any,
        t: Any = None,
        *,
        curvature_batch: Batch | None = None,
        backtracking_batch: Batch | None = None,
        line_search_batch: Batch | None = None,
        ratio_batch: Batch | None = None,
    ) -> StepInfo:
        """One update, algorithm 3. (x, t): the set S of the gradient; each batch is a pair (x, t), section 12.

        curvature_batch: the set S′ of the curvature and the preconditioner; S if not given. backtracking_batch: where
        the iterates of CG are compared (section 8.7); S. line_search_batch: where f must fall; S. ratio_batch: where ρ
        is measured; S′. f on the line search's batch never rises. A step that finds anything NaN or infinite is
        rejected, and λ raised.
        """
        self._now()
        self.objective.begin_step()
        S = (x, t)
        S_c = _pair("curvature_batch", curvature_batch, S) or S
        batches = Batches(  # sec. 12
            S,
            S_c,
            _pair("backtracking_batch", backtracking_batch, S, S_c) or S,
            _pair("line_search_batch", line_search_batch, S, S_c) or S,
            _pair("ratio_batch", ratio_batch, S, S_c) or S_c,
        )
        if isinstance(self.backtracking, HeldOut) and batches.backtracking is S_c:
            raise ValueError("HeldOut compares on cases that are not in the curvature batch: give backtracking_batch")

        # S comes first: running statistics are those of the first batch that the model sees
        known = None if S_c is S else self.objective.value_and_gradient(x, t)  # b = −∇f on S
        q = self.objective.quadratic(*S_c)  # B on S′: sec. 5, 6, 7.1
        f, gradient = known or (q.value, q.gradient)
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

        diagonals = Diagonals(q, (self.probe_seed, self.k))
        penalty = Penalty(self.damping, self._rule.matrix(q, diagonals))  # λD: sec. 8
        inverse_P = self._preconditioner(diagonals, penalty)  # sec. 11
        if inverse_P is not None and not is_finite_inverse(inverse_P):
            return self._reject("non-finite preconditioner", record)
        model = Model(q, f, gradient, penalty, inverse_P)
        watched = self._selection.watched(S_c)
        watch = self._selection.watch(lambda delta: self._f(delta, watched))
        cg = self._solve(model, batches, watch)  # δ = PCG(b, A, ζ δ_{k−1}, P): alg. 2, sec. 10
        record |= {"cg_iterations": cg.iterations, "products": q.products}
        if not cg.finite or (cg.iterations == 0 and cg.reason != "solved"):
            return self._reject(cg.reason, record)
        return self._move(batches, model, cg, watch, record)

    def _now(self) -> None:
        """The hyper-parameters of this update: schedules at k, objects for True; ValueError where out of range."""
        iterations = value_at("cg_iterations", self.cg_iterations, self.k)
        if callable(self.cg_iterations):
            iterations = math.floor(iterations)
        self._iterations = whole("cg_iterations", iterations, 1)
        self._decay = at_most("decay", at_least("decay", value_at("decay", self.decay, self.k), 0.0), 1)
        self._lr = above("lr", value_at("lr", self.lr, self.k), 0.0)
        self.objective.l2 = float(at_least("l2", value_at("l2", self.l2, self.k), 0.0))
        parts = (("preconditioner", Preconditioner), ("backtracking", LastIterate), ("line_search", LineSearch))
        for name, kind in parts:
            if not isinstance(getattr(self, name), bool | kind):
                raise ValueError(f"{name} must be a bool or a {kind.__name__}, got {getattr(self, name)!r}")
        chosen = self.backtracking
        self._selection = chosen if not isinstance(chosen, bool) else Backtracking() if chosen else LastIterate()
        search = self.line_search
        self._search = search if not isinstance(search, bool) else LineSearch() if search else LineSearch(c=0, tries=1)
        if self.structural and self.structural_loss:
            self.structural_loss.strength = self.structural.strength(self.damping)  # μ or λμ: sec. 8.4

    def _preconditioner(self, diagonals: Diagonals, penalty: Penalty) -> Any:
        """P⁻¹, e.g. P = (diag(B) + diag(λD) + l2 + κ)^ξ; None for the identity. Section 11.2."""
        if not self.preconditioner:
            return None
        kind = EmpiricalFisher() if self.preconditioner is True else self.preconditioner
        return kind.inverse(diagonals, penalty.diagonal + self.objective.l2)

    def _solve(self, model: Model, batches: Batches, watch: Worst | None) -> CGResult:
        """The direction's answer to A δ = b, A(v) = B v + λD v."""
        q = model.q
        product, damping = model.penalty.split(q.ggn_product if self.curvature == "ggn" else q.hessian_product)
        warm = self._decay and self.direction.warm_start and self.delta.any()
        return self.direction(
            Subproblem(
                product,
                np.negative(model.gradient),
                lambda delta: self._f_and_gradient(delta, batches.backtracking),
                damping,
                x0=np.multiply(self.delta, self._decay) if warm else None,
                inverse_P=model.inverse_P,
                iterations=self._iterations,
                stop=relative_progress(self.cg_tolerance),
                keep=self._selection.kept(self._iterations - 1),
                watch=watch,
                radius=self.radius if isinstance(self.direction, SteihaugToint) else None,
                crew=self.objective.crew,
            )
        )

    def _move(
        self, batches: Batches, model: Model, cg: CGResult, watch: Worst | None, record: dict[str, Any]
    ) -> StepInfo:
        """From the iterates of CG to the next θ: which δ, how good the model was there, how far to go."""
        theta, known = self.objective.flat(), dict[int, float]()  # known: f(θ + δ) by batch
        judge = _HeldOutModel(self, batches.backtracking)
        chosen, value = self._selection.choose(  # sec. 8.7
            cg.iterates, lambda delta: self._f(delta, batches.backtracking), judge
        )
        if value is not None:
            known[id(batches.backtracking)] = value
        delta = chosen.x
        for batch in (batches.ratio, batches.line_search) if self._lr == 1 else (batches.ratio,):
            if id(batch) not in known:
                known[id(batch)] = self._f(delta, batch)

        M = self._model_value(model, chosen)  # M(δ) − f(θ): sec. 4, eq. (1)
        before = {id(batches.curvature): model.q.value, id(batches.gradient): model.f}

        def f_before(batch: Batch) -> float:
            return before[id(batch)] if id(batch) in before else self.objective.value(*batch)

        rho = reduction_ratio(known[id(batches.ratio)] - f_before(batches.ratio), M)  # sec. 8.5, eq. (10)
        record |= {"reduction_ratio": rho, "products": model.q.products + judge.products}
        alpha, f_tried = self._search(  # sec. 8.8
            lambda a: self._f(self._lr * a * delta, batches.line_search),
            f_before(batches.line_search),
            self._lr * dot(model.gradient, delta),
            known[id(batches.line_search)] if self._lr == 1 else None,
        )
        rounding = 8 * float(np.finfo(theta.dtype).eps) * abs(f_before(batches.line_search))
        if alpha == 0 and abs(M) <= rounding:
            return self._converged("the model predicts no more than the rounding error of the loss", record)
        new = theta + (self._lr * alpha) * delta
        if alpha == 0 or not is_finite(new):
            self.delta = np.zeros_like(theta)  # sec. 8.5: start the next run of CG from zero
            return self._reject("non-finite parameters" if alpha else _no_decrease(f_tried), record, stacklevel=5)
        self._accept(new)  # θ_k = θ_{k−1} + α δ_k
        self.k += 1
        self.delta = cg.x if watch is None else watch.start(cg)
        if self.restart and M > 0:
            self.delta = np.zeros_like(theta)  # sec. 8.5
        self._adapt(rho, chosen is cg.iterates[-1] and ("boundary" in cg.reason or "negative" in cg.reason))
        return StepInfo(**record, step_size=self._lr * alpha, reason=cg.reason)

    def _model_value(self, model: Model, chosen: Iterate) -> float:
        """M(δ) from the damped value φ = M̂(δ) that CG knows, less the penalties; with ratio="damped" φ itself."""
        if self.ratio == "damped":
            return chosen.phi
        M = chosen.phi - model.penalty.quadratic_form(chosen.x) / 2
        if self.structural_loss and self.structural_loss.strength:  # by one push
            M -= sum(model.q.curvature_along(chosen.x)[self.structural_loss.outputs : -1]) / 2
        return M

    def _adapt(self, rho: float, at_boundary: bool = False) -> None:
        """The rule of section 8.5: for r where there is a trust region (section 8.6), else for λ."""
        if isinstance(self.direction, SteihaugToint):
            self.radius = self.direction.next_radius(self.radius, rho, at_boundary)
        else:
            self._rule.update(rho)

    def _on_reject(self) -> None:
        self._adapt(math.nan)

    def _f(self, delta: Any, batch: Batch) -> float:
        """f(θ + δ) on a batch."""
        return self.objective.value_at(self.objective.flat() + delta, *batch)

    def _f_and_gradient(self, delta: Any, batch: Batch) -> tuple[float, Any]:
        there = copy.copy(self.objective)
        there.model = self.objective.model_at(self.objective.flat() + delta)
        return there.value_and_gradient(*batch)


class _HeldOutModel:
    """M(δ) of the backtracking batch, ∇fᵀδ + ½ δᵀB δ without its constant; made when it is first asked for."""

    def __init__(self, opt: HessianFree, batch: Batch) -> None:
        self._opt, self._batch = opt, batch
        self._q: Quadratic | None = None

    @property
    def products(self) -> int:
        return 0 if self._q is None else self._q.products

    def __call__(self, delta: Any) -> float:
        if self._q is None:
            self._q = self._opt.objective.quadratic(*self._batch)
        loss = self._opt.structural_loss
        along = self._q.curvature_along(delta)
        return dot(self._q.gradient, delta) + (sum(along[: loss.outputs]) + along[-1] if loss else sum(along)) / 2


def _pair(name: str, batch: Any, *sets: Batch) -> Batch | None:
    """The batch; one of the sets where it holds the same arrays, so that what is known of them is not found again."""
    if batch is None:
        return None
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise TypeError(f"{name} must be a pair (x, t), not {type(batch).__name__}")
    return next((S for S in sets if batch[0] is S[0] and batch[1] is S[1]), tuple(batch))


def is_finite_inverse(inverse_P: Any) -> bool:
    arrays = inverse_P.arrays() if hasattr(inverse_P, "arrays") else [inverse_P]
    return all(is_finite(np.reshape(a, -1)) for a in arrays)


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        names = " or ".join(f'"{k}"' for k in known)
        raise ValueError(f"{name} must be {names}, got {value!r}")


def at_number(name: str, value: Any) -> Any:
    """A number that is ≥ 0, or a schedule as it is."""
    return value if callable(value) else at_least(name, value, 0.0)


def _no_decrease(f_last: float) -> str:
    return "no sufficient decrease of the loss" if math.isfinite(f_last) else "non-finite loss along the line search"
