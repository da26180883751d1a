"""Algorithm 2 against dense linear algebra."""

import math

import numpy as np
import pytest

from optim.parts.cg import kept_iterations, pcg, relative_progress
from optim.problem.threads import Crew


def spd(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return (Q * np.asarray(eigenvalues, float)) @ Q.T


def product_of(A, calls=None):
    def product(v, out):
        if calls is not None:
            calls.append(v.copy())
        np.matmul(A, v, out=out)

    return product


def phi(A, b, x):
    return 0.5 * x @ A @ x - b @ x


@pytest.fixture
def system():
    rng = np.random.default_rng(1)
    return spd(np.geomspace(0.1, 10, 20)), rng.standard_normal(20), rng.standard_normal(20)


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_solves_the_system(system, start, damping, preconditioned):
    A, b, x0 = system
    inverse_P = 1 / np.linspace(1, 3, 20) if preconditioned else None
    before = b.copy(), x0.copy()
    result = pcg(product_of(A), b, x0 if start else None, inverse_P, damping=damping, iterations=60)
    damped = A + damping * np.eye(20)
    np.testing.assert_allclose(result.x, np.linalg.solve(damped, b), rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(b, before[0])
    np.testing.assert_array_equal(x0, before[1])
    for iterate in result.iterates:
        assert iterate.phi == pytest.approx(phi(damped, b, iterate.x), rel=1e-10)


@pytest.mark.parametrize("clusters", [1, 2, 5])
def test_k_distinct_eigenvalues_take_k_steps(clusters):
    A = spd(np.repeat(np.geomspace(1, 50, clusters), 6))
    b = np.random.default_rng(2).standard_normal(len(A))
    x = np.linalg.solve(A, b)
    done = pcg(product_of(A), b, iterations=clusters)
    np.testing.assert_allclose(done.x, x, rtol=1e-9, atol=1e-11)
    if clusters > 1:
        short = pcg(product_of(A), b, iterations=clusters - 1)
        assert np.linalg.norm(short.x - x) > 1e-3 * np.linalg.norm(x)


def test_each_iterate_is_optimal_in_its_krylov_subspace(system):
    A, b, x0 = system
    r0 = A @ x0 - b
    K = r0[:, None]
    for i in range(1, 6):
        c = np.linalg.solve(K.T @ A @ K, -K.T @ r0)  # argmin of φ over x0 + span K
        np.testing.assert_allclose(pcg(product_of(A), b, x0, iterations=i).x, x0 + K @ c, rtol=1e-8)
        K = np.linalg.qr(np.column_stack([K, A @ K[:, -1]]))[0]


def test_preconditioned_cg_is_cg_in_transformed_coordinates(system):
    """Section 11: P = CᵀC and γ = C x; CG on C⁻ᵀ A C⁻¹ gives the same iterates."""
    A, b, x0 = system
    c = np.sqrt(np.linspace(0.5, 4, 20))
    for i in (1, 3, 7):
        plain = pcg(product_of(A / np.outer(c, c)), b / c, c * x0, iterations=i)
        np.testing.assert_allclose(pcg(product_of(A), b, x0, 1 / c**2, iterations=i).x, plain.x / c, rtol=1e-9)


def test_a_perfect_preconditioner_takes_one_step():
    d = np.geomspace(1e-3, 1e3, 30)
    b = np.ones(30)
    result = pcg(lambda v, out: np.multiply(d, v, out=out), b, None, 1 / d, iterations=1)
    np.testing.assert_allclose(result.x, b / d, rtol=1e-12)


def test_a_start_that_looks_bad_may_be_one_step_from_the_minimum(system):
    """Section 10: the minimum and a large multiple of one eigenvector; φ(x₀) ≫ φ(0) tells nothing of that."""
    A, b, _ = system
    x = np.linalg.solve(A, b)
    x0 = x + 30 * np.linalg.eigh(A)[1][:, 4]
    assert phi(A, b, x0) > 100
    np.testing.assert_allclose(pcg(product_of(A), b, x0, iterations=1).x, x, rtol=1e-9, atol=1e-11)
    assert np.linalg.norm(pcg(product_of(A), b, iterations=1).x - x) > 0.5 * np.linalg.norm(x)


def test_negative_curvature_ends_it():
    A = np.diag([3.0, 1.0, -1.0])
    b = np.array([1.0, 2.0, 0.5])
    result = pcg(product_of(A), b)
    assert result.reason.startswith("negative curvature in CG iteration")
    assert result.finite
    assert result.iterations == result.products - 1 == result.iterates[-1].i
    assert result.iterates[-1].phi == pytest.approx(phi(A, b, result.x))
    assert result.iterates[-1].phi < 0  # what was found up to there is of use


@pytest.mark.parametrize("inverse_P", [None, np.array([1.0, 0.5, 2.0])])
def test_negative_curvature_at_once(inverse_P):
    """The preconditioned steepest descent from zero, or a warm start that is a descent as it stands."""
    A, b = -np.diag([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 0.5])
    P_b = b if inverse_P is None else inverse_P * b
    found = pcg(product_of(A), b, None, inverse_P)
    assert (found.iterations, found.products, found.reason) == (1, 1, "negative curvature in CG iteration 1")
    np.testing.assert_allclose(found.x, P_b)
    assert found.iterates[-1].phi == pytest.approx(phi(A, b, P_b))
    x0 = np.array([0.1, 0.1, 0.1])
    kept = pcg(product_of(A), b, x0, inverse_P)
    assert (kept.iterations, kept.reason) == (0, "negative curvature in CG iteration 1")
    np.testing.assert_array_equal(kept.x, x0)
    up = pcg(product_of(A), b, -x0, inverse_P)  # φ(−x0) > 0
    np.testing.assert_allclose(up.x, -x0 + (b + A @ x0 if inverse_P is None else inverse_P * (b + A @ x0)))


def test_no_curvature_at_all():
    b = np.array([1.0, 2.0, 0.5])
    found = pcg(product_of(np.zeros((3, 3))), b)
    assert (found.iterations, found.finite, found.reason) == (1, True, "negative curvature in CG iteration 1")
    np.testing.assert_array_equal(found.x, b)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("start", [False, True])
def test_a_product_that_is_not_finite_is_reported(system, bad, start):
    A, b, x0 = system
    for at in (1, 4):
        calls = []

        def product(v, out, calls=calls, at=at):
            product_of(A, calls)(v, out)
            if len(calls) == at + start:
                out[7] = bad

        result = pcg(product, b, x0 if start else None)
        assert not result.finite
        assert result.reason == f"non-finite product in CG iteration {at}"
    result = pcg(lambda v, out: out.fill(bad), b, x0)
    assert (result.finite, result.reason) == (False, "non-finite product in CG iteration 0")


def test_overflow_of_the_iterate_is_reported():
    b = np.ones(3, np.float32)
    result = pcg(lambda v, out: np.multiply(v, np.float32(1e-38), out=out), b * np.float32(1e18), iterations=3)
    assert (result.finite, result.reason) == (False, "overflow in CG iteration 1")


def test_products_are_counted(system):
    A, b, x0 = system
    for start in (None, x0):
        calls = []
        result = pcg(product_of(A, calls), b, start, iterations=5)
        assert result.iterations == 5
        assert result.products == len(calls) == 5 + (start is not None)
        assert result.reason == "iteration limit"


def test_exact_start_is_solved_without_a_step():
    A, x = np.diag([1.0, 2.0, 4.0]), np.array([1.0, -2.0, 3.0])
    result = pcg(product_of(A), A @ x, x)
    assert (result.iterations, result.products, result.reason) == (0, 1, "solved")
    np.testing.assert_array_equal(result.x, x)


def test_kept_iterates():
    expected = [5, 7, 9, 11, 15, 19, 25, 32, 41, 54, 69, 90, 117, 152, 197]
    assert sorted(kept_iterations(250)) == expected == sorted({math.ceil(5 * 1.3**n) for n in range(15)})
    A = spd(np.geomspace(1e-3, 10, 60))
    b = np.ones(60)
    result = pcg(product_of(A), b, iterations=16)
    assert [it.i for it in result.iterates] == [5, 7, 9, 11, 15, 16]
    values = [it.phi for it in result.iterates]
    assert values == sorted(values, reverse=True)
    for iterate in result.iterates:
        np.testing.assert_array_equal(iterate.x, pcg(product_of(A), b, iterations=iterate.i).x)
    assert [it.i for it in pcg(product_of(A), b, iterations=16, keep=False).iterates] == [16]
    assert [it.i for it in pcg(product_of(A), b, iterations=15).iterates] == [5, 7, 9, 11, 15]


def test_stopping_rule_on_a_written_history():
    """Design of Martens' rule: i > gap, φ_{i−gap} < 0 and (φ_i − φ_{i−gap}) / φ_i < 5e-4 · gap."""

    def first_stop(history):
        stop = relative_progress()
        return next((i for i, phi in enumerate(history) if stop(i, phi, None)), None)

    assert first_stop([0.0] + [-1.0] * 30) == 11  # i > gap = 10
    assert first_stop([0.0] * 10 + [-1.0] * 30) == 20  # φ ten steps before is negative from i = 20 on
    assert first_stop([float(-i) for i in range(200)]) is None  # (φ_i − φ_{i−10}) / φ_i = 10 / i ≥ 5e-3 · …
    falling = [-(1 - 0.99**i) for i in range(2000)]
    i = first_stop(falling)

    def progress(i):
        gap = max(10, math.ceil(0.1 * i))
        return (falling[i] - falling[i - gap]) / falling[i], 5e-4 * gap

    assert i is not None
    assert progress(i)[0] < progress(i)[1]
    assert progress(i - 1)[0] >= progress(i - 1)[1]


def test_stopping_rule_ends_a_run():
    A = spd(np.geomspace(1e-2, 10, 80))
    b = np.random.default_rng(3).standard_normal(80)
    result = pcg(product_of(A), b, stop=relative_progress(), iterations=250)
    assert result.reason == "relative progress"
    assert 10 < result.iterations < 250


def test_float32_with_many_entries():
    n = 300_000
    d = np.geomspace(1, 100, n).astype(np.float32)
    b = np.random.default_rng(4).standard_normal(n).astype(np.float32)
    result = pcg(lambda v, out: np.multiply(d, v, out=out), b, None, None, damping=0.5, iterations=60)
    assert result.x.dtype == np.float32
    exact = b.astype(float) / (d + 0.5)
    assert np.linalg.norm(result.x - exact) < 1e-5 * np.linalg.norm(exact)
    best = -0.5 * np.dot(b.astype(float), exact)
    assert result.iterates[-1].phi == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("diagonal", [False, True])
def test_threads_change_nothing(diagonal):
    n = 700_000
    rng = np.random.default_rng(5)
    d, b, x0 = (rng.random(n).astype(np.float32) + 0.1 for _ in range(3))
    damping = d / 3 if diagonal else 0.2
    found = [
        pcg(lambda v, out: np.multiply(d, v, out=out), b, x0, 1 / (d + 1), damping=damping, iterations=9, crew=crew)
        for crew in (None, Crew(1), Crew(2), Crew(3))
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.x, found[0].x)
        assert [it.phi for it in other.iterates] == [it.phi for it in found[0].iterates]
    exact = b / (d + damping)
    assert np.linalg.norm(found[0].x - exact) < 1e-2 * np.linalg.norm(exact)
