"""Arrays that f has made answer as NumPy's do, in every way in which a program may ask; so do flat views and masks."""

import copy
import math
import operator
import pickle
import sys

import numpy as np
import pytest
from numpy import asarray

import rmad

X = np.array([0.5, 1.5, 2.5])

ASKED = {  # of an array made in f: nothing here depends on x
    "repr": repr,
    "str": str,
    "format": lambda y: f"{y[:1]} {y}",
    "float": lambda y: float(y[:1].reshape(())),
    "int": lambda y: int(y[:1].reshape(())),
    "complex": lambda y: complex(y[:1].reshape(())),
    "index": lambda y: operator.index(y.astype(int)[:1].reshape(())),
    "item": lambda y: y.item(1),
    "tolist": lambda y: y.tolist(),
    "copy": lambda y: copy.copy(y),
    "deepcopy": lambda y: copy.deepcopy([y]),
    "pickle": lambda y: pickle.loads(pickle.dumps(y)),
    "bytes": lambda y: y.tobytes(),
    "strides": lambda y: (y.strides, y.itemsize, y.nbytes, y.flags.c_contiguous),
    "isinstance": lambda y: isinstance(y, np.ndarray),
    "converted": lambda y: (np.asarray(y, np.float32), np.array(y), np.asarray(y)),
    "reduced": lambda y: (np.add.reduce(y), np.add.accumulate(y), np.multiply.outer(y, y)),
    "a missing name": lambda y: hasattr(y, "_no_such_name") or hasattr(y, "no_such_name"),
}
if sys.version_info >= (3, 12):  # from when on Python code may offer a buffer
    ASKED["memoryview"] = lambda y: memoryview(y).tolist()


@pytest.mark.parametrize("name", ASKED)
def test_an_array_of_f_answers_as_a_plain_one(name):
    found = []

    def f(x):
        y = np.linspace(1.0, 2.0, 3)
        found.append(ASKED[name](y))
        return x * y

    f(X)
    value, lin = rmad.linearize(f, X)
    assert repr(found[0]) == repr(found[1])
    np.testing.assert_array_equal(value, lin.Jv(X))


WRITTEN = {  # y: zeros made in f; the derivative is that of the function without any writing
    "flat, a slice": (lambda y, x: y.flat.__setitem__(slice(0, 2), x[:2]), lambda x: np.stack([x[0], x[1], 0 * x[0]])),
    "flat, read": (lambda y, x: y.__setitem__(slice(None), x.flat[::-1]), lambda x: x[::-1]),
    "flat, iterated": (
        lambda y, x: [y.__setitem__(k, a * a) for k, a in enumerate(x.flat)],
        lambda x: x * x,
    ),
    "flat, in a function": (
        lambda y, x: y.__setitem__(slice(None), np.sin(x.flat) * len(x.flat) + np.concatenate([x.flat])),
        lambda x: 3 * np.sin(x) + x,
    ),
    "flat, copied": (lambda y, x: y.__setitem__(slice(None), x.flat.copy() ** 2), lambda x: x**2),
    "at, once": (lambda y, x: np.add.at(y, [0, 0, 2], x), lambda x: np.stack([x[0] + x[1], 0 * x[0], x[2]])),
    "at, less": (lambda y, x: np.subtract.at(y, [0, 0, 2], x), lambda x: np.stack([-x[0] - x[1], 0 * x[0], -x[2]])),
    "at, without operand": (
        lambda y, x: (y.__setitem__(slice(None), x), np.negative.at(y, [1])),
        lambda x: np.stack([x[0], -x[1], x[2]]),
    ),
    "at, plain": (
        lambda y, x: (np.add.at(y, [1, 1], 1.0), y.__imul__(x)),
        lambda x: np.stack([0 * x[0], 2 * x[1], 0 * x[2]]),
    ),
    "out, returned": (lambda y, x: np.multiply(x, 2.0, out=y).__iadd__(1.0), lambda x: 2 * x + 1),
    "out, of another shape": (lambda y, x: np.multiply(x[0], 2.0, out=y), lambda x: np.stack([2 * x[0]] * 3)),
    "out, one of two": (lambda y, x: y.__iadd__(np.modf(x * x, out=(None, y))[0]), lambda x: x * x),
    "with another axis": (
        lambda y, x: (y.__setitem__(slice(None), x), np.array(y, ndmin=2, copy=None).__setitem__((0, 1), x[0] ** 2)),
        lambda x: np.stack([x[0], x[0] ** 2, x[2]]),
    ),
    "where and out": (
        lambda y, x: np.log(x - 1, out=y, where=x > 1),
        lambda x: np.stack([0 * x[0], np.log(x[1] - 1), np.log(x[2] - 1)]),
    ),
    "where alone": (
        lambda y, x: y.__setitem__(slice(None), np.sqrt(x - 1, where=x > 1)),
        lambda x: np.stack([0 * x[0], np.sqrt(x[1] - 1), np.sqrt(x[2] - 1)]),
    ),
    "where, two results": (
        lambda y, x: y.__setitem__(slice(None), np.modf(x * x, where=x > 1)[0]),
        lambda x: np.stack([0 * x[0], np.modf(x[1] ** 2)[0], np.modf(x[2] ** 2)[0]]),
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_ways_to_write(name):
    write, direct = WRITTEN[name]

    def f(x):
        y = np.zeros(3)
        write(y, x)
        return y * x

    value, lin = rmad.linearize(f, X)
    np.testing.assert_array_equal(value, direct(X) * X)
    wanted = rmad.jacobian(lambda x: direct(x) * x)(X)
    np.testing.assert_allclose(rmad.jacobian(f)(X), wanted, atol=1e-14)
    np.testing.assert_allclose(rmad.hessian(lambda x: np.sum(f(x)))(X), rmad.hessian(lambda x: direct(x) @ x)(X))
    np.testing.assert_allclose(lin.JTu(X), X @ wanted, atol=1e-14)


def test_code_that_keeps_numpys_own_names_shares_the_memory():
    """`from numpy import asarray` is not stood in for; of the same dtype it gives a view, as in NumPy."""

    def f(x):
        y, z = np.zeros(3), np.zeros(3)
        asarray(y, float)[0] = 5.0
        asarray(z, np.float32)[0] = 5.0  # a copy
        return x * (y + z)

    np.testing.assert_array_equal(rmad.linearize(f, X)[0], f(X))
    assert f(X)[0] == 2.5


REFUSED = {
    "a plain target of at": (lambda x, plain: np.add.at(plain, [0], x[:1]), TypeError, r"add\.at.*np\.zeros_like"),
    "a plain array in another shape": (
        lambda x, plain: np.reshape(plain, x),
        TypeError,
        "a traced number is no integer",
    ),
    "another shape": (
        lambda x, plain: np.sin(x, out=np.zeros(3), where=np.ones((2, 3), bool)),
        ValueError,
        "non-broadcastable output operand",
    ),
    "integers": (lambda x, plain: np.sin(x, out=np.zeros(3, int), where=x > 1), TypeError, "Cannot cast|cannot"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written(name):
    write, error, message = REFUSED[name]
    plain = np.zeros(3)
    with pytest.raises(error, match=message):
        rmad.linearize(lambda x: (write(x, plain), x)[1], X)


OF_MATH = {
    "log": lambda a, b: math.log(a, b) + math.log(a) + math.log(b, 3),
    "hypot": lambda a, b: math.hypot(a, b, 2.0) + math.hypot(a),
    "dist": lambda a, b: math.dist([a, 1.0], [b, a]),
    "remainder": lambda a, b: math.remainder(b, a) + math.fmod(b, a),
    "prod": lambda a, b: math.prod([a, b, 2.0], start=a),
    "fsum": lambda a, b: math.fsum([a, b, a]),
    "special": lambda a, b: math.erf(a) + math.erfc(b) + math.gamma(b) + math.lgamma(a),
    "angles": lambda a, b: math.atan2(a, b) + math.degrees(a) + math.radians(b) + math.pow(b, a),
    "constants": lambda a, b: a * math.floor(b) + b * math.ceil(a) + math.trunc(b) * a + math.isfinite(a),
}


@pytest.mark.parametrize("name", OF_MATH)
def test_functions_of_math(name):
    f = OF_MATH[name]
    x = np.array([0.7, 2.6])
    assert rmad.linearize(lambda x: f(x[0], x[1]), x)[0] == f(x[0], x[1])
    rmad.check_grads(lambda x: f(x[0], x[1]), x)


CALLED = {
    "vectorize": lambda x: np.vectorize(lambda a, b: a * b + 1)(x, 2.0),
    "vectorize, two results": lambda x: np.add(*np.vectorize(lambda a: (a, a * a))(x)),
    "vectorize, signature": lambda x: np.vectorize(lambda a: a * a[0], signature="(n)->(n)")(np.stack([x, 2 * x])),
    "apply_along_axis": lambda x: np.apply_along_axis(lambda a: a * a.sum(), 1, np.stack([x, 2 * x])),
    "apply_over_axes": lambda x: np.apply_over_axes(np.sum, np.stack([x, x * x]), [0, 1]),
    "piecewise": lambda x: np.piecewise(x, [x < 1, x >= 1], [lambda a: a * a, 3.0]),
    "r_": lambda x: np.r_[x, 0.0, x[:2] * x[1], 1:3],
    "c_": lambda x: np.c_[x, x * x, np.ones(3)],
    "polynomials": lambda x: np.polynomial.polynomial.polyval(x, np.array([1.0, 2.0, 3.0])),
    "coefficients": lambda x: np.polynomial.polynomial.polymul(x, [1.0, 2.0]),
    "chebyshev": lambda x: np.polynomial.chebyshev.chebval(0.3, x),
}


@pytest.mark.parametrize("name", CALLED)
def test_numpys_own_code(name):
    f = CALLED[name]
    np.testing.assert_array_equal(rmad.linearize(f, X)[0], f(X))
    rmad.check_grads(f, X)


def test_astype_makes_a_copy_unless_told_otherwise():
    def f(x, **options):
        c = np.zeros(3)
        u = c.astype(float, **options)
        u[0] = x[1]
        return np.sum(c)

    np.testing.assert_array_equal(rmad.grad(f)(X), 0)
    np.testing.assert_array_equal(rmad.grad(lambda x: f(x, copy=False))(X), [0, 1, 0])
