"""The part of a plan that both directions share: the rewritten tape, the buffers of its ends, its stacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.machine.turns import lazy
from rmad.plan.buffers import Pool, address
from rmad.plan.forms import is_bias, is_matmul
from rmad.plan.rewrite import rewrite
from rmad.tapes.blocks import Block, Diagonal, Linear
from rmad.tapes.tape import ArraySpec, Node, Tape
from rmad.trees import tree as _tree
from rmad.types import Array

__all__ = ["Program", "Stack"]


class Program:
    """A rewritten tape with the buffers of its inputs and outputs, and the parameters that share one product.

    nodes:               of the rewritten tape; absorbed and dead ones have no inputs
    outputs, z:          per output its node and its buffer, None for a constant
    n_inputs, flat:      nodes[:n_inputs] are the inputs; True if they share one dtype
    v, tangents:         the inputs' tangents as one vector (None unless `flat`), and per input, views of it
    u, cotangents:       likewise; both pairs are allocated when first asked for
    stacks:              by node, the parameters that become one product there
    make_v:              returns the array to use as v; sharing: another program, whose u, z (if they fit) and pool this
                         one uses too, so that the two never run at the same time
    """

    def __init__(
        self,
        tape: Tape,
        outputs: Sequence[int | None],
        n_inputs: int,
        make_v: Callable[[], Array | None] | None = None,
        sharing: Program | None = None,
    ) -> None:
        rewrite(tape, outputs)
        self.nodes, self.outputs, self.n_inputs = tape.nodes, outputs, n_inputs
        self._specs = [node.spec for node in tape.nodes[:n_inputs]]
        self._sharing, self._make_v = sharing, make_v
        self.pool: Pool = Pool(tape.like) if sharing is None else sharing.pool
        self.flat = len({spec.dtype for spec in self._specs}) == 1
        self.z: list[Array | None] = [
            None if k is None else self._output(j, tape.nodes[k].spec) for j, k in enumerate(outputs)
        ]
        self.stacks: dict[int, Stack] = {}
        for j in range(n_inputs, len(self.nodes)):
            if (stack := self._stacked(self.nodes[j])) is not None:
                self.stacks[j] = stack

    # -- the buffers of inputs and outputs -----------------------------------------------------------------

    @lazy
    def v(self) -> Any:
        given = self._make_v() if self._make_v is not None and self.flat else None
        return self._new_vector() if given is None else given

    @lazy
    def tangents(self) -> list[Array]:
        return self.inputs_of(self.v)

    @lazy
    def u(self) -> Any:
        return self._new_vector() if self._sharing is None else self._sharing.u

    @lazy
    def cotangents(self) -> list[Array]:
        return self.inputs_of(self.u) if self._sharing is None else self._sharing.cotangents

    def _new_vector(self) -> Array | None:
        return self.pool.new((sum(spec.size for spec in self._specs),), self._specs[0].dtype) if self.flat else None

    def inputs_of(self, vector: Array | None) -> list[Array]:
        """One array per input: views of the flat vector, or new ones if there is none."""
        if vector is None:
            return [self.pool.new(spec.shape, spec.dtype) for spec in self._specs]
        return _tree.split(vector, [spec.shape for spec in self._specs])

    def _output(self, j: int, spec: ArraySpec) -> Array:
        shared = None if self._sharing is None else self._sharing.z[j]
        return shared if shared is not None and ArraySpec.of(shared) == spec else self.pool.new(spec.shape, spec.dtype)

    # -- parameters that share one product -------------------------------------------------------------------

    def _stacked(self, node: Node) -> Stack | None:
        """The longest run of neighbouring parameters W, U, b in x @ W + h @ U + b; None if there are fewer than two."""
        if not self.flat or not any(is_matmul(block, 0) for block in node.blocks):
            return None  # x @ W + b of given data: stacking would save one pass and cost a copy of x
        times = Counter(node.inputs)
        found = {
            i: block
            for i, block in zip(node.inputs, node.blocks, strict=True)
            if i < self.n_inputs and (is_matmul(block, 1) or is_bias(block)) and times[i] == 1
        }  # a parameter twice in one sum, as x @ W + W @ x, is left alone
        run = longest_run(sorted(found))
        return Stack(run, self._side_by_side([found[i] for i in run], node.spec)) if len(run) >= 2 else None

    def _side_by_side(self, terms: Sequence[Block], spec: ArraySpec) -> Array:
        """[x h 1], (rows, columns): the residuals of the terms, which become views of it."""
        rows = int(np.prod(spec.shape[:-1]))
        widths = [1 if isinstance(b, Diagonal) else b.x.shape[0] for b in terms]
        x = self.pool.new((rows, sum(widths)), spec.dtype)  # not padded: np.dot copies what is not contiguous
        column = 0
        for block, n in zip(terms, widths, strict=True):
            part = x[:, column : column + n]
            if isinstance(block, Linear):
                np.copyto(part, block.args[0].reshape(rows, n))
                block.args = (part.reshape(block.args[0].shape) if rows else part, *block.args[1:])
            else:
                part[...] = 1
            column += n
        return x


class Stack:
    """x = [x h 1], (rows, k): the residual of several neighbouring parameters in one node; `inputs`: their numbers."""

    def __init__(self, inputs: Sequence[int], x: Array) -> None:
        self.inputs, self.x = inputs, x

    def rows_of(self, buffers: Sequence[Array], flat: Array) -> Array:
        """[W; U; b], (k, o): a view of the flat vector that the buffers are views of."""
        first, last = buffers[self.inputs[0]], buffers[self.inputs[-1]]
        start = (address(first) - address(flat)) // flat.itemsize
        stop = (address(last) - address(flat)) // flat.itemsize + last.size
        return flat[start:stop].reshape(self.x.shape[1], -1)


def longest_run(numbers: Sequence[int]) -> list[int]:
    """The longest run of consecutive numbers."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return max(runs, key=len, default=[])
