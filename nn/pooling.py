"""Pooling: from images (n, h, w, c) to smaller ones, or to one number per channel; and Flatten."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from nn.checks import check_floats
from nn.module import Module
from rmad.extend import Array, Pair, avg_pool2d, max_pool2d, paddings, pair

__all__ = ["AvgPool2d", "Flatten", "GlobalAvgPool2d", "GlobalMaxPool2d", "MaxPool2d"]

Padding: TypeAlias = int | Pair | tuple[Pair, Pair]


class _Pool2d(Module):
    """The settings of a pooling over windows, with torch's names, and the check of its images."""

    def __init__(self, kernel: int | Pair, stride: int | Pair | None, padding: Padding, dilation: int | Pair) -> None:
        name = type(self).__name__
        self.kernel = pair(kernel, f"{name}: kernel")
        self.stride = self.kernel if stride is None else pair(stride, f"{name}({kernel}): stride")
        self.padding = paddings(padding, f"{name}({kernel}): padding")
        self.dilation = pair(dilation, f"{name}({kernel}): dilation")

    def describe(self) -> str:
        """Returns the settings that differ from the defaults."""
        words = [short(self.kernel)]
        if self.stride != self.kernel:
            words.append(f"stride={short(self.stride)}")
        if any(map(any, self.padding)):
            words.append(f"padding={short_padding(self.padding)}")
        if self.dilation != (1, 1):
            words.append(f"dilation={short(self.dilation)}")
        return ", ".join(words)

    def forward(self, x: Array) -> Array:
        """Returns y: (n, p, q, c) for x: (n, h, w, c)."""
        check_images(self, x)
        try:
            return self.pool(x)
        except ValueError as error:  # it names the function, but the user called the layer
            raise ValueError(f"{type(self).__name__}({self.describe()}): {str(error).split(': ', 1)[-1]}") from None

    def pool(self, x: Array) -> Array:
        """Returns y, when x is known to be images."""
        raise NotImplementedError(f"{type(self).__name__}.pool")


class MaxPool2d(_Pool2d):
    """y[n, p, q, c] = max over the k × k' window at (p s, q s') of x[n, ·, ·, c].

    x: (n, h, w, c), y: (n, p, q, c), p = ⌊(h + top + bottom − d (k − 1) − 1) / s⌋ + 1, q likewise. Padding never wins;
    the first of equal elements has the derivative; NaN wins.

    Parameters
    ----------
    kernel : int or (int, int)
        Height k and width k' of the window, in pixels.
    stride : int or (int, int), optional
        Vertical and horizontal distance s, s' of two windows; the size of the window unless given.
    padding : int, (int, int) or ((int, int), (int, int)), default 0
        Pixels added around an image: one number, (vertical, horizontal) or ((top, bottom), (left, right)).
    dilation : int or (int, int), default 1
        Distance d, d' of two pixels of a window.

    Raises
    ------
    ValueError
        If no window fits, or one sees nothing but padding.
    TypeError
        Unless x is an array of floats.

    Examples
    --------
    >>> import nn
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.MaxPool2d(2)(x)[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """

    def __init__(
        self, kernel: int | Pair, stride: int | Pair | None = None, padding: Padding = 0, dilation: int | Pair = 1
    ) -> None:
        super().__init__(kernel, stride, padding, dilation)

    def pool(self, x: Array) -> Array:
        """Returns the maxima."""
        return max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation)


class AvgPool2d(_Pool2d):
    """y[n, p, q, c] = mean over the k × k' window at (p s, q s') of x[n, ·, ·, c].

    x: (n, h, w, c), y: (n, p, q, c); sizes as for MaxPool2d.

    Parameters
    ----------
    kernel : int or (int, int)
        Height k and width k' of the window, in pixels.
    stride : int or (int, int), optional
        Vertical and horizontal distance s, s' of two windows; the size of the window unless given.
    padding : int, (int, int) or ((int, int), (int, int)), default 0
        Pixels added around an image: one number, (vertical, horizontal) or ((top, bottom), (left, right)).
    count_include_pad : bool, default True
        Whether the padding counts as zeros; False takes the mean over the pixels of the image.

    Raises
    ------
    ValueError
        If no window fits, or one sees nothing but padding.
    TypeError
        Unless x is an array of floats.
    """

    def __init__(
        self,
        kernel: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = 0,
        *,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel, stride, padding, 1)
        self.count_include_pad = bool(count_include_pad)

    def pool(self, x: Array) -> Array:
        """Returns the means."""
        return avg_pool2d(x, self.kernel, self.stride, self.padding, self.count_include_pad)

    def describe(self) -> str:
        """Returns the settings that differ from the defaults."""
        return super().describe() + ("" if self.count_include_pad else ", count_include_pad=False")


class GlobalAvgPool2d(Module):
    """y[n, c] = mean of x[n, ·, ·, c].

    x: (n, h, w, c), y: (n, c).
    """

    def forward(self, x: Array) -> Array:
        """Returns y: (n, c) for x: (n, h, w, c)."""
        check_images(self, x)
        return np.mean(x, axis=(1, 2))


class GlobalMaxPool2d(Module):
    """y[n, c] = max of x[n, ·, ·, c].

    x: (n, h, w, c), y: (n, c). Equal maxima share the derivative evenly.
    """

    def forward(self, x: Array) -> Array:
        """Returns y: (n, c) for x: (n, h, w, c)."""
        check_images(self, x)
        return np.max(x, axis=(1, 2))


class Flatten(Module):
    """y = x with all axes from start_axis on as one.

    x: (n, h, w, c), y: (n, h·w·c); for start_axis = k, y has k + 1 axes.

    Parameters
    ----------
    start_axis : int, default 1
        First of the axes that become one.

    Raises
    ------
    ValueError
        If x has no such axis.
    """

    def __init__(self, start_axis: int = 1) -> None:
        self.start_axis = int(start_axis)

    def forward(self, x: Array) -> Array:
        """Returns y: (n, h·w·c) for x: (n, h, w, c)."""
        shape, k = np.shape(x), self.start_axis
        if not -len(shape) <= k < len(shape):
            raise ValueError(f"Flatten({self.describe()}): x has shape {shape}, which has no axis {k}")
        k %= len(shape)
        return np.reshape(x, (*shape[:k], math.prod(shape[k:])))  # not -1: the batch may be empty

    def describe(self) -> str:
        """Returns the axis, unless it is 1."""
        return "" if self.start_axis == 1 else str(self.start_axis)


def check_images(layer: Module, x: Array, channels: int | str = "c") -> None:
    """Raises TypeError unless x holds floats, ValueError unless it is (n, h, w, channels) with at least one pixel."""
    check_floats(layer, x)
    shape = np.shape(x)
    wrong_channels = isinstance(channels, int) and shape[-1:] != (channels,)
    if len(shape) != 4 or wrong_channels or 0 in shape[1:]:
        name = f"{type(layer).__name__}({layer.describe()})"
        raise ValueError(f"{name}: x has shape {shape}, expected (n, h, w, {channels}){_how_to_reach(shape, channels)}")


def _how_to_reach(shape: tuple[int, ...], channels: int | str) -> str:
    """Says how to make images (n, h, w, c) of rows, of grey images, or of torch's layout."""
    if len(shape) == 2:
        return "; x.reshape(len(x), h, w, c) makes images of rows"
    if len(shape) == 3 and shape[-1] == channels:
        return "; x[None] is a batch of one image"
    if len(shape) == 3:
        return "; x[..., None] adds the channel of grey images" if channels in (1, "c") else ""
    if len(shape) == 4 and shape[1] == channels:
        return "; np.moveaxis(x, 1, -1) makes them of (n, c, h, w)"
    return ""


def short(pair: Pair) -> str:
    """Returns a pair as a user would write it: 2 for (2, 2)."""
    return str(pair[0]) if pair[0] == pair[1] else str(pair)


def short_padding(padding: tuple[Pair, Pair]) -> str:
    """Returns a padding as a user would write it: 1 for ((1, 1), (1, 1))."""
    vertical, horizontal = padding
    even = vertical[0] == vertical[1] and horizontal[0] == horizontal[1]
    return short((vertical[0], horizontal[0])) if even else str(padding)
