"""LayerNorm, against its formula and against PyTorch's."""

import numpy as np
import pytest

import nn
import rmad


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def layer_like(shape, rng, dtype=np.float64, **options):
    """A LayerNorm with weights that are not ones and zeros."""
    layer = nn.LayerNorm(shape, dtype=dtype, **options)
    layer.weight = (1 + 0.3 * rng.standard_normal(layer.shape)).astype(dtype)
    if layer.bias is not None:
        layer.bias = rng.standard_normal(layer.shape).astype(dtype)
    return layer


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "x_shape"), [(5, (3, 5)), (7, (1, 3, 7)), ((3, 4), (2, 3, 4)), (1, (2, 1))])
def test_like_torch(rng, shape, x_shape, bias, dtype, tolerance):
    torch = pytest.importorskip("torch")
    layer = layer_like(shape, rng, dtype, bias=bias)
    x = (3 + 2 * rng.standard_normal(x_shape)).astype(dtype)
    u = rng.standard_normal(x_shape).astype(dtype)

    theirs = torch.nn.LayerNorm(shape, bias=bias, dtype=getattr(torch, np.dtype(dtype).name))
    with torch.no_grad():
        for name, array in layer.state_dict().items():
            getattr(theirs, name).copy_(torch.tensor(array))
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.backward(torch.tensor(u))

    y, lin = rmad.linearize(lambda p: p[0](p[1]), (layer, x))
    JTu, x_u = lin.JTu(u)
    close = {"rtol": tolerance, "atol": tolerance}
    assert y.dtype == x_u.dtype == JTu.weight.dtype == dtype
    np.testing.assert_allclose(y, ty.detach().numpy(), **close)
    np.testing.assert_allclose(x_u, tx.grad.numpy(), **close)
    for name, array in JTu.state_dict().items():
        np.testing.assert_allclose(array, getattr(theirs, name).grad.numpy(), err_msg=name, **close)


@pytest.mark.parametrize(("shape", "x_shape"), [(5, (3, 5)), ((3, 2), (2, 3, 2)), (4, (4,)), (3, (1, 3))])
def test_derivatives(rng, shape, x_shape):
    layer = layer_like(shape, rng, eps=0.1)
    rmad.check_grads(lambda p: p[0](p[1]), (layer, rng.standard_normal(x_shape)), order=2)


def test_one_feature_is_its_mean(rng):
    layer = layer_like(1, rng)
    y, lin = rmad.linearize(layer, rng.standard_normal((3, 1)))
    np.testing.assert_array_equal(y, np.broadcast_to(layer.bias, (3, 1)))
    assert not lin.JTu(np.ones((3, 1))).any()


def test_no_cases(rng):
    assert nn.LayerNorm(4)(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_far_from_zero_in_single_precision(rng):
    x = (1000 + rng.standard_normal((5, 256))).astype(np.float32)
    exact = (x - x.mean(-1, dtype=float, keepdims=True)) / x.std(-1, dtype=float, keepdims=True)
    y = nn.LayerNorm(256, eps=0)(x)
    np.testing.assert_allclose(y, exact, atol=1e-4)  # x itself is known to 6e-5
    assert y.dtype == np.float32


def test_ggn_of_a_net(rng, check_ggn):
    model = nn.Sequential(
        nn.Linear(3, 4, rng=rng, dtype=np.float64), layer_like(4, rng), nn.Tanh(), nn.Linear(4, 2, rng=rng, dtype=float)
    )
    x, t = rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    check_ggn(model, nn.SoftmaxCrossEntropy(), x, t)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LayerNorm(4)(np.ones((2, 3))), ValueError, r"LayerNorm\(4\): x has shape \(2, 3\), exp"),
        (lambda: nn.LayerNorm((2, 4))(np.ones(4)), ValueError, r"LayerNorm\(\(2, 4\)\): x has shape \(4,\), expected"),
        (lambda: nn.LayerNorm(4)(np.ones((2, 4), int)), TypeError, r"x must be an array of real floats, not of int64"),
        (
            lambda: nn.LayerNorm(4)([1.0, 2, 3, 4]),
            TypeError,
            r"LayerNorm\(4\): x must be an array of real floats, not a list",
        ),
        (lambda: nn.LayerNorm(0), ValueError, r"LayerNorm\(0\): the numbers of features must be positive"),
        (lambda: nn.LayerNorm(3, eps=-1), ValueError, r"LayerNorm\(3\): eps must be finite and not negative, got -1"),
        (lambda: nn.LayerNorm(3, dtype=int), TypeError, r"LayerNorm\(3\): dtype must be a real float type, not int64"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_repr():
    assert repr(nn.LayerNorm(5)) == "LayerNorm(5)"
    assert repr(nn.LayerNorm((2, 5), bias=False)) == "LayerNorm((2, 5))"
