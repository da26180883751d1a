"""Products with G through the kernels that a plan binds on a GPU: every layer, also where a term is added to a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from moving import assert_equal, to_device

import nn
import optim
import rmad

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

F64: dict[str, Any] = {"dtype": np.float64}


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


class Twice(nn.Module):
    """y = x + layer(x) + layer(2 x), without the first term where shapes differ: a sum that products are added to."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        y = self.layer(x) + self.layer(2 * x)
        return x + y if y.shape == x.shape else y


def conv(i: int, o: int, kernel: Any = 3, **more: Any) -> Any:
    return nn.Conv2d(i, o, kernel, rng=rng(), **more, **F64)


def transposed(i: int, o: int, kernel: Any = 3, **more: Any) -> Any:
    return nn.ConvTranspose2d(i, o, kernel, rng=rng(), **more, **F64)


class Axis(nn.Module):
    """softmax over another axis than the last."""

    def forward(self, x: Any) -> Any:
        return nn.functional.softmax(x, axis=1)


class Sums(nn.Module):
    """Sums and means over all kinds of axes, each of which broadcasts again."""

    def forward(self, x: Any) -> Any:
        a = x * np.sum(x, axis=1, keepdims=True) + np.mean(x, axis=(1, 2), keepdims=True)
        return a + np.mean(x, axis=-1)[..., None] - np.sum(x) * x + np.sum(x, axis=0)


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {  # a layer on 4 channels or features, and the shape of x
    "conv, same": (lambda: conv(4, 4, padding="same"), (3, 5, 6, 4)),
    "conv, no bias": (lambda: conv(4, 3, (2, 3), bias=False), (3, 5, 6, 4)),
    "conv, pointwise": (lambda: conv(4, 3, 1), (3, 5, 6, 4)),
    "conv, strided and dilated": (
        lambda: conv(4, 2, (3, 2), stride=(2, 1), dilation=(1, 2), padding=((1, 0), (2, 1))),
        (3, 7, 6, 4),
    ),
    "conv, groups": (lambda: conv(4, 6, padding=1, groups=2), (3, 5, 6, 4)),
    "conv, depthwise": (lambda: conv(4, 4, stride=2, padding=1, groups=4), (3, 5, 6, 4)),
    "transposed conv": (lambda: transposed(4, 3, stride=2, padding=1, output_padding=1), (3, 3, 4, 4)),
    "transposed conv, groups": (lambda: transposed(4, 6, 2, groups=2), (3, 3, 4, 4)),
    "max pool": (lambda: nn.MaxPool2d(2), (3, 6, 6, 4)),
    "max pool, overlapping": (lambda: nn.MaxPool2d(3, 2, 1), (3, 6, 7, 4)),
    "avg pool": (lambda: nn.AvgPool2d(2), (3, 6, 6, 4)),
    "avg pool, overlapping": (lambda: nn.AvgPool2d((3, 2), (2, 1), 1, count_include_pad=False), (3, 6, 7, 4)),
    "global avg pool": (lambda: nn.GlobalAvgPool2d(), (3, 4, 5, 4)),
    "global max pool": (lambda: nn.GlobalMaxPool2d(), (3, 4, 5, 4)),
    "batch norm": (lambda: nn.BatchNorm(4, **F64), (3, 4, 5, 4)),
    "layer norm": (lambda: nn.LayerNorm(4, **F64), (3, 5, 4)),
    "layer norm of images": (lambda: nn.LayerNorm((5, 4), **F64), (3, 5, 4)),
    "softmax": (lambda: nn.functional.softmax, (3, 5, 4)),
    "softmax, middle axis": (Axis, (3, 5, 4)),
    "sums": (Sums, (3, 5, 4)),
    "attention": (lambda: nn.MultiHeadAttention(4, 2, causal=True, rng=rng(), **F64), (3, 5, 4)),
    "transformer": (lambda: nn.TransformerBlock(4, 2, rng=rng(), **F64), (3, 5, 4)),
    "RNN": (lambda: nn.RNN(4, 3, rng=rng(), **F64), (3, 5, 4)),
    "LSTM": (lambda: nn.LSTM(4, 4, rng=rng(), last=True, **F64), (3, 5, 4)),
    "GRU": (lambda: nn.GRU(4, 4, rng=rng(), **F64), (3, 5, 4)),
    "GRU with checkpoints": (lambda: nn.GRU(4, 4, rng=rng(), checkpoint=True, **F64), (3, 5, 4)),
}


def assert_same_product(model: Any, x: np.ndarray) -> None:
    """Two products, the second with the buffers that the first left."""
    t = np.cos(np.arange(np.size(model(x)))).reshape(model(x).shape)
    here = optim.Objective(model, nn.SquaredError()).quadratic(x, t)
    there = optim.Objective(to_device(model), nn.SquaredError()).quadratic(*to_device((x, t)))
    assert_equal(there.gradient, here.gradient)
    v = np.random.default_rng(1).standard_normal(here.gradient.shape)
    out, v_there = np.empty_like(v), to_device(v)
    out_there = cupy.empty_like(v_there)
    for _ in range(2):
        here.ggn_product(v, out)
        there.ggn_product(v_there, out_there)
        assert_equal(out_there, out)
        v *= 0.5
        v_there *= 0.5


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_products_with_the_curvature(name, twice):
    make, shape = LAYERS[name]
    x = rng().standard_normal(shape)
    layer = Twice(make()) if twice else make()
    first = nn.Linear(shape[-1], shape[-1], rng=rng(), **F64)
    assert_same_product(nn.Sequential(first, nn.Tanh(), layer), x)


@pytest.mark.parametrize("name", ["conv, same", "conv, strided and dilated", "transposed conv"])
def test_convolutions_of_a_few_lines_at_a_time(name, monkeypatch):
    """As of a batch whose patches do not fit."""
    monkeypatch.setattr("rmad.tuning.CONVOLUTION_CHUNK_ON_GPU", 900)
    make, shape = LAYERS[name]
    assert_same_product(nn.Sequential(conv(4, 4, 1), Twice(make())), rng().standard_normal(shape))


def test_softmax_near_a_unit_vector():
    """The digits of v − Σ y v, where y is close to 1: relative to each number."""
    z = np.array([[30.0, 0, -3], [0.1, 0.2, 0.3], [-5, 12, 1]])
    v = np.array([[1.0, 3, -2], [0.5, 1, 2], [1, 1, 1 + 1e-9]])
    for f in (lambda z: rmad.softmax(z, axis=-1), lambda z: rmad.softmax(z.T, axis=0).T):
        wanted = rmad.jvp(f, z, v)[1]
        found = rmad.jvp(f, *to_device((z, v)))[1]
        np.testing.assert_allclose(found.get(), wanted, rtol=1e-9)
