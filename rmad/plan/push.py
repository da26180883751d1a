"""Plans a push: for every block of the tape, the NumPy calls that are its push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from rmad.plan.calls import Sweep
from rmad.plan.forms import (
    is_copy,
    is_matmul,
    is_same_shape,
    is_scaling,
    is_stacked_matmul,
    rank,
    transposed_view_of,
    view_of,
)
from rmad.plan.program import Program, Stack
from rmad.plan.rewrite import count_uses
from rmad.primitives.join import Part
from rmad.tapes.blocks import ONE, Block, Diagonal, Linear
from rmad.tapes.tape import Joint
from rmad.types import Array

__all__ = ["Push"]

Term = tuple[int, Block]
Step = Callable[[Array, bool], None]  # (out, add): writes to `out`, or adds to it


class Push(Sweep):
    """Plans v_j ← Σ_i J_ji v_i, forward. flat, tangents: of the inputs, the program's own unless given.

    Per node of the tape, while it is planned:

    v       the array that holds v_j; None before node j is planned. Written by `node` alone.
    owner   the node in whose buffer v_j lies: j itself, or another if v_j is a view. Written by `_alias`.
    reads   per owner, the reads of its buffer that are not planned yet, by the inputs of later nodes. `_alias` moves
            the reads of a view to its owner, `_release` counts down, and at 0 the buffer goes back to the pool.
    first_output   per node that is an output, the number of its first place among them.
    fixed   inputs and outputs, whose buffers never go back: one read of them is never planned.
    """

    def __init__(self, program: Program, flat: Array | None = None, tangents: Sequence[Array] | None = None) -> None:
        super().__init__(program)
        self.flat = program.v if tangents is None else flat
        self.tangents: Sequence[Array] = program.tangents if tangents is None else tangents
        n, n_inputs = len(self.nodes), program.n_inputs
        self.v: list[Any] = [*self.tangents, *[None] * (n - n_inputs)]
        self.owner = list(range(n))
        places = reversed(list(enumerate(program.outputs)))
        self.first_output = {k: place for place, k in places if k is not None}
        self.fixed = set(self.first_output) | set(range(n_inputs))
        self.reads = count_uses(self.nodes, [*program.outputs, *range(n_inputs)])
        for j in range(n_inputs, n):
            if self.nodes[j].inputs:
                self.node(j)
        for k, z in zip(program.outputs, program.z, strict=True):
            if k is not None and z is not None and self.v[k] is not z:  # an input, or a node that is two outputs
                self.scaled(ONE, self.v[k], z, False)

    # -- one node ------------------------------------------------------------------------------------------------

    def node(self, j: int) -> None:
        """v_j ← Σ_i J_ji v_i: as a view of v_i, by the joint of the blocks, or term by term."""
        node, stack = self.nodes[j], self.program.stacks.get(j)
        if node.joint is None and self._alias(j):
            return
        terms = [(i, b) for i, b in zip(node.inputs, node.blocks, strict=True) if not (stack and i in stack.inputs)]
        terms.sort(key=lambda term: rank(term[1]))
        out = self._target(j, [] if stack or node.joint else terms)
        if node.joint is not None:
            self.emit(_joint_push, node.joint.planned(), [self.v[i] for i in node.inputs], out)
        else:
            for k, step in enumerate(self._steps(terms, stack)):
                step(out, k > 0)
        self.v[j] = out
        for i in node.inputs:
            self._release(i, keep=out)

    def _alias(self, j: int) -> bool:
        """Makes v_j a view of v_i if y_j is a reshape, transpose or slice of y_i, or y_i itself."""
        if len(self.nodes[j].blocks) != 1 or j in self.fixed:
            return False
        (i,), (block,) = self.nodes[j].inputs, self.nodes[j].blocks
        view = view_of(block, self.v[i])
        if view is None:
            return False
        self.v[j], self.owner[j] = view, self.owner[i]
        self.reads[self.owner[i]] += self.reads[j] - 1
        return True

    def _target(self, j: int, terms: Sequence[Term]) -> Any:
        """The buffer for v_j: an output's own, that of an input read last here (scaled in place), or a new one."""
        if j in self.fixed:
            return self.program.z[self.first_output[j]]
        if terms:
            i, block = terms[0]
            if self.reads[self.owner[i]] == 1 and self.owner[i] == i and is_same_shape(block):
                return self.v[i]
        return self.pool.take(self.nodes[j].spec)

    def _release(self, i: int, keep: Array) -> None:
        """Counts one read of v_i; after the last its buffer goes back, unless it is `keep`."""
        k = self.owner[i]
        self.reads[k] -= 1
        if self.reads[k] == 0 and self.v[k] is not keep:
            self.pool.give(self.v[k])

    # -- the terms of a sum --------------------------------------------------------------------------------------

    def _steps(self, terms: Sequence[Term], stack: Stack | None) -> list[Step]:
        """The steps that make up v_j: the first one writes, the others add."""
        steps: list[Step] = [partial(self.term, block, self.v[i]) for i, block in terms]
        if stack is not None:
            steps.insert(sum(isinstance(b, Linear) for _, b in terms), partial(self.stack, stack))
        elif len(terms) >= 2 and all(is_copy(b) for _, b in terms[:2]) and not self.on_gpu:  # one pass for y = a + b
            v, w = (self.v[i] for i, _ in terms[:2])
            steps[:2] = [lambda out, add: self.emit(np.add, v, w, out)]
        elif len(terms) >= 2 and terms[0][1].primitive is terms[1][1].primitive:
            steps[:2] = [partial(self._both, terms[:2])]
        return steps

    def stack(self, stack: Stack, out: Array, add: bool) -> None:
        """out ← [x h 1] @ [W; U; b], the tangents of W, U and b."""
        assert self.flat is not None  # only programs with a flat vector have stacks
        parameters = stack.rows_of(self.tangents, self.flat)
        self.product(stack.x, parameters, out.reshape(-1, out.shape[-1]), add)

    def _both(self, terms: Sequence[Term], out: Array, add: bool) -> None:
        """Two terms of one primitive, by one call if it offers that."""
        vs, blocks = [self.v[i] for i, _ in terms], tuple(b for _, b in terms)
        if not self.kernel("push_both", blocks, vs, out, add):
            for k, (block, v) in enumerate(zip(blocks, vs, strict=True)):
                self.term(block, v, out, add or k > 0)

    def term(self, block: Block, v: Array, out: Array, add: bool) -> None:
        """out ← J v or out ← out + J v for one block, by the first form that fits it, or by its own push."""
        for fits, plan in self.FORMS:
            if fits(block):
                plan(self, block, v, out, add)
                return
        if not self.kernel("push", block, [v], out, add):
            self.computed(block.push, partial(transposed_view_of, block), v, out, add)

    def _scaling(self, block: Diagonal, v: Array, out: Array, add: bool) -> None:
        """d v"""
        self.scaled(block.d, v, out, add)

    def _left_factor(self, block: Linear, v: Array, out: Array, add: bool) -> None:
        """v B for y = x B; v: (…, i), B: (i, o)"""
        self.row_product(v, block.args[1], out, add)

    def _right_factor(self, block: Linear, v: Array, out: Array, add: bool) -> None:
        """A v for y = A x; A: (…, i), v: (i, o)"""
        A = block.args[0]
        self.product(A.reshape(-1, A.shape[-1]), v, out.reshape(-1, v.shape[1]), add)

    def _stacked_factor(self, block: Linear, v: Array, out: Array, add: bool) -> None:
        """v B or A v, matrix by matrix"""
        A, B = (v, block.args[1]) if block.argnum == 0 else (block.args[0], v)
        self.matmuls(A, B, out, add)

    def _part(self, block: Part, v: Array, out: Array, add: bool) -> None:
        """v in its place of a concatenation: T parts of one array cost T parts, not T arrays"""
        if not add:
            self.clear(out)
        self.scaled(ONE, v, out[block.key], True)

    FORMS: ClassVar[Sequence[tuple[Callable[[Block], bool], Callable[..., None]]]] = (
        (is_scaling, _scaling),
        (lambda block: is_matmul(block, 0), _left_factor),
        (lambda block: is_matmul(block, 1), _right_factor),
        (is_stacked_matmul, _stacked_factor),
        (lambda block: isinstance(block, Part), _part),
    )


def _joint_push(joint: Joint, tangents: Sequence[Array], out: Array) -> None:
    y = joint.push(tangents)
    out.fill(0) if y is None else np.copyto(out, y)
