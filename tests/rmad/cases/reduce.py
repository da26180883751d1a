"""Rows of rmad/primitives/reduce.py: reductions and scans."""

import numpy as np

from . import Case, made, real

MASK = np.array([[True, False, True, True], [False, False, True, False], [True, True, True, True]])


def with_zeros(rng):
    """No zero in one row, one in the next, two in the last."""
    x = rng.uniform(0.5, 2, (3, 4)) * np.where(rng.random((3, 4)) < 0.5, -1, 1)
    x[1, 2] = x[2, 0] = x[2, 3] = 0
    return x


def over(name, f, args, **options):
    """f over every kind of axis, dimensions kept and dropped."""
    axes = ((None, False), (0, True), (-1, False), ((0, -1), False), ((), False))
    return [
        Case(
            f"{name}, axis={axis}, keepdims={keepdims}",
            lambda *a, k=axis, d=keepdims: f(*a, axis=k, keepdims=d),
            args=args,
            **options,
        )
        for axis, keepdims in axes
    ]


CASES = [
    *over("sum", np.sum, [real(3, 4)], complex=True, covers=[np.sum]),
    *over("mean", np.mean, [real(3, 4)], complex=True, covers=[np.mean]),
    *over("max", np.max, [real(3, 4)], distinct=True, covers=[np.max]),
    *over("min", np.min, [real(3, 4)], distinct=True, covers=[np.min]),
    *over("prod", np.prod, [real(3, 4)], complex=True, covers=[np.prod]),
    *over("ptp", np.ptp, [real(3, 4)], distinct=True, covers=[np.ptp]),
    Case(
        "amax, amin", lambda x: (np.amax(x, 1), np.amin(x)), args=[real(3, 4)], distinct=True, covers=[np.amax, np.amin]
    ),
    Case(
        "methods",
        lambda x: (x.sum(1), x.mean(), x.prod(0), x.cumsum(), x.cumprod(1), x.trace(), x.var(0), x.std(ddof=1)),
        args=[real(3, 4)],
        complex=True,
    ),
    Case("x.max, x.min", lambda x: (x.max(0), x.min(axis=1, keepdims=True)), args=[real(3, 4)], distinct=True),
    Case(
        "of a number along an axis",
        lambda x: (np.sum(x, 0), np.prod(x, axis=-1), np.max(x, axis=0, keepdims=True)),
        args=[real()],
        complex=False,
    ),
    Case(
        "of nothing",
        lambda x: (np.sum(x), np.sum(x, 0), np.prod(x, 1), np.cumsum(x, 0)),
        args=[real(3, 0)],
        complex=True,
    ),
    Case(
        "where and initial",
        lambda x: (
            np.sum(x, axis=0, where=MASK, initial=2.0),
            np.prod(x, axis=1, where=MASK, initial=2.0),
            np.mean(x, axis=1, where=MASK),
            np.mean(x, where=MASK[:1], keepdims=True),
        ),
        args=[real(3, 4)],
        complex=True,
        covers=[np.sum, np.prod, np.mean],
    ),
    Case(
        "extrema of where and initial",
        lambda x: (
            np.max(x, axis=0, where=MASK, initial=0.25),
            np.min(x, axis=1, where=MASK, initial=-0.25, keepdims=True),
            np.max(x, initial=5.0),
            np.min(x, axis=(0, 1), initial=3.0),
        ),
        args=[real(3, 4)],
        distinct=True,
        covers=[np.max, np.min],
    ),
    Case(
        "initial, traced",
        lambda x, c: (np.sum(x, 0, initial=c), np.max(x, initial=c)),
        args=[real(3, 2), real()],
        distinct=True,
    ),
    Case(
        "dtype",
        lambda x: (np.sum(x, dtype=np.float32), np.mean(x, 0, np.float32)),
        args=[real(3, 4)],
        rtol=2e-4,
        why="single precision",
        order=1,
    ),
    Case(
        "prod, zeros", lambda x: (np.prod(x, axis=1), np.prod(x[:2], axis=0)), args=[made(with_zeros)], covers=[np.prod]
    ),
    Case(
        "prod, zeros and several axes",
        lambda x: np.prod(x[:2, :, None] * np.ones(2), axis=(0, 2)),
        args=[made(with_zeros)],
        float32=False,
    ),
    Case(
        "cumsum",
        lambda x: (np.cumsum(x), np.cumsum(x, axis=0), np.cumsum(x, -1)),
        args=[real(3, 4)],
        complex=True,
        covers=[np.cumsum],
    ),
    Case(
        "cumprod",
        lambda x: (np.cumprod(x), np.cumprod(x, axis=0)),
        args=[real(3, 2)],
        complex=True,
        covers=[np.cumprod],
    ),
    Case(
        "cumprod, zeros",
        lambda x: (np.cumprod(x, axis=1), np.cumprod(x, axis=0)),
        args=[made(with_zeros)],
        covers=[np.cumprod],
    ),
    Case(
        "trace",
        lambda x: (np.trace(x), np.trace(x, 1), np.trace(x, -1)),
        args=[real(3, 4)],
        complex=True,
        covers=[np.trace],
    ),
    Case("trace of a stack", lambda x: np.trace(x, -1, 2, 0), args=[real(3, 2, 4)], complex=True, covers=[np.trace]),
    Case(
        "ufunc.reduce",
        lambda x: (
            np.add.reduce(x),
            np.add.reduce(x, initial=2.0),
            np.multiply.reduce(x, initial=2.0, where=MASK),
            np.multiply.reduce(x, axis=1),
            np.add.reduce(x, axis=None, keepdims=True),
        ),
        args=[real(3, 4)],
        complex=True,
        covers=[(np.add, "reduce"), (np.multiply, "reduce")],
    ),
    Case(
        "ufunc.reduce, extrema",
        lambda x: (np.maximum.reduce(x), np.minimum.reduce(x, axis=(0, 1))),
        args=[real(3, 4)],
        distinct=True,
        covers=[(np.maximum, "reduce"), (np.minimum, "reduce")],
    ),
    *over("logaddexp.reduce", np.logaddexp.reduce, [real(3, 4)], covers=[(np.logaddexp, "reduce")])[:4],
    Case(
        "logaddexp.reduce, far apart",
        lambda x: np.logaddexp.reduce(800 + x, axis=-1, initial=799.0),
        args=[real(2, 3)],
        covers=[(np.logaddexp, "reduce")],
    ),
    Case(
        "ufunc.accumulate",
        lambda x: (np.add.accumulate(x), np.multiply.accumulate(x, 1)),
        args=[real(3, 4)],
        complex=True,
        covers=[(np.add, "accumulate"), (np.multiply, "accumulate")],
    ),
    Case(
        "ufunc.outer",
        lambda x, y: (np.add.outer(x, y), np.multiply.outer(x, y), np.exp(np.subtract.outer(y, x))),
        args=[real(2, 3), real(2)],
        complex=True,
    ),
]
FOLDED = (
    "arctan2 copysign divide float_power fmax fmin fmod heaviside hypot logaddexp2 nextafter power remainder subtract"
)


def one_by_one(f, x, axis=0, initial=None):
    """f.reduce, by its definition where x is plain: NumPy's arctan2 and power are wrong on CPUs with AVX-512."""
    if not isinstance(x, np.ndarray):
        return f.reduce(x, axis, initial=initial)
    parts = [*([] if initial is None else [x.dtype.type(initial)]), *np.moveaxis(x, axis, 0)]
    y = parts[0]
    for part in parts[1:]:
        y = f(y, part)
    return y


def reduced_in_pieces(f, x):
    if not isinstance(x, np.ndarray):
        return f.reduceat(x, [0, 2], 1)
    return np.stack([one_by_one(f, x[:, :2], 1), one_by_one(f, x[:, 2:], 1)], 1)


for _name in FOLDED.split():
    _f = getattr(np, _name)
    CASES.append(
        Case(
            f"{_name} of many",
            lambda x, f=_f: (
                one_by_one(f, x, 1),
                one_by_one(f, x, initial=0.7),
                f.accumulate(x),
                reduced_in_pieces(f, x),
            ),
            args=[real(2, 4, lo=0.3)],
            distinct=True,
            covers=[(_f, "reduce"), (_f, "accumulate"), (_f, "reduceat")],
        )
    )
CASES += [
    Case(
        f"{_f.__name__}.accumulate",
        lambda x, f=_f: (f.accumulate(x), f.accumulate(x, 1), f.accumulate(np.concatenate([x, x]))),
        args=[real(3, 4)],
        distinct=True,
        covers=[(_f, "accumulate")],
    )
    for _f in (np.maximum, np.minimum)
]
CASES.append(Case("logaddexp.accumulate", np.logaddexp.accumulate, [real(4)], covers=[(np.logaddexp, "accumulate")]))
for _name in ("cumulative_sum", "cumulative_prod"):
    if hasattr(np, _name):
        _f = getattr(np, _name)
        CASES.append(
            Case(
                _name,
                lambda x, f=_f: (f(x[0]), f(x, axis=1), f(x, axis=-1, include_initial=True)),
                args=[real(3, 4)],
                complex=True,
                covers=[_f],
            )
        )
