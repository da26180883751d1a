"""Every layer and every loss on CuPy's arrays: NumPy's values and products, and nothing leaves the device."""

from __future__ import annotations

import numpy as np
import pytest
from moving import assert_equal, to_device
from test_every_layer import TABLE, data
from test_primitives import random_like

import nn
import optim
import rmad

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

QUICK = ("Linear", "Conv2d", "MaxPool2d", "BatchNorm", "Dropout", "Embedding", "LSTM, checkpoints", "TransformerBlock")


def called(args):
    layer, x = args
    return layer(x)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in TABLE])
def test_layer(name, nothing_leaves_the_device):
    row = TABLE[name]
    x, rng = data(row), np.random.default_rng(3)
    args, there = (row.make(np.float64), x), to_device((row.make(np.float64), x))
    y, lin = rmad.linearize(called, args)
    v, u = random_like(args, rng), random_like(y, rng)
    v_there, u_there = to_device((v, u))
    called(there)  # tokens are checked once, and the seed of a mask is read once
    with nothing_leaves_the_device():
        y_there, lin_there = rmad.linearize(called, there)
        found = y_there, lin_there.Jv(v_there), lin_there.JTu(u_there)
    assert_equal(found, (y, lin.Jv(v), lin.JTu(u)))
    state, wanted = there[0].state_dict(), args[0].state_dict()
    assert state.keys() == wanted.keys()


@pytest.mark.parametrize("name", ["BatchNorm", "Dropout"])
def test_layer_after_training(name):
    row = TABLE[name]
    x = data(row)
    layer, there = row.make(np.float64), to_device(row.make(np.float64))
    for _ in range(2):
        layer(x), there(cupy.asarray(x))
    assert_equal(there.eval()(cupy.asarray(x)), layer.eval()(x))


N, K = 5, 3
LABELS = np.array([0, 2, 1, 1, 0])
LOSSES = {
    "softmax": (nn.SoftmaxCrossEntropy(), (N, K), LABELS),
    "softmax of sequences": (nn.SoftmaxCrossEntropy(), (N, 2, K), np.stack([LABELS, LABELS[::-1]], 1)),
    "softmax, probabilities": (nn.SoftmaxCrossEntropy(), (N, K), np.eye(K)[LABELS] * 0.9 + 0.1 / K),
    "sigmoid": (nn.SigmoidCrossEntropy(), (N, K), np.random.default_rng(0).random((N, K))),
    "squares": (nn.SquaredError(), (N, K), np.random.default_rng(0).standard_normal((N, K))),
    "squares of images": (nn.SquaredError(), (N, 2, 2, K), np.random.default_rng(0).standard_normal((N, 2, 2, K))),
}


def results(loss, z, t, v, rng):
    curvature = loss.curvature(z, t)
    return {
        "gradient": loss.gradient(z, t),
        "value_and_gradient": loss.value_and_gradient(z, t)[1],
        "hessian_product": loss.hessian_product(z, t, v),
        "curvature": curvature(v),
        "product_into": curvature.product_into(v, v.copy()),
        "sqrt_hessian": loss.sqrt_hessian(z, t),
        "sample": loss.sample(z, rng),
        "by rmad": rmad.grad(lambda z: loss.value(z, t))(z),
        "by rmad, second": rmad.hvp(lambda z: loss.value(z, t), z, v)[1],
    }


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name):
    loss, shape, t = LOSSES[name]
    rng = np.random.default_rng(4)
    z, v = rng.standard_normal(shape), rng.standard_normal(shape)
    wanted = results(loss, z, t, v, np.random.default_rng(5))
    there = to_device((z, t, v))
    found = results(loss, *there, np.random.default_rng(5))
    assert_equal(found, wanted)
    for value in (loss.value(*there[:2]), loss.value_and_gradient(*there[:2])[0]):
        assert float(value) == pytest.approx(float(loss.value(z, t)), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_products_with_a_loss_stay_on_the_device(name, nothing_leaves_the_device):
    loss, shape, t = LOSSES[name]
    rng = np.random.default_rng(6)
    x, W, v = rng.standard_normal((*shape[:-1], 4)), rng.standard_normal((4, K)), rng.standard_normal(4 * K)
    here = optim.Objective(optim.Function(lambda W, x: np.tanh(x @ W), W), loss, 0.1)
    there = optim.Objective(optim.Function(lambda W, x: np.tanh(x @ W), cupy.asarray(W)), loss, 0.1)
    q, q_there, v_there = here.quadratic(x, t), there.quadratic(*to_device((x, t))), cupy.asarray(v)
    for operator in ("ggn", "hessian"):
        getattr(q_there, operator) @ v_there
        with nothing_leaves_the_device():
            found = getattr(q_there, operator) @ v_there
        assert_equal(found, getattr(q, operator) @ v, operator)
    assert_equal(q_there.gradient, q.gradient)
    assert float(q_there.value) == pytest.approx(q.value, rel=1e-12)
    assert_equal(q_there.squared_gradients(), q.squared_gradients())


def test_a_loss_of_ones_own():
    z, t = np.random.default_rng(7).standard_normal((2, N, K))
    loss = lambda z, t: np.sum(np.exp(z - t) - z) / len(z)  # noqa: E731
    here = optim.Objective(optim.Function(lambda W, x: x @ W, np.eye(K)), loss).quadratic(z, t)
    there = optim.Objective(optim.Function(lambda W, x: x @ W, cupy.eye(K)), loss).quadratic(*to_device((z, t)))
    v = np.random.default_rng(8).standard_normal(K * K)
    assert_equal(there.ggn @ cupy.asarray(v), here.ggn @ v)
