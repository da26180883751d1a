"""A plain function as a model."""

from collections import namedtuple

import numpy as np
import pytest

import nn
import optim
import rmad

Pair = namedtuple("Pair", "W b")


def affine(params, x):
    W, b = params
    return x @ W + b


@pytest.mark.parametrize("make", [tuple, list, lambda p: Pair(*p)])
def test_params_of_any_kind_are_rebound(make):
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((3, 2)), rng.standard_normal(2)
    model = optim.Function(affine, make((W, b)))
    x, t = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    np.testing.assert_array_equal(model(x), x @ W + b)
    before = W.copy(), b.copy()
    optim.SGD(model, lambda z, t: np.sum((z - t) ** 2) / 10, lr=0.1).step(x, t)
    new = model.params
    assert type(new) is type(make((W, b)))
    u = (x @ W + b - t) / 5
    np.testing.assert_allclose(new[0], W - 0.1 * x.T @ u)
    np.testing.assert_allclose(new[1], b - 0.1 * u.sum(0))
    np.testing.assert_array_equal(W, before[0])  # the arrays that were given are not written into
    np.testing.assert_array_equal(b, before[1])


def test_nested_params_and_integers():
    params = {"first": {"W": np.ones((2, 2))}, "rest": [(np.zeros(2), np.arange(3)), None]}
    model = optim.Function(lambda p, x: x @ p["first"]["W"] + p["rest"][0][0], params)
    assert [path for path, _ in rmad.trees.tree.leaves(model, "model")] == [
        "model.params['first']['W']",
        "model.params['rest'][0][0]",
        "model.params['rest'][0][1]",
    ]
    flat, unravel = rmad.ravel(model)
    assert flat.shape == (6,)
    other = unravel(flat + 1)
    assert isinstance(other, optim.Function)
    np.testing.assert_array_equal(other.params["first"]["W"], 2)
    np.testing.assert_array_equal(other.params["rest"][0][1], np.arange(3))
    assert other.params["rest"][1] is None
    np.testing.assert_array_equal(model.params["first"]["W"], 1)


def test_a_single_array_is_a_tree_too():
    model = optim.Function(lambda theta, x: theta * x, np.ones(3))
    optim.SGD(model, lambda z, t: np.sum(z), lr=1.0).step(np.ones(3), None)
    np.testing.assert_array_equal(model.params, 0)


def test_further_arguments_and_repr():
    model = optim.Function(affine, (np.ones((1, 1)), np.zeros(1)))
    assert repr(model) == "Function(affine, 2 arrays)"
    assert optim.Function(lambda p, x, scale: p * x * scale, np.ones(1))(2.0, 3.0) == 6.0


def test_forward_must_be_callable():
    with pytest.raises(TypeError, match="forward must be callable, not dict"):
        optim.Function({}, lambda: None)


def test_modules_among_the_params_are_told():
    rng = np.random.default_rng(0)
    norm = nn.BatchNorm(4, dtype=np.float64, momentum=1.0)
    layers = [nn.Linear(3, 4, rng=rng, dtype=np.float64), norm, nn.Dropout(0.5, rng=rng)]
    model = optim.Function(lambda p, x: p["net"](x), {"net": nn.Sequential(*layers)})
    x, t = rng.standard_normal((10, 3)), rng.standard_normal((10, 4))
    mean, updates = layers[0](x).mean(0), int(layers[2].updates[0])
    assert model.couples_cases
    whole, parts = (optim.Objective(model, nn.SquaredError(), shards=n).value(x, t) for n in (1, 2))
    assert whole == parts
    optim.SGD(model, nn.SquaredError(), lr=0.1).step(x, t)
    np.testing.assert_allclose(model.params["net"][1].running_mean, mean)
    assert int(model.params["net"][2].updates[0]) == updates + 1
    assert np.all(norm.running_mean == 0)  # what was given is left alone
    assert not model.eval().couples_cases
    assert not model.params["net"][2].training
