"""At a minimum rounding decides the reduction ratio: λ stays, and the optimizer follows when the problem changes."""

import math

import numpy as np
import pytest

import nn
import optim
from optim.parts import damping

WITH_DAMPING = {
    "HessianFree": lambda *a: optim.HessianFree(*a, damping=1.0),
    "HessianFree, damped ratio": lambda *a: optim.HessianFree(*a, damping=1.0, ratio="damped"),
    "HessianFree, plain steps": lambda *a: optim.HessianFree(*a, damping=1.0, line_search=False, backtracking=False),
    "HessianFree, diagonal damping": lambda *a: optim.HessianFree(*a, damping=optim.DiagonalDamping(1.0, kappa=0.1)),
    "HessianFree, exact Hessian": lambda *a: optim.HessianFree(*a, damping=1.0, curvature="hessian"),
    "Krylov subspace": lambda *a: optim.HessianFree(*a, damping=1.0, direction=optim.KrylovSubspace(5)),
    "momentum": lambda *a: optim.HessianFree.preset("momentum", *a, damping=1.0, l2=0.0),
    "SGN": lambda *a: optim.SGN(*a),
    "SGN, plain steps": lambda *a: optim.SGN(*a, line_search=False),
    "SGN, momentum": lambda *a: optim.SGN(*a, momentum=0.5),
    "LevenbergMarquardt": lambda *a: optim.LevenbergMarquardt(*a),
    "LevenbergMarquardt, CG": lambda *a: optim.LevenbergMarquardt(*a, solver="cg"),
    "CurveBall": lambda *a: optim.CurveBall(*a),
    "KFAC": lambda *a: optim.KFAC(*a, adapt_every=1),
    "KFLR": lambda *a: optim.KFLR(*a, adapt_every=1),
    "KFRA": lambda *a: optim.KFRA(*a, adapt_every=1),
    "EKFAC": lambda *a: optim.EKFAC(*a, adapt_every=1),
    "KFLR, momentum": lambda *a: optim.KFLR(*a, adapt_every=1, momentum=True),
}


def regression(dtype, noise):
    """A linear map that fits t up to the noise, which is 0 for an exact fit; targets far from zero."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 5))
    t = x @ rng.standard_normal((5, 2)) + 1 + noise * rng.standard_normal((100, 2))
    model = nn.Linear(5, 2, rng=np.random.default_rng(1))
    model.weight, model.bias = model.weight.astype(dtype), model.bias.astype(dtype)
    return model, x.astype(dtype), t.astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "noise"),
    [
        (np.float32, 0.0),
        pytest.param(np.float64, 0.1, marks=pytest.mark.slow),
        pytest.param(np.float64, 0.0, marks=pytest.mark.slow),
        pytest.param(np.float32, 0.1, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", WITH_DAMPING)
def test_damping_stays_at_a_minimum_and_the_optimizer_follows_new_targets(name, dtype, noise):
    model, x, t = regression(dtype, noise)
    opt = WITH_DAMPING[name](model, nn.SquaredError())
    start, seen = opt.damping, []
    for _ in range(40):
        opt.step(x, t)
        seen.append(opt.damping)
    solved = opt.objective.value(x, t)
    for _ in range(20):
        opt.step(x, t + 1)
        seen.append(opt.damping)
    assert max(seen) <= 100 * start
    assert opt.objective.value(x, t + 1) < solved + 0.02  # from 1 above


def test_a_trust_region_keeps_its_radius_at_a_minimum():
    model, x, t = regression(np.float64, 0.1)
    opt = optim.HessianFree(model, nn.SquaredError(), direction=optim.SteihaugToint(1.0))
    for _ in range(60):
        opt.step(x, t)
    assert opt.radius >= 0.1
    for _ in range(10):
        opt.step(x, t + 1)
    assert opt.objective.value(x, t + 1) < 0.02


@pytest.mark.parametrize("name", ["HessianFree", "SGN", "LevenbergMarquardt", "CurveBall", "KFAC"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_damping_is_bounded_on_classes_that_a_network_separates(name, dtype):
    """There f falls towards 0 without a minimum, in the end by less than its rounding."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3)).astype(dtype)
    t = (x[:, 0] > 0).astype(int)
    x[:, 0] += np.where(t, 1, -1)
    model, _, _ = regression(dtype, 0.0)
    model.weight, model.bias = np.zeros((3, 2), dtype), np.zeros(2, dtype)
    opt = WITH_DAMPING[name](model, nn.SoftmaxCrossEntropy())
    start = opt.damping
    seen = [opt.damping for _ in range(100) if opt.step(x, t)]
    assert max(seen) <= 1e6 * start


def test_rounding_decides_only_small_changes():
    def decided_by_rounding(actual, predicted, loss, delta, theta):
        return damping.decided_by_rounding(actual, predicted, loss, delta @ delta, theta @ theta, theta.dtype)

    theta, eps = np.ones(4), np.finfo(float).eps
    step = 0.1 * theta
    assert decided_by_rounding(-1e-17, -8 * eps, 1.0, step, theta)
    assert decided_by_rounding(1e-15, -8 * eps, 1.0, step, theta)
    assert not decided_by_rounding(-1e-17, -9 * eps, 1.0, step, theta)
    assert not decided_by_rounding(0.1, -8 * eps, 1.0, step, theta)  # f rises: the model is wrong
    assert decided_by_rounding(0.1, -1.0, 1.0, 8 * eps * theta, theta)  # no more of θ than its rounding
    for wrong in (math.nan, math.inf):
        assert not decided_by_rounding(wrong, 0.0, 1.0, step, theta)
        assert not decided_by_rounding(0.0, wrong, 1.0, step, theta)
        assert not decided_by_rounding(0.0, wrong, 1.0, 0 * theta, theta)
    assert decided_by_rounding(0.0, 0.0, 0.0, 0 * theta, 0 * theta)
    assert not decided_by_rounding(-1e-7, -1e-7, 1.0, step, theta)
    assert decided_by_rounding(-1e-7, -1e-7, 1.0, step.astype("f4"), theta.astype("f4"))


@pytest.mark.parametrize("relation", ["S′ in S", "disjoint", "equal"])
@pytest.mark.parametrize("name", ["HessianFree", "KFAC", "KFLR", "KFRA"])
def test_damping_stays_within_its_bounds_whatever_the_curvature_batch(name, relation):
    """Solved on batches of half of the cases, then with other targets."""
    model, x, t = regression(np.float64, 0.1)
    opt = WITH_DAMPING[name](model, nn.SquaredError())
    start, seen = opt.damping, []
    least = getattr(opt, "damping_min", 1e-6)
    for k in range(90):
        order, shift = np.random.default_rng([7, k]).permutation(len(x)), k >= 60
        S = order[:50]
        S_c = {"S′ in S": S[:25], "disjoint": order[50:], "equal": S}[relation]
        opt.step(x[S], t[S] + shift, curvature_batch=(x[S_c], t[S_c] + shift))
        seen.append(opt.damping)
    assert least <= min(seen)
    assert max(seen) <= 100 * start
    assert opt.objective.value(x, t + 1) < 0.02


@pytest.mark.parametrize(
    "hyper",
    [
        {"damping": optim.DiagonalDamping(1.0), "direction": optim.ConjugateGradient()},
        {"direction": optim.SteihaugToint(1.0)},
    ],
    ids=["diagonal damping", "trust region"],
)
def test_what_a_solved_problem_did_to_damping_is_undone(hyper):
    """Batches that disagree raise λ until f is rounding, where D is 0. Then the problem changes, and D is large."""
    model, x, t = regression(np.float32, 0.0)
    opt = optim.HessianFree(model, nn.SquaredError(), **hyper)
    damping_or_radius = []
    for k in range(110):
        order, shift = np.random.default_rng([7, k]).permutation(len(x)), np.float32(k >= 70)
        S, S_c = order[:30], order[30:40]
        opt.step(x[S], t[S] + shift, curvature_batch=(x[S_c], t[S_c] + shift))
        damping_or_radius.append(opt.damping or 1 / opt.radius)
    assert 100 < max(damping_or_radius[:70]) <= 1.01e6
    assert opt.objective.value(x, t + 1) < 0.02  # from 1


@pytest.mark.parametrize("name", WITH_DAMPING)
def test_a_damping_that_makes_every_step_rounding_comes_down(name):
    model, x, t = regression(np.float32, 0.1)
    opt = WITH_DAMPING[name](model, nn.SquaredError())
    start = opt.damping
    opt.step(x, t)
    opt.damping, seen = 1e9 * start, []
    for _ in range(6):
        opt.step(x, t + 1)
        seen.append(opt.damping)
    assert max(seen) <= 1e9 * start
    assert seen[-1] < 1e9 * start
    assert opt.objective.value(x, t + 1) > 0.05


def test_bounds_of_damping_and_of_radius():
    assert damping.raised(1.0, 1.5, 1.0) == 1.5
    assert damping.raised(0.9e6, 1.5, 1.0) == 1e6
    assert damping.raised(2e6, 1.5, 1.0) == 2e6  # as a user set it
    assert damping.raised(2e6, 1.5, 0.0) == 3e6
    assert damping.relaxed(9.0, 2 / 3, 1.0) == 6.0
    assert damping.relaxed(1.2, 2 / 3, 1.0) == 1.0
    assert damping.relaxed(0.5, 2 / 3, 1.0) == 0.5
    ball = optim.SteihaugToint(2.0)
    assert ball.next_radius(2.4e-6, math.nan, True) == 2e-6
    assert ball.next_radius(1e-7, 0.0, True) == 1e-7
    assert ball.relaxed_radius(1.0) == 1.5
    assert ball.relaxed_radius(1.9) == 2.0
    assert ball.relaxed_radius(5.0) == 5.0
