"""What is decided once about a tape that will be swept many times: its buffers, its outputs, its stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rmad import tree as _tree
from rmad.blocks import Diagonal, Linear
from rmad.plan.buffers import Pool, address, prototype
from rmad.plan.forms import is_bias, is_matmul
from rmad.plan.rewrite import rewrite
from rmad.tape import ArraySpec, Tape

__all__ = ["Program", "Stack"]


class Program:
    """A rewritten tape with the buffers of its inputs and outputs, and the parameters that share one product."""

    def __init__(
        self,
        tape: Tape,
        outputs: Sequence[int | None],
        n_inputs: int,
        make_v: Callable[[], Any] | None = None,
        beside: Program | None = None,
    ) -> None:
        rewrite(tape, outputs)
        self.nodes, self.outputs, self.n_inputs = tape.nodes, outputs, n_inputs
        self._specs = [node.spec for node in tape.nodes[:n_inputs]]
        self._beside, self._make_v = beside, make_v
        self.pool: Pool = Pool(prototype(tape)) if beside is None else beside.pool
        self.flat = len({spec.dtype for spec in self._specs}) == 1
        self.z: list[Any] = [None if k is None else self._output(j, tape.nodes[k].spec) for j, k in enumerate(outputs)]
        self.stacks: dict[int, Stack] = {}
        for j in range(n_inputs, len(self.nodes)):
            self._stack_parameters(j)

    @cached_property
    def _v(self) -> tuple[Any, list[Any]]:
        return self._vector(self._make_v() if self._make_v is not None and self.flat else None)

    @cached_property
    def _u(self) -> tuple[Any, list[Any]]:
        return self._vector() if self._beside is None else self._beside._u

    @property
    def v(self) -> Any:
        return self._v[0]

    @property
    def tangents(self) -> list[Any]:
        return self._v[1]

    @property
    def u(self) -> Any:
        return self._u[0]

    @property
    def cotangents(self) -> list[Any]:
        return self._u[1]

    def _vector(self, flat: Any = None) -> tuple[Any, list[Any]]:
        """Buffers for the inputs: views of one vector where they share a dtype."""
        if not self.flat:
            return None, [self.pool.new(spec.shape, spec.dtype) for spec in self._specs]
        if flat is None:
            flat = self.pool.new((sum(spec.size for spec in self._specs),), self._specs[0].dtype)
        return flat, _tree.split(flat, [spec.shape for spec in self._specs])

    def _output(self, j: int, spec: ArraySpec) -> Any:
        shared = None if self._beside is None else self._beside.z[j]
        fits = shared is not None and ArraySpec.of(shared) == spec
        return shared if fits else self.pool.new(spec.shape, spec.dtype)

    def _stack_parameters(self, j: int) -> None:
        """x @ W + h @ U + b with neighbouring parameters: [x h 1] is laid out once, as one residual."""
        node = self.nodes[j]
        if not any(is_matmul(block, 0) for block in node.blocks):
            return  # x @ W + b of given data: stacking would save one pass and cost a copy of x
        found = {}
        for i, block in zip(node.inputs, node.blocks, strict=True):
            alone = node.inputs.count(i) == 1  # a parameter twice in one sum, as x @ W + W @ x, is left alone
            if i < self.n_inputs and alone and (is_matmul(block, 1) or is_bias(block)):
                found[i] = block
        run = longest_run(sorted(found)) if self.flat else []
        if len(run) < 2:
            return
        terms = [found[i] for i in run]
        rows = int(np.prod(node.spec.shape[:-1]))
        widths = [1 if isinstance(b, Diagonal) else b.x.shape[0] for b in terms]
        width = sum(widths)
        x = self.pool.new((rows, width), node.spec.dtype)  # not padded: np.dot copies what is not contiguous
        column = 0
        for block, n in zip(terms, widths, strict=True):
            part = x[:, column : column + n]
            if isinstance(block, Linear):
                np.copyto(part, block.args[0].reshape(rows, n))
                block.args = (part.reshape(block.args[0].shape) if rows else part, *block.args[1:])
            else:
                part[...] = 1
            column += n
        self.stacks[j] = Stack(run, x)


class Stack:
    """[x h 1]: the residual of several neighbouring parameters in one node; `inputs` are their numbers."""

    def __init__(self, inputs: Sequence[int], x: Any) -> None:
        self.inputs, self.x = inputs, x

    def rows_of(self, buffers: Sequence[Any], flat: Any) -> Any:
        """[W; U; b] as a (k, o) view of the flat vector."""
        first, last = buffers[self.inputs[0]], buffers[self.inputs[-1]]
        start = (address(first) - address(flat)) // flat.itemsize
        stop = (address(last) - address(flat)) // flat.itemsize + last.size
        return flat[start:stop].reshape(self.x.shape[1], -1)


def longest_run(numbers: Sequence[int]) -> list[int]:
    """The longest run of consecutive numbers."""
    best: list[int] = []
    run: list[int] = []
    for n in numbers:
        run = [*run, n] if run and n == run[-1] + 1 else [n]
        best = run if len(run) > len(best) else best
    return best
