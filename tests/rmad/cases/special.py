"""Rows of the table: SciPy's special functions."""

from __future__ import annotations

import numpy as np
from scipy import special as sc

from cases import Arg, Case, any_shape, made, real
from rmad.primitives.layers.normal import normal_cdf
from rmad.primitives.polygamma import polygamma

POSITIVE = any_shape(0.3, 3)
UNIT = any_shape(0.1, 0.9)
ORDERS = np.array([[0.0], [1.0], [2.5]])


def special(name: str, *args: Arg, complex: bool = False, **more: object) -> Case:
    f = getattr(sc, name)
    return Case(name, f, args=args or [any_shape()], complex=complex, covers=[f], **more)  # type: ignore[arg-type]


def of_order(name: str, orders: np.ndarray = ORDERS, **more: object) -> Case:
    """f(v, x) with a column of orders v."""
    f = getattr(sc, name)
    return Case(name, lambda x: f(orders.astype(x.real.dtype), x), args=[real(4, lo=0.3, hi=3)], covers=[f], **more)  # type: ignore[arg-type]


def with_zero(rng: np.random.Generator) -> np.ndarray:
    return np.array([0.0, 0.7, -1.3])


def poles(rng: np.random.Generator) -> np.ndarray:
    """Poles of Γ, where 1/Γ is finite, and points between them."""
    return np.array([0.0, -1.0, -2.0, -0.6, 0.5, 1.7])


def whole_line(rng: np.random.Generator) -> np.ndarray:
    return np.array([-300.0, -40.0, -9.0, -1.0, 0.0, 0.5, 4.0, 30.0])


CASES: list[Case] = [
    # the error function and the normal distribution
    Case("normal_cdf", normal_cdf, args=[any_shape()]),
    *(special(name, complex=True) for name in ("erf", "erfc", "erfi", "erfcx", "dawsn")),
    Case("wofz", sc.wofz, args=[made(lambda rng: rng.uniform(-2, 2, 4) + 1j * rng.uniform(0, 1, 4))], covers=[sc.wofz]),
    special("erfinv", any_shape(-0.9, 0.9)),
    special("erfcinv", any_shape(0.2, 1.8)),
    special("ndtr"),
    special("ndtri", UNIT),
    special("log_ndtr"),
    Case("log_ndtr, whole line", sc.log_ndtr, args=[made(whole_line)], order=3, float32=False, covers=[sc.log_ndtr]),
    special("ndtri_exp", any_shape(-3, -0.3)),
    Case("dawsn, far", sc.dawsn, args=[made(lambda rng: np.array([-150.0, -99.0, 99.0, 300.0]))]),
    Case("i1e, far", sc.i1e, args=[made(lambda rng: np.array([-200.0, -31.0, -2.0, 0.5, 99.0, 300.0]))]),
    Case("k0e, far", sc.k0e, args=[made(lambda rng: np.array([0.5, 29.0, 31.0, 300.0]))]),
    Case(
        "ive, far", lambda x: sc.ive(np.array([2.0, 2.5, 3.0]), x), args=[made(lambda rng: np.array([-60.0, 99, 40]))]
    ),
    Case("erfcx, far", sc.erfcx, args=[made(lambda rng: np.array([-3.0, 99.0, 300.0]))]),
    # logistic functions, entropies
    special("expit"),
    special("logit", UNIT),
    special("log_expit"),
    Case("softplus", lambda x: np.logaddexp(0, x), args=[any_shape(-30, 30)]),
    special("xlogy", any_shape(), POSITIVE, complex=True),
    special("xlog1py", any_shape(), POSITIVE, complex=True),
    Case("xlogy at 0", lambda b: sc.xlogy(0, b), args=[made(lambda rng: np.array([0.0, 2.0]))], covers=[sc.xlogy]),
    special("entr", POSITIVE),
    special("rel_entr", POSITIVE, POSITIVE),
    special("kl_div", POSITIVE, POSITIVE),
    Case("rel_entr of 0", lambda b: sc.rel_entr(0, b) + sc.kl_div(0, b), args=[POSITIVE]),
    Case("huber", lambda r: sc.huber(0.7, r), args=[any_shape(-2, 1.618)], distinct=True, covers=[sc.huber]),
    Case("pseudo_huber", lambda r: sc.pseudo_huber(0.7, r), args=[any_shape()], covers=[sc.pseudo_huber]),
    Case("boxcox", lambda x: sc.boxcox(x, 1.5), args=[POSITIVE], covers=[sc.boxcox]),
    Case("boxcox1p", lambda x: sc.boxcox1p(x, 0.0), args=[POSITIVE], covers=[sc.boxcox1p]),
    special("exprel"),
    Case("exprel at 0", sc.exprel, args=[made(with_zero)], order=3, covers=[sc.exprel]),
    # SciPy's own versions of NumPy's functions
    *(special(name) for name in ("expm1", "exp2", "exp10", "cosm1", "sindg", "cosdg", "tandg")),
    *(special(name, POSITIVE) for name in ("log1p", "cbrt")),
    special("cotdg", any_shape(30, 80)),
    # gamma and its kind
    special("gamma", POSITIVE),
    special("rgamma", POSITIVE),
    Case("rgamma at the poles", sc.rgamma, args=[made(poles)], covers=[sc.rgamma]),
    special("gammaln", POSITIVE),
    special("loggamma", POSITIVE),
    special("digamma", POSITIVE, complex=True),
    Case("loggamma, complex", sc.loggamma, args=[made(lambda rng: rng.uniform(0.5, 2, 3) + 1j)]),
    Case("digamma, left", sc.digamma, args=[made(lambda rng: rng.uniform(-9, -2, 3) + 0.5j)], covers=[sc.digamma]),
    Case("zeta in its exponent", sc.zeta, args=[real(2, 1, lo=1.4, hi=4), real(3, lo=0.4, hi=4)], float32=False),
    Case("riemann_zeta", sc.zeta, args=[real(3, lo=1.4, hi=4)], covers=[sc._ufuncs._riemann_zeta]),
    Case("riemann_zeta, left", lambda s: sc.zeta(s), args=[real(3, lo=-0.9, hi=0.6)], float32=False),
    Case("zetac", sc.zetac, args=[real(3, lo=1.4, hi=4)], covers=[sc.zetac]),
    Case("zeta", lambda q: sc.zeta(2.5, q), args=[POSITIVE], covers=[sc._ufuncs._zeta]),
    special("beta", POSITIVE, POSITIVE),
    special("betaln", POSITIVE, POSITIVE),
    *(
        Case(
            f.__name__,
            f,
            args=[real(2, 1, lo=0.5, hi=3), real(lo=0.5, hi=3), real(3, lo=0.2, hi=0.8)],
            covers=[f],
            costly=True,
        )
        for f in (sc.betainc, sc.betaincc, sc.betaincinv, sc.betainccinv)
    ),
    *(
        Case(f.__name__, f, args=[real(2, 1, lo=0.5, hi=3), real(3, lo=0.1, hi=0.9)], covers=[f])
        for f in (sc.gammainc, sc.gammaincc, sc.gammaincinv, sc.gammainccinv)
    ),
    *(
        Case(f.__name__, f, args=[real(2, 1, lo=0.5, hi=3), real(3, lo=0.5, hi=3)], covers=[f])
        for f in (sc.chdtr, sc.chdtrc)
    ),
    *(
        Case(
            f.__name__,
            f,
            args=[real(2, 1, lo=0.5, hi=3), real(lo=0.5, hi=3), real(3, lo=0.5, hi=2)],
            covers=[f],
            costly=f in (sc.fdtr, sc.fdtrc),
        )
        for f in (sc.gdtr, sc.gdtrc, sc.fdtr, sc.fdtrc)
    ),
    *(Case(f.__name__, lambda m, f=f: f(2.0, m), args=[real(3, lo=0.5)], covers=[f]) for f in (sc.pdtr, sc.pdtrc)),  # type: ignore[misc]
    *(
        Case(f.__name__, lambda p, f=f: f(2.0, 5, p), args=[real(3, lo=0.1, hi=0.9)], float32=False, covers=[f])  # type: ignore[misc]
        for f in (sc.bdtr, sc.bdtrc)
    ),
    Case("stdtr", sc.stdtr, args=[real(2, 1, lo=0.5, hi=5), real(3)], covers=[sc.stdtr], costly=True),
    Case("polygamma", lambda x: polygamma(0, x) + polygamma(2, x), args=[POSITIVE]),
    special("exp1", POSITIVE),
    special("expi", POSITIVE),
    # hypergeometric functions
    Case("hyp0f1", lambda x: sc.hyp0f1(1.5, x), args=[any_shape()], covers=[sc.hyp0f1]),
    Case("hyp1f1", lambda x: sc.hyp1f1(0.5, 1.5, x), args=[any_shape()], covers=[sc.hyp1f1]),
    Case("hyperu", lambda x: sc.hyperu(0.5, 1.5, x), args=[POSITIVE], covers=[sc.hyperu]),
    Case("hyp2f1", lambda x: sc.hyp2f1(0.5, 1.5, 2.5, x), args=[any_shape(-0.7, 0.7)], covers=[sc.hyp2f1]),
    # Bessel functions
    *(special(name) for name in ("j0", "j1", "i0", "i1")),
    *(special(name, POSITIVE) for name in ("y0", "y1", "i0e", "i1e", "k0", "k1", "k0e", "k1e")),
    *(of_order(name, complex=True) for name in ("jv", "iv", "yv", "kv", "kve", "hankel1", "hankel2")),
    *(
        Case(f"{f.__name__} in its order", f, args=[real(2, 1, lo=0.3, hi=3), real(3, lo=0.3, hi=3)], covers=[f])
        for f in (sc.iv, sc.kv, sc.jv, sc.yv)
    ),
    Case("iv of negative order", sc.iv, args=[real(2, 1, lo=-3, hi=-0.3), real(3, lo=0.3, hi=3)], covers=[sc.iv]),
    *(of_order(name, orders=np.array([[0], [1], [3]])) for name in ("yn", "kn")),
    of_order("ive"),
    Case("jn, iv at 0", lambda x: sc.jn(1, x) + sc.iv(0, x) + sc.i1(x), args=[made(with_zero)]),
]
