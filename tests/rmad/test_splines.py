"""Splines: SciPy's numbers to the last bit; derivatives in values, knots, conditions at the ends, and points."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
import scipy.interpolate

import rmad

RNG = np.random.default_rng(0)
X = np.cumsum(RNG.uniform(0.5, 1.5, 7))
Y = RNG.standard_normal(7)
COLUMNS = RNG.standard_normal((2, 7, 3))  # with the points along axis 1
AT = np.array([[X[0] - 0.3, X[0] + 0.2, X[2] + 0.1], [X[3], X[-1] - 0.2, X[-1] + 0.4]])
AROUND = np.append(Y[:-1], Y[0])


def conditions(order, left=0.3, right=-0.7):
    return ((order, left), (order, right))


# name → (how a spline is made of x and y, whether y closes a period)
SPLINES = {
    "CubicSpline": (lambda m, x, y, **o: m.CubicSpline(x, y, **o), False),
    "natural": (lambda m, x, y, **o: m.CubicSpline(x, y, bc_type="natural", **o), False),
    "clamped": (lambda m, x, y, **o: m.CubicSpline(x, y, bc_type="clamped", **o), False),
    "slope, not a knot": (
        lambda m, x, y, **o: m.CubicSpline(x, y, bc_type=((1, np.full(y.shape[1:], 0.4)), "not-a-knot"), **o),
        False,
    ),
    "periodic": (lambda m, x, y, **o: m.CubicSpline(x, y, bc_type="periodic", **o), True),
    "pchip": (lambda m, x, y, **o: m.PchipInterpolator(x, y, **o), False),
    "akima": (lambda m, x, y, **o: m.Akima1DInterpolator(x, y, **o), False),
    **{
        f"degree {k}": (lambda m, x, y, k=k, **o: m.make_interp_spline(x, y, k, **o), False) for k in (0, 1, 2, 3, 4, 5)
    },
    "natural, of degree 3": (lambda m, x, y, **o: m.make_interp_spline(x, y, bc_type="natural", **o), False),
    "clamped, of degree 3": (lambda m, x, y, **o: m.make_interp_spline(x, y, bc_type="clamped", **o), False),
    "periodic, of degree 3": (lambda m, x, y, **o: m.make_interp_spline(x, y, 3, bc_type="periodic", **o), True),
    "periodic, of degree 4": (lambda m, x, y, **o: m.make_interp_spline(x, y, 4, bc_type="periodic", **o), True),
}
OLD = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)
if OLD:  # which takes odd degrees only, unless the spline is periodic
    del SPLINES["degree 4"]
SHORT = ("CubicSpline", "pchip", "degree 2")
every = pytest.mark.parametrize("name", SPLINES)


def closed(y, around):
    """y, whose last value is the first one if the spline is periodic."""
    return np.concatenate([y[:-1], y[:1]]) if around else y


@every
def test_values_are_scipys(name):
    make, around = SPLINES[name]
    y = AROUND if around else Y
    wanted = make(scipy.interpolate, X, y)

    def f(both, nu=0, extrapolate=None):
        return make(rmad, both[0], closed(both[1], around))(both[2], nu, extrapolate)

    # SciPy 1.13 writes past the end of its memory for a derivative of a higher order than the degree
    for nu in (0,) if OLD and name in ("degree 0", "degree 1") else (0, 1, 2):
        for extrapolate in (None, True, False):
            got, _ = rmad.linearize(f, (X, y, AT), nu, extrapolate)
            np.testing.assert_array_equal(got, wanted(AT, nu, extrapolate))
            assert got.shape == AT.shape
    np.testing.assert_array_equal(make(rmad, X, y)(AT), wanted(AT))
    part, whole = make(rmad, X, y), make(scipy.interpolate, X, y)
    assert part.integrate(X[1] - 0.1, X[-2]) == whole.integrate(X[1] - 0.1, X[-2])
    if name != "degree 0":
        np.testing.assert_array_equal(part.derivative()(AT), whole.derivative()(AT))
    np.testing.assert_array_equal(part.antiderivative(2)(AT), whole.antiderivative(2)(AT))
    coefficients, _ = rmad.linearize(lambda y: make(rmad, X, closed(y, around)).c, y)
    np.testing.assert_array_equal(coefficients, whole.c)


@pytest.mark.parametrize("name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.slow) for n in SPLINES])
def test_second_derivatives(name):
    f, x = in_all(name)
    rmad.check_grads(f, x, order=2)


@every
def test_derivatives_in_values_knots_and_points(name):
    f, x = in_all(name)
    rmad.check_grads(f, x, order=1)


def in_all(name):
    """A function of values, knots and points, and a place."""
    make, around = SPLINES[name]
    y = AROUND if around else Y
    inside = AT[0, 1:] if name in ("akima", "degree 0", "periodic") else AT.ravel()[[0, 1, 2, 4, 5]]
    if name in ("periodic, of degree 3", "periodic, of degree 4", "periodic"):
        inside = AT.ravel()[[1, 2, 4, 5]]

    def f(both):
        return make(rmad, both["x"], closed(both["y"], around))(both["at"])

    return f, {"x": X, "y": y, "at": inside}


@pytest.mark.parametrize(
    "name",
    [n if n in (*SHORT, "periodic") else pytest.param(n, marks=pytest.mark.slow) for n in SPLINES if n != "degree 0"],
)
def test_derivatives_of_derivatives_and_integrals(name):
    make, around = SPLINES[name]
    y = AROUND if around else Y

    def f(both):
        spline = make(rmad, both["x"], closed(both["y"], around))
        a, b = both["ends"]
        return [spline.derivative()(b), spline.antiderivative()(b), spline.integrate(a, b), spline.integrate(b, a)]

    rmad.check_grads(f, {"x": X, "y": y, "ends": np.array([X[1] + 0.3, X[4] - 0.2])}, order=1)


@pytest.mark.parametrize("name", ["CubicSpline", "periodic", "pchip", "degree 3", "periodic, of degree 4"])
def test_axes(name):
    make, around = SPLINES[name]
    y = COLUMNS.copy()
    if around:
        y[:, -1] = y[:, 0]

    def f(y, axis):
        y = np.moveaxis(np.concatenate([y[:, :-1], y[:, :1]], axis=1) if around else y, 1, axis)
        return make(rmad, X, y, axis=axis)(AT[0, 1:])

    for axis in (0, 1, 2, -1):
        got, lin = rmad.linearize(f, y, axis)
        wanted = make(scipy.interpolate, X, np.moveaxis(y, 1, axis), axis=axis)(AT[0, 1:])
        np.testing.assert_array_equal(got, wanted)
        if axis == 1:
            rmad.check_grads(f, y, axis, order=1)
        assert lin.JTu(np.ones(wanted.shape)).shape == y.shape


def test_values_at_the_ends_are_differentiable():
    def cubic(ends):
        spline = rmad.CubicSpline(X, Y, bc_type=((1, ends[0]), (2, ends[1])))
        return spline(AT)

    def quintic(ends):
        bc = ([(1, ends[0]), (2, ends[1])], [(1, 0.5), (2, ends[0])])
        return rmad.make_interp_spline(X, Y, 5, bc_type=bc)(AT)

    for f in (cubic, quintic):
        rmad.check_grads(f, np.array([0.3, -0.8]), order=2)
    wanted = scipy.interpolate.CubicSpline(X, Y, bc_type=((1, 0.3), (2, -0.8)))(AT)
    np.testing.assert_array_equal(rmad.linearize(cubic, np.array([0.3, -0.8]))[0], wanted)


def test_given_slopes_and_given_knots():
    def hermite(both):
        return rmad.CubicHermiteSpline(both[0], both[1], both[2])(AT.ravel()[[0, 1, 2, 4, 5]])

    rmad.check_grads(hermite, (X, Y, np.cos(Y)), order=1)
    t = np.concatenate([[X[0] - 1e-9] * 4, X[2:-2] + 0.2, [X[-1] + 1e-9] * 4])

    def given(both):
        return rmad.make_interp_spline(X, both[0], t=both[1])(AT[0])

    inner = lambda both: given((both[0], np.concatenate([t[:4], both[1], t[-4:]])))  # noqa: E731
    rmad.check_grads(inner, (Y, t[4:-4]), order=1)


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("name", ["CubicSpline", "natural", "periodic", "pchip", "akima"])
def test_few_points(name, n):
    if OLD and (name, n) == ("akima", 2):
        pytest.skip("SciPy 1.13 reads memory here that it has not set")
    make, around = SPLINES[name]
    x, y = X[:n], (closed(Y[:n], around) if n > 2 or not around else np.ones(2))
    at = np.linspace(x[0], x[-1], 4)[1:-1]
    f = lambda both: make(rmad, both[0], closed(both[1], around))(at)  # noqa: E731
    np.testing.assert_array_equal(rmad.linearize(f, (x, y))[0], make(scipy.interpolate, x, y)(at))
    rmad.check_grads(f, (x, y), order=1)


@pytest.mark.parametrize("kind", ["CubicSpline", "make_interp_spline"])
def test_complex_values(kind):
    f = lambda z: getattr(rmad, kind)(X, z)(AT)  # noqa: E731
    z = Y + 1j * np.cos(Y)
    rmad.check_grads(f, z, order=1)
    np.testing.assert_array_equal(rmad.linearize(f, z)[0], getattr(scipy.interpolate, kind)(X, z)(AT))


@pytest.mark.parametrize("kind", ["CubicSpline", "make_interp_spline"])
def test_integrals_over_periods(kind):
    def f(both):
        y = np.concatenate([both[0], both[0][:1]])
        options = {"k": 3} if kind == "make_interp_spline" else {}
        return getattr(rmad, kind)(X, y, bc_type="periodic", **options).integrate(both[1][0], both[1][1])

    length = X[-1] - X[0]
    rmad.check_grads(f, (Y[:-1], np.array([X[1] - 2 * length, X[3] + length])), order=1)


def test_the_spline_of_many_points_is_linear_in_their_values():
    """In the time of a few splines, not of a dense matrix."""
    x = np.linspace(0, 1, 5001)
    at = np.array([0.123, 0.5, 0.9])
    for make in (rmad.CubicSpline, rmad.make_interp_spline):
        y, lin = rmad.linearize(lambda y, make=make: make(x, y)(at), np.sin(9 * x))
        v = np.cos(5 * x)
        np.testing.assert_allclose(lin.Jv(v), make(x, v)(at), rtol=1e-12)
        np.testing.assert_allclose(y, np.sin(9 * at), atol=1e-12)


def test_lists_and_closures():
    def f(a):
        spline = rmad.CubicSpline([0.0, 1.0, 2.0, 3.0], [a[0], 1.0, a[1], 0.0])
        return rmad.quad(spline, 0, 3)[0] - spline.integrate(0, 3)

    assert abs(f(np.array([0.3, 0.4]))) < 1e-14
    np.testing.assert_allclose(rmad.grad(f)(np.array([0.3, 0.4])), 0, atol=1e-13)


def test_arrays_made_while_a_function_is_recorded():
    """They may be written into later, without a change of the spline."""

    def f(a):
        x, y = np.linspace(0, 3, 4), np.zeros(4)
        y[1] = a
        spline = rmad.CubicSpline(x, y)
        constant = rmad.CubicSpline(x, np.sin(x))
        y[1] = 7.0
        x[2] = 2.9
        assert isinstance(constant(0.5), np.ndarray)
        assert constant.roots().size
        return spline(0.5) + constant(0.5)

    x = np.arange(4.0)
    wanted = scipy.interpolate.CubicSpline(x, np.eye(4)[1])(0.5)
    np.testing.assert_allclose(rmad.grad(f)(2.0), wanted, rtol=1e-14)


def test_what_has_no_derivative_is_scipys_or_an_error():
    assert rmad.CubicSpline(X, X - 3).roots()[0] == pytest.approx(3)
    with pytest.raises(NotImplementedError, match=r"CubicSpline\.roots has no derivative; rmad\.implicit"):
        rmad.grad(lambda y: rmad.CubicSpline(X, y).roots()[0])(X - 3)
    with pytest.raises(AttributeError, match="no attribute 'solved'"):
        _ = rmad.CubicSpline(X, Y).solved


@pytest.mark.parametrize("kind", ["CubicSpline", "PchipInterpolator", "make_interp_spline"])
def test_errors_are_scipys(kind):
    with pytest.raises(ValueError, match=r"increasing|ncompatible|duplicates"):
        rmad.grad(lambda y: getattr(rmad, kind)(X[::-1], y)(0.3))(Y)
