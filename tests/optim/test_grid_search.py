"""The grid search helper."""

import math

import pytest

import optim


def test_it_finds_the_best_learning_rate(make_problem):
    def score(lr, momentum):
        problem = make_problem()
        opt = optim.SGD(problem.model, problem.loss, lr, momentum=momentum)
        return [opt.step(problem.x, problem.t).loss for _ in range(20)][-1]

    found = optim.grid_search(score, lr=[1e-3, 1e-1], momentum=(0.0, 0.9))
    assert found.best["lr"] == 0.1
    assert found.score == min(s for _, s in found.scores)
    assert [hyper for hyper, _ in found.scores] == [{"lr": a, "momentum": b} for a in (1e-3, 1e-1) for b in (0.0, 0.9)]


def test_failures_count_as_infinity():
    def score(lr):
        if lr > 1:
            raise optim.TrainingDiverged("ten steps")
        return math.nan if lr == 1 else lr

    found = optim.grid_search(score, lr=[10.0, 1.0, 0.5, 0.5])
    assert (found.best, found.score) == ({"lr": 0.5}, 0.5)
    assert [s for _, s in found.scores] == [math.inf, math.inf, 0.5, 0.5]
    with pytest.raises(ValueError, match="all 2 points of the grid failed"):
        optim.grid_search(score, lr=[10.0, 1.0])


@pytest.mark.parametrize(("grid", "message"), [({}, "no grid is given"), ({"lr": [], "l2": [0]}, "no values for lr")])
def test_an_empty_grid(grid, message):
    with pytest.raises(ValueError, match=message):
        optim.grid_search(lambda **hyper: 0.0, **grid)
