"""The cells of recurrent layers on a GPU, one kernel for a step; see rmad.kernels.cells.

The arrays are those of the loops of rmad.kernels.compiled.cells, in the same order. Blocks of a, d and v_a lie one
after the other, m · n numbers each: b is the distance of two.
"""

from __future__ import annotations

from rmad.kernels.gpu_elementwise import FUNCTIONS
from rmad.machine.fused import Elementwise
from rmad.types import Array

__all__ = ["gru_forward", "gru_pull", "gru_push", "lstm_forward", "lstm_pull", "lstm_push", "rnn_forward"]

DISTANCE = "const ptrdiff_t b = _ind.size(); "


_rnn_forward = Elementwise("", "T h, T a", "T slope; h = tanh_and(slope, a); a = slope", "rnn_forward", FUNCTIONS)

_lstm_forward = Elementwise(
    "",
    "T h, T c, raw T a, T f_kept, T e",
    DISTANCE + "T not_in, not_f, not_o, slope_g, slope_c; "
    "const T in = sigmoid(a[i], not_in), f = sigmoid(a[i + b], not_f), g = tanh_and(slope_g, a[i + 2 * b]), "
    "o = sigmoid(a[i + 3 * b], not_o), cf = c * f, ig = in * g; "
    "c = cf + ig; h = o * tanh_and(slope_c, c); f_kept = f; e = o * slope_c; "
    "a[i] = ig * not_in; a[i + b] = cf * not_f; a[i + 2 * b] = in * slope_g; a[i + 3 * b] = h * not_o",
    "lstm_forward",
    FUNCTIONS,
)
_lstm_push = Elementwise(
    "raw T va, raw T d, T f, T e",
    "T vh, T vc",
    DISTANCE + "const T v = vc * f + va[i] * d[i] + va[i + b] * d[i + b] + va[i + 2 * b] * d[i + 2 * b]; "
    "vc = v; vh = v * e + va[i + 3 * b] * d[i + 3 * b]",
    "lstm_push",
)
_lstm_pull = Elementwise(
    "T uh, raw T d, T f, T e",
    "T uc, raw T ua",
    DISTANCE + "const T u = uc + uh * e; ua[i] = u * d[i]; ua[i + b] = u * d[i + b]; ua[i + 2 * b] = u * d[i + 2 * b]; "
    "ua[i + 3 * b] = uh * d[i + 3 * b]; uc = u * f",
    "lstm_pull",
)

_gru_forward = Elementwise(
    "T before",
    "T h, raw T a, T z_kept",
    DISTANCE + "T not_r, not_z, slope; "
    "const T q = a[i + 3 * b], r = sigmoid(a[i + b], not_r), z = sigmoid(a[i + 2 * b], not_z), "
    "n = tanh_and(slope, a[i] + r * q), s = before - n, d_p = not_z * slope, d_q = d_p * r; "
    "h = n + z * s; z_kept = z; a[i] = d_p; a[i + b] = d_q * (not_r * q); a[i + 2 * b] = z * not_z * s; "
    "a[i + 3 * b] = d_q",
    "gru_forward",
    FUNCTIONS,
)
_gru_push = Elementwise(
    "raw T va, raw T d, T z",
    "T vh",
    DISTANCE + "vh = vh * z + va[i] * d[i] + va[i + b] * d[i + b] + va[i + 2 * b] * d[i + 2 * b] "
    "+ va[i + 3 * b] * d[i + 3 * b]",
    "gru_push",
)
_gru_pull = Elementwise(
    "T uh, raw T d, T z",
    "raw T ua, T carried",
    DISTANCE + "for (int k = 0; k < 4; k++) ua[i + k * b] = uh * d[i + k * b]; carried = uh * z",
    "gru_pull",
)


def rnn_forward(h: Array, a: Array) -> None:
    """h ← tanh a, a ← the slope."""
    _rnn_forward(h, a)


def lstm_forward(h: Array, c: Array, a: Array, f_kept: Array, e: Array) -> None:
    """One step of the state; a ← the coefficients."""
    _lstm_forward(h, c, a, f_kept, e)


def lstm_push(vh: Array, vc: Array, va: Array, d: Array, f: Array, e: Array) -> None:
    """v_h and v_c after the step."""
    _lstm_push(va, d, f, e, vh, vc)


def lstm_pull(uh: Array, uc: Array, ua: Array, d: Array, f: Array, e: Array) -> None:
    """u_a, and u_c before the step."""
    _lstm_pull(uh, d, f, e, uc, ua)


def gru_forward(h: Array, before: Array, a: Array, z_kept: Array) -> None:
    """One step of the state; a ← the coefficients."""
    _gru_forward(before, h, a, z_kept)


def gru_push(vh: Array, va: Array, d: Array, z: Array) -> None:
    """v_h after the step."""
    _gru_push(va, d, z, vh)


def gru_pull(uh: Array, ua: Array, d: Array, z: Array, carried: Array) -> None:
    """u_a, and the part of u_h that does not pass through a."""
    _gru_pull(uh, d, z, ua, carried)
