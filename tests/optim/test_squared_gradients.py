"""The mean of the squared per-case gradients, by one sweep (Martens & Sutskever 2012, section 11.3), case by case."""

from __future__ import annotations

import numpy as np
import pytest

import nn
import optim

N = 11
LOSSES = {
    "squared": (nn.SquaredError(), lambda t: t),
    "sigmoid": (nn.SigmoidCrossEntropy(), lambda t: (t > 0).astype(t.dtype)),
    "softmax": (nn.SoftmaxCrossEntropy(), lambda t: np.argmax(t, axis=1)),
    "callable": (lambda z, t: np.sum(np.logaddexp(0, z - t)) / len(z), lambda t: t),
}


def squares_case_by_case(model, loss, x, t):
    objective = optim.Objective(model, loss, shards=1)
    per_case = [objective.value_and_gradient(x[k : k + 1], t[k : k + 1])[1] for k in range(len(x))]
    return np.mean(np.square(per_case), axis=0)


@pytest.mark.parametrize("division", [{"shards": 1}, {"shards": 3}, {"shards": 4, "threads": 2}, {"shards": N}])
@pytest.mark.parametrize("name", LOSSES)
def test_squared_gradients_of_a_net(division, name):
    rng = np.random.default_rng(0)
    f64 = {"rng": rng, "dtype": np.float64}
    model = nn.Sequential(nn.Linear(4, 6, **f64), nn.Tanh(), nn.Linear(6, 3, **f64))
    x, (loss, target) = rng.standard_normal((N, 4)), LOSSES[name]
    t = target(rng.standard_normal((N, 3)))
    q = optim.Objective(model, loss, 0.7, **division).quadratic(x, t)
    np.testing.assert_allclose(q.squared_gradients(), squares_case_by_case(model, loss, x, t), rtol=1e-11)
    q.ggn @ np.ones(q.gradient.size)
    np.testing.assert_allclose(q.squared_gradients(), squares_case_by_case(model, loss, x, t), rtol=1e-11)


@pytest.mark.parametrize("shards", [1, 3])
def test_squared_gradients_of_shared_weights(shards):
    """A recurrent net meets W, U and b at every time: the sum over times comes before the square."""
    rng = np.random.default_rng(8)
    params = {
        "W": rng.standard_normal((4, 5)),
        "U": 0.5 * rng.standard_normal((5, 5)),
        "b": rng.standard_normal(5),
        "V": rng.standard_normal((5, 3)),
        "c": rng.standard_normal((1, 3)),
    }

    def rnn(p, x):
        h = np.zeros((len(x), 5))
        for k in range(x.shape[1]):
            h = np.tanh(x[:, k] @ p["W"] + h @ p["U"] + p["b"])
        return h @ p["V"] - p["c"]

    model, x, t = optim.Function(rnn, params), rng.standard_normal((N, 6, 4)), rng.standard_normal((N, 3))
    q = optim.Objective(model, nn.SquaredError(), shards=shards).quadratic(x, t)
    expected = squares_case_by_case(model, nn.SquaredError(), x, t)
    np.testing.assert_allclose(q.squared_gradients(), expected, rtol=1e-11)


@pytest.mark.parametrize(
    "forward",
    [
        lambda p, x: np.reshape(np.reshape(x, (-1, 2)) @ p["W"], (len(x), -1)),  # two rows per case
        lambda p, x: np.reshape(np.reshape(x, (-1, 2)) + p["b"], (len(x), -1)),
        lambda p, x: x * p["s"],
        lambda p, x: x + p["one"],  # one number for all features
        lambda p, x: x[:, :2] @ p["W"] + np.sum(p["W"]),
    ],
)
def test_squared_gradients_of_other_uses(forward):
    rng = np.random.default_rng(9)
    params = {"W": rng.standard_normal((2, 2)), "b": rng.standard_normal(2), "s": np.ones(4), "one": np.ones(1)}
    x = rng.standard_normal((N, 4))
    t = rng.standard_normal(forward(params, x).shape)
    model = optim.Function(forward, params)
    for shards in (1, 3, N):
        squared = optim.Objective(model, nn.SquaredError(), shards=shards).quadratic(x, t).squared_gradients()
        np.testing.assert_allclose(squared, squares_case_by_case(model, nn.SquaredError(), x, t), rtol=1e-11)


@pytest.mark.parametrize("shards", [1, 3])
def test_squared_gradients_of_a_convolutional_net(shards):
    rng = np.random.default_rng(10)
    f64 = {"rng": rng, "dtype": np.float64}
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding="same", **f64),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, **f64),
        nn.LayerNorm(3, dtype=np.float64),
        nn.Flatten(),
        nn.Linear(12, 3, **f64),
    )
    x, t, loss = rng.standard_normal((N, 6, 7, 2)), rng.integers(0, 3, N), nn.SoftmaxCrossEntropy()
    q = optim.Objective(model, loss, shards=shards).quadratic(x, t)
    q.ggn @ np.ones(q.gradient.size)
    np.testing.assert_allclose(q.squared_gradients(), squares_case_by_case(model, loss, x, t), rtol=1e-10, atol=1e-14)


def test_squared_gradients_of_cases_that_mix_are_refused():
    rng = np.random.default_rng(9)
    x, t = rng.standard_normal((N, 4)), rng.standard_normal((N, 3))
    f64 = {"rng": rng, "dtype": np.float64}
    model = nn.Sequential(nn.Linear(4, 5, **f64), nn.BatchNorm(5, dtype=np.float64), nn.Linear(5, 3, **f64))
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, t)
    with pytest.raises(NotImplementedError, match=r"cases that do not mix .* preconditioner=False"):
        q.squared_gradients()


def test_squared_gradients_without_a_batch(make_quadratic):
    model, loss = make_quadratic(np.diag([1.0, 2.0, 3.0]), np.zeros(3), np.ones(3))
    q = optim.Objective(model, loss, 0.5).quadratic(None)
    np.testing.assert_allclose(q.squared_gradients(), [1, 4, 9])


def test_cases_of_no_gradient_do_not_hide_the_layout():
    """A weight made of parameters, and all but two cases fitted exactly."""
    rng = np.random.default_rng(0)
    params = {"v": rng.standard_normal((4, 3)), "g": rng.standard_normal(3)}
    x = rng.standard_normal((30, 4))
    model = optim.Function(lambda params, x: x @ (np.exp(params["g"]) * params["v"]), params)
    t = model(x)
    t[[7, 20], [0, 2]] += 1.0

    def loss(z, t):
        return 0.5 * np.sum((z - t) ** 2) / len(z)

    objective = optim.Objective(model, loss, shards=1)
    each = [objective.value_and_gradient(x[k : k + 1], t[k : k + 1])[1] for k in range(len(x))]
    found = objective.quadratic(x, t).squared_gradients()
    np.testing.assert_allclose(found, np.mean(np.square(each), axis=0), rtol=1e-10, atol=1e-20)
