"""Second derivatives of even functions of a length are right where it is 0; where there is no limit, they are 0.

Each Hessian is taken in every nesting of forward and reverse mode, recorded and planned.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special as sc
from hypothesis import given
from hypothesis import strategies as st

import rmad

norm = np.linalg.norm
I2, I3, I4 = np.eye(2), np.eye(3), np.eye(4)
ZERO = np.zeros(3)
A = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 1.0]])
RNG = np.random.default_rng(0)


def columns(product, x):
    """The matrix of a linear map of trees like x, column by column."""
    return np.stack([np.ravel(product(e.reshape(x.shape))) for e in np.eye(x.size)], axis=1)


def by_jvp_of_grad(f, x):
    return columns(lambda v: rmad.hvp(f, x, v), x)


def by_plan(f, x):
    return columns(rmad.linearize(rmad.grad(f), x)[1].Jv, x)


def by_plan_backwards(f, x):
    return columns(rmad.linearize(rmad.grad(f), x)[1].JTu, x)


def by_grad_of_grad(f, x):
    return columns(lambda v: rmad.grad(lambda x: np.sum(rmad.grad(f)(x) * v))(x), x)


def by_grad_of_jvp(f, x):
    return columns(lambda v: rmad.grad(lambda x: rmad.jvp(f, x, v)[1])(x), x)


def by_grad_of_Jv(f, x):
    return columns(lambda v: rmad.grad(lambda x: rmad.linearize(f, x)[1].Jv(v))(x), x)


def by_jvp_of_jvp(f, x):
    return columns(
        lambda v: [rmad.jvp(lambda x: rmad.jvp(f, x, v)[1], x, w)[1] for w in np.eye(x.size).reshape(x.size, *x.shape)],
        x,
    )


WAYS = [by_jvp_of_grad, by_plan, by_plan_backwards, by_grad_of_grad, by_grad_of_jvp, by_grad_of_Jv, by_jvp_of_jvp]


def as_complex(x):
    return x[: x.size // 2] + 1j * x[x.size // 2 :]


def some_with_a_kink(x):
    y = np.abs(x)
    return y[0] + np.sum(y[1:] ** 2)


def written_square(x):
    """Σ of squared norms of rows, squared in place, of an array that is written into."""
    y = np.zeros((2, 2))
    y.flat = x
    n = norm(y, axis=1)
    n *= n
    return np.sum(n)


def norm_that_is_written(x):
    n = np.array([norm(x), 1.0])
    n[:1] **= 2
    return n[0]


EXISTS = {
    "power spectrum": (lambda u: np.sum(np.abs(np.fft.fft(u)) ** 2), np.zeros(4), 8 * I4),
    "weight decay": (lambda x: 0.5 * norm(x) ** 2, ZERO, I3),
    "norm times norm": (lambda x: norm(x) * norm(x), ZERO, 2 * I3),
    "computed twice": (lambda x: norm(A @ x - A @ [1, 2]) * norm(A @ x - A @ [1, 2]), np.array([1.0, 2]), 2 * A.T @ A),
    "cosh, computed twice": (
        lambda x: np.exp(norm(A @ x)) + np.exp(-norm(A @ x)),
        np.zeros(2),
        2 * A.T @ A,
    ),
    "hypot, computed twice": (
        lambda x: np.hypot(x[0] - 1, x[1] - 1) * np.hypot(x[0] - 1, x[1] - 1),
        np.ones(2),
        2 * I2,
    ),
    "abs, computed twice": (lambda x: np.abs(np.sin(x)) @ np.abs(np.sin(x)), ZERO, 2 * I3),
    "a system solved twice": (
        lambda x: norm(np.linalg.solve(2 * I3, x)) * norm(np.linalg.solve(2 * I3, x)),
        ZERO,
        I3 / 2,
    ),
    "scaled": (lambda x: (3 * norm(x)) ** 2 / 2, ZERO, 9 * I3),
    "Frobenius": (lambda x: norm(x) ** 2, np.zeros((2, 2)), 2 * I4),
    "matrix_norm": (lambda x: np.linalg.matrix_norm(x) ** 2, np.zeros((2, 2)), 2 * I4),
    "vector_norm": (lambda x: np.linalg.vector_norm(x, axis=1)[0] ** 2, np.zeros((2, 2)), np.diag([2, 2, 0, 0])),
    "a row of zeros": (
        lambda x: np.sum(norm(x, axis=1) ** 2 * np.array([1.0, 2.0])),
        np.array([[0.0, 0.0], [1.0, 2.0]]),
        np.diag([2.0, 2, 4, 4]),
    ),
    "rows of zeros": (lambda x: norm(x, axis=1) @ norm(x, axis=1), np.zeros((2, 2)), 2 * I4),
    "a slice": (lambda x: norm(x.reshape(2, 2), axis=1)[1] ** 2, np.zeros(4), np.diag([0.0, 0, 2, 2])),
    "norm of norms": (lambda x: norm(norm(x, axis=1)) ** 2, np.zeros((2, 2)), 2 * I4),
    "largest of one": (lambda x: norm(x, np.inf) ** 2 + norm(x, 1) ** 2, np.zeros(1), 4 * np.eye(1)),
    "abs": (lambda x: np.sum(np.abs(x) ** 2), ZERO, 2 * I3),
    "fabs": (lambda x: np.sum(np.fabs(x) * np.fabs(x)), ZERO, 2 * I3),
    "x.real": (lambda x: np.sum(np.abs(as_complex(x).real) ** 2), np.zeros(4), np.diag([2.0, 2, 0, 0])),
    "einsum": (lambda x: np.einsum("i,i", np.abs(x), np.abs(x)), ZERO, 2 * I3),
    "complex abs": (lambda x: np.sum(np.abs(as_complex(x)) ** 2), np.zeros(4), 2 * I4),
    "complex norm": (lambda x: norm(as_complex(x)) ** 2, np.zeros(4), 2 * I4),
    "hypot": (lambda x: np.hypot(x[0], x[1]) ** 2, np.zeros(2), 2 * I2),
    "hypot, broadcast": (lambda x: np.sum(np.hypot(x[:, None], x) ** 2), np.zeros(2), 8 * I2),
    "hypot with 0": (lambda x: np.sum(np.hypot(x, 0.0) ** 2 + np.hypot(np.zeros(2), x) ** 2), np.zeros(2), 4 * I2),
    "hypot, two constants": (
        lambda x: np.sum(np.hypot(x, np.array([0.0, 1.0])) ** 2 + 2 * np.hypot(x, np.array([1.0, 0.0])) ** 2),
        np.zeros(2),
        6 * I2,
    ),
    "std": (lambda x: 3 * np.std(x) ** 2, ZERO + 2, 2 * (I3 - 1 / 3)),
    "std times std": (lambda x: 3 * np.std(x) * np.std(x), ZERO + 2, 2 * (I3 - 1 / 3)),
    "std of rows": (lambda x: 2 * np.sum(np.std(x, axis=1) ** 2), np.ones((2, 2)), 2 * np.kron(I2, I2 - 0.5)),
    "nanstd": (lambda x: 3 * np.nanstd(x) ** 2, ZERO, 2 * (I3 - 1 / 3)),
    "cos": (lambda x: np.cos(norm(x)), ZERO, -I3),
    "cosh": (lambda x: np.cosh(2 * norm(x)), ZERO, 4 * I3),
    "log cosh": (lambda x: np.log(np.cosh(norm(x))), ZERO, I3),
    "logaddexp": (lambda x: np.logaddexp(norm(x), -norm(x)), ZERO, I3),
    "logsumexp": (lambda x: rmad.logsumexp(np.stack([norm(x), -norm(x)])), ZERO, I3),
    "log of a sum": (lambda x: np.log(np.exp(norm(x)) + np.exp(-norm(x))), ZERO, I3),
    "n sin n": (lambda x: norm(x) * np.sin(norm(x)), ZERO, 2 * I3),
    "n tanh n": (lambda x: norm(x) * np.tanh(norm(x)), ZERO, 2 * I3),
    "exp(−n²)": (lambda x: np.exp(-(norm(x) ** 2)), ZERO, -2 * I3),
    "sinc": (lambda x: np.sinc(norm(x)), ZERO, -(np.pi**2) / 3 * I3),
    "j0": (lambda x: sc.j0(norm(x)), ZERO, -I3 / 2),
    "huber": (lambda x: sc.huber(1.0, norm(x)), ZERO, I3),
    "pseudo_huber": (lambda x: sc.pseudo_huber(1.0, norm(x)), ZERO, I3),
    "hypot(1, n)": (lambda x: np.hypot(1.0, norm(x)), ZERO, I3),
    "√(1 + n²)": (lambda x: np.sqrt(1 + norm(x) ** 2), ZERO, I3),
    "n⁴": (lambda x: norm(x) ** 4, ZERO, 0 * I3),
    "n^2.5": (lambda x: norm(x) ** 2.5, ZERO, 0 * I3),
    "an exact fit": (lambda x: norm(A @ x - A @ np.ones(2)) ** 2, np.ones(2), 2 * A.T @ A),
    "a checkpoint": (lambda x: rmad.checkpoint(lambda x: norm(x) ** 2)(x), ZERO, 2 * I3),
    "a list of norms": (lambda x: np.array([norm(x), 1.0]) @ np.array([norm(x), 0.0]), ZERO, 2 * I3),
    "squared in place": (written_square, np.zeros(4), 2 * I4),
    "written and squared": (norm_that_is_written, ZERO, 2 * I3),
    "the others of an array": (some_with_a_kink, ZERO, np.diag([0.0, 2, 2])),
}

NO_LIMIT = {
    "norm": (norm, ZERO),
    "abs": (lambda x: np.sum(np.abs(x)), ZERO),
    "abs of complex": (lambda x: np.sum(np.abs(as_complex(x))), np.zeros(4)),
    "hypot": (lambda x: np.hypot(x[0], x[1]), np.zeros(2)),
    "std": (np.std, ZERO),
    "exp": (lambda x: np.exp(norm(x)), ZERO),
    "square of a sum": (lambda x: np.sum(np.abs(x)) ** 2, ZERO),
    "product of two": (lambda x: norm(x) * norm(A @ x), np.zeros(2)),
    "x n": (lambda x: x[0] * norm(x), ZERO),
    "3-norm": (lambda x: norm(x, 3) ** 2, ZERO),
    "arctan2": (lambda x: np.arctan2(x[0], x[1]), np.zeros(2)),
    "angle": (lambda x: np.sum(np.angle(as_complex(x))), np.zeros(2)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EXISTS)
def test_the_limit_is_the_hessian(name, way):
    f, x, wanted = EXISTS[name]
    np.testing.assert_allclose(way(f, x), wanted, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(rmad.grad(f)(x)[x == 0], np.zeros_like(x)[x == 0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NO_LIMIT)
def test_without_a_limit_the_hessian_is_zero(name, way):
    f, x = NO_LIMIT[name]
    np.testing.assert_array_equal(way(f, x), np.zeros((x.size, x.size)))


@pytest.mark.parametrize("name", ["norm", "arctan2"])
def test_operators_at_a_kink(name):
    f, x = NO_LIMIT[name]
    np.testing.assert_array_equal(rmad.HessianOperator(f, x) @ np.eye(x.size), np.zeros((x.size, x.size)))


EVEN = {
    "square": (np.square, lambda s: s),
    "cos": (np.cos, lambda s: 1 - s / 2 + s * s / 24),
    "cosh": (np.cosh, lambda s: 1 + s / 2 + s * s / 24),
    "n tanh n": (lambda n: n * np.tanh(n), lambda s: s - s * s / 3),
    "gauss": (lambda n: np.exp(-n * n), lambda s: np.exp(-s)),
    "log cosh": (lambda n: np.logaddexp(n, -n), lambda s: s / 2 - s * s / 12),
}


@given(
    inner=st.sampled_from(sorted(EVEN)),
    outer=st.sampled_from([np.sin, np.exp, np.tanh]),
    way=st.sampled_from(WAYS),
    shape=st.sampled_from([(1,), (3,), (2, 2), (3, 2)]),
    seed=st.integers(0, 99),
)
def test_functions_of_norms_are_functions_of_squares(inner, outer, way, shape, seed):
    """h(Σ_k w_k g(‖B_k x + c_k‖)) with c_k = 0 for some k has the Hessian of the same function of ‖·‖²."""
    rng = np.random.default_rng(seed)
    m, p = shape[-1] if len(shape) > 1 else 1, int(np.prod(shape))
    maps = rng.standard_normal((m, 2, p))
    shift = rng.standard_normal((m, 2)) * 1e-3 * rng.integers(0, 2, (m, 1))
    w = rng.standard_normal(m)
    g, g_of_square = EVEN[inner]

    def lengths(x):
        return maps @ np.ravel(x) + shift

    f = lambda x: outer(np.sum(w * g(norm(lengths(x), axis=1))))  # noqa: E731
    reference = lambda x: outer(np.sum(w * g_of_square(np.sum(lengths(x) ** 2, axis=1))))  # noqa: E731
    x = np.zeros(shape)
    np.testing.assert_allclose(way(f, x), by_plan(reference, x), rtol=1e-9, atol=1e-9)


def test_second_derivatives_of_vectors():
    """jvp of jvp of an array of lengths: all entries at once, and those that meet a kink one at a time."""

    def f(x):
        y = np.abs(x)
        return np.stack([y[0] + y[1] ** 2, y[1] ** 2, y[0] * y[1], np.cos(y[2])])

    wanted = np.zeros((3, 3, 4))
    wanted[1, 1, :2], wanted[2, 2, 3] = 2, -1
    for J in (lambda f, x, v: rmad.jvp(f, x, v)[1], lambda f, x, v: rmad.linearize(f, x)[1].Jv(v)):
        found = [[rmad.jvp(lambda x: J(f, x, v), ZERO, w)[1] for w in I3] for v in I3]  # noqa: B023
        np.testing.assert_allclose(found, wanted)
        back = [[rmad.vjp(lambda x: J(f, x, v), ZERO)[1](u) for u in I4] for v in I3]  # noqa: B023
        np.testing.assert_allclose(np.moveaxis(back, 2, 1), wanted)


@pytest.mark.parametrize("modes", list(itertools.product("fr", repeat=3)))
def test_third_derivatives_of_a_weighted_square(modes):
    """d³/dt³ (a + ta′) ‖t v‖² = 6 a′ ‖v‖²: nothing of it is lost, in whatever order a and x come."""
    v = np.array([1.0, 2.0, 3.0, 4.0])
    f = lambda x: x[3] * norm(x[:3]) ** 2  # noqa: E731
    for mode in modes:
        f = along(f, v, mode)
    np.testing.assert_allclose(f(np.array([0.0, 0.0, 0.0, 1.5])), 6 * 4 * 14)


@pytest.mark.parametrize("modes", list(itertools.product("fr", repeat=4)))
def test_fourth_derivative_along_a_line(modes):
    v = np.array([1.0, 2.0, 3.0])
    f = lambda x: np.cos(norm(x))  # noqa: E731
    for mode in modes:
        f = along(f, v, mode)
    np.testing.assert_allclose(f(ZERO), 14.0**2)


def along(f, v, mode):
    """The derivative of f along v, by forward or reverse mode."""
    if mode == "f":
        return lambda x: rmad.jvp(f, x, v)[1]
    return lambda x: np.sum(rmad.grad(f)(x) * v)


def test_gauss_newton_of_a_complex_residual():
    """L = Σ|z − t|² at z = t: L″ = 2, also as pairs of reals."""
    t = RNG.standard_normal(3) + 1j * RNG.standard_normal(3)
    G = rmad.GGNOperator(lambda x: x[:3] + 1j * x[3:], lambda z: np.sum(np.abs(z - t) ** 2), np.r_[t.real, t.imag])
    np.testing.assert_allclose(G @ np.eye(6), 2 * np.eye(6))


def test_newtons_method_ends_at_an_exact_fit():
    """One step from anywhere, and at the solution the Hessian is still that of the squares."""
    b = A @ np.array([1.0, -2.0])
    f = lambda x: norm(A @ x - b) ** 2  # noqa: E731
    x = np.zeros(2)
    for _ in range(3):
        H = rmad.HessianOperator(f, x)
        x = x - np.linalg.solve(H @ I2, H.gradient)
    np.testing.assert_allclose(x, [1.0, -2.0], rtol=1e-12)
    np.testing.assert_allclose(rmad.HessianOperator(f, np.array([1.0, -2.0])) @ I2, 2 * A.T @ A, rtol=1e-12)


def test_single_precision_stays():
    x = np.zeros(3, np.float32)
    H = rmad.hvp(lambda x: norm(x) ** 2, x, x + 1)
    assert H.dtype == np.float32
    np.testing.assert_array_equal(H, 2)
    H = rmad.grad(lambda x: rmad.jvp(lambda x: np.sum(np.abs(x) ** 2), x, x + 1)[1])(x)
    assert H.dtype == np.float32
    np.testing.assert_array_equal(H, 2)
