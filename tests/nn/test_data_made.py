"""The sine wave and minibatches."""

import numpy as np
import pytest

import nn


def test_sine():
    data = nn.data.sine()
    assert [a.shape for a in data] == [(10_000, 1), (10_000, 1), (1000, 1), (1000, 1)]
    assert {a.dtype for a in data} == {np.dtype(np.float32)}
    assert -1 <= data.x_train.min() < -0.99 < 0.99 < data.x_train.max() <= 1
    noise = data.t_train - np.sin(10 * data.x_train)
    assert abs(noise.std() - 0.01) < 3e-4
    assert abs(noise.mean()) < 5e-4
    few = nn.data.sine(10, 5)
    for a, b in zip(few, data, strict=True):
        np.testing.assert_array_equal(a, b[: len(a)])
    assert not np.array_equal(few.x_train, nn.data.sine(10, 5, seed=1).x_train)
    clean = nn.data.sine(10, 5, frequency=3.0, sigma=0.0)
    np.testing.assert_allclose(clean.t_test, np.sin(3 * clean.x_test), atol=1e-6)
    with pytest.raises(ValueError, match="n_train and n_test must be positive, not 10 and 0"):
        nn.data.sine(10, 0)
    with pytest.raises(ValueError, match="sigma must not be negative"):
        nn.data.sine(sigma=-1.0)


def test_batches():
    x, t = np.arange(10), 10 * np.arange(10)
    pairs = list(nn.data.batches(x, t, 4, np.random.default_rng(0), passes=3))
    assert [len(a) for a, _ in pairs] == [4] * 6
    assert all((10 * a == b).all() for a, b in pairs)
    assert len(set(np.concatenate([a for a, _ in pairs[:2]]))) == 8  # no case twice in a pass
    assert not np.array_equal(pairs[0][0], pairs[2][0])
    whole = list(nn.data.batches(x, t, 4, np.random.default_rng(0), passes=1, rest=True))
    assert [len(a) for a, _ in whole] == [4, 4, 2]
    assert set(np.concatenate([a for a, _ in whole])) == set(range(10))
    in_order = nn.data.batches(x, None, 5)  # without end
    assert [next(in_order)[0].tolist() for _ in range(3)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]
    assert next(nn.data.batches(x, None, 99, np.random.default_rng(0)))[0].shape == (10,)
    for bad, message in (
        ((x, t[:3], 2), "x has 10 cases, t has 3"),
        ((x[:0], None, 2), r"x has no cases, its shape is \(0,\)"),
        ((x, t, 0), "size must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.data.batches(*bad)
