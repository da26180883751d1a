"""Embedding, against its formula and against PyTorch's."""

import numpy as np
import pytest

import nn
import rmad


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (30, 7), (2, 1, 5), (0, 3)])
def test_like_torch(rng, shape, dtype, tolerance):
    torch = pytest.importorskip("torch")
    layer = nn.Embedding(6, 3, rng=rng, dtype=dtype)
    x, u = rng.integers(0, 6, shape), rng.standard_normal((*shape, 3)).astype(dtype)
    theirs = torch.nn.Embedding(6, 3, _weight=torch.tensor(layer.weight))
    ty = theirs(torch.tensor(x))
    ty.backward(torch.tensor(u))
    y, lin = rmad.linearize(lambda m: m(x), layer)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    for JTu in (lin.JTu(u), lin.JTu(u), rmad.vjp(lambda m: m(x), layer)[1](u)):
        assert JTu.weight.dtype == dtype
        np.testing.assert_allclose(JTu.weight, theirs.weight.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [1, 40])
def test_derivatives(rng, n):
    layer = nn.Embedding(5, 2, rng=rng, dtype=np.float64)
    x = rng.integers(0, 5, (n, 3))
    rmad.check_grads(lambda m: np.sin(m(x)), layer, order=2)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.uint64])
def test_integers_of_any_kind(rng, dtype):
    layer = nn.Embedding(200, 2, rng=rng)
    x = np.array([[0, 3, 3, 100]], dtype)
    y, lin = rmad.linearize(lambda m: m(x), layer)
    np.testing.assert_array_equal(y, layer.weight[x])
    np.testing.assert_array_equal(lin.JTu(np.ones_like(y)).weight.sum(axis=1)[[0, 3, 100, 4]], [2, 4, 2, 0])


def test_the_tokens_may_change_afterwards(rng):
    """A loader that fills one array again and again must not change a Jacobian that lives on."""
    layer, x = nn.Embedding(4, 2, rng=rng), np.array([1, 2])
    _, lin = rmad.linearize(lambda m: m(x), layer)
    x[...] = 3
    assert lin.JTu(np.ones((2, 2), np.float32)).weight.sum(axis=1).tolist() == [0, 2, 2, 0]


def test_ggn_of_a_net(rng, check_ggn):
    model = nn.Sequential(nn.Embedding(4, 3, rng=rng, dtype=float), nn.Tanh(), nn.Linear(3, 2, rng=rng, dtype=float))
    x, t = rng.integers(0, 4, (7, 5)), rng.integers(0, 2, (7, 5))
    check_ggn(model, nn.SoftmaxCrossEntropy(), x, t)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: e(np.array([[0, 5]])), ValueError, r"Embedding\(5, 2\): x of shape \(1, 2\) holds the token 5, exp"),
        (lambda e: e(np.array([-1])), ValueError, r"Embedding\(5, 2\): x of shape .* holds the token -1, exp"),
        (lambda e: e(np.ones((3, 2))), TypeError, r"x of shape \(3, 2\) must hold integers, not float64"),
        (lambda e: e(np.array([True])), TypeError, r"must hold integers, not bool"),
        (lambda e: nn.Embedding(0, 2, rng=np.random.default_rng(0)), ValueError, r"both numbers must be positive"),
        (
            lambda e: nn.Embedding(3, 2, rng=np.random.default_rng(0), init=lambda *a: np.ones(3)),
            ValueError,
            r"init made a weight of shape \(3,\)",
        ),
        (lambda e: nn.Embedding(3, 2, rng=np.random.default_rng(0), dtype=int), TypeError, "must be a float"),
    ],
)
def test_errors(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(nn.Embedding(5, 2, rng=rng))


def test_lists_repr_and_init(rng):
    layer = nn.Embedding(500, 100, rng=rng)
    np.testing.assert_array_equal(layer([3, 1]), layer.weight[[3, 1]])
    assert layer.weight.dtype == np.float32
    np.testing.assert_allclose([layer.weight.mean(), layer.weight.std()], [0, 1], atol=0.02)  # of 50,000 numbers
    assert repr(layer) == "Embedding(500, 100)"


def test_bytes_of_a_table_of_256(rng):
    """The length of the table is no number of the tokens' own type."""
    layer, x = nn.Embedding(256, 3, rng=rng, dtype=np.float64), rng.integers(0, 256, (40, 30)).astype(np.uint8)
    y, pull = rmad.vjp(lambda m: m(x), layer)
    u, expected = rng.standard_normal(y.shape), np.zeros((256, 3))
    np.add.at(expected, x, u)
    np.testing.assert_allclose(pull(u).weight, expected, atol=1e-12)
