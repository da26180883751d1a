"""SGN against dense linear algebra and its own algorithms written out."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import nn
import optim
import optim.sgn
import rmad
from optim import schedules

paper = partial(optim.SGN.preset, "paper")
EXACT = {"cg_iterations": 300, "cg_tolerance": 0.0, "damping": 0.0, "damping_min": 0.0}


def test_one_cg_step_is_a_scaled_gradient_step(problem):
    theta, lam = problem.theta, 0.1
    _, u, G = problem.dense()
    info = paper(problem.model, problem.loss, damping=lam, cg_iterations=1).step(problem.x, problem.t)
    scale = u @ u / (u @ G @ u + lam * u @ u)
    np.testing.assert_allclose(problem.theta, theta - info.step_size * scale * u, rtol=1e-11, atol=1e-14)
    assert info.cg_iterations == info.products == 1


def test_many_cg_steps_on_least_squares_are_the_gauss_newton_step():
    """A linear model: the step of numpy.linalg.lstsq, at once."""
    rng = np.random.default_rng(0)
    x, t, W = rng.standard_normal((40, 5)), rng.standard_normal((40, 2)), rng.standard_normal((5, 2))
    model = optim.Function(lambda p, x: x @ p["W"], {"W": W})
    info = paper(model, lambda z, t: np.sum((z - t) ** 2) / len(t), **EXACT).step(x, t)
    np.testing.assert_allclose(model.params["W"], np.linalg.lstsq(x, t)[0], rtol=1e-9)
    assert info.step_size == 1
    assert info.reduction_ratio == pytest.approx(1.0)


def test_gauss_newton_step_of_a_net(make_problem):
    """Overdetermined, J of full rank: Δθ is lstsq's solution of J Δθ = −r."""
    problem = make_problem(n=60)
    theta, unravel = rmad.ravel(problem.model)
    z, lin = rmad.linearize(lambda flat: unravel(flat)(problem.x), theta)
    J = np.stack([lin.Jv(e).ravel() for e in np.eye(theta.size)], axis=1)
    expected = np.linalg.lstsq(J, (problem.t - z).ravel())[0]
    opt = paper(problem.model, problem.loss, line_search=False, trust_region=False, **EXACT)
    opt.step(problem.x, problem.t)
    np.testing.assert_allclose(problem.theta - theta, expected, rtol=1e-4, atol=1e-6)


def test_steps_against_the_algorithms(problem):
    """Algorithms 1 and 2, the trust region before the line search, Armijo with the bound of the tried α."""
    l2, k = 1e-4, 12
    opt = paper(problem.model, problem.loss, damping=1e-6, cg_iterations=k, l2=l2)
    lam, halved = 1e-6, 0
    f, dense = problem.penalized(l2)
    for _ in range(25):
        theta = problem.theta
        u, G = dense()
        A, delta, r = G + lam * np.eye(theta.size), np.zeros_like(theta), u.copy()
        p = -r
        for _ in range(k):
            alpha = r @ r / (p @ A @ p)
            delta, r, before = delta + alpha * p, r + alpha * A @ p, r @ r
            p = -r + r @ r / before * p
        info = opt.step(problem.x, problem.t)
        M = u @ delta + delta @ G @ delta / 2
        rho = (f(theta + delta) - f(theta)) / M if f(theta + delta) <= f(theta) else -math.inf
        assert info.damping == pytest.approx(lam, rel=1e-14)
        assert info.reduction_ratio == pytest.approx(rho, rel=1e-5)
        lam = max(lam * 2 / 3, 1e-6) if rho > 3 / 4 else lam * 3 / 2 if rho < 1 / 4 else lam
        alpha = 1.0
        while f(theta + alpha * delta) > f(theta) + 1e-4 * alpha * (u @ delta):
            alpha, halved = alpha / 2, halved + 1
        assert info.step_size == alpha
        np.testing.assert_allclose(problem.theta, theta + alpha * delta, rtol=1e-7, atol=1e-9)
    assert halved > 0


def test_armijo_bound_shrinks_with_the_step(make_quadratic):
    """f = ½θ² with a curvature that is 2.4 × too small: half the step passes only the bound of half the step."""
    model, loss = make_quadratic(np.eye(1), np.zeros(1), np.ones(1))
    opt = paper(model, loss, lr=1.99999, damping=0.0, damping_min=0.0)
    info = opt.step(None)
    assert info.step_size == pytest.approx(1.99999 / 2)  # f(1.99999 Δ) < f(0), but by less than c · slope


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (schedules.Constant(1e-2), 1e-2),
        (schedules.Linear(1e-2, steps=10, end=1e-4), 1e-4),
        (schedules.Cosine(1e-2, steps=10, end=1e-4), 1e-4),
    ],
)
def test_damping_may_follow_a_schedule(problem, schedule, last):
    opt = paper(problem.model, problem.loss, damping=schedule)
    for k in range(12):
        assert opt.step(problem.x, problem.t).damping == schedule(k)
    assert opt.damping == last


def test_fixed_damping_without_trust_region(problem):
    opt = paper(problem.model, problem.loss, damping=1e-2, trust_region=False)
    assert {opt.step(problem.x, problem.t).damping for _ in range(5)} == {1e-2}


def test_momentum_averages_the_gradient(problem, monkeypatch):
    seen = []
    pcg = optim.sgn.pcg
    monkeypatch.setattr(optim.sgn, "pcg", lambda product, b, *a, **k: seen.append(-b) or pcg(product, b, *a, **k))
    opt = paper(problem.model, problem.loss, momentum=0.8)
    m = 0
    for k in range(4):
        m = 0.8 * m + 0.2 * problem.dense()[1]
        opt.step(problem.x, problem.t)
        np.testing.assert_allclose(seen[k], m / (1 - 0.8 ** (k + 1)), rtol=1e-10)


def test_preconditioner(problem, monkeypatch):
    seen = []
    pcg = optim.sgn.pcg
    monkeypatch.setattr(optim.sgn, "pcg", lambda product, b, x0, P, **k: seen.append(P) or pcg(product, b, x0, P, **k))
    _, u, _ = problem.dense()
    opt = paper(problem.model, problem.loss, damping=0.1, preconditioner=True, preconditioner_exponent=0.5)
    opt.step(problem.x, problem.t)
    np.testing.assert_allclose(seen[0], (u**2 + 0.1) ** -0.5, rtol=1e-10)


def test_number_of_cg_steps_stays_unless_asked(problem):
    opt = paper(problem.model, problem.loss, cg_iterations=6, cg_tolerance=0.0)
    assert {opt.step(problem.x, problem.t).cg_iterations for _ in range(15)} == {6}


def test_number_of_cg_steps_follows_the_ratio(problem):
    opt = paper(problem.model, problem.loss, cg_iterations=9, adapt_cg=True, cg_tolerance=0.0)
    steps, used = 3, set()
    for _ in range(25):
        info = opt.step(problem.x, problem.t)
        assert info.cg_iterations == steps
        used.add(steps)
        if info.reduction_ratio > 3 / 4:
            steps = min(math.ceil(1.5 * steps), 9)
        elif info.reduction_ratio < 1 / 4:
            steps = max(2 * steps // 3, 1)
    assert len(used) > 2


def test_cg_ends_at_the_tolerance(problem):
    info = paper(problem.model, problem.loss, cg_iterations=300, cg_tolerance=1e-3).step(problem.x, problem.t)
    assert info.reason == "residual"
    assert 0 < info.cg_iterations < 100


def test_loss_never_rises_on_its_batch(problem):
    opt = paper(problem.model, problem.loss, damping=1e-6, cg_iterations=50)
    losses = [opt.step(problem.x, problem.t).loss for _ in range(40)]
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] < 1e-2 * losses[0]


def test_at_a_minimum_it_stays(make_quadratic):
    model, loss = make_quadratic(np.eye(2), np.zeros(2), np.zeros(2))
    info = paper(model, loss).step(None)
    assert info.reason == "converged: the gradient is zero"
    assert not info.rejected


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"damping": -1.0}, "damping must be ≥ 0, got -1.0"),
        ({"damping": 1e-7}, "damping must be ≥ 1e-06, got 1e-07"),
        ({"damping_min": -1.0}, "damping_min must be ≥ 0, got -1.0"),
        ({"cg_iterations": 0}, "cg_iterations must be ≥ 1, got 0"),
        ({"cg_tolerance": -1.0}, "cg_tolerance must be ≥ 0, got -1.0"),
        ({"lr": 0.0}, "lr must be > 0, got 0.0"),
        ({"momentum": 1.0}, "momentum must be ≥ 0 and < 1, got 1.0"),
        ({"preconditioner_exponent": 1.5}, "preconditioner_exponent must be ≤ 1, got 1.5"),
        ({"damping": lambda k: -1.0}, "damping at update 0 must be ≥ 0, got -1.0"),
    ],
)
def test_hyper_parameters_out_of_range(problem, hyper, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        paper(problem.model, problem.loss, **hyper)


class Net:
    """Data and a small net for the defaults."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((200, 6), dtype=np.float32)
        self.t = np.tanh(self.x[:, :3] @ rng.standard_normal((3, 2), dtype=np.float32))
        self.model = nn.models.mlp((6, 5, 2), rng=np.random.default_rng(seed))

    def run(self, opt, first=0, last=20):
        return [opt.step(self.x[k % 4 :: 4], self.t[k % 4 :: 4]) for k in range(first, last)]


def squared_weights():
    """No product of the parameter itself with an activation, so no Kronecker block."""
    return optim.Function(lambda p, x: x @ (p["W"] * p["W"]), {"W": np.full((6, 2), 0.1, np.float32)})


def test_defaults_are_factors_two_steps_and_more_damping():
    net = Net()
    opt = optim.SGN(net.model, nn.SquaredError())
    infos = net.run(opt, last=60)
    said = "Kronecker factors, at most 2 CG steps, damping not below 0.001"
    assert infos[0].choice == f"the first batch: {said}"
    assert {info.choice for info in infos[1:]} == {f"batches change: {said}"}
    assert max(info.cg_iterations for info in infos) == 2
    assert infos[0].damping == 1e-2
    assert min(info.damping for info in infos) >= 1e-3
    assert opt.factors is not None


def test_factors_precondition_the_two_steps():
    """On inputs of several scales, next to the same method without them."""
    last = []
    for hyper in ({}, {"preconditioner": False, "cg_iterations": 2, "damping": 1e-2, "damping_min": 1e-3}):
        net = Net()
        net.x *= np.logspace(-1.5, 1, 6, dtype=np.float32)
        last.append(net.run(optim.SGN(net.model, nn.SquaredError(), **hyper), last=60)[-1].loss)
    assert last[0] < last[1] / 2


@pytest.mark.parametrize(
    ("hyper", "missing"),
    [
        ({"cg_iterations": 4}, "CG steps"),
        ({"preconditioner": optim.KroneckerPreconditioner()}, "Kronecker"),
        ({"damping_min": 1e-5}, "damping"),
        ({"damping": schedules.Constant(1e-2)}, "damping"),
    ],
)
def test_what_is_given_is_left_alone(hyper, missing):
    net = Net()
    info = net.run(optim.SGN(net.model, nn.SquaredError(), **hyper), last=5)[-1]
    assert missing not in info.choice
    assert info.choice.count(",") == 1
    assert info.cg_iterations == (4 if "cg_iterations" in hyper else 2)


def test_a_given_damping_below_the_floor_is_the_floor():
    net = Net()
    assert net.run(optim.SGN(net.model, nn.SquaredError(), damping=1e-4))[-1].damping >= 1e-4
    assert optim.SGN(net.model, nn.SquaredError(), damping=1e-4)._least == 1e-4
    assert optim.SGN(net.model, nn.SquaredError(), damping=0.0)._least == 1e-6


def test_without_a_preconditioner_it_is_the_method_of_the_paper():
    a, b = Net(), Net()
    open_, published = optim.SGN(a.model, nn.SquaredError(), preconditioner=False), paper(b.model, nn.SquaredError())
    assert [i.loss for i in a.run(open_)] == [i.loss for i in b.run(published)]
    assert not {i.choice for i in b.run(published)} - {""}


def test_what_does_not_fit_falls_back_and_says_so():
    net = Net()
    opt = optim.SGN(squared_weights(), nn.SquaredError())
    infos = net.run(opt)
    assert infos[0].choice.startswith(
        "the first batch: a diagonal preconditioner (no parameter has a Kronecker block), at most 10 CG steps"
    )
    assert (infos[0].damping, opt._least) == (1e-3, 1e-6)
    assert max(info.cg_iterations for info in infos) > 2
    assert infos[-4].loss < infos[0].loss


def test_an_error_of_the_model_is_raised_and_nothing_falls_back():
    opt = optim.SGN(Net().model, nn.SquaredError())
    with pytest.raises(ValueError, match="features"):
        opt.step(np.ones((5, 3), np.float32), np.ones((5, 2), np.float32))
    assert opt.policy.changing.kind == 0


def test_the_same_small_batch_again_is_a_problem_of_the_paper():
    """Where nothing changes there is no noise to average: no preconditioner, 10 CG steps, ρ from 1e-3."""
    net = Net()
    x, t = net.x[:20], net.t[:20]
    opt = optim.SGN(net.model, nn.SquaredError())
    assert opt.step(x, t).choice.startswith("the first batch: Kronecker factors")
    published = paper(Net().model, nn.SquaredError())
    published.objective.assign(opt.objective.flat())
    for _ in range(8):
        info, theirs = opt.step(x.copy(), t.copy()), published.step(x, t)
        assert (info.loss, info.damping, info.cg_iterations) == (theirs.loss, theirs.damping, theirs.cg_iterations)
        assert info.choice == "the same batch again: no preconditioner, at most 10 CG steps, damping not below 1e-06"
    assert opt.step(net.x[20:40], net.t[20:40]).damping == opt.numbers.damping_min


@pytest.mark.parametrize("make", [lambda: Net(3).model, squared_weights])
def test_a_run_with_defaults_resumes_bit_for_bit(make):
    net = Net()
    whole, half, again = (optim.SGN(make(), nn.SquaredError()) for _ in range(3))
    expected = net.run(whole, 0, 11)
    net.run(half, 0, 6)
    again.objective.assign(half.objective.flat())
    again.load_state_dict(half.state_dict())
    assert [i.loss for i in net.run(again, 6, 11)] == [i.loss for i in expected[6:]]
    assert np.array_equal(again.objective.flat(), whole.objective.flat())


def test_a_preset_that_is_none_is_refused():
    with pytest.raises(ValueError, match="preset must be one of paper, got 'papers'"):
        optim.SGN.preset("papers", Net().model, nn.SquaredError())
