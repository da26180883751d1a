"""Laplace approximations next to laplace-torch's, on the same nets; skipped unless that is installed (extra bench)."""

import numpy as np
import pytest

import nn
import optim

torch = pytest.importorskip("torch")
laplace = pytest.importorskip("laplace")

N, D, K, HIDDEN, TAU, SIGMA = 30, 3, 2, 4, 0.7, 0.4
RNG = np.random.default_rng(0)
X, X_NEW = RNG.standard_normal((N, D)), RNG.standard_normal((5, D))
WEIGHTS = [RNG.standard_normal(s) for s in ((D, HIDDEN), (HIDDEN,), (HIDDEN, K), (K,))]
TARGETS = {"regression": RNG.standard_normal((N, K)), "classification": RNG.integers(0, K, N)}


def ours(bias):
    layers = [nn.Linear(i, o, bias=bias, rng=RNG, dtype=np.float64) for i, o in ((D, HIDDEN), (HIDDEN, K))]
    for layer, (w, b) in zip(layers, (WEIGHTS[:2], WEIGHTS[2:]), strict=True):
        layer.weight = w
        if bias:
            layer.bias = b
    return nn.Sequential(layers[0], nn.Tanh(), layers[1])


def theirs(bias):
    layers = [torch.nn.Linear(i, o, bias=bias, dtype=torch.float64) for i, o in ((D, HIDDEN), (HIDDEN, K))]
    with torch.no_grad():
        for layer, (w, b) in zip(layers, (WEIGHTS[:2], WEIGHTS[2:]), strict=True):
            layer.weight.copy_(torch.tensor(w.T))
            if bias:
                layer.bias.copy_(torch.tensor(b))
    return torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("likelihood", TARGETS)
@pytest.mark.parametrize("structure", ["full", "kron", "diag"])
def test_evidence_and_predictive(structure, likelihood):
    """Kronecker factors on nets without biases: here a bias is the last row of its weight, there a block of its own."""
    from laplace.curvature import BackPackGGN

    bias, t = structure != "kron", TARGETS[likelihood]
    loss, noise = (nn.SquaredError(), SIGMA) if likelihood == "regression" else (nn.SoftmaxCrossEntropy(), None)
    posterior = optim.Laplace(ours(bias), loss, (X, t), structure, prior_precision=TAU, noise=noise)

    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(t))
    la = laplace.Laplace(
        theirs(bias),
        likelihood,
        subset_of_weights="all",
        hessian_structure=structure,
        backend=BackPackGGN,
        prior_precision=TAU,
        sigma_noise=SIGMA if noise else 1.0,
    )
    la.fit(torch.utils.data.DataLoader(data, batch_size=N))
    np.testing.assert_allclose(posterior.log_marginal_likelihood(), float(la.log_marginal_likelihood()), rtol=1e-6)
    mean, variance = la._glm_predictive_distribution(torch.tensor(X_NEW))
    z, covariance = posterior.linearized(X_NEW)
    np.testing.assert_allclose(z, mean.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(covariance, variance.detach().numpy(), rtol=1e-5, atol=1e-8)
