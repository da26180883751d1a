"""Rows of rmad/primitives/index.py: keys of every kind, and the functions that select."""

import numpy as np

from rmad.primitives.index import scatter

from . import Case, made, real

X = [real(3, 4)]
PLACES = np.array([0, 2, 2, 1])
windows = np.lib.stride_tricks.sliding_window_view
ROWS = np.array([True, False, True])
KEYS = {
    "integer": np.s_[0],
    "integers": np.s_[1, -2],
    "NumPy integer": np.int64(1),
    "slice": np.s_[::2],
    "backwards": np.s_[::-1, 3:0:-2],
    "nothing": np.s_[2:1],
    "everything": (),
    "ellipsis": np.s_[..., 1],
    "new axes": np.s_[None, :, None, 1:],
    "list": [0, 2, 0],
    "array with repeats": np.array([0, -1, 0, -3]),
    "matrix of integers": np.array([[0, 1], [1, 1]]),
    "array along the last axis": np.s_[:, [1, 1, 3]],
    "arrays": ([0, 0, 1], [2, 2, 3]),
    "arrays that broadcast": np.ix_([0, 2], [1, 1, 0]),
    "array and integer": np.s_[1, [0, 0]],
    "array, slice and new axis": np.s_[[0, 1, 0], None, 1:3],
    "arrays apart": np.s_[[0, 1], None, [2, 2]],
    "0-d array": np.array(1),
    "empty list": [],
    "mask": np.array([[True, False, False, True], [False, False, True, False], [True, True, True, True]]),
    "mask of rows": ROWS,
    "mask of columns": np.s_[:, [True, False, True, True]],
    "mask and array": (ROWS, [0, 1]),
    "mask and slice": np.s_[ROWS, 1:],
    "True": True,
}


def not_at_zero(rng):
    return rng.uniform(0.3, 2, (3, 4)) * np.where(rng.random((3, 4)) < 0.5, -1, 1)


def row(name, f, *covers, args=X, complex=True, **options):
    return Case(name, f, args=args, complex=complex, covers=covers, **options)


CASES = [
    *[row(f"x[key], {name}", lambda x, key=key: x[key], "getitem") for name, key in KEYS.items()],
    row("x[key], one after the other", lambda x: x[1:][::-1, [0, 0, 2]][..., 1:] * x[0, 0], "getitem"),
    row(
        "x[x > 0]", lambda x: (x[x > 0] ** 2, x[np.nonzero(x > 1)]), "getitem", args=[made(not_at_zero)], complex=False
    ),
    row("slices that overlap", lambda x: x[:, :-1] * x[:, 1:] + x[[0, 0, 1], :-1], "getitem"),
    row("scatter", lambda u: (scatter(u, np.array([0, 0, 2]), (4, 4)), scatter(u, np.s_[1:, ::2], (4, 7))), args=X),
    row("iteration", lambda x: sum(r[0] * r for r in x)),
    row(
        "take",
        lambda x: (
            np.take(x, [0, 0, 5]),
            np.take(x, 1),
            np.take(x, [[0, 1], [2, 0]], axis=0),
            x.take([0, -1, 0], axis=-1),
            np.take(x, 2, axis=1),
        ),
        np.take,
    ),
    row("take, mode", lambda x: (np.take(x, [5, -6], 1, mode="wrap"), np.take(x, [5, -6], mode="clip")), np.take),
    row("take, many rows", lambda x: np.take(x, np.arange(40) % 3 - 1, axis=0), np.take),
    row(
        "take_along_axis",
        lambda x: (
            np.take_along_axis(x, np.array([[0, 0], [1, 2], [3, 3]]), axis=1),
            np.take_along_axis(x, np.array([[0, 0, 1, 2]]), axis=0),
            np.take_along_axis(x, np.array([1, 1, 3]), axis=None),
        ),
        np.take_along_axis,
    ),
    row(
        "compress",
        lambda x: (np.compress(ROWS, x, axis=0), np.compress(ROWS, x), x.compress(ROWS, axis=1)),
        np.compress,
    ),
    row("extract", lambda x: np.extract(np.eye(3, 4) > 0, x), np.extract),
    row("delete", lambda x: (np.delete(x, 1), np.delete(x, [0, 2], axis=1), np.delete(x, slice(0, 2), 0)), np.delete),
    row(
        "insert",
        lambda x, y: (
            np.insert(x, 1, 5.0),
            np.insert(x, 1, y, axis=0),
            np.insert(x, [1, 3], x[:, :2], axis=1),
            np.insert(x, [0, 2], y, axis=0),
            np.insert(x, 1, y),
        ),
        np.insert,
        args=[real(3, 4), real(4)],
    ),
    row(
        "choose",
        lambda x: (
            np.choose([0, 1, 0, 1], x[:2]),
            np.choose([[0], [1], [2]], [x, 1.0, x * x]),
            np.choose([0, 5, -1, 1], x[:2], mode="wrap"),
            np.choose([0, 5, -1, 1], x[:2], mode="clip"),
        ),
        np.choose,
    ),
    row(
        "select",
        lambda x: (np.select([x > 1, x > 0], [x, x**2], 3.0), np.select([x > 1], [x * x])),
        np.select,
        args=[made(lambda rng: np.array([[-1.3, 0.4, 1.7], [0.6, 2.2, -0.2]]))],
        complex=False,
    ),
    row(
        "sliding_window_view",
        lambda x: (windows(x, 2, axis=1), windows(x, (2, 3)), windows(x[0], 3)),
        windows,
    ),
    row(
        "bincount",
        lambda x: (np.bincount(PLACES, x[0]), np.bincount(PLACES[:3], weights=x[:, 0], minlength=4)),
        np.bincount,
        complex=False,
        float32=False,
    ),
    *[
        row(
            f"{f.__name__}.reduceat",
            lambda x, f=f: (
                f.reduceat(x, [0, 2, 1]),
                f.reduceat(x, np.array([0, 3]), axis=1),
                f.reduceat(x[0], [2, 3]),
            ),
            (f, "reduceat"),
            complex=f in (np.add, np.multiply),
            distinct=f in (np.maximum, np.minimum),
        )
        for f in (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp)
    ],
    row("a list of numbers", lambda x: np.array([[x[0, 0], x[1, 2]], [x[2, 2], x[0, 0]]])),
]
