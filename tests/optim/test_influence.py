"""Influence functions against dense matrices, and against training again with a case left out."""

import numpy as np
import pytest
from scipy.optimize import minimize

import nn
import optim
import rmad

F64 = {"dtype": np.float64}
N, L2 = 40, 0.02


def rng(seed=0):
    return np.random.default_rng(seed)


X = rng(1).standard_normal((N, 3))
T = (X @ rng(2).standard_normal(3) + 0.7 * rng(3).standard_normal(N) > 0).astype(int)
Q = rng(4).standard_normal((5, 3))
TQ = rng(5).integers(0, 2, 5)
LOSS = nn.SoftmaxCrossEntropy()


def net(hidden=4):
    how = {"rng": rng(), **F64}
    return nn.Sequential(nn.Linear(3, hidden, **how), nn.Tanh(), nn.Linear(hidden, 2, **how))


def logistic():
    return nn.Sequential(nn.Linear(3, 2, rng=rng(), **F64))


def fitted(model, x, t, l2=L2):
    """The minimum of f + ½ l2‖θ‖²."""
    theta, unravel = rmad.ravel(model)

    def f(flat):
        return LOSS.value(unravel(flat)(x), t) + l2 / 2 * flat @ flat

    found = minimize(rmad.value_and_grad(f), theta, jac=True, method="BFGS", options={"gtol": 1e-6})
    theta = found.x
    for _ in range(4):  # Newton's method from there
        theta = theta - np.linalg.solve(rmad.hessian(f)(theta), rmad.grad(f)(theta))
    assert np.linalg.norm(rmad.grad(f)(theta)) < 1e-9
    return unravel(theta)


def gradients(model, x, t):
    theta, unravel = rmad.ravel(model)
    gradient = rmad.grad(lambda flat, x, t: LOSS.value(unravel(flat)(x), t))
    return np.stack([gradient(theta, x[n : n + 1], t[n : n + 1]) for n in range(len(x))])


@pytest.mark.parametrize("how", [{}, {"cases_in_memory": 7}, {"threads": 3}])
@pytest.mark.parametrize("method", ["cg", "minres", "kfac", "ekfac"])
def test_the_formula(method, how):
    model = net()
    C = optim.Curvature(model, LOSS, (X, T))
    p = C.theta.size
    B = C.ggn.dense() if method in ("cg", "minres") else getattr(C, method) @ np.eye(p)
    g, q = gradients(model, X, T), gradients(model, Q, TQ)
    expected = g @ np.linalg.solve(B + 0.05 * np.eye(p), q.T) / N
    batches = [(X[:15], T[:15]), (X[15:], T[15:])]
    found = optim.influence(model, LOSS, batches, (Q, TQ), damping=0.05, method=method, rtol=1e-10, **how)
    assert found.shape == (N, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_the_gradients_along_a_vector_form_no_gradient_of_a_case():
    model, v = net(), rng(6).standard_normal(26)
    batches = [(X[:15], T[:15]), (X[15:], T[15:])]
    for how in ({}, {"cases_in_memory": 4}, {"threads": 3}):
        found = optim.Curvature(model, LOSS, batches, **how).along_gradients(v)
        np.testing.assert_allclose(found, gradients(model, X, T) @ v, atol=1e-12)


@pytest.mark.parametrize("make", [logistic, net])
def test_training_again_without_a_case(make):
    """The change of the loss of a query is what influence says, to first order in 1/N."""
    model = fitted(make(), X, T)
    left_out = rng(7).permutation(N)[:12]
    before = np.array([LOSS.value(model(Q[m : m + 1]), TQ[m : m + 1]) for m in range(5)])
    actual = []
    for n in left_out:
        rest = np.arange(N) != n
        again = fitted(model, X[rest], T[rest], L2 * N / (N - 1))  # the penalty is the same against the sum
        actual.append([LOSS.value(again(Q[m : m + 1]), TQ[m : m + 1]) for m in range(5)] - before)
    said = optim.influence(model, LOSS, (X, T), (Q, TQ), damping=L2, curvature="hessian", method="minres", rtol=1e-10)
    correlation = np.corrcoef(said[left_out].ravel(), np.ravel(actual))[0, 1]
    slope = np.sum(said[left_out] * actual) / np.sum(said[left_out] ** 2)
    assert correlation > (0.995 if make is logistic else 0.95)
    assert 0.9 < slope < 1.35


def test_progress():
    seen = []
    optim.influence(net(), LOSS, (X, T), (Q[:2], TQ[:2]), damping=0.1, progress=lambda *given: seen.append(given))
    assert ("influence", 2, 2) in seen


@pytest.mark.parametrize(
    ("data", "query", "how", "error", "message"),
    [
        ((X, T), (Q, TQ), {"damping": 0.0}, ValueError, "damping"),
        ((X, T), (Q, TQ), {"curvature": "fisher"}, ValueError, "curvature"),
        ((X, T), (Q, TQ), {"method": "lissa"}, ValueError, "method"),
        ((X, T), Q, {}, TypeError, "query must be"),
        ((X, T), (Q[:0], TQ[:0]), {}, ValueError, "query must have cases"),
        (iter([(X, T)]), (Q, TQ), {}, TypeError, "read only once"),
    ],
)
def test_bad_arguments(data, query, how, error, message):
    with pytest.raises(error, match=message):
        optim.influence(net(), LOSS, data, query, **{"damping": 0.1} | how)


def test_outputs_without_rows():
    model = optim.Function(lambda p, x: np.sum(x @ p["w"]), {"w": np.ones(3)})
    with pytest.raises(ValueError, match="a row for each"):
        optim.Curvature(model, lambda z, t: z**2, (X, None)).along_gradients(np.ones(3))
