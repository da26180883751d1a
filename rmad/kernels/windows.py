"""Windows over images (n, h, w, c), of a pooling or of a convolution, as slices.

Tap k = (a, b) of the window of output (p, q) is the pixel (p s + a d − top, q s' + b d' − left). For one tap and
all outputs these pixels are a strided slice, so a pooling is as many NumPy calls as a window has taps. Pixels
in the padding are left out of the slices: nothing is ever copied into a padded array.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from rmad.machine.turns import lazy
from rmad.types import Array

__all__ = ["Pair", "Sampling", "Windows", "paddings", "pair", "taps"]

Pair = tuple[int, int]
Slices = tuple[slice, ...]


class Sampling(Protocol):
    """Windows of one size over images of one size. Pairs are (vertical, horizontal)."""

    @property
    def size(self) -> Pair:
        """Height and width of an image."""

    @property
    def kernel(self) -> Pair:
        """Taps of a window."""

    @property
    def out(self) -> Pair:
        """Height and width of a result."""

    @property
    def stride(self) -> Pair: ...

    @property
    def padding(self) -> tuple[Pair, Pair]:
        """(top, bottom), (left, right)"""

    @property
    def dilation(self) -> Pair: ...


def _meeting(s: Sampling, axis: int, tap: int, outputs: slice) -> tuple[slice, slice]:
    """Along one axis: those of the outputs whose tap is a pixel, and these pixels; both empty if there are none.

    Output p has its tap at p s + o, o = tap · d − before, which is a pixel for 0 ≤ p s + o ≤ n − 1.
    """
    stride, start = s.stride[axis], tap * s.dilation[axis] - s.padding[axis][0]
    first = max(outputs.start, -(start // stride))
    last = max(first, min(outputs.stop, (s.size[axis] - 1 - start) // stride + 1))
    pixel = max(0, first * stride + start)
    return slice(first, last), slice(pixel, pixel + max(0, (last - first - 1) * stride + 1), stride)


def taps(s: Sampling, lines: slice | None = None) -> Iterator[tuple[int, int, Slices, Slices]]:
    """(a, b, to, at) for every tap that meets a pixel: tap (a, b) of the windows of y[:, *to] is x[:, *at].

    lines: the rows of y to look at, all of them by default.
    """
    lines = slice(0, s.out[0]) if lines is None else lines
    for a in range(s.kernel[0]):
        ys, rows = _meeting(s, 0, a, lines)
        for b in range(s.kernel[1]):
            xs, columns = _meeting(s, 1, b, slice(0, s.out[1]))
            if ys.start < ys.stop and xs.start < xs.stop:
                yield a, b, (ys, xs), (rows, columns)


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """A whole number, or two of them (vertical, horizontal), as a pair. Raises a ValueError that begins with `name`."""
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

    Raises ValueError if no window fits, or if one would see nothing but padding.
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
        """True if one pixel may belong to several windows."""
        return self.dilation != (1, 1) or any(s < k for s, k in zip(self.stride, self.kernel, strict=True))

    @property
    def padded(self) -> bool:
        return any(map(any, self.padding))

    def shape_of(self, x: Array) -> tuple[int, ...]:
        """The shape of the result for images of the shape of x."""
        return (x.shape[0], *self.out, x.shape[3])

    @lazy
    def parts(self) -> list[tuple[int, Slices, Slices]]:
        """(k, to, at) for the taps that meet any pixel: y[to] sees x[at] as the tap k of its windows."""
        return [(a * self.kernel[1] + b, (slice(None), *to), (slice(None), *at)) for a, b, to, at in taps(self)]

    def _pixels(self, axis: int) -> Array:
        """The number of pixels that the window of each output sees along one axis."""
        counts = np.zeros(self.out[axis], int)
        for tap in range(self.kernel[axis]):
            outputs, _ = _meeting(self, axis, tap, slice(0, self.out[axis]))
            counts[outputs] += 1
        return counts

    @lazy
    def pixels(self) -> Array:
        """The number of pixels that every window sees, (p, q)."""
        return self._pixels(0)[:, None] * self._pixels(1)
