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


def _tanh_slope(y: Array, out: Array) -> None:
    """out ← 1 − y², the derivative of tanh at y = tanh x; y may be `out`."""
    np.multiply(y, y, out)
    np.subtract(1, out, out)


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
        s, w = scratch
        _sigmoid(a[len(h) : 3 * len(h)])
        np.copyto(z_kept, z)
        np.multiply(r, q, s)
        np.add(p, s, p)
        n = p
        np.tanh(p, n)
        np.subtract(before, n, s)
        np.multiply(z, s, h)
        np.add(n, h, h)
        np.subtract(1, z, w)
        np.multiply(z, w, z)
        np.multiply(z, s, z)  # d_z = (h − n) z (1 − z)
        _tanh_slope(n, s)
        np.multiply(s, w, p)  # d_p = (1 − z) (1 − n²)
        np.subtract(1, r, s)
        np.multiply(s, q, s)
        np.multiply(p, r, q)  # d_q = d_p r
        np.multiply(q, s, r)  # d_r = d_q q (1 − r)

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


def _sigmoid(a: Array) -> None:
    """a ← 1 / (1 + exp(−a)); exp may overflow to inf, which gives the right 0."""
    np.negative(a, a)
    np.exp(a, a)
    np.add(a, 1, a)
    np.divide(1, a, a)
