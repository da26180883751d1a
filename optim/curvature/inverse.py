"""(A + λI)⁻¹ as an operator: CG, MINRES or LSMR for every right-hand side, with Kronecker factors as preconditioner."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from optim.base import NumericalWarning
from optim.curvature.solvers import lsmr, minres
from optim.hyper import COUNT, Number, OneOf, Rule, checked
from optim.parts.cg import InverseP, pcg, precondition
from optim.problem.vectors import dot
from rmad.extend import Array, SymmetricOperator

__all__ = ["SOLVERS", "Inverse"]

SOLVERS = ("cg", "minres", "lsmr")
HYPER: dict[str, Rule] = {
    "damping": Number(at_least=0.0),
    "method": OneOf((*SOLVERS, "kfac", "ekfac")),
    "rtol": Number(above=0.0, below=1.0),
    "iterations": COUNT,
}


class Inverse(SymmetricOperator):
    """(A + λI)⁻¹, (p, p): every product is a run of an iterative solver from zero.

    `CurvatureOperator.inverse` makes it. `iterations` and `residual` are those of the last product.

    Parameters
    ----------
    A : SymmetricOperator
        The matrix.
    name : str
        Its name in messages.
    example : (p,) array
        A vector such as it takes.
    damping : float
        λ ≥ 0.
    method : {"cg", "minres", "lsmr"}
        The solver.
    rtol : float
        Bound of the relative residual.
    most : int
        The most iterations; a NumericalWarning says that they did not do.
    inverse_P : InverseP
        P⁻¹, as `optim.pcg` takes it; positive definite.
    report : callable
        report(iteration) is called as the solver goes on.
    """

    def __init__(
        self,
        A: SymmetricOperator,
        name: str,
        example: Array,
        damping: float,
        method: str,
        rtol: float,
        most: int,
        inverse_P: InverseP,
        report: Callable[[int], object],
    ) -> None:
        self._A, self._name, self._report = A, name, report
        self.damping, self.method, self.rtol, self.most = damping, method, rtol, most
        self._inverse_P = inverse_P
        self.iterations, self.residual = 0, math.nan
        super().__init__(example)

    def _damped(self, v: Array) -> Array:
        self._report(self._seen)
        self._seen += 1
        return self._A.matvec(v) + v.dtype.type(self.damping) * v

    def _preconditioned(self, r: Array) -> Array:
        out = np.empty_like(r)
        precondition(self._inverse_P, r, out)
        return out

    def _apply(self, b: Array) -> Array:
        self._seen = 0
        if not dot(b, b):
            self.iterations, self.residual = 0, 0.0
            return np.zeros_like(b)
        if self.method == "cg":
            return self._by_cg(b)
        return self._refined(b)

    def _refined(self, b: Array) -> Array:
        """By MINRES or LSMR, again for what is left of b: they end by other norms than that of the residual."""
        P = None if self._inverse_P is None else self._preconditioned
        x, r, iterations, residual, size = np.zeros_like(b), b, 0, 1.0, math.sqrt(dot(b, b))
        while residual > self.rtol and iterations < self.most:
            most, before, rtol = self.most - iterations, residual, min(self.rtol / residual, 0.1)
            try:
                if self.method == "minres":
                    step, taken = minres(self._damped, r, P, rtol, most)
                else:
                    step, taken = lsmr(self._damped, r, rtol, most)
                new = x + step
                r = b - self._damped(new)
            except FloatingPointError as error:
                raise ValueError(f"{self._name}.inverse: {error}") from None
            iterations += taken
            residual = math.sqrt(dot(r, r)) / size
            if not residual < before:
                residual = before
                break
            x = new
            if residual > 0.99 * before:
                break
        self._ended(iterations, residual)
        return x

    def _by_cg(self, b: Array) -> Array:
        def product(v: Array, out: Array) -> None:
            out[...] = self._damped(v)

        def stop(i: int, phi: float, r: Array) -> str | None:
            self.residual = math.sqrt(dot(r, r)) / size
            return "residual" if i and self.residual <= self.rtol else None

        size = math.sqrt(dot(b, b))
        run = pcg(product, b, inverse_P=self._inverse_P, iterations=self.most, stop=stop, keep=False)
        if not run.finite:
            raise ValueError(f"{self._name}.inverse: {run.reason}")
        if run.reason.startswith("negative curvature"):
            raise np.linalg.LinAlgError(
                f"{self._name}.inverse: the matrix + {self.damping:g} I is not positive definite ({run.reason}), as CG "
                'needs it to be; pass a larger damping or method="minres"'
                + (", or take the GGN, which has no negative eigenvalues" if self._name == "hessian" else "")
            )
        self._ended(run.iterations, 0.0 if run.reason == "solved" else self.residual)
        return run.x

    def _ended(self, iterations: int, residual: float) -> None:
        self.iterations, self.residual = iterations, residual
        if residual > self.rtol:
            warnings.warn(
                f"{self._name}.inverse: {self.method} stopped after {iterations} iterations at a relative residual of "
                f"{residual:.2g}, above rtol = {self.rtol:g}: raise `iterations` or `damping`",
                NumericalWarning,
                stacklevel=2,
            )


def settings(**given: Any) -> dict[str, Any]:
    """The checked hyper-parameters of an inverse."""
    return checked(HYPER, given)
