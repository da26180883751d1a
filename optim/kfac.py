"""KFAC, KFLR and KFRA: steps along −C̃⁻¹∇f with Kronecker-factored curvature; one class, three settings.

Source: Martens & Grosse (2015), "Optimizing Neural Networks with Kronecker-factored Approximate Curvature"; Botev,
Ritter & Barber (2017), "Practical Gauss-Newton Optimisation for Deep Learning".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import above, at_least, flag, fraction, generator, whole
from optim.parts.damping import reduction_ratio
from optim.parts.estimate import METHODS, estimate
from optim.parts.kronecker import Inverse, KroneckerFactors, KroneckerOperator, loaded, saved
from optim.problem.batch import cases as cases_of
from optim.problem.batch import take
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import dot, is_finite

__all__ = ["KFAC", "KFLR", "KFRA"]

Batch = tuple[Any, Any]

FEWEST = 500  # cases that factors and products of a part of the batch are formed from
WORTH_INVERTING_ON_THREADS = 2_000_000  # Σ n³ of the blocks from which on they are inverted on threads


class KFAC(Optimizer):
    """θ ← θ + α d + μ δ₀,  d = −(C + λI)⁻¹ ∇f,  C = blockdiag(A_l ⊗ G_l) of the GGN.

    G is estimated with targets drawn from the model; `KFLR` and `KFRA` differ in nothing else. estimate: "kfac",
    "empirical" (the targets of the batch), "kflr" or "kfra". samples: targets for every case.
    damping: λ. Of the blocks it is split between A and G with π from their mean traces; exact_damping=True takes
    eigen-decompositions instead. adapt_every: after so many updates λ follows the reduction ratio, ×
    adapt_decay^adapt_every where ρ > 3/4, ÷ that where ρ < 1/4, never below damping_min; 0 keeps λ. With α ρ is about
    1 whatever λ is, so λ falls to damping_min in the end (at 1e-8 a run in single precision diverged).
    average: of the moving averages of the factors; 0 for those of the batch alone. factors_every, inverses_every:
    updates between two estimates of factors, and between two inversions, which take new factors, too; the first
    four updates do both.
    cases: the fraction of a batch for factors, α and μ: every ⌊1/cases⌉th case, in turn, no fewer than 500 of them; a
    smaller batch, or one whose cases the model couples, is taken whole. ∇f and ρ are those of all cases.
    lr: None scales d by α = −∇fᵀd / dᵀ(G + λI)d, at most 1, with the exact G (one push); a number is α.
    momentum=True takes α and μ that minimize the model along d and the last step δ₀ together. clip: the most that
    δᵀ(G + λI)δ may be (‖δ‖² where lr is a number); a longer step is shortened. sharing: of weights used several
    times, "expand" or "reduce" (rmad.sweeps.factors). rng: of the targets.

    Parameters that no block fits take the diagonal of the GGN; `StepInfo.reason` says how many. Unused ones stay.
    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.
    """

    method = "kfac"
    _state = ("k", "damping", "estimates", "seed", "delta")

    def __init__(
        self,
        model: Any,
        loss: Any,
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
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(model, loss, l2=l2)
        self.method = type(self).method if estimate is None else estimate
        if not isinstance(self.method, str) or self.method not in METHODS:
            raise ValueError(f"estimate must be one of {', '.join(METHODS)}, got {estimate!r}")
        if sharing not in ("expand", "reduce"):
            raise ValueError(f'sharing must be "expand" or "reduce", got {sharing!r}')
        self.damping_min = float(at_least("damping_min", damping_min, 0.0))
        self.damping = float(at_least("damping", damping, 0.0))
        self.adapt_every = whole("adapt_every", adapt_every, 0)
        self.adapt_decay = above("adapt_decay", fraction("adapt_decay", adapt_decay), 0.0)
        self.average = fraction("average", average)
        self.factors_every = whole("factors_every", factors_every, 1)
        self.inverses_every = whole("inverses_every", inverses_every, 1)
        self.cases = float(above("cases", cases, 0.0))
        if self.cases > 1:
            raise ValueError(f"cases must be a fraction of the batch, at most 1, got {cases}")
        self.samples = whole("samples", samples, 1)
        self.lr = lr if lr is None else above("lr", lr, 0.0)
        self.clip = clip if clip is None else above("clip", clip, 0.0)
        self.momentum, self.exact_damping = flag("momentum", momentum), flag("exact_damping", exact_damping)
        self.sharing = sharing
        if momentum and lr is not None:
            raise ValueError("momentum: μ is found together with α, so lr must be None")
        self.seed = int(generator(rng).integers(2**31))
        self.k = 0  # updates made
        self.estimates = 0  # of the factors
        self.delta = np.zeros_like(self.objective.flat())  # δ₀
        self.factors: KroneckerFactors | None = None
        self._inverted: tuple[KroneckerFactors, float] | None = None  # what the inverse was made of: factors and λ
        self._inverse: Inverse | None = None

    # -- the step -------------------------------------------------------------------------------------------------

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(self, x: Any, t: Any = None, *, curvature_batch: Batch | None = None) -> StepInfo:
        """One update on the batch (x, t). curvature_batch: (x, t) of the factors, of α and of ρ, taken whole.

        A step that finds anything NaN or infinite is rejected, and λ raised.
        """
        self.objective.begin_step()
        # (x, t) comes first: running statistics are those of the first batch that the model sees
        part = self._part(x, t) if curvature_batch is None else curvature_batch
        known = None if part is None else self.objective.value_and_gradient(x, t)
        q = self.objective.quadratic(*(part or (x, t)))
        f, gradient = known or (q.value, q.gradient)
        squared_norm = dot(gradient, gradient)
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        record: dict[str, Any] = {"loss": f, "gradient_norm": norm, "damping": self.damping}
        reason = not_finite(f, gradient, squared_norm)
        if reason:
            return self._reject(reason, record)
        reason = self._renew(q)
        if reason:
            return self._reject(reason, record)
        d = np.empty_like(gradient)
        assert self._inverse is not None
        self._inverse.apply(gradient, d)
        np.negative(d, out=d)  # d = −C̃⁻¹∇f
        delta, alpha, dGd = self._scaled(q, gradient, d)
        record["products"] = q.products
        new = self.objective.flat() + delta
        if not (math.isfinite(alpha) and is_finite(new)):
            return self._reject("non-finite step", record)
        if self.adapt_every and (self.k + 1) % self.adapt_every == 0:
            f_old, slope = (f, dot(gradient, delta)) if curvature_batch is None else (q.value, dot(q.gradient, delta))
            if math.isnan(dGd):
                dGd = sum(q.curvature_along(delta))
                record["products"] = q.products
            batch = (x, t) if curvature_batch is None else curvature_batch
            rho = reduction_ratio(self.objective.value_at(new, *batch) - f_old, slope + dGd / 2)
            record["reduction_ratio"] = rho
            self._adapt(rho)
        self._accept(new)
        self.delta, self.k = delta, self.k + 1
        return StepInfo(**record, step_size=alpha, reason=self._without_block())

    def _part(self, x: Any, t: Any) -> Batch | None:
        """The cases of this update's factors and products; None for all of them."""
        n = cases_of(x, t)
        if n is None or getattr(self.objective.model, "couples_cases", False):
            return None
        if not getattr(self.objective.loss, "mean_over_cases", True):
            return None
        parts = min(round(1 / self.cases), n // FEWEST)
        if parts < 2:
            return None
        every = slice(self.k % parts, None, parts)
        return take(x, every), take(t, every)

    def _renew(self, q: Quadratic) -> str:
        """New factors and a new inverse, where it is time. Returns what is not finite, or nothing."""
        start = self.k <= 3  # section 8: the first estimates age fast
        invert = self._inverse is None or start or self.k % self.inverses_every == 0
        factors = self.factors
        if factors is None or invert or self.k % self.factors_every == 0:
            new = estimate(q, self.method, self.sharing, (self.seed + self.k) % 2**32, self.samples)
            if not new.is_finite():
                return "non-finite curvature factors"
            if factors is not None and factors.fits(new):
                new = new.mixed_with(factors, min(self.average, 1 - 1 / (1 + self.estimates)))
            factors, self.estimates = new, self.estimates + 1
        assert factors is not None
        if invert:
            made_of = factors, self.damping + self.objective.l2
            inverse = self._invert(*made_of)
            if not all(is_finite(np.reshape(a, -1)) for a in inverse.arrays()):
                return "non-finite inverse of the curvature"
            self._inverted, self._inverse = made_of, inverse
        self.factors = factors
        return ""

    def _invert(self, factors: KroneckerFactors, damping: float) -> Inverse:
        """On threads where the blocks are worth one."""
        large = sum(block.size * sum(block.shape) for block in factors.blocks) >= WORTH_INVERTING_ON_THREADS
        return Inverse(factors, damping, self.exact_damping, run=self.objective.crew.run if large else None)

    def _scaled(self, q: Quadratic, gradient: Any, d: Any) -> tuple[Any, float, float]:
        """δ = α d + μ δ₀, α, and δᵀGδ (NaN where it is not known)."""
        if self.lr is not None:
            return self._clipped(d * d.dtype.type(self.lr), self.lr, math.nan, dot(d, d) * self.lr**2)
        lam = self.damping
        slope, dd = dot(gradient, d), dot(d, d)
        dGd = sum(q.curvature_along(d))
        if self.momentum and self.delta.any():
            return self._with_momentum(q, gradient, d, slope, dGd, dd)
        curvature = dGd + lam * dd
        alpha = min(1.0, -slope / curvature) if curvature > 0 else (1.0 if slope < 0 else 0.0)
        return self._clipped(d * d.dtype.type(alpha), alpha, alpha**2 * dGd, alpha**2 * curvature)

    def _with_momentum(
        self, q: Quadratic, gradient: Any, d: Any, slope: float, dGd: float, dd: float
    ) -> tuple[Any, float, float]:
        """α, μ = argmin M̂(α d + μ δ₀): the 2 × 2 system of section 7, by one more product."""
        lam, old, G_old = self.damping, self.delta, np.empty_like(d)
        q.ggn_product(old, G_old)
        G = np.array([[dGd, dot(d, G_old)], [dot(d, G_old), dot(old, G_old)]])
        G += lam * np.array([[dd, dot(d, old)], [dot(d, old), dot(old, old)]])
        b = -np.array([slope, dot(gradient, old)])
        if not (np.isfinite(G).all() and np.isfinite(b).all()):
            return d, math.nan, math.nan
        alpha, mu = (float(c) for c in np.linalg.lstsq(G, b, rcond=1e-12)[0])
        delta = d * d.dtype.type(alpha) + old * d.dtype.type(mu)
        step = np.array([alpha, mu])
        damped = float(step @ G @ step)
        return self._clipped(delta, alpha, damped - lam * dot(delta, delta), damped)

    def _clipped(self, delta: Any, alpha: float, dGd: float, length: float) -> tuple[Any, float, float]:
        if self.clip is None or length <= self.clip:
            return delta, alpha, dGd
        scale = math.sqrt(self.clip / length)
        return delta * delta.dtype.type(scale), alpha * scale, dGd * scale**2

    def _adapt(self, rho: float) -> None:
        """The Levenberg-Marquardt rule of section 6.5."""
        factor = self.adapt_decay**self.adapt_every
        if rho > 3 / 4:
            self.damping = max(self.damping * factor, min(self.damping, self.damping_min))
        elif rho < 1 / 4 or math.isnan(rho):
            self.damping /= factor

    def _without_block(self) -> str:
        """What the step did to parameters without a Kronecker block."""
        assert self.factors is not None
        rest, unused = (int(np.count_nonzero(mask)) for mask in (self.factors.rest, self.factors.unused))
        said = [f"diagonal curvature for {rest} parameters"] if rest else []
        return "; ".join([*said, f"{unused} parameters are not used"] if unused else said)

    def _on_reject(self) -> None:
        self.damping /= self.adapt_decay**5
        self.delta = np.zeros_like(self.delta)
        self._inverse = self._inverted = None  # made anew, with the greater λ

    @property
    def operator(self) -> KroneckerOperator:
        """C + (λ + l2) I as it stands, a LinearOperator. ValueError before the first step."""
        if self.factors is None:
            raise ValueError(f"{type(self).__name__}: there are no factors before the first step")
        return KroneckerOperator(self.factors, self.damping + self.objective.l2)

    # -- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """As for every optimizer; from the first step on also the factors, and those and λ of the inverse."""
        state = super().state_dict()
        if self.factors is not None:
            state |= saved(self.factors, "factors")
        if self._inverted is not None:
            state |= {**saved(self._inverted[0], "inverted"), "inverted.damping": self._inverted[1]}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state_dict. ValueError names what does not fit, and then nothing is changed."""
        self._check_state(state)
        numbers = {key: value for key, value in state.items() if not key.startswith(("factors.", "inverted."))}
        factors, inverted = (loaded(state, name, self.delta) for name in ("factors", "inverted"))
        before = self.factors, self._inverted, self._inverse
        self.factors = self._inverted = self._inverse = None
        try:
            super().load_state_dict(numbers)
        except ValueError:
            self.factors, self._inverted, self._inverse = before
            raise
        self.factors = factors
        if inverted is not None:
            self._inverted = inverted, float(state["inverted.damping"])
            self._inverse = self._invert(*self._inverted)


class KFLR(KFAC):
    """KFAC with G from all columns of a square root of L″: exact for every case. Costs one pull per output."""

    method = "kflr"


class KFRA(KFAC):
    """KFAC with G from L″ averaged over the cases and passed back as a matrix, layer by layer."""

    method = "kfra"
