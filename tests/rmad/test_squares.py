"""Sums of squared per-case gradients against a loop over the cases, for every way in which a parameter may be used."""

import numpy as np
import pytest

import nn
import rmad
from rmad.primitives.layers.conv import conv2d, conv2d_input
from rmad.primitives.layers.pool import avg_pool2d, max_pool2d
from rmad.record import Record
from rmad.sweeps import squares

N = 4
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 6, (N, 3))
BOTH_SIGNS = np.array([[5, 0, 5], [4, -2, 1], [-1, 5, 3], [0, 4, -6]])  # of six tokens: −1 is 5


def normal(*shape):
    return RNG.standard_normal(shape)


def found(f, params, x):
    """Squares of the gradients of ⟨u_n, f(x)_n⟩ for random u, from the sweep and from a loop over the cases."""
    n = len(x)
    record = Record(f, params, (x,))
    u = [np.random.default_rng(1).standard_normal(np.shape(z)) for _, z in rmad.trees.tree.leaves(record.y)]
    got = squares(record.tape, u, record.outputs, record.n_inputs, n)
    expected = None
    for k in range(n):
        z, pull = rmad.vjp(f, params, x[k : k + 1])
        shares = rmad.trees.tree.replace_leaves(z, iter([c[k : k + 1] for c in u]))
        square = [a**2 for _, a in rmad.trees.tree.leaves(pull(shares))]
        expected = square if expected is None else [a + b for a, b in zip(expected, square, strict=True)]
    return got, expected


def compare(f, params, x):
    got, expected = found(f, params, x)
    assert got is not None
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


W, W3, B, S = normal(5, 5), normal(2, 3, 5), normal(5), normal(5)
K, DEPTHWISE = normal(3, 2, 2, 4), normal(3, 3, 1, 4)
X2, X3, IMAGES = normal(N, 5), normal(N, 3, 5), normal(N, 6, 5, 2)
SQUARE = normal(N, N, 5)  # as many times as cases


def rnn(p, x):
    W, U, b = p
    h = np.zeros((len(x), 5))
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ W + h @ U + b)
    return h


def rnn_time_first(p, x):
    """The states of all times in one product, time before cases."""
    W, U, b = p
    h = np.zeros((len(x), 5))
    states = []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ W + h @ U)
        states.append(h)
    return np.swapaxes(np.tanh(np.stack(states) @ W + b), 0, 1)


def in_no_layout(p, x):
    """Each case in columns of its own, where no axis and no rows count the cases; back before the next parameter."""
    n, t, i = x.shape
    h = np.tanh(np.reshape(np.swapaxes(x, 0, 1) @ p[0], (t, n * i)))
    return np.swapaxes(np.reshape(h, (t, n, i)), 0, 1) @ p[1]


def rows_time_first(p, x):
    W, b = p
    n, t, i = x.shape
    y = np.tanh(np.reshape(np.swapaxes(x, 0, 1), (t * n, i)) @ W + b)
    return np.swapaxes(np.reshape(y, (t, n, 5)), 0, 1)


USES = {
    "x W + b": (lambda p, x: np.tanh(x @ p[0] + p[1]), (W, B), X2),
    "sequences": (lambda p, x: np.tanh(x @ p[0] + p[1]) @ p[0], (W, B), X3),
    "x w": (lambda p, x: np.tanh(x @ p[0]), (B,), X2),
    "x w, twice": (lambda p, x: np.tanh(x @ p[0]) * (x[::-1][::-1] @ p[0]), (B,), X2),
    "h w": (lambda p, x: np.tanh(x @ p[0]) @ p[1], (W, B), X2),
    "rows of cases": (lambda p, x: np.reshape(np.reshape(x, (-1, 5)) @ p[0], (len(x), -1)), (B,), X3),
    "as many times as cases": (lambda p, x: np.tanh(x @ p[0] + p[1]) @ p[0], (W, B), SQUARE),
    "rows (n t, i)": (lambda p, x: np.reshape(np.reshape(x, (-1, 5)) @ p[0] + p[1], x.shape), (W, B), X3),
    "rows (t n, i)": (rows_time_first, (W, B), X3),
    "rows (t n, i), t = n": (rows_time_first, (W, B), SQUARE),
    "in no layout on the way": (in_no_layout, (W, normal(5, 2)), X3),
    "recurrent": (rnn, (W, W.copy(), B), X3),
    "recurrent, time first": (rnn_time_first, (W, W.copy(), B), X3),
    "recurrent, time first, t = n": (rnn_time_first, (W, W.copy(), B), SQUARE),
    "checkpoint": (lambda p, x: rmad.checkpoint(rnn)(p, x) @ p[0], (W, W.copy(), B), X3),
    "scale": (lambda p, x: np.sin(x * p[0]) + p[1] * x, (S, B), X3),
    "scale of a channel": (lambda p, x: np.sin(x * p[0] - p[1]), (normal(3, 1), normal(1)), X3),
    "division by a number": (lambda p, x: x / p, np.array(2.0), X3),
    "W and W.T": (lambda p, x: np.tanh(x @ p) @ p.T, W, X2),
    "a part of W": (lambda p, x: np.tanh(x @ p[0][:, 1:3] + p[1][1:3]) @ p[0][1:3], (W, B), X3),
    "W W": (lambda p, x: x @ (p @ p), W, X2),
    "weight norm": (lambda p, x: x @ (p[0] / np.sqrt(np.sum(p[0] ** 2, axis=0)) * p[1]), (W, S), X2),
    "x W + sum W": (lambda p, x: x @ p + np.sum(p), W, X2),
    "complex on the way": (lambda p, x: np.real((x * (1 + 2j)) @ p * (1 - 0.5j)), W, X2),
    "a vector": (lambda p, x: x @ p, B, X3),
    "from the left": (lambda p, x: np.swapaxes(p @ np.swapaxes(x, -1, -2), -1, -2), W, X3),
    "einsum": (lambda p, x: np.einsum("nti,kio->nkto", x, p), normal(2, 5, 3), X3),
    "embedding": (lambda p, x: np.tanh(p[x]), normal(6, 5), TOKENS),
    "embedding, negative tokens": (lambda p, x: p[x - 6], normal(6, 5), TOKENS),
    "embedding, tokens of both signs": (lambda p, x: np.tanh(p[x]), normal(6, 5), BOTH_SIGNS),
    "embedding used twice": (lambda p, x: np.tanh(p[x]) @ p.T, normal(6, 5), TOKENS),
    "embedding and places": (
        lambda p, x: np.tanh(p[0][x] + p[1][np.arange(3)]) @ W,
        (normal(6, 5), normal(7, 5)),
        TOKENS,
    ),
    "embedding of a product": (lambda p, x: (p[0] * p[1])[x], (normal(6, 5), B), TOKENS),
    "conv": (lambda p, x: np.tanh(conv2d(x, p[0], 2, 1) + p[1]), (K, normal(4)), IMAGES),
    "conv of two images a case": (
        lambda p, x: np.reshape(
            np.tanh(conv2d(np.reshape(np.stack([x, x * x], 1), (-1, *x.shape[1:])), p)), (len(x), -1)
        ),
        K,
        IMAGES,
    ),
    "conv twice": (lambda p, x: conv2d(np.tanh(conv2d(x, p, 1, 1)), p, 1, 1), normal(3, 3, 2, 2), IMAGES),
    "conv in groups": (lambda p, x: conv2d(np.tanh(conv2d(x, p[0])), p[1], groups=4), (K, DEPTHWISE), IMAGES),
    "transposed conv": (lambda p, x: conv2d_input(x, p, (len(x), 13, 10, 3), 2), normal(3, 2, 3, 2), IMAGES),
    "conv and pooling": (
        lambda p, x: np.reshape(avg_pool2d(max_pool2d(conv2d(x, p[0]), 2, 1), 2), (len(x), -1)) @ p[1],
        (K, normal(4, 3)),
        IMAGES,
    ),
    "several outputs": (lambda p, x: (x @ p[0], np.tanh(x) @ p[0] + p[1]), (W, B), X2),
    "a parameter without use": (lambda p, x: x @ p[0], (W, B), X2),
}


@pytest.mark.parametrize("name", USES)
def test_uses(name):
    compare(*USES[name])


@pytest.mark.parametrize("name", USES)
def test_one_case(name):
    f, params, x = USES[name]
    compare(f, params, x[:1])


@pytest.mark.parametrize("name", USES)
def test_a_few_cases_at_a_time(name, monkeypatch):
    monkeypatch.setattr("rmad.tuning.CASE_GRADIENTS_CHUNK", 60)
    compare(*USES[name])


F64 = {"rng": np.random.default_rng(3), "dtype": np.float64}
MODELS = {
    "cnn": (
        nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, **F64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False, **F64),
            nn.LayerNorm(4, dtype=np.float64),
            nn.Flatten(),
            nn.Linear(8, 3, **F64),
        ),
        IMAGES,
    ),
    "rnn": (nn.RNN(5, 4, **F64), X3),
    "lstm": (nn.LSTM(5, 4, checkpoint=True, **F64), X3),
    "gru": (nn.GRU(5, 4, last=True, **F64), X3),
    "transformer": (
        nn.Sequential(nn.Embedding(6, 4, **F64), nn.TransformerBlock(4, 2, **F64), nn.Linear(4, 6, **F64)),
        TOKENS,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    model, x = MODELS[name]
    compare(lambda m, x: m(x), model, x)


@pytest.mark.parametrize("name", ["cnn", "rnn", "transformer"])
def test_after_a_plan_has_rewritten_the_tape(name):
    model, x = MODELS[name]
    y, lin = rmad.linearize(lambda m: m(x), model)
    u = np.random.default_rng(1).standard_normal(y.shape)
    record = lin._record
    before = squares(record.tape, [u], record.outputs, record.n_inputs, N)
    lin.JTu(u)
    after = squares(record.tape, [u], record.outputs, record.n_inputs, N)
    for a, b in zip(after, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_single_precision_stays():
    f, x = lambda p, x: np.tanh(x @ p[0] + p[1]) * p[2], X3.astype(np.float32)
    params = tuple(p.astype(np.float32) for p in (W, B, S))
    record = Record(f, params, (x,))
    got = squares(record.tape, [np.ones_like(record.y)], record.outputs, record.n_inputs, N)
    assert [a.dtype for a in got] == [np.float32] * 3


@pytest.mark.parametrize(
    ("f", "params", "x"),
    [
        (nn.BatchNorm(5, dtype=np.float64), None, X2),  # batch statistics
        (lambda p, x: np.sum(x @ p, axis=0), W, X2),  # no axis of cases
        (lambda p, x: p, normal(N, 2), X2),
        (lambda p, x: np.cumsum(np.tanh(x @ p), axis=0), W, X2),
    ],
)
def test_cases_that_mix_are_refused(f, params, x):
    if params is None:
        layer, f, params = f, lambda p, x: p[0](x @ p[1]), (f, W)
        assert layer.training
    record = Record(f, params, (x,))
    u = [np.ones(np.shape(z)) for _, z in rmad.trees.tree.leaves(record.y)]
    assert squares(record.tape, u, record.outputs, record.n_inputs, N) is None


@pytest.mark.parametrize(
    "f",
    [
        lambda p, x: np.tanh(x @ p) - np.mean(np.sin(x @ p), axis=0),
        lambda p, x: np.tanh(x @ p) * np.sum(np.tanh(x @ p)),
    ],
)
def test_statistics_that_are_found_to_be_functions_of_the_parameters(f):
    """The loss of a case depends on all cases here; its gradient is still that of this loss."""
    record = Record(f, W, (X2,))
    u = normal(N, 5)
    (got,) = squares(record.tape, [u], record.outputs, record.n_inputs, N)
    _, pull = rmad.vjp(f, W, X2)
    np.testing.assert_allclose(got, sum(pull(u * (np.arange(N) == k)[:, None]) ** 2 for k in range(N)), rtol=1e-10)
