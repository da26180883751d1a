"""NaN and Inf wherever they come from: the step is rejected, the parameters stay finite; and a run that goes on."""

import numpy as np
import pytest

import optim

METHODS = {
    "SGD": lambda m, f: optim.SGD(m, f, lr=0.05, momentum=0.9),
    "Adam": lambda m, f: optim.Adam(m, f, lr=0.01),
    "SGN": lambda m, f: optim.SGN(m, f),
    "SGN with momentum": lambda m, f: optim.SGN(m, f, momentum=0.5, adapt_cg=True, preconditioner=True),
    "LevenbergMarquardt": lambda m, f: optim.LevenbergMarquardt(m, f),
    "LevenbergMarquardt, cg": lambda m, f: optim.LevenbergMarquardt(m, f, solver="cg", scaling="diagonal"),
    "BFGS": lambda m, f: optim.BFGS(m, f),
    "LBFGS": lambda m, f: optim.LBFGS(m, f, iterations=2),
    "CurveBall": lambda m, f: optim.CurveBall(m, f),
    "HessianFree": lambda m, f: optim.HessianFree(m, f, damping=1.0, cg_iterations=10),
    "KFAC": lambda m, f: optim.KFAC(m, f),
    "KFAC with momentum": lambda m, f: optim.KFAC(m, f, momentum=True, exact_damping=True),
    "KFLR": lambda m, f: optim.KFLR(m, f),
    "KFRA": lambda m, f: optim.KFRA(m, f),
    "EKFAC": lambda m, f: optim.EKFAC(m, f),
}


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def rejected(opt, x, t, cause, **batches):
    """The record of a step that must be rejected for this cause, with a warning that names it."""
    before = opt.objective.flat()
    with pytest.warns(optim.NumericalWarning, match=f"{type(opt).__name__}: {cause}.*the step is rejected") as caught:
        info = opt.step(x, t, **batches)
    assert caught[0].filename == __file__  # it points at the caller of step
    assert info.rejected
    assert info.step_size == 0
    assert cause in info.reason
    np.testing.assert_array_equal(opt.objective.flat(), before)
    return info


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "t"])
def test_bad_data(problem, method, bad, where):
    opt = method(problem.model, problem.loss)
    opt.step(problem.x, problem.t)
    batch = {"x": problem.x.copy(), "t": problem.t.copy()}
    batch[where][3, 1] = bad
    if where == "x" and np.isinf(bad):  # tanh(±∞) = ±1: the loss is finite, the gradient is not
        rejected(opt, batch["x"], batch["t"], "non-finite gradient")
    else:
        rejected(opt, batch["x"], batch["t"], "non-finite loss")
    info = opt.step(problem.x, problem.t)
    assert not info.rejected
    assert opt.rejected_in_a_row == 0


def test_bad_loss(problem, method):
    opt = method(problem.model, lambda z, t: np.sum(z) * 0 + np.log(np.sum(z - z)))
    rejected(opt, problem.x, problem.t, "non-finite loss")


def test_bad_gradient(problem, method):
    """√ at zero: the value is finite and the derivative is not."""
    opt = method(problem.model, lambda z, t: np.sum(np.sqrt(z - z)))
    rejected(opt, problem.x, problem.t, "non-finite gradient")


def test_gradient_too_large_to_square(make_problem, method):
    problem = make_problem(np.float32)
    opt = method(problem.model, lambda z, t: np.sum(z) * np.float32(1e25))
    rejected(opt, problem.x, problem.t, "overflow in the squared gradient")


def test_update_that_overflows(make_problem):
    problem = make_problem(np.float32)
    rejected(optim.SGD(problem.model, problem.loss, lr=1e39), problem.x, problem.t, "non-finite parameters")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_data_in_shards_on_threads(problem, method, bad):
    opt = method(problem.model, problem.loss)
    opt.objective.shards = opt.objective.threads = 3
    opt.step(problem.x, problem.t)
    x = np.full_like(problem.x, bad)
    x[::2] *= -1
    x[:, ::2] *= -1
    rejected(opt, x, problem.t, "non-finite loss")  # Inf − Inf in x @ W, on any of the threads
    assert not opt.step(problem.x, problem.t).rejected


def test_loss_that_is_finite_only_here(problem):
    """Every step away is NaN: nothing to accept, whatever its length."""
    theta = problem.theta

    def forward(params, x):
        z = problem.model.forward(params, x)
        return z if np.array_equal(params["W1"].ravel(), theta[: params["W1"].size]) else z * np.nan

    model = optim.Function(forward, problem.params)
    opt = optim.HessianFree(model, problem.loss, preconditioner=False)
    rejected(opt, problem.x, problem.t, "non-finite loss along the line search")


class FailingCurvature:
    """½‖z − t‖² whose curvature product number `at` has a hole."""

    def __init__(self, loss, at, bad):
        self.value, self.gradient, self.at, self.bad, self.calls = loss.value, loss.gradient, at, bad, 0

    def hessian_product(self, z, t, v):
        self.calls += 1
        out = v / len(z)
        if self.calls == self.at:
            out[0, 0] = self.bad
        return out


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", [1, 7])
def test_bad_product(problem, bad, at):
    opt = optim.HessianFree(problem.model, FailingCurvature(problem.loss, at, bad), damping=2.0)
    opt.objective.threads = 1
    info = rejected(opt, problem.x, problem.t, f"non-finite product in CG iteration {at}")
    assert info.cg_iterations == at - 1
    assert info.products == at
    assert opt.damping == 3.0
    assert not opt.delta.any()
    assert not opt.step(problem.x, problem.t).rejected


def test_bad_product_at_the_warm_start(problem):
    loss = FailingCurvature(problem.loss, -1, np.nan)
    opt = optim.HessianFree(problem.model, loss)
    opt.objective.threads = 1
    opt.step(problem.x, problem.t)
    loss.at = loss.calls + 1
    delta = opt.delta.copy()
    rejected(opt, problem.x, problem.t, "non-finite product in CG iteration 0")
    np.testing.assert_array_equal(opt.delta, delta)  # it was finite, and is of use again


def test_bad_curvature_batch(problem):
    opt = optim.HessianFree(problem.model, problem.loss)
    bad = np.full_like(problem.t, np.nan)
    rejected(opt, problem.x, problem.t, "non-finite loss on the curvature batch", curvature_batch=(problem.x, bad))


def test_bad_preconditioner(problem, monkeypatch):
    monkeypatch.setattr(optim.Quadratic, "squared_gradients", lambda q: np.full_like(q.theta, np.nan))
    rejected(optim.HessianFree(problem.model, problem.loss), problem.x, problem.t, "non-finite preconditioner")


def test_rejection_raises_damping(problem):
    opt = optim.HessianFree(problem.model, problem.loss, damping=4.0)
    rejected(opt, problem.x * np.nan, problem.t, "non-finite loss")
    assert opt.damping == 6.0


def test_negative_curvature_at_once_takes_the_gradient_s_direction(make_quadratic):
    model, loss = make_quadratic(-np.eye(2), np.zeros(2), np.array([1.0, 2.0]))
    opt = optim.HessianFree(model, loss, damping=0.5, curvature="hessian", preconditioner=False)
    info = opt.step(None, None)
    assert (info.rejected, info.reason) == (False, "negative curvature in CG iteration 1")
    np.testing.assert_allclose(model.params["theta"], [2.0, 4.0])  # θ − ∇f(θ)
    assert info.reduction_ratio == pytest.approx(1)
    assert opt.damping == pytest.approx(1 / 3)
    info = opt.step(None, None)  # the warm start 0.95 δ is a descent already, and CG adds nothing to it
    assert (info.rejected, info.cg_iterations) == (False, 0)
    np.testing.assert_allclose(model.params["theta"], [2.95, 5.9])


def test_negative_curvature_at_a_saddle_never_rejects(make_quadratic):
    """Both methods whose curvature may be negative, and a preconditioner: f falls in each of twenty steps."""
    H = np.diag([2.0, -1.0, -3.0])
    bounded = lambda z, t: 0.5 * np.sum(np.diag(H) * z**2) + np.sum(z**4)  # noqa: E731
    makers = {
        "hf": lambda m: optim.HessianFree(m, bounded, damping=0.1, curvature="hessian"),
        "hf, plain": lambda m: optim.HessianFree(m, bounded, damping=0.1, curvature="hessian", preconditioner=False),
        "sgn": lambda m: optim.SGN(m, bounded, damping=0.1),
    }
    for name, make in makers.items():
        model, _ = make_quadratic(H, np.zeros(3), np.array([0.01, 0.1, 0.2]))
        opt = make(model)
        infos = [opt.step(None, None) for _ in range(20)]
        assert infos[0].reason == "negative curvature in CG iteration 1", name
        assert not any(info.rejected for info in infos[:5]), name
        np.testing.assert_allclose(model.params["theta"] ** 2, [0, 1 / 4, 3 / 4], atol=1e-3, err_msg=name)


def test_direction_that_does_not_lower_the_loss_is_rejected(problem, monkeypatch):
    """A gradient of the wrong sign: no multiple of δ helps, and the next run of CG starts from zero."""
    opt = optim.HessianFree(problem.model, problem.loss, damping=3.0)
    opt.step(problem.x, problem.t)
    right = opt.objective.value_and_gradient
    monkeypatch.setattr(opt.objective, "value_and_gradient", lambda x, t: (right(x, t)[0], -right(x, t)[1]))
    theta, damping = problem.theta, opt.damping
    opt.delta[...] = 0
    other = problem.x.copy(), problem.t.copy()  # the same arrays would be known to be the gradient's
    info = opt.step(problem.x, problem.t, curvature_batch=other)
    assert (info.rejected, info.reason) == (True, "no sufficient decrease of the loss")
    assert opt.damping == 1.5 * damping
    assert not opt.delta.any()
    np.testing.assert_array_equal(problem.theta, theta)


def test_at_the_rounding_of_the_loss_it_stays(make_problem):
    """float32, an exact fit: in the end no line search can succeed, and no step moves or raises."""
    problem = make_problem(np.float32)
    opt = optim.HessianFree(problem.model, problem.loss, damping=0.1)
    infos = [opt.step(problem.x, problem.t) for _ in range(60)]
    assert infos[-1].loss < 1e-12 * infos[0].loss
    assert infos[-1].step_size == 0
    assert infos[-1].reason.startswith(("no sufficient decrease", "converged"))
    assert np.isfinite(problem.theta).all()


def test_ten_rejected_steps_raise_with_the_parameters_as_they_were(problem, method):
    opt = method(problem.model, problem.loss)
    opt.step(problem.x, problem.t)
    theta = problem.theta
    bad = problem.x * np.nan
    for _ in range(9):
        rejected(opt, bad, problem.t, "non-finite loss")
    with (
        pytest.warns(optim.NumericalWarning),
        pytest.raises(optim.TrainingDiverged, match=r"10 steps in a row were rejected, .* non-finite loss"),
    ):
        opt.step(bad, problem.t)
    np.testing.assert_array_equal(problem.theta, theta)


def test_after_training_diverged_ten_more_steps_may_be_rejected(problem, method):
    """With other data, or from the state that was saved then."""
    opt, bad = method(problem.model, problem.loss), problem.x * np.nan

    def diverges(opt):
        for k in range(9):
            rejected(opt, bad, problem.t, "non-finite loss")
            assert opt.state_dict()["rejected_in_a_row"] == opt.rejected_in_a_row == k + 1
        with pytest.warns(optim.NumericalWarning), pytest.raises(optim.TrainingDiverged, match="10 steps in a row"):
            opt.step(bad, problem.t)
        assert opt.state_dict()["rejected_in_a_row"] == opt.rejected_in_a_row == 0

    diverges(opt)
    diverges(opt)
    resumed = method(problem.model, problem.loss)
    resumed.load_state_dict(opt.state_dict())
    diverges(resumed)
    assert not opt.step(problem.x, problem.t).rejected


def test_nine_rejected_steps_are_forgiven(problem, method):
    opt = method(problem.model, problem.loss)
    for _ in range(2):
        for _ in range(9):
            rejected(opt, problem.x * np.nan, problem.t, "non-finite loss")
        assert not opt.step(problem.x, problem.t).rejected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_continues_bit_for_bit(make_problem, method, dtype):
    def steps(problem, opt, first, last):
        for k in range(first, last):
            S = np.random.default_rng(k).permutation(60)[:30]
            opt.step(problem.x[S], problem.t[S])

    whole, halted, resumed = (make_problem(dtype) for _ in range(3))
    opt = method(whole.model, whole.loss)
    steps(whole, opt, 0, 8)
    first = method(halted.model, halted.loss)
    steps(halted, first, 0, 4)
    state = first.state_dict()
    assert all(isinstance(v, np.ndarray | int | float) for v in state.values())
    kept = {name: np.copy(v) for name, v in state.items()}
    second = method(resumed.model, resumed.loss)
    second.objective.assign(halted.theta)
    second.load_state_dict(state)
    steps(resumed, second, 4, 8)
    np.testing.assert_array_equal(resumed.theta, whole.theta)
    for name, value in kept.items():
        np.testing.assert_array_equal(state[name], value)  # neither run writes into the saved state
    for name, value in opt.state_dict().items():
        np.testing.assert_array_equal(value, second.state_dict()[name])


def test_state_that_does_not_fit_is_refused(problem):
    opt = optim.HessianFree(problem.model, problem.loss)
    opt.step(problem.x, problem.t)
    good = opt.state_dict()
    delta = good["delta"]
    cases = [
        ({**good, "velocity": 1.0}, "expected"),
        (
            {"damping": 1.0},
            r"expected \['damping', 'delta', 'k', 'objective.loss_couples', .*'running.estimates'\]",
        ),
        ({**good, "delta": delta[:-1]}, r"state\['delta'\] must be an array of float64\[43\], got float64\[42\]"),
        ({**good, "delta": delta.astype(np.float32)}, r"got float32\[43\]"),
        ({**good, "delta": 0.0}, r"got 0.0"),
        ({**good, "delta": delta * np.nan}, r"state\['delta'\] holds NaN or Inf"),
        ({**good, "damping": np.nan}, r"state\['damping'\] must be a finite number like .*, got nan"),
        ({**good, "damping": np.ones(2)}, r"state\['damping'\] must be a finite number"),
        ({**good, "damping": "much"}, r"state\['damping'\] must be a finite number .*, got 'much'"),
        ({**good, "rejected_in_a_row": 1.5}, r"state\['rejected_in_a_row'\] must be a finite number like 0, got 1.5"),
        ({**good, "rejected_in_a_row": 3, "damping": -1.0}, "damping must be ≥ 0"),
    ]
    for state, message in cases:
        with pytest.raises(ValueError, match=message):
            opt.load_state_dict(state)
        for name, value in opt.state_dict().items():
            np.testing.assert_array_equal(value, good[name])
    opt.load_state_dict({**good, "damping": np.array(2.0), "rejected_in_a_row": np.array(3)})
    assert (opt.damping, opt.rejected_in_a_row) == (2.0, 3)
    assert type(opt.rejected_in_a_row) is int
