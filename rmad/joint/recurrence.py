"""A recurrent layer as one node: its sweeps over time, written with buffers of their own.

    a_t = P [1; x_t; h_{t−1}; 1],   P = [b; W; U; e]ᵀ,   (h_t, c_t) = cell(a_t, h_{t−1}, c_{t−1})
    push   v_a = V [1; x; h; 1] + P [v_x; v_h]      pull   P̄ += u_a [1; x; h; 1]ᵀ,   [u_x; u_h] = Pᵀ u_a

(e is the GRU's second bias; where P has blocks of zeros, the products leave them out.) What a step leaves are
[1; x; h; 1] and the coefficients of its cell, and nothing else. With checkpoints even these are kept for few segments
of the steps at a time, computed anew from the state before: memory for O(√T) steps and nearly two more forward passes
per product (Martens & Sutskever 2012, section 7.1). The layer as a loop of NumPy calls, `steps`, stays the definition:
nested derivatives are taken of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import numpy as np

from rmad.joint.checkpointing import Piece, Pieces
from rmad.traced import Traced

__all__ = ["Recurrence", "recur"]

SHARE = 7  # with checkpoints: of what all residuals would take


def _new(like: Any, *shape: int) -> Any:
    return np.empty_like(like, shape=shape, order="C", subok=False)


def _zeros(like: Any, *shape: int) -> Any:
    return np.zeros_like(like, shape=shape, order="C", subok=False)


class Layout:
    """Where the parts of a cell's product a = P [1; x; h; 1] lie: rows of a, columns of P.

    sizes: i, m, and whether there are the first and the second bias.
    """

    def __init__(self, cell: Any, i: int, m: int, first: bool, second: bool) -> None:
        self.x, self.h = slice(first, first + i), slice(first + i, first + i + m)
        self.both = slice(first, first + i + m)
        self.shape = cell.blocks * m, first + i + m + second
        self.first, self.second = slice(0, int(first)), slice(self.h.stop, self.h.stop + second)
        self.of_x = [slice(k * m, (k + 1) * m) for k in cell.of_x]
        self.of_h = [slice(k * m, (k + 1) * m) for k in cell.of_h]
        left, right = slice(0, self.h.start), slice(self.h.start, self.second.stop)
        x, h = set(cell.of_x), set(cell.of_h)
        self.whole = x == h
        if self.whole:
            self.parts = self.sides = [(slice(0, self.shape[0]), slice(0, self.shape[1]))]
        else:
            self.sides = [(_rows(x, m), left), (_rows(h, m), right)]
            parts = [(x & h, slice(0, self.h.stop)), (x - h, left), (h - x, right)]
            self.parts = [(_rows(blocks, m), columns) for blocks, columns in parts if blocks]

    def fill(self, P: Any, W: Any, U: Any, b: Any, e: Any) -> Any:
        """P = [b; W; U; e]ᵀ, with zeros for what is None."""
        for a, rows, columns in ((W, self.of_x, self.x), (U, self.of_h, self.h), (b, self.of_x, self.first)):
            if a is not None:
                m = a.shape[-1] // len(rows)
                for k, row in enumerate(rows):
                    part = a[..., k * m : (k + 1) * m]
                    P[row, columns] = part.T if part.ndim == 2 else part[:, None]
        if e is not None:
            P[self.of_h[-1], self.second] = e[:, None]
        return P

    def parameters(self, P: Any) -> list[Any]:
        """W, U, b and e of P; b and e may be empty."""
        W, U, b = (
            P[:, columns].T if self.whole else np.concatenate([P[row, columns].T for row in rows], axis=1)
            for rows, columns in ((self.of_x, self.x), (self.of_h, self.h), (self.of_x, self.first))
        )
        return [W, U, b.reshape(-1), P[self.of_h[-1], self.second].reshape(-1)]


def _rows(blocks: set[int], m: int) -> slice:
    return slice(min(blocks) * m, (max(blocks) + 1) * m)


class Residuals:
    """What some consecutive steps leave: inputs = [1; x; h; 1], d and extras = the coefficients of the cell."""

    def __init__(self, cell: Any, steps: int, like: Any, layout: Layout, n: int) -> None:
        m = layout.h.stop - layout.h.start
        self.inputs = _new(like, steps, layout.shape[1], n)
        self.inputs[:, layout.first] = self.inputs[:, layout.second] = 1
        self.d = _new(like, steps, cell.blocks * m, n)
        self.extras = [_new(like, steps, m, n) for _ in range(cell.extras)]

    def at(self, k: int) -> tuple[Any, Any, list[Any]]:
        return self.inputs[k], self.d[k], [e[k] for e in self.extras]


class Recurrence:
    """One run of a recurrent layer over plain arrays, and the sweeps over it.

    arrays: W, U, b or None as the layer has them, x (n, t, i), h and c (n, m) before the first step or None, e (m,) or
    None. every: a checkpoint after so many steps; None keeps the residuals of all. last: the result is h after the
    last step, (n, m), not (n, t, m). Within, cases are the last axis: gates are blocks of rows then, and every pass is
    over memory in order.
    """

    def __init__(self, cell: Any, steps: Callable[..., Any], last: bool, every: int | None) -> None:
        self.cell, self.steps, self.last, self.every = cell, steps, last, every
        self.checkpoints: list[tuple[Any, Any]] = []
        self.held: dict[int, Residuals] = {}  # by segment
        self._lock = Lock()

    def __call__(self, W: Any, U: Any, b: Any, x: Any, h: Any, c: Any, e: Any) -> Any:
        """The layer's value: in one pass with its residuals where all arrays are plain."""
        if any(isinstance(a, Traced) for a in (W, U, b, x, h, c, e)):
            return self.steps(W, U, b, x, h, c, e)
        self.x, self.T, self.n = x, x.shape[1], x.shape[0]
        self.i, self.m = x.shape[2], len(U)
        self.layout = Layout(self.cell, self.i, self.m, b is not None, e is not None)
        self.P = self._filled(W, U, b, e)
        y = _new(x, self.n, self.m) if self.last else _new(x, self.n, self.T, self.m)
        h = _zeros(x, self.m, self.n) if h is None else h.T
        if self.cell.has_cell:
            c = _zeros(x, self.m, self.n) if c is None else c.T
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
        """Of how many segments the residuals are held: what a share of all leaves beside the checkpoints."""
        step = self.layout.shape[1] + (self.cell.blocks + self.cell.extras) * self.m
        states = segments * self.m * (1 + self.cell.has_cell)
        return max(1, min(segments, int((self.T * step / SHARE - states) / (self.size * step))))

    def _filled(self, W: Any, U: Any, b: Any, e: Any) -> Any:
        return self.layout.fill(_zeros(self.x, *self.layout.shape), W, U, b, e)

    def _advance(self, s: int, first: int, r: Residuals, y: Any = None) -> tuple[Any, Any]:
        """Segment s from its checkpoint: fills the residuals, and y with the states; returns the state after it."""
        (h, c), stop, layout = self.checkpoints[s], min(first + self.size, self.T), self.layout
        count, parts = stop - first, self._parts(self.P)
        np.copyto(r.inputs[:count, layout.x], np.transpose(self.x[:, first:stop], (1, 2, 0)))
        np.copyto(r.inputs[0, layout.h], h)
        if c is not None:
            c, start = _new(c, self.m, self.n), c
            np.copyto(c, start)
        end = _new(self.x, self.m, self.n)
        scratch = [_new(self.x, self.m, self.n) for _ in range(self.cell.scratch)]
        with np.errstate(over="ignore"):
            for k in range(count):
                inputs, a, extras = r.at(k)
                h = r.inputs[k + 1, layout.h] if k + 1 < count else end
                for rows, columns, P in parts:
                    np.dot(P, inputs[columns], a[rows])
                self.cell.forward(a, inputs[layout.h], h, c, extras, scratch)
                if y is not None:
                    np.copyto(y[:, first + k], h.T)
        self.held[s] = r  # now, for an interrupt leaves the buffers half written
        return end, c

    def _segments(self, backwards: bool = False) -> Iterator[tuple[int, int, Residuals]]:
        """(first, stop, residuals) of the segments; a segment that is not at hand is computed anew.

        A pull after a push, and a push after a pull, begin with the segments that the other ended with. What gives
        way to a new segment is what the sweep left behind first.
        """
        order = range(len(self.checkpoints))
        most = self._most_held(len(order))
        for s in reversed(order) if backwards else order:
            first = s * self.size
            if s not in self.held:
                left_behind = (max if backwards else min)(self.held, default=s)
                self._advance(s, first, self.held.pop(left_behind) if len(self.held) >= most else self._residuals())
            yield first, min(first + self.size, self.T), self.held[s]

    def _parts(self, P: Any, columns: slice | None = None) -> list[tuple[slice, slice, Any]]:
        """(rows of a, rows of [1; x; h; 1], block) of a product with P; `columns`: with what lies in these alone."""
        parts = []
        for rows, cut in self.layout.parts:
            if columns is not None:
                cut = slice(max(cut.start, columns.start), max(cut.start, columns.start, min(cut.stop, columns.stop)))
            parts.append((rows, cut, np.ascontiguousarray(P[rows, cut])))
        return parts

    @property
    def alone(self) -> AbstractContextManager[Any]:
        """What a sweep runs in: on several threads one after the other, where the segments share the buffers."""
        return self._lock if len(self.checkpoints) > 1 else nullcontext()

    def push(self, vW: Any, vU: Any, vb: Any, vx: Any, vh0: Any, vc0: Any, ve: Any) -> Any:
        """Tangents of the arrays (None for zero) to the tangent of the result."""
        m, n, cell, layout = self.m, self.n, self.cell, self.layout
        V = None
        if not all(v is None for v in (vW, vU, vb, ve)):
            V = self._parts(self._filled(vW, vU, vb, ve))
        Q = self._parts(self.P, layout.h if vx is None else layout.both)
        before = _zeros(self.x, layout.shape[1], n)  # [·; v_x; v_h; ·]
        vh, vc = before[layout.h], _zeros(self.x, m, n) if cell.has_cell else None
        for buffer, v in ((vh, vh0), (vc, vc0)):
            if buffer is not None and v is not None:
                np.copyto(buffer, v.T)
        va, more = _new(self.x, cell.blocks * m, n), _new(self.x, cell.blocks * m, n)
        out = None if self.last else _new(self.x, n, self.T, m)
        for first, stop, residuals in self._segments():
            for t in range(first, stop):
                inputs, d, extras = residuals.at(t - first)
                if vx is not None:
                    np.copyto(before[layout.x], vx[:, t].T)
                for rows, columns, block in V or ():
                    np.dot(block, inputs[columns], va[rows])
                if V is None or t or vx is not None or vh0 is not None:
                    for rows, columns, block in Q:
                        if columns.start < columns.stop or V is None:
                            np.dot(block, before[columns], (va if V is None else more)[rows])
                            if V is not None:
                                np.add(va[rows], more[rows], va[rows])
                cell.push(d, extras, va, vh, vc)
                if out is not None:
                    np.copyto(out[:, t], vh.T)
        return np.ascontiguousarray(vh.T) if out is None else out

    def pull(self, u: Any, wanted: Sequence[bool]) -> list[Any]:
        """The cotangent of the result to those of W, U, b, x, h, c, e (None where not wanted)."""
        m, n, cell, layout = self.m, self.n, self.cell, self.layout
        of_parameters = any((*wanted[:3], wanted[6]))
        sides = [(rows, columns, _zeros(self.x, *self.P[rows, columns].shape)) for rows, columns in layout.sides]
        shares = [np.empty_like(total) for _, _, total in sides]
        back = self._back(wanted[3])
        before = _zeros(self.x, layout.shape[1], n)  # [·; u_x; u_h; ·]
        uh, uc = before[layout.h], _zeros(self.x, m, n) if cell.has_cell else None
        ua, scratch = _new(self.x, cell.blocks * m, n), _new(self.x, m, n)
        ux = _new(self.x, *self.x.shape) if wanted[3] else None
        if self.last:
            np.copyto(uh, u.T)
        for first, stop, residuals in self._segments(backwards=True):
            for t in range(stop - 1, first - 1, -1):
                inputs, d, extras = residuals.at(t - first)
                if not self.last:
                    np.add(uh, u[:, t].T, uh)
                cell.pull(d, extras, uh, uc, ua, scratch)
                if of_parameters:
                    for (rows, columns, total), share in zip(sides, shares, strict=True):
                        np.dot(ua[rows], inputs[columns].T, share)
                        np.add(total, share, total)
                if t or ux is not None or wanted[4]:
                    for rows, columns, block in back:
                        np.dot(block, ua[rows], before[columns])
                    if cell.carries:
                        np.add(uh, scratch, uh)
                if ux is not None:
                    np.copyto(ux[:, t], before[layout.x].T)
        P = _zeros(self.x, *layout.shape)
        for rows, columns, total in sides:
            P[rows, columns] = total
        W, U, b, e = layout.parameters(P)
        parts = [W, U, b, ux, uh.T, None if uc is None else uc.T, e]
        return [part if want else None for part, want in zip(parts, wanted, strict=True)]

    def _back(self, with_x: bool) -> list[tuple[slice, slice, Any]]:
        """(rows of a, rows of [1; x; h; 1], block of Pᵀ) of the products that lead back to x and h."""
        layout = self.layout
        if layout.whole:
            found = [(layout.sides[0][0], layout.both if with_x else layout.h)]
        else:
            (x_rows, _), (h_rows, _) = layout.sides
            found = [(x_rows, layout.x), (h_rows, layout.h)] if with_x else [(h_rows, layout.h)]
        return [(rows, columns, np.ascontiguousarray(self.P[rows, columns]).T) for rows, columns in found]


class _RecurrentPiece(Piece):
    """A Recurrence on the tape. Where an outer tape traces a sweep, the sweep is that of the layer as a loop."""

    f: Recurrence

    def push(self, tangents: Sequence[Any]) -> Any:
        if any(isinstance(v, Traced) for v in tangents):
            return super().push(tangents)
        every: list[Any] = [None] * len(self.args)
        for k, v in zip(self.argnums, tangents, strict=True):
            every[k] = v
        with self.f.alone:
            return self.f.push(*every)

    def pull(self, u: Any, totals: Sequence[Any], owned: Sequence[bool]) -> tuple[list[Any], list[bool]]:
        if any(isinstance(a, Traced) for a in (u, *totals)):
            return super().pull(u, totals, owned)
        with self.f.alone:
            terms = self.f.pull(u, [k in self.argnums for k in range(len(self.args))])
        sums = []
        for k, total, ours in zip(self.argnums, totals, owned, strict=True):
            if ours and total is not None:
                total += terms[k]
                sums.append(total)
            else:
                sums.append(terms[k] if total is None else total + terms[k])
        return sums, [True] * len(sums)


class _Recurrences(Pieces):
    def piece(self, f: Any, arrays: Sequence[Any], argnums: Sequence[int]) -> Piece:
        return _RecurrentPiece(f, arrays, argnums)


_recurrence = _Recurrences(lambda f, *arrays: f(*arrays), name="recurrence")


def recur(
    cell: Any, steps: Callable[..., Any], arrays: Sequence[Any], *, last: bool, every: int | None = None
) -> Any | None:
    """y = steps(W, U, b, x, h, c, e) as one node; None where it must stay a loop.

    arrays: W, U, b, x, h, c, e; b, h, c, e may be None. steps: the layer as a loop of NumPy calls. A loop it stays
    where nothing is traced, where tapes nest, and for dtypes that are complex or mixed.
    """
    traced = [a for a in arrays if isinstance(a, Traced)]
    nested = any(isinstance(a.value, Traced) or a.tape is not traced[0].tape for a in traced)
    dtypes = {a.dtype for a in arrays if a is not None}
    if not traced or nested or len(dtypes) > 1 or dtypes.pop().kind != "f":
        return None
    return _recurrence(Recurrence(cell, steps, last, every), *arrays)
