"""Properties of every optimizer: errors at construction, weight decay, memory that does not grow, one interface."""

import gc
import inspect
import tracemalloc
from functools import partial

import numpy as np
import pytest

import nn
import optim

MAKERS = {
    "SGD": lambda m, f, **hyper: optim.SGD(m, f, **({"lr": 0.05} | hyper)),
    "Nesterov": lambda m, f, **hyper: optim.SGD(m, f, **({"lr": 0.05, "momentum": 0.9, "nesterov": True} | hyper)),
    "Adam": optim.Adam,
    "AdamW": lambda m, f, **hyper: optim.Adam(m, f, **({"weight_decay": 0.1} | hyper)),
    "CurveBall": optim.CurveBall,
    "SGN": optim.SGN,
    "SGN, paper": partial(optim.SGN.preset, "paper"),
    "LevenbergMarquardt": optim.LevenbergMarquardt,
    "LevenbergMarquardt, cg": lambda m, f, **h: optim.LevenbergMarquardt(m, f, solver="cg", cg_iterations=5, **h),
    "BFGS": optim.BFGS,
    "LBFGS": lambda m, f, **hyper: optim.LBFGS(m, f, **({"iterations": 2} | hyper)),
    "HessianFree": lambda m, f, **hyper: optim.HessianFree(m, f, cg_iterations=5, preconditioner=False, **hyper),
    "KFAC": optim.KFAC,
    "KFLR": optim.KFLR,
    "KFRA": optim.KFRA,
    "EKFAC": optim.EKFAC,
}
PUBLIC = [value for value in (getattr(optim, name) for name in optim.__all__) if inspect.isclass(value)]
CLASSES = [cls for cls in PUBLIC if issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer]
REQUIRED = {optim.SGD: {"lr": 0.1}}
TOGETHER = {"momentum": {"beta": 1.0}, "beta": {"momentum": 0.9}}  # of CurveBall
MAY_BE_ZERO = {"damping", "damping_min", "cg_tolerance", "tolerance", "momentum", "weight_decay", "l2"}
MAY_BE_ZERO |= {"preconditioner_exponent", "decay", "probe_seed", "adapt_every", "average"}


def test_every_optimizer_has_a_row():
    model = nn.Linear(2, 1, rng=np.random.default_rng(0), dtype=np.float64)
    assert {type(make(model, nn.SquaredError())) for make in MAKERS.values()} == set(CLASSES)


def hyper_parameters():
    """Every parameter of every constructor, and what it must refuse, from the kind of its default."""
    rows = []
    for cls in CLASSES:
        for p in list(inspect.signature(cls).parameters.values())[2:]:
            default = REQUIRED.get(cls, {}).get(p.name, p.default)
            if isinstance(default, bool):
                bad = ["yes", 2, None, np.ones(3)]
            elif isinstance(default, str):
                bad = ["magic", 1, None]
            elif isinstance(default, tuple):
                bad = [0.5, (0.5,), (0.5, 1.0), (-0.1, 0.5), (np.nan, 0.5), ("0.5", 0.5)]
            else:
                bad = [-1.0, np.nan, np.inf, "1", [0.1], np.ones(2)] + [0.0] * (p.name not in MAY_BE_ZERO)
                bad += [None] * (default is not None) + [1.5] * isinstance(default, int)
            rows.append(pytest.param(cls, p.name, bad, id=f"{cls.__name__}-{p.name}"))
    return rows


@pytest.mark.parametrize(("cls", "name", "bad"), hyper_parameters())
def test_every_hyper_parameter_is_checked_at_construction(problem, cls, name, bad):
    others = REQUIRED.get(cls, {}) | (TOGETHER.get(name, {}) if cls is optim.CurveBall else {})
    for value in bad:
        with pytest.raises((ValueError, TypeError), match=rf"^{name}\b"):
            cls(problem.model, problem.loss, **(others | {name: value}))


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def layers():
    return nn.models.mlp((4, 5, 3), rng=np.random.default_rng(1), dtype=np.float64)


def test_one_interface(problem, make):
    """step gives the record, whose loss is that before the step; the state is copies, and continues the run."""
    opt = make(layers(), nn.SquaredError())
    f = opt.objective.value_and_gradient(problem.x, problem.t)[0]
    info = opt.step(problem.x, problem.t)
    assert isinstance(info, optim.StepInfo)
    assert info.loss == pytest.approx(f, rel=1e-12)
    assert (info.rejected, opt.model) == (False, opt.objective.model)
    state = opt.state_dict()
    before = {name: np.copy(value) for name, value in state.items()}
    opt.step(problem.x, problem.t)
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("SGN", "KFAC", "KFLR", "KFRA", "EKFAC")])
def test_weight_decay_is_part_of_the_objective_and_of_its_curvature(make_problem, name):
    """The same steps as where θ is a further output with the loss ½ l2‖·‖²: then no optimizer knows of a decay.

    The factors of KFAC and its kin and of SGN cannot take such a model; what they make of l2 is in test_kfac.py.
    """
    l2, make, ours, theirs = 0.1, MAKERS[name], make_problem(), make_problem()
    names = list(theirs.params)

    def outputs(p, x):
        fit = np.tanh(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        return np.concatenate([np.reshape(a, -1) for a in (fit, *(p[n] for n in names))])

    def loss(y, t):
        fit, theta = y[: t.size], y[t.size :]
        return np.sum((fit - np.reshape(t, -1)) ** 2) / (2 * len(t)) + l2 / 2 * np.sum(theta * theta)

    decayed = make(ours.model, ours.loss, l2=l2)
    penalized = make(optim.Function(outputs, theirs.params), loss)
    penalized.objective.threads = penalized.objective.shards = 1
    for _ in range(4):
        a, b = decayed.step(ours.x, ours.t), penalized.step(theirs.x, theirs.t)
        np.testing.assert_allclose((a.loss, a.step_size), (b.loss, b.step_size), rtol=1e-7)
        np.testing.assert_allclose(decayed.objective.flat(), penalized.objective.flat(), rtol=1e-6, atol=1e-8)


def test_nothing_grows_with_the_steps(problem, make):
    """In 10 steps no object is left behind, and no vector: small change of the interpreter is 0.2 KB a step."""
    opt = make(nn.models.mlp((4, 30, 3), rng=np.random.default_rng(1), dtype=np.float64), nn.SquaredError())

    def held(steps):
        for _ in range(steps):
            opt.step(problem.x, problem.t)
        gc.collect()
        return len(gc.get_objects()), tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    objects, memory = held(6)
    more_objects, more_memory = held(10)
    tracemalloc.stop()
    assert more_objects - objects < 10
    assert more_memory - memory < 10 * opt.objective.flat().nbytes / 2
