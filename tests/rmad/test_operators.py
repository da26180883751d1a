"""The operators against dense matrices, in the hands of SciPy's solvers, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import Counted
from scipy.optimize import least_squares, minimize, rosen, rosen_der
from scipy.sparse.linalg import aslinearoperator, cg, eigsh, lsmr, minres, svds

import nn
import rmad
import rmad.operators.linear_operator
import rmad.operators.operators

CASES, WIDE, HIDDEN, OUT = 6, 3, 4, 2


class Problem:
    """A tanh net on trees: θ → z, a callable convex loss, and everything dense, built column by column."""

    def __init__(self, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        draw = lambda *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
        self.a, self.t, self.rng = draw(CASES, WIDE), draw(CASES, OUT), rng
        self.x = {"W": draw(WIDE, HIDDEN), "rest": [draw(HIDDEN), (draw(HIDDEN, OUT), draw(OUT))]}
        self.p = rmad.ravel(self.x)[0].size

    def f(self, x):
        W, (b, (V, c)) = x["W"], x["rest"]
        return np.tanh(self.a @ W + b) @ V + c

    def loss(self, z):
        """Σ log(1 + e^(z − t)): convex in z, curved everywhere."""
        return np.sum(np.logaddexp(0.0, z - self.t)) / len(z)

    def total(self, x):
        return self.loss(self.f(x))

    def jacobian(self):
        _, unravel = rmad.ravel(self.x)
        return np.stack([rmad.jvp(self.f, self.x, unravel(e))[1].ravel() for e in np.eye(self.p)], axis=1)

    def hessian(self):
        _, unravel = rmad.ravel(self.x)
        return np.stack([rmad.ravel(rmad.hvp(self.total, self.x, unravel(e)))[0] for e in np.eye(self.p)], axis=1)

    def loss_hessian(self):
        s = 1 / (1 + np.exp(self.t - self.f(self.x)))
        return np.diag((s * (1 - s)).ravel()) / CASES


@pytest.fixture
def problem():
    return Problem()


def dense(operator):
    return np.stack([operator.matvec(e) for e in np.eye(operator.shape[1])], axis=1)


# -- dense matrices ------------------------------------------------------------------------------------------


def test_jacobian_is_the_dense_one(problem):
    J, A = problem.jacobian(), rmad.JacobianOperator(problem.f, problem.x)
    assert A.shape == (CASES * OUT, problem.p)
    np.testing.assert_array_equal(A.value, problem.f(problem.x))
    np.testing.assert_allclose(dense(A), J, atol=1e-13)
    np.testing.assert_allclose(dense(A.T), J.T, atol=1e-13)
    np.testing.assert_allclose(dense(A.H), J.T, atol=1e-13)
    V, U = problem.rng.standard_normal((problem.p, 3)), problem.rng.standard_normal((CASES * OUT, 3))
    np.testing.assert_allclose(A.matmat(V), J @ V, atol=1e-12)
    np.testing.assert_allclose(A.rmatmat(U), J.T @ U, atol=1e-12)
    np.testing.assert_allclose(A @ V, J @ V, atol=1e-12)
    np.testing.assert_allclose(A.rmatvec(U[:, 0]), J.T @ U[:, 0], atol=1e-12)
    np.testing.assert_allclose((2 * A.T @ A + np.float64(3) * A.T @ A) @ V[:, 0], 5 * J.T @ J @ V[:, 0], atol=1e-11)
    assert A.matmat(V[:, :0]).shape == (CASES * OUT, 0)
    assert A.matvec(V[:, :1]).shape == (CASES * OUT, 1)  # a column stays a column


def test_jacobian_vectors_have_the_order_of_ravel(problem):
    A = rmad.JacobianOperator(problem.f, problem.x)
    v = problem.rng.standard_normal(problem.p)
    Jv = rmad.jvp(problem.f, problem.x, rmad.ravel(problem.x)[1](v))[1]
    np.testing.assert_allclose(A.matvec(v), Jv.ravel(), atol=1e-13)


def test_hessian_is_the_dense_one(problem):
    H, A = problem.hessian(), rmad.HessianOperator(problem.total, problem.x)
    np.testing.assert_allclose(dense(A), H, atol=1e-13)
    np.testing.assert_allclose(H, H.T, atol=1e-13)
    assert A.T is A
    assert A.H is A
    np.testing.assert_allclose(A.gradient, rmad.ravel(rmad.grad(problem.total)(problem.x))[0], atol=1e-14)
    v = problem.rng.standard_normal(problem.p)
    np.testing.assert_allclose(A.rmatvec(v), H @ v, atol=1e-12)


def test_ggn_is_the_dense_one(problem):
    J, L = problem.jacobian(), problem.loss_hessian()
    A = rmad.GGNOperator(problem.f, problem.loss, problem.x)
    G = dense(A)
    np.testing.assert_allclose(G, J.T @ L @ J, atol=1e-13)
    np.testing.assert_allclose(G, G.T, atol=1e-14)
    assert np.linalg.eigvalsh(G).min() > -1e-13
    np.testing.assert_array_equal(A.value, problem.f(problem.x))
    V = problem.rng.standard_normal((problem.p, 3))
    np.testing.assert_allclose(A.matmat(V), G @ V, atol=1e-12)


@pytest.mark.parametrize("name", ["SquaredError", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"])
def test_ggn_with_a_bound_loss(problem, name):
    """A loss of nn with its target bound, against the same loss as a plain callable and against the dense matrix."""
    t = {
        "SquaredError": problem.t,
        "SigmoidCrossEntropy": (problem.t > 0).astype(float),
        "SoftmaxCrossEntropy": np.argmax(problem.t, axis=1),
    }[name]
    loss = getattr(nn, name)()
    z = problem.f(problem.x)
    L = np.stack([loss.hessian_product(z, t, e.reshape(z.shape)).ravel() for e in np.eye(z.size)], axis=1)
    J = problem.jacobian()
    G = dense(rmad.GGNOperator(problem.f, loss.bind(t), problem.x))
    np.testing.assert_allclose(G, J.T @ L @ J, atol=1e-13)
    np.testing.assert_allclose(G, dense(rmad.GGNOperator(problem.f, lambda z: loss.value(z, t), problem.x)), atol=1e-12)
    assert np.linalg.eigvalsh((G + G.T) / 2).min() > -1e-13
    np.testing.assert_allclose(G, G.T, atol=1e-13)


def test_hessian_of_a_linear_model_is_its_ggn(problem):
    f = lambda W: problem.a @ W  # noqa: E731
    W = problem.rng.standard_normal((WIDE, OUT))
    G = dense(rmad.GGNOperator(f, problem.loss, W))
    np.testing.assert_allclose(G, dense(rmad.HessianOperator(lambda W: problem.loss(f(W)), W)), atol=1e-13)


# -- one run, one dtype, clear errors ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jacobian", "hessian", "ggn"])
def test_f_runs_once(problem, kind):
    f, loss = Counted(problem.f), Counted(problem.loss)
    A = {
        "jacobian": lambda: rmad.JacobianOperator(f, problem.x),
        "hessian": lambda: rmad.HessianOperator(lambda x: loss(f(x)), problem.x),
        "ggn": lambda: rmad.GGNOperator(f, loss, problem.x),
    }[kind]()
    for k in range(20):
        A.matvec(np.full(A.shape[1], float(k)))
        A.rmatvec(np.full(A.shape[0], float(k)))
    A.matmat(np.ones((A.shape[1], 5)))
    assert f.calls == 1
    assert loss.calls == (0 if kind == "jacobian" else 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    problem = Problem(dtype)
    for A in (
        rmad.JacobianOperator(problem.f, problem.x),
        rmad.HessianOperator(problem.total, problem.x),
        rmad.GGNOperator(problem.f, problem.loss, problem.x),
    ):
        assert A.dtype == dtype
        for given in (np.float32, np.float64, np.int64):
            v, u = np.ones(A.shape[1], given), np.ones(A.shape[0], given)
            assert A.matvec(v).dtype == dtype
            assert A.rmatvec(u).dtype == dtype
            assert A.matmat(np.stack([v, v], axis=1)).dtype == dtype
            assert A.T.matvec(u).dtype == A.H.matvec(u).dtype == dtype


def test_results_belong_to_the_caller(problem):
    A = rmad.GGNOperator(problem.f, problem.loss, problem.x)
    v = problem.rng.standard_normal(problem.p)
    kept = v.copy()
    first = A.matvec(v)
    expected = first.copy()
    A.matvec(2 * v)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(v, kept)
    first[:] = np.nan
    np.testing.assert_array_equal(A.matvec(v), expected)


def test_lists_and_strided_vectors(problem):
    for A in (rmad.JacobianOperator(problem.f, problem.x), rmad.HessianOperator(problem.total, problem.x)):
        v = problem.rng.standard_normal(2 * problem.p)[::2]
        expected = A.matvec(v.copy())
        np.testing.assert_array_equal(A.matvec(v), expected)
        np.testing.assert_array_equal(A.matvec(list(v)), expected)


def test_errors_are_clear(problem):
    J = rmad.JacobianOperator(problem.f, problem.x)
    H = rmad.HessianOperator(problem.total, problem.x)
    G = rmad.GGNOperator(problem.f, problem.loss, problem.x)
    for A in (J, H, G):
        with pytest.raises(ValueError, match="v has shape"):
            A.matvec(np.ones(A.shape[1] + 1))
        with pytest.raises(ValueError, match="u has shape"):
            A.rmatvec(np.ones(A.shape[0] + 1))
    with pytest.raises(TypeError, match="gradient is of a scalar"):
        rmad.HessianOperator(problem.f, problem.x)
    with pytest.raises(TypeError, match="nothing to differentiate"):
        rmad.JacobianOperator(problem.f, np.arange(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_real_operator_takes_complex_vectors(dtype):
    """A (u + iv) = A u + i A v; the adjoint of a real matrix conjugates nothing."""
    problem = Problem(dtype)
    for A in (
        rmad.JacobianOperator(problem.f, problem.x),
        rmad.HessianOperator(problem.total, problem.x),
        rmad.GGNOperator(problem.f, problem.loss, problem.x),
    ):
        matrix, tol = A @ np.eye(A.shape[1]), 1e-5 if dtype == np.float32 else 1e-12
        m, n = A.shape
        draw = lambda *shape: problem.rng.standard_normal((*shape, 2)) @ np.array([1, 1j])  # noqa: E731
        for product, expected in (
            (lambda v: A.matvec(v), lambda v: matrix @ v),  # noqa: B023
            (lambda v: A @ v, lambda v: matrix @ v),  # noqa: B023
            (lambda v: A.T.rmatvec(v), lambda v: matrix @ v),  # noqa: B023
            (lambda v: (A @ np.stack([v, 2j * v], axis=1))[:, 1], lambda v: 2j * matrix @ v),  # noqa: B023
            (lambda v: (2j * A) @ v, lambda v: 2j * matrix @ v),  # noqa: B023
            (lambda v: (2j * A).T.T @ v, lambda v: 2j * matrix @ v),  # noqa: B023
        ):
            v = draw(n)
            np.testing.assert_allclose(product(v), expected(v), atol=tol)
            assert product(v).dtype == np.result_type(dtype, np.complex64)
        for product, expected in (
            (lambda u: A.rmatvec(u), lambda u: matrix.T @ u),  # noqa: B023
            (lambda u: A.H @ u, lambda u: matrix.T @ u),  # noqa: B023
            (lambda u: A.T @ u, lambda u: matrix.T @ u),  # noqa: B023
            (lambda u: u @ A, lambda u: matrix.T @ u),  # noqa: B023
            (lambda u: A.rmatmat(np.stack([u, 2j * u], axis=1))[:, 1], lambda u: 2j * matrix.T @ u),  # noqa: B023
            (lambda u: (2j * A).H @ u, lambda u: -2j * matrix.T @ u),  # noqa: B023
            (lambda u: (2j * A).rmatvec(u), lambda u: -2j * matrix.T @ u),  # noqa: B023
        ):
            u = draw(m)
            np.testing.assert_allclose(product(u), expected(u), atol=tol)
            assert product(u).dtype == np.result_type(dtype, np.complex64)


def test_the_jacobian_of_a_holomorphic_function_is_that_of_its_pairs():
    rng = np.random.default_rng(1)
    M = rng.standard_normal((4, 3)) + 1j * rng.standard_normal((4, 3))
    x = rng.standard_normal(3) + 1j * rng.standard_normal(3)
    A = rmad.JacobianOperator(lambda x: np.exp(M @ x), x)
    J = np.exp(M @ x)[:, None] * M
    assert (A.shape, A.dtype) == ((8, 6), np.float64)
    for v in (np.eye(3)[0], 1j * np.eye(3)[1], x):
        np.testing.assert_allclose(A.matvec(v.astype(complex).view(float)), (J @ v).view(float), atol=1e-12)
    for u in (np.eye(4)[0], 1j * np.eye(4)[3], A.value):
        np.testing.assert_allclose(A.rmatvec(u.astype(complex).view(float)), (J.conj().T @ u).view(float), atol=1e-12)


# -- SciPy ---------------------------------------------------------------------------------------------------


def quadratic(n=12, seed=2):
    """½ xᵀHx with a positive definite H, and H."""
    A = np.random.default_rng(seed).standard_normal((n, n))
    H = A @ A.T / n + np.eye(n)
    return lambda x: 0.5 * x @ (H @ x), H


@pytest.mark.parametrize("solve", [cg, minres])
def test_scipy_solves_with_a_hessian(solve):
    f, H = quadratic()
    b = np.random.default_rng(3).standard_normal(len(H))
    x, info = solve(rmad.HessianOperator(f, np.zeros(len(H))), b, rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(x, np.linalg.solve(H, b), rtol=1e-8, atol=1e-9)


def test_scipy_solves_with_a_damped_ggn(problem):
    A = rmad.GGNOperator(problem.f, problem.loss, problem.x)
    b = problem.rng.standard_normal(problem.p)
    x, info = cg(A + aslinearoperator(0.1 * np.eye(problem.p)), b, rtol=1e-12, maxiter=1000)
    assert info == 0
    np.testing.assert_allclose(x, np.linalg.solve(dense(A) + 0.1 * np.eye(problem.p), b), rtol=1e-7, atol=1e-8)


def test_scipy_eigenvalues(problem):
    A = rmad.HessianOperator(problem.total, problem.x)
    v0 = problem.rng.standard_normal(problem.p)
    values, vectors = eigsh(A, k=3, which="LA", v0=v0)
    expected = np.linalg.eigvalsh(dense(A))[-3:]
    np.testing.assert_allclose(np.sort(values), expected, atol=1e-10)
    np.testing.assert_allclose(A.matmat(vectors), vectors * values, atol=1e-9)


def test_scipy_singular_values(problem):
    A = rmad.JacobianOperator(problem.f, problem.x)
    v0 = problem.rng.standard_normal(min(A.shape))
    values = svds(A, k=3, v0=v0, return_singular_vectors=False)
    np.testing.assert_allclose(np.sort(values), np.linalg.svd(dense(A), compute_uv=False)[2::-1], atol=1e-10)


def test_scipy_least_norm_solution(problem):
    A = rmad.JacobianOperator(problem.f, problem.x)
    b = problem.rng.standard_normal(A.shape[0])
    x = lsmr(A, b, atol=1e-14, btol=1e-14, maxiter=2000)[0]
    np.testing.assert_allclose(x, np.linalg.lstsq(dense(A), b, rcond=None)[0], rtol=1e-6, atol=1e-7)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov"])
@pytest.mark.parametrize("how", ["hessp", "operator"])
def test_scipy_minimizes_rosenbrock(method, how):
    x0 = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
    np.testing.assert_allclose(rosenbrock(x0), rosen(x0), rtol=1e-14)
    np.testing.assert_allclose(rmad.grad(rosenbrock)(x0), rosen_der(x0), rtol=1e-12)
    curvature = {
        "hessp": {"hessp": lambda x, v: rmad.hvp(rosenbrock, x, v)},
        "operator": {"hessp": lambda x, v: rmad.HessianOperator(rosenbrock, x) @ v},
    }[how]
    options = {"xtol": 1e-10} if method == "Newton-CG" else {"gtol": 1e-8}
    found = minimize(rosenbrock, x0, jac=rmad.grad(rosenbrock), method=method, options=options, **curvature)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, np.ones(5), atol=1e-5)


def test_scipy_minimizes_with_an_operator_as_hessian():
    """Newton-CG also takes a LinearOperator from `hess`: one run of the gradient per step."""
    f = Counted(rosenbrock)
    found = minimize(
        rosenbrock,
        np.array([1.3, 0.7, 0.8, 1.9, 1.2]),
        jac=rmad.grad(rosenbrock),
        hess=lambda x: rmad.HessianOperator(f, x),
        method="Newton-CG",
        options={"xtol": 1e-10},
    )
    assert found.success, found.message
    np.testing.assert_allclose(found.x, np.ones(5), atol=1e-5)
    assert f.calls == found.nit < found.nhev  # SciPy counts the products


def test_scipy_least_squares():
    s = np.linspace(0, 1, 30)
    model = lambda x: x[0] * np.exp(-x[1] * s) + x[2]  # noqa: E731
    truth = np.array([2.0, 3.0, 0.5])
    y = model(truth)
    fun = lambda x: model(x) - y  # noqa: E731
    found = least_squares(fun, np.ones(3), jac=lambda x: rmad.JacobianOperator(fun, x), tr_solver="lsmr", xtol=1e-14)
    assert found.success
    np.testing.assert_allclose(found.x, truth, atol=1e-7)


# -- the procedure of Martens & Sutskever (2012), section 7.2 ------------------------------------------------


def test_g_by_finite_differences():
    """Jw, L″w and Jᵀw by central differences with ε = 1e-4, then G e_j for every j, to a relative error of 1e-6."""
    problem, eps = Problem(seed=4), 1e-4
    theta, unravel = rmad.ravel(problem.x)
    theta = 0.7 * theta  # a scale that is neither linear nor saturated
    F = lambda theta: problem.f(unravel(theta)).ravel()  # noqa: E731
    z = F(theta).reshape(CASES, OUT)
    gradient = lambda z: 1 / (1 + np.exp(problem.t - z.reshape(CASES, OUT))).ravel() / CASES  # noqa: E731, by hand

    Jw = lambda w: (F(theta + eps * w) - F(theta - eps * w)) / (2 * eps)  # noqa: E731, step 1
    zf = z.ravel()
    Lw = lambda w: (gradient(zf + eps * w) - gradient(zf - eps * w)) / (2 * eps)  # noqa: E731, step 2
    J = np.stack([Jw(e) for e in np.eye(theta.size)], axis=1)  # step 3: [J]ᵀ_ji = [J e_j]_i

    close = lambda a, b: np.linalg.norm(a - b) <= 1e-6 * np.linalg.norm(b)  # noqa: E731
    A = rmad.JacobianOperator(problem.f, unravel(theta))
    G = rmad.GGNOperator(problem.f, problem.loss, unravel(theta))
    _, L = rmad.linearize(rmad.grad(problem.loss), z)
    w, u = problem.rng.standard_normal(theta.size), problem.rng.standard_normal(z.size)
    assert close(A.matvec(w), Jw(w))
    assert close(L.Jv(u.reshape(z.shape)).ravel(), Lw(u))
    assert close(A.rmatvec(u), J.T @ u)
    for e in np.eye(theta.size):
        assert close(G.matvec(e), J.T @ Lw(Jw(e)))
