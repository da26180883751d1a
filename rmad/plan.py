"""A plan: the sweeps over one tape as lists of NumPy calls with all their arguments bound.

    push    for call in calls: call()        each call writes into a buffer that was planned for it
    pull    the same, backwards

A tape is swept hundreds of times at one θ, so what can be decided once is decided here: the tape
is rewritten (`rmad.rewrite`), buffers are shared between nodes that are not alive together, diagonals
work in place, reshapes and slices are views taken once, and the parameters that meet in one sum of products,
x @ W + h @ U + b, become one GEMM, [x h 1] @ [W; U; b], whose right side is a slice of the flat vector.
What has no such form calls its block's own push or pull. A plan is not reentrant: it has one set of buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rmad import tree as _tree
from rmad.forms import address, is_bias, is_matmul, longest_run, prototype
from rmad.rewrite import rewrite
from rmad.rules import Diagonal, Linear
from rmad.schedule import Pull, Push
from rmad.tape import ArraySpec, Tape

__all__ = ["Plan"]

Call = Callable[[], Any]


class Pool:
    """Buffers that nodes take and give back while a sweep is planned."""

    def __init__(self, prototype: Any) -> None:
        self.prototype = prototype  # any array of the kind (NumPy, CuPy) to allocate
        self.free: list[Any] = []
        self.lent: dict[int, Any] = {}

    def new(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros_like(self.prototype, order="C", shape=shape, dtype=dtype, subok=False)

    def take(self, spec: ArraySpec) -> Any:
        nbytes = spec.size * spec.dtype.itemsize
        fitting = [raw for raw in self.free if nbytes <= raw.nbytes <= 2 * nbytes + 4096]
        if fitting:
            raw = min(fitting, key=lambda r: r.nbytes)
            self.free = [r for r in self.free if r is not raw]
        else:
            raw = self.new((nbytes,), np.uint8)
        array = raw[:nbytes].view(spec.dtype).reshape(spec.shape)
        self.lent[id(array)] = (raw, array)
        return array

    @contextmanager
    def with_scratch(self, array: Any) -> Iterator[None]:
        """Lends the memory of an array that is not in use meanwhile."""
        raw = None if array is None else array.view(np.uint8)
        if raw is not None:
            self.free.append(raw)
        yield
        self.free = [r for r in self.free if r is not raw]

    def give(self, array: Any) -> None:
        entry = self.lent.pop(id(array), None)
        if entry is not None:
            self.free.append(entry[0])


class Plan:
    """Both sweeps over a tape, bound to buffers.

    v, u: flat input tangents and cotangents, (p,), where all inputs share one dtype (else None);
    `tangents` and `cotangents` are the inputs' views of them. `z` are the outputs' buffers: push writes
    them, pull reads and may destroy them, so that J, then L″ in place, then Jᵀ needs no copy in between.
    beside: a plan with inputs of the same shapes that is never at work at the same time; `u`, `z` where they fit, and
    all buffers are shared with it.
    """

    def __init__(
        self, tape: Tape, outputs: Sequence[int | None], n_inputs: int, v: Any = None, beside: Plan | None = None
    ) -> None:
        rewrite(tape, outputs)
        self.nodes, self.outputs, self.n_inputs = tape.nodes, outputs, n_inputs
        specs = [node.spec for node in tape.nodes[:n_inputs]]
        self._beside = beside
        self.pool: Pool = Pool(prototype(tape)) if beside is None else beside.pool
        self.flat = len({spec.dtype for spec in specs}) == 1
        self.v: Any
        self.tangents: list[Any]
        self.v, self.tangents = self._vector(specs, v)
        self.u: Any = None
        self.cotangents: list[Any] = []
        self.z: list[Any] = [
            None if k is None else self._output(j, tape.nodes[k].spec) for j, k in enumerate(outputs)
        ]
        self.stacks: dict[int, Stack] = {}
        for j in range(n_inputs, len(self.nodes)):
            self._stack_parameters(j)
        self._push: list[Call] | None = None
        self._pull: list[Call] | None = None

    def _vector(self, specs: Sequence[ArraySpec], flat: Any = None) -> tuple[Any, list[Any]]:
        """Buffers for the inputs: views of one vector where they share a dtype."""
        if not self.flat:
            return None, [self.pool.new(spec.shape, spec.dtype) for spec in specs]
        if flat is None:
            flat = self.pool.new((sum(spec.size for spec in specs),), specs[0].dtype)
        return flat, _tree.split(flat, [spec.shape for spec in specs])

    def _output(self, j: int, spec: ArraySpec) -> Any:
        shared = None if self._beside is None else self._beside.z[j]
        fits = shared is not None and ArraySpec.of(shared) == spec
        return shared if fits else self.pool.new(spec.shape, spec.dtype)

    def push(self) -> None:
        """z ← J v."""
        if self._push is None:
            with self.pool.with_scratch(self._u()):  # u is written by the pull only, so a push may use its memory
                self._push = Push(self).calls
        for call in self._push:
            call()

    def pull(self) -> None:
        """u ← Jᵀ z; z is lost."""
        if self._pull is None:
            self._u()
            self._pull = Pull(self).calls
        for call in self._pull:
            call()

    def _u(self) -> Any:
        if not self.cotangents:
            if self._beside is not None:
                self._beside._u()
                self.u, self.cotangents = self._beside.u, self._beside.cotangents
            else:
                self.u, self.cotangents = self._vector([node.spec for node in self.nodes[: self.n_inputs]])
        return self.u

    def Jv(self, tangents: Sequence[Any]) -> list[Any]:
        """Tangents of the inputs to new arrays, the tangents of the outputs (None for a constant output)."""
        for buffer, v in zip(self.tangents, tangents, strict=True):
            np.copyto(buffer, v)
        self.push()
        return [None if z is None else z.copy()[()] for z in self.z]

    def JTu(self, cotangents: Sequence[Any]) -> list[Any]:
        """Cotangents of the outputs to new arrays, the cotangents of the inputs."""
        for buffer, u in zip(self.z, cotangents, strict=True):
            if buffer is not None:
                np.copyto(buffer, u)
        self.pull()
        return [u.copy()[()] for u in self.cotangents]

    # -- parameters that meet in one sum of products ------------------------------------------------------

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
