"""BFGS and L-BFGS are SciPy's."""

import numpy as np
import pytest
from scipy.optimize import minimize

import optim


def function(problem):
    def f(theta):
        before = problem.theta
        opt.objective.assign(theta)
        value, gradient = opt.objective.value_and_gradient(problem.x, problem.t)
        opt.objective.assign(before)
        return value, gradient

    opt = optim.SGD(problem.model, problem.loss, 1.0)
    return f


def test_lbfgs_is_scipys(make_problem):
    ours, theirs = make_problem(), make_problem()
    opt = optim.LBFGS(ours.model, ours.loss, iterations=15, memory=5)
    info = opt.step(ours.x, ours.t)
    options = {"maxiter": 15, "maxcor": 5, "gtol": 1e-8, "ftol": 0.0}
    result = minimize(function(theirs), theirs.theta, jac=True, method="L-BFGS-B", options=options)
    np.testing.assert_array_equal(ours.theta, result.x)
    assert opt.evaluations == result.nfev
    assert info.loss == pytest.approx(theirs.dense()[0])
    assert info.gradient_norm == pytest.approx(np.linalg.norm(theirs.dense()[1]))
    assert info.reason == str(result.message)


def test_bfgs_in_one_step_is_scipys(make_problem):
    ours, theirs = make_problem(), make_problem()
    optim.BFGS(ours.model, ours.loss, iterations=12).step(ours.x, ours.t)
    result = minimize(function(theirs), theirs.theta, jac=True, method="BFGS", options={"maxiter": 12, "gtol": 1e-8})
    np.testing.assert_array_equal(ours.theta, result.x)


def test_bfgs_goes_on_from_its_inverse_hessian(make_quadratic):
    """One iteration a step, and yet far faster than gradient descent; the state continues it."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    H, c = (Q * np.geomspace(1, 1e3, 6)) @ Q.T, rng.standard_normal(6)
    model, loss = make_quadratic(H, c, np.zeros(6))
    opt = optim.BFGS(model, loss)
    for _ in range(10):
        opt.step(None)
    other = optim.BFGS(model, loss)
    other.load_state_dict(opt.state_dict())
    for _ in range(30):
        other.step(None)
    np.testing.assert_allclose(model.params["theta"], np.linalg.solve(H, c), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(other.inverse_hessian @ H, np.eye(6), atol=0.05)


@pytest.mark.parametrize("method", [optim.BFGS, optim.LBFGS])
def test_float32_stays_and_the_old_arrays_too(make_problem, method):
    problem = make_problem(np.float32)
    held = problem.model.params
    before = {name: a.copy() for name, a in held.items()}
    opt = method(problem.model, problem.loss)
    losses = [opt.step(problem.x, problem.t).loss for _ in range(5)]
    assert losses[-1] < losses[0]
    for name, a in held.items():
        np.testing.assert_array_equal(a, before[name])
        assert problem.model.params[name].dtype == np.float32


@pytest.mark.parametrize("method", [optim.BFGS, optim.LBFGS])
def test_at_a_minimum_it_stays(make_quadratic, method):
    model, loss = make_quadratic(np.eye(2), np.zeros(2), np.zeros(2))
    info = method(model, loss).step(None)
    assert info.step_size == 0
    assert info.reason.startswith("no decrease of the loss")
    np.testing.assert_array_equal(model.params["theta"], np.zeros(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, f: optim.BFGS(m, f, iterations=0), "iterations must be ≥ 1, got 0"),
        (lambda m, f: optim.LBFGS(m, f, memory=0), "memory must be ≥ 1, got 0"),
        (lambda m, f: optim.LBFGS(m, f, tolerance=-1.0), "tolerance must be ≥ 0, got -1.0"),
    ],
)
def test_hyper_parameters_out_of_range(problem, make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(problem.model, problem.loss)
