"""Which of NumPy's functions make views: a write is seen through them, both ways, as it is with plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import rmad
from rmad.written.pieces import laid_out

NUMPY_2_1 = np.lib.NumpyVersion(np.__version__) >= "2.1.0"

CALLS = {
    "einsum, a diagonal": (lambda a: np.einsum("ii->i", a), (3, 3)),
    "einsum, a transpose": (lambda a: np.einsum("...ij->...ji", a), (2, 3, 2)),
    "einsum, by lists": (lambda a: np.einsum(a, [0, 0], [0]), (3, 3)),
    "einsum, a sum": (lambda a: np.einsum("ij->i", a), (3, 4)),
    "nan_to_num": (lambda a: np.nan_to_num(a, copy=False), (3, 4)),
    "nan_to_num, a copy": (lambda a: np.nan_to_num(a), (3, 4)),
    "broadcast_arrays": (lambda a: np.broadcast_arrays(np.zeros((3, 1)), a)[1], (3, 4)),
    "atleast_2d of two": (lambda a: np.atleast_2d(np.zeros(2), a)[1], (3,)),
    "meshgrid": (lambda a: np.meshgrid(a, np.ones(2), sparse=True, copy=False)[0], (3,)),
    "meshgrid, a copy": (lambda a: np.meshgrid(a, np.ones(2), sparse=True)[0], (3,)),
    "ix_": (lambda a: np.ix_(a, np.arange(2))[0], (3,)),
    "trim_zeros": (lambda a: np.trim_zeros(a), (6,)),
    "ravel by name": (lambda a: np.ravel(a=a), (3, 4)),
    "real_if_close by name": (lambda a: np.real_if_close(a=a), (3, 4)),
    "swapaxes by names": (lambda a: np.swapaxes(axis1=0, axis2=1, a=a), (3, 4)),
    "real_if_close": (lambda a: np.real_if_close(a), (3, 4)),
    "diag": (lambda a: np.diag(a, 1), (3, 4)),
    "diag of a vector": (lambda a: np.diag(a, 1), (3,)),
    "diff": (lambda a: np.diff(a, n=0), (3, 4)),
    "sliding_window_view": (lambda a: sliding_window_view(a, 3, writeable=True), (6,)),
    "moveaxis": (lambda a: np.moveaxis(a, 0, -1), (3, 4)),
    "rot90": (lambda a: np.rot90(a), (3, 4)),
    "view": (lambda a: a.view(), (3, 4)),
    "view of a dtype": (lambda a: a[1:].view(a.dtype), (3, 4)),
    "base": (lambda a: a.T[1:].base, (3, 4)),
    "reshape in Fortran's order": (lambda a: a.reshape((4, 3), order="F"), (3, 4)),
    "astype": (lambda a: a.astype(a.dtype, copy=False), (3, 4)),
    "astype, a copy": (lambda a: a.astype(a.dtype), (3, 4)),
}
if NUMPY_2_1:
    CALLS["reshape, a copy"] = lambda a: a.reshape(4, 3, copy=True), (3, 4)
    CALLS["np.astype"] = lambda a: np.astype(a, a.dtype, copy=False), (3, 4)


def through_the_view(a, v, x):
    v[...] = x[0] * np.arange(1.0, v.size + 1).reshape(v.shape)


def through_the_array(a, v, x):
    a[...] = 2 * a + x[1]


def through_both(a, v, x):
    a[0] = x[1]
    v *= x[0]
    a[-1] = a[-1] * x[2]


def made(kind, shape, x, dtype):
    a = np.array((np.arange(np.prod(shape)) % 5 - 2.0).reshape(shape), dtype=dtype)
    a[0] = a[-1] = 0
    if kind == "constant":
        return a
    a = a * 1.0 + 0 * x[3]
    if kind == "written":
        a[:1] = 0 * x[3]
    return a


@pytest.mark.filterwarnings("ignore:Numpy has detected:DeprecationWarning")  # of a write into broadcast arrays
@pytest.mark.parametrize("write", [through_the_view, through_the_array, through_both])
@pytest.mark.parametrize("name", CALLS)
def test_writes_reach_what_numpy_reaches(name, write):
    call, shape = CALLS[name]
    x = np.array([1.5, -2.25, 0.75, 3.0])
    for kind in ("constant", "traced", "written"):
        for dtype in (float, complex):

            def f(x, kind=kind, dtype=dtype):
                a = made(kind, shape, x, dtype)
                v = call(a)
                write(a, v, x)
                return a, v

            try:
                plain = f(x)
            except ValueError:  # it is read-only
                with pytest.raises(ValueError, match=r"read-only|requires"):
                    rmad.linearize(f, x)
                continue
            found, _ = rmad.linearize(f, x)
            for a, b in zip(found, plain, strict=True):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype


def test_shape_in_place():
    def f(x):
        y, c, d = 2 * x, np.zeros(6), np.zeros(6)
        d[0] = x[0]
        y.shape = c.shape = d.shape = (2, 3)
        y[0], c[1], d[1] = x[:3] ** 2, x[3:], 1.0
        return y, c, d

    x = np.arange(1.0, 7.0)
    for a, b in zip(rmad.linearize(f, x)[0], f(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shape_in_place_of_a_view():
    def f(x):
        y = 2 * x
        v = y[1:]
        v.shape = (1, 1)
        return y

    with pytest.raises(TypeError, match=r"write y = y\.reshape"):
        rmad.linearize(f, np.ones(2))


@pytest.mark.filterwarnings("ignore:you are shuffling:UserWarning")
@pytest.mark.parametrize("make", [lambda x: np.outer(x, x), lambda x: np.zeros((3, 2)) + 1.0])
def test_rows_that_are_shuffled_by_views(make):
    def f(x):
        y = make(x)
        np.random.default_rng(0).shuffle(y)
        return y[0] * x[0]

    with pytest.raises(TypeError, match=r"y\[rng\.permutation\(len\(y\)\)\]"):
        rmad.linearize(f, np.ones(3))


def test_as_strided_names_an_alternative():
    with pytest.raises(TypeError, match=r"in place of as_strided use sliding_window_view"):
        rmad.grad(lambda x: np.sum(as_strided(x, (2,), (8,))))(np.ones(3))


def test_a_view_with_another_dtype_is_an_error():
    with pytest.raises(TypeError, match=r"reads its memory as other numbers"):
        rmad.grad(lambda x: np.sum(x.view(complex).real))(np.ones(4))


def test_a_plain_view_of_a_constant_array_shares_its_memory():
    def f(x):
        c = np.zeros(4)
        v = c.data
        c[0] = x[0]
        return c * v[0]

    with pytest.raises(TypeError, match=r"whose memory a plain array shares"):
        rmad.grad(lambda x: np.sum(f(x)))(np.ones(2))


def test_a_diagonal_above_what_was_written_is_read_from_the_first_piece():
    """Small views of the part in front of the first write are read from the array itself, by their own step."""

    def f(x):
        y = np.multiply.outer(x, x)
        y[39, 0] = x[0] ** 3
        return np.concatenate([np.diagonal(y, 1), y[3], y[39]])

    x = np.linspace(0.1, 1, 40)
    y, lin = rmad.linearize(f, x)
    np.testing.assert_array_equal(y, f(x))
    v, h = np.cos(x), 1e-6
    np.testing.assert_allclose(lin.Jv(v), (f(x + h * v) - f(x - h * v)) / (2 * h), rtol=1e-7, atol=1e-9)


def test_a_view_whose_array_is_gone_takes_no_shape_either():
    def f(x):
        y = np.zeros(4)
        y[:] = x * x
        v = y[:2]
        del y
        v.shape = (2, 1)
        return v

    with pytest.raises(TypeError, match="is a view, or has views"):
        rmad.linearize(f, np.arange(4.0))


@pytest.mark.parametrize("n", [2, 3])
def test_numbers_of_elements_lie_apart_whatever_the_strides(n):
    """A row that is repeated, and a field of records, are laid out anew; a transposed array and a stretch are not."""
    field = np.zeros((n, 3), [("a", "i4"), ("b", "f8")])["b"]
    for layout in (np.broadcast_to(np.zeros(3), (n, 3)), np.broadcast_to(np.zeros((3, 1)), (3, n)), field):
        numbers = laid_out(layout)
        numbers[...] = np.arange(3 * n).reshape(layout.shape)
        np.testing.assert_array_equal(numbers.ravel(), np.arange(3 * n))
    for layout in (np.zeros((n, 3)).T, np.zeros((2 * n, 3))[::2], np.zeros((n, 3))[::-1]):
        assert [a // 8 for a in laid_out(layout).strides] == [a // 8 for a in layout.strides]
