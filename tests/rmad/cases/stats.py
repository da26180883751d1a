"""Rows of the table: densities and distribution functions of rmad.stats, in x and in every parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cases import Arg, Case, any_shape, made, real, spd
from rmad import stats

LOC, SCALE, SHAPE = any_shape(-0.2, 0.2), any_shape(0.7, 1.4), any_shape(0.6, 3)
LINE, HALF_LINE, UNIT, PROBABILITY = any_shape(), any_shape(0.3, 3), any_shape(0.25, 0.6), any_shape(0.2, 0.8)


def density(name: str, x: Arg, *shapes: Arg) -> Case:
    """logpdf in x, the shapes, loc and scale."""
    loc = LOC if len(shapes) < 2 else real(lo=-0.2, hi=0.2)  # shapes are drawn for four arguments at most
    return Case(f"{name} logpdf", getattr(stats, name).logpdf, args=[x, *shapes, loc, SCALE])


def probability(name: str, k: Sequence[float], *shapes: Arg, fixed: tuple[float, ...] = ()) -> Case:
    """logpmf of several numbers, in the shapes; `fixed`: shapes before these, which are whole numbers."""
    f = getattr(stats, name).logpmf
    return Case(f"{name} logpmf", lambda *shapes: np.stack([f(i, *fixed, *shapes) for i in k]), args=shapes)


def distribution(name: str, x: Arg, *shapes: Arg, method: str) -> Case:
    """cdf or logsf, the one of a plain formula and the other of a logarithm of two."""
    costly = name in ("beta", "f", "t")
    return Case(f"{name} {method}", getattr(getattr(stats, name), method), args=[x, *shapes], costly=costly)


def of_vectors(name: str, *args: Arg, **more: Any) -> Case:
    return Case(f"{name} logpdf", getattr(stats, name).logpdf, args=args, **more)


def simplex(rng: np.random.Generator) -> np.ndarray:
    return rng.dirichlet([3.0, 2.0, 4.0])[:2]


A, SOME = real(2, 1, lo=0.6, hi=3), real(3, lo=0.4, hi=3)
WITH_CDF = {
    "norm": (SOME,),
    "lognorm": (SOME, A),
    "gamma": (SOME, A),
    "beta": (real(3, lo=0.2, hi=0.8), A, real(lo=0.5, hi=3)),
    "expon": (SOME,),
    "t": (real(3), A),
    "chi2": (SOME, A),
    "f": (SOME, A, real(lo=0.5, hi=3)),
    "laplace": (SOME,),
    "cauchy": (SOME,),
    "logistic": (SOME,),
    "uniform": (real(3, lo=0.2, hi=0.8),),
    "weibull_min": (SOME, A),
    "gumbel_r": (SOME,),
    "invgamma": (SOME, A),
    "pareto": (real(3, lo=1.2, hi=4), A),
}


def quantile(name: str, *shapes: Arg, method: str) -> Case:
    args = [real(3, lo=0.15, hi=0.85), *shapes, real(lo=-0.2, hi=0.2), real(lo=0.7, hi=1.4)]
    return Case(f"{name} {method}", getattr(getattr(stats, name), method), args=args, costly=bool(shapes))


CASES: list[Case] = [
    *(quantile(name, *shapes, method=method) for name, (_, *shapes) in WITH_CDF.items() for method in ("ppf", "isf")),
    density("norm", LINE),
    density("lognorm", HALF_LINE, SHAPE),
    density("gamma", HALF_LINE, SHAPE),
    density("beta", UNIT, SHAPE, SHAPE),
    density("expon", HALF_LINE),
    density("t", LINE, SHAPE),
    density("chi2", HALF_LINE, SHAPE),
    density("f", HALF_LINE, SHAPE, SHAPE),
    density("laplace", any_shape(0.3, 3)),
    density("cauchy", LINE),
    density("logistic", LINE),
    density("uniform", any_shape(0.25, 0.45)),
    density("weibull_min", HALF_LINE, SHAPE),
    density("gumbel_r", LINE),
    density("invgamma", HALF_LINE, SHAPE),
    Case(  # squared: ∂²/∂x∂scale of the density itself is zero, to which no rounding error is small
        "pareto logpdf",
        lambda *args: np.square(stats.pareto.logpdf(*args)),
        args=[any_shape(2, 4), SHAPE, LOC, SCALE],
    ),
    probability("poisson", (0, 2, 5), SHAPE),
    probability("binom", (0, 2, 5), PROBABILITY, fixed=(5,)),
    probability("bernoulli", (0, 1), PROBABILITY),
    probability("nbinom", (0, 2, 5), SHAPE, PROBABILITY),
    probability("geom", (1, 2, 5), PROBABILITY),
    *(distribution(name, *shapes, method=method) for name, shapes in WITH_CDF.items() for method in ("cdf", "logsf")),
    of_vectors("multivariate_normal", real(4, 3), real(3), made(spd(3))),
    Case("multivariate_normal of a variance", stats.multivariate_normal.logpdf, args=[real(3), real(3), real(lo=0.5)]),
    of_vectors("multivariate_t", real(4, 3), real(3), made(spd(3)), real(lo=0.7)),
    of_vectors("dirichlet", made(simplex), real(3, lo=0.5)),
    Case(
        "wishart logpdf",
        lambda X, df, S: stats.wishart.logpdf(X, df, S),
        args=[made(spd(3)), real(lo=2.5, hi=6), made(spd(3))],
    ),
]
