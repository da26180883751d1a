"""First and second derivatives of all smooth functions against mpmath, in the tails too.

There a difference of numbers that nearly agree loses its digits: 1 − y² of y = tanh x is 0 from x = 20 on.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import mpmath as mp
import numpy as np
import pytest
import scipy.special as sc
from tails import ROWS

import rmad
import rmad.primitives.scipy_ufuncs
from rmad.rules import Elementwise
from rmad.tracing.handlers import HANDLERS

# -- the table against mpmath ------------------------------------------------------------------------------------------

TOLERANCE = 1e-10  # relative
TINY = float(np.finfo(np.float64).tiny)  # below, numbers have fewer digits
POINTS = 60  # of a row in the slow test: 7000 in all

# Relative error means nothing at a zero of a derivative: there the last places of the argument decide all digits. The
# functions that have one inside their domain where the derivative is no product: its order, and the point.
ZEROS = {
    "j0": (1, [3.8317059702075125]),
    "j1": (1, [1.8411837813406593]),
    "y0": (1, [2.197141326031017]),
    "y1": (1, [3.6830228565851777]),
    "jv": (1, [2.0, 3.05423692822714]),
    "yv": (1, [2.0, 5.002582931446065]),
    "yn": (1, [2.0, 5.002582931446065]),
    "psi": (2, [-0.4957156769130384]),
    "rgamma": (2, [2.4956029635171935]),
    "gammaincinv": (2, [2.0, 0.2642411176571154]),
    "betainc": (2, [3.0, 2.0, 0.6666666666666666]),
    "betaincc": (2, [3.0, 2.0, 0.6666666666666666]),
    "sinc": (1, [1.4302966531242027]),
    "dawsn": (1, [0.9241388730045917]),
    "entr": (1, [0.36787944117144233]),
    "kl_div": (1, [1.0, 0.9999999999999999]),
}

# Ufuncs with a rule and without a row: not smooth, linear, or of complex numbers only.
WITHOUT_ROW = {
    *("fmax", "fmin", "maximum", "minimum", "huber", "fmod", "remainder"),
    *("add", "subtract", "negative", "positive", "ldexp", "deg2rad", "radians", "rad2deg", "degrees"),
    *("wofz", "hankel1", "hankel2", "hankel1e", "hankel2e", "radian"),
    "bdtrik",  # SciPy's own numbers are right to ten digits
    *(f"spherical_{name}_d" for name in ("jn", "yn", "in", "kn")),  # in the second derivatives of the functions
}
if hasattr(sc, "log_wright_bessel"):  # since SciPy 1.14; made of wright_bessel
    WITHOUT_ROW.add("log_wright_bessel")


def by_differences(f, x, i, j):
    """∂f/∂x_i and ∂²f/∂x_i∂x_j by central differences, with so many digits that twice as many change nothing."""
    digits, before = 60, None
    while True:
        with mp.workdps(digits):
            x = [mp.mpf(a) for a in x]
            h = [max(abs(a), mp.mpf(10) ** -30) * mp.mpf(10) ** (-digits // 4) for a in x]

            def at(p, q, x=x, h=h):
                """f at x_i + p h_i, x_j + q h_j"""
                return f(*(a + ((k == i) * p + (k == j) * q) * h[k] for k, a in enumerate(x)))

            first = (at(1, 0) - at(-1, 0)) / (2 * h[i])
            if i == j:
                second = (at(1, 0) - 2 * at(0, 0) + at(-1, 0)) / h[i] ** 2
            else:
                second = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h[i] * h[j])
        now = [0 if digits > 900 and abs(a) < mp.mpf(10) ** -330 else a for a in (first, second)]
        if before is not None and all(
            (a or digits > 900) and abs(a - b) <= 1e-20 * abs(a) for a, b in zip(now, before)
        ):
            return now
        assert digits < 4000, (x, now)
        digits, before = 2 * digits, now


def of_inverse(f, x, y):
    """The derivatives of the inverse of f in its last argument, at x; y is its value, to double precision."""
    *others, x = map(mp.mpf, x)
    k, y = len(others), mp.mpf(float(y))
    for _ in range(3):
        y -= (f(*others, y) - x) / by_differences(f, (*others, y), k, k)[0]
    first, second = by_differences(f, (*others, y), k, k)
    return 1 / first, -second / first**3


def exact(row, x, i, j):
    """∂f/∂x_i and ∂²f/∂x_i∂x_j in exact arithmetic."""
    if row.derivative:
        with mp.workdps(60):
            return [row.derivative(n, *map(mp.mpf, x)) for n in (1, 2)]
    if row.inverse:
        with mp.workdps(40):
            return of_inverse(row.twin, x, row.f(*x))
    return by_differences(row.twin, x, i, j)


def by_rmad(row, points, i, j):
    """The same for all points together, forward over reverse."""

    def total(traced):
        arguments = list(points)
        for k, x in zip(row.by, traced, strict=True):
            arguments[k] = x
        return np.sum(row.f(*arguments))

    x = tuple(points[k] for k in row.by)
    v = tuple(np.full(len(points[0]), float(k == j)) for k in row.by)
    k = row.by.index(i)
    return rmad.grad(total)(x)[k], rmad.hvp(total, x, v)[k]


def is_near(got, want):
    return np.isfinite(got) and abs(mp.mpf(float(got)) - want) <= TOLERANCE * max(abs(want), TINY)


def is_near_a_zero(row, x, i, j, order, got, want):
    """True if the function is one of `ZEROS`, and arguments that are wrong in their last places explain the error."""
    if row.name not in ZEROS:
        return False

    def change(k):
        left, right = ([a * (1 + (n == k) * u) for n, a in enumerate(x)] for u in (-(2.0**-50), 2.0**-50))
        return abs(exact(row, right, i, j)[order - 1] - exact(row, left, i, j)[order - 1])

    return abs(mp.mpf(float(got)) - want) <= max(map(change, row.by))


def compare(row, points):
    for i, j in combinations_with_replacement(row.by, 2):
        derivatives = by_rmad(row, points, i, j)
        for n, x in enumerate(zip(*points, strict=True)):
            for order, want in enumerate(exact(row, x, i, j), 1):
                got = derivatives[order - 1][n]
                assert is_near(got, want) or is_near_a_zero(row, x, i, j, order, got, want), (
                    f"{row.name}{tuple(map(float, x))}: derivative {order} by arguments {i}, {j} "
                    f"is {float(got)!r}, not {float(want)!r}"
                )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_against_mpmath(row):
    compare(row, row.points(np.random.default_rng(1), min(4, len(row.regions))))


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_against_mpmath_at_many_points(row):
    compare(row, row.points(np.random.default_rng(2), POINTS))


@pytest.mark.parametrize("name", ZEROS)
def test_zeros_of_derivatives(name):
    """Each of the exceptions is needed, and is one."""
    order, x = ZEROS[name]
    (row,) = (row for row in ROWS if row.name == name)
    k = row.by[-1]
    got = by_rmad(row, [np.array([a]) for a in x], k, k)[order - 1][0]
    want = exact(row, x, k, k)[order - 1]
    assert not is_near(got, want)
    assert is_near_a_zero(row, x, k, k, order, got, want)


def test_there_are_six_thousand_points():
    assert POINTS * len(ROWS) >= 6000


def test_every_ufunc_has_a_row():
    names = {f.__name__ for f, rule in HANDLERS.items() if isinstance(f, np.ufunc) and isinstance(rule, Elementwise)}
    rows = {row.name.partition(" of ")[0] for row in ROWS}
    aliases = {"expit": "sigmoid"}
    assert {aliases.get(name, name).removeprefix("_") for name in names} - rows == WITHOUT_ROW


# -- tails in closed form, layouts, dtypes -----------------------------------------------------------------------------


def slopes(f, x, order):
    """The first or second derivative of an elementwise function."""
    if order == 1:
        return rmad.grad(lambda x: np.sum(f(x)))(x)
    return rmad.hvp(lambda x: np.sum(f(x)), x, np.ones_like(x))


FAR = np.array([20.0, 30, 100, 300])
# To first order in e^−x, which is exact in double precision from 20 on.
EXPONENTIAL_TAILS = {
    "tanh": (np.tanh, lambda x: 4 * np.exp(-2 * x), lambda x: -8 * np.exp(-2 * x)),
    "tanh, left": (lambda x: np.tanh(-x), lambda x: -4 * np.exp(-2 * x), lambda x: 8 * np.exp(-2 * x)),
    "expit": (sc.expit, lambda x: np.exp(-x) - 2 * np.exp(-2 * x), lambda x: -np.exp(-x) + 4 * np.exp(-2 * x)),
    "expm1": (lambda x: np.expm1(-x), lambda x: -np.exp(-x), lambda x: np.exp(-x)),
    "logaddexp": (lambda x: np.logaddexp(x, 0), lambda x: sc.expit(x), lambda x: np.exp(-x) - 2 * np.exp(-2 * x)),
    "log_expit": (lambda x: sc.log_expit(-x), lambda x: -sc.expit(x), lambda x: -np.exp(-x) + 2 * np.exp(-2 * x)),
}


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", EXPONENTIAL_TAILS)
def test_exponential_tails(name, order, scalar):
    f, *derivatives = EXPONENTIAL_TAILS[name]
    want = derivatives[order - 1](FAR)
    got = np.array([slopes(f, x, order) for x in FAR]) if scalar else slopes(f, FAR, order)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("layout", ["C", "F", "strided", "broadcast"])
@pytest.mark.parametrize("f", [np.tanh, sc.expit, np.expm1])
def test_few_and_many_elements_in_a_tail(f, layout):
    x = np.random.default_rng(0).normal(size=(40, 60))
    x[:, :3] -= 20
    x = {"C": x, "F": np.asfortranarray(x), "strided": x[::2, ::-3], "broadcast": np.broadcast_to(x[:1], x.shape)}[
        layout
    ]
    for part in (x, x[:, -4:]):
        some = slice(0, None, 5)  # rows whose elements are taken one by one
        single = np.array([[slopes(f, a, 1) for a in row] for row in part[some]])
        np.testing.assert_allclose(slopes(f, part, 1)[some], single, rtol=1e-11)


@pytest.mark.parametrize("f", [np.tanh, sc.expit])
def test_tails_in_single_precision_and_of_complex_numbers(f):
    x = np.array([-6.0, -3, 0.5, 3, 6, 20, 40], np.float32)
    np.testing.assert_allclose(slopes(f, x, 1), slopes(f, x.astype(np.float64), 1), rtol=1e-4)
    z = np.array([20.0 + 1j, -30 + 0.5j, 0.3 - 0.2j]) if f is np.tanh else np.array([20.0, -0.3])
    exact = 1 / np.cosh(z) ** 2 if f is np.tanh else np.exp(-z) / (1 + np.exp(-z)) ** 2
    np.testing.assert_allclose(rmad.jvp(f, z, np.ones_like(z))[1], exact, rtol=1e-12)


@pytest.mark.parametrize("value", [1e4, 1e8, -1e30, 1e38])
def test_softmax_of_large_numbers(value):
    """The gradient of logsumexp does not depend on a shift, whatever digits the sum loses."""
    a = np.full(4, value, np.float32)
    np.testing.assert_array_equal(rmad.grad(rmad.logsumexp)(a), np.full(4, 0.25, np.float32))
    with_weights = rmad.grad(lambda a: rmad.logsumexp(a, b=np.array([1, 2, 1, 0], np.float32)))(a)
    np.testing.assert_array_equal(with_weights, np.array([0.25, 0.5, 0.25, 0], np.float32))


def test_shift_of_complex_logsumexp():
    a = np.array([0.3 + 1j, -0.2, 1 - 0.5j])
    gradient = rmad.grad(lambda a: np.real(rmad.logsumexp(a)))
    np.testing.assert_allclose(gradient(a + 2.0**40), gradient(a), rtol=1e-3)  # a + 2⁴⁰ has 12 digits less
    np.testing.assert_allclose(gradient(np.array([2.0**60, 2.0**60 + 0j])), [0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize(("entries", "shares"), [([np.inf, 0.0, 3.0], [1, 0, 0]), ([np.inf, np.inf], [0.5, 0.5])])
def test_infinite_entries_of_logsumexp_share_evenly(entries, shares):
    np.testing.assert_array_equal(rmad.grad(rmad.logsumexp)(np.array(entries)), shares)


def test_derivatives_of_a_saturated_softmax():
    """With p = (1, e^−50, e^−700) to all digits, 1 − p₀ is e^−50."""
    x, s, t = np.array([0.0, -50, -700]), np.exp(-50), np.exp(-700)
    softmax = np.array([[s, -s, -t], [-s, s, 0], [-t, 0, t]])
    tiny = {"rtol": 1e-12, "atol": np.exp(-745)}
    np.testing.assert_allclose(rmad.jacobian(rmad.softmax)(x), softmax, **tiny)
    np.testing.assert_allclose(rmad.hessian(rmad.logsumexp)(x), softmax, **tiny)
    np.testing.assert_allclose(rmad.jacobian(rmad.log_softmax)(x), [[s, -s, -t], [-1, 1, -t], [-1, -s, 1]], **tiny)
    np.testing.assert_allclose(rmad.hessian(lambda x: rmad.log_softmax(x)[0])(x), -softmax, **tiny)
    np.testing.assert_allclose(rmad.hessian(lambda x: rmad.softmax(x)[1])(x)[0], [s, -s, 0], **tiny)
    for f in (rmad.softmax, rmad.log_softmax):
        _, lin = rmad.linearize(lambda x, f=f: f(x, axis=-1), np.array([x, x / 100, -x]))
        J = np.stack([lin.Jv(v) for v in np.eye(9).reshape(9, 3, 3)], axis=-1).reshape(9, 9)
        rows = np.stack([lin.JTu(u) for u in np.eye(9).reshape(9, 3, 3)]).reshape(9, 9)
        np.testing.assert_allclose(J, rows, **tiny)


def test_arcs_near_zero():
    """1 − x² has the derivative −2x, not (1 − x) − (1 + x)."""
    x = np.array([1e-12, -3e-9, 2e-5])
    for f, factor in ((np.arcsin, 1), (np.arccos, -1), (np.arctanh, 2)):
        np.testing.assert_allclose(slopes(f, x, 2), factor * x, rtol=1e-8)


NORMS = {
    "vector": lambda A: np.linalg.norm(A[0]),
    "rows": lambda A: np.sum(np.linalg.norm(A, axis=1)),
    "order 3": lambda A: np.linalg.norm(A[0], 3),
    "Frobenius": np.linalg.norm,
    "nuclear": lambda A: np.linalg.norm(A, "nuc"),
    "spectral": lambda A: np.linalg.norm(A, 2),
    "smallest singular value": lambda A: np.linalg.svdvals(A)[-1],
    "eigenvalue": lambda A: np.linalg.eigvalsh(A @ np.ones((2, 3), A.dtype) + (A @ np.ones((2, 3), A.dtype)).T)[0],
    "hypot": lambda A: np.hypot(A[0, 0], A[1, 1]),
    "complex absolute value": lambda A: np.abs(A[0, 0] + 1j * A[1, 1]),
}


@pytest.mark.parametrize("exponent", [-100, -66, -40, 40, 66, 100])
@pytest.mark.parametrize("name", NORMS)
def test_norms_and_singular_values_of_every_scale(name, exponent):
    """A norm is homogeneous: its gradient does not depend on the scale of x, and its Hessian is inverse to it."""
    f, A = NORMS[name], np.random.default_rng(3).normal(size=(3, 2)).astype(np.float32)
    for scale, B in ((2.0**exponent, A), (2.0 ** (6 * exponent), A.astype(np.float64))):
        C = B * B.dtype.type(scale)
        with np.errstate(over="ignore"):  # NumPy's norm itself
            gradient, hessian = rmad.grad(f)(C), rmad.hessian(f)(C)
            _, Jv = rmad.jvp(f, C, B)
        near = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(gradient, rmad.grad(f)(B), **near)
        np.testing.assert_allclose(Jv, np.sum(rmad.grad(f)(B) * B), **near)
        np.testing.assert_allclose(hessian * scale, rmad.hessian(f)(B), **near)
        assert gradient.dtype == hessian.dtype == B.dtype


def test_norm_of_tiny_rows_next_to_rows_of_zeros():
    x = np.array([[3.0, 4], [0, 0]], np.float32) * np.float32(2.0**-80)
    rows = rmad.grad(lambda x: np.sum(np.linalg.norm(x, axis=1)))(x)
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], rtol=1e-6)
