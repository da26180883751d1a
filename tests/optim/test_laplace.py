"""The Laplace approximation against dense matrices, and against Bayesian linear regression, where it is exact."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import nn
import optim
import rmad

N, D, K = 40, 3, 2
F64 = {"dtype": np.float64}
STRUCTURES = ("full", "kron", "diag", "last-layer")


def rng(seed=0):
    return np.random.default_rng(seed)


X = rng(1).standard_normal((N, D))
LABELS = rng(2).integers(0, K, N)
TARGETS = X @ rng(3).standard_normal((D, K)) + 0.3 * rng(4).standard_normal((N, K))


def net(outputs=K):
    return nn.Sequential(nn.Linear(D, 4, rng=rng(), **F64), nn.Tanh(), nn.Linear(4, outputs, rng=rng(1), **F64))


def trained(loss, t, l2=0.02):
    model = net()
    opt = optim.LevenbergMarquardt(model, loss, l2=l2)
    for _ in range(60):
        opt.step(X, t)
    return model


def curvature_of(posterior):
    """N/σ² C, (p, p), from the operators of Curvature."""
    C = posterior.curvature
    p = C.theta.size
    scale = C.cases / (posterior.noise or 1.0) ** 2
    if posterior.structure == "kron":
        return scale * (getattr(C, posterior.estimate) @ np.eye(p))
    G = scale * C.ggn.dense()
    if posterior.structure == "full":
        return G
    if posterior.structure == "diag":
        return np.diag(np.diag(G))
    G[:16] = G[:, :16] = 0  # the first layer is fixed
    return G


def on(posterior):
    """The parameters that are not fixed."""
    return slice(16 if posterior.structure == "last-layer" else 0, None)


@pytest.mark.parametrize("estimate", ["kflr", "ekfac"])
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("noise", [None, 0.3])
def test_posterior_evidence_and_predictive(structure, noise, estimate):
    loss, t = (nn.SoftmaxCrossEntropy(), LABELS) if noise is None else (nn.SquaredError(), TARGETS)
    model = net()
    batches = [(X[:25], t[:25]), (X[25:], t[25:])]
    tau = 0.7
    posterior = optim.Laplace(model, loss, batches, structure, prior_precision=tau, noise=noise, estimate=estimate)
    theta, own = rmad.ravel(model)[0], on(posterior)
    P = curvature_of(posterior)[own, own] + tau * np.eye(posterior.size)
    eye = np.eye(theta.size)
    np.testing.assert_allclose((posterior.precision @ eye)[own, own], P, atol=1e-10)
    S = np.zeros((theta.size, theta.size))
    S[own, own] = np.linalg.inv(P)
    np.testing.assert_allclose(posterior.covariance @ eye, S, atol=1e-10)

    fit = -N * loss.value(model(X), t) / (noise or 1) ** 2
    if noise is not None:
        fit = np.sum(-((model(X) - t) ** 2) / (2 * noise**2) - np.log(noise * np.sqrt(2 * np.pi)))
    w = theta[own]
    prior = np.sum(-tau * w**2 / 2 + np.log(tau / (2 * np.pi)) / 2)
    evidence = fit + prior + len(w) / 2 * np.log(2 * np.pi) - np.linalg.slogdet(P)[1] / 2
    np.testing.assert_allclose(posterior.log_likelihood(), fit, rtol=1e-12)
    np.testing.assert_allclose(posterior.log_marginal_likelihood(), evidence, rtol=1e-10)

    x = rng(5).standard_normal((3, D))
    z, covariance = posterior.linearized(x)
    J = rmad.jacobian(lambda flat: rmad.ravel(model)[1](flat)(x))(theta)
    np.testing.assert_allclose(z, model(x))
    np.testing.assert_allclose(covariance, np.einsum("nkp,pq,nlq->nkl", J, S, J), atol=1e-10)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_derivative_of_the_evidence(structure):
    posterior = optim.Laplace(net(), nn.SquaredError(), (X, TARGETS), structure, noise=0.5)
    values = posterior.matrix.eigenvalues() * N / 0.5**2
    tau, w = 1.3, posterior.mean[on(posterior)]
    slope = rmad.grad(posterior.log_marginal_likelihood)(tau)
    expected = (posterior.size / tau - w @ w - np.sum(1 / (values + tau))) / 2
    np.testing.assert_allclose(slope, expected, rtol=1e-9)
    rmad.check_grads(lambda v: posterior.log_marginal_likelihood(v[0], v[1]), np.array([tau, 0.5]), order=2)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_tuned_is_at_a_maximum(structure):
    model = trained(nn.SquaredError(), TARGETS)
    posterior = optim.Laplace(model, nn.SquaredError(), (X, TARGETS), structure, noise=1.0)
    before = posterior.log_marginal_likelihood()
    assert posterior.tuned(noise=True) is posterior
    assert posterior.log_marginal_likelihood() > before
    slopes = rmad.grad(posterior.log_marginal_likelihood, argnums=(0, 1))(posterior.prior_precision, posterior.noise)
    scale = abs(posterior.log_marginal_likelihood())
    assert abs(slopes[0]) * posterior.prior_precision < 1e-4 * scale
    assert abs(slopes[1]) * posterior.noise < 1e-4 * scale
    assert 0.1 < posterior.noise < 0.6  # the targets have noise of 0.3


def test_linear_regression_is_exact():
    """The posterior, the evidence and the predictive of Bayesian linear regression (Bishop, 2006, section 3.3)."""
    tau, sigma = 0.8, 0.3
    A = np.column_stack([X, np.ones(N)])
    model = nn.Sequential(nn.Linear(D, K, rng=rng(), **F64))
    opt = optim.LevenbergMarquardt(model, nn.SquaredError(), l2=tau * sigma**2 / N)
    for _ in range(30):
        opt.step(X, TARGETS)
    precision = A.T @ A / sigma**2 + tau * np.eye(D + 1)
    mean = np.linalg.solve(precision, A.T @ TARGETS / sigma**2)
    data = multivariate_normal(np.zeros(N), sigma**2 * np.eye(N) + A @ A.T / tau)
    evidence = sum(data.logpdf(TARGETS[:, k]) for k in range(K))
    x = rng(6).standard_normal((4, D))
    a = np.column_stack([x, np.ones(4)])
    variance = np.einsum("ni,ij,nj->n", a, np.linalg.inv(precision), a) + sigma**2
    for structure in ("full", "kron", "last-layer"):
        posterior = optim.Laplace(model, nn.SquaredError(), (X, TARGETS), structure, prior_precision=tau, noise=sigma)
        np.testing.assert_allclose(posterior.mean.reshape(D + 1, K), mean, atol=1e-6)
        np.testing.assert_allclose(posterior.log_marginal_likelihood(), evidence, rtol=1e-8)
        z, found = posterior.predict(x)
        np.testing.assert_allclose(z, a @ mean, atol=1e-5)
        np.testing.assert_allclose(found, np.repeat(variance[:, None], K, 1), rtol=1e-6)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_samples_have_the_covariance(structure):
    posterior = optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS), structure, prior_precision=2.0)
    drawn = posterior.sample(4000, rng=rng(7))
    S = posterior.covariance @ np.eye(posterior.mean.size)
    assert np.linalg.norm(np.cov(drawn.T) - S) < 0.12 * np.linalg.norm(S)
    x = X[:5]
    z, covariance = posterior.linearized(x)
    outputs = posterior.samples(x, 4000, rng=rng(7))
    assert outputs.shape == (4000, 5, K)
    for n in range(5):
        assert np.linalg.norm(np.cov(outputs[:, n].T) - covariance[n]) < 0.12 * np.linalg.norm(covariance[n])
    np.testing.assert_allclose(outputs.mean(0), z, atol=5 * np.sqrt(covariance.max() / 4000))
    again = posterior.samples(x, 3)
    assert np.array_equal(again, posterior.samples(x, 3))


def test_probabilities():
    posterior = optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS), "full", prior_precision=0.05)
    plain = np.exp(net()(X)) / np.exp(net()(X)).sum(-1, keepdims=True)
    probit, drawn = posterior.predict(X), posterior.predict(X, samples=3000)
    for p in (probit, drawn):
        np.testing.assert_allclose(p.sum(-1), 1)
        assert np.mean(np.max(p, -1)) < np.mean(np.max(plain, -1))  # less confident than the point estimate
    z, covariance = posterior.linearized(X)
    moderated = np.exp(z / np.sqrt(1 + np.pi / 8 * np.diagonal(covariance, axis1=1, axis2=2)))
    np.testing.assert_allclose(probit, moderated / moderated.sum(-1, keepdims=True))
    own = posterior.predict(X, lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True), samples=3000)
    np.testing.assert_allclose(own, drawn, atol=1e-12)
    binary = optim.Laplace(net(1), nn.SigmoidCrossEntropy(), (X, LABELS[:, None].astype(float)), "kron")
    p = binary.predict(X, "sigmoid")
    assert p.shape == (N, 1)
    assert np.abs(p - binary.predict(X, "sigmoid", samples=4000)).max() < 0.03


def test_chunks_of_cases_change_nothing(monkeypatch):
    posterior = optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS))
    z, covariance = posterior.linearized(X)
    monkeypatch.setattr("optim.curvature.laplace.CASES", 7)
    again = posterior.linearized(X)
    np.testing.assert_allclose(again[0], z)
    np.testing.assert_allclose(again[1], covariance, atol=1e-12)


def test_single_precision():
    model = rmad.map_leaves(lambda a: a.astype(np.float32), net())
    x = X.astype(np.float32)
    for structure in STRUCTURES:
        posterior = optim.Laplace(model, nn.SoftmaxCrossEntropy(), (x, LABELS), structure)
        expected = optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS), structure)
        p = posterior.predict(x)
        assert p.dtype == np.float32
        np.testing.assert_allclose(p, expected.predict(X), atol=1e-4)
        assert np.isclose(posterior.log_marginal_likelihood(), expected.log_marginal_likelihood(), rtol=1e-4)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"structure": "block"}, ValueError, "structure"),
        ({"prior_precision": 0.0}, ValueError, "prior_precision"),
        ({"noise": -1.0}, ValueError, "noise"),
        ({"estimate": "empirical"}, ValueError, "estimate"),
        ({"layer": "model.0"}, ValueError, "last-layer"),
        ({"structure": "last-layer", "layer": "model.7"}, ValueError, r"there are model.0, model.2"),
    ],
)
def test_bad_arguments(how, error, message):
    with pytest.raises(error, match=message):
        optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS), **how)


def test_bad_uses(monkeypatch):
    posterior = optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS))
    for call, message in (
        (lambda: posterior.tuned(noise=True), "noise"),
        (lambda: posterior.predict(X, np.tanh), "samples"),
        (lambda: posterior.predict(X, "probit"), "link"),
        (lambda: posterior.linearized(X[:0]), "cases"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    several = optim.Function(lambda p, x: (x @ p["W"], x @ p["W"]), {"W": np.ones((D, K))})
    loss = optim.Laplace(several, lambda z, t: np.mean((z[0] - z[1] - 1) ** 2), (X, None), "diag")
    with pytest.raises(TypeError, match="one array of outputs"):
        loss.linearized(X)
    monkeypatch.setattr("optim.curvature.laplace.DENSE_UP_TO", 20)
    with pytest.raises(ValueError, match="dense matrix"):
        optim.Laplace(net(), nn.SoftmaxCrossEntropy(), (X, LABELS), "full")


def test_the_link_is_that_of_the_loss():
    binary = optim.Laplace(net(1), nn.SigmoidCrossEntropy(), (X, LABELS[:, None].astype(float)), "kron")
    np.testing.assert_array_equal(binary.predict(X), binary.predict(X, "sigmoid"))
    unknown = optim.Laplace(net(1), nn.SquaredError(), (X, LABELS[:, None].astype(float)), "diag")
    with pytest.raises(ValueError, match=r"predict needs link=.*or a posterior with noise"):
        unknown.predict(X)
