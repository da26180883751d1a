"""Rows of rmad/primitives/numpys_code.py and sparse.py, and of functions that call the user's."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy import apply_along_axis, piecewise, trim_zeros
from numpy import apply_over_axes as over

from rmad.as_written import swap  # noqa: F401  # wraps what calls the user's functions

from . import Case, made, real

DENSE = np.random.default_rng(3).normal(size=(4, 3)) * (np.random.default_rng(4).random((4, 3)) < 0.6)
S, M = scipy.sparse.csr_array(DENSE), scipy.sparse.csc_matrix(DENSE)


def row(name, f, *args, **options):
    return Case(name, f, args=args, covers=[getattr(np, name)] if hasattr(np, name) else [], **options)


def falling(rng):
    """Coefficients of a polynomial with real roots that are apart."""
    return np.poly([3.0, 1.0, -2.0]) + rng.uniform(-0.1, 0.1, 4)


POINTS = np.array([[0.0, 1], [1, 2], [2, 0], [2, 2]])
V = real(4, lo=0.3, hi=2)
ends = {"complex": False, "float32": False}

CASES = [
    row(
        "cov",
        lambda x, y: (np.cov(x), np.cov(x, y, rowvar=False), np.cov(x, aweights=y[0] ** 2)),
        real(3, 4),
        real(3, 4),
    ),
    row("corrcoef", lambda x: (np.corrcoef(x), np.corrcoef(x, rowvar=False)), real(3, 5)),
    row("ediff1d", lambda x: (np.ediff1d(x), np.ediff1d(x, to_begin=x[0, :1], to_end=[x[1, 0]])), real(3, 4)),
    row("geomspace", lambda a, b: (np.geomspace(a, b, 5), np.geomspace(-b, -a, 3, endpoint=False)), V, V, **ends),
    row("logspace", lambda a, b: (np.logspace(a, b, 5), np.logspace(0, 1, 3, base=a)), V, V, **ends),
    row("histogram", lambda w: np.histogram(np.arange(4.0), 3, weights=w, density=True), V, **ends),
    row("histogram_bin_edges", lambda x: np.histogram_bin_edges(x, 3), V, distinct=True, **ends),
    row("histogram2d", lambda w: np.histogram2d([0.0, 1, 2, 3], [0.0, 0, 1, 1], 2, weights=w)[0], V, **ends),
    row("histogramdd", lambda w: np.histogramdd(POINTS, 2, weights=w)[0], V, **ends),
    row("intersect1d", lambda x: np.intersect1d(x, x[:2]), V, distinct=True),
    row("union1d", lambda x: np.union1d(x, x[:2]), V, distinct=True),
    row("setdiff1d", lambda x: np.setdiff1d(x, x[:2]), V, distinct=True),
    row("setxor1d", lambda x: np.setxor1d(x, x[:2]), V, distinct=True),
    row("ix_", lambda x: np.ix_(x, x[:2]), V, float32=False),
    row("poly", lambda x: np.poly(x), V),
    row("polyadd", lambda a, b: np.polyadd(a, b), V, real(2)),
    row("polysub", lambda a, b: np.polysub(a, b), V, real(2)),
    row("polymul", lambda a, b: np.polymul(a, [0, b[0], 1]), V, real(2)),
    row("polydiv", lambda a, b: np.polydiv(a, b), V, real(2, lo=0.5)),
    row("polyder", lambda x: (np.polyder(x), np.polyder(x, 2)), V, float32=False),
    row("polyint", lambda x: (np.polyint(x), np.polyint(x, 2, [x[0], 1])), V, float32=False),
    row("polyfit", lambda x, y: np.polyfit(np.cumsum(x), y, 2), V, V, float32=False),
    *[
        Case(f"emath.{f.__name__}", lambda x, f=f: (f(x), f(1 - x)), args=[V], covers=[f])
        for f in (getattr(np.emath, name) for name in ("arccos", "arcsin", "arctanh", "log", "log10", "log2", "sqrt"))
    ],
    Case("emath.logn", lambda n, x: np.emath.logn(1 + n, 1 - x), args=[V, V], covers=[np.emath.logn]),
    Case("emath.power", lambda x, p: np.emath.power(1 - x, p), args=[V, V], covers=[np.emath.power]),
    row("roots", lambda a: np.sort(np.real(np.roots(a))), made(falling), float32=False),
    row("sort_complex", lambda x: np.sort_complex(x), V, distinct=True, float32=False),
    row("trim_zeros", lambda x: trim_zeros(np.concatenate([[0], x, [0]])), V, float32=False),
    row(
        "piecewise",
        lambda x: (
            piecewise(x, [x > 1], [lambda t: t * x[0], 2]),
            np.piecewise([0.0, 1], [[True, False]], [x[0], x[1]]),
        ),
        V,
        float32=False,
    ),
    row(
        "apply_along_axis",
        lambda x: (np.apply_along_axis(lambda r: r * np.sum(r), 1, x), apply_along_axis(np.prod, 0, x)),
        real(2, 3),
    ),
    row("apply_over_axes", lambda x: (over(np.sum, x**2, [0, 2]), np.apply_over_axes(np.mean, x, 1)), real(2, 2, 3)),
    row("sparse @", lambda x, X: (S @ x, M @ X, S.dot(x), M * x, S.T @ (S @ x)), real(3), real(3, 2), float32=False),
    row("@ sparse", lambda x, X: (x @ S, X @ M, x @ S @ S.T), real(4), real(2, 4), float32=False),
]
