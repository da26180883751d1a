"""Convolutions of images (n, h, w, c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nn import init as _init
from nn.checks import bias_of, check_dtype, check_sizes, initial
from nn.module import Module
from nn.pooling import check_images, short, short_padding
from rmad.kernels.windows import Pair, paddings, pair
from rmad.primitives.layers.conv import conv2d, conv2d_input

__all__ = ["Conv2d", "ConvTranspose2d"]


class _Convolution(Module):
    """What a convolution and its transpose have in common: settings, and parameters weight and bias."""

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        stride: int | Pair,
        dilation: int | Pair,
        groups: int,
        bias: bool | float,
        dtype: Any,
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
        self.weight: Any = None
        self.bias: Any = bias_of(bias, o, dtype)

    def _made(self, init: Callable[..., Any], rng: np.random.Generator, dtype: Any) -> Any:
        """The weight as init makes it, (kh, kw, i / groups, o)."""
        shape = (*self.kernel, self.in_channels // self.groups, self.out_channels)
        return initial(self._name, init, rng, shape, dtype)

    def _plus_bias(self, y: Any) -> Any:
        bias = self.bias
        if bias is None:
            return y
        if type(y) is type(bias) and y.dtype == bias.dtype:
            y += bias  # y is ours; on a traced array this is y + bias
            return y
        return y + bias

    def _described(self, padding: str, extra: str = "") -> str:
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
    """y[n, p, q, ·] = b + Σ over k, l of x[n, p s + k d − top, q s' + l d' − left, ·] W[k, l]

    x: (n, h, w, i), W = weight: (kh, kw, i / groups, o), b = bias: (o,) or None, y: (n, p, q, o) with
    p = ⌊(h + top + bottom − d (kh − 1) − 1) / s⌋ + 1, q likewise. kernel, stride and dilation: numbers or pairs
    (vertical, horizontal). padding: a number, a pair, ((top, bottom), (left, right)), 'valid' (none) or 'same' (the
    size of y is that of x; for stride 1 only). With groups, output channels see the input channels of their own group.
    `init` makes the weight: a function (rng, shape, dtype) of nn.init; `bias` is the number that fills b.
    Raises ValueError where x has other channels or is smaller than the kernel, TypeError unless it holds floats.
    """

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: Callable[..., Any] = _init.glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(i, o, kernel, stride, dilation, groups, bias, dtype)
        self.padding = self._paddings(padding)
        self.weight = self._made(init, rng, dtype)

    def _paddings(self, padding: Any) -> tuple[Pair, Pair]:
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

    def forward(self, x: Any) -> Any:
        check_images(self, x, self.in_channels)
        for m, ends, k, d in zip(np.shape(x)[1:3], self.padding, self.kernel, self.dilation, strict=True):
            if m + sum(ends) < d * (k - 1) + 1:
                raise ValueError(f"Conv2d({self.describe()}): x has shape {np.shape(x)}, smaller than the kernel")
        return self._plus_bias(conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.groups))

    def describe(self) -> str:
        return self._described(short_padding(self.padding))


class ConvTranspose2d(_Convolution):
    """⟨y − b, z⟩ = ⟨x, conv2d(z, W)⟩ for all z: the transpose of a convolution that has these settings

    x: (n, h, w, i), W = weight: (kh, kw, o / groups, i), b = bias: (o,) or None, y: (n, p, q, o) with
    p = (h − 1) s − 2 padding + d (kh − 1) + output_padding + 1, q likewise: output_padding, below the stride, chooses
    among the sizes that the convolution maps to h. Arguments are those of Conv2d; `init` is given the shape
    (kh, kw, i / groups, o). Raises ValueError where x has other channels or y would have no pixel, TypeError unless
    x holds floats.
    """

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | tuple[Pair, Pair] = 0,
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: Callable[..., Any] = _init.glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(i, o, kernel, stride, dilation, groups, bias, dtype)
        self.padding = paddings(padding, f"{self._name}: padding")
        self.output_padding = pair(output_padding, f"{self._name}: output_padding", 0)
        if any(extra >= s for extra, s in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(
                f"{self._name}: output_padding={output_padding} must be below the stride, {short(self.stride)}"
            )
        # group by group the transpose of the matrices that init made, so that fan-in and fan-out are those of the layer
        weight = self._made(init, rng, dtype)
        grouped = weight.reshape(*self.kernel, i // groups, groups, o // groups)
        self.weight = grouped.transpose(0, 1, 4, 3, 2).reshape(*self.kernel, o // groups, i)

    def forward(self, x: Any) -> Any:
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
        extra = f"output_padding={short(self.output_padding)}" if any(self.output_padding) else ""
        return self._described(short_padding(self.padding), extra)
