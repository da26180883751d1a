"""Diagonals of the curvature against dense matrices, and P in use. Section 11."""

import numpy as np
import pytest

import nn
import optim
from optim.preconditioner import Diagonals

LOSSES = {
    "squared": (nn.SquaredError, lambda rng, z: rng.standard_normal(z.shape)),
    "sigmoid": (nn.SigmoidCrossEntropy, lambda rng, z: rng.random(z.shape)),
    "softmax": (nn.SoftmaxCrossEntropy, lambda rng, z: rng.integers(0, z.shape[1], len(z))),
    "clipped callable": (lambda: optim.ClippedCurvature(lambda z, t: np.sum(np.exp(z) - z * t) / len(z)), None),
    "sqrt_hessian alone": (lambda: OnlyColumns(), lambda rng, z: rng.integers(0, z.shape[1], len(z))),
}


class OnlyColumns:
    """Softmax cross-entropy that has nothing but what the protocol asks for."""

    def __init__(self):
        loss = nn.SoftmaxCrossEntropy()
        self.value, self.gradient, self.sqrt_hessian = loss.value, loss.gradient, loss.sqrt_hessian
        self.hessian_product = loss.hessian_product


@pytest.fixture(params=LOSSES)
def case(request, problem):
    """objective, x, t, and diag(G) from the dense matrix."""
    make, targets = LOSSES[request.param]
    rng, z = np.random.default_rng(0), problem.model(problem.x)
    t = problem.t if targets is None else targets(rng, z)
    objective = optim.Objective(problem.model, make(), threads=1)
    q = objective.quadratic(problem.x, t)
    return objective, problem.x, t, np.diag(q.ggn @ np.eye(objective.size)).copy()


def test_exact_diagonal(case):
    objective, x, t, expected = case
    np.testing.assert_allclose(optim.ExactDiagonal().estimate(objective.quadratic(x, t), (0,)), expected, rtol=1e-10)


def test_the_estimate_of_chapelle_and_erhan_is_unbiased(case):
    """The mean of many probes approaches diag(G) as 1/√probes: the error is what its spread says."""
    objective, x, t, expected = case
    q = objective.quadratic(x, t)
    draws = np.array([optim.UnbiasedDiagonal().estimate(q, (seed,)) for seed in range(300)])
    spread = draws.std(axis=0) / np.sqrt(len(draws))
    z = (draws.mean(axis=0) - expected) / np.maximum(spread, 1e-12 * expected.max())
    assert np.abs(z[spread > 1e-9 * expected]).max(initial=0) < 4.5
    flat = spread <= 1e-9 * expected  # one column of L″^½ meets the parameter: no chance in it
    np.testing.assert_allclose(draws.mean(axis=0)[flat], expected[flat], rtol=1e-6)


def test_more_probes_are_closer(case):
    objective, x, t, expected = case
    q = objective.quadratic(x, t)

    def error(probes):
        kind = optim.UnbiasedDiagonal(probes=probes)
        return np.mean([np.sum((kind.estimate(q, (seed,)) - expected) ** 2) for seed in range(12)])

    few, many = error(1), error(16)
    assert few == 0 or 16 / 3 < few / many < 16 * 3  # the variance falls as 1/probes


@pytest.mark.parametrize("kind", [optim.EmpiricalFisher(), optim.UnbiasedDiagonal(probes=2), optim.ExactDiagonal()])
def test_parts_of_the_batch_change_nothing(problem, kind):
    """Also the probes: a case has its own, whatever chunk it comes in."""
    whole = optim.Objective(problem.model, nn.SquaredError(), threads=1)
    chunks = optim.Objective(problem.model, nn.SquaredError(), threads=1, cases_in_memory=7)
    found = [kind.estimate(o.quadratic(problem.x, problem.t), (3, 1)) for o in (whole, chunks)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_diagonal_is_found_once(problem, monkeypatch):
    q = optim.Objective(problem.model, problem.loss).quadratic(problem.x, problem.t)
    calls = []
    monkeypatch.setattr(optim.Quadratic, "squared_gradients", lambda q: calls.append(1) or np.ones(q.objective.size))
    diagonals = Diagonals(q)
    for kind in (optim.EmpiricalFisher(), optim.EmpiricalFisher(exponent=1.0)):
        diagonals.of(kind)
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponent_and_kappa(make_problem, dtype):
    problem = make_problem(dtype)
    diagonals = Diagonals(optim.Objective(problem.model, problem.loss).quadratic(problem.x, problem.t))
    d = diagonals.of(optim.EmpiricalFisher()).copy()
    found = optim.EmpiricalFisher(exponent=0.5, kappa=0.2).inverse(diagonals, 0.3)
    np.testing.assert_allclose(found, (d + 0.5) ** -0.5, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert found.dtype == dtype
    np.testing.assert_array_equal(optim.EmpiricalFisher(exponent=0.0).inverse(diagonals, 0.3), np.ones_like(d))
    np.testing.assert_array_equal(diagonals.of(optim.EmpiricalFisher()), d)  # not written into


def test_the_exact_diagonal_of_a_diagonal_problem_solves_it_in_one_step(make_quadratic):
    """Section 11: CG cannot see that the curvature is diagonal; P = diag(G) with ξ = 1 does all of its work."""
    d = np.geomspace(1e-2, 1e2, 20)

    def error(preconditioner):
        """Of θ after one step of CG, relative to the solution 1/√d."""
        model = optim.Function(lambda p, x: x * p["theta"], {"theta": np.zeros(20)})
        loss = optim.ClippedCurvature(lambda z, t: 0.5 * np.sum(z**2) / len(z) - np.sum(z) / len(z))
        opt = optim.HessianFree(model, loss, damping=0.0, cg_iterations=1, preconditioner=preconditioner)
        opt.step(np.sqrt(d)[None, :])
        return np.linalg.norm(model.params["theta"] * np.sqrt(d) - 1)

    assert error(optim.ExactDiagonal(exponent=1.0)) < 1e-9
    assert error(False) > 1


def test_a_loss_without_columns_is_refused(problem):
    opt = optim.HessianFree(problem.model, problem.loss, preconditioner=optim.ExactDiagonal())
    with pytest.raises(ValueError, match=r"HalfSquares has not; optim.ClippedCurvature\(loss\) adds one"):
        opt.step(problem.x, problem.t)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.EmpiricalFisher(exponent=1.5), "exponent must be ≤ 1, got 1.5"),
        (lambda: optim.ExactDiagonal(exponent=-0.5), "exponent must be ≥ 0, got -0.5"),
        (lambda: optim.EmpiricalFisher(kappa=-1.0), "kappa must be ≥ 0, got -1.0"),
        (lambda: optim.UnbiasedDiagonal(probes=0), "probes must be ≥ 1, got 0"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
