"""The loops of rmad.kernels.depthwise over flat arrays (the extra `fast`).

sizes: images, height and width of x and of u, of a kernel, channels; steps: stride, dilation, padding above and on the
left; the numbers of a pair are vertical, horizontal. x, w and u are what the form ⟨u, conv2d(x, w)⟩ has; what is summed
is added to one of them. scratch: as long as w.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from rmad.kernels.compiled.convolution import compiled

__all__ = ["folded", "forward", "weights"]

U = np.uint64
_compiled = compiled()


@_compiled
def forward(x, w, u, sizes, steps, scratch):
    """u += Σ over taps x w"""
    images, h, v, height, width, kh, kw, c = sizes
    sy, sx, dy, dx, top, left = steps
    many = U(c)
    for n in range(images):
        for y in range(height):
            for k in range(kh):
                row = y * sy + k * dy - top
                if 0 <= row < h:
                    for z in range(width):
                        to = U(((n * height + y) * width + z) * c)
                        for m in range(kw):
                            column = z * sx + m * dx - left
                            if 0 <= column < v:
                                at, tap = U(((n * h + row) * v + column) * c), U((k * kw + m) * c)
                                for j in range(many):
                                    u[to + j] += x[at + j] * w[tap + j]


@_compiled
def folded(x, w, u, sizes, steps, scratch):
    """x += Σ over taps u w"""
    images, h, v, height, width, kh, kw, c = sizes
    sy, sx, dy, dx, top, left = steps
    many = U(c)
    for n in range(images):
        for y in range(height):
            for k in range(kh):
                row = y * sy + k * dy - top
                if 0 <= row < h:
                    for z in range(width):
                        to = U(((n * height + y) * width + z) * c)
                        for m in range(kw):
                            column = z * sx + m * dx - left
                            if 0 <= column < v:
                                at, tap = U(((n * h + row) * v + column) * c), U((k * kw + m) * c)
                                for j in range(many):
                                    x[at + j] += u[to + j] * w[tap + j]


@_compiled
def weights(x, w, u, sizes, steps, scratch):
    """w += Σ over pixels x u; every line of u on its own first, for one running sum would lose digits"""
    images, h, v, height, width, kh, kw, c = sizes
    sy, sx, dy, dx, top, left = steps
    many = U(c)
    for n in range(images):
        for y in range(height):
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
                                for j in range(many):
                                    scratch[tap + j] += x[at + j] * u[to + j]
            for j in range(w.size):
                w[j] += scratch[j]
