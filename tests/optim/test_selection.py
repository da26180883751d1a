"""Which iterate of CG is taken, when CG ends for the sake of f, and how far the step goes. Sections 8.7, 8.8 and 13."""

import math

import numpy as np
import pytest

import optim
from optim.parts.cg import CGResult, Iterate
from optim.parts.selection import Backtracking, HeldOut, LastIterate, Worst


def iterates(*numbers):
    return [Iterate(i, np.float64(i), -float(i)) for i in numbers]


def test_kept_iterates():
    assert sorted(Backtracking().kept(60)) == [5, 7, 9, 11, 15, 19, 25, 32, 41, 54]
    assert sorted(Backtracking(first=2, growth=2).kept(20)) == [2, 4, 8, 16]
    assert [sorted(Backtracking(every=6).kept(most)) for most in (17, 18)] == [[6, 12], [6, 12, 18]]
    assert [sorted(HeldOut(every=7).kept(most)) for most in (13, 14)] == [[7], [7, 14]]
    assert LastIterate().kept(20) == set()


def test_held_out_takes_the_best_of_all():
    """Not only on the way back from the last one, as CG-backtracking does."""
    table = {5: 1.0, 10: 4.0, 15: 2.0, 20: 3.0}
    found = iterates(*table)
    f = lambda x: table[int(x)]  # noqa: E731
    assert HeldOut().choose(found, f, None) == (found[0], 1.0)
    assert HeldOut(by="model").choose(found, None, f) == (found[0], None)
    assert Backtracking().choose(found, f, None) == (found[2], 2.0)
    assert HeldOut().choose(found, lambda x: math.nan, None)[0] is found[0]


def test_it_ends_where_the_curvature_batch_gets_worse():
    values = {5: 3.0, 10: 2.0, 15: 1.0, 20: 1.9, 25: 1.0005, 30: 1.5, 35: 1.0}
    watch = HeldOut(gap=10, worse=1e-3).watch(lambda x: values[int(x)])
    answers = [watch(it) for it in iterates(*values)]
    # 20 against 10, 25 against 15: within 0.1 % of it; 30 against 20; 35 against 25
    assert [bool(a) for a in answers] == [False] * 7
    values[25] = 1.002
    watch = HeldOut(gap=10, worse=1e-3).watch(lambda x: values[int(x)])
    answers = [watch(it) for it in iterates(*values)]
    assert [bool(a) for a in answers] == [False] * 4 + [True, False, False]
    watch = Worst(lambda x: math.nan, 10, 0.0)
    assert not any(watch(it) for it in iterates(5, 10))  # nothing is worse than not a number
    assert watch.start(CGResult(iterates(7), 7, 7, "", True)) == 7


def test_the_next_run_starts_from_the_worst_iterate():
    values = {5: 3.0, 10: 7.0, 15: 1.0}
    watch = Worst(lambda x: values[int(x)], 10, 0.0)
    for it in iterates(*values):
        watch(it)
    assert watch.start(CGResult(iterates(20), 20, 20, "", True)) == 10


@pytest.fixture
def runs(monkeypatch):
    """(Subproblem, CGResult) of every update."""
    seen = []
    run = optim.ConjugateGradient.__call__
    monkeypatch.setattr(optim.ConjugateGradient, "__call__", lambda s, p: (seen.append((p, run(s, p))), seen[-1][1])[1])
    return seen


OVERFITTED = {"damping": 1e-6, "cg_iterations": 100, "cg_tolerance": 0.0, "preconditioner": False}


@pytest.fixture
def batches(make_problem):
    """A net with more parameters than the curvature batch has equations, and held-out cases."""
    problem = make_problem(n=80, seed=4)
    S, H = slice(0, 8), slice(8, 80)
    return problem, (problem.x[S], problem.t[S]), (problem.x[H], problem.t[H])


@pytest.mark.parametrize("by", ["objective", "model"])
def test_the_second_recipe(batches, runs, by):
    problem, curvature, held_out = batches
    opt = optim.HessianFree(problem.model, problem.loss, backtracking=optim.HeldOut(by=by), **OVERFITTED)
    ended = 0
    for k in range(6):
        theta = problem.theta
        q = opt.objective.quadratic(*held_out)
        info = opt.step(*curvature, backtracking_batch=held_out)
        subproblem, cg = runs[-1]
        f_curvature = [problem.f(theta + it.x, *curvature) for it in cg.iterates]
        ended += cg.reason == "the objective on the curvature batch got worse"
        if by == "objective":
            judged = [problem.f(theta + it.x, *held_out) for it in cg.iterates]
        else:
            judged = [q.gradient @ it.x + 0.5 * it.x @ (q.ggn @ it.x) for it in cg.iterates]
        chosen = cg.iterates[int(np.argmin(judged))]
        if not info.rejected:
            np.testing.assert_allclose(problem.theta - theta, info.step_size * chosen.x, rtol=1e-8, atol=1e-12)
            np.testing.assert_array_equal(opt.delta, cg.iterates[int(np.argmax(f_curvature))].x)
        assert info.products == cg.products + (len(cg.iterates) if by == "model" else 0)
        assert (subproblem.x0 is None) == (k == 0 or not np.any(subproblem.x0))
    assert ended > 0


def test_a_part_of_the_curvature_batch_ends_cg_and_tells_the_worst(batches, runs):
    """Section 13: these may be "computed on much smaller (but representative) subsets of data"."""
    problem, curvature, held_out = batches
    part = curvature[0][:2], curvature[1][:2]
    opt = optim.HessianFree(problem.model, problem.loss, backtracking=optim.HeldOut(share=0.25), **OVERFITTED)
    differ = 0
    for _ in range(6):
        theta = problem.theta
        info = opt.step(*curvature, backtracking_batch=held_out)
        cg = runs[-1][1]
        of_part, of_all = ([problem.f(theta + it.x, *b) for it in cg.iterates] for b in (part, curvature))
        if not info.rejected:
            np.testing.assert_array_equal(opt.delta, cg.iterates[int(np.argmax(of_part))].x)
            differ += np.argmax(of_part) != np.argmax(of_all)
    assert differ > 0


def test_held_out_needs_cases_of_its_own(problem):
    opt = optim.HessianFree(problem.model, problem.loss, backtracking=optim.HeldOut())
    with pytest.raises(ValueError, match="HeldOut compares on cases that are not in the curvature batch"):
        opt.step(problem.x, problem.t)
    some = problem.x[:20], problem.t[:20]
    with pytest.raises(ValueError, match="HeldOut compares on cases that are not in the curvature batch"):
        opt.step(problem.x, problem.t, curvature_batch=some, backtracking_batch=list(some))
    opt.step(problem.x, problem.t, curvature_batch=(problem.x[:20], problem.t[:20]))


def test_held_out_generalizes_better_than_the_last_iterate(batches):
    """Section 12.2: chosen on other data, an update is at least as good on them."""
    values = []
    for backtracking in (optim.HeldOut(), False):
        problem, curvature, held_out = batches
        start = {name: a.copy() for name, a in problem.model.params.items()}
        model = optim.Function(problem.model.forward, start)
        opt = optim.HessianFree(model, problem.loss, backtracking=backtracking, **OVERFITTED)
        opt.step(*curvature, backtracking_batch=held_out)
        values.append(opt.objective.value(*held_out))
    assert values[0] < values[1]


# -- line search -----------------------------------------------------------------------------------------------


def test_line_search_as_an_object():
    f = lambda a: 1.0 - a + 1.5 * a * a  # noqa: E731
    assert optim.LineSearch()(f, 1.0, -1.0)[0] == pytest.approx(0.64)
    assert optim.LineSearch(factor=0.5)(f, 1.0, -1.0)[0] == 0.5
    assert optim.LineSearch(c=0.9)(f, 1.0, -1.0)[0] < 0.1 / 1.5
    assert optim.LineSearch(tries=2)(f, 1.0, -1.0)[0] == 0.0


def test_without_a_line_search_it_is_the_full_step_or_none(make_problem):
    seen = set()
    for seed in range(8):
        problem = make_problem(seed=seed)
        opt = optim.HessianFree(problem.model, problem.loss, damping=1e-3, backtracking=False, line_search=False)
        for _ in range(3):
            theta, before = problem.theta, problem.f(problem.theta)
            info = opt.step(problem.x, problem.t)
            seen.add(info.step_size)
            assert info.step_size in (0.0, 1.0)
            assert problem.f(problem.theta) <= before
            assert info.rejected == np.array_equal(problem.theta, theta)
    assert seen == {0.0, 1.0}


@pytest.mark.parametrize("line_search", [True, False])
def test_a_lower_step(make_problem, line_search):
    """Section 12.2: lr scales δ before the line search; ρ is of the whole δ."""
    thetas, ratios = [], []
    for lr in (1.0, 0.25):
        problem = make_problem()
        start = problem.theta
        opt = optim.HessianFree(problem.model, problem.loss, lr=lr, line_search=line_search)
        info = opt.step(problem.x, problem.t)
        assert info.step_size == lr
        thetas.append(problem.theta - start)
        ratios.append(info.reduction_ratio)
    np.testing.assert_allclose(thetas[1], 0.25 * thetas[0], rtol=1e-12)
    assert ratios[0] == ratios[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Backtracking(growth=1.0), "growth must be > 1, got 1.0"),
        (lambda: Backtracking(first=0), "first must be ≥ 1"),
        (lambda: Backtracking(every=0), "every must be ≥ 1"),
        (lambda: HeldOut(gap=0), "gap must be ≥ 1"),
        (lambda: HeldOut(every=0), "every must be ≥ 1"),
        (lambda: HeldOut(every=2.5), "every must be a whole number"),
        (lambda: HeldOut(gap=2.5), "gap must be a whole number"),
        (lambda: Backtracking(every=2.5), "every must be a whole number"),
        (lambda: HeldOut(worse=-1.0), "worse must be ≥ 0"),
        (lambda: HeldOut(by="eye"), 'by must be "objective" or "model"'),
        (lambda: optim.LineSearch(factor=1.0), "factor must be < 1"),
        (lambda: optim.LineSearch(factor=0.0), "factor must be > 0"),
        (lambda: optim.LineSearch(c=1.0), "c must be < 1"),
        (lambda: optim.LineSearch(tries=0), "tries must be ≥ 1"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
