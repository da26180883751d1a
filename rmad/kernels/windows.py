"""Windows: where the windows of a pooling lie over images (n, h, w, c), as slices.

Tap k = (a, b) of the window of output (p, q) is the pixel (p s + a d − top, q s' + b d' − left). For one tap and
all outputs these pixels are a strided slice, so a pooling is as many NumPy calls as a window has taps. Pixels
in the padding are left out of the slices: nothing is ever copied into a padded array.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["Pair", "Windows", "paddings", "pair"]

Pair = tuple[int, int]
Slices = tuple[slice, ...]


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """A whole number, or two of them (vertical, horizontal), as a pair. Raises ValueError that begins with `name`."""
    numbers = (value, value) if isinstance(value, int | np.integer) else value
    whole = isinstance(numbers, tuple | list) and all(isinstance(k, int | np.integer) and k >= least for k in numbers)
    if not whole or len(numbers) != 2:
        raise ValueError(f"{name} must be a whole number ≥ {least} or a pair of them, not {value!r}")
    return int(numbers[0]), int(numbers[1])


def paddings(value: Any, name: str) -> tuple[Pair, Pair]:
    """A number, a pair (vertical, horizontal) or ((top, bottom), (left, right)) as the last of these."""
    if isinstance(value, tuple | list) and len(value) == 2:
        vertical, horizontal = value
    else:
        vertical, horizontal = pair(value, name, 0)
    return pair(vertical, name, 0), pair(horizontal, name, 0)


class Windows:
    """size: (h, w) of the images; kernel, stride, dilation: pairs; padding: ((top, bottom), (left, right)).

    Raises ValueError where no window fits, or where one would see nothing but padding.
    """

    def __init__(self, size: Pair, kernel: Pair, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair) -> None:
        self.size, self.kernel, self.stride, self.padding, self.dilation = size, kernel, stride, padding, dilation
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        padded = [n + sum(p) for n, p in zip(size, padding, strict=True)]
        if any(n < span for n, span in zip(padded, spans, strict=True)):
            raise ValueError(f"a window of {spans[0]} × {spans[1]} does not fit into {padded[0]} × {padded[1]} pixels")
        fit = zip(padded, spans, stride, strict=True)
        self.out: Pair = tuple((n - span) // s + 1 for n, span, s in fit)  # type: ignore[assignment]
        if not all(np.all(self._pixels(axis) > 0) for axis in (0, 1)):
            raise ValueError(f"padding {padding} is too wide for a window of {kernel}: some would see padding only")

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def overlap(self) -> bool:
        """True where one pixel may belong to several windows."""
        return self.dilation != (1, 1) or any(s < k for s, k in zip(self.stride, self.kernel, strict=True))

    @property
    def padded(self) -> bool:
        return any(map(any, self.padding))

    def shape_of(self, x: Any) -> tuple[int, ...]:
        """The shape of the result for images of the shape of x."""
        return (x.shape[0], *self.out, x.shape[3])

    @cached_property
    def parts(self) -> list[tuple[int, Slices, Slices]]:
        """(k, to, at) for the taps that meet any pixel: y[to] sees x[at] as the tap k of its windows."""
        found: list[tuple[int, Slices, Slices]] = []
        for k in range(self.taps):
            rows, columns = self._tap(0, k // self.kernel[1]), self._tap(1, k % self.kernel[1])
            if rows and columns:
                to, at = zip(rows, columns, strict=True)
                found.append((k, (slice(None), *to), (slice(None), *at)))
        return found

    def _tap(self, axis: int, tap: int) -> tuple[slice, slice] | None:
        """Along one axis: the outputs whose tap is a pixel, and these pixels."""
        n, stride = self.size[axis], self.stride[axis]
        start = tap * self.dilation[axis] - self.padding[axis][0]
        first = max(0, -(start // stride))
        end = min(self.out[axis], (n - 1 - start) // stride + 1)
        if first >= end:
            return None
        return slice(first, end), slice(first * stride + start, (end - 1) * stride + start + 1, stride)

    def _pixels(self, axis: int) -> Any:
        """How many pixels the window of each output sees along one axis."""
        counts = np.zeros(self.out[axis], int)
        for tap in range(self.kernel[axis]):
            slices = self._tap(axis, tap)
            if slices:
                counts[slices[0]] += 1
        return counts

    @cached_property
    def pixels(self) -> Any:
        """How many pixels every window sees, (p, q)."""
        return self._pixels(0)[:, None] * self._pixels(1)
