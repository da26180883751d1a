"""A recurrent layer as one node: its sweeps over time, written with buffers of their own.

    a_t = P [1; x_t; h_{t−1}; 1],   P = [b; W; U; e]ᵀ,   (h_t, c_t) = cell(a_t, h_{t−1}, c_{t−1})
    push   v_a = V [1; x; h; 1] + P [v_x; v_h]      pull   P̄ += u_a [1; x; h; 1]ᵀ,   [u_x; u_h] = Pᵀ u_a

(e is the GRU's second bias.) The residuals of a step are [1; x; h; 1] and the coefficients of its cell, and nothing
else. With checkpoints even these are kept for few segments of the steps at a time and computed again from the state
before a segment: memory for O(√T) steps, and nearly two more forward passes per product (Martens & Sutskever 2012,
section 7.1). The layer as a loop of NumPy calls, `steps`, stays the definition: nested derivatives are taken of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from rmad import tuning
from rmad.joint.checkpointing import Piece, Pieces
from rmad.joint.layout import Cell, Layout, ParameterSums, Residuals, Scratch
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.machine.products import multiply
from rmad.machine.turns import turn
from rmad.tracing.traced import Traced
from rmad.types import Array

__all__ = ["Recurrence", "recur"]

Part = tuple[slice, slice, Array]  # rows of a, rows of [1; x; h; 1], block of a matrix like P


class Recurrence:
    """One run of a recurrent layer over plain arrays, and the sweeps over it.

    arrays: W, U, b or None as the layer has them, x (n, t, i), h and c (n, m) before the first step or None, e (m,) or
    None. every: a checkpoint after so many steps; None keeps the residuals of all. last: the result is h after the
    last step, (n, m), not (n, t, m).
    """

    def __init__(self, cell: Cell, steps: Callable[..., Any], last: bool, every: int | None) -> None:
        self.cell, self.steps, self.last, self.every = cell, steps, last, every
        self.checkpoints: list[tuple[Array, Array | None]] = []
        self.held: dict[int, Residuals] = {}  # by segment

    def __call__(self, W: Any, U: Any, b: Any, x: Any, h: Any, c: Any, e: Any) -> Array:
        """The layer's value; when all arrays are plain, in one pass that keeps the residuals."""
        if any(isinstance(a, Traced) for a in (W, U, b, x, h, c, e)):
            return self.steps(W, U, b, x, h, c, e)
        self.x, self.T, self.n = x, x.shape[1], x.shape[0]
        self.i, self.m = x.shape[2], len(U)
        self.layout = Layout(self.cell, self.i, self.m, b is not None, e is not None)
        self.P = self.layout.fill(arrays.zeros(x, self.layout.shape), W, U, b, e)
        y = arrays.empty(x, (self.n, self.m)) if self.last else arrays.empty(x, (self.n, self.T, self.m))
        h = arrays.zeros(x, (self.m, self.n)) if h is None else h.T
        if self.cell.has_cell:
            c = arrays.zeros(x, (self.m, self.n)) if c is None else c.T
        self.size = min(self.every or self.T, self.T)
        firsts = range(0, self.T, self.size)
        buffers = [self._residuals() for _ in range(self._most_held(len(firsts)))]
        for s, first in enumerate(firsts):
            self.checkpoints.append((h, c))
            residuals = buffers.pop() if buffers else self.held.pop(min(self.held))
            h, c = self._advance(s, first, residuals, None if self.last else y)
        if self.last:
            np.copyto(y, h.T)
        return y

    def _residuals(self) -> Residuals:
        return Residuals(self.cell, self.size, self.x, self.layout, self.n)

    def _most_held(self, segments: int) -> int:
        """The number of segments whose residuals fit, with all checkpoints, into a share of the memory of all."""
        step = self.layout.shape[1] + (self.cell.blocks + self.cell.extras) * self.m
        states = segments * self.m * (1 + self.cell.has_cell)
        return max(1, min(segments, int((self.T * step / tuning.CHECKPOINTED_SHARE - states) / (self.size * step))))

    def _advance(self, s: int, first: int, r: Residuals, y: Array | None = None) -> tuple[Array, Array | None]:
        """Segment s from its checkpoint: fills the residuals, and y with the states; returns the state after it."""
        (h, c), stop, layout = self.checkpoints[s], min(first + self.size, self.T), self.layout
        count, parts = stop - first, self._parts(self.P, Scratch(self.x))
        np.copyto(r.inputs[:count, layout.x], np.transpose(self.x[:, first:stop], (1, 2, 0)))
        np.copyto(r.inputs[0, layout.h], h)
        if c is not None:
            c, start = arrays.empty(c, (self.m, self.n)), c
            np.copyto(c, start)
        end = arrays.empty(self.x, (self.m, self.n))
        scratch = [arrays.empty(self.x, (self.m, self.n)) for _ in range(self.cell.scratch)]
        with np.errstate(over="ignore"):
            for k in range(count):
                inputs, a, extras = r.steps[k]
                h = r.inputs[k + 1, layout.h] if k + 1 < count else end
                for rows, columns, P in parts:
                    np.dot(P, inputs[columns], a[rows])
                self.cell.forward(a, inputs[layout.h], h, c, extras, scratch)
                if y is not None:
                    np.copyto(y[:, first + k], h.T)
        self.held[s] = r  # not before: an interrupt leaves the buffers half written
        return end, c

    def _segments(self, backwards: bool = False) -> Iterator[tuple[int, int, Residuals]]:
        """(first, stop, residuals) of the segments; a segment that is not held is computed again.

        A pull after a push, and a push after a pull, begin with the segments that the other ended with. A new segment
        takes the buffers of the one that this sweep left behind first.
        """
        order = range(len(self.checkpoints))
        most = self._most_held(len(order))
        for s in reversed(order) if backwards else order:
            first = s * self.size
            if s not in self.held:
                left_behind = (max if backwards else min)(self.held, default=s)
                self._advance(s, first, self.held.pop(left_behind) if len(self.held) >= most else self._residuals())
            yield first, min(first + self.size, self.T), self.held[s]

    def _parts(self, P: Array, scratch: Scratch, columns: slice | None = None) -> list[Part]:
        """The blocks of a product with P; with `columns`, of P restricted to these columns."""
        parts = []
        for rows, cut in self.layout.parts:
            if columns is not None:
                cut = slice(max(cut.start, columns.start), max(cut.start, columns.start, min(cut.stop, columns.stop)))
            parts.append((rows, cut, scratch.contiguous(P[rows, cut])))
        return parts

    @property
    def alone(self) -> AbstractContextManager[Any]:
        """The context of a sweep: threads take turns when segments share buffers."""
        return turn(self) if len(self.checkpoints) > 1 else nullcontext()

    def push(
        self, vW: Any, vU: Any, vb: Any, vx: Any, vh0: Any, vc0: Any, ve: Any, scratch: Scratch | None = None
    ) -> Array:
        """J v, from the tangents of the arrays (None for zero); in an array of the scratch, if one is given."""
        m, n, cell, layout = self.m, self.n, self.cell, self.layout
        new = Scratch(self.x) if scratch is None else scratch.begin()
        by_parameters: list[Part] = []
        if not all(v is None for v in (vW, vU, vb, ve)):
            by_parameters = self._parts(layout.fill(new.zeros(layout.shape), vW, vU, vb, ve), new)
        by_state = self._parts(self.P, new, layout.h if vx is None else layout.both)
        before = new.zeros((layout.shape[1], n))  # [·; v_x; v_h; ·]
        vh, vc = before[layout.h], new.zeros((m, n)) if cell.has_cell else None
        _start(vh, vh0)
        _start(vc, vc0)
        starts = vx is not None or vh0 is not None  # before the first step there is a tangent already
        va, more = new.empty((cell.blocks * m, n)), new.empty((cell.blocks * m, n))
        out = None if self.last else new.empty((n, self.T, m))
        for t, inputs, d, extras in self._steps():
            if vx is not None:
                np.copyto(before[layout.x], vx[:, t].T)
            if by_parameters:
                _multiply(by_parameters, inputs, va)
                if t or starts:
                    _multiply_and_add(by_state, before, more, va)
            else:
                _multiply(by_state, before, va)
            cell.push(d, extras, va, vh, vc)
            if out is not None:
                np.copyto(out[:, t], vh.T)
        return new.contiguous(vh.T) if out is None else out

    def pull(self, u: Array, wanted: Sequence[bool], scratch: Scratch | None = None) -> list[Array | None]:
        """Jᵀ u: cotangents of W, U, b, x, h, c, e (None for those not wanted); in arrays of the scratch, if given."""
        m, n, cell, layout = self.m, self.n, self.cell, self.layout
        new = Scratch(self.x) if scratch is None else scratch.begin()
        of_parameters = any((*wanted[:3], wanted[6]))
        sums, back = ParameterSums(layout, new), self._back(wanted[3], new)
        before = new.zeros((layout.shape[1], n))  # [·; u_x; u_h; ·]
        uh, uc = before[layout.h], new.zeros((m, n)) if cell.has_cell else None
        ua, carried = new.empty((cell.blocks * m, n)), new.empty((m, n))
        ux = new.empty(self.x.shape) if wanted[3] else None
        to_start = wanted[3] or wanted[4]  # the cotangents before the first step are wanted too
        if self.last:
            np.copyto(uh, u.T)
        for t, inputs, d, extras in self._steps(backwards=True):
            if not self.last:
                np.add(uh, u[:, t].T, uh)
            cell.pull(d, extras, uh, uc, ua, carried)
            if of_parameters:
                sums.add(ua, inputs)
            if t or to_start:
                _multiply_back(back, ua, before)
                if cell.carries:
                    np.add(uh, carried, uh)
            if ux is not None:
                np.copyto(ux[:, t], before[layout.x].T)
        W, U, b, e = layout.parameters(sums.whole(), new)
        parts = [W, U, b, ux, uh.T, None if uc is None else uc.T, e]
        return [part if want else None for part, want in zip(parts, wanted, strict=True)]

    def _steps(self, backwards: bool = False) -> Iterator[tuple[int, Array, Array, tuple[Array, ...]]]:
        """(t, inputs, d, extras) of every step, the last one first for a pull."""
        for first, stop, residuals in self._segments(backwards):
            for t in range(stop - 1, first - 1, -1) if backwards else range(first, stop):
                yield t, *residuals.steps[t - first]

    def _back(self, with_x: bool, scratch: Scratch) -> list[Part]:
        """The blocks of Pᵀ, as (rows of a, rows of [1; x; h; 1], block), of the products that lead back to x and h."""
        layout = self.layout
        if layout.whole:
            found = [(layout.sides[0][0], layout.both if with_x else layout.h)]
        else:
            (x_rows, _), (h_rows, _) = layout.sides
            found = [(x_rows, layout.x), (h_rows, layout.h)] if with_x else [(h_rows, layout.h)]
        return [(rows, columns, scratch.contiguous(self.P[rows, columns]).T) for rows, columns in found]


def _start(buffer: Array | None, v: Array | None) -> None:
    """buffer ← vᵀ, the tangent of a state before the first step; None stands for zero."""
    if buffer is not None and v is not None:
        np.copyto(buffer, v.T)


def _multiply(parts: Sequence[Part], inputs: Array, out: Array) -> None:
    """out ← the product with the matrix of which these are the blocks."""
    for rows, columns, block in parts:
        np.dot(block, inputs[columns], out[rows])


def _multiply_and_add(parts: Sequence[Part], inputs: Array, product: Array, out: Array) -> None:
    """out ← out + product ← the same; a block without columns has nothing to add."""
    for rows, columns, block in parts:
        if columns.start >= columns.stop:
            continue
        if is_cupy(out):
            multiply(block, inputs[columns], out[rows], add=True)
        else:
            np.dot(block, inputs[columns], product[rows])
            np.add(out[rows], product[rows], out[rows])


def _multiply_back(parts: Sequence[Part], ua: Array, before: Array) -> None:
    """before ← the product with the transpose, whose blocks these are."""
    for rows, columns, block in parts:
        np.dot(block, ua[rows], before[columns])


class _RecurrentPiece(Piece):
    """A Recurrence on the tape. When an outer tape traces a sweep, the sweep is that of the layer as a loop."""

    f: Recurrence
    scratch: Scratch | None = None  # for sweeps of a plan, which takes the results before the next sweep

    def planned(self) -> Piece:
        """The same with arrays that its sweeps use again and again, on a GPU."""
        if not is_cupy(self.f.x):
            return self
        piece = _RecurrentPiece(self.f, self.args, self.argnums)
        piece.scratch = Scratch(self.f.x, kept=True)
        return piece

    def push(self, tangents: Sequence[Any], stacked: bool = False) -> Any:
        if any(isinstance(v, Traced) for v in tangents):
            return super().push(tangents, stacked)
        if stacked:
            k = next(len(V) for V in tangents if V is not None)
            return np.stack([self.push([None if V is None else V[r] for V in tangents]) for r in range(k)])
        every: list[Any] = [None] * len(self.args)
        for k, v in zip(self.argnums, tangents, strict=True):
            every[k] = v
        with self.f.alone:
            W, U, b, x, h, c, e = every
            return self.f.push(W, U, b, x, h, c, e, self.scratch)

    def pull(
        self, u: Any, totals: Sequence[Any], owned: Sequence[bool], stacked: bool = False
    ) -> tuple[list[Any], list[bool]]:
        if any(isinstance(a, Traced) for a in (u, *totals)):
            return super().pull(u, totals, owned, stacked)
        if stacked:
            rows = [self._terms(u_k) for u_k in u]
            terms = [np.stack(column) for column in zip(*rows, strict=True)]
        else:
            terms = self._terms(u)
        found = []
        for term, total, ours in zip(terms, totals, owned, strict=True):
            if ours and total is not None:
                total += term
                found.append(total)
            else:
                found.append(term if total is None else total + term)
        return found, [True] * len(found)

    def _terms(self, u: Array) -> list[Array]:
        """Jᵀu for the inputs."""
        with self.f.alone:
            wanted = [k in self.argnums for k in range(len(self.args))]
            terms = self.f.pull(u, wanted, self.scratch)
        return [terms[k] for k in self.argnums]  # type: ignore[misc]  # those wanted are no None


class _Recurrences(Pieces):
    def piece(self, f: Any, arrays: Sequence[Any], argnums: Sequence[int], y: Any) -> Piece:
        return _RecurrentPiece(f, arrays, argnums)


_recurrence = _Recurrences(lambda f, *arrays: f(*arrays), name="recurrence")


def recur(
    cell: Cell, steps: Callable[..., Any], arrays: Sequence[Any], *, last: bool, every: int | None = None
) -> Array | None:
    """y = steps(W, U, b, x, h, c, e) as one node; None when it must stay a loop.

    arrays: W, U, b, x, h, c, e; b, h, c, e may be None. steps: the layer as a loop of NumPy calls. It stays a loop
    when nothing is traced, when tapes nest, and for complex or mixed dtypes.
    """
    traced = [a for a in arrays if isinstance(a, Traced)]
    nested = any(isinstance(a.value, Traced) or a.tape is not traced[0].tape for a in traced)
    dtypes = {a.dtype for a in arrays if a is not None}
    if not traced or nested or len(dtypes) > 1 or dtypes.pop().kind != "f":
        return None
    return _recurrence(Recurrence(cell, steps, last, every), *arrays)
