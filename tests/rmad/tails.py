"""Table of the smooth elementwise functions: each with its twin in mpmath and the ranges that points are drawn from.

A row covers the core of the domain, both tails, and the neighbourhood of zeros and poles of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import mpmath as mp
import numpy as np
import scipy.special as sc

import rmad
from rmad.primitives.layers.normal import normal_cdf

__all__ = ["ROWS", "Row"]

Draw = Callable[[np.random.Generator, int], np.ndarray]


def flat(lo: float, hi: float) -> Draw:
    """Numbers drawn uniformly from [lo, hi]."""
    return lambda rng, n: rng.uniform(lo, hi, n)


def decades(lo: float, hi: float, *, around: float = 0.0, below: bool = False) -> Draw:
    """around + 10^e, or around - 10^e, e drawn uniformly from [lo, hi]."""
    sign = -1 if below else 1
    return lambda rng, n: around + sign * 10 ** rng.uniform(lo, hi, n)


def minus(draw: Draw) -> Draw:
    return lambda rng, n: -draw(rng, n)


def whole(lo: int, hi: int) -> Draw:
    return lambda rng, n: rng.integers(lo, hi + 1, n).astype(np.float64)


def always(value: float) -> Draw:
    return lambda rng, n: np.full(n, value)


def both(*draws: Draw) -> list[Draw]:
    """The ranges, and the same left of zero."""
    return [d for draw in draws for d in (draw, minus(draw))]


@dataclass
class Row:
    """f: of NumPy arrays. twin: of mpmath's numbers. regions: lists of one draw per argument.

    by         the arguments that f has derivatives in
    derivative (n, …) → the n-th derivative of the twin, if it is not to be found by differences
    inverse    True if f is the inverse of the twin in its last argument
    """

    name: str
    f: Callable[..., Any]
    twin: Callable[..., Any]
    regions: Sequence[Sequence[Draw]]
    by: tuple[int, ...] = (0,)
    derivative: Callable[..., Any] | None = None
    inverse: bool = False

    def points(self, rng: np.random.Generator, n: int) -> list[np.ndarray]:
        """The arguments: n numbers from the regions in turn."""
        counts = [n // len(self.regions) + (k < n % len(self.regions)) for k in range(len(self.regions))]
        drawn = [[draw(rng, m) for draw in region] for region, m in zip(self.regions, counts, strict=True)]
        return [np.concatenate(arrays) for arrays in zip(*drawn, strict=True)]


def one(name: str, f: Callable[..., Any], twin: Callable[..., Any], *draws: Draw) -> Row:
    """A row of one argument."""
    return Row(name, f, twin, [[d] for d in draws])


def second(name: str, f: Callable[..., Any], twin: Callable[..., Any], *regions: Sequence[Draw]) -> Row:
    """A row of two arguments, f with a derivative in the second one."""
    return Row(name, f, twin, regions, (1,))


def inverse_of(name: str, f: Callable[..., Any], twin: Callable[..., Any], *regions: Sequence[Draw]) -> Row:
    """A row of the inverse of `twin` in its last argument."""
    return Row(name, f, twin, regions, (len(regions[0]) - 1,), inverse=True)


def of_any_order(name: str, f: Callable[..., Any], derivative: Any, orders: Sequence[Draw], x: Sequence[Draw]) -> Row:
    """A row of Bessel functions of order v, with the derivatives of the twin in closed form."""
    return Row(name, f, partial(derivative, 0), [[v, d] for v in orders for d in x], (1,), derivative)


def of_order(v: int, name: str, f: Callable[..., Any], derivative: Any, *x: Draw) -> Row:
    """The same for a function of fixed order."""
    return Row(name, f, lambda x: derivative(0, v, x), [[d] for d in x], (0,), lambda n, x: derivative(n, v, x))


def last(name: str, f: Callable[..., Any], twin: Callable[..., Any], *regions: Sequence[Draw]) -> Row:
    """A row of several arguments, f with a derivative in the last one that is checked here."""
    return Row(name, f, twin, regions, (len(regions[0]) - 1,))


def pair(name: str, f: Callable[..., Any], twin: Callable[..., Any], *regions: Sequence[Draw]) -> Row:
    """A row of two arguments, f with a derivative in both."""
    return Row(name, f, twin, regions, (0, 1))


def slope(name: str, f: Callable[..., Any], first: Callable[..., Any], by: int, *regions: Sequence[Draw]) -> Row:
    """A row of one argument of f, with its derivative in closed form."""

    def derivative(n: int, *x: Any) -> Any:
        return mp.diff(lambda t: first(*x[:by], t, *x[by + 1 :]), x[by], n - 1)

    return Row(name, f, first, regions, (by,), derivative)


# -- twins of functions that mpmath has not ----------------------------------------------------------------------------


def f_twin(m: Any, n: Any, x: Any) -> Any:
    return mp.betainc(m / 2, n / 2, 0, m * x / (n + m * x), regularized=True)


def t_twin(v: Any, t: Any) -> Any:
    half = mp.betainc(v / 2, mp.mpf(1) / 2, 0, v / (v + t * t), regularized=True) / 2
    return half if t < 0 else 1 - half


def of_whole(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(k, n, p) of a whole number n, which SciPy wants as an integer."""
    return lambda k, n, p: f(k, n.astype(int), p)


def noncentral_density(x: Any, df: Any, nc: Any) -> Any:
    """Of χ²."""
    order, root = df / 2 - 1, mp.sqrt(nc * x)
    return mp.exp(-(x + nc) / 2) * mp.power(x / nc, order / 2) * mp.besseli(order, root) / 2


def noncentral_twin(df: Any, nc: Any, x: Any) -> Any:
    """Its distribution function, Poisson's mixture."""
    shares = (mp.exp(-nc / 2) * (nc / 2) ** j / mp.factorial(j) for j in range(60))
    return mp.fsum(w * mp.gammainc(df / 2 + j, 0, x / 2, regularized=True) for j, w in enumerate(shares))


def quantile(p: Any) -> Any:
    return -mp.sqrt(2) * mp.erfinv(1 - 2 * p)


def voigt(x: Any, sigma: Any, gamma: Any) -> Any:
    z = mp.mpc(x, gamma) / (sigma * mp.sqrt(2))
    return mp.re(mp.exp(-z * z) * mp.erfc(-1j * z)) / (sigma * mp.sqrt(2 * mp.pi))


def owens_by_h(h: Any, a: Any) -> Any:
    return -mp.exp(-h * h / 2) * mp.erf(a * h / mp.sqrt(2)) / (2 * mp.sqrt(2 * mp.pi))


def owens_by_a(h: Any, a: Any) -> Any:
    return mp.exp(-h * h * (1 + a * a) / 2) / (2 * mp.pi * (1 + a * a))


def wright(a: Any, b: Any, x: Any) -> Any:
    return mp.fsum(x**k / mp.factorial(k) * mp.rgamma(a * k + b) for k in range(90))


def whole_degree(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(n, …) of a whole number n, which SciPy wants as an integer."""
    return lambda n, *x: f(n.astype(int), *x)


def spherical(f: Callable[..., Any], sign: int = 1) -> Callable[..., Any]:
    return lambda n, x: mp.sqrt(mp.pi / (2 * x)) * f(n + mp.mpf(1) / 2, x)


def legendre_twin(m: Any, v: Any, x: Any) -> Any:
    scale = (-1) ** m * mp.rf(v - m + 1, 2 * m) / (mp.power(2, m) * mp.factorial(m))
    return scale * mp.power(1 - x * x, m / 2) * mp.hyp2f1(m - v, m + v + 1, m + 1, (1 - x) / 2)


def kelvin(name: str, n: int) -> Callable[..., Any]:
    """The derivatives of the n-th derivative: real and imaginary parts of J₀(x exp(3πi/4)) and K₀(x exp(πi/4))."""
    f, turn, sign = (mp.besselj, 3, -1) if name.startswith("be") else (mp.besselk, 1, 1)
    part = mp.re if name.endswith("r") else mp.im

    def derivative(k: int, x: Any) -> Any:
        a = mp.exp(turn * mp.pi * 1j / 4)
        factor = (1 if f is mp.besselj else -1) ** (n + k)
        return part(factor * a ** (n + k) * bessel(f, sign)(n + k, 0, a * x))

    return derivative


def of_kelvin(name: str) -> list[Row]:
    f, regions = getattr(sc, name), [[flat(0.2, 8)], [decades(-1.5, 0)]]
    rows = [Row(name, f, kelvin(name, 0), regions, (0,), kelvin(name, 0))]
    return [*rows, Row(f"{name}p", getattr(sc, f"{name}p"), kelvin(name, 1), regions, (0,), kelvin(name, 1))]


def of_negative(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(k, n, p) of two whole numbers."""
    return lambda k, n, p: f(k.astype(int), n.astype(int), p)


def share(*x: Any) -> Any:
    """The first of the numbers softmax(x)."""
    return mp.exp(x[0]) / mp.fsum(mp.exp(a) for a in x)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def log_add(*x: Any) -> Any:
    return mp.log(mp.fsum(mp.exp(a) for a in x))


def phi(x: Any) -> Any:
    """The standard normal distribution function."""
    return mp.erfc(-x / mp.sqrt(2)) / 2


def boxcox(x: Any, p: Any) -> Any:
    return (mp.power(x, p) - 1) / p


def bessel(f: Callable[..., Any], sign: int) -> Callable[..., Any]:
    """The derivatives of jᵥ, yᵥ (sign -1) and iᵥ (1): (fᵥ₋₁ + sign fᵥ₊₁)/2, n times."""

    def derivative(n: int, v: Any, x: Any) -> Any:
        return mp.fsum(mp.binomial(n, k) * sign**k * f(v - n + 2 * k, x) for k in range(n + 1)) / 2**n

    return derivative


def scaled_i(n: int, v: Any, x: Any) -> Any:
    """dⁿ/dxⁿ iᵥ(x) exp(-|x|), by Leibniz's rule."""
    i, s = bessel(mp.besseli, 1), -mp.sign(x)
    return mp.exp(-abs(x)) * mp.fsum(mp.binomial(n, k) * s ** (n - k) * i(k, v, x) for k in range(n + 1))


def integral_k(n: int, v: Any, x: Any, shift: int) -> Any:
    """dⁿ/dxⁿ kᵥ(x) exp(sx) = ∫₀^∞ (s - cosh t)ⁿ exp((s - cosh t) x) cosh(vt) dt, s = shift, by the trapezoidal rule."""
    h = min(mp.mpf(1) / 12, 2 / (5 * mp.sqrt(x)))
    total, t = mp.mpf(0), mp.mpf(0)
    while True:
        e = 2 * mp.sinh(t / 2) ** 2 + 1 - shift  # cosh t - shift
        term = (-e) ** n * mp.exp(-e * x) * mp.cosh(v * t)
        total += term if t else term / 2
        if t and abs(term) < mp.mpf(10) ** -35 * abs(total):
            return total * h
        t += h


def softmax_row(name: str, f: Callable[..., Any], twin: Callable[..., Any]) -> Row:
    """A row for two numbers a and b, which f takes as one array, with two more that are constants."""

    def of_two(a: Any, b: Any) -> Any:
        return f(np.stack([a, b, np.full(np.shape(a), 0.3), np.full(np.shape(a), -1.0)]))

    regions = [[flat(-3, 3), flat(-3, 3)], [flat(-100, 100), flat(-20, 20)], [flat(-300, 300), flat(-300, 300)]]
    return pair(name, of_two, lambda a, b: twin(a, b, mp.mpf(0.3), mp.mpf(-1)), *regions)


plain_k, scaled_k = partial(integral_k, shift=0), partial(integral_k, shift=1)

# -- the table ---------------------------------------------------------------------------------------------------------

LINE = both(flat(0, 3), decades(-12, 0), flat(3, 40))
TINY = both(decades(-12, -1))
LARGE = both(decades(2, 30))
POSITIVE = [flat(0, 5), decades(-30, 0), decades(0, 30)]
UNIT = [flat(0, 1), decades(-30, -1), decades(-9, -1, around=1, below=True)]
MINUS_ONE_TO_ONE = [flat(-1, 1), *TINY, *both(decades(-9, -1, around=1, below=True))]
GAMMA = [[flat(0.2, 16), flat(0, 16)], [flat(0.2, 16), decades(-9, 0)], [flat(0.2, 16), flat(16, 600)]]
WITH_SCALE = [[flat(0.5, 2), flat(0.2, 8), flat(0, 8)], [flat(0.5, 2), flat(0.2, 8), decades(-9, 0)]]
TRIALS = [[whole(0, 5), whole(6, 12), p] for p in UNIT]
ORDERS = [flat(0, 4), whole(0, 6)]
BESSEL = [flat(0.1, 10), decades(-6, 0), flat(10, 60)]
MODULI = [flat(-3, 0.9), *both(decades(-12, -1)), decades(-9, -1, around=1, below=True), minus(decades(0, 6))]
ANGLES = [
    [flat(-1.5, 1.5), flat(-3, 0.9)],
    [flat(-12, 12), flat(-3, 0.9)],
    [flat(1.5, 1.57), decades(-6, -1, around=1, below=True)],
    [flat(-1.5, 1.5), decades(-9, -1)],
    [decades(-6, -1), flat(-3, 0.9)],
]
CARLSON = [[flat(0.2, 4)] * 3, [decades(-4, 4), flat(0.2, 4), flat(0.2, 4)]]
DEGREES = [[whole(0, 8), flat(-0.95, 0.95)]]
POWERS = [[flat(0.2, 3), flat(0.2, 2)], [flat(0.2, 3), decades(-6, -1)]]
SHARES = [[flat(0.8, 9), flat(0.1, 0.9)]]
COUNTS = [whole(0, 6), flat(0.1, 0.9)]
NONCENTRAL = [flat(0.3, 12), flat(1, 6), flat(0.5, 8)]

ROWS = [
    # arithmetic and powers
    one("reciprocal", np.reciprocal, lambda x: 1 / x, *both(*POSITIVE)),
    one("square", np.square, lambda x: x * x, *LINE, *LARGE),
    one("sqrt", np.sqrt, mp.sqrt, *POSITIVE),
    one("cbrt", np.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x)), *both(*POSITIVE)),
    one("cbrt of SciPy", sc.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x)), *both(*POSITIVE)),
    pair("multiply", np.multiply, lambda a, b: a * b, [flat(-3, 3), flat(-3, 3)]),
    pair("divide", np.divide, lambda a, b: a / b, [flat(-3, 3), flat(-3, 3)], [decades(0, 30), decades(-30, 0)]),
    pair("power", np.power, mp.power, *([x, p] for x in (flat(0, 3), decades(-6, 6)) for p in (flat(-5, 5), TINY[0]))),
    pair("float_power", np.float_power, mp.power, [flat(0, 3), flat(-5, 5)]),
    pair(
        "hypot",
        np.hypot,
        lambda a, b: mp.sqrt(a * a + b * b),
        [flat(-3, 3), flat(-3, 3)],
        [decades(-50, 50), decades(-50, 50)],
    ),
    pair("arctan2", np.arctan2, mp.atan2, [flat(-3, 3), flat(-3, 3)], [decades(-50, 50), decades(-50, 50)]),
    # exponentials and logarithms
    one("exp", np.exp, mp.exp, *LINE, flat(-700, 700)),
    one("exp2", np.exp2, lambda x: mp.power(2, x), *LINE, flat(-1000, 1000)),
    one("exp2 of SciPy", sc.exp2, lambda x: mp.power(2, x), *LINE, flat(-1000, 1000)),
    one("exp10", sc.exp10, lambda x: mp.power(10, x), *LINE, flat(-300, 300)),
    one("expm1", np.expm1, mp.expm1, *LINE, flat(-700, 700)),
    one("expm1 of SciPy", sc.expm1, mp.expm1, *LINE, flat(-700, 700)),
    one("log1p of SciPy", sc.log1p, mp.log1p, *POSITIVE, flat(-1, 0), decades(-9, -1, around=-1)),
    one("exprel", sc.exprel, lambda x: mp.expm1(x) / x, *LINE, flat(-700, 700), *LARGE[1:]),
    one("log", np.log, mp.log, *POSITIVE),
    one("log2", np.log2, lambda x: mp.log(x, 2), *POSITIVE),
    one("log10", np.log10, mp.log10, *POSITIVE),
    one("log1p", np.log1p, mp.log1p, *POSITIVE, flat(-1, 0), decades(-9, -1, around=-1)),
    one("sigmoid", sc.expit, sigmoid, *LINE, flat(-700, 700)),
    one("log_expit", sc.log_expit, lambda x: mp.log(sigmoid(x)), *LINE, flat(-350, 350)),
    one("softplus", rmad.primitives.elementwise.softplus, lambda x: mp.log1p(mp.exp(x)), *LINE, flat(-350, 350)),
    one("logit", sc.logit, lambda p: mp.log(p / (1 - p)), *UNIT),
    pair(
        "logaddexp",
        np.logaddexp,
        log_add,
        [flat(-3, 3), flat(-3, 3)],
        [flat(-300, 300), flat(-20, 20)],
        [flat(-300, 300), always(0)],
    ),
    pair(
        "logaddexp2",
        np.logaddexp2,
        lambda a, b: mp.log(2**a + 2**b, 2),
        [flat(-3, 3), flat(-3, 3)],
        [flat(-300, 300), flat(-20, 20)],
    ),
    softmax_row("logsumexp", lambda x: rmad.logsumexp(x, axis=0), log_add),
    softmax_row("softmax", lambda x: rmad.softmax(x, axis=0)[0], share),
    softmax_row("log_softmax", lambda x: rmad.log_softmax(x, axis=0)[0], lambda *x: mp.log(share(*x))),
    # trigonometric and hyperbolic functions
    one("sin", np.sin, mp.sin, *LINE, *both(decades(2, 8))),
    one("cos", np.cos, mp.cos, *LINE, *both(decades(2, 8))),
    one("tan", np.tan, mp.tan, *LINE, *both(decades(2, 8))),
    one("sinh", np.sinh, mp.sinh, *LINE, flat(-700, 700)),
    one("cosh", np.cosh, mp.cosh, *LINE, flat(-700, 700)),
    one("tanh", np.tanh, mp.tanh, *LINE, flat(-350, 350)),
    one("arcsin", np.arcsin, mp.asin, *MINUS_ONE_TO_ONE),
    one("arccos", np.arccos, mp.acos, *MINUS_ONE_TO_ONE),
    one("arctan", np.arctan, mp.atan, *LINE, *LARGE),
    one("arcsinh", np.arcsinh, mp.asinh, *LINE, *LARGE),
    one("arccosh", np.arccosh, mp.acosh, flat(1, 5), decades(-9, 0, around=1), decades(1, 30)),
    one("arctanh", np.arctanh, mp.atanh, *MINUS_ONE_TO_ONE),
    one("sinc", np.sinc, lambda x: mp.sinc(mp.pi * x), *LINE, *both(decades(1, 5))),
    one("cosm1", sc.cosm1, lambda x: mp.cos(x) - 1, *LINE),
    one("sindg", sc.sindg, lambda x: mp.sin(mp.radians(x)), flat(-400, 400), *TINY),
    one("cosdg", sc.cosdg, lambda x: mp.cos(mp.radians(x)), flat(-400, 400), *TINY),
    one("tandg", sc.tandg, lambda x: mp.tan(mp.radians(x)), flat(-400, 400), *TINY),
    one("cotdg", sc.cotdg, lambda x: mp.cot(mp.radians(x)), flat(-400, 400), *both(decades(-3, 0))),
    # the error function and the normal distribution
    one("erf", sc.erf, mp.erf, *LINE[:-2], flat(-26, 26)),
    one("erfc", sc.erfc, mp.erfc, *LINE[:-2], flat(-26, 26)),
    one("erfi", sc.erfi, mp.erfi, *LINE[:-2], flat(-26, 26)),
    one(
        "erfcx",
        sc.erfcx,
        lambda x: mp.exp(x * x) * mp.erfc(x),
        flat(-5, 5),
        *TINY,
        flat(-25, 0),
        decades(0, 3),
        decades(3, 30),
    ),
    one(
        "dawsn",
        sc.dawsn,
        lambda x: mp.exp(-x * x) * mp.erfi(x) * mp.sqrt(mp.pi) / 2,
        *both(flat(0, 5), decades(-12, 0), decades(0, 2), decades(2, 30)),
    ),
    inverse_of("erfinv", sc.erfinv, mp.erf, *([d] for d in MINUS_ONE_TO_ONE)),
    inverse_of("erfcinv", sc.erfcinv, mp.erfc, [flat(0, 2)], [decades(-30, 0)]),
    one("ndtr", sc.ndtr, phi, *LINE[:-2], flat(-37, 37)),
    one("normal_cdf", normal_cdf, phi, *LINE[:-2], flat(-37, 37)),
    one("log_ndtr", sc.log_ndtr, lambda x: mp.log(phi(x)), *LINE[:-2], flat(-37, 37), minus(decades(1, 4))),
    inverse_of("ndtri", sc.ndtri, phi, *([d] for d in UNIT)),
    inverse_of(
        "ndtri_exp", sc.ndtri_exp, lambda x: mp.log(phi(x)), [flat(-5, 0)], [minus(decades(-6, 0))], [flat(-300, -5)]
    ),
    # entropies and losses
    pair("xlogy", sc.xlogy, lambda a, b: a * mp.log(b), [flat(-3, 3), flat(0, 3)], [decades(-9, 9), decades(-30, 30)]),
    pair(
        "xlog1py",
        sc.xlog1py,
        lambda a, b: a * mp.log1p(b),
        [flat(-3, 3), flat(-1, 3)],
        [decades(-9, 9), decades(-30, 30)],
    ),
    one("entr", sc.entr, lambda x: -x * mp.log(x), *POSITIVE),
    pair(
        "rel_entr",
        sc.rel_entr,
        lambda a, b: a * mp.log(a / b),
        [flat(0, 3), flat(0, 3)],
        [decades(-9, 9), decades(-9, 9)],
    ),
    pair(
        "kl_div",
        sc.kl_div,
        lambda a, b: a * mp.log(a / b) - a + b,
        [flat(0, 3), flat(0, 3)],
        [decades(-9, 9), decades(-9, 9)],
    ),
    second(
        "pseudo_huber",
        sc.pseudo_huber,
        lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1),
        [flat(0.1, 3), flat(-3, 3)],
        [flat(0.1, 3), decades(-9, 9)],
        [decades(-9, 9), decades(-9, 9)],
    ),
    Row("boxcox", sc.boxcox, boxcox, [[flat(0, 3), flat(-3, 3)], [decades(-9, 9), flat(-3, 3)]]),
    Row(
        "boxcox1p",
        sc.boxcox1p,
        lambda x, p: boxcox(1 + x, p),
        [[flat(0, 3), flat(-3, 3)], [decades(-9, 9), flat(-3, 3)], [decades(-9, 0, around=-1), flat(-3, 3)]],
    ),
    # gamma and its kind
    one("gamma", sc.gamma, mp.gamma, flat(0, 10), flat(10, 170), decades(-9, 0), flat(-6, 0)),
    one(
        "gammaln",
        sc.gammaln,
        lambda x: mp.log(abs(mp.gamma(x))),
        flat(0, 10),
        decades(1, 12),
        decades(-9, 0),
        flat(-6, 0),
    ),
    one("loggamma", sc.loggamma, mp.loggamma, flat(0, 10), decades(1, 12), decades(-9, 0)),
    one("psi", sc.psi, mp.digamma, flat(0, 10), decades(1, 30), decades(-9, 0), flat(-6, 0)),
    one(
        "multigammaln",
        lambda a: rmad.multigammaln(a, 3),
        lambda a: mp.fsum(mp.loggamma(a - mp.mpf(j) / 2) for j in range(3)),
        flat(1, 10),
        decades(-9, 0, around=1),
        decades(1, 12),
    ),
    one(
        "polygamma", lambda x: rmad.polygamma(2, x), lambda x: mp.psi(2, x), flat(0, 10), decades(1, 12), decades(-9, 0)
    ),
    one("rgamma", sc.rgamma, mp.rgamma, flat(0, 10), flat(10, 170), *TINY, flat(-20, 0)),
    second(
        "zeta",
        sc.zeta,
        mp.zeta,
        [flat(1.1, 8), flat(0.1, 5)],
        [flat(1.1, 8), decades(0, 9)],
        [flat(1.1, 8), decades(-9, 0)],
    ),
    pair(
        "beta",
        sc.beta,
        mp.beta,
        [flat(0, 5), flat(0, 5)],
        [decades(-3, 3), flat(0.1, 5)],
        [flat(1, 20), flat(1, 20)],
        [flat(0.1, 5), decades(3, 12)],
        [decades(3, 12), flat(0.1, 5)],
    ),
    pair(
        "betaln",
        sc.betaln,
        lambda a, b: mp.log(mp.beta(a, b)),
        [flat(0, 5), flat(0, 5)],
        [decades(-6, 3), flat(0.1, 5)],
        [decades(0, 12), decades(0, 12)],
        [flat(0.1, 5), decades(3, 15)],
        [decades(3, 15), flat(0.1, 5)],
    ),
    Row(
        "betainc",
        sc.betainc,
        lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True),
        [[flat(0.2, 8), flat(0.2, 8), x] for x in UNIT],
        (2,),
    ),
    Row(
        "betaincc",
        sc.betaincc,
        lambda a, b, x: -mp.betainc(a, b, 0, x, regularized=True),
        [[flat(0.2, 8), flat(0.2, 8), x] for x in UNIT],
        (2,),
    ),
    inverse_of(
        "betaincinv",
        sc.betaincinv,
        lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True),
        [flat(0.5, 5), flat(0.5, 5), flat(0.02, 0.98)],
    ),
    inverse_of(
        "betainccinv",
        sc.betainccinv,
        lambda a, b, x: mp.betainc(a, b, x, 1, regularized=True),
        [flat(0.5, 5), flat(0.5, 5), flat(0.02, 0.98)],
    ),
    second(
        "gammainc",
        sc.gammainc,
        lambda a, x: mp.gammainc(a, 0, x, regularized=True),
        [flat(0.1, 8), flat(0, 8)],
        [flat(0.1, 8), decades(-9, 0)],
        [flat(0.1, 8), flat(8, 300)],
    ),
    second(
        "gammaincc",
        sc.gammaincc,
        lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True),
        [flat(0.1, 8), flat(0, 8)],
        [flat(0.1, 8), decades(-9, 0)],
        [flat(0.1, 8), flat(8, 300)],
    ),
    inverse_of(
        "gammaincinv",
        sc.gammaincinv,
        lambda a, x: mp.gammainc(a, 0, x, regularized=True),
        [flat(0.5, 5), flat(0.02, 0.98)],
    ),
    inverse_of(
        "gammainccinv",
        sc.gammainccinv,
        lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True),
        [flat(0.5, 5), flat(0.02, 0.98)],
    ),
    second("chdtr", sc.chdtr, lambda v, x: mp.gammainc(v / 2, 0, x / 2, regularized=True), *GAMMA),
    second("chdtrc", sc.chdtrc, lambda v, x: mp.gammainc(v / 2, x / 2, mp.inf, regularized=True), *GAMMA),
    last("gdtr", sc.gdtr, lambda a, b, x: mp.gammainc(b, 0, a * x, regularized=True), *WITH_SCALE),
    last("gdtrc", sc.gdtrc, lambda a, b, x: mp.gammainc(b, a * x, mp.inf, regularized=True), *WITH_SCALE),
    second("pdtr", sc.pdtr, lambda k, m: mp.gammainc(k + 1, m, mp.inf, regularized=True), [whole(0, 9), flat(0, 30)]),
    second("pdtrc", sc.pdtrc, lambda k, m: mp.gammainc(k + 1, 0, m, regularized=True), [whole(0, 9), flat(0, 30)]),
    last("bdtr", of_whole(sc.bdtr), lambda k, n, p: mp.betainc(n - k, k + 1, 0, 1 - p, regularized=True), *TRIALS),
    last("bdtrc", of_whole(sc.bdtrc), lambda k, n, p: mp.betainc(k + 1, n - k, 0, p, regularized=True), *TRIALS),
    last(
        "fdtr", sc.fdtr, f_twin, [flat(0.5, 9), flat(0.5, 9), flat(0.1, 9)], [flat(0.5, 9), flat(0.5, 9), decades(1, 9)]
    ),
    last("fdtrc", sc.fdtrc, lambda *x: -f_twin(*x), [flat(0.5, 9), flat(0.5, 9), decades(-6, 2)]),
    second("stdtr", sc.stdtr, t_twin, [flat(0.5, 9), flat(-9, 9)], [decades(0, 3), flat(-9, 9)]),
    one("exp1", sc.exp1, mp.e1, flat(0, 10), decades(-9, 0), flat(10, 600)),
    one("expi", sc.expi, mp.ei, flat(0, 10), decades(-9, 0), flat(-600, 600)),
    # hypergeometric functions
    second("hyp0f1", sc.hyp0f1, mp.hyp0f1, [flat(0.5, 4), flat(-3, 3)], [flat(0.5, 4), decades(-9, 0)]),
    Row("hyp1f1", sc.hyp1f1, mp.hyp1f1, [[flat(0.5, 3), flat(0.5, 4), flat(-3, 3)]], (2,)),
    Row("hyperu", sc.hyperu, mp.hyperu, [[flat(0.5, 2), flat(0.3, 0.9), flat(0.3, 2)]], (2,)),
    Row("hyp2f1", sc.hyp2f1, mp.hyp2f1, [[flat(0.5, 2), flat(0.5, 2), flat(2.1, 4), flat(-0.8, 0.8)]], (3,)),
    # Bessel functions
    of_order(0, "j0", sc.j0, bessel(mp.besselj, -1), *LINE),
    of_order(1, "j1", sc.j1, bessel(mp.besselj, -1), *LINE),
    of_order(0, "y0", sc.y0, bessel(mp.bessely, -1), *BESSEL),
    of_order(1, "y1", sc.y1, bessel(mp.bessely, -1), *BESSEL),
    of_order(0, "i0", sc.i0, bessel(mp.besseli, 1), *LINE, flat(-600, 600)),
    of_order(0, "i0 of NumPy", np.i0, bessel(mp.besseli, 1), *LINE, flat(-600, 600)),
    of_order(1, "i1", sc.i1, bessel(mp.besseli, 1), *LINE, flat(-600, 600)),
    of_order(0, "k0", sc.k0, plain_k, *BESSEL, flat(60, 600)),
    of_order(1, "k1", sc.k1, plain_k, *BESSEL, flat(60, 600)),
    of_order(0, "i0e", sc.i0e, scaled_i, *LINE, *both(decades(1, 6))),
    of_order(1, "i1e", sc.i1e, scaled_i, *LINE, *both(decades(1, 6))),
    of_order(0, "k0e", sc.k0e, scaled_k, *BESSEL, decades(1, 6)),
    of_order(1, "k1e", sc.k1e, scaled_k, *BESSEL, decades(1, 6)),
    of_any_order("jv", sc.jv, bessel(mp.besselj, -1), ORDERS, BESSEL),
    of_any_order("yv", sc.yv, bessel(mp.bessely, -1), ORDERS, BESSEL),
    of_any_order("yn", lambda v, x: sc.yn(v.astype(int), x), bessel(mp.bessely, -1), [whole(0, 6)], BESSEL),
    of_any_order("iv", sc.iv, bessel(mp.besseli, 1), ORDERS, BESSEL),
    of_any_order("kv", sc.kv, plain_k, ORDERS, BESSEL),
    of_any_order("kn", lambda v, x: sc.kn(v.astype(int), x), plain_k, [whole(0, 6)], BESSEL),
    of_any_order("ive", sc.ive, scaled_i, ORDERS, [*BESSEL, decades(1, 6)]),
    of_any_order("ive, left", sc.ive, scaled_i, [whole(0, 6)], [minus(flat(0.1, 60)), minus(decades(1, 6))]),
    of_any_order("kve", sc.kve, scaled_k, ORDERS, [*BESSEL, decades(1, 6)]),
    # elliptic integrals
    one("ellipk", sc.ellipk, mp.ellipk, *MODULI),
    one("ellipe", sc.ellipe, mp.ellipe, *MODULI),
    one("ellipkm1", sc.ellipkm1, lambda p: mp.ellipk(1 - p), flat(0.1, 3), decades(-30, -1)),
    pair("ellipkinc", sc.ellipkinc, mp.ellipf, *ANGLES),
    pair("ellipeinc", sc.ellipeinc, mp.ellipe, *ANGLES),
    pair("elliprc", sc.elliprc, mp.elliprc, [flat(0.2, 4), flat(0.2, 4)], [decades(-6, 6), flat(0.2, 4)]),
    Row("elliprd", sc.elliprd, mp.elliprd, CARLSON, (0, 2)),
    Row("elliprf", sc.elliprf, mp.elliprf, CARLSON, (0, 2)),
    Row("elliprg", sc.elliprg, mp.elliprg, CARLSON[:1], (0, 2)),
    Row("elliprj", sc.elliprj, mp.elliprj, [[*CARLSON[0], flat(0.2, 4)]], (0, 3)),
    pair("agm", sc.agm, mp.agm, [flat(0.2, 4), flat(0.2, 4)], [decades(-6, 6), flat(0.2, 4)]),
    # orthogonal polynomials
    second("eval_legendre", sc.eval_legendre, mp.legendre, *DEGREES),
    second("eval_sh_legendre", sc.eval_sh_legendre, lambda n, x: mp.legendre(n, 2 * x - 1), *DEGREES),
    second("eval_chebyt", whole_degree(sc.eval_chebyt), mp.chebyt, *DEGREES),
    second("eval_chebyu", whole_degree(sc.eval_chebyu), mp.chebyu, *DEGREES),
    second("eval_chebyc", whole_degree(sc.eval_chebyc), lambda n, x: 2 * mp.chebyt(n, x / 2), *DEGREES),
    second("eval_chebys", whole_degree(sc.eval_chebys), lambda n, x: mp.chebyu(n, x / 2), *DEGREES),
    second("eval_sh_chebyt", whole_degree(sc.eval_sh_chebyt), lambda n, x: mp.chebyt(n, 2 * x - 1), *DEGREES),
    second("eval_sh_chebyu", whole_degree(sc.eval_sh_chebyu), lambda n, x: mp.chebyu(n, 2 * x - 1), *DEGREES),
    second("eval_laguerre", sc.eval_laguerre, lambda n, x: mp.laguerre(n, 0, x), *DEGREES),
    second("eval_hermite", whole_degree(sc.eval_hermite), mp.hermite, *DEGREES),
    second(
        "eval_hermitenorm",
        whole_degree(sc.eval_hermitenorm),
        lambda n, x: mp.power(2, -n / 2) * mp.hermite(n, x / mp.sqrt(2)),
        *DEGREES,
    ),
    last("eval_jacobi", sc.eval_jacobi, mp.jacobi, [whole(1, 6), flat(0, 2), flat(0, 2), flat(-0.9, 0.9)]),
    last(
        "eval_sh_jacobi",
        sc.eval_sh_jacobi,
        lambda n, p, q, x: mp.jacobi(n, p - q, q - 1, 2 * x - 1) / mp.binomial(2 * n + p - 1, n),
        [whole(1, 6), flat(3, 4), flat(1, 3), flat(0.1, 0.9)],
    ),
    last("eval_gegenbauer", sc.eval_gegenbauer, mp.gegenbauer, [whole(1, 6), flat(0.5, 2), flat(-0.9, 0.9)]),
    last("eval_genlaguerre", sc.eval_genlaguerre, mp.laguerre, [whole(1, 6), flat(0, 2), flat(0, 4)]),
    last("lpmv", sc.lpmv, legendre_twin, [whole(0, 3), flat(3, 5), flat(-0.7, 0.9)]),
    # integrals
    second("expn", whole_degree(sc.expn), mp.expint, *([whole(0, 5), d] for d in (flat(0.1, 8), decades(-6, -1)))),
    one("spence", sc.spence, lambda z: mp.polylog(2, 1 - z), flat(0.1, 1.9), decades(-9, 0), decades(1, 6)),
    Row("voigt_profile", sc.voigt_profile, voigt, [[flat(-2, 2), flat(0.7, 2), flat(0.1, 1)]], (0, 1, 2)),
    slope("owens_t of h", sc.owens_t, owens_by_h, 0, [flat(-4, 4), flat(-3, 3)]),
    slope("owens_t of a", sc.owens_t, owens_by_a, 1, [flat(-4, 4), flat(-3, 3)]),
    slope("itstruve0", sc.itstruve0, lambda x: mp.struveh(0, x), 0, [flat(0.2, 8)]),
    slope("it2struve0", sc.it2struve0, lambda x: -mp.struveh(0, x) / x, 0, [flat(0.2, 8)]),
    slope("itmodstruve0", sc.itmodstruve0, lambda x: mp.struvel(0, x), 0, [flat(0.2, 8)]),
    # by an equation
    one("lambertw", lambda z: np.real(sc.lambertw(z)), mp.lambertw, flat(0, 5), decades(-9, 0), decades(1, 30)),
    one("wrightomega", sc.wrightomega, lambda z: mp.lambertw(mp.exp(z)), flat(-30, 30), decades(2, 3)),
    last("wright_bessel", sc.wright_bessel, wright, [flat(0.2, 2), flat(0.5, 2), flat(0.1, 3)]),
    # waves
    *(row for name in ("ber", "bei", "ker", "kei") for row in of_kelvin(name)),
    second("struve", sc.struve, mp.struveh, *([flat(0, 3), x] for x in (flat(0.2, 10), decades(-3, 0)))),
    second("modstruve", sc.modstruve, mp.struvel, *([flat(0, 3), x] for x in (flat(0.2, 10), decades(-3, 0)))),
    of_any_order("jve", sc.jve, bessel(mp.besselj, -1), ORDERS, BESSEL),
    of_any_order("yve", sc.yve, bessel(mp.bessely, -1), ORDERS, BESSEL),
    *(
        second(f"spherical_{name}", whole_degree(getattr(sc, f"spherical_{name}")), spherical(twin), [whole(0, 4), x])
        for name, twin in (("jn", mp.besselj), ("yn", mp.bessely), ("in", mp.besseli), ("kn", mp.besselk))
        for x in (flat(0.3, 12),)
    ),
    # powers and counts
    pair("poch", sc.poch, mp.rf, [flat(0.2, 5), flat(0.2, 5)], [decades(1, 4), decades(-6, 0)]),
    pair("binom", sc.binom, mp.binomial, [flat(6, 12), flat(0.2, 5)]),
    pair("powm1", sc.powm1, lambda x, p: mp.power(x, p) - 1, [flat(0.2, 3), flat(-3, 3)]),
    pair("inv_boxcox", sc.inv_boxcox, lambda y, p: mp.power(1 + p * y, 1 / p), *POWERS),
    pair("inv_boxcox1p", sc.inv_boxcox1p, lambda y, p: mp.power(1 + p * y, 1 / p) - 1, *POWERS),
    # distributions
    last("nbdtr", of_negative(sc.nbdtr), lambda k, n, p: mp.betainc(n, k + 1, 0, p, regularized=True), *TRIALS),
    last("nbdtrc", of_negative(sc.nbdtrc), lambda k, n, p: mp.betainc(k + 1, n, 0, 1 - p, regularized=True), *TRIALS),
    inverse_of("chdtri", sc.chdtri, lambda v, x: mp.gammainc(v / 2, x / 2, mp.inf, regularized=True), *SHARES),
    inverse_of(
        "gdtrix", sc.gdtrix, lambda a, b, x: mp.gammainc(b, 0, a * x, regularized=True), [flat(0.5, 2), *SHARES[0]]
    ),
    inverse_of("fdtri", sc.fdtri, f_twin, [flat(0.5, 9), flat(0.5, 9), flat(0.1, 0.9)]),
    inverse_of("stdtrit", sc.stdtrit, t_twin, *SHARES),
    inverse_of("pdtri", whole_degree(sc.pdtri), lambda k, m: mp.gammainc(k + 1, m, mp.inf, regularized=True), COUNTS),
    inverse_of(
        "bdtri",
        of_whole(sc.bdtri),
        lambda k, n, p: mp.betainc(n - k, k + 1, 0, 1 - p, regularized=True),
        [whole(0, 5), whole(6, 12), flat(0.1, 0.9)],
    ),
    inverse_of(
        "nbdtri",
        of_negative(sc.nbdtri),
        lambda k, n, p: mp.betainc(n, k + 1, 0, p, regularized=True),
        [whole(0, 5), whole(6, 12), flat(0.1, 0.9)],
    ),
    inverse_of(
        "tklmbda",
        lambda k, x: sc.tklmbda(x, k),
        lambda k, p: (mp.power(p, k) - mp.power(1 - p, k)) / k,
        [flat(0.2, 1.5), flat(-0.6, 0.6)],
    ),
    pair(
        "nrdtrimn of p",
        lambda p, s: sc.nrdtrimn(p, s, 0.7),
        lambda p, s: mp.mpf(0.7) - s * quantile(p),
        [UNIT[0], UNIT[0]],
    ),
    pair(
        "nrdtrisd of p",
        lambda m, p: sc.nrdtrisd(m, p, 2.0),
        lambda m, p: (2 - m) / quantile(p),
        [UNIT[0], flat(0.6, 1)],
    ),
    slope("chndtr of x", sc.chndtr, noncentral_density, 0, NONCENTRAL),
    slope("chndtr of nc", sc.chndtr, lambda x, df, nc: -noncentral_density(x, df + 2, nc), 2, NONCENTRAL),
    inverse_of(
        "chndtrix", lambda df, nc, p: sc.chndtrix(p, df, nc), noncentral_twin, [flat(1, 4), flat(0.5, 3), UNIT[0]]
    ),
    # their inverses in parameters
    inverse_of(
        "gdtria",
        lambda b, x, p: sc.gdtria(p, b, x),
        lambda b, x, a: mp.gammainc(b, 0, a * x, regularized=True),
        [flat(1, 3), flat(1, 3), UNIT[0]],
    ),
    inverse_of(
        "gdtrib",
        lambda a, x, p: sc.gdtrib(a, p, x),
        lambda a, x, b: mp.gammainc(b, 0, a * x, regularized=True),
        [flat(1, 3), flat(1, 3), UNIT[0]],
    ),
    inverse_of(
        "btdtria",
        lambda b, x, p: sc.btdtria(p, b, x),
        lambda b, x, a: mp.betainc(a, b, 0, x, regularized=True),
        [flat(1, 3), flat(0.2, 0.8), UNIT[0]],
    ),
    inverse_of(
        "btdtrib",
        lambda a, x, p: sc.btdtrib(a, p, x),
        lambda a, x, b: mp.betainc(a, b, 0, x, regularized=True),
        [flat(1, 3), flat(0.2, 0.8), UNIT[0]],
    ),
    inverse_of(
        "chdtriv",
        lambda x, p: sc.chdtriv(p, x),
        lambda x, v: mp.gammainc(v / 2, 0, x / 2, regularized=True),
        [flat(1, 5), UNIT[0]],
    ),
    inverse_of(
        "pdtrik",
        lambda m, p: sc.pdtrik(p, m),
        lambda m, k: mp.gammainc(k + 1, m, mp.inf, regularized=True),
        [flat(2, 6), flat(0.3, 0.9)],
    ),
    inverse_of(
        "bdtrin",
        lambda k, q, p: sc.bdtrin(k, p, q),
        lambda k, q, n: mp.betainc(n - k, k + 1, 0, 1 - q, regularized=True),
        [flat(2, 4), flat(0.3, 0.6), flat(0.3, 0.8)],
    ),
    inverse_of(
        "nbdtrik",
        lambda n, q, p: sc.nbdtrik(p, n, q),
        lambda n, q, k: mp.betainc(n, k + 1, 0, q, regularized=True),
        [flat(2, 4), flat(0.3, 0.6), flat(0.5, 0.9)],
    ),
    inverse_of(
        "nbdtrin",
        lambda k, q, p: sc.nbdtrin(k, p, q),
        lambda k, q, n: mp.betainc(n, k + 1, 0, q, regularized=True),
        [flat(2, 4), flat(0.3, 0.6), flat(0.3, 0.8)],
    ),
    inverse_of(
        "fdtridfd",
        lambda m, x, p: sc.fdtridfd(m, p, x),
        lambda m, x, n: f_twin(m, n, x),
        [always(3), always(1), flat(0.5, 0.55)],
    ),
    inverse_of(
        "stdtridf", lambda t, p: sc.stdtridf(p, t), lambda t, v: t_twin(v, t), [flat(1.3, 1.4), flat(0.85, 0.88)]
    ),
    inverse_of(
        "chndtrinc",
        lambda x, df, p: sc.chndtrinc(x, df, p),
        lambda x, df, nc: noncentral_twin(df, nc, x),
        [flat(2, 3), always(3), flat(0.2, 0.3)],
    ),
    # zeta in its exponent
    slope(
        "zeta of s",
        sc.zeta,
        lambda s, q: mp.zeta(s, q, derivative=1),
        0,
        [flat(1.2, 30), flat(0.2, 60)],
        [flat(1.1, 3), decades(1, 4)],
    ),
    slope("riemann_zeta", sc.zeta, lambda s: mp.zeta(s, derivative=1), 0, [flat(1.1, 40)], [flat(-0.9, 0.9)]),
    slope("zetac", sc.zetac, lambda s: mp.zeta(s, derivative=1), 0, [flat(1.1, 40)]),
]
