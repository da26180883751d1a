"""The preconditioned conjugate gradient method, algorithm 2 of the report, written once.

Source: Martens & Sutskever (2012), "Training Deep and Recurrent Networks with Hessian-Free Optimization",
sections 4 and 8.7; Martens' own MATLAB code for the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from optim.vectors import axpy, dot, xpby

__all__ = ["CGResult", "Iterate", "kept_iterations", "pcg", "relative_progress"]

Stop = Callable[[int, float, Any], "str | None"]


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
    solve: Callable[[Any, Any], None] | None = None,
    *,
    iterations: int = 250,
    stop: Stop | None = None,
    keep: bool = True,
) -> CGResult:
    """Minimizes φ(x) = ½ xᵀA x − bᵀx: algorithm 2.

    product(v, out) writes A v into out; b: (p,); x0: (p,) or None for zero; solve(r, out) writes the solution of
    P y = r into out (None: P = I). stop(i, φ_i, r_i) returns a reason to end, or None; it is asked from i = 0 on.
    keep: also keep the iterates at ⌈5 · 1.3ⁿ⌉. Stops where pᵀA p ≤ 0 (A is not positive definite along p), and
    where a product is not finite; it raises nothing itself and never writes into b or x0.
    """
    r, Ap = np.empty_like(b), np.empty_like(b)
    if x0 is None:
        x = np.zeros_like(b)
        np.negative(b, out=r)
    else:
        x = x0.copy()
        product(x, r)
        np.subtract(r, b, out=r)  # r_0 = A x_0 − b
    products = int(x0 is not None)
    y = r if solve is None else np.empty_like(b)
    if solve is not None:
        solve(r, y)
    p = np.negative(y)
    ry, phi = dot(r, y), (dot(r, x) - dot(b, x)) / 2
    if not (math.isfinite(ry) and math.isfinite(phi)):
        return CGResult([Iterate(0, x, phi)], 0, products, "non-finite product in CG iteration 0", False)

    kept = kept_iterations(iterations - 1) if keep else set()
    iterates: list[Iterate] = []
    i, reason, finite = 0, "", True
    while True:
        reason = (stop(i, phi, r) if stop else None) or _end(i, iterations, ry)
        if reason:
            break
        product(p, Ap)
        products += 1
        pAp = dot(p, Ap)
        if not math.isfinite(pAp):  # one NaN or Inf in A p is enough for that
            reason, finite = f"non-finite product in CG iteration {i + 1}", False
            break
        if pAp <= 0:
            reason = f"negative curvature in CG iteration {i + 1}"
            break
        alpha = ry / pAp  # α_i = r_iᵀy_i / p_iᵀA p_i
        axpy(alpha, p, x)  # x_{i+1} = x_i + α_i p_i
        axpy(alpha, Ap, r)  # r_{i+1} = r_i + α_i A p_i
        if solve is not None:
            solve(r, y)  # P y_{i+1} = r_{i+1}
        ry, previous = dot(r, y), ry
        phi = (dot(r, x) - dot(b, x)) / 2  # φ(x_i) = ½ (r_i − b)ᵀx_i
        i += 1
        if not (math.isfinite(ry) and math.isfinite(phi)):
            reason, finite = f"overflow in CG iteration {i}", False
            break
        xpby(y, ry / previous, p)  # p_{i+1} = −y_{i+1} + β_{i+1} p_i,  β_{i+1} = r_{i+1}ᵀy_{i+1} / r_iᵀy_i
        if i in kept:
            iterates.append(Iterate(i, x.copy(), phi))
    if not iterates or iterates[-1].i != i:
        iterates.append(Iterate(i, x, phi))
    return CGResult(iterates, i, products, reason, finite)


def _end(i: int, iterations: int, ry: float) -> str:
    if ry <= 0:
        return "solved"
    return "iteration limit" if i >= iterations else ""
