"""SGN: the stochastic generalized Gauss-Newton method.

References
----------
Gargiani, Zanelli, Diehl & Hutter (2020), "On the Promise of the Stochastic Generalized Gauss-Newton Method for Training
DNNs", algorithms 1 and 2, sections 2.2 to 3.1; where it is silent, the constants of the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from optim import presets
from optim.base import NO_GAIN, StepInfo, all_or_nothing
from optim.factored import Deciding
from optim.hyper import COUNT, FRACTION, NONE, SCHEDULE, Flag, Instance, Number, Rule, Schedule, value_at
from optim.parts.automatic import Automatic, Decision, Policy, at_most
from optim.parts.cg import CGResult, InverseP, SmallResidual, pcg
from optim.parts.damping import Tikhonov, decided_by_rounding, reduction_ratio, relaxed
from optim.parts.linesearch import line_search
from optim.parts.preconditioner import (
    Diagonals,
    Preconditioner,
    diagonal_inverse,
)
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.problem.vectors import blocks, inner, is_finite, read
from optim.types import Batch, Loss, Model
from rmad.extend import Array, arrays

__all__ = ["SGN"]


class SGN(Deciding):
    """θ ← θ + α Δθ, (G + ρI) Δθ = −∇f by a few steps of CG from zero, all on one batch. Algorithms 1 and 2.

    What is None is decided by the optimizer at every step, and `StepInfo.choice` tells how. Where batches change: two
    steps of CG, preconditioned by moving averages of Kronecker factors, ρ from 1e-2; if the factors do not fit the
    model or the loss, a diagonal takes their place, or no preconditioner, and then None is the authors' value. Where
    the same small batch comes again, all is as the authors have it, as with `SGN.preset("paper", …)`.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    damping : float or schedule, default None
        ρ at the start: 1e-2 for None, or 1e-3 without Kronecker factors, as in the authors' code. It then follows the
        reduction ratio (section 3.1; Nocedal & Wright, algorithm 4.1) if trust_region is on. A schedule of
        `optim.schedules` sets ρ instead. 0 for none.
    damping_min : float, default None
        Floor of ρ: 1e-3 for None, or a given ρ that is less; without Kronecker factors 1e-6, as in the authors' code.
    cg_iterations : int, default None
        The most CG steps: 2 for None, or 10 without Kronecker factors, as in the authors' code.
    cg_tolerance : float, default 1e-6
        CG ends when ‖r‖∞ is below, in the units of ∇f; the default is that of the authors' code.
    adapt_cg : bool, default False
        The number of CG steps follows the reduction ratio too: half as many again after a good step, a third fewer
        after a bad one (the authors' future direction, section 4.6).
    lr : float, default 1.0
        The first α.
    line_search : bool, default True
        Halves α until Armijo's condition holds (algorithm 3.1 of Nocedal & Wright).
    trust_region : bool, default True
        Adapts ρ.
    momentum : float, default 0.0
        μ in [0, 1) of m ← μ m + (1 − μ)∇f, whose unbiased value takes the gradient's place.
    preconditioner : bool or Preconditioner, default None
        Moving averages of Kronecker factors for None. True is P = (m² + ρ + l2)^preconditioner_exponent, False none, as
        in the paper; or one of `optim.parts.preconditioner`.
    preconditioner_exponent : float, default 1.0
        In [0, 1].
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
    Gargiani, Zanelli, Diehl & Hutter (2020), algorithms 1 and 2; Martens & Grosse (2015) for the factors; for the
    numbers that None stands for, `Automatic`.

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.SGN(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    fit_batch = 1000
    HYPER: ClassVar[Mapping[str, Rule]] = {
        "damping_min": Number(at_least=0.0) | NONE,
        "damping": Number(at_least=0.0) & Number(at_least="damping_min", or_zero=True) | SCHEDULE | NONE,
        "cg_iterations": COUNT | NONE,
        "cg_tolerance": Number(at_least=0.0),
        "adapt_cg": Flag(),
        "lr": Number(above=0.0),
        "line_search": Flag(),
        "trust_region": Flag(),
        "momentum": FRACTION,
        "preconditioner": Instance(Preconditioner, Flag()) | NONE,
        "preconditioner_exponent": Number(at_least=0.0, at_most=1.0),
    }
    armijo, shrink, tries = 1e-4, 0.5, 11  # c, the factor of α, and how many values of α: the first and 10 more
    paper: ClassVar[Mapping[str, Any]] = presets.SGN["paper"]
    floor = 1e-6  # of ρ
    _state = ("k", "damping", "cg_steps", "m", "running.estimates", *(f"policy.{name}" for name in Policy.state))

    damping: float
    damping_min: float | None
    cg_iterations: int | None
    cg_tolerance: float
    adapt_cg: bool
    lr: float
    line_search: bool
    trust_region: bool
    momentum: float
    preconditioner: bool | Preconditioner | None
    preconditioner_exponent: float

    def __init__(
        self,
        model: Model,
        loss: Loss,
        *,
        damping: float | Schedule | None = None,
        damping_min: float | None = None,
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
        adapt_cg: bool = False,
        lr: float = 1.0,
        line_search: bool = True,
        trust_region: bool = True,
        momentum: float = 0.0,
        preconditioner: bool | Preconditioner | None = None,
        preconditioner_exponent: float = 1.0,
        l2: float = 0.0,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        self._keep(SGN.HYPER, locals() | {"damping_min": self.floor if damping_min is None else damping_min})
        self.damping_min = damping_min
        self.schedule = damping if callable(damping) else None
        self._given = None if damping is None else float(value_at("damping", damping, 0))
        numbers = Automatic(settled_damping=self.paper["damping"])
        self.policy = Policy(numbers, settled=2, trusting=False)
        self._decision: Decision | None = None
        self.k = 0
        self.damping, self.cg_steps = self._start, self._most
        self.m = np.zeros_like(self.objective.flat()) if momentum else arrays.zeros(self.objective.flat(), 0)

    @classmethod
    def preset(cls, name: str, model: Model, loss: Loss, **hyper: Any) -> SGN:
        """The setting "paper": no preconditioner, at most 10 CG steps, ρ from 1e-3 with the floor 1e-6.

        Parameters
        ----------
        name, model, loss
            "paper", and model and loss as for the constructor.
        **hyper
            Hyper-parameters that replace those of the setting.
        """
        return cls(model, loss, **(presets.named(presets.SGN, name) | hyper))

    @all_or_nothing
    def step(self, x: object, t: object = None) -> StepInfo:
        """Makes one update on a batch; with the line search f on it never rises.

        Parameters
        ----------
        x, t : whatever model and loss take
            The batch.

        Returns
        -------
        StepInfo
            The step; rejected if a number is not finite or f does not fall.

        Raises
        ------
        TrainingDiverged
            At the tenth rejected step in a row.
        """
        self.objective.begin_step()
        if self.schedule is not None:
            self.damping = value_at("damping", self.schedule, self.k)
        if self.preconditioner is None or self._given is None or self.cg_iterations is None:
            self._decision = self.policy.decide(self.objective, (x, t), self.k, 0, False, self._has_factors)
        q = self.objective.quadratic(x, t)
        gradient = q.gradient  # eq. (5)
        record, ended = self._begun(q.f, gradient, damping=self.damping, converges=True)
        if ended:
            return ended
        f = q.value
        if self.line_search or self._adapts:
            self._check_function(f, x, t)
        self.k += 1
        direction = self._averaged(gradient)
        inverse_P = self._preconditioner(q, direction)
        record |= {"damping": self.damping, "choice": self._choice()}
        cg = self._solve(q, np.negative(direction), inverse_P)
        record |= {"cg_iterations": cg.iterations, "products": cg.products}
        if not cg.finite or cg.iterations == 0:
            return self._reject(cg.reason, record)
        del q
        return self._move(f, gradient, direction, cg, (x, t), record)

    def _preconditioner(self, q: Quadratic, direction: Array) -> InverseP:
        """P⁻¹; None for the identity. The first kind that fits, if it is left open."""
        diagonals = Diagonals(q, (0, self.k))
        if self.preconditioner is None and self._decision is not None:
            fallback = self.policy.fallback(self._decision)
            return fallback.first_fitting(lambda: self._open_inverse(diagonals, fallback.kind))
        self._settle()
        added = self.damping + self.objective.l2
        if isinstance(self.preconditioner, Preconditioner):
            return self.preconditioner.inverse(diagonals, added)
        if not self.preconditioner:
            return None
        return diagonal_inverse(np.square(direction), added, self.preconditioner_exponent)

    def _open_inverse(self, diagonals: Diagonals, kind: int) -> InverseP:
        """P⁻¹ of a kind of `Fallback.kinds`, with ρ and the number of CG steps that belong to it."""
        self._settle()
        return self._inverse_of_kind(kind, diagonals, lambda: self.damping + self.objective.l2, self.k - 1)

    def _settle(self) -> None:
        """ρ and the number of CG steps of this update, as far as they are open or begin anew."""
        decision, policy = self._decision, self.policy
        begins = decision is not None and policy.situation != 1 + decision.changing
        if decision is not None and self._given is None:
            damping = policy.damping(self.damping, decision, self.k - 1, self._is_noisy)
            self.damping = max(damping, self.damping_min or 0.0)
        if not self.adapt_cg:
            self.cg_steps = self._most
        elif begins or self.k == 1:
            self.cg_steps = math.ceil(self._most / 3)

    @property
    def _is_noisy(self) -> bool:
        """True if batches change, as far as is known, and Kronecker factors precondition."""
        return self._has_factors and (self._decision is None or self._decision.changing)

    @property
    def _start(self) -> float:
        """ρ of the first update."""
        if self._given is not None:
            return self._given
        open_damping = self.numbers.damping if self._is_noisy else self.numbers.settled_damping
        return max(open_damping, self.damping_min or 0.0)

    @property
    def _most(self) -> int:
        """The most CG steps."""
        if self.cg_iterations is not None:
            return self.cg_iterations
        most: int = self.numbers.most if self._is_noisy else self.paper["cg_iterations"]
        return most

    @property
    def _least(self) -> float:
        """The floor of ρ."""
        if self.damping_min is not None:
            return self.damping_min
        if not self._is_noisy:
            return self.floor
        given = math.inf if self._given is None else self._given
        return max(min(self.numbers.damping_min, given), self.floor)

    def _choice(self) -> str:
        """What was left open and how it was decided, in words."""
        if (decision := self._decision) is None:
            return ""
        said = []
        if self.preconditioner is None:
            said.append(str(self.policy.fallback(decision)))
        if self.cg_iterations is None:
            said.append(at_most(self._most))
        if self.damping_min is None and self._follows_ratio:
            said.append(f"damping not below {self._least:g}")
        return self.policy.words(decision, said)

    def _averaged(self, gradient: Array) -> Array:
        """m / (1 − μᵏ), m ← μ m + (1 − μ)∇f; the gradient itself if μ = 0."""
        mu = self.momentum
        if not mu:
            return gradient
        m = np.empty_like(self.m)
        for m_k, old, u in blocks(m, self.m, gradient):
            np.multiply(old, mu, out=m_k)
            np.add(m_k, (1 - mu) * u, out=m_k)
        self.m = m
        return m / (1 - mu**self.k)

    def _solve(self, q: Quadratic, b: Array, inverse_P: InverseP) -> CGResult:
        """(G + ρI) Δθ = b, eq. (15), by algorithm 2 from Δθ = 0."""
        stop = SmallResidual(self.cg_tolerance)
        return pcg(
            q.ggn_product, b, None, inverse_P, damping=self.damping, iterations=self.cg_steps, stop=stop, keep=False
        )

    def _move(
        self, f: float, gradient: Array, direction: Array, cg: CGResult, batch: Batch, record: dict[str, Any]
    ) -> StepInfo:
        """Moves θ: measures the ratio at the full step, before the line search, and then searches along Δθ."""
        theta, delta = self.objective.flat(), cg.x

        def f_at(alpha: float) -> float:
            return self.objective.value_at(theta + (alpha * self.lr) * delta, *batch)

        slope, delta2, theta2, *more = read(
            *(inner(a, b) for a, b in ((gradient, delta), (delta, delta), (theta, theta))),
            *([] if direction is gradient else [inner(direction, delta)]),
        )
        M = self._predicted(slope, more[0] if more else slope, delta2, cg)
        f1 = f_at(1.0) if self._adapts or self.line_search else math.nan
        if self._adapts:
            record["reduction_ratio"] = reduction_ratio(f1 - f, M)
        alpha, f_tried = 1.0, f
        if self.line_search:
            alpha, f_tried = line_search(
                f_at, f, self.lr * slope, f1=f1, factor=self.shrink, c=self.armijo, tries=self.tries
            )
        within_rounding = decided_by_rounding(f1 - f, M, f, self.lr**2 * delta2, theta2, theta.dtype)
        if within_rounding and self._follows_ratio:
            self.damping = relaxed(self.damping, Tikhonov.drop, self._start)
        if alpha == 0 and within_rounding:
            return self._converged(NO_GAIN, record)
        new = theta + (alpha * self.lr) * delta
        if alpha == 0 or not is_finite(new):
            what = "no sufficient decrease" if math.isfinite(f_tried) else "non-finite loss along the line search"
            return self._reject("non-finite parameters" if alpha else what, record, stacklevel=5)
        self._accept(new)
        if self._decision is not None:
            self.policy.made(self._decision)
        if self._adapts and not within_rounding:
            self._adapt(record["reduction_ratio"])
        return StepInfo(**record, step_size=alpha * self.lr, reason=cg.reason)

    @property
    def _follows_ratio(self) -> bool:
        """True if ρ follows the reduction ratio."""
        return self.trust_region and self.schedule is None

    @property
    def _adapts(self) -> bool:
        """True if the reduction ratio is needed."""
        return self._follows_ratio or self.adapt_cg

    def _predicted(self, slope: float, model_slope: float, delta2: float, cg: CGResult) -> float:
        """M(lr Δθ) of the undamped model, from φ(Δθ) that CG knows, the slopes of f and of the model, and ‖Δθ‖²."""
        curvature = 2 * (cg.iterates[-1].phi - model_slope) - self.damping * delta2  # ΔθᵀG Δθ
        return self.lr * slope + 0.5 * self.lr**2 * curvature

    def _adapt(self, ratio: float) -> None:
        """Sets ρ, and with adapt_cg the number of CG steps, by the reduction ratio."""
        if self._follows_ratio:
            tikhonov = Tikhonov(self.damping, self._least)
            tikhonov.start = self._start
            tikhonov.update(ratio)
            self.damping = tikhonov.strength
        if not self.adapt_cg:
            return
        if ratio > Tikhonov.high:
            self.cg_steps = min(math.ceil(1.5 * self.cg_steps), self._most)
        elif not ratio >= Tikhonov.low:  # NaN too
            self.cg_steps = max(2 * self.cg_steps // 3, 1)

    def _on_reject(self) -> None:
        self._adapt(-math.inf)
