"""The tape: a Wengert list of the primitives that a function called, and the two sweeps over it.

    y = f(x) is run once; node j of the tape holds the Jacobian blocks J_ji = ∂y_j / ∂y_i.
    push   forward    v_j = Σ_i J_ji v_i        Jv,   the R-operator
    pull   backward   u_i = Σ_j J_jiᵀ u_j       Jᵀu,  backprop

After the run the tape *is* the Jacobian: no sweep calls f again. These two functions are the
definition; `rmad.plan.plan` rewrites a tape that will be swept many times into bound NumPy calls.

Source: Wengert (1964); Martens & Sutskever (2012), algorithm 1 and section 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["ArraySpec", "Block", "Joint", "Named", "Node", "Tape", "pull", "push"]


class ArraySpec:
    """Shape and dtype of an array, without the array: what a transpose may know of its input."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype

    @classmethod
    def of(cls, array: Any) -> ArraySpec:
        try:
            return cls(array.shape, array.dtype)
        except AttributeError:
            return cls.of(np.asarray(array))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArraySpec) and self.shape == other.shape and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Named(Protocol):
    """A primitive, as far as a tape needs it: called on arrays it is the function itself."""

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Block:
    """∂y/∂x for one argument x of one node: a linear map with its adjoint.

    primitive, argnum: which primitive's Jacobian, in which argument; `x`, `y` their shapes and dtypes.
    """

    __slots__ = ("argnum", "primitive", "x", "y")

    joint: Joint | None = None  # what sweeps all blocks of its node together, where that is cheaper than one by one

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec) -> None:
        self.primitive, self.argnum, self.x, self.y = primitive, argnum, x, y

    def push(self, v: Any) -> Any:
        """J v: tangent of x to its share of the tangent of y. May alias v."""
        raise NotImplementedError(f"{type(self).__name__}.push")

    def pull(self, u: Any) -> Any:
        """Jᵀ u: cotangent of y to its share of the cotangent of x. May alias u."""
        raise NotImplementedError(f"{type(self).__name__}.pull")

    def push_add(self, v: Any, total: Any, owned: bool) -> tuple[Any, bool]:
        """total + J v, and whether the engine made that array; total may be None (zero)."""
        return _sum(self.push(v), total, owned)

    def pull_add(self, u: Any, total: Any, owned: bool) -> tuple[Any, bool]:
        """total + Jᵀu, and whether the engine made that array; total may be None (zero)."""
        return _sum(self.pull(u), total, owned)


def _sum(term: Any, total: Any, owned: bool) -> tuple[Any, bool]:
    """total + term, written into total if it is owned. A traced term is never written into a plain array."""
    if total is None:
        return term, False
    if not owned or type(term) is not type(total):
        return total + term, True
    total += term
    return total, True


class Joint(Protocol):
    """All blocks of one node, swept together at the cost of one. `tape`: what f leaves on a tape of its own."""

    @property
    def tape(self) -> Tape: ...

    def push(self, tangents: Sequence[Any]) -> Any:
        """Σ_i J_i v_i; None is zero, given and returned. May alias."""

    def pull(self, u: Any, totals: Sequence[Any], owned: Sequence[bool]) -> tuple[list[Any], list[bool]]:
        """total_i + J_iᵀ u for every input, and which of these arrays the engine made; None is zero."""


class Node:
    """One array on the tape: which primitive made it, from which earlier nodes, by which blocks."""

    __slots__ = ("blocks", "inputs", "primitive", "spec")

    def __init__(
        self, primitive: Named | None, inputs: Sequence[int], blocks: Sequence[Block], spec: ArraySpec
    ) -> None:
        self.primitive = primitive  # None for an input of the function
        self.inputs = inputs  # positions on the tape of the arguments that carry a tangent
        self.blocks = blocks  # the Jacobian block for each of them
        self.spec = spec

    @property
    def joint(self) -> Joint | None:
        """What sweeps the blocks together, where they are swept together."""
        return self.blocks[0].joint if self.blocks else None

    def __repr__(self) -> str:
        return f"{self.primitive.name if self.primitive else 'input'}{list(self.inputs)} -> {self.spec}"


_levels = itertools.count()


class Tape:
    """Nodes in the order in which they were computed; the first are the inputs of the function.

    Tapes nest: the arrays that flow through an inner tape may themselves be traced by an outer
    one. `level` grows with every tape, and the innermost tape (the highest level) records first.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.nested = False  # True where an outer tape traces the arrays of this one
        self.level = next(_levels)
        self.closed = False  # True when the function has returned

    def append(self, node: Node) -> int:
        if self.closed:
            raise RuntimeError(
                "a traced array is used after the function that it was traced in has returned; "
                "return it from the function, or keep rmad.stop_gradient(x)"
            )
        self.nodes.append(node)
        return len(self.nodes) - 1

    def prune(self, outputs: Sequence[int | None]) -> None:
        """Frees the residuals of nodes that no output depends on."""
        alive = [False] * len(self.nodes)
        for k in outputs:
            if k is not None:
                alive[k] = True
        for k in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[k]
            if alive[k]:
                for i in node.inputs:
                    alive[i] = True
            elif node.inputs:
                node.inputs, node.blocks = (), ()


def push(tape: Tape, tangents: Sequence[Any], outputs: Sequence[int | None]) -> list[Any]:
    """Jv: tangents of the inputs (None for zero) to tangents of the outputs (None for zero)."""
    v: list[Any] = [*tangents, *itertools.repeat(None, len(tape.nodes) - len(tangents))]
    last = [0] * len(tape.nodes)  # the node that reads v[i] last; v[i] is freed then
    for j, node in enumerate(tape.nodes):
        for i in node.inputs:
            last[i] = j
    for k in outputs:
        if k is not None:
            last[k] = len(tape.nodes)
    for j, node in enumerate(tape.nodes):
        if node.joint is not None:
            given = [v[i] for i in node.inputs]
            if any(a is not None for a in given):
                v[j] = node.joint.push(given)
        else:
            owned = False  # v[j] was made here as a sum, so it may be written into
            for i, block in zip(node.inputs, node.blocks, strict=True):
                if v[i] is not None:
                    v[j], owned = block.push_add(v[i], v[j], owned)
        for i in node.inputs:
            if last[i] == j:
                v[i] = None
    return [None if k is None else v[k] for k in outputs]


def pull(
    tape: Tape,
    cotangents: Sequence[Any],
    outputs: Sequence[int | None],
    n_inputs: int,
    totals: Sequence[Any] | None = None,
    ours: list[bool] | None = None,
) -> list[Any]:
    """Jᵀu: cotangents of the outputs (None for zero) to cotangents of the inputs (None for zero).

    With `totals` the result is totals + Jᵀu; `ours` says which of them may be written into, and afterwards which of
    the results were made here.
    """
    u: list[Any] = [None] * len(tape.nodes)
    owned = [False] * len(tape.nodes)  # u[i] was made here as a sum, so it may be written into
    if totals is not None:
        u[:n_inputs] = totals
    if ours is not None:
        owned[:n_inputs] = ours
    for k, cotangent in zip(outputs, cotangents, strict=True):
        if k is not None and cotangent is not None:
            u[k], owned[k] = (cotangent, False) if u[k] is None else (u[k] + cotangent, True)
    for j in range(len(tape.nodes) - 1, n_inputs - 1, -1):
        node = tape.nodes[j]
        if u[j] is None:
            continue
        if node.joint is not None:
            sums, made = node.joint.pull(u[j], [u[i] for i in node.inputs], [owned[i] for i in node.inputs])
            for i, total, own in zip(node.inputs, sums, made, strict=True):
                u[i], owned[i] = total, own
        else:
            for i, block in zip(node.inputs, node.blocks, strict=True):
                u[i], owned[i] = block.pull_add(u[j], u[i], owned[i])
        u[j] = None
    if ours is not None:
        ours[:] = owned[:n_inputs]
    return u[:n_inputs]
