"""Pooling: from images (n, h, w, c) to smaller ones, or to one number per channel; and Flatten."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nn.checks import check_floats
from nn.module import Module
from rmad.kernels.windows import Pair, paddings, pair
from rmad.primitives.layers.pool import avg_pool2d, max_pool2d

__all__ = ["AvgPool2d", "Flatten", "GlobalAvgPool2d", "GlobalMaxPool2d", "MaxPool2d"]

Padding = int | Pair | tuple[Pair, Pair]


class _Pool2d(Module):
    """What the two poolings over windows have in common: their settings, as torch names them."""

    def __init__(self, kernel: int | Pair, stride: int | Pair | None, padding: Padding, dilation: int | Pair) -> None:
        name = type(self).__name__
        self.kernel = pair(kernel, f"{name}: kernel")
        self.stride = self.kernel if stride is None else pair(stride, f"{name}({kernel}): stride")
        self.padding = paddings(padding, f"{name}({kernel}): padding")
        self.dilation = pair(dilation, f"{name}({kernel}): dilation")

    def describe(self) -> str:
        words = [short(self.kernel)]
        if self.stride != self.kernel:
            words.append(f"stride={short(self.stride)}")
        if any(map(any, self.padding)):
            words.append(f"padding={short_padding(self.padding)}")
        if self.dilation != (1, 1):
            words.append(f"dilation={short(self.dilation)}")
        return ", ".join(words)

    def forward(self, x: Any) -> Any:
        check_images(self, x)
        try:
            return self.pool(x)
        except ValueError as error:  # it names the function; here the layer is what the reader knows
            raise ValueError(f"{type(self).__name__}({self.describe()}): {str(error).split(': ', 1)[-1]}") from None

    def pool(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.pool")


class MaxPool2d(_Pool2d):
    """y[n, p, q, c] = max over the k × k' window at (p s, q s') of x[n, ·, ·, c]

    x: (n, h, w, c), y: (n, p, q, c), p = ⌊(h + top + bottom − d (k − 1) − 1) / s⌋ + 1, q likewise. kernel, stride (by
    default the kernel's), padding and dilation: numbers or pairs (vertical, horizontal); padding also
    ((top, bottom), (left, right)). Padding never wins; the first of equal elements has the derivative; NaN wins.
    Raises ValueError where no window fits or one sees nothing but padding, TypeError unless x holds floats.
    """

    def __init__(
        self, kernel: int | Pair, stride: int | Pair | None = None, padding: Padding = 0, dilation: int | Pair = 1
    ) -> None:
        super().__init__(kernel, stride, padding, dilation)

    def pool(self, x: Any) -> Any:
        return max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation)


class AvgPool2d(_Pool2d):
    """y[n, p, q, c] = mean over the k × k' window at (p s, q s') of x[n, ·, ·, c]

    x: (n, h, w, c), y: (n, p, q, c); sizes as for MaxPool2d. Padding counts as zeros, unless count_include_pad is
    False: then the mean is over the pixels of the image. Raises ValueError and TypeError as MaxPool2d does.
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

    def pool(self, x: Any) -> Any:
        return avg_pool2d(x, self.kernel, self.stride, self.padding, self.count_include_pad)

    def describe(self) -> str:
        return super().describe() + ("" if self.count_include_pad else ", count_include_pad=False")


class GlobalAvgPool2d(Module):
    """y[n, c] = mean of x[n, ·, ·, c]; x: (n, h, w, c), y: (n, c)"""

    def forward(self, x: Any) -> Any:
        check_images(self, x)
        return np.mean(x, axis=(1, 2))


class GlobalMaxPool2d(Module):
    """y[n, c] = max of x[n, ·, ·, c]; x: (n, h, w, c), y: (n, c). Equal maxima share the derivative evenly."""

    def forward(self, x: Any) -> Any:
        check_images(self, x)
        return np.max(x, axis=(1, 2))


class Flatten(Module):
    """y = x with all axes from start_axis on as one: (n, h, w, c) → (n, h·w·c)"""

    def __init__(self, start_axis: int = 1) -> None:
        self.start_axis = int(start_axis)

    def forward(self, x: Any) -> Any:
        shape, k = np.shape(x), self.start_axis
        if not -len(shape) <= k < len(shape):
            raise ValueError(f"Flatten({self.describe()}): x has shape {shape}, which has no axis {k}")
        k %= len(shape)
        return np.reshape(x, (*shape[:k], math.prod(shape[k:])))  # not -1: the batch may be empty

    def describe(self) -> str:
        return "" if self.start_axis == 1 else str(self.start_axis)


def check_images(layer: Module, x: Any, channels: int | str = "c") -> None:
    """Raises unless x is (n, h, w, channels), of floats, with a pixel at least."""
    check_floats(layer, x)
    shape = np.shape(x)
    wrong_channels = isinstance(channels, int) and shape[-1:] != (channels,)
    if len(shape) != 4 or wrong_channels or 0 in shape[1:]:
        name = f"{type(layer).__name__}({layer.describe()})"
        raise ValueError(f"{name}: x has shape {shape}, expected (n, h, w, {channels}){_how_to_reach(shape, channels)}")


def _how_to_reach(shape: tuple[int, ...], channels: int | str) -> str:
    """How images (n, h, w, c) are made of what a newcomer is likely to have: rows, grey images, torch's layout."""
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
    """A pair as a user would write it: 2 for (2, 2)."""
    return str(pair[0]) if pair[0] == pair[1] else str(pair)


def short_padding(padding: tuple[Pair, Pair]) -> str:
    vertical, horizontal = padding
    even = vertical[0] == vertical[1] and horizontal[0] == horizontal[1]
    return short((vertical[0], horizontal[0])) if even else str(padding)
