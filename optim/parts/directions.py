"""Directions: the ways to find an update, which a user can exchange.

    ConjugateGradient   a truncated run of CG                             sections 4 and 8.7
    SteihaugToint       the same, ended on the boundary of a ball         section 8.6
    RescaledMomentum    P⁻¹b and the last update, no CG                   Martens & Grosse (2015), section 7
    KrylovSubspace      f itself minimized over a Krylov subspace         section 8.1, Vinyals & Povey (2012)

Each is a function Subproblem → CGResult without state of its own.

References
----------
Martens & Sutskever (2012); Martens & Grosse (2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from optim.hyper import Number, Rule, check
from optim.parts.cg import CGResult, Iterate, Stop, Watch, pcg
from optim.parts.damping import MOST, Tikhonov
from optim.parts.passes import InverseP, Product, precondition
from optim.parts.rescaling import Forms, along, along_both
from optim.problem.threads import Crew
from optim.problem.vectors import Scalar, inner
from rmad.extend import Array

__all__ = ["ConjugateGradient", "Direction", "RescaledMomentum", "SteihaugToint", "Subproblem"]


@dataclass
class Subproblem:
    """φ(δ) = ½ δᵀ(B + λD)δ − bᵀδ, b = −∇f: the problem of one update, and all that a search may use.

    Parameters
    ----------
    product : callable
        product(v, out) writes B v into out.
    b : (p,) array
        −∇f(θ).
    f : callable
        δ → f(θ + δ), ∇f(θ + δ).
    damping : float or (p,) array, default 0.0
        λ for D = I, or the diagonal of λD.
    x0 : (p,) array, default None
        Where to start; None is zero.
    inverse_P, iterations, stop, keep, watch, crew
        As for `pcg`.
    radius : float, default None
        Of a trust region.
    forms : Forms, default None
        vᵀB w without the product B w, where there is a cheaper way.
    """

    product: Product
    b: Array
    f: Callable[[Array], tuple[float, Array]]
    damping: float | Array = 0.0
    x0: Array | None = None
    inverse_P: InverseP = None
    iterations: int = 250
    stop: Stop | None = None
    keep: bool | Container[int] = True
    watch: Watch | None = None
    radius: float | None = None
    crew: Crew | None = None
    forms: Forms | None = None


class Direction:
    """Base of the directions. warm_start: True if it makes use of x0."""

    warm_start: ClassVar[bool] = True

    def __call__(self, problem: Subproblem) -> CGResult:
        raise NotImplementedError(f"{type(self).__name__}: Subproblem -> CGResult")


@dataclass(frozen=True)
class ConjugateGradient(Direction):
    """A truncated run of preconditioned CG from x0: algorithm 2, sections 4 and 10.

    Examples
    --------
    >>> import optim
    >>> optim.ConjugateGradient().warm_start
    True
    """

    def __call__(self, problem: Subproblem) -> CGResult:
        return _run(problem, None)


@dataclass(frozen=True)
class SteihaugToint(Direction):
    """CG from zero until ‖δ‖_P = r, P the preconditioner: half of the best that the trust region holds. Section 8.6.

    r follows the reduction ratio by the rule of section 8.5, and λ stays as it is, 0 by default. A direction of
    negative curvature (of the exact Hessian) is followed to the boundary.

    Parameters
    ----------
    radius : float, default 1.0
        r > 0 at the start.

    Raises
    ------
    ValueError, TypeError
        If the radius is out of range or of the wrong type.

    References
    ----------
    Steihaug (1983); Martens & Sutskever (2012), section 8.6.

    Examples
    --------
    >>> import optim
    >>> optim.SteihaugToint(radius=0.5).next_radius(1.0, rho=0.1, at_boundary=True)
    0.6666666666666666
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"radius": Number(above=0.0)}

    radius: float = 1.0
    warm_start: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, problem: Subproblem) -> CGResult:
        return _run(problem, self.radius if problem.radius is None else problem.radius)

    def next_radius(self, radius: float, rho: float, at_boundary: bool) -> float:
        """r × 2/3 if ρ < 1/4 or NaN, down to 10⁻⁶ of its start; r × 3/2 if ρ > 3/4 and the ball held the step back."""
        if not rho >= Tikhonov.low:
            return max(radius * Tikhonov.drop, min(self.radius / MOST, radius))
        return radius * Tikhonov.boost if rho > Tikhonov.high and at_boundary else radius

    def relaxed_radius(self, radius: float) -> float:
        """r × 3/2 up to its start, where rounding decides ρ: a ball that is too small makes steps within rounding."""
        return min(radius * Tikhonov.boost, self.radius) if radius < self.radius else radius


@dataclass(frozen=True)
class RescaledMomentum(Direction):
    """δ = α P⁻¹b + μ δ_{k−1}, α and μ the minimum of φ: two pushes in place of a run of CG. Section 7.

    It needs a preconditioner that is near B, such as Kronecker factors. Noise of the batch is averaged over updates by
    way of δ_{k−1}, where further steps of CG would fit it. 0 ≤ α ≤ 1 and 0 ≤ μ ≤ `momentum`: on a small batch B is
    small along some δ_{k−1} by chance, and without a bound such a step runs away.

    Parameters
    ----------
    momentum : float, default 0.9
        The greatest μ, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        If momentum is out of range or of the wrong type.

    References
    ----------
    Martens & Grosse (2015), sections 6.4 and 7, which have no bound on μ.

    Examples
    --------
    >>> import optim
    >>> optim.RescaledMomentum().warm_start
    True
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"momentum": Number(at_least=0.0, at_most=1.0)}

    momentum: float = 0.9

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, problem: Subproblem) -> CGResult:
        forms = problem.forms or _ByProducts(problem.product)
        gradient, d = np.negative(problem.b), np.empty_like(problem.b)
        precondition(problem.inverse_P, problem.b, d)
        if problem.x0 is None:
            step = along(forms, gradient, d, problem.damping)
        else:
            step = along_both(forms, gradient, d, problem.x0, problem.damping, (1.0, self.momentum))
        phi = step.slope + step.length / 2
        finite = math.isfinite(phi)
        reason = "the least value of the model" if finite else "non-finite value of the model"
        return CGResult([Iterate(1, step.delta, phi)], 1, 1 if problem.x0 is None else 2, reason, finite)


class _ByProducts:
    """`Forms` by the products themselves."""

    def __init__(self, product: Product) -> None:
        self._product = product

    def curvature_along(self, v: Array) -> list[Scalar]:
        return [inner(v, self._of(v))]

    def curvature_between(self, v: Array, w: Array) -> tuple[Scalar, Scalar, Scalar]:
        Bw = self._of(w)
        return inner(v, self._of(v)), inner(v, Bw), inner(w, Bw)

    def _of(self, v: Array) -> Array:
        out = np.empty_like(v)
        self._product(v, out)
        return out


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
