"""Traces, diagonals, norms, determinants and eigenvalues from products, against dense matrices."""

import copy
import pickle

import numpy as np
import pytest

import nn
import optim
from optim.curvature import estimates

P = 120
Q = np.linalg.qr(np.random.default_rng(1).standard_normal((P, P)))[0]
SPECTRA = {
    "falling": np.geomspace(1, 1e-6, P),
    "flat": np.linspace(3, 1, P),
    "both signs": np.linspace(-1, 2, P),
}
TRACES, DIAGONALS, NORMS = list(estimates.TRACES), list(estimates.DIAGONALS), list(estimates.NORMS)


def matrix(name):
    return (Q * SPECTRA[name]) @ Q.T


def run(what, method, A, k, seed=0, dtype=np.float64):
    A, like = A.astype(dtype), np.zeros(0, dtype)
    taken = []

    def product(V):
        taken.append(V.shape[1])
        return A @ V

    found = getattr(estimates, what)(product, P, method, k, np.random.default_rng(seed), like)
    assert sum(taken) <= k
    return found


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("what", "method"), [("trace", m) for m in TRACES] + [("norm", m) for m in NORMS])
def test_a_number_lies_within_its_error(what, method, name):
    """Over many runs the errors have the size that is claimed: a mean square of one standard error."""
    A = matrix(name)
    exact = np.trace(A) if what == "trace" else np.linalg.norm(A)
    found = [run(what, method, A, 30, seed) for seed in range(200)]
    scores = np.array([(float(e) - exact) / e.error for e in found])
    assert 0.5 < np.sqrt(np.mean(scores**2)) < 1.8
    assert abs(np.mean(scores)) < 0.5
    assert all(e.products == 30 for e in found)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("method", DIAGONALS)
def test_a_diagonal_lies_within_its_errors(method, name):
    A = matrix(name)
    found = [run("diagonal", method, A, 40, seed) for seed in range(20)]
    scores = np.array([(d - np.diag(A)) / error for d, error in found])
    assert 0.5 < np.sqrt(np.mean(scores**2)) < 1.8


def test_the_methods_that_split_off_a_range_win_on_a_falling_spectrum():
    A = (Q * np.geomspace(1, 1e-16, P)) @ Q.T

    def error(what, method):
        exact = np.diag(A) if what == "diagonal" else np.trace(A)
        runs = [run(what, method, A, 60, seed) for seed in range(10)]
        return np.mean([np.linalg.norm((r[0] if what == "diagonal" else float(r)) - exact) for r in runs])

    plain = error("trace", "hutchinson")
    assert error("trace", "hutch++") < plain / 50
    assert error("trace", "xtrace") < error("trace", "hutch++") / 3
    assert error("diagonal", "xdiag") < error("diagonal", "hutchinson") / 50


@pytest.mark.parametrize(
    ("what", "method"),
    [("trace", "xtrace"), ("trace", "hutch++"), ("diagonal", "xdiag"), ("norm", "hutch++")],
)
@pytest.mark.parametrize("rank", [0, 1, 7])
def test_a_matrix_of_low_rank_is_exact(what, method, rank):
    values = np.zeros(P)
    values[:rank] = np.linspace(1, 2, rank)
    A = (Q * values) @ Q.T
    found = run(what, method, A, 30)
    expected = {"trace": np.trace, "diagonal": np.diag, "norm": np.linalg.norm}[what](A)
    np.testing.assert_allclose(found[0] if what == "diagonal" else float(found), expected, atol=1e-12)


@pytest.mark.parametrize(("what", "method"), [("trace", m) for m in TRACES] + [("norm", m) for m in NORMS])
def test_as_many_products_as_parameters_are_exact(what, method):
    A = matrix("both signs")
    found = run(what, method, A, P)
    assert found.error == 0
    assert np.isclose(found, np.trace(A) if what == "trace" else np.linalg.norm(A))


@pytest.mark.parametrize("method", TRACES)
def test_single_precision(method):
    A = matrix("falling")
    found = run("trace", method, A, 60, dtype=np.float32)
    assert abs(float(found) - np.trace(A)) < max(6 * found.error, 1e-4 * np.trace(A))


def test_xtrace_leaves_each_vector_out_of_its_range():
    """The estimate by its definition, with a QR decomposition for every vector."""
    A, m = matrix("falling"), 6
    Omega = np.random.default_rng(5).standard_normal((m, P)).T
    each = []
    for i in range(m):
        rest = np.delete(Omega, i, axis=1)
        Q_i = np.linalg.qr(A @ rest)[0]
        w = Omega[:, i] - Q_i @ (Q_i.T @ Omega[:, i])
        w *= np.sqrt((P - m + 1) / (w @ w))
        each.append(np.trace(Q_i.T @ A @ Q_i) + w @ A @ w)
    found = run("trace", "xtrace", A, 2 * m, seed=5)
    np.testing.assert_allclose(float(found), np.mean(each), rtol=1e-10)
    np.testing.assert_allclose(found.error, np.std(each, ddof=1) / np.sqrt(m), rtol=1e-8)


def test_xdiag_leaves_each_vector_out_of_its_range():
    A, m = matrix("falling"), 6
    Omega = estimates.signs(np.random.default_rng(5), np.zeros(0), P, m)
    each = []
    for i in range(m):
        Q_i = np.linalg.qr(A @ np.delete(Omega, i, axis=1))[0]
        rest = A - Q_i @ (Q_i.T @ A)
        each.append(np.diag(Q_i @ Q_i.T @ A) + Omega[:, i] * (rest @ Omega[:, i]))
    d, error = run("diagonal", "xdiag", A, 2 * m, seed=5)
    np.testing.assert_allclose(d, np.mean(each, axis=0), atol=1e-12)
    np.testing.assert_allclose(error, np.std(each, axis=0, ddof=1) / np.sqrt(m), atol=1e-12)


def test_an_estimate_is_a_number():
    e = optim.Estimate(2.0, 0.1, 30)
    assert e + 1 == 3.0
    assert repr(e) == "2 ± 0.1 (30 products)"
    for other in (copy.copy(e), pickle.loads(pickle.dumps(e))):
        assert (other, other.error, other.products) == (2.0, 0.1, 30)


# -- of a net --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curvature():
    rng = np.random.default_rng(0)
    how = {"rng": rng, "dtype": np.float64}
    model = nn.Sequential(nn.Linear(6, 8, **how), nn.Tanh(), nn.Linear(8, 3, **how))
    return optim.Curvature(model, nn.SoftmaxCrossEntropy(), (rng.standard_normal((50, 6)), rng.integers(0, 3, 50)))


def test_the_numbers_of_a_net(curvature):
    for operator in (curvature.ggn, curvature.hessian):
        A = operator.dense()
        for method in TRACES:
            found = operator.trace(method, 40)
            assert abs(found - np.trace(A)) < 5 * found.error
        found = operator.norm(products=40)
        assert abs(found - np.linalg.norm(A)) < 5 * found.error
        d, error = operator.diagonal("xdiag", 60, return_error=True)
        assert np.mean(np.abs(d - np.diag(A)) < 3 * error) > 0.9
        assert np.isclose(operator.norm("exact"), np.linalg.norm(A))
        np.testing.assert_allclose(operator.diagonal("exact"), np.diag(A), atol=1e-12)


def test_products_that_are_not_finite():
    model = optim.Function(lambda p, x: x @ p["W"], {"W": np.full((2, 4), np.nan)})
    C = optim.Curvature(model, nn.SoftmaxCrossEntropy(), (np.ones((3, 2)), np.zeros(3, int)))
    for call in (lambda: C.ggn.trace(products=4), lambda: C.ggn.norm(products=6), lambda: C.ggn.diagonal("xdiag", 4)):
        with pytest.raises(ValueError, match=r"ggn\.\w+: a product is not finite"):
            call()
    with pytest.raises(ValueError, match="finite"):
        _ = C.kfac
    for method in ("cg", "minres", "lsmr"):
        with pytest.raises(ValueError, match=r"ggn.inverse: .*(finite|overflow)"):
            C.ggn.inverse(1.0, method, preconditioner=None) @ np.ones(8)


def test_log_determinants(curvature):
    G, p = curvature.ggn.dense(), curvature.theta.size
    for damping in (0.01, 1.0):
        expected = np.linalg.slogdet(G + damping * np.eye(p))[1]
        assert np.isclose(curvature.ggn.logdet(damping, "exact"), expected)
        found = curvature.ggn.logdet(damping, probes=20)
        assert abs(found - expected) < 4 * found.error
        assert found.error < 0.05 * p
        assert np.isclose(curvature.kflr.inverse(damping).shape[0], p)


def test_the_density_counts_the_eigenvalues(curvature):
    values = np.linalg.eigvalsh(curvature.hessian.dense())
    mean, error = curvature.hessian.spectral_density(probes=20).count(0.05, 10.0)
    assert abs(mean - np.sum(values > 0.05)) < 4 * error


@pytest.mark.parametrize("preconditioner", [None, "kfac", "kflr"])
@pytest.mark.parametrize("which", ["LA", "SA"])
def test_eigenvalues(curvature, which, preconditioner):
    operator = curvature.hessian if preconditioner is None else curvature.ggn
    A = operator.dense()
    values, V = operator.eigsh(3, which, preconditioner=preconditioner)
    expected = np.linalg.eigvalsh(A)[-3:] if which == "LA" else np.linalg.eigvalsh(A)[:3]
    scale = np.abs(np.linalg.eigvalsh(A)).max()
    np.testing.assert_allclose(values, expected, atol=1e-6 * scale)
    np.testing.assert_allclose(A @ V, V * values, atol=1e-3 * scale)
    again = operator.eigsh(3, which, preconditioner=preconditioner)
    assert np.array_equal(again[0], values)


def test_eigenvalues_by_an_operator_of_the_user(curvature):
    G = curvature.ggn
    values, _ = G.eigsh(2, "SA", preconditioner=curvature.kflr.inverse(1e-3))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(G.dense())[:2], atol=1e-7)
    with pytest.raises(ValueError, match='"LA" or "SA"'):
        G.eigsh(2, "LM", preconditioner="kfac")
    with pytest.raises(ValueError, match="5 k < p"):
        G.eigsh(20, "LA", preconditioner="kfac")
