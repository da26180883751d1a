"""The four families of primitives. The author writes the maths; the engine derives push and pull.

    elementwise(f, ∂f/∂x₀, …)         y = f(x₀, …)      push d·v,        pull d̄·u, un-broadcast
    linear(f, transpose)              y = f(x)          push f(v),       pull transpose(u)
    bilinear(f, transpose₀, transpose₁)  y = f(A, B)    push f(v, B), …  pull the transposes
    primitive(f, rule)                anything else     one (push, pull) pair per argument

Rules are plain NumPy calls on whatever array they get, so that they run on NumPy, on CuPy and on traced arrays of
an outer tape. They never write into an array and know nothing of tracking, zeros or devices. The engine alone decides
which arguments carry a tangent, and handles broadcasting and its transpose, complex conjugation and dtypes.

Complex arrays count as pairs of reals, ⟨u, v⟩ = Re uᴴv. The *transposes* of the linear and bilinear families are plain
transposes; the engine conjugates, Jᴴu = conj(Jᵀ conj(u)). The pull of an explicit rule is the adjoint as written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from rmad.tapes.blocks import MINUS_ONE, ONE, Block, Diagonal, Explicit, Linear
from rmad.tapes.captured import Captured
from rmad.tapes.tape import ArraySpec, Node, Tape
from rmad.tracing.dispatch import PRIMITIVES, Primitive
from rmad.tracing.handlers import register
from rmad.tracing.quick import Quick, as_array, is_one_of, no_wider
from rmad.tracing.traced import Traced, stop

__all__ = ["PRIMITIVES", "Block", "Primitive", "as_array", "bilinear", "constant", "elementwise", "linear", "primitive"]


class Elementwise(Quick):
    """y = f(x₀, x₁, …), broadcast. `derivatives`: (y, x₀, x₁, …) → ∂f/∂x_k, or ±1, or None, per argument.

    `forward`, for functions of one argument: x → (f(x), f′(x)) in one pass, or None if x does not suit it.
    """

    def linearized(
        self, argnums: Sequence[int], args: Sequence[Any], kwargs: dict[str, Any], tape: Tape
    ) -> tuple[Any, Any]:
        both = None if self.forward is None or kwargs or len(args) != 1 else self.forward(args[0])
        if both is not None:
            spec = ArraySpec.of(both[0])
            return both[0], [Diagonal(self, 0, spec, spec, both[1])]
        y = self(*args, **kwargs)
        args = [np.asarray(a) if isinstance(a, (list, tuple)) else a for a in args]
        return y, self._diagonals(argnums, y, args, kwargs, tape.captured)

    def _diagonals(
        self,
        argnums: Sequence[int],
        y: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        captured: Captured,
    ) -> Sequence[Block]:
        """diag(∂y/∂args[k]) for k in argnums."""
        spec, blocks = ArraySpec.of(y), []
        constants = [a for k, a in enumerate(args) if k not in argnums and isinstance(a, np.ndarray)]
        for k in argnums:
            d = self.derivatives[k] if k < len(self.derivatives) else None
            if d is not ONE and d is not MINUS_ONE:
                if d is None:
                    raise self._missing(k)
                d = no_wider(d(y, *args, **kwargs), spec.dtype)
                if constants and is_one_of(constants, d):
                    d = captured.array(d, self.name, own=True)
            blocks.append(Diagonal(self, k, ArraySpec.of(args[k]), spec, d))
        return blocks


class LinearPrimitive(Primitive):
    """y = f(x, …) or f(A, B), linear in each. `transposes`: (u, *args) → Jᵀu, per argument.

    on_stack: (k, block) → the args and kwargs with which f, and its transpose, take k arrays x as one, (k, *x.shape),
    and return (k, *y.shape); None if they cannot, then k vectors are pushed or pulled one by one.
    """

    holds_arguments = True
    block: type[Linear] = Linear
    on_stack: Callable[[int, Any], tuple[Sequence[Any], dict[str, Any]] | None] | None = None

    def __init__(
        self, f: Callable[..., Any], transposes: Sequence[Callable[..., Any] | None], name: str | None
    ) -> None:
        super().__init__(f, name)
        self.transposes = transposes

    def quick(self, x: Any, *rest: Any) -> Any:
        """self(x, *rest) for an array x and further arguments that are no arrays; in one go on a single tape."""
        if type(x) is not Traced or x.tape.nested:
            return self(x, *rest)
        tape, i, value = x.tape, x.index, x.value
        y = self.f(value, *rest)
        spec = ArraySpec.of(y)
        if spec.dtype.kind not in "fc":
            return self(x, *rest)
        block = self.block(self, 0, tape.nodes[i].spec, spec, self.transposes[0], (value, *rest), {})  # type: ignore[arg-type]
        return Traced(y, tape, tape.append(Node(self, (i,), (block,), spec)))

    def quick_product(self, A: Any, B: Any) -> Traced | None:
        """self(A, B) of a traced array and a plain one, recorded in one go; None for any other two operands."""
        k = 0 if type(A) is Traced else 1
        x, constant = (A, B) if k == 0 else (B, A)
        if (
            type(x) is not Traced
            or type(constant) is not np.ndarray
            or x.tape.nested
            or constant.dtype.kind not in "fc"
        ):
            return None
        tape, i, value = x.tape, x.index, x.value
        y = self.f(value, constant) if k == 0 else self.f(constant, value)
        spec, kept = ArraySpec.of(y), tape.captured.array(constant, self.name, own=True)
        args = (value, kept) if k == 0 else (kept, value)
        block = self.block(self, k, tape.nodes[i].spec, spec, self.transposes[k], args, {})  # type: ignore[arg-type]
        return Traced(y, tape, tape.append(Node(self, (i,), (block,), spec)))

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        spec, blocks = ArraySpec.of(y), []
        for k in argnums:
            transpose = self.transposes[k] if k < len(self.transposes) else None
            if transpose is None:
                raise self._missing(k)
            blocks.append(self.block(self, k, ArraySpec.of(args[k]), spec, transpose, args, kwargs))
        return blocks


class ExplicitPrimitive(Primitive):
    """y = f(x₀, …) with `rule`: (y, x₀, …) → one pair (push, pull) per argument, or a row of pairs per output."""

    def __init__(self, f: Callable[..., Any], rule: Callable[..., Any], name: str | None) -> None:
        super().__init__(f, name)
        self.rule = rule

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        specs = {k: ArraySpec.of(args[k]) for k in argnums}
        pairs = self.rule(y, *args, **kwargs)
        if callable(pairs) or (pairs is None and not isinstance(y, tuple)):
            raise TypeError(
                f"{self.name}: the rule must return one pair (push, pull) per argument, as ((push, pull),) for one, "
                f"not a {type(pairs).__name__}"
            )
        if not isinstance(y, tuple):
            return self._one_output(specs, pairs, y)
        return [self._one_output(specs, row, y_k) for row, y_k in zip(pairs, y, strict=True)]

    def _one_output(self, specs: dict[int, ArraySpec], pairs: Any, y: Any) -> list[Block | None]:
        blocks: list[Block | None] = []
        for k, x in specs.items():
            if pairs is not None and k >= len(pairs):
                raise self._missing(k)
            pair = None if pairs is None else pairs[k]
            if pair is not None and not (isinstance(pair, tuple | list) and len(pair) == 2):
                raise TypeError(f"{self.name}: the rule must give a pair (push, pull) or None for argument {k}")
            blocks.append(None if pair is None else Explicit(self, k, x, ArraySpec.of(y), pair))
        return blocks


def elementwise(
    f: Callable[..., Any], *derivatives: Callable[..., Any] | int | None, name: str | None = None
) -> Elementwise:
    """y = f(x₀, x₁, …), broadcast: push d·v, pull conj(d)·u, d = ∂f/∂x_k = derivatives[k](y, x₀, x₁, …).

    Parameters
    ----------
    f : callable of arrays, holomorphic if it takes complex ones
    *derivatives : per argument a function (y, x₀, x₁, …) → ∂f/∂x_k, or 1, -1, or None (tracing it is then an error)
    name : str, of the primitive in messages and tables; default f's own

    Returns
    -------
    primitive : f with its rule; NumPy's and SciPy's functions also get the rule when called by their own name

    Raises
    ------
    TypeError
        A derivative is none of these.

    Examples
    --------
    >>> cube = elementwise(lambda x: x**3, lambda y, x: 3 * x**2, name="cube")
    >>> float(cube(2.0))
    8.0
    """
    for k, d in enumerate(derivatives):
        if not (callable(d) or d is None or d is ONE or d is MINUS_ONE):
            raise TypeError(f"elementwise: derivative {k} must be a function of (y, x…), 1, -1 or None, not {d!r}")
    return register(f, Elementwise(f, derivatives, name))


def linear(f: Callable[..., Any], transpose: Callable[..., Any], name: str | None = None) -> LinearPrimitive:
    """y = f(x, …) linear in x: push f(v, …), pull transpose(u, x, …).

    Parameters
    ----------
    f : callable; x is its first argument, further arguments and keywords pass through
    transpose : (u, x, …) → Jᵀu, in which x has shape and dtype only
    name : str, of the primitive in messages and tables; default f's own

    Returns
    -------
    primitive : f with its rule

    Examples
    --------
    >>> double = linear(lambda x: x + x, lambda u, x: u + u, name="double")
    """
    return register(f, LinearPrimitive(f, (transpose,), name))


def bilinear(
    f: Callable[..., Any],
    transpose0: Callable[..., Any],
    transpose1: Callable[..., Any],
    name: str | None = None,
) -> LinearPrimitive:
    """y = f(A, B) linear in A and in B: push f(v, B) + f(A, w), pull transpose0(u, A, B) and transpose1(u, A, B).

    Parameters
    ----------
    f : callable of two arrays
    transpose0, transpose1 : (u, A, B) → cotangent of A, of B; the engine sums over broadcast axes. Each sees its own
        operand as shape and dtype only
    name : str, of the primitive in messages and tables; default f's own

    Returns
    -------
    primitive : f with its rule

    Examples
    --------
    >>> outer = bilinear(np.outer, lambda u, a, b: u @ b, lambda u, a, b: a @ u, name="outer")
    """
    return register(f, LinearPrimitive(f, (transpose0, transpose1), name))


Rule = Callable[..., Any]


@overload
def primitive(f: Callable[..., Any], rule: Rule, name: str | None = None) -> ExplicitPrimitive: ...
@overload
def primitive(
    f: Callable[..., Any], rule: None = None, name: str | None = None
) -> Callable[[Rule], ExplicitPrimitive]: ...
def primitive(f: Callable[..., Any], rule: Rule | None = None, name: str | None = None) -> Any:
    """y = f(x₀, x₁, …): rule(y, x₀, x₁, …) returns a pair (push, pull) per argument, J_k v and J_kᵀ u.

    Parameters
    ----------
    f : callable; if it returns a tuple, every output becomes a node
    rule : (y, x₀, x₁, …) → ((push, pull), …), one pair per argument, None for a zero block; with several outputs one
        row of pairs per output, None for an output without derivative. Left out: a decorator of the rule
    name : str, of the primitive in messages and tables; default f's own

    Returns
    -------
    primitive : f with its rule, or the decorator

    Examples
    --------
    >>> @primitive(lambda x: x @ x, name="square_norm")
    ... def square_norm(y, x):
    ...     return ((lambda v: 2 * (x @ v), lambda u: 2 * u * x),)
    >>> square_norm
    <explicitprimitive primitive square_norm>
    """
    if rule is None:
        return lambda rule: primitive(f, rule, name or rule.__name__)
    return register(f, ExplicitPrimitive(f, rule, name))


def constant(f: Callable[..., Any]) -> Callable[..., Any]:
    """∂f/∂x = 0: registers f as piecewise constant, as comparisons, sign and argmax are.

    Parameters
    ----------
    f : callable of arrays, a function of NumPy or SciPy or one's own

    Returns
    -------
    f : callable, which takes the values of traced arrays and returns plain ones
    """

    def apply(*args: Any, **kwargs: Any) -> Any:
        return f(*stop(list(args)), **stop(kwargs))

    apply.__name__ = getattr(f, "__name__", repr(f))
    apply.constant = True  # type: ignore[attr-defined]
    return register(f, apply)
