"""Products of cuBLAS bound to their arrays, with `-m gpu`: every order of axes, stacks, sums."""

import itertools

import numpy as np
import pytest

from rmad.machine.products import Product, multiply

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy")

RNG = np.random.default_rng(0)


def numbers(*shape, dtype="d"):
    x = RNG.uniform(0.2, 1, shape)
    return (x + 1j * RNG.uniform(0.2, 1, shape) if dtype in "FD" else x).astype(dtype)


def laid_out(a, how):
    """A copy of `a` on the device: its rows in one piece, its columns, rows of a wider matrix, heads of attention."""
    there = cupy.asarray(a)
    if how == "columns":
        return cupy.swapaxes(cupy.swapaxes(there, -1, -2).copy(), -1, -2)
    if how == "part":
        wide = cupy.zeros((*a.shape[:-1], a.shape[-1] + 3), a.dtype)
        wide[..., 1:-2] = there
        return wide[..., 1:-2]
    if how == "heads" and a.ndim > 2:
        return cupy.moveaxis(cupy.moveaxis(there, -3, -2).copy(), -2, -3)
    return there


def assert_product(A, B, out, how, add):
    a, b, c = (laid_out(x, h) for x, h in zip((A, B, out), how, strict=True))
    assert Product.fits(a, b, c)
    product = Product(a, b, c, add)
    product()
    wanted = A @ B + (out if add else 0)
    rtol = 1e-6 if out.dtype.char in "fF" else 1e-14
    np.testing.assert_allclose(c.get(), wanted, rtol=rtol)
    a *= 2
    product()  # of the same memory
    np.testing.assert_allclose(c.get(), 2 * (A @ B) + (wanted if add else 0), rtol=rtol)


@pytest.mark.parametrize("dtype", ["f", "d", "F", "D"])
@pytest.mark.parametrize("add", [False, True])
def test_matrices(dtype, add):
    for m, k, n in ((4, 3, 5), (1, 3, 5), (4, 1, 5), (4, 3, 1), (1, 1, 1)):
        given = [numbers(*shape, dtype=dtype) for shape in ((m, k), (k, n), (m, n))]
        for how in itertools.product(("rows", "columns", "part"), repeat=3):
            assert_product(*given, how, add)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("add", [False, True])
def test_stacks(dtype, add):
    for stack in ((1,), (3,), (2, 3), (1, 1), (2, 1, 2)):
        given = [numbers(*stack, *shape, dtype=dtype) for shape in ((4, 3), (3, 5), (4, 5))]
        for how in itertools.product(("rows", "columns", "part", "heads"), repeat=3):
            assert_product(*given, how, add)


def test_a_stack_with_one_matrix_for_all():
    A, B = cupy.asarray(numbers(2, 3, 4, 5)), cupy.asarray(numbers(5, 6))
    out = cupy.empty((2, 3, 4, 6))
    Product(A, cupy.broadcast_to(B, (2, 3, 5, 6)), out)()
    np.testing.assert_allclose(out.get(), A.get() @ B.get(), rtol=1e-14)


def test_one_call_and_nothing_else(stand_in):
    """The names of the functions, which are those of equal and of varying distances."""
    given = [numbers(2, 3, *shape) for shape in ((4, 3), (3, 5), (4, 5))]
    for how, name in (("rows", "DgemmStridedBatched"), ("heads", "DgemmBatched")):
        product = Product(*(laid_out(a, how) for a in given), add=True)
        with stand_in.recorded() as counts:
            product()
        assert counts.calls == [name]
        assert (counts.launches, counts.allocations, counts.products) == (0, 0, 1)


def test_what_does_not_fit():
    A, B, out = (cupy.asarray(numbers(4, 4, dtype="f")) for _ in range(3))
    assert not Product.fits(A[:, ::2], B[:2], out)  # neither rows nor columns are contiguous
    assert not Product.fits(A, B, out.astype("d"))
    assert not Product.fits(*(a.astype("e") for a in (A, B, out)))
    assert not Product.fits(A[:, :0], B[:0], out)
    assert not Product.fits(A[None], B[None], out)
    assert not Product.fits(cupy.broadcast_to(A[:1], A.shape), B, out)
    total = out.get()
    multiply(A[:, ::2], B[:2], out, add=True)
    np.testing.assert_allclose(out.get(), total + A.get()[:, ::2] @ B.get()[:2], rtol=1e-6)
    multiply(A[:, ::2], B[:2], out)
    np.testing.assert_allclose(out.get(), A.get()[:, ::2] @ B.get()[:2], rtol=1e-6)
