"""KFAC, KFLR and KFRA: their steps and their options."""

import itertools
import warnings

import numpy as np
import pytest

import nn
import optim
from optim.parts.estimate import kronecker_factors
from optim.parts.rescaling import along, along_both

METHODS = [optim.KFAC, optim.KFLR, optim.KFRA, optim.EKFAC]
F64 = {"dtype": np.float64}


def rng(seed=0):
    return np.random.default_rng(seed)


def mlp(activation=nn.Tanh, o=3, **kw):
    kw = {"rng": rng(), **F64, **kw}
    return nn.Sequential(
        nn.Linear(4, 6, **kw), activation(), nn.Linear(6, 5, **kw), activation(), nn.Linear(5, o, **kw)
    )


@pytest.mark.parametrize("Method", METHODS[1:3])
def test_linear_regression_is_solved_in_one_step(Method):
    x, t = rng().standard_normal((30, 4)), rng(1).standard_normal((30, 3))
    model = nn.Linear(4, 3, rng=rng(), **F64)
    info = Method(model, nn.SquaredError(), damping=1e-12).step(x, t)
    best = np.linalg.lstsq(np.c_[x, np.ones(30)], t, rcond=None)[0]
    np.testing.assert_allclose(np.r_[model.weight, model.bias[None]], best, atol=1e-4)
    assert info.step_size == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("Method", METHODS)
def test_they_train(Method, momentum, exact):
    x = rng().standard_normal((200, 4))
    t = (x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 1)
    model = mlp(dtype=np.float32)
    opt = Method(model, nn.SoftmaxCrossEntropy(), momentum=momentum, exact_damping=exact, rng=rng())
    infos = [opt.step(x.astype(np.float32), t) for _ in range(60)]
    assert infos[-1].loss < 0.4 * infos[0].loss
    assert model[0].weight.dtype == np.float32
    assert all(info.step_size > 0 for info in infos)
    assert infos[4].reduction_ratio > 0
    assert np.isnan(infos[3].reduction_ratio)


def test_the_step_minimizes_the_model_along_it():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), damping=1e-3, adapt_every=0, l2=0.01)
    q, theta = opt.objective.quadratic(x, t), opt.objective.flat()
    info = opt.step(x, t)
    delta = opt.objective.flat() - theta
    slope, curvature = q.gradient @ delta, delta @ (q.ggn @ delta) + 1e-3 * delta @ delta
    assert info.products == 1
    assert 0 < info.step_size < 1
    np.testing.assert_allclose(-slope, curvature, rtol=1e-8)


def test_momentum_minimizes_the_model_in_the_plane():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), damping=0.1, adapt_every=0, momentum=True)
    opt.step(x, t)
    q, theta, old = opt.objective.quadratic(x, t), opt.objective.flat(), opt.delta.copy()
    opt.step(x, t)
    delta = opt.objective.flat() - theta
    residual = q.gradient + q.ggn @ delta + 0.1 * delta
    assert abs(residual @ old) < 1e-8
    assert abs(residual @ delta) < 1e-8


@pytest.mark.parametrize("both", [False, True])
def test_a_rescaled_step_and_its_lengths(both):
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    q = optim.Objective(mlp(), nn.SoftmaxCrossEntropy()).quadratic(x, t)
    d, old = rng(2).standard_normal((2, q.theta.size))
    u, G, lam = q.gradient, q.ggn @ np.eye(d.size), 0.3
    found = along_both(q, u, d, old, lam) if both else along(q, u, d, lam)
    A = np.stack([d, old] if both else [d], axis=1)
    steps = np.linalg.solve(A.T @ (G + lam * np.eye(d.size)) @ A, -A.T @ u)
    delta = A @ steps
    np.testing.assert_allclose(found.delta, delta, rtol=1e-9)
    dGd = delta @ G @ delta
    np.testing.assert_allclose(found[1:], [steps[0], dGd, dGd + lam * delta @ delta, u @ delta], rtol=1e-9)
    short = found.clipped(found.length / 4)
    np.testing.assert_allclose(short.delta, delta / 2, rtol=1e-9)
    np.testing.assert_allclose(short[1:], np.array(found[1:]) / [2, 4, 4, 2], rtol=1e-9)


def test_clipped_steps():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), damping=0.1, adapt_every=0, clip=1e-4)
    q = opt.objective.quadratic(x, t)
    opt.step(x, t)
    np.testing.assert_allclose(opt.delta @ (q.ggn @ opt.delta) + 0.1 * opt.delta @ opt.delta, 1e-4)
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), lr=0.5, clip=1e-4)
    opt.step(x, t)
    np.testing.assert_allclose(opt.delta @ opt.delta, 1e-4)


def test_damping_follows_the_reduction_ratio():
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), damping=1.0, damping_min=0.9)
    opt._adapt(0.5)
    assert opt.damping == 1
    opt._adapt(0.1)
    assert opt.damping == pytest.approx(0.95**-5)
    opt._adapt(np.nan)
    assert opt.damping == pytest.approx(0.95**-10)
    for _ in range(5):
        opt._adapt(0.9)
    assert opt.damping == 0.9


def test_the_pace_of_the_damping():
    """Every second update, by a half for each."""
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFLR(mlp(), nn.SoftmaxCrossEntropy(), damping=8.0, adapt_every=2, adapt_decay=0.5)
    infos = [opt.step(x, t) for _ in range(5)]
    assert [np.isfinite(info.reduction_ratio) for info in infos] == [False, True, False, True, False]
    assert all(info.reduction_ratio > 3 / 4 for info in infos[1::2])
    assert [info.damping for info in infos] == [8, 8, 2, 2, 0.5]


def test_the_curvature_batch():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFLR(mlp(), nn.SoftmaxCrossEntropy())
    infos = [opt.step(x, t, curvature_batch=(x[:10], t[:10])) for _ in range(10)]
    assert infos[-1].loss < infos[0].loss
    assert opt.factors.blocks[0].A[-1, -1] == pytest.approx(1)


def test_large_batches_give_a_part_of_their_cases(monkeypatch):
    """Every second, third, fourth case in turn, for the factors and α; f, ∇f and ρ are those of all cases."""
    seen = []
    real = optim.Objective.quadratic

    def quadratic(self, x, t=None):
        seen.append(x[:, 0].astype(int).tolist())
        return real(self, x, t)

    monkeypatch.setattr(optim.Objective, "quadratic", quadratic)
    monkeypatch.setattr("optim.tuning.CASES_OF_FACTORS", 5)
    x, t = rng().standard_normal((12, 4)), rng(1).integers(0, 3, 12)
    x[:, 0] = np.arange(12)
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), damping=1.0, adapt_every=1)
    for _ in range(3):
        f, gradient = opt.objective.value_and_gradient(x, t)
        info = opt.step(x, t)
        assert (info.loss, info.gradient_norm) == (f, pytest.approx(np.linalg.norm(gradient)))
        assert info.reduction_ratio == pytest.approx(1, abs=0.9)
    assert seen == [list(range(0, 12, 2)), list(range(1, 12, 2)), list(range(0, 12, 2))]
    seen.clear()
    opt.step(x[:9], t[:9])  # fewer than two parts
    optim.KFAC(mlp(), nn.SoftmaxCrossEntropy(), cases=1).step(x, t)
    optim.KFAC(nn.Sequential(nn.Linear(4, 3, rng=rng(), **F64), nn.BatchNorm(3, **F64)), nn.SoftmaxCrossEntropy()).step(
        x, t
    )
    assert [len(cases) for cases in seen] == [9, 12, 12]


def test_inverses_are_renewed_at_their_time():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFRA(mlp(), nn.SoftmaxCrossEntropy(), inverses_every=4)
    inverses = []
    for _ in range(10):
        opt.step(x, t)
        inverses.append(opt.running.inverse)
    assert [a is b for a, b in itertools.pairwise(inverses)] == [False] * 4 + [True] * 3 + [False, True]


@pytest.mark.parametrize("Method", METHODS)
def test_state_continues_bit_for_bit(Method):
    x, t = rng().standard_normal((20, 4)).astype(np.float32), rng(1).integers(0, 3, 20)
    model = mlp(dtype=np.float32)
    opt = Method(model, nn.SoftmaxCrossEntropy(), momentum=True, rng=rng(7))
    fresh = opt.state_dict()
    for _ in range(7):
        opt.step(x, t)
    state, theta = opt.state_dict(), opt.objective.flat()
    for _ in range(4):
        opt.step(x, t)
    other = mlp(dtype=np.float32, rng=rng(5))
    again = Method(other, nn.SoftmaxCrossEntropy(), momentum=True)
    again.objective.assign(theta)
    again.load_state_dict(state)
    for _ in range(4):
        again.step(x, t)
    np.testing.assert_array_equal(again.objective.flat(), opt.objective.flat())
    again.load_state_dict(fresh)
    assert again.factors is None
    with pytest.raises(ValueError, match="damping"):
        opt.load_state_dict({**state, "damping": np.nan})
    assert opt.factors is not None


def test_a_nan_in_the_batch_is_a_rejected_step():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFAC(mlp(), nn.SoftmaxCrossEntropy())
    opt.step(x, t)
    theta, bad = opt.objective.flat(), x.copy()
    bad[3] = np.nan
    with pytest.warns(optim.NumericalWarning, match="non-finite loss"):
        info = opt.step(bad, t)
    assert info.rejected
    assert opt.damping > info.damping
    np.testing.assert_array_equal(opt.objective.flat(), theta)
    assert not opt.step(x, t).rejected


@pytest.mark.parametrize("Method", METHODS)
def test_any_convex_loss_will_do(Method):
    def loss(z, t):
        return np.mean(np.sum(np.square(z - t), axis=1))

    x, t = rng().standard_normal((6, 4)), rng(1).standard_normal((6, 3))
    opt = Method(mlp(), loss)
    infos = [opt.step(x, t) for _ in range(5)]
    assert infos[-1].loss < infos[0].loss
    for method in ("kflr", "kfra"):
        own, known = (
            kronecker_factors(optim.Objective(mlp(), L).quadratic(x, t), method).blocks[0].G
            for L in (loss, nn.SquaredError())
        )
        np.testing.assert_allclose(own, 2 * known, rtol=1e-9)


def test_a_loss_without_samples():
    """Signs on the columns of a root: unbiased."""

    def loss(z, t):
        return np.mean(np.sum(np.log(np.cosh(z - t)), axis=1)) + np.mean(np.square(np.sum(z, axis=1)))

    x, t = rng().standard_normal((6, 4)), rng(1).standard_normal((6, 3))
    q = optim.Objective(mlp(), loss, shards=2).quadratic(x, t)
    draws = np.stack([kronecker_factors(q, "kfac", seed=k).blocks[0].G for k in range(300)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(300)
    assert (np.abs(draws.mean(axis=0) - kronecker_factors(q, "kflr").blocks[0].G) <= 5 * error).all()


def test_hyper_parameters_are_checked():
    for bad in (
        {"damping": -1},
        {"average": 1},
        {"lr": 0},
        {"inverses_every": 0},
        {"samples": 0},
        {"clip": 0.0},
        {"cases": 2},
        {"adapt_decay": 0},
        {"adapt_decay": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            optim.KFAC(mlp(), nn.SquaredError(), **bad)
    with pytest.raises(ValueError, match="sharing"):
        optim.KFAC(mlp(), nn.SquaredError(), sharing="mean")
    with pytest.raises(ValueError, match="estimate"):
        optim.KFAC(mlp(), nn.SquaredError(), estimate="kfax")
    with pytest.raises(ValueError, match="momentum"):
        optim.KFAC(mlp(), nn.SquaredError(), lr=0.1, momentum=True)
    with pytest.raises(ValueError, match="before the first step"):
        _ = optim.KFAC(mlp(), nn.SquaredError()).operator


def test_the_operator_of_an_optimizer():
    x, t = rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20)
    opt = optim.KFLR(mlp(), nn.SoftmaxCrossEntropy(), l2=0.5, damping=0.25, adapt_every=0)
    opt.step(x, t)
    C = opt.operator @ np.eye(opt.objective.size)
    assert np.linalg.eigvalsh(C)[0] > 0.74
    np.testing.assert_allclose(np.trace(C), opt.operator.trace())


@pytest.mark.parametrize("Method", METHODS)
def test_a_recurrent_net_and_tiny_damping(Method):
    model = nn.Sequential(nn.LSTM(3, 5, rng=rng()), nn.Linear(5, 4, rng=rng()))
    x, t = rng().standard_normal((12, 6, 3)).astype(np.float32), rng(1).integers(0, 4, (12, 6))
    opt = Method(model, nn.SoftmaxCrossEntropy(per_position=True), damping=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infos = [opt.step(x, t) for _ in range(15)]
    assert infos[-1].loss < infos[0].loss
