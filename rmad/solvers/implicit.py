"""Solutions of equations, by the implicit function theorem: z = solve(a) with g(z, a) = 0, whoever solved.

    Jv    = −(∂g/∂z)⁻¹ (∂g/∂a) v
    Jᵀu   = −(∂g/∂a)ᵀ (∂g/∂z)⁻ᵀ u

`rmad.solvers.corrections` puts it on the tape; all orders of derivatives share one factorization of ∂g/∂z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from rmad.as_written.swap import paused
from rmad.machine import arrays
from rmad.machine.turns import lazy
from rmad.solvers.closures import plain
from rmad.solvers.corrections import System, corrected
from rmad.solvers.systems import SolveLinear, of_matrix, system
from rmad.sparse import derivatives as sparse
from rmad.tracing.traced import Traced, stop
from rmad.trees.flat import Flat
from rmad.trees.tree import leaves, map_leaves
from rmad.types import Array

__all__ = ["implicit"]

Z = TypeVar("Z")
A = TypeVar("A")


def implicit(
    g: Callable[[Z, A], Any],
    solve: Callable[[A], Z],
    *,
    jac: Any = None,
    preconditioner: Callable[[Z, A], Any] | None = None,
    solve_linear: SolveLinear | None = None,
    tol: float = 1e-3,
) -> Callable[[A], Z]:
    """z(a) with g(z, a) = 0, differentiable in a: Jv = −(∂g/∂z)⁻¹ (∂g/∂a) v. A root, a fixed point or a minimum.

    `solve` may be any code, of any library; it sees plain values. A fixed point z = h(z, a) is g = z − h(z, a), a
    minimum of f is g = ∇f: `lambda z, a: rmad.grad(f)(z, a)`.

    The matrix ∂g/∂z is formed and factored once, at the first product; if it has more than 2000 rows, GMRES solves with
    products instead, unless `jac` says that the matrix is sparse. Complex numbers count as pairs of reals.

    Parameters
    ----------
    g : callable (z, a) → tree with as many numbers as z
        What vanishes at the solution. It may close over traced arrays: z is differentiable in these too.
    solve : callable a → z, a tree of float arrays
        Finds the solution for plain arrays.
    jac : "sparse", or callable (z, a) → sparse or dense matrix, default None
        "sparse": ∂g/∂z by `rmad.sparse_jacobian`, and a sparse LU. A function returns ∂g/∂z at plain arrays, (n, n), in
        the order of `rmad.ravel(z, pairs=True)`: `rmad.sparse_jacobian(g)`, made once, keeps the pattern over calls.
    preconditioner : callable (z, a) → M, default None
        About the inverse of ∂g/∂z, a matrix or LinearOperator, for GMRES; also its transpose is used.
    solve_linear : callable (A, b) → x, default None
        Solves A x = b for (n,) arrays of reals; A is the LinearOperator ∂g/∂z, or its transpose, in the order of
        `rmad.ravel(z, pairs=True)`.
    tol : float, default 1e-3
        Error if a step of Newton's method from z is longer than tol (‖z‖ + 1e-3): then `solve` did not converge.

    Returns
    -------
    solution : callable a → z
        a: any tree. Its value is that of `solve`.

    Raises
    ------
    LinAlgError
        At a product: ∂g/∂z is singular.
    ValueError
        When called: `solve` returned a traced array, or the result of g does not fit z, or is not finite; or more than
        one of `jac`, `preconditioner` and `solve_linear` is given. At a product: `solve` did not converge, or `jac`
        returned a matrix of another shape.

    References
    ----------
    Blondel et al. (2022), "Efficient and modular implicit differentiation", section 2.

    Examples
    --------
    >>> from scipy import optimize
    >>> g = lambda z, a: z**3 + z - a
    >>> root = implicit(g, lambda a: optimize.brentq(g, -10, 10, args=(a,), xtol=1e-14))
    >>> root(2.0)
    1.0
    >>> float(rmad.grad(root)(2.0))  # 1 / (3z² + 1)
    0.25
    >>> float(rmad.hessian(root)(2.0))  # −6z / (3z² + 1)³
    -0.09375
    """
    given = {"jac": jac, "preconditioner": preconditioner, "solve_linear": solve_linear}
    if len(named := [name for name, value in given.items() if value is not None]) > 1:
        raise ValueError(f"implicit(g, solve): {' and '.join(named)} exclude each other")
    if not (jac is None or callable(jac) or (isinstance(jac, str) and jac == "sparse")):
        raise ValueError(f'implicit(g, solve): jac must be "sparse" or a function (z, a) → matrix, not {jac!r}')
    linear = Linear(jac, preconditioner, solve_linear)

    def solution(a: Any) -> Any:
        with paused():
            z = plain(solve)(plain(a))
        equation = Equation(g, z, a, linear, tol)
        flat = corrected(equation.z, equation.rest, equation)
        if flat is equation.z:
            return z
        equation.check_plain()
        return map_leaves(lambda leaf: leaf if np.ndim(leaf) else leaf[()], equation.space.unravel(flat))

    return solution


class Linear:
    """How the linear systems are solved; one for all calls, so that a pattern is found once."""

    def __init__(self, jac: Any, preconditioner: Any, solve_linear: SolveLinear | None) -> None:
        self._jac, self._preconditioner, self._solve_linear = jac, preconditioner, solve_linear
        self._sparse = sparse.sparse_jacobian(lambda z, g: g(z)) if isinstance(jac, str) else None

    def system(self, g: Callable[[Array], Array], flat: Array, z: Any, a: Any) -> System:
        """The systems with ∂g/∂z at z, which is `flat` as a vector; everything is plain."""
        what = "implicit(g, solve): ∂g/∂z"
        if self._sparse is not None:
            return of_matrix(self._sparse(flat, g), flat.size, what)
        if self._jac is not None:
            return of_matrix(plain(self._jac)(z, a), flat.size, what)
        M = None if self._preconditioner is None else plain(self._preconditioner)(z, a)
        return system(g, flat, what, self._solve_linear, M)


class Equation:
    """g(z, a) = 0 in flat vectors of reals, solved at z; also the linear systems with ∂g/∂z there.

    space: that of z.
    """

    def __init__(self, g: Any, z: Any, a: Any, linear: Linear, tol: float) -> None:
        if any(isinstance(leaf, Traced) for _, leaf in leaves(z)):
            raise ValueError("implicit(g, solve): solve returned a traced array; pass what is traced to it in a")
        self._g, self._a, self._linear, self._tol = g, a, linear, tol
        self._plain_g, self._plain_a = plain(g), plain(a)
        self.space = Flat(z, pairs=True)
        self.z = self.space.ravel(z)

    def rest(self, z: Array) -> Array:
        """g(z, a), checked."""
        rest = _flat(self._g(self.space.unravel(z), self._a))
        if rest.size != self.z.size:
            raise ValueError(f"implicit(g, solve): g returned {rest.size} numbers for {self.z.size} in z")
        if not np.all(np.isfinite(stop(rest))):
            raise ValueError("implicit(g, solve): g(z, a) is not finite at the z that solve returned")
        return rest

    def _plain_rest(self, z: Array) -> Array:
        """g at plain a; to be called while no recording is going on, or by one of its own."""
        return _flat(self._plain_g(self.space.unravel(z), self._plain_a))

    def check_plain(self) -> None:
        """ValueError if g is traced by what it closes over and `plain` did not find: a product could not call it."""
        with paused():
            rest = self._plain_rest(self.z)
        if isinstance(rest, Traced):
            raise ValueError(
                "implicit(g, solve): g takes a traced array from a global variable; pass it as a part of a"
            )

    def solve(self, b: Array, transposed: bool) -> Array:
        return self._system.solve(b, transposed)

    @lazy
    def _system(self) -> System:
        """The systems at the first product, which need ∂g/∂z; ValueError if `solve` did not converge."""
        with paused():
            rest = self._plain_rest(self.z)
            z = self.space.unravel(self.z)
            found = self._linear.system(self._plain_rest, self.z, z, self._plain_a)
        step, size = float(np.linalg.norm(found.solve(rest[None], False))), float(np.linalg.norm(self.z))
        if not step <= self._tol * (size + 1e-3):
            raise ValueError(
                f"implicit(g, solve): solve did not converge. At its z, of length {size:.3g}, a step of Newton's "
                f"method has length {step:.3g}, and g(z, a) has elements up to {arrays.largest(rest):.3g}"
            )
        return found


def _flat(tree: Any) -> Array:
    return Flat(tree, pairs=True).ravel(tree)
