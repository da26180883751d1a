"""Stochastic Lanczos quadrature against eigenvalues that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

import optim
import rmad
from optim.spectrum import lanczos, spectral_density


def matrix(eigenvalues, dtype=np.float64):
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(len(eigenvalues),) * 2))[0]
    return (Q * eigenvalues @ Q.T).astype(dtype)


SPECTRUM = np.concatenate([np.linspace(-1, 1, 150), [5.0, 8.0, 20.0]])


@pytest.fixture(scope="module")
def spectrum():
    return spectral_density(aslinearoperator(matrix(SPECTRUM)), rng=np.random.default_rng(0), probes=20, steps=80)


def test_traces_within_their_errors(spectrum):
    for h in (np.ones_like, lambda x: x, lambda x: x * x, np.exp):
        estimate, error = spectrum.trace_of(h)
        assert abs(estimate - h(SPECTRUM).sum()) <= 4 * error + 1e-9 * abs(estimate)


def test_outliers_are_counted(spectrum):
    for low, high, truth in ((15, 25, 1), (4, 9, 2), (-2, 2, 150)):
        estimate, error = spectrum.count(low, high)
        assert abs(estimate - truth) <= 4 * error
        assert error < 1


def test_the_density_integrates_to_the_number_of_eigenvalues(spectrum):
    x = np.linspace(-3, 23, 2601)
    density, error = spectrum.density(x, width=0.2)
    assert density.shape == error.shape == x.shape
    assert np.trapezoid(density, x) == pytest.approx(len(SPECTRUM), rel=1e-6)
    true = np.exp(-(((x[:, None] - SPECTRUM) / 0.2) ** 2) / 2).sum(1) / (0.2 * np.sqrt(2 * np.pi))
    bulk = np.abs(x) < 0.6
    assert np.all(np.abs(density - true)[bulk] <= 5 * error[bulk] + 0.05 * true[bulk])
    below, _ = spectrum.below(x, width=0.2)
    np.testing.assert_allclose(np.gradient(below, x)[5:-5], density[5:-5], atol=0.05)


def test_lanczos_is_exact_where_its_space_is_exhausted():
    A = matrix(np.repeat([1.0, 4.0, 9.0], [5, 3, 2]))
    alpha, beta = lanczos(lambda v: A @ v, np.ones(10), 10)
    assert len(alpha) == 3
    T = np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)
    np.testing.assert_allclose(np.linalg.eigvalsh(T), [1, 4, 9], rtol=1e-12)
    found = spectral_density(aslinearoperator(A), rng=np.random.default_rng(0), probes=400, steps=10)
    assert found.count(3.9, 4.1)[0] == pytest.approx(3, abs=0.4)


def test_of_a_network_and_in_its_precision():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(30, 2)).astype(np.float32)
    W = rng.normal(size=(4, 2)).astype(np.float32)
    model = optim.Function(lambda W, x: np.tanh(x @ W), W)
    q = optim.Objective(model, lambda z, t: np.mean(np.sum((z - t) ** 2, axis=1))).quadratic(x, t)
    dense = np.linalg.eigvalsh((q.ggn @ np.eye(8, dtype=np.float32)).astype(np.float64))
    found = spectral_density(q.ggn, rng=rng, probes=200, steps=8)
    estimate, error = found.trace_of(lambda x: x)
    assert abs(estimate - dense.sum()) <= 4 * error + 1e-4
    assert found.nodes.max() == pytest.approx(dense.max(), rel=1e-3)


def test_errors():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"A must be square, but has shape \(2, 3\)"):
        spectral_density(aslinearoperator(np.ones((2, 3))), rng=rng)
    with pytest.raises(ValueError, match="probes must be ≥ 2"):
        spectral_density(aslinearoperator(np.eye(3)), rng=rng, probes=1)
    with pytest.raises(ValueError, match="product 1 with the operator is not finite"):
        spectral_density(rmad.HessianOperator(lambda x: np.sum(x**2) * np.nan, np.ones(3)), rng=rng)
