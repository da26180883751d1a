"""Algorithm 3 against dense linear algebra, and each of its parts in use."""

import math
from itertools import pairwise

import numpy as np
import pytest

import optim
import optim.parts.directions
from optim.problem.quadratic import Quadratic

EXACT = {"preconditioner": False, "cg_iterations": 200, "cg_tolerance": 0.0, "decay": 0.0}


@pytest.fixture
def runs_of_cg(monkeypatch):
    """(arguments, result) of every run of CG."""
    seen = []
    pcg = optim.parts.directions.pcg

    def spy(product, b, x0, inverse_P, **options):
        result = pcg(product, b, x0, inverse_P, **options)
        seen.append(({"b": b, "x0": x0, "inverse_P": inverse_P, **options}, result))
        return result

    monkeypatch.setattr(optim.parts.directions, "pcg", spy)
    return seen


@pytest.fixture
def quadratic(random_quadratic):
    return random_quadratic(20)


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_newton_step_on_a_quadratic(quadratic, curvature):
    model, loss, H, c, theta = quadratic
    info = optim.HessianFree(model, loss, damping=0.0, curvature=curvature, **EXACT).step(None, None)
    np.testing.assert_allclose(model.params["theta"], np.linalg.solve(H, c), rtol=1e-9)
    assert info.reduction_ratio == pytest.approx(1.0)
    assert info.step_size == 1.0
    assert info.damping == 0.0
    assert info.loss == pytest.approx(0.5 * theta @ H @ theta - c @ theta)
    assert info.gradient_norm == pytest.approx(np.linalg.norm(H @ theta - c))


def test_step_is_the_damped_newton_step(problem):
    theta, lam, l2 = problem.theta, 0.3, 0.01
    f, gradient, G = problem.dense()
    opt = optim.HessianFree(problem.model, problem.loss, damping=lam, l2=l2, backtracking=False, **EXACT)
    info = opt.step(problem.x, problem.t)
    gradient, B = gradient + l2 * theta, G + l2 * np.eye(theta.size)
    delta = np.linalg.solve(B + lam * np.eye(theta.size), -gradient)
    np.testing.assert_allclose(problem.theta, theta + info.step_size * delta, rtol=1e-7, atol=1e-9)
    M = gradient @ delta + 0.5 * delta @ B @ delta  # undamped
    actual = problem.f(theta + delta) + 0.5 * l2 * np.sum((theta + delta) ** 2) - f - 0.5 * l2 * theta @ theta
    assert info.reduction_ratio == pytest.approx(actual / M, rel=1e-6)


def test_damping_follows_the_ratio(problem):
    opt = optim.HessianFree(problem.model, problem.loss, damping=1.0, damping_min=1e-2)
    lam = 1.0
    for _ in range(25):
        info = opt.step(problem.x, problem.t)
        assert info.damping == lam
        rho = info.reduction_ratio
        lam = max(lam * 2 / 3, 1e-2) if rho > 3 / 4 else lam * 3 / 2 if rho < 1 / 4 else lam
        assert opt.damping == pytest.approx(lam, rel=1e-15)
        lam = opt.damping
    assert lam == 1e-2


def test_preconditioner_is_the_empirical_fisher_diagonal(problem, runs_of_cg):
    n, u = len(problem.x), []
    for k in range(n):
        u.append(problem.dense(problem.x[k : k + 1], problem.t[k : k + 1])[1])
    opt = optim.HessianFree(problem.model, problem.loss, damping=0.2, l2=0.1)
    opt.step(problem.x, problem.t)
    expected = (np.mean(np.square(u), axis=0) + 0.2 + 0.1) ** -0.75
    np.testing.assert_allclose(runs_of_cg[0][0]["inverse_P"], expected, rtol=1e-10)
    opt.preconditioner = False
    opt.step(problem.x, problem.t)
    assert runs_of_cg[1][0]["inverse_P"] is None


def test_warm_start_is_the_decayed_last_iterate(problem, runs_of_cg):
    opt = optim.HessianFree(problem.model, problem.loss, decay=0.9, cg_iterations=12)
    for _ in range(4):
        opt.step(problem.x, problem.t)
    assert runs_of_cg[0][0]["x0"] is None
    for (_, before), (now, _) in pairwise(runs_of_cg):
        np.testing.assert_array_equal(now["x0"], 0.9 * before.x)
    opt.decay = 0.0
    opt.step(problem.x, problem.t)
    assert runs_of_cg[-1][0]["x0"] is None


def test_chosen_iterate_is_the_best_on_the_way_back(make_problem, runs_of_cg):
    earlier = 0
    for seed in range(6):
        problem = make_problem(seed=seed)
        opt = optim.HessianFree(problem.model, problem.loss, damping=1e-5, cg_iterations=60, damping_min=0.0)
        for _ in range(4):
            theta = problem.theta
            info = opt.step(problem.x, problem.t)
            values = [problem.f(theta + it.x) for it in runs_of_cg[-1][1].iterates]
            k = len(values) - 1
            while k > 0 and values[k - 1] < values[k]:
                k -= 1
            earlier += k < len(values) - 1
            delta = runs_of_cg[-1][1].iterates[k].x
            np.testing.assert_allclose(problem.theta, theta + info.step_size * delta, rtol=1e-12, atol=1e-14)
            assert problem.f(theta + delta) == pytest.approx(values[k])
    assert earlier > 0  # the table above is not empty of the case it is about


def test_backtracking_on_a_batch_of_its_own(make_problem, runs_of_cg):
    problem, other = make_problem(), make_problem(seed=1)
    opt = optim.HessianFree(problem.model, problem.loss, damping=1e-4, cg_iterations=40)
    theta = problem.theta
    opt.step(problem.x, problem.t, backtracking_batch=(other.x, other.t))
    values = [problem.f(theta + it.x, other.x, other.t) for it in runs_of_cg[0][1].iterates]
    k = len(values) - 1
    while k > 0 and values[k - 1] < values[k]:
        k -= 1
    step = problem.theta - theta
    delta = runs_of_cg[0][1].iterates[k].x
    assert step @ delta == pytest.approx(np.linalg.norm(step) * np.linalg.norm(delta))  # along this one
    assert problem.f(problem.theta) < problem.f(theta)  # the line search is on (x, t)


@pytest.mark.parametrize("on_curvature", [False, True])
def test_curvature_batch(problem, runs_of_cg, on_curvature):
    """Gradient on S, curvature on S′, ρ on S or, as in Martens' code, on S′: section 12.1."""
    theta, lam = problem.theta, 0.5
    xc, tc = problem.x[:10], problem.t[:10]
    _, gradient, _ = problem.dense()
    _, _, G_c = problem.dense(xc, tc)
    x, t = (xc, tc) if on_curvature else (problem.x, problem.t)
    f = problem.f(theta, x, t)
    opt = optim.HessianFree(problem.model, problem.loss, damping=lam, backtracking=False, **EXACT)
    ratio_batch = (xc, tc) if on_curvature else None
    info = opt.step(problem.x, problem.t, curvature_batch=(xc, tc), ratio_batch=ratio_batch)
    np.testing.assert_allclose(runs_of_cg[0][0]["b"], -gradient, rtol=1e-12)
    delta = np.linalg.solve(G_c + lam * np.eye(theta.size), -gradient)
    np.testing.assert_allclose(runs_of_cg[0][1].x, delta, rtol=1e-6, atol=1e-9)
    actual, M = problem.f(theta + delta, x, t) - f, gradient @ delta + 0.5 * delta @ G_c @ delta
    expected = -math.inf if actual > 0 else actual / M
    assert info.reduction_ratio == pytest.approx(expected, rel=1e-6)


def test_loss_that_rose_on_the_ratio_batch_counts_as_minus_infinity(problem):
    """The gradient and the line search see one batch, ρ another that pulls the other way."""
    opt = optim.HessianFree(problem.model, problem.loss, damping=0.1)
    other = problem.x, 2 * problem.model(problem.x) - problem.t
    info = opt.step(problem.x, problem.t, curvature_batch=other, ratio_batch=other)
    assert info.reduction_ratio == -math.inf
    assert not info.rejected
    assert opt.damping == pytest.approx(0.15)


@pytest.mark.parametrize(
    "options", [{}, {"backtracking": False, "decay": 1.0}, {"curvature": "hessian", "damping": 5.0}]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_never_raises_the_objective_on_its_batch(make_problem, options, dtype):
    problem = make_problem(dtype, n=100)
    rng = np.random.default_rng(0)
    opt = optim.HessianFree(problem.model, problem.loss, cg_iterations=8, l2=1e-3, **options)
    for _ in range(25):
        S, S_c = rng.permutation(100)[:20], rng.permutation(100)[:10]
        before = opt.objective.value(problem.x[S], problem.t[S])
        info = opt.step(problem.x[S], problem.t[S], curvature_batch=(problem.x[S_c], problem.t[S_c]))
        after = opt.objective.value(problem.x[S], problem.t[S])
        assert info.loss == pytest.approx(before, rel=1e-6)
        assert after <= before * (1 + 8 * np.finfo(dtype).eps)  # the parameters are rounded once more


def test_every_product_is_counted(problem, monkeypatch):
    made = []
    monkeypatch.setattr(
        Quadratic, "ggn_product", lambda q, v, out, f=Quadratic.ggn_product: (made.append(1), f(q, v, out))[1]
    )
    opt = optim.HessianFree(problem.model, problem.loss, cg_iterations=9)
    total = 0
    for k in range(4):
        info = opt.step(problem.x, problem.t)
        assert info.products == info.cg_iterations + (k > 0)  # one more for the residual of the warm start
        total += info.products
        assert total == len(made)


def test_it_learns_in_a_few_steps(make_problem):
    problem = make_problem(np.float32)
    opt = optim.HessianFree(problem.model, problem.loss, damping=0.1)
    losses = [opt.step(problem.x, problem.t).loss for _ in range(40)]
    assert losses[-1] < 1e-3 * losses[0]
    assert problem.theta.dtype == np.float32


def test_at_the_minimum_nothing_is_rejected(quadratic):
    model, loss, H, c, _ = quadratic
    opt = optim.HessianFree(model, loss, damping=0.1, preconditioner=False)
    for _ in range(60):
        info = opt.step(None, None)
        assert not info.rejected
    np.testing.assert_allclose(model.params["theta"], np.linalg.solve(H, c), rtol=1e-6)


def test_zero_gradient_is_convergence(make_quadratic):
    model, loss = make_quadratic(np.eye(2), np.ones(2), np.ones(2))
    opt = optim.HessianFree(model, loss, preconditioner=False)
    for _ in range(12):
        info = opt.step(None, None)
        assert (info.rejected, info.step_size) == (False, 0.0)
        assert info.reason == "converged: the gradient is zero"
    assert opt.damping == 1.0


def test_old_arrays_are_not_written_into(problem):
    opt = optim.HessianFree(problem.model, problem.loss)
    held = problem.model.params
    before = {name: a.copy() for name, a in held.items()}
    for _ in range(3):
        opt.step(problem.x, problem.t)
    for name, a in held.items():
        np.testing.assert_array_equal(a, before[name])


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"damping": -1.0}, "damping must be ≥ 1e-06, got -1.0"),
        ({"damping": 0.1, "damping_min": 0.2}, "damping must be ≥ 0.2, got 0.1"),
        ({"damping_min": -1.0}, "damping_min must be ≥ 0, got -1.0"),
        ({"cg_iterations": 0}, "cg_iterations must be ≥ 1, got 0"),
        ({"cg_tolerance": -1e-3}, "cg_tolerance must be ≥ 0, got -0.001"),
        ({"decay": 1.1}, "decay must be ≤ 1, got 1.1"),
        ({"decay": -0.1}, "decay must be ≥ 0, got -0.1"),
        ({"curvature": "fisher"}, 'curvature must be "ggn" or "hessian", got \'fisher\''),
        ({"l2": float("inf")}, "l2 must be ≥ 0, got inf"),
    ],
)
def test_hyper_parameters_out_of_range(problem, hyper, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        optim.HessianFree(problem.model, problem.loss, **hyper)
