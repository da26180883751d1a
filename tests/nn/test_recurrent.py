"""RNN, LSTM and GRU: against PyTorch, in every sweep, and with checkpoints in time."""

import gc
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nn
import optim
import rmad

KINDS = {
    "rnn": (nn.RNN, {}),
    "relu": (nn.RNN, {"activation": "relu"}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, i=3, h=4, dtype=np.float64, **options):
    """A layer with biases that are not zero."""
    layer, more = KINDS[kind]
    rng = np.random.default_rng(0)
    made = layer(i, h, rng=rng, dtype=dtype, **more, **options)
    for name in ("bias", "recurrent_bias"):
        if getattr(made, name, None) is not None:
            setattr(made, name, rng.normal(0, 0.3, getattr(made, name).shape).astype(dtype))
    return made


def data(*shape, dtype=np.float64):
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def state_of(kind, n, h, dtype=np.float64):
    states = data(2, n, h, dtype=dtype) / 2
    return (states[0], states[1]) if kind == "lstm" else states[0]


# -- against PyTorch --------------------------------------------------------------------------------------------


def torch_twin(kind, layer):
    torch = pytest.importorskip("torch")
    kinds = {"rnn": torch.nn.RNN, "relu": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    options = {"nonlinearity": "relu"} if kind == "relu" else {}
    dtype = torch.float64 if layer.weight.dtype == np.float64 else torch.float32
    i, h, bias = layer.in_features, layer.hidden_size, layer.bias is not None
    twin = kinds[kind](i, h, batch_first=True, bias=bias, dtype=dtype, **options)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(torch.from_numpy(layer.weight.T.copy()))
        twin.weight_hh_l0.copy_(torch.from_numpy(layer.recurrent_weight.T.copy()))
        if bias:
            twin.bias_ih_l0.copy_(torch.from_numpy(layer.bias))
            twin.bias_hh_l0.zero_()
        if bias and kind == "gru":
            twin.bias_hh_l0[2 * h :] = torch.from_numpy(layer.recurrent_bias)
    return torch, twin


@every_kind
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("with_state", [False, True])
def test_torch_computes_the_same(kind, bias, dtype, with_state):
    layer = make(kind, dtype=dtype, bias=bias)
    torch, twin = torch_twin(kind, layer)
    x, u = data(5, 6, 3, dtype=dtype), data(5, 6, 4, dtype=dtype)
    state = state_of(kind, 5, 4, dtype) if with_state else None
    inputs = (layer, x) if state is None else (layer, x, state)
    y, lin = rmad.linearize(lambda tree: tree[0](*tree[1:]), inputs)
    JTu = lin.JTu(u)

    tx = torch.from_numpy(x).requires_grad_()
    start = None
    if state is not None:
        leaves = [torch.from_numpy(a)[None].requires_grad_() for a in (state if kind == "lstm" else (state,))]
        start = tuple(leaves) if kind == "lstm" else leaves[0]
    ty, _ = twin(tx, start)
    ty.backward(torch.from_numpy(u))
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-4, "atol": 2e-5}
    assert y.dtype == JTu[0].weight.dtype == JTu[1].dtype == dtype
    np.testing.assert_allclose(y, ty.detach().numpy(), **close)
    np.testing.assert_allclose(JTu[0].weight, twin.weight_ih_l0.grad.numpy().T, **close)
    np.testing.assert_allclose(JTu[0].recurrent_weight, twin.weight_hh_l0.grad.numpy().T, **close)
    np.testing.assert_allclose(JTu[1], tx.grad.numpy(), **close)
    if bias:
        np.testing.assert_allclose(JTu[0].bias, twin.bias_ih_l0.grad.numpy(), **close)
    if bias and kind == "gru":
        np.testing.assert_allclose(JTu[0].recurrent_bias, twin.bias_hh_l0.grad.numpy()[8:], **close)
    if state is not None:
        for given, leaf in zip(JTu[2] if kind == "lstm" else (JTu[2],), leaves, strict=True):
            np.testing.assert_allclose(given, leaf.grad.numpy()[0], **close)


# -- every sweep --------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(("n", "t", "last"), [(2, 3, False), (1, 1, False), (3, 2, True), (1, 4, True)])
def test_derivatives(kind, n, t, last):
    layer = make(kind, 2, 3, last=last)
    rmad.check_grads(lambda tree: tree[0](tree[1], tree[2]), (layer, data(n, t, 2), state_of(kind, n, 3)), order=2)
    rmad.check_grads(lambda m: m(data(n, t, 2)), layer, order=2)


def dense_ggn(model, loss, x, t):
    z, lin = rmad.linearize(lambda m: m(x), model)
    flat, unravel = rmad.ravel(model)
    J = np.stack([lin.Jv(unravel(e)).ravel() for e in np.eye(flat.size)], axis=1)
    L = np.stack([loss.hessian_product(z, t, e.reshape(z.shape)).ravel() for e in np.eye(z.size)], axis=1)
    return J.T @ L @ J


@every_kind
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_ggn_of_a_net(kind, checkpoint, last):
    rng = np.random.default_rng(1)
    first = make(kind, 2, 3, checkpoint=checkpoint)
    second = make(kind, 3, 2, last=last, checkpoint=checkpoint)
    model = nn.Sequential(first, second, nn.Linear(2, 2, rng=rng, dtype=np.float64))
    x, t, loss = data(3, 5, 2), data(3, 5, 2), nn.SquaredError()
    t = t[:, -1] if last else t
    G = dense_ggn(model, loss, x, t)
    v = rng.standard_normal(len(G))
    np.testing.assert_allclose(rmad.GGNOperator(lambda m: m(x), loss.bind(t), model) @ v, G @ v, rtol=1e-9, atol=1e-11)
    for shards in (1, 2):
        quadratic = optim.Objective(model, loss, shards=shards, threads=shards).quadratic(x, t)
        np.testing.assert_allclose(quadratic.ggn @ v, G @ v, rtol=1e-9, atol=1e-11)


# -- checkpoints in time ------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("t", [1, 2, 7, 16])
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
    """What a sweep computes in its buffers is the derivative of the loop, for every input and under outer tapes."""
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


# -- the net of Martens & Sutskever, and what does not fit --------------------------------------------------------


def test_martens_sutskever():
    model = nn.models.rnn(2, 3, rng=np.random.default_rng(0))
    layer, readout = model
    assert model.n_parameters == 2 * 100 + 100 * 100 + 100 + 100 * 3 + 3
    assert (np.count_nonzero(layer.recurrent_weight, axis=0) == 15).all()
    assert (np.count_nonzero(readout.weight, axis=0) == 15).all()
    assert np.std(layer.recurrent_weight[layer.recurrent_weight != 0]) == pytest.approx(15**-0.5, rel=0.05)
    assert np.std(layer.weight) == pytest.approx(0.25 * 15**-0.5, rel=0.15)
    x = data(4, 9, 2, dtype=np.float32)
    assert model(x).shape == (4, 3)
    every = nn.models.rnn(2, 3, rng=np.random.default_rng(0), every_step=True, checkpoint=True)
    assert every(x).shape == (4, 9, 3)
    np.testing.assert_allclose(every(x)[:, -1], model(x), rtol=1e-5, atol=1e-6)


@every_kind
def test_float32_and_no_cases(kind):
    layer = make(kind, dtype=np.float32)
    x = data(5, 6, 3, dtype=np.float32)
    y, lin = rmad.linearize(lambda m: m(x), layer)
    assert y.dtype == lin.Jv(layer).dtype == lin.JTu(y).weight.dtype == np.float32
    y, lin = rmad.linearize(lambda m: m(x[:0]), layer)
    assert y.shape == lin.Jv(layer).shape == (0, 6, 4)
    assert not lin.JTu(y).weight.any()
    assert layer(x.astype(np.float64)).dtype == np.float64
    y, lin = rmad.linearize(lambda m: m(x.astype(np.float64)), layer)  # mixed dtypes: the loop
    assert y.dtype == np.float64
    assert lin.JTu(y).weight.dtype == np.float32


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


def test_initial_weights_are_drawn_by_gate():
    layer = nn.LSTM(3, 5, rng=np.random.default_rng(0), dtype=np.float64)
    for gate in np.split(layer.recurrent_weight, 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make("rnn")(data(5, 6, 2)), ValueError, r"RNN\(3, 4\): x has shape \(5, 6, 2\), expected \(n, t, 3\)"),
        (lambda: make("lstm", last=True)(data(5, 3)), ValueError, r"LSTM\(3, 4, last=True\): x has shape \(5, 3\)"),
        (lambda: make("gru")(data(5, 0, 3)), ValueError, r"GRU\(3, 4\): x has shape \(5, 0, 3\), at least one step"),
        (
            lambda: make("rnn")(np.ones((5, 6, 3), int)),
            TypeError,
            r"RNN\(3, 4\): x must be an array of floats, not of int64",
        ),
        (lambda: make("rnn")(data(5, 6, 3), data(4, 4)), ValueError, r"state has shape \(4, 4\), .* shape \(5, 4\)"),
        (lambda: make("lstm")(data(5, 6, 3), (data(5, 4),)), ValueError, r"expected a pair \(h, c\) of arrays"),
        (lambda: nn.RNN(0, 4, rng=np.random.default_rng(0)), ValueError, r"RNN\(0, 4\): .* must be positive"),
        (lambda: nn.GRU(3, 4, rng=np.random.default_rng(0), dtype=int), TypeError, "dtype must be a float type"),
        (lambda: nn.RNN(3, 4, activation="elu", rng=np.random.default_rng(0)), ValueError, "or 'relu', not 'elu'"),
        (
            lambda: nn.RNN(3, 4, rng=np.random.default_rng(0), init=lambda rng, shape, dtype: np.zeros((4, 3), dtype)),
            ValueError,
            r"init made a weight of shape \(4, 3\), expected \(3, 4\)",
        ),
    ],
)
def test_what_does_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_repr():
    rng = np.random.default_rng(0)
    assert repr(nn.LSTM(3, 4, rng=rng, bias=False, checkpoint=True)) == "LSTM(3, 4, bias=False, checkpoint=True)"
    assert repr(nn.RNN(3, 4, rng=rng, activation="relu")) == "RNN(3, 4, activation='relu')"


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
