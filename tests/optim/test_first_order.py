"""SGD and Adam against the formulas of their papers, written out."""

import numpy as np
import pytest

import optim


def run(problem, opt, steps):
    """θ before every step and after the last, and ∇f at each."""
    thetas, gradients, infos = [problem.theta], [], []
    for _ in range(steps):
        gradients.append(problem.dense()[1])
        infos.append(opt.step(problem.x, problem.t))
        thetas.append(problem.theta)
    return thetas, gradients, infos


def test_sgd(problem):
    thetas, u, infos = run(problem, optim.SGD(problem.model, problem.loss, lr=0.1), 3)
    for k in range(3):
        np.testing.assert_allclose(thetas[k + 1], thetas[k] - 0.1 * u[k], rtol=1e-12, atol=1e-15)
        assert infos[k].loss == pytest.approx(problem.f(thetas[k]), rel=1e-12)
        assert infos[k].gradient_norm == pytest.approx(np.linalg.norm(u[k]))
        assert infos[k].step_size == 0.1
        assert not infos[k].rejected


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(problem, nesterov):
    opt = optim.SGD(problem.model, problem.loss, 0.05, momentum=0.9, nesterov=nesterov)
    thetas, u, _ = run(problem, opt, 5)
    v = np.zeros_like(thetas[0])
    for k in range(5):
        v = 0.9 * v + u[k]
        d = u[k] + 0.9 * v if nesterov else v
        np.testing.assert_allclose(thetas[k + 1], thetas[k] - 0.05 * d, rtol=1e-12, atol=1e-15)


def test_nesterov_is_the_lookahead_form(problem):
    """Sutskever et al. (2013), eqs. (3), (4): v ← μ v − ε ∇f(θ + μ v), θ ← θ + v, seen at θ + μ v."""
    mu, lr = 0.8, 0.05
    theta, v = problem.theta, np.zeros_like(problem.theta)
    opt = optim.SGD(problem.model, problem.loss, lr, momentum=mu, nesterov=True)
    for _ in range(4):
        np.testing.assert_allclose(problem.theta, theta + mu * v, rtol=1e-10, atol=1e-13)
        v = mu * v - lr * problem.dense()[1]  # the gradient at the point where the model stands
        theta = theta + v
        opt.step(problem.x, problem.t)


def test_adam(problem):
    lr, (b1, b2), eps = 0.01, (0.8, 0.95), 1e-4
    thetas, u, _ = run(problem, optim.Adam(problem.model, problem.loss, lr, betas=(b1, b2), eps=eps), 6)
    m = v = np.zeros_like(thetas[0])
    for k in range(6):
        m, v = b1 * m + (1 - b1) * u[k], b2 * v + (1 - b2) * u[k] ** 2
        m_hat, v_hat = m / (1 - b1 ** (k + 1)), v / (1 - b2 ** (k + 1))
        np.testing.assert_allclose(thetas[k + 1], thetas[k] - lr * m_hat / (np.sqrt(v_hat) + eps), rtol=1e-11)


def test_adamw(problem):
    lr, decay = 0.01, 0.3
    opt = optim.Adam(problem.model, problem.loss, lr, betas=(0.8, 0.95), weight_decay=decay)
    thetas, u, _ = run(problem, opt, 4)
    m = v = np.zeros_like(thetas[0])
    for k in range(4):
        m, v = 0.8 * m + 0.2 * u[k], 0.95 * v + 0.05 * u[k] ** 2
        m_hat, v_hat = m / (1 - 0.8 ** (k + 1)), v / (1 - 0.95 ** (k + 1))
        expected = thetas[k] - lr * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * thetas[k])
        np.testing.assert_allclose(thetas[k + 1], expected, rtol=1e-11)


@pytest.mark.parametrize("method", [optim.SGD, optim.Adam])
def test_l2_is_part_of_the_objective(make_problem, method):
    plain, decayed = make_problem(), make_problem()
    theta = plain.theta
    info = method(decayed.model, decayed.loss, lr=1e-3, l2=0.5).step(decayed.x, decayed.t)
    assert info.loss == pytest.approx(plain.f(theta) + 0.25 * theta @ theta)
    assert info.gradient_norm == pytest.approx(np.linalg.norm(plain.dense()[1] + 0.5 * theta))


@pytest.mark.parametrize(
    "make",
    [
        lambda m, f: optim.SGD(m, f, lr=0.1, momentum=0.9, nesterov=True),
        lambda m, f: optim.Adam(m, f, lr=0.01),
    ],
)
def test_float32_stays_and_old_arrays_are_not_written_into(make_problem, make):
    problem = make_problem(np.float32)
    opt = make(problem.model, problem.loss)
    for _ in range(3):
        held = problem.model.params
        before = {name: a.copy() for name, a in held.items()}
        opt.step(problem.x, problem.t)
        for name, a in held.items():
            np.testing.assert_array_equal(a, before[name])
            assert problem.model.params[name].dtype == np.float32
            assert not np.shares_memory(problem.model.params[name], a)


def test_adam_learns(problem):
    opt = optim.Adam(problem.model, problem.loss, lr=0.05)
    losses = [opt.step(problem.x, problem.t).loss for _ in range(200)]
    assert losses[-1] < 0.01 * losses[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, f: optim.SGD(m, f, lr=0.0), "lr must be > 0, got 0.0"),
        (lambda m, f: optim.SGD(m, f, lr=float("nan")), "lr must be > 0, got nan"),
        (lambda m, f: optim.SGD(m, f, lr=0.1, momentum=1.0), "momentum must be ≥ 0 and < 1, got 1.0"),
        (lambda m, f: optim.SGD(m, f, lr=0.1, nesterov=True), "nesterov needs momentum > 0"),
        (lambda m, f: optim.SGD(m, f, lr=0.1, l2=-1.0), "l2 must be ≥ 0, got -1.0"),
        (lambda m, f: optim.Adam(m, f, lr=-1.0), "lr must be > 0, got -1.0"),
        (lambda m, f: optim.Adam(m, f, betas=(0.9, 1.0)), r"betas\[1\] must be ≥ 0 and < 1, got 1.0"),
        (lambda m, f: optim.Adam(m, f, betas=(0.9,)), r"betas must be two numbers, got \(0.9,\)"),
        (lambda m, f: optim.Adam(m, f, weight_decay=-1.0), "weight_decay must be ≥ 0, got -1.0"),
        (lambda m, f: optim.Adam(m, f, eps=0.0), "eps must be > 0, got 0.0"),
    ],
)
def test_hyper_parameters_out_of_range(problem, make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(problem.model, problem.loss)
