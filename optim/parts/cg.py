"""The preconditioned conjugate gradient method, algorithm 2 of the report, written once.

References
----------
Martens & Sutskever (2012), "Training Deep and Recurrent Networks with Hessian-Free Optimization", sections 4, 8.6 and
8.7; Martens' own MATLAB code for the constants.

Examples
--------
>>> from optim import pcg
>>> A, b = np.diag([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 8.0])
>>> cg = pcg(lambda v, out: np.matmul(A, v, out=out), b, iterations=3)
>>> cg.x.round(6).tolist(), cg.reason
([1.0, 1.0, 2.0], 'iteration limit')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from optim.base import quiet
from optim.parts.device_run import DeviceRun
from optim.parts.passes import InverseOperator, InverseP, Product, Run, Stop, precondition
from optim.parts.trust_region import Ball
from optim.problem.threads import Crew
from optim.problem.vectors import dot, is_finite
from rmad.extend import Array

__all__ = [
    "CGResult",
    "InverseOperator",
    "InverseP",
    "Iterate",
    "SmallResidual",
    "Stop",
    "kept_iterations",
    "pcg",
    "precondition",
    "relative_progress",
]

Watch: TypeAlias = "Callable[[Iterate], str | None]"  # an iterate that is kept: a reason to end


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


@dataclass(frozen=True)
class SmallResidual:
    """Ends a run of `pcg` at ‖r_i‖∞ < tolerance, or ‖r_i‖₂ < tolerance, i ≥ 1.

    Parameters
    ----------
    tolerance : float
        The bound.
    euclidean : bool, default False
        Measures ‖r_i‖₂ in place of ‖r_i‖∞.
    """

    tolerance: float
    euclidean: bool = False

    def __call__(self, i: int, phi: float, r: Array) -> str | None:
        """Returns the reason to end, or None."""
        if not i:
            return None
        return self.after(i, math.sqrt(dot(r, r)) if self.euclidean else float(max(r.max(), -r.min())))

    def after(self, i: int, size: float) -> str | None:
        """Returns the same for size = ‖r_i‖, which a run on a device reads with the scalars of the iteration."""
        return "residual" if i and size < self.tolerance else None


@quiet()
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
        Of the trust region ‖x‖_P ≤ radius, section 8.6; a step out of it ends on its boundary. Needs x0 = None.
    crew : Crew, default None
        Threads that share the passes over long vectors; the result is the same.

    Returns
    -------
    CGResult
        The kept iterates. A run also ends where pᵀA p ≤ 0 (A is indefinite), and at a product that is not finite. If A
        is indefinite along the very first p and φ(x0) ≥ 0, so that x0 is of no use, the result is x0 + p, from zero
        the preconditioned steepest descent P⁻¹b (Nocedal & Wright, 2006, algorithm 7.1).

    Raises
    ------
    ValueError
        If radius and x0 are given together.
    """
    if radius is not None and x0 is not None:
        raise ValueError("radius: a run of CG in a trust region starts from zero")
    kind = Run if isinstance(b, np.ndarray) else DeviceRun
    run, record = kind(product, b, x0, inverse_P, damping, crew), _Recorder(_kept(keep, iterations), watch)
    reason, finite = _iterate(run, record, iterations, stop, radius)
    return record.result(run, reason, finite)


def _kept(keep: bool | Container[int], iterations: int) -> Container[int]:
    if not isinstance(keep, bool):
        return keep
    return kept_iterations(iterations - 1) if keep else ()


def _iterate(run: Run, record: _Recorder, iterations: int, stop: Stop | None, radius: float | None) -> tuple[str, bool]:
    """Runs to the end; returns the reason, and False if a product was not finite."""
    if not run.is_finite():
        return "non-finite product in CG iteration 0", False
    ball = None if radius is None else Ball(radius, run.ry)
    reason = ""
    while True:
        reason = reason or run.asked(stop) or _end(run.i, iterations, run.ry)
        if reason:
            break
        pAp, reason, goes_on = run.iteration(ball)
        if not math.isfinite(pAp):  # one NaN or Inf in A p is enough for that
            return f"non-finite product in CG iteration {run.i + 1}", False
        if not goes_on:
            break
        reason = record.see(run, reason)
    finite = run.is_finite() and is_finite(run.x)
    return (reason, True) if finite else (f"overflow in CG iteration {run.i}", False)


def _end(i: int, iterations: int, ry: float) -> str:
    if ry <= 0:
        return "solved"
    return "iteration limit" if i >= iterations else ""


class _Recorder:
    """The iterates that are kept, each shown to `watch` as it comes."""

    def __init__(self, kept: Container[int], watch: Watch | None) -> None:
        self._kept, self._watch = kept, watch
        self._iterates: list[Iterate] = []

    def see(self, run: Run, reason: str) -> str:
        """Returns the given reason to stop, or else the one from `watch`, or ""."""
        if run.i not in self._kept:
            return reason
        self._iterates.append(Iterate(run.i, run.x.copy(), run.phi))
        return reason or (self._watch(self._iterates[-1]) or "" if self._watch else "")

    def result(self, run: Run, reason: str, finite: bool) -> CGResult:
        iterates = self._iterates
        if not iterates or iterates[-1].i != run.i:
            iterates.append(Iterate(run.i, run.x, run.phi))
            if self._watch and finite:
                self._watch(iterates[-1])
        return CGResult(iterates, run.i, run.products, reason, finite)
