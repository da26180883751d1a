"""Products on arrays of the caller's: the same numbers as from copies, nothing of the caller's is touched but `out`."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nn
import optim
from rmad.plan.push import Push


def problem(l2=0.0, **options):
    rng = np.random.default_rng(0)
    model = nn.models.mlp((30, 500, 500, 20), rng=rng)
    x, t = rng.standard_normal((24, 30), dtype=np.float32), rng.integers(0, 20, 24)
    objective = optim.Objective(model, nn.SoftmaxCrossEntropy(), l2, **options)
    assert objective.size * 4 > optim.tuning.IN_PLACE_FROM
    vectors = [rng.standard_normal(objective.size, dtype=np.float32) for _ in range(3)]
    return objective, x, t, vectors


@pytest.mark.parametrize("options", [{"threads": 1}, {"shards": 2, "threads": 2}, {"shards": 5, "threads": 2}])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_products_in_place_are_those_of_copies(options, l2):
    objective, x, t, vectors = problem(l2, **options)
    q, copying = objective.quadratic(x, t), objective.quadratic(x, t)
    outs, expected = [np.full_like(v, k) for k, v in enumerate(vectors)], np.empty_like(vectors[0])
    gradient = objective.value_and_gradient(x, t)[1]
    for k, (i, j) in enumerate([(0, 0), (0, 0), (1, 1), (1, 1), (1, 0), (0, 1), (1, 2), (2, 2), (2, 1), (0, 0)]):
        before = [v.copy() for v in (*vectors, *outs)]
        q.ggn_product(vectors[i], outs[j])
        copying.ggn_product(vectors[i], expected, in_place=False)
        np.testing.assert_array_equal(outs[j], expected)
        after = [*vectors, *outs]
        assert all(np.array_equal(a, b) for m, (a, b) in enumerate(zip(after, before, strict=True)) if m != 3 + j)
        if k % 3 == 1:  # other sweeps in between have buffers of their own
            found = outs[j].copy()
            without_l2 = q._shared.another()
            q._sum(optim.problem.quadratic.Shards.gradient, q.by_thread, None, without_l2)
            np.testing.assert_allclose(without_l2, gradient - np.float32(l2) * q.theta, atol=1e-5)
            assert sum(q.curvature_along(vectors[0])) > 0
            np.testing.assert_array_equal(outs[j], found)


def test_arrays_that_do_not_fit_are_copied():
    objective, x, t, (v, w, _) = problem(threads=1)
    q, expected = objective.quadratic(x, t), np.empty_like(v)
    q.ggn_product(v, expected, in_place=False)
    for given in (v.astype(np.float64), np.repeat(v, 2)[::2], v.copy()):
        out = given if given.flags.c_contiguous and given.dtype == v.dtype else np.empty_like(v)
        q.ggn_product(given, out)  # the last one is multiplied and written at once
        np.testing.assert_array_equal(out, expected)
    out = np.zeros(v.nbytes + 1, np.uint8)[1:].view(v.dtype)
    assert not out.flags.aligned
    q.ggn_product(v, out)
    np.testing.assert_array_equal(out, expected)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        q.ggn_product(v, w)


def test_a_product_in_place_holds_no_vector_but_the_result():
    objective, x, t, (v, *_) = problem(threads=1)
    out = np.empty_like(v)
    objective.quadratic(x, t).ggn_product(v, out)
    tracemalloc.start()
    q = objective.quadratic(x, t)
    q.ggn_product(v, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * v.nbytes  # with buffers of its own for v and the result it was over 2


def test_an_interrupt_while_a_sweep_is_planned_leaves_the_caller_s_array_to_the_caller(monkeypatch):
    objective, x, t, (v, w, _) = problem(threads=1)
    q, expected = objective.quadratic(x, t), np.empty_like(v)
    objective.quadratic(x, t).ggn_product(v, expected, in_place=False)
    node, planned = Push.node, []

    def interrupted(self, j):
        node(self, j)
        planned.append(j)
        if len(planned) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Push, "node", interrupted)
    with pytest.raises(KeyboardInterrupt):
        q.ggn_product(v, w)
    monkeypatch.undo()
    assert not any(np.shares_memory(raw, w) for raw, _, _ in q.by_thread[0]._kept[0].plan.pool.free)
    w[:] = 7
    out = np.empty_like(v)
    q.ggn_product(v, out)
    np.testing.assert_array_equal(out, expected)
    assert (w == 7).all()
