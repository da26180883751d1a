"""The cells of recurrent layers: one step of the state, and its derivatives, in buffers.

    forward   a, state before → state after;    a ← the coefficients d of the step, some more in `extras`
    push      v_a, tangents of the state → tangents of the state after
    pull      cotangents of the state → u_a, cotangents of the state before

Arrays are (blocks · m, n): blocks of a are rows, cases are columns. `of_x` and `of_h` say which block of a each gate's
product with x and with h goes into: W and U have the gates side by side, in PyTorch's order. With the extra
`fast`, long arrays of float32 go through loops of rmad.kernels.compiled.cells: one pass instead of a dozen. On a GPU a
step is one kernel of rmad.kernels.gpu_cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmad import tuning
from rmad.kernels import gpu_cells, loader
from rmad.kernels.elementwise import suits
from rmad.kernels.slopes import tanh_slope_over
from rmad.machine.backend import is_cupy
from rmad.types import Array

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


def _loop(name: str, *arrays: Array) -> bool:
    """Runs rmad.kernels.compiled.cells.name on flat arrays, or the GPU's kernel, if they fit; True if it did."""
    if is_cupy(arrays[0]) and arrays[0].dtype.char in "fd":
        getattr(gpu_cells, name)(*(a.reshape(-1) for a in arrays))
        return True
    if arrays[0].size < tuning.CELL_LOOPS_FROM or not all(map(suits, arrays)):
        return False
    loops = loader.loops("cells")
    if loops is None:
        return False
    getattr(loops, name)(*(a.reshape(-1) for a in arrays))
    return True


class RNNCell:
    """h = tanh(a) or max(a, 0). The coefficient ∂h/∂a takes the place of a; it is ½ at 0, as that of np.maximum is."""

    blocks, extras, scratch, has_cell, carries = 1, 0, 0, False, False
    of_x = of_h = (0,)

    def __init__(self, activation: str) -> None:
        self.relu = activation == "relu"

    def forward(
        self, a: Array, before: Array, h: Array, c: Array | None, extras: Sequence[Array], scratch: Sequence[Array]
    ) -> None:
        if self.relu:
            np.maximum(a, 0, out=h)
            np.sign(a, a)
            np.add(a, 1, a)
            np.multiply(a, 0.5, a)
        elif not _loop("rnn_forward", h, a):
            np.tanh(a, h)
            tanh_slope_over(a, h)

    def push(self, d: Array, extras: Sequence[Array], va: Array, vh: Array, vc: Array | None) -> None:
        np.multiply(va, d, vh)

    def pull(self, d: Array, extras: Sequence[Array], uh: Array, uc: Array | None, ua: Array, scratch: Array) -> None:
        np.multiply(uh, d, ua)


class LSTMCell:
    """c ← f c + i g, h = o tanh c, with a = [i f g o] before their sigmoids and tanh.

    v_c ← f v_c + d_i v_i + d_f v_f + d_g v_g,  v_h = e v_c + d_o v_o. The d take the place of a; extras: f and e.
    """

    blocks, extras, scratch, has_cell, carries = 4, 2, 2, True, False
    of_x = of_h = (0, 1, 2, 3)

    def forward(
        self, a: Array, before: Array, h: Array, c: Array | None, extras: Sequence[Array], scratch: Sequence[Array]
    ) -> None:
        assert c is not None
        f_kept, e = extras
        if _loop("lstm_forward", h, c, a, f_kept, e):
            return
        i, f, g, o = _blocks(a)
        s, ig = scratch
        _sigmoid(f, f_kept)
        np.multiply(c, f_kept, c)
        np.multiply(f, c, f)  # d_f = f c (1 − f)
        _sigmoid(i, s)
        np.tanh(g, ig)
        tanh_slope_over(g, ig)
        np.multiply(g, s, g)  # d_g = i (1 − g²)
        np.multiply(ig, s, ig)
        np.multiply(i, ig, i)  # d_i = i g (1 − i)
        np.add(c, ig, c)
        _sigmoid(o, s)
        np.tanh(c, h)
        np.copyto(e, c)
        tanh_slope_over(e, h)
        np.multiply(e, s, e)  # o (1 − tanh² c)
        np.multiply(h, s, h)
        np.multiply(o, h, o)  # d_o = o tanh c (1 − o)

    def push(self, d: Array, extras: Sequence[Array], va: Array, vh: Array, vc: Array | None) -> None:
        assert vc is not None
        if _loop("lstm_push", vh, vc, va, d, *extras):
            return
        np.multiply(va, d, va)
        i, f, g, o = _blocks(va)
        np.multiply(vc, extras[0], vc)
        for gate in (i, f, g):
            np.add(vc, gate, vc)
        np.multiply(vc, extras[1], vh)
        np.add(vh, o, vh)

    def pull(self, d: Array, extras: Sequence[Array], uh: Array, uc: Array | None, ua: Array, scratch: Array) -> None:
        assert uc is not None
        if _loop("lstm_pull", uh, uc, ua, d, *extras):
            return
        np.multiply(uh, extras[1], scratch)
        np.add(uc, scratch, uc)
        for gate, coefficient, u in zip(_blocks(ua), _blocks(d), (uc, uc, uc, uh), strict=True):
            np.multiply(u, coefficient, gate)
        np.multiply(uc, extras[0], uc)


class GRUCell:
    """h ← n + z (h − n), n = tanh(p + r q), with a = [p r z q]: p from x alone, q from h alone, r and z from both.

    v_h ← z v_h + d_p v_p + d_r v_r + d_z v_z + d_q v_q. The d take the place of a; extras: z. The part z u_h of the
    cotangent before the step does not pass through a: `carries`.
    """

    blocks, extras, scratch, has_cell, carries = 4, 1, 2, False, True
    of_x, of_h = (1, 2, 0), (1, 2, 3)

    def forward(
        self, a: Array, before: Array, h: Array, c: Array | None, extras: Sequence[Array], scratch: Sequence[Array]
    ) -> None:
        (z_kept,) = extras
        if _loop("gru_forward", h, before, a, z_kept):
            return
        p, r, z, q = _blocks(a)
        s, n = scratch
        _sigmoid(z, z_kept)
        _sigmoid(r, s)
        np.multiply(r, q, r)
        np.multiply(s, q, q)
        np.add(p, q, p)
        np.tanh(p, n)
        tanh_slope_over(p, n)
        np.multiply(p, z, p)  # d_p = (1 − z) (1 − n²)
        np.multiply(p, s, q)  # d_q = d_p r
        np.multiply(q, r, r)  # d_r = d_q q (1 − r)
        np.subtract(before, n, s)
        np.multiply(z_kept, s, h)
        np.add(n, h, h)
        np.multiply(z, z_kept, z)
        np.multiply(z, s, z)  # d_z = (h − n) z (1 − z)

    def push(self, d: Array, extras: Sequence[Array], va: Array, vh: Array, vc: Array | None) -> None:
        if _loop("gru_push", vh, va, d, *extras):
            return
        np.multiply(va, d, va)
        np.multiply(vh, extras[0], vh)
        for block in _blocks(va):
            np.add(vh, block, vh)

    def pull(self, d: Array, extras: Sequence[Array], uh: Array, uc: Array | None, ua: Array, scratch: Array) -> None:
        if _loop("gru_pull", uh, ua, d, *extras, scratch):
            return
        for block, coefficient in zip(_blocks(ua), _blocks(d), strict=True):
            np.multiply(uh, coefficient, block)
        np.multiply(uh, extras[0], scratch)


def _blocks(a: Array) -> tuple[Array, ...]:
    m = len(a) // 4
    return a[:m], a[m : 2 * m], a[2 * m : 3 * m], a[3 * m :]


LARGEST = {c: float(np.log(np.finfo(c).max) * (1 - 4 * np.finfo(c).eps)) for c in "efdg"}
"""Of each type, about the largest argument of exp with a finite value."""


def _sigmoid(a: Array, y: Array) -> None:
    """y ← σ = 1 / (1 + exp(−a)), a ← 1 − σ = exp(−a) σ, which keeps its digits where σ rounds to 1."""
    lowest = -LARGEST[a.dtype.char]
    if a.size and not a.item(a.argmin()) >= lowest:  # inf · 0 would not be a number
        np.maximum(a, lowest, out=a)
    np.negative(a, a)
    np.exp(a, a)
    np.add(a, 1, y)
    np.divide(1, y, y)
    np.multiply(a, y, a)
