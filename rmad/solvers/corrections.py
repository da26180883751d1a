"""A solution on the tape: one step of Newton's method from it, whose value is zero and whose derivative is not.

    z ← z − J⁻¹ g(z, …),   J = ∂g/∂z as plain numbers

At a solution g vanishes, so the step changes no value. Its derivative, −J⁻¹ ∂g, is that of the solution by the implicit
function theorem. With J fixed, each further step makes one more order of derivatives right: the error e, a polynomial
in the nested tangents, becomes (1 − J⁻¹ ∂g/∂z) e + O(e²), one degree higher. Derivatives of g are what its own tape
gives; nothing here depends on where the traced arrays in it come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rmad.machine import arrays
from rmad.rules import linear, primitive
from rmad.traced import Traced
from rmad.types import Array

__all__ = ["System", "corrected", "depth"]


class System(Protocol):
    """J x = b or, transposed, Jᵀ x = b, with one real J."""

    def solve(self, b: Array, transposed: bool) -> Array: ...


def corrected(z: Array, g: Callable[[Array], Any], system: System) -> Any:
    """z with g(z) = 0 as a function of all traced arrays in g; J x = b is solved by the system at z."""
    rest = g(z)
    steps, solution = depth(rest), z
    for step in range(steps):
        if step:
            rest = g(solution)
        solution = solution - _correction(rest, system)
    return solution


def depth(x: Any) -> int:
    """The number of tapes that trace an array, one within the other."""
    found = 0
    while isinstance(x, Traced):
        x, found = x.value, found + 1
    return found


_solved: Any = linear(
    lambda b, system, transposed: system.solve(b, transposed),
    lambda u, b, system, transposed: _solved(u, system, not transposed),
    name="solved_system",
)


@primitive(lambda rest, system: arrays.zeros(rest, rest.shape, rest.dtype), name="correction")
def _correction(y: Array, rest: Array, system: System) -> Any:
    """J⁻¹ rest, at rest = 0."""
    return ((lambda v: _solved(v, system, False), lambda u: _solved(u, system, True)),)
