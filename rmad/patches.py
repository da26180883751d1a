"""Patches: the windows of images that a convolution multiplies, gathered by copies and folded back by sums.

A `Geometry` is what stays when the arrays are taken away. With padded images (n, h + …, w + …, groups·i),

    patches[q, (n, y, x), (k, l, c)] = padded[n, y·s + k·d, x·s + l·d, q·i + c]

for group q, tap (k, l), stride s and dilation d. `fold` is the transpose of `gather`. Both take slices and nothing
else, so they run on every kind of array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Geometry", "fold", "gather", "pad"]

Pair = tuple[int, int]


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
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (*self.kernel, self.i // self.groups, self.o)

    def transposed(self) -> Geometry | None:
        """The convolution that is the transpose of this one in x, for stride 1: see `flipped`.

        None where there is none: stride above 1 would spread u out, and padding by more than the kernel
        reaches would crop it.
        """
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
        padding = tuple((r - before, r - after) for r, (before, after) in zip(reach, self.padding, strict=True))
        if self.stride != (1, 1) or min(min(p) for p in padding) < 0:
            return None
        return self._replace(size=self.out, out=self.size, padding=padding, i=self.o, o=self.i)  # type: ignore[arg-type]


def pad(x: Any, geometry: Geometry) -> Any:
    """x with its border of zeros; x itself where there is none."""
    (top, bottom), (left, right) = geometry.padding
    if not (top or bottom or left or right):
        return x
    padded = np.zeros_like(x, order="C", shape=(len(x), *geometry.padded, x.shape[-1]))
    padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return padded


def _taps(geometry: Geometry) -> list[tuple[int, int, tuple[slice, ...]]]:
    """(k, l, the pixels of a padded image that tap (k, l) meets)."""

    def along(axis: int, tap: int) -> slice:
        start, step = tap * geometry.dilation[axis], geometry.stride[axis]
        return slice(start, start + (geometry.out[axis] - 1) * step + 1, step)

    kh, kw = geometry.kernel
    return [(k, m, (slice(None), along(0, k), along(1, m))) for k in range(kh) for m in range(kw)]


def _by_tap(patches: Any, n: int, geometry: Geometry) -> Any:
    """The patches as (n, y, x, group, k, l, c)."""
    c = geometry.i // geometry.groups
    return np.moveaxis(patches.reshape(geometry.groups, n, *geometry.out, *geometry.kernel, c), 0, 3)


def gather(padded: Any, geometry: Geometry, out: Any) -> None:
    """out (groups, n·pixels, width) ← the patches of padded images."""
    n, groups = len(padded), geometry.groups
    patches = _by_tap(out, n, geometry)
    for k, m, pixels in _taps(geometry):
        patches[:, :, :, :, k, m] = padded[pixels].reshape(n, *geometry.out, groups, geometry.i // groups)


def fold(patches: Any, geometry: Geometry, out: Any) -> None:
    """out ← out + the transpose of `gather`: every number of a patch is added where it came from."""
    n = len(out)
    by_tap = _by_tap(patches, n, geometry)
    for k, m, pixels in _taps(geometry):
        out[pixels] += by_tap[:, :, :, :, k, m].reshape(n, *geometry.out, geometry.i)
