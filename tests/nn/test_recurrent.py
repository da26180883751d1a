"""RNN, LSTM and GRU: against PyTorch, in every sweep, and with checkpoints in time."""

import gc
import tracemalloc

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
