"""Solutions of equations, by the implicit function theorem: z = solve(a) with g(z, a) = 0, whoever solved.

    Jv    = −(∂g/∂z)⁻¹ (∂g/∂a) v
    Jᵀu   = −(∂g/∂a)ᵀ (∂g/∂z)⁻ᵀ u

One node for the solution. Its rule calls a second primitive, x = M⁻¹ b with M = ∂g/∂z or its transpose as a function of
z, a and b, whose rule calls itself: dx = M⁻¹ (db − dM x). So derivatives nest to any order, and all of them share one
factorization, because the values of z and a are the same at every level.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from rmad.flat import Flat
from rmad.rules import primitive
from rmad.solvers.systems import SolveLinear, System, system
from rmad.traced import Traced
from rmad.transforms import jvp, linearize, stop_gradient, vjp
from rmad.tree import leaves, map_leaves
from rmad.types import Array

__all__ = ["implicit"]

T = TypeVar("T")
Z = TypeVar("Z")
A = TypeVar("A")


def implicit(
    g: Callable[[Z, A], Any],
    solve: Callable[[A], Z],
    *,
    solve_linear: SolveLinear | None = None,
    tol: float = 1e-3,
) -> Callable[[A], Z]:
    """z(a) with g(z, a) = 0, differentiable in a: Jv = −(∂g/∂z)⁻¹ (∂g/∂a) v. A root, a fixed point or a minimum.

    `solve` may be any code, of any library; it sees plain values. A fixed point z = h(z, a) is g = z − h(z, a), a
    minimum of f is g = ∇f: `lambda z, a: rmad.grad(f)(z, a)`.

    The matrix ∂g/∂z is formed and factored once, at the first product; if it has more than 2000 rows, GMRES solves with
    products instead. Complex numbers count as pairs of reals.

    Parameters
    ----------
    g : callable (z, a) → tree with as many numbers as z
        What vanishes at the solution. It must take every traced array as an argument, in a.
    solve : callable a → z, a tree of float arrays
        Finds the solution for plain arrays.
    solve_linear : callable (A, b) → x, default None
        Solves A x = b for (n,) arrays of reals; A is the LinearOperator ∂g/∂z, or its transpose, in the order of
        `rmad.ravel(z, pairs=True)`.
    tol : float, default 1e-3
        Error if a step of Newton's method from z is longer than tol (‖z‖ + 1e-3): then `solve` did not converge.

    Returns
    -------
    solution : callable a → z
        a: any tree. Called with plain arrays it is `solve`.

    Raises
    ------
    LinAlgError
        At a product: ∂g/∂z is singular.
    ValueError
        When called: g closes over a traced array, or its result does not fit z, or is not finite. At a product: `solve`
        did not converge.

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

    def solution(a: Any) -> Any:
        values = stop_gradient(a)
        z = solve(values)
        if not any(isinstance(leaf, Traced) for _, leaf in leaves(a)):
            return z
        equation = Equation(g, z, values, solve_linear, tol)
        flat = _solution(equation.of_a.ravel(a), equation)
        return map_leaves(lambda leaf: leaf if np.ndim(leaf) else leaf[()], equation.of_z.unravel(flat))

    return solution


class Equation:
    """g(z, a) = 0 in flat vectors of reals, solved at the plain values z and a.

    of_z, of_a: both spaces. z, a: the values.
    """

    def __init__(self, g: Any, z: Any, a: Any, solve_linear: SolveLinear | None, tol: float) -> None:
        if any(isinstance(leaf, Traced) for _, leaf in leaves(z)):
            raise ValueError("implicit(g, solve): solve closes over a traced array; pass it as a part of a")
        self._g, self._solve_linear, self._tol = g, solve_linear, tol
        self.of_z, self.of_a = Flat(z, pairs=True), Flat(a, pairs=True)
        self.z, self.a = self.of_z.ravel(z), self.of_a.ravel(a)
        rest = g(z, a)
        if any(isinstance(leaf, Traced) for _, leaf in leaves(rest)):
            raise ValueError("implicit(g, solve): g closes over a traced array; pass it as a part of a")
        self.rest = Flat(rest, pairs=True).ravel(rest)
        if self.rest.size != self.z.size:
            raise ValueError(f"implicit(g, solve): g returned {self.rest.size} numbers for {self.z.size} in z")
        if not np.all(np.isfinite(self.rest)):
            raise ValueError("implicit(g, solve): g(z, a) is not finite at the z that solve returned")

    def g(self, z: Array, a: Array) -> Array:
        rest = self._g(self.of_z.unravel(z), self.of_a.unravel(a))
        return Flat(rest, pairs=True).ravel(rest)

    @cached_property
    def system(self) -> System:
        """The linear systems with ∂g/∂z; ValueError if `solve` did not converge."""
        found = system(lambda z: self.g(z, self.a), self.z, "implicit(g, solve): ∂g/∂z", self._solve_linear)
        step = float(np.linalg.norm(found.solve(self.rest, False)))
        size = float(np.linalg.norm(self.z))
        if not step <= self._tol * (size + 1e-3):
            raise ValueError(
                f"implicit(g, solve): solve did not converge. At its z, of length {size:.3g}, a step of Newton's "
                f"method has length {step:.3g}, and g(z, a) has elements up to {float(np.max(np.abs(self.rest))):.3g}"
            )
        return found


class Once(Generic[T]):
    """The result of a function that is called when it is first needed."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make

    @cached_property
    def value(self) -> T:
        return self._make()


@primitive(lambda a, equation: equation.z, name="implicit")
def _solution(z: Array, a: Array, equation: Equation) -> Any:
    """dz = −(∂g/∂z)⁻¹ (∂g/∂a) da."""
    J = Once(lambda: linearize(lambda a: equation.g(z, a), a)[1])
    return (
        (
            lambda v: -_solved(z, a, J.value.Jv(v), equation, False),
            lambda u: -J.value.JTu(_solved(z, a, u, equation, True)),
        ),
    )


@primitive(lambda z, a, b, equation, transposed: equation.system.solve(b, transposed), name="implicit_linear")
def _solved(x: Array, z: Array, a: Array, b: Array, equation: Equation, transposed: bool) -> Any:
    """M x = b with M = ∂g/∂z, or its transpose, at (z, a): dx = M⁻¹ (db − dM x)."""

    def product(z: Array, a: Array) -> Array:
        """M x at other z and a."""
        if transposed:
            return vjp(lambda z: equation.g(z, a), z)[1](x)
        return jvp(lambda z: equation.g(z, a), z, x)[1]

    def inverse(b: Array) -> Array:
        return _solved(z, a, b, equation, transposed)

    def adjoint(u: Array) -> Array:
        return _solved(z, a, u, equation, not transposed)

    of_z = Once(lambda: linearize(lambda z: product(z, a), z)[1])
    of_a = Once(lambda: linearize(lambda a: product(z, a), a)[1])
    return (
        (lambda v: -inverse(of_z.value.Jv(v)), lambda u: -of_z.value.JTu(adjoint(u))),  # z
        (lambda v: -inverse(of_a.value.Jv(v)), lambda u: -of_a.value.JTu(adjoint(u))),  # a
        (inverse, adjoint),  # b
    )
