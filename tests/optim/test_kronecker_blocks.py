"""Factors of convolutions, recurrent layers, attention and shared weights against dense Jacobians.

Every model is written once more by hand, with a shift of zeros in every sum that a weight stands in: its Jacobian has
the cotangents of each row of each use, and the hand-written model knows the activations.
"""

import tracemalloc

import numpy as np
import pytest

import nn
import optim
import rmad
from optim.parts.estimate import kronecker_factors
from rmad.sweeps import factors as sweep

F64 = {"dtype": np.float64}
LOSS = nn.SquaredError()


def rng(seed=0):
    return np.random.default_rng(seed)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def ones_beside(a):
    return np.concatenate([a, np.ones((*a.shape[:-1], 1))], axis=-1)


# -- the models by hand: use(names, activations, sum) returns the sum, shifted -----------------------------------


def cnn(m, x, use):
    n = len(x)
    windows = [x[:, a : a + 2, b : b + 2].reshape(n, -1) for a in range(2) for b in range(2)]
    rows = np.stack(windows, axis=1)
    h = use(rows @ m[0].weight.reshape(-1, 2) + m[0].bias, W0=ones_beside(rows))
    a = np.reshape(np.tanh(h), (n, -1))
    return use(a @ m[3].weight + m[3].bias, W1=ones_beside(a))


def recurrent(step):
    def forward(m, x, use):
        layer, state, out = m[0], None, []
        for t in range(x.shape[1]):
            h = x[:, t] @ layer.weight + layer.bias
            taps = {"W0": ones_beside(x[:, t])}
            if state is not None:
                h, taps["W1"] = h + state[0] @ layer.recurrent_weight, state[0]
            state = step(use(h, **taps), state)
            out.append(state[0])
        a = np.stack(out, axis=1)
        return use(a @ m[1].weight + m[1].bias, W2=ones_beside(a))

    return forward


def lstm_step(a, state):
    i, f, g, o = np.split(a, 4, axis=1)
    c = sigmoid(i) * np.tanh(g) + (0 if state is None else sigmoid(f) * state[1])
    return sigmoid(o) * np.tanh(c), c


def attention(m, x, use):
    qkv = use(x @ m.projection.weight + m.projection.bias, W0=ones_beside(x))
    q, k, v = qkv[..., :2], qkv[..., 2:4], qkv[..., 4:]
    s = q @ np.swapaxes(k, 1, 2) / np.sqrt(2)
    e = np.exp(s)
    y = (e / np.sum(e, axis=-1, keepdims=True)) @ v
    return use(y @ m.out.weight + m.out.bias, W1=ones_beside(y))


def twice(m, x, use):
    """One square matrix, used in two layers."""
    W, b = m.params["W"], m.params["b"]
    h = np.tanh(use(x @ W + b, W0=ones_beside(x)))
    return use(h @ W + b, W0=ones_beside(h))


def models():
    kw = {"rng": rng(), **F64}
    shared = {"W": rng(4).standard_normal((3, 3)), "b": rng(5).standard_normal(3)}
    plain = optim.Function(lambda p, x: np.tanh(x @ p["W"] + p["b"]) @ p["W"] + p["b"], shared)
    conv = nn.Sequential(nn.Conv2d(1, 2, 2, **kw), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2, **kw))
    return {
        "cnn": (conv, cnn, (3, 3, 1)),
        "rnn": (
            nn.Sequential(nn.RNN(2, 3, **kw), nn.Linear(3, 2, **kw)),
            recurrent(lambda a, state: (np.tanh(a),)),
            (3, 2),
        ),
        "lstm": (nn.Sequential(nn.LSTM(2, 3, **kw), nn.Linear(3, 2, **kw)), recurrent(lstm_step), (3, 2)),
        "attention": (nn.MultiHeadAttention(2, 1, **kw), attention, (3, 2)),
        "shared": (plain, twice, (3,)),
    }


def by_hand(model, forward, x, sharing):
    """{name: (A, G)} by the definitions of "expand" and "reduce", G from all columns."""
    seen = []

    def note(h, **activations):
        seen.append((activations, h.shape))
        return h

    z = forward(model, x, note)
    np.testing.assert_allclose(z, model(x), atol=1e-12)
    shifts = [np.zeros(shape) for _, shape in seen]

    def shifted(shifts):
        left = iter(shifts)
        return forward(model, x, lambda h, **activations: h + next(left))

    _, pull = rmad.vjp(shifted, shifts)
    pulled = [pull(u) for u in LOSS.sqrt_hessian(z, None)]
    found = {}
    for k, (activations, _) in enumerate(seen):
        u = np.stack([columns[k] for columns in pulled])  # (k, n, …, o)
        u = u.reshape(len(u), len(x), -1, u.shape[-1])
        for name, a in activations.items():
            a = a.reshape(len(x), -1, a.shape[-1])
            if sharing == "reduce":
                a, u = a.mean(axis=1, keepdims=True), u.sum(axis=2, keepdims=True)
            A, rows, G = found.get(name, (0, 0, 0))
            A, rows = A + np.einsum("nri,nrj->ij", a, a), rows + a.shape[0] * a.shape[1]
            found[name] = A, rows, G + np.einsum("knri,knrj->ij", u, u)
    return [(A / rows, G) for _, (A, rows, G) in sorted(found.items())]


def in_order(factors):
    return sorted(factors.blocks, key=lambda block: block.parts[0])


def quadratic(model, x):
    return optim.Objective(model, LOSS, shards=1).quadratic(x, np.zeros_like(model(x)))


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize("name", models())
def test_all_columns_by_the_definition(name, sharing):
    model, forward, shape = models()[name]
    x = rng(2).standard_normal((4, *shape))
    found, expected = (
        in_order(kronecker_factors(quadratic(model, x), "kflr", sharing)),
        by_hand(model, forward, x, sharing),
    )
    assert len(found) == len(expected)
    for block, (A, G) in zip(found, expected, strict=True):
        np.testing.assert_allclose(block.A, A, atol=1e-12)
        np.testing.assert_allclose(block.G, G, atol=1e-12)


@pytest.mark.parametrize("name", models())
def test_averaged_for_one_case(name):
    """KFRA's recursion is exact for one case, through every step, head and window; its G is then that of KFLR."""
    model, _, shape = models()[name]
    x = rng(2).standard_normal((1, *shape))
    q = quadratic(model, x)
    for a, b in zip(kronecker_factors(q, "kfra").blocks, kronecker_factors(q, "kflr").blocks, strict=True):
        np.testing.assert_allclose(a.A, b.A, atol=1e-12)
        np.testing.assert_allclose(a.G, b.G, atol=1e-10)


@pytest.mark.parametrize("name", ["cnn", "lstm", "attention"])
def test_draws_tend_to_all_columns(name):
    """The mean over draws lies within five standard errors of KFLR, in every entry of every G."""
    model, _, shape = models()[name]
    q = quadratic(model, rng(2).standard_normal((3, *shape)))
    draws = [kronecker_factors(q, "kfac", seed=k) for k in range(100)]
    for k, exact in enumerate(kronecker_factors(q, "kflr").blocks):
        G = np.stack([draw.blocks[k].G for draw in draws])
        error = G.std(axis=0, ddof=1) / np.sqrt(len(G))
        assert (np.abs(G.mean(axis=0) - exact.G) <= 5 * error + 1e-15).all()


@pytest.mark.parametrize("method", ["kflr", "kfra"])
def test_expand_is_exact_where_uses_share_no_loss(method):
    """A linear map applied to two halves of a case, each with a squared loss of its own: the GGN, for any batch."""
    W = rng().standard_normal((3, 2))
    model = optim.Function(lambda p, x: np.concatenate([x[:, :3] @ p, x[:, 3:] @ p], axis=1), W)
    q = quadratic(model, rng(1).standard_normal((5, 6)))
    [block] = kronecker_factors(q, method).blocks
    np.testing.assert_allclose(np.kron(block.A, block.G), q.ggn @ np.eye(6), atol=1e-12)


@pytest.mark.parametrize("name", ["cnn", "deep"])
def test_no_layer_of_a_piecewise_linear_net_has_negative_curvature(name):
    """Hessian blocks are GGN blocks, and so semi-definite, with ReLU and maxima, for a convex loss of any kind."""
    kw = {"rng": rng(3), **F64}
    if name == "cnn":
        model = nn.Sequential(
            nn.Conv2d(1, 3, 2, **kw), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4, **kw)
        )
        x = rng(2).standard_normal((6, 5, 5, 1))
    else:
        layers = [layer for k in range(4) for layer in (nn.Linear(4, 4, bias=0.1, **kw), nn.LeakyReLU(0.1))]
        model, x = nn.Sequential(*layers), rng(2).standard_normal((6, 4))
    q = optim.Objective(model, nn.SoftmaxCrossEntropy()).quadratic(x, rng(1).integers(0, 4, 6))
    p = q.objective.size
    G, H = q.ggn @ np.eye(p), q.hessian @ np.eye(p)
    assert np.linalg.eigvalsh(H)[0] < -1e-4  # as a whole it has some
    blocks = kronecker_factors(q, "kflr").blocks
    assert len(blocks) == (2 if name == "cnn" else 4)
    for block in blocks:
        at = np.concatenate([np.arange(first, last) for first, last, _ in block.parts])
        own = H[np.ix_(at, at)]
        np.testing.assert_allclose(own, G[np.ix_(at, at)], atol=1e-12)
        assert np.linalg.eigvalsh(own)[0] > -1e-12


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("damping", [0.0, 1e-8])
@pytest.mark.parametrize("Method", [optim.KFAC, optim.KFLR, optim.KFRA, optim.EKFAC])
@pytest.mark.parametrize(("i", "o", "bias"), [(1, 1, False), (3, 1, True)])
def test_single_numbers_and_single_outputs(Method, damping, i, o, bias, exact):
    """In single precision, at the smallest λ; the rows of x are of rank one, so that A is singular."""
    model = nn.Sequential(nn.Linear(i, o, bias=bias, rng=rng()))
    x = (rng(1).standard_normal((20, 1)) * np.arange(1, i + 1)).astype(np.float32)
    opt = Method(model, LOSS, damping=damping, adapt_every=0, exact_damping=exact)
    losses = [opt.step(x, 2 * x[:, :1]).loss for _ in range(30)]
    assert np.isfinite(losses).all()
    assert losses[-1] < 1e-3 * losses[0]
    assert opt.factors.blocks[0].shape == (i + bias, o)
    assert {M.dtype for M in opt.running.inverse.arrays()} == {np.dtype(np.float32)}


def test_no_factor_is_formed_for_a_frozen_parameter(monkeypatch):
    sizes = []
    real = sweep.gram
    monkeypatch.setattr(sweep, "gram", lambda rows: sizes.append(rows.shape[1]) or real(rows))
    params = {"frozen": rng().standard_normal((7, 5)), "W": rng(1).standard_normal((5, 3))}
    model = optim.Function(lambda p, x: np.tanh(x @ rmad.stop_gradient(p["frozen"])) @ p["W"], params)
    found = kronecker_factors(quadratic(model, rng(2).standard_normal((6, 7))), "kflr")
    assert sizes == [5, 3]
    assert [block.shape for block in found.blocks] == [(5, 3)]
    assert found.unused.sum() == 35


def test_memory_of_all_columns():
    """c n d numbers for c columns, as the paper says, and never n d d."""
    n, d, c = 256, 160, 8
    model = nn.Sequential(nn.Linear(d, d, rng=rng(), **F64), nn.Tanh(), nn.Linear(d, c, rng=rng(), **F64))
    q = optim.Objective(model, nn.SoftmaxCrossEntropy(), shards=1).quadratic(
        rng(1).standard_normal((n, d)), rng(2).integers(0, c, n)
    )
    _ = q.gradient
    tracemalloc.start()
    try:
        kronecker_factors(q, "kflr")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * (4 * c * n * d)
    assert peak < 8 * n * d * d / 4
