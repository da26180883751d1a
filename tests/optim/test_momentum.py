"""δ = α P⁻¹b + μ δ_{k−1}: the direction of Martens & Grosse (2015), section 7, in HessianFree."""

import numpy as np
import pytest
from scipy.optimize import minimize

import nn
import optim
from optim.parts.directions import Subproblem
from optim.parts.rescaling import along_both


@pytest.fixture
def system():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    return (Q * np.geomspace(0.5, 20, 12)) @ Q.T, rng.standard_normal(12), rng.standard_normal(12)


def solved(A, b, damping=0.0, **hyper):
    return optim.RescaledMomentum()(Subproblem(lambda v, out: np.matmul(A, v, out=out), b, None, damping, **hyper))


@pytest.mark.parametrize("damping", [0.0, 0.7, np.linspace(0.1, 2, 12)], ids=["none", "λ", "λD"])
@pytest.mark.parametrize("old", [False, True])
def test_it_is_the_least_value_in_the_plane(system, old, damping):
    A, b, previous = system
    inverse_P = 1 / np.linspace(3, 6, 12)
    found = solved(A, b, damping, inverse_P=inverse_P, x0=previous if old else None)
    V = np.stack([inverse_P * b, previous][: 1 + old], axis=1)
    damped = A + np.diag(np.broadcast_to(damping, 12))
    H, c = V.T @ damped @ V, V.T @ b
    box = [(0.0, 1.0), (0.0, 0.9)][: 1 + old]
    steps = minimize(lambda s: s @ H @ s / 2 - c @ s, c * 0, jac=lambda s: H @ s - c, bounds=box, tol=1e-14).x
    x = V @ steps
    np.testing.assert_allclose(found.x, x, rtol=1e-6)
    assert found.iterates[-1].phi == pytest.approx(found.x @ damped @ found.x / 2 - b @ found.x, rel=1e-10)
    assert (found.iterations, found.products) == (1, 1 + old)
    assert found.reason == "the least value of the model"


def test_numbers_that_are_not_finite_are_reported(system):
    found = solved(np.full((12, 12), np.nan), system[1], x0=system[2])
    assert not found.finite
    assert found.reason == "non-finite value of the model"


def test_an_update_along_the_gradient_itself(system):
    """The last update may be a multiple of the new direction."""
    A, b, _ = system
    found = solved(A, b, x0=3 * b)
    np.testing.assert_allclose(found.x, b * (b @ b) / (b @ A @ b), rtol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_alpha_and_mu_are_the_least_value_in_their_box(seed):
    """Against a fine grid; the corners, the edges and the inside are all met."""
    rng = np.random.default_rng(seed)
    L = rng.standard_normal((2, 2))
    A, b = L @ L.T, 2 * rng.standard_normal(2)
    d, old = np.eye(2)
    forms = type("Forms", (), {"curvature_between": lambda self, v, w: (v @ A @ v, v @ A @ w, w @ A @ w)})()
    found = along_both(forms, -b, d, old, 0.0, (1.0, 0.9))
    alpha, mu = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 0.9, 181))
    grid = (A[0, 0] * alpha**2 + 2 * A[0, 1] * alpha * mu + A[1, 1] * mu**2) / 2 - b[0] * alpha - b[1] * mu
    assert ((found.delta >= 0) & (found.delta <= [1, 0.9])).all()
    assert found.length / 2 + found.slope <= grid.min() + 1e-12
    assert found.length / 2 + found.slope >= grid.min() - 1e-3


def test_it_takes_two_pushes_of_the_model():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((30, 6)), rng.standard_normal((30, 2))
    model = nn.models.mlp((6, 5, 2), rng=rng, dtype=np.float64)
    opt = optim.HessianFree(
        model, nn.SquaredError(), direction=optim.RescaledMomentum(), damping=0.3, line_search=False, automatic=False
    )
    opt.step(x, t)
    old = opt.delta.copy()
    q, theta = opt.objective.quadratic(x, t), opt.objective.flat()
    info = opt.step(x, t)
    delta = opt.objective.flat() - theta
    residual = q.gradient + q.ggn @ delta + info.damping * delta
    assert info.products == 2
    assert abs(residual @ delta) < 1e-9 * abs(q.gradient @ delta)
    assert abs(residual @ old) < 1e-9 * abs(q.gradient @ old)


def test_the_hessian_is_refused():
    model, loss = nn.Linear(2, 2, rng=np.random.default_rng(0)), nn.SquaredError()
    with pytest.raises(ValueError, match="RescaledMomentum is for matrices without negative curvature"):
        optim.HessianFree(model, loss, direction=optim.RescaledMomentum(), curvature="hessian")
