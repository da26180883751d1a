"""Kronecker factors of convolutions with groups of channels: one block A_c ⊗ G_c per group, against dense matrices."""

import numpy as np
import pytest

import nn
import optim
from optim.parts.estimate import kronecker_factors
from optim.parts.factors import loaded, saved

KINDS = {
    "two groups": {"i": 4, "o": 6, "groups": 2},
    "depthwise": {"i": 3, "o": 3, "groups": 3},
    "depthwise, two outputs each": {"i": 3, "o": 6, "groups": 3},
    "one group": {"i": 2, "o": 3, "groups": 1},
}


class Flat(nn.Module):
    """The outputs of a layer as (n, outputs)."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        y = self.layer(x)
        return y.reshape(len(y), -1)


def problem(kind, bias=True, layer=nn.Conv2d, size=5, kernel=3, dtype=np.float64, n=40):
    rng = np.random.default_rng(0)
    kind = KINDS[kind]
    module = layer(kind["i"], kind["o"], kernel, groups=kind["groups"], bias=bias, rng=rng, dtype=dtype)
    model = Flat(module)
    x = rng.standard_normal((n, size, size, kind["i"])).astype(dtype)
    return model, x, rng.standard_normal(model(x).shape).astype(dtype)


def dense(factors):
    """The matrix of the blocks."""
    C = np.diag(factors.d)
    places = np.arange(len(factors.d))
    for block in factors.blocks:
        at = block.of(places).ravel()
        C[np.ix_(at, at)] = np.kron(block.A, block.G)
    return C


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    ("layer", "estimate", "bias"),
    [
        (nn.Conv2d, "kflr", True),
        (nn.Conv2d, "kflr", False),
        (nn.Conv2d, "kfra", True),
        (nn.Conv2d, "kfra", False),
        (nn.ConvTranspose2d, "kflr", False),  # for which KFRA is not defined
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_a_linear_convolution_are_its_curvature(kind, layer, bias, estimate, shards):
    """Every position of an output has the curvature 1/n of its own, so that A_c ⊗ G_c is exact."""
    model, x, t = problem(kind, bias, layer, size=5 if layer is nn.Conv2d else 1)
    q = optim.Objective(model, nn.SquaredError(), shards=shards).quadratic(x, t)
    factors = kronecker_factors(q, estimate)
    assert len(factors.blocks) == KINDS[kind]["groups"]
    G = q.ggn @ np.eye(len(q.theta))
    np.testing.assert_allclose(dense(factors), G, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_an_undamped_step_solves_a_linear_convolution(kind):
    model, x, t = problem(kind)
    opt = optim.KFLR(model, nn.SquaredError(), damping=0.0, exact_damping=True, cases=1.0)
    opt.step(x, t)
    assert opt.step(x, t).gradient_norm < 1e-8
    factored = optim.KFRA(problem(kind)[0], nn.SquaredError(), damping=0.0, cases=1.0)
    factored.step(x, t)
    assert factored.step(x, t).gradient_norm < 1e-8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_each_group_has_the_factors_of_a_convolution_of_its_own(kind, sharing):
    """Next to as many convolutions without groups, after and before other layers."""
    numbers = KINDS[kind]
    k, i, o = numbers["groups"], numbers["i"] // numbers["groups"], numbers["o"] // numbers["groups"]
    model, x, _ = problem(kind)
    weight, bias = model.layer.weight, model.layer.bias
    t = np.random.default_rng(1).standard_normal((len(x), numbers["o"]))

    def grouped(params, x):
        y = np.tanh(nn.functional.conv2d(x, params["w"], groups=k) + params["b"])
        return np.exp(0.3 * y).mean(axis=(1, 2))

    def apart(params, x):
        ys = [nn.functional.conv2d(x[..., c * i : (c + 1) * i], params[f"w{c}"]) + params[f"b{c}"] for c in range(k)]
        return np.exp(0.3 * np.tanh(np.concatenate(ys, axis=3))).mean(axis=(1, 2))

    parts = {f"w{c}": weight[..., c * o : (c + 1) * o] for c in range(k)}
    parts |= {f"b{c}": bias[c * o : (c + 1) * o] for c in range(k)}
    found, expected = (
        kronecker_factors(optim.Objective(optim.Function(f, p), nn.SquaredError()).quadratic(x, t), "kflr", sharing)
        for f, p in ((grouped, {"w": weight, "b": bias}), (apart, parts))
    )
    assert len(found.blocks) == len(expected.blocks) == k
    for block, other in zip(found.blocks, expected.blocks, strict=True):
        np.testing.assert_allclose(block.A, other.A, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(block.G, other.G, rtol=1e-10, atol=1e-12)


def test_inverse_average_and_state():
    model, x, t = problem("two groups")
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, t)
    factors = kronecker_factors(q, "kflr")
    C, v = dense(factors), np.random.default_rng(3).standard_normal(len(q.theta))
    operator = optim.KroneckerOperator(factors, 0.1)
    np.testing.assert_allclose(operator @ v, C @ v + 0.1 * v)
    np.testing.assert_allclose(operator.inverse() @ v, np.linalg.solve(C + 0.1 * np.eye(len(v)), v))
    assert operator.logdet() == pytest.approx(np.linalg.slogdet(C + 0.1 * np.eye(len(v)))[1])
    np.testing.assert_allclose(dense(factors.mixed_with(factors, 0.3)), C)
    again = loaded(saved(factors, "f"), "f", q.theta)
    assert again is not None
    assert again.fits(factors)
    np.testing.assert_array_equal(dense(again), C)
    state = saved(factors, "f") | {"f.0.columns": np.array([2, 2])}
    with pytest.raises(ValueError, match="do not fit"):
        loaded(state, "f", q.theta)
