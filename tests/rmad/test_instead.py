"""Functions of SciPy that take no traced array: the error names the function, and what to write in its place."""

from __future__ import annotations

import contextlib
import pkgutil
import re

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.special
import scipy.stats

import rmad
from rmad.errors.instead import INSTEAD

array = np.array  # by a name of its own it is NumPy's
T = np.linspace(0, 1, 4)
X = np.array([0.3, 0.5, 0.2, 0.7])

CALLS = {
    "special.logsumexp": (scipy.special.logsumexp, "rmad.logsumexp"),
    "special.softmax": (scipy.special.softmax, "rmad.softmax"),
    "special.polygamma": (lambda x: scipy.special.polygamma(1, x), "rmad.polygamma"),
    "linalg.expm": (lambda x: scipy.linalg.expm(x.reshape(2, 2)), "rmad.linalg.expm"),
    "linalg.cho_factor": (lambda x: scipy.linalg.cho_factor(np.diag(x)), "rmad.linalg.cho_factor"),
    "linalg.solve": (lambda x: scipy.linalg.solve(np.diag(X), x), "numpy.linalg.solve"),
    "linalg.eigh": (lambda x: scipy.linalg.eigh(np.diag(x)), "numpy.linalg.eigh"),
    "stats.norm.logpdf": (lambda x: scipy.stats.norm.logpdf(T, x[0], x[1]), "rmad.stats.norm.logpdf"),
    "stats.gamma.logpdf": (lambda x: scipy.stats.gamma(x[0]).logpdf(T), "rmad.stats.gamma.logpdf"),
    "stats.multivariate_normal": (lambda x: scipy.stats.multivariate_normal(x), "rmad.stats.multivariate_normal"),
    "stats.t.ppf": (lambda x: scipy.stats.t.ppf(x, 3), "rmad.stats.t.ppf"),
    "stats.vonmises.ppf": (lambda x: scipy.stats.vonmises.ppf(x, 3), "scipy.special.ndtri"),
    "stats.vonmises.pdf": (lambda x: scipy.stats.vonmises.pdf(x, 3), "its density written in NumPy"),
    "stats.multivariate_normal.logpdf": (
        lambda x: scipy.stats.multivariate_normal.logpdf(x, X),
        "rmad.stats.multivariate_normal.logpdf",
    ),
    "stats.zscore": (scipy.stats.zscore, "np.std"),
    "integrate.quad": (lambda x: scipy.integrate.quad(lambda s: s * x[0], 0, 1), "rmad.quad"),
    "integrate.solve_ivp": (lambda x: scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), x), "rmad.solve_ivp"),
    "integrate.trapezoid": (scipy.integrate.trapezoid, "numpy.trapezoid"),
    "interpolate.CubicSpline": (lambda x: scipy.interpolate.CubicSpline(T, x)(0.3), "rmad.CubicSpline"),
    "interpolate.interp1d": (lambda x: scipy.interpolate.interp1d(T, x)(0.3), "numpy.interp"),
    "signal.lfilter": (lambda x: scipy.signal.lfilter([1.0], [1.0, 0.5], x), "rmad.linear"),
    "signal.fftconvolve": (lambda x: scipy.signal.fftconvolve(x, x), "numpy.convolve"),
    "ndimage.gaussian_filter": (lambda x: scipy.ndimage.gaussian_filter(x, 1.0), "rmad.linear"),
    "fft.rfft": (lambda x: scipy.fft.rfft(x), "numpy.fft.rfft"),
    "spatial.transform.Rotation.from_rotvec": (
        lambda x: scipy.spatial.transform.Rotation.from_rotvec(x[:3]).as_matrix(),
        "its formula in NumPy",
    ),
    "spatial.distance.pdist": (lambda x: scipy.spatial.distance.pdist(x.reshape(2, 2)), "np.linalg.norm"),
    "optimize.brentq": (lambda x: scipy.optimize.brentq(lambda s: s - x[0], 0, 1), "rmad.implicit"),
    "optimize.root": (lambda x: scipy.optimize.root(lambda z: z - x, X), "rmad.implicit"),
    "optimize.rosen": (scipy.optimize.rosen, "its formula"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("transform", [rmad.linearize, lambda f, x: rmad.linearize(rmad.grad(lambda x: f(x)), x)])
def test_the_error_names_the_function_and_the_way(name, transform):
    f, instead = CALLS[name]
    with pytest.raises(TypeError, match="los.*" + re.escape(f"scipy.{name} takes plain arrays only; use ")) as error:
        transform(f, X)
    assert instead in str(error.value).split("; use ")[1]


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda x: scipy.special.lmbda(1.0, x[0])[0], "special.lmbda"),
        (lambda x: scipy.special.riccati_jn(2, x[0])[0], "special.riccati_jn"),
        (
            lambda x: scipy.stats.multiscale_graphcorr(x[:, None], x[:, None], reps=1).statistic,
            "stats.multiscale_graphcorr",
        ),
    ],
)
def test_an_error_of_scipys_own_gets_a_note(f, name):
    with pytest.raises(ValueError, match="must be") as error:
        rmad.grad(lambda x: np.sum(f(x)))(X)
    assert error.value.__notes__ == [
        f"It was called with a traced array: scipy.{name} takes plain arrays only; use functions of NumPy, "
        "or rmad.stop_gradient(x) for its value."
    ]


def test_an_error_about_something_else_gets_none():
    with pytest.raises(ValueError, match="dimension") as error:
        rmad.grad(lambda x: np.sum(scipy.special.expit(x) + np.ones((2, 3)) @ x))(X)
    assert not hasattr(error.value, "__notes__")


def test_the_variable_that_helps_is_named(monkeypatch):
    monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    with pytest.raises(TypeError, match=r"zscore.*, or the function itself with the environment variable SCIPY_ARRAY"):
        rmad.grad(lambda x: np.sum(scipy.stats.zscore(x)))(X)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # after SciPy has been imported, it changes our words only
    with pytest.raises(TypeError, match=r"np.std\(x\), or rmad.stop_gradient"):
        rmad.grad(lambda x: np.sum(scipy.stats.zscore(x)))(X)


def test_the_users_own_conversions_keep_their_words():
    """… in a function that a solver of SciPy calls, too."""
    with pytest.raises(TypeError, match=r"array by itself is that of numpy, for plain numbers; use np\.array"):
        rmad.grad(lambda x: np.sum(array([x[0], 1.0])))(X)
    with pytest.raises(TypeError, match="keep x as an array"):
        scipy.optimize.minimize(lambda x: x @ x, X, jac=rmad.grad(lambda x: float(x @ x)))


def test_an_error_of_ones_own_is_not_replaced():
    """A derivative was lost and the error swallowed, before the function failed for another reason."""

    def f(x):
        with contextlib.suppress(TypeError):
            float(x[0])
        raise ValueError("of another kind")

    with pytest.raises(ValueError, match="of another kind"):
        rmad.linearize(f, X)


def names(text):
    """Dotted names of rmad, NumPy and SciPy in what is to be written."""
    for name in re.findall(r"\b(?:rmad|numpy|np|scipy)(?:\.\w+)+", text):
        yield re.sub(r"^np\b", "numpy", name)


@pytest.mark.parametrize("module", INSTEAD)
def test_the_table_names_what_there_is(module):
    """Every function of SciPy in it, in the oldest or the newest of the versions; every replacement."""
    home = pytest.importorskip(f"scipy.{module}", reason="SciPy is older than this module")
    gone = {"tanhsinh", "quantile", "nquad", "romb", "Normal", "cumulative_simpson", "quad_vec"}
    for instead, theirs in INSTEAD[module].items():
        for name in theirs.split():
            assert hasattr(home, name) or name in gone, name
            for found in names(instead.replace("{}", name)):
                pkgutil.resolve_name(found)  # or an error


def test_the_table_has_all_that_rmad_offers():
    assert set(INSTEAD["linalg"]["rmad.linalg.{}"].split()) == set(rmad.linalg.__all__)
    assert set(INSTEAD["stats"]["rmad.stats.{}"].split()) == set(rmad.stats.__all__)
