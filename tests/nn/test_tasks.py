"""The tasks for recurrent nets: what is in a sequence decides what is asked for."""

import numpy as np
import pytest

from nn.data import tasks

LENGTHS = (20, 30, 47, 100, 200)
ANSWERS = {
    "addition": lambda a, b: (a + b) / 2,
    "multiplication": lambda a, b: a * b,
    "xor": lambda a, b: (a + b) % 2,
}


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("name", ANSWERS)
def test_marked_values(name, T):
    x, t = getattr(tasks, name)(300, T, rng=np.random.default_rng(0))
    assert (x.shape, x.dtype, t.shape, t.dtype) == ((300, T, 2), np.float32, (300, 1), np.float32)
    values, marks = x[..., 0], x[..., 1]
    np.testing.assert_array_equal(marks[:, [0, T - 3]], -1)
    np.testing.assert_array_equal(np.sum(marks == 1, axis=1), 2)
    np.testing.assert_array_equal(np.sum(marks != 0, axis=1), 4)
    for k in range(300):
        i, j = np.flatnonzero(marks[k] == 1)
        assert 1 <= i <= T // 10 < j < T // 2
        assert t[k, 0] == pytest.approx(ANSWERS[name](values[k, i], values[k, j]), abs=1e-6)
    assert values.min() >= 0
    assert values.max() <= 1
    if name == "xor":
        assert set(np.unique(values)) == set(np.unique(t)) == {0.0, 1.0}
        assert 0.3 < t.mean() < 0.7


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize(("symbols", "tenths"), [(2, (1, 5)), (3, (1, 3, 6))])
def test_temporal_order(T, symbols, tenths):
    x, t = tasks.temporal_order(400, T, symbols=symbols, rng=np.random.default_rng(0))
    assert (x.shape, x.dtype, t.shape) == ((400, T, 6), np.float32, (400,))
    np.testing.assert_array_equal(np.sum(x, axis=2), 1)
    drawn = np.argmax(x, axis=2)
    for k in range(400):
        places = np.flatnonzero(drawn[k] >= 4)
        assert len(places) == symbols
        for place, tenth in zip(places, tenths, strict=True):
            assert tenth * T // 10 <= place < (tenth + 1) * T // 10
        assert t[k] == int("".join(str(drawn[k, p] - 4) for p in places), 2)
    assert set(t) == set(range(2**symbols))


@pytest.mark.parametrize("T", LENGTHS)
def test_random_permutation(T):
    x, t = tasks.random_permutation(200, T, rng=np.random.default_rng(0))
    assert (x.shape, x.dtype, t.shape) == ((200, T, 100), np.float32, (200,))
    drawn = np.argmax(x, axis=2)
    np.testing.assert_array_equal(drawn[:, 0], t)
    assert set(t) == {0, 1}
    assert drawn[:, 1:].min() == 2


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize(("bits", "m", "k"), [(5, 5, 2), (20, 10, 5)])
def test_noiseless_memorisation(T, bits, m, k):
    x, t = tasks.noiseless_memorisation(100, T, bits=bits, rng=np.random.default_rng(0))
    assert (x.shape, t.shape) == ((100, T + 2 * m, k + 2), (100, T + 2 * m))
    drawn = np.argmax(x, axis=2)
    np.testing.assert_array_equal(drawn[:, :m], t[:, -m:])  # asked for again
    assert drawn[:, :m].max() == k - 1
    np.testing.assert_array_equal(drawn[:, T + m - 1], k + 1)  # the trigger, a step before
    rest = np.delete(drawn, [*range(m), T + m - 1], axis=1)
    np.testing.assert_array_equal(rest, k)
    np.testing.assert_array_equal(t[:, :-m], k)


def test_the_generator_decides():
    one, same, other = (tasks.addition(5, 30, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_zero_one():
    t = np.array([[0.5], [0.5], [0.5], [0.5]], np.float32)
    assert tasks.zero_one(np.array([[0.5], [0.53], [0.55], [0.4]]), t) == 0.5
    labels = np.array([0, 1])
    assert tasks.zero_one(np.array([[2.0, 1.0], [2.0, 1.0]]), labels) == 0.5
    steps = np.array([[0, 1], [1, 1]])
    assert tasks.zero_one(np.eye(2)[[[0, 1], [0, 1]]], steps) == 0.5  # one step wrong, the case is


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: tasks.addition(0, 30, rng=rng), "addition: n must be positive, got 0"),
        (lambda rng: tasks.xor(5, 19, rng=rng), "xor: T must be ≥ 20, got 19"),
        (lambda rng: tasks.temporal_order(5, 9, rng=rng), "temporal_order: T must be ≥ 10"),
        (lambda rng: tasks.temporal_order(5, 30, symbols=4, rng=rng), "symbols must be 2 or 3, got 4"),
        (lambda rng: tasks.noiseless_memorisation(5, 30, bits=7, rng=rng), "bits must be 5 or 20, got 7"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make(np.random.default_rng(0))
