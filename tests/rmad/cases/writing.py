"""Rows of rmad/primitives/writing.py: functions that write into arrays, and what assignments become."""

import numpy as np

from . import Case, real

X, V = real(3, 4), real(2)
PLACES = np.array([[1], [0], [3]])
MASK = np.array([[True, False, False, True], [False, False, True, False], [True, True, True, True]])


def row(name, f, *covers, args=(X, V), complex=True, **options):
    return Case(name, f, args=list(args), complex=complex, covers=covers, **options)


def after(write):
    """(x, v) → a copy of x after write(x, v), and what was made of it before."""

    def f(x, v):
        x = x.copy()
        before = x * 2
        write(x, v)
        return x, before

    return f


def slices(x, v):
    x = x * x  # so that what is left of it has a second derivative
    y = np.zeros_like(x)
    y[1:, :2], y[0] = v, x[1]
    x[:2, 1:3] = v
    return x * y


def numbers(x, v):
    y = np.empty_like(x, shape=7)
    y[0] = x[0, 0]
    for k in range(1, 7):
        y[k] = y[k - 1] * v[0] + x[k % 3, 1]
    return y


CASES = [
    row("slices that are written", slices, "assembled"),
    row("numbers that are written", numbers),
    row("a view that is written", after(lambda x, v: x[::2].T.__setitem__(np.s_[1:3, 0], v))),
    row("add.at", after(lambda x, v: np.add.at(x, ([0, 0], [1, 1]), v)), "added"),
    row("copyto", after(lambda x, v: np.copyto(x, v[0], where=MASK)), np.copyto),
    row("fill_diagonal", after(lambda x, v: np.fill_diagonal(x, v)), np.fill_diagonal),
    row("place", after(lambda x, v: np.place(x, MASK, v)), np.place),
    row("put", after(lambda x, v: np.put(x, [1, -1, 1], [v[0], v[1], v[0] * v[1]])), np.put),
    row(
        "put_along_axis",
        after(lambda x, v: np.put_along_axis(x, np.array([[1], [0], [3]]), v[1], 1)),
        np.put_along_axis,
    ),
    row("putmask", after(lambda x, v: np.putmask(x, MASK, v)), np.putmask),
    row("out=", after(lambda x, v: np.multiply(x, v[0], out=x))),
    row("out= and where=", after(lambda x, v: np.multiply(x, v[0], out=x, where=MASK))),
]
