"""KFAC, KFLR, KFRA and EKFAC: steps along −C̃⁻¹∇f with Kronecker-factored curvature; one class, four settings.

References
----------
Martens & Grosse (2015), "Optimizing Neural Networks with Kronecker-factored Approximate Curvature"; Botev, Ritter &
Barber (2017), "Practical Gauss-Newton Optimisation for Deep Learning"; George et al. (2018), "Fast Approximate Natural
Gradient Descent in a Kronecker-factored Eigenbasis".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import ClassVar

import numpy as np

from optim import tuning
from optim.base import StepInfo, all_or_nothing
from optim.factored import Factored
from optim.hyper import COUNT, FRACTION, NONE, Flag, Number, OneOf, Rule, generator
from optim.parts.damping import decided_by_rounding, raised, reduction_ratio, relaxed
from optim.parts.estimate import METHODS
from optim.parts.rescaling import Rescaled, along, along_both
from optim.parts.running import Renewal
from optim.problem.batch import take
from optim.problem.means import declared_mean
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.problem.vectors import dot, inner, is_finite, read
from optim.types import Batch, Loss, Model
from rmad.extend import Array

__all__ = ["EKFAC", "KFAC", "KFLR", "KFRA"]


class KFAC(Factored):
    """θ ← θ + α d + μ δ₀,  d = −(C + λI)⁻¹ ∇f,  C = blockdiag(A_l ⊗ G_l) of the GGN.

    G is estimated with targets drawn from the model; `KFLR` and `KFRA` differ in nothing else. Parameters that no block
    fits take the diagonal of the GGN; `StepInfo.reason` says how many. Unused ones stay.

    Parameters
    ----------
    model : nn.Module
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    damping : float, default 1e-3
        λ at the start, ≥ 0, split between A and G with π from their mean traces; the default is that of Botev's code.
    damping_min : float, default 1e-5
        Floor of λ, ≥ 0. With α ρ is about 1 whatever λ is, so λ falls to it in the end; at 1e-8 a run in single
        precision diverged.
    adapt_every : int, default 5
        Updates after which λ follows the reduction ratio ρ; 0 keeps λ. Section 6.5.
    adapt_decay : float, default 0.95
        In (0, 1): λ × adapt_decay^adapt_every if ρ > 3/4, ÷ that if ρ < 1/4. Section 6.5 has 19/20.
    exact_damping : bool, default False
        Adds λ by eigen-decompositions instead of splitting it.
    average : float, default 0.9
        Of the moving averages of the factors, in [0, 1); 0 for those of the batch alone.
    factors_every, inverses_every : int, default 2 and 5
        Updates between two estimates of factors, and between two inversions, which take new factors too; the first four
        updates do both.
    cases : float, default 0.25
        The fraction of a batch for factors, α and μ, in (0, 1]: every ⌊1/cases⌉th case, in turn, no fewer than 500 of
        them. A smaller batch, or one whose cases the model couples, is taken whole. ∇f and ρ are those of all cases.
    lr : float, default None
        α; None scales d by α = −∇fᵀd / dᵀ(G + λI)d, at most 1, with the exact G (one push). Section 6.4.
    momentum : bool, default False
        Takes α and μ that minimize the model along d and the last step δ₀ together; needs lr = None. Section 7.
    clip : float, default None
        The most that δᵀ(G + λI)δ may be (‖δ‖² if lr is a number); a longer step is shortened.
    sharing : {"expand", "reduce"}, default "expand"
        For weights used several times, as in `rmad.sweeps.factors`.
    estimate : {"kfac", "empirical", "kflr", "kfra"}, default None
        How G is found; "empirical" takes the targets of the batch, None is the class's own way.
    samples : int, default 1
        Targets drawn for each case.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.
    rng : numpy.random.Generator, default None
        Draws the targets; None has the seed 0.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Grosse (2015); Botev, Ritter & Barber (2017).

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.KFAC(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    fit_batch = 1000
    HYPER: ClassVar[Mapping[str, Rule]] = {
        "damping": Number(at_least=0.0),
        "damping_min": Number(at_least=0.0),
        "adapt_every": Number(at_least=0, whole=True),
        "adapt_decay": FRACTION & Number(above=0.0),
        "exact_damping": Flag(),
        "average": FRACTION,
        "factors_every": COUNT,
        "inverses_every": COUNT,
        "cases": Number(above=0.0, at_most=1.0),
        "lr": Number(above=0.0) | NONE,
        "momentum": Flag(),
        "clip": Number(above=0.0) | NONE,
        "sharing": OneOf(("expand", "reduce")),
        "estimate": OneOf(METHODS, quoted=False) | NONE,
        "samples": COUNT,
    }
    method = "kfac"
    corrected = False  # eigenvalues by second moments
    _state = ("k", "damping", "running.estimates", "seed", "delta")

    damping_min: float
    adapt_every: int
    adapt_decay: float
    exact_damping: bool
    average: float
    factors_every: int
    inverses_every: int
    cases: float
    lr: float | None
    momentum: bool
    clip: float | None
    sharing: str
    estimate: str | None
    samples: int

    def __init__(
        self,
        model: Model,
        loss: Loss,
        *,
        damping: float = 1e-3,
        damping_min: float = 1e-5,
        adapt_every: int = 5,
        adapt_decay: float = 0.95,
        exact_damping: bool = False,
        average: float = 0.9,
        factors_every: int = 2,
        inverses_every: int = 5,
        cases: float = 0.25,
        lr: float | None = None,
        momentum: bool = False,
        clip: float | None = None,
        sharing: str = "expand",
        estimate: str | None = None,
        samples: int = 1,
        l2: float = 0.0,
        ranks: Ranks | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        self._keep(KFAC.HYPER, locals())
        if momentum and lr is not None:
            raise ValueError("momentum: μ is found together with α, so lr must be None")
        self.method = type(self).method if estimate is None else estimate
        self.damping = self._start = float(damping)
        self.damping_min, self.cases = float(damping_min), float(cases)
        self.seed = int(generator(rng).integers(2**31))
        self.k = 0  # updates made
        self.delta = np.zeros_like(self.objective.flat())  # δ₀

    @property
    def renewal(self) -> Renewal:
        return Renewal(
            self.method,
            self.sharing,
            self.samples,
            self.average,
            self.factors_every,
            self.inverses_every,
            self.exact_damping,
            corrected=self.corrected,
        )

    @all_or_nothing
    def step(self, x: object, t: object = None, *, curvature_batch: Batch | None = None) -> StepInfo:
        """Makes one update on a batch. If anything is NaN or infinite, the step is rejected and λ raised.

        Parameters
        ----------
        x, t : whatever model and loss take
            The batch.
        curvature_batch : (x, t), default None
            The batch of the factors, of α and of ρ, taken whole; None takes a part of (x, t).

        Returns
        -------
        StepInfo
            The step; `reason` says how many parameters have no block.

        Raises
        ------
        TrainingDiverged
            At the tenth rejected step in a row.
        """
        self.objective.begin_step()
        # (x, t) comes first: running statistics are those of the first batch that the model sees
        part = self._part(x, t) if curvature_batch is None else curvature_batch
        known = None if part is None else self.objective.scalar_and_gradient(x, t)
        q = self.objective.quadratic(*(part or (x, t)))
        gradient, f = (q.gradient, q.f) if known is None else (known[1], known[0])  # a message of ranks brings both
        record, ended = self._begun(f, gradient, damping=self.damping)
        if ended:
            return ended
        f = record["loss"]
        if self.adapt_every and self._is_function is None:  # q.value may take a message of ranks
            self._check_function(q.value, *(part or (x, t)))
        if reason := self.running.renew(q, self.renewal, self.k, self.damping + self.objective.l2, self.seed + self.k):
            return self._reject(reason, record)
        step = self._scaled(q, gradient)
        record["products"] = q.products
        new = self.objective.flat() + step.delta
        if not (math.isfinite(step.alpha) and is_finite(new)):
            return self._reject("non-finite step", record)
        if self.adapt_every and (self.k + 1) % self.adapt_every == 0:
            at = (f, gradient, (x, t)) if curvature_batch is None else (q.value, q.gradient, curvature_batch)
            record["reduction_ratio"] = self._follow(q, step, new, *at)
            record["products"] = q.products
        self._accept(new)
        self.delta, self.k = step.delta, self.k + 1
        return StepInfo(**record, step_size=step.alpha, reason=self._without_block())

    def _part(self, x: object, t: object) -> Batch | None:
        """The cases of this update's factors and products; None for all of them."""
        n = self.objective.cases(x, t)
        if n is None or getattr(self.objective.model, "couples_cases", False):
            return None
        if not declared_mean(self.objective.loss):
            return None
        given = self.objective.given(x, t)
        parts = min(round(1 / self.cases), n // tuning.CASES_OF_FACTORS, *given)
        if parts < 2:
            return None
        starts = [(self.k - first) % parts for first in accumulate([0, *given[:-1]])]
        every = slice(starts[self.objective.ranks.rank if len(given) > 1 else 0], None, parts)
        part = take(x, every), take(t, every)
        self.objective.note(*part, [len(range(start, n, parts)) for start, n in zip(starts, given, strict=True)])
        return part

    def _scaled(self, q: Quadratic, gradient: Array) -> Rescaled:
        """δ = α d + μ δ₀, d = −C̃⁻¹∇f."""
        assert self.running.inverse is not None
        d = np.empty_like(gradient)
        self.running.inverse.apply(gradient, d)
        np.negative(d, out=d)
        if self.lr is not None:
            step = Rescaled(d * d.dtype.type(self.lr), self.lr, math.nan, dot(d, d) * self.lr**2, math.nan)
            return step.clipped(self.clip)
        if self.momentum and self.delta.any():
            return along_both(q, gradient, d, self.delta, self.damping).clipped(self.clip)
        return along(q, gradient, d, self.damping).clipped(self.clip)

    def _follow(self, q: Quadratic, step: Rescaled, new: Array, f: float, gradient: Array, batch: Batch) -> float:
        """ρ with the undamped model, on a batch whose f and ∇f at θ are given; λ follows it."""
        delta = step.delta
        f_new, slope, delta2, theta2, *terms = read(
            self.objective.scalar_at(new, *batch),
            *(inner(a, b) for a, b in ((gradient, delta), (delta, delta), (new, new))),
            *(q.curvature_along(delta) if math.isnan(step.dBd) else [step.dBd]),
        )
        actual, predicted = f_new - f, slope + sum(terms) / 2
        rho = reduction_ratio(actual, predicted)
        if decided_by_rounding(actual, predicted, f, delta2, theta2, delta.dtype):
            self.damping = relaxed(self.damping, self.adapt_decay**self.adapt_every, self._start)
        else:
            self._adapt(rho)
        return rho

    def _adapt(self, rho: float) -> None:
        """The Levenberg-Marquardt rule of section 6.5."""
        factor = self.adapt_decay**self.adapt_every
        if rho > 3 / 4:
            self.damping = max(self.damping * factor, min(self.damping, self.damping_min))
        elif rho < 1 / 4 or math.isnan(rho):
            self.damping = raised(self.damping, 1 / factor, self._start)

    def _without_block(self) -> str:
        """Says how the step treated parameters without a Kronecker block."""
        assert self.factors is not None
        rest, unused = (int(np.count_nonzero(mask)) for mask in (self.factors.rest, self.factors.unused))
        said = [f"diagonal curvature for {rest} parameters"] if rest else []
        return "; ".join([*said, f"{unused} parameters are not used"] if unused else said)

    def _on_reject(self) -> None:
        self.damping = raised(self.damping, self.adapt_decay**-5, self._start)
        self.delta = np.zeros_like(self.delta)
        self.running.forget_inverse()  # it is made again, with the greater λ


class KFLR(KFAC):
    """KFAC with G from all columns of a square root of L″: exact for each case, at one pull per output.

    The parameters are those of `KFAC`.

    References
    ----------
    Botev, Ritter & Barber (2017), section 3.4.
    """

    method = "kflr"


class KFRA(KFAC):
    """KFAC with G from L″ averaged over the cases and passed back as a matrix, layer by layer.

    The parameters are those of `KFAC`.

    References
    ----------
    Botev, Ritter & Barber (2017), section 3.5.
    """

    method = "kfra"


class EKFAC(KFAC):
    """KFAC with eigenvalues of its own: C = (L ⊗ R) diag(vec Λ) (L ⊗ R)ᵀ, Λ = E[(Lᵀ ∇W R)²] over the cases.

    L and R are the eigenvectors of KFAC's averages A and G, found again at every inversion; Λ is an average, too, and
    takes in every estimate of the factors, at one more backward sweep. Of all matrices with these eigenvectors C is the
    nearest to the block of the GGN. λ is added to Λ, so `exact_damping` changes nothing. The parameters are those of
    `KFAC`.

    References
    ----------
    George, Laurent, Bouthillier, Ballas & Vincent (2018), "Fast Approximate Natural Gradient Descent in a
    Kronecker-factored Eigenbasis", section 3.

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.EKFAC(model, nn.SquaredError())
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    corrected = True
