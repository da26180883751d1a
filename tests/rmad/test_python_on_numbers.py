"""What Python itself does with traced numbers: statistics and cmath, texts, int(x), operators of objects, iterators."""

from __future__ import annotations

import cmath
import copy
import io
import json
import logging
import math
import random
import statistics
from math import sqrt

import numpy as np
import pytest
import scipy.sparse

import rmad

X = np.array([0.4, 1.1, 0.7, 0.9])
A = np.arange(24.0).reshape(2, 3, 4)

VALUES = {
    "mean": lambda x: statistics.mean(x),
    "mean of a generator": lambda x: statistics.mean(v * v for v in x),
    "fmean, weights": lambda x: statistics.fmean(x, [1, 2, x[0], 3]),
    "geometric_mean": lambda x: statistics.geometric_mean(x),
    "harmonic_mean": lambda x: statistics.harmonic_mean([x[0], 2.0, x[1]]),
    "harmonic_mean, weights": lambda x: statistics.harmonic_mean(x, weights=[1, 2, 3, 4]),
    "median": lambda x: statistics.median(x),
    "quantiles": lambda x: statistics.quantiles(x, n=4),
    "pvariance": lambda x: statistics.pvariance(x, mu=x[0]),
    "pstdev": lambda x: statistics.pstdev(x),
    "variance": lambda x: statistics.variance(list(x)),
    "variance, xbar": lambda x: statistics.variance(x, x[1]),
    "stdev": lambda x: statistics.stdev(x),
    "covariance": lambda x: statistics.covariance(x, [1, 2, 3, x[0]]),
    "correlation": lambda x: statistics.correlation(x, [1, 2, 3, 5]),
    "linear_regression": lambda x: statistics.linear_regression([1, 2, 3, 5], x),
    "proportional": lambda x: statistics.linear_regression(x, [1, 2, 3, 5], proportional=True)[0],
    "math of generators": lambda x: (math.fsum(v * v for v in x), math.prod(v for v in x)),
    "cmath.exp": lambda x: cmath.exp(complex(0, 1) * x[0]),
    "cmath of real numbers": lambda x: (cmath.sqrt(-x[0]), cmath.log(x[1], 2), cmath.acos(2 * x[1])),
    "cmath.polar": lambda x: cmath.polar(x[0] + 1j * x[1]),
    "cmath.rect": lambda x: cmath.rect(x[0], x[1]),
    "cmath.phase": lambda x: cmath.phase(x[0] - 1j),
}


@pytest.mark.parametrize("f", VALUES.values(), ids=VALUES)
def test_values_are_pythons_and_derivatives_are_right(f):
    parts = rmad.linearize(f, X)[0]
    want = f(X)
    parts, want = ((a if isinstance(a, tuple | list) else [a]) for a in (parts, want))
    for found, plain in zip(parts, want, strict=True):
        assert np.array_equal(found, plain)
        assert np.asarray(found).dtype == np.asarray(plain).dtype
    rmad.check_grads(lambda x: np.stack([np.real(y) + 2 * np.imag(y) for y in np.atleast_1d(f(x))]), X)


def test_plain_numbers_stay_pythons():
    seen = []

    def f(x):
        seen.extend([statistics.mean([1, 2]), cmath.sqrt(-1), statistics.linear_regression([1, 2], [2.0, 3.0])])
        return x

    rmad.linearize(f, X)
    assert seen == [1.5, 1j, (1.0, 1.0)]
    assert isinstance(seen[2], statistics.LinearRegression)


def test_texts_show_the_value():
    seen = []

    def f(x):
        s = np.sum(x)
        seen.append(f"{x} {s} {s:.3f} {x[0]!r} {x!s:>30}")
        seen.append("%s %.3f %d %5.1e" % (x, s, s, x[0]))  # noqa: UP031
        form = "%g|"
        form %= x[1]
        seen.append(form + "{:.2f} {}".format(s, x[:2]) + ",".join(map(str, x)))  # noqa: UP032
        out = io.StringIO()
        print(x, s, 2 * x[0], sep="; ", file=out)
        log = logging.Logger("test")
        log.addHandler(logging.StreamHandler(out))
        log.warning("loss %.4f of %s", s, x)
        seen.append(out.getvalue())
        return s

    f(X)
    rmad.linearize(f, X)
    plain, traced = seen[:4], [text.replace("Traced(", "").replace("))", ")") for text in seen[4:]]
    assert traced == plain


def test_an_integer_is_a_constant():
    y, lin = rmad.linearize(lambda x: x[0] ** int(3 * x[1]) + int(x[0]), X)
    assert y == X[0] ** 3
    assert np.allclose(lin.JTu(1.0), [3 * X[0] ** 2, 0, 0, 0])


def test_casts_to_integers_are_constants():
    y, lin = rmad.linearize(lambda x: x * np.int64(3 * x) + np.bool_(x[0]), X)
    assert np.array_equal(y, X * np.int64(3 * X) + 1)
    assert np.array_equal(lin.Jv(X), X * np.int64(3 * X))


def test_the_gradient_of_an_array_of_one_number():
    f = lambda x: x[:, None].T @ x[:, None]  # noqa: E731
    y, gradient = rmad.value_and_grad(f)(X)
    assert y.shape == (1, 1)
    assert np.allclose(gradient, 2 * X)
    assert np.allclose(rmad.hessian(f)(X), 2 * np.eye(4))
    with pytest.raises(TypeError, match=r"of a scalar, but f returned shape \(1, 4\)"):
        rmad.grad(lambda x: x[None])(X)


POWERS = {
    "of two": lambda x: x[0] ** x[1],
    "squared": lambda x: x[0] ** 2,
    "cubed": lambda x: x[0] ** 3,
    "a root": lambda x: x[0] ** 0.5,
    "inverted": lambda x: x[0] ** -1,
    "not at all": lambda x: x[0] ** 0,
    "of a constant": lambda x: 1.3 ** x[1],
    "of a constant of NumPy's": lambda x: x.dtype.type(1.3) ** x[1],
    "np.power of one": lambda x: np.power(x.dtype.type(1.3), x[1]),
    "constant": lambda x: x[0] ** x[1].dtype.type(1.7),
    "complex": lambda x: np.real(x[0] ** (1 + 1j)),
    "np.power": lambda x: np.power(x[0], x[1]),
    "without axes": lambda x: np.reshape(x[0], ()) ** 2.5,
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", POWERS.values(), ids=POWERS)
def test_powers_of_numbers_are_numpys_to_the_last_bit(f, dtype):
    """NumPy raises numbers by another function than arrays."""
    for x in np.random.default_rng(0).uniform(0.3, 3, (50, 2)).astype(dtype):
        y = rmad.linearize(f, x)[0]
        assert y == f(x)
        assert y.dtype == f(x).dtype
    rmad.check_grads(f, X)


def test_copies_of_numbers_are_numpys():
    seen = []

    def f(x):
        seen.extend([np.copy(x[0]), x[0].copy(), copy.copy(x[0]), copy.deepcopy(x[0])])
        y = np.copy(x[0])
        y[...] = x[1]
        assert isinstance(rmad.stop_gradient(y), np.ndarray)
        return y * x[0]

    assert rmad.grad(f)(X).tolist() == [X[1], X[0], 0, 0]
    assert [np.ndim(rmad.stop_gradient(a)) for a in seen] == [0] * 4
    assert isinstance(rmad.stop_gradient(seen[0]), np.ndarray)
    assert all(isinstance(rmad.stop_gradient(a), np.float64) for a in seen[1:])


def test_powers_of_pythons_numbers():
    for x in np.random.default_rng(0).uniform(0.3, 3, 50).tolist():
        for f in (lambda x: x**2, lambda x: x**1.7, lambda x: 2.3**x, lambda x: x**x):
            assert rmad.linearize(f, x)[0] == f(x)
    assert rmad.linearize(lambda x: x**1.7 * np.float32(2), 0.5)[0].dtype == np.float32
    seen = []
    rmad.hessian(lambda x: seen.append(rmad.stop_gradient(x**x)) or x**x)(1.9)
    assert set(seen) == {1.9**1.9}


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __rmul__(self, k):
        return Pair(k * self.a, k * self.b)

    def __rsub__(self, k):
        return Pair(k - self.a, k - self.b)

    def __radd__(self, k):
        return Pair(k + self.a, k + self.b)


def test_objects_have_their_own_operators():
    def f(x):
        y = x[0] * Pair(x[1], 2.0)
        z = x[2] - (x[3] + y)
        return np.array([y.a, y.b, z.a, z.b])

    rmad.check_grads(f, X)
    assert np.array_equal(rmad.linearize(f, X)[0], f(X))


VIEWS = {
    "itself": lambda a: a,
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[:, ::-1],
    "steps": lambda a: a[::-1, :, ::2].transpose(1, 0, 2),
    "no axes": lambda a: a[0, 0, 0],
    "no elements": lambda a: a[:0],
}


@pytest.mark.parametrize("order", "KCFA")
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_nditer_has_numpys_order(view, order):
    def f(x):
        flags = ["multi_index", "zerosize_ok"]
        it = np.nditer(view(x), flags=flags, order=order)
        return np.array([2 * v + k for k, v in enumerate(it)] or [0.0])

    y, lin = rmad.linearize(f, A)
    assert np.array_equal(y, f(A))
    if view(A).size:
        places = (y - np.arange(len(y))) / 2  # A holds its own places
        u, want = np.arange(1.0, 1 + len(y)), np.zeros(A.size)
        want[places.astype(int)] = 2 * u
        assert np.array_equal(lin.JTu(u), want.reshape(A.shape))


def test_nditer_reads_writes_and_makes_arrays():
    def f(x):
        a, b = x.reshape(2, 2), x.copy()
        out = np.zeros((2, 2))
        it = np.nditer(a, flags=["multi_index"])
        while not it.finished:
            out[it.multi_index] = it[0] ** 2
            it.iternext()
        with np.nditer(b, op_flags=["readwrite"]) as it:
            for v in it:
                v[...] = 2 * v
        three = [["readonly"], ["readonly"], ["writeonly", "allocate"]]
        it = np.nditer([a, np.arange(2.0), None], flags=["c_index"], op_flags=three)
        for u, v, w in it:
            w[...] = u * v + it.index
        return np.concatenate([out.ravel(), b, it.operands[2].ravel()])

    assert np.array_equal(rmad.linearize(f, X)[0], f(X))
    rmad.check_grads(f, X)


def test_nditer_of_constants_is_numpys():
    def f(x):
        total = x[0]
        for part in np.nditer([np.ones(3), np.arange(3.0)], flags=["external_loop"]):
            total = total + np.sum(part[0] * part[1])
        return total

    assert np.array_equal(rmad.jacobian(f)(X), [1, 0, 0, 0])


HELD = np.zeros(4)
rng = np.random.default_rng(0)

REFUSED = {
    "rng.choice": (lambda x: rng.choice(x, 2), r"use x\[rng.choice\(len\(x\), …\)\]"),
    "rng.permutation": (lambda x: rng.permutation(x), r"use x\[rng.permutation\(len\(x\)\)\]"),
    "rng.normal": (lambda x: rng.normal(x[0], x[1]), r"use loc \+ scale \* rng.normal\(size=…\)"),
    "np.random": (
        lambda x: np.random.exponential(x[0]),  # noqa: NPY002
        r"use scale \* np.random.exponential\(size=…\)",
    ),
    "another distribution": (lambda x: rng.gamma(x[0]), "a distribution of fixed numbers"),
    "math by name": (lambda x: sqrt(x[0]), "sqrt by itself is that of math, .* use math.sqrt, by that name"),
    "math without a twin": (lambda x: math.frexp(x[0]), "math.frexp takes plain numbers only; use np.frexp"),
    "complex": (lambda x: complex(x[0], x[1]), r"use a \+ 1j \* b"),
    "np.float64": (lambda x: np.float64(x[0]), r"use x.astype\(np.float64\)"),
    "an array from outside": (lambda x: HELD.__setitem__(0, x[0]), "would lose its derivative|without losing"),
    "a ufunc of a list": (lambda x: np.exp([x[0], x[1]]), r"use np.array.* around a list, np.exp\(np.array\(\[…\]\)\)"),
    "an array of integers": (lambda x: np.zeros(2, int).fill(x[0]), "derivative"),
    "range": (lambda x: range(x[0]), r"range\(int\(x\)\)"),
    "random": (lambda x: random.choices([1, 2], weights=[x[0], x[1]])[0] * x[0], "derivative|integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_names_the_call_of_the_line(name):
    f, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        rmad.linearize(f, X)


def test_a_store_into_an_array_from_outside_is_named():
    def f(x):
        HELD[1:3] = x[:2]
        return HELD * x

    with pytest.raises(TypeError, match=r"HELD is a plain array.*np.array\(HELD\)"):
        rmad.linearize(f, X)


@pytest.mark.parametrize(
    ("f", "kind", "note"),
    [
        (lambda x: json.dumps([x[0]]), TypeError, "rmad.stop_gradient"),
        (lambda x: scipy.sparse.diags(x) @ x, ValueError, "scipy.sparse.diags takes plain arrays only; use np.diag"),
    ],
)
def test_errors_of_other_code_have_a_note(f, kind, note):
    with pytest.raises(kind) as caught:
        rmad.linearize(f, X)
    assert note in caught.value.__notes__[0]
