"""Vectors of values that agree to rounding: the right derivative, or LinAlgError.

H = Q diag(c, …, c, others) Qᴴ for random Q; the derivative of Q f(λ) Qᴴ is that of Daleckii and Krein.
"""

from __future__ import annotations

import numpy as np
import pytest

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
