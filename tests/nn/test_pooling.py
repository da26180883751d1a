"""Pooling layers against torch's, with second derivatives, curvature, ties, NaN and bad input."""

import functools

import numpy as np
import pytest

import nn
import rmad

# size, kernel, stride, padding, dilation
SETTINGS = [
    ((4, 6), 2, None, 0, 1),
    ((7, 5), 2, None, 0, 1),
    ((7, 6), 3, 2, 1, 1),
    ((9, 8), (3, 2), (1, 2), (1, 0), (2, 1)),
    ((5, 5), 3, 4, 1, 1),
    ((6, 5), (1, 2), 1, (0, 1), 1),
    ((3, 3), 3, 1, 0, 1),
    ((1, 1), 1, None, 0, 1),
]
DTYPES = [(np.float64, 1e-12), (np.float32, 1e-5)]


def first(x):
    """(n, h, w, c) as torch's (n, c, h, w)."""
    return np.moveaxis(x, -1, 1)


def last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def images(size, n, dtype=np.float64, channels=3):
    return np.random.default_rng(0).standard_normal((n, *size, channels)).astype(dtype)


def compare(layer, twin, x, rtol):
    """Forward and Jᵀu, by the plan and by one sweep."""
    torch = pytest.importorskip("torch")
    X = torch.tensor(first(x), requires_grad=True)
    Y = twin(X)
    y, lin = rmad.linearize(lambda x: layer(x), x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, last(Y), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(layer(x), y, rtol=0)
    u = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    Y.backward(torch.tensor(first(u)))
    for JTu in (lin.JTu(u), rmad.vjp(lambda x: layer(x), x)[1](u)):
        assert JTu.dtype == x.dtype
        np.testing.assert_allclose(JTu, last(X.grad), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), SETTINGS)
def test_max_pool_as_torch(size, kernel, stride, padding, dilation, n, dtype, rtol):
    torch = pytest.importorskip("torch")
    layer = nn.MaxPool2d(kernel, stride, padding, dilation)
    twin = torch.nn.MaxPool2d(kernel, stride, padding, dilation)
    compare(layer, twin, images(size, n, dtype), rtol)
    compare(layer, twin, np.round(images(size, n, dtype)), rtol)  # with ties: the first maximum, as torch has it


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), SETTINGS)
def test_avg_pool_as_torch(size, kernel, stride, padding, dilation, count_include_pad, dtype, rtol):
    torch = pytest.importorskip("torch")
    twin = torch.nn.AvgPool2d(kernel, stride, padding, count_include_pad=count_include_pad)
    layer = nn.AvgPool2d(kernel, stride, padding, count_include_pad=count_include_pad)
    compare(layer, twin, images(size, 2, dtype), rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_global_pooling_as_torch(dtype, rtol):
    torch = pytest.importorskip("torch")
    x = images((5, 4), 3, dtype)
    compare(nn.GlobalAvgPool2d(), lambda X: X.mean((2, 3)), x, rtol)
    compare(nn.GlobalMaxPool2d(), lambda X: torch.amax(X, (2, 3)), x, rtol)
    compare(nn.GlobalMaxPool2d(), lambda X: torch.amax(X, (2, 3)), np.round(x), rtol)  # ties share evenly in both


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", [nn.MaxPool2d(3, 2, ((0, 1), (0, 1))), nn.AvgPool2d(3, 2, ((0, 1), (0, 1)))])
def test_padding_at_the_bottom_and_right_only(layer, dtype):
    x = images((6, 6), 2, dtype)
    fill = -np.inf if isinstance(layer, nn.MaxPool2d) else 0
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=fill)
    plain = type(layer)(3, 2)
    np.testing.assert_allclose(layer(x), plain(padded), rtol=1e-6)
    u = np.ones((2, 3, 3, 3), dtype)
    JTu = rmad.vjp(lambda x: plain(x), padded)[1](u)[:, :6, :6]
    np.testing.assert_allclose(rmad.vjp(lambda x: layer(x), x)[1](u), JTu, rtol=1e-6)


LAYERS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(2, 1, 1, 2),
    nn.AvgPool2d(2),
    nn.AvgPool2d((3, 2), (2, 1), 1, count_include_pad=False),
    nn.GlobalAvgPool2d(),
    nn.GlobalMaxPool2d(),
    nn.Flatten(),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_derivatives(layer, n):
    rmad.check_grads(lambda x: layer(x) ** 3, images((5, 4), n, channels=2), order=2)
    assert layer(images((5, 4), n)).shape[0] == n


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_ggn_of_a_small_net(layer, check_ggn):
    rng = np.random.default_rng(2)
    x = images((5, 4), 4, channels=2)
    features = nn.Flatten()(layer(np.tanh(x)))[0].size
    model = nn.Sequential(
        nn.Linear(2, 2, rng=rng, dtype=np.float64),
        nn.Tanh(),
        layer,
        nn.Flatten(),
        nn.Linear(features, 3, rng=rng, dtype=np.float64),
    )
    check_ggn(model, nn.SoftmaxCrossEntropy(), x, np.array([0, 2, 1, 1]))


@pytest.mark.parametrize("layer", LAYERS[:3], ids=repr)
def test_nan_and_infinity(layer):
    torch = pytest.importorskip("torch")
    x = images((5, 4), 3)
    x[0, 2, 1, 0] = np.nan
    x[1] = -np.inf
    x[2, 1, 1] = np.inf
    twin = torch.nn.MaxPool2d(layer.kernel, layer.stride, [p for p, _ in layer.padding], layer.dilation)
    X = torch.tensor(first(x), requires_grad=True)
    Y = twin(X)
    y, lin = rmad.linearize(lambda x: layer(x), x)
    np.testing.assert_array_equal(y, last(Y))
    u = np.ones_like(y)
    Y.backward(torch.tensor(first(u)))
    np.testing.assert_array_equal(lin.JTu(u), last(X.grad))


def test_a_window_of_many_taps():
    """More than 255 taps: the code of the maximum no longer fits into a byte."""
    x = images((20, 18), 2)
    y, lin = rmad.linearize(lambda x: nn.MaxPool2d((18, 17), 1)(x), x)
    u = np.random.default_rng(1).standard_normal(y.shape)
    expected = np.zeros_like(x)
    for n, p, q, c in np.ndindex(y.shape):
        window = x[n, p : p + 18, q : q + 17, c]
        assert y[n, p, q, c] == window.max()
        a, b = np.unravel_index(window.argmax(), window.shape)
        expected[n, p + a, q + b, c] += u[n, p, q, c]
    np.testing.assert_allclose(lin.JTu(u), expected)


def test_what_the_tape_keeps_of_a_maximum():
    """One byte per output."""
    _, lin = rmad.linearize(lambda x: nn.MaxPool2d(2)(x), images((8, 8), 5, np.float32))
    (node,) = (node for node in lin._record.tape.nodes if node.inputs)
    (block,) = node.blocks
    assert block.args[1].code.nbytes == 5 * 4 * 4 * 3
    assert not any(isinstance(a, np.ndarray) for a in block.args)


LAYOUTS = [np.asfortranarray, lambda x: x[:, ::-1, :, ::-1], lambda x: np.moveaxis(x, 1, 2)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_layouts_of_memory(layer, layout):
    x = layout(images((6, 6), 2))
    y, lin = rmad.linearize(lambda x: layer(x), x)
    expected, plain = rmad.linearize(lambda x: layer(x), np.ascontiguousarray(x))
    u = np.asfortranarray(expected)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)  # means sum in the order of memory
    close(y, expected)
    close(lin.JTu(u), plain.JTu(expected))
    close(rmad.vjp(lambda x: layer(x), x)[1](u), plain.JTu(expected))
    close(lin.Jv(x), plain.Jv(np.ascontiguousarray(x)))


def test_flatten():
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(2)(x).shape == (2, 3, 20)
    assert nn.Flatten(-2)(x).shape == (2, 3, 20)
    assert nn.Flatten(0)(x).shape == (120,)
    assert nn.Flatten()(x[:0]).shape == (0, 60)
    with pytest.raises(ValueError, match=r"Flatten\(4\): x has shape \(2, 3, 4, 5\), which has no axis 4"):
        nn.Flatten(4)(x)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.MaxPool2d(2), "MaxPool2d(2)"),
        (nn.MaxPool2d((3, 2), 2, 1, 2), "MaxPool2d((3, 2), stride=2, padding=1, dilation=2)"),
        (nn.MaxPool2d(3, 2, ((0, 1), (0, 1))), "MaxPool2d(3, stride=2, padding=((0, 1), (0, 1)))"),
        (nn.AvgPool2d(2, count_include_pad=False), "AvgPool2d(2, count_include_pad=False)"),
        (nn.GlobalAvgPool2d(), "GlobalAvgPool2d()"),
        (nn.Flatten(2), "Flatten(2)"),
    ],
)
def test_repr(layer, text):
    assert repr(layer) == text


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: kernel must be a whole number ≥ 1 or a pair of them, not 0"),
        (lambda: nn.MaxPool2d(2.5), ValueError, "MaxPool2d: kernel must be a whole number"),
        (lambda: nn.AvgPool2d(2, (1, 0)), ValueError, r"AvgPool2d\(2\): stride must be .* not \(1, 0\)"),
        (lambda: nn.MaxPool2d(2, 2, -1), ValueError, r"MaxPool2d\(2\): padding must be a whole number ≥ 0"),
        (lambda: nn.MaxPool2d(2, 2, (1, 2, 3)), ValueError, r"padding must be .* not \(1, 2, 3\)"),
        (
            lambda: nn.MaxPool2d(2)(images((4, 1), 3)),
            ValueError,
            r"MaxPool2d\(2\): x has shape \(3, 4, 1, 3\), but a window of 2 × 2 does not fit into 4 × 1 pixels",
        ),
        (
            lambda: nn.AvgPool2d(2, padding=2)(images((4, 4), 3)),
            ValueError,
            r"AvgPool2d\(2, padding=2\): x has shape .*too wide for a window of \(2, 2\): some would see padding only",
        ),
        (
            lambda: nn.MaxPool2d(2)(np.ones((3, 4, 4))),
            ValueError,
            r"MaxPool2d\(2\): x has shape \(3, 4, 4\), expected \(n, h, w, c\)",
        ),
        (lambda: nn.MaxPool2d(2)(np.ones((3, 4, 4, 0))), ValueError, r"x has shape \(3, 4, 4, 0\)"),
        (
            lambda: nn.MaxPool2d(2)(np.ones((3, 4, 4, 1), int)),
            TypeError,
            r"MaxPool2d\(2\): x must be an array of floats, not of int64",
        ),
        (lambda: nn.MaxPool2d(2)(np.ones((3, 4, 4, 1), complex)), TypeError, "must be real floats, not complex128"),
        (lambda: nn.GlobalAvgPool2d()(np.ones((3, 4))), ValueError, r"GlobalAvgPool2d\(\): x has shape \(3, 4\)"),
        (
            lambda: nn.functional.max_pool2d(np.ones((3, 4)), 2),
            ValueError,
            r"max_pool2d: x has shape \(3, 4\), expected",
        ),
        (lambda: nn.functional.avg_pool2d(images((4, 4), 1), 5), ValueError, "avg_pool2d: .* does not fit"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
