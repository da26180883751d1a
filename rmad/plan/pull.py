"""Planning a pull: for every block of the tape, the NumPy calls that are its pull."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from rmad.blocks import ONE, Block, Diagonal, Linear
from rmad.plan.buffers import shares
from rmad.plan.calls import Sweep, column_dots
from rmad.plan.forms import is_bias, is_matmul, is_scale, is_stacked_matmul, rank, simple, view_of
from rmad.plan.program import Program, Stack
from rmad.primitives.index import Index, is_basic, scatter_add
from rmad.primitives.join import Part
from rmad.primitives.matmul import mT
from rmad.tape import Joint

__all__ = ["Pull"]


class Pull(Sweep):
    """Plans u_i ← Σ_j J_jiᵀ u_j, backwards. flat, cotangents: of the inputs, the plan's own unless given."""

    def __init__(self, plan: Program, flat: Any = None, cotangents: Sequence[Any] | None = None) -> None:
        super().__init__(plan)
        self.flat, self.cotangents = (plan.u, plan.cotangents) if cotangents is None else (flat, cotangents)
        n = len(self.nodes)
        self.u: list[Any] = [None] * n
        self.whole = [False] * n  # u[j] is a buffer of its own, not a view of another node's
        self.uses = [0] * n
        self.probes: dict[int, Any] = {}  # views are probed on the layout that they will meet, a view of a view too
        self.views = [self.view_source(j) for j in range(n)]
        self.probes.clear()
        for node in self.nodes:
            for i in node.inputs:
                self.uses[i] += 1
        for k, z in zip(plan.outputs, plan.z, strict=True):
            if k is not None:
                self.uses[k] += 1
                self.start(k, z)
        for j in range(n - 1, plan.n_inputs - 1, -1):
            if self.u[j] is not None and self.nodes[j].inputs and self.views[j] is None:
                self.node(j)
        for i, u in enumerate(self.cotangents):
            if self.u[i] is None:
                self.emit(u.fill, 0)

    def start(self, k: int, z: Any) -> None:
        if self.u[k] is None and self.views[k] is None and k >= self.plan.n_inputs:
            self.u[k], self.whole[k] = z, True
        else:
            out, add = self.target(k)
            self.scaled(ONE, z, out, add)

    def view_source(self, j: int) -> Callable[[Any], Any] | None:
        """For a node that only rearranges its input: the same rearrangement, as a view of a buffer."""
        node = self.nodes[j]
        if len(node.blocks) != 1 or not isinstance(node.blocks[0], Linear):
            return None
        block, source = node.blocks[0], self.probes.get(node.inputs[0])
        probe = view_of(block, self.pool.new(block.x.shape, block.x.dtype) if source is None else source)
        if probe is None or probe.size > block.x.size:
            return None
        self.probes[j] = probe
        return partial(view_of, block)

    def target(self, i: int) -> tuple[Any, bool]:
        """The buffer of u_i, and whether something is in it already."""
        if self.u[i] is not None:
            return self.u[i], True
        view = self.views[i]
        if view is None:
            is_input = i < self.plan.n_inputs
            self.u[i] = self.cotangents[i] if is_input else self.pool.take(self.nodes[i].spec)
            self.whole[i] = not is_input
            return self.u[i], False
        source = self.nodes[i].inputs[0]
        buffer, add = self.target(source)
        if not add and (self.uses[source] > 1 or self.nodes[i].spec.size < self.nodes[source].spec.size):
            self.emit(buffer.fill, 0)
            add = True
        self.u[i] = view(buffer)
        return self.u[i], add

    def node(self, j: int) -> None:
        node, u = self.nodes[j], self.u[j]
        if node.joint is not None:
            # all are written by one call: a view, which comes later on the tape than what it looks into, must be asked
            # for first, so that the whole buffer is zero by then and both add to it
            found = {i: self.target(i) for i in sorted(node.inputs, reverse=True)}
            targets = [found[i] for i in node.inputs]
            self.emit(_joint_pull, node.joint, u, [out for out, _ in targets], [add for _, add in targets])
            if self.whole[j]:
                self.pool.give(u)
            return
        terms = list(zip(node.inputs, node.blocks, strict=True))
        stack = self.plan.stacks.get(j)
        if stack:
            self.stack(stack, u)
            terms = [(i, b) for i, b in terms if i not in stack.inputs]
        terms.sort(key=lambda term: rank(term[1]))  # diagonals last: they may take u's buffer over
        for k, (i, block) in enumerate(terms):
            last = k == len(terms) - 1
            if last and self.whole[j] and self.takes_over(i, block):
                self.u[i], self.whole[i] = u, True
                self.scaled(block.d, u, u, False)  # type: ignore[attr-defined]
                self.whole[j] = False
            else:
                self.term(i, block, u)
        if self.whole[j]:
            self.pool.give(u)

    def takes_over(self, i: int, block: Block) -> bool:
        """Whether u_i may be computed in the buffer of u_j, which nobody reads after this."""
        free = self.u[i] is None and self.views[i] is None and i >= self.plan.n_inputs
        return free and isinstance(block, Diagonal) and simple(block) and block.x == block.y

    def stack(self, stack: Stack, u: Any) -> None:
        """[W̄; Ū; b̄] ← [x h 1]ᵀ u in one product."""
        started = [self.u[i] is not None for i in stack.inputs]
        if any(started):
            for i, done in zip(stack.inputs, started, strict=True):
                if not done:
                    self.emit(self.cotangents[i].fill, 0)
        for i in stack.inputs:
            self.u[i] = self.cotangents[i]
        out = stack.rows_of(self.cotangents, self.flat)
        with self.rows(u) as rows:
            self.product(stack.x.T, rows, out, any(started))

    def column_sums(self, u: Any, out: Any, add: bool) -> None:
        """out ← Σ u or out ← out + Σ u over all axes but the last, by a product with ones: three times as fast."""
        rows = u.reshape(-1, u.shape[-1])
        if shares(rows, u):
            ones = np.ones_like(rows, shape=(1, len(rows)))
            self.product(ones, rows, out.reshape(1, -1), add)
        else:
            axes = tuple(range(u.ndim - 1))
            self.into(out, add, lambda target: self.emit(np.add.reduce, u, axes, None, target.reshape(u.shape[-1])))

    def term(self, i: int, block: Block, u: Any) -> None:
        """u_i ← Jᵀ u or u_i ← u_i + Jᵀ u for one block."""
        out, add = self.target(i)
        if isinstance(block, Diagonal) and simple(block) and block.x == block.y:
            self.scaled(block.d, u, out, add)
        elif is_bias(block):
            self.column_sums(u, out, add)
        elif is_matmul(block, 0):
            self.row_product(u, block.args[1].T, out, add)
        elif is_matmul(block, 1):
            A = block.args[0]
            with self.rows(u) as rows:
                self.product(A.reshape(-1, A.shape[-1]).T, rows, out, add)
        elif is_stacked_matmul(block):
            A, B = (u, mT(block.args[1])) if block.argnum == 0 else (mT(block.args[0]), u)
            self.into(out, add, lambda target: self.emit(np.matmul, A, B, target))
        elif is_scale(block):
            self.into(out, add, lambda target: self.emit(column_dots, block.d, u, target))
        elif isinstance(block, Index) and not is_basic(block.args[1]):
            if not add:
                self.emit(out.fill, 0)
            self.emit(scatter_add, out, block.args[1], u)
        elif isinstance(block, Part) and block.x.dtype == block.y.dtype:
            self.scaled(ONE, u[block.key], out, add)
        elif not self.kernel("pull", block, [u], out, add):
            self.computed(block.pull, u, out, add)


def _joint_pull(joint: Joint, u: Any, outs: Sequence[Any], adds: Sequence[bool]) -> None:
    """outs ← Jᵀu, or outs ← outs + Jᵀu where something is in them already."""
    totals, _ = joint.pull(u, [out if add else None for out, add in zip(outs, adds, strict=True)], adds)
    for out, total in zip(outs, totals, strict=True):
        if total is None:
            out.fill(0)
        elif total is not out:
            np.copyto(out, total)
