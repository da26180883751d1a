"""Schedules: their values, and what the optimizers make of them."""

import numpy as np
import pytest

import optim
from optim.schedules import Constant, Cosine, Linear, Step


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.3), {0: 0.3, 99: 0.3}),
        (Step(1.0, every=10, factor=0.5), {0: 1.0, 9: 1.0, 10: 0.5, 29: 0.25}),
        (Linear(1.0, steps=4), {0: 1.0, 1: 0.75, 4: 0.0, 9: 0.0}),
        (Linear(1.0, steps=4, end=0.2), {2: 0.6, 4: 0.2, 5: 0.2}),
        (Linear(0.5, steps=4, end=0.1), {0: 0.5, 1: 0.4, 4: 0.1}),
        (Cosine(1.0, steps=4), {0: 1.0, 2: 0.5, 4: 0.0, 9: 0.0}),
        (Cosine(1.0, steps=3, end=0.5), {0: 1.0, 1: 0.875, 2: 0.625, 3: 0.5}),
    ],
    ids=repr,
)
def test_values(schedule, values):
    assert {k: schedule(k) for k in values} == pytest.approx(values)
    assert eval(repr(schedule)) == schedule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "start must be ≥ 0, got -1.0"),
        (lambda: Step(0.0, 3), "start must be > 0, got 0.0"),
        (lambda: Step(1.0, 0), "every must be ≥ 1, got 0"),
        (lambda: Step(1.0, 2, 0.0), "factor must be > 0, got 0.0"),
        (lambda: Linear(1.0, 0), "steps must be ≥ 1, got 0"),
        (lambda: Cosine(1.0, 3, -0.1), "end must be ≥ 0, got -0.1"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize("method", [optim.SGD, optim.Adam])
def test_the_learning_rate_may_be_a_schedule(make_problem, method):
    schedule = Cosine(0.01, steps=5, end=1e-3)
    a, b = make_problem(), make_problem()
    scheduled, by_hand = method(a.model, a.loss, schedule), method(b.model, b.loss, 1.0)
    for k in range(7):
        by_hand.lr = schedule(k)
        by_hand.step(b.x, b.t)
        assert scheduled.step(a.x, a.t).step_size == schedule(k)
        np.testing.assert_array_equal(a.theta, b.theta)


def test_a_run_goes_on_with_its_schedule(make_problem):
    def make(problem):
        return optim.SGD(problem.model, problem.loss, Linear(0.1, steps=6), momentum=0.9)

    whole, halted = make_problem(), make_problem()
    opt = make(whole)
    for _ in range(5):
        opt.step(whole.x, whole.t)
    first = make(halted)
    for _ in range(2):
        first.step(halted.x, halted.t)
    second = make(halted)
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        second.step(halted.x, halted.t)
    np.testing.assert_array_equal(whole.theta, halted.theta)


def test_a_schedule_that_leaves_the_range_is_named(problem):
    with pytest.raises(ValueError, match=r"^lr at update 0 must be ≥ 0, got -1.0$"):
        optim.SGD(problem.model, problem.loss, lambda k: -1.0)
