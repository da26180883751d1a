"""The four families of primitives. The author writes the maths; the engine derives push and pull.

    elementwise(f, ∂f/∂x₀, …)         y = f(x₀, …)      push d·v,        pull d̄·u, un-broadcast
    linear(f, transpose)              y = f(x)          push f(v),       pull transpose(u)
    bilinear(f, transpose₀, transpose₁)  y = f(A, B)    push f(v, B), …  pull the transposes
    primitive(f, rule)                anything else     one (push, pull) pair per argument

Rules are written in plain NumPy calls on whatever array they get, so that they run on NumPy, on CuPy and on traced
arrays of an outer tape. They never write into an array and know nothing of tracking, zeros or devices. What the engine
adds, and nowhere else: which arguments carry a tangent, broadcasting and its transpose, complex conjugation, dtypes.

Complex arrays count as pairs of reals, ⟨u, v⟩ = Re uᴴv. The *transposes* of the linear and bilinear families are plain
transposes; the engine conjugates, Jᴴu = conj(Jᵀ conj(u)). The pull of an explicit rule is the adjoint as written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.tape import ArraySpec, Joint, Node, Tape
from rmad.traced import Traced, register

__all__ = ["PRIMITIVES", "Block", "Primitive", "bilinear", "constant", "elementwise", "linear", "primitive"]

ONE, MINUS_ONE = 1, -1  # CPython keeps small ints, so `is` tells a factor of one from an array

PRIMITIVES: list[Primitive] = []
"""Every primitive ever made, in the order of definition."""


def unbroadcast(u: Any, shape: tuple[int, ...]) -> Any:
    """Sums u over the axes along which an array of `shape` was broadcast: the transpose of broadcasting."""
    if u.shape == shape:
        return u
    extra = u.ndim - len(shape)
    stretched = [k + extra for k, n in enumerate(shape) if n == 1 and u.shape[k + extra] != 1]
    axes = (*range(extra), *stretched)
    if not stretched and isinstance(u, np.ndarray) and u.size and u.dtype.kind in "fc" and u.flags.c_contiguous:
        rows = np.reshape(u, (-1, int(np.prod(shape))))
        return np.reshape(np.ones(len(rows), u.dtype) @ rows, shape)  # a quarter of the time that np.sum takes
    return np.reshape(np.sum(u, axis=axes), shape) if axes else u


def _as_input(u: Any, spec: ArraySpec) -> Any:
    """A cotangent in the dtype of the input it belongs to: the real part of it, where that is real."""
    if u.dtype == spec.dtype:
        return u
    if u.dtype.kind == "c" and spec.dtype.kind != "c":
        u = np.real(u)
    return u.astype(spec.dtype)


def as_array(x: Any) -> Any:
    """Python numbers become NumPy scalars; everything else stays as it is."""
    return x if hasattr(x, "dtype") else np.asarray(x)[()]


def _no_wider(d: Any, dtype: np.dtype[Any]) -> Any:
    """d in a dtype that does not promote `dtype`: a Python number in a rule must not make float64 of float32."""
    return d if np.result_type(d.dtype, dtype) == dtype else d.astype(dtype)


class Block:
    """∂y/∂x for one argument x of one node: a linear map with its adjoint.

    primitive, argnum: which primitive's Jacobian, in which argument; `x`, `y` their shapes and dtypes.
    """

    __slots__ = ("argnum", "primitive", "x", "y")

    joint: Joint | None = None  # what sweeps all blocks of its node together, where that is cheaper than one by one

    def __init__(self, primitive: Primitive, argnum: int, x: ArraySpec, y: ArraySpec) -> None:
        self.primitive, self.argnum, self.x, self.y = primitive, argnum, x, y

    def push(self, v: Any) -> Any:
        """J v: tangent of x to its share of the tangent of y. May alias v."""
        raise NotImplementedError(f"{type(self).__name__}.push")

    def pull(self, u: Any) -> Any:
        """Jᵀ u: cotangent of y to its share of the cotangent of x. May alias u."""
        raise NotImplementedError(f"{type(self).__name__}.pull")

    def push_add(self, v: Any, total: Any, owned: bool) -> tuple[Any, bool]:
        """total + J v, and whether the engine made that array; total may be None (zero)."""
        term = self.push(v)
        if total is None:
            return term, False
        if not owned or isinstance(term, Traced):
            return total + term, True
        total += term
        return total, True

    def pull_add(self, u: Any, total: Any, owned: bool) -> tuple[Any, bool]:
        """total + Jᵀu, and whether the engine made that array; total may be None (zero)."""
        term = self.pull(u)
        if total is None:
            return term, False
        if not owned or isinstance(term, Traced):
            return total + term, True
        total += term
        return total, True


class Diagonal(Block):
    """y = f(x) elementwise, d = ∂f/∂x: push d v, pull conj(d) u. d = ±1 costs no multiplication."""

    __slots__ = ("d",)

    def __init__(self, primitive: Primitive, argnum: int, x: ArraySpec, y: ArraySpec, d: Any) -> None:
        super().__init__(primitive, argnum, x, y)
        self.d = d

    def push(self, v: Any) -> Any:
        d = self.d
        y = v if d is ONE else -v if d is MINUS_ONE else d * v
        if y.shape != self.y.shape:
            y = np.broadcast_to(y, self.y.shape)
        return y if y.dtype == self.y.dtype else y.astype(self.y.dtype)

    def pull(self, u: Any) -> Any:
        d = self.d
        if d is MINUS_ONE:
            u = -u
        elif d is not ONE:
            u = (np.conj(d) if d.dtype.kind == "c" else d) * u
        return _as_input(unbroadcast(u, self.x.shape), self.x)


class Linear(Block):
    """y linear in x, the other arguments fixed: push f(…, v, …), pull conj(transpose(conj(u), …)).

    Covers the linear and the bilinear family; `args` holds every argument, x itself as its ArraySpec.
    """

    __slots__ = ("args", "kwargs", "transpose")

    def __init__(
        self,
        primitive: Primitive,
        argnum: int,
        x: ArraySpec,
        y: ArraySpec,
        transpose: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(primitive, argnum, x, y)
        self.transpose, self.kwargs = transpose, kwargs
        self.args = (*args[:argnum], x, *args[argnum + 1 :])

    def push(self, v: Any) -> Any:
        k = self.argnum
        y = self.primitive(*self.args[:k], v, *self.args[k + 1 :], **self.kwargs)
        return y if y.dtype == self.y.dtype else y.astype(self.y.dtype)

    def pull(self, u: Any) -> Any:
        if self.x.dtype.kind == "c" or self.y.dtype.kind == "c":
            u = np.conj(self.transpose(np.conj(u), *self.args, **self.kwargs))
        else:
            u = self.transpose(u, *self.args, **self.kwargs)
        return _as_input(unbroadcast(u, self.x.shape), self.x)


class Explicit(Block):
    """y = f(x) with the pair (push, pull) as its author wrote it."""

    __slots__ = ("pair",)

    def __init__(self, primitive: Primitive, argnum: int, x: ArraySpec, y: ArraySpec, pair: Any) -> None:
        super().__init__(primitive, argnum, x, y)
        self.pair = pair

    def push(self, v: Any) -> Any:
        y = self.pair[0](v)
        return y if y.dtype == self.y.dtype else y.astype(self.y.dtype)

    def pull(self, u: Any) -> Any:
        return _as_input(self.pair[1](u), self.x)


class Primitive:
    """A function with a derivative rule. Called on plain arrays it is the function itself.

    f: the function; `name` defaults to its name. Subclasses say how to linearize it. With
    `outputs`, f returns a tuple, and every output becomes a node of its own.
    """

    def __init__(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.f = f
        self.name = name or getattr(f, "__name__", repr(f))
        self.__name__, self.__doc__ = self.name, getattr(f, "__doc__", None)
        PRIMITIVES.append(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} primitive {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs and any(isinstance(a, Traced) for a in kwargs.values()):
            args, kwargs = self._by_position(args, kwargs)
        tape: Tape | None = None
        for a in args:
            if isinstance(a, Traced) and (tape is None or a.tape.level > tape.level):
                tape = a.tape
        if tape is None:
            return self.f(*args, **kwargs)
        argnums, inputs, values = [], [], list(args)
        for k, a in enumerate(args):
            if isinstance(a, Traced) and a.tape is tape:
                argnums.append(k)
                inputs.append(a.index)
                values[k] = a.value
        y, every = self.linearized(argnums, values, kwargs)
        if not isinstance(y, tuple):
            return self._record(tape, inputs, every, y)
        outputs = [self._record(tape, inputs, blocks, y_k) for blocks, y_k in zip(every, y, strict=True)]
        return type(y)(*outputs) if hasattr(y, "_fields") else tuple(outputs)

    def _by_position(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments with keywords moved to their positions, for only those are traced."""
        import inspect  # takes longer to load than all rules together, and is hardly ever needed

        try:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
        except ValueError:  # a ufunc or a builtin without a signature
            raise TypeError(f"{self.name}: pass traced arrays by position, not as {', '.join(kwargs)}=") from None
        if any(isinstance(a, Traced) for a in bound.kwargs.values()):
            raise TypeError(f"{self.name}: keyword-only arguments cannot be traced; rmad.stop_gradient fixes them")
        return bound.args, bound.kwargs

    def _record(self, tape: Tape, inputs: list[int], blocks: Sequence[Block | None], y: Any) -> Any:
        """y as a traced array on the tape; plain where no block is left (a constant function)."""
        found = [block for block in blocks if block is not None]
        if len(found) < len(blocks):
            inputs = [i for i, block in zip(inputs, blocks, strict=True) if block is not None]
        if not found or found[0].y.dtype.kind not in "fc":
            return y
        if isinstance(y, Traced):
            tape.nested = True
        return Traced(y, tape, tape.append(Node(self, inputs, found, found[0].y)))

    def linearized(self, argnums: Sequence[int], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """y, and its blocks at these arguments."""
        y = self(*args, **kwargs)
        return y, self.blocks(argnums, y, args, kwargs)

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The Jacobian blocks ∂y/∂args[k], k in argnums, at these arguments (None for zero)."""
        raise NotImplementedError(f"{type(self).__name__}.blocks")

    def _missing(self, argnum: int) -> NotImplementedError:
        return NotImplementedError(
            f"{str(self.name).lstrip('_')} has no derivative with respect to argument {argnum}; "
            "rmad.stop_gradient makes that argument a constant"
        )


class Elementwise(Primitive):
    """`forward`, for functions of one argument: x → (f(x), f′(x)) in one pass, or None where x does not suit it."""

    forward: Callable[[Any], tuple[Any, Any] | None] | None = None

    def __init__(self, f: Callable[..., Any], derivatives: Sequence[Any], name: str | None) -> None:
        super().__init__(f, name)
        self.derivatives = derivatives

    def linearized(self, argnums: Sequence[int], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        both = None if self.forward is None or kwargs or len(args) != 1 else self.forward(args[0])
        if both is None:
            return super().linearized(argnums, args, kwargs)
        spec = ArraySpec.of(both[0])
        return both[0], [Diagonal(self, 0, spec, spec, both[1])]

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        spec = ArraySpec.of(y)
        args = [np.asarray(a) if isinstance(a, (list, tuple)) else a for a in args]
        blocks: list[Block] = []
        for k in argnums:
            d = self.derivatives[k] if k < len(self.derivatives) else None
            if d is None:
                raise self._missing(k)
            d = _no_wider(as_array(d(y, *args, **kwargs)), spec.dtype) if callable(d) else d
            blocks.append(Diagonal(self, k, ArraySpec.of(args[k]), spec, d))
        return blocks


class LinearPrimitive(Primitive):
    def __init__(
        self, f: Callable[..., Any], transposes: Sequence[Callable[..., Any] | None], name: str | None
    ) -> None:
        super().__init__(f, name)
        self.transposes = transposes

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        spec = ArraySpec.of(y)
        blocks = []
        for k in argnums:
            transpose = self.transposes[k] if k < len(self.transposes) else None
            if transpose is None:
                raise self._missing(k)
            blocks.append(Linear(self, k, ArraySpec.of(args[k]), spec, transpose, args, kwargs))
        return blocks


class ExplicitPrimitive(Primitive):
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
    """y = f(x₀, x₁, …), broadcast: one derivative per argument, ∂f/∂x_k = derivatives[k](y, x₀, x₁, …).

    A derivative is a function of the result and all arguments, or 1 or -1, or None where there is
    none (tracing that argument is then an error). f must be holomorphic where it takes complex input.

    >>> cube = elementwise(lambda x: x**3, lambda y, x: 3 * x**2, name="cube")
    """
    for k, d in enumerate(derivatives):
        if not (callable(d) or d is None or d is ONE or d is MINUS_ONE):
            raise TypeError(f"elementwise: derivative {k} must be a function of (y, x…), 1, -1 or None, not {d!r}")
    return register(f, Elementwise(f, derivatives, name))


def linear(
    f: Callable[..., Any], transpose: Callable[..., Any], name: str | None = None
) -> Primitive:
    """y = f(x, …) linear in x: x̄ = transpose(u, x, …), where x gives its shape and dtype only.

    f and transpose get the further arguments and keywords as the caller wrote them.

    >>> double = linear(lambda x: x + x, lambda u, x: u + u, name="double")
    """
    return register(f, LinearPrimitive(f, (transpose,), name))


def bilinear(
    f: Callable[..., Any],
    transpose0: Callable[..., Any],
    transpose1: Callable[..., Any],
    name: str | None = None,
) -> Primitive:
    """y = f(A, B) linear in A and in B: Ā = transpose0(u, A, B), B̄ = transpose1(u, A, B).

    Each transpose sees its own operand as shape and dtype only. Broadcast axes are summed by the engine.
    """
    return register(f, LinearPrimitive(f, (transpose0, transpose1), name))


def primitive(f: Callable[..., Any], rule: Callable[..., Any] | None = None, name: str | None = None) -> Any:
    """y = f(x₀, x₁, …) with an explicit rule: rule(y, x₀, x₁, …) returns a pair (push, pull) per argument.

    push(v): tangent of x_k to its share of the tangent of y. pull(u): the adjoint of that. None in
    place of a pair means a zero block. Where f returns a tuple, the rule returns one row of pairs per output
    (None for an output without derivative). Without `rule` this is a decorator of the rule.
    """
    if rule is None:
        return lambda rule: primitive(f, rule, name or rule.__name__)
    return register(f, ExplicitPrimitive(f, rule, name))


def constant(f: Callable[..., Any]) -> Callable[..., Any]:
    """Registers f as piecewise constant (comparisons, sign, argmax): its derivative is zero."""
    from rmad.traced import stop

    def apply(*args: Any, **kwargs: Any) -> Any:
        return f(*stop(list(args)), **stop(kwargs))

    apply.__name__ = getattr(f, "__name__", repr(f))
    apply.constant = True  # type: ignore[attr-defined]
    return register(f, apply)
