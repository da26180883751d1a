"""The preconditioned conjugate gradient method, algorithm 2 of the report, written once.

References
----------
Martens & Sutskever (2012), "Training Deep and Recurrent Networks with Hessian-Free Optimization", sections 4, 8.6 and
8.7; Martens' own MATLAB code for the constants.

Examples
--------
>>> from optim.parts.cg import pcg
>>> A, b = np.diag([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 8.0])
>>> cg = pcg(lambda v, out: np.matmul(A, v, out=out), b, iterations=3)
>>> cg.x.round(6).tolist(), cg.reason
([1.0, 1.0, 2.0], 'iteration limit')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from optim.base import quiet
from optim.parts.trust_region import Ball
from optim.problem.threads import Crew
from optim.problem.vectors import blocks, dot, is_finite
from optim.tuning import FEWEST_BLOCKS_ON_THREADS
from rmad.extend import Array

__all__ = ["CGResult", "InverseOperator", "Iterate", "kept_iterations", "pcg", "precondition", "relative_progress"]

Product: TypeAlias = Callable[[Array, Array], None]  # (v, out): out ← B v
Stop: TypeAlias = "Callable[[int, float, Array], str | None]"  # (i, φ_i, r_i): a reason to end
Watch: TypeAlias = "Callable[[Iterate], str | None]"  # an iterate that is kept: a reason to end


@runtime_checkable
class InverseOperator(Protocol):
    """P⁻¹ as an object: apply(r, out) writes P⁻¹ r into out."""

    def apply(self, r: Array, out: Array, /) -> object: ...


InverseP: TypeAlias = "Array | InverseOperator | None"  # (p,) its diagonal, an object, or the identity


@dataclass(frozen=True)
class Iterate:
    """x_i of CG with φ(x_i) = ½ x_iᵀA x_i − bᵀx_i.

    Attributes
    ----------
    i : int
        Number of the iterate; 0 is the start.
    x : (p,) array
        x_i.
    phi : float
        φ(x_i).
    """

    i: int
    x: Array
    phi: float


@dataclass(frozen=True)
class CGResult:
    """The outcome of a run of CG: the kept iterates and how the run ended.

    Attributes
    ----------
    iterates : list of Iterate
        The kept iterates in order; the last one of the run is always among them.
    iterations : int
        Iterations made.
    products : int
        Products with B, one for a start that is not zero included.
    reason : str
        What ended the run; for a product that is not finite it names the iteration.
    finite : bool
        False if a product held NaN or Inf: the iterates are not to be used.
    """

    iterates: list[Iterate]
    iterations: int
    products: int
    reason: str
    finite: bool

    @property
    def x(self) -> Array:
        """The last iterate, (p,)."""
        return self.iterates[-1].x


def relative_progress(tolerance: float = 5e-4) -> Stop:
    """(φ_i − φ_{i−gap}) / φ_i < tolerance · gap, gap = max(10, ⌈0.1 i⌉), once φ_{i−gap} < 0: eq. (2).

    Parameters
    ----------
    tolerance : float, default 5e-4
        Least relative progress per iteration of the window; 5e-4 in Martens' code.

    Returns
    -------
    callable
        A rule for one run of `pcg`: it remembers φ_0, φ_1, …
    """
    history: list[float] = []  # φ_0, φ_1, …; every call adds one

    def stop(i: int, phi: float, r: Array) -> str | None:
        history.append(phi)
        gap = max(10, math.ceil(0.1 * i))
        if i > gap and history[i - gap] < 0 and (phi - history[i - gap]) / phi < tolerance * gap:
            return "relative progress"
        return None

    return stop


def kept_iterations(most: int, first: float = 5.0, growth: float = 1.3) -> set[int]:
    """⌈first · growthⁿ⌉ up to `most`: the iterates kept for backtracking, section 8.7.

    Parameters
    ----------
    most : int
        The largest number that may be kept.
    first : float, default 5.0
        The first number; the default is that of Martens' code.
    growth : float, default 1.3
        Ratio of one number to the one before it; the default is that of Martens' code.

    Returns
    -------
    set of int
        The numbers of the iterates.
    """
    kept, at = set[int](), float(first)
    while at <= most:
        kept.add(math.ceil(at))
        at *= growth
    return kept


@quiet
def pcg(
    product: Product,
    b: Array,
    x0: Array | None = None,
    inverse_P: InverseP = None,
    *,
    damping: float | Array = 0.0,
    iterations: int = 250,
    stop: Stop | None = None,
    keep: bool | Container[int] = True,
    watch: Watch | None = None,
    radius: float | None = None,
    crew: Crew | None = None,
) -> CGResult:
    """Minimizes φ(x) = ½ xᵀA x − bᵀx, A = B + λD, by preconditioned conjugate gradients: algorithm 2.

    A run ends at pᵀA p ≤ 0 (A is not positive definite along p) and at a product that is not finite.

    Parameters
    ----------
    product : callable
        product(v, out) writes B v into out.
    b : (p,) array
        The right-hand side; never written to.
    x0 : (p,) array, default None
        Where to start; None is zero. Never written to.
    inverse_P : (p,) array or InverseOperator, default None
        The diagonal of P⁻¹, or an object whose apply(r, out) writes P⁻¹ r into out; None is the identity.
    damping : float or (p,) array, default 0.0
        λ for D = I, or the diagonal of λD.
    iterations : int, default 250
        The most iterations.
    stop : callable, default None
        stop(i, φ_i, r_i) returns a reason to end, or None; asked from i = 0 on.
    keep : bool or container of int, default True
        Also keep the iterates at ⌈5 · 1.3ⁿ⌉, or those with these numbers.
    watch : callable, default None
        watch(iterate) sees each kept iterate as it comes, the last too; it may return a reason to end.
    radius : float, default None
        Of the trust region ‖x‖_P ≤ radius, section 8.6: a step that would leave it, or that has no positive curvature,
        ends on its boundary. Needs x0 = None.
    crew : Crew, default None
        Threads that share the passes over long vectors; the result is the same.
    """
    if radius is not None and x0 is not None:
        raise ValueError("radius: a run of CG in a trust region starts from zero")
    run = _Run(product, b, x0, inverse_P, damping)
    if not (math.isfinite(run.ry) and math.isfinite(run.phi)):
        return CGResult([Iterate(0, run.x, run.phi)], 0, run.products, "non-finite product in CG iteration 0", False)
    kept: Container[int] = keep if not isinstance(keep, bool) else kept_iterations(iterations - 1) if keep else ()
    record = _Recorder(kept, watch)
    run.prepare(crew)
    reason, finite = _iterate(run, record, iterations, stop, None if radius is None else Ball(radius, run.ry))
    return record.result(run, reason, finite)


def _iterate(run: _Run, record: _Recorder, iterations: int, stop: Stop | None, ball: Ball | None) -> tuple[str, bool]:
    """Runs to the end; returns the reason, and False if a product was not finite."""
    reason = ""
    while True:
        reason = reason or (stop(run.i, run.phi, run.r) if stop else None) or _end(run.i, iterations, run.ry)
        if reason:
            break
        pAp = run.curvature()
        if not math.isfinite(pAp):  # one NaN or Inf in A p is enough for that
            return f"non-finite product in CG iteration {run.i + 1}", False
        if pAp <= 0:
            reason = f"negative curvature in CG iteration {run.i + 1}"
            if ball is None:
                break
        alpha = run.ry / pAp if pAp > 0 else math.inf  # α_i = r_iᵀy_i / p_iᵀA p_i
        if ball is not None and alpha >= ball.reach():
            if run.operator is None:  # which knows P⁻¹, not P
                ball.measure(run.x, run.p, run.inverse)
            alpha, reason = ball.reach(), reason or "boundary of the trust region"
        ry = run.ry
        if not run.advance(alpha, pAp):
            break
        beta = run.ry / ry  # β_{i+1} = r_{i+1}ᵀy_{i+1} / r_iᵀy_i
        if ball is not None:
            ball.follow(alpha, beta, run.ry)
        run.turn(beta)
        reason = record.see(run, reason)
    finite = math.isfinite(run.ry) and math.isfinite(run.phi) and is_finite(run.x)
    return (reason, True) if finite else (f"overflow in CG iteration {run.i}", False)


def _end(i: int, iterations: int, ry: float) -> str:
    if ry <= 0:
        return "solved"
    return "iteration limit" if i >= iterations else ""


def precondition(inverse_P: InverseP, r: Array, y: Array) -> None:
    """y ← P⁻¹ r, for P⁻¹ as `pcg` takes it."""
    if inverse_P is None:
        if y is not r:
            np.copyto(y, r)
    elif hasattr(inverse_P, "apply"):
        inverse_P.apply(r, y)
    else:
        np.multiply(r, inverse_P, out=y)


class _Recorder:
    """The iterates that are kept, each shown to `watch` as it comes."""

    def __init__(self, kept: Container[int], watch: Watch | None) -> None:
        self._kept, self._watch = kept, watch
        self._iterates: list[Iterate] = []

    def see(self, run: _Run, reason: str) -> str:
        """The reason to end: the one that there is, or that of `watch`, or ""."""
        if run.i not in self._kept:
            return reason
        self._iterates.append(Iterate(run.i, run.x.copy(), run.phi))
        return reason or (self._watch(self._iterates[-1]) or "" if self._watch else "")

    def result(self, run: _Run, reason: str, finite: bool) -> CGResult:
        iterates = self._iterates
        if not iterates or iterates[-1].i != run.i:
            iterates.append(Iterate(run.i, run.x, run.phi))
            if self._watch and finite:
                self._watch(iterates[-1])
        return CGResult(iterates, run.i, run.products, reason, finite)


class _Run:
    """x, r = A x − b, y = P⁻¹ r and p of a run, with the three passes over them that make up an iteration.

    The passes go by blocks that stay in cache, on threads if there are enough of them.
    """

    def __init__(
        self, product: Product, b: Array, x0: Array | None, inverse_P: InverseP, damping: float | Array
    ) -> None:
        self.operator: InverseOperator | None = inverse_P if hasattr(inverse_P, "apply") else None
        self.inverse: Array | None = None if hasattr(inverse_P, "apply") else inverse_P  # (p,)
        self._product, self._damping = product, damping
        self.r, self._Ap = np.empty_like(b), np.empty_like(b)
        if x0 is None:
            self.x = np.zeros_like(b)
            np.negative(b, out=self.r)
        else:
            self.x = x0.copy()
            product(self.x, self.r)
            if np.ndim(damping) or damping:
                self.r += damping * self.x
            np.subtract(self.r, b, out=self.r)  # r_0 = A x_0 − b
        self.i, self.products = 0, int(x0 is not None)
        self.y = self.r if inverse_P is None else np.empty_like(b)
        precondition(inverse_P, self.r, self.y)  # P y_0 = r_0
        self.p = np.negative(self.y)
        self.ry = dot(self.r, self.y)
        self.phi = (dot(self.r, self.x) - dot(b, self.x)) / 2  # φ(x) = ½ (r − b)ᵀx, section 4

    def prepare(self, crew: Crew | None) -> None:
        """Cuts the vectors into blocks."""
        self._diagonal = np.ndim(self._damping) > 0
        more = self._damping if self._diagonal else self.y, self.y if self.inverse is None else self.inverse
        self._views = list(blocks(self.x, self.r, self.y, self.p, self._Ap, *more))
        self._crew = crew if crew is not None and len(self._views) >= FEWEST_BLOCKS_ON_THREADS else Crew(1)
        self._work = [np.empty_like(self._views[0][0]) for _ in range(min(self._crew.threads, len(self._views)))]

    def curvature(self) -> float:
        """A p ← B p + λD p; returns pᵀA p."""
        self._product(self.p, self._Ap)
        self.products += 1

        def block(k: int) -> float:
            _, _, _, p, Ap, d, _ = self._views[k]
            if self._diagonal or self._damping:
                w = self._scratch(k)
                np.add(Ap, np.multiply(p, d if self._diagonal else self._damping, out=w), out=Ap)
            return dot(p, Ap)

        return sum(self._crew.run(block, len(self._views)))

    def advance(self, alpha: float, pAp: float) -> bool:
        """x ← x + α p, r ← r + α A p, y ← P⁻¹ r; False if φ or rᵀy is not finite any more."""

        def block(k: int) -> float:
            x, r, y, p, Ap, _, inverse = self._views[k]
            w = self._scratch(k)
            np.add(x, np.multiply(p, alpha, out=w), out=x)
            np.add(r, np.multiply(Ap, alpha, out=w), out=r)
            if self.inverse is not None:
                np.multiply(r, inverse, out=y)
            return dot(r, y) if self.operator is None else 0.0

        self.i += 1
        self.phi -= alpha * (self.ry - alpha * pAp / 2)  # φ(x_i + α p_i) − φ(x_i), as p_iᵀr_i = −r_iᵀy_i
        self.ry = sum(self._crew.run(block, len(self._views)))
        if self.operator is not None:
            self.operator.apply(self.r, self.y)
            self.ry = sum(dot(r, y) for _, r, y, *_ in self._views)
        return math.isfinite(self.ry) and math.isfinite(self.phi)

    def turn(self, beta: float) -> None:
        """p ← −y + β p."""

        def block(k: int) -> None:
            y, p = self._views[k][2:4]
            np.multiply(p, beta, out=p)
            np.subtract(p, y, out=p)

        self._crew.run(block, len(self._views))

    def _scratch(self, k: int) -> Array:
        """Room for the thread that works on block k."""
        return self._work[k % len(self._work)][: self._views[k][0].size]
