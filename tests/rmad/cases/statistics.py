"""Rows of rmad/primitives/statistics.py, normalize.py, sorting.py and grid.py."""

import numpy as np

from rmad.primitives.layers.normalize import moments, standardize

from . import Case, made, real
from .reduce import MASK, over

METHODS = (
    "inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf hazen weibull linear "
    "median_unbiased normal_unbiased lower higher midpoint nearest"
)
KNOTS = np.array([-1.0, 0.1, 0.5, 1.3], np.float32)
MANY = np.sin(np.arange(1100, dtype=np.float32))[:, None]
POINTS = np.array([0, 0.7, 1.3, 2.4, 3.6])


def some_nan(x):
    """x with NaN where the mask says so, in its own dtype."""
    return np.where(MASK, x, np.float32(np.nan))


def between_knots(rng):
    """Points on both sides of, and between, the knots."""
    return np.array([-1.5, -0.4, 0.3, 0.6, 0.9, 2.0]) + rng.uniform(-0.05, 0.05, 6)


def ascending(*shape):
    return made(lambda rng: np.cumsum(rng.uniform(0.5, 1, shape), axis=-1))


CASES = [
    *over("var", np.var, [real(3, 4)], complex=True, covers=[np.var])[:4],
    *over("std", lambda x, **kw: np.std(x, ddof=1, **kw), [real(3, 4)], complex=True, covers=[np.std])[:4],
    Case(
        "var and std, options",
        lambda x: (
            np.var(x, axis=1, where=MASK, keepdims=True, ddof=0),
            np.var(x[:2], 0, correction=1),
            np.std(x, mean=np.mean(x, keepdims=True)),
        ),
        args=[real(3, 4)],
        complex=True,
        covers=[np.var, np.std],
    ),
    *over(
        "average",
        lambda x, w, **kw: np.average(x, weights=w, **kw),
        [real(3, 4), real(3, 4, lo=0.5)],
        covers=[np.average],
    )[:4],
    Case(
        "average, weights of one axis",
        lambda x, w: (np.average(x, 1, w, returned=True), np.average(x), np.average(x, 0, returned=True)[0]),
        args=[real(3, 4), real(4, lo=0.5)],
        complex=True,
        covers=[np.average],
    ),
    Case(
        "average, weights of two axes", lambda x, w: np.average(x, (2, 0), w), args=[real(3, 2, 4), real(4, 3, lo=0.5)]
    ),
    Case(
        "sums that pass over NaN",
        lambda x: (
            np.nansum(some_nan(x), axis=0),
            np.nanprod(some_nan(x), axis=1, keepdims=True),
            np.nanmean(some_nan(x)),
            np.nancumsum(some_nan(x), axis=1),
            np.nancumprod(some_nan(x)),
        ),
        args=[real(3, 4)],
        complex=True,
        covers=[np.nansum, np.nanprod, np.nanmean, np.nancumsum, np.nancumprod],
    ),
    Case(
        "variances that pass over NaN",
        lambda x: (np.nanvar(some_nan(x), axis=1), np.nanstd(some_nan(x), ddof=1), np.nanstd(x, axis=0)),
        args=[real(3, 4)],
        complex=True,
        covers=[np.nanvar, np.nanstd],
    ),
    Case(
        "extrema that pass over NaN",
        lambda x: (
            np.nanmax(some_nan(x), axis=0),
            np.nanmin(some_nan(x), axis=1, keepdims=True),
            np.nanmax(x),
            np.nanmin(x),
        ),
        args=[real(3, 4)],
        distinct=True,
        covers=[np.nanmax, np.nanmin],
    ),
    Case(
        "quantiles that pass over NaN",
        lambda x: (
            np.nanmedian(some_nan(x), axis=1),
            np.nanquantile(some_nan(x), 0.3, axis=0),
            np.nanpercentile(some_nan(x), 70, keepdims=True),
        ),
        args=[real(3, 4)],
        distinct=True,
        covers=[np.nanmedian, np.nanquantile, np.nanpercentile],
    ),
    # order
    *over("median", np.median, [real(3, 4)], distinct=True, covers=[np.median])[:4],
    *over("quantile", lambda x, **kw: np.quantile(x, 0.3, **kw), [real(3, 4)], distinct=True, covers=[np.quantile])[:4],
    Case(
        "percentiles",
        lambda x: (np.percentile(x, [[20, 50], [0, 100]], axis=1), np.percentile(x, [25.0], keepdims=True)),
        args=[real(3, 4)],
        distinct=True,
        float32=True,
        covers=[np.percentile],
    ),
    *[
        Case(
            f"quantile, {method}",
            lambda x, m=method: np.quantile(x, [0.13, 0.5, 0.9], axis=0, method=m),
            args=[real(7, 2)],
            distinct=True,
        )
        for method in METHODS.split()
    ],
    Case(
        "quantile of q",
        lambda x, q: np.quantile(x, q, axis=0),
        args=[real(7, 2), real(3, lo=0.42, hi=0.46)],
        distinct=True,
    ),
    Case(
        "sort",
        lambda x: (np.sort(x), np.sort(x, axis=0), np.sort(x, axis=None), x[np.argsort(x[:, 0])]),
        args=[real(3, 4)],
        distinct=True,
        covers=[np.sort],
    ),
    Case(
        "partition",
        lambda x: np.sort(np.partition(x, 2, axis=0)[:2], 0),
        args=[real(5, 3)],
        distinct=True,
        covers=[np.partition],
    ),
    Case(
        "unique",
        lambda x: (np.unique(x), np.unique(np.stack([x, x]), return_counts=True)[0]),
        args=[real(2, 3)],
        distinct=True,
        covers=[np.unique],
    ),
    Case(
        "unique of the array API",
        lambda x: (
            np.sort(np.unique_values(np.stack([x, x]))),
            *(f(x).values for f in (np.unique_all, np.unique_counts, np.unique_inverse)),
        ),
        args=[real(2, 3)],
        distinct=True,
        covers=[np.unique_values, np.unique_all, np.unique_counts, np.unique_inverse],
    ),
    Case("unique rows", lambda x: np.unique(np.concatenate([x, x]), axis=0), args=[real(2, 3)], distinct=True),
    # grids
    *[
        Case(
            f"diff, n={n}",
            lambda x, n=n: (np.diff(x, n), np.diff(x, n, axis=0)),
            args=[real(4, 3)],
            complex=True,
            covers=[np.diff],
        )
        for n in (0, 1, 2, 3)
    ],
    Case(
        "diff, ends",
        lambda x, p: np.diff(x, axis=1, prepend=0.0, append=p),
        args=[real(4, 3), real(4, 2)],
        covers=[np.diff],
    ),
    *[
        Case(
            f"gradient, edge_order={order}",
            lambda x, k=order: (
                np.gradient(x, 0.5, edge_order=k),
                np.gradient(x[0], edge_order=k),
                np.gradient(x, axis=1, edge_order=k),
            ),
            args=[real(3, 4)],
            complex=True,
            covers=[np.gradient],
        )
        for order in (1, 2)
    ],
    *[
        Case(
            f"gradient at points, edge_order={order}",
            lambda x, t, k=order: (np.gradient(x, t, axis=0, edge_order=k), np.gradient(x, POINTS, 2.0, edge_order=k)),
            args=[real(5, 3), ascending(5)],
            covers=[np.gradient],
        )
        for order in (1, 2)
    ],
    Case(
        "trapezoid",
        lambda y, x: (np.trapezoid(y, x), np.trapezoid(y, x[0]), np.trapezoid(y, dx=0.5, axis=0)),
        args=[real(4, 3), real(4, 3)],
        complex=True,
        covers=[np.trapezoid],
    ),
    Case(
        "interp",
        np.interp,
        args=[made(between_knots), made(lambda rng: KNOTS.astype(float)), real(4)],
        covers=[np.interp],
    ),
    Case(
        "interp, ends",
        lambda x, y, a: np.interp(x, KNOTS, y, left=a, right=8.0),
        args=[made(between_knots), real(4), real()],
    ),
    Case(
        "interp of complex values", lambda y: np.interp([[-2, 0.3], [0.5, 2]], KNOTS, y), args=[real(4)], complex=True
    ),
    Case(
        "interp, periodic",
        lambda x, t, y: np.interp(x, t, y, period=3.0),
        args=[
            made(lambda rng: np.array([-4.1, -0.3, 0.7, 1.2, 5.9])),
            made(lambda rng: np.array([2.8, 0.2, 0.9, 1.6])),
            real(4),
        ],
    ),
    Case("interp, one knot", lambda x, y: np.interp(x, [0.0], y), args=[real(3), real(1)], distinct=True),
]
CASES += [
    Case(f"standardize over {axes}", lambda x, axes=axes: standardize(x, axes, 0.1), args=[real(3, 2, 4)])
    for axes in (-1, (1, 2), (0, 1), 0, 1, (0, 2), (0, 1, 2))
]
CASES += [
    Case("moments", lambda x: moments(x, (0, 1), 0.1), args=[real(5, 3, 2)]),
    Case("moments over many rows", lambda x: moments(MANY * x, 0, 0.1), args=[real(1, 2)]),
]
