"""Small problems that the optimizers are tried on."""

import numpy as np
import pytest

import optim
import rmad


class HalfSquares:
    """½‖z − t‖², mean over cases, as a loss object."""

    def value(self, z, t):
        return 0.5 * np.sum((z - t) ** 2) / len(z)

    def gradient(self, z, t):
        return (z - t) / len(z)

    def hessian_product(self, z, t, v):
        return v / len(z)


def tanh_net(params, x):
    return np.tanh(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]


class Problem:
    """A two-layer tanh net that fits another one: model, loss, x, t, and dense matrices to compare with."""

    def __init__(self, dtype=np.float64, n=60, seed=0):
        rng = np.random.default_rng(seed)

        def normal(*shape):
            return (0.5 * rng.standard_normal(shape)).astype(dtype)

        self.loss = HalfSquares()
        self.x = normal(n, 4) * 2
        self.t = tanh_net({"W1": normal(4, 5) * 2, "b1": normal(5), "W2": normal(5, 3), "b2": normal(3)}, self.x)
        self.params = {"W1": normal(4, 5), "b1": normal(5), "W2": normal(5, 3), "b2": normal(3)}
        self.model = optim.Function(tanh_net, self.params)

    @property
    def theta(self):
        return rmad.ravel(self.model)[0]

    def f(self, theta, x=None, t=None):
        x, t = (self.x, self.t) if x is None else (x, t)
        return float(self.loss.value(rmad.ravel(self.model)[1](theta)(x), t))

    def dense(self, x=None, t=None):
        """f, ∇f and G at the present parameters, G = Jᵀ L″ J built from J column by column."""
        x, t = (self.x, self.t) if x is None else (x, t)
        theta, unravel = rmad.ravel(self.model)
        z, lin = rmad.linearize(lambda flat: unravel(flat)(x), theta)
        J = np.stack([lin.Jv(e).ravel() for e in np.eye(theta.size)], axis=1)
        return self.f(theta, x, t), J.T @ self.loss.gradient(z, t).ravel(), J.T @ J / len(z)

    def penalized(self, l2):
        """f(θ) + ½ l2‖θ‖² as a function of θ, and a function that returns its gradient and curvature."""

        def f(theta):
            return self.f(theta) + l2 / 2 * theta @ theta

        def dense():
            _, u, G = self.dense()
            return u + l2 * self.theta, G + l2 * np.eye(len(u))

        return f, dense


@pytest.fixture
def problem():
    return Problem()


@pytest.fixture
def make_problem():
    return Problem


@pytest.fixture
def make_quadratic():
    """f(θ) = ½ θᵀHθ − cᵀθ as a model that returns θ and a callable loss."""

    def make(H, c, theta):
        model = optim.Function(lambda params, x: params["theta"], {"theta": theta})
        return model, lambda z, t: 0.5 * (z @ (H @ z)) - c @ z

    return make


@pytest.fixture
def random_quadratic(make_quadratic):
    """random_quadratic(largest): such a model and loss, H, c, θ; the six eigenvalues of H end at `largest`."""

    def make(largest):
        rng = np.random.default_rng(0)
        Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        H, c, theta = (Q * np.geomspace(0.5, largest, 6)) @ Q.T, rng.standard_normal(6), rng.standard_normal(6)
        return (*make_quadratic(H, c, theta), H, c, theta)

    return make
