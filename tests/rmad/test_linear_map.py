"""linear_map: constant matrices, operators and functions with adjoints as differentiable functions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg

import rmad

RNG = np.random.default_rng(0)
M = RNG.standard_normal((4, 6)) * (RNG.random((4, 6)) < 0.5)
C = M + 1j * RNG.standard_normal((4, 6)) * (M != 0)


def operator(A):
    return LinearOperator(A.shape, matvec=lambda v: A @ v, rmatvec=lambda u: A.conj().T @ u, dtype=A.dtype)


FORMATS = ["csr", "csc", "coo", "dia", "bsr", "lil", "dok"]
MAPS = {
    **{f"{kind} array": lambda A, kind=kind: rmad.linear_map(sp.coo_array(A).asformat(kind)) for kind in FORMATS},
    "csr matrix": lambda A: rmad.linear_map(sp.csr_matrix(A)),
    "dense": rmad.linear_map,
    "operator": lambda A: rmad.linear_map(operator(A)),
    "aslinearoperator": lambda A: rmad.linear_map(aslinearoperator(sp.csr_array(A))),
    "a map": lambda A: rmad.linear_map(rmad.linear_map(A)),
    "function": lambda A: rmad.linear_map(lambda x: A @ x, lambda u: A.conj().T @ u),
}


def vector(shape, dtype=float, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if dtype is complex else x


@pytest.mark.parametrize("matrix", [M, C], ids=["real", "complex"])
@pytest.mark.parametrize("name", MAPS)
def test_products_and_derivatives(name, matrix):
    A = MAPS[name](matrix)
    for B, wanted in ((A, matrix), (A.T, matrix.T), (A.H, matrix.conj().T), (A.T.H.T, matrix.conj().T)):
        for columns in ((), (3,)):
            x = vector((wanted.shape[1], *columns), wanted.dtype.type)
            np.testing.assert_allclose(B @ x, wanted @ x, rtol=1e-12, atol=1e-13)
            rmad.check_grads(lambda x, B=B: B @ x, x, order=2)
            rmad.check_grads(lambda x, B=B: B @ np.tanh(x) * np.sum(x.real), x.real, order=2)
    u = vector(4, matrix.dtype.type)
    np.testing.assert_allclose(u @ A, u @ matrix, rtol=1e-12, atol=1e-13)
    rmad.check_grads(lambda u: u @ A, u)


@pytest.mark.parametrize("columns", [(), (2,)])
@pytest.mark.parametrize("name", MAPS)
def test_stacks(name, columns):
    """Jacobians push, or pull, many tangents at once; both must be the matrix."""
    A, n = MAPS[name](M), len(columns) + 1
    for B, wanted in ((A, M), (A.T, M.T)):
        J = rmad.jacobian(lambda x, B=B: B @ x)(vector((wanted.shape[1], *columns)))
        exact = np.einsum("ij,kl->ikjl", wanted, np.eye(*columns * 2)) if columns else wanted
        np.testing.assert_allclose(J, exact, rtol=1e-12, atol=1e-13)
        H = rmad.hessian(lambda x, B=B: np.sum((B @ x) ** 2))(vector((wanted.shape[1], *columns)))
        gram = wanted.T @ wanted
        exact = np.einsum("ij,kl->ikjl", gram, np.eye(*columns * 2)) if columns else gram
        np.testing.assert_allclose(H, 2 * exact, rtol=1e-11, atol=1e-12, err_msg=str(n))


def test_products_of_plain_sparse_matrices_take_stacks_too():
    S = sp.csr_array(M)
    for f, wanted in ((lambda x: S @ x, M), (lambda x: x @ S.T, M), (lambda x: x @ S, M.T), (lambda x: S.T @ x, M.T)):
        np.testing.assert_allclose(rmad.jacobian(f)(vector(wanted.shape[1])), wanted, rtol=1e-12)
    J = rmad.jacobian(lambda X: X @ S)(vector((3, 4)))
    np.testing.assert_allclose(J, np.einsum("ab,ij->aibj", np.eye(3), M.T), rtol=1e-12, atol=1e-13)


def test_one_product_for_a_stack():
    calls = []

    class Counted(sp.csr_array):
        def __matmul__(self, x):
            calls.append(x.shape)
            return super().__matmul__(x)

    A = rmad.linear_map(Counted(M))
    rmad.jacobian(lambda x: np.sin(A @ x))(vector(6))
    assert len(calls) <= 2


def fft_pairs():
    n, image = 8, (4, 6)
    yield "fft", (np.fft.fft, lambda u: n * np.fft.ifft(u)), vector(n, complex), False
    yield "rfft", (np.fft.rfft, lambda u: n * np.fft.irfft(halved(u, n), n)), vector(n), False
    yield "shift", (lambda x: np.roll(x, (1, 2), (0, 1)), lambda u: np.roll(u, (-1, -2), (0, 1))), vector(image), True
    yield "smooth", (lambda x: smooth(x), lambda u: smooth(u)), vector(image), True


def halved(u, n):
    """⟨u, rfft(x)⟩ counts every frequency once, irfft counts the inner ones twice."""
    weights = np.full(u.shape[-1], 0.5)
    weights[0] = weights[-1] = 1.0
    return u * weights


def smooth(x):
    return x / 2 + (np.roll(x, 1, 0) + np.roll(x, -1, 0)) / 4


@pytest.mark.parametrize(
    ("pair", "x", "real"), [case[1:] for case in fft_pairs()], ids=[case[0] for case in fft_pairs()]
)
def test_functions_with_their_adjoints(pair, x, real):
    A = rmad.linear_map(*pair)
    y = A(x)
    np.testing.assert_array_equal(y, pair[0](x))
    rmad.check_grads(lambda x: A @ x, x, order=2)
    rmad.check_grads(lambda u: A.H @ u, y, order=2)
    rmad.check_grads(lambda u: A.T.dot(u), y, order=2)
    rmad.check_grads(lambda x: np.abs(A @ np.sin(x)) ** 2, x, order=2)
    np.testing.assert_allclose(np.vdot(y, y).real, np.vdot(A.H @ y, x).real, rtol=1e-12)
    if real:
        np.testing.assert_array_equal(A.T @ y, A.H @ y)


def test_algebra_and_solvers():
    S = sp.diags_array([[-1.0] * 9, [2.5] * 10, [-1.0] * 9], offsets=[-1, 0, 1])
    A = rmad.linear_map(S)
    B = 2 * A + A.T @ A - A
    x = vector(10)
    D = S.toarray()
    np.testing.assert_allclose(B @ x, (D + D.T @ D) @ x, rtol=1e-12)
    rmad.check_grads(lambda x: B @ x**2, x, order=2)
    found, info = cg(A, x, rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(D @ found, x, rtol=1e-9)


@pytest.mark.parametrize("kind", ["csr array", "csr matrix", "dense"])
def test_sparse_jacobians_see_the_pattern(kind):
    n = 300
    S = sp.diags_array([[-1.0] * (n - 1), [2.0] * n, [-1.0] * (n - 1)], offsets=[-1, 0, 1]).tocsr()
    A = MAPS[kind](S.toarray())
    x = vector(n)
    evaluate = rmad.sparse_jacobian(lambda x: A @ x + x**3)
    J = evaluate(x)
    assert J.nnz == 3 * n - 2
    assert evaluate.sparsity.products <= 3
    np.testing.assert_allclose(J.toarray(), S.toarray() + np.diag(3 * x**2), rtol=1e-10, atol=1e-12)


def test_sparse_jacobians_see_the_pattern_of_columns():
    n, c = 60, 3
    S = sp.diags_array([[-1.0] * (n - 1), [2.0] * n], offsets=[-1, 0]).tocsr()
    A = rmad.linear_map(S)
    for f in (lambda x: (A @ x.reshape(n, c)).ravel(), lambda x: (x.reshape(c, n) @ S).ravel()):
        x = vector(n * c)
        J = rmad.sparse_jacobian(f)(x)
        assert J.nnz == c * (2 * n - 1)
        np.testing.assert_allclose(J.toarray(), rmad.jacobian(f)(x), rtol=1e-10, atol=1e-12)


ERRORS = {
    "a function without adjoint": (lambda: rmad.linear_map(np.fft.fft), "a function needs its adjoint"),
    "a number": (lambda: rmad.linear_map(3.0), "must be a matrix, a LinearOperator or a function, not a float"),
    "a vector": (lambda: rmad.linear_map(np.ones(3)), "not a ndarray"),
    "an adjoint of no function": (lambda: rmad.linear_map(M, M.T), "S must be a function, not a ndarray"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    make, match = ERRORS[name]
    with pytest.raises(TypeError, match=match):
        make()


def test_a_vector_that_does_not_fit():
    with pytest.raises(ValueError, match=r"of shape \(4, 6\): v has shape \(5, 1\)"):
        rmad.linear_map(sp.csr_array(M)) @ np.ones((5, 1))
