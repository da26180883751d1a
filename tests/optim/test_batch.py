"""Batches as trees: their cases, their slices."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from optim.problem.batch import cases, slices, take

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize("n", [0, 1, 2, 5, 7, 100])
@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_slices_cover_the_batch(n, parts):
    found = slices(n, parts)
    lengths = [s.stop - s.start for s in found]
    assert len(found) == parts
    assert [k for s in found for k in range(n)[s]] == list(range(n))
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


def test_cases():
    a, b = np.zeros((4, 2)), np.zeros(4)
    assert cases(a, None) == cases(a, b) == cases({"a": a, "b": [b, None]}, (a,)) == cases(Pair(a, b)) == 4
    assert cases(None, None) is None
    assert cases(a, np.zeros(3)) is None
    assert cases(a, 1.0) is None
    assert cases(1.0, None) is None
    assert cases(np.float64(1), np.zeros(())) is None
    assert cases(np.zeros((0, 2)), None) == 0


def test_take():
    a, b = np.arange(12.0).reshape(6, 2), np.arange(6)
    part = slice(2, 5)
    taken = take({"a": a, "rest": (b, [a, None], Pair(a, b))}, part)
    np.testing.assert_array_equal(taken["a"], a[2:5])
    assert np.shares_memory(taken["a"], a)
    second, (third, nothing), pair = taken["rest"]
    np.testing.assert_array_equal(second, b[2:5])
    np.testing.assert_array_equal(third, a[2:5])
    assert nothing is None
    assert isinstance(pair, Pair)
    np.testing.assert_array_equal(pair.b, b[2:5])
    assert take(None, part) is None
