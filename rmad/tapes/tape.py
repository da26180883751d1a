"""The tape: a Wengert list of the primitives that a function called, and the two sweeps over it.

    y = f(x) is run once; node j of the tape holds the Jacobian blocks J_ji = ∂y_j / ∂y_i.
    push   forward    v_j = Σ_i J_ji v_i        Jv,   the R-operator
    pull   backward   u_i = Σ_j J_jiᵀ u_j       Jᵀu,  backprop

After the run the tape *is* the Jacobian: no sweep calls f again. The functions `push` and `pull` are the
definition; `rmad.plan` turns a tape that will be swept many times into bound NumPy calls. Both also take k stacked
vectors, (k, *shape), at once.

Source: Wengert (1964); Martens & Sutskever (2012), algorithm 1 and section 5.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from rmad import tuning
from rmad.machine.arrays import ON_THE_CPU
from rmad.tapes.captured import Captured
from rmad.tapes.fours import as_stack, of_four
from rmad.tapes.specs import ArraySpec, Shaped
from rmad.types import Array

__all__ = ["ArraySpec", "Block", "Joint", "Named", "Node", "Shaped", "Tape", "added", "last_reads", "pull", "push"]


class Named(Protocol):
    """A primitive, as far as a tape needs it: called on arrays it is the function itself."""

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Block:
    """J = ∂y/∂x for one argument x of one node: a linear map with its adjoint.

    primitive, argnum: the primitive whose Jacobian it is, and the argument; x, y: their shapes and dtypes.
    """

    __slots__ = ("argnum", "primitive", "x", "y")

    joint: Joint | None = None  # sweeps all blocks of the node together, if that is cheaper than one by one

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec) -> None:
        self.primitive, self.argnum, self.x, self.y = primitive, argnum, x, y

    def push(self, v: Array) -> Array:
        """J v: tangent of x to its share of the tangent of y. May alias v."""
        raise NotImplementedError(f"{type(self).__name__}.push")

    def pull(self, u: Array) -> Array:
        """Jᵀ u: cotangent of y to its share of the cotangent of x. May alias u."""
        raise NotImplementedError(f"{type(self).__name__}.pull")

    def push_add(self, v: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        """total + J v (None counts as zero), and if the engine made that array."""
        return added(self.push(v), total, owned)

    def pull_add(self, u: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        """total + Jᵀu (None counts as zero), and if the engine made that array."""
        return added(self.pull(u), total, owned)

    def push_stack(self, V: Array) -> Array:
        """J v_k for every k, (k, *y.shape), of V: (k, *x.shape), k > 0. May alias V. One by one unless overridden."""
        return np.stack([self.push(v) for v in V])

    def pull_stack(self, U: Array) -> Array:
        """Jᵀ u_k for every k, (k, *x.shape), of U: (k, *y.shape), k > 0. May alias U. One by one unless overridden."""
        return np.stack([self.pull(u) for u in U])

    def push_stack_add(self, V: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        """`push_add` for a stack."""
        return added(self.push_stack(V), total, owned)

    def pull_stack_add(self, U: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        """`pull_add` for a stack."""
        return added(self.pull_stack(U), total, owned)


def added(term: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
    """total + term, written into total if it is owned. A traced term is never written into a plain array."""
    if total is None:
        return term, False
    if not owned or type(term) is not type(total):
        return total + term, True
    total += term
    return total, True


class Joint(Protocol):
    """All blocks of one node, swept together at the cost of one.

    tape: f on a tape of its own. decomposes: True if its last push met eigenvectors or singular vectors.
    """

    decomposes: bool

    @property
    def tape(self) -> Tape: ...

    def planned(self) -> Joint:
        """The same for a plan: its results are read before the next sweep, so arrays of a sweep may be used again."""

    def push(self, tangents: Sequence[Array | None], stacked: bool = False) -> Array | None:
        """Σ_i J_i v_i; None is zero, given and returned. May alias."""

    def pull(
        self, u: Array, totals: Sequence[Array | None], owned: Sequence[bool], stacked: bool = False
    ) -> tuple[list[Array | None], list[bool]]:
        """total_i + J_iᵀ u for every input, and which of these arrays the engine made; None is zero."""


class Node:
    """One array on the tape: the primitive that made it, the earlier nodes it was made from, the blocks J_ji.

    primitive: None for an input of the function. inputs: the positions i of the arguments that carry a tangent.
    blocks: the Jacobian block of each of them, in the same order. spec: shape and dtype of the array.

    Kinds of nodes that loops over small arrays are full of sweep themselves, and make blocks when asked for them only.
    """

    __slots__ = ("blocks", "inputs", "primitive", "spec")

    def __init__(
        self, primitive: Named | None, inputs: Sequence[int], blocks: Sequence[Block], spec: ArraySpec
    ) -> None:
        self.primitive, self.inputs, self.blocks, self.spec = primitive, inputs, blocks, spec

    @property
    def joint(self) -> Joint | None:
        """Sweeps the blocks together; None if they are swept one by one."""
        return self.blocks[0].joint if self.blocks else None

    def push(self, v: Sequence[Array | None], stacked: bool) -> Array | None:
        """v_j = Σ_i J_ji v_i of the tangents of all nodes before it; None is zero. May alias a tangent."""
        if (joint := self.blocks[0].joint) is not None:
            given = [as_stack(v[i]) for i in self.inputs]
            return joint.push(given, stacked) if any(a is not None for a in given) else None
        v_j, owned = None, False  # owned: v_j was made here as a sum, so it may be written into
        for i, block in zip(self.inputs, self.blocks, strict=True):
            if (v_i := v[i]) is not None:
                add = block.push_stack_add if stacked else block.push_add
                v_j, owned = add(as_stack(v_i) if stacked else v_i, v_j, owned)
        return v_j

    def pull(self, u_j: Array, u: list[Array | None], owned: list[bool], stacked: bool) -> None:
        """Adds J_jiᵀ u_j to the cotangents u_i; owned: which of these the engine made, so they may be written into."""
        if (joint := self.blocks[0].joint) is not None:
            given = [u[i] for i in self.inputs], [owned[i] for i in self.inputs]
            for i, total, own in zip(self.inputs, *joint.pull(u_j, *given, stacked), strict=True):
                u[i], owned[i] = total, own
            return
        for i, block in zip(self.inputs, self.blocks, strict=True):
            add = block.pull_stack_add if stacked else block.pull_add
            u[i], owned[i] = add(u_j, u[i], owned[i])

    def plain(self) -> Node:
        """The same as a node with blocks, for a plan, which asks for them again and again."""
        return self

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
        self.nested = False  # True if an outer tape traces the arrays of this one
        self.level = next(_levels)
        self.decomposes = False  # True if eigenvectors or singular vectors were taken: see `rmad.singular.ties`
        self.decomposed: dict[Any, Any] = {}  # what they were taken of → values and vectors, as one array
        # (i, k) → the node of element k of node i, of some recent ones: loops ask for the same numbers again and again
        self.elements: dict[tuple[int, int], int] = {}
        self._largest: int | None = None
        self.closed = False  # True when the function has returned
        self.whole = True  # False while the nodes are rewritten, and for ever if that is interrupted
        self.like: Array = ON_THE_CPU  # an empty array of the kind, NumPy's or CuPy's, of the arrays of the inputs
        self.captured = Captured()  # the plain arrays that blocks need
        self.lost: TypeError | None = None  # the first conversion that would have lost a derivative

    def loses(self, error: TypeError) -> TypeError:
        """Notes the error of a conversion that loses a derivative, and returns it.

        Code in between may swallow it and go on with a wrong value; so it is raised again when the function returns.
        """
        self.lost = self.lost or error
        return error

    def close(self) -> None:
        """The function has returned."""
        self.closed = True
        self.elements.clear()

    def append(self, node: Node) -> int:
        """Records a node and returns its position; RuntimeError once the function has returned."""
        if self.closed:
            raise RuntimeError(
                "a traced array is used after the function that it was traced in has returned; "
                "return it from the function, or keep rmad.stop_gradient(x)"
            )
        self.nodes.append(node)
        return len(self.nodes) - 1

    @property
    def largest(self) -> int:
        """The number of elements of the largest array, for a function that has returned."""
        if self._largest is None:
            self._largest = max(map(math.prod, set(map(attrgetter("spec.shape"), self.nodes))), default=0)
        return self._largest

    def prune(self, outputs: Sequence[int | None]) -> None:
        """Frees the residuals of nodes that no output depends on."""
        alive = bytearray(len(self.nodes))
        for k in outputs:
            if k is not None:
                alive[k] = True
        for k, node in zip(range(len(self.nodes) - 1, -1, -1), reversed(self.nodes), strict=True):
            if alive[k]:
                for i in node.inputs:
                    alive[i] = True
            elif node.inputs:
                node.inputs, node.blocks = (), ()


def push(
    tape: Tape, tangents: Sequence[Array | None], outputs: Sequence[int | None], stacked: bool = False
) -> list[Array | None]:
    """v_j = Σ_i J_ji v_i, forward: tangents of the inputs to those of the outputs; None is zero.

    stacked: True for k tangents of every input, (k, *shape), at once.
    """
    nodes = tape.nodes
    v: list[Any] = [
        *(map(of_four, tangents) if stacked else tangents),
        *itertools.repeat(None, len(nodes) - len(tangents)),
    ]
    last = last_reads(nodes, outputs) if tape.largest * len(nodes) > tuning.TANGENTS_KEPT else None
    for j, node in enumerate(nodes):
        if not node.inputs:
            continue
        v[j] = node.push(v, stacked)
        if last is not None:
            for i in node.inputs:
                if last[i] == j:
                    v[i] = None  # frees a tangent that no later node reads
    return [None if k is None else as_stack(v[k]) for k in outputs]


def last_reads(nodes: Sequence[Node], outputs: Sequence[int | None]) -> list[int]:
    """Per node i, the last node that reads it; their number for an output, which is never freed."""
    last = [0] * len(nodes)
    for j, node in enumerate(nodes):
        for i in node.inputs:
            last[i] = j
    for k in outputs:
        if k is not None:
            last[k] = len(nodes)
    return last


def pull(
    tape: Tape,
    cotangents: Sequence[Array | None],
    outputs: Sequence[int | None],
    n_inputs: int,
    totals: Sequence[Array | None] | None = None,
    ours: list[bool] | None = None,
    stacked: bool = False,
) -> list[Array | None]:
    """u_i = Σ_j J_jiᵀ u_j, backward: cotangents of the outputs to those of the inputs; None is zero.

    With `totals` the result is totals + Jᵀu; `ours` tells which of them may be written into, and afterwards which of
    the results were made here. stacked: True for k cotangents of every output, (k, *shape), at once.
    """
    nodes, n = tape.nodes, len(tape.nodes)
    u: list[Any] = [None] * n if totals is None else [*totals, *[None] * (n - n_inputs)]
    owned = [False] * n if ours is None else [*ours, *[False] * (n - n_inputs)]  # u[i] may be written into
    _seed(u, owned, cotangents, outputs)
    for j in range(n - 1, n_inputs - 1, -1):
        u_j, node = u[j], nodes[j]
        if u_j is not None and node.inputs:
            u[j] = None
            node.pull(u_j, u, owned, stacked)
    if ours is not None:
        ours[:] = owned[:n_inputs]
    return u[:n_inputs]


def _seed(u: list[Any], owned: list[bool], cotangents: Sequence[Array | None], outputs: Sequence[int | None]) -> None:
    """Adds the cotangents of the outputs to u: two outputs may be one node, and an output may be an input."""
    for k, cotangent in zip(outputs, cotangents, strict=True):
        if k is not None and cotangent is not None:
            u[k], owned[k] = (cotangent, False) if u[k] is None else (u[k] + cotangent, True)
