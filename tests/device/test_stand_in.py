"""The stand-in computes what NumPy computes, counts what CuPy does, and says what it lacks."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.special

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("stand_in")]

RNG = np.random.default_rng(0)
FLOATS = ("e", "f", "d", "F", "D")
ROUNDING = {"e": 2e-3, "f": 1e-6, "d": 1e-14, "F": 1e-6, "D": 1e-14}


def numbers(*shape, dtype="d"):
    x = RNG.uniform(0.2, 1, shape)
    return (x + 1j * RNG.uniform(0.2, 1, shape) if dtype in "FD" else x).astype(dtype)


def assert_equal(f, *arrays, rtol=1e-13):
    """f of CuPy's arrays is f of NumPy's: type, shape, dtype, values."""
    found, wanted = f(*map(cupy.asarray, arrays)), f(*arrays)
    for y, z in zip(*((t if isinstance(t, tuple) else (t,)) for t in (found, wanted)), strict=True):
        assert isinstance(y, cupy.ndarray)
        assert (y.shape, y.dtype) == (np.shape(z), np.asarray(z).dtype)
        np.testing.assert_allclose(y.get().astype(complex), np.asarray(z).astype(complex), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", FLOATS)
def test_elementwise(dtype):
    x, y = numbers(3, 1, 4, dtype=dtype), numbers(2, 4, dtype=dtype)
    for f in (np.add, np.multiply, np.divide, np.power, np.equal):
        assert_equal(f, x, y, rtol=4 * ROUNDING[dtype])
    for f in (np.exp, np.log, np.tanh, np.sqrt, np.sin, np.negative, np.square, np.abs, np.isfinite):
        assert_equal(f, x, rtol=4 * ROUNDING[dtype])
    assert_equal(lambda x: (x * 2 + 1)[::-1, :, ::2].T.copy(), x, rtol=ROUNDING[dtype])


def test_other_elementwise():
    x = numbers(5)
    for f in (np.cbrt, np.expm1, np.log1p, np.arcsin, np.arctanh, np.hypot, np.logaddexp, np.maximum, np.copysign):
        assert_equal(lambda *a, f=f: f(*a[: f.nin]), x, x[::-1].copy())
    for f in (scipy.special.expit, scipy.special.erf, scipy.special.erfinv, scipy.special.gammaln, scipy.special.ndtr):
        assert_equal(f, x, rtol=1e-12)
    assert_equal(lambda x: np.where(x > 0.5, x, -x), x)
    assert_equal(np.floor_divide, np.array([7, -7, 5]), np.array([2, 2, -3]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_reductions(dtype):
    x = numbers(5, 7, 300, dtype=dtype)  # longer than a block of CuPy's
    rtol = 300 * ROUNDING[dtype]
    for axis in (None, 0, 2, (0, 2)):
        assert_equal(lambda x, axis=axis: np.sum(x, axis=axis), x[..., :50], rtol=rtol)
        assert_equal(lambda x, axis=axis: np.mean(x, axis=axis, keepdims=True), x[..., :50], rtol=rtol)
    if dtype not in "FD":
        for f in (np.max, np.min, np.argmax, np.any):
            assert_equal(lambda x, f=f: f(x, axis=2), x)
    if dtype != "e":
        assert_equal(lambda x: np.cumsum(x, axis=-1), x, rtol=rtol)
        assert_equal(lambda x: np.prod(x[:2, 0, :20], axis=1), x, rtol=rtol)


@pytest.mark.parametrize("dtype", FLOATS)
def test_products(dtype):
    """cuBLAS for every layout of the factors, single and in stacks."""
    rtol = 20 * ROUNDING[dtype]
    A, B, S = numbers(4, 5, dtype=dtype), numbers(5, 3, dtype=dtype), numbers(2, 4, 5, dtype=dtype)
    for layout_a in (lambda a: a, lambda a: a.T.copy().T, lambda a: np.repeat(a, 2, 0)[::2]):
        for layout_b in (lambda a: a, lambda a: a.T.copy().T):
            assert_equal(lambda a, b: layout_a(a) @ layout_b(b), A, B, rtol=rtol)  # noqa: B023
    assert_equal(np.matmul, S, B, rtol=rtol)
    assert_equal(np.dot, A, B[:, 0].copy(), rtol=rtol)
    assert_equal(lambda a, b: np.tensordot(a, b, ([1, 2], [0, 1])), S, numbers(4, 5, 3, dtype=dtype), rtol=rtol)
    assert_equal(np.dot, B[:, 0].copy(), B[:, 1].copy(), rtol=rtol)
    assert_equal(np.vdot, B[:, 0].copy(), B[:, 1].copy(), rtol=rtol)
    assert_equal(lambda a: np.einsum("nij,nkj->nik", a, a), S, rtol=rtol)


@pytest.mark.parametrize("dtype", ["d", "D"])
def test_solvers(dtype):
    A = numbers(2, 4, 4, dtype=dtype)
    A = A @ A.conj().swapaxes(1, 2) + 4 * np.eye(4, dtype=dtype)
    b = numbers(2, 4, 3, dtype=dtype)
    for f in (np.linalg.cholesky, np.linalg.inv, np.linalg.eigvalsh, np.linalg.det, np.fft.fft, np.fft.ifft2):
        assert_equal(f, A, rtol=1e-10)
    assert_equal(np.linalg.solve, A, b)
    assert_equal(lambda A: tuple(np.linalg.slogdet(A)), A)
    assert_equal(lambda A: tuple(np.linalg.qr(A[0])), A)
    assert_equal(lambda A: np.linalg.svd(A, compute_uv=False), A)
    assert_equal(lambda A: np.linalg.lstsq(A[0], A[1], rcond=None)[0], A)


def test_triangles():
    """trsm, from both sides."""
    from cupyx.scipy.linalg import solve_triangular

    A, B = np.tril(numbers(4, 4)) + np.eye(4), numbers(4, 3)
    for trans in (0, 1):
        for lower, T in ((True, A), (False, A.T.copy())):
            X = solve_triangular(cupy.asarray(T), cupy.asarray(B), trans=trans, lower=lower).get()
            np.testing.assert_allclose((T.T if trans else T) @ X, B, rtol=1e-13)


@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_vectors_of_cublas(dtype):
    """What cupyx's solvers call directly."""
    from cupy import cublas

    x, y = numbers(50, dtype=dtype), numbers(50, dtype=dtype)
    found = cupy.asarray(x), cupy.asarray(y)
    close = {"rtol": 50 * ROUNDING[dtype]}
    if dtype in "fd":
        np.testing.assert_allclose(cublas.nrm2(found[0]).get(), np.linalg.norm(x), **close)
        np.testing.assert_allclose(cublas.dot(*found).get(), x @ y, **close)
    else:
        np.testing.assert_allclose(cublas.dotu(*found).get(), x @ y, **close)
        np.testing.assert_allclose(cublas.dotc(*found).get(), np.vdot(x, y), **close)
    cublas.axpy(2, *found)
    np.testing.assert_allclose(found[1].get(), y + 2 * x, **close)


def test_sorting():
    x = RNG.permutation(24).reshape(4, 6).astype(float)
    assert_equal(lambda x: np.sort(x, axis=0), x)
    assert_equal(lambda x: np.argsort(x, axis=1), x)
    assert_equal(lambda x: np.partition(x, 2)[:, 2], x)


def test_indices():
    x, i = numbers(5, 3), np.array([0, 3, 3])
    assert_equal(lambda x, i: x[i], x, i)
    assert_equal(lambda x: x[x > 0.5], x)
    assert_equal(lambda x, i: np.take_along_axis(x, i[:, None], 0), x, i)
    y = cupy.zeros((5, 3))
    cupy.add.at(y, cupy.asarray(i), cupy.ones((3, 3)))
    assert y.get().sum(1).tolist() == [3, 0, 0, 6, 0]


def test_a_fused_kernel():
    @cupy.fuse
    def product_and_one(x, y):
        return x * y + 1

    x, y = numbers(3), numbers(3)
    np.testing.assert_allclose(product_and_one(cupy.asarray(x), cupy.asarray(y)).get(), x * y + 1, rtol=1e-15)


def test_a_kernel_whose_threads_wait_for_one_another():
    kernel = cupy.RawKernel(
        """extern "C" __global__ void reversed(const float* x, float* y) {
            __shared__ float held[64];
            held[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
            __syncthreads();
            float sum = held[63 - threadIdx.x];
            for (int d = 16; d; d >>= 1) sum += __shfl_xor_sync(~0u, sum, d);
            y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
        }""",
        "reversed",
    )
    x, y = cupy.arange(128, dtype="f"), cupy.empty(128, "f")
    kernel((2,), (64,), (x, y))
    halves = x.get().reshape(4, 32).sum(1)
    assert y.get().reshape(4, 32)[:, 5].tolist() == halves[[1, 0, 3, 2]].tolist()


def test_what_fails_without_an_error():
    """As on a GPU: CuPy does not look at the verdict of cuSOLVER."""
    assert np.isnan(cupy.linalg.cholesky(-cupy.eye(2)).get()).all()
    assert np.isnan(cupy.linalg.solve(cupy.zeros((2, 2)), cupy.ones(2)).get()).all()
    assert np.isnan(cupy.empty(3).get()).all()  # what has not been written


def test_what_is_missing_raises_an_error():
    with pytest.raises(RuntimeError):
        cupy.random.RandomState(0).normal(size=3)
    with pytest.raises(TypeError, match="Unsupported type"):
        cupy.ones(3) + np.ones(3)


def test_subnormal_numbers_remain():
    """Libraries built with -ffast-math would flush them to zero in the whole process."""
    assert np.float64(5e-324) * 1.0 > 0
    assert float(cupy.asarray(5e-324) * 1.0) > 0


# -- counts ----------------------------------------------------------------------------------------------------------


def test_counts(stand_in):
    x, A = cupy.arange(6.0), cupy.ones((6, 6))
    with stand_in.recorded() as counts:
        y = A @ (x * 2)
    assert (counts.launches, counts.products, counts.allocations, counts.waits, counts.copies_to_host) == (
        1,
        1,
        2,
        0,
        0,
    )
    assert "multiply" in counts.calls[0]
    with stand_in.recorded() as outer:
        with stand_in.recorded() as inner:
            assert float(y[0]) == 30
        y.get()
    assert (inner.copies_to_host, inner.waits, outer.copies_to_host, outer.waits) == (1, 1, 2, 2)
    assert sum("test_stand_in.py" in line for line in outer.lines) == 2
    with stand_in.recorded() as counts:
        cupy.linalg.cholesky(A + 6 * cupy.eye(6))
        cupy.asarray(np.ones(3))
        cupy.copyto(x, y)
        cupy.cuda.Device().synchronize()
    assert (counts.library_calls, counts.copies_to_device, counts.copies_to_host) == (1, 1, 0)
    assert counts.waits == 1
    with stand_in.recorded() as counts:
        pass
    assert counts == type(counts)()
    assert str(inner) == "copies to host 1, waits 1"


def test_no_copies_to_the_host(nothing_leaves_the_device):
    x = cupy.ones(3)
    with nothing_leaves_the_device():
        x = x + 1

    def copying():
        with nothing_leaves_the_device():
            for _ in range(2):
                float(x[0])

    with pytest.raises(AssertionError, match=r"2 copies to the host:\n  2 at .*tests/device/test_stand_in.py:\d+ < "):
        copying()
    with pytest.raises(ZeroDivisionError), nothing_leaves_the_device():  # an error of the block comes first
        raise ZeroDivisionError


def test_threads(stand_in):
    """Kernels have global variables for their threads: launches wait for one another, none is lost."""
    found = {}

    def work(k):
        x = cupy.full(1000, float(k))
        for _ in range(20):
            x = x + 1
        found[k] = x

    with stand_in.recorded() as counts:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts.launches == 4 * 21
    assert {k: set(x.get()) for k, x in found.items()} == {k: {k + 20.0} for k in range(4)}
