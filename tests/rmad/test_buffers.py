"""The pool of a plan's buffers: stretches are divided, joined, borrowed and given back."""

from __future__ import annotations

import numpy as np

import rmad
from rmad.plan.buffers import Pool
from rmad.tapes.tape import ArraySpec


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


def test_the_pool_takes_the_smallest_stretch_that_fits():
    pool = Pool(np.empty(0))
    sizes = (5, 3, 9, 3)
    lent = [pool.take(ArraySpec((64 * n,), np.dtype(np.uint8))) for n in sizes]
    for array in lent:
        pool.give(array)
    assert sorted(stop - start for _, start, stop in pool.free) == [192, 192, 320, 576]
    again = pool.take(ArraySpec((250,), np.dtype(np.uint8)))  # 256 bytes, from the stretch of 320
    assert np.shares_memory(again, lent[0])
    assert sorted(stop - start for _, start, stop in pool.free) == [64, 192, 192, 576]
    pool.give(again)
    assert sorted(stop - start for _, start, stop in pool.free) == [192, 192, 320, 576]


def test_the_pool_gives_a_borrowed_array_back():
    pool, scratch = Pool(np.empty(0)), np.ones(101, np.float32)[1:]
    with pool.with_scratch(scratch):
        a = pool.take(ArraySpec((4,), np.dtype(np.float64)))
        assert np.shares_memory(a, scratch)
        assert a.flags.aligned
        pool.give(a)
    b = pool.take(ArraySpec((4,), np.dtype(np.float64)))
    assert not np.shares_memory(b, scratch)


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
