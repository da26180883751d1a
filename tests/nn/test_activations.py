"""Every activation at its kink and at its ends: values and derivatives, next to PyTorch's."""

import numpy as np
import pytest

import nn.functional as F
import rmad

POINTS = np.array([0.0, -0.0, np.inf, -np.inf, 1e-310, -1e-310])
NAN = np.nan

# name, function, values and derivatives at POINTS
TABLE = [
    ("relu", F.relu, [0, 0, np.inf, 0, 1e-310, 0], [0.5, 0.5, 1, 0, 1, 0]),  # PyTorch: 0 at 0
    ("leaky_relu", F.leaky_relu, [0, 0, np.inf, -np.inf, 1e-310, -1e-312], [0.01, 0.01, 1, 0.01, 1, 0.01]),
    ("elu", F.elu, [0, 0, np.inf, -1, 1e-310, -1e-310], [1, 1, 1, 0, 1, 1]),
    ("elu", lambda x: F.elu(x, 0.5), [0, 0, np.inf, -0.5, 1e-310, -5e-311], [0.5, 0.5, 1, 0, 1, 0.5]),
    ("gelu", F.gelu, [0, 0, np.inf, NAN, 5e-311, -5e-311], [0.5, 0.5, NAN, NAN, 0.5, 0.5]),
    ("silu", F.silu, [0, 0, np.inf, NAN, 5e-311, -5e-311], [0.5, 0.5, NAN, NAN, 0.5, 0.5]),
    ("sigmoid", F.sigmoid, [0.5, 0.5, 1, 0, 0.5, 0.5], [0.25, 0.25, 0, 0, 0.25, 0.25]),
    ("softplus", F.softplus, [np.log(2), np.log(2), np.inf, 0, np.log(2), np.log(2)], [0.5, 0.5, 1, 0, 0.5, 0.5]),
    ("tanh", F.tanh, [0, 0, 1, -1, 1e-310, -1e-310], [1, 1, 0, 0, 1, 1]),
]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("name", "f", "values", "derivatives"), TABLE, ids=[row[0] for row in TABLE])
def test_at_zero_and_at_infinity(name, f, values, derivatives):
    y, lin = rmad.linearize(f, POINTS)
    np.testing.assert_allclose(y, values, rtol=1e-12)
    np.testing.assert_allclose(lin.Jv(np.ones(6)), derivatives, rtol=1e-12, atol=0)
    np.testing.assert_allclose(lin.JTu(np.ones(6)), derivatives, rtol=1e-12, atol=0)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(("name", "f", "values", "derivatives"), TABLE, ids=[row[0] for row in TABLE])
def test_the_derivatives_are_those_of_pytorch(name, f, values, derivatives):
    """But for relu, whose tie at 0 is split."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(POINTS, requires_grad=True)
    theirs = (
        torch.nn.functional.elu(x, alpha=f(np.array(-np.inf)) * -1) if name == "elu" else getattr(torch, name, None)
    )
    if callable(theirs):
        theirs = theirs(x)
    elif theirs is None:
        theirs = getattr(torch.nn.functional, name)(x)
    theirs.sum().backward()
    expected = np.where(POINTS == 0, 0.5, x.grad.numpy()) if name == "relu" else x.grad.numpy()
    np.testing.assert_allclose(derivatives, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elu_keeps_the_dtype_and_does_not_overflow(dtype):
    x = np.array([-2.0, 0.0, 3.0, 1e4], dtype)
    y, lin = rmad.linearize(F.elu, x)
    assert y.dtype == lin.JTu(np.ones_like(x)).dtype == dtype
    np.testing.assert_allclose(lin.JTu(np.ones_like(x)), [np.exp(-2), 1, 1, 1], rtol=1e-6)
