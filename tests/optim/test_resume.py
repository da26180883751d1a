"""A run that was cut and goes on is the run that was not, bit for bit: every optimizer, at every update."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import optim
from optim import schedules
from optim.base import Optimizer

UPDATES = 6


class Problem:
    """A model, an optimizer for it, batches: what a script makes before it knows that it goes on with a run."""

    def __init__(self, make: Callable[..., Any], layer: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        between = {"dropout": nn.Dropout(0.3, rng=rng), "batch norm": nn.BatchNorm(6), "plain": nn.Identity()}[layer]
        layers = [nn.Linear(4, 6, rng=rng), between, nn.Tanh(), nn.Linear(6, 3, rng=rng)]
        data = np.random.default_rng(5)
        x, t = data.normal(size=(50, 4)).astype(np.float32), data.integers(0, 3, 50)
        self.opt = make(nn.Sequential(*layers), nn.SoftmaxCrossEntropy(), rng)
        self.batches = nn.data.batches(x, t, 16, np.random.default_rng(seed + 100))

    def step(self) -> None:
        x, t = next(self.batches)
        extra = {}
        if isinstance(self.opt, optim.HessianFree):
            extra = {"curvature_batch": (x[:8], t[:8]), "backtracking_batch": (x[8:], t[8:])}
        self.opt.step(x, t, **extra)

    def state(self) -> dict[str, Any]:
        parts = {"model": self.opt.model, "optimizer": self.opt, "batches": self.batches}
        return {name: part.state_dict() for name, part in parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        self.opt.model.load_state_dict(state["model"])
        self.opt.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])


def hf(**hyper: Any) -> Callable[..., Any]:
    return lambda model, loss, rng: optim.HessianFree(model, loss, **{"cg_iterations": 6, **hyper})


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda m, f, rng: optim.SGD(m, f, schedules.Step(0.1, 2), momentum=0.9),
    "nesterov": lambda m, f, rng: optim.SGD(m, f, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda m, f, rng: optim.Adam(m, f, schedules.Cosine(1e-2, 10), weight_decay=0.1),
    "bfgs": lambda m, f, rng: optim.BFGS(m, f),
    "lbfgs": lambda m, f, rng: optim.LBFGS(m, f, iterations=3),
    "lm": lambda m, f, rng: optim.LevenbergMarquardt(m, f),
    "lm, cg": lambda m, f, rng: optim.LevenbergMarquardt(m, f, solver="cg", scaling="diagonal"),
    "curveball": lambda m, f, rng: optim.CurveBall(m, f),
    "curveball, fixed": lambda m, f, rng: optim.CurveBall(m, f, momentum=0.9, beta=0.1, l2=1e-3),
    "sgn": lambda m, f, rng: optim.SGN(m, f, adapt_cg=True, momentum=0.5, preconditioner=True),
    "sgn, defaults": lambda m, f, rng: optim.SGN(m, f),
    "sgn, schedule": lambda m, f, rng: optim.SGN(m, f, damping=schedules.Linear(1e-2, 10, 1e-3)),
    "kfac": lambda m, f, rng: optim.KFAC(m, f, rng=rng),
    "kfac, momentum": lambda m, f, rng: optim.KFAC(m, f, rng=rng, momentum=True, adapt_every=2, samples=2),
    "kfac, exact": lambda m, f, rng: optim.KFAC(m, f, rng=rng, exact_damping=True, average=0.0, clip=1e-2),
    "kflr": lambda m, f, rng: optim.KFLR(m, f, rng=rng, inverses_every=3),
    "ekfac": lambda m, f, rng: optim.EKFAC(m, f, rng=rng, inverses_every=3, factors_every=2, l2=1e-3),
    "kfra": lambda m, f, rng: optim.KFRA(m, f, rng=rng, factors_every=3, l2=1e-3),
    "hf": hf(),
    "hf, no preconditioner": hf(preconditioner=False),
    "hf, preset": lambda m, f, rng: optim.HessianFree.preset("momentum", m, f, updates=5, cg_iterations=6),
    "hf, hessian": hf(curvature="hessian"),
    "hf, trust region": hf(direction=optim.SteihaugToint(1.0)),
    "hf, krylov": hf(direction=optim.KrylovSubspace(4)),
    "hf, held out": hf(backtracking=optim.HeldOut(gap=2, every=1)),
    "hf, probes": hf(preconditioner=optim.UnbiasedDiagonal(probes=2)),
    "hf, kronecker": hf(preconditioner=optim.KroneckerPreconditioner()),
    "hf, exact diagonal": hf(preconditioner=optim.ExactDiagonal(), decay=schedules.Linear(0.9, 7, 0.5)),
    "hf, diagonal damping": hf(damping=optim.DiagonalDamping(1.0), l2=optim.Phases(((0, 1e-3), (3, 0.0)))),
}
LAYERS = [(name, "dropout") for name in OPTIMIZERS] + [
    (name, "batch norm")
    for name in ("sgd", "adam", "bfgs", "lm", "curveball", "sgn", "sgn, defaults", "kfac", "hf, no preconditioner")
]


def exactly(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for name in a:
            exactly(a[name], b[name], f"{where}/{name}")
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=where, strict=True)
    else:
        assert a == b, where


@pytest.mark.parametrize(("name", "layer"), LAYERS, ids=str)
def test_cut_anywhere(tmp_path: pathlib.Path, name: str, layer: str) -> None:
    whole = Problem(OPTIMIZERS[name], layer, seed=1)
    for k in range(UPDATES):
        folder = tmp_path / str(k)
        folder.mkdir()
        nn.Checkpoints(folder).save(whole.state())
        whole.step()
    assert not np.array_equal(whole.opt.objective.flat(), Problem(OPTIMIZERS[name], layer, 1).opt.objective.flat())
    for cut in range(UPDATES):
        again = Problem(OPTIMIZERS[name], layer, seed=2)  # other weights, masks, probes, order of the cases
        state = nn.Checkpoints(tmp_path / str(cut)).load()
        assert state is not None
        again.load(state)
        for _ in range(cut, UPDATES):
            again.step()
        exactly(again.state(), whole.state(), f"cut at {cut}")


def test_every_optimizer_is_here() -> None:
    """A new one brings its own state, and a row above."""
    classes = {c for c in vars(optim).values() if isinstance(c, type) and issubclass(c, Optimizer) and "step" in dir(c)}
    here = {type(Problem(make, "plain", 0).opt) for make in OPTIMIZERS.values()}
    assert classes <= here


def test_after_rejected_steps(tmp_path: pathlib.Path) -> None:
    """The state includes the changes that a rejected step makes."""
    for name in ("adam", "curveball", "sgn", "kfac", "hf", "hf, trust region"):
        whole, again = (Problem(OPTIMIZERS[name], "dropout", seed) for seed in (1, 2))
        for _ in range(3):
            whole.step()
        x = np.full((16, 4), np.nan, np.float32)
        with pytest.warns(optim.NumericalWarning):
            assert whole.opt.step(x, np.zeros(16, int)).rejected
        checkpoints = nn.Checkpoints(tmp_path)
        checkpoints.save(whole.state())
        again.load(checkpoints.load() or {})
        for _ in range(3):
            whole.step()
            again.step()
        exactly(again.state(), whole.state(), name)


def test_roles_go_on_with_the_same_batches() -> None:
    x = np.arange(40)
    roles = [optim.Roles(x, x, gradient=0.5, curvature=0.2, rng=np.random.default_rng(4)) for _ in range(2)]
    for k in (0, 3, 7):
        for name, (a, b) in {n: (v, roles[1](k)[n]) for n, v in roles[0](k).items()}.items():
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_batches_of_other_data_are_refused() -> None:
    x = np.arange(10)
    some = nn.data.batches(x, None, 3, np.random.default_rng(0))
    next(some)
    with pytest.raises(ValueError, match="the state is of 10 cases, there are 9"):
        nn.data.batches(x[:9], None, 3, np.random.default_rng(0)).load_state_dict(some.state_dict())
    with pytest.raises(ValueError, match="the state has an rng, unlike the batches"):
        nn.data.batches(x, None, 3).load_state_dict(some.state_dict())


@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("cut", range(9))
def test_batches_go_on(rest: bool, shuffled: bool, cut: int) -> None:
    def made(seed: int) -> nn.data.Batches:
        rng = np.random.default_rng(seed) if shuffled else None
        return nn.data.batches(np.arange(10), None, 4, rng, passes=3, rest=rest)

    whole = [list(x) for x, _ in made(0)]
    first, second = made(0), made(1)
    for _ in range(min(cut, len(whole))):
        next(first)
    second.load_state_dict(first.state_dict())
    assert [list(x) for x, _ in second] == whole[cut:]


def test_a_function_as_model(tmp_path: pathlib.Path) -> None:
    """With a module among its parameters: masks and running averages go on too."""
    x, t = np.random.default_rng(0).normal(size=(20, 3)), np.random.default_rng(1).normal(size=(20, 2))

    def made(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        layers = nn.Sequential(nn.Dropout(0.2, rng=rng), nn.BatchNorm(3, dtype=np.float64))
        params = {"W": rng.normal(size=(3, 2)), "b": (rng.normal(size=2),), "layers": [layers]}
        model = optim.Function(lambda p, x: p["layers"][0](x) @ p["W"] + p["b"][0], params)
        return optim.SGD(model, nn.SquaredError(), 0.1, momentum=0.9)

    whole, again = made(0), made(1)
    whole.step(x, t)
    checkpoints = nn.Checkpoints(tmp_path)
    checkpoints.save({"model": whole.model.state_dict(), "optimizer": whole.state_dict()})
    state = checkpoints.load() or {}
    again.model.load_state_dict(state["model"])
    again.load_state_dict(state["optimizer"])
    for opt in (whole, again):
        opt.step(x, t)
    exactly(again.model.state_dict(), whole.model.state_dict())
    assert "modules[0].1.running_mean" in state["model"]
    for bad in ({}, state["model"] | {"params['W']": np.zeros((3, 3))}, state["model"] | {"params['W']": np.zeros(3)}):
        with pytest.raises(ValueError, match="Function: "):
            again.model.load_state_dict(bad)
    exactly(again.model.state_dict(), whole.model.state_dict())
