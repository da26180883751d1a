"""Products on arrays of the caller's: the same numbers as from copies, nothing of the caller's is touched but `out`."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nn
import optim
import rmad
from rmad.plan.buffers import Pool
from rmad.plan.push import Push
from rmad.tape import ArraySpec


def problem(l2=0.0, **options):
    rng = np.random.default_rng(0)
    model = nn.models.mlp((30, 500, 500, 20), rng=rng)
    x, t = rng.standard_normal((24, 30), dtype=np.float32), rng.integers(0, 20, 24)
    objective = optim.Objective(model, nn.SoftmaxCrossEntropy(), l2, **options)
    assert objective.size * 4 > optim.problem.quadratic.LONG
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
        copying._copied_product(vectors[i], expected)
        np.testing.assert_array_equal(outs[j], expected)
        after = [*vectors, *outs]
        assert all(np.array_equal(a, b) for m, (a, b) in enumerate(zip(after, before, strict=True)) if m != 3 + j)
        if k % 3 == 1:  # other sweeps in between have buffers of their own
            found = outs[j].copy()
            without_l2 = q._sum(optim.problem.quadratic.Lane.gradient, q.lanes, None, q._shared.another())
            np.testing.assert_allclose(without_l2, gradient - np.float32(l2) * q.theta, atol=1e-5)
            assert sum(q.curvature_along(vectors[0])) > 0
            np.testing.assert_array_equal(outs[j], found)


def test_arrays_that_do_not_fit_are_copied():
    objective, x, t, (v, w, _) = problem(threads=1)
    q, expected = objective.quadratic(x, t), np.empty_like(v)
    q._copied_product(v, expected)
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


# -- the pool of a plan -----------------------------------------------------------------------------------------


def test_the_pool_divides_and_joins_its_stretches():
    pool, rng, live = Pool(np.empty(0)), np.random.default_rng(0), []
    large = pool.take(ArraySpec((1000,), np.dtype(np.float64)))
    pool.give(large)
    for k in range(400):
        if live and rng.random() < 0.5:
            number, array = live.pop(rng.integers(len(live)))
            assert (array == number).all()
            pool.give(array)
            pool.give(array)  # a second time it is not there
        else:
            dtype = np.dtype([np.float32, np.float64, np.int8, np.complex128][rng.integers(4)])
            array = pool.take(ArraySpec((int(rng.integers(0, 40)), 3), dtype))
            array.fill(k % 100)
            live.append((k % 100, array))
    for number, array in live:
        assert (array == number).all()
        pool.give(array)
    assert not pool.lent
    raws = {id(raw) for raw, _, _ in pool.free}
    assert len(raws) == len(pool.free)  # every array of bytes is whole again
    assert np.shares_memory(pool.take(ArraySpec((1000,), np.dtype(np.float64))), large)


def test_the_pool_gives_a_borrowed_array_back():
    pool, scratch = Pool(np.empty(0)), np.ones(101, np.float32)[1:]
    with pool.with_scratch(scratch):
        a = pool.take(ArraySpec((4,), np.dtype(np.float64)))
        assert np.shares_memory(a, scratch)
        assert a.flags.aligned
        pool.give(a)
    b = pool.take(ArraySpec((4,), np.dtype(np.float64)))
    assert not np.shares_memory(b, scratch)


def test_an_interrupt_while_a_sweep_is_planned_leaves_the_caller_s_array_to_the_caller(monkeypatch):
    objective, x, t, (v, w, _) = problem(threads=1)
    q, expected = objective.quadratic(x, t), np.empty_like(v)
    objective.quadratic(x, t)._copied_product(v, expected)
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
    assert not any(np.shares_memory(raw, w) for raw, _, _ in q.lanes[0]._kept[0].plan.pool.free)
    w[:] = 7
    out = np.empty_like(v)
    q.ggn_product(v, out)
    np.testing.assert_array_equal(out, expected)
    assert (w == 7).all()


def test_an_output_read_twice_is_not_overwritten_in_a_pull():
    """The buffers of the outputs serve as scratch of a pull, each from its last use on."""

    def f(x):
        h = np.tanh(x)
        return h, np.sin(h) @ np.ones((6, 6)), h.T, h + 0

    x = np.random.default_rng(0).standard_normal((6, 6))
    _, lin = rmad.linearize(f, x)
    us = tuple(np.random.default_rng(k).standard_normal((6, 6)) for k in range(4))
    expected = rmad.vjp(f, x)[1](us)
    for _ in range(3):
        np.testing.assert_allclose(lin.JTu(us), expected, rtol=1e-13)
        along = sum(np.vdot(a, b) for a, b in zip(lin.Jv(x), us, strict=True))
        np.testing.assert_allclose(np.vdot(lin.JTu(us), x), along, rtol=1e-12)
