"""numpy.linalg and SciPy's matrix functions where the table of primitives does not look: limits and costs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import rmad

la = np.linalg


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def close(a, b, rtol=1e-12):
    scale = np.max(np.abs(b), initial=0, where=np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(scale), strict=True)


# -- what has no derivative says so ------------------------------------------------------------------------


@pytest.mark.parametrize("f", [lambda A: la.eigh(A)[1], lambda A: la.eig(A)[1], lambda A: la.svd(A)[0]])
def test_vectors_of_a_repeated_value(f):
    _, lin = rmad.linearize(f, np.eye(3))
    with pytest.raises(la.LinAlgError, match="repeated"):
        lin.Jv(np.ones((3, 3)))
    with pytest.raises(la.LinAlgError, match="repeated"):
        lin.JTu(np.ones((3, 3)))


def test_values_that_repeat_are_fine():
    close(rmad.grad(lambda A: np.sum(la.eigh(A)[0]))(np.eye(3)), np.eye(3))
    close(rmad.grad(lambda A: np.real(np.sum(la.eigvals(A))))(np.eye(3)), np.eye(3))
    close(rmad.grad(lambda A: la.norm(A, "nuc"))(np.eye(3)), np.eye(3))


def test_singular_vectors_of_zero():
    with pytest.raises(la.LinAlgError, match="zero"):
        rmad.jvp(lambda A: la.svd(A, full_matrices=False)[0], np.eye(3, 2) * [1, 0], np.ones((3, 2)))


@pytest.mark.parametrize(
    ("f", "shape", "message"),
    [
        (la.svd, (4, 2), "full_matrices=False"),
        (lambda A: la.qr(A, mode="complete"), (3, 2), "mode='reduced'"),
        (lambda A: la.qr(A, mode="raw"), (3, 2), "'raw'"),
        (lambda A: la.norm(A, "nuc"), (3,), "'nuc'"),
        (lambda A: la.norm(A, 3), (3, 2), "3"),
        (lambda A: la.norm(A, 2), (3, 2, 2), "axis="),
        (lambda A: la.norm(A, axis=(0, -2)), (3, 2), "two different"),
        (lambda A: la.tensorsolve(A, np.ones(2)), (2, 3), r"\(2, 3\)"),
        (lambda A: la.tensorinv(A, ind=0), (2, 2), "ind"),
        (lambda A: la.multi_dot([A]), (2, 2), "two arrays"),
        (lambda A: la.outer(A, A), (2, 2), "vectors"),
        (lambda A: la.cross(A, A), (2, 2), "3 elements"),
        (lambda A: np.fft.fftn(A, (2,), (0, 1)), (2, 2), "different lengths"),
        (lambda A: rmad.expm(A), (2, 3), "not square"),
        (lambda A: rmad.solve_triangular(A, np.ones(3)), (2, 2), "do not fit"),
        (lambda A: rmad.solve_triangular(A, A, trans=3), (2, 2), "trans"),
        (lambda A: rmad.multigammaln(A, 4), (2, 2), "greater than"),
        (lambda A: rmad.multigammaln(A, 0), (2, 2), "positive integer"),
    ],
)
def test_errors(f, shape, message):
    with pytest.raises(ValueError, match=message):
        rmad.linearize(f, np.ones(shape))


def test_singular_system():
    with pytest.raises(la.LinAlgError):
        rmad.linearize(lambda A: la.solve(A, np.ones(2)), np.ones((2, 2)))
    _, lin = rmad.linearize(lambda A: la.slogdet(A)[0], np.ones((2, 2)))
    close(lin.Jv(np.eye(2)), np.float64(0))


@pytest.mark.parametrize(
    "f", [scipy.special.logsumexp, scipy.special.softmax, scipy.linalg.expm, scipy.linalg.sqrtm, scipy.linalg.inv]
)
def test_scipys_own_functions_do_not_take_traced_arrays(f):
    with pytest.raises(TypeError, match="without losing its derivative"):
        rmad.linearize(f, np.eye(3))


# -- values that known formulas give -----------------------------------------------------------------------


def test_det_of_a_singular_matrix(rng):
    """The adjugate of a matrix of rank n − 1 is an outer product of null vectors."""
    A = rng.standard_normal((4, 3)) @ rng.standard_normal((3, 4))
    C = [[(-1) ** (i + j) * la.det(np.delete(np.delete(A, i, 0), j, 1)) for j in range(4)] for i in range(4)]
    close(rmad.grad(la.det)(A), np.array(C))


def test_det_of_small_and_large_numbers():
    for scale in (1e-60, 1e60):
        A = scale * np.array([[2.0, 1.0], [1.0, 3.0]])
        close(rmad.grad(la.det)(A), scale * np.array([[3.0, -1.0], [-1.0, 2.0]]))


def test_log_determinant_in_three_ways(rng):
    X = rng.standard_normal((5, 3))
    wanted = 2 * X @ la.inv(X.T @ X)
    for f in (
        lambda X: la.slogdet(X.T @ X)[1],
        lambda X: np.sum(np.log(la.eigvalsh(X.T @ X))),
        lambda X: 2 * np.sum(np.log(np.diagonal(la.cholesky(X.T @ X)))),
        lambda X: 2 * np.sum(np.log(la.svdvals(X))),
        lambda X: 2 * np.sum(np.log(np.abs(np.diagonal(la.qr(X, mode="r"))))),
    ):
        close(rmad.grad(f)(X), wanted, rtol=1e-11)


def test_function_of_a_hermitian_matrix(rng):
    """Q f(w) Qᴴ has one derivative whatever phases the vectors have: compare the matrix exponential."""
    A = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    H, V = A + A.conj().T, 1j * (A - A.conj().T)

    def by_eigh(H):
        w, Q = la.eigh(H)
        return (Q * np.exp(w)) @ np.conj(Q.T)

    close(rmad.jvp(by_eigh, H, V)[1], rmad.jvp(rmad.expm, H, V)[1], rtol=1e-11)


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1.0, 1e8, 1e200])
def test_frechet_derivative_of_expm(rng, scale):
    A, V = rng.standard_normal((2, 5, 5))
    close(rmad.jvp(rmad.expm, A, scale * V)[1] / scale, scipy.linalg.expm_frechet(A, V, compute_expm=False), rtol=1e-13)


def test_multi_dot_multiplies_in_the_cheapest_order(rng):
    """The example of Cormen et al., section 14.2: ((A₁ (A₂ A₃)) ((A₄ A₅) A₆))."""
    sizes = 30, 35, 15, 5, 10, 20, 25
    matrices = [rng.standard_normal(shape) for shape in pairwise(sizes)]
    nodes = rmad.linearize(la.multi_dot, matrices)[1]._record.tape.nodes[len(matrices) :]
    assert [node.spec.shape for node in nodes] == [(35, 5), (30, 5), (5, 20), (5, 25), (30, 25)]


def test_norm_of_zero_has_the_derivative_zero():
    for f in (la.norm, la.vector_norm, lambda x: la.norm(x, 3), lambda x: la.norm(x, 1.5), lambda x: la.norm(x, 1)):
        close(rmad.grad(f)(np.zeros(3)), np.zeros(3))


# -- SciPy's functions on plain arrays -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_as_in_scipy_special(rng, name, axis, dtype):
    x = (30 * rng.standard_normal((4, 5))).astype(dtype)
    y, wanted = getattr(rmad, name)(x, axis=axis), getattr(scipy.special, name)(x, axis=axis)
    close(y, wanted, rtol=1e-5 if dtype is np.float32 else 1e-13)


def test_plain_lists_and_numbers():
    close(rmad.logsumexp([0, 1, 2]), scipy.special.logsumexp([0, 1, 2]))
    close(rmad.logsumexp(3), np.float64(3))
    close(rmad.softmax([1, 2]), scipy.special.softmax([1, 2]))
    close(rmad.multigammaln(4, 2), np.float64(scipy.special.multigammaln(4, 2)))
    close(rmad.expm([[0, 1], [0, 0]]), np.array([[1.0, 1.0], [0.0, 1.0]]))


@pytest.mark.parametrize("b", [None, [1.0, 0.0, 2.0, 3.0]])
@pytest.mark.parametrize("sign", [False, True])
def test_logsumexp_of_infinities(b, sign):
    a = np.array([[0, 1, -np.inf, 2], [-np.inf] * 4, [1000, 999, -np.inf, 1], [1e-20, -np.inf, -np.inf, -np.inf]])
    b = None if b is None else np.array(b)
    y = rmad.logsumexp(a, axis=1, b=b, return_sign=sign)
    for ours, wanted in zip(y, scipy.special.logsumexp(a, axis=1, b=b, return_sign=sign), strict=True):
        close(ours, wanted)


def test_logsumexp_counts_nothing_of_weight_zero():
    """No NaN and no warning from entries of −inf, of weight zero, or of both; a row of nothing has the derivative 0."""
    a = np.array([[0, 1, -np.inf], [-np.inf] * 3, [np.inf, 2, 3]])
    b = np.array([[1.0, 0, 1], [1, 1, 1], [0, 1, 0]])
    wanted = np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])
    f = lambda a: rmad.logsumexp(a, axis=1, b=b)  # noqa: E731
    close(f(a), np.array([0, -np.inf, 2]))
    _, lin = rmad.linearize(f, a)
    close(lin.JTu(np.ones(3)), wanted)
    close(lin.Jv(np.ones((3, 3))), np.array([1.0, 0, 1]))
    close(rmad.jvp(lambda a: rmad.vjp(f, a)[1](np.ones(3)), a, np.ones((3, 3)))[1], np.zeros((3, 3)))


def test_logsumexp_of_a_negative_sum():
    a, b = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([1.0, -1.0])
    y = rmad.logsumexp(a, axis=1, b=b)
    assert np.isnan(y[0])
    close(y[1], np.log(np.exp(2) - np.exp(1)))
    close(rmad.logsumexp(a, axis=1, b=b, return_sign=True)[1], np.array([-1.0, 1.0]))


@pytest.mark.parametrize("n", [3, 80])
@pytest.mark.parametrize("trans", [0, "T", 2])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular_as_in_scipy(rng, n, trans, lower, unit):
    """The other triangle is not read; small systems and large ones take different routines."""
    a = 0.1 * rng.standard_normal((n, n)) + 2 * np.eye(n) + 0.1j * rng.standard_normal((n, n))
    B = rng.standard_normal((n, 2))
    for b in (B, B[:, 0]):
        y = rmad.solve_triangular(a, b, trans, lower, unit)
        close(y, scipy.linalg.solve_triangular(a, b, trans, lower, unit))
        rmad.check_grads(lambda b, unit=unit: rmad.solve_triangular(a, b, trans, lower, unit), b, order=1)


def test_solve_triangular_errors():
    with pytest.raises(la.LinAlgError):
        rmad.solve_triangular(np.zeros((2, 2)), np.ones(2))
    with pytest.raises(ValueError, match="infs or NaNs"):
        rmad.solve_triangular(np.eye(2), np.array([1, np.nan]))


def test_functions_of_matrices_as_in_scipy(rng):
    A = rng.standard_normal((2, 4, 4))
    S = A @ np.swapaxes(A, -1, -2) + np.eye(4)
    b = rng.standard_normal((4, 3))
    close(rmad.expm(A), scipy.linalg.expm(A))
    close(rmad.sqrtm(S), np.stack([scipy.linalg.sqrtm(matrix) for matrix in S]))
    for lower in (False, True):
        close(rmad.cho_solve(rmad.cho_factor(S[0], lower), b), la.solve(S[0], b))
        close(rmad.cho_solve(scipy.linalg.cho_factor(S[0], lower), b), la.solve(S[0], b))


# -- what a sweep costs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "routine"),
    [
        (lambda A: la.solve(A, np.ones(3)), "inv"),
        (la.inv, "inv"),
        (la.slogdet, "inv"),
        (la.det, "inv"),
        (la.pinv, "pinv"),
        (la.qr, "inv"),
        (la.cholesky, "inv"),
        (la.eigvals, "inv"),
    ],
)
def test_one_factorization_serves_every_sweep(rng, monkeypatch, f, routine):
    """The first sweep may invert once; the hundred that follow only multiply."""
    A = np.diag([3.0, 2.0, 1.0]) + 0.1 * np.ones((3, 3))
    y, lin = rmad.linearize(f, A)
    u = rmad.trees.tree.map_leaves(np.ones_like, y)
    first = lin.Jv(np.ones((3, 3))), lin.JTu(u)

    def refuse(*args, **kwargs):
        raise AssertionError("a later sweep factorizes again")

    for name in ("inv", "solve", "svd", "pinv", "det", "eig", "qr", "cholesky"):
        monkeypatch.setattr(la, name, refuse)
    for (_, a), (_, b) in zip(
        rmad.trees.tree.leaves((lin.Jv(np.ones((3, 3))), lin.JTu(u))), rmad.trees.tree.leaves(first), strict=True
    ):
        close(np.asarray(a), np.asarray(b))


def test_unused_outputs_keep_no_residuals(rng):
    """If only s of svd is used, the blocks of U and V are dropped, and no 1/(s_j² − s_i²) is ever formed."""
    _, lin = rmad.linearize(lambda A: la.svd(A)[1], np.eye(3))
    close(lin.Jv(np.diag([1.0, 2.0, 3.0])), np.array([1.0, 2.0, 3.0]))


def test_trace_and_diagonal_are_those_of_the_last_two_axes(rng):
    """Unlike those of numpy itself, which take the first two."""
    x = rng.standard_normal((3, 3, 3))
    for f in (la.trace, la.diagonal):
        y, lin = rmad.linearize(lambda x, f=f: f(x, offset=1), x)
        np.testing.assert_array_equal(y, f(x, offset=1), strict=True)
        assert np.sum(y * lin.Jv(x)) == pytest.approx(np.sum(y * y))
