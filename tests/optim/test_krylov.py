"""Krylov subspace descent: the subspace, what is found in it, and what it costs."""

import numpy as np
import pytest

import optim
from optim.parts.directions import Subproblem
from optim.parts.krylov import KrylovSubspace


def quadratic_problem(A, b, **options):
    return Subproblem(
        lambda v, out: np.matmul(A, v, out=out), b, lambda d: (0.5 * d @ A @ d - b @ d, A @ d - b), **options
    )


@pytest.fixture
def system():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    return (Q * np.geomspace(0.5, 20, 12)) @ Q.T, rng.standard_normal(12), rng.standard_normal(12)


def krylov(A, b, k, P=1.0, extra=None):
    columns = [P * b]
    while len(columns) < k:
        columns.append(P * (A @ columns[-1]))
    return np.linalg.qr(np.column_stack(columns + ([] if extra is None else [extra])))[0]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_on_a_quadratic_it_is_the_best_in_the_subspace(system, warm, preconditioned):
    """Without the previous update: what CG finds in as many steps."""
    A, b, previous = system
    inverse_P = 1 / np.linspace(1, 3, 12) if preconditioned else None
    problem = quadratic_problem(A, b, x0=previous if warm else None, inverse_P=inverse_P)
    found = KrylovSubspace(4, iterations=60)(problem)
    K = krylov(A, b, 4, 1.0 if inverse_P is None else inverse_P, previous if warm else None)
    best = K @ np.linalg.solve(K.T @ A @ K, K.T @ b)
    np.testing.assert_allclose(found.x, best, rtol=1e-4, atol=1e-5)
    assert found.iterates[-1].phi == pytest.approx(0.5 * found.x @ A @ found.x - b @ found.x)
    assert found.products == 4 + warm
    assert (found.iterations, found.reason) == (4 + warm, f"Krylov subspace of dimension {4 + warm}")


def test_the_subspace_does_not_depend_on_damping(system):
    """Section 8.1: it holds the solution for any λ, so what is found is never worse than any of them."""
    A, b, _ = system
    found = [KrylovSubspace(4, 60)(quadratic_problem(A, b, damping=lam)).x for lam in (0.0, 1.0, 30.0)]
    for x in found[1:]:
        np.testing.assert_allclose(x, found[0], rtol=1e-3, atol=1e-4)


def test_no_strength_of_damping_finds_more_in_as_many_products(make_problem):
    """Section 8.1: "solutions which will give more reduction in f than CG could obtain for any value of λ"."""
    exact = {"preconditioner": False, "decay": 0.0, "backtracking": False}

    def f_after(**options):
        problem = make_problem()
        optim.HessianFree(problem.model, problem.loss, **exact, **options).step(problem.x, problem.t)
        return problem.f(problem.theta)

    found = f_after(direction=optim.KrylovSubspace(6, iterations=200))
    damped = [f_after(damping=lam, cg_iterations=6, cg_tolerance=0.0) for lam in np.geomspace(1e-4, 1e2, 25)]
    assert found < min(damped)


def test_an_invariant_subspace_ends_it(system):
    A, b, previous = np.eye(12), *system[1:]
    found = KrylovSubspace(5)(quadratic_problem(A, b))
    assert found.products == 1
    np.testing.assert_allclose(found.x, b, rtol=1e-6)
    assert KrylovSubspace(5)(quadratic_problem(A, b, x0=previous)).products == 2


def test_a_product_that_is_not_finite_is_reported(system):
    found = KrylovSubspace(5)(quadratic_problem(np.full((12, 12), np.nan), system[1]))
    assert not found.finite
    assert found.reason == "non-finite product in Krylov dimension 1"
    (start,) = found.iterates
    assert (start.i, start.phi, start.x.any(), found.iterations) == (0, 0.0, False, 0)


def test_hessian_free_by_krylov_subspace_descent(problem):
    opt = optim.HessianFree(problem.model, problem.loss, direction=optim.KrylovSubspace(8), damping=1e-3)
    losses = []
    for k in range(12):
        info = opt.step(problem.x, problem.t)
        losses.append(info.loss)
        assert info.products == 8 + (k > 0)  # the previous update is a vector of the subspace
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.02 * losses[0]


def test_it_searches_on_the_batch_for_backtracking(make_problem):
    """One update from the same place: lower f on that batch than an update that searched on another."""
    values = {}
    for name in ("own", "other"):
        problem = make_problem()
        chosen = slice(0, 15) if name == "own" else slice(15, 60)
        opt = optim.HessianFree(problem.model, problem.loss, direction=optim.KrylovSubspace(10))
        opt.step(problem.x, problem.t, backtracking_batch=(problem.x[chosen], problem.t[chosen]))
        values[name] = problem.f(problem.theta, problem.x[:15], problem.t[:15])
    assert values["own"] < values["other"]


@pytest.mark.parametrize(("hyper", "message"), [({"dimension": 0}, "dimension"), ({"iterations": 0}, "iterations")])
def test_out_of_range(hyper, message):
    with pytest.raises(ValueError, match=f"{message} must be ≥ 1, got 0"):
        optim.KrylovSubspace(**hyper)
