"""dtype=, signature= and casting= of ufuncs: NumPy's loop, its value to the last bit, and the derivative through it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.special as sc

import rmad
import rmad.primitives.scipy_ufuncs
from rmad.tracing.handlers import HANDLERS

UFUNCS = sorted({f for f in HANDLERS if isinstance(f, np.ufunc)}, key=lambda f: f.__name__)
DTYPES = ("f2", "f4", "f8", "F", "D", "i8", "?", "O", "U8", "m8[s]")
OWN_ARITHMETIC = {"expit", "expm1", "log1p", "sign", "vecdot", "vecmat", "tanh", "exp"}  # differ in the last place
NO_DERIVATIVE = {
    "psi",
    "ive",
    "kve",
    "airye",
    "jve",
    "yve",
    "floor",
    "ceil",
    "trunc",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
}  # of complex, objects


def operands(ufunc, dtype):
    shape = (2, 2) if ufunc.signature else (3,)
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(0.2, 0.9, shape).astype(dtype) for _ in range(ufunc.nin)]
    if ufunc is np.ldexp:
        inputs[1] = np.arange(3)
    return inputs


def outcome(f, *args):
    """The result; for an error its type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return f(*args)
        except Exception as error:
            return type(error)


def traced(ufunc, inputs, options):
    """The ufunc with its last input traced: a parameter before it may have no derivative."""
    last = 0 if ufunc is np.ldexp else ufunc.nin - 1
    call = lambda x: ufunc(*inputs[:last], x, *inputs[last + 1 :], **options)  # noqa: E731
    return outcome(lambda: rmad.linearize(call, inputs[last])[0])


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_every_ufunc_in_every_dtype(ufunc):
    """A result where NumPy has one, of the same dtype and value, and an error where it has one."""
    for given in ("f4", "f8"):
        inputs = operands(ufunc, given)
        for dtype in DTYPES:
            for options in ({"dtype": dtype}, {"dtype": dtype, "casting": "unsafe"}):
                plain, found = outcome(lambda: ufunc(*inputs, **options)), traced(ufunc, inputs, options)  # noqa: B023
                if isinstance(plain, type) or dtype in ("U8", "m8[s]"):
                    assert isinstance(found, type), (given, options)
                    continue
                if isinstance(found, type):
                    assert ufunc.__name__ in NO_DERIVATIVE, (given, options, found)
                    assert dtype in ("F", "D", "O"), (given, options, found)
                    continue
                parts = zip(plain, found, strict=True) if ufunc.nout > 1 else [(plain, found)]
                for a, b in parts:
                    if dtype == "O":
                        np.testing.assert_array_equal(np.asarray(b).astype(float), np.asarray(a).astype(float))
                        continue
                    assert a.dtype == b.dtype, (given, options)
                    ulps = 2 if ufunc.__name__ in OWN_ARITHMETIC and a.dtype.kind in "fc" else 0
                    rtol = ulps and ulps * np.finfo(a.dtype).eps
                    np.testing.assert_allclose(b, a, rtol=rtol, atol=0, err_msg=f"{given} {options}")


X32 = np.array([0.5, 1.5, 2.5], np.float32)
VALUES = {
    "no overflow": (lambda x: np.exp(x, dtype=np.float64), np.array([200.0], np.float32), np.exp(200.0)),
    "a complex root": (lambda x: np.sqrt(x, dtype=complex), np.array([-1.0]), 1j),
    "a signature": (lambda x: np.exp(x, signature="d->d"), np.array([200.0], np.float32), np.exp(200.0)),
    "a short name": (lambda x: np.exp(x, sig="d->d"), np.array([200.0], np.float32), np.exp(200.0)),
    "dtypes": (lambda x: np.exp(x, signature=("d", None)),
               np.array([200.0], np.float32), np.exp(200.0)),
    "a Python number": (lambda x: np.multiply(1e30, x, dtype=np.float64), np.array([1e30], np.float32), 1e60),
    "a list": (lambda x: np.multiply(x, [1e30], dtype=np.float64), np.array([1e30], np.float32), 1e60),
    "matmul": (lambda x: np.matmul(x, x, dtype=np.float64), np.array([1e30], np.float32), 1e60),
    "vecdot": (lambda x: np.vecdot(x, x, dtype=np.float64), np.array([1e30], np.float32), 1e60),
    "outer": (lambda x: np.multiply.outer(x, x, dtype=np.float64), np.array([1e30], np.float32), 1e60),
    "reduce": (lambda x: np.multiply.reduce(x, dtype=np.float64), np.array([1e30, 1e30], np.float32), 1e60),
    "accumulate": (lambda x: np.multiply.accumulate(x, dtype=np.float64)[1:], np.full(2, 1e30, np.float32), 1e60),
    "prod": (lambda x: np.prod(x, dtype=np.float64), np.full(2, 1e30, np.float32), 1e60),
    "scipy.special": (lambda x: sc.exp10(x, dtype=np.float64), np.array([60.0], np.float32), 1e60),
    "to half precision": (lambda x: np.add(x, 1e-9, dtype=np.float16), np.array([1.0]), 1.0),
    "any cast": (lambda x: np.add(x, 0.7, dtype=int, casting="unsafe"), np.array([1.9]), 1),
    "all True": (lambda x: np.exp(x, where=True), np.array([0.0]), 1.0),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("row", VALUES.values(), ids=VALUES)
def test_values(row):
    f, x, value = row
    x = x * np.float32(1 + 1e-6) if abs(x[0]) > 1e20 else x
    y = rmad.linearize(f, x)[0]
    np.testing.assert_array_equal(y, f(x))
    assert np.asarray(y).dtype == np.asarray(f(x)).dtype
    np.testing.assert_allclose(y, value, rtol=1e-2 if abs(x[0]) > 1e20 else 1e-14)


DERIVATIVES = {
    "exp": lambda x: np.exp(x, dtype=np.float64),
    "complex sqrt": lambda x: np.sqrt(x - 1, dtype=complex),
    "power": lambda x: np.power(x, 2.5, signature="dd->d"),
    "matmul": lambda x: np.matmul(x, x * x, dtype=np.float64),
    "vecdot": lambda x: np.vecdot(x, x * x, dtype=complex),
    "expit": lambda x: sc.expit(x, dtype=np.float64),
    "hypot": lambda x: np.hypot(x, 1, dtype=np.float64),
    "reduce": lambda x: np.add.reduce(x**3, dtype=np.float64),
    "objects": lambda x: np.multiply(x, x, dtype=object).astype(float),
}


@pytest.mark.parametrize("f", DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives(f):
    """Both modes and the second order, in the dtype of the input."""
    rmad.check_grads(f, X32.astype(float), order=2)
    y, lin = rmad.linearize(f, X32)
    exact = rmad.linearize(f, X32.astype(float))[1]
    u, v = np.ones_like(y), np.ones_like(X32)
    assert lin.JTu(u).dtype == X32.dtype
    np.testing.assert_allclose(lin.JTu(u), exact.JTu(u), rtol=1e-6)
    np.testing.assert_allclose(lin.Jv(v), exact.Jv(v.astype(float)), rtol=1e-6)
    square = lambda x: np.sum(np.abs(f(x)) ** 2)  # noqa: E731
    hessian = rmad.hvp(square, X32, X32)
    assert hessian.dtype == X32.dtype
    np.testing.assert_allclose(hessian, rmad.hvp(square, X32.astype(float), X32.astype(float)), rtol=1e-5)


ERRORS = {
    "no loop": (lambda x: np.exp(x, dtype=int), TypeError),
    "no cast": (lambda x: np.add(x, np.float64(1), casting="no"), TypeError),
    "not equivalent": (lambda x: np.exp(x, dtype="f8", casting="equiv"), TypeError),
    "both": (lambda x: np.exp(x, dtype="f8", signature="d->d"), TypeError),
    "too many": (lambda x: np.exp(x, signature="dd->d"), ValueError),
    "a tuple that is too short": (lambda x: np.exp(x, signature=("d",)), (TypeError, ValueError)),
    "one letter": (lambda x: np.exp(x, signature="d"), (TypeError, ValueError)),
    "no such option": (lambda x: np.exp(x, axis=0), TypeError),
    "einsum casts safely": (lambda x: np.einsum("i,i", x, x, dtype="f2"), TypeError),
    "concatenate": (lambda x: np.concatenate([x, 1j * x], dtype="f4"), TypeError),
    "hstack": (lambda x: np.hstack([x, x], dtype="f8", casting="no"), TypeError),
}


@pytest.mark.parametrize("row", ERRORS.values(), ids=ERRORS)
def test_errors(row):
    f, kind = row
    with pytest.raises(kind):
        rmad.linearize(f, X32)


IN_PLACE = {
    "+= of doubles": lambda x: x.__iadd__(np.ones(3)),
    "*= a number": lambda x: x.__imul__(2.0),
    "/= a double": lambda x: x.__itruediv__(np.float64(3)),
    "**=": lambda x: x.__ipow__(2),
    "@=": lambda x: (x * np.eye(3, dtype="f4")).__imatmul__(np.eye(3)),
    "complex into real": lambda x: x.__iadd__(1j),
    "a larger shape": lambda x: x.__iadd__(np.ones((2, 3))),
}


@pytest.mark.parametrize("f", IN_PLACE.values(), ids=IN_PLACE)
def test_x_plus_equals_y_keeps_dtype_and_shape_of_x(f):
    plain, found = outcome(lambda: f(X32.copy())), outcome(lambda: rmad.linearize(f, X32)[0])
    if isinstance(plain, type):
        assert isinstance(found, type)
        assert issubclass(found, (TypeError, ValueError))
        return
    np.testing.assert_array_equal(found, plain, strict=True)
    assert rmad.grad(lambda x: np.sum(f(x)))(X32).dtype == np.float32
