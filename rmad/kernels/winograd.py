"""Convolution with 3 × 3 kernels at stride 1 in fewer multiplications: Winograd's minimal filtering F(2 × 2, 3 × 3).

    y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A        a 2 × 2 tile y of a result, from the 4 × 4 window d of padded images

with 16 products in place of 36. Over channels and tiles ⊙ is 16 matrix products. The same identity transposed in w
gives w̄ = Gᵀ [(A u Aᵀ) ⊙ (Bᵀ d B)] G. A and B hold only 0 and ±1; the sums with them are loops in
`rmad.kernels.compiled.convolution` and need numba: as NumPy calls they would cost as much as the products save.

Source: Lavin & Gray, "Fast algorithms for convolutional neural networks" (2015), section 4.1. The rounding errors are
of the size of those of the direct sum, unlike those of larger tiles. An infinite pixel makes NaN of its whole tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels import loader
from rmad.kernels.patches import Geometry, NewArray
from rmad.machine import arrays
from rmad.types import Array

__all__ = ["WinogradForward", "WinogradPair", "WinogradWeights", "fits"]

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
GG = np.kron(G, G)  # (16, 9): w ↦ G w Gᵀ


def fits(geometry: Geometry, n: int, dtype: Any) -> bool:
    """True for a convolution that is large enough for the filtering, if numba is installed."""
    g = geometry
    plain = g.kernel == (3, 3) and g.stride == g.dilation == (1, 1) and g.groups == 1 and dtype.kind == "f"
    wide = min(g.i, g.o) >= tuning.WINOGRAD_CHANNELS and n * g.pixels * g.width * g.o >= tuning.WINOGRAD_FROM
    return plain and wide and dtype.itemsize in (4, 8) and loader.loops("convolution") is not None


class _Winograd:
    """The rows of tiles of all images, a chunk at a time; arguments as those of rmad.kernels.patches.Patches.

    pairs: the number of x and w whose results are added up; their channels stand side by side in one product.
    """

    pairs = 1

    def __init__(
        self, geometry: Geometry, n: int, dtype: Any, new: NewArray, add: bool = False, chunk: int | None = None
    ) -> None:
        g = geometry
        self.geometry, self.n, self.add, self.dtype, self.loops = g, n, add, dtype, loader.loops("convolution")
        self.GG = GG.astype(dtype)
        self.tiles = (g.out[0] + 1) // 2, (g.out[1] + 1) // 2  # rows in an image, tiles in a row
        i = self.pairs * g.i
        line, chunk = 16 * self.tiles[1] * (i + g.o) * dtype.itemsize, self._chunk(chunk or tuning.CONVOLUTION_CHUNK)
        self.rows = max(1, min(chunk // line, n * self.tiles[0]))  # of tiles in a chunk
        self.windows, self.products = self._planes(i, new), self._planes(g.o, new)
        self.zero = new((max(g.size[1] * g.i, g.out[1] * g.o),), dtype)
        self.strip = new((4, (2 * self.tiles[1] + 2) * g.i), dtype)
        self.between = new((4, 2 * self.tiles[1] * g.o), dtype)
        self.w = new((16, i, g.o), dtype)

    def _chunk(self, chunk: int) -> int:
        """The bytes of windows and products that there may be at a time."""
        return chunk

    def _planes(self, c: int, new: NewArray) -> Array:
        """16 planes for the tiles of a chunk, a few numbers apart so that they do not share cache lines."""
        return new((16, self.rows * self.tiles[1] * c + 64 // self.dtype.itemsize), self.dtype)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """(the first row of tiles, the number of rows) of every chunk."""
        total = self.n * self.tiles[0]
        for first in range(0, total, self.rows):
            yield first, min(self.rows, total - first)

    def _lines(self, x: Array) -> Array:
        """Images as (n, h, w·c)."""
        x = arrays.contiguous(x, self.dtype)
        return x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3])

    def _tiles(self, planes: Array, rows: int, c: int) -> Array:
        """The planes as 16 matrices (tiles, c)."""
        count = rows * self.tiles[1]
        return planes[:, : count * c].reshape(16, count, c)

    def _split(self, images: list[Array], first: int, rows: int) -> Array:
        """Bᵀ d B, (16, tiles, pairs·i)."""
        g, planes, width = self.geometry, self.windows, self.pairs * self.geometry.i
        top, left, zero = g.padding[0][0], g.padding[1][0], self.zero[: g.size[1] * g.i]
        for k, lines in enumerate(images):
            more = (zero, self.strip, planes.reshape(-1)[k * g.i :], width, planes.shape[1])
            self.loops.split_images(lines, first, rows, self.tiles, top, left, g.i, *more)
        return self._tiles(planes, rows, width)


class WinogradForward(_Winograd):
    """y = patches(x) w."""

    def __call__(self, *arrays: Array) -> None:
        *factors, out = arrays
        g, planes, size = self.geometry, self.products, self.geometry.i * self.geometry.o
        images, y = [self._lines(x) for x in factors[::2]], out.reshape(self.n, g.out[0], g.out[1] * g.o)
        for k, w in enumerate(factors[1::2]):
            part = self.w.reshape(16, self.pairs * size)[:, k * size : (k + 1) * size]
            np.matmul(self.GG, np.reshape(w, (9, size)), out=part)
        self.zero.fill(0)
        self.strip.fill(0)
        sums = self.between.reshape(-1)
        for first, rows in self._chunks():
            np.matmul(self._split(images, first, rows), self.w, out=self._tiles(planes, rows, g.o))
            more = (self.tiles, g.o, sums, self.add, y)
            self.loops.unsplit(planes.reshape(-1), planes.shape[1], first, rows, *more)


class WinogradPair(WinogradForward):
    """y = patches(x₁) w₁ + patches(x₂) w₂, called with (x₁, w₁, x₂, w₂, out)."""

    pairs = 2


class WinogradWeights(_Winograd):
    """w̄ = patches(x)ᵀ u. The products of chunks are added up, in a buffer if there are several."""

    def __init__(self, geometry: Geometry, n: int, dtype: Any, new: NewArray, *more: Any) -> None:
        super().__init__(geometry, n, dtype, new, *more)
        several = self.rows < n * self.tiles[0]
        self.product = new(self.w.shape, dtype) if several else None

    def _chunk(self, chunk: int) -> int:
        """At least as many as that buffer would have: it is added once per chunk."""
        return max(chunk, 16 * self.geometry.i * self.geometry.o * self.dtype.itemsize)

    def __call__(self, u: Array, x: Array, out: Array) -> None:
        g, planes = self.geometry, self.products
        images, cotangents = [self._lines(x)], self._lines(u)
        for buffer in (self.zero, self.strip, self.between, self.w):
            buffer.fill(0)
        more = (self.tiles, g.o, self.zero[: g.out[1] * g.o], self.between, planes.reshape(-1), planes.shape[1])
        for first, rows in self._chunks():
            windows = self._split(images, first, rows)
            self.loops.split_cotangents(cotangents, first, rows, *more)
            product = self.w if self.product is None else self.product
            np.matmul(np.swapaxes(windows, 1, 2), self._tiles(planes, rows, g.o), out=product)
            if self.product is not None:
                np.add(self.w, self.product, out=self.w)
        w = (self.GG.T @ self.w.reshape(16, g.i * g.o)).reshape(g.weight_shape)
        np.add(out, w, out=out) if self.add else np.copyto(out, w)
