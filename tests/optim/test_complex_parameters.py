"""Complex parameters are trained as pairs of reals, by every optimizer."""

import numpy as np
import pytest

import nn
import optim
import rmad
from rmad.extend import tree

LOSS = nn.SquaredError()


class Complex(nn.Module):
    """y = x w + s b with complex w and b and real s, as pairs of reals."""

    def __init__(self, dtype=complex, order="C"):
        rng = np.random.default_rng(3)
        self.w = np.array(rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3)), dtype, order=order)
        self.b = np.asarray(0.3 + 0.2j, dtype)
        self.s = np.ones(3, self.b.real.dtype)
        self.shift = np.zeros(3, int)

    def __call__(self, x):
        y = x @ self.w + self.s * self.b + self.shift
        return np.concatenate([y.real, y.imag], axis=1)


def data(dtype=complex):
    """60 cases with an exact fit."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((60, 2)) + 1j * rng.standard_normal((60, 2))).astype(dtype)
    y = x @ np.array([[1 + 2j, 0.5, -1j], [-1 + 0.5j, 1j, 2]]) + np.array([1, 2, -0.5]) * (0.5 - 1j)
    return x, np.concatenate([y.real, y.imag], axis=1).astype(x.real.dtype)


EVERY = {
    "SGD": lambda *a: optim.SGD(*a, lr=0.3, momentum=0.5),
    "Adam": lambda *a: optim.Adam(*a, lr=0.1),
    "BFGS": optim.BFGS,
    "LBFGS": optim.LBFGS,
    "LevenbergMarquardt": optim.LevenbergMarquardt,
    "LevenbergMarquardt, CG": lambda *a: optim.LevenbergMarquardt(*a, solver="cg"),
    "HessianFree": lambda *a: optim.HessianFree(*a, damping=0.1),
    "HessianFree, exact Hessian": lambda *a: optim.HessianFree(*a, damping=0.1, curvature="hessian"),
    "HessianFree, exact diagonal": lambda *a: optim.HessianFree(*a, damping=0.1, preconditioner=optim.ExactDiagonal()),
    "CurveBall": lambda *a: optim.CurveBall(*a, damping=0.1),
    "SGN": optim.SGN,
    "KFAC": optim.KFAC,
    "KFLR": optim.KFLR,
    "KFRA": optim.KFRA,
    "EKFAC": optim.EKFAC,
}


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer_finds_the_exact_fit(name, dtype):
    model, (x, t) = Complex(dtype), data(dtype)
    opt = EVERY[name](model, LOSS)
    assert opt.model is model
    before = opt.objective.value(x, t)
    for _ in range(60 if name in ("SGD", "Adam", "CurveBall") else 12):
        opt.step(x, t)
    assert opt.objective.value(x, t) < 1e-3 * before
    assert (model.w.dtype, model.b.dtype, model.s.dtype) == (dtype, dtype, t.dtype)
    assert (model.w.shape, model.b.shape) == ((2, 3), ())
    assert np.isrealobj(model.s)


@pytest.mark.parametrize("order", ["C", "F"])
def test_theta_has_both_parts_of_every_number(order):
    model, (x, t) = Complex(order=order), data()
    objective = optim.Objective(model, LOSS)
    theta = objective.flat()
    assert (theta.dtype, theta.shape) == (np.float64, (2 * 6 + 2 + 3,))
    np.testing.assert_array_equal(theta, rmad.ravel(model, pairs=True)[0])
    np.testing.assert_array_equal(theta[:12:2], model.w.real.ravel())
    np.testing.assert_array_equal(theta[1:12:2], model.w.imag.ravel())
    q, eps = objective.quadratic(x, t), 1e-6
    differences = [
        (objective.value_at(theta + eps * e, x, t) - objective.value_at(theta - eps * e, x, t)) / (2 * eps)
        for e in np.eye(17)
    ]
    np.testing.assert_allclose(q.gradient, differences, rtol=1e-6, atol=1e-8)
    _, lin = rmad.linearize(lambda flat: objective.model_at(flat)(x), theta)
    J = np.stack([lin.Jv(e).ravel() for e in np.eye(17)], axis=1)
    np.testing.assert_allclose(q.ggn @ np.eye(17), J.T @ J / len(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        q.hessian @ np.eye(17),
        rmad.HessianOperator(lambda m: LOSS(m(x), t), model) @ np.eye(17),
        rtol=1e-8,
        atol=1e-10,
    )


def test_a_step_rebinds_the_arrays_of_the_model_and_writes_into_none():
    model, (x, t) = Complex(), data()
    opt = optim.LevenbergMarquardt(model, LOSS)
    w, before = model.w, model.w.copy()
    opt.step(x, t)
    np.testing.assert_array_equal(w, before)
    assert model.w is not w
    model.w = model.w * 0  # changed by hand between two steps
    np.testing.assert_array_equal(opt.objective.flat()[:12], 0)
    state = opt.state_dict()
    opt.step(x, t)
    other = optim.LevenbergMarquardt(Complex(), LOSS)
    other.load_state_dict(state)


@pytest.mark.parametrize(
    "options", [{"shards": 4}, {"shards": 3, "threads": 2}, {"cases_in_memory": 7, "threads": 1}], ids=str
)
def test_parts_of_a_batch_give_the_same(options):
    model, (x, t) = Complex(), data()
    whole, parts = optim.Objective(model, LOSS, shards=1).quadratic(x, t), optim.Objective(model, LOSS, **options)
    q, v = parts.quadratic(x, t), np.arange(17.0)
    np.testing.assert_allclose(q.gradient, whole.gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(q.ggn @ v, whole.ggn @ v, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(q.squared_gradients(), whole.squared_gradients(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["LBFGS", "LevenbergMarquardt", "HessianFree", "SGN"])
def test_complex_outputs_and_a_function(name):
    """A tuple of parameters, a loss of complex outputs, and complex numbers as targets."""
    x, _ = data()
    t = x @ np.array([1 + 2j, -1 + 0.5j])
    model = optim.Function(
        lambda params, x: x @ params[0] + params[1], (np.array([0.3 + 0.2j, -0.1 + 0.4j]), np.zeros(1))
    )
    opt = EVERY[name](model, lambda z, t: np.sum((z - t).real ** 2 + (z - t).imag ** 2) / (2 * len(t)))
    for _ in range(20):
        opt.step(x, t)
    np.testing.assert_allclose(model.params[0], [1 + 2j, -1 + 0.5j], atol=1e-4)


def test_real_models_are_taken_as_they_are():
    model = nn.Linear(3, 2, rng=np.random.default_rng(0))
    objective = optim.Objective(model, LOSS)
    assert objective.model is model
    assert [a is b for (_, a), b in zip(tree.leaves(model), objective._structure().leaves, strict=True)] == [True, True]


@pytest.mark.parametrize("options", [{}, {"shards": 3}], ids=str)
def test_squared_gradients_of_every_case(options):
    """Also of real weights among complex activations."""
    rng = np.random.default_rng(1)
    x, t = data()
    params = {"v": rng.standard_normal((2, 3)), "g": rng.standard_normal(3), "w": rng.standard_normal(3) + 1j}

    def forward(params, x):
        y = np.exp(0.1j * params["g"]) * (x @ params["v"]) + params["w"]
        return np.concatenate([y.real, np.abs(y)], axis=1)

    objective = optim.Objective(optim.Function(forward, params), LOSS, **options)
    each = [objective.value_and_gradient(x[k : k + 1], t[k : k + 1])[1] for k in range(len(x))]
    found = objective.quadratic(x, t).squared_gradients()
    np.testing.assert_allclose(found, np.mean(np.square(each), axis=0), rtol=1e-10)
