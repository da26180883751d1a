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


@pytest.mark.parametrize("dtype", ["f", "d", "F", "D"])
@pytest.mark.parametrize("transposed", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_a_product_is_added(dtype, transposed):
    for n, k, m in ((4, 3, 5), (1, 3, 5), (4, 1, 5), (4, 3, 1), (1, 1, 1)):
        given = numbers(n, k, dtype=dtype), numbers(k, m, dtype=dtype), numbers(n, m, dtype=dtype)
        there = [cupy.asarray(a) for a in given]
        for place in transposed:
            there[place] = cupy.asarray(given[place].T.copy()).T
        assert fused.can_add_product(*there)
        fused.add_product(*there)
        A, B, out = given
        np.testing.assert_allclose(there[2].get(), out + A @ B, rtol=1e-6 if dtype in "fF" else 1e-14)


def test_products_that_do_not_fit():
    A, B, out = (cupy.asarray(numbers(4, 4, dtype="f")) for _ in range(3))
    assert not fused.can_add_product(A[:, ::2], B[:2], out)  # neither rows nor columns are contiguous
    assert not fused.can_add_product(A, B, out.astype("d"))
    assert not fused.can_add_product(*(a.astype("e") for a in (A, B, out)))
    assert not fused.can_add_product(A[:, :0], B[:0], out)


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
