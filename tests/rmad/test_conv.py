"""Convolution against a loop over all indices and against torch; plans against sweeps; what a bad call says."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import rmad
from rmad import tuning
from rmad.kernels import loader
from rmad.plan.plan import Plan
from rmad.primitives.layers import conv
from rmad.primitives.layers.conv import conv2d, conv2d_input, conv2d_weight
from rmad.record import Record
from rmad.tapes.tape import pull, push

RNG = np.random.default_rng(0)
SETTINGS = [
    {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for stride, padding, dilation, groups in product(
        ((1, 1), (2, 2), (2, 3)), (((0, 0), (0, 0)), ((1, 1), (1, 1)), ((1, 2), (0, 3))), ((1, 1), (2, 1)), (1, 2)
    )
]
X, W = (3, 7, 8, 4), (3, 2, 4, 6)  # an even and an odd size, an even and an odd kernel


def arrays(groups=1, x=X, w=W, dtype=np.float64):
    w = (*w[:2], w[2] // groups, w[3])
    return RNG.standard_normal(x).astype(dtype), RNG.standard_normal(w).astype(dtype)


def by_loop(x, w, stride, padding, dilation, groups):
    """The sum as the docstring has it."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    kh, kw, i, o = w.shape
    height, width = (
        (n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[1:3], dilation, (kh, kw), stride, strict=True)
    )
    y = np.zeros((len(x), height, width, o))
    for p, q, k, m in product(range(height), range(width), range(kh), range(kw)):
        pixel = x[:, p * stride[0] + k * dilation[0], q * stride[1] + m * dilation[1]]
        for c in range(o):
            first = c // (o // groups) * i
            y[:, p, q, c] += pixel[:, first : first + i] @ w[k, m, :, c]
    return y


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_three_sides_of_one_form(settings):
    x, w = arrays(settings["groups"])
    y = conv2d(x, w, **settings)
    np.testing.assert_allclose(y, by_loop(x, w, **settings), rtol=1e-12, atol=1e-12)
    u = RNG.standard_normal(y.shape)
    form = np.vdot(u, y)
    xbar, wbar = conv2d_input(u, w, x.shape, **settings), conv2d_weight(u, x, w.shape, **settings)
    assert xbar.shape == x.shape
    assert wbar.shape == w.shape
    np.testing.assert_allclose([np.vdot(xbar, x), np.vdot(wbar, w)], form, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("chunk", [1, 3000, 20_000])
@pytest.mark.parametrize("settings", SETTINGS[::5], ids=str)
def test_chunks_change_nothing(settings, chunk, monkeypatch):
    """One line at a time, some lines of an image, some images."""
    x, w = arrays(settings["groups"])
    y = conv2d(x, w, **settings)
    u = RNG.standard_normal(y.shape)

    def sides():
        return conv2d(x, w, **settings), conv2d_input(u, w, X, **settings), conv2d_weight(u, x, w.shape, **settings)

    whole = sides()
    monkeypatch.setattr(tuning, "CONVOLUTION_CHUNK", chunk)
    for a, b in zip(sides(), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_torch(settings, dtype, tolerance):
    torch = pytest.importorskip("torch")
    (top, bottom), (left, right) = settings["padding"]
    more = {k: v for k, v in settings.items() if k != "padding"}
    x, w = arrays(settings["groups"], dtype=dtype)
    images = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    weights = torch.tensor(w.transpose(3, 2, 0, 1), requires_grad=True)
    padded = torch.nn.functional.pad(images, (left, right, top, bottom))
    theirs = torch.nn.functional.conv2d(padded, weights, **more)
    y, lin = rmad.linearize(lambda p: conv2d(p[0], p[1], **settings), (x, w))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=tolerance, atol=tolerance)
    u = RNG.standard_normal(y.shape).astype(dtype)
    theirs.backward(torch.tensor(u.transpose(0, 3, 1, 2)))
    xbar, wbar = lin.JTu(u)
    assert xbar.dtype == wbar.dtype == dtype
    np.testing.assert_allclose(xbar, images.grad.numpy().transpose(0, 2, 3, 1), rtol=tolerance, atol=10 * tolerance)
    np.testing.assert_allclose(wbar, weights.grad.numpy().transpose(2, 3, 1, 0), rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(("stride", "padding", "output_padding", "groups"), [(1, 0, 0, 1), (2, 1, 1, 2), (3, 2, 0, 1)])
def test_transposed_convolution_of_torch(stride, padding, output_padding, groups):
    torch = pytest.importorskip("torch")
    u, w = RNG.standard_normal((2, 4, 5, 6)), RNG.standard_normal((3, 3, 4 // groups, 6))
    theirs = torch.nn.functional.conv_transpose2d(
        torch.tensor(u.transpose(0, 3, 1, 2)),
        torch.tensor(w.transpose(3, 2, 0, 1)),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
    ).numpy()
    x = conv2d_input(u, w, (2, *theirs.shape[2:], 4), stride=stride, padding=padding, groups=groups)
    np.testing.assert_allclose(x, theirs.transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)


# -- plans ---------------------------------------------------------------------------------------------------


def check_plan(f, *args):
    """A planned sweep, twice, equals the plain one; returns the plan."""
    record = Record(lambda p: f(*p), args, ())
    tangents = [RNG.standard_normal(a.shape).astype(a.dtype) for a in args]
    Jv = push(record.tape, tangents, record.outputs)
    u = [RNG.standard_normal(y.shape).astype(y.dtype) for y in Jv]
    JTu = pull(record.tape, u, record.outputs, record.n_inputs)
    plan = Plan(record.tape, record.outputs, record.n_inputs)
    for _ in range(2):
        for ours, plain in zip([*plan.Jv(tangents), *plan.JTu(u)], [*Jv, *JTu], strict=True):
            assert ours.dtype == plain.dtype
            np.testing.assert_allclose(ours, plain, rtol=1e-11, atol=1e-11)
    return plan


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_plans_equal_sweeps(settings):
    x, w = arrays(settings["groups"])
    u = conv2d(x, w, **settings)
    b = RNG.standard_normal(w.shape[-1])
    plan = check_plan(lambda w, b, x: np.tanh(conv2d(x, w, **settings) + b), w, b, x)
    assert sum(bool(node.inputs) for node in plan.nodes) == 2  # a sum of products, a diagonal
    check_plan(lambda w, b: np.tanh(conv2d(x, w, **settings) + b), w, b)
    check_plan(lambda u, w: 2 * conv2d_input(u, w, X, **settings), u, w)
    check_plan(lambda u, x: 2 * conv2d_weight(u, x, w.shape, **settings), u, x)
    check_plan(lambda x, w: conv2d(x, w, **settings) + 2 * conv2d(x * x, w, **settings), x, w)


def test_plan_of_a_cached_hessian():
    x, w = arrays()
    check_plan(rmad.grad(lambda w: np.sum(np.tanh(conv2d(x, w, 2, 1)) ** 2)), w)


def test_plan_of_views_and_mixed_dtypes():
    x, w = arrays()
    check_plan(lambda x, w: conv2d(np.transpose(x, (0, 2, 1, 3)), w)[:, ::2], x, w)
    check_plan(lambda x, w: conv2d(x.astype(np.float64), w), x.astype(np.float32), w)
    check_plan(lambda x, w: np.concatenate([conv2d(x, w), conv2d(x, w + 1)], -1), x, w)


# -- fewer multiplications, where numba is ------------------------------------------------------------------------


@pytest.fixture(params=[1, 9000, 1 << 21])
def winograd(request, monkeypatch):
    """Every convolution that fits goes by tiles, in chunks of so many bytes."""
    pytest.importorskip("numba")
    from rmad.kernels import winograd

    monkeypatch.setattr(tuning, "WINOGRAD_FROM", 0)
    monkeypatch.setattr(tuning, "CONVOLUTION_CHUNK", request.param)
    return winograd


TILED = [((7, 8), 0), ((6, 5), 1), ((3, 3), 0), ((2, 1), 1), ((4, 6), ((2, 0), (1, 3))), ((5, 5), 4)]


@pytest.mark.parametrize(("size", "padding"), TILED, ids=str)
def test_tiles_equal_patches(size, padding, winograd, monkeypatch):
    x, w = arrays(x=(2, *size, 16), w=(3, 3, 16, 20))
    u = conv2d(x, w, padding=padding)
    v = RNG.standard_normal(x.shape), RNG.standard_normal(w.shape)

    def everything():
        y, lin = rmad.linearize(lambda p: conv2d(p[0], p[1], padding=padding), (x, w))
        return y, lin.Jv(v), *lin.JTu(u), conv2d_input(u, w, x.shape, padding=padding)

    assert winograd.fits(geometry(x, w, padding), 2, x.dtype)
    tiles = everything()
    monkeypatch.setattr(loader, "loops", lambda module: None)
    assert not winograd.fits(geometry(x, w, padding), 2, x.dtype)
    for a, b in zip(tiles, everything(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)


def geometry(x, w, padding):
    return conv._geometry("conv2d", x.shape, w.shape, 1, padding, 1, 1)


def test_plans_of_tiles(winograd):
    x, w = arrays(x=(2, 5, 6, 16), w=(3, 3, 16, 16))
    b = RNG.standard_normal(16)
    check_plan(lambda w, b, x: np.tanh(conv2d(x, w, padding=1) + b), w, b, x)
    check_plan(lambda x, w: conv2d(x, w) + 2 * conv2d(x * x, w), x, w)
    check_plan(lambda u, w: 2 * conv2d_input(u, w, (2, 7, 8, 16)), x, w)
    check_plan(lambda x, w: conv2d(np.transpose(x, (0, 2, 1, 3)), w)[:, ::2], x, w)
    rmad.check_grads(lambda x, w: conv2d(x, w, padding=1), x, w, order=2)


def test_tiles_in_single_precision(winograd, monkeypatch):
    """The errors are of the size of those of the direct sum."""
    x, w = arrays(x=(2, 12, 12, 64), w=(3, 3, 64, 32))
    exact = conv2d(x, w)
    x, w = x.astype(np.float32), w.astype(np.float32)
    tiles = conv2d(x, w)
    assert tiles.dtype == np.float32
    monkeypatch.setattr(loader, "loops", lambda module: None)
    direct = np.abs(conv2d(x, w) - exact).max()
    assert np.abs(tiles - exact).max() <= 4 * direct


def test_tiles_of_no_images_and_of_integers(winograd):
    w = arrays(w=(3, 3, 16, 16), dtype=np.float32)[1]
    assert conv2d(np.zeros((0, 5, 5, 16), np.float32), w).shape == (0, 3, 3, 16)
    assert not conv2d_weight(np.zeros((0, 3, 3, 16)), np.zeros((0, 5, 5, 16)), w.shape).any()
    x = RNG.integers(0, 9, (1, 5, 5, 16))
    np.testing.assert_allclose(conv2d(x, w), by_loop(x, w, (1, 1), ((0, 0), (0, 0)), (1, 1), 1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("chunk", [3000, 1 << 21])
@pytest.mark.parametrize("settings", SETTINGS[::3], ids=str)
def test_runs_of_few_channels(settings, chunk, monkeypatch):
    """Copied by numba eight numbers at a time, also where runs are longer than that."""
    pytest.importorskip("numba")
    monkeypatch.setattr(tuning, "CONVOLUTION_LOOPS_FROM", 0)
    monkeypatch.setattr(tuning, "CONVOLUTION_CHUNK", chunk)
    for x, w in (arrays(settings["groups"]), arrays(x=(2, 6, 7, 1), w=(3, 3, 1, 2)), arrays(w=(2, 5, 4, 3))):
        if settings["groups"] == 1 or w.shape[2] == 2:
            y = conv2d(x, w, **settings)
            np.testing.assert_allclose(y, by_loop(x, w, **settings), rtol=1e-12, atol=1e-12)
            u = RNG.standard_normal(y.shape)
            wbar = conv2d_weight(u, x, w.shape, **settings)
            np.testing.assert_allclose(np.vdot(wbar, w), np.vdot(u, y), rtol=1e-12, atol=1e-11)


def test_numba_stands_in_one_file_and_loads_late():
    root = Path(rmad.__file__).parents[1]
    files = [path for package in ("rmad", "nn", "optim") for path in (root / package).rglob("*.py")]
    assert [path.name for path in files if "import numba" in path.read_text(encoding="utf-8")] == ["convolution.py"]
    code = """
import sys, numpy as np, rmad
from rmad.primitives.layers.conv import conv2d
rmad.grad(lambda w: np.sum(conv2d(np.ones((2, 5, 5, 16)), w)))(np.ones((3, 3, 16, 16)))
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


# -- what is at the edge ----------------------------------------------------------------------------------------


def test_no_images():
    x, w = arrays(x=(0, 5, 5, 4))
    y, lin = rmad.linearize(lambda w: conv2d(x, w), w)
    assert y.shape == lin.Jv(w).shape == (0, 3, 4, 6)
    assert not lin.JTu(y).any()


def test_single_precision_stays():
    x, w = arrays(dtype=np.float32)
    assert rmad.grad(lambda w: np.sum(conv2d(x, w, 2) ** 2) / 2)(w).dtype == np.float32


def test_integers_are_data():
    x, w = RNG.integers(0, 255, X, dtype=np.uint8), arrays(dtype=np.float32)[1]
    y, lin = rmad.linearize(lambda w: conv2d(x, w), w)
    np.testing.assert_allclose(y, conv2d(x.astype(np.float32), w), rtol=1e-6)
    assert lin.Jv(w).dtype == np.float32


def test_inputs_are_left_as_they_are():
    x, w = arrays()
    before = x.copy(), w.copy()
    conv2d(x, w, padding=1), conv2d_input(conv2d(x, w, 2), w, X, 2)
    assert (x == before[0]).all()
    assert (w == before[1]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: conv2d(x[0], w), r"conv2d: x has shape \(7, 8, 4\), expected \(n, h, w, i\)"),
        (lambda x, w: conv2d(x, w[0]), r"w has shape \(2, 4, 6\), expected \(kh, kw, i / groups, o\)"),
        (lambda x, w: conv2d(x[..., :3], w), r"x of shape \(3, 7, 8, 3\) and w of shape \(3, 2, 4, 6\) do not fit"),
        (lambda x, w: conv2d(x, w, groups=2), "do not fit with groups=2"),
        (lambda x, w: conv2d(x, w, dilation=4), r"with dilation \(4, 4\) is larger than x, shape \(3, 7, 8, 4\)"),
        (lambda x, w: conv2d(x, w, stride=0), "conv2d: stride must be a whole number ≥ 1 or a pair of them, not 0"),
        (lambda x, w: conv2d(x, w, padding=-1), "padding must be a whole number ≥ 0"),
        (lambda x, w: conv2d(x, w, padding=(1, 2, 3)), "padding"),
        (lambda x, w: conv2d_input(x, w, X), r"conv2d_input: u has shape .*; for x of shape .* it must be \(3, 5"),
        (lambda x, w: conv2d_weight(x, x, W), r"conv2d_weight: u has shape .* it must be \(3, 5, 7, 6\)"),
    ],
)
def test_errors_show_shapes(call, message):
    with pytest.raises(ValueError, match=message):
        call(*arrays())
