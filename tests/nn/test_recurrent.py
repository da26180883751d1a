"""RNN, LSTM and GRU: against PyTorch, and in every sweep."""

import numpy as np
import pytest
from recurrent_layers import data, every_kind, make, state_of

import nn
import optim
import rmad

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
