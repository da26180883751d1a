"""The vectors of a run of CG, its iteration, and the three passes over them that make it up, by blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from optim import tuning
from optim.parts.trust_region import Ball
from optim.problem.threads import Crew
from optim.problem.vectors import blocks, dot, dots
from rmad.extend import Array

__all__ = ["InverseOperator", "InverseP", "Product", "Run", "Stop", "precondition"]

R = TypeVar("R")

Product: TypeAlias = Callable[[Array, Array], None]  # (v, out): out ← B v
Stop: TypeAlias = "Callable[[int, float, Array], str | None]"  # (i, φ_i, r_i): a reason to end


class InverseOperator(Protocol):
    """P⁻¹ as an object: apply(r, out) writes P⁻¹ r into out."""

    def apply(self, r: Array, out: Array, /) -> object: ...


InverseP: TypeAlias = "Array | InverseOperator | None"  # (p,) its diagonal, an object, or the identity


def precondition(inverse_P: InverseP, r: Array, y: Array) -> None:
    """y ← P⁻¹ r, for P⁻¹ as `pcg` takes it."""
    if inverse_P is None:
        if y is not r:
            np.copyto(y, r)
    elif hasattr(inverse_P, "apply"):
        inverse_P.apply(r, y)
    else:
        np.multiply(r, inverse_P, out=y)


class Run:
    """x, r = A x − b, y = P⁻¹ r and p of a run, with the three passes over them that make up an iteration.

    The passes go by blocks that stay in cache, on threads if there are enough of them.
    """

    def __init__(
        self,
        product: Product,
        b: Array,
        x0: Array | None,
        inverse_P: InverseP,
        damping: float | Array,
        crew: Crew | None,
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
        self.ry, rx, bx = dots((self.r, self.y), (self.r, self.x), (b, self.x))
        self.phi = (rx - bx) / 2  # φ(x) = ½ (r − b)ᵀx, section 4
        self._diagonal = np.ndim(damping) > 0
        more = damping if self._diagonal else self.y, self.y if self.inverse is None else self.inverse
        self._views = list(blocks(self.x, self.r, self.y, self.p, self._Ap, *more))
        self._crew = crew if crew is not None and len(self._views) >= tuning.BLOCKS_ON_THREADS_FROM else Crew(1)
        (longest, *_), *_ = self._views
        self._work = [np.empty_like(longest) for _ in range(min(self._crew.threads, len(self._views)))]

    def is_finite(self) -> bool:
        """True if φ and rᵀy are finite."""
        return math.isfinite(self.ry) and math.isfinite(self.phi)

    def asked(self, stop: Stop | None) -> str:
        """The reason to end that the rule gives, or ""."""
        return (stop(self.i, self.phi, self.r) if stop else None) or ""

    def iteration(self, ball: Ball | None) -> tuple[float, str, bool]:
        """pᵀA p, a reason to end or "", and False if the run ends where it is, or with a number that is not finite."""
        pAp = self.curvature()
        if not math.isfinite(pAp):
            return pAp, "", False
        if pAp <= 0 and ball is None:
            return pAp, self.turned_down(pAp), False
        alpha, reason = self._step_length(pAp, ball)
        ry = self.ry
        if not self.advance(alpha, pAp):
            return pAp, reason, False
        beta = self.ry / ry  # β_{i+1} = r_{i+1}ᵀy_{i+1} / r_iᵀy_i
        if ball is not None:
            ball.follow(alpha, beta, self.ry)
        self.turn(beta)
        return pAp, reason, True

    def turned_down(self, pAp: float) -> str:
        """The reason to end at pᵀA p ≤ 0; if nothing was found before, x steps along P⁻¹r, by the length P gives it."""
        reason = f"negative curvature in CG iteration {self.i + 1}"
        if self.phi >= 0:
            self.advance(1.0, pAp)
        return reason

    def _step_length(self, pAp: float, ball: Ball | None) -> tuple[float, str]:
        """α_i = r_iᵀy_i / p_iᵀA p_i, or as far as the ball reaches, and the reason to end after such a step, or ""."""
        alpha = self.ry / pAp if pAp > 0 else math.inf
        reason = "" if pAp > 0 else f"negative curvature in CG iteration {self.i + 1}"
        if ball is not None and alpha >= ball.reach():
            if self.operator is None:  # which knows P⁻¹, not P
                ball.measure(self.x, self.p, self.inverse)
            alpha, reason = ball.reach(), reason or "boundary of the trust region"
        return alpha, reason

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

        return sum(self._each(block))

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
        self.ry = sum(self._each(block))
        if self.operator is not None:
            self.operator.apply(self.r, self.y)
            self.ry = sum(dot(r, y) for _, r, y, *_ in self._views)
        return self.is_finite()

    def turn(self, beta: float) -> None:
        """p ← −y + β p."""

        def block(k: int) -> None:
            y, p = self._views[k][2:4]
            np.multiply(p, beta, out=p)
            np.subtract(p, y, out=p)

        self._each(block)

    def _each(self, block: Callable[[int], R]) -> list[R]:
        """[block(k), …] for all blocks; a single block runs on the calling thread, to avoid the overhead."""
        return [block(0)] if len(self._views) == 1 else self._crew.run(block, len(self._views))

    def _scratch(self, k: int) -> Array:
        """Room for the thread that works on block k."""
        return self._work[k % len(self._work)][: self._views[k][0].size]
