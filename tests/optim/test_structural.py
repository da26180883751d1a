"""Structural damping: blockdiag(L″, μ d″) on outputs and states, and nothing else that changes. Section 8.4."""

import numpy as np
import pytest

import nn
import optim
import rmad
from optim.parts.structural import StructuralLoss

EXACT = {"preconditioner": False, "cg_iterations": 300, "cg_tolerance": 0.0, "decay": 0.0, "backtracking": False}


def recurrent(logistic=False):
    """(n, t, 2) → outputs (n, 3) and all hidden states (n, t, 4), in plain NumPy."""
    squash = (lambda a: 1 / (1 + np.exp(-a))) if logistic else np.tanh

    def forward(p, x):
        h, states = 0.0, []
        for s in range(x.shape[1]):
            h = squash(x[:, s] @ p["W"] + (h @ p["U"] if s else 0.0) + p["b"])
            states.append(h)
        return h @ p["V"], np.stack(states, axis=1)

    rng = np.random.default_rng(0)
    params = {name: 0.7 * rng.standard_normal(shape) for name, shape in SHAPES.items()}
    return optim.Function(forward, params)


SHAPES = {"W": (2, 4), "U": (4, 4), "b": (4,), "V": (4, 3)}


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    return rng.standard_normal((15, 6, 2)), rng.standard_normal((15, 3))


def dense(model, x, t):
    """f, ∇f, G, J_hᵀJ_h/n and the states, from dense Jacobians."""
    theta, unravel = rmad.ravel(model)
    (z, h), lin = rmad.linearize(lambda flat: unravel(flat)(x), theta)
    columns = [lin.Jv(e) for e in np.eye(theta.size)]
    Jz, Jh = (np.stack([c[k].ravel() for c in columns], axis=1) for k in (0, 1))
    n = len(x)
    f, u = 0.5 * np.sum((z - t) ** 2) / n, ((z - t) / n).ravel()
    return f, Jz.T @ u, Jz.T @ Jz / n, Jh, h


@pytest.mark.parametrize("distance", ["squared", "cross-entropy"])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_step_solves_with_the_penalty_on_the_states(data, distance, scaled):
    x, t = data
    model, lam, mu = recurrent(logistic=distance == "cross-entropy"), 0.4, 0.3
    f, gradient, G, Jh, h = dense(model, x, t)
    second = np.ones(h.size) if distance == "squared" else 1 / (h * (1 - h)).ravel()
    D = Jh.T @ (second[:, None] * Jh) / len(x)
    theta = rmad.ravel(model)[0]
    opt = optim.HessianFree(
        model, nn.SquaredError(), damping=lam, structural=optim.StructuralDamping(mu, distance, scaled), **EXACT
    )
    info = opt.step(x, t)
    strength = lam * mu if scaled else mu
    delta = np.linalg.solve(G + strength * D + lam * np.eye(len(theta)), -gradient)
    np.testing.assert_allclose(rmad.ravel(model)[0], theta + info.step_size * delta, rtol=1e-6, atol=1e-8)
    assert info.loss == pytest.approx(f)  # f itself does not change
    assert info.gradient_norm == pytest.approx(np.linalg.norm(gradient))
    M = gradient @ delta + 0.5 * delta @ G @ delta  # the undamped model has neither penalty
    z = rmad.ravel(model)[1](theta + delta)(x)[0]
    assert info.reduction_ratio == pytest.approx((0.5 * np.sum((z - t) ** 2) / len(x) - f) / M, rel=1e-5)


def test_no_more_sweeps_than_without(data, monkeypatch):
    """No more expensive than the products of the original network; one push more, for ρ of the undamped model."""
    x, t = data
    sweeps = []
    for name in ("push", "pull"):
        sweep = getattr(optim.problem.shard.Plan, name)
        monkeypatch.setattr(
            optim.problem.shard.Plan,
            name,
            lambda plan, *at, name=name, sweep=sweep: (sweeps.append(name), sweep(plan, *at))[1],
        )
    counts = {}
    for structural in (None, optim.StructuralDamping(0.1)):
        whole = recurrent()
        model = whole if structural else optim.Function(lambda p, x, f=whole.forward: f(p, x)[0], whole.params)
        opt = optim.HessianFree(
            model, nn.SquaredError(), structural=structural, damping=0.5, **(EXACT | {"cg_iterations": 10})
        )
        opt.objective.threads = 1
        sweeps.clear()
        info = opt.step(x, t)
        counts[structural is None] = sweeps.count("push"), sweeps.count("pull"), info.products
    assert counts[True] == (10, 11, 10)
    assert counts[False] == (11, 11, 11)


def test_strength_zero_changes_nothing(data):
    x, t = data
    thetas = []
    for structural in (None, optim.StructuralDamping(0.0)):
        model = recurrent()
        plain = optim.Function(lambda p, x, f=model.forward: f(p, x)[0], model.params)
        opt = optim.HessianFree(model if structural else plain, nn.SquaredError(), structural=structural)
        for _ in range(3):
            opt.step(x, t)
        thetas.append(rmad.ravel(opt.model)[0])
    np.testing.assert_allclose(thetas[0], thetas[1], rtol=1e-10)


def test_the_states_change_less(data):
    """The purpose of structural damping: a stronger μ gives steps that move the hidden states less, for the same λ."""
    x, t = data
    moved = []
    for mu in (0.0, 0.1, 1.0, 10.0):
        model = recurrent()
        before = model(x)[1]
        structural = optim.StructuralDamping(mu, scaled=False)
        optim.HessianFree(model, nn.SquaredError(), damping=1e-3, structural=structural, **EXACT).step(x, t)
        moved.append(np.linalg.norm(model(x)[1] - before))
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 0.3 * moved[0]


def test_strength_follows_damping(data):
    x, t = data
    opt = optim.HessianFree(recurrent(), nn.SquaredError(), damping=1.0, structural=optim.StructuralDamping(0.5))
    for _ in range(5):
        info = opt.step(x, t)
        assert opt.structural_loss.strength == 0.5 * info.damping
    assert opt.damping != 1.0


def test_diagonals_account_for_it(data):
    """Section 11.4: the unbiased estimate does, the empirical Fisher does not."""
    x, t = data
    model = recurrent()
    objective = optim.Objective(model, StructuralLoss(nn.SquaredError(), "squared", 2.0), threads=1)
    q = objective.quadratic(x, t)
    expected = np.diag(q.ggn @ np.eye(objective.size))
    np.testing.assert_allclose(optim.ExactDiagonal().estimate(q, (0,)), expected, rtol=1e-10)
    draws = np.array([optim.UnbiasedDiagonal().estimate(q, (seed,)) for seed in range(300)])
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - expected), 4.5 * draws.std(axis=0) / np.sqrt(300) + 1e-12)
    plain = optim.Objective(model, StructuralLoss(nn.SquaredError(), "squared", 0.0)).quadratic(x, t)
    np.testing.assert_allclose(q.squared_gradients(), plain.squared_gradients())


@pytest.mark.parametrize("distance", ["squared", "cross-entropy"])
def test_in_chunks_and_on_threads(data, distance):
    x, t = data
    loss = StructuralLoss(nn.SquaredError(), distance, 0.7)
    v = np.random.default_rng(0).standard_normal(40)
    found = []
    for options in ({"threads": 1}, {"threads": 2, "shards": 2}, {"threads": 1, "cases_in_memory": 4}):
        q = optim.Objective(recurrent(logistic=True), loss, 0.1, **options).quadratic(x, t)
        found.append((q.ggn @ v, q.curvature_along(v)))
    for products, along in found[1:]:
        np.testing.assert_allclose(products, found[0][0], rtol=1e-12)
        np.testing.assert_allclose(along, found[0][1], rtol=1e-12)
    assert sum(found[0][1]) == pytest.approx(v @ found[0][0])
    assert len(found[0][1]) == 3  # outputs, states, l2


def test_several_layers_of_states_and_a_loss_that_is_not_diagonal(data):
    x = data[0]
    t = np.random.default_rng(0).integers(0, 3, len(x))
    inner = recurrent()

    def forward(p, x):
        z, h = inner.forward(p, x)
        return z, {"low": h, "up": np.tanh(z)}

    model = optim.Function(forward, inner.params)
    loss = StructuralLoss(nn.SoftmaxCrossEntropy(), "squared", 0.5)
    objective = optim.Objective(model, loss)
    theta, unravel = rmad.ravel(model)
    (z, _), lin = rmad.linearize(lambda flat: unravel(flat)(x), theta)
    v = np.random.default_rng(3).standard_normal(theta.size)
    Jz, Jh = lin.Jv(v)
    LJv = nn.SoftmaxCrossEntropy().hessian_product(z, t, Jz)
    expected = lin.JTu((LJv, {name: 0.5 * a / len(x) for name, a in Jh.items()}))
    np.testing.assert_allclose(objective.quadratic(x, t).ggn @ v, expected, rtol=1e-10)


def test_a_layer_of_nn(data):
    """nn.RNN's states as they come."""
    x, t = data
    x, t = x.astype(np.float32), t.astype(np.float32)

    class Net(nn.Module):
        def __init__(self, rng):
            self.hidden, self.out = nn.RNN(2, 8, rng=rng), nn.Linear(8, 3, rng=rng)

        def forward(self, x):
            h = self.hidden(x)
            return self.out(h[:, -1]), h

    opt = optim.HessianFree.preset("rnn", Net(np.random.default_rng(0)), nn.SquaredError())
    losses = [opt.step(x, t).loss for _ in range(10)]
    assert losses[-1] < 0.5 * losses[0]
    assert opt.objective.flat().dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: optim.StructuralDamping(-0.1), "mu must be ≥ 0, got -0.1"),
        (lambda m: optim.StructuralDamping(0.1, "cosine"), 'distance must be "squared" or "cross-entropy"'),
        (
            lambda m: optim.HessianFree(
                m, nn.SquaredError(), structural=optim.StructuralDamping(), curvature="hessian"
            ),
            'curvature must be "ggn"',
        ),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make(recurrent())


def test_models_and_states_that_do_not_fit_are_refused(data):
    x, t = data
    model = recurrent()
    bare = optim.Function(lambda p, x: model.forward(p, x)[0], model.params)
    opt = optim.HessianFree(bare, nn.SquaredError(), structural=optim.StructuralDamping())
    with pytest.raises(ValueError, match=r"needs a model that returns \(outputs, states\)"):
        opt.step(x, t)
    opt = optim.HessianFree(model, nn.SquaredError(), structural=optim.StructuralDamping(1.0, "cross-entropy"))
    with pytest.raises(ValueError, match=r"needs states in \[0, 1\], found -"):
        opt.step(x, t)
    above = optim.Function(lambda p, x: (model.forward(p, x)[0], 1.5 + 0 * model.forward(p, x)[1]), model.params)
    opt = optim.HessianFree(above, nn.SquaredError(), structural=optim.StructuralDamping(1.0, "cross-entropy"))
    with pytest.raises(ValueError, match=r"needs states in \[0, 1\], found 1.5 to 1.5"):
        opt.step(x, t)
