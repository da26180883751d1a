"""Kronecker factors of models with several outputs, and of samples that overflow."""

import numpy as np
import pytest

import nn
import optim
from optim.parts.estimate import kronecker_factors


class Heads(nn.Module):
    """y, and (h, v) = (tanh, linear) of one layer below."""

    def __init__(self):
        g = np.random.default_rng(0)
        self.first, self.second = nn.Linear(3, 4, rng=g), nn.Linear(4, 2, rng=g)

    def forward(self, x):
        h = np.tanh(self.first(x))
        return self.second(h), (h, self.first(x) * 2)


class Joined(nn.Module):
    """The same outputs as one array."""

    def __init__(self, heads):
        self.heads = heads

    def forward(self, x):
        y, (h, v) = self.heads(x)
        return np.concatenate([y, h, v], axis=1)


def separable(z, t):
    y, (h, v) = z
    return np.mean(np.sum((y - t) ** 2, axis=1) / 2 + np.sum(np.cosh(h) + np.exp(v / 4), axis=1))


def coupled(z, t):
    y, (h, v) = z
    return separable(z, t) + np.mean(np.log1p(np.exp(np.sum(y, axis=1) + np.sum(h * 2 + v, axis=1))))


def on_joined(loss):
    return lambda z, t: loss((z[:, :2], (z[:, 2:6], z[:, 6:])), t)


def data(n=30, dtype=np.float32):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 3)).astype(dtype), rng.standard_normal((n, 2)).astype(dtype)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("loss", [separable, coupled])
def test_factors_are_those_of_the_outputs_joined(loss, shards):
    model, (x, t) = Heads(), data()
    found = kronecker_factors(optim.Objective(model, loss, shards=shards).quadratic(x, t), "kflr")
    same = kronecker_factors(optim.Objective(Joined(model), on_joined(loss), shards=shards).quadratic(x, t), "kflr")
    assert len(found.blocks) == len(same.blocks) == 2
    for block, other in zip(found.blocks, same.blocks, strict=True):
        np.testing.assert_allclose(block.A, other.A, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(block.G, other.G, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [separable, coupled])
def test_sampled_factors_are_right_on_average(loss):
    model, (x, t) = Heads(), data()
    q = optim.Objective(model, loss, shards=1).quadratic(x, t)
    exact, drawn = kronecker_factors(q, "kflr"), kronecker_factors(q, "kfac", samples=200)
    for block, other in zip(drawn.blocks, exact.blocks, strict=True):
        np.testing.assert_allclose(block.G, other.G, atol=0.1 * np.abs(other.G).max())


class Autoencoder(nn.Module):
    """A variational autoencoder; its noise comes with the batch."""

    def __init__(self):
        g = np.random.default_rng(0)
        self.encode, self.decode = nn.Linear(3, 5, rng=g), nn.Linear(2, 3, rng=g)
        self.mean, self.log_variance = nn.Linear(5, 2, rng=g), nn.Linear(5, 2, rng=g)

    def forward(self, batch):
        x, noise = batch
        h = np.tanh(self.encode(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        return self.decode(mean + np.exp(log_variance / 2) * noise), mean, log_variance


def negative_elbo(z, x):
    y, mean, log_variance = z
    divergence = np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=1) / 2
    return np.mean(np.sum((y - x) ** 2, axis=1) / 2 + divergence)


@pytest.mark.parametrize(
    "make",
    [
        optim.KFAC,
        optim.KFLR,
        lambda *a: optim.HessianFree(*a, damping=1.0, preconditioner=optim.KroneckerPreconditioner()),
        lambda *a: optim.HessianFree(*a, damping=1.0, preconditioner=optim.KroneckerPreconditioner("kflr")),
    ],
)
def test_a_variational_autoencoder_learns(make):
    model, (x, _) = Autoencoder(), data()
    noise = np.random.default_rng(2).standard_normal((30, 2)).astype(np.float32)
    opt = make(model, negative_elbo)
    losses = [opt.step((x, noise), x).loss for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def test_outputs_that_cannot_be_taken_are_named():
    model, (x, t) = Heads(), data()
    with pytest.raises(TypeError, match="KFAC and KFLR take several"):
        optim.KFRA(model, separable).step(x, t)
    whole = optim.Function(lambda params, x: (x @ params["w"], params["w"] * 1), {"w": np.ones((3, 2), np.float32)})
    with pytest.raises(TypeError, match=r'needs outputs with a row for each of the 30 cases.*estimate="empirical"'):
        optim.KFLR(whole, lambda z, t: np.mean((z[0] - t) ** 2) + np.sum(z[1] ** 2)).step(x, t)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("estimate", ["kfac", "empirical", "kflr", "kfra"])
@pytest.mark.parametrize("scale", [1e20, 1e30])
def test_a_step_is_rejected_whose_factors_overflow(estimate, exact, scale):
    g, (x, t) = np.random.default_rng(0), data()
    model = nn.Linear(3, 4, rng=g)
    net = nn.Sequential(model, nn.Tanh(), nn.Linear(4, 2, rng=g))
    kind = optim.KroneckerPreconditioner(estimate, exact=exact)
    before = model.weight.copy()
    opt = optim.HessianFree(net, nn.SquaredError(), damping=1.0, preconditioner=kind)
    with pytest.warns(optim.NumericalWarning, match="the step is rejected"):
        info = opt.step(x * np.float32(scale), t)
    assert info.rejected
    np.testing.assert_array_equal(model.weight, before)
    assert not opt.step(x, t).rejected
