"""Convolutions of every channel with a kernel of its own, groups = i = o: sums over taps in place of matrix products.

    y = Σ over taps x[at] w[tap],   x̄[at] += u w[tap],   w̄[tap] = Σ x[at] u

A product with patches would be one of (rows, kh·kw) and (kh·kw, 1) for every channel, where the copy costs many
times the multiplications. With numba (the extra `fast`) these are loops of rmad.kernels.compiled.depthwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels import loader
from rmad.kernels.patches import Geometry, NewArray
from rmad.kernels.windows import Slices, taps
from rmad.machine import arrays
from rmad.types import Array

__all__ = ["DepthwiseFolded", "DepthwiseForward", "DepthwiseWeights", "is_depthwise"]


def is_depthwise(geometry: Geometry) -> bool:
    return geometry.groups == geometry.i == geometry.o > 1


class _Depthwise(ABC):
    """out ← Σ a b over taps and pixels. Arguments as those of rmad.kernels.patches.Patches."""

    wanted: str  # "u", "x" or "w", as in the form ⟨u, conv2d(x, w)⟩

    def __init__(
        self, geometry: Geometry, n: int, dtype: Any, new: NewArray, add: bool = False, chunk: int | None = None
    ) -> None:
        g = geometry
        self.geometry, self.n, self.dtype, self.add = g, n, dtype, add
        worth_it = n * g.pixels * g.width * g.o >= tuning.CONVOLUTION_LOOPS_FROM and dtype.char in "fd"
        self.loops: Any = loader.loops("depthwise") if worth_it else None
        self.images = max(1, min(n, (chunk or tuning.CONVOLUTION_CHUNK) // (g.pixels * g.o * dtype.itemsize)))
        self.scratch = new((g.kernel[0] * g.kernel[1] * g.o if self.loops else self.images * g.pixels * g.o,), dtype)

    def __call__(self, a: Array, b: Array, out: Array) -> None:
        if not self.add:
            out.fill(0)
        if self.loops:
            self.loop(a, b, out)
            return
        for first in range(0, self.n, self.images):
            images = slice(first, min(first + self.images, self.n))
            for k, m, to, at in taps(self.geometry):
                self.tap(k, m, (images, *to), (images, *at), a, b, out)

    @abstractmethod
    def tap(self, k: int, m: int, to: Slices, at: Slices, a: Array, b: Array, out: Array) -> None:
        """Adds the share of tap (k, m), which ties u[to] to x[at]."""

    def times(self, a: Array, b: Array) -> Array:
        """a b in the scratch."""
        return np.multiply(a, b, out=self.scratch[: a.size].reshape(a.shape))

    def loop(self, a: Array, b: Array, out: Array) -> None:
        flat = [arrays.contiguous(array, self.dtype).reshape(-1) for array in (a, b, out)]
        g = self.geometry
        sizes = (self.n, *g.size, *g.out, *g.kernel, g.o)
        steps = (*g.stride, *g.dilation, g.padding[0][0], g.padding[1][0])
        getattr(self.loops, f"of_{self.wanted}")(*flat, sizes, steps, self.scratch)


class DepthwiseForward(_Depthwise):
    """u ← Σ over taps x w, called with (x, w, u)."""

    wanted = "u"

    def tap(self, k: int, m: int, to: Slices, at: Slices, a: Array, b: Array, out: Array) -> None:
        np.add(out[to], self.times(a[at], b[k, m, 0]), out=out[to])


class DepthwiseFolded(_Depthwise):
    """x ← Σ over taps u w, called with (u, w, x)."""

    wanted = "x"

    def tap(self, k: int, m: int, to: Slices, at: Slices, a: Array, b: Array, out: Array) -> None:
        np.add(out[at], self.times(a[to], b[k, m, 0]), out=out[at])


class DepthwiseWeights(_Depthwise):
    """w ← Σ over pixels x u, called with (u, x, w)."""

    wanted = "w"

    def tap(self, k: int, m: int, to: Slices, at: Slices, a: Array, b: Array, out: Array) -> None:
        rows = self.times(b[at], a[to]).reshape(-1, self.geometry.o)
        out[k, m, 0] += np.ones(len(rows), self.dtype) @ rows
