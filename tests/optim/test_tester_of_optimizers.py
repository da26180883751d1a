"""rmad.testing.check finds optimizers that are wrong in each way we know."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import optim
from rmad.testing import check


class Momentum:
    """v ← 0.9 v − 0.05 ∇f, θ ← θ + v, with the shared interface."""

    def __init__(self, model, loss):
        self.objective = optim.Objective(model, loss)
        self.v = np.zeros(self.objective.size, self.objective.dtype)

    def direction(self, gradient):
        return -gradient

    def step(self, x, t=None):
        f, gradient = self.objective.value_and_gradient(x, t)
        self.v = 0.9 * self.v + self.v.dtype.type(0.05) * self.direction(gradient)
        self.objective.assign(self.objective.flat() + self.v)
        return optim.StepInfo(loss=f)

    def state_dict(self):
        return {"v": self.v.copy()}

    def load_state_dict(self, state):
        self.v = state["v"].copy()


noise = np.random.default_rng(0)


class Random(Momentum):
    def direction(self, gradient):
        return -gradient * (1 + 1e-9 * noise.standard_normal())


class Ascent(Momentum):
    def direction(self, gradient):
        return gradient


class Forgets(Momentum):
    def load_state_dict(self, state):
        pass


class Short(Momentum):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Shares(Momentum):
    def step(self, x, t=None):
        f, gradient = self.objective.value_and_gradient(x, t)
        self.v *= 0.9
        self.v -= self.v.dtype.type(0.05) * gradient
        self.objective.assign(self.objective.flat() + self.v)
        return optim.StepInfo(loss=f)

    def state_dict(self):
        return {"v": self.v}


class InPlace(Momentum):
    def __init__(self, model, loss):
        super().__init__(model, loss)
        self.arrays = list(model.arrays.values())

    def direction(self, gradient):
        for a in self.arrays:
            a *= 0.99
        return -gradient


class Scales(Momentum):
    def step(self, x, t=None):
        x /= 2
        return super().step(x, t)


class Late(Momentum):
    def step(self, x, t=None):
        super().step(x, t)
        return optim.StepInfo(loss=self.objective.value(x, t))


class Shards(Momentum):
    def direction(self, gradient):
        return -gradient / (self.objective.shards or 1)


class Early(Momentum):
    def step(self, x, t=None):
        self.v = 0.5 * self.v
        return super().step(x, t)


class Wide(Momentum):
    def __init__(self, model, loss):
        super().__init__(model, loss)
        self.model = model

    def step(self, x, t=None):
        info = super().step(x, t)
        self.model.arrays = {k: a.astype(float) for k, a in self.model.arrays.items()}
        return info


class Words(Momentum):
    def state_dict(self):
        return {"v": self.v.copy(), "name": "momentum"}


FAULTS = {
    Random: "end elsewhere: the second time θ",
    Ascent: "20 steps on one batch take the loss from",
    Forgets: "load_state_dict",
    Short: "a run that goes on from the model and state_dict after 1 steps",
    Shares: "a later step changes what state_dict gave",
    InPlace: "old arrays",
    Scales: "step writes into its batch",
    Late: "info.loss, not f before the step",
    Shards: "with 2 shards on 1 threads the steps end elsewhere",
    Early: r"after an error in the loss \(.*, its evaluation 1 in a step\) state_dict",
    Wide: "step turns W, float32",
    Words: r"state_dict\(\)\['name'\] is a str",
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_wrong_optimizer_is_found(kind):
    with pytest.raises(AssertionError, match=FAULTS[kind]):
        check(kind)


@pytest.mark.parametrize(
    "kind",
    [Momentum, optim.Adam, partial(optim.SGD, lr=0.05), optim.HessianFree, optim.CurveBall],
    ids=["Momentum", "Adam", "SGD", "HessianFree", "CurveBall"],
)
def test_right_optimizers_pass(kind):
    check(kind)


def test_an_optimizer_is_passed_as_its_class():
    with pytest.raises(TypeError, match="pass the class alone"):
        check(optim.Adam, np.ones(3))
