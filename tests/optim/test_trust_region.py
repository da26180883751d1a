"""Steihaug-Toint: CG in a ball of the preconditioner's norm; Hessian-free with a radius in place of λ. Section 8.6."""

import math

import numpy as np
import pytest

import optim
from optim.parts.cg import pcg


def spd(eigenvalues, seed=0):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues),) * 2))[0]
    return (Q * np.asarray(eigenvalues, float)) @ Q.T


@pytest.fixture(params=[False, True])
def inverse_P(request):
    return 1 / np.linspace(0.5, 4, 20) if request.param else None


@pytest.fixture
def system():
    return spd(np.geomspace(0.1, 10, 20)), np.random.default_rng(1).standard_normal(20)


def run(A, b, inverse_P, radius, **options):
    return pcg(lambda v, out: np.matmul(A, v, out=out), b, None, inverse_P, radius=radius, **options)


def norm(x, inverse_P):
    return math.sqrt(np.sum(x * x / (1.0 if inverse_P is None else inverse_P)))


def test_the_step_ends_on_the_boundary_in_the_norm_of_the_preconditioner(system, inverse_P):
    A, b = system
    whole = run(A, b, inverse_P, None, iterations=60)
    far = norm(whole.x, inverse_P)
    for radius in (0.05 * far, 0.5 * far, 0.9 * far):
        found = run(A, b, inverse_P, radius, iterations=60)
        assert found.reason == "boundary of the trust region"
        assert norm(found.x, inverse_P) == pytest.approx(radius, rel=1e-10)
        assert found.iterates[-1].phi == pytest.approx(0.5 * found.x @ A @ found.x - b @ found.x, rel=1e-9)
        assert found.products == found.iterations
    inside = run(A, b, inverse_P, 1.1 * far, iterations=60)
    assert inside.reason != "boundary of the trust region"
    np.testing.assert_array_equal(inside.x, whole.x)


def test_the_norm_grows_and_the_step_is_half_as_good_as_the_best(system):
    """Gould, Lucidi, Roma & Toint (1999): M(δ†) ≤ ½ M(δ*), δ* the best in the ball, found by its multiplier."""
    A, b = system
    norms = [np.linalg.norm(pcg(lambda v, out: np.matmul(A, v, out=out), b, iterations=i).x) for i in range(1, 15)]
    assert norms == sorted(norms)
    for radius in np.linspace(0.02, 0.98, 12) * np.linalg.norm(np.linalg.solve(A, b)):
        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            outside = np.linalg.norm(np.linalg.solve(A + middle * np.eye(20), b)) > radius
            low, high = (middle, high) if outside else (low, middle)
        best = np.linalg.solve(A + high * np.eye(20), b)
        assert run(A, b, None, radius, iterations=60).iterates[-1].phi <= 0.5 * (0.5 * best @ A @ best - b @ best)


def test_negative_curvature_is_followed_to_the_boundary(inverse_P):
    A, b = spd([*np.linspace(0.5, 5, 17), -1.0, -2.0, -3.0]), np.random.default_rng(2).standard_normal(20)
    found = run(A, b, inverse_P, 50.0)
    assert found.reason.startswith("negative curvature in CG iteration")
    assert norm(found.x, inverse_P) == pytest.approx(50.0)
    assert found.iterates[-1].phi == pytest.approx(0.5 * found.x @ A @ found.x - b @ found.x)
    assert found.iterates[-1].phi < min((it.phi for it in found.iterates[:-1]), default=0.0)
    assert run(-np.eye(20), b, None, 0.1).iterations == 1


def test_no_warm_start_in_a_trust_region(system):
    A, b = system
    with pytest.raises(ValueError, match="radius: a run of CG in a trust region starts from zero"):
        pcg(lambda v, out: np.matmul(A, v, out=out), b, b, radius=1.0)


# -- Hessian-free ----------------------------------------------------------------------------------------------


def make(problem, radius=0.5, **options):
    return optim.HessianFree(problem.model, problem.loss, direction=optim.SteihaugToint(radius), **options)


def test_damping_unless_it_is_given(problem):
    assert optim.HessianFree(problem.model, problem.loss).damping == 1
    assert make(problem, 0.3).damping == 0
    assert make(problem, 0.3, damping=0.5).damping == 0.5


def test_steps_stay_in_the_region_and_start_from_zero(problem):
    opt = make(problem, 0.3, preconditioner=False, backtracking=False)
    for _ in range(10):
        theta, radius = problem.theta, opt.radius
        info = opt.step(problem.x, problem.t)
        assert info.products == info.cg_iterations  # none for a warm start
        assert np.linalg.norm(problem.theta - theta) <= radius * (1 + 1e-9)
        assert opt.damping == info.damping == 0


def test_the_radius_follows_the_ratio_and_damping_stays(problem):
    opt = make(problem, 0.01, damping=0.25)
    for _ in range(30):
        before = opt.radius
        info = opt.step(problem.x, problem.t)
        rho, held_back = info.reduction_ratio, "boundary" in info.reason
        factor = 1.5 if rho > 3 / 4 and held_back else 2 / 3 if rho < 1 / 4 else 1
        assert opt.radius == pytest.approx(before * factor)
    assert opt.radius > 0.05
    assert opt.damping == 0.25


def test_the_radius_does_not_depend_on_the_scale_of_the_objective(make_problem):
    """Section 8.6: multiply f by 100, and the same region gives the same step; the same λ does not."""

    def step(scale, **options):
        problem = make_problem()
        opt = optim.HessianFree(
            problem.model, lambda z, t: scale * problem.loss.value(z, t), preconditioner=False, **options
        )
        opt.step(problem.x, problem.t)
        return problem.theta

    np.testing.assert_allclose(
        step(100.0, direction=optim.SteihaugToint(0.2)), step(1.0, direction=optim.SteihaugToint(0.2)), rtol=1e-6
    )
    assert np.abs(step(100.0, damping=1.0) - step(1.0, damping=1.0)).max() > 1e-3


def test_the_hessian_and_negative_curvature(make_problem):
    """At a maximum along one axis the exact Hessian is of use: the step goes down along it, to the boundary."""
    model = optim.Function(lambda p, x: p["theta"], {"theta": np.array([0.01, 1.0])})
    opt = optim.HessianFree(
        model,
        lambda z, t: np.sum(np.array([-0.5, 0.5]) * z**2 + np.array([0.25, 0.0]) * z**4),
        curvature="hessian",
        direction=optim.SteihaugToint(0.3),
        preconditioner=False,
    )
    losses = [opt.step(None).loss for _ in range(40)]
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(np.abs(model.params["theta"]), [1.0, 0.0], atol=1e-5)


def test_a_rejected_step_shrinks_the_radius(problem):
    opt = make(problem, 0.9)
    with pytest.warns(optim.NumericalWarning):
        opt.step(problem.x * np.nan, problem.t)
    assert opt.radius == pytest.approx(0.6)


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, math.inf])
def test_radius_out_of_range(radius):
    with pytest.raises(ValueError, match="radius must be > 0"):
        optim.SteihaugToint(radius)
