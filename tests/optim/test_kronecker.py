"""Kronecker-factored operators and their inverses, against dense matrices."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg

import nn
import optim
from optim.parts.estimate import kronecker_factors
from optim.parts.factors import Block, KroneckerFactors, loaded, saved
from optim.parts.kronecker import KroneckerInverse

RNG = np.random.default_rng(0)


def spd(n, dtype=np.float64):
    M = RNG.standard_normal((n, n + 2))
    return (M @ M.T / n).astype(dtype)


def factors(dtype=np.float64):
    """A block of neighbours, a block of parts apart, three diagonal entries and two unused ones."""
    blocks = (
        Block(((0, 6, 2), (6, 9, 1)), spd(3, dtype), spd(3, dtype)),
        Block(((9, 13, 2), (16, 18, 1)), spd(3, dtype), spd(2, dtype)),
    )
    d, rest, unused = np.zeros(20, dtype), np.zeros(20, bool), np.zeros(20, bool)
    rest[13:16], unused[18:] = True, True
    d[rest] = [1.0, 0.5, 2.0]
    return KroneckerFactors(blocks, d, rest, unused)


def dense(factors, damping=0.0):
    C = np.diag(factors.d).astype(np.float64)
    for block in factors.blocks:
        at = np.concatenate([np.arange(first, last) for first, last, _ in block.parts])
        C[np.ix_(at, at)] = np.kron(block.A, block.G)
    return C + damping * np.eye(len(C))


def test_the_operator_is_the_dense_matrix():
    C, A = factors(), None
    operator = optim.KroneckerOperator(C, damping=0.3)
    A = dense(C, 0.3)
    np.testing.assert_allclose(operator @ np.eye(20), A, atol=1e-12)
    np.testing.assert_allclose(operator.T @ np.eye(20), A, atol=1e-12)
    np.testing.assert_allclose(operator.inverse() @ np.eye(20), np.linalg.inv(A), atol=1e-10)
    v = RNG.standard_normal(20) + 1j * RNG.standard_normal(20)
    np.testing.assert_allclose(operator @ v, A @ v, atol=1e-12)
    np.testing.assert_allclose(operator.inverse() @ v, np.linalg.solve(A, v), atol=1e-10)
    np.testing.assert_allclose(operator.trace(), np.trace(A))
    np.testing.assert_allclose(operator.logdet(), np.linalg.slogdet(A)[1])
    assert operator.dtype == np.float64


def test_a_singular_operator():
    operator = optim.KroneckerOperator(factors())
    assert operator.logdet() == -np.inf
    r = RNG.standard_normal(20)
    r[18:] = 0  # the parameters without curvature
    np.testing.assert_allclose(operator @ (operator.inverse() @ r), r, atol=1e-8)


def test_factored_damping():
    C, lam = factors(), 0.2
    inverse, r = KroneckerInverse(C, lam), RNG.standard_normal(20)
    expected = np.zeros(20)
    for block in C.blocks:
        p, q = block.shape
        pi = np.sqrt((np.trace(block.A) / p) / (np.trace(block.G) / q))
        at = np.concatenate([np.arange(first, last) for first, last, _ in block.parts])
        A, G = block.A + pi * np.sqrt(lam) * np.eye(p), block.G + np.sqrt(lam) / pi * np.eye(q)
        expected[at] = np.linalg.solve(np.kron(A, G), r[at])
    expected[13:16] = r[13:16] / (C.d[13:16] + lam)
    out = np.full(20, np.nan)
    inverse.apply(r, out)
    np.testing.assert_allclose(out, expected, atol=1e-10)
    np.testing.assert_allclose(inverse(r), out)
    assert (out[18:] == 0).all()


def test_exact_damping():
    C, r = factors(), RNG.standard_normal(20)
    found = KroneckerInverse(C, 0.2, exact=True, skip_unused=False)(r)
    np.testing.assert_allclose(found, np.linalg.solve(dense(C, 0.2), r), atol=1e-10)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("damping", [0.0, 1e-8, 1e-3])
def test_single_precision_and_rank_one_factors_stay_finite(damping, exact):
    """Factors of rank one, of very different sizes, one of them zero: the worst that a batch of one case gives."""
    a, g = RNG.standard_normal(60).astype(np.float32), RNG.standard_normal(30).astype(np.float32)
    for scale in (1e-6, 1.0, 1e6, 0.0):
        s = np.float32(scale)
        block = Block(((0, 1800, 60),), np.outer(a, a) * s, np.outer(g, g))
        none = np.zeros(1800, bool)
        C = KroneckerFactors((block,), np.zeros(1800, np.float32), none, none)
        r = RNG.standard_normal(1800).astype(np.float32)
        y = KroneckerInverse(C, damping, exact)(r)
        assert y.dtype == np.float32
        assert np.isfinite(y).all()
        assert r @ y > 0  # the inverse is positive definite


def test_one_by_one_blocks():
    block = Block(((0, 1, 1),), np.array([[4.0]]), np.array([[0.5]]))
    none = np.zeros(1, bool)
    C = KroneckerFactors((block,), np.zeros(1), none, none)
    np.testing.assert_allclose(KroneckerInverse(C, 0.5, exact=True)(np.array([5.0])), [2.0])
    np.testing.assert_allclose(optim.KroneckerOperator(C, 0.5) @ np.array([2.0]), [5.0])


def test_moving_average():
    a, b = factors(), factors()
    mixed = b.mixed_with(a, 0.9)
    np.testing.assert_allclose(mixed.blocks[0].A, 0.9 * a.blocks[0].A + 0.1 * b.blocks[0].A)
    np.testing.assert_allclose(mixed.d, a.d)
    assert a.fits(b)
    assert not a.fits(KroneckerFactors(a.blocks[:1], a.d, a.rest, a.unused))


def test_saved_and_loaded():
    C = factors()
    state = saved(C, "C")
    again = loaded(state, "C", np.zeros(20))
    np.testing.assert_array_equal(dense(again), dense(C))
    assert loaded(state, "other", np.zeros(20)) is None
    with pytest.raises(ValueError, match="do not fit"):
        loaded(state, "C", np.zeros(21))
    with pytest.raises(ValueError, match=r"no entry 'C\.1\.G'"):
        loaded({key: value for key, value in state.items() if key != "C.1.G"}, "C", np.zeros(20))


def test_it_preconditions_conjugate_gradients():
    """A badly scaled net: CG on G + λI takes a fraction of the iterations with the factors of KFLR."""
    rng = np.random.default_rng(1)
    linear = {"rng": rng, "dtype": np.float64}
    model = nn.Sequential(nn.Linear(12, 10, **linear), nn.Tanh(), nn.Linear(10, 5, **linear))
    x = rng.standard_normal((200, 12)) * np.logspace(-2, 1, 12)
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, rng.standard_normal((200, 5)))
    lam, counts = 1e-4, []
    A = LinearOperator(q.ggn.shape, matvec=lambda v: q.ggn @ v + lam * v, dtype=np.float64)
    inverse = KroneckerInverse(kronecker_factors(q, "kflr"), lam)
    for M in (None, LinearOperator(A.shape, matvec=inverse, dtype=np.float64)):
        steps = []
        _, info = cg(A, q.gradient, rtol=1e-6, maxiter=5000, M=M, callback=steps.append)
        assert info == 0
        counts.append(len(steps))
    assert counts[1] < counts[0] / 3


def test_columns_of_coupled_outputs_have_one_sign():
    """z₁ + z₂ does not depend on W, so that G is 0: only with one sign per column do its two parts cancel."""
    x = np.ones((4, 1))
    model = optim.Function(lambda p, x: (x @ p["W"], -x @ p["W"]), {"W": np.ones((1, 1))})
    C = optim.Curvature(model, lambda z, t: np.mean((z[0] + z[1] - t) ** 2), (x, 0 * x))
    np.testing.assert_allclose(C.fisher(20).dense(), 0, atol=1e-14)
    np.testing.assert_allclose(C.ggn.dense(), 0, atol=1e-14)


def test_columns_of_two_coupled_heads_have_the_mean_of_the_matrix():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((5, 3)), rng.standard_normal((5, 1))
    model = optim.Function(
        lambda p, x: (x @ p["A"], np.tanh(x @ p["B"])), {"A": rng.random((3, 1)), "B": rng.random((3, 1))}
    )
    C = optim.Curvature(model, lambda z, t: np.mean((z[0] - 2 * z[1] - t) ** 2), (x, t))
    exact = C.ggn.dense()
    np.testing.assert_allclose(C.fisher(4000).dense(), exact, atol=0.05 * np.abs(exact).max())


class Sum(nn.SquaredError):
    """A sum over cases that keeps the `sample` of its mean."""

    mean_over_cases = False

    def value(self, z, t):
        return len(z) * super().value(z, t)

    def curvature(self, z, t):
        product = super().curvature(z, t)
        return lambda v: len(z) * product(v)

    def sqrt_hessian(self, z, t):
        return np.sqrt(len(z)) * super().sqrt_hessian(z, t)


def test_the_drawn_curvature_of_a_sum_is_that_of_a_sum():
    x = np.arange(1.0, 5)[:, None]
    model = optim.Function(lambda p, x: x @ p["W"], {"W": np.ones((1, 1))})
    C = optim.Curvature(model, Sum(), (x, np.zeros((4, 1))))
    np.testing.assert_allclose(C.ggn.dense(), 30)
    np.testing.assert_allclose(C.fisher(3).dense(), 30)
