"""New arrays of the kind of an array at hand: NumPy's here, CuPy's with `-m gpu`."""

import numpy as np
import pytest

import rmad
from rmad.machine import arrays


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def kind(request):
    return pytest.importorskip(request.param)


def to_numpy(a):
    return a if isinstance(a, np.ndarray | np.generic) else a.get()


def same(a, wanted, kind):
    """`a` is an array of this kind with these numbers, shape and dtype."""
    assert isinstance(a, kind.ndarray)
    np.testing.assert_array_equal(to_numpy(a), wanted, strict=True)


def test_new_arrays(kind):
    x = kind.asarray(np.array([[1, 2, 3]], np.float32))
    for shape in ((), (0,), (2, 1), 3):
        same(arrays.zeros(x, shape), np.zeros(shape, np.float32), kind)
        same(arrays.ones(x, shape, np.int64), np.ones(shape, np.int64), kind)
        same(arrays.full(x, shape, 1.5), np.full(shape, 1.5, np.float32), kind)
        assert arrays.empty(x, shape, complex).shape == np.empty(shape).shape
    same(arrays.eye(x, 2, 3), np.eye(2, 3, dtype=bool), kind)
    same(arrays.tri(x, 2, 3, 1, dtype=float), np.tri(2, 3, 1), kind)
    same(arrays.arange(x, 3), np.arange(3), kind)
    same(arrays.arange(x, 2, 5), np.arange(2, 5), kind)
    assert type(arrays.sample([2.0, x])) is kind.ndarray
    assert arrays.one(x).dtype == np.float32
    assert arrays.one(x, complex).shape == ()
    assert to_numpy(arrays.one(x)) == 1


def test_a_traced_array_stands_for_its_kind(kind):
    def f(x):
        assert arrays.kind_of(x) is kind
        same(arrays.zeros(x, ()), np.zeros(()), kind)
        return np.sum(arrays.moved_to(x, x) * arrays.moved_to(x, np.arange(3.0)))

    same(rmad.grad(f)(kind.ones(3)), np.arange(3.0), kind)
    same(rmad.grad(lambda x: np.sum(rmad.grad(f)(x) * x))(kind.ones(3)), np.arange(3.0), kind)


def test_zeros_of_unused_and_constant_leaves_are_of_the_kind_of_the_others(kind):
    x = {"a": kind.ones(2), "unused": kind.ones(2), "mask": kind.ones(3, bool), "n": 3}
    for found in (rmad.grad(lambda x: np.sum(x["a"]))(x), rmad.linearize(lambda x: x["a"], x)[1].JTu(x["a"])):
        same(found["unused"], np.zeros(2), kind)
        same(found["mask"], np.zeros(3, bool), kind)
        same(found["n"], np.zeros((), int), kind)


def test_copies(kind):
    x = kind.asarray(np.arange(6.0).reshape(2, 3).T)
    same(arrays.copied(x, [[1, 2]], float), np.array([[1.0, 2.0]]), kind)
    same(arrays.moved_to(x, np.arange(3), np.float32), np.arange(3, dtype=np.float32), kind)
    assert arrays.moved_to(x, x) is x
    assert arrays.contiguous(x).flags.c_contiguous
    same(arrays.contiguous(x, np.float32), to_numpy(x).astype(np.float32), kind)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_shares_of_one_element_are_added(kind, dtype):
    total, key = kind.zeros((3, 2), dtype), kind.asarray(np.array([2, 0, 2]))
    arrays.add_at(total, key, kind.ones((3, 2), dtype))
    same(total, np.array([[1, 1], [0, 0], [2, 2]], dtype), kind)


def test_the_largest_of_no_elements(kind):
    x = kind.asarray(np.array([[-3.0, 1.0], [0.5, -0.5]]))
    assert arrays.largest(x) == 3
    assert arrays.largest(x[:0]) == 0
    same(arrays.highest(x, 0.75, 1), np.array([1.0, 0.75]), kind)
    same(arrays.highest(x[:, :0], -np.inf, -1, keepdims=True), np.full((2, 1), -np.inf), kind)
    assert np.isnan(arrays.largest(x * np.nan))
