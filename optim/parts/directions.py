"""How an update is found: directions, which a user can exchange.

    ConjugateGradient   a truncated run of CG                             sections 4 and 8.7
    SteihaugToint       the same, ended on the boundary of a ball         section 8.6
    KrylovSubspace      f itself minimized over a Krylov subspace         section 8.1, Vinyals & Povey (2012)

Each is a function Subproblem → CGResult without state of its own. Source: Martens & Sutskever (2012).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, ClassVar

from optim.hyper import above
from optim.parts.cg import CGResult, Iterate, Stop, pcg
from optim.parts.damping import Tikhonov
from optim.problem.threads import Crew

__all__ = ["ConjugateGradient", "Direction", "SteihaugToint", "Subproblem"]


@dataclass
class Subproblem:
    """φ(δ) = ½ δᵀ(B + λD)δ − bᵀδ, b = −∇f: what there is to minimize, and what the search may use.

    product(v, out): B v into out; damping: λ, or (p,) the diagonal of λD; x0: where to start, None for zero;
    inverse_P, stop, keep, watch, crew: as for `pcg`. radius: of a trust region. f(δ): f and ∇f at θ + δ.
    """

    product: Callable[[Any, Any], None]
    b: Any
    f: Callable[[Any], tuple[float, Any]]
    damping: Any = 0.0
    x0: Any = None
    inverse_P: Any = None
    iterations: int = 250
    stop: Stop | None = None
    keep: bool | Container[int] = True
    watch: Callable[[Iterate], str | None] | None = None
    radius: float | None = None
    crew: Crew | None = None


class Direction:
    """Base of the directions. warm_start: whether it makes use of x0."""

    warm_start: ClassVar[bool] = True

    def __call__(self, problem: Subproblem) -> CGResult:
        raise NotImplementedError(f"{type(self).__name__}: Subproblem -> CGResult")


@dataclass(frozen=True)
class ConjugateGradient(Direction):
    """A truncated run of preconditioned CG from x0. Algorithm 2, sections 4 and 10."""

    def __call__(self, problem: Subproblem) -> CGResult:
        return _run(problem, None)


@dataclass(frozen=True)
class SteihaugToint(Direction):
    """CG from zero until ‖δ‖_P = r, P the preconditioner: half of the best that the trust region holds. Section 8.6.

    radius: r at the start; it follows the reduction ratio by the rule of section 8.5. λ stays as it is, 0 by default.
    A direction of negative curvature (of the exact Hessian) is followed to the boundary.
    """

    radius: float = 1.0
    warm_start: ClassVar[bool] = False

    def __post_init__(self) -> None:
        above("radius", self.radius, 0.0)

    def __call__(self, problem: Subproblem) -> CGResult:
        return _run(problem, self.radius if problem.radius is None else problem.radius)

    def next_radius(self, radius: float, rho: float, at_boundary: bool) -> float:
        """r × 2/3 where ρ < 1/4 or NaN; r × 3/2 where ρ > 3/4 and r was what held the step back."""
        if not rho >= Tikhonov.low:
            return radius * Tikhonov.drop
        return radius * Tikhonov.boost if rho > Tikhonov.high and at_boundary else radius


def _run(problem: Subproblem, radius: float | None) -> CGResult:
    return pcg(
        problem.product,
        problem.b,
        problem.x0 if radius is None else None,
        problem.inverse_P,
        damping=problem.damping,
        iterations=problem.iterations,
        stop=problem.stop,
        keep=problem.keep,
        watch=problem.watch,
        radius=radius,
        crew=problem.crew,
    )
