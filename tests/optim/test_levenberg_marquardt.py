"""Levenberg-Marquardt against dense linear algebra and SciPy's own."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import least_squares

import optim


@pytest.mark.parametrize("solver", ["dense", "cg"])
@pytest.mark.parametrize("scaling", ["identity", "diagonal"])
def test_steps_against_dense_algebra(problem, solver, scaling):
    """(G + λD) δ = −∇f; λ × 10 until f falls, then / 10."""
    lam, l2 = 1e-6, 0.01
    opt = optim.LevenbergMarquardt(
        problem.model, problem.loss, damping=lam, solver=solver, scaling=scaling, cg_tolerance=1e-12, l2=l2
    )
    raised = 0
    f, dense = problem.penalized(l2)
    for _ in range(8):
        theta = problem.theta
        u, G = dense()
        D = np.diag(np.diag(G)) if scaling == "diagonal" else np.eye(theta.size)
        while True:
            delta = np.linalg.solve(G + lam * D, -u)
            if f(theta + delta) < f(theta):
                break
            lam, raised = lam * 10, raised + 1
        info = opt.step(problem.x, problem.t)
        assert info.damping == pytest.approx(lam)
        assert info.reduction_ratio == pytest.approx(
            (f(theta + delta) - f(theta)) / (u @ delta + delta @ G @ delta / 2), rel=1e-4
        )
        np.testing.assert_allclose(problem.theta, theta + delta, rtol=1e-5, atol=1e-7)
        lam /= 10
        assert opt.damping == pytest.approx(lam)
    assert raised > 0


def test_the_minimum_is_that_of_least_squares():
    """Rosenbrock's residuals, from the classical start."""

    def residuals(p):
        return np.stack([1 - p[0], 10 * (p[1] - p[0] ** 2)])

    model = optim.Function(lambda p, x: residuals(p), np.array([-1.2, 1.0]))
    opt = optim.LevenbergMarquardt(model, lambda z, t: np.sum(z * z))
    infos = [opt.step(None) for _ in range(40)]
    np.testing.assert_allclose(model.params, least_squares(residuals, [-1.2, 1.0], method="lm").x, atol=1e-8)
    assert infos[-1].loss < 1e-20
    assert all(b.loss <= a.loss for a, b in pairwise(infos))


def test_marquardts_diagonal_does_not_depend_on_units():
    """θ in other units, the same fit: the steps are the same."""

    def fit(scale, scaling):
        x = np.linspace(0, 2, 20)
        t = 2 * np.exp(-1.5 * x)
        model = optim.Function(lambda p, x: p[0] * np.exp(-(p[1] / scale) * x), np.array([1.0, 0.5 * scale]))
        opt = optim.LevenbergMarquardt(model, lambda z, t: np.mean((z - t) ** 2), scaling=scaling)
        return [opt.step(x, t).loss for _ in range(5)]

    np.testing.assert_allclose(fit(1.0, "diagonal"), fit(1e3, "diagonal"), rtol=1e-6)
    assert not np.allclose(fit(1.0, "identity"), fit(1e3, "identity"), rtol=1e-3)


def test_the_diagonal_preconditions_conjugate_gradients(make_quadratic):
    """Exactly, where G is diagonal: one iteration."""
    H = np.diag([1.0, 10.0, 100.0])
    model, loss = make_quadratic(H, np.ones(3), np.zeros(3))
    opt = optim.LevenbergMarquardt(model, loss, damping=0.5, scaling="diagonal", solver="cg", cg_iterations=1)
    opt.step(None)
    np.testing.assert_allclose(model.params["theta"], np.ones(3) / (1.5 * np.diag(H)), rtol=1e-12)


def test_a_parameter_that_is_not_used(make_quadratic):
    model, loss = make_quadratic(np.diag([1.0, 0.0]), np.array([1.0, 0.0]), np.array([5.0, 5.0]))
    for solver in ("dense", "cg"):
        optim.LevenbergMarquardt(model, loss, scaling="diagonal", solver=solver).step(None)
    assert model.params["theta"][1] == 5.0


def test_auto_is_matrix_free_for_large_problems(problem, monkeypatch):
    assert optim.LevenbergMarquardt(problem.model, problem.loss).solver == "dense"
    monkeypatch.setattr(optim.LevenbergMarquardt, "most_dense", 10)
    assert optim.LevenbergMarquardt(problem.model, problem.loss).solver == "cg"


def test_no_decrease_is_a_rejected_step(problem, monkeypatch):
    opt = optim.LevenbergMarquardt(problem.model, problem.loss, tries=3)
    monkeypatch.setattr(opt.objective, "scalar_at", lambda *a: math.inf)
    with pytest.warns(optim.NumericalWarning, match="non-finite loss at every damping"):
        info = opt.step(problem.x, problem.t)
    assert info.rejected
    monkeypatch.setattr(opt.objective, "scalar_at", lambda *a: 1e9)
    info = opt.step(problem.x, problem.t)
    assert (info.rejected, info.reason) == (True, "no decrease of the loss")
    assert opt.damping == 1e-2


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"damping": 0.0}, "damping must be ≥ 1e-12, got 0.0"),
        ({"damping_min": 0.0}, "damping_min must be > 0, got 0.0"),
        ({"factor": 1.0}, "factor must be > 1, got 1.0"),
        ({"scaling": "trace"}, "scaling must be one of identity, diagonal, got 'trace'"),
        ({"solver": "qr"}, "solver must be one of auto, dense, cg, got 'qr'"),
        ({"cg_iterations": 0}, "cg_iterations must be ≥ 1, got 0"),
        ({"tries": 0}, "tries must be ≥ 1, got 0"),
    ],
)
def test_hyper_parameters_out_of_range(problem, hyper, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        optim.LevenbergMarquardt(problem.model, problem.loss, **hyper)
