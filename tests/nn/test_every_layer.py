"""One table of all layers. What every one of them must satisfy is asked here; what is its own, in its own file.

    Row(make, shape, twin)     make(dtype) → layer; shape of x, or integers x; twin(F, p, x) → y by torch's functional F
                               on the layer's own arrays p, images moved to torch's layout

A layer of `nn` without a row fails. Layers whose twin is a module of torch's (RNN, LSTM, GRU, attention,
the transformer block) are held against it in tests/nn/test_recurrent.py and tests/nn/test_attention.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import nn
import rmad


class Row(NamedTuple):
    make: Callable[[Any], nn.Module]
    x: Any  # a shape, or an array of integers
    twin: Callable[[Any, dict[str, Any], Any], Any] | None = None
    stochastic: bool = False
    least: int = 1  # cases that the layer needs


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def of_images(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """f on (n, c, h, w) as a function of (n, h, w, c)."""
    return lambda x: f(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def conv(F: Any, p: Any, x: Any, **options: Any) -> Any:
    return of_images(lambda x: F.conv2d(x, p["weight"].permute(3, 2, 0, 1), p["bias"], **options))(x)


def conv_transpose(F: Any, p: Any, x: Any, **options: Any) -> Any:
    return of_images(lambda x: F.conv_transpose2d(x, p["weight"].permute(3, 2, 0, 1), p["bias"], **options))(x)


def batch_norm(F: Any, p: Any, x: Any) -> Any:
    return of_images(lambda x: F.batch_norm(x, None, None, p["weight"], p["bias"], training=True))(x)


def activation(layer: nn.Module, name: str, *args: Any) -> Row:
    return Row(lambda d: layer, (3, 5), lambda F, p, x: getattr(F, name)(x, *args))


TABLE = {
    "Linear": Row(lambda d: nn.Linear(4, 3, rng=rng(), dtype=d), (5, 4), lambda F, p, x: x @ p["weight"] + p["bias"]),
    "Linear of a sequence": Row(
        lambda d: nn.Linear(4, 3, rng=rng(), dtype=d), (2, 3, 4), lambda F, p, x: x @ p["weight"] + p["bias"]
    ),
    "Conv2d": Row(lambda d: nn.Conv2d(2, 3, 3, rng=rng(), dtype=d), (2, 5, 4, 2), conv),
    "Conv2d, stride, padding, dilation, groups": Row(
        lambda d: nn.Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, rng=rng(), dtype=d),
        (2, 5, 7, 4),
        lambda F, p, x: conv(F, p, x, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
    ),
    "Conv2d of many channels": Row(
        lambda d: nn.Conv2d(16, 16, 3, padding=1, rng=rng(), dtype=d),
        (1, 3, 5, 16),
        lambda F, p, x: conv(F, p, x, padding=1),
    ),
    "ConvTranspose2d": Row(
        lambda d: nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, rng=rng(), dtype=d),
        (2, 3, 2, 3),
        lambda F, p, x: conv_transpose(F, p, x, stride=2, padding=1),
    ),
    "MaxPool2d": Row(
        lambda d: nn.MaxPool2d(3, 2, 1), (2, 5, 6, 2), lambda F, p, x: of_images(lambda x: F.max_pool2d(x, 3, 2, 1))(x)
    ),
    "AvgPool2d": Row(
        lambda d: nn.AvgPool2d(3, 2, 1), (2, 5, 6, 2), lambda F, p, x: of_images(lambda x: F.avg_pool2d(x, 3, 2, 1))(x)
    ),
    "GlobalAvgPool2d": Row(lambda d: nn.GlobalAvgPool2d(), (2, 3, 5, 2), lambda F, p, x: x.mean((1, 2))),
    "GlobalMaxPool2d": Row(lambda d: nn.GlobalMaxPool2d(), (2, 3, 5, 2), lambda F, p, x: x.amax((1, 2))),
    "Flatten": Row(lambda d: nn.Flatten(), (2, 3, 5, 2), lambda F, p, x: x.flatten(1)),
    "BatchNorm": Row(lambda d: nn.BatchNorm(3, dtype=d), (4, 3, 2, 3), batch_norm, least=2),
    "LayerNorm": Row(
        lambda d: nn.LayerNorm(6, dtype=d),
        (3, 2, 6),
        lambda F, p, x: F.layer_norm(x, (6,), p["weight"], p["bias"]),
    ),
    "Dropout": Row(lambda d: nn.Dropout(0.4, rng=rng()), (3, 5), stochastic=True),
    "Embedding": Row(
        lambda d: nn.Embedding(7, 3, rng=rng(), dtype=d),
        np.array([[1, 6, 1], [0, 1, 2]]),
        lambda F, p, x: F.embedding(x, p["weight"]),
    ),
    "RNN": Row(lambda d: nn.RNN(2, 3, rng=rng(), dtype=d), (2, 4, 2)),
    "RNN, relu": Row(lambda d: nn.RNN(2, 3, activation="relu", rng=rng(), dtype=d), (2, 4, 2)),
    "RNN, checkpoints": Row(lambda d: nn.RNN(2, 3, last=True, checkpoint=True, rng=rng(), dtype=d), (2, 5, 2)),
    "LSTM": Row(lambda d: nn.LSTM(2, 3, rng=rng(), dtype=d), (2, 3, 2)),
    "LSTM, checkpoints": Row(lambda d: nn.LSTM(2, 3, last=True, checkpoint=True, rng=rng(), dtype=d), (2, 3, 2)),
    "GRU": Row(lambda d: nn.GRU(2, 3, rng=rng(), dtype=d), (2, 3, 2)),
    "MultiHeadAttention": Row(lambda d: nn.MultiHeadAttention(4, 2, rng=rng(), dtype=d), (2, 3, 4)),
    "Attention, causal": Row(lambda d: nn.MultiHeadAttention(4, 2, causal=True, rng=rng(), dtype=d), (2, 3, 4)),
    "TransformerBlock": Row(lambda d: nn.TransformerBlock(4, 2, hidden=5, rng=rng(), dtype=d), (2, 3, 4)),
    "Residual": Row(
        lambda d: nn.Residual(nn.Linear(4, 4, rng=rng(), dtype=d), nn.Tanh()),
        (3, 4),
        lambda F, p, x: x + F.tanh(x @ p["body.0.weight"] + p["body.0.bias"]),
    ),
    "Sequential": Row(
        lambda d: nn.Sequential(nn.Linear(4, 4, rng=rng(), dtype=d), nn.Tanh()),
        (3, 4),
        lambda F, p, x: F.tanh(x @ p["0.weight"] + p["0.bias"]),
    ),
    "Identity": Row(lambda d: nn.Identity(), (3, 5), lambda F, p, x: x),
    "Sigmoid": activation(nn.Sigmoid(), "sigmoid"),
    "Tanh": activation(nn.Tanh(), "tanh"),
    "ReLU": activation(nn.ReLU(), "relu"),
    "LeakyReLU": activation(nn.LeakyReLU(0.2), "leaky_relu", 0.2),
    "ELU": activation(nn.ELU(0.5), "elu", 0.5),
    "GELU": activation(nn.GELU(), "gelu"),
    "SiLU": activation(nn.SiLU(), "silu"),
    "Softplus": activation(nn.Softplus(), "softplus"),
    "Softmax": activation(nn.Softmax(), "softmax", -1),
}


def data(row: Row, dtype: Any = np.float64, cases: int | None = None) -> Any:
    x = row.x if isinstance(row.x, np.ndarray) else np.random.default_rng(1).standard_normal(row.x).astype(dtype)
    return x if cases is None else x[:cases]


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


def test_every_layer_has_a_row():
    layers = {n for n in nn.__all__ if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)}
    missing = layers - {type(row.make(np.float64)).__name__ for row in TABLE.values()} - {"Module"}
    assert not missing


def test_derivatives(row):
    """Push and pull adjoint, blocks and Jacobian against central differences, to second order."""
    layer, x = row.make(np.float64), data(row)
    if layer.parameters():
        rmad.check_grads(lambda m: m(x), layer, order=2)
    if x.dtype.kind == "f":
        rmad.check_grads(lambda x: layer(x), x, order=2)


def test_ggn(row, check_ggn):
    """The GGN of a net with the layer, below it an affine one unless x is integers, equals the dense JᵀL″J."""
    layer, x = row.make(np.float64), data(row)
    if x.dtype.kind == "f":
        features = x.shape[-1]
        layer = nn.Sequential(nn.Linear(features, features, rng=np.random.default_rng(3), dtype=np.float64), layer)
    t = np.random.default_rng(2).standard_normal(np.shape(layer(x)))
    coupled = layer.couples_cases
    check_ggn(layer, nn.SquaredError(), x, t, shards=(1,) if coupled or row.stochastic else (1, 3))


def test_single_precision_stays(row):
    layer, x = row.make(np.float32), data(row, np.float32)
    y, lin = rmad.linearize(lambda args: args[0](args[1]), (layer, x))
    u = lin.JTu(y)
    assert y.dtype == np.float32
    floats = dict(layer.named_parameters())
    assert all(a.dtype == np.float32 for name, a in u[0].state_dict().items() if name in floats)
    v = (layer, x)
    assert lin.Jv(v).dtype == np.float32
    double = row.make(np.float64)
    np.testing.assert_allclose(y, double(data(row)), rtol=2e-4, atol=2e-5)


def test_cases_one_by_one(row):
    """A batch of one case, and none, give the rows that the whole batch gives."""
    layer, x = row.make(np.float64), data(row)
    if layer.couples_cases:
        with pytest.raises(ValueError, match="values per channel"):
            layer(x[:0])
        return
    whole = layer(x)
    np.testing.assert_allclose(layer(x[:1]), whole[:1], rtol=1e-12, atol=1e-14)
    assert layer(x[:0]).shape == (0, *whole.shape[1:])


def test_as_torch(row):
    if row.twin is None:
        pytest.skip("held against a module of torch's in its own file, or random")
    torch = pytest.importorskip("torch")
    from torch.nn import functional as F

    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-4)):
        layer, x = row.make(dtype), data(row, dtype)
        p = {name: torch.tensor(a, requires_grad=True) for name, a in layer.named_parameters()}
        tx = torch.tensor(x, requires_grad=x.dtype.kind == "f")
        expected = row.twin(F, p, tx)
        u = np.random.default_rng(4).standard_normal(tuple(expected.shape)).astype(dtype)
        y, pull = rmad.vjp(lambda args: args[0](args[1]), (layer, x))
        close = {"rtol": tolerance, "atol": tolerance}
        np.testing.assert_allclose(y, expected.detach().numpy(), **close)
        expected.backward(torch.tensor(u))
        of_layer, of_x = pull(u)
        if x.dtype.kind == "f":
            np.testing.assert_allclose(of_x, tx.grad.numpy(), **close)
        for name, a in of_layer.named_parameters():
            np.testing.assert_allclose(a, p[name].grad.numpy(), err_msg=name, **close)
