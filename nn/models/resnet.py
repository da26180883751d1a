"""Residual networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.activations import ReLU
from nn.batch_norm import BatchNorm
from nn.containers import Residual, Sequential
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module
from nn.pooling import GlobalAvgPool2d

__all__ = ["resnet18"]


def resnet18(
    classes: int = 10,
    *,
    rng: np.random.Generator,
    width: int = 64,
    channels: int = 3,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """ResNet-18 for small images: a 3 × 3 convolution, then four stages of two blocks y = relu(f(x) + shortcut(x)).

    x: (n, h, w, channels) of any size, 32 × 32 on CIFAR; z: (n, classes), linear. f: two 3 × 3 convolutions, each
    with BatchNorm, the first with ReLU; the stages have width, 2, 4, 8 · width channels, and all but the first
    halve the image. At the end the mean over pixels and one dense layer. 11,173,962 parameters with the defaults.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.
    rng : np.random.Generator
        Source of the first weights.
    width : int, default 64
        Number of channels of the first stage.
    channels : int, default 3
        Number of channels of the images.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    He, Zhang, Ren & Sun (2016), table 1. Open for CIFAR, and chosen as usual: the stem (3 × 3, stride 1, no
    pooling), and 1 × 1 convolutions as shortcuts between different shapes (the paper's option B). First weights: He
    et al. (2015) by the fan-in, no biases before BatchNorm, Glorot's for the dense layer.
    """
    layers: list[Module] = [*_normalized(channels, width, 3, 1, rng, dtype), ReLU()]
    i = width
    for stage in range(4):
        for block in range(2):
            o = width * 2**stage
            layers += [_block(i, o, 2 if stage and not block else 1, rng, dtype), ReLU()]
            i = o
    return Sequential(*layers, GlobalAvgPool2d(), Linear(i, classes, rng=rng, dtype=dtype))


def _block(i: int, o: int, stride: int, rng: np.random.Generator, dtype: DTypeLike) -> Residual:
    body = [*_normalized(i, o, 3, stride, rng, dtype), ReLU(), *_normalized(o, o, 3, 1, rng, dtype)]
    same = stride == 1 and i == o
    return Residual(*body, shortcut=None if same else Sequential(*_normalized(i, o, 1, stride, rng, dtype)))


def _normalized(i: int, o: int, kernel: int, stride: int, rng: np.random.Generator, dtype: DTypeLike) -> list[Module]:
    """Returns a convolution without a bias, and the BatchNorm after it."""
    made: dict[str, Any] = {"bias": False, "rng": rng, "init": _init.he_normal, "dtype": dtype}
    return [Conv2d(i, o, kernel, stride=stride, padding=kernel // 2, **made), BatchNorm(o, dtype=dtype)]
