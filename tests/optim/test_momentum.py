"""δ = α P⁻¹b + μ δ_{k−1}: the direction of Martens & Grosse (2015), section 7, in HessianFree."""

import numpy as np
import pytest

import nn
import optim
from optim.parts.directions import Subproblem


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
    steps = np.linalg.solve(V.T @ damped @ V, V.T @ b)
    if not old:
        steps = np.minimum(steps, 1)  # section 6.4
    x = V @ steps
    np.testing.assert_allclose(found.x, x, rtol=1e-10)
    assert found.iterates[-1].phi == pytest.approx(x @ damped @ x / 2 - b @ x, rel=1e-10)
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
