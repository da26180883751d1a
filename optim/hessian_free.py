"""Hessian-free optimization: algorithm 3 of the report. docs/hessian_free.md maps its sections to code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from optim import presets
from optim.base import NO_GAIN, StepInfo, all_or_nothing
from optim.factored import Deciding
from optim.hyper import COUNT, NONE, SCHEDULE, Flag, Instance, Number, OneOf, Rule, Schedule, checked, value_at
from optim.parts.automatic import Automatic, Decision, Policy, at_most, paying
from optim.parts.cg import CGResult, InverseP, relative_progress
from optim.parts.damping import Penalty, Tikhonov, damping_rule
from optim.parts.directions import ConjugateGradient, Direction, RescaledMomentum, SteihaugToint, Subproblem
from optim.parts.linesearch import LineSearch, no_decrease
from optim.parts.local_model import DampedModel, HeldOutModel, Values, f_and_gradient_at, f_at
from optim.parts.preconditioner import Diagonals, EmpiricalFisher, Preconditioner
from optim.parts.roles import Sets
from optim.parts.selection import Backtracking, HeldOut, LastIterate, Worst
from optim.parts.structural import StructuralDamping, StructuralLoss
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.types import Batch, Loss, Model
from rmad.extend import Array

__all__ = ["HessianFree"]


class HessianFree(Deciding):
    """θ ← θ + α δ,  δ ≈ argmin M̂(δ) = f(θ) + ∇fᵀδ + ½ δᵀ(B + λD)δ by a truncated run of CG. Algorithm 3.

    What is None is decided by the optimizer at every step (`Automatic` has the rules); `StepInfo.choice` and repr tell
    how. With another direction than CG, structural damping, the exact Hessian, `HeldOut` or automatic=False, None is
    the report's own value, which is given below. Sections are those of the report.

    All hyper-parameters but curvature, structural and automatic may be changed between steps.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z; with structural damping model(x) -> (z, h).
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    damping : float or Tikhonov, default None
        λ at the start, 0 for none, or a Tikhonov, DiagonalDamping or MatrixDamping (sections 8.1 to 8.3). The report's
        is 1, or 0 in a trust region. Deep autoencoders with logistic units: 45 (Martens' code), on averaged curvature.
    damping_min : float, default None
        Floor of a λ given as a number. Without rules 1e-6.
    ratio : {"undamped", "damped"}, default "undamped"
        The model that ρ is measured by (section 8.5).
    structural : StructuralDamping, default None
        Adds a penalty on the change of hidden states (section 8.4).
    curvature : {"ggn", "hessian"}, default "ggn"
        B; with "hessian" CG ends at negative curvature (sections 5 and 6).
    direction : Direction, default None
        ConjugateGradient(), the report's; SteihaugToint(radius) (section 8.6), KrylovSubspace(dimension) (section 8.1),
        RescaledMomentum() (Martens & Grosse, section 7).
    cg_iterations : int or schedule, default None
        The most CG steps (section 13: 250; 25 to 50 in the third recipe).
    cg_tolerance : float, default 5e-4
        Of the rule that ends CG, per step of its window (section 4; Martens' code); 0 for none.
    decay : float or schedule, default None
        ζ of the warm start (section 10; 0.95 in Martens' code); 0 for none.
    preconditioner : bool or Preconditioner, default None
        EmpiricalFisher() for True, the report's; UnbiasedDiagonal() or ExactDiagonal() (section 11),
        KroneckerPreconditioner(); False for none, as for RNNs.
    backtracking : bool or LastIterate, default True
        Backtracking() for True, or HeldOut() (sections 8.7 and 13); False takes CG's last iterate.
    line_search : bool or LineSearch, default True
        LineSearch() for True (section 8.8); False takes the full step, or none.
    lr : float or schedule, default 1.0
        The first α (section 12.2).
    l2 : float or schedule, default 0.0
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.
    restart : bool, default False
        After a run of CG from a warm start that ended with M(δ) > 0 the next one starts from zero (section 8.5).
    cases_in_memory : int, default None
        A larger batch is worked through in chunks of so many cases, with the same results (section 7.1).
    probe_seed : int, default 0
        Seed of the random numbers of a preconditioner and of samples.
    automatic : bool or Automatic, default True
        Whether, and by which numbers, what is None is decided. A sample of a large batch is drawn for a step that is
        given no other batches; `StepInfo.cases` tells its size.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012); Martens (2010); where they are silent, the constants of Martens' MATLAB code; for what
    it decides, `Automatic`.

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.HessianFree(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    fit_batch = None  # it takes a sample of many cases by itself
    HYPER: ClassVar[Mapping[str, Rule]] = {
        "direction": Instance(Direction) | NONE,
        "structural": Instance(StructuralDamping) | NONE,
        "l2": Number(at_least=0.0) | SCHEDULE,
        "cases_in_memory": COUNT | NONE,
        "damping_min": Number(at_least=0.0) | NONE,
        "damping": Instance(Tikhonov, Number(at_least="damping_min", or_zero=True)) | NONE,
        "cg_iterations": COUNT | SCHEDULE | NONE,
        "decay": Number(at_least=0.0, at_most=1.0) | SCHEDULE | NONE,
        "lr": Number(above=0.0) | SCHEDULE,
        "cg_tolerance": Number(at_least=0.0),
        "preconditioner": Instance(Preconditioner, Flag()) | NONE,
        "backtracking": Instance(LastIterate, Flag()),
        "line_search": Instance(LineSearch, Flag()),
        "curvature": OneOf(("ggn", "hessian")),
        "ratio": OneOf(("undamped", "damped")),
        "restart": Flag(),
        "probe_seed": Number(at_least=0, whole=True),
        "automatic": Instance(Automatic, Flag()),
    }
    paper: ClassVar[Mapping[str, Any]] = {"cg_iterations": 250, "decay": 0.95, "preconditioner": True}
    floor = 1e-6  # of λ
    _state: tuple[str, ...] = (
        *("k", "damping", "delta", "radius", "probe_seed", "running.estimates"),
        *(f"policy.{name}" for name in Policy.state),
    )
    _parts = ("_rule", "structural_loss", *Deciding._parts)

    def __init__(
        self,
        model: Model,
        loss: Loss,
        *,
        damping: float | Tikhonov | None = None,
        damping_min: float | None = None,
        ratio: str = "undamped",
        structural: StructuralDamping | None = None,
        curvature: str = "ggn",
        direction: Direction | None = None,
        cg_iterations: int | Schedule | None = None,
        cg_tolerance: float = 5e-4,
        decay: float | Schedule | None = None,
        preconditioner: bool | Preconditioner | None = None,
        backtracking: bool | LastIterate = True,
        line_search: bool | LineSearch = True,
        lr: float | Schedule = 1.0,
        l2: float | Schedule = 0.0,
        ranks: Ranks | None = None,
        restart: bool = False,
        cases_in_memory: int | None = None,
        probe_seed: int = 0,
        automatic: bool | Automatic = True,
    ) -> None:
        least = self.floor if damping_min is None else damping_min
        kept = checked(HessianFree.HYPER, locals() | {"damping_min": least})
        self.structural, self.curvature, self.ratio = structural, curvature, ratio
        if isinstance(direction, RescaledMomentum) and curvature == "hessian":
            raise ValueError('RescaledMomentum is for matrices without negative curvature: curvature must be "ggn"')
        if structural and curvature == "hessian":
            raise ValueError('structural damping is a part of the Gauss-Newton matrix: curvature must be "ggn"')
        self.structural_loss = StructuralLoss(loss, structural.distance) if structural else None
        super().__init__(model, self.structural_loss or loss, l2=value_at("l2", l2, 0), ranks=ranks)
        self.objective.cases_in_memory = kept["cases_in_memory"]
        self.direction = ConjugateGradient() if direction is None else direction
        self._free_direction, self._direction = direction is None, self.direction
        self._rule = damping_rule(damping, least, isinstance(direction, SteihaugToint))
        self.automatic = automatic
        self.policy = Policy(automatic if isinstance(automatic, Automatic) else Automatic())
        self._free_damping = damping is None
        self._free_floor = damping_min is None and not isinstance(damping, Tikhonov)
        self.radius = getattr(direction, "radius", 0.0)
        self.cg_iterations, self.decay, self.lr, self.l2 = cg_iterations, decay, lr, l2
        self.cg_tolerance, self.restart, self.probe_seed = cg_tolerance, kept["restart"], kept["probe_seed"]
        self.preconditioner, self.backtracking, self.line_search = preconditioner, backtracking, line_search
        self.k = 0  # calls of step, rejected ones too: each takes the next batch
        self.delta = np.zeros_like(self.objective.flat())  # δ_{k−1}: the last iterate of CG, not the chosen one
        self._start = self.delta, True
        self._iterations = 0
        self._decision: Decision | None = None
        self.choice = ""  # of the last update, as in its StepInfo
        self._now()

    @classmethod
    def preset(cls, name: str, model: Model, loss: Loss, *, updates: int = 1000, **hyper: Any) -> HessianFree:
        """One of the recipes of section 13: "original", "held-out", "momentum" or "rnn"; `optim.presets` lists them.

        Parameters
        ----------
        name, model, loss
            The recipe, and model and loss as for the constructor.
        updates : int, default 1000
            Length of the run.
        **hyper
            Hyper-parameters that replace those of the recipe.
        """
        return cls(model, loss, **(presets.preset(name, updates) | hyper))

    @property
    def damping(self) -> float:
        """λ of the next update."""
        return self._rule.strength

    @damping.setter
    def damping(self, strength: float) -> None:
        self._rule.strength = Number(at_least=0.0)("damping", float(strength))

    @all_or_nothing
    def step(
        self,
        x: object,
        t: object = None,
        *,
        curvature_batch: Batch | None = None,
        backtracking_batch: Batch | None = None,
        line_search_batch: Batch | None = None,
        ratio_batch: Batch | None = None,
    ) -> StepInfo:
        """Makes one update, algorithm 3. If anything is NaN or infinite, the step is rejected and λ raised.

        Parameters
        ----------
        x, t : whatever model and loss take
            The set S of the gradient (section 12).
        curvature_batch : (x, t), default None
            The set S′ of the curvature and the preconditioner; None is S.
        backtracking_batch : (x, t), default None
            Compares the iterates of CG (section 8.7); None is S.
        line_search_batch : (x, t), default None
            The set on which f never rises; None is S.
        ratio_batch : (x, t), default None
            Measures ρ; None is S, whose gradient the model has.

        Returns
        -------
        StepInfo
            The step.
        """
        self._now()
        self.objective.begin_step()
        given = (curvature_batch, backtracking_batch, line_search_batch, ratio_batch)
        decision = self._decide((x, t), sampled=all(batch is None for batch in given))
        sets = decision.sets if decision and decision.is_sampled else Sets.given((x, t), *given)
        if isinstance(self.backtracking, HeldOut) and sets.backtracking is sets.curvature:
            raise ValueError("HeldOut compares on cases that are not in the curvature batch: give backtracking_batch")
        # S comes first, for b = −∇f: running statistics are those of the first batch that the model sees
        known = None if sets.curvature is sets.gradient else self.objective.value_and_gradient(*sets.gradient)
        q = self.objective.quadratic(*sets.curvature)  # B on S′: sec. 5, 6, 7.1
        gradient, f = (q.gradient, q.f) if known is None else (known[1], known[0])  # a message of ranks brings both
        reason = "" if known is None or math.isfinite(q.value) else "non-finite loss on the curvature batch"
        record, ended = self._begun(f, gradient, reason=reason, damping=self.damping, converges=True)
        if ended:
            return ended
        self._check_function(q.value, *sets.curvature)
        model = self._damped(decision, q, record["loss"], gradient)
        record["damping"] = self.damping
        if decision:
            record |= self._settle(decision, model)
        watched = self._selection.watched(sets.curvature)
        watch = self._selection.watch(lambda delta: f_at(self.objective, delta, watched))
        cg = self._solve(model, sets, watch)
        record |= {"cg_iterations": cg.iterations, "products": q.products}
        if not cg.finite:  # which P⁻¹ may be to blame for: then r_0ᵀP⁻¹r_0 is not finite
            return self._reject(cg.reason if model.preconditioner_is_finite else "non-finite preconditioner", record)
        return self._move(model, sets, cg, watch, record)

    def __repr__(self) -> str:
        open_ = [name for name in self.paper if getattr(self, name) is None] if self._is_automatic else []
        given = [f"{name}={getattr(self, name)!r}" for name in self.paper if name not in open_]
        said = [f"{name}: automatic" for name in open_] + [f"update {self.k}: {self.choice}"] * bool(self.choice)
        return f"HessianFree({', '.join([f'damping={self.damping:g}', *given])}){'; '.join(['', *said])}"

    @property
    def _is_automatic(self) -> bool:
        """True if the policy decides what is None; else the report's values stand for it."""
        known = isinstance(self.direction, ConjugateGradient | RescaledMomentum)
        plain = known and not isinstance(self.backtracking, HeldOut)
        return bool(self.automatic) and plain and self.curvature == "ggn" and self.structural is None

    def _decide(self, batch: Batch, sampled: bool) -> Decision | None:
        """What the policy says about the cases of this update; None if it says nothing."""
        if not self._is_automatic:
            return None
        return self.policy.decide(self.objective, batch, self.k, self.probe_seed, sampled, self._has_factors)

    def _damped(self, decision: Decision | None, q: Quadratic, f: float, gradient: Array) -> DampedModel:
        """M̂ with the first preconditioner that fits model and loss, if it is left open."""

        def formed() -> DampedModel:
            if decision and self._free_damping:
                self.damping = self.policy.damping(self.damping, decision, self.k, self._has_factors)
            seed = self.probe_seed, self.k
            return DampedModel.formed(q, f, gradient, self._rule, partial(self._inverse_P, decision), seed)

        if decision is None or self.preconditioner is not None:
            return formed()
        return self.policy.fallback(decision).first_fitting(formed)

    def _inverse_P(self, decision: Decision | None, diagonals: Diagonals, penalty: Penalty) -> InverseP:
        """P⁻¹ for diag(λD) + l2: as given, or as the policy has it."""

        def added() -> float | Array:
            return penalty.diagonal + self.objective.l2

        if decision is not None and self.preconditioner is None:
            return self._inverse_of_kind(self.policy.fallback(decision).kind, diagonals, added, self.k)
        if not self._P:
            return None
        chosen = EmpiricalFisher() if isinstance(self._P, bool) else self._P
        return chosen.inverse(diagonals, added())

    def _settle(self, decision: Decision, model: DampedModel) -> dict[str, Any]:
        """The rest of what the policy decides, once there is a P: λ's floor, CG's length and start. For the record."""
        policy = self.policy
        if self._free_floor:
            self._rule.minimum = max(self.floor, policy.least_damping(decision, self._has_factors))
        chosen = list[str]()
        if self.preconditioner is None:
            chosen.append(str(policy.fallback(decision)))
        if decision.changing:
            policy.measure(decision, model.gradient, lambda: model.q.gradient, model.inverse_P, self.k)
        noisy = decision.changing and self._has_factors
        if noisy and self._free_direction and self.cg_iterations is None and self.decay is None:
            self._direction = RescaledMomentum()
            chosen.append("momentum in place of CG")
        if not isinstance(self._direction, RescaledMomentum):
            chosen += self._shortened(decision, noisy)
        self._decision = decision
        self.choice = policy.words(decision, chosen)
        return {"cases": decision.cases if decision.cases < decision.given else 0, "choice": self.choice}

    def _shortened(self, decision: Decision, noisy: bool) -> list[str]:
        """Sets CG's length and start for batches that change, as far as they are open. What was chosen, in words."""
        chosen = []
        self._pays = noisy and self.cg_iterations is None
        if self.cg_iterations is None and decision.changing:
            self._iterations = min(self._iterations, self.policy.iterations(noisy))
            chosen.append(at_most(self._iterations))
        if self.decay is None and noisy:
            self._decay = 0.0
            chosen.append("no warm start")
        return chosen

    def _now(self) -> None:
        """The hyper-parameters of this update: schedules at k, objects for True; ValueError if one is out of range."""
        given = {name: getattr(self, name) for name in ("cg_iterations", "decay", "lr", "l2", "preconditioner")}
        given |= {name: value for name, value in self.paper.items() if given[name] is None}
        at = {name: value_at(name, given[name], self.k) for name in ("cg_iterations", "decay", "lr", "l2")}
        if callable(self.cg_iterations):
            at["cg_iterations"] = math.floor(at["cg_iterations"])
        parts = {name: getattr(self, name) for name in ("backtracking", "line_search")}
        parts["preconditioner"] = given["preconditioner"]
        now = {name: HessianFree.HYPER[name](name, value) for name, value in (at | parts).items()}
        self._iterations = now["cg_iterations"]
        self._decay, self._lr, self._direction = now["decay"], now["lr"], self.direction
        self._P, self._pays, self._decision = now["preconditioner"], False, None
        self.objective.l2 = float(now["l2"])
        chosen, search = self.backtracking, self.line_search
        self._selection = chosen if not isinstance(chosen, bool) else Backtracking() if chosen else LastIterate()
        self._search = search if not isinstance(search, bool) else LineSearch() if search else LineSearch(c=0, tries=1)
        if self.structural and self.structural_loss:
            self.structural_loss.strength = self.structural.strength(self.damping)  # μ or λμ: sec. 8.4

    def _solve(self, model: DampedModel, sets: Sets, watch: Worst | None) -> CGResult:
        """δ = PCG(b, A, ζ δ_{k−1}, P), A(v) = B v + λD v: algorithm 2, section 10."""
        product, damping = model.product(self.curvature)
        warm = self._decay and self._direction.warm_start and not self._starts_at_zero()
        return self._direction(
            Subproblem(
                product,
                np.negative(model.gradient),
                lambda delta: f_and_gradient_at(self.objective, delta, sets.backtracking),
                damping,
                x0=np.multiply(self.delta, self._decay) if warm else None,
                inverse_P=model.inverse_P,
                iterations=self._iterations,
                stop=paying() if self._pays else relative_progress(self.cg_tolerance),
                keep=self._selection.kept(self._iterations - 1),
                watch=watch,
                radius=self.radius if isinstance(self.direction, SteihaugToint) else None,
                crew=self.objective.crew,
                forms=model.q if product == model.q.ggn_product else None,
            )
        )

    def _starts_at_zero(self) -> bool:
        """True if δ_{k−1} = 0; only an array from elsewhere, as a saved state, is looked at, since a GPU waits."""
        known, is_zero = self._start
        return is_zero if known is self.delta else not self.delta.any()

    def _start_from(self, delta: Array, is_zero: bool) -> None:
        """δ ← the start of the next run of CG."""
        self.delta, self._start = delta, (delta, is_zero)

    def _move(
        self, model: DampedModel, sets: Sets, cg: CGResult, watch: Worst | None, record: dict[str, Any]
    ) -> StepInfo:
        """Moves θ: chooses δ among the iterates of CG, measures how good the model was there, searches along δ."""
        values = Values(self.objective, [(sets.curvature, model.q.value), (sets.gradient, model.f)])
        judge = HeldOutModel(self.objective, sets.backtracking, self.structural_loss)
        chosen, f_chosen = self._selection.choose(  # sec. 8.7
            cg.iterates, lambda delta: f_at(self.objective, delta, sets.backtracking), judge
        )
        values.chosen(chosen.x, sets.backtracking, f_chosen)
        theta = self.objective.flat()
        along = model.along(chosen.x, theta)
        M = model.change(chosen, along, self.ratio == "damped", self.structural_loss)  # M(δ) − f(θ): sec. 4, eq. (1)
        rho, by_rounding = values.ratio(sets.ratio, M, along)  # sec. 8.5, eq. (10)
        record |= {"reduction_ratio": rho, "products": model.q.products + judge.products}
        f, lr = values.before(sets.line_search), self._lr
        alpha, f_tried = self._search(  # sec. 8.8
            lambda a: f_at(self.objective, lr * a * chosen.x, sets.line_search),
            f,
            lr * along.slope,
            values.after(sets.line_search) if lr == 1 else None,
        )
        if alpha == 0 and by_rounding:
            self._relax()
            return self._converged(NO_GAIN, record)
        new = theta + (lr * alpha) * chosen.x
        if alpha == 0 or not along.stays_finite(lr * alpha, new):
            self._start_from(np.zeros_like(new), True)  # sec. 8.5: start the next run of CG from zero
            return self._reject("non-finite parameters" if alpha else no_decrease(f_tried), record, stacklevel=5)
        self._accept(new)  # θ_k = θ_{k−1} + α δ_k
        if self._decision:
            self.policy.made(self._decision)
        self.k += 1  # _converged and _on_reject count the others
        start = cg.x if watch is None else watch.start(cg)
        self._start_from(start, not (cg.iterations if start is cg.x else start.any()))
        if self.restart and M > 0:
            self._start_from(np.zeros_like(new), True)  # sec. 8.5
        if by_rounding:
            self._relax()
        else:
            self._adapt(rho, chosen is cg.iterates[-1] and ("boundary" in cg.reason or "negative" in cg.reason))
        return StepInfo(**record, step_size=lr * alpha, reason=cg.reason)

    def _adapt(self, rho: float, at_boundary: bool = False) -> None:
        """The rule of section 8.5: for r if there is a trust region (section 8.6), else for λ."""
        if isinstance(self.direction, SteihaugToint):
            self.radius = self.direction.next_radius(self.radius, rho, at_boundary)
        else:
            self._rule.update(rho)

    def _relax(self) -> None:
        """Brings r or λ nearer to its start, where rounding decides ρ."""
        if isinstance(self.direction, SteihaugToint):
            self.radius = self.direction.relaxed_radius(self.radius)
        else:
            self._rule.relax()

    def _converged(self, why: str, record: Mapping[str, Any]) -> StepInfo:
        self.k += 1
        return super()._converged(why, record)

    def _on_reject(self) -> None:
        self.k += 1
        self._adapt(math.nan)
