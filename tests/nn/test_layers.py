"""Linear, the activations, initial weights and networks by name."""

import numpy as np
import pytest
import scipy.special

import nn
import rmad

POINTS = np.array([[-30.0, -2.5, -0.7], [0.3, 1.9, 30.0]])  # no kink among them

# module, the same from scipy or by hand
ACTIVATIONS = [
    (nn.Identity(), lambda x: x),
    (nn.Sigmoid(), scipy.special.expit),
    (nn.Tanh(), np.tanh),
    (nn.ReLU(), lambda x: x * (x > 0)),
    (nn.LeakyReLU(), lambda x: x * np.where(x > 0, 1, 0.01)),
    (nn.LeakyReLU(0.2), lambda x: x * np.where(x > 0, 1, 0.2)),
    (nn.ELU(), lambda x: np.where(x > 0, x, np.exp(x) - 1)),
    (nn.ELU(0.5), lambda x: np.where(x > 0, x, 0.5 * np.exp(x) - 0.5)),
    (nn.GELU(), lambda x: x * scipy.special.ndtr(x)),
    (nn.SiLU(), lambda x: x * scipy.special.expit(x)),
    (nn.Softplus(), lambda x: -scipy.special.log_expit(-x)),
    (nn.Softmax(), lambda x: scipy.special.softmax(x, axis=-1)),
    (nn.Softmax(axis=0), lambda x: scipy.special.softmax(x, axis=0)),
    (nn.functional.log_softmax, lambda x: scipy.special.log_softmax(x, axis=-1)),
]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("f", "reference"), ACTIVATIONS, ids=lambda f: repr(f)[:16])
def test_activation(f, reference):
    np.testing.assert_allclose(f(POINTS), reference(POINTS), rtol=1e-12, atol=1e-15)
    assert f(POINTS.astype(np.float32)).dtype == np.float32
    # ±30 would ask more of finite differences than of the rules: the terms there are of size e⁻³⁰ or linear
    rmad.check_grads(f, POINTS[:, 1:2] * np.array([1.0, 0.4]), order=2)
    y, lin = rmad.linearize(f, POINTS.astype(np.float32))
    assert y.dtype == lin.Jv(POINTS.astype(np.float32)).dtype == lin.JTu(y).dtype == np.float32


@pytest.mark.parametrize(("f", "reference"), ACTIVATIONS, ids=lambda f: repr(f)[:16])
def test_activation_does_not_overflow(f, reference):
    x = np.array([[-1e4, 1e4]])
    u = rmad.vjp(f, x)[1](np.ones_like(x))
    assert np.isfinite(f(x)).all()
    assert np.isfinite(u).all()


def test_linear(rng):
    layer = nn.Linear(3, 2, rng=rng, bias=0.5, dtype=np.float64)
    for shape in [(3,), (5, 3), (2, 5, 3), (0, 3)]:
        x = rng.standard_normal(shape)
        copy = x.copy()
        np.testing.assert_allclose(layer(x), np.einsum("...i,io->...o", x, layer.weight) + 0.5, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(x, copy)
    rmad.check_grads(lambda m, x: m(x), layer, rng.standard_normal((5, 3)))
    rmad.check_grads(lambda x: layer(x), rng.standard_normal((5, 3)))
    assert nn.Linear(3, 2, rng=rng)(x.astype(np.float32)).dtype == np.float32
    assert nn.Linear(3, 2, rng=rng)(x).dtype == np.float64
    assert nn.Linear(3, 2, rng=rng, bias=False).bias is None


def test_linear_with_one_array_traced(rng):
    layer, x = nn.Linear(3, 2, rng=rng, dtype=np.float64), rng.standard_normal((5, 3))

    def f(bias):
        other = nn.Linear(3, 2, rng=rng, dtype=np.float64)
        other.weight, other.bias = layer.weight, bias
        return other(x)

    rmad.check_grads(f, layer.bias)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda r: nn.Linear(784, 400, rng=r)(np.ones((2, 783))),
            ValueError,
            r"Linear\(784, 400\): x has 783 features",
        ),
        (lambda r: nn.Linear(3, 2, rng=r)(np.ones(())), ValueError, r"Linear\(3, 2\): x has no axis of features"),
        (lambda r: nn.Linear(0, 2, rng=r), ValueError, r"Linear\(0, 2\): both numbers of features must be positive"),
        (lambda r: nn.Linear(3, 2, rng=r, dtype=int), TypeError, r"dtype must be a float type, not int64"),
        (
            lambda r: nn.Linear(3, 2, rng=r, init=lambda *a: np.ones(3)),
            ValueError,
            r"init made a weight of shape \(3,\)",
        ),
        (lambda r: nn.init.sparse(r, (3, 2), connections=0), ValueError, "connections must be positive, not 0"),
        (lambda r: nn.models.autoencoder((3,), rng=r), ValueError, r"sizes must name the input .* not \(3,\)"),
        (
            lambda r: nn.models.autoencoder((3, 2), rng=r, code="tanh"),
            ValueError,
            "code must be 'linear' .* not 'tanh'",
        ),
    ],
)
def test_errors(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(rng)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (nn.init.glorot_uniform, np.sqrt(2 / 900)),
        (nn.init.glorot_normal, np.sqrt(2 / 900)),
        (nn.init.he_normal, np.sqrt(2 / 500)),
        (nn.init.sparse, np.sqrt(15 / 500)),
        (nn.init.sparse_with(connections=10, scale=0.5), np.sqrt(10 / 500) / 2),
    ],
)
def test_init(rng, init, std):
    weight = init(rng, (500, 400), np.float32)
    assert weight.shape == (500, 400)
    assert weight.dtype == np.float32
    # the standard deviation of 3,000 or more numbers is known to 3 % at three sigma (normal ones; others closer)
    np.testing.assert_allclose(weight.std(), std, rtol=0.05)
    assert abs(weight.mean()) < 4 * std / np.sqrt(weight.size)
    np.testing.assert_array_equal(weight.shape, init(rng, (500, 400)).shape)
    same = [init(np.random.default_rng(1), (5, 4), np.float64) for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_sparse_init_counts_connections(rng):
    assert (np.count_nonzero(nn.init.sparse(rng, (100, 30)), axis=0) == 15).all()
    assert np.count_nonzero(nn.init.sparse(rng, (100, 30)).any(axis=1)) > 80  # spread over the inputs
    assert np.count_nonzero(nn.init.sparse(rng, (6, 25))) == 150
    a = 6 / np.sqrt(4)  # no weight beyond the bound of Glorot's uniform distribution
    assert abs(nn.init.glorot_uniform(rng, (3, 1))).max() <= a


def test_autoencoder(rng):
    model = nn.models.autoencoder(nn.models.CURVES, rng=rng)
    widths = [layer.out_features for layer in model if isinstance(layer, nn.Linear)]
    assert widths == [400, 200, 100, 50, 25, 6, 25, 50, 100, 200, 400, 784]
    assert model.n_parameters == 842_340
    linear_after = [k for k in range(len(model) - 1) if all(isinstance(m, nn.Linear) for m in model[k : k + 2])]
    assert linear_after == [10]  # the code
    assert isinstance(model[-1], nn.Linear)
    assert model(np.zeros((2, 784), np.float32)).shape == (2, 784)
    assert (np.count_nonzero(model[0].weight, axis=0) == 15).all()
    tanh = nn.models.autoencoder((4, 3, 2), rng=rng, activation=nn.Tanh, code=nn.Tanh, bias=0.5)
    assert [type(m).__name__ for m in tanh] == ["Linear", "Tanh"] * 3 + ["Linear"]
    assert (tanh[0].bias == 0.5).all()
