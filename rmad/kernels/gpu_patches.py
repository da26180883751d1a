"""Convolutions on a GPU: patches by one kernel and one product with them, for as many images at a time as fit.

The arguments are those of rmad.kernels.patches; nothing is padded, and sums are added up by cuBLAS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rmad.kernels import gpu_windows
from rmad.kernels.patches import NewArray, Patches
from rmad.machine.products import multiply
from rmad.types import Array

__all__ = ["FoldedOnGPU", "ForwardOnGPU", "PairOnGPU", "WeightsOnGPU"]


class _GatheredOnGPU(Patches):
    def patches(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """The rows of every chunk, and their patches."""
        g = self.geometry
        if g.pointwise:
            whole = g.by_group(x.astype(self.scratch.dtype, copy=False).reshape(-1, x.shape[-1]))
            yield from ((rows, whole[:, rows]) for _, _, rows in self.chunks())
            return
        for images, lines, rows in self.chunks():
            patches = self.room(images, lines)
            gpu_windows.patches(x[images], g, g.groups, lines.start, lines.stop - lines.start, patches)
            yield rows, patches


class ForwardOnGPU(_GatheredOnGPU):
    """y = patches(x) w."""

    def __call__(self, x: Array, w: Array, out: Array) -> None:
        w, y = self.geometry.matrix(w), self.rows_of(out)
        for rows, patches in self.patches(x):
            multiply(patches, w, y[:, rows], self.add)


class PairOnGPU(Patches):
    """y = patches(x) w + patches(z) v, called with (x, w, z, v, out); one kernel gathers both."""

    def prepare(self, dtype: Any, new: NewArray) -> None:
        self.second = new(self.scratch.shape, dtype)

    def __call__(self, x: Array, w: Array, z: Array, v: Array, out: Array) -> None:
        g, y = self.geometry, self.rows_of(out)
        w, v = g.matrix(w), g.matrix(v)
        for images, lines, rows in self.chunks():
            patches = self.room(images, lines)
            other = self.second[: patches.size].reshape(patches.shape)
            n = lines.stop - lines.start
            gpu_windows.patches_of_both(x[images], z[images], g, g.groups, lines.start, n, patches, other)
            multiply(patches, w, y[:, rows], self.add)
            multiply(other, v, y[:, rows], True)


class WeightsOnGPU(_GatheredOnGPU):
    """w̄ = patches(x)ᵀ u."""

    def __call__(self, u: Array, x: Array, out: Array) -> None:
        w, u, add = self.geometry.matrix(out), self.rows_of(u), self.add
        for rows, patches in self.patches(x):
            multiply(np.swapaxes(patches, 1, 2), u[:, rows], w, add)
            add = True
        if not add:  # of no images
            out.fill(0)


class FoldedOnGPU(Patches):
    """x̄ = patchesᵀ(u wᵀ)."""

    def __call__(self, u: Array, w: Array, out: Array) -> None:
        g = self.geometry
        w, u = np.swapaxes(g.matrix(w), 1, 2), self.rows_of(u)
        for images, lines, rows in self.chunks():
            patches = self.room(images, lines)
            multiply(u[:, rows], w, patches)
            add = self.add or lines.start > 0
            gpu_windows.fold(patches, g, g.groups, lines.start, lines.stop - lines.start, out[images], add)
