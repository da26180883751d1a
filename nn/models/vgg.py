"""Networks of the Visual Geometry Group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.activations import ReLU
from nn.batch_norm import BatchNorm
from nn.containers import Sequential
from nn.conv import Conv2d
from nn.dropout import Dropout
from nn.linear import Linear
from nn.models.convnets import Image, channels, pixels
from nn.module import Module
from nn.pooling import Flatten, MaxPool2d

__all__ = ["vgg_f"]


def vgg_f(
    classes: int = 1000,
    *,
    rng: np.random.Generator,
    batch_norm: bool = True,
    dropout: float = 0.0,
    width: int = 64,
    image: Image = (224, 224, 3),
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """VGG-f (CNN-F): five convolutions with ReLU, three of them with max-pooling, and dense layers of 4096 units.

        64 of 11 × 11, stride 4 · pool · 256 of 5 × 5 · pool · three of 256 of 3 × 3 · pool · 4096 · 4096 · classes

    x: (n, *image), z: (n, classes), linear; 60,834,536 parameters with batch_norm=False.

    Parameters
    ----------
    classes : int, default 1000
        Number of classes.
    rng : np.random.Generator
        Source of the first weights.
    batch_norm : bool, default True
        Whether BatchNorm follows every layer but the last, in place of its bias.
    dropout : float, default 0
        Rate of dropout after the two dense layers; 0.5 in the paper.
    width : int, default 64
        Number of filters of the first layer; a smaller one makes all layers but the last narrower in proportion.
    image : (int, int, int), default (224, 224, 3)
        Height, width and channels of the images.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Chatfield, Simonyan, Vedaldi & Zisserman (2014), table 1, whose local response normalisation after the first two
    layers is replaced by batch normalisation, or by nothing. Trained by Henriques et al. (2019), section 4.3. Open
    there: the windows of the pooling, here 3 × 3 with stride 2 (54 pixels become 27, 13, 6), and the first weights,
    here He's.
    """
    if width < 1:
        raise ValueError(f"vgg_f: width must be positive, not {width}")
    made: dict[str, Any] = {"bias": not batch_norm, "rng": rng, "init": _init.he_normal, "dtype": dtype}

    def finished(o: int) -> list[Module]:
        return [BatchNorm(o, dtype=dtype), ReLU()] if batch_norm else [ReLU()]

    layers = _features(channels("vgg_f", image), width, 4 * width, made, finished)
    i, dense = pixels(layers, image, dtype), 64 * width
    layers.append(Flatten())
    for _ in range(2):
        layers += [Linear(i, dense, **made), *finished(dense)]
        layers += [Dropout(dropout, rng=rng)] if dropout else []
        i = dense
    return Sequential(*layers, Linear(i, classes, rng=rng, dtype=dtype))


def _features(
    i: int, narrow: int, wide: int, made: dict[str, Any], finished: Callable[[int], list[Module]]
) -> list[Module]:
    """Returns the five convolutions with their activations and poolings."""
    # the padding of the first pooling, below and to the right, is that of the authors' model
    first = Conv2d(i, narrow, 11, stride=4, **made)
    layers = [first, *finished(narrow), MaxPool2d(3, 2, ((0, 1), (0, 1)))]
    layers += [Conv2d(narrow, wide, 5, padding=2, **made), *finished(wide), MaxPool2d(3, 2)]
    for _ in range(3):
        layers += [Conv2d(wide, wide, 3, padding=1, **made), *finished(wide)]
    return [*layers, MaxPool2d(3, 2)]
