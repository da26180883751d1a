"""CurveBall against its equations written out with dense matrices, and against momentum SGD."""

import gc
import math
import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize

import optim
import optim.curveball
from rmad.plan.plan import Plan
from rmad.tapes.tape import Tape

FIXED = {"momentum": 0.9, "beta": 0.1, "adapt_damping": False}


@pytest.fixture
def sweeps(monkeypatch):
    """Counts of forward passes that leave a tape, of pushes and of pulls."""
    counts = {"forward": 0, "push": 0, "pull": 0}

    def counted(cls, method, name):
        original = getattr(cls, method)

        def spy(self, *args, **kwargs):
            counts[name] += 1
            return original(self, *args, **kwargs)

        monkeypatch.setattr(cls, method, spy)

    counted(Tape, "__init__", "forward")
    counted(Plan, "push", "push")
    counted(Plan, "pull", "pull")
    return counts


@pytest.mark.parametrize(
    ("hyper", "pushes"), [({}, 2), (FIXED, 1), ({"adapt_damping": False}, 2), (FIXED | {"adapt_damping": True}, 1)]
)
def test_one_push_and_one_pull_and_one_more_push_for_the_system(problem, sweeps, hyper, pushes):
    opt = optim.CurveBall(problem.model, problem.loss, **hyper)
    opt.objective.threads = 1
    opt.step(problem.x, problem.t)  # the first is one in which the damping is looked at
    sweeps.update(forward=0, push=0, pull=0)
    info = opt.step(problem.x, problem.t)
    assert sweeps == {"forward": 1, "push": pushes, "pull": 1}
    assert info.products == pushes


def test_steps_against_the_equations(problem):
    """Eqs. (17) to (19) with dense matrices, weight decay and the damping rule included."""
    lam, l2 = 0.05, 0.01
    opt = optim.CurveBall(problem.model, problem.loss, damping=lam, l2=l2)
    z = np.zeros_like(problem.theta)
    for k in range(12):
        theta = problem.theta
        f, u, G = problem.dense()
        f, u, H = f + l2 / 2 * theta @ theta, u + l2 * theta, G + (l2 + lam) * np.eye(z.size)
        delta = H @ z + u
        V = np.stack([delta, z], axis=1)
        c = -np.linalg.pinv(V.T @ H @ V) @ (V.T @ u)
        z = V @ c
        info = opt.step(problem.x, problem.t)
        assert info.loss == pytest.approx(f)
        assert info.damping == lam
        np.testing.assert_allclose(opt.beta_rho, (-c[0], c[1]), rtol=1e-6)
        np.testing.assert_allclose(problem.theta, theta + z, rtol=1e-6)
        if k % 5 == 0:
            f_new = problem.f(problem.theta) + l2 / 2 * problem.theta @ problem.theta
            gamma = (f_new - f) / (u @ z + z @ H @ z / 2)
            assert info.reduction_ratio == pytest.approx(gamma, rel=1e-5)
            lam = lam * 0.999**5 if gamma > 1.5 else lam / 0.999**5 if gamma < 0.5 else lam
            lam = opt.damping if math.isclose(lam, opt.damping, rel_tol=1e-14) else lam
        else:
            assert math.isnan(info.reduction_ratio)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lr", [0.05, 1.0])
def test_without_curvature_it_is_momentum_sgd_bit_for_bit(dtype, lr):
    """β = 1, λ = 0 and a loss that is linear in the outputs."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((20, 3)).astype(dtype), rng.standard_normal((20, 2)).astype(dtype)
    W = rng.standard_normal((3, 2)).astype(dtype)

    def run(make):
        model = optim.Function(lambda p, x: x @ p["W"], {"W": W})
        opt = make(model, lambda z, t: np.sum(z * t) / len(t))
        for k in range(8):
            opt.step(x[2 * k :], t[2 * k :])
        return model.params["W"]

    sgd = run(lambda m, f: optim.SGD(m, f, lr, momentum=0.9))
    ours = run(lambda m, f: optim.CurveBall(m, f, lr, momentum=0.9, beta=1.0, damping=0.0, adapt_damping=False))
    assert ours.dtype == dtype
    assert not np.array_equal(sgd, W)
    np.testing.assert_array_equal(ours, sgd)


@pytest.fixture
def fixed_quadratic(random_quadratic):
    return random_quadratic(5)


def test_z_converges_to_the_newton_step_where_the_parameters_stand_still(fixed_quadratic):
    """Eq. (13): z ← z − β (H z + J), at one θ."""
    model, loss, H, c, theta = fixed_quadratic
    opt = optim.CurveBall(model, loss, momentum=1.0, beta=0.3, damping=0.0, adapt_damping=False)
    for _ in range(250):
        opt.step(None)
        opt.objective.assign(theta)
    np.testing.assert_allclose(opt.z, -np.linalg.solve(H, H @ theta - c), rtol=1e-8)


@pytest.mark.parametrize("damping", [0.0, 0.2])
def test_automatic_coefficients_follow_the_newton_step_too(fixed_quadratic, damping):
    """At one θ, eq. (19) is steepest descent on the quadratic model with exact line searches, and better."""
    model, loss, H, c, theta = fixed_quadratic
    opt = optim.CurveBall(model, loss, damping=damping, adapt_damping=False)
    for _ in range(150):
        opt.step(None)
        opt.objective.assign(theta)
    np.testing.assert_allclose(opt.z, -np.linalg.solve(H + damping * np.eye(6), H @ theta - c), rtol=1e-6)


def test_it_minimizes_a_quadratic(fixed_quadratic):
    model, loss, H, c, _ = fixed_quadratic
    opt = optim.CurveBall(model, loss, damping=0.0)
    for _ in range(200):
        opt.step(None)
    np.testing.assert_allclose(model.params["theta"], np.linalg.solve(H, c), rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_the_system_gives_the_minimiser_over_the_span(scale):
    """Compares with a brute-force minimum; Δz may be far shorter than z."""
    rng = np.random.default_rng(3)
    H = rng.standard_normal((5, 5))
    H = H @ H.T + np.eye(5)
    J, delta, z = rng.standard_normal(5), rng.standard_normal(5), rng.standard_normal(5)
    V = np.stack([scale * delta, z], axis=1)
    c = optim.curveball.minimizer(V.T @ H @ V, V.T @ J, 2.2e-16)

    def model(coefficients):
        d = coefficients[0] * delta + coefficients[1] * z
        return J @ d + d @ H @ d / 2

    best = minimize(model, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 9999})
    assert best.success
    np.testing.assert_allclose((c[0] * scale, c[1]), best.x, rtol=1e-5)
    assert model((c[0] * scale, c[1])) <= best.fun + 1e-12


@pytest.mark.parametrize(
    ("A", "b", "c"),
    [
        ([[4.0, 0.0], [0.0, 0.0]], [2.0, 0.0], (-0.5, 0.0)),  # z = 0, the first step
        ([[0.0, 0.0], [0.0, 4.0]], [0.0, 2.0], (0.0, -0.5)),  # Δz = 0: z solves the system
        ([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], (0.0, 0.0)),
        ([[1.0, 1.0], [1.0, 1.0]], [2.0, 2.0], (-1.0, -1.0)),  # Δz = z
        ([[1.0, -2.0], [-2.0, 4.0]], [2.0, -4.0], (-1.0, 0.5)),  # z = −2 Δz
    ],
)
def test_singular_systems_are_solved_by_the_pseudo_inverse(A, b, c):
    np.testing.assert_allclose(optim.curveball.minimizer(np.array(A), np.array(b), 2.2e-16), c, atol=1e-15)


def test_coefficients_that_are_not_finite_are_zero(problem):
    opt = optim.CurveBall(problem.model, problem.loss)
    A, b = np.array([[1.0, 0.0], [0.0, np.nan]]), np.array([1.0, 1.0])
    assert opt._coefficients(A, b, 2e-16) == (0.0, 0.0)
    assert opt._coefficients(np.eye(2), np.array([1.0, np.nan]), 2e-16) == (0.0, 0.0)
    assert opt._coefficients(np.diag([0.0, 1.0]), np.array([np.nan, 1.0]), 2e-16) == (0.0, -1.0)


def test_the_damping_follows_the_ratio(problem):
    """Below `low` it is divided by factor ** interval, above `high` multiplied, and kept on the bounds."""
    opt = optim.CurveBall(problem.model, problem.loss, damping=2.0)
    change = opt.factor**opt.interval
    for ratio, wanted in ((opt.low, 1), (opt.high, 1), (opt.low - 0.01, 1 / change), (opt.high + 0.01, change)):
        opt.damping = 2.0
        opt._rescale(ratio)
        assert opt.damping == 2.0 * wanted


def test_a_step_into_nan_is_rejected_and_the_direction_forgotten(problem):
    def loss(z, t):
        return np.sum(np.square(z)) + 0 * np.sum(np.sqrt(z - 0.5))

    model = optim.Function(lambda p, x: p["z"], {"z": np.array([1.0])})
    opt = optim.CurveBall(model, loss, damping=1.0)
    with pytest.warns(
        optim.NumericalWarning, match="CurveBall: non-finite loss after the update; the step is rejected"
    ):
        info = opt.step(None)
    assert info.rejected
    assert model.params["z"] == 1.0
    assert not opt.z.any()
    assert opt.damping == 1 / 0.999**5


def test_a_run_goes_on_from_its_state(make_problem):
    def steps(opt, problem, n):
        return [opt.step(problem.x, problem.t).loss for _ in range(n)]

    whole, first = make_problem(), make_problem()
    expected = steps(optim.CurveBall(whole.model, whole.loss), whole, 12)
    opt = optim.CurveBall(first.model, first.loss)
    begun = steps(opt, first, 7)
    other = optim.CurveBall(first.model, first.loss, damping=5.0)
    other.load_state_dict(opt.state_dict())
    assert begun + steps(other, first, 5) == expected


def test_it_learns(problem):
    opt = optim.CurveBall(problem.model, problem.loss)
    losses = [opt.step(problem.x, problem.t).loss for _ in range(200)]
    assert losses[-1] < 0.01 * losses[0]


def test_memory_is_one_vector_beyond_momentum_sgd():
    """Peaks of a step, in vectors as long as θ."""

    def peak(make):
        x, t = np.ones((2, 500)), np.ones((2, 1000))
        model = optim.Function(lambda p, x: x @ p["W"], {"W": np.ones((500, 1000))})
        opt = make(model, lambda z, t: np.sum((z - t) ** 2) / len(t))
        opt.objective.threads = 1
        opt.step(x, t)
        gc.collect()
        tracemalloc.start()
        for _ in range(6):
            opt.step(x, t)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory / model.params["W"].nbytes

    sgd = peak(lambda m, f: optim.SGD(m, f, 1e-6, momentum=0.9))
    assert peak(lambda m, f: optim.CurveBall(m, f)) < sgd + 1.1


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"lr": 0.0}, "lr must be > 0, got 0.0"),
        ({"damping": -1.0}, "damping must be ≥ 0, got -1.0"),
        ({"momentum": 0.9}, "momentum and beta go together, got momentum=0.9, beta=None"),
        ({"momentum": 1.1, "beta": 1.0}, "momentum must be ≤ 1, got 1.1"),
        ({"momentum": 0.9, "beta": 0.0}, "beta must be > 0, got 0.0"),
        ({"l2": -1.0}, "l2 must be ≥ 0, got -1.0"),
    ],
)
def test_hyper_parameters_out_of_range(problem, hyper, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        optim.CurveBall(problem.model, problem.loss, **hyper)
