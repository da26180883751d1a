"""Loops that NumPy has no call for, compiled by numba: the only file that imports it (the extra `fast`).

They run without the interpreter's lock, so that shards on threads work at the same time, and numba starts no threads
of its own. Every inner loop reads few rows and writes one, which LLVM turns into vector code; short ones run on
flat arrays with unsigned offsets, for a slice would cost more than the loop. rmad.kernels.patches and
rmad.kernels.winograd define the arrays.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["compiled", "gather_runs", "split_cotangents", "split_images", "unsplit"]

U = np.uint64


def compiled(**options: Any) -> Any:
    """A decorator: machine code per dtype, kept on disk if some directory for it can be written."""

    def decorate(f: Any) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(f)
        except RuntimeError:  # neither the package's directory nor the user's can be written
            return numba.njit(nogil=True, **options)(f)

    return decorate


_compiled = compiled()


# -- called by rmad.kernels.patches ----------------------------------------------------------------------------------


@_compiled
def gather_runs(x, sizes, steps, run, out):
    """out ← for every (n, y, x, k), in this order, `run` numbers of x; all flat.

    sizes: how many n, y, x and k; steps: from one to the next, in numbers of x. Eight numbers are copied at a time:
    the excess is overwritten by the next run, and x and out need seven more numbers behind the last one.
    """
    images, lines, wide, taps = sizes
    blocks, at = U((run + 7) // 8), U(0)
    for n in range(images):
        for y in range(lines):
            for z in range(wide):
                for k in range(taps):
                    a, to = U(n * steps[0] + y * steps[1] + z * steps[2] + k * steps[3]), at
                    for _ in range(blocks):
                        for j in range(U(8)):
                            out[to + j] = x[a + j]
                        a += U(8)
                        to += U(8)
                    at += U(run)


# -- out[at:at + c] ← sums of pieces of s, which begin at a, b and d ----------------------------------------------


@_compiled
def _piece(s, a, out, at, c):
    for j in range(c):
        out[at + j] = s[a + j]


@_compiled
def _negative(s, a, out, at, c):
    for j in range(c):
        out[at + j] = -s[a + j]


@_compiled
def _sum(s, a, b, out, at, c):
    for j in range(c):
        out[at + j] = s[a + j] + s[b + j]


@_compiled
def _difference(s, a, b, out, at, c):
    for j in range(c):
        out[at + j] = s[a + j] - s[b + j]


@_compiled
def _plus(s, a, b, d, out, at, c, add):
    if add:
        for j in range(c):
            out[at + j] += s[a + j] + s[b + j] + s[d + j]
    else:
        for j in range(c):
            out[at + j] = s[a + j] + s[b + j] + s[d + j]


@_compiled
def _minus(s, a, b, d, out, at, c, add):
    if add:
        for j in range(c):
            out[at + j] += s[a + j] - s[b + j] - s[d + j]
    else:
        for j in range(c):
            out[at + j] = s[a + j] - s[b + j] - s[d + j]


# -- the same for whole rows of pixels -------------------------------------------------------------------------------


@_compiled
def _row(x, n, row, zero):
    return x[n, row] if 0 <= row < x.shape[1] else zero


@_compiled
def _rows_sum(a, b, out):
    for j in range(out.size):
        out[j] = a[j] + b[j]


@_compiled
def _rows_difference(a, b, out):
    for j in range(out.size):
        out[j] = a[j] - b[j]


# -- called by rmad.kernels.winograd ---------------------------------------------------------------------------------


@_compiled
def split_images(x, first, rows, tiles, top, left, c, zero, strip, out, width, plane):
    """out ← Bᵀ d B of the 4 × 4 windows d, two pixels apart, in `rows` rows of windows from row `first` on.

    x: (n, h, w·c). tiles: (rows of windows in an image, windows in a row). zero: (w·c,) zeros. strip: (4, length of a
    padded row), zero outside of the images. out: flat, 16 planes `plane` numbers apart, of windows `width` apart.
    """
    high, wide = tiles
    flat, length, a = strip.reshape(-1), U(strip.shape[1]), left * c
    b, C, P, width = a + x.shape[2], U(c), U(plane), U(width)
    for r in range(rows):
        n, y = (first + r) // high, (first + r) % high * 2 - top
        d0, d1, d2, d3 = _row(x, n, y, zero), _row(x, n, y + 1, zero), _row(x, n, y + 2, zero), _row(x, n, y + 3, zero)
        _rows_difference(d0, d2, strip[0, a:b])
        _rows_sum(d1, d2, strip[1, a:b])
        _rows_difference(d2, d1, strip[2, a:b])
        _rows_difference(d1, d3, strip[3, a:b])
        for k in range(U(4)):
            for z in range(U(wide)):
                p, to = k * length + U(2) * z * C, U(4) * k * P + (U(r * wide) + z) * width
                _difference(flat, p, p + U(2) * C, out, to, C)
                _sum(flat, p + C, p + U(2) * C, out, to + P, C)
                _difference(flat, p + U(2) * C, p + C, out, to + U(2) * P, C)
                _difference(flat, p + C, p + U(3) * C, out, to + U(3) * P, C)


@_compiled
def split_cotangents(u, first, rows, tiles, c, zero, strip, out, plane):
    """out ← A u Aᵀ of the 2 × 2 tiles u, arguments as in split_images; u: (n, h′, w′·c)."""
    high, wide = tiles
    flat, length, size = strip.reshape(-1), U(strip.shape[1]), u.shape[2]
    C, P = U(c), U(plane)
    for r in range(rows):
        n, y = (first + r) // high, (first + r) % high * 2
        u0, u1 = _row(u, n, y, zero), _row(u, n, y + 1, zero)
        _rows_sum(u0, zero, strip[0, :size])
        _rows_sum(u0, u1, strip[1, :size])
        _rows_difference(u0, u1, strip[2, :size])
        _rows_difference(zero, u1, strip[3, :size])
        for k in range(U(4)):
            for z in range(U(wide)):
                p, to = k * length + U(2) * z * C, U(4) * k * P + (U(r * wide) + z) * C
                _piece(flat, p, out, to, C)
                _sum(flat, p, p + C, out, to + P, C)
                _difference(flat, p, p + C, out, to + U(2) * P, C)
                _negative(flat, p + C, out, to + U(3) * P, C)


@_compiled
def unsplit(parts, plane, first, rows, tiles, c, strip, add, y):
    """y ← Aᵀ m A of the tiles m = parts, flat as `out` in split_images, or y ← y + that.

    y: (n, h′, w′·c). strip: (4·tiles of a row·c,).
    """
    high, wide = tiles
    flat, across, down = y.reshape(-1), y.shape[2] // c, y.shape[1]
    row, C, P = U(wide * c), U(c), U(plane)
    for r in range(rows):
        n, top = (first + r) // high, (first + r) % high * 2
        at = U(r) * row
        for line in range(min(2, down - top)):
            for k in range(U(4)):
                m = at + k * P
                if line == 0:
                    _plus(parts, m, m + U(4) * P, m + U(8) * P, strip, k * row, row, False)
                else:
                    _minus(parts, m + U(4) * P, m + U(8) * P, m + U(12) * P, strip, k * row, row, False)
            to = U(((n * down + top + line) * across) * c)
            for z in range(U(wide)):
                s, even = z * C, to + U(2) * z * C
                _plus(strip, s, s + row, s + U(2) * row, flat, even, C, add)
                if U(2) * z + U(1) < U(across):
                    _minus(strip, s + row, s + U(2) * row, s + U(3) * row, flat, even + C, C, add)
