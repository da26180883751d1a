"""What HessianFree decides for itself where it is not told: cases, CG steps, preconditioner, damping.

Two situations differ, and each update is in one of them:

    settled    the same batch comes again and a run of CG over it is cheap (least squares, a physics-informed net): no
               noise; long runs of CG from a warm start, as the report has them
    changing   all else: the gradient is noisy, and a long run of CG would fit the noise
        cases  of a large batch a sample, which grows by a tenth where its noise exceeds its gradient (Byrd, Chin,
               Nocedal & Wu 2012, section 4, in the norm of P⁻¹); curvature on half or a quarter of it, ρ on all of it
        P      moving averages of Kronecker factors, which average the noise of batches; the diagonal where they do not
               fit, or none
        δ      α P⁻¹b + μ δ_{k−1}, which averages the noise too (Martens & Grosse 2015, section 7). Where there are no
               factors, or CG is asked for, a short run of CG: as many steps as half of the gradient's signal to noise,
               from zero with factors, for a warm start would add up the noise of earlier batches; none that gains
               less per product than the update does
        λ      from 10⁻², and not below 10⁻³

`benchmarks/defaults.py` measures what these rules are worth; docs/benchmarks.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from optim.hyper import COUNT, NONE, Flag, Number, Rule, check
from optim.parts.cg import InverseP, Stop, precondition, relative_progress
from optim.parts.fallback import Fallback
from optim.parts.roles import Sets
from optim.problem.batch import leaves, take
from optim.problem.objective import Objective
from optim.problem.stored import in_memory, is_stored
from optim.problem.vectors import inner, read
from optim.types import Batch
from rmad.extend import Array

__all__ = ["Automatic", "Decision", "Policy", "at_most", "paying"]


@dataclass(frozen=True)
class Automatic:
    """The numbers behind what `HessianFree` decides for itself. SGN takes damping, damping_min, most, renewal, longest.

    Parameters
    ----------
    same_batch : bool, default None
        True if every step is given the same batch, False if batches change; None finds out by their content.
    sample : int, default 250
        Cases of a sample at the start; a smaller batch is taken whole.
    growth : float, default 1.1
        Factor by which the sample grows where its noise exceeds its gradient.
    share : float, default 0.25
        The part of a large sample for curvature.
    curvature_cases : int, default 500
        Half of a smaller sample is for curvature, up to so many cases.
    least : int, default 125
        At least so many cases for curvature; a sample of less than twice as many is taken whole.
    damping : float, default 1e-2
        λ at the start where batches change.
    settled_damping : float, default 1.0
        λ at the start where the same small batch comes again, and with a diagonal preconditioner.
    damping_min : float, default 1e-3
        Floor of λ where batches change.
    most : int, default 2
        CG steps at most with Kronecker factors, where batches change and CG is asked for.
    most_diagonal : int, default 20
        The same with another preconditioner.
    renewal : int, default 5
        Updates between two estimates and inversions of the factors, and between two measurements of the noise.
    longest : int, default 4096
        Rows of a factor at most; a layer with more inputs takes the diagonal, with all others.
    little : float, default 2e7
        Multiply-adds of a forward pass over the batch, below which long runs of CG are cheap.
    few : int, default 50000
        Parameters, below which they are cheap whatever the batch.

    Raises
    ------
    ValueError, TypeError
        If a number is out of range or of the wrong type.

    References
    ----------
    Byrd, Chin, Nocedal & Wu (2012), "Sample size selection in optimization methods for machine learning", for the
    growing sample; Martens & Grosse (2015) for the factors; the numbers are measured.

    Examples
    --------
    >>> from optim import Automatic
    >>> Automatic(sample=2000).most
    2
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "same_batch": Flag() | NONE,
        "sample": COUNT,
        "growth": Number(at_least=1.0),
        "share": Number(above=0.0, at_most=1.0),
        "curvature_cases": COUNT,
        "least": COUNT,
        "damping": Number(above=0.0),
        "settled_damping": Number(above=0.0),
        "damping_min": Number(at_least=0.0),
        "most": COUNT,
        "most_diagonal": COUNT,
        "renewal": COUNT,
        "longest": COUNT,
        "little": Number(at_least=0.0),
        "few": Number(at_least=0, whole=True),
    }

    same_batch: bool | None = None
    sample: int = 250
    growth: float = 1.1
    share: float = 0.25
    curvature_cases: int = 500
    least: int = 125
    damping: float = 1e-2
    settled_damping: float = 1.0
    damping_min: float = 1e-3
    most: int = 2
    most_diagonal: int = 20
    renewal: int = 5
    longest: int = 4096
    little: float = 2e7
    few: int = 50_000

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Decision:
    """What was decided about the cases of one update.

    Attributes
    ----------
    S : (x, t)
        The gradient's set.
    curvature : (x, t)
        S′, or S itself.
    changing : bool
        True where batches change.
    given, cases, curvature_cases : int
        Cases of the batch, of S and of S′.
    why : str
        The situation in words.
    """

    S: Batch
    curvature: Batch
    changing: bool
    given: int
    cases: int
    curvature_cases: int
    why: str

    @property
    def is_sampled(self) -> bool:
        """True if S or S′ is a part of the batch."""
        return self.curvature_cases < self.given

    @property
    def sets(self) -> Sets:
        """The sets of the update: S, but for the curvature."""
        return Sets(self.S, self.curvature, self.S, self.S, self.S)

    @property
    def share(self) -> float:
        """|S′| / |S|."""
        return self.curvature_cases / self.cases


class Policy:
    """The decisions of a run and their state: the size of the sample, the noise, the last batch, the preconditioner.

    Parameters
    ----------
    numbers : Automatic
        The numbers of the rules.
    settled : int, default 1
        The kind of preconditioner where batches do not change, a place in `Fallback.kinds`.
    trusting : bool, default True
        A first batch that is cheap counts as one that comes again.
    """

    state = "sample", "noise", "seen", "measured", "situation", "changing.kind", "settled.kind"
    unknown = 0.25  # the noise where S′ is S and does not tell

    def __init__(self, numbers: Automatic, settled: int = 1, trusting: bool = True) -> None:
        self.numbers, self.trusting = numbers, trusting
        self.sample = numbers.sample
        self.noise = 1.0  # E‖ξ‖² / ‖∇f‖² in the norm of P⁻¹, ξ the noise of ∇f on S
        self.seen = 0.0  # a number that tells the last batch from others
        self.measured = 0  # times that the noise was
        self.situation = 0  # of the last update: 1 settled, 2 changing
        self.changing, self.settled = Fallback(0), Fallback(settled)  # what preconditions where batches change, or not

    def decide(self, objective: Objective, batch: Batch, k: int, seed: int, sampled: bool, factors: bool) -> Decision:
        """The cases of update k. sampled: S and S′ may be parts of the batch; factors: P has Kronecker factors."""
        a, n = self.numbers, objective.cases(*batch) or 1
        first, (again, why) = k == 0, self._again(objective, batch)
        cheap = objective.work(*batch) <= a.little
        if (cheap and first and self.trusting) or (again and (cheap or objective.size <= a.few)):
            return Decision(batch, batch, False, n, n, n, "one small batch" if first and not again else why)
        start = "a large batch at the start" if self.trusting else "the first batch"
        why = "a large batch" if again else start if first else "batches change"
        if not (sampled and n > 1 and objective.has_independent_cases(*batch)):
            return Decision(batch, batch, True, n, n, n, why)
        size = min(n, self.sample)
        S, sizes = (batch, objective.given(*batch)) if size == n else _sample(objective, batch, n, size, (seed, k))
        size = sum(sizes)
        of_curvature = max(min(a.curvature_cases, size // 2), round(a.share * size))
        if of_curvature < a.least or not (factors or first):
            return Decision(S, S, True, n, size, size, why)
        parts = min(size // of_curvature, *sizes)
        curvature = taken(S, slice(k % parts, None, parts))
        sizes = [len(range(k % parts, of_rank, parts)) for of_rank in sizes]
        objective.note(*curvature, sizes)
        return Decision(S, curvature, True, n, size, sum(sizes), why)

    def _again(self, objective: Objective, batch: Batch) -> tuple[bool, str]:
        """True if the batch is the last one again, and how that is known."""
        if self.numbers.same_batch is not None:
            return self.numbers.same_batch, "the same batch, as told"
        before, now = self.seen, content(batch)
        if objective.ranks.sliced:
            now = sum(objective.ranks.gathered(lambda: now))
        self.seen = now
        return self.seen == before != 0.0, "the same batch again"

    def fallback(self, decision: Decision) -> Fallback:
        """What preconditions an update."""
        return self.changing if decision.changing else self.settled

    def measure(
        self, decision: Decision, gradient: Array, on_curvature: Callable[[], Array], inverse_P: InverseP, k: int
    ) -> None:
        """The noise of ∇f on S, now and then from how far the gradient on S′ is from it."""
        if decision.curvature is decision.S:
            self.noise = self.unknown
            return
        if k > 2 and k % self.numbers.renewal:
            return
        apart = on_curvature() - gradient
        y, z = np.empty_like(gradient), np.empty_like(gradient)
        precondition(inverse_P, gradient, y)
        precondition(inverse_P, apart, z)
        signal, spread = read(inner(gradient, y), inner(apart, z))
        share = decision.share  # S′ is a part of S: E‖∇f_S′ − ∇f_S‖² = E‖ξ‖² (1 − share) / share
        found = spread * share / (1 - share) / signal if signal > 0 else math.nan
        if math.isfinite(found):
            self.noise = found if self.measured < 3 else (self.noise + found) / 2
            self.measured += 1

    def iterations(self, factors: bool) -> int:
        """The most CG steps of an update where batches change."""
        if not factors:
            return self.numbers.most_diagonal
        return min(self.numbers.most, max(1, round(0.5 / max(self.noise, 1e-6))))

    def damping(self, damping: float, decision: Decision, k: int, factors: bool) -> float:
        """λ of an update: as it is; its first value at the start, also if the second batch shows another situation.

        A later change of the situation raises it to the new floor.
        """
        if self.situation == 1 + decision.changing:
            return damping
        if k > 1:
            return max(damping, self.least_damping(decision, factors))
        return self.numbers.damping if decision.changing and factors else self.numbers.settled_damping

    def least_damping(self, decision: Decision, factors: bool) -> float:
        """The floor of λ."""
        return self.numbers.damping_min if decision.changing and factors else 0.0

    def made(self, decision: Decision) -> None:
        """Ends an update; the next sample is larger if noise exceeds the signal."""
        self.situation = 1 + decision.changing
        if decision.changing and decision.cases < decision.given and self.noise > 1:
            self.sample = min(decision.given, math.ceil(self.numbers.growth * self.sample))

    def words(self, decision: Decision, chosen: list[str]) -> str:
        """The decision in words: "batches change: 1,000 of 5,000 cases, curvature on 500, …"."""
        said = []
        if decision.cases < decision.given:
            said.append(f"{decision.cases:,} of {decision.given:,} cases")
        if decision.curvature is not decision.S:
            said.append(f"curvature on {decision.curvature_cases:,}")
        return f"{decision.why}: {', '.join([*said, *chosen])}" if said or chosen else decision.why


def at_most(steps: int) -> str:
    """The words for a number of CG steps."""
    return f"at most {steps} CG step{'s' * (steps > 1)}"


def paying(update: float = 4.0) -> Stop:
    """Ends CG where its last steps gained less per product than the update as a whole: the marginal value.

    update: what an update costs beside the products of CG, in products.
    """
    history: list[float] = []
    slow = relative_progress()

    def stop(i: int, phi: float, r: Array) -> str | None:
        history.append(phi)
        back = min(i, 2)
        if i and phi < 0 and (history[-1 - back] - phi) / back < -phi / (update + i):
            return "a new update gains more"
        return slow(i, phi, r)

    return stop


def taken(batch: Batch, which: Any) -> Batch:
    """Some cases of (x, t); t stays x where it is x."""
    x = take(batch[0], which)
    return x, x if batch[1] is batch[0] else take(batch[1], which)


def _sample(objective: Objective, batch: Batch, n: int, size: int, seed: tuple[int, int]) -> tuple[Batch, list[int]]:
    """A sample of `size` of the n cases, and its sizes on all ranks that were given cases of their own."""
    given = objective.given(*batch)
    sizes = [min(of_rank, max(1, round(size * of_rank / n))) for of_rank in given]
    own = objective.ranks.rank if objective.ranks.sliced else 0
    S = taken(batch, np.sort(_drawn(given[own], sizes[own], (*seed, own) if own else seed)))
    objective.note(*S, sizes)
    return S, sizes


def _drawn(n: int, size: int, seed: tuple[int, ...]) -> Array:
    return np.random.default_rng(seed).choice(n, size, replace=False, shuffle=False)


def _some(a: Any) -> Any:
    """Some cases of an array: of one in a file those at both ends, since others mean that chunks are read for them."""
    if is_stored(a):
        return np.concatenate([in_memory(take(a, which)) for which in (slice(0, 128), slice(-128, None))])
    return a[:: max(1, len(a) // 256)] if np.ndim(a) and not hasattr(a, "strides") else a


def content(batch: Batch) -> float:
    """A number that differs between batches with other content, from the sums over some 2¹⁶ entries of every array.

    The order of the cases does not change it if they are few. 0.0 if nothing finite can be said; a batch without
    arrays, (None, None), is always the same one.
    """
    if not leaves(batch):
        return 1.0
    sums = []
    for a in leaves(batch):
        rows = _some(a)
        flat = np.reshape(rows, -1)
        some = flat[:: max(1, flat.size >> 16)]
        if some.dtype.kind in "biufc" and some.size:
            numbers = some.astype(np.result_type(some.dtype, np.float64))
            sums += [np.real(numbers.sum()), np.real((numbers * numbers).sum())]
    total = 1.0
    for number in read(*sums) if sums else ():
        total = total / 3 + number  # the order of the arrays counts
    return total if sums and math.isfinite(total) else 0.0
