"""A recurrent layer as one node: its sweeps over time, written with buffers of their own.

    a_t = P [x_t; h_{t−1}; 1],   P = [W; U; b]ᵀ,   (h_t, c_t) = cell(a_t, c_{t−1})
    push   v_a = V [x; h; 1] + P [v_x; v_h]      pull   P̄ += u_a [x; h; 1]ᵀ,   [u_x; u_h] = Pᵀ u_a

What a step leaves are [x; h; 1] and the coefficients of its cell, and nothing else. With checkpoints even these are
kept for one segment of the steps at a time, computed anew from the state before it: memory for O(√T) steps and
two more forward passes per product (Martens & Sutskever 2012, section 7.1). The layer as a loop of NumPy calls,
`steps`, stays the definition: nested derivatives are taken of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import numpy as np

from rmad.checkpointing import Piece, Pieces
from rmad.traced import Traced

__all__ = ["LSTMCell", "RNNCell", "Recurrence", "recur"]


class RNNCell:
    """h = tanh(a) or max(a, 0). The coefficient ∂h/∂a takes the place of a; it is ½ at 0, as that of np.maximum is."""

    gates, extras, has_cell = 1, 0, False

    def __init__(self, activation: str) -> None:
        self.relu = activation == "relu"

    def forward(self, a: Any, h: Any, c: Any, extras: Sequence[Any], scratch: Sequence[Any]) -> None:
        if self.relu:
            np.maximum(a, 0, out=h)
            np.sign(a, a)
            np.add(a, 1, a)
            np.multiply(a, 0.5, a)
        else:
            np.tanh(a, h)
            np.multiply(h, h, a)
            np.subtract(1, a, a)

    def push(self, d: Any, extras: Sequence[Any], va: Any, vh: Any, vc: Any) -> None:
        np.multiply(va, d, vh)

    def pull(self, d: Any, extras: Sequence[Any], uh: Any, uc: Any, ua: Any, scratch: Any) -> None:
        np.multiply(uh, d, ua)


class LSTMCell:
    """c ← f c + i g, h = o tanh c, with a = [i f g o] before their sigmoids and tanh.

    v_c ← f v_c + d_i v_i + d_f v_f + d_g v_g,  v_h = e v_c + d_o v_o. The d take the place of a; extras: f and e.
    """

    gates, extras, has_cell = 4, 2, True

    def forward(self, a: Any, h: Any, c: Any, extras: Sequence[Any], scratch: Sequence[Any]) -> None:
        i, f, g, o = _gates(a)
        f_kept, e = extras
        cf, ig = scratch
        _sigmoid(a[: 2 * len(h)])
        np.tanh(g, g)
        _sigmoid(o)
        np.copyto(f_kept, f)
        np.multiply(c, f, cf)
        np.multiply(i, g, ig)
        np.add(cf, ig, c)
        for gate, product, minuend in ((g, ig, i), (i, ig, ig), (f, cf, cf)):  # i − ig g,  ig (1 − i),  cf (1 − f)
            np.multiply(gate, product, gate)
            np.subtract(minuend, gate, gate)
        tanh_c = cf
        np.tanh(c, tanh_c)
        np.multiply(o, tanh_c, h)
        np.multiply(h, tanh_c, e)
        np.subtract(o, e, e)  # o (1 − tanh² c)
        np.multiply(o, h, o)
        np.subtract(h, o, o)  # tanh c · o (1 − o)

    def push(self, d: Any, extras: Sequence[Any], va: Any, vh: Any, vc: Any) -> None:
        np.multiply(va, d, va)
        i, f, g, o = _gates(va)
        np.multiply(vc, extras[0], vc)
        for gate in (i, f, g):
            np.add(vc, gate, vc)
        np.multiply(vc, extras[1], vh)
        np.add(vh, o, vh)

    def pull(self, d: Any, extras: Sequence[Any], uh: Any, uc: Any, ua: Any, scratch: Any) -> None:
        np.multiply(uh, extras[1], scratch)
        np.add(uc, scratch, uc)
        for gate, coefficient, u in zip(_gates(ua), _gates(d), (uc, uc, uc, uh), strict=True):
            np.multiply(u, coefficient, gate)
        np.multiply(uc, extras[0], uc)


def _gates(a: Any) -> tuple[Any, ...]:
    m = len(a) // 4
    return a[:m], a[m : 2 * m], a[2 * m : 3 * m], a[3 * m :]


def _sigmoid(a: Any) -> None:
    """a ← 1 / (1 + exp(−a)); exp may overflow to inf, which gives the right 0."""
    np.negative(a, a)
    np.exp(a, a)
    np.add(a, 1, a)
    np.divide(1, a, a)


def _new(like: Any, *shape: int) -> Any:
    return np.empty_like(like, shape=shape, order="C", subok=False)


def _zeros(like: Any, *shape: int) -> Any:
    return np.zeros_like(like, shape=shape, order="C", subok=False)


class Residuals:
    """What some consecutive steps leave: inputs = [x; h; 1], d and extras = the coefficients of the cell."""

    def __init__(self, cell: Any, steps: int, like: Any, sizes: tuple[int, int, int], n: int) -> None:
        i, m, bias = sizes
        self.x, self.h = slice(0, i), slice(i, i + m)
        self.inputs = _new(like, steps, i + m + bias, n)
        if bias:
            self.inputs[:, -1] = 1
        self.d = _new(like, steps, cell.gates * m, n)
        self.extras = [_new(like, steps, m, n) for _ in range(cell.extras)]

    def at(self, k: int) -> tuple[Any, Any, list[Any]]:
        return self.inputs[k], self.d[k], [e[k] for e in self.extras]


class Recurrence:
    """One run of a recurrent layer over plain arrays, and the sweeps over it.

    arrays: W (i, gates · m), U (m, gates · m), b or None, x (n, t, i), h and c (n, m) before the first step or None.
    every: a checkpoint after so many steps; None keeps the residuals of all. last: the result is h after the last
    step, (n, m), not (n, t, m). Within, cases are the last axis: gates are blocks of rows then, and every pass is over
    memory in order.
    """

    def __init__(self, cell: Any, steps: Callable[..., Any], last: bool, every: int | None) -> None:
        self.cell, self.steps, self.last, self.every = cell, steps, last, every
        self.checkpoints: list[tuple[Any, Any]] = []
        self.at_hand: int | None = None  # the segment whose residuals the buffers hold
        self._lock = Lock()

    def __call__(self, W: Any, U: Any, b: Any, x: Any, h: Any, c: Any) -> Any:
        """The layer's value: in one pass with its residuals where all arrays are plain."""
        if any(isinstance(a, Traced) for a in (W, U, b, x, h, c)):
            return self.steps(W, U, b, x, h, c)
        self.x, self.T, self.n = x, x.shape[1], x.shape[0]
        self.i, self.m, self.bias = x.shape[2], len(U), b is not None
        self.P = self._stacked(W, U, b)
        y = _new(x, self.n, self.m) if self.last else _new(x, self.n, self.T, self.m)
        h = _zeros(x, self.m, self.n) if h is None else h.T
        if self.cell.has_cell:
            c = _zeros(x, self.m, self.n) if c is None else c.T
        self.size = min(self.every or self.T, self.T)
        self.residuals = Residuals(self.cell, self.size, x, (self.i, self.m, int(self.bias)), self.n)
        for s, first in enumerate(range(0, self.T, self.size)):
            self.checkpoints.append((h, c))
            h, c = self._advance(s, first, None if self.last else y)
        if self.last:
            np.copyto(y, h.T)
        return y

    def _stacked(self, W: Any, U: Any, b: Any) -> Any:
        """Pᵀ = [Wᵀ Uᵀ bᵀ], with zeros for what is None."""
        i, m = self.i, self.m
        P = _zeros(self.x, self.cell.gates * m, i + m + self.bias)
        for part, a in ((P[:, :i], W), (P[:, i : i + m], U), (P[:, -1], b)):
            if a is not None:
                np.copyto(part, a.T)
        return P

    def _advance(self, s: int, first: int, y: Any = None) -> tuple[Any, Any]:
        """Segment s from its checkpoint: fills the residuals, and y with the states; returns the state after it."""
        r, (h, c), stop = self.residuals, self.checkpoints[s], min(first + self.size, self.T)
        self.at_hand = None  # an interrupt leaves the buffers half written
        count = stop - first
        np.copyto(r.inputs[:count, r.x], np.transpose(self.x[:, first:stop], (1, 2, 0)))
        np.copyto(r.inputs[0, r.h], h)
        if c is not None:
            c, start = _new(c, self.m, self.n), c
            np.copyto(c, start)
        end = _new(self.x, self.m, self.n)
        scratch = [_new(self.x, self.m, self.n) for _ in range(2 * self.cell.has_cell)]
        with np.errstate(over="ignore"):
            for k in range(count):
                inputs, a, extras = r.at(k)
                h = r.inputs[k + 1, r.h] if k + 1 < count else end
                np.dot(self.P, inputs, a)
                self.cell.forward(a, h, c, extras, scratch)
                if y is not None:
                    np.copyto(y[:, first + k], h.T)
        self.at_hand = s
        return end, c

    def _segments(self, backwards: bool = False) -> Iterator[tuple[int, int, Residuals]]:
        """(first, stop, residuals) of the segments; a segment that is not at hand is computed anew.

        A pull after a push, and a push after a pull, begin with the segment that the other ended with.
        """
        order = range(len(self.checkpoints))
        for s in reversed(order) if backwards else order:
            first = s * self.size
            if self.at_hand != s:
                self._advance(s, first)
            yield first, min(first + self.size, self.T), self.residuals

    def _weights(self, with_x: bool) -> tuple[int, Any]:
        """How many rows come before h, and [W; U]ᵀ, or 0 and Uᵀ where x carries no tangent."""
        first = 0 if with_x else self.i
        return self.i - first, np.ascontiguousarray(self.P[:, first : self.i + self.m])

    @property
    def alone(self) -> AbstractContextManager[Any]:
        """What a sweep runs in: on several threads one after the other, where the segments share the buffers."""
        return self._lock if len(self.checkpoints) > 1 else nullcontext()

    def push(self, vW: Any, vU: Any, vb: Any, vx: Any, vh0: Any, vc0: Any) -> Any:
        """Tangents of the arrays (None for zero) to the tangent of the result."""
        m, n, cell = self.m, self.n, self.cell
        offset, Q = self._weights(vx is not None)
        V = None if vW is None and vU is None and vb is None else self._stacked(vW, vU, vb)
        before = _zeros(self.x, offset + m, n)
        vh, vc = before[offset:], _zeros(self.x, m, n) if cell.has_cell else None
        for buffer, v in ((vh, vh0), (vc, vc0)):
            if buffer is not None and v is not None:
                np.copyto(buffer, v.T)
        va, more = _new(self.x, cell.gates * m, n), _new(self.x, cell.gates * m, n)
        out = None if self.last else _new(self.x, n, self.T, m)
        for first, stop, residuals in self._segments():
            for t in range(first, stop):
                inputs, d, extras = residuals.at(t - first)
                if offset:
                    np.copyto(before[:offset], vx[:, t].T)
                if V is None:
                    np.dot(Q, before, va)
                else:
                    np.dot(V, inputs, va)
                    if t or offset or vh0 is not None:
                        np.dot(Q, before, more)
                        np.add(va, more, va)
                cell.push(d, extras, va, vh, vc)
                if out is not None:
                    np.copyto(out[:, t], vh.T)
        return np.ascontiguousarray(vh.T) if out is None else out

    def pull(self, u: Any, wanted: Sequence[bool]) -> list[Any]:
        """The cotangent of the result to those of W, U, b, x, h, c (None where not wanted)."""
        i, m, n, cell = self.i, self.m, self.n, self.cell
        offset, Q = self._weights(wanted[3])
        P, share = np.zeros_like(self.P), np.empty_like(self.P)
        before = _zeros(self.x, offset + m, n)
        uh, uc = before[offset:], _zeros(self.x, m, n) if cell.has_cell else None
        ua, scratch = _new(self.x, cell.gates * m, n), _new(self.x, m, n)
        ux = _new(self.x, *self.x.shape) if wanted[3] else None
        if self.last:
            np.copyto(uh, u.T)
        for first, stop, residuals in self._segments(backwards=True):
            for t in range(stop - 1, first - 1, -1):
                inputs, d, extras = residuals.at(t - first)
                if not self.last:
                    np.add(uh, u[:, t].T, uh)
                cell.pull(d, extras, uh, uc, ua, scratch)
                if any(wanted[:3]):
                    np.dot(ua, inputs.T, share)
                    np.add(P, share, P)
                if t or offset or wanted[4]:
                    np.dot(Q.T, ua, before)
                if ux is not None:
                    np.copyto(ux[:, t], before[:offset].T)
        parts = [P[:, :i].T, P[:, i : i + m].T, P[:, -1], ux, uh.T, None if uc is None else uc.T]
        return [part if want else None for part, want in zip(parts, wanted, strict=True)]


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
    """y = steps(W, U, b, x, h, c) as one node; None where it must stay a loop.

    arrays: W, U, b, x, h, c; b, h, c may be None. steps: the layer as a loop of NumPy calls. A loop it stays where
    nothing is traced, where tapes nest, and for dtypes that are complex or mixed.
    """
    traced = [a for a in arrays if isinstance(a, Traced)]
    nested = any(isinstance(a.value, Traced) or a.tape is not traced[0].tape for a in traced)
    dtypes = {a.dtype for a in arrays if a is not None}
    if not traced or nested or len(dtypes) > 1 or dtypes.pop().kind != "f":
        return None
    return _recurrence(Recurrence(cell, steps, last, every), *arrays)
