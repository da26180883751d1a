"""Planning a push: for every block of the tape, the NumPy calls that are its push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from rmad.blocks import Block, Diagonal, Linear
from rmad.plan.calls import Sweep
from rmad.plan.forms import is_copy, is_matmul, is_stacked_matmul, rank, simple, view_of
from rmad.plan.program import Program, Stack
from rmad.primitives.join import Part
from rmad.tape import Joint

__all__ = ["Push"]


class Push(Sweep):
    """Plans v_j ← Σ_i J_ji v_i, forwards. flat, tangents: of the inputs, the plan's own unless given."""

    def __init__(self, plan: Program, flat: Any = None, tangents: Sequence[Any] | None = None) -> None:
        super().__init__(plan)
        self.flat, self.tangents = (plan.v, plan.tangents) if tangents is None else (flat, tangents)
        self.v: list[Any] = [*self.tangents, *[None] * (len(self.nodes) - plan.n_inputs)]
        self.owner: list[int] = list(range(len(self.nodes)))  # whose storage a node's tangent lies in
        self.reads = [0] * len(self.nodes)  # how often that storage is still to be read
        for node in self.nodes:
            for i in node.inputs:
                self.reads[i] += 1
        self.fixed = {k for k in plan.outputs if k is not None} | set(range(plan.n_inputs))
        for fixed in self.fixed:
            self.reads[fixed] += 1  # never given back
        for j in range(plan.n_inputs, len(self.nodes)):
            if self.nodes[j].inputs:
                self.node(j)
        for k, z in zip(plan.outputs, plan.z, strict=True):
            if k is not None and self.v[k] is not z:
                self.emit(np.copyto, z, self.v[k])

    def node(self, j: int) -> None:
        node, stack = self.nodes[j], self.plan.stacks.get(j)
        if node.joint is None and self.alias(j):
            return
        terms = [(i, b) for i, b in zip(node.inputs, node.blocks, strict=True) if not (stack and i in stack.inputs)]
        terms.sort(key=lambda term: rank(term[1]))  # products first, they write; then what is added
        out = self.target(j, [] if stack or node.joint else terms)
        if node.joint is not None:
            self.emit(_joint_push, node.joint, [self.v[i] for i in node.inputs], out)
        else:
            for k, step in enumerate(self.steps(terms, stack)):
                step(out, k > 0)
        self.v[j] = out
        for i in node.inputs:
            self.release(i, keep=out)

    def steps(self, terms: Sequence[tuple[int, Block]], stack: Stack | None) -> list[Callable[[Any, bool], None]]:
        """What makes up v_j, each a function of (out, add): the first one writes, the others add."""
        steps: list[Callable[[Any, bool], None]] = [partial(self.term, block, self.v[i]) for i, block in terms]
        if stack is not None:
            steps.insert(sum(isinstance(b, Linear) for _, b in terms), partial(self.stack, stack))
        elif len(terms) >= 2 and all(is_copy(b) for _, b in terms[:2]):  # one pass for y = a + b
            v, w = (self.v[i] for i, _ in terms[:2])
            steps[:2] = [lambda out, add: self.emit(np.add, v, w, out)]
        elif len(terms) >= 2 and terms[0][1].primitive is terms[1][1].primitive:
            steps[:2] = [partial(self.both, terms[:2])]
        return steps

    def both(self, terms: Sequence[tuple[int, Block]], out: Any, add: bool) -> None:
        """Two terms of one primitive, by one call if it offers that."""
        vs, blocks = [self.v[i] for i, _ in terms], tuple(b for _, b in terms)
        if not self.kernel("push_both", blocks, vs, out, add):
            for k, (block, v) in enumerate(zip(blocks, vs, strict=True)):
                self.term(block, v, out, add or k > 0)

    def stack(self, stack: Stack, out: Any, add: bool) -> None:
        parameters = stack.rows_of(self.tangents, self.flat)
        self.product(stack.x, parameters, out.reshape(-1, out.shape[-1]), add)

    def target(self, j: int, terms: Sequence[tuple[int, Block]]) -> Any:
        """Where v_j goes: an output's own buffer, a dying input's that a diagonal scales in place, or a new one."""
        if j in self.fixed:
            return self.plan.z[self.plan.outputs.index(j)]
        if terms:
            i, block = terms[0]
            dying = self.reads[self.owner[i]] == 1 and self.owner[i] == i
            if dying and isinstance(block, Diagonal) and simple(block) and block.x == block.y:
                return self.v[i]
        return self.pool.take(self.nodes[j].spec)

    def alias(self, j: int) -> bool:
        """A reshape, transpose or slice of a buffer is a view, taken once; so is y = x."""
        if len(self.nodes[j].blocks) != 1 or j in self.fixed:
            return False
        (i,), (block,) = self.nodes[j].inputs, self.nodes[j].blocks
        view = view_of(block, self.v[i])
        if view is None:
            return False
        self.v[j], self.owner[j] = view, self.owner[i]
        self.reads[self.owner[i]] += self.reads[j] - 1
        return True

    def release(self, i: int, keep: Any) -> None:
        k = self.owner[i]
        self.reads[k] -= 1
        if self.reads[k] == 0 and self.v[k] is not keep:
            self.pool.give(self.v[k])

    def term(self, block: Block, v: Any, out: Any, add: bool) -> None:
        """out ← J v or out ← out + J v for one block."""
        if isinstance(block, Diagonal) and simple(block):
            self.scaled(block.d, v, out, add)
        elif is_matmul(block, 0):
            self.row_product(v, block.args[1], out, add)
        elif is_matmul(block, 1):
            A = block.args[0]
            self.product(A.reshape(-1, A.shape[-1]), v, out.reshape(-1, v.shape[1]), add)
        elif is_stacked_matmul(block):
            A, B = (v, block.args[1]) if block.argnum == 0 else (block.args[0], v)
            self.into(out, add, lambda target: self.emit(np.matmul, A, B, target))
        elif isinstance(block, Part):  # T parts of one array cost T parts, not T arrays
            if not add:
                self.emit(out.fill, 0)
            self.emit(np.add, out[block.key], v, out[block.key])
        elif not self.kernel("push", block, [v], out, add):
            self.computed(block.push, v, out, add)


def _joint_push(joint: Joint, tangents: Sequence[Any], out: Any) -> None:
    y = joint.push(tangents)
    out.fill(0) if y is None else np.copyto(out, y)
