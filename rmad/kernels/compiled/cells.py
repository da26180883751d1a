"""The cells of recurrent layers in float32, one loop for a step (the extra `fast`); see rmad.kernels.cells.

All arrays are flat, blocks of m · n numbers one after the other.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from rmad.kernels.compiled.maths import ONE, ZERO, _exp_minus, _tanh, exactly, tanh_slope

__all__ = ["gru_forward", "gru_pull", "gru_push", "lstm_forward", "lstm_pull", "lstm_push", "rnn_forward"]


@exactly
def _sigmoid(x):
    """1/(1 + e^−x), and one minus that"""
    e = _exp_minus(abs(x))
    r = ONE / (ONE + e)
    return (e * r, r) if x < ZERO else (r, e * r)


@exactly
def rnn_forward(h, a):
    for j in range(h.size):
        h[j], e, r = _tanh(a[j])
        a[j] = tanh_slope(e, r)


@exactly
def lstm_forward(h, c, a, f_kept, e):
    m = h.size
    a_i, a_f, a_g, a_o = a[:m], a[m : 2 * m], a[2 * m : 3 * m], a[3 * m :]
    for j in range(m):
        i, not_i = _sigmoid(a_i[j])
        f, not_f = _sigmoid(a_f[j])
        g, e_g, r_g = _tanh(a_g[j])
        o, not_o = _sigmoid(a_o[j])
        cf, ig = c[j] * f, i * g
        new = cf + ig
        y, e_c, r_c = _tanh(new)
        c[j], h[j] = new, o * y
        f_kept[j], e[j] = f, o * tanh_slope(e_c, r_c)
        a_i[j], a_f[j], a_g[j], a_o[j] = ig * not_i, cf * not_f, i * tanh_slope(e_g, r_g), (o * y) * not_o


@exactly
def lstm_push(vh, vc, va, d, f, e):
    m = vh.size
    for j in range(m):
        v = vc[j] * f[j] + va[j] * d[j] + va[m + j] * d[m + j] + va[2 * m + j] * d[2 * m + j]
        vc[j] = v
        vh[j] = v * e[j] + va[3 * m + j] * d[3 * m + j]


@exactly
def lstm_pull(uh, uc, ua, d, f, e):
    m = uh.size
    for j in range(m):
        u = uc[j] + uh[j] * e[j]
        ua[j], ua[m + j], ua[2 * m + j] = u * d[j], u * d[m + j], u * d[2 * m + j]
        ua[3 * m + j] = uh[j] * d[3 * m + j]
        uc[j] = u * f[j]


@exactly
def gru_forward(h, before, a, z_kept):
    m = h.size
    a_p, a_r, a_z, a_q = a[:m], a[m : 2 * m], a[2 * m : 3 * m], a[3 * m :]
    for j in range(m):
        r, not_r = _sigmoid(a_r[j])
        z, not_z = _sigmoid(a_z[j])
        q = a_q[j]
        n, e_n, r_n = _tanh(a_p[j] + r * q)
        s = before[j] - n
        h[j], z_kept[j] = n + z * s, z
        d_p = not_z * tanh_slope(e_n, r_n)
        d_q = d_p * r
        a_p[j], a_r[j], a_z[j], a_q[j] = d_p, d_q * (not_r * q), (z * not_z) * s, d_q


@exactly
def gru_push(vh, va, d, z):
    m = vh.size
    for j in range(m):
        total = va[j] * d[j] + va[m + j] * d[m + j] + va[2 * m + j] * d[2 * m + j] + va[3 * m + j] * d[3 * m + j]
        vh[j] = vh[j] * z[j] + total


@exactly
def gru_pull(uh, ua, d, z, carried):
    m = uh.size
    for j in range(m):
        u = uh[j]
        ua[j], ua[m + j], ua[2 * m + j], ua[3 * m + j] = u * d[j], u * d[m + j], u * d[2 * m + j], u * d[3 * m + j]
        carried[j] = u * z[j]
