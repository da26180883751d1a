"""The preconditioned conjugate gradient method, algorithm 2 of the report, written once.

Source: Martens & Sutskever (2012), "Training Deep and Recurrent Networks with Hessian-Free Optimization",
sections 4, 8.6 and 8.7; Martens' own MATLAB code for the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import numpy as np

from optim.problem.threads import Crew
from optim.problem.vectors import blocks, dot, is_finite

__all__ = ["CGResult", "Iterate", "kept_iterations", "pcg", "precondition", "relative_progress"]

Stop = Callable[[int, float, Any], "str | None"]
WORTH_THREADS = 4  # blocks: below, threads cost more than they save


@dataclass(frozen=True)
class Iterate:
    """x_i of CG with φ(x_i) = ½ x_iᵀA x_i − bᵀx_i."""

    i: int
    x: Any
    phi: float


@dataclass(frozen=True)
class CGResult:
    """What a run of CG leaves: the kept iterates (the last one always among them) and how it ended."""

    iterates: list[Iterate]
    iterations: int
    products: int
    reason: str
    finite: bool  # False: a product held NaN or Inf, `reason` names the iteration, the iterates are not to be used

    @property
    def x(self) -> Any:
        return self.iterates[-1].x


def relative_progress(tolerance: float = 5e-4) -> Stop:
    """Martens' stopping rule, eq. (2): s_i = (φ_i − φ_{i−gap}) / φ_i < tolerance · gap, gap = max(10, ⌈0.1 i⌉).

    Only once φ_{i−gap} < 0. The tolerance is per step of the window, 5e-4 in Martens' code.
    """
    history: list[float] = []  # φ_0, φ_1, …; every call adds one

    def stop(i: int, phi: float, r: Any) -> str | None:
        history.append(phi)
        gap = max(10, math.ceil(0.1 * i))
        if i > gap and history[i - gap] < 0 and (phi - history[i - gap]) / phi < tolerance * gap:
            return "relative progress"
        return None

    return stop


def kept_iterations(most: int) -> set[int]:
    """⌈5 · 1.3ⁿ⌉ up to `most`: the iterates kept for backtracking (section 8.7, constants of Martens' code)."""
    kept, at = set[int](), 5.0
    while at <= most:
        kept.add(math.ceil(at))
        at *= 1.3
    return kept


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported below
def pcg(
    product: Callable[[Any, Any], None],
    b: Any,
    x0: Any = None,
    inverse_P: Any = None,
    *,
    damping: Any = 0.0,
    iterations: int = 250,
    stop: Stop | None = None,
    keep: bool | Container[int] = True,
    watch: Callable[[Iterate], str | None] | None = None,
    radius: float | None = None,
    crew: Crew | None = None,
) -> CGResult:
    """Minimizes φ(x) = ½ xᵀA x − bᵀx, A = B + λD, by the preconditioned conjugate gradient method: algorithm 2.

    product(v, out) writes B v into out; damping: λ for D = I, or (p,) the diagonal of λD; b: (p,); x0: (p,) or None
    for zero; inverse_P: (p,) the diagonal of P⁻¹, or an object whose apply(r, out) writes P⁻¹ r into out; None for the
    identity. stop(i, φ_i, r_i) returns a reason to end, or None; it is asked from i = 0 on. keep: also keep the
    iterates at ⌈5 · 1.3ⁿ⌉, or at these numbers. watch(iterate) sees each of them as it comes, the last too, and may
    return a reason to end. radius: of the trust region ‖x‖_P ≤ radius, section 8.6: a step that leaves it, or that
    has no positive curvature, ends on its boundary. crew: threads that share the passes over vectors that are worth
    it; the result is the same.

    Ends where pᵀA p ≤ 0 (A is not positive definite along p), and where a product is not finite; it raises nothing
    itself but ValueError for a radius with x0, and never writes into b or x0.
    """
    if radius is not None and x0 is not None:
        raise ValueError("radius: a run of CG in a trust region starts from zero")
    r, Ap = np.empty_like(b), np.empty_like(b)
    if x0 is None:
        x = np.zeros_like(b)
        np.negative(b, out=r)
    else:
        x = x0.copy()
        product(x, r)
        if np.ndim(damping) or damping:
            r += damping * x
        np.subtract(r, b, out=r)  # r_0 = A x_0 − b
    products = int(x0 is not None)
    y = r if inverse_P is None else np.empty_like(b)
    precondition(inverse_P, r, y)  # P y_0 = r_0
    p = np.negative(y)
    ry, phi = dot(r, y), (dot(r, x) - dot(b, x)) / 2  # φ(x) = ½ (r − b)ᵀx, section 4
    if not (math.isfinite(ry) and math.isfinite(phi)):
        return CGResult([Iterate(0, x, phi)], 0, products, "non-finite product in CG iteration 0", False)

    kept: Container[int] = keep if not isinstance(keep, bool) else kept_iterations(iterations - 1) if keep else ()
    ball = None if radius is None else _Ball(radius, ry)
    passes = _Passes(crew, damping, inverse_P, x, r, y, p, Ap)
    iterates: list[Iterate] = []
    i, finite, reason = 0, True, ""
    while True:
        reason = reason or (stop(i, phi, r) if stop else None) or _end(i, iterations, ry)
        if reason:
            break
        product(p, Ap)
        products += 1
        pAp = passes.damp()
        if not math.isfinite(pAp):  # one NaN or Inf in A p is enough for that
            reason, finite = f"non-finite product in CG iteration {i + 1}", False
            break
        if pAp <= 0:
            reason = f"negative curvature in CG iteration {i + 1}"
            if ball is None:
                break
        alpha = ry / pAp if pAp > 0 else math.inf  # α_i = r_iᵀy_i / p_iᵀA p_i
        if ball is not None and alpha >= ball.reach():
            if not hasattr(inverse_P, "apply"):  # which knows P⁻¹, not P
                ball.measure(x, p, inverse_P)
            alpha, reason = ball.reach(), reason or "boundary of the trust region"
        phi -= alpha * (ry - alpha * pAp / 2)  # φ(x_i + α p_i) − φ(x_i), as p_iᵀr_i = −r_iᵀy_i
        ry, previous = passes.advance(alpha), ry
        i += 1
        if not (math.isfinite(ry) and math.isfinite(phi)):
            break
        if ball is not None:
            ball.follow(alpha, ry / previous, ry)
        passes.turn(ry / previous)  # β_{i+1} = r_{i+1}ᵀy_{i+1} / r_iᵀy_i
        if i in kept:
            iterates.append(Iterate(i, x.copy(), phi))
            reason = reason or (watch(iterates[-1]) or "" if watch else "")
    if finite and not (math.isfinite(ry) and math.isfinite(phi) and is_finite(x)):
        reason, finite = f"overflow in CG iteration {i}", False
    if not iterates or iterates[-1].i != i:
        iterates.append(Iterate(i, x, phi))
        if watch and finite:
            watch(iterates[-1])
    return CGResult(iterates, i, products, reason, finite)


def precondition(inverse_P: Any, r: Any, y: Any) -> None:
    """y ← P⁻¹ r, for P⁻¹ as `pcg` takes it."""
    if hasattr(inverse_P, "apply"):
        inverse_P.apply(r, y)
    elif inverse_P is not None:
        np.multiply(r, inverse_P, out=y)
    elif y is not r:
        np.copyto(y, r)


def _end(i: int, iterations: int, ry: float) -> str:
    if ry <= 0:
        return "solved"
    return "iteration limit" if i >= iterations else ""


class _Ball:
    """‖x_i‖_P along a run from zero, by recurrences of scalars: yᵀP p = rᵀp = 0 for all earlier p.

    Source: Steihaug (1983); Conn, Gould & Toint (2000), section 7.5.1.
    """

    def __init__(self, radius: float, ry: float) -> None:
        self.radius, self.xx, self.xp, self.pp = radius, 0.0, 0.0, ry  # ‖p_0‖²_P = y_0ᵀP y_0 = r_0ᵀy_0

    def reach(self) -> float:
        """τ ≥ 0 with ‖x + τp‖_P = radius."""
        room = max(self.radius**2 - self.xx, 0.0)
        return room / (self.xp + math.sqrt(self.xp**2 + self.pp * room))

    def measure(self, x: Any, p: Any, inverse_P: Any) -> None:
        """The same scalars from the vectors: rounding makes p less conjugate, and the recurrences drift."""
        Px, Pp = (x, p) if inverse_P is None else (x / inverse_P, p / inverse_P)
        self.xx, self.xp, self.pp = dot(x, Px), dot(x, Pp), dot(p, Pp)

    def follow(self, alpha: float, beta: float, ry: float) -> None:
        """From x and p to x + α p and −y + β p."""
        self.xx += alpha * (2 * self.xp + alpha * self.pp)
        self.xp = beta * (self.xp + alpha * self.pp)
        self.pp = ry + beta**2 * self.pp


class _Passes:
    """The three passes over long vectors that make up an iteration, each by blocks that stay in cache."""

    def __init__(
        self, crew: Crew | None, damping: Any, inverse_P: Any, x: Any, r: Any, y: Any, p: Any, Ap: Any
    ) -> None:
        self._operator = inverse_P if hasattr(inverse_P, "apply") else None
        self._diagonal = np.ndim(damping) > 0
        self._preconditioned = inverse_P is not None and self._operator is None
        self._damping, self._r, self._y = damping, r, y
        more = damping if self._diagonal else y, inverse_P if self._preconditioned else y
        self._views = list(blocks(x, r, y, p, Ap, *more))
        self._crew = crew if crew is not None and len(self._views) >= WORTH_THREADS else Crew(1)
        self._work = [np.empty_like(self._views[0][0]) for _ in range(min(self._crew.threads, len(self._views)))]

    def damp(self) -> float:
        """A p ← B p + λD p; returns pᵀA p."""

        def block(k: int) -> float:
            _, _, _, p, Ap, d, _ = self._views[k]
            if self._diagonal or self._damping:
                w = self._scratch(k)
                np.add(Ap, np.multiply(p, d if self._diagonal else self._damping, out=w), out=Ap)
            return dot(p, Ap)

        return sum(self._crew.run(block, len(self._views)))

    def advance(self, alpha: float) -> float:
        """x ← x + α p, r ← r + α A p, y ← P⁻¹ r; returns rᵀy."""

        def block(k: int) -> float:
            x, r, y, p, Ap, _, inverse = self._views[k]
            w = self._scratch(k)
            np.add(x, np.multiply(p, alpha, out=w), out=x)
            np.add(r, np.multiply(Ap, alpha, out=w), out=r)
            if self._preconditioned:
                np.multiply(r, inverse, out=y)
            return dot(r, y) if self._operator is None else 0.0

        found = sum(self._crew.run(block, len(self._views)))
        if self._operator is None:
            return found
        self._operator.apply(self._r, self._y)
        return sum(dot(r, y) for _, r, y, *_ in self._views)

    def turn(self, beta: float) -> None:
        """p ← −y + β p."""

        def block(k: int) -> None:
            y, p = self._views[k][2:4]
            np.multiply(p, beta, out=p)
            np.subtract(p, y, out=p)

        self._crew.run(block, len(self._views))

    def _scratch(self, k: int) -> Any:
        """Of the thread that works on block k."""
        return self._work[k % len(self._work)][: self._views[k][0].size]
