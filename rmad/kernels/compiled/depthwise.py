"""The loops of rmad.kernels.depthwise over flat arrays (the extra `fast`).

sizes: images, height and width of x and of u, of a kernel, channels; steps: stride, dilation, padding above and on the
left; the numbers of a pair are vertical, horizontal. x, w and u are those of the form ⟨u, conv2d(x, w)⟩; the sums are
added to the third array. scratch: as long as w.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from rmad.kernels.compiled.convolution import compiled

__all__ = ["of_u", "of_w", "of_x"]

U = np.uint64
OF_U, OF_X, OF_W = 0, 1, 2  # which of u, x and w is summed

_compiled = compiled()
_inlined = compiled(inline="always")  # a constant `wanted` then leaves one branch: a test per tap costs half the time


@_inlined
def _add_product(out, to, a, at, b, by, many):
    for j in range(many):
        out[to + j] += a[at + j] * b[by + j]


@_inlined
def _add_products(wanted, a, b, out, sizes, steps, scratch):
    images, h, v, height, width, kh, kw, c = sizes
    sy, sx, dy, dx, top, left = steps
    many = U(c)
    for n in range(images):
        for y in range(height):
            if wanted == OF_W:
                scratch[:] = 0
            for k in range(kh):
                row = y * sy + k * dy - top
                if 0 <= row < h:
                    for z in range(width):
                        to = U(((n * height + y) * width + z) * c)
                        for m in range(kw):
                            column = z * sx + m * dx - left
                            if 0 <= column < v:
                                at, tap = U(((n * h + row) * v + column) * c), U((k * kw + m) * c)
                                if wanted == OF_U:
                                    _add_product(out, to, a, at, b, tap, many)
                                elif wanted == OF_X:
                                    _add_product(out, at, a, to, b, tap, many)
                                else:
                                    _add_product(scratch, tap, b, at, a, to, many)
            if wanted == OF_W:
                for j in range(out.size):
                    out[j] += scratch[j]


@_compiled
def of_u(x, w, u, sizes, steps, scratch):
    """u += Σ over taps x w"""
    _add_products(OF_U, x, w, u, sizes, steps, scratch)


@_compiled
def of_x(u, w, x, sizes, steps, scratch):
    """x += Σ over taps u w"""
    _add_products(OF_X, u, w, x, sizes, steps, scratch)


@_compiled
def of_w(u, x, w, sizes, steps, scratch):
    """w += Σ over pixels x u; every line of u on its own first, for one running sum would lose digits"""
    _add_products(OF_W, u, x, w, sizes, steps, scratch)
