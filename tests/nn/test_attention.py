"""Attention and the transformer block, against PyTorch's with the same weights."""

import numpy as np
import pytest

import nn
import rmad
from nn import functional as F

TOLERANCES = [(np.float64, 1e-10), (np.float32, 1e-5)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def jiggled(module, rng):
    """The module with other numbers in every array: no bias is zero, no weight one."""
    for name, array in list(module.state_dict().items()):
        if array.dtype.kind == "f":
            new = array + 0.2 * rng.standard_normal(array.shape).astype(array.dtype)
            module.load_state_dict(module.state_dict() | {name: new})
    return module


def names_of_attention(prefix, theirs):
    return {
        f"{prefix}projection.weight": f"{theirs}in_proj_weight",
        f"{prefix}projection.bias": f"{theirs}in_proj_bias",
        f"{prefix}out.weight": f"{theirs}out_proj.weight",
        f"{prefix}out.bias": f"{theirs}out_proj.bias",
    }


NAMES_OF_BLOCK = {
    **{f"{norm}.{a}": f"{norm}.{a}" for norm in ("norm1", "norm2") for a in ("weight", "bias")},
    **names_of_attention("attention.", "self_attn."),
    **{f"mlp.{k}.{a}": f"linear{j}.{a}" for k, j in ((0, 1), (2, 2)) for a in ("weight", "bias")},
}


def turned(array):
    """PyTorch's Linear holds (out, in)."""
    return array.T if array.ndim == 2 else array


def copied_to(theirs, ours, names, torch):
    places = dict(theirs.named_parameters())
    assert len(places) == len(dict(ours.named_parameters()))
    with torch.no_grad():
        for name, array in ours.named_parameters():
            places[names[name]].copy_(torch.tensor(turned(array)))
    return places


def compare(ours, inputs, call, theirs, places, names, torch, tolerance):
    """call(module, *inputs) of both: y, and Jᵀu by every parameter and every input."""
    y, lin = rmad.linearize(lambda p: call(p[0], *p[1]), (ours, inputs))
    u = np.random.default_rng(5).standard_normal(y.shape).astype(y.dtype)
    JTu, inputs_u = lin.JTu(u)
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    ty = theirs(*tensors)
    ty.backward(torch.tensor(u))
    close = {"rtol": tolerance, "atol": tolerance}
    assert y.dtype == inputs[0].dtype
    np.testing.assert_allclose(y, ty.detach().numpy(), **close)
    for k, (x_u, tensor) in enumerate(zip(inputs_u, tensors, strict=True)):
        np.testing.assert_allclose(x_u, tensor.grad.numpy(), err_msg=f"input {k}", **close)
    for name, array in JTu.named_parameters():
        assert array.dtype == y.dtype
        grad = turned(places[names[name]].grad.numpy())
        # sums over a batch: relative to the largest of the array
        scale = max(1.0, float(np.abs(grad).max()))
        np.testing.assert_allclose(array, grad, rtol=tolerance, atol=tolerance * scale, err_msg=name)


# -- the function ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize(
    ("t", "s", "options"),
    [
        (4, 6, {}),
        (1, 1, {}),
        (5, 5, {"causal": True}),
        (4, 6, {"mask": "bool"}),
        (4, 6, {"mask": "float"}),
        (5, 5, {"mask": "batch", "causal": True}),
    ],
)
def test_function_like_torch(rng, torch, t, s, options, dtype, tolerance):
    q, k, v = (rng.standard_normal((2, 3, n, 5)).astype(dtype) for n in (t, s, s))
    mask = {
        "bool": np.arange(s) != np.arange(t)[:, None],
        "float": rng.standard_normal((t, s)),
        "batch": np.tri(t, s, dtype=bool)[None, None] & (np.arange(s) < 4)[None, None, None],
    }.get(options.get("mask"))
    causal = options.get("causal", False)
    tensors = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    their_mask = None if mask is None else torch.tensor(mask if mask.dtype == bool else mask.astype(dtype))
    ty = torch.nn.functional.scaled_dot_product_attention(
        *tensors, attn_mask=their_mask, is_causal=causal and mask is None
    )
    y, lin = rmad.linearize(lambda a: F.scaled_dot_product_attention(*a, mask, causal=causal), (q, k, v))
    u = rng.standard_normal(y.shape).astype(dtype)
    ty.backward(torch.tensor(u))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=tolerance, atol=tolerance)
    for a, tensor in zip(lin.JTu(u), tensors, strict=True):
        np.testing.assert_allclose(a, tensor.grad.numpy(), rtol=tolerance, atol=tolerance)


def test_later_queries_see_all_keys_before_them(rng):
    """With more keys than queries, the queries are the last positions."""
    q, k, v = (rng.standard_normal((5, 3)) for _ in range(3))
    whole = F.scaled_dot_product_attention(q, k, v, causal=True)
    np.testing.assert_allclose(F.scaled_dot_product_attention(q[3:], k, v, causal=True), whole[3:], rtol=1e-12)


def test_a_key_out_of_sight_has_no_influence(rng):
    q, k, v = (rng.standard_normal((4, 3)) for _ in range(3))
    _, pull = rmad.vjp(lambda k: F.scaled_dot_product_attention(q, k, v, causal=True)[:2], k)
    assert not pull(np.ones((2, 3)))[2:].any()


# -- the layer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize(
    ("n", "t", "features", "heads", "options"),
    [(2, 5, 6, 3, {}), (1, 1, 4, 1, {}), (3, 7, 8, 2, {"causal": True}), (2, 3, 6, 2, {"bias": False})],
)
def test_layer_like_torch(rng, torch, n, t, features, heads, options, dtype, tolerance):
    layer = jiggled(nn.MultiHeadAttention(features, heads, rng=rng, dtype=dtype, **options), rng)
    theirs = torch.nn.MultiheadAttention(
        features, heads, batch_first=True, bias=options.get("bias", True), dtype=getattr(torch, np.dtype(dtype).name)
    )
    names = names_of_attention("", "")
    places = copied_to(theirs, layer, names, torch)
    hidden = torch.ones(t, t, dtype=torch.bool).triu(1) if layer.causal else None
    x = rng.standard_normal((n, t, features)).astype(dtype)
    call = lambda x: theirs(x, x, x, need_weights=False, attn_mask=hidden)[0]  # noqa: E731
    compare(layer, [x], lambda m, x: m(x), call, places, names, torch, tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_with_context_like_torch(rng, torch, bias):
    layer = jiggled(nn.MultiHeadAttention(6, 3, bias=bias, rng=rng, dtype=np.float64), rng)
    theirs = torch.nn.MultiheadAttention(6, 3, batch_first=True, bias=bias, dtype=torch.float64)
    names = names_of_attention("", "")
    places = copied_to(theirs, layer, names, torch)
    inputs = [rng.standard_normal((2, t, 6)) for t in (4, 5)]
    mask = rng.random((2, 4, 5)) < 0.7
    mask[..., 0] = True
    hidden = torch.tensor(~np.repeat(mask, 3, axis=0))
    call = lambda x, c: theirs(x, c, c, need_weights=False, attn_mask=hidden)[0]  # noqa: E731
    compare(layer, inputs, lambda m, x, c: m(x, c, mask), call, places, names, torch, 1e-10)


def test_context_that_is_x(rng):
    layer = jiggled(nn.MultiHeadAttention(6, 2, causal=True, rng=rng, dtype=np.float64), rng)
    x = rng.standard_normal((2, 4, 6))
    np.testing.assert_allclose(layer(x, x), layer(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("causal", [False, True])
def test_layer_derivatives(rng, causal):
    layer = jiggled(nn.MultiHeadAttention(4, 2, causal=causal, rng=rng, dtype=np.float64), rng)
    rmad.check_grads(lambda p: p[0](p[1]), (layer, rng.standard_normal((2, 3, 4))), order=2)


# -- the block -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_block_like_torch(rng, torch, norm_first, causal, dtype, tolerance):
    block = nn.TransformerBlock(6, 2, hidden=10, causal=causal, norm_first=norm_first, rng=rng, dtype=dtype)
    jiggled(block, rng)
    theirs = torch.nn.TransformerEncoderLayer(
        6,
        2,
        10,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=norm_first,
        dtype=getattr(torch, np.dtype(dtype).name),
    )
    places = copied_to(theirs, block, NAMES_OF_BLOCK, torch)
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    x = rng.standard_normal((3, 5, 6)).astype(dtype)
    compare(
        block, [x], lambda m, x: m(x), lambda x: theirs(x, src_mask=hidden), places, NAMES_OF_BLOCK, torch, tolerance
    )


def test_block_derivatives(rng):
    block = jiggled(nn.TransformerBlock(4, 2, hidden=5, causal=True, rng=rng, dtype=np.float64, eps=0.1), rng)
    rmad.check_grads(lambda p: p[0](p[1]), (block, rng.standard_normal((1, 3, 4))), order=2)


def test_block_drops_what_it_adds(rng):
    block = nn.TransformerBlock(4, 2, dropout=0.5, rng=rng)
    x = rng.standard_normal((3, 5, 4)).astype(np.float32)
    block.begin_step()
    first = block(x)
    np.testing.assert_array_equal(block(x), first)
    block.begin_step()
    assert (block(x) != first).any()
    plain = nn.TransformerBlock(4, 2, rng=rng)
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if "dropout" not in k})
    np.testing.assert_array_equal(block.eval()(x), plain(x))


def test_ggn_of_a_net(rng, check_ggn):
    block = nn.TransformerBlock(4, 2, hidden=5, causal=True, rng=rng, dtype=np.float64)
    model = nn.Sequential(
        nn.Embedding(3, 4, rng=rng, dtype=float), jiggled(block, rng), nn.Linear(4, 3, rng=rng, dtype=float)
    )
    x, t = rng.integers(0, 3, (5, 4)), rng.integers(0, 3, (5, 4))
    check_ggn(model, nn.SoftmaxCrossEntropy(), x, t)


def test_the_future_has_no_influence(rng):
    block = nn.TransformerBlock(4, 2, causal=True, rng=rng)
    x = rng.standard_normal((1, 6, 4)).astype(np.float32)
    y, pull = rmad.vjp(lambda x: block(x)[:, :3], x)
    assert not pull(np.ones_like(y))[:, 3:].any()
    np.testing.assert_allclose(block(x[:, :3]), y, atol=1e-6)


# -- Residual --------------------------------------------------------------------------------------------------


def test_residual(rng):
    linear, other = (nn.Linear(3, o, rng=rng, dtype=np.float64) for o in (3, 2))
    x = rng.standard_normal((4, 3))
    np.testing.assert_array_equal(nn.Residual(linear, np.tanh)(x), np.tanh(linear(x)) + x)
    assert list(nn.Residual(linear).state_dict()) == ["body.weight", "body.bias"]
    both = nn.Residual(nn.Linear(3, 2, rng=rng, dtype=np.float64), nn.Tanh(), shortcut=other)
    np.testing.assert_array_equal(both(x), both.body(x) + other(x))
    rmad.check_grads(lambda p: p[0](p[1]), (both, x), order=2)


MESSAGES = [
    (lambda r: nn.MultiHeadAttention(6, 4, rng=r), r"MultiHeadAttention\(6, 4\): heads must divide the number of"),
    (lambda r: layer(r)(np.ones((2, 3, 5))), r"MultiHeadAttention\(4, 2\): x has shape \(2, 3, 5\), exp"),
    (lambda r: layer(r)(np.ones((3, 4))), r"MultiHeadAttention\(4, 2\): x has shape \(3, 4\), expected \(n, t, 4\)"),
    (lambda r: layer(r)(np.ones((2, 0, 4))), r"x has shape \(2, 0, 4\), expected"),
    (lambda r: layer(r)(np.ones((2, 3, 4)), np.ones((2, 3, 5))), r"context has shape \(2, 3, 5\), exp"),
    (lambda r: layer(r)(np.ones((2, 3, 4)), np.ones((1, 3, 4))), r"x has 2 cases, but context has shape \(1, 3, 4\)"),
    (lambda r: layer(r)(np.ones((2, 3, 4)), mask=np.ones((3, 2), bool)), r"mask has shape \(3, 2\), exp"),
    (lambda r: layer(r)(np.ones((2, 3, 4)), mask=np.tri(3, k=-1) > 0), "mask of shape .3, 3. some query sees no key"),
    (
        lambda r: F.scaled_dot_product_attention(np.ones((3, 4)), np.ones((3, 5)), np.ones((3, 5))),
        r"query, key and value have shapes \(3, 4\), \(3, 5\) and \(3, 5\)",
    ),
    (lambda r: nn.Residual(nn.Linear(3, 2, rng=r))(np.ones((1, 3))), r"f\(x\) has shape \(1, 2\), but x has"),
    (lambda r: nn.Residual(), "Residual: give at least one layer"),
]


def layer(rng):
    return nn.MultiHeadAttention(4, 2, rng=rng)


@pytest.mark.parametrize(("call", "message"), MESSAGES)
def test_errors(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng)


def test_repr(rng):
    assert repr(layer(rng)).splitlines()[0] == "MultiHeadAttention(4, 2"
    block = nn.TransformerBlock(4, 2, dropout=0.1, causal=True, rng=rng)
    assert "attention: MultiHeadAttention(4, 2, causal=True" in repr(block)
    assert "dropout1: Dropout(0.1)" in repr(block)


@pytest.mark.parametrize("causal", [False, True])
def test_numbers_that_hide_every_key_are_refused(rng, causal):
    mask = np.zeros((3, 3))
    mask[0, : 1 if causal else 3] = -np.inf
    q = rng.standard_normal((2, 3, 4))
    with pytest.raises(ValueError, match=r"under the mask of shape \(3, 3\) some query sees no key"):
        nn.functional.scaled_dot_product_attention(q, q, q, mask, causal=causal)
