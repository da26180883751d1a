"""A solution on the tape: one step of Newton's method from it, whose value is zero and whose derivative is not.

    z ← z − J⁻¹ g(z, …),   J = ∂g/∂z as plain numbers

At a solution g vanishes, so the step changes no value. Its derivative, −J⁻¹ ∂g, is that of the solution by the implicit
function theorem. With J fixed, each further step makes one more order of derivatives right: the error e, a polynomial
in the nested tangents, becomes (1 − J⁻¹ ∂g/∂z) e + O(e²), one degree higher. Derivatives of g are what its own tape
gives; nothing here depends on where the traced arrays in it come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rmad.machine import arrays
from rmad.primitives.arguments import stacked
from rmad.rules import Primitive, linear
from rmad.tapes.blocks import Block
from rmad.tapes.tape import ArraySpec
from rmad.tracing.traced import Traced
from rmad.types import Array

__all__ = ["System", "corrected", "depth"]


class System(Protocol):
    """J x = b or, transposed, Jᵀ x = b, with one real J, for a stack of right-hand sides, (k, *shape of x)."""

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


def _solution(b: Array, system: System, transposed: bool, stacked: bool) -> Array:
    return system.solve(b, transposed) if stacked else system.solve(b[None], transposed)[0]


_solved: Any = linear(
    _solution,
    lambda u, b, system, transposed, stacked: _solved(u, system, not transposed, stacked),
    name="solved_system",
)
_solved.on_stack = lambda k, block: stacked(k, block, *block.args[1:3], True)


class Inverse(Block):
    """J⁻¹. Not a linear block, which a plan would try out, at the price of a solution."""

    __slots__ = ("system",)

    def __init__(self, primitive: Primitive, rest: ArraySpec, system: System) -> None:
        super().__init__(primitive, 0, rest, rest)
        self.system = system

    def push(self, v: Array) -> Array:
        return _solved(v, self.system, False, False)

    def pull(self, u: Array) -> Array:
        return _solved(u, self.system, True, False)

    def push_stack(self, V: Array) -> Array:
        return _solved(V, self.system, False, True)

    def pull_stack(self, U: Array) -> Array:
        return _solved(U, self.system, True, True)


class Correction(Primitive):
    """J⁻¹ rest, at rest = 0, called with rest and the system."""

    captures = False

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return [Inverse(self, ArraySpec.of(args[0]), args[1])]


_correction = Correction(lambda rest, system: arrays.zeros(rest, rest.shape, rest.dtype), name="correction")
