"""What raises in a loss, a model or data, at any evaluation of a step, leaves optimizer and model as they were."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from test_interrupts import at_every_step
from test_resume import OPTIMIZERS, exactly

import nn
import optim
from optim import base, first_order, sgd, undo
from optim.problem import parameters
from rmad.extend import tree


class Watch:
    """Counts evaluations, and raises `error` in the one that `at` names."""

    def __init__(self):
        self.count, self.at, self.error = 0, 0, RuntimeError

    def __call__(self):
        self.count += 1
        if self.count == self.at:
            raise self.error("at this evaluation")


class Watched(nn.SoftmaxCrossEntropy):
    """Every use of a public method is an evaluation of the loss."""

    def __init__(self, watch):
        super().__init__()
        self._watch = watch

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if inspect.ismethod(found) and not name.startswith("_"):
            self._watch()
        return found


class Noisy(nn.Module):
    """Adds noise that is drawn when an update begins; counts updates in an attribute and in a buffer."""

    buffers = ("ended",)

    def __init__(self, watch, rng):
        self.watch, self.rng, self.noise, self.begun, self.ended = watch, rng, 0.0, 0, np.zeros(1)

    def on_begin_step(self):
        self.begun += 1
        self.noise = float(self.rng.normal())

    def on_end_step(self):
        self.ended = self.ended + 1
        self.watch()

    def forward(self, x):
        self.watch()
        return x + np.float32(self.noise)


class Data(np.ndarray):
    """An array whose slices are evaluations."""

    watch = staticmethod(lambda: None)

    def __array_finalize__(self, other):
        self.watch = getattr(other, "watch", self.watch)

    def __getitem__(self, key):
        self.watch()
        return np.asarray(self)[key]


class Problem:
    """A model, an optimizer for it and a batch; `watches` are those of the loss, the model and the data."""

    def __init__(self, make, layer="dropout", shards=1):
        rng, data = np.random.default_rng(1), np.random.default_rng(5)
        self.watches = {"loss": Watch(), "model": Watch(), "data": Watch()}
        between = {"dropout": lambda: nn.Dropout(0.3, rng=rng), "batch norm": lambda: nn.BatchNorm(5)}[layer]()
        self.noisy = Noisy(self.watches["model"], np.random.default_rng(7))
        layers = [nn.Linear(4, 5, rng=rng), between, nn.Tanh(), self.noisy, nn.Linear(5, 3, rng=rng)]
        self.opt = make(nn.Sequential(*layers), Watched(self.watches["loss"]), rng)
        self.opt.objective.threads, self.opt.objective.shards = 1, shards
        self.x, self.t = data.normal(size=(24, 4)).astype(np.float32).view(Data), data.integers(0, 3, 24)
        self.x.watch = self.watches["data"]
        self.others = np.array(self.x), self.t

    def step(self):
        held_out = isinstance(getattr(self.opt, "backtracking", None), optim.HeldOut)
        return self.opt.step(self.x, self.t, **({"backtracking_batch": self.others} if held_out else {}))

    def state(self):
        rng = self.noisy.rng.bit_generator.state
        arrays = {name: a.copy() for name, a in self.opt.model.state_dict().items()}
        return {"optimizer": self.opt.state_dict(), "model": arrays, "rng": rng, "begun": self.noisy.begun}

    def attributes(self):
        return {**vars(self.opt), **{f"objective.{name}": value for name, value in vars(self.opt.objective).items()}}


PLACES = [(name, "dropout", where) for name in OPTIMIZERS for where in ("loss", "model")]
PLACES += [(name, "batch norm", "loss") for name in ("sgd", "curveball", "sgn", "kfac", "hf, no preconditioner")]
PLACES += [(name, "dropout", "data") for name in ("adam", "bfgs", "lm", "curveball", "sgn", "kfra", "hf")]


@pytest.mark.parametrize(("name", "layer", "where"), PLACES, ids=str)
def test_an_exception_at_every_evaluation(name, layer, where):
    shards = 3 if where == "data" else 1
    cut, twin = (Problem(OPTIMIZERS[name], layer, shards) for _ in range(2))
    for _ in range(3):
        cut.step()
        twin.step()
    watch = cut.watches[where]
    before, attributes = cut.state(), cut.attributes()
    twin.watches[where].count = 0
    twin.step()
    evaluations = twin.watches[where].count
    assert evaluations > 1
    stride = 1 if evaluations < 60 else evaluations // 10
    for k in range(1, evaluations + 1, stride):
        watch.count, watch.at, watch.error = 0, k, (RuntimeError, KeyboardInterrupt)[k % 3 == 1]
        with pytest.raises(watch.error, match="at this evaluation"):
            cut.step()
        exactly(cut.state(), before, f"after evaluation {k}")
        now = cut.attributes()
        assert now.keys() == attributes.keys()
        assert all(now[key] is attributes[key] for key in now), k
    watch.at = 0
    cut.step()
    exactly(cut.state(), twin.state())


def test_the_first_step_too():
    """What the optimizer makes on first use is gone again: factors, their inverse, momentum."""
    for name in ("kfac", "hf", "sgn", "bfgs"):
        problem = Problem(OPTIMIZERS[name])
        before = problem.state()
        problem.watches["loss"].at = 2
        with pytest.raises(RuntimeError, match="at this evaluation"):
            problem.step()
        exactly(problem.state(), before)
        assert not problem.step().rejected


@pytest.mark.parametrize("where", ["params", "list", "pairs", "slots"])
def test_models_of_all_kinds(where):
    """The last thing of an update that may raise, `end_step`, comes after the arrays are rebound."""

    class Slots:
        __slots__ = ("w",)

        def __init__(self, w):
            self.w = w

        def __tree_items__(self):
            return {"w": self.w}

        def __tree_replace__(self, items):
            return Slots(items["w"])

        def __tree_assign__(self, name, sub):
            self.w = sub

        def __call__(self, x):
            return x @ self.w

        def end_step(self):
            raise RuntimeError("in end_step")

    class Model(nn.Module):
        def __init__(self, w):
            self.parts = {"w": [w]}

        def forward(self, x):
            y = x @ self.parts["w"][0]
            return np.stack([y.real, y.imag])

        def end_step(self):
            raise RuntimeError("in end_step")

    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 2)), rng.normal(size=(5, 3))
    model = Slots(w) if where == "slots" else Model(w + 1j if where == "pairs" else w)
    if where == "params":
        model = optim.Function(lambda p, x: p["a"](x), {"a": model})
    old = [leaf for _, leaf in tree.leaves(model)]
    opt = optim.SGD(model, lambda z, t: np.mean(z**2), 0.1)
    flat = opt.objective.flat()
    with pytest.raises(RuntimeError, match="in end_step"):
        opt.step(x)
    assert all(a is b for (_, a), b in zip(tree.leaves(model), old, strict=True))
    np.testing.assert_array_equal(opt.objective.flat(), flat)


def test_a_generator_in_a_closure_and_in_the_loss():
    class Loss:
        def __init__(self, rng):
            self.rng, self.fails = rng, True

        def __call__(self, z, t):
            self.rng.normal()
            if self.fails:
                raise RuntimeError("in the loss")
            return np.mean(z**2)

    rng, loss = np.random.default_rng(0), Loss(np.random.default_rng(1))
    before = rng.bit_generator.state, loss.rng.bit_generator.state
    model = optim.Function(lambda p, x: x @ p["w"] + rng.normal(), {"w": np.ones((2, 1))})
    opt = optim.SGD(model, loss, 0.1)
    opt.objective.shards = 1
    with pytest.raises(RuntimeError, match="in the loss"):
        opt.step(np.ones((3, 2)))
    assert (rng.bit_generator.state, loss.rng.bit_generator.state) == before
    loss.fails = False
    opt.step(np.ones((3, 2)))
    assert rng.bit_generator.state != before[0]


def test_a_loss_is_not_marked_as_coupling_by_an_error():
    """A callable that does not say what it is: compared on shards, and taken whole if that fails."""
    calls = []

    def loss(z, t):
        calls.append(len(z))
        if fails:
            raise ValueError("in the loss")
        return np.mean((z - t) ** 2)

    fails, x, t = True, np.ones((6, 2)), np.zeros((6, 1))
    opt = optim.SGD(optim.Function(lambda p, x: x @ p["w"], {"w": np.ones((2, 1))}), loss, 0.1)
    opt.objective.shards = 3
    with pytest.raises(ValueError, match="in the loss"):
        opt.step(x, t)
    fails = False
    calls.clear()
    opt.step(x, t)
    assert 2 in calls  # on shards again


def test_a_step_that_is_skipped_moves_nothing_but_the_count_of_such_steps():
    """The first-order methods have no λ to raise: m, v and the number of updates are those of the updates made."""
    for make in (lambda m, f: optim.SGD(m, f, 1e39, momentum=0.9), lambda m, f: optim.Adam(m, f, 1e39)):
        model = nn.Linear(2, 1, rng=np.random.default_rng(0))
        opt = make(model, nn.SquaredError())
        before = opt.state_dict()
        with pytest.warns(optim.NumericalWarning, match="non-finite parameters"):
            opt.step(np.ones((3, 2), np.float32), np.zeros((3, 1), np.float32))
        exactly(opt.state_dict(), {**before, "rejected_in_a_row": 1})


STEP = [module.__file__ for module in (undo, first_order, sgd, base, parameters, tree)]


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_at_every_line_of_a_step(times):
    """The step was made, or it was not: nothing in between."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(6, 2)), rng.normal(size=(6, 1))

    def made():
        model = nn.Sequential(nn.Linear(2, 2, rng=np.random.default_rng(1), dtype=np.float64), nn.Tanh())
        return optim.SGD(model, lambda z, t: np.mean((z - t) ** 2), 0.1, momentum=0.9)

    def state(opt):
        return {"optimizer": opt.state_dict(), "model": {k: a.copy() for k, a in opt.model.state_dict().items()}}

    opt, other = made(), made()
    other.step(x, t)
    states, seen = [state(made()), state(other)], set()
    places = at_every_step(STEP, lambda: opt.step(x, t), times, stride=5)
    for hit, _ in places:
        now = state(opt)
        whole = [k for k, expected in enumerate(states) if equal(now, expected)]
        assert len(whole) == 1, hit
        seen.add(whole[0])
        if whole == [1]:
            opt = made()
    assert seen == {0, 1}


def equal(a, b):
    try:
        exactly(a, b)
    except AssertionError:
        return False
    return True
