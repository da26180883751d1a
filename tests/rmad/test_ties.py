"""Vectors of values that agree to rounding: the right derivative, or LinAlgError.

H = Q diag(c, …, c, others) Qᴴ for random Q; the derivative of Q f(λ) Qᴴ is that of Daleckii and Krein.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import rmad

la = np.linalg


def mH(x):
    return np.conj(np.swapaxes(x, -1, -2))


def problem(seed, is_complex, scale):
    rng = np.random.default_rng(seed)
    n, k = 5, int(rng.integers(2, 5))
    w = np.concatenate([np.full(k, 2.0), rng.uniform(3, 6, n - k)]) * scale
    X, U = rng.standard_normal((2, n, n)) + 1j * is_complex * rng.standard_normal((2, n, n))
    if not is_complex:
        X, U = X.real, U.real
    Q = la.qr(X)[0]
    H = (Q * w) @ mH(Q)
    return (H + mH(H)) / 2, Q, w, k, U + mH(U)


def daleckii(Q, w, U, f, slope):
    gap = w[None, :] - w[:, None]
    quotient = (f(w)[None, :] - f(w)[:, None]) / np.where(gap == 0, 1, gap)
    return Q @ (np.where(gap == 0, slope(w), quotient) * (mH(Q) @ U @ Q)) @ mH(Q)


def check(f, H, wanted):
    got = rmad.grad(f)(H)
    got = (got + mH(got)) / 2
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    v = wanted / la.norm(wanted)
    np.testing.assert_allclose(rmad.jvp(f, H, v)[1], np.sum(np.real(np.conj(wanted) * v)), rtol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_functions_that_do_not_depend_on_the_choice(seed, is_complex, scale):
    H, Q, w, k, U = problem(seed, is_complex, scale)

    def inner(P):
        return np.sum(np.real(np.conj(U) * P))

    def projector(H):
        V = la.eigh(H)[1][:, :k]
        return inner(V @ mH(V))

    def exponential(H):
        w, Q = la.eigh(H)
        return inner((Q * np.exp(w / scale)) @ mH(Q))

    group = (w == w[0]).astype(float)
    check(projector, H, daleckii(Q, w, U, lambda _: group, lambda w: 0 * w))
    check(exponential, H, daleckii(Q, w, U, lambda w: np.exp(w / scale), lambda w: np.exp(w / scale) / scale))


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_functions_that_depend_on_the_choice(seed, is_complex):
    H, *_ = problem(seed, is_complex, 1.0)
    c = np.arange(1.0, 6.0)
    for f in (
        lambda H: np.sum(np.abs(la.eigh(H)[1][:, 0] * c) ** 2),
        lambda H: np.sum(la.eigh(H)[0] * np.sum(np.abs(la.eigh(H)[1]) ** 4, axis=0)),
        lambda H: np.sum(np.abs(la.svd(H)[0][:, -1] * c) ** 2),
        lambda H: np.sum(np.abs(la.svd(H)[2][-1] * c) ** 2),
    ):
        with pytest.raises(la.LinAlgError, match="repeated"):
            rmad.grad(f)(H)
        with pytest.raises(la.LinAlgError, match="repeated"):
            rmad.jvp(f, H, np.ones_like(H))


@pytest.mark.parametrize("seed", range(6))
def test_polar_factor(seed):
    """U Vᴴ at repeated singular values needs their sums alone."""
    H, *_, W = problem(seed, False, 1.0)
    A = H @ la.qr(np.random.default_rng(seed + 9).standard_normal((5, 5)))[0]

    def f(A):
        U, _, Vh = la.svd(A)
        return np.sum(W * (U @ Vh))

    def g(A):
        return np.sum(W * (la.inv(rmad.sqrtm(A @ A.T)) @ A))

    np.testing.assert_allclose(rmad.grad(f)(A), rmad.grad(g)(A), rtol=0, atol=1e-9)


# -- every shape that a choice comes in ----------------------------------------------------------------

REFUSED = r"a repeated|singular value zero"


def hermitian(rng, n, is_complex):
    X = rng.standard_normal((n, n)) + 1j * is_complex * rng.standard_normal((n, n))
    X = X if is_complex else X.real
    return X + mH(X)


MATRICES = {
    "zero": lambda X: 0 * X,
    "a multiple of I": lambda X: 2 * np.eye(len(X)) + 0 * X,
    "diagonal": lambda X: np.diag([1.0, 2, 1]) + 0 * X,
    "rank one": lambda X: X[:, :1] @ mH(X[:, :1]),
    "split by rounding": lambda X: with_values(la.eigh(X)[1], np.array([2.0, 2, 3])),
}


def with_values(Q, w):
    H = (Q * w) @ mH(Q)
    return (H + mH(H)) / 2


def exponential(H):
    w, Q = la.eigh(H)
    return (Q * np.exp(w)[..., None, :]) @ mH(Q)


def exponential_of_two_calls(H):
    return (la.eigh(H)[1] * np.exp(la.eigvalsh(H))) @ mH(la.eigh(H)[1])


def cube(H):
    U, s, Vh = la.svd(H)
    return (U * s[..., None, :] ** 3) @ Vh


def cube_of_two_calls(H):
    U, _, Vh = la.svd(H)
    return (U * la.svdvals(H) ** 3) @ Vh


def power(H):
    w, V = la.eig(H)
    return (V * w[..., None, :] ** 3) @ la.inv(V)


def square_of_a_tall_matrix(H):
    U, s, _ = la.svd(np.concatenate([H, H[:2]]), full_matrices=False)
    return ((U * s**2) @ mH(U))[:3, :3]


def square_of_a_wide_matrix(H):
    _, s, Vh = la.svd(np.concatenate([H, H[:2]]).T, full_matrices=False)
    return ((mH(Vh) * s**2) @ Vh)[:3, :3]


def tall(H):
    return np.concatenate([H, H[:2]])


INDEPENDENT = {
    exponential: rmad.expm,
    exponential_of_two_calls: rmad.expm,
    cube: lambda H: H @ mH(H) @ H,
    cube_of_two_calls: lambda H: H @ mH(H) @ H,
    power: lambda H: H @ H @ H,
    square_of_a_tall_matrix: lambda H: (tall(H) @ mH(tall(H)))[:3, :3],
    square_of_a_wide_matrix: lambda H: np.conj(tall(H) @ mH(tall(H)))[:3, :3],
}
"""Functions that use vectors, and do not depend on the choice: next to each the same without vectors."""


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("f", INDEPENDENT, ids=lambda f: f.__name__)
def test_every_matrix_with_ties(f, matrix, is_complex):
    rng = np.random.default_rng(5)
    X, W, v = (hermitian(rng, 3, is_complex) for _ in range(3))
    H = MATRICES[matrix](X)
    loss = lambda f: lambda H: np.sum(np.real(np.conj(W) * f(H)))  # noqa: E731
    wanted = np.sum(np.real(np.conj(rmad.grad(loss(INDEPENDENT[f]))(H)) * v))
    lin = rmad.linearize(loss(f), H)[1]
    found = [np.sum(np.real(np.conj(rmad.grad(loss(f))(H)) * v)), rmad.jvp(loss(f), H, v)[1]]
    found += [lin.Jv(v) for _ in range(3)]  # the later ones from a plan
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10 * np.abs(W).sum())


def fourth_powers(H):
    return np.sum(np.abs(la.eigh(H)[1]) ** 4)


def weighted_fourth_powers(H):
    w, Q = la.eigh(H)
    return np.sum(w * np.sum(np.abs(Q) ** 4, axis=0))


def weighted_fourth_powers_of_two_calls(H):
    return np.sum(la.eigvalsh(H) * np.sum(np.abs(la.eigh(H)[1]) ** 4, axis=0))


def weighted_fourth_powers_of_two_matrices(H):
    return np.sum(la.eigvalsh(2 * H) * np.sum(np.abs(la.eigh(H)[1]) ** 4, axis=0))


def fourth_powers_of_singular_vectors(H):
    U, s, Vh = la.svd(H)
    return np.sum(s * np.sum(np.abs(U) ** 4, axis=0)) + np.sum(np.abs(Vh) ** 4)


def fourth_powers_of_right_vectors(H):
    w, V = la.eig(H)
    return np.sum(np.real(w) * np.sum(np.abs(V) ** 4, axis=0))


DEPENDENT = [
    fourth_powers,
    weighted_fourth_powers,
    weighted_fourth_powers_of_two_calls,
    weighted_fourth_powers_of_two_matrices,
    fourth_powers_of_singular_vectors,
    fourth_powers_of_right_vectors,
]


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("f", DEPENDENT, ids=lambda f: f.__name__)
def test_no_matrix_with_ties_gives_a_number_that_is_none(f, matrix, is_complex):
    """At a diagonal matrix the vectors are axes, at which fourth powers are stationary."""
    rng = np.random.default_rng(6)
    H, v = MATRICES[matrix](hermitian(rng, 3, is_complex)), hermitian(rng, 3, is_complex)
    lin = rmad.linearize(f, H)[1]
    for product in (lambda: rmad.grad(f)(H), lambda: rmad.jvp(f, H, v), lambda: lin.Jv(v), lambda: lin.JTu(1.0)):
        with pytest.raises(la.LinAlgError, match=REFUSED):
            product()


def test_vectors_with_a_factor_of_zero():
    """x₁ Σ|v|⁴ at x₁ = 0: the vectors have no cotangent, and the derivative in x₁ depends on them nevertheless."""
    f = lambda x: x[0] * np.sum(np.abs(la.eigh(x[1] * np.eye(3))[1]) ** 4)  # noqa: E731
    with pytest.raises(la.LinAlgError, match="depends on the choice"):
        rmad.grad(f)(np.array([0.0, 2.0]))


@pytest.mark.parametrize("f", [exponential, cube, power], ids=lambda f: f.__name__)
def test_stacks_with_and_without_ties(f):
    """One matrix of the stack has ties; the others have the derivatives that they have alone."""
    rng = np.random.default_rng(7)
    H = np.stack([hermitian(rng, 3, False), MATRICES["split by rounding"](hermitian(rng, 3, False)), np.eye(3)])
    W = np.stack([hermitian(rng, 3, False) for _ in H])
    got = rmad.grad(lambda H: np.sum(W * f(H)))(H)
    for one, A, w in zip(got, H, W, strict=True):
        alone = rmad.grad(lambda A, w=w: np.sum(w * INDEPENDENT[f](A)))(A)
        np.testing.assert_allclose(one + one.T, alone + alone.T, rtol=1e-9, atol=1e-9 * np.abs(alone).max())


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("f", [exponential, cube, square_of_a_tall_matrix], ids=lambda f: f.__name__)
def test_single_precision(f, matrix):
    rng = np.random.default_rng(8)
    H, W = MATRICES[matrix](hermitian(rng, 3, False)), hermitian(rng, 3, False)
    loss = lambda H: np.sum(W.astype(H.dtype) * f(H))  # noqa: E731
    wanted = rmad.grad(lambda H: np.sum(W * INDEPENDENT[f](H)))(H)
    got = rmad.grad(loss)(H.astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got + got.T, wanted + wanted.T, rtol=0, atol=1e-4 * np.abs(wanted).max() + 1e-6)


@pytest.mark.parametrize("f", [fourth_powers, weighted_fourth_powers, fourth_powers_of_singular_vectors])
@pytest.mark.parametrize("matrix", MATRICES)
def test_single_precision_refuses_too(f, matrix):
    H = MATRICES[matrix](hermitian(np.random.default_rng(9), 3, False)).astype(np.float32)
    with pytest.raises(la.LinAlgError, match=REFUSED):
        rmad.grad(f)(H)


@pytest.mark.parametrize("matrix", ["diagonal", "split by rounding"])
@pytest.mark.parametrize("f", [exponential, pytest.param(power, marks=pytest.mark.slow)], ids=lambda f: f.__name__)
def test_second_derivatives(f, matrix):
    rng = np.random.default_rng(10)
    X, W, v = (hermitian(rng, 3, False) for _ in range(3))
    H = MATRICES[matrix](X)
    wanted = rmad.hvp(lambda H: np.sum(W * INDEPENDENT[f](H)), H, v)
    got = rmad.hvp(lambda H: np.sum(W * np.real(f(H))), H, v)
    np.testing.assert_allclose(got + got.T, wanted + wanted.T, rtol=0, atol=1e-7 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("shape", [(4, 4), (6, 4), (4, 6)])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_matrices_that_lack_rank(shape, rank):
    """U diag(s) Vᴴ = A whatever the rank; U Vᴴ depends on the vectors of 0, of which there are two or more here."""
    rng = np.random.default_rng(11)
    A = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    W = rng.standard_normal(shape)

    def product(A):
        U, s, Vh = la.svd(A, full_matrices=False)
        return np.sum(W * ((U * s) @ Vh))

    def polar(A):
        U, _, Vh = la.svd(A, full_matrices=False)
        return np.sum(W * (U @ Vh))

    np.testing.assert_allclose(rmad.grad(product)(A), W, rtol=0, atol=1e-10)
    np.testing.assert_allclose(rmad.jvp(product, A, W)[1], np.sum(W * W), rtol=1e-10)
    with pytest.raises(la.LinAlgError, match=REFUSED):
        rmad.grad(polar)(A)
    with pytest.raises(la.LinAlgError, match=REFUSED):
        rmad.jvp(polar, A, W)


def test_one_array_is_decomposed_once():
    """Further calls take values and vectors out of the same node."""
    lin = rmad.linearize(lambda H: la.eigvalsh(H) + la.eigh(H)[1][0] + la.eigh(H, "l")[1][1], np.eye(2) + 1)[1]
    assert [node.primitive.name for node in lin._record.tape.nodes if node.primitive].count("eigh") == 1


@pytest.mark.parametrize("condition", [1, 100, 1000])
def test_ill_conditioned_vectors_of_tied_values(condition):
    """Rounding errors grow with κ², and are no sign of a function that depends on the choice of vectors."""
    V = np.array([[1, 1, 1], [0, 1 / condition, 1 / condition], [0, 0, 1 / condition]])
    V = la.qr(np.random.default_rng(0).standard_normal((3, 3)))[0] @ V
    A = V @ np.diag([1.0, 1.0, 2.0]) @ la.inv(V)

    def exponential(A):
        w, V = la.eig(A)
        return np.sum(np.real((V * np.exp(w)) @ la.inv(V)))

    exact = scipy.linalg.expm_frechet(A.T, np.ones((3, 3)), compute_expm=False)
    rounding = 1e-13 * condition**2
    np.testing.assert_allclose(rmad.grad(exponential)(A), exact, rtol=0, atol=rounding * np.abs(exact).max())
