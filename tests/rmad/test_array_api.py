"""The namespace of the array API standard: every name of it, on plain and on traced arrays."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy

import rmad
from rmad import array_api
from rmad.array_api.names import CONSTANTS, DTYPES, FFT, FUNCTIONS, LINALG
from rmad.tracing.traced import Traced

X = np.array([[0.3, 0.7, 0.45], [0.6, 0.25, 0.9]])
W = np.array([[1.0, -0.5, 0.25], [0.75, 2.0, -1.5]])
SQUARE = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
VIEWS = {"x": X, "w": W, "A": SQUARE, "v": X[0]}

# Calls as the standard writes them. x: (2, 3) in (0, 1), w: constant like x, A: (3, 3) positive definite, v: (3,).
_UNARY = """
    abs acos all any argmax argmin asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan
    log log10 log1p log2 logical_not max mean min negative nonzero positive prod real reciprocal round sign signbit
    sin sinh sqrt square std sum tan tanh trunc unique_all unique_counts unique_inverse unique_values var zeros_like
    ones_like empty_like count_nonzero tril triu matrix_transpose unstack sort argsort flip
"""
_BINARY = """
    add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and
    logical_or logical_xor maximum minimum multiply nextafter not_equal remainder subtract vecdot
"""
_OF_A = "det diagonal eigh eigvalsh inv pinv qr slogdet svd svdvals trace"
_ALONG, _OVER = "fft ifft rfft ihfft hfft irfft", "fftn ifftn rfftn irfftn fftshift ifftshift"
CALLS = {
    **{name: f"xp.{name}(x)" for name in _UNARY.split()},
    **{name: f"xp.{name}(x, w)" for name in _BINARY.split()},
    "acosh": "xp.acosh(x + 1)",
    "arange": "xp.arange(3, dtype=xp.float64) * x",
    "asarray": "xp.asarray([x[0, 0], 2.0, x[1, 1]])",
    "astype": "xp.astype(x, xp.float64, copy=True)",
    "bitwise_and": "x * xp.bitwise_and(xp.asarray([1, 2, 3]), 2)",
    "bitwise_invert": "x * xp.bitwise_invert(xp.asarray([1, 2, 3]))",
    "bitwise_left_shift": "x * xp.bitwise_left_shift(xp.asarray([1, 2, 3]), 2)",
    "bitwise_or": "x * xp.bitwise_or(xp.asarray([1, 2, 3]), 2)",
    "bitwise_right_shift": "x * xp.bitwise_right_shift(xp.asarray([1, 2, 3]), 1)",
    "bitwise_xor": "x * xp.bitwise_xor(xp.asarray([1, 2, 3]), 2)",
    "broadcast_arrays": "xp.broadcast_arrays(x, v)[1]",
    "broadcast_to": "xp.broadcast_to(v, (2, 3))",
    "can_cast": "x * xp.can_cast(x, xp.complex128)",
    "clip": "xp.clip(x, min=0.4, max=0.8)",
    "concat": "xp.concat([x, w], axis=None)",
    "cumulative_prod": "xp.cumulative_prod(x, axis=1, include_initial=True)",
    "cumulative_sum": "xp.cumulative_sum(x, axis=0, include_initial=True)",
    "diff": "xp.diff(x, axis=1, n=1, prepend=xp.zeros((2, 1)))",
    "empty": "xp.empty((2, 3)) * 0 + x",
    "expand_dims": "xp.expand_dims(x, axis=1)",
    "eye": "xp.eye(2, 3, k=1) * x",
    "finfo": "x * xp.finfo(x.dtype).eps",
    "from_dlpack": "x * xp.from_dlpack(np.ones(3))",
    "full": "xp.full((2, 3), 0.5, dtype=xp.float64) * x",
    "full_like": "xp.full_like(x, 0.5) * x",
    "iinfo": "x * xp.iinfo(xp.int8).max",
    "isdtype": "x * xp.isdtype(x.dtype, ('real floating', xp.int8))",
    "linspace": "xp.linspace(0, 1, 3, endpoint=False) * x",
    "matmul": "xp.matmul(x, A)",
    "meshgrid": "xp.meshgrid(v, xp.ones(2), indexing='ij')[0]",
    "moveaxis": "xp.moveaxis(x, 0, -1)",
    "ones": "xp.ones((2, 3)) * x",
    "permute_dims": "xp.permute_dims(x, (1, 0))",
    "pow": "xp.pow(x, 3.0)",
    "repeat": "xp.repeat(x, 2, axis=1)",
    "reshape": "xp.reshape(x, (3, 2), copy=True)",
    "result_type": "xp.astype(x, xp.result_type(x, xp.float32, 1.0))",
    "roll": "xp.roll(x, 1, axis=1)",
    "searchsorted": "v * xp.searchsorted(xp.sort(v), v, side='right')",
    "squeeze": "xp.squeeze(xp.expand_dims(x, axis=0), axis=0)",
    "stack": "xp.stack([x, w], axis=-1)",
    "take": "xp.take(x, xp.asarray([2, 0]), axis=1)",
    "take_along_axis": "xp.take_along_axis(x, xp.argsort(x, axis=1), axis=1)",
    "tensordot": "xp.tensordot(x, w, axes=2)",
    "tile": "xp.tile(x, (2, 1))",
    "where": "xp.where(w > 0, x, 0.0)",
    "zeros": "xp.zeros((2, 3), device='cpu') + x",
}
LINALG_CALLS = {
    **{name: f"xp.linalg.{name}(A)" for name in _OF_A.split()},
    "cholesky": "xp.linalg.cholesky(A, upper=True)",
    "cross": "xp.linalg.cross(x, w, axis=-1)",
    "matmul": "xp.linalg.matmul(x, A)",
    "matrix_norm": "xp.linalg.matrix_norm(A, ord='nuc', keepdims=True)",
    "matrix_power": "xp.linalg.matrix_power(A, 3)",
    "matrix_rank": "v * xp.linalg.matrix_rank(A, rtol=1e-3)",
    "matrix_transpose": "xp.linalg.matrix_transpose(x)",
    "outer": "xp.linalg.outer(v, xp.ones(2))",
    "solve": "xp.linalg.solve(A, v)",
    "tensordot": "xp.linalg.tensordot(x, w, axes=1 * ((0,), (0,)))",
    "vecdot": "xp.linalg.vecdot(x, w, axis=0)",
    "vector_norm": "xp.linalg.vector_norm(x, axis=1, ord=3)",
}
FFT_CALLS = {
    **{name: f"xp.fft.{name}(x, axis=1)" for name in _ALONG.split()},
    **{name: f"xp.fft.{name}(x, axes=(0, 1))" for name in _OVER.split()},
    "fftfreq": "x * xp.fft.fftfreq(3, d=0.5)",
    "rfftfreq": "xp.fft.rfftfreq(4, d=0.5, dtype=xp.float64) * x",
}
EVERY = [*CALLS.items(), *LINALG_CALLS.items(), *FFT_CALLS.items()]


def test_every_name_of_the_standard_has_a_call():
    assert CALLS.keys() == set(FUNCTIONS)
    assert LINALG_CALLS.keys() == set(LINALG)
    assert FFT_CALLS.keys() == set(FFT)
    assert all(hasattr(array_api, name) for name in (*CONSTANTS, *DTYPES, *FUNCTIONS, "linalg", "fft", "special"))


def scalar(y):
    """One number that depends on every real number in the result of a call."""
    if isinstance(y, tuple | list):
        return sum(map(scalar, y))
    y = y if isinstance(y, Traced) else np.asarray(y)
    if y.dtype.kind == "c":
        return scalar(np.real(y)) + scalar(np.imag(y))
    return np.sum(y * np.cos(np.arange(y.size).reshape(y.shape)))


@pytest.mark.parametrize(("name", "call"), EVERY, ids=[f"{name}" for name, _ in EVERY])
def test_call_of_plain_and_traced_arrays(name, call):
    code = compile(call, name, "eval")
    changed = "A" if "A" in call else "v" if "(v" in call else "x"
    start = VIEWS[changed]

    def f(x, xp):
        arrays = VIEWS | {changed: x if changed != "A" else 0.5 * (x + x.T)}
        return eval(code, {"xp": xp, "np": np, **arrays})

    plain = f(start, array_api)
    seen = []

    def loss(x):
        seen.append(f(x, x.__array_namespace__() if isinstance(x, Traced) else array_api))
        return 0.0 * np.sum(x) + (0 if name in ("empty_like", "eigh", "svd") else scalar(seen[-1]))

    gradient = rmad.grad(loss)(start)
    traced = rmad.tracing.traced.stop(seen[0])
    for a, b in zip(np_parts(plain), np_parts(traced), strict=True):
        assert a.dtype == b.dtype
        if name != "empty_like":
            np.testing.assert_array_equal(a, b)
    v = np.cos(np.arange(start.size)).reshape(start.shape)
    h = 1e-6
    slope = (loss(start + h * v) - loss(start - h * v)) / (2 * h)
    np.testing.assert_allclose(np.sum(gradient * v), slope, rtol=1e-6, atol=1e-8)


def np_parts(y):
    """The arrays in a result, in order."""
    return [part for p in y for part in np_parts(p)] if isinstance(y, tuple | list) else [np.asarray(y)]


SPECIAL = """
    expit(x); logit(x); log_expit(x); erf(x); ndtr(x); entr(x); xlogy(x, w); xlogy(w, x); rel_entr(x, w); kl_div(w, x)
    gammaln(x); psi(x); digamma(x); gammainc(w, x); betaln(x, w); betainc(w, x, 0.3); j0(x); i0e(x); stdtr(x, w)
    polygamma(1, x); zeta(2.5, x + 2); multigammaln(x + 1, 2); sinc(x); logsumexp(x, axis=1, b=w)
    log_softmax(x, axis=0)
"""
OTHERS = """
    stats.zscore(x); stats.gmean(x, axis=None); stats.pearsonr(x, w, axis=1).statistic; stats.skew(x, axis=1)
    stats.entropy(x, w); integrate.trapezoid(x); fft.rfft(x); signal.fftconvolve(x, w)
"""
IN_A_PROCESS = """
import rmad, numpy as np
from scipy import fft, integrate, signal, special, stats
x, w = np.array([[0.3, 0.7, 0.45], [0.6, 0.25, 0.9]]), np.array([[1.0, 0.5, 0.25], [0.75, 2.0, 1.5]])
v = np.cos(np.arange(6.0)).reshape(2, 3)
for call in {calls!r}:
    f = eval("lambda x: " + call, dict(globals()))
    Jv = rmad.jvp(f, x, v)[1]
    slope = (f(x + 1e-6 * v) - f(x - 1e-6 * v)) / 2e-6
    assert np.allclose(Jv, slope, rtol=1e-5, atol=1e-8), (call, Jv, slope)
print(np.array_equal(special.expit(x), special.expit.__wrapped__(x)))
"""


@pytest.mark.skipif(
    np.lib.NumpyVersion(scipy.__version__) < "1.17.0", reason="older versions of SciPy hand over fewer functions"
)
def test_functions_of_scipy_take_traced_arrays():
    """With the variable, which SciPy reads when it is imported."""
    calls = [f"special.{call}" for call in split(SPECIAL)] + split(OTHERS)
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": str(pathlib.Path(rmad.__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS.format(calls=calls)], capture_output=True, text=True, env=environment
    )
    assert found.stdout.strip() == "True", found.stderr


def split(calls):
    return [call.strip() for call in calls.replace("\n", ";").split(";") if call.strip()]


def test_other_versions_of_the_standard():
    def f(x):
        assert x.__array_namespace__(api_version="2022.12") is array_api
        with pytest.raises(ValueError, match=r"api_version='1999.12' of the array API; rmad has 2024.12"):
            x.__array_namespace__(api_version="1999.12")
        return np.sum(x)

    rmad.grad(f)(X)


def test_attributes_of_the_standard():
    def f(x):
        assert x.device == "cpu"
        assert x.to_device("cpu") is x
        assert x.__dlpack_device__() == X.__dlpack_device__()
        with pytest.raises(ValueError, match="stays on 'cpu', got 'gpu'"):
            x.to_device("gpu")
        return np.sum(x)

    rmad.grad(f)(X)


def test_another_library_cannot_take_the_memory():
    with pytest.raises(TypeError, match="without losing its derivative"):
        rmad.grad(lambda x: np.sum(np.from_dlpack(x)))(X)


def test_arrays_of_the_namespace_may_be_written_into():
    def f(x):
        y = x.__array_namespace__().zeros((2, 3))
        y[0, :] = x[1, :] ** 2
        return np.sum(y)

    np.testing.assert_allclose(rmad.grad(f)(X), [[0, 0, 0], 2 * X[1]])


def test_information():
    info = array_api.__array_namespace_info__()
    assert info.devices() == [info.default_device()] == ["cpu"]
    assert info.dtypes(kind="real floating") == {"float32": np.dtype("f4"), "float64": np.dtype("f8")}
    assert info.default_dtypes()["complex floating"] == np.dtype("c16")
    assert info.capabilities()["boolean indexing"]
    with pytest.raises(ValueError, match='device must be "cpu" or None'):
        info.dtypes(device="gpu")


@pytest.mark.parametrize("dtype", [float, int])
def test_descending_order_is_stable(dtype):
    x = np.array([[2, 1, 2, 3, 1]], dtype)
    assert array_api.argsort(x, descending=True).tolist() == [[3, 0, 2, 1, 4]]
    assert array_api.sort(x, descending=True).tolist() == [[3, 2, 2, 1, 1]]


def test_reshape_without_a_copy():
    x = np.ones((2, 3))
    assert np.may_share_memory(array_api.reshape(x, (6,), copy=False), x)
    assert not np.may_share_memory(array_api.reshape(x, (6,), copy=True), x)
    with pytest.raises(ValueError, match="copy=False forbids it"):
        array_api.reshape(x.T, (6,), copy=False)
