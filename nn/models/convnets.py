"""Small convolutional networks. x: (n, h, w, c), z: (n, classes), linear, for SoftmaxCrossEntropy."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.activations import ReLU
from nn.batch_norm import BatchNorm
from nn.containers import Sequential
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module
from nn.pooling import Flatten, MaxPool2d

__all__ = ["curveball_cifar", "sgn_cifar", "sgn_fashion"]

Image: TypeAlias = tuple[int, int, int]


def sgn_fashion(
    classes: int = 10,
    *,
    rng: np.random.Generator,
    image: Image = (28, 28, 1),
    padding: int | str = "valid",
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Two convolutions of 6 and 16 filters 5 × 5, each with ReLU and 2 × 2 max-pooling; layers of 120 and 84 units.

    x: (n, *image), z: (n, classes), linear.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.
    rng : np.random.Generator
        Source of the first weights.
    image : (int, int, int), default (28, 28, 1)
        Height, width and channels of the images.
    padding : int or {"valid", "same"}, default "valid"
        Padding of the convolutions; open in the paper.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Gargiani et al. (2020), section 4.4. Open there: the padding, here none as in LeNet-5 (256 numbers go into the
    first dense layer), and the first weights, here He's.
    """
    layers = _filtered("sgn_fashion", image, (6, 16), 5, padding, rng, dtype)
    return _with_head(layers, image, (120, 84, classes), rng, dtype)


def sgn_cifar(
    classes: int = 10,
    *,
    rng: np.random.Generator,
    image: Image = (32, 32, 3),
    padding: int | str = "same",
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Convolutions of 32, 64, 64 filters 3 × 3 with ReLU, 2 × 2 max-pooling after the first two; a layer of 64 units.

    x: (n, *image), z: (n, classes), linear.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.
    rng : np.random.Generator
        Source of the first weights.
    image : (int, int, int), default (32, 32, 3)
        Height, width and channels of the images.
    padding : int or {"valid", "same"}, default "same"
        Padding of the convolutions; open in the paper.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Gargiani et al. (2020), section 4.5. Open there: the padding, here to the same size (4096 numbers go into the
    dense layer), and the first weights, here He's.
    """
    layers = _filtered("sgn_cifar", image, (32, 64, 64), 3, padding, rng, dtype)
    return _with_head(layers[:-1], image, (64, classes), rng, dtype)


def _filtered(
    name: str,
    image: Image,
    sizes: tuple[int, ...],
    kernel: int,
    padding: int | str,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> list[Module]:
    """Returns convolutions with these numbers of filters, each with ReLU and 2 × 2 max-pooling."""
    layers: list[Module] = []
    for i, o in pairwise((channels(name, image), *sizes)):
        filters = Conv2d(i, o, kernel, padding=padding, rng=rng, init=_init.he_normal, dtype=dtype)
        layers += [filters, ReLU(), MaxPool2d(2)]
    return layers


def curveball_cifar(
    classes: int = 10,
    *,
    rng: np.random.Generator,
    batch_norm: bool = False,
    image: Image = (32, 32, 3),
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Five convolutions of 32, 32, 64, 64 and `classes` channels, ReLU, 3 × 3 max-pooling of stride 2 after three.

    x: (n, *image), z: (n, classes), linear. The filters are 5 × 5; those of the fourth layer cover the rest of the
    image (4 × 4), and the fifth sees one pixel, so these two are dense layers.

    Parameters
    ----------
    classes : int, default 10
        Number of classes.
    rng : np.random.Generator
        Source of the first weights.
    batch_norm : bool, default False
        Whether BatchNorm follows every layer but the last, in place of its bias.
    image : (int, int, int), default (32, 32, 3)
        Height, width and channels of the images.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Henriques et al. (2019), footnote 4. Open there: padding (2 at the filters, 1 at the pooling, so that 32
    pixels become 16, 8, 4; the last two layers are dense in the authors' code, which pools by averages after the
    second and third layer), the place of BatchNorm, and the first weights, here He's.
    """
    layers: list[Module] = []
    for i, o in ((channels("curveball_cifar", image), 32), (32, 32), (32, 64)):
        layers.append(Conv2d(i, o, 5, padding=2, bias=not batch_norm, rng=rng, init=_init.he_normal, dtype=dtype))
        layers += [BatchNorm(o, dtype=dtype)] if batch_norm else []
        layers += [ReLU(), MaxPool2d(3, 2, 1)]
    return _with_head(layers, image, (64, classes), rng, dtype, batch_norm)


def channels(name: str, image: Image) -> int:
    """Returns c of an image (h, w, c). Raises ValueError that begins with `name` for any other shape."""
    if len(image) != 3:
        raise ValueError(f"{name}: image must be a shape (h, w, c), not {image!r}")
    return image[2]


def _with_head(
    layers: list[Module],
    image: Image,
    sizes: tuple[int, ...],
    rng: np.random.Generator,
    dtype: DTypeLike,
    batch_norm: bool = False,
) -> Sequential:
    """Returns the layers of images, followed by Flatten and dense layers of these sizes."""
    i = pixels(layers, image, dtype)
    layers = [*layers, Flatten()]
    for o in sizes[:-1]:
        layers.append(Linear(i, o, bias=not batch_norm, rng=rng, init=_init.he_normal, dtype=dtype))
        layers += [BatchNorm(o, dtype=dtype), ReLU()] if batch_norm else [ReLU()]
        i = o
    return Sequential(*layers, Linear(i, sizes[-1], rng=rng, dtype=dtype))


def pixels(layers: list[Module], image: Image, dtype: DTypeLike) -> int:
    """Returns the number of features that the layers make of one image."""
    features = Sequential(*layers).eval()
    y = features(np.zeros((1, *image), dtype))
    features.train()
    return int(y.size)
