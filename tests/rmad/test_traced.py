"""A traced array behaves like the array it stands for: operators, methods, attributes, indexing."""

from __future__ import annotations

import copy
import operator

import numpy as np
import pytest

import rmad
from rmad.tracing.traced import Traced

X = np.random.default_rng(0).uniform(0.3, 1.7, (3, 4))
S = np.random.default_rng(1).uniform(0.3, 1.7, (3, 3))
Z = X + 1j * X[::-1]

OPERATORS = {
    "2 + x": lambda x: 2 + x,
    "x + 2.5": lambda x: x + 2.5,
    "2 - x": lambda x: 2 - x,
    "x - x": lambda x: x - x * 2,
    "3 * x": lambda x: 3 * x,
    "2 / x": lambda x: 2 / x,
    "x / 2": lambda x: x / 2,
    "x ** 2": lambda x: x**2,
    "x ** 3": lambda x: x**3,
    "x ** -1": lambda x: x**-1,
    "x ** 0.5": lambda x: x**0.5,
    "x ** 0": lambda x: x**0,
    "2 ** x": lambda x: 2**x,
    "x ** x": lambda x: x**x,
    "x % 0.25": lambda x: x % 0.25,
    "7 % x": lambda x: 7 % x,
    "-x": lambda x: -x,
    "+x": lambda x: +x,
    "abs(x)": lambda x: abs(x - 1),
    "x @ y": lambda x: x @ X.T,
    "y @ x": lambda x: X.T @ x,
    "x @ x.T": lambda x: x @ x.T,
    "np.float32(2) * x": lambda x: np.float32(2) * x,
    "x * np.float32(2)": lambda x: x * np.float32(2),
    "np.float64(2) - x": lambda x: np.float64(2) - x,
    "array * x": lambda x: X * x,
    "array[:, :1] - x": lambda x: X[:, :1] - x,
    "x // 1": lambda x: x // 0.4 + x,
    "divmod(x, 0.4)": lambda x: divmod(x, 0.4)[1] + x,
    "list of rows": lambda x: sum(list(x)[:2]),
    "unpacking": lambda x: (lambda a, b, c: a * b + c)(*x),
}

METHODS = {
    "sum()": lambda x: x.sum(),
    "sum(0)": lambda x: x.sum(0),
    "sum(axis, keepdims)": lambda x: x.sum(axis=1, keepdims=True),
    "mean": lambda x: x.mean(),
    "mean(axis)": lambda x: x.mean(axis=(0, 1)),
    "prod": lambda x: x.prod(axis=1),
    "max": lambda x: x.max(),
    "max(axis)": lambda x: x.max(1),
    "min": lambda x: x.min(axis=0),
    "var": lambda x: x.var(),
    "std(axis, ddof)": lambda x: x.std(axis=0, ddof=1),
    "cumsum": lambda x: x.cumsum(axis=1),
    "cumprod": lambda x: x.cumprod(1),
    "ptp": lambda x: np.ptp(x, 0),
    "trace": lambda x: x.trace(),
    "diagonal": lambda x: x.diagonal(),
    "diagonal(1)": lambda x: x.diagonal(1),
    "dot": lambda x: x.dot(X.T),
    "reshape(a, b)": lambda x: x.reshape(4, 3),
    "reshape((a, b))": lambda x: x.reshape((2, -1)),
    "reshape(-1)": lambda x: x.reshape(-1),
    "reshape(order)": lambda x: x.reshape(2, 6, order="F"),
    "ravel": lambda x: x.ravel(),
    "ravel(F)": lambda x: x.ravel("F"),
    "flatten": lambda x: x.flatten(),
    "flatten(F)": lambda x: x.flatten("F"),
    "transpose()": lambda x: x.transpose(),
    "transpose(1, 0)": lambda x: x.transpose(1, 0),
    "transpose((1, 0))": lambda x: x.transpose((1, 0)),
    "transpose(None)": lambda x: x.transpose(None),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "squeeze": lambda x: x[None].squeeze(),
    "squeeze(0)": lambda x: x[None].squeeze(0),
    "take": lambda x: x.take([0, 2, 0]),
    "take(axis)": lambda x: x.take([2, 0], axis=1),
    "repeat": lambda x: x.repeat(2, axis=0),
    "compress": lambda x: x.compress([True, False, True], axis=0),
    "clip": lambda x: x.clip(0.5, 1.5),
    "clip(min=)": lambda x: x.clip(min=0.5),
    "conj": lambda x: x.conj(),
    "conjugate": lambda x: x.conjugate(),
    "round": lambda x: x.round(2) + x,
    "copy": lambda x: x.copy() * 2,
    "copy.copy": lambda x: copy.copy(x) * copy.deepcopy(x),
    "astype(float)": lambda x: x.astype(float),
    "astype('complex')": lambda x: x.astype(complex) * 1j,
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "real": lambda x: x.real,
    "imag": lambda x: x.imag + x,
    "flat": lambda x: sum(a * k for k, a in enumerate(x.flat)),
    "argmax": lambda x: x[x.argmax(0), np.arange(4)],
    "argmin": lambda x: x[x.argmin(0), np.arange(4)],
    "argsort": lambda x: x[0][x[0].argsort()],
    "nonzero": lambda x: x[(x > 1).nonzero()],
    "any, all": lambda x: x * 2 if (x > 0).all() and not (x > 5).any() else x,
    "searchsorted": lambda x: x * x.ravel()[:1].searchsorted([0.1]),
}

INDEXING = {
    "integer": lambda x: x[1],
    "two integers": lambda x: x[1, -1],
    "slice": lambda x: x[1:],
    "reversed": lambda x: x[::-1, ::2],
    "None": lambda x: x[1:, None],
    "Ellipsis": lambda x: x[..., 0],
    "empty tuple": lambda x: x[()],
    "empty slice": lambda x: x[3:],
    "list": lambda x: x[[0, 0, 2]],
    "array": lambda x: x[np.array([[0, 1], [1, 1]])],
    "two arrays": lambda x: x[[0, 1, 1], [3, 0, 0]],
    "array and slice": lambda x: x[:, [0, 3, 3]],
    "array, None, slice": lambda x: x[[2, 2], None, 1:],
    "mask": lambda x: x[X > 1],
    "mask of rows": lambda x: x[np.array([True, False, True])],
    "traced mask": lambda x: x[x > 1],
    "traced index": lambda x: x[np.argmax(x, axis=0), np.arange(4)],
    "NumPy integer": lambda x: x[np.int64(1)],
    "bool": lambda x: x[True],
}


@pytest.mark.parametrize("f", [*OPERATORS.values(), *METHODS.values(), *INDEXING.values()],
                         ids=[*OPERATORS, *METHODS, *INDEXING])  # fmt: skip
def test_like_the_array(f):
    """Value, shape and dtype of the plain array's own method; right derivatives; float32 kept."""
    for x in (X, X.astype(np.float32)):
        wanted = f(x)
        y, Jv = rmad.jvp(f, x, np.ones_like(x))
        np.testing.assert_allclose(y, wanted, rtol=1e-6 if x.dtype == np.float32 else 1e-14)
        assert np.shape(y) == np.shape(wanted) == np.shape(Jv)
        assert np.asarray(y).dtype == np.asarray(wanted).dtype == np.asarray(Jv).dtype
    rmad.check_grads(f, X)


@pytest.mark.parametrize("name", ["real", "imag", "conj", "T", "sum", "abs", "power", "mul"])
def test_complex_methods(name):
    f = {
        "real": lambda z: z.real,
        "imag": lambda z: z.imag,
        "conj": lambda z: z.conj() * z,
        "T": lambda z: z.T,
        "sum": lambda z: z.sum(0),
        "abs": lambda z: abs(z),
        "power": lambda z: z**2,
        "mul": lambda z: (1 + 2j) * z,
    }[name]
    np.testing.assert_allclose(rmad.jvp(f, Z, Z)[0], f(Z))
    rmad.check_grads(f, Z)


def traced(x):
    """The traced array itself, with its tape alive."""
    seen = []
    rmad.linearize(lambda x: seen.append(x) or x, x)
    return seen[0]


def test_attributes():
    x = traced(X.astype(np.float32))
    assert isinstance(x, Traced)
    assert (x.shape, x.ndim, x.size, x.dtype, x.itemsize, x.nbytes) == ((3, 4), 2, 12, np.float32, 4, 48)
    assert len(x) == 3
    assert np.array_equal(rmad.jvp(lambda x: np.stack(list(x)), X, X)[0], X)
    assert repr(x) == f"Traced({X.astype(np.float32)!r})"
    assert isinstance(hash(x), int)
    assert f"{x}" == str(x) == str(X.astype(np.float32))
    assert f"{traced(2.0):.3f}" == "2.000"
    assert "%.3f %s" % (traced(2.0), traced(0.5)) == "2.000 0.5"  # noqa: UP031
    assert np.shape(x) == (3, 4)
    assert np.ndim(x) == 2
    assert np.size(x) == 12
    assert np.result_type(x, np.float64) == np.float64
    assert np.iscomplexobj(x) is False


@pytest.mark.parametrize("op", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_comparisons_are_plain(op):
    x = traced(X)
    for a, b in ((x, 1.0), (1.0, x), (x, X[::-1]), (X[::-1], x), (x, x)):
        plain = [X if p is x else p for p in (a, b)]
        got = op(a, b)
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(got, op(*plain))


def test_truth():
    assert traced(2.0)
    assert not traced(0.0)
    assert traced(np.array([[3.0]]))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(traced(X))


def test_constant_functions_are_plain():
    """No derivative, so they come back as NumPy arrays, ready for indexing and control flow."""
    x = traced(X)
    for f in (np.argmax, np.argmin, np.argsort, np.sign, np.floor, np.ceil, np.rint, np.isnan, np.isfinite, np.any,
              np.all, np.count_nonzero, np.isclose):  # fmt: skip
        args = (x, X) if f is np.isclose else (x,)
        got = f(*args)
        assert not isinstance(got, Traced), f.__name__
        np.testing.assert_array_equal(got, f(*(X if a is x else a for a in args)))
    assert np.allclose(x, X)
    assert np.array_equal(x, X)


def test_dtypes_are_numpys():
    """A Python number never promotes single precision; a double-precision array does, as in NumPy."""
    x = X.astype(np.float32)
    for f in (lambda x: 2.5 * x, lambda x: x**2, lambda x: x / 3, lambda x: x - 1, lambda x: np.where(x > 1, x, 0.0)):
        y, lin = rmad.linearize(f, x)
        assert y.dtype == lin.Jv(x).dtype == lin.JTu(y).dtype == np.float32
    y, lin = rmad.linearize(lambda x: X * x, x)
    assert y.dtype == lin.Jv(x).dtype == np.float64
    assert lin.JTu(y).dtype == np.float32
    y, lin = rmad.linearize(lambda x: np.arange(4) * x, x)
    assert y.dtype == (np.arange(4) * x).dtype


def test_mixed_dtypes():
    t = {"a": X.astype(np.float32), "b": X, "z": Z.astype(np.complex64)}
    f = lambda t: (t["a"] * t["b"], t["a"] @ t["z"].T, np.sum(t["b"]) * t["z"])  # noqa: E731
    y, lin = rmad.linearize(f, t)
    for a, b in zip(lin.Jv(t), f(t), strict=True):
        assert a.dtype == b.dtype
    for key, a in lin.JTu(y).items():
        assert a.dtype == t[key].dtype
    rmad.check_grads(f, t)


PLAIN = np.zeros((3, 4))


def test_in_place_on_a_plain_array():
    """A plain array from outside += traced would lose the derivative: an error. traced += plain is no loss."""
    with pytest.raises(TypeError, match="out"):
        rmad.linearize(lambda x: operator.iadd(PLAIN, x), X)
    y, _ = rmad.linearize(lambda x: operator.iadd(x, X), X)
    np.testing.assert_array_equal(y, 2 * X)


def test_subclasses_and_foreign_types():
    assert rmad.grad(lambda x: np.sum(np.multiply(x, [[1, 2, 3, 4]])))(X)[0].tolist() == [1, 2, 3, 4]
    with pytest.raises(TypeError):
        rmad.linearize(lambda x: x + "text", X)


def test_abs_of_a_complex_number_rounds_as_pythons():
    for a, b in np.random.default_rng(0).uniform(0.5, 3, (50, 2)):
        x = np.array([a, b])

        def f(x):
            return abs(x[0] + 1j * x[1])

        assert rmad.linearize(f, x)[0] == f(x)
        np.testing.assert_allclose(rmad.grad(f)(x), x / f(x), rtol=1e-14)
