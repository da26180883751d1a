"""Plans a pull: for every block of the tape, the NumPy calls that are its pull."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from rmad.machine import arrays
from rmad.plan.buffers import shares
from rmad.plan.calls import Sweep
from rmad.plan.forms import (
    is_bias,
    is_matmul,
    is_same_shape,
    is_scale,
    is_stacked_matmul,
    rank,
    view_of,
)
from rmad.plan.program import Program, Stack
from rmad.plan.rewrite import count_uses
from rmad.primitives.index import Index, is_basic, scatter_add
from rmad.primitives.join import Part
from rmad.primitives.matmul import mT
from rmad.tapes.blocks import ONE, Block, Diagonal, Linear
from rmad.tapes.tape import Joint
from rmad.types import Array

__all__ = ["Pull"]


class Pull(Sweep):
    """Plans u_i ← Σ_j J_jiᵀ u_j, backward. flat, cotangents: of the inputs, the program's own unless given.

    Per node of the tape, while it is planned:

    u       the array that holds u_j, the sum so far; None as long as nothing was added. All of it is there when node j
            is planned, since every reader of y_j stands later on the tape.
    whole   True if u[j] is a buffer that node j alone uses: it goes back to the pool, or on to an input, after node j.
            False for the inputs' own buffers and for views.
    uses    how many terms u_j has: readers on the tape, and outputs.
    views   for a node that only rearranges its one input i: buffer of u_i → view of it that is u_j, so that the readers
            of y_j add to u_i directly and node j needs no calls. None for other nodes.
    """

    def __init__(self, program: Program, flat: Array | None = None, cotangents: Sequence[Array] | None = None) -> None:
        super().__init__(program)
        self.flat = program.u if cotangents is None else flat
        self.cotangents: Sequence[Array] = program.cotangents if cotangents is None else cotangents
        n = len(self.nodes)
        self.u: list[Any] = [None] * n
        self.whole = [False] * n
        self.uses = count_uses(self.nodes, program.outputs)
        self.views = self._find_views()
        for k, z in zip(program.outputs, program.z, strict=True):
            if k is not None and z is not None:
                self._seed(k, z)
        for j in range(n - 1, program.n_inputs - 1, -1):
            if self.u[j] is not None and self.nodes[j].inputs and self.views[j] is None:
                self.node(j)
        for i, u in enumerate(self.cotangents):
            if self.u[i] is None:
                self.clear(u)

    def _find_views(self) -> list[Callable[[Any], Any] | None]:
        """Per node: the rearrangement of its input as a view of a buffer, tried on the layout that it will meet."""
        probes: dict[int, Any] = {}  # by node, the view of a trial buffer: a view of a view is tried on that
        views: list[Callable[[Any], Any] | None] = [None] * len(self.nodes)
        for j, node in enumerate(self.nodes):
            if len(node.blocks) != 1 or not isinstance(node.blocks[0], Linear):
                continue
            block, source = node.blocks[0], probes.get(node.inputs[0])
            probe = view_of(block, self.pool.new(block.x.shape, block.x.dtype) if source is None else source)
            if probe is not None and probe.size <= block.x.size:
                probes[j], views[j] = probe, partial(view_of, block)
        return views

    def _seed(self, k: int, z: Array) -> None:
        """u_k ← u_k + z for an output k; the first z of a node becomes its buffer."""
        if self.u[k] is None and self.views[k] is None and k >= self.program.n_inputs:
            self.u[k], self.whole[k] = z, True
        else:
            out, add = self._target(k)
            self.scaled(ONE, z, out, add)

    # -- one node ------------------------------------------------------------------------------------------------

    def node(self, j: int) -> None:
        """u_i ← u_i + J_jiᵀ u_j for every input i of node j: by the joint of the blocks, or term by term."""
        u = self.u[j]
        if self.nodes[j].joint is not None:
            self._joint(j, u)
        else:
            self._terms(j, u)
        if self.whole[j]:
            self.pool.give(u)

    def _joint(self, j: int, u: Array) -> None:
        """One call writes all: a view, later on the tape than its source, comes first, so that both then add."""
        node = self.nodes[j]
        found = {i: self._target(i) for i in sorted(node.inputs, reverse=True)}
        targets = [found[i] for i in node.inputs]
        assert node.joint is not None
        self.emit(_joint_pull, node.joint.planned(), u, [out for out, _ in targets], [add for _, add in targets])

    def _terms(self, j: int, u: Array) -> None:
        """The stack first, products, then diagonals: the last one may take the buffer of u_j over."""
        node, stack = self.nodes[j], self.program.stacks.get(j)
        terms = [(i, b) for i, b in zip(node.inputs, node.blocks, strict=True) if not (stack and i in stack.inputs)]
        terms.sort(key=lambda term: rank(term[1]))
        if stack:
            self.stack(stack, u)
        for i, block in terms[:-1]:
            self.term(i, block, u)
        for i, block in terms[-1:]:
            if self.whole[j] and self._is_free(i) and is_same_shape(block):  # u_i ← d u_j, in place
                self.u[i], self.whole[i], self.whole[j] = u, True, False
                self.scaled(block.d, u, u, False)
            else:
                self.term(i, block, u)

    def _is_free(self, i: int) -> bool:
        """True if u_i has no buffer yet and may get any."""
        return self.u[i] is None and self.views[i] is None and i >= self.program.n_inputs

    def _target(self, i: int) -> tuple[Any, bool]:
        """The buffer of u_i, and if it holds a sum already, to which the next term is added."""
        views: list[int] = []  # views of views, down to the first node that has a buffer or gets one of its own
        while self.u[i] is None and self.views[i] is not None:
            views.append(i)
            i = self.nodes[i].inputs[0]
        add = self.u[i] is not None
        if not add:
            is_input = i < self.program.n_inputs
            self.u[i] = self.cotangents[i] if is_input else self.pool.take(self.nodes[i].spec)
            self.whole[i] = not is_input
        for j in reversed(views):
            if not add and (self.uses[i] > 1 or self.nodes[j].spec.size < self.nodes[i].spec.size):
                self.clear(self.u[i])
                add = True
            self.u[j], i = self.views[j](self.u[i]), j  # type: ignore[misc]
        return self.u[i], add

    # -- the terms of a sum --------------------------------------------------------------------------------------

    def stack(self, stack: Stack, u: Array) -> None:
        """[W̄; Ū; b̄] ← [x h 1]ᵀ u in one product."""
        assert self.flat is not None  # only programs with a flat vector have stacks
        started = [self.u[i] is not None for i in stack.inputs]
        if any(started):
            for i, done in zip(stack.inputs, started, strict=True):
                if not done:
                    self.clear(self.cotangents[i])
        for i in stack.inputs:
            self.u[i] = self.cotangents[i]
        out = stack.rows_of(self.cotangents, self.flat)
        with self.rows(u) as rows:
            self.product(stack.x.T, rows, out, any(started))

    def term(self, i: int, block: Block, u: Array) -> None:
        """u_i ← Jᵀ u or u_i ← u_i + Jᵀ u for one block, by the first form that fits it, or by its own pull."""
        out, add = self._target(i)
        for fits, plan in self.FORMS:
            if fits(block):
                plan(self, block, u, out, add)
                return
        if not self.kernel("pull", block, [u], out, add):
            self.computed(block.pull, partial(view_of, block), u, out, add)

    def _scaling(self, block: Diagonal, u: Array, out: Array, add: bool) -> None:
        """d u"""
        self.scaled(block.d, u, out, add)

    def _bias(self, block: Diagonal, u: Array, out: Array, add: bool) -> None:
        """Σ u over all axes but the last, by a product with ones: three times as fast as a sum"""
        rows = u.reshape(-1, u.shape[-1])
        if shares(rows, u):
            ones = arrays.ones(rows, (1, len(rows)))
            self.product(ones, rows, out.reshape(1, -1), add)
        else:
            axes = tuple(range(u.ndim - 1))
            self.into(out, add, lambda target: self.emit(np.add.reduce, u, axes, None, target.reshape(u.shape[-1])))

    def _left_factor(self, block: Linear, u: Array, out: Array, add: bool) -> None:
        """u Bᵀ for y = x B; u: (…, o), B: (i, o)"""
        self.row_product(u, block.args[1].T, out, add)

    def _right_factor(self, block: Linear, u: Array, out: Array, add: bool) -> None:
        """Aᵀ u for y = A x; A: (…, i), u: (…, o)"""
        A = block.args[0]
        with self.rows(u) as rows:
            self.product(A.reshape(-1, A.shape[-1]).T, rows, out, add)

    def _stacked_factor(self, block: Linear, u: Array, out: Array, add: bool) -> None:
        """u Bᵀ or Aᵀ u, matrix by matrix"""
        A, B = (u, mT(block.args[1])) if block.argnum == 0 else (mT(block.args[0]), u)
        self.matmuls(A, B, out, add)

    def _scale(self, block: Diagonal, u: Array, out: Array, add: bool) -> None:
        """Σ d ⊙ u over all axes but the last"""
        self.column_dots(block.d, u, out, add)

    def _gathered(self, block: Index, u: Array, out: Array, add: bool) -> None:
        """u added at the places that y = x[key] was read from, a place that occurs twice twice"""
        if not add:
            self.clear(out)
        self.emit(scatter_add, out, block.args[1], u)

    def _part(self, block: Part, u: Array, out: Array, add: bool) -> None:
        """the part of u that belongs to one array of a concatenation"""
        self.scaled(ONE, u[block.key], out, add)

    FORMS: ClassVar[Sequence[tuple[Callable[[Block], bool], Callable[..., None]]]] = (
        (is_same_shape, _scaling),
        (is_bias, _bias),
        (lambda block: is_matmul(block, 0), _left_factor),
        (lambda block: is_matmul(block, 1), _right_factor),
        (is_stacked_matmul, _stacked_factor),
        (is_scale, _scale),
        (lambda block: isinstance(block, Index) and not is_basic(block.args[1]), _gathered),
        (lambda block: isinstance(block, Part) and block.x.dtype == block.y.dtype, _part),
    )


def _joint_pull(joint: Joint, u: Array, outs: Sequence[Array], adds: Sequence[bool]) -> None:
    """outs ← Jᵀu, or outs ← outs + Jᵀu if a term was added already."""
    totals, _ = joint.pull(u, [out if add else None for out, add in zip(outs, adds, strict=True)], adds)
    for out, total in zip(outs, totals, strict=True):
        if total is None:
            out.fill(0)
        elif total is not out:
            np.copyto(out, total)
