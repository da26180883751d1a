"""Recurrent layers as one node of the tape: the loop's derivatives, with checkpoints in time."""

import gc
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from recurrent_layers import data, every_kind, make, state_of

import nn
import optim
import rmad


def pair(kind, **options):
    """The same net without and with checkpoints, in float64."""
    return [
        nn.Sequential(
            make(kind, 3, 4, checkpoint=checkpoint, **options),
            nn.Linear(4, 2, rng=np.random.default_rng(1), dtype=np.float64),
        )
        for checkpoint in (False, True)
    ]


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@every_kind
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("t", [1, 2, 7, pytest.param(16, marks=pytest.mark.slow)])
def test_checkpoints_change_nothing(kind, last, t):
    x, rng = data(5, t, 3), np.random.default_rng(2)
    plain, other = pair(kind, last=last)
    target = data(*plain(x).shape)
    v = rng.standard_normal(rmad.ravel(plain)[0].size)
    found = []
    for model in (plain, other):
        y, lin = rmad.linearize(lambda m: m(x), model)
        _, unravel = rmad.ravel(model)
        results = [np.ravel(y), np.ravel(lin.Jv(unravel(v))), rmad.ravel(lin.JTu(y))[0]]
        quadratic = optim.Objective(model, nn.SquaredError(), shards=2, threads=2).quadratic(x, target)
        results += [quadratic.gradient, quadratic.ggn @ v, quadratic.ggn @ v, quadratic.hessian @ v]
        results.append(optim.Objective(model, nn.SquaredError()).value_and_gradient(x, target)[1])
        found.append(results)
    for a, b in zip(*found, strict=True):
        assert relative(a, b) <= 1e-12


@every_kind
def test_one_node_is_the_loop(kind):
    """A sweep computes the derivative of the loop in its buffers, for every input and under outer tapes."""
    layer, x, state = make(kind), data(5, 6, 3), state_of(kind, 5, 4)
    tree = (layer, x, state)
    flat, unravel = rmad.ravel(tree)
    v = unravel(data(flat.size))

    def loop(tree):
        layer, x, state = tree
        return layer._loop(x, layer._start(state, 5), None)

    def node(tree):
        return tree[0](*tree[1:])

    y, lin = rmad.linearize(node, tree)
    z, wanted = rmad.linearize(loop, tree)
    np.testing.assert_allclose(y, z, rtol=1e-12)
    assert relative(lin.Jv(v), wanted.Jv(v)) <= 1e-13
    assert relative(rmad.ravel(lin.JTu(y))[0], rmad.ravel(wanted.JTu(y))[0]) <= 1e-13
    u = data(*y.shape)
    for sweep, plain, at in ((lin.Jv, wanted.Jv, v), (lin.JTu, wanted.JTu, u)):  # sweeps that an outer tape traces
        outer = [rmad.vjp(f, at)[1](f(at)) for f in (sweep, plain)]
        assert relative(rmad.ravel(outer[0])[0], rmad.ravel(outer[1])[0]) <= 1e-12
    square = [rmad.hvp(lambda tree, f=f: np.sum(np.sin(f(tree))), tree, v) for f in (node, loop)]
    assert relative(rmad.ravel(square[0])[0], rmad.ravel(square[1])[0]) <= 1e-12


def test_an_interrupted_sweep_leaves_nothing_wrong(monkeypatch):
    layer, x = make("rnn", checkpoint=True), data(5, 9, 3)
    y, lin = rmad.linearize(lambda m: m(x), layer)
    wanted = rmad.ravel(lin.JTu(y))[0]

    def interrupted(*args):
        raise KeyboardInterrupt

    from rmad.kernels import cells

    with monkeypatch.context() as patch:
        patch.setattr(cells.RNNCell, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lin.Jv(layer)
    np.testing.assert_array_equal(rmad.ravel(lin.JTu(y))[0], wanted)


def peak(call):
    gc.collect()
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_memory(kind):
    """A sixth at T = 144, for a gradient and for a product with its linearization."""
    x, t = data(64, 144, 2, dtype=np.float32), data(64, 2, dtype=np.float32)
    peaks = []
    for checkpoint in (False, True):
        layer = make(kind, 2, 50, dtype=np.float32, last=True, checkpoint=checkpoint)
        model = nn.Sequential(layer, nn.Linear(50, 2, rng=np.random.default_rng(0)))
        objective = optim.Objective(model, nn.SquaredError(), shards=1)
        v = np.ones(objective.size, np.float32)
        calls = (
            lambda o=objective: o.value_and_gradient(x, t),
            lambda o=objective, v=v: o.quadratic(x, t).ggn_product(v, np.empty_like(v)),
        )
        objective.value_and_gradient(x[:2, :4], t[:2])  # what is imported or cached at the first use
        peaks.append([peak(call) for call in calls])
    for without, with_checkpoints in zip(*peaks, strict=True):
        assert with_checkpoints <= without / 6


@pytest.mark.parametrize(("t", "stored"), [(1, 1), (5, 2), (16, 4), (17, 4), (400, 20)])
def test_stored_states(t, stored):
    """Every ⌈√T⌉-th state is kept: T / ⌈√T⌉ of them, the first included."""
    from rmad.joint.recurrence import Recurrence
    from rmad.kernels.cells import RNNCell

    layer, every = make("rnn"), int(np.ceil(np.sqrt(t)))
    recurrence = Recurrence(RNNCell("tanh"), None, True, every)
    recurrence(layer.weight, layer.recurrent_weight, layer.bias, data(2, t, 3), None, None, None)
    assert len(recurrence.checkpoints) == stored
    assert all(len(residuals.d) == every for residuals in recurrence.held.values())
    assert len(recurrence.held) <= max(1, stored / 7)


@every_kind
def test_a_state_is_computed_again_once_for_a_gradient_and_twice_for_a_product(kind, monkeypatch):
    """At most so often, and never more: Martens & Sutskever (2012), section 7.1."""
    from rmad.joint.recurrence import Recurrence

    computed, advance = [], Recurrence._advance
    monkeypatch.setattr(Recurrence, "_advance", lambda self, s, *more: (computed.append(s), advance(self, s, *more))[1])
    model = make(kind, checkpoint=True)
    objective = optim.Objective(model, nn.SquaredError(), threads=1)
    x = data(2, 400, 3)
    target = np.zeros_like(model(x))
    computed.clear()
    q = objective.quadratic(x, target)
    assert sorted(computed) == list(range(20))  # the forward pass
    computed.clear()
    _ = q.gradient
    assert 10 <= len(computed) == len(set(computed)) < 20
    out, v = np.empty(objective.size), np.ones(objective.size)
    for _ in range(3):
        computed.clear()
        q.ggn_product(v, out)
        assert max(map(computed.count, computed)) <= 2


@pytest.mark.parametrize("checkpoint", [False, True])
@every_kind
def test_squared_gradients(kind, checkpoint):
    """Per-case gradients see through the one node, to the loop."""
    layer = make(kind, 2, 3, last=True, checkpoint=checkpoint)
    objective = optim.Objective(layer, nn.SquaredError())
    x, t = data(4, 5, 2), data(4, 3)
    wanted = sum(objective.value_and_gradient(x[k : k + 1], t[k : k + 1])[1] ** 2 for k in range(4)) / 4
    np.testing.assert_allclose(objective.quadratic(x, t).squared_gradients(), wanted, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_threads_may_share_the_sweeps_of_a_checkpointed_layer(kind):
    """Its buffers hold one segment at a time, so two sweeps must not run through it together."""
    layer, x = make(kind, checkpoint=True), data(5, 30, 3)
    y, pull = rmad.vjp(lambda m: m(x), layer)
    us = [data(*y.shape) * (k + 1) for k in range(4)]
    expected = [rmad.ravel(pull(u))[0] for u in us]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda k: rmad.ravel(pull(us[k % 4]))[0], range(24)))
    finally:
        sys.setswitchinterval(interval)
    for k, gradient in enumerate(found):
        np.testing.assert_array_equal(gradient, expected[k % 4])


def test_relu_at_zero_is_that_of_the_loop():
    """Gradients and Hessian products are of one function: ties are split as np.maximum splits them."""
    layer = make("relu", 2, 3)
    layer.bias = np.zeros(3)
    x = np.zeros((2, 4, 2))
    x[1] = np.random.default_rng(0).standard_normal((4, 2))
    y, lin = rmad.linearize(lambda m: m(x), layer)
    parameters = [layer.weight, layer.recurrent_weight, layer.bias]

    def loop(W, U, b):
        h, states = np.zeros((2, 3)), []
        for t in range(4):
            h = np.maximum(x[:, t] @ W + h @ U + b, 0)
            states.append(h)
        return np.stack(states, axis=1)

    u = np.random.default_rng(1).standard_normal(y.shape)
    expected = rmad.vjp(lambda p: loop(*p), parameters)[1](u)
    for ours, theirs in zip(lin.JTu(u).parameters(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_state_that_is_a_part_of_x(checkpoint):
    """Two inputs of one node that look into one buffer."""
    layer, x = make("lstm", 3, 3, checkpoint=checkpoint), np.random.default_rng(0).standard_normal((2, 5, 3))

    def f(p):
        y = np.tanh(p[1])
        return p[0](y, (y[:, 0], y[:, 1]))

    y, lin = rmad.linearize(f, (layer, x))
    u = np.random.default_rng(1).standard_normal(y.shape)
    (_, expected), (_, found) = rmad.vjp(f, (layer, x))[1](u), lin.JTu(u)
    np.testing.assert_allclose(found, expected, atol=1e-13)
