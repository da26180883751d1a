"""A batch larger than memory: chunks whose tapes are made, used and dropped, with the results of one batch."""

import weakref

import numpy as np
import pytest

import optim
import optim.problem.shard
import optim.problem.shards
from rmad.record import Record

CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def both(problem, **options):
    """The same local model twice: the whole batch at once, and in chunks of at most 7 cases."""
    whole = optim.Objective(problem.model, problem.loss, 0.1, threads=1)
    chunks = optim.Objective(problem.model, problem.loss, 0.1, cases_in_memory=7, **options)
    return whole, chunks


@pytest.fixture
def tapes(monkeypatch):
    """Counts the tapes that were made, and the most that were alive at a time."""
    alive, seen = weakref.WeakSet(), {"made": 0, "most": 0}

    class Counted(Record):
        def __init__(self, *args):
            super().__init__(*args)
            alive.add(self.tape)
            seen["made"] += 1
            seen["most"] = max(seen["most"], len(alive))

    for module in (optim.problem.shard, optim.problem.shards):
        monkeypatch.setattr(module, "Record", Counted)
    return seen


@pytest.mark.parametrize(
    "options", [{"threads": 1}, {"threads": 2}, {"threads": 2, "shards": 1}, {"threads": 2, "shards": 2}]
)
def test_chunks_equal_the_single_batch(problem, options):
    whole, chunks = (o.quadratic(problem.x, problem.t) for o in both(problem, **options))
    assert len(chunks.shards) >= 9
    assert max(len(shard.x) for shard in chunks.shards) * options["threads"] <= 7
    v = np.random.default_rng(0).standard_normal(problem.theta.size)
    w = np.random.default_rng(1).standard_normal(problem.theta.size)
    assert chunks.value == pytest.approx(whole.value, rel=1e-13)
    np.testing.assert_allclose(chunks.gradient, whole.gradient, **CLOSE)
    np.testing.assert_allclose(chunks.ggn @ v, whole.ggn @ v, **CLOSE)
    np.testing.assert_allclose(chunks.hessian @ v, whole.hessian @ v, **CLOSE)
    np.testing.assert_allclose(chunks.squared_gradients(), whole.squared_gradients(), **CLOSE)
    np.testing.assert_allclose(chunks.curvature_along(v), whole.curvature_along(v), **CLOSE)
    a, b = np.empty_like(v), np.empty_like(v)
    np.testing.assert_allclose(chunks.residual(v, a), whole.residual(v, b), **CLOSE)
    np.testing.assert_allclose(a, b, **CLOSE)
    np.testing.assert_allclose(chunks.residual_along(w, v), whole.residual_along(w, v), **CLOSE)
    forms = v @ (whole.ggn @ v), v @ (whole.ggn @ w), w @ (whole.ggn @ w)
    np.testing.assert_allclose(chunks.curvature_between(v, w), forms, **CLOSE)
    np.testing.assert_allclose(whole.curvature_between(v, w), forms, **CLOSE)


def test_value_and_gradient_in_chunks(problem):
    whole, chunks = both(problem)
    f, gradient = chunks.value_and_gradient(problem.x, problem.t)
    assert f == chunks.value(problem.x, problem.t) == pytest.approx(whole.value(problem.x, problem.t), rel=1e-13)
    np.testing.assert_allclose(gradient, whole.value_and_gradient(problem.x, problem.t)[1], **CLOSE)


def test_one_tape_at_a_time_and_every_pass_is_counted(problem, tapes):
    objective = both(problem, threads=1)[1]
    q = objective.quadratic(problem.x, problem.t)
    shards = len(q.shards)
    assert (q.passes, tapes["made"]) == (0, 0)
    _ = q.value, q.gradient
    assert (q.passes, tapes["made"]) == (1, shards)  # both by one pass
    v = np.ones(objective.size)
    for k in range(1, 4):
        q.ggn_product(v, v)
        assert (q.passes, tapes["made"], q.products) == (1 + k, (1 + k) * shards, k)
    _ = q.hessian @ v, q.squared_gradients()
    assert (q.passes, tapes["made"]) == (6, 6 * shards)
    assert tapes["most"] <= 2  # the one in use, and the next while it takes its place


def test_a_batch_that_fits_is_kept(problem, tapes):
    objective = optim.Objective(problem.model, problem.loss, threads=1, cases_in_memory=60)
    q = objective.quadratic(problem.x, problem.t)
    v = np.ones(objective.size)
    for _ in range(3):
        q.ggn_product(v, v)
    assert (q.passes, tapes["made"], q.products) == (1, 1, 3)


def test_chunks_refer_to_the_parameters_of_their_moment(problem):
    objective = both(problem, threads=1)[1]
    v = np.ones(objective.size)
    expected = objective.quadratic(problem.x, problem.t).ggn @ v
    q = objective.quadratic(problem.x, problem.t)
    objective.assign(objective.flat() + 0.3)
    np.testing.assert_array_equal(q.ggn @ v, expected)


def test_cases_in_memory_out_of_range(problem):
    with pytest.raises(ValueError, match="cases_in_memory must be a whole number ≥ 1, got 0"):
        optim.Objective(problem.model, problem.loss, cases_in_memory=0)


def test_cases_that_do_not_come_apart_are_refused(problem):
    problem.model.couples_cases = True
    objective = optim.Objective(problem.model, problem.loss, cases_in_memory=7)
    with pytest.raises(ValueError, match="cases_in_memory = 7: the 60 cases of this batch do not come apart"):
        objective.quadratic(problem.x, problem.t)
