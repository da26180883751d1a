"""Alternatives to functions of SciPy that take plain arrays only: the end of the error for a traced one.

NumPy's protocols reach the ufuncs of scipy.special and nothing else of SciPy. A function of it that gets a traced array
asks for a plain one, deep inside; the frames of the call tell which function that is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

__all__ = ["INSTEAD", "advice"]

_SOLVED = "rmad.implicit, for roots, fixed points and minima that any code finds"

# Per module of SciPy: what to write, and the functions in whose place. {} is the function's own name.
INSTEAD: dict[str, dict[str, str]] = {
    "special": {
        "rmad.{}": "log_softmax logsumexp multigammaln polygamma softmax",
        "scipy.special.gamma(n + 1)": "factorial",
        "scipy.special.gamma and its kind": "comb perm",
    },
    "linalg": {
        "rmad.linalg.{}": """block_diag cho_factor cho_solve expm logm lu_factor lu_solve null_space solve_sylvester
            solve_triangular sqrtm toeplitz""",
        "numpy.linalg.{}": "det eig eigh eigvals eigvalsh inv lstsq norm pinv qr solve svd",
        "numpy.linalg.cholesky, whose factor is the lower one": "cholesky",
        "numpy.linalg.svd(A, compute_uv=False)": "svdvals",
        "numpy.linalg.matrix_power": "fractional_matrix_power",
        "rmad.linalg.toeplitz": "circulant hankel",
        "rmad.linalg.solve_triangular or numpy.linalg.solve": "solve_banded solveh_banded solve_toeplitz",
    },
    "stats": {
        "rmad.stats.{}": """bernoulli beta binom cauchy chi2 dirichlet expon f gamma geom gumbel_r invgamma laplace
            logistic lognorm multivariate_normal multivariate_t nbinom norm pareto poisson t uniform weibull_min
            wishart""",
        "a function of NumPy, such as (x - np.mean(x)) / np.std(x)": "zscore",
        "numpy.corrcoef": "pearsonr",
        "powers of x - np.mean(x)": "skew kurtosis moment",
        "np.exp(np.mean(np.log(x)))": "gmean",
        "1 / np.mean(1 / x)": "hmean",
        "np.mean of rmad.stats.norm.pdf(x, data[:, None], width)": "gaussian_kde",
        "np.std(x, ddof=1) / np.sqrt(len(x))": "sem",
    },
    "integrate": {
        "numpy.trapezoid": "trapezoid",
        "np.sum(weights * y), weights from a call with unit vectors": "simpson romb newton_cotes",
        "np.cumsum of (y[1:] + y[:-1]) / 2 * np.diff(x)": "cumulative_trapezoid cumulative_simpson",
        "rmad.quad": "quad",
        "a fixed rule, nodes, weights = np.polynomial.legendre.leggauss(n)": """quad_vec dblquad tplquad nquad
            fixed_quad""",
        "rmad.solve_ivp": "solve_ivp odeint ode",
    },
    "interpolate": {
        "numpy.interp": "interp1d",
        "rmad.{}": "Akima1DInterpolator CubicHermiteSpline CubicSpline PchipInterpolator make_interp_spline",
        "rmad.make_interp_spline": "BSpline InterpolatedUnivariateSpline splrep",
        "rmad.linear(f, transpose) of the interpolant, which is linear in its values": """RegularGridInterpolator
            interpn RBFInterpolator RectBivariateSpline UnivariateSpline""",
    },
    "signal": {
        "numpy.{}": "convolve correlate",
        "numpy.convolve, or a product of numpy.fft.rfft": "fftconvolve oaconvolve",
        "sums of shifted slices x[i:…, j:…]": "convolve2d correlate2d",
        "x minus a line fitted by np.linalg.lstsq": "detrend",
        "numpy.fft.rfft of slices times a window": "welch periodogram csd spectrogram stft",
        "rmad.linear(f, transpose) of the filter, which is linear in the array": """lfilter sosfilt filtfilt
            sosfiltfilt savgol_filter hilbert resample decimate""",
    },
    "ndimage": {
        "rmad.linear(f, transpose) of the filter, which is linear in the array": """gaussian_filter
            gaussian_filter1d convolve convolve1d correlate correlate1d uniform_filter uniform_filter1d sobel prewitt
            laplace gaussian_laplace shift zoom rotate affine_transform""",
        "rmad.linear(f, transpose) of the interpolation, which is linear in the image": "map_coordinates",
        "np.sort or np.median of shifted slices": "median_filter maximum_filter minimum_filter rank_filter",
    },
    "fft": {
        "numpy.fft.{}": """fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2
            rfftn""",
        "rmad.linear(f, transpose) of the transform, which is linear": "dct dctn idct idctn dst dstn idst idstn",
    },
    "spatial.distance": {
        "np.sqrt(np.sum((x[:, None] - y) ** 2, axis=-1))": "cdist pdist euclidean sqeuclidean",
    },
    "optimize": {
        _SOLVED: """bisect brenth brentq fixed_point fmin fsolve least_squares minimize minimize_scalar newton
            newton_krylov ridder root root_scalar toms748""",
    },
}

METHODS = ("logpdf", "pdf", "logpmf", "pmf", "cdf", "sf", "logcdf", "logsf")  # of rmad.stats
QUANTILES = ("ppf", "isf")
_WRAPPED = ("func", "f", "fun", "hypotest_fun_in", "function")  # names for a function in the wrappers of SciPy


def advice(frame: FrameType | None) -> str:
    """Says which function of SciPy has met a traced array, and what to write instead; empty for the user's own call."""
    for above in reversed(list(_of_scipy(frame))):
        for module, name in _called(above):
            return f"scipy.{module}.{name} takes plain arrays only; use {_written(module, name)}"
    return ""


def _of_scipy(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of SciPy between the error and the user's call, from the inside out."""
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package == "scipy":
            yield frame
        elif package not in ("numpy", "rmad"):
            return
        frame = frame.f_back


def _called(frame: FrameType) -> Iterator[tuple[str, str]]:
    """The module and the public name of what runs in a frame, or is wrapped by it."""
    here, name = frame.f_locals, frame.f_code.co_name
    module = _module(frame.f_globals["__name__"])
    if (owner := here.get("self")) is not None:  # a method: with its distribution or its class
        owner = getattr(owner, "dist", owner)
        kind = getattr(owner, "name", None) if module == "stats" else None
        kind = kind or type(owner).__name__.removesuffix("_gen").removesuffix("_frozen")
        if _is_public(module, kind):
            yield module, kind if name.startswith("_") or name == "freeze" else f"{kind}.{name}"
    elif _is_public(module, name):
        yield module, name
    for wrapped in filter(callable, map(here.get, _WRAPPED)):
        module, name = _module(getattr(wrapped, "__module__", None) or ""), getattr(wrapped, "__name__", "")
        if _is_public(module, name):
            yield module, name


def _module(name: str) -> str:
    """special of scipy.special._basic, spatial.distance of itself."""
    return "spatial.distance" if name == "scipy.spatial.distance" else ".".join(name.split(".")[1:2])


def _is_public(module: str, name: str) -> bool:
    return not name.startswith("_") and hasattr(sys.modules.get(f"scipy.{module}"), name)


def _written(module: str, name: str) -> str:
    """What the table has for a function; methods stay in the name of a distribution."""
    short, _, method = name.partition(".")
    if module == "stats" and method in QUANTILES:
        return "the ufunc of its quantiles, such as scipy.special.ndtri, gammaincinv or betaincinv"
    for ours, theirs in INSTEAD.get(module, {}).items():
        if short in theirs.split():
            return ours.replace("{}", name if module == "stats" and method in METHODS else short)
    return "its density written in NumPy" if method in METHODS else "functions of NumPy"
