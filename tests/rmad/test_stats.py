"""Values of rmad.stats are SciPy's: in the tails, at and beyond the ends of the support, for parameters that are none.

Derivatives are rows of the table of primitives, cases/stats.py.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cases import stats as rows
from scipy import optimize
from scipy import stats as scipys

import rmad
from rmad import stats

X = np.array(
    [-np.inf, -200, -9.3, -1, -1e-9, 0, 1e-300, 1e-8, 0.3, 0.5, 0.99, 1, 1.5, 2, 3, 5, 7, 15, 40.5, 300, np.inf, np.nan]
)

# Shapes of each distribution: common ones, the ends of their range, and those that are invalid
SHAPES = {
    "norm": [()],
    "lognorm": [(0.5,), (2.0,), (-1.0,)],
    "gamma": [(0.3,), (1.0,), (2.5,), (50.0,), (0.0,), (np.nan,)],
    "beta": [(0.5, 0.5), (1, 1), (2, 3.5), (300, 400.0), (-1, 2)],
    "expon": [()],
    "t": [(1,), (3.3,), (1e3,), (np.inf,), (0.0,)],
    "chi2": [(1,), (2,), (5.5,), (-2,)],
    "f": [(1, 1), (2, 3.5), (10, 20), (2, 0)],
    "laplace": [()],
    "cauchy": [()],
    "logistic": [()],
    "uniform": [()],
    "weibull_min": [(1,), (0.7,), (3,), (0,)],
    "gumbel_r": [()],
    "invgamma": [(1,), (3.5,), (-0.5,)],
    "pareto": [(1,), (3.5,), (0,)],
    "poisson": [(0,), (0.5,), (7.0,), (100.0,), (-1,)],
    "binom": [(5, 0.3), (0, 0.3), (7, 0), (7, 1), (100, 0.5), (2.5, 0.3), (5, 1.2)],
    "bernoulli": [(0.3,), (0,), (1,), (-0.1,)],
    "nbinom": [(3, 0.3), (2.5, 0.6), (4, 1), (-1, 0.5)],
    "geom": [(0.3,), (1,), (1.5,), (0,)],
}
METHODS = {
    True: ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf"),
    False: ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf"),
}
CASES = [(name, method) for name in SHAPES for method in METHODS[hasattr(getattr(stats, name), "logpdf")]]


def test_every_name_is_tested():
    multivariate = {"dirichlet", "multivariate_normal", "multivariate_t", "wishart"}
    assert set(SHAPES) | multivariate == set(stats.__all__)
    with_rows = {case.name.split()[0] for case in rows.CASES}
    assert with_rows == set(stats.__all__)


def better(name, method, x, ours, theirs):
    """True where SciPy's value is wrong: NaN at ±inf, -inf where log f of exp underflows, log 1 = 0, 0 beyond k."""
    at_infinity = np.isinf(x) & np.isnan(theirs)
    underflow = np.isneginf(theirs) & (name == "laplace") & np.isfinite(ours)
    of_one = (theirs == 0) & (ours < 0) & (ours > -1e-12) & method.startswith("log")
    invalid = (theirs == 0) & np.isnan(ours) & (method == "logcdf")  # its discrete ones say 0 above the support
    return at_infinity | underflow | of_one | invalid


@pytest.mark.parametrize(("name", "method"), CASES)
@pytest.mark.parametrize("moved", [False, True])
def test_values_are_scipys(name, method, moved):
    """To 1e-12, relative, or relative to one for a logarithm near zero."""
    ours, theirs = getattr(getattr(stats, name), method), getattr(getattr(scipys, name), method)
    x, kwargs = X, {}
    if moved:
        kwargs = {"loc": 1} if name in rows_of_whole_numbers() else {"loc": 0.7, "scale": 2.3}
    for shapes in SHAPES[name]:
        got = ours(x, *shapes, **kwargs)
        with np.errstate(all="ignore"):
            want = theirs(x, *shapes, **kwargs)
        known = ~better(name, method, x, got, want)
        atol = 1e-12 if method.startswith("log") else 1e-300
        np.testing.assert_allclose(got[known], want[known], rtol=1e-12, atol=atol, err_msg=f"{shapes}")
        assert got.dtype == want.dtype


def rows_of_whole_numbers():
    return {name for name in SHAPES if hasattr(getattr(stats, name), "logpmf")}


@pytest.mark.parametrize("method", ["ppf", "isf"])
@pytest.mark.parametrize("name", [name for name in SHAPES if hasattr(getattr(stats, name), "ppf")])
def test_quantiles_are_scipys(name, method):
    """To 1e-12, in the tails and at the ends; SciPy's own are less exact there: then those of cdf and sf decide."""
    q = np.array([-0.1, 0, 1e-300, 1e-20, 1e-5, 0.1, 0.3, 0.5, 0.77, 1 - 1e-6, 1, 1.2, np.nan])
    q[2] = 1e-60 if name == "beta" else q[2]  # where SciPy's betaincinv still finds a number
    back = "cdf" if method == "ppf" else "sf"
    for shapes in SHAPES[name]:
        for kwargs in ({}, {"loc": 0.7, "scale": 2.3}):
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of SciPy's own search
                got = getattr(getattr(stats, name), method)(q, *shapes, **kwargs)
                want = getattr(getattr(scipys, name), method)(q, *shapes, **kwargs)
                close = np.isclose(got, want, rtol=1e-12, atol=1e-300, equal_nan=True)
                again = getattr(getattr(stats, name), back)(got, *shapes, **kwargs)
            assert np.all(close | np.isclose(again, q, rtol=1e-9, atol=0)), (shapes, got[~close], want[~close])
            assert got.dtype == want.dtype


def test_quantiles_at_the_ends_of_the_support_move_with_it():
    gradient = rmad.grad(lambda p: stats.uniform.ppf(1.0, p[0], p[1]))
    np.testing.assert_array_equal(gradient(np.array([0.5, 2.0])), [1, 1])


def test_invalid_scales_and_broadcasting():
    x, a, scale = X[:, None, None], np.array([[2.0], [-1.0], [0.5]]), np.array([1.0, 0.0, -2.0, 3.0])
    got = stats.gamma.logpdf(x[:-2], a, 0, scale)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, scipys.gamma.logpdf(x[:-2], a, 0, scale), rtol=1e-12, atol=1e-12)
    assert stats.uniform.logpdf(0.5, np.zeros(3), np.ones((2, 1))).shape == (2, 3)


@pytest.mark.parametrize("of", [float, np.float32, int, list, np.float64])
def test_kinds_of_arguments(of):
    """float32 and integers are computed in double precision, as SciPy's x is; a number gives a number."""
    x = of([1, 2]) if of is list else of(1)
    got, want = stats.norm.logpdf(x, loc=0, scale=2), scipys.norm.logpdf(x, loc=0, scale=2)
    assert type(got) is type(want)
    assert np.asarray(got).dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_lists_of_traced_numbers_and_mixed_arguments():
    def f(p):
        return np.sum(stats.norm.logpdf([p[0], 2.0, 3 * p[1]], [0, p[1], 1], scale=np.exp(p[0])))

    p = np.array([0.3, -0.7])
    rmad.check_grads(f, p)
    q = [0.3, 2.0, -2.1]
    assert rmad.value_and_grad(f)(p)[0] == pytest.approx(np.sum(scipys.norm.logpdf(q, [0, -0.7, 1], np.exp(0.3))))


@pytest.mark.parametrize("x", [np.inf, -np.inf, np.nan, -3.0, 0.0])
@pytest.mark.parametrize("name", SHAPES)
def test_outside_the_support_nothing_has_a_derivative(name, x):
    """… and those of the points inside stay what they are."""
    shapes = tuple(
        np.array(s, float) for s in SHAPES[name][name == "poisson"]
    )  # the first of its is the end of a range
    k = 1.0 if name in rows_of_whole_numbers() else 1.7 if name == "pareto" else 0.6
    method = "logpmf" if name in rows_of_whole_numbers() else "logpdf"
    f = getattr(getattr(stats, name), method)
    points = np.array([x, k])
    if np.isfinite(f(points, *shapes)[0]) or (x == 0 and f(points, *shapes)[0] > 0):
        return
    shapes = shapes[1:] if name == "binom" else shapes
    fixed = (5,) if name == "binom" else ()
    for z in (points, points[1:]):
        _, lin = rmad.linearize(lambda a: f(a[0], *fixed, *a[1:]), (z, *shapes))
        found = lin.JTu(np.ones(len(z)))
        if len(z) == 2:
            both = found
            assert found[0][0] == 0
    for with_x, alone in zip(both[1:], found[1:], strict=True):
        np.testing.assert_array_equal(with_x, alone)


def test_large_counts():
    """log n!/(k! (n - k)!) keeps its digits, which a difference of log-gammas would lose."""
    n, k = 10**8, 3
    want = np.sum(np.log((n - np.arange(k)) / (1.0 + np.arange(k)))) + k * np.log(1e-8) + (n - k) * np.log1p(-1e-8)
    assert stats.binom.logpmf(k, n, 1e-8) == pytest.approx(want, rel=1e-13)


# -- several variables ---------------------------------------------------------------------------------------------

A = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]])
V = np.array([0.3, -1.2, 40.0])
VECTORS = [
    ("multivariate_normal", (V, V / 2, A)),
    ("multivariate_normal", (np.arange(12.0).reshape(2, 2, 3), None, A)),
    ("multivariate_normal", (V, V / 2, np.array([1.0, 2.0, 3.0]))),
    ("multivariate_normal", (V, 0.5, 2.0)),
    ("multivariate_normal", (V, V, 2.0)),
    ("multivariate_normal", (0.3,)),
    ("multivariate_normal", (V, V, scipys.Covariance.from_diagonal([1.0, 2.0, 3.0]))),
    ("multivariate_t", (V, V / 2, A, 3.5)),
    ("multivariate_t", (np.arange(6.0).reshape(2, 3), V, 2.0, 1)),
    ("multivariate_t", (0.3,)),
    ("dirichlet", (np.array([0.2, 0.5, 0.3]), np.array([0.5, 2.0, 3.5]))),
    ("dirichlet", (np.array([0.2, 0.5]), np.array([0.5, 2.0, 3.5]))),
    ("dirichlet", (np.array([[0.2, 0.0], [0.5, 0.3], [0.3, 0.7]]), np.array([1.5, 2.0, 3.5]))),
    ("wishart", (A, 4.5, A @ A)),
    ("wishart", (np.stack([A, 2 * A], axis=-1), 3, np.array([1.0, 2.0, 3.0]))),
    ("wishart", (np.array([0.5, 2.0]), 3, 2.0)),
    ("wishart", (0.7, 2)),
]


@pytest.mark.parametrize("method", ["logpdf", "pdf"])
@pytest.mark.parametrize(("name", "args"), VECTORS)
def test_values_of_several_variables_are_scipys(name, args, method):
    if name == "wishart" and len(args) < 3:
        args = (*args, 1.0)
    got = getattr(getattr(stats, name), method)(*args)
    want = getattr(getattr(scipys, name), method)(*args)
    assert np.shape(got) == np.shape(want)
    assert type(got) is type(want)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_t_of_many_degrees_of_freedom_is_normal():
    assert stats.multivariate_t.logpdf(V, V / 2, A, np.inf) == stats.multivariate_normal.logpdf(V, V / 2, A)
    assert stats.multivariate_t.logpdf(V / 9, V / 2, A, 1e12) == pytest.approx(
        stats.multivariate_normal.logpdf(V / 9, V / 2, A), rel=1e-9
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.gamma.logpdf(1.0), "gamma.logpdf needs the parameter a"),
        (lambda: stats.gamma.logpdf(1.0, 2, 0, 1, 5), "gamma.logpdf takes a, loc, scale"),
        (lambda: stats.gamma.logpdf(1.0, 2, a=3), "gamma.logpdf got two values of a"),
        (lambda: stats.poisson.logpmf(1, 2, scale=3), "poisson.logpmf has no parameter 'scale'"),
        (lambda: stats.norm(1, 2, 3), r"norm\(\) takes loc, scale"),
        (lambda: stats.norm.logpdf(1j), "real numbers, not of complex128"),
    ],
)
def test_errors_of_arguments(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.multivariate_normal.logpdf(np.ones(2), np.ones(3), A), "x has shape"),
        (lambda: stats.multivariate_normal.logpdf(V, V, np.eye(2)), "the matrix has shape"),
        (lambda: stats.multivariate_normal.logpdf(V, V, np.zeros((3, 3))), "ositive definite"),
        (lambda: stats.multivariate_t.logpdf(V, V, A, 0), "df must be greater than zero"),
        (lambda: stats.dirichlet.logpdf(np.array([0.5, 0.6]), np.ones(2)), "sum to one"),
        (lambda: stats.dirichlet.logpdf(np.array([0.5, 0.5]), -np.ones(2)), "positive numbers"),
        (lambda: stats.dirichlet.logpdf(np.array([0.0, 1.0]), np.array([0.5, 1])), "greater than zero where"),
        (lambda: stats.dirichlet.logpdf(np.ones(4) / 4, np.ones(2)), "do not fit"),
        (lambda: stats.wishart.logpdf(A, 1.5, A), "df must be greater than 2"),
        (lambda: stats.wishart.logpdf(np.eye(2), 3, A), "its matrices are"),
    ],
)
def test_errors_of_values(call, message):
    with pytest.raises((ValueError, np.linalg.LinAlgError), match=message):
        call()


def test_names_that_are_missing():
    with pytest.raises(AttributeError, match=r"scipy.stats.norm.rvs"):
        stats.norm.rvs  # noqa: B018
    with pytest.raises(AttributeError, match="it has bernoulli, beta"):
        stats.vonmises  # noqa: B018
    assert not hasattr(stats.norm(0, 1), "_anything")


def test_frozen():
    assert stats.norm(1, scale=2).logpdf(0.3) == stats.norm.logpdf(0.3, 1, 2)
    assert stats.multivariate_normal(V, A).pdf(V) == stats.multivariate_normal.pdf(V, V, A)
    assert rmad.grad(lambda mu: stats.norm(mu, 2).logpdf(0.3))(1.0) == pytest.approx(-0.7 / 4)


# -- as they are used ------------------------------------------------------------------------------------------------


def test_a_fit_and_its_standard_errors():
    """Gamma regression of no variables: SciPy's own fit, and the observed information in closed form."""
    data = scipys.gamma.rvs(2.3, scale=1.7, size=400, random_state=0)

    def nll(p):
        return -np.sum(rmad.stats.gamma.logpdf(data, p[0], scale=p[1]))

    r = optimize.minimize(nll, [1.0, 1.0], jac=rmad.grad(nll), bounds=[(1e-3, None)] * 2)
    a, _, scale = scipys.gamma.fit(data, floc=0)
    np.testing.assert_allclose(r.x, [a, scale], rtol=1e-4)
    a, s = r.x
    n = len(data)
    want = np.array([[n * rmad.polygamma(1, a), n / s], [n / s, -n * a / s**2 + 2 * np.sum(data) / s**3]])
    np.testing.assert_allclose(rmad.hessian(nll)(r.x), want, rtol=1e-10)


def test_a_log_posterior_with_a_hierarchy():
    """Robust regression: Student-t errors, normal and half-Cauchy priors, all parameters at once."""
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((30, 2))
    y = Z @ [1.0, -2.0] + 0.3 * rng.standard_t(4, 30)

    def log_posterior(p, d=stats):
        beta, log_sigma, log_nu = p[:2], p[2], p[3]
        sigma = np.exp(log_sigma)
        return (
            np.sum(d.t.logpdf(y, np.exp(log_nu), Z @ beta, sigma))
            + np.sum(d.norm.logpdf(beta, 0, 10))
            + d.cauchy.logpdf(sigma, scale=2.5)
            + d.expon.logpdf(np.exp(log_nu), scale=30)
        )

    p = np.array([0.9, -1.8, -1.0, 1.2])
    assert log_posterior(p) == pytest.approx(log_posterior(p, scipys), rel=1e-13)
    rmad.check_grads(log_posterior, p)
