"""The three kinds of Jacobian blocks that rules make: diagonal, linear, explicit.

Diagonal   J = diag(d)             push d v          pull conj(d) u, summed over broadcast axes
Linear     J = f(…, ·, …)          push f(…, v, …)   pull conj(transpose(conj(u), …))
Explicit   J as its author says    push pair[0](v)   pull pair[1](u)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.tapes.fours import NUMBER, as_stack, combined
from rmad.tapes.scaling import (
    MINUS_ONE,
    ONE,
    as_input,
    as_output,
    padded,
    pull_scaled,
    pull_scaled_stack,
    push_scaled,
    push_scaled_stack,
    unbroadcast,
    unbroadcast_stack,
)
from rmad.tapes.tape import ArraySpec, Block, Named, Node, added
from rmad.types import Array

__all__ = [
    "MINUS_ONE",
    "ONE",
    "Block",
    "Diagonal",
    "DiagonalNode",
    "Explicit",
    "LightNode",
    "Linear",
    "padded",
    "unbroadcast",
]

Map = Callable[[Any], Any]
_NO_KEYWORDS: dict[str, Any] = {}  # one for all blocks


class Diagonal(Block):
    """J = diag(d), d = ∂f/∂x of an elementwise y = f(x): an array that broadcasts to y, or ±1, which costs nothing."""

    __slots__ = ("d",)

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec, d: Any) -> None:
        self.primitive, self.argnum, self.x, self.y, self.d = primitive, argnum, x, y, d

    def push(self, v: Array) -> Array:
        return push_scaled(self.d, v, self.x, self.y)

    def pull(self, u: Array) -> Array:
        return pull_scaled(self.d, u, self.x, self.y)

    def push_stack(self, V: Array) -> Array:
        return push_scaled_stack(self.d, V, self.x, self.y)

    def pull_stack(self, U: Array) -> Array:
        return pull_scaled_stack(self.d, U, self.x, self.y)


class LightNode(Node):
    """A node that sweeps itself, and makes blocks when it is asked for them only.

    Most nodes of a loop over small arrays are of this kind, and every object that they hold takes the interpreter's
    garbage collector as long as the arithmetic. held: what the blocks are made of, None once there are blocks.
    """

    __slots__ = ("held",)
    held: Any
    primitive: Any

    def made(self) -> tuple[Block, ...]:
        """The blocks of the inputs."""
        raise NotImplementedError(f"{type(self).__name__}.made")

    @property
    def blocks(self) -> Sequence[Block]:  # type: ignore[override]
        if self.held is not None:
            self.blocks = self.made()
        return _slot.__get__(self)

    @blocks.setter
    def blocks(self, blocks: Sequence[Block]) -> None:
        self.held = None
        _slot.__set__(self, blocks)

    @property
    def joint(self) -> None:
        return None

    def plain(self) -> Node:
        return Node(self.primitive, self.inputs, self.blocks, self.spec)


class DiagonalNode(LightNode):
    """A node whose blocks are diagonal: per input it holds the coefficient d.

    argnums: the arguments that the inputs are, None for all in order. specs: of the inputs, None if they are like the
    node.
    """

    __slots__ = ("argnums", "specs")

    def __init__(
        self,
        primitive: Any,
        inputs: Sequence[int],
        coefficients: Sequence[Any],
        spec: ArraySpec,
        argnums: Sequence[int] | None = None,
        specs: Sequence[ArraySpec] | None = None,
    ) -> None:
        self.primitive, self.inputs, self.spec = primitive, inputs, spec
        self.held, self.argnums, self.specs = coefficients, argnums, specs

    def made(self) -> tuple[Block, ...]:
        ds = self.held
        argnums, specs = self.argnums or range(len(ds)), self.specs or (self.spec,) * len(ds)
        return tuple([Diagonal(self.primitive, k, x, self.spec, d) for k, x, d in zip(argnums, specs, ds, strict=True)])

    def push(self, v: Sequence[Array | None], stacked: bool) -> Array | None:
        if (ds := self.held) is None:
            return super().push(v, stacked)
        specs, y = self.specs, self.spec
        if stacked and specs is None and y is NUMBER:
            found = combined(ds, self.inputs, v)
            if found is not NotImplemented:
                return found
        v_j, owned = None, False
        for k, i in enumerate(self.inputs):
            if (v_i := v[i]) is not None:
                d, v_i = ds[k], as_stack(v_i) if stacked else v_i
                if specs is None and (d is ONE or type(d) is np.float64):  # most terms of a loop over numbers
                    term = v_i if d is ONE else d * v_i
                else:
                    scaled = push_scaled_stack if stacked else push_scaled
                    term = scaled(d, v_i, specs[k] if specs else y, y)
                v_j, owned = (term, False) if v_j is None else added(term, v_j, owned)
        return v_j

    def pull(self, u_j: Array, u: list[Array | None], owned: list[bool], stacked: bool) -> None:
        if (ds := self.held) is None:
            super().pull(u_j, u, owned, stacked)
            return
        y, specs = self.spec, self.specs
        for k, i in enumerate(self.inputs):
            d = ds[k]
            if specs is None and (d is ONE or type(d) is np.float64):  # most terms of a loop over numbers
                term = u_j if d is ONE else d * u_j
            else:
                scaled = pull_scaled_stack if stacked else pull_scaled
                term = scaled(d, u_j, specs[k] if specs else y, y)
            u[i], owned[i] = (term, False) if u[i] is None else added(term, u[i], owned[i])


_slot = Node.__dict__["blocks"]  # the slot


class Linear(Block):
    """J = f(…, ·, …) for y linear in x, the other arguments fixed: the linear and the bilinear family.

    transpose: (u, *args) → Jᵀu, a plain transpose; args: every argument of f, x itself as its ArraySpec.
    """

    __slots__ = ("args", "kwargs", "transpose")

    def __init__(
        self,
        primitive: Named,
        argnum: int,
        x: ArraySpec,
        y: ArraySpec,
        transpose: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        self.primitive, self.argnum, self.x, self.y = primitive, argnum, x, y  # super() takes as long as all of it
        self.transpose, self.kwargs = transpose, kwargs or _NO_KEYWORDS
        self.args = (x, *args[1:]) if argnum == 0 else (*args[:argnum], x, *args[argnum + 1 :])

    def push(self, v: Array) -> Array:
        k = self.argnum
        return as_output(self.primitive(*self.args[:k], v, *self.args[k + 1 :], **self.kwargs), self.y)

    def pull(self, u: Array) -> Array:
        if self.x.dtype.kind == "c" or self.y.dtype.kind == "c":
            u = np.conj(self.transpose(np.conj(u), *self.args, **self.kwargs))
        else:
            u = self.transpose(u, *self.args, **self.kwargs)
        return as_input(unbroadcast(u, self.x.shape), self.x)

    def push_stack(self, V: Array) -> Array:
        Y = self.of_stack(V)
        return super().push_stack(V) if Y is None else as_output(Y, self.y)

    def pull_stack(self, U: Array) -> Array:
        if self.x.dtype.kind == "c" or self.y.dtype.kind == "c":
            X = self.transpose_of_stack(np.conj(U))
            X = X if X is None else np.conj(X)
        else:
            X = self.transpose_of_stack(U)
        return super().pull_stack(U) if X is None else as_input(unbroadcast_stack(X, self.x.shape), self.x)

    def of_stack(self, V: Array) -> Array | None:
        """f of k stacked arrays, (k, *y.shape), of V: (k, *x.shape); None if f takes no stack."""
        rule = self.primitive.on_stack  # type: ignore[attr-defined]  # of the linear family
        if rule is None or (found := rule(len(V), self)) is None:
            return None
        (args, kwargs), k = found, self.argnum
        V = np.reshape(V, args[k].shape)
        return self.primitive(*args[:k], V, *args[k + 1 :], **kwargs)

    def transpose_of_stack(self, U: Array) -> Array | None:
        """The transpose of k stacked arrays, of U: (k, *y.shape); None if it takes no stack."""
        rule = self.primitive.on_stack  # type: ignore[attr-defined]
        if rule is None or (found := rule(len(U), self)) is None:
            return None
        args, kwargs = found
        return self.transpose(U, *args, **kwargs)


class Explicit(Block):
    """J as its author wrote it: pair = (push, pull)."""

    __slots__ = ("pair",)

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec, pair: Sequence[Map]) -> None:
        super().__init__(primitive, argnum, x, y)
        self.pair = pair

    def push(self, v: Array) -> Array:
        return as_output(self.pair[0](v), self.y)

    def pull(self, u: Array) -> Array:
        return as_input(self.pair[1](u), self.x)
