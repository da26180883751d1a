"""Noise in f: methods that compare values of f warn, once; what is drawn once per update is no noise to them."""

import warnings

import numpy as np
import pytest
from test_every_optimizer import MAKERS

import nn
import optim

COMPARE = [name for name in MAKERS if name not in ("SGD", "Nesterov", "Adam", "AdamW")]
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


class Noisy(nn.Module):
    """A linear layer with noise on its input, drawn in every evaluation or once per update."""

    buffers = ("noise",)

    def __init__(self, per_update=False, scale=0.3):
        self.linear, self.per_update, self.scale = nn.Linear(3, 2, rng=np.random.default_rng(1)), per_update, scale
        self.rng = np.random.default_rng(2)
        self.noise = None

    def on_begin_step(self):
        if self.per_update:
            self.noise = self.draw(len(X))

    def draw(self, n):
        return (self.scale * self.rng.normal(size=(n, 3))).astype(np.float32)

    def forward(self, x):
        return self.linear(x + (self.noise if self.per_update else self.draw(len(x))))


def noisy_loss(rng):
    loss = nn.SquaredError()
    return lambda z, t: loss(z, t) * float(np.exp(0.1 * rng.normal()))


@pytest.mark.parametrize("where", ["model", "loss"])
@pytest.mark.parametrize("name", COMPARE)
def test_a_method_that_compares_values_says_so_once(name, where):
    loss = nn.SquaredError() if where == "model" else noisy_loss(np.random.default_rng(3))
    opt = MAKERS[name](Noisy(scale=0.3 if where == "model" else 0.0), loss)
    t = X[:, :2] + 1
    message = rf"^{type(opt).__name__}: the loss of one batch at the same parameters was .*, and then .*opt\.step"
    with pytest.warns(RuntimeWarning, match=message) as caught:
        opt.step(X, t)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    for _ in range(3):
        opt.step(X, t)  # a warning is an error here


@pytest.mark.parametrize("name", MAKERS)
def test_noise_that_belongs_to_the_update_is_none(name):
    """Dropout's masks, a draw in begin_step, and noise that is passed with the batch; first-order methods take any."""
    t = X[:, :2] + 1
    models = [Noisy(per_update=True), nn.Sequential(nn.Dropout(0.3, rng=np.random.default_rng(0)), Noisy(scale=0.0))]
    if name not in COMPARE:
        models.append(Noisy())
    for model in models:
        opt = MAKERS[name](model, nn.SquaredError())
        for _ in range(3):
            opt.step(X, t)


def test_the_check_costs_one_evaluation_in_the_first_step_only(problem):
    runs, forward = [], problem.model.forward

    def counted(p, x):
        runs.append(1)
        return forward(p, x)

    def counts(known):
        opt = optim.HessianFree(optim.Function(counted, problem.params), problem.loss, cg_iterations=3)
        opt.objective.threads, opt._is_function = 1, known
        for _ in range(3):
            runs.clear()
            opt.step(problem.x, problem.t)
            yield len(runs)

    assert [a - b for a, b in zip(counts(None), counts(True), strict=True)] == [1, 0, 0]


def test_a_function_that_rounds_in_two_ways_is_no_noise():
    """Value and closed form differ by far more than rounding of L itself: the sums cancel."""

    class Loss:
        def value(self, z, t):
            return np.sum(1e6 + z) / len(z) - np.sum(np.full_like(z, 1e6)) / len(z)

        def gradient(self, z, t):
            return np.full_like(z, 1 / len(z))

        def value_and_gradient(self, z, t):
            return np.sum(z) / len(z), self.gradient(z, t)

        def hessian_product(self, z, t, v):
            return np.zeros_like(v)

        mean_over_cases = True

    model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    opt = optim.SGN(model, Loss(), damping=1.0)
    f = opt.objective.value_and_gradient(X)[0]
    assert abs(opt.objective.value(X) - f) > 1e-2 * abs(f)
    opt.step(X)


def test_a_loss_that_is_not_finite_is_not_taken_for_noise(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        opt = optim.SGN(problem.model, problem.loss)
        opt.step(problem.x, problem.t)
    bad = problem.x * np.nan
    with pytest.warns(optim.NumericalWarning, match="non-finite loss"):
        optim.SGN(problem.model, problem.loss).step(bad, problem.t)
