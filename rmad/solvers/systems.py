"""Linear systems J x = b and Jᵀ x = b with one Jacobian of plain arrays and many right-hand sides.

    Dense       J formed once, its rows and columns scaled, LU
    Sparse      the same for a sparse J
    Iterative   GMRES on products with J
    Given       the user's own solver of A x = b, A an operator

All are refused, by one LinAlgError, where J is singular.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine.backend import is_cupy
from rmad.operators.operators import JacobianOperator
from rmad.solvers.corrections import System
from rmad.transforms.dense import jacobian
from rmad.types import Array

__all__ = ["SolveLinear", "SparseLU", "of_matrix", "system"]

SolveLinear = Callable[[Any, Array], Array]


def system(
    g: Callable[[Array], Array], z: Array, what: str, solve_linear: SolveLinear | None, preconditioner: Any = None
) -> System:
    """The linear systems with J = ∂g/∂z at z, (n,) → (n,), solved in the way that suits their size.

    what: names J in messages.
    """
    if solve_linear is not None:
        return Given(JacobianOperator(g, z), what, solve_linear)
    if preconditioner is not None:
        return Iterative(JacobianOperator(g, z), what, preconditioner)
    if is_cupy(z):
        return DenseOnGPU(jacobian(g)(z), what)
    if z.size > tuning.DENSE_SYSTEM_MOST:
        return Iterative(JacobianOperator(g, z), what)
    return Dense(jacobian(g)(z), what)


def of_matrix(J: Any, n: int, what: str) -> System:
    """The systems with a matrix J that somebody has formed, (n, n), sparse or dense."""
    if np.shape(J) != (n, n):
        raise ValueError(f"jac must return a matrix of shape {(n, n)}, got {np.shape(J)}")
    return Sparse(J, what) if hasattr(J, "tocsc") else Dense(np.asarray(J), what)


def _singular(what: str, why: str) -> np.linalg.LinAlgError:
    return np.linalg.LinAlgError(f"{what} is singular{why}")


class Dense:
    """LU of R J C, R and C diagonal: unknowns or equations in small units do not make a matrix singular."""

    def __init__(self, J: Array, what: str) -> None:
        from scipy.linalg import lapack

        if not np.all(np.isfinite(J)):
            raise _singular(what, ": it has elements that are not finite")
        self.R = _inverse_scale(np.max(np.abs(J), axis=1), what, "a row")
        J = self.R[:, None] * J
        self.C = _inverse_scale(np.max(np.abs(J), axis=0), what, "a column")
        J = J * self.C
        getrf, getrs, gecon = lapack.get_lapack_funcs(("getrf", "getrs", "gecon"), (J,))
        self.lu, self.pivots, _ = getrf(J)
        self.getrs = getrs
        reciprocal, _ = gecon(self.lu, np.linalg.norm(J, 1))
        if not reciprocal >= np.finfo(J.dtype).eps:
            raise _singular(what, f": its reciprocal condition number is {reciprocal:.1g}")

    def solve(self, b: Array, transposed: bool) -> Array:
        R, C = (self.C, self.R) if transposed else (self.R, self.C)
        x, _ = self.getrs(self.lu, self.pivots, (R * b).T, trans=int(transposed))
        return C * x.T


def _inverse_scale(largest: Array, what: str, line: str) -> Array:
    """One over a power of two near the largest element of each row or column."""
    if not np.all(largest > 0):
        raise _singular(what, f": {line} of it is zero")
    return np.ldexp(np.ones_like(largest), -np.frexp(largest)[1])


class DenseOnGPU:
    """J itself; each system is factored by the GPU's solver."""

    def __init__(self, J: Array, what: str) -> None:
        self.J, self.what = J, what

    def solve(self, b: Array, transposed: bool) -> Array:
        x = np.linalg.solve(self.J.T if transposed else self.J, b.T).T
        if not np.all(np.isfinite(x)):  # where NumPy raises
            raise _singular(self.what, ": a solution is not finite")
        return x


class SparseLU:
    """LU of a sparse real matrix; right-hand sides (k, n, …), real or complex."""

    def __init__(self, J: Any, what: str) -> None:
        from scipy.sparse import csc_array
        from scipy.sparse.linalg import splu

        J = csc_array(J)
        if not np.all(np.isfinite(J.data)):
            raise _singular(what, ": it has elements that are not finite")
        try:
            self.lu = splu(J)
        except RuntimeError as error:
            raise _singular(what, f": {error}") from None
        self.what = what

    def solve(self, b: Array, transposed: bool) -> Array:
        columns = np.reshape(np.moveaxis(b, 1, 0), (b.shape[1], -1))
        if columns.dtype.kind == "c":
            x = self._solved(columns.real, transposed) + 1j * self._solved(columns.imag, transposed)
        else:
            x = self._solved(columns, transposed)
        return np.moveaxis(np.reshape(x, (b.shape[1], b.shape[0], *b.shape[2:])), 0, 1)

    def _solved(self, columns: Array, transposed: bool) -> Array:
        x = self.lu.solve(np.ascontiguousarray(columns), "T" if transposed else "N")
        if not np.all(np.isfinite(x)):
            raise _singular(self.what, ": a solution is not finite")
        return x


class Sparse:
    """LU of R J C for a sparse J, R and C diagonal, as `Dense`; its condition number is estimated."""

    def __init__(self, J: Any, what: str) -> None:
        from scipy.sparse import csc_array, diags_array
        from scipy.sparse.linalg import LinearOperator, onenormest

        J = csc_array(J)
        if not np.all(np.isfinite(J.data)):
            raise _singular(what, ": it has elements that are not finite")
        self.R = _inverse_scale(np.asarray(abs(J).max(axis=1).todense()).ravel(), what, "a row")
        J = diags_array(self.R) @ J
        self.C = _inverse_scale(np.asarray(abs(J).max(axis=0).todense()).ravel(), what, "a column")
        J = csc_array(J @ diags_array(self.C))
        self.lu = lu = SparseLU(J, what)
        one = [lambda v, t=t: lu.solve(np.reshape(v, (1, -1)), t)[0] for t in (False, True)]
        inverse = onenormest(LinearOperator(J.shape, matvec=one[0], rmatvec=one[1], dtype=J.dtype))
        reciprocal = 1 / (inverse * float(abs(J).sum(axis=0).max()))
        if not reciprocal >= np.finfo(J.dtype).eps:
            raise _singular(what, f": its reciprocal condition number is about {reciprocal:.1g}")

    def solve(self, b: Array, transposed: bool) -> Array:
        R, C = (self.C, self.R) if transposed else (self.R, self.C)
        return C * self.lu.solve(R * b, transposed)


class Iterative:
    """GMRES on products with J and Jᵀ; M: about J⁻¹, a matrix or a LinearOperator."""

    def __init__(self, A: Any, what: str, M: Any = None) -> None:
        self.A, self.what, self.M = A, what, M
        if M is not None and np.shape(M) != A.shape:
            raise ValueError(f"preconditioner must return a matrix of shape {A.shape}, got {np.shape(M)}")

    def solve(self, b: Array, transposed: bool) -> Array:
        A, M = self.A, self.M
        if transposed:
            A, M = A.T, None if M is None else M.T
        return np.stack([self._one(A, M, b_k) for b_k in b])

    def _one(self, A: Any, M: Any, b: Array) -> Array:
        from scipy.sparse.linalg import gmres

        scale = float(np.linalg.norm(b))
        rtol = float(np.finfo(b.dtype).eps) ** 0.75
        restart = min(b.size, tuning.GMRES_RESTART)
        x, _ = gmres(A, b, M=M, rtol=rtol, atol=0.0, restart=restart, maxiter=20)
        x = x.astype(b.dtype)
        residual = float(np.linalg.norm(A @ x - b))
        if not residual <= 100 * rtol * scale:  # its own estimate may have lost digits
            raise _singular(
                self.what,
                f" or too ill-conditioned for GMRES, which left {residual / scale:.1g} of a right-hand side after "
                f'{20 * restart} products; jac="sparse", a preconditioner, or solve_linear=(A, b) → x can do better',
            )
        return x


class Given:
    """solve_linear(A, b), A a LinearOperator: J, or its transpose."""

    def __init__(self, A: Any, what: str, solve_linear: SolveLinear) -> None:
        self.A, self.what, self.solve_linear = A, what, solve_linear

    def solve(self, b: Array, transposed: bool) -> Array:
        A = self.A.T if transposed else self.A
        return np.stack([self._one(A, b_k) for b_k in b])

    def _one(self, A: Any, b: Array) -> Array:
        x = self.solve_linear(A, b)
        if np.shape(x) != b.shape:
            raise ValueError(f"solve_linear(A, b) must return x of shape {b.shape}, got {np.shape(x)}")
        if not np.all(np.isfinite(x)):
            raise _singular(self.what, ": solve_linear returned numbers that are not finite")
        return x
