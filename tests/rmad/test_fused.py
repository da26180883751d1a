"""The kernels of a GPU that take the place of several calls; with `-m gpu`."""

import numpy as np
import pytest

from rmad.machine import arrays, fused

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy")

RNG = np.random.default_rng(0)


def numbers(*shape, dtype="d"):
    x = RNG.uniform(0.2, 1, shape)
    return (x + 1j * RNG.uniform(0.2, 1, shape) if dtype in "FD" else x).astype(dtype)


@pytest.mark.parametrize("dtype", ["f", "d", "F", "D"])
def test_a_multiple_is_added(dtype):
    y, x = numbers(3, 4, dtype=dtype), numbers(3, 4, dtype=dtype)
    mask = RNG.random((3, 4)) < 0.5
    for d in (2.5, np.float64(0.1), numbers(4, dtype=dtype), numbers(3, 1), mask):
        there = cupy.asarray(y)
        fused.add_scaled(cupy.asarray(d) if isinstance(d, np.ndarray) else d, cupy.asarray(x), there)
        assert there.dtype == dtype
        np.testing.assert_allclose(there.get(), y + d * x, rtol=1e-6 if dtype in "fF" else 1e-14)


def place(a):
    return cupy.asarray(a) if isinstance(a, np.ndarray) else a


@pytest.mark.parametrize("dtype", ["f", "D"])
def test_a_sum_of_terms(dtype):
    y, *xs = (numbers(3, 4, dtype=dtype) for _ in range(8))
    xs[1] = xs[1][0]
    factors = [numbers(4, dtype=dtype), -1, 1, 2.5, numbers(3, 1), np.float64(0.5), 3]
    for n, add in ((1, True), (2, False), (7, True)):
        there = cupy.asarray(y)
        fused.sum_of([(place(d), place(x)) for d, x in zip(factors[:n], xs[:n], strict=True)], there, add)()
        wanted = (y if add else 0) + sum(d * x for d, x in zip(factors[:n], xs[:n], strict=True))
        assert there.dtype == dtype
        np.testing.assert_allclose(there.get(), wanted, rtol=1e-5 if dtype in "fF" else 1e-13)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_a_total(dtype):
    x, d, y = numbers(5, 3, 4, dtype=dtype), numbers(4), numbers(3, dtype=dtype)
    rtol = 1e-5 if dtype == "f" else 1e-13
    for add in (False, True):
        there = cupy.asarray(y)
        fused.Total("{0} * {1} + {2}", [place(x), place(d), 0.5], there, (0, 2), add)()
        np.testing.assert_allclose(there.get(), add * y + np.sum(x * d + 0.5, (0, 2)), rtol=rtol)
        fused.Total("{0} * {1}", [place(x), place(d)], there, (0, 2), mean=True)()
        np.testing.assert_allclose(there.get(), np.mean(x * d, (0, 2)), rtol=rtol)
    pair = cupy.empty((5, 1, 1), np.result_type(dtype, "F"))
    fused.Total("Y({0}, {0} * {0})", [place(x)], pair, (1, 2), dtype=np.dtype(dtype))()
    wanted = np.sum(x + 1j * x * x, (1, 2), keepdims=True)
    np.testing.assert_allclose(pair.get(), wanted, rtol=rtol)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_sums(dtype):
    x, y = numbers(3000, dtype=dtype), -numbers(3000, dtype=dtype)
    found = fused.dot(cupy.asarray(x), cupy.asarray(y))
    assert (found.shape, found.dtype) == ((), np.float64)
    assert float(found) == pytest.approx(np.dot(x.astype("d"), y.astype("d")), rel=1e-14)
    assert float(fused.largest(cupy.asarray(y))) == -y.min()
    large = cupy.full(2, 1e38, "f")
    assert float(fused.dot(large, large)) == pytest.approx(2e76, rel=1e-6)
    into = cupy.empty(3)
    fused.dot(cupy.asarray(x), cupy.asarray(x), into[1:2].reshape(()))
    assert float(into[1]) == pytest.approx(np.dot(x.astype("d"), x.astype("d")), rel=1e-14)


def test_numbers_come_in_one_copy():
    given = [cupy.asarray(2.0), cupy.asarray(np.float32(0.5)), cupy.asarray(-1.0)]
    assert arrays.numbers(given) == [2.0, 0.5, -1.0]
    assert arrays.numbers(given * 5) == [2.0, 0.5, -1.0] * 5
    found = arrays.numbers([cupy.asarray(3), cupy.asarray(4)])
    assert found == [3, 4]
    assert all(type(n) is int for n in found)


def test_a_kernel_has_functions_of_its_own():
    kernel = fused.Elementwise(
        "T x", "T y", "y = twice(x)", "doubled", "template <typename T> __device__ T twice(T x) { return 2 * x; }"
    )
    assert kernel(cupy.asarray([1.0, 2.0])).get().tolist() == [2, 4]
