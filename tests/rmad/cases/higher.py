"""Rows of the table: SciPy's elliptic integrals, orthogonal polynomials, other integrals, waves, and distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special as sc

from cases import Arg, Case, made, real

UNDERLYING = sc._ufuncs
MORE = {name: Arg((3,), lo, hi) for name, lo, hi in (("unit", 0.1, 0.9), ("positive", 0.4, 3.0), ("line", -1.5, 1.5))}
UNIT, POSITIVE, LINE = MORE.values()


def row(name: str, *args: Arg, key: Any = None, **more: Any) -> Case:
    """f(x₀, x₁, …), each of three numbers."""
    f = getattr(sc, name)
    return Case(name, f, args=args, covers=[key or f], **more)


def of_whole(name: str, degree: Any, *constants: float, domain: Arg = LINE, **more: Any) -> Case:
    """f(n, *constants, x)"""
    f = getattr(sc, name)
    return Case(name, lambda x: f(degree, *constants, x), args=[domain], covers=[f], **more)


def fixed(name: str, *args: Any, **more: Any) -> Case:
    """f of some numbers and of arguments to be differentiated."""
    f, places = getattr(sc, name), [k for k, a in enumerate(args) if isinstance(a, Arg)]

    def of_some(*xs: Any) -> Any:
        given: list[Any] = list(args)
        for k, x in zip(places, xs, strict=True):
            given[k] = x
        return f(*given)

    return Case(name, of_some, args=[args[k] for k in places], covers=[f], **more)


def spherical(name: str, derivative: bool) -> Case:
    f, n = getattr(sc, f"spherical_{name}"), np.array([0, 1, 3])
    key = getattr(UNDERLYING, f"_spherical_{name}{'_d' if derivative else ''}")
    what = f"spherical_{name}{', derivative' if derivative else ''}"
    return Case(what, lambda x: f(n, x, derivative), args=[POSITIVE], complex=True, float32=False, covers=[key])


def near_one(rng: np.random.Generator) -> np.ndarray:
    return np.array([1.0, 1 + 1e-9, 0.7, 2.5])


def angles(rng: np.random.Generator) -> np.ndarray:
    """Beyond several periods, and at their ends."""
    return np.array([-7.0, -0.3, 0.0, 1.2, 2.0, 9.0])


def with_zero(rng: np.random.Generator) -> np.ndarray:
    return np.array([0.0, 0.7, -1.3])


DEGREES = np.array([0, 1, 4])
SHIFTED = real(3, lo=0.1, hi=0.9)

CASES: list[Case] = [
    # elliptic integrals and functions
    row("ellipk", real(4, lo=-3, hi=0.95)),
    row("ellipkm1", real(4, lo=0.01, hi=3)),
    row("ellipe", real(4, lo=-3, hi=0.95)),
    Case("ellipk near 0", sc.ellipk, args=[made(lambda rng: np.array([0.0, 1e-9, -1e-5]))], order=3),
    row("ellipkinc", LINE, UNIT),
    row("ellipeinc", LINE, UNIT),
    Case("ellipkinc of any angle", lambda phi: sc.ellipkinc(phi, 0.3), args=[made(angles)]),
    Case("ellipeinc of any angle", sc.ellipeinc, args=[made(angles), real(1, lo=-2, hi=0.9)]),
    row("ellipj", LINE, UNIT),
    *(
        row(name, *[POSITIVE] * n, complex=True)
        for name, n in (("elliprc", 2), ("elliprd", 3), ("elliprf", 3), ("elliprg", 3))
    ),
    row("elliprj", *[POSITIVE] * 4, complex=True),
    row("agm", POSITIVE, POSITIVE),
    # orthogonal polynomials
    *(of_whole(f"eval_{name}", DEGREES) for name in ("legendre", "chebyt", "chebyu", "chebyc", "chebys", "laguerre")),
    *(of_whole(f"eval_{name}", DEGREES) for name in ("hermite", "hermitenorm")),
    *(of_whole(f"eval_sh_{name}", DEGREES, domain=SHIFTED) for name in ("legendre", "chebyt", "chebyu")),
    of_whole("eval_jacobi", DEGREES, 0.5, 1.5),
    of_whole("eval_sh_jacobi", DEGREES, 2.5, 1.5, domain=SHIFTED),
    of_whole("eval_gegenbauer", DEGREES, 0.5),
    of_whole("eval_genlaguerre", DEGREES, 0.5),
    Case(
        "eval_legendre of any degree", lambda x: sc.eval_legendre(1.7, x), args=[real(3, lo=-0.8, hi=0.8)], complex=True
    ),
    Case("lpmv", lambda x: sc.lpmv(np.array([0, 1, 2]), 2.5, x), args=[real(3, lo=-0.8, hi=0.8)], covers=[sc.lpmv]),
    # integrals
    of_whole("expn", np.array([0, 1, 3]), domain=POSITIVE),
    row("sici", POSITIVE, complex=True),
    row("shichi", POSITIVE, complex=True),
    row("fresnel", LINE, complex=True),
    row("spence", POSITIVE, complex=True),
    Case("spence at 1", sc.spence, args=[made(near_one)], order=3),
    Case("shichi far", lambda x: sc.shichi(x)[0], args=[made(lambda rng: np.array([1e-6, 3.0, -5.0]))]),
    row("voigt_profile", LINE, POSITIVE, POSITIVE),
    row("owens_t", LINE, LINE),
    *(row(name, real(3, lo=0.3, hi=3), float32=False) for name in ("itj0y0", "iti0k0", "it2j0y0", "it2i0k0")),
    *(row(name, POSITIVE, float32=False) for name in ("itstruve0", "it2struve0", "itmodstruve0")),
    row(
        "itairy", real(3, lo=0.4, hi=1.2), float32=False, rtol=1e-4, why="SciPy's own numbers are right to eight digits"
    ),
    # by an equation
    Case("lambertw", sc.lambertw, args=[POSITIVE], complex=True, covers=[UNDERLYING._lambertw]),
    Case("lambertw, branch -1", lambda z: sc.lambertw(z, -1), args=[real(3, lo=-0.3, hi=-0.1)], float32=False),
    row("wrightomega", LINE, complex=True),
    fixed("wright_bessel", 0.5, 1.5, POSITIVE),
    # waves
    row("airy", LINE, complex=True),
    row("airye", POSITIVE),
    Case("airye, far", sc.airye, args=[made(lambda rng: np.array([0.5, 12.0, 14.0, 300.0]))], float32=False),
    *(row(name, POSITIVE, float32=False) for name in ("ber", "bei", "ker", "kei", "berp", "beip", "kerp", "keip")),
    row("kelvin", POSITIVE, float32=False),
    fixed("pbdv", 1.3, LINE),
    fixed("pbvv", 1.3, LINE),
    fixed("pbwa", 1.3, LINE),
    of_whole("struve", np.array([0.0, 1.0, 2.5]), domain=POSITIVE),
    of_whole("modstruve", np.array([0.0, 1.0, 2.5]), domain=POSITIVE),
    *(of_whole(name, np.array([0.0, 1.0, 2.5]), domain=POSITIVE) for name in ("jve", "yve", "hankel1e", "hankel2e")),
    *(spherical(name, derivative) for name in ("jn", "yn", "in", "kn") for derivative in (False, True)),
    Case("spherical_jn at 0", lambda x: sc.spherical_jn(2, x + 0j), args=[made(with_zero)], float32=False),
    # powers and counts
    row("poch", POSITIVE, POSITIVE),
    row("binom", real(3, lo=3.5, hi=6), POSITIVE),
    Case(
        "binom of zero",
        sc.binom,
        args=[made(lambda rng: np.array([5.0, 4.0])), made(lambda rng: np.array([7.0, -2.0]))],
    ),
    row("powm1", POSITIVE, LINE),
    row("inv_boxcox", POSITIVE, UNIT),
    row("inv_boxcox1p", POSITIVE, UNIT),
    Case("boxcox at power 0", sc.boxcox, args=[POSITIVE, made(with_zero)], order=3),
    row("radian", LINE, LINE, LINE),
    # distributions
    fixed("chdtri", POSITIVE, UNIT),
    fixed("chdtriv", UNIT, POSITIVE),
    *(
        fixed(name, *args)
        for name, args in (
            ("gdtria", (UNIT, POSITIVE, POSITIVE)),
            ("gdtrib", (POSITIVE, UNIT, POSITIVE)),
            ("gdtrix", (POSITIVE, POSITIVE, UNIT)),
            ("btdtria", (UNIT, POSITIVE, UNIT)),
            ("btdtrib", (POSITIVE, UNIT, UNIT)),
            ("fdtri", (POSITIVE, POSITIVE, UNIT)),
            ("stdtrit", (POSITIVE, UNIT)),
            ("nrdtrimn", (UNIT, POSITIVE, LINE)),
            ("chndtr", (POSITIVE, 3.0, POSITIVE)),
            ("chndtrix", (UNIT, 3.0, POSITIVE)),
            ("tklmbda", (real(3, lo=-0.8, hi=0.8), real(3, lo=0.3, hi=1.2))),
            ("pdtri", (2, UNIT)),
            ("pdtrik", (UNIT, real(3, lo=3, hi=6))),
            ("nbdtr", (2, 3, UNIT)),
            ("nbdtrc", (2, 3, UNIT)),
            ("nbdtri", (2, 3, UNIT)),
        )
    ),
    fixed("bdtri", 2.0, 5, UNIT, float32=False),
    fixed("fdtridfd", 3.0, real(3, lo=0.5, hi=0.53), real(1, lo=0.9, hi=1.1), float32=False),
    fixed("stdtridf", real(3, lo=0.85, hi=0.88), real(1, lo=1.3, hi=1.4), float32=False),
    fixed("nrdtrisd", real(3, lo=-0.5, hi=0), real(3, lo=0.6, hi=0.9), real(3, lo=1, hi=2)),
    fixed("chndtrinc", real(3, lo=2, hi=3), 3.0, real(3, lo=0.2, hi=0.3), float32=False),
    fixed("bdtrik", real(3, lo=0.3, hi=0.9), 6.0, real(3, lo=0.3, hi=0.6), float32=False),
    fixed("bdtrin", 2.0, real(3, lo=0.3, hi=0.6), real(3, lo=0.3, hi=0.6), float32=False),
    fixed("nbdtrik", real(3, lo=0.6, hi=0.9), 3.0, real(3, lo=0.3, hi=0.6), float32=False),
    fixed("nbdtrin", 2.0, real(3, lo=0.3, hi=0.6), real(3, lo=0.3, hi=0.6), float32=False),
]
if hasattr(sc, "log_wright_bessel"):  # since SciPy 1.14
    CASES.append(fixed("log_wright_bessel", 0.5, 1.5, POSITIVE))
