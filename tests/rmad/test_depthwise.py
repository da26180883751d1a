"""A kernel for every channel: against the convolution with all of them in one array; in plans, NumPy and numba."""

from itertools import product

import numpy as np
import pytest

import rmad
from rmad import tuning
from rmad.kernels import depthwise
from rmad.kernels.patches import Forward
from rmad.plan.plan import Plan
from rmad.primitives.layers.conv import conv2d, conv2d_input, conv2d_weight
from rmad.record import Record
from rmad.tapes.tape import pull, push

RNG = np.random.default_rng(0)
CHANNELS = 5
SETTINGS = [
    {"stride": stride, "padding": padding, "dilation": dilation}
    for stride, padding, dilation in product(
        ((1, 1), (2, 3)), (((0, 0), (0, 0)), ((1, 1), (1, 1)), ((3, 2), (0, 4))), ((1, 1), (2, 1))
    )
]
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


@pytest.fixture(params=["NumPy", "numba"], autouse=True)
def way(request, monkeypatch):
    if request.param == "numba":
        pytest.importorskip("numba")
    monkeypatch.setattr(tuning, "CONVOLUTION_LOOPS_FROM", 0 if request.param == "numba" else 1 << 60)
    return request.param


def arrays(dtype=np.float64, channels=CHANNELS):
    x, w = RNG.standard_normal((3, 7, 8, channels)), RNG.standard_normal((3, 2, 1, channels))
    return x.astype(dtype), w.astype(dtype)


def as_dense(w):
    """The same kernels as one (kh, kw, c, c), zero off the diagonal."""
    return w * np.eye(w.shape[-1])


@every_setting
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_it_is_the_dense_convolution_with_a_diagonal_kernel(settings, dtype):
    x, w = arrays(dtype)
    if dtype == np.complex128:
        x = x + 1j * RNG.standard_normal(x.shape)
    y = conv2d(x, w, **settings, groups=CHANNELS)
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype != np.float32 else {"rtol": 1e-5, "atol": 1e-5}
    assert y.dtype == dtype
    np.testing.assert_allclose(y, conv2d(x, as_dense(w), **settings), **close)
    u = RNG.standard_normal(y.shape).astype(dtype)
    given = {**settings, "groups": CHANNELS}
    np.testing.assert_allclose(
        conv2d_input(u, w, x.shape, **given), conv2d_input(u, as_dense(w), x.shape, **settings), **close
    )
    dense = conv2d_weight(u, x, as_dense(w).shape, **settings)
    diagonal = np.diagonal(dense, axis1=2, axis2=3)[:, :, None]
    np.testing.assert_allclose(conv2d_weight(u, x, w.shape, **given), diagonal, **close)


@every_setting
def test_plans_and_derivatives(settings):
    x, w = arrays()

    def f(p):
        return np.tanh(conv2d(*p, **settings, groups=CHANNELS)) + conv2d(p[0], p[1] ** 2, **settings, groups=CHANNELS)

    record = Record(f, (x, w), ())
    vs = [RNG.standard_normal(a.shape) for a in (x, w)]
    Jv = push(record.tape, vs, record.outputs)
    u = [RNG.standard_normal(Jv[0].shape)]
    JTu = pull(record.tape, u, record.outputs, record.n_inputs)
    plan = Plan(record.tape, record.outputs, record.n_inputs)
    for _ in range(2):
        for ours, plain in zip([*plan.Jv(vs), *plan.JTu(u)], [*Jv, *JTu], strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.vdot(u[0], Jv[0]), sum(map(np.vdot, vs, JTu)), rtol=1e-11)


def test_second_order():
    x, w = arrays(channels=2)
    rmad.check_grads(lambda p: np.tanh(conv2d(*p, 2, 1, groups=2)), (x[:2, :5, :4], w), order=2)


def test_layouts_chunks_and_what_it_is_for(monkeypatch):
    x, w = arrays()
    y = conv2d(x, w, padding=1, groups=CHANNELS)
    transposed = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(conv2d(transposed, w, padding=1, groups=CHANNELS), y)
    monkeypatch.setattr(depthwise._Depthwise.__init__, "__defaults__", (False, 1))
    np.testing.assert_array_equal(conv2d(x, w, padding=1, groups=CHANNELS), y)
    seen = []
    monkeypatch.setattr(Forward, "__init__", lambda *_: seen.append(_) or 1 / 0)
    conv2d(x, w, groups=CHANNELS)
    with pytest.raises(ZeroDivisionError):  # two kernels for every channel: products with patches
        conv2d(x, np.concatenate([w, w], -1), groups=CHANNELS)
    assert len(seen) == 1


def test_no_images_and_taps_that_meet_none():
    x, w = arrays()
    assert conv2d(x[:0], w, groups=CHANNELS).shape == (0, 5, 7, CHANNELS)
    y = conv2d(x[:, :1, :1], w, padding=4, groups=CHANNELS)
    np.testing.assert_allclose(y, conv2d(x[:, :1, :1], as_dense(w), padding=4), atol=1e-13)
