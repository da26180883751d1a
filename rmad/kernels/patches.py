"""Patches: the windows of images that a convolution multiplies, and the three products with them.

With padded images (n, h + …, w + …, groups·i), group q, tap (k, l), stride s and dilation d,

    patches[q, (n, y, x), (k, l, c)] = padded[n, y·s + k·d, x·s + l·d, q·i + c]

is a view of the padded images with more strides than axes. A BLAS wants it copied. That copy is kh·kw times as large
as x, so it is made for a few images at a time, in a scratch that stays in the cache until the product has read it, and
never kept: the residual of a convolution is x. In this layout whole runs of kw·c numbers are contiguous in x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rmad import tuning
from rmad.kernels import loader
from rmad.kernels.windows import Pair, taps
from rmad.machine import arrays
from rmad.types import Array

__all__ = ["Folded", "Forward", "Geometry", "Weights"]

NewArray = Callable[[Any, Any], Array]
"""(shape, dtype) → array: makes scratch, whose content need not survive from call to call."""


class Geometry(NamedTuple):
    """The sizes of one convolution, without the number of images. Pairs are (vertical, horizontal)."""

    size: Pair  # of an image x
    kernel: Pair
    out: Pair  # of an image y
    stride: Pair
    padding: tuple[Pair, Pair]  # (top, bottom), (left, right)
    dilation: Pair
    groups: int
    i: int  # channels of x, of all groups together
    o: int  # channels of y

    @property
    def padded(self) -> Pair:
        """Height and width of a padded image."""
        (top, bottom), (left, right) = self.padding
        return self.size[0] + top + bottom, self.size[1] + left + right

    @property
    def pixels(self) -> int:
        """Rows of the patches that one image has."""
        return self.out[0] * self.out[1]

    @property
    def width(self) -> int:
        """Numbers in one patch of one group."""
        return self.kernel[0] * self.kernel[1] * (self.i // self.groups)

    @property
    def pointwise(self) -> bool:
        """1 × 1 kernels at stride 1: the images are their own patches."""
        return self.kernel == self.stride == (1, 1) and not any(map(any, self.padding))

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (*self.kernel, self.i // self.groups, self.o)

    def transposed(self) -> Geometry | None:
        """The convolution that is the transpose of this one in x, with the kernel that `turned` makes.

        None if there is none: a stride above 1 would spread u out, and padding by more than the kernel
        reaches would crop it.
        """
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
        padding = tuple((r - before, r - after) for r, (before, after) in zip(reach, self.padding, strict=True))
        if self.stride != (1, 1) or min(min(p) for p in padding) < 0:
            return None
        return self._replace(size=self.out, out=self.size, padding=padding, i=self.o, o=self.i)  # type: ignore[arg-type]

    def turned(self, w: Array) -> Array:
        """The kernel of the transposed convolution: w[kh − 1 − k, kw − 1 − l, c, q·o + p] at [k, l, p, q·i + c]."""
        kh, kw, i, o = self.weight_shape
        w = np.reshape(w[::-1, ::-1], (kh, kw, i, self.groups, o // self.groups))
        return np.reshape(np.transpose(w, (0, 1, 4, 3, 2)), (kh, kw, o // self.groups, self.i))

    def turn(self, w: Array, out: Array) -> None:
        """out ← the kernel of the transposed convolution."""
        kh, kw, i, o = self.weight_shape
        g = self.groups
        w = np.reshape(w[::-1, ::-1], (kh, kw, i, g, o // g))
        np.copyto(np.reshape(out, (kh, kw, o // g, g, i)), np.transpose(w, (0, 1, 4, 3, 2)))

    def matrix(self, w: Array) -> Array:
        """w as one matrix (kh·kw·i, o) per group."""
        return self.by_group(np.reshape(w, (self.width, self.o)))

    def by_group(self, rows: Array) -> Array:
        """(rows, groups·o) as (groups, rows, o)."""
        shape = (len(rows), self.groups, rows.shape[1] // self.groups)
        return np.swapaxes(np.reshape(rows, shape), 0, 1)


class Patches:
    """The patches of n images, a chunk at a time in one scratch.

    Groups are matrices of a stack, so with one group a chunk is one BLAS call. The subclasses are the three products;
    with `add` they add to their last argument in place of writing it. chunk: bytes of patches at a time.
    """

    def __init__(
        self, geometry: Geometry, n: int, dtype: Any, new: NewArray, add: bool = False, chunk: int | None = None
    ) -> None:
        self.geometry, self.n, self.add = geometry, n, add
        g = geometry
        line = g.out[1] * g.width * g.groups  # numbers in the patches of one line of y
        images = (chunk or tuning.CONVOLUTION_CHUNK) / max(1, line * g.out[0] * dtype.itemsize)
        self.images = max(1, min(int(images), n))
        self.lines = -(-g.out[0] // max(1, round(1 / max(images, 1e-9))))  # of one image, if it does not fit
        self.scratch = new((0 if g.pointwise else self.images * self.lines * line + 7,), dtype)
        self.prepare(dtype, new)

    def prepare(self, dtype: Any, new: NewArray) -> None:
        """Makes the other buffers of a product."""

    def chunks(self) -> Iterator[tuple[slice, slice, slice]]:
        """(images, lines of y, rows of the patches): some images with all their lines, or some lines of one image."""
        height, width = self.geometry.out
        for a in range(0, self.n, self.images):
            b = min(a + self.images, self.n)
            for first in range(0, height, self.lines):
                last = min(first + self.lines, height)
                start = (a * height + first) * width
                yield slice(a, b), slice(first, last), slice(start, start + (b - a) * (last - first) * width)

    def rows_of(self, y: Array) -> Array:
        """Images (n, h′, w′, groups·o) as (groups, rows, o)."""
        return self.geometry.by_group(np.reshape(y, (self.n * self.geometry.pixels, self.geometry.o)))

    def room(self, images: slice, lines: slice) -> Array:
        """The part of the scratch for a chunk, (groups, rows, width)."""
        g = self.geometry
        rows = (images.stop - images.start) * (lines.stop - lines.start) * g.out[1]
        return self.scratch[: g.groups * rows * g.width].reshape(g.groups, rows, g.width)


class Gathered(Patches):
    """Chunks of patches(x), copied from a view of the padded images."""

    def prepare(self, dtype: Any, new: NewArray) -> None:
        g = self.geometry
        narrow = g.groups == g.dilation[1] == 1 and not g.pointwise and g.kernel[1] * g.i <= tuning.NARROW_RUN
        worth_it = (
            narrow
            and isinstance(self.scratch, np.ndarray)
            and self.n * g.pixels * g.width >= tuning.CONVOLUTION_LOOPS_FROM
        )
        self.loops: Any = loader.loops("convolution") if worth_it and dtype.char in "fd" else None
        shape = (self.images, *g.padded, g.i)
        self.border: Any = None
        if any(map(any, g.padding)) or self.loops:
            self.flat = new((int(np.prod(shape)) + 7,), dtype)
            self.border = self.flat[:-7].reshape(shape)

    def patches(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """The rows of every chunk, and their patches."""
        if self.geometry.pointwise:
            whole = self.geometry.by_group(x.astype(self.scratch.dtype, copy=False).reshape(-1, x.shape[-1]))
            yield from ((rows, whole[:, rows]) for _, _, rows in self.chunks())
            return
        if self.border is not None:
            self.border.fill(0)
        for images, lines, rows in self.chunks():
            if lines.start == 0:
                padded = self.padded(x[images])
            patches = self.room(images, lines)
            if self.loops:
                self.copy_runs(len(padded), lines)
            else:
                windows = self.windows(padded, lines)
                np.copyto(patches.reshape(windows.shape), windows)
            yield rows, patches

    def copy_runs(self, n: int, lines: slice) -> None:
        """The scratch ← the patches of the first n images in the border, run by run."""
        g = self.geometry
        image, row, column = (step // self.border.itemsize for step in self.border.strides[:3])
        steps = (image, g.stride[0] * row, g.stride[1] * column, g.dilation[0] * row)
        sizes = (n, lines.stop - lines.start, g.out[1], g.kernel[0])
        self.loops.gather_runs(self.flat[lines.start * steps[1] :], sizes, steps, g.kernel[1] * g.i, self.scratch)

    def padded(self, x: Array) -> Array:
        if self.border is None:
            return x
        (top, _), (left, _) = self.geometry.padding
        self.border[: len(x), top : top + x.shape[1], left : left + x.shape[2]] = x
        return self.border[: len(x)]

    def windows(self, padded: Array, lines: slice) -> Array:
        """The patches of some lines as a view: (group, n, y, x, k, l, c)."""
        g = self.geometry
        c, (image, row, column, one) = g.i // g.groups, padded.strides
        shape = (g.groups, len(padded), lines.stop - lines.start, g.out[1], *g.kernel, c)
        steps = (g.stride[0] * row, g.stride[1] * column, g.dilation[0] * row, g.dilation[1] * column)
        padded = padded[:, lines.start * g.stride[0] :]
        return arrays.kind_of(padded).lib.stride_tricks.as_strided(padded, shape, (c * one, image, *steps, one))


class Forward(Gathered):
    """y = patches(x) w."""

    def prepare(self, dtype: Any, new: NewArray) -> None:
        super().prepare(dtype, new)
        self.product = new((self.images * self.lines * self.geometry.out[1] * self.geometry.o,), dtype)

    def __call__(self, x: Array, w: Array, out: Array) -> None:
        w, y = self.geometry.matrix(w), self.rows_of(out)
        for rows, patches in self.patches(x):
            if self.add:
                product = self.product[: y[:, rows].size].reshape(y[:, rows].shape)
                np.add(y[:, rows], np.matmul(patches, w, out=product), out=y[:, rows])
            else:
                np.matmul(patches, w, out=y[:, rows])


class Weights(Gathered):
    """w̄ = patches(x)ᵀ u."""

    def prepare(self, dtype: Any, new: NewArray) -> None:
        super().prepare(dtype, new)
        g = self.geometry
        self.product = new((g.groups, g.width, g.o // g.groups), dtype)

    def __call__(self, u: Array, x: Array, out: Array) -> None:
        if not self.add:
            out.fill(0)
        w, u = self.geometry.matrix(out), self.rows_of(u)
        for rows, patches in self.patches(x):
            np.matmul(np.swapaxes(patches, 1, 2), u[:, rows], out=self.product)
            np.add(w, self.product, out=w)


class Folded(Patches):
    """x̄ = patchesᵀ(u wᵀ): every number of a patch is added to the pixel that it was copied from."""

    def __call__(self, u: Array, w: Array, out: Array) -> None:
        if not self.add:
            out.fill(0)
        w, u = np.swapaxes(self.geometry.matrix(w), 1, 2), self.rows_of(u)
        for images, lines, rows in self.chunks():
            patches = self.room(images, lines)
            np.matmul(u[:, rows], w, out=patches)
            self.fold(patches, images, lines, out[images])

    def fold(self, patches: Array, images: slice, lines: slice, x: Array) -> None:
        """x += the transpose of the copy: one strided sum per tap, since one tap meets no pixel twice."""
        g = self.geometry
        c = g.i // g.groups
        by_tap = patches.reshape(g.groups, len(x), lines.stop - lines.start, g.out[1], *g.kernel, c)
        x = x.reshape(len(x), *g.size, g.groups, c)
        for k, m, (ys, xs), (rows, columns) in taps(g, lines):
            part = by_tap[:, :, slice(ys.start - lines.start, ys.stop - lines.start), xs, k, m]
            x[:, rows, columns] += np.moveaxis(part, 0, 3)
