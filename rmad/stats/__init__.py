"""Log densities with scipy.stats' names and arguments, differentiable in x and in every parameter.

    rmad.stats.gamma.logpdf(x, a, loc=0, scale=1)      also pdf, cdf, sf, logcdf, logsf; logpmf and pmf of discrete ones
    rmad.stats.norm(mu, sigma).logpdf(x)               with parameters fixed

NumPy's protocols do not reach scipy.stats. Here traced and plain arguments mix, and lists may hold traced numbers.
Values are SciPy's: -inf outside the support, NaN for invalid parameters, double precision whatever comes in.

`base` has what distributions share; `continuous` and `discrete` are tables of one row each; `multivariate` has those of
vectors and matrices.
"""

from typing import TYPE_CHECKING

from rmad.stats.continuous import (
    beta,
    cauchy,
    chi2,
    expon,
    f,
    gamma,
    gumbel_r,
    invgamma,
    laplace,
    logistic,
    lognorm,
    norm,
    pareto,
    t,
    uniform,
    weibull_min,
)
from rmad.stats.discrete import bernoulli, binom, geom, nbinom, poisson
from rmad.stats.multivariate import dirichlet, multivariate_normal, multivariate_t, wishart

__all__ = [
    "bernoulli",
    "beta",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "f",
    "gamma",
    "geom",
    "gumbel_r",
    "invgamma",
    "laplace",
    "logistic",
    "lognorm",
    "multivariate_normal",
    "multivariate_t",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "t",
    "uniform",
    "weibull_min",
    "wishart",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Says which distributions there are."""
        raise AttributeError(f"rmad.stats has no {name!r}; it has {', '.join(__all__)}")
