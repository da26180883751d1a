"""Lists of traced numbers: NumPy's functions take them as they take lists of plain numbers, derivatives included."""

from __future__ import annotations

import contextlib
import copy
import math
from collections import namedtuple

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import rmad

X = np.array([0.7, 1.3, 2.1, 0.4])
Pair = namedtuple("Pair", "a b")


def objects(x):
    o = np.empty(2, object)
    o[:] = [x[0], x[1]]
    return o


# a function written with lists: the same with arrays only
SAME = {
    "array": (lambda x: np.array([x[0], x[1] * x[2]]), lambda x: np.stack([x[0], x[1] * x[2]])),
    "nested, with constants": (
        lambda x: np.array([[x[0], 1], [2.5, x[1] ** 2]]),
        lambda x: np.stack([x[0], x[0] * 0 + 1, x[0] * 0 + 2.5, x[1] ** 2]).reshape(2, 2),
    ),
    "rows": (lambda x: np.array([x, x * x]), lambda x: np.stack([x, x * x])),
    "tuples": (lambda x: np.asarray((x[0], x[1])), lambda x: x[:2]),
    "a named tuple": (lambda x: np.asarray(Pair(x[0], x[1])), lambda x: x[:2]),
    "an object array": (lambda x: np.array(objects(x), dtype=float), lambda x: x[:2]),
    "objects in a list": (lambda x: np.array([objects(x), x[2:]], dtype=float), lambda x: x.reshape(2, 2)),
    "one number twice": (lambda x: np.array([x[0], x[0]]), lambda x: x[[0, 0]]),
    "the array itself": (lambda x: np.asarray(np.array(x) * np.asanyarray(x)), lambda x: x * x),
    "ndmin": (lambda x: np.array([x[0], x[1]], ndmin=3), lambda x: x[None, None, :2]),
    "complex": (lambda x: np.abs(np.array([x[0], x[1]], dtype=complex) * 2j), lambda x: 2 * x[:2]),
    "a comprehension": (lambda x: np.array([a * a for a in x]), lambda x: x * x),
    "sum": (lambda x: np.sum([x[0], x[1] ** 2]), lambda x: x[0] + x[1] ** 2),
    "mean of rows": (lambda x: np.mean([[x[0], x[1]], [x[2], x[3]]], axis=0), lambda x: x.reshape(2, 2).mean(0)),
    "max": (lambda x: np.max([x[0] * x[1], x[2]]), lambda x: np.max(np.stack([x[0] * x[1], x[2]]))),
    "norm": (lambda x: np.linalg.norm([x[0], x[1]]), lambda x: np.linalg.norm(x[:2])),
    "det": (lambda x: np.linalg.det([[x[0], x[1]], [x[2], x[3]]]), lambda x: np.linalg.det(x.reshape(2, 2))),
    "solve": (
        lambda x: np.linalg.solve([[x[0], 1], [2, x[1]]], [x[2], x[3]]),
        lambda x: np.linalg.solve(np.diag(x[:2]) + np.array([[0, 1], [2, 0]]), x[2:]),
    ),
    "fft": (lambda x: np.abs(np.fft.rfft([a for a in x])), lambda x: np.abs(np.fft.rfft(x))),  # noqa: C416
    "dot of a list and an array": (lambda x: np.dot([x[0], 2], x[:2]), lambda x: x[0] ** 2 + 2 * x[1]),
    "an array and a list": (lambda x: np.dot(x[:2], [x[0], 2]), lambda x: x[0] ** 2 + 2 * x[1]),
    "a ufunc of an array and a list": (lambda x: np.multiply(x[:2], [x[0], x[1]]), lambda x: x[:2] ** 2),
    "an operator": (lambda x: x[:2] * [x[2], x[3]] + (x[1], x[0]), lambda x: x[:2] * x[2:] + x[1::-1]),
    "different lengths": (lambda x: np.concatenate([[x[0], x[2]], [x[1]]]), lambda x: x[[0, 2, 1]]),
    "by keyword": (
        lambda x: np.interp(x=[x[0], x[1]], xp=[0, 1, 2], fp=[x[2], x[3], x[0]]),
        lambda x: np.interp(x[:2], [0, 1, 2], x[[2, 3, 0]]),
    ),
    "initial": (lambda x: np.sum([1.0, 2.0], initial=x[0]), lambda x: x[0] + 3),
    "array_equal": (lambda x: np.array_equal([x[0], x[1]], x[:2]) * x, lambda x: x),
    "Python's sum": (lambda x: sum([a * a for a in x]), lambda x: np.sum(x * x)),
    "Python's max": (lambda x: max([a * a for a in x]), lambda x: np.max(x * x)),
    "sorted": (lambda x: np.array(sorted(x)[:2]), lambda x: np.sort(x)[:2]),
    "sorted by a key": (lambda x: np.array(sorted(x, key=lambda a: -a)[:2]), lambda x: np.sort(x)[:1:-1]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_lists_are_arrays(name):
    listed, arrays = SAME[name]
    value = rmad.linearize(listed, X)[0]
    np.testing.assert_array_equal(value, listed(X), strict=True)
    total = lambda f: lambda x: np.sum(np.sin(f(x)))  # noqa: E731
    for check in (
        (rmad.jacobian(listed)(X), rmad.jacobian(arrays)(X)),
        (
            rmad.hessian(total(listed))(X),
            rmad.hessian(total(arrays))(X),
        ),
    ):
        np.testing.assert_allclose(*check, atol=1e-14)
    rmad.check_grads(total(listed), X, order=2)


def test_sorted_is_stable():
    keys = [(1, "a"), (0, "b"), (1, "c"), (0, "d")]
    f = lambda x: [name for _, name in sorted(((x[k], name) for k, name in keys), key=lambda p: p[0])]  # noqa: E731
    found = []
    rmad.vjp(lambda x: (found.append(f(x)), x)[1], X)
    assert found == [f(X)]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, complex, np.longdouble])
def test_dtypes_of_lists(dtype):
    x = X.astype(dtype)
    f = lambda x: np.array([[x[0], 2], [x[1], x[2]]], dtype=dtype)  # noqa: E731
    y, lin = rmad.linearize(f, x)
    np.testing.assert_array_equal(y, f(x), strict=True)
    assert lin.JTu(np.ones_like(y)).dtype == x.dtype
    np.testing.assert_array_equal(lin.JTu(np.ones_like(y)), np.array([1, 1, 1, 0], dtype))


def test_integers_made_of_a_list_are_constants():
    y, lin = rmad.linearize(lambda x: np.array([x[0], x[1]], dtype=int) * x[0], X)
    np.testing.assert_array_equal(y, [0, 0.7])
    np.testing.assert_array_equal(lin.JTu(np.ones(2)), [1, 0, 0, 0])


REFUSED = {
    "text": (lambda x: np.array([x[0], "a"]), "would lose its derivative"),
    "an import by name": (lambda x: copy.copy(_imported)([x[0], x[1]]), "`from numpy import array` keeps NumPy's own"),
    "a ufunc of nothing but a list": (lambda x: np.exp([x[0], x[1]]), r"np.array\(\[…\]\) around a list"),
    "a plain array and a list": (lambda x: X[:2] * [x[0], x[1]], r"np.array\(\[…\]\) around a list"),
}
_imported = np.array


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_an_error_says_what_to_write(name):
    f, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        rmad.linearize(f, X)


def test_ragged_lists_are_numpys_error():
    with pytest.raises(ValueError, match="inhomogeneous"):
        rmad.linearize(lambda x: np.array([[x[0], x[1]], [x[2]]]), X)


def test_an_error_that_was_swallowed_before_stays_noted():
    def f(x):
        with contextlib.suppress(TypeError):
            float(x[0])
        return np.sum([x[0], x[1]])

    with pytest.raises(TypeError, match="derivative"):
        rmad.grad(f)(X)


def test_a_list_of_a_thousand_numbers():
    def f(x):
        return np.array([a * a for a in x])

    _, lin = rmad.linearize(f, np.ones(1000))
    np.testing.assert_array_equal(lin.JTu(np.ones(1000)), np.full(1000, 2.0))
    np.testing.assert_array_equal(lin.Jv(np.ones(1000)), np.full(1000, 2.0))


@st.composite
def nested(draw):
    """A shape, and for every place in it a constant, or the number of an element of x and its factor."""
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    numbers = st.floats(-4, 4, width=16)
    place = st.one_of(numbers, st.tuples(st.integers(0, len(X) - 1), numbers))
    return shape, [draw(place) for _ in range(int(np.prod(shape)))]


def as_list(x, shape, places, of=list):
    if not shape:
        (place,) = places
        return place if isinstance(place, float) else x[place[0]] * place[1]
    n = len(places) // shape[0]
    return of(as_list(x, shape[1:], places[k * n : (k + 1) * n], of) for k in range(shape[0]))


@given(nested(), st.sampled_from([list, tuple]), st.sampled_from([None, np.float32, complex]))
def test_any_nested_lists(tree, of, dtype):
    shape, places = tree
    f = lambda x: np.array(as_list(x, shape, places, of), dtype=dtype)  # noqa: E731
    y, lin = rmad.linearize(f, X)
    np.testing.assert_array_equal(y, f(X), strict=True)
    J = np.zeros((len(places), len(X)))
    for row, place in zip(J, places, strict=True):
        if not isinstance(place, float):
            row[place[0]] = place[1]
    v, u = np.array([1.0, -2.0, 0.5, 3.0]), np.linspace(-1, 1, len(places))
    np.testing.assert_allclose(lin.Jv(v).ravel(), J @ v, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(lin.JTu(u.reshape(shape).astype(y.dtype)), J.T @ u, rtol=1e-6, atol=1e-6)


def test_decorators_and_subclasses_of_vectorize():
    @np.vectorize
    def hinge(t, slope):
        return slope * t if t > 0 else 0.0

    class Twice(np.vectorize):
        pass

    t = np.array([-1.0, 0.5, 2.0])
    assert rmad.grad(lambda a: np.sum(hinge(t, a)))(2.0) == 2.5
    np.testing.assert_array_equal(rmad.jacobian(lambda x: Twice(lambda a: 2 * a)(x))(t), 2 * np.eye(3))
    assert isinstance(hinge(t, 1.0), np.ndarray)
    products = np.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")
    J = rmad.jacobian(lambda x: products(x.reshape(2, 2), x[:2]))(X)
    np.testing.assert_allclose(J, [[2 * X[0], 2 * X[1], 0, 0], [X[2], X[3], X[0], X[1]]])


SPARSE = np.array([[0.0, 2, 0], [1, 0, 0], [0, -1, 3], [0, 0, 0]])


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_products_with_sparse_matrices(kind, layout, monkeypatch):
    S = kind(SPARSE).asformat(layout)
    for name in ("toarray", "todense"):
        monkeypatch.setattr(type(S), name, None)  # nothing becomes dense
    left = lambda x: S @ np.sin(x[:3])  # noqa: E731
    right = lambda x: np.sin(x) @ S  # noqa: E731
    np.testing.assert_array_equal(rmad.linearize(left, X)[0], left(X), strict=True)
    np.testing.assert_array_equal(rmad.linearize(right, X)[0], right(X), strict=True)
    d = np.diag(np.cos(X))
    for J in (rmad.jacobian(left)(X), np.stack([rmad.vjp(left, X)[1](u) for u in np.eye(4)])):
        np.testing.assert_allclose(J, SPARSE @ d[:3], atol=1e-15)
    np.testing.assert_allclose(rmad.jacobian(right)(X), SPARSE.T @ d)
    H = rmad.hessian(lambda x: np.sum((S.T @ (S @ x[:3] ** 2)) * x[:3]))(X)
    wanted = rmad.hessian(lambda x: np.sum((SPARSE.T @ (SPARSE @ x[:3] ** 2)) * x[:3]))(X)
    np.testing.assert_allclose(H, wanted, atol=1e-14)


def test_a_sparse_matrix_that_is_changed_later():
    S = scipy.sparse.csr_array(SPARSE)
    _, lin = rmad.linearize(lambda x: S @ x, X[:3])
    S.data[:] = 0
    np.testing.assert_array_equal(lin.Jv(np.ones(3)), SPARSE @ np.ones(3))


def test_numbers_of_math_are_pythons():
    """They do not widen float32 arrays."""
    a = np.ones(2, np.float32)
    assert rmad.linearize(lambda x: math.sin(x) * a, 0.3)[0].dtype == np.float32
    assert rmad.grad(lambda x: math.hypot(x[0], x[1]))(np.array([3.0, 4.0])).tolist() == [0.6, 0.8]
    assert rmad.linearize(lambda x: math.floor(x[0]) * x, X)[0].tolist() == [0.0] * 4
