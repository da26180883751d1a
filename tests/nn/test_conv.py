"""Convolutions against torch's layers, with second derivatives, curvature and bad input."""

import numpy as np
import pytest

import nn
import rmad

# i, o, kernel, size, options
CONVOLUTIONS = [
    (1, 1, 1, (1, 1), {}),
    (3, 4, 3, (5, 5), {}),
    (2, 3, (3, 2), (7, 4), {"padding": "same"}),
    (2, 3, 4, (6, 7), {"padding": "same", "dilation": (1, 2)}),
    (2, 3, 3, (7, 6), {"stride": 2, "padding": 1}),
    (2, 4, (2, 3), (9, 8), {"stride": (2, 3), "padding": (1, 2), "dilation": (3, 2), "groups": 2}),
    (4, 4, 3, (5, 4), {"groups": 4, "padding": 1}),
    (3, 6, 3, (5, 6), {"groups": 3, "stride": 2, "bias": False}),
    (2, 3, 1, (4, 5), {"stride": 3, "padding": 1}),
    (2, 2, 5, (5, 5), {"padding": "valid"}),
]
TRANSPOSED = [
    (1, 1, 1, (1, 1), {}),
    (3, 4, 3, (5, 5), {}),
    (3, 2, 3, (4, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    (4, 6, (2, 3), (3, 4), {"stride": (2, 3), "padding": (0, 1), "output_padding": (1, 2), "groups": 2}),
    (2, 3, 3, (4, 5), {"dilation": 2, "padding": 3}),
    (4, 4, 2, (3, 3), {"groups": 4, "stride": 2, "bias": False}),
    (2, 3, 2, (3, 2), {"stride": 3, "output_padding": (0, 2)}),
]
DTYPES = [(np.float64, 1e-10), (np.float32, 1e-5)]


def first(x):
    """(n, h, w, c) as torch's (n, c, h, w)."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def images(size, n, channels, dtype=np.float64):
    return np.random.default_rng(1).standard_normal((n, *size, channels)).astype(dtype)


def made(kind, i, o, kernel, options, dtype=np.float64):
    layer = kind(i, o, kernel, rng=np.random.default_rng(0), dtype=dtype, **options)
    if layer.bias is not None:
        layer.bias = np.random.default_rng(2).standard_normal(o).astype(dtype)
    return layer


def in_torch(weight):
    """(kh, kw, i, o) as torch's (o, i, kh, kw); of a transposed convolution (kh, kw, o, i) as its (i, o, kh, kw)."""
    return np.ascontiguousarray(np.transpose(weight, (3, 2, 0, 1)))


def compare(layer, Twin, x, i, o, kernel, options, rtol):
    """Forward and Jᵀu in x, weight and bias, by one sweep and by the plan."""
    torch = pytest.importorskip("torch")
    twin = Twin(i, o, kernel, dtype=torch.float64 if x.dtype == np.float64 else torch.float32, **options)
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(in_torch(layer.weight)))
        if layer.bias is not None:
            twin.bias.copy_(torch.tensor(layer.bias))
    X = torch.tensor(first(x), requires_grad=True)
    Y = twin(X)
    y, lin = rmad.linearize(lambda args: args[0](args[1]), (layer, x))
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, last(Y), rtol=rtol, atol=rtol * max(1, np.abs(y).max()))
    np.testing.assert_array_equal(layer(x), y)
    u = np.random.default_rng(3).standard_normal(y.shape).astype(x.dtype)
    Y.backward(torch.tensor(first(u)))
    expected = [twin.weight.grad.numpy().transpose(2, 3, 1, 0), last(X.grad)]
    if layer.bias is not None:
        expected.append(twin.bias.grad.numpy())
    for of_layer, of_x in (lin.JTu(u), rmad.vjp(lambda args: args[0](args[1]), (layer, x))[1](u)):
        found = [of_layer.weight, of_x] + ([] if layer.bias is None else [of_layer.bias])
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == x.dtype
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(1, np.abs(theirs).max()))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch copies its input then
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize(("i", "o", "kernel", "size", "options"), CONVOLUTIONS)
def test_conv_as_torch(i, o, kernel, size, options, dtype, rtol, n):
    torch = pytest.importorskip("torch")
    layer = made(nn.Conv2d, i, o, kernel, options, dtype)
    compare(layer, torch.nn.Conv2d, images(size, n, i, dtype), i, o, kernel, options, rtol)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize(("i", "o", "kernel", "size", "options"), TRANSPOSED)
def test_conv_transpose_as_torch(i, o, kernel, size, options, dtype, rtol, n):
    torch = pytest.importorskip("torch")
    layer = made(nn.ConvTranspose2d, i, o, kernel, options, dtype)
    compare(layer, torch.nn.ConvTranspose2d, images(size, n, i, dtype), i, o, kernel, options, rtol)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize(
    ("kind", "row"), [*[(nn.Conv2d, r) for r in CONVOLUTIONS[:8]], *[(nn.ConvTranspose2d, r) for r in TRANSPOSED[:5]]]
)
def test_derivatives(kind, row, n):
    i, o, kernel, size, options = row
    layer = made(kind, i, o, kernel, options)
    rmad.check_grads(lambda m, x: m(x) ** 2, layer, images(size, n, i), order=2)
    rmad.check_grads(lambda x: layer(x), images(size, n, i), order=1)
    assert layer(images(size, n, i)).shape[0] == n


@pytest.mark.parametrize(
    "layer",
    [
        lambda **kw: nn.Conv2d(2, 4, 3, padding="same", **kw),
        lambda **kw: nn.Conv2d(2, 4, (2, 3), stride=2, groups=2, dilation=(1, 2), padding=1, **kw),
        lambda **kw: nn.Conv2d(2, 4, 3, bias=False, **kw),
        lambda **kw: nn.ConvTranspose2d(2, 3, 2, stride=2, **kw),
    ],
)
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)], ids=repr)
def test_ggn_of_a_small_net(layer, pool, check_ggn):
    rng = np.random.default_rng(4)
    head = [layer(rng=rng, dtype=np.float64), nn.Tanh(), pool, nn.Flatten()]
    x = images((5, 6), 5, 2)
    features = nn.Sequential(*head)(x).shape[1]
    model = nn.Sequential(*head, nn.Linear(features, 3, rng=rng, dtype=np.float64))
    check_ggn(model, nn.SoftmaxCrossEntropy(), x, np.array([0, 2, 1, 1, 0]))


def test_two_convolutions_and_a_shared_one(check_ggn):
    """Weights that are met twice, below a stride and above it."""
    rng = np.random.default_rng(5)
    shared = nn.Conv2d(2, 2, 3, padding="same", rng=rng, dtype=np.float64)

    class Twice(nn.Module):
        def __init__(self):
            self.conv = shared
            self.out = nn.Linear(2, 2, rng=rng, dtype=np.float64)

        def forward(self, x):
            y = np.tanh(self.conv(np.tanh(self.conv(x)) + x))
            return self.out(nn.GlobalAvgPool2d()(y))

    check_ggn(Twice(), nn.SoftmaxCrossEntropy(), images((4, 3), 4, 2), np.array([0, 1, 1, 0]))


@pytest.mark.parametrize("padding", [((0, 1), (2, 0)), ((1, 0), (0, 0))])
def test_padding_on_one_side(padding):
    layer = made(nn.Conv2d, 2, 3, 3, {"padding": padding, "stride": 2})
    plain = made(nn.Conv2d, 2, 3, 3, {"stride": 2})
    x = images((6, 5), 2, 2)
    np.testing.assert_allclose(layer(x), plain(np.pad(x, ((0, 0), *padding, (0, 0)))), rtol=1e-12, atol=1e-14)


def test_transpose_is_the_transpose():
    """⟨ConvTranspose(x), z⟩ = ⟨x, conv(z)⟩ with the same weight array."""
    rng = np.random.default_rng(6)
    up = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1, bias=False, rng=rng, dtype=np.float64)
    down = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False, rng=rng, dtype=np.float64)
    down.weight = up.weight
    x, z = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((2, 8, 10, 2))
    np.testing.assert_allclose(np.vdot(up(x), z), np.vdot(x, down(z)), rtol=1e-12)


def test_fans_of_the_transpose():
    shapes = []

    def init(rng, shape, dtype):
        shapes.append(shape)
        return np.arange(np.prod(shape)).reshape(shape).astype(dtype)

    layer = nn.ConvTranspose2d(4, 6, (2, 3), groups=2, rng=np.random.default_rng(0), init=init)
    assert shapes == [(2, 3, 2, 6)]
    assert layer.weight.shape == (2, 3, 3, 4)
    made_by_init = init(None, shapes[0], float)
    for q, i, o in np.ndindex(2, 2, 3):  # group, its input and its output channel
        np.testing.assert_array_equal(layer.weight[:, :, o, 2 * q + i], made_by_init[:, :, i, 3 * q + o])


def test_parameters_and_dtypes():
    rng = np.random.default_rng(0)
    layer = nn.Conv2d(3, 8, 3, rng=rng, bias=0.5)
    assert [(name, a.shape) for name, a in layer.named_parameters()] == [("weight", (3, 3, 3, 8)), ("bias", (8,))]
    assert (layer.bias == 0.5).all()
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    assert layer(images((4, 4), 2, 3, np.float32)).dtype == np.float32
    assert layer(images((4, 4), 2, 3)).dtype == np.float64
    assert nn.Conv2d(3, 8, 3, rng=rng, groups=1, bias=False).n_parameters == 216
    assert nn.Conv2d(4, 8, 3, rng=rng, groups=4).weight.shape == (3, 3, 1, 8)
    x = images((4, 4), 2, 3)
    before = x.copy()
    layer(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ((nn.Conv2d, 3, 32, 3, {}), "Conv2d(3, 32, 3)"),
        (
            (nn.Conv2d, 4, 8, (3, 2), {"stride": 2, "padding": (1, 0), "groups": 2, "bias": False}),
            "Conv2d(4, 8, (3, 2), stride=2, padding=(1, 0), groups=2, bias=False)",
        ),
        ((nn.Conv2d, 1, 1, 3, {"padding": "same", "dilation": 2}), "Conv2d(1, 1, 3, padding=2, dilation=2)"),
        (
            (nn.ConvTranspose2d, 4, 8, 3, {"stride": (2, 1), "output_padding": (1, 0)}),
            "ConvTranspose2d(4, 8, 3, stride=(2, 1), output_padding=(1, 0))",
        ),
    ],
)
def test_repr(layer, text):
    kind, *sizes, options = layer
    assert repr(kind(*sizes, rng=np.random.default_rng(0), **options)) == text


def conv(*sizes, kind=nn.Conv2d, **options):
    return kind(*sizes, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: conv(3, 32, 3)(np.ones((5, 28, 28, 1))),
            ValueError,
            r"Conv2d\(3, 32, 3\): x has shape \(5, 28, 28, 1\), expected \(n, h, w, 3\)",
        ),
        (
            lambda: conv(3, 32, 3)(np.ones((28, 28, 3))),
            ValueError,
            r"x has shape \(28, 28, 3\), expected \(n, h, w, 3\)",
        ),
        (
            lambda: conv(3, 4, 3)(np.ones((5, 2, 8, 3))),
            ValueError,
            r"Conv2d\(3, 4, 3\): x has shape \(5, 2, 8, 3\), smaller than the kernel",
        ),
        (
            lambda: conv(3, 4, 3)(np.ones((5, 8, 8, 3), np.uint8)),
            TypeError,
            r"Conv2d\(3, 4, 3\): x must be an array of floats, not of uint8",
        ),
        (lambda: conv(0, 4, 3), ValueError, r"Conv2d\(0, 4, 3\): both numbers of channels must be positive"),
        (lambda: conv(3, 4, 0), ValueError, r"Conv2d\(3, 4, 0\): kernel must be a whole number ≥ 1"),
        (lambda: conv(3, 4, 3, stride=0), ValueError, r"Conv2d\(3, 4, 3\): stride must be"),
        (lambda: conv(3, 4, 3, dilation=(1, 2, 3)), ValueError, r"dilation must be .* not \(1, 2, 3\)"),
        (lambda: conv(3, 4, 3, padding="full"), ValueError, "padding must be numbers, 'same' or 'valid', not 'full'"),
        (lambda: conv(3, 4, 3, padding=-1), ValueError, "padding must be a whole number ≥ 0"),
        (lambda: conv(3, 4, 3, padding="same", stride=2), ValueError, "padding='same' needs stride 1, not 2"),
        (lambda: conv(3, 4, 3, groups=2), ValueError, "groups=2 must divide both numbers of channels"),
        (lambda: conv(3, 4, 3, dtype=int), TypeError, "dtype must be a float type, not int64"),
        (
            lambda: conv(3, 4, 3, init=lambda *a: np.ones(3)),
            ValueError,
            r"init made a weight of shape \(3,\), expected \(3, 3, 3, 4\)",
        ),
        (
            lambda: conv(3, 4, 3, kind=nn.ConvTranspose2d, output_padding=1),
            ValueError,
            r"ConvTranspose2d\(3, 4, 3\): output_padding=1 must be below the stride, 1",
        ),
        (
            lambda: conv(3, 4, 2, kind=nn.ConvTranspose2d, padding=2)(np.ones((1, 2, 9, 3))),
            ValueError,
            r"ConvTranspose2d\(3, 4, 2, padding=2\): x has shape .* whose result would be of \[-1, 6\] pixels",
        ),
        (
            lambda: conv(3, 4, 2, kind=nn.ConvTranspose2d)(np.ones((1, 2, 9, 4))),
            ValueError,
            r"x has shape \(1, 2, 9, 4\), expected \(n, h, w, 3\)",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
