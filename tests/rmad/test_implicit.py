"""implicit: derivatives of roots, fixed points and minima that other code has found."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from scipy import optimize
from scipy.sparse.linalg import cg, gmres, spsolve

import rmad
from rmad import tuning
from rmad.solvers.closures import plain

RNG = np.random.default_rng(0)
B = RNG.standard_normal((6, 6)) / 6


def two_cubics(z, a):
    return np.array([z[0] ** 3 + z[1] - a[0], z[1] ** 3 - z[0] - a[1]])


def root_of(g, n, **options):
    def solve(a):
        return optimize.root(g, np.zeros(n), args=(a,), tol=1e-14).x

    return rmad.implicit(g, solve, **options)


def fixed_point(a):
    """z = tanh(B z + a), by iteration; a complex a for a complex z."""
    z = np.zeros_like(a)
    for _ in range(200):
        z = np.tanh(B @ z + a)
    return z


def of_trees(z, a):
    return {
        "first": z["x"] ** 3 + z["x"] - a["p"] * z["y"][0],
        "second": [z["y"][0] * (1 + a["q"][0] ** 2) - 2 * a["n"]],
    }


def solve_trees(a):
    y = 2 * a["n"] / (1 + a["q"][0] ** 2)
    return {
        "x": np.array([optimize.brentq(lambda x, c=c: x**3 + x - c, -9, 9, xtol=1e-15) for c in a["p"] * y]),
        "y": (y,),
    }


RIDGE = RNG.standard_normal((20, 4)), RNG.standard_normal(20)


def regression(w, penalty):
    X, t = RIDGE
    return np.sum(np.log(np.cosh(X @ w - t))) + np.exp(penalty) * np.sum(w**2) / 2


def minimum(penalty):
    """Where the gradient vanishes, to the digits that differences need."""
    return optimize.root(rmad.grad(regression), np.zeros(4), args=(penalty,), jac=rmad.hessian(regression), tol=1e-15).x


def contraction(z, a):
    return z - np.tanh(B @ z + a)


PROBLEMS = {
    "a root": (root_of(two_cubics, 2), np.array([1.0, 2.0])),
    "a fixed point": (rmad.implicit(contraction, fixed_point), RNG.standard_normal(6)),
    "a complex one": (
        rmad.implicit(contraction, fixed_point),
        RNG.standard_normal(6) / 2 + 0.5j * RNG.standard_normal(6),
    ),
    "not holomorphic": (
        rmad.implicit(lambda z, a: z * np.abs(z) - a, lambda a: a / np.sqrt(np.abs(a))),
        RNG.standard_normal(3) + 1j * RNG.standard_normal(3),
    ),
    "a number": (rmad.implicit(lambda z, a: z**2 - a, np.sqrt), 4.0),
    "a minimum": (rmad.implicit(lambda w, p: rmad.grad(regression)(w, p), minimum), np.array(-0.3)),
    "trees": (
        rmad.implicit(of_trees, solve_trees),
        {"p": np.array([1.0, -2.0]), "q": (0.7,), "n": 3},
    ),
    "several times": (lambda a: root_of(two_cubics, 2)(root_of(two_cubics, 2)(a) * a), np.array([1.0, 2.0])),
    "in a checkpoint": (rmad.checkpoint(root_of(two_cubics, 2)), np.array([1.0, 2.0])),
    "one in another": (
        rmad.implicit(
            lambda z, a: z - a + root_of(two_cubics, 2)(z) / 4,
            lambda a: optimize.root(lambda z: z - a + root_of(two_cubics, 2)(z) / 4, a, tol=1e-13).x,
        ),
        np.array([1.0, 2.0]),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_derivatives(name):
    f, a = PROBLEMS[name]
    rmad.check_grads(f, a, order=2)


def test_second_derivatives_of_a_gradient():
    """Third derivatives: those of the gradient to second order."""
    gradient = rmad.grad(lambda a: np.sum(root_of(two_cubics, 2)(a) ** 3))
    rmad.check_grads(gradient, np.array([1.0, 2.0]), order=2)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_value_is_that_of_solve(name):
    f, a = PROBLEMS[name]
    y, _ = rmad.linearize(f, a)
    for (_, p), (_, q) in zip(rmad.trees.tree.leaves(y), rmad.trees.tree.leaves(f(a)), strict=True):
        np.testing.assert_array_equal(p, q)


def test_closed_forms():
    f = rmad.implicit(lambda z, a: z**2 - a, np.sqrt)
    a = np.array([1.0, 4.0, 9.0])
    np.testing.assert_allclose(rmad.jacobian(f)(a), np.diag(0.5 / np.sqrt(a)), rtol=1e-14)
    third = rmad.jacobian(rmad.jacobian(rmad.jacobian(f)))(a)
    np.testing.assert_allclose(third[1, 1, 1, 1], 3 / 8 * 4**-2.5, rtol=1e-13)


@pytest.mark.parametrize("order", [1, 2])
def test_gmres_and_a_given_solver_agree_with_the_dense_way(order, monkeypatch):
    a = RNG.standard_normal(6)

    def derivative(**options):
        f = rmad.implicit(contraction, fixed_point, **options)
        return rmad.jacobian(f)(a) if order == 1 else rmad.hessian(lambda a: np.sum(np.sin(f(a))))(a)

    dense = derivative()
    given = derivative(solve_linear=lambda A, b: gmres(A, b, rtol=1e-13, atol=0)[0])
    monkeypatch.setattr(tuning, "DENSE_SYSTEM_MOST", 1)
    np.testing.assert_allclose(derivative(), dense, rtol=0, atol=1e-10)
    np.testing.assert_allclose(given, dense, rtol=0, atol=1e-11)


def poisson(u, p):
    """−u″ + p₀ eᵘ = p₁ between two zeros, of any number of points."""
    v = np.concatenate([[0.0], u, [0.0]])
    return (2 * v[1:-1] - v[:-2] - v[2:]) * (len(u) + 1) ** 2 + p[0] * np.exp(u) - p[1]


def newton(p, n=30, steps=20):
    u, jac = np.zeros(n), rmad.sparse_jacobian(poisson)
    for _ in range(steps):
        u = u - spsolve(jac(u, p).tocsc(), poisson(u, p))
    return u


@pytest.mark.parametrize("order", [1, 2])
def test_sparse_and_given_matrices_and_preconditioners(order):
    p = np.array([0.7, 3.0])

    def derivative(**options):
        f = rmad.implicit(poisson, newton, **options)
        return rmad.jacobian(f)(p) if order == 1 else rmad.hessian(lambda p: np.sum(np.sin(f(p))))(p)

    wanted = derivative()
    jac = rmad.sparse_jacobian(poisson)
    near = lambda u, p: np.linalg.inv(rmad.jacobian(poisson)(u, 0.9 * p))  # noqa: E731
    for options in ({"jac": "sparse"}, {"jac": jac}, {"jac": rmad.jacobian(poisson)}, {"preconditioner": near}):
        np.testing.assert_allclose(derivative(**options), wanted, rtol=1e-8, atol=1e-11)
    assert jac.sparsity.products == 3


@pytest.mark.parametrize("name", ["trees", "a complex one", "not holomorphic", "a number"])
def test_sparse_systems_of_trees_and_complex_numbers(name):
    f, a = {
        "trees": (rmad.implicit(of_trees, solve_trees, jac="sparse"), PROBLEMS["trees"][1]),
        "a complex one": (rmad.implicit(contraction, fixed_point, jac="sparse"), PROBLEMS["a complex one"][1]),
        "not holomorphic": (
            rmad.implicit(lambda z, a: z * np.abs(z) - a, lambda a: a / np.sqrt(np.abs(a)), jac="sparse"),
            PROBLEMS["not holomorphic"][1],
        ),
        "a number": (rmad.implicit(lambda z, a: z**2 - a, np.sqrt, jac="sparse"), 4.0),
    }[name]
    rmad.check_grads(f, a, order=1)


def test_a_sparse_system_of_ten_thousand_unknowns(monkeypatch):
    """By the tape: no dense matrix, and the pattern is found once for all calls."""
    monkeypatch.setattr(rmad.solvers.systems, "jacobian", None)
    patterns, reach = [], rmad.sparse.derivatives.reach
    monkeypatch.setattr(rmad.sparse.derivatives, "reach", lambda *args: patterns.append(1) or reach(*args))
    solution = rmad.implicit(poisson, lambda p: newton(p, 10_000, 5), jac="sparse")
    mean = lambda p: np.mean(solution(p))  # noqa: E731
    p = np.array([0.7, 3.0])
    patterns_of_newton = 2  # one per call of it
    gradients = [rmad.grad(mean)(p), rmad.grad(mean)(p)]
    assert len(patterns) == patterns_of_newton + 1
    np.testing.assert_array_equal(*gradients)
    few = rmad.implicit(poisson, lambda p: newton(p, 1000, 5), jac="sparse")
    np.testing.assert_allclose(gradients[0], rmad.grad(lambda p: np.mean(few(p)))(p), rtol=2e-3)


SPARSE_SINGULAR = {
    "a zero row": lambda z, a: np.array([z[0] - a, 0 * z[1]]),
    "equal rows": lambda z, a: np.array([z[0] + z[1] - 2 * a, z[0] + z[1] - 2 * a]),
    "nearly equal rows": lambda z, a: np.array(
        [z[0] + z[1] / 3 - 4 * a / 3, (z[0] + z[1] / 3) * (1 + 1e-16) - 4 * a / 3]
    ),
}


@pytest.mark.parametrize("name", SPARSE_SINGULAR)
def test_a_singular_sparse_matrix(name):
    f = rmad.implicit(SPARSE_SINGULAR[name], lambda a: np.array([a, a]), jac="sparse")
    with pytest.raises(np.linalg.LinAlgError, match="∂g/∂z is singular"):
        rmad.jacobian(f)(2.0)


def test_errors_of_jac():
    solve = lambda a: np.array([a, a])  # noqa: E731
    g = lambda z, a: z - a  # noqa: E731
    with pytest.raises(ValueError, match="jac and solve_linear exclude each other"):
        rmad.implicit(g, solve, jac="sparse", solve_linear=np.linalg.solve)
    with pytest.raises(ValueError, match='jac must be "sparse" or a function'):
        rmad.implicit(g, solve, jac="dense")
    for options in ({"jac": lambda z, a: np.eye(3)}, {"preconditioner": lambda z, a: np.eye(3)}):
        with pytest.raises(ValueError, match=r"must return a matrix of shape \(2, 2\), got \(3, 3\)"):
            rmad.jacobian(rmad.implicit(g, solve, **options))(2.0)


def test_solve_linear_gets_the_matrix_and_its_transpose():
    seen = []

    def solve_linear(A, b):
        seen.append(A @ np.eye(6))
        return np.linalg.solve(seen[-1], b)

    a = RNG.standard_normal(6)
    f = rmad.implicit(contraction, fixed_point, solve_linear=solve_linear)
    z, lin = rmad.linearize(f, a)
    lin.Jv(a)
    lin.JTu(a)
    J = rmad.jacobian(contraction)(z, a)
    for A, wanted in zip(seen, [J, J, J.T], strict=True):  # the first finds out if `solve` has converged
        np.testing.assert_allclose(A, wanted, rtol=1e-12)


def test_a_symmetric_system_by_cg():
    f = rmad.implicit(
        lambda w, p: rmad.grad(regression)(w, p), minimum, solve_linear=lambda A, b: cg(A, b, rtol=1e-12)[0]
    )
    wanted = rmad.jacobian(PROBLEMS["a minimum"][0])(np.array(-0.3))
    np.testing.assert_allclose(rmad.jacobian(f)(np.array(-0.3)), wanted, rtol=1e-9)


def test_single_precision_stays():
    f = rmad.implicit(lambda z, a: z**3 + z - a, lambda a: fixed(a))

    def fixed(a):
        z = np.zeros_like(a)
        for _ in range(50):
            z = z - (z**3 + z - a) / (3 * z**2 + 1)
        return z

    a = RNG.standard_normal(6)
    single = rmad.jacobian(f)(a.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, rmad.jacobian(f)(a), rtol=0, atol=1e-6)


def test_solve_and_the_factorization_run_once(monkeypatch):
    solves, matrices = [], []
    jacobian = rmad.solvers.systems.jacobian
    monkeypatch.setattr(rmad.solvers.systems, "jacobian", lambda g: matrices.append(1) or jacobian(g))

    def solve(a):
        solves.append(type(a))
        return fixed_point(a)

    a = RNG.standard_normal(6)
    _, lin = rmad.linearize(rmad.grad(lambda a: np.sum(rmad.implicit(contraction, solve)(a) ** 2)), a)
    for _ in range(20):
        lin.Jv(a)
    assert solves == [np.ndarray]
    assert matrices == [1]


def test_units_do_not_make_a_matrix_singular():
    """Picofarads and gigahertz in one system: scaled rows and columns."""
    f = rmad.implicit(
        lambda z, a: np.stack([1e-12 * z[0] - a[0], z[1] * 1e9 - a[1] + z[0] * 1e-3]), lambda a: solved(a)
    )

    def solved(a):
        return np.array([a[0] / 1e-12, (a[1] - a[0] / 1e-9) / 1e9])

    J = rmad.jacobian(f)(np.array([1e-12, 1e9]))
    np.testing.assert_allclose(J, [[1e12, 0], [-1, 1e-9]], rtol=1e-12)


SINGULAR = {
    "a double root": (lambda z, a: z**2 - a, np.sqrt, np.zeros(2)),
    "equations that depend": (
        lambda z, a: np.stack([z[0] + z[1] - a[0], 2 * z[0] + 2 * z[1] - 2 * a[0]]),
        lambda a: a / 2,
        np.ones(2),
    ),
    "an unknown that is not in it": (lambda z, a: np.stack([z[0] - a[0], z[0] - a[1]]), lambda a: a, np.ones(2)),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_a_singular_matrix_is_an_error(name):
    g, solve, a = SINGULAR[name]
    with pytest.raises(np.linalg.LinAlgError, match=r"implicit\(g, solve\): ∂g/∂z is singular"):
        rmad.grad(lambda a: np.sum(rmad.implicit(g, solve)(a)))(a)


def test_a_singular_matrix_is_an_error_of_gmres_and_of_a_given_solver(monkeypatch):
    monkeypatch.setattr(tuning, "DENSE_SYSTEM_MOST", 1)
    g, solve, _ = SINGULAR["equations that depend"]
    for options, match in (({}, "solve_linear"), ({"solve_linear": lambda A, b: b * np.nan}, "not finite")):
        f = rmad.implicit(g, solve, **options)
        with pytest.raises(np.linalg.LinAlgError, match=match):
            rmad.grad(lambda a, f=f: f(a)[0])(np.ones(2))


def test_solve_that_has_not_converged_is_an_error():
    f = rmad.implicit(lambda z, a: z**2 - a, lambda a: np.sqrt(a) * 1.01)
    with pytest.raises(ValueError, match=r"solve did not converge\. At its z, of length 2\.02, a step"):
        rmad.grad(f)(4.0)
    loose = rmad.implicit(lambda z, a: z**2 - a, lambda a: np.sqrt(a) * 1.01, tol=0.1)
    assert rmad.grad(loose)(4.0) == pytest.approx(0.25 / 1.01)


def test_a_root_near_zero_has_converged():
    f = rmad.implicit(lambda z, a: z + z**3 - a, lambda a: a + 1e-9)
    assert rmad.grad(f)(0.0) == pytest.approx(1.0)


SEEN: list = []


def of_a_global(a, solve):
    """A solution of z = a, where g finds a in a global variable."""
    SEEN[:] = [a]
    return rmad.implicit(lambda z, _: z - SEEN[0], solve)(np.ones(2))


ERRORS = {
    "solve returns a traced array": (
        lambda a: of_a_global(a, lambda _: SEEN[0]),
        ValueError,
        "solve returned a traced array",
    ),
    "g takes a traced array from a global variable": (
        lambda a: of_a_global(a, lambda _: np.ones(2)),
        ValueError,
        "g takes a traced array from a global variable; pass it as a part of a",
    ),
    "too few equations": (
        lambda a: rmad.implicit(lambda z, a: z[:1], lambda a: a)(a),
        ValueError,
        "g returned 1 numbers for 2 in z",
    ),
    "not finite": (
        lambda a: rmad.implicit(lambda z, a: z - a, lambda a: a * np.nan)(a),
        ValueError,
        "not finite at the z",
    ),
    "a solution of the wrong shape": (
        lambda a: rmad.implicit(lambda z, a: z - a, lambda a: a, solve_linear=lambda A, b: b[:1])(a),
        ValueError,
        r"solve_linear\(A, b\) must return x of shape \(2,\), got \(1,\)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    f, kind, match = ERRORS[name]
    with pytest.raises(kind, match=match):
        rmad.grad(lambda a: np.sum(f(a)))(np.ones(2))


def test_plain_arguments_only_solve():
    z = np.ones(3)
    assert rmad.implicit(lambda z, a: z - a, lambda a: z)(np.ones(3)) is z


def test_solve_and_g_may_write_into_new_arrays():
    """np.zeros belongs to the user there, although a function is recorded."""

    def g(z, a):
        rest = np.zeros(2)
        rest[0], rest[1] = z[0] ** 2 - a[0], z[1] * z[0] - a[1]
        return rest

    def solve(a):
        z = np.zeros(2)
        z[0] = float(a[0]) ** 0.5
        z[1] = a[1] / z[0]
        return z

    a = np.array([4.0, 3.0])
    rmad.check_grads(rmad.implicit(g, solve), a, order=2)


# -- closures ------------------------------------------------------------------------------------------------------


class Model:
    """A model as people write them: parameters are attributes, the equation is a method."""

    def __init__(self, p):
        self.p, self.more = p, {"q": [p * 2]}

    def g(self, z, _=None):
        return z**3 + z * self.more["q"][0] - self.p


def by_newton(g, z):
    for _ in range(60):
        z = z - np.linalg.solve(rmad.jacobian(g)(z), g(z))
    return z


def closing_over(p):
    g = lambda z, _: z**3 + 2 * p * z - p  # noqa: E731
    return rmad.implicit(g, lambda _: by_newton(lambda z: g(z, None), np.ones(3)))(None)


def with_a_default(p):
    def g(z, a, p=p, *, q=(p, 2)):
        return z**3 + q[1] * q[0] * z - p

    return rmad.implicit(g, partial(lambda p, a: by_newton(lambda z: g(z, None, p), np.ones(3)), p))(None)


def with_a_method(p):
    model = Model(p)
    return rmad.implicit(model.g, lambda _: by_newton(model.g, np.ones(3)))(None)


def with_an_argument(p):
    g = lambda z, p: z**3 + 2 * p * z - p  # noqa: E731
    return rmad.implicit(g, lambda p: by_newton(lambda z: g(z, p), np.ones(3)))(p)


@pytest.mark.parametrize("f", [closing_over, with_a_default, with_a_method])
def test_g_and_solve_may_close_over_traced_arrays(f):
    p = np.array([0.5, 1.0, 2.0])
    rmad.check_grads(f, p, order=2)
    wanted = rmad.hessian(lambda p: np.sum(np.sin(with_an_argument(p))))(p)
    np.testing.assert_allclose(rmad.hessian(lambda p: np.sum(np.sin(f(p))))(p), wanted, rtol=1e-12)


def test_plain_leaves_what_is_plain():
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return f if x > 3 else x

    model = Model(2.0)
    for x in (f, [1, f], {"f": f}, partial(f, 1), (np.ones(2), None), model, len, np):
        assert plain(x) is x
    assert plain(model.g) == model.g

    def traced(x):
        g = plain(lambda y: f(y) + np.sum(x))
        assert g(1.0) == 7.0
        assert plain(Model(x)).more["q"][0].tolist() == [4.0, 8.0]
        assert plain((x, {"x": [x]}))[1]["x"][0].tolist() == [2.0, 4.0]
        return x

    rmad.linearize(traced, np.array([2.0, 4.0]))
    assert count == 1


def test_plain_of_a_function_that_calls_itself():
    def traced(x):
        def power(n):
            return x if n == 0 else x * power(n - 1)

        assert plain(power)(2).tolist() == [8.0, 27.0]
        return x

    rmad.linearize(traced, np.array([2.0, 3.0]))


def test_products_on_several_threads_do_not_wait_for_each_other():
    """The systems are made at the first product, where g may wait for another thread that does the same."""
    meet = threading.Barrier(2, timeout=20)

    def g(z, a):
        if together:
            meet.wait()
        return z**3 - a

    def product(k):
        return lins[k].JTu(np.ones(2))

    together = False
    a = np.array([8.0, 27.0])
    lins = [rmad.linearize(rmad.implicit(g, np.cbrt), a)[1] for _ in range(2)]
    together = True
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(product, range(2)):
            np.testing.assert_allclose(found, [1 / 12, 1 / 27])
