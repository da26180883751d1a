"""Every dtype that NumPy can make of a traced array: the derivative is right, zero as documented, or an error."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import rmad

X = np.array([1.5, -2.0, 3.0])
X32 = X.astype(np.float32)
NUMBERS = ("f2", "f4", "f8", "g", "F", "D", "O")
CONSTANTS = ("i1", "i8", "u4", "?")
OTHERS = ("U", "S", "U8", "V8", "M8[s]", "m8[s]", "f8,f8", np.dtypes.StringDType())

WAYS = {
    "astype": lambda x, dtype: (x * x).astype(dtype),
    "astype of a matrix": lambda x, dtype: (x[:, None] * x[None, :]).astype(dtype)[[0, 1, 2], [0, 1, 2]],
    "astype of a number": lambda x, dtype: np.sum(x * x).astype(dtype),
    "sum": lambda x, dtype: np.sum(x * x, dtype=dtype),
    "sum with a mask": lambda x, dtype: np.sum(x * x, dtype=dtype, where=np.array([True] * 3), initial=0),
    "sum of rows": lambda x, dtype: np.sum(x[:, None] * np.eye(3) * x, axis=1, keepdims=True, dtype=dtype),
    "mean": lambda x, dtype: 3 * np.mean(x * x, dtype=dtype),
    "cumsum": lambda x, dtype: np.cumsum(x * x, dtype=dtype)[-1],
    "add.reduce": lambda x, dtype: np.add.reduce(x * x, dtype=dtype),
    "ufunc": lambda x, dtype: np.multiply(x, x, dtype=dtype),
    "ufunc and a number": lambda x, dtype: np.add(x * x, 0, dtype=dtype),
    "outer": lambda x, dtype: np.multiply.outer(x, np.ones(1), dtype=dtype)[:, 0] * x,
    "matmul": lambda x, dtype: np.matmul(x, x, dtype=dtype),
    "einsum": lambda x, dtype: np.einsum("i,i", x, x, dtype=dtype, casting="unsafe"),
    "concatenate": lambda x, dtype: np.concatenate([x * x], dtype=dtype, casting="unsafe"),
    "stack": lambda x, dtype: np.stack([x * x], dtype=dtype, casting="unsafe"),
    "full_like": lambda x, dtype: np.full_like(x[:1], np.sum(x * x), dtype=dtype),
    "in a constant": lambda x, dtype: np.ones(3).astype(dtype) * x * x,
    "constant on the right": lambda x, dtype: x * (x * np.ones(3).astype(dtype)),
    "array of the array": lambda x, dtype: np.asarray(x * x, dtype=dtype),
    "array of numbers": lambda x, dtype: np.array([x[0] * x[0], x[1] * x[1], x[2] * x[2]], dtype=dtype),
}
if hasattr(np, "astype"):
    WAYS["np.astype"] = lambda x, dtype: np.astype(x * x, np.dtype(dtype))


def as_one_number(y):
    """The sum as a double, whatever the dtype of y."""
    return np.real(np.sum(y)).astype(float)


@pytest.mark.parametrize("way", WAYS)
def test_numbers_of_any_dtype_keep_the_derivative(way):
    """f(x) = Σ x² in every row."""
    for dtype in NUMBERS:
        rtol = 1e-2 if dtype == "f2" else 1e-6
        f = lambda x: as_one_number(WAYS[way](x, dtype))  # noqa: B023, E731
        for x in (X, X32):
            y, gradient = rmad.value_and_grad(f)(x)
            np.testing.assert_allclose(y, np.sum(X * X), rtol=rtol)
            np.testing.assert_allclose(gradient, 2 * X, rtol=rtol)
            assert gradient.dtype == x.dtype
            np.testing.assert_allclose(rmad.jvp(f, x, x)[1], 2 * np.sum(X * X), rtol=rtol)
            np.testing.assert_allclose(rmad.hvp(f, x, x), 2 * X, rtol=rtol)


@pytest.mark.parametrize("way", [way for way in WAYS if "constant" not in way])
def test_integers_are_constants(way):
    """f(x) = c x₀ with a constant c. NumPy refuses the cast for its ufuncs."""
    for dtype in CONSTANTS:
        f = lambda x: as_one_number(WAYS[way](x, dtype) + 0) * x[0]  # noqa: B023, E731
        try:
            c = f(X) / X[0]
        except TypeError:
            with pytest.raises(TypeError):
                rmad.grad(f)(X)
            continue
        if way != "outer":
            np.testing.assert_allclose(rmad.grad(f)(X), [c, 0, 0])


@pytest.mark.parametrize("way", WAYS)
def test_text_records_and_times_are_an_error(way):
    for dtype in OTHERS:
        with pytest.raises(TypeError, match="derivative" if "astype" in way else None):
            rmad.linearize(lambda x: WAYS[way](x, dtype), X)  # noqa: B023


empty = np.empty  # by this name it makes plain arrays in f, too


@pytest.mark.parametrize("dtype", [*NUMBERS, *CONSTANTS, *OTHERS], ids=str)
def test_arrays_to_write_into(dtype):
    for f in (np.negative, np.cumsum):
        with pytest.raises(TypeError, match="cannot be written into another one"):
            rmad.linearize(lambda x, f=f: f(x, out=empty(3, dtype)), X)


def collected(x):
    """An object array of the user's own."""
    o = np.empty(3, object)
    for k in range(3):
        o[k] = x[k] * x[k]
    return o


def swallows(convert):
    def f(x):
        try:
            return np.sum(np.sum(x) * convert(x))
        except (TypeError, ValueError):
            return np.sum(x)

    return f


RETURNED = {
    "an object array": lambda x: (x * x).astype(object),
    "one of one's own": collected,
    "a tree with both": lambda x: {"a": collected(x)[:1], "b": [collected(x)[1:]]},
    "a number": lambda x: np.sum(x.astype(object) * x),
    "mixed with constants": lambda x: np.array([x[0] ** 2 + x[1] ** 2, 1.0, Fraction(1, 2), x[2] ** 2], object),
}


@pytest.mark.parametrize("f", RETURNED.values(), ids=RETURNED)
def test_object_arrays_that_f_returns_are_stacked(f):
    y, lin = rmad.linearize(f, X)
    ones = rmad.map_leaves(np.ones_like, y)
    assert all(a.dtype == float for _, a in rmad.trees.tree.leaves(y))
    np.testing.assert_allclose(lin.JTu(ones), 2 * X)
    np.testing.assert_allclose(rmad.vjp(f, X)[1](ones), 2 * X)


OBJECTS = {
    "object * array": lambda x: collected(x) * x,
    "array * object": lambda x: x * collected(x),
    "object @ array": lambda x: collected(x) @ x,
    "np.dot": lambda x: np.dot(x, collected(x)),
    "np.vdot of lists": lambda x: np.sum(np.concatenate([collected(x), x]) * np.concatenate([x, 0 * x])),
    "where": lambda x: np.where(x > 0, collected(x), x * x) * x,
    "stack": lambda x: np.stack(collected(x)) * x,
    "writes into objects": lambda x: (lambda o: (o.__imul__(x), o)[1])(collected(x)),
    "elements": lambda x: sum(a * b for a, b in zip(collected(x).tolist(), x, strict=True)),
    "round trip": lambda x: collected(x).astype(object).copy() * x.astype(object).astype(float),
    "x ** 3": lambda x: x.astype(object) ** 3,
    "mean": lambda x: 3 * np.mean(x.astype(object) ** 3),
    "mean of columns": lambda x: np.mean((x * np.ones((2, 3))).astype(object) ** 3, axis=0),
    "Fraction": lambda x: Fraction(1, 2) * x * (x * x * Decimal(2)),
    "Fraction and a number": lambda x: sum(Fraction(1, 2) * a * a * a * Decimal(2) for a in x),
    "Fractions": lambda x: np.array([Fraction(1, 2)] * 3) * x * x * x * 2,
    "std": lambda x: np.std(x.astype(object)) ** 2 * np.var(x.astype(object)) * 0 + np.sum(x**3),
    "compared with None": lambda x: x**3 * (x != None) if not (x == None).any() else x,  # noqa: E711
    "a large integer": lambda x: x**3 * 10**30 / 10.0**30,
}


@pytest.mark.parametrize("f", OBJECTS.values(), ids=OBJECTS)
def test_object_arrays_compute_element_by_element(f):
    total = lambda x: np.sum(f(x))  # noqa: E731
    y, gradient = rmad.value_and_grad(total)(X)
    np.testing.assert_allclose(float(y), float(np.sum(X**3)))
    np.testing.assert_allclose(gradient, 3 * X**2)
    np.testing.assert_allclose(rmad.hvp(total, X, np.ones(3)), 6 * X)


LOST = {
    "float": swallows(lambda x: float(x[0])),
    "int": swallows(lambda x: list(map(int, x))),
    "asarray": swallows(np.asarray),
    "item": swallows(lambda x: x[0].item()),
    "text": swallows(lambda x: x.astype(str).astype(float)),
    "time": swallows(lambda x: x * np.timedelta64(1, "s") / np.timedelta64(1, "s")),
    "times": swallows(lambda x: x * np.ones(3, "m8[s]") / np.timedelta64(1, "s")),
    "object to floats": swallows(lambda x: collected(x).astype(float)),
    "out": swallows(lambda x: np.exp(x, out=empty(3))),
    "out of a function": swallows(lambda x: np.sum(x, out=empty(()))),
}


@pytest.mark.parametrize("f", LOST.values(), ids=LOST)
def test_a_lost_derivative_that_is_swallowed_is_raised_at_the_end(f):
    for run in (lambda: rmad.grad(f)(X), lambda: rmad.hvp(f, X, X), lambda: rmad.grad(rmad.checkpoint(f))(X)):
        with pytest.raises(TypeError, match=r"derivative|cannot be written into") as caught:
            run()
        assert any("went on without the derivative" in note for note in caught.value.__notes__)


ERRORS = {
    "a list of arrays as objects": (lambda x: np.array([x, x[:2], None], object)[:2], "holds an array"),
    "no numbers": (lambda x: np.array([x[0], None], object), "holds a NoneType"),
    "a timedelta": (lambda x: x[0] * datetime.timedelta(1), "timedelta is no number"),
    "added to numbers": (lambda x: x.__iadd__(np.ones(3, object)), "objects cannot be written"),
    "plain objects to floats": (lambda x: collected(x).astype(float), r"o.astype\(float\).*np.stack"),
    "a safe cast": (lambda x: x.astype(np.float32, casting="safe"), "[cC]annot cast.*safe"),
}


@pytest.mark.parametrize("row", ERRORS.values(), ids=ERRORS)
def test_what_objects_cannot_do_is_an_error(row):
    f, message = row
    with pytest.raises(TypeError, match=message):
        rmad.linearize(f, X)


# -- Python's numbers ------------------------------------------------------------------------------------

F = np.linspace(0.5, 1.5, 3).astype(np.float32)
H = F.astype(np.float16)
WITH_A_PYTHON_NUMBER = """
    x * F | F * x | 2 * x * F | (x + 1) / F | x ** 2 * F | F ** x | -x * F | abs(x) * F | x * x * F | x - F
    x // .3 * F | x ** 0 * F | x % .3 * F | divmod(x, .3)[1] * F | divmod(2, x)[1] * F | (x + 1j) * F | x * H
    x * np.float32(2) | x * np.float64(2) * F | np.sin(x) * F | np.add(x, x) * F | x * np.arange(3)
    np.where(F > 1, x, F) | np.clip(F, x, 2) | np.select([F > 1], [x], F) | np.choose([0, 1], [F[:2], x])
    np.maximum(F, x) | np.heaviside(F, x) | np.hypot(x, F) | np.logaddexp(F, x) | np.ldexp(x, 2) * F | np.exp(F * x)
    x * F * H | [1, 2, 3] * F * x
    np.dot(F, x) | np.multiply.outer(F, x) | np.stack([x, x]) * F[:2] | np.interp(x, [0., 1.], F[:2]) | F @ F * x
    np.sum(F * x) + x | x * 2 | x ** 2 | np.sin(x) | rmad.softmax(x * F) | rmad.stop_gradient(x) * x * F
"""


@pytest.mark.parametrize("call", re.split(r"\s*[|\n]\s*", WITH_A_PYTHON_NUMBER.strip()))
def test_a_python_number_does_not_widen_float32(call):
    """It takes the dtype of the array that it meets, as in NumPy; its derivative is a double."""
    f = eval(f"lambda x: {call}", {"np": np, "rmad": rmad, "F": F, "H": H})
    wanted = np.asarray(f(0.7))
    y, lin = rmad.linearize(f, 0.7)
    np.testing.assert_array_equal(np.asarray(y), wanted, strict=True)
    assert np.asarray(lin.Jv(1.0)).dtype == wanted.dtype
    assert np.asarray(lin.JTu(np.ones(wanted.shape))).dtype == np.float64
    in_double = rmad.jvp(f, np.float64(0.7), np.float64(1.0))[1]
    np.testing.assert_allclose(lin.Jv(1.0), in_double, rtol=2e-3 if wanted.dtype == np.float16 else 1e-5)


def test_derivatives_of_a_python_number_nest():
    f = lambda x: np.sum(np.sin(x * F) ** 2 * x) + x  # noqa: E731
    exact = rmad.hvp(lambda x: np.sum(np.sin(x * F.astype(float)) ** 2 * x) + x, 0.7, 1.0)
    for found in (rmad.hvp(f, 0.7, 1.0), rmad.grad(rmad.grad(f))(0.7), rmad.jacobian(rmad.grad(f))(0.7)):
        np.testing.assert_allclose(found, exact, rtol=1e-6)
    _, lin = rmad.linearize(f, 0.7)
    np.testing.assert_allclose(rmad.grad(lambda v: lin.Jv(v) ** 2)(2.0), 4.0 * lin.Jv(1.0) ** 2, rtol=1e-6)


def test_a_sum_of_numbers_grows_in_place():
    """s += x rebinds s if it is a scalar, traced or not; NumPy writes into arrays only."""

    def f(x):
        s = np.sum(x)
        s += x
        s *= 2
        return s

    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(rmad.linearize(f, x)[0], f(x), strict=True)
    np.testing.assert_array_equal(rmad.jacobian(f)(x), [[4.0, 2.0], [2.0, 4.0]])
