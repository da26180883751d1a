"""Convolutions of images (n, h, w, c)."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.checks import bias_of, check_dtype, check_sizes, initial
from nn.module import Module
from nn.pooling import Padding, check_images, short, short_padding
from rmad.extend import Array, Pair, conv2d, conv2d_input, paddings, pair

__all__ = ["Conv2d", "ConvTranspose2d"]


class _Convolution(Module):
    """The settings that a convolution shares with its transpose, and the parameters weight and bias."""

    weight: Array

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        stride: int | Pair,
        dilation: int | Pair,
        groups: int,
        bias: bool | float,
        rng: np.random.Generator,
        init: _init.Init,
        dtype: DTypeLike,
    ) -> None:
        name = f"{type(self).__name__}({i}, {o}, {kernel})"
        check_sizes(name, "both numbers of channels", i, o)
        check_dtype(name, dtype)
        if not isinstance(groups, int | np.integer) or groups < 1 or i % groups or o % groups:
            raise ValueError(f"{name}: groups={groups} must divide both numbers of channels")
        self._name = name
        self.in_channels, self.out_channels, self.groups = int(i), int(o), int(groups)
        self.kernel, self.stride = pair(kernel, f"{name}: kernel"), pair(stride, f"{name}: stride")
        self.dilation = pair(dilation, f"{name}: dilation")
        # the weight comes first: the engine takes weight and bias as neighbours in the flat vector
        shape = (*self.kernel, self.in_channels // self.groups, self.out_channels)
        self.weight = initial(self._name, init, rng, shape, dtype)
        self.bias = bias_of(bias, o, dtype)

    def _plus_bias(self, y: Array) -> Array:
        bias = self.bias
        if bias is None:
            return y
        if type(y) is type(bias) and y.dtype == bias.dtype:
            y += bias  # y is ours; on a traced array this is y + bias
            return y
        return y + bias

    def _described(self, padding: str, extra: str = "") -> str:
        """Returns the sizes, and the settings that differ from the defaults."""
        words = [str(self.in_channels), str(self.out_channels), short(self.kernel)]
        if self.stride != (1, 1):
            words.append(f"stride={short(self.stride)}")
        if padding != "0":
            words.append(f"padding={padding}")
        if extra:
            words.append(extra)
        if self.dilation != (1, 1):
            words.append(f"dilation={short(self.dilation)}")
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        return ", ".join(words)


class Conv2d(_Convolution):
    """y[n, p, q, ·] = b + Σ over k, l of x[n, p s + k d − top, q s' + l d' − left, ·] W[k, l].

    x: (n, h, w, i), y: (n, p, q, o) with p = ⌊(h + top + bottom − d (kh − 1) − 1) / s⌋ + 1, q likewise.

    Parameters
    ----------
    i : int
        Number of input channels.
    o : int
        Number of output channels.
    kernel : int or (int, int)
        Height and width of the filters, in pixels.
    stride : int or (int, int), default 1
        Vertical and horizontal distance s, s' of two windows.
    padding : int, (int, int), ((int, int), (int, int)) or str, default 0
        Pixels around an image: a number, (vertical, horizontal), ((top, bottom), (left, right)), 'valid' or 'same'.
    dilation : int or (int, int), default 1
        Distance d, d' of two pixels of a window.
    groups : int, default 1
        Number of groups of channels, a divisor of i and o; an output channel sees the inputs of its own group.
    bias : bool or float, default True
        Number that fills b: True stands for 0, False for no bias at all.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W: one of nn.init.
    dtype : dtype, default float32
        Type of W and b: a real or complex float.

    Attributes
    ----------
    weight : (kh, kw, i / groups, o) array
        W.
    bias : (o,) array or None
        b.

    Raises
    ------
    ValueError
        If x has another number of channels or is smaller than the kernel; for 'same' with another stride than 1.
    TypeError
        Unless x is an array of floats.

    Examples
    --------
    >>> import nn
    >>> layer = nn.Conv2d(3, 8, 5, padding="same", rng=np.random.default_rng(0))
    >>> layer(np.ones((2, 32, 32, 3), np.float32)).shape, layer.weight.shape
    ((2, 32, 32, 8), (5, 5, 3, 8))
    """

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: Padding | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(i, o, kernel, stride, dilation, groups, bias, rng, init, dtype)
        self.padding = self._paddings(padding)

    def _paddings(self, padding: Padding | str) -> tuple[Pair, Pair]:
        """Returns ((top, bottom), (left, right))."""
        if not isinstance(padding, str):
            return paddings(padding, f"{self._name}: padding")
        if padding not in ("same", "valid"):
            raise ValueError(f"{self._name}: padding must be numbers, 'same' or 'valid', not {padding!r}")
        if padding == "valid":
            return (0, 0), (0, 0)
        if self.stride != (1, 1):
            raise ValueError(f"{self._name}: padding='same' needs stride 1, not {short(self.stride)}")
        reach = [d * (k - 1) for k, d in zip(self.kernel, self.dilation, strict=True)]
        return (reach[0] // 2, reach[0] - reach[0] // 2), (reach[1] // 2, reach[1] - reach[1] // 2)

    def forward(self, x: Array) -> Array:
        """Returns y: (n, p, q, o) for x: (n, h, w, i)."""
        check_images(self, x, self.in_channels)
        for m, ends, k, d in zip(np.shape(x)[1:3], self.padding, self.kernel, self.dilation, strict=True):
            if m + sum(ends) < d * (k - 1) + 1:
                raise ValueError(f"Conv2d({self.describe()}): x has shape {np.shape(x)}, smaller than the kernel")
        return self._plus_bias(conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.groups))

    def describe(self) -> str:
        """Returns the sizes, and the settings that differ from the defaults."""
        return self._described(short_padding(self.padding))


class ConvTranspose2d(_Convolution):
    """⟨y − b, z⟩ = ⟨x, conv2d(z, W)⟩ for all z: the transpose of a convolution that has these settings.

    x: (n, h, w, i), y: (n, p, q, o) with p = (h − 1) s − top − bottom + d (kh − 1) + output_padding + 1, q likewise.

    Parameters
    ----------
    i : int
        Number of input channels.
    o : int
        Number of output channels.
    kernel : int or (int, int)
        Height and width of the filters, in pixels.
    stride : int or (int, int), default 1
        Vertical and horizontal distance s, s' of two windows.
    padding : int, (int, int) or ((int, int), (int, int)), default 0
        Padding of the convolution: a number, (vertical, horizontal) or ((top, bottom), (left, right)).
    output_padding : int or (int, int), default 0
        Choice, below the stride, among the sizes that the convolution maps to (h, w).
    dilation : int or (int, int), default 1
        Distance d, d' of two pixels of a window.
    groups : int, default 1
        Number of groups of channels, a divisor of i and o; an output channel sees the inputs of its own group.
    bias : bool or float, default True
        Number that fills b: True stands for 0, False for no bias at all.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W: one of nn.init, called with the shape (kh, kw, i / groups, o).
    dtype : dtype, default float32
        Type of W and b: a real or complex float.

    Attributes
    ----------
    weight : (kh, kw, o / groups, i) array
        W.
    bias : (o,) array or None
        b.

    Raises
    ------
    ValueError
        If x has another number of channels or y would have no pixel.
    TypeError
        Unless x is an array of floats.

    Examples
    --------
    >>> import nn
    >>> layer = nn.ConvTranspose2d(8, 3, 2, stride=2, rng=np.random.default_rng(0))
    >>> layer(np.ones((2, 16, 16, 8), np.float32)).shape, layer.weight.shape
    ((2, 32, 32, 3), (2, 2, 3, 8))
    """

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: Padding = 0,
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(i, o, kernel, stride, dilation, groups, bias, rng, init, dtype)
        self.padding = paddings(padding, f"{self._name}: padding")
        self.output_padding = pair(output_padding, f"{self._name}: output_padding", 0)
        if any(extra >= s for extra, s in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(
                f"{self._name}: output_padding={output_padding} must be below the stride, {short(self.stride)}"
            )
        # group by group the transpose of the matrices that init made, so that fan-in and fan-out are those of the layer
        grouped = self.weight.reshape(*self.kernel, i // groups, groups, o // groups)
        self.weight = grouped.transpose(0, 1, 4, 3, 2).reshape(*self.kernel, o // groups, i)

    def forward(self, x: Array) -> Array:
        """Returns y: (n, p, q, o) for x: (n, h, w, i)."""
        check_images(self, x, self.in_channels)
        n, h, w, _ = np.shape(x)
        size = [
            (m - 1) * s - sum(ends) + d * (k - 1) + extra + 1
            for m, s, ends, d, k, extra in zip(
                (h, w), self.stride, self.padding, self.dilation, self.kernel, self.output_padding, strict=True
            )
        ]
        if min(size) < 1:
            raise ValueError(
                f"ConvTranspose2d({self.describe()}): x has shape {np.shape(x)}, whose result would be of {size} pixels"
            )
        shape = (n, *size, self.out_channels)
        y = conv2d_input(x, self.weight, shape, self.stride, self.padding, self.dilation, self.groups)
        return self._plus_bias(y)

    def describe(self) -> str:
        """Returns the sizes, and the settings that differ from the defaults."""
        extra = f"output_padding={short(self.output_padding)}" if any(self.output_padding) else ""
        return self._described(short_padding(self.padding), extra)
