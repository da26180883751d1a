"""Invariants of Hessian-free with any of its parts: every product is counted, none runs the model, f never rises."""

import numpy as np
import pytest

import nn
import optim
from optim.presets import Phases
from optim.problem.quadratic import Quadratic

D = np.linspace(0.5, 2.0, 43)
FEATURES = {
    "plain": lambda: {},
    "hessian": lambda: {"curvature": "hessian", "damping": 3.0},
    "hessian in a region": lambda: {"curvature": "hessian", "direction": optim.SteihaugToint(0.5)},
    "trust region": lambda: {"direction": optim.SteihaugToint(0.5), "preconditioner": optim.ExactDiagonal()},
    "krylov": lambda: {"direction": optim.KrylovSubspace(6, 10)},
    "momentum": lambda: {"direction": optim.RescaledMomentum(), "damping": optim.DiagonalDamping(0.5)},
    "momentum, matrix damping": lambda: {
        "direction": optim.RescaledMomentum(),
        "damping": optim.MatrixDamping(0.5, np.diag(D)),
        "preconditioner": False,
    },
    "diagonal damping": lambda: {"damping": optim.DiagonalDamping(0.5, kappa=1e-3)},
    "matrix damping": lambda: {"damping": optim.MatrixDamping(0.5, np.diag(D)), "preconditioner": False},
    "damped ratio": lambda: {"ratio": "damped"},
    "unbiased": lambda: {"preconditioner": optim.UnbiasedDiagonal(probes=2), "probe_seed": 5},
    "kronecker": lambda: {"preconditioner": optim.KroneckerPreconditioner("kflr")},
    "exact": lambda: {"preconditioner": optim.ExactDiagonal(exponent=0.5, kappa=0.1)},
    "held out": lambda: {"backtracking": optim.HeldOut(every=2, gap=4)},
    "held out, a part watched": lambda: {"backtracking": optim.HeldOut(every=2, gap=4, share=0.5)},
    "restart": lambda: {"restart": True, "decay": 1.0, "cg_iterations": 3},
    "kappa of the diagonal": lambda: {
        "damping": optim.DiagonalDamping(0.5, kappa=lambda d: 0.01 * d.mean()),
        "preconditioner": optim.EmpiricalFisher(kappa=D * 1e-3),
    },
    "held out by model": lambda: {"backtracking": optim.HeldOut(every=2, gap=4, by="model")},
    "every 3": lambda: {"backtracking": optim.Backtracking(every=3)},
    "full step": lambda: {"line_search": False, "backtracking": False},
    "schedules": lambda: {
        "decay": Phases(((0, 0.95), (3, 1.0))),
        "lr": Phases(((0, 1.0), (2, 0.5))),
        "l2": Phases(((0, 1e-2), (3, 0.0))),
        "cg_iterations": Phases(((0, 10), (3, 4))),
    },
}


@pytest.fixture(params=FEATURES)
def hyper(request):
    return {"cg_iterations": 12, **FEATURES[request.param]()}


def batches(problem, k):
    """Small ones, that change, so that not every full step is good."""
    order = np.random.default_rng(k).permutation(len(problem.x))
    S, S_c, S_b = order[:20], order[20:30], order[30:45]
    take = lambda which: (problem.x[which], problem.t[which])  # noqa: E731
    return {"x": take(S)[0], "t": take(S)[1], "curvature_batch": take(S_c), "backtracking_batch": take(S_b)}


def test_every_product_is_counted_and_none_runs_the_model(problem, hyper, monkeypatch):
    running, forwards, made = [], [], []
    forward = problem.model.forward
    model = optim.Function(lambda p, x: (forwards.append(bool(running)), forward(p, x))[1], problem.params)
    for name in ("ggn_product", "hessian_product", "curvature_along", "curvature_between"):
        f = getattr(Quadratic, name)

        def spy(*args, f=f):
            made.extend([1] * (2 if "between" in f.__name__ else 1))
            first = "hessian" in f.__name__ and args[0]._hessians is None  # the tape of the gradient
            running.extend([] if first else [1])
            result = f(*args)
            running.clear()
            return result

        monkeypatch.setattr(Quadratic, name, spy)
    opt = optim.HessianFree(model, nn.SquaredError(), **hyper)
    total = 0
    for k in range(5):
        total += opt.step(**batches(problem, k)).products
        assert total == len(made)
    assert total >= 5
    assert forwards
    assert not any(forwards)


def test_f_never_rises_on_its_batch(problem, hyper):
    opt = optim.HessianFree(problem.model, nn.SquaredError(), automatic=False, **hyper)
    moved = 0
    for k in range(15):
        b = batches(problem, k)
        theta = problem.theta
        info = opt.step(**b)
        l2 = opt.objective.l2
        before, after = (problem.f(a, b["x"], b["t"]) + 0.5 * l2 * a @ a for a in (theta, problem.theta))
        assert after <= before * (1 + 1e-14)
        assert info.rejected == (after == before)
        moved += not info.rejected
    assert moved >= 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_continues_bit_for_bit(make_problem, hyper, dtype):
    def steps(problem, opt, first, last):
        for k in range(first, last):
            opt.step(**batches(problem, k))

    whole, halted, resumed = (make_problem(dtype) for _ in range(3))
    opt = optim.HessianFree(whole.model, nn.SquaredError(), **hyper)
    steps(whole, opt, 0, 6)
    first = optim.HessianFree(halted.model, nn.SquaredError(), **hyper)
    steps(halted, first, 0, 3)
    state = first.state_dict()
    assert all(isinstance(v, np.ndarray | int | float) for v in state.values())
    second = optim.HessianFree(resumed.model, nn.SquaredError(), **(hyper | {"probe_seed": 77}))
    second.objective.assign(halted.theta)
    second.load_state_dict(state)
    steps(resumed, second, 3, 6)
    np.testing.assert_array_equal(resumed.theta, whole.theta)
    for name, value in opt.state_dict().items():
        np.testing.assert_array_equal(value, second.state_dict()[name])
    assert whole.theta.dtype == dtype


def test_chunks_make_the_same_steps(make_problem, hyper):
    """Section 7.1: the whole optimizer on a batch larger than memory."""
    thetas = []
    for memory in (None, 6):
        problem = make_problem()
        hyper = hyper | {"cg_iterations": 4, "cases_in_memory": memory}
        opt = optim.HessianFree(problem.model, nn.SquaredError(), **hyper)
        opt.objective.threads = 1
        for k in range(2):
            opt.step(**batches(problem, k))
        thetas.append(problem.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-9, atol=1e-11)


def test_switched_off_weight_decay(problem):
    """Section 13: l2 at the beginning, none near the end; the objective and the curvature follow."""
    opt = optim.HessianFree(problem.model, problem.loss, l2=Phases(((0, 0.5), (2, 0.0))))
    for k in range(4):
        theta = problem.theta
        info = opt.step(problem.x, problem.t)
        l2 = 0.5 if k < 2 else 0.0
        assert info.loss == pytest.approx(problem.f(theta) + 0.5 * l2 * theta @ theta)
        assert opt.objective.l2 == l2


def test_scheduled_decay_and_iterations(problem, monkeypatch):
    seen = []
    run = optim.ConjugateGradient.__call__
    monkeypatch.setattr(optim.ConjugateGradient, "__call__", lambda s, p: (seen.append(p), run(s, p))[1])
    opt = optim.HessianFree(
        problem.model,
        problem.loss,
        decay=Phases(((0, 0.5), (2, 0.9))),
        cg_iterations=Phases(((0, 8), (3, 3))),
        cg_tolerance=0.0,
    )
    for k in range(4):
        delta = opt.delta.copy()
        info = opt.step(problem.x, problem.t)
        if k:
            np.testing.assert_array_equal(seen[-1].x0, (0.5 if k < 2 else 0.9) * delta)
        assert info.cg_iterations == (8 if k < 3 else 3)


def test_k_counts_every_call_so_that_a_refused_batch_does_not_come_again(problem):
    opt = optim.HessianFree(problem.model, problem.loss)
    opt.step(problem.x, problem.t)
    with pytest.warns(optim.NumericalWarning):
        opt.step(problem.x * np.nan, problem.t)
    assert opt.k == 2
    assert opt.step(problem.x[:1], np.array(problem.model(problem.x[:1]))).reason == "converged: the gradient is zero"
    assert opt.k == 3


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"lr": 0.0}, "lr must be > 0, got 0.0"),
        ({"lr": -1.0}, "lr must be > 0, got -1.0"),
        ({"l2": -1.0}, "l2 must be ≥ 0, got -1.0"),
        ({"l2": lambda k: -1.0}, "l2 at update 0 must be ≥ 0, got -1.0"),
        ({"decay": lambda k: 2.0}, "decay must be ≤ 1, got 2.0"),
        ({"cg_iterations": lambda k: 0}, "cg_iterations must be ≥ 1, got 0"),
        ({"cases_in_memory": 0}, "cases_in_memory must be ≥ 1, got 0"),
        ({"probe_seed": -1}, "probe_seed must be ≥ 0, got -1"),
        ({"cg_iterations": 2.5}, "cg_iterations must be a whole number, got 2.5"),
        ({"preconditioner": "fisher"}, "preconditioner must be a bool or a Preconditioner, got 'fisher'"),
        ({"backtracking": 3}, "backtracking must be a bool or a LastIterate, got 3"),
        ({"line_search": "armijo"}, "line_search must be a bool or a LineSearch, got 'armijo'"),
        ({"direction": "cg"}, "direction must be a Direction, got 'cg'"),
        ({"structural": 0.1}, "structural must be a StructuralDamping, got 0.1"),
        ({"damping": "much"}, "damping must be a number or a Tikhonov, got 'much'"),
    ],
)
def test_hyper_parameters_out_of_range(problem, hyper, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        optim.HessianFree(problem.model, problem.loss, **hyper)


# -- what a part is for ----------------------------------------------------------------------------------------


def saddle():
    """½ zᵀ diag(h) z + Σ z⁴/4: two directions of negative curvature at the start, a gradient in all."""
    h = np.concatenate([np.linspace(1, 6, 6), [-0.5, -0.2]])
    model = optim.Function(lambda p, x: p["theta"], {"theta": np.full(8, 0.1)})
    return model, lambda z, t: 0.5 * np.sum(h * z**2) + 0.25 * np.sum(z**4), h


def test_the_hessian_ends_cg_at_negative_curvature():
    """Section 6: CG is truncated there, and what it had found until then goes down; damping above −min h lifts it."""
    exact = {"preconditioner": False, "cg_tolerance": 0.0, "backtracking": False, "curvature": "hessian"}
    model, loss, h = saddle()
    theta = model.params["theta"].copy()
    H = np.diag(h + 3 * theta**2)
    b = -(h * theta + theta**3)
    info = optim.HessianFree(model, loss, damping=0.0, **exact).step(None)
    assert info.reason == f"negative curvature in CG iteration {info.cg_iterations + 1}"
    assert 1 <= info.cg_iterations < 8
    K = np.column_stack([np.linalg.matrix_power(H, i) @ b for i in range(info.cg_iterations)])
    best = K @ np.linalg.solve(K.T @ H @ K, K.T @ b)  # the minimum in the subspace where H is still positive
    assert np.linalg.eigvalsh(K.T @ H @ K).min() > 0
    np.testing.assert_allclose(model.params["theta"], theta + info.step_size * best, rtol=1e-7)
    assert not info.rejected

    losses = []
    model, loss, h = saddle()
    opt = optim.HessianFree(model, loss, damping=0.6, **exact)
    for _ in range(40):
        info = opt.step(None)
        losses.append(info.loss)
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(np.abs(model.params["theta"]), np.sqrt(np.maximum(-h, 0)), atol=1e-4)


def test_a_warm_start_goes_on_where_cg_was_cut():
    """Section 10: work on directions of low curvature is spread over the updates, so that short runs get further."""
    h = np.geomspace(1e-4, 1, 60)
    start = 0.1 * np.random.default_rng(0).standard_normal(60) / np.sqrt(h)

    def after(decay):
        model = optim.Function(lambda p, x: p["theta"], {"theta": start})
        exact = {"damping": 0.0, "preconditioner": False, "cg_iterations": 5, "cg_tolerance": 0.0}
        opt = optim.HessianFree(model, lambda z, t: 0.5 * np.sum(h * z * z), decay=decay, **exact)
        return [opt.step(None).loss for _ in range(20)][-1]

    assert max(after(0.5), after(0.95)) < 0.6 * after(0.0)
    assert after(0.95) < 0.3 * after(0.0)


def test_restart_where_the_model_ended_above_zero():
    """Section 8.5: f fell, M did not, which a warm start alone can do; the next run starts from zero, where M = 0."""
    H = np.array([1.0, 10.0])  # of the model at θ; f is a cosine along the first axis, with another valley further on

    def step(restart):
        model = optim.Function(lambda p, x: p["theta"], {"theta": np.array([np.pi, 0.0])})
        opt = optim.HessianFree(
            model,
            lambda z, t: np.cos(z[0]) - 0.1 * z[0] + 5 * z[1] ** 2,
            **{"damping": 0.0, "decay": 1.0, "cg_iterations": 1, "preconditioner": False, "restart": restart},
        )
        opt.delta = np.array([6.28, 5.0])
        info = opt.step(None)
        delta = model.params["theta"] - [np.pi, 0.0]
        assert (info.step_size, info.products) == (1.0, 2)
        assert -0.1 * delta[0] + 0.5 * delta @ (H * delta) > 0  # M
        assert info.reduction_ratio < 0
        return opt.delta, opt.step(None)

    kept, warm = step(restart=False)
    zero, cold = step(restart=True)
    assert kept[0] > 5
    assert not zero.any()
    assert (warm.products - warm.cg_iterations, cold.products - cold.cg_iterations) == (1, 0)


@pytest.mark.parametrize("kind", [optim.EmpiricalFisher, optim.UnbiasedDiagonal, optim.ExactDiagonal])
def test_a_diagonal_frees_cg_from_the_units_of_the_parameters(make_problem, kind):
    """Section 11.2: scales that differ from parameter to parameter are what a diagonal makes up for."""

    def moved(units, preconditioner):
        problem = make_problem()
        scale = dict(zip(problem.params, units, strict=True))
        model = optim.Function(
            lambda p, x: problem.model.forward({name: scale[name] * a for name, a in p.items()}, x),
            {name: a / scale[name] for name, a in problem.params.items()},
        )
        before = model(problem.x)
        opt = optim.HessianFree(
            model, nn.SquaredError(), damping=0.0, cg_iterations=6, cg_tolerance=0.0, preconditioner=preconditioner
        )
        opt.step(problem.x, problem.t)
        return model(problem.x) - before

    units, ones = [30.0, 0.1, 1.0, 5.0], [1.0] * 4
    np.testing.assert_allclose(moved(units, kind(exponent=1.0)), moved(ones, kind(exponent=1.0)), rtol=1e-6, atol=1e-8)
    assert np.abs(moved(units, False) - moved(ones, False)).max() > 1e-2
