"""Rows of the table: elementwise functions."""

from __future__ import annotations

import numpy as np

from cases import Arg, Case, any_shape, made, real
from rmad.primitives.elementwise import softplus

INSIDE = any_shape(-0.9, 0.9)
POSITIVE = any_shape(0.3, 3)
SIGNED = any_shape(-2, 1.618)  # with distinct=True: the middle of (-2, 2) would be the kink itself


def unary(name: str, *args: Arg, complex: bool = True, **more: object) -> Case:
    f = getattr(np, name)
    return Case(name, f, args=args or [any_shape()], complex=complex, covers=[f], **more)  # type: ignore[arg-type]


def with_zeros(rng: np.random.Generator) -> np.ndarray:
    x = rng.uniform(-2, 2, (3, 2))
    x[0, 0] = x[2, 1] = 0
    return x


def off_axis(rng: np.random.Generator) -> np.ndarray:
    """Complex numbers away from 0 and from the negative real axis, where angles jump."""
    return rng.uniform(0.3, 2, 5) * np.exp(1j * rng.uniform(-2.5, 2.5, 5))


def off_cuts(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-2, 2, 5) + 1j * rng.uniform(0.3, 1, 5)


def halves(rng: np.random.Generator) -> np.ndarray:
    """Between the integers, so that nothing is rounded the other way by a small step."""
    return rng.integers(-5, 5, (2, 3)) + rng.uniform(0.3, 0.7, (2, 3))


def not_finite(rng: np.random.Generator) -> np.ndarray:
    return np.array([np.nan, 1.5, np.inf, -np.inf, -0.5])


CASES: list[Case] = [
    # arithmetic
    Case("add", np.add, args=[any_shape(), any_shape()], complex=True, covers=[np.add]),
    Case("subtract", np.subtract, args=[any_shape(), any_shape()], complex=True, covers=[np.subtract]),
    Case("multiply", np.multiply, args=[any_shape(), any_shape()], complex=True, covers=[np.multiply]),
    Case("divide", np.divide, args=[any_shape(), any_shape(0.5, 2)], complex=True, covers=[np.divide]),
    unary("negative"),
    unary("positive"),
    unary("reciprocal", any_shape(0.5, 2)),
    unary("square"),
    unary("sqrt", POSITIVE),
    unary("cbrt", POSITIVE, complex=False),
    Case("remainder", np.remainder, args=[made(halves), made(lambda rng: np.array([2.0]))], covers=[np.remainder]),
    Case("remainder of a number", lambda x: x % -1, args=[made(halves)], covers=[np.remainder]),
    Case("fmod", np.fmod, args=[made(halves), made(lambda rng: np.array([-2.0]))], covers=[np.fmod]),
    Case("divmod", lambda x: divmod(x, 1.0), args=[made(halves)], covers=[np.divmod]),
    Case("modf", np.modf, args=[made(halves)], covers=[np.modf]),
    Case("frexp", np.frexp, args=[any_shape(1.1, 1.9)], covers=[np.frexp]),
    Case("ldexp", lambda x: np.ldexp(x, np.array([2, -3])), args=[real(3, 2)], covers=[np.ldexp]),
    Case("add.outer", np.add.outer, args=[real(2, 2), real(3)], complex=True, covers=[np.add]),
    # scalars on either side
    Case("scalars", lambda x: (2 - 3 * x) / 4 + 1 / (x + 3) - (-x) / np.array([2.0]), args=[any_shape()], complex=True),
    Case("integers", lambda x: x * np.arange(2) - np.arange(2) / x, args=[real(3, 1, lo=0.5)], complex=True),
    Case("lists", lambda x: np.multiply(x, [1.0, 2.0]) + np.power(x, [2, 3]), args=[real(3, 2)], float32=False),
    Case("abs of a complex number", lambda z: abs(z[0]) * abs(z[3]), args=[made(off_axis)], covers=["valued"]),
    # powers
    Case("power", np.power, args=[POSITIVE, any_shape()], complex=True, covers=[np.power]),
    Case("float_power", np.float_power, args=[POSITIVE, any_shape()], complex=True, covers=[np.float_power]),
    *(
        Case(f"x ** {p}", lambda x, p=p: x**p, args=[made(with_zeros)], covers=["power"])  # type: ignore[misc]
        for p in (0, 1, 2, 3, 4.0)
    ),
    *(
        Case(f"x ** {p}, x > 0", lambda x, p=p: x**p, args=[POSITIVE], complex=True)  # type: ignore[misc]
        for p in (-1, -2, 0.5, 1.5)
    ),
    Case("x ** 3, negative", lambda x: x**3 + x**-3, args=[any_shape(-2, -0.5)], complex=True),
    Case("x ** integers", lambda x: x ** np.array([0, 1, 2, 3]), args=[made(lambda rng: np.array([[0.0], [-1.5]]))]),
    Case("integers ** x", lambda x: np.arange(3) ** x + 2**x, args=[real(2, 3, lo=0.5)], float32=False),
    Case("2 ** x", lambda x: 2**x, args=[any_shape()], complex=True),
    Case("float_power(x, 0)", lambda x: np.float_power(x, 0) + np.float_power(x, 2), args=[made(with_zeros)]),
    # exponentials and logarithms
    *(unary(name) for name in ("exp", "exp2", "expm1")),
    *(unary(name, POSITIVE) for name in ("log", "log2", "log10", "log1p")),
    Case("logaddexp", np.logaddexp, args=[any_shape(), any_shape()], covers=[np.logaddexp]),
    Case("logaddexp2", np.logaddexp2, args=[any_shape(), any_shape()], covers=[np.logaddexp2]),
    Case("softplus", lambda x: np.logaddexp(x, 0), args=[made(with_zeros)], covers=[np.logaddexp]),
    Case("softplus itself", softplus, args=[any_shape(-30, 30)]),
    Case("i0", np.i0, args=[made(with_zeros)], covers=[np.i0]),
    # trigonometric and hyperbolic
    *(unary(name) for name in ("sin", "cos", "sinh", "cosh", "tanh")),
    unary("tan", any_shape(-1.2, 1.2)),
    *(unary(name, INSIDE) for name in ("arcsin", "arccos", "arctanh", "arctan")),
    unary("arcsinh"),
    unary("arccosh", any_shape(1.2, 3)),
    Case(
        "along the cuts",
        lambda x: [
            *(f(s * x + t) for f in (np.arcsin, np.arccos, np.arccosh) for s in (1, -1) for t in (0j, -0j)),
            *(np.arcsinh(1j * s * x) for s in (1, -1)),
        ],
        args=[real(3, lo=1.2, hi=2)],
    ),
    Case("off the cuts", lambda z: [f(z) for f in (np.arcsin, np.arccosh, np.arctanh)], args=[made(off_cuts)]),
    Case("hypot", np.hypot, args=[any_shape(0.3, 2), any_shape()], covers=[np.hypot]),
    Case("arctan2", np.arctan2, args=[any_shape(0.3, 2), any_shape()], covers=[np.arctan2]),
    Case("arctan2, scalar", lambda x: np.arctan2(x, -0.7) + np.hypot(x, 0.7), args=[any_shape(0.2, 2)]),
    *(unary(name, complex=False) for name in ("deg2rad", "radians", "rad2deg", "degrees")),
    Case("unwrap", lambda x: np.unwrap(4 * x, axis=0), args=[real(5, 2)], covers=[np.unwrap]),
    Case("sinc", np.sinc, args=[any_shape(-3, 3)], complex=True, covers=[np.sinc]),
    Case("sinc at 0", np.sinc, args=[made(with_zeros)], order=3, covers=[np.sinc]),
    # choices
    *(
        unary(name, any_shape(), any_shape(), complex=False, distinct=True)
        for name in ("maximum", "minimum", "fmax", "fmin")
    ),
    Case("relu", lambda x: np.maximum(x, 0), args=[SIGNED], distinct=True, covers=[np.maximum]),
    Case("fmax of nan", lambda x: np.fmax(x, np.array([np.nan, -9, 9])), args=[real(2, 3)], covers=[np.fmax]),
    Case(
        "clip",
        lambda x, a, b: np.clip(x, np.minimum(a, b), np.maximum(a, b)),
        args=[any_shape(-6, 6)] * 3,
        distinct=True,
        covers=[np.clip],
    ),
    Case("clip, scalars", lambda x: np.clip(x, -0.7, 0.7), args=[SIGNED], distinct=True, covers=[np.clip]),
    Case("clip, from below", lambda x: np.clip(x, 0.1, None), args=[SIGNED], distinct=True),
    Case("clip, from above", lambda x: np.clip(x, a_min=None, a_max=0.1), args=[SIGNED], distinct=True),
    Case("x.clip", lambda x: x.clip(-0.7, 0.7), args=[SIGNED], distinct=True),
    Case(
        "where",
        lambda a, b: np.where(np.eye(2, dtype=bool), a, b),
        args=[real(2, 1), real(2)],
        complex=True,
        covers=[np.where],
    ),
    Case("where, traced", lambda x: np.where(x > 0, x**2, -1.5), args=[SIGNED], distinct=True, covers=[np.where]),
    Case("where, numbers", lambda x: np.where([2, 0, 1], x, np.float32(0)), args=[real(2, 3)], covers=[np.where]),
    Case("where, indices", lambda x: x[np.where(x)], args=[real(5)], covers=[np.where]),
    Case(
        "heaviside",
        lambda h: np.heaviside(np.array([-1.0, 0, 1]), h),
        args=[real(2, 3)],
        float32=False,  # the array of steps is double
        covers=[np.heaviside],
    ),
    Case("heaviside of x", lambda x: x * np.heaviside(x, 0.5), args=[SIGNED], distinct=True, covers=[np.heaviside]),
    Case("nextafter", lambda x: np.nextafter(x, 2 * x), args=[SIGNED], covers=[np.nextafter]),
    Case("copysign", np.copysign, args=[SIGNED, SIGNED], distinct=True, covers=[np.copysign]),
    # real and complex
    unary("absolute", SIGNED, complex=False, distinct=True),
    unary("fabs", SIGNED, complex=False, distinct=True),
    Case("abs of complex", np.abs, args=[made(off_axis)], covers=[np.absolute]),
    Case("sign", lambda x: x * np.sign(x), args=[any_shape(0.3, 2)], complex=True, covers=[np.sign]),
    unary("real"),
    unary("imag"),
    unary("conjugate"),
    Case("x.real, x.imag", lambda x: x.real * x.imag + x.conj(), args=[real(3)], complex=True),
    Case("angle", np.angle, args=[made(off_axis)], covers=[np.angle]),
    Case("angle in degrees", lambda x: np.angle(x, deg=True), args=[made(off_axis)]),
    Case("angle of real", lambda x: x * np.angle(x), args=[any_shape(-2, -0.3)], covers=[np.angle]),
    Case(
        "real_if_close",
        lambda z: np.real_if_close(z * np.conj(z)),
        args=[real(3)],
        complex=True,
        covers=[np.real_if_close],
    ),
    Case("real_if_close, complex", np.real_if_close, args=[made(off_cuts)], covers=[np.real_if_close]),
    Case("nan_to_num", np.nan_to_num, args=[any_shape()], complex=True, covers=[np.nan_to_num]),
    Case(
        "nan_to_num of these",
        lambda x: np.nan_to_num(x + not_finite(None), nan=1.0, posinf=2.0, neginf=-2.0),  # type: ignore[arg-type]
        args=[real(5)],
        complex=True,
        float32=False,  # the array of infinities is double
    ),
    # dtypes
    Case(
        "astype",
        lambda x: x.astype(np.float32),
        args=[any_shape()],
        covers=["astype"],
        rtol=2e-4,
        why="single precision",
    ),
    Case("astype complex", lambda x: x.astype(complex) * 1j, args=[any_shape()], complex=True, float32=False),
    Case("zeros_like", lambda x: x + np.zeros_like(x) + np.ones_like(x) * np.floor(x), args=[made(halves)]),
]
if hasattr(np, "astype"):
    CASES.append(Case("np.astype", lambda x: np.astype(x, np.float64), args=[real(3)], covers=[np.astype]))
