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
from functools import cached_property
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


LINE = 64  # bytes: where a buffer begins


class Pool:
    """Buffers that nodes take and give back while a sweep is planned: stretches of a few long arrays of bytes."""

    def __init__(self, prototype: Any) -> None:
        self.prototype = prototype  # any array of the kind (NumPy, CuPy) to allocate
        self.free: list[tuple[Any, int, int]] = []  # (array of bytes, start, stop), no two of them touch
        self.lent: dict[int, tuple[Any, int, int, Any]] = {}

    def new(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros_like(self.prototype, order="C", shape=shape, dtype=dtype, subok=False)

    def take(self, spec: ArraySpec) -> Any:
        """A buffer in the smallest stretch that holds it; the rest of the stretch stays free."""
        nbytes = spec.size * spec.dtype.itemsize
        length = max(1, -(-nbytes // LINE)) * LINE
        fitting = [stretch for stretch in self.free if stretch[2] - stretch[1] >= length]
        if fitting:
            stretch = min(fitting, key=lambda s: s[2] - s[1])
            self.free = [s for s in self.free if s is not stretch]
        else:
            raw = self.new((length,), np.uint8)
            stretch = (raw, 0, length)
        raw, start, stop = stretch
        if start + length < stop:
            self.free.append((raw, start + length, stop))
        array = raw[start : start + nbytes].view(spec.dtype).reshape(spec.shape)
        self.lent[id(array)] = (raw, start, start + length, array)
        return array

    def give(self, array: Any) -> None:
        entry = self.lent.pop(id(array), None)
        if entry is not None:
            self._free(*entry[:3])

    def _free(self, raw: Any, start: int, stop: int) -> None:
        """Adds a stretch, as one with those that it touches."""
        apart = []
        for stretch in self.free:
            if stretch[0] is raw and stretch[2] == start:
                start = stretch[1]
            elif stretch[0] is raw and stretch[1] == stop:
                stop = stretch[2]
            else:
                apart.append(stretch)
        self.free = [*apart, (raw, start, stop)]

    @contextmanager
    def with_scratch(self, array: Any) -> Iterator[None]:
        """Lends the memory of an array that is not in use meanwhile."""
        with self.borrowed([array]):
            self.give(array)
            yield

    @contextmanager
    def borrowed(self, arrays: Sequence[Any]) -> Iterator[None]:
        """Within, `give` takes these arrays too (None is left out), as soon as they are not in use any more."""
        arrays = [array for array in arrays if array is not None and array.size]
        raws = [array.reshape(-1).view(np.uint8) for array in arrays]
        for raw, array in zip(raws, arrays, strict=True):
            start = -address(raw) % LINE
            if start < raw.size:
                self.lent[id(array)] = (raw, start, raw.size, array)
        try:
            yield
        finally:  # also where planning is interrupted: the arrays are not the pool's
            for array in arrays:
                self.lent.pop(id(array), None)
            self.free = [stretch for stretch in self.free if not any(stretch[0] is raw for raw in raws)]


class Plan:
    """Both sweeps over a tape, bound to buffers.

    v, u: flat input tangents and cotangents, (p,), where all inputs share one dtype (else None), made when they are
    first asked for; `tangents` and `cotangents` are the inputs' views of them. `z` are the outputs' buffers: push
    writes them, pull reads and may destroy them, so that J, then L″ in place, then Jᵀ needs no copy in between.
    make_v: gives the array to use as v, in place of one of its own.
    beside: a plan with inputs of the same shapes that is never at work at the same time; `u`, `z` where they fit, and
    all buffers are shared with it.
    """

    def __init__(
        self,
        tape: Tape,
        outputs: Sequence[int | None],
        n_inputs: int,
        make_v: Callable[[], Any] | None = None,
        beside: Plan | None = None,
    ) -> None:
        rewrite(tape, outputs)
        self.nodes, self.outputs, self.n_inputs = tape.nodes, outputs, n_inputs
        self._specs = [node.spec for node in tape.nodes[:n_inputs]]
        self._beside, self._make_v = beside, make_v
        self.pool: Pool = Pool(prototype(tape)) if beside is None else beside.pool
        self.flat = len({spec.dtype for spec in self._specs}) == 1
        self.z: list[Any] = [
            None if k is None else self._output(j, tape.nodes[k].spec) for j, k in enumerate(outputs)
        ]
        self.stacks: dict[int, Stack] = {}
        for j in range(n_inputs, len(self.nodes)):
            self._stack_parameters(j)
        self._push: list[Call] | None = None
        self._pull: list[Call] | None = None
        self._lent: dict[str, tuple[Any, list[Call]]] = {}  # sweeps over arrays of the caller, by direction

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

    def push(self, v: Any = None, free: Any = None) -> None:
        """z ← J v. v: a flat array of the caller's to read in place of `v`; free: to destroy meanwhile in place of `u`.

        The calls are bound to the arrays, and bound anew when others come.
        """
        if v is not None:
            free = self.u if free is None else free
            calls = self._over("push", (v, free), lambda: self._planned_push(free, self._vector(v)))
        elif self._push is None:
            # u is written by the pull only, so a push may use its memory
            calls = self._push = self._planned_push(self.u, self._v)
        else:
            calls = self._push
        for call in calls:
            call()

    def pull(self, u: Any = None) -> None:
        """u ← Jᵀ z; z is lost. u: a flat array of the caller's to write in place of `u`."""
        if u is not None:
            calls = self._over("pull", (u,), lambda: self._planned_pull(self._vector(u)))
        elif self._pull is None:
            calls = self._pull = self._planned_pull(self._u)
        else:
            calls = self._pull
        for call in calls:
            call()

    def _planned_push(self, free: Any, v: tuple[Any, list[Any]]) -> list[Call]:
        with self.pool.with_scratch(free):
            return Push(self, *v).calls

    def _planned_pull(self, u: tuple[Any, list[Any]]) -> list[Call]:
        with self.pool.borrowed(self.z):
            return Pull(self, *u).calls

    def _over(self, direction: str, arrays: Sequence[Any], planned: Callable[[], list[Call]]) -> list[Call]:
        """The calls of a sweep over arrays of the caller: the last ones, where the arrays are the same."""
        key = tuple(None if a is None else address(a) for a in arrays)  # their memory stays theirs: the calls hold it
        found = self._lent.get(direction)
        if found is None or found[0] != key:
            self._lent.pop(direction, None)
            found = self._lent[direction] = (key, planned())
        return found[1]

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
