"""Functions that write traced numbers into arrays that NumPy has made of plain ones.

`RIGHT`: nothing but names of functions that run hold the array. `WRONG`: something else holds it, too.
"""

from __future__ import annotations

import contextlib

import numpy as np

u0 = np.linspace(0, 1, 5)


def added(x):
    c = u0.copy()
    c += x
    c *= 2 * x
    return c


def added_to_slices(x):
    c = u0.copy()
    c[1:3] += x[:2]
    c[1:] *= x[0]
    c[c > 0.3] += x[0]
    c[[0, 0, 1]] -= x[1:4]
    return c


def added_of_written_ones(x):
    w = x.copy()
    w[0] = 3.0
    c, d = u0 * 2, u0 * 3
    c += w
    d[1:4] = w[1:4]
    d[0] = w[1]
    return c, d


def two_names(x):
    c = u0 * 2
    d = c
    d[0] = x[0]
    c[1] = x[1]
    d += x
    return c, d


def put(a, x, k):
    a[k] = x[k] * 2


def by_another_function(x):
    c = u0 + 1
    for k in range(5):
        put(c, x, k)
    return c


def by_an_inner_function(x):
    c = u0 + 1

    def put_here(k):
        c[k] = x[k]

    for k in range(3):
        put_here(k)
    return c


def lists(x):
    a = np.arange(9.0).reshape(3, 3)
    a[0] = [x[0], 1.0, x[1]]
    a[1:, 1:] = [[x[2], 5], [np.inf, x[3]]]
    return a


def keys(x):
    a = np.outer(u0, u0)
    a[[0, 2, 0], 1] = x[:3]
    a[a > 0.6] = x[0]
    b, c, d = u0 + 1, u0 + 2, np.tile(u0, (2, 1))
    b[...], c[None, ::-1], d[1, 1:-1] = x, x, x[:3]
    return a, b, c, d


def dtypes(x):
    a, b = (u0 * 3).astype(np.float32), u0 * (1 + 2j)
    a[1:3], a[0] = x[:2], x[0]
    b[1:3], b[0] = x[:2], x[0] * 1j
    return a, b


def errors(x):
    a = u0 * 2
    with contextlib.suppress(IndexError):
        a[7] = x[0]
    with contextlib.suppress(ValueError):
        a[:2] = x[:3]
    a[1] = x[1]
    return a


def recursion(x):
    a, total = u0 * 2, 0.0
    for k in range(1, 5):
        a[k] = a[k - 1] * x[k] + a[k]
        total += a[k]
    return a, total, np.sum(a)


def with_first(a, x):
    a[0] = x[0]
    return a


def made_by_numpy(x):
    return [
        with_first(np.diag([1.0, 2, 3]), x),
        with_first(np.repeat(u0, 2), x),
        with_first(np.vstack([u0, u0]), x),
        with_first(np.meshgrid(u0, u0)[0], x),
        with_first(np.array([np.zeros(3), np.ones(3)]), x),
        with_first(np.triu(np.outer(u0, u0)), x),
        with_first(np.random.default_rng(0).normal(size=3), x),
    ]


def in_a_list(x):
    c = u0 * 2
    held = [c]
    c[0] = x[0]
    return held[0]


def in_a_list_added(x):
    c = u0 * 2
    held = [c]
    c += x
    return held[0]


def in_a_tuple_by_a_slice(x):
    c = u0 * 2
    held = (c, 1)
    c[1:2] = x[:1]
    return held[0]


def in_a_tuple_by_indices(x):
    c = u0 * 2
    held = (c, 1)
    c[[0, 1]] = [x[0], 1.0]
    return held[0]


def in_a_tuple_by_an_ellipsis(x):
    c = u0 * 2
    held = (c, 1)
    c[...] = x
    return held[0]


def in_a_tuple_added_to_a_slice(x):
    c = u0 * 2
    held = (c, 1)
    c[1:] += x[1:]
    return held[0]


def of_a_view(x):
    c = u0 * 2
    v = c[1:]
    c[1] = x[0]
    return v


def into_a_view(x):
    c = u0 * 2
    v = c[1:]
    v[1] = x[0]
    return c


def into_a_reshaped_array(x):
    c = np.arange(6.0) * 1
    a = c.reshape(2, 3)
    a[0] = x[:3]
    return c


def of_an_iterator(x):
    c = u0 * 2
    numbers = iter(c)
    c[1] = x[0]
    return np.array(list(numbers))


def of_a_buffer(x):
    c = u0 * 2
    buffer = memoryview(c)
    c[1] = x[0]
    return np.asarray(buffer)


def of_the_module(x):
    c = u0
    c[0] = x[0]
    return u0


def of_the_module_added(x):
    c = u0
    c += x
    return u0


def of_the_defaults(x, c=u0 * 3):
    c[0] = x[0]
    return c


RIGHT = (
    *(added, added_to_slices, added_of_written_ones, two_names, by_another_function, by_an_inner_function, lists),
    *(keys, dtypes, errors, recursion, made_by_numpy),
)
WRONG = (
    *(in_a_list, in_a_list_added, in_a_tuple_by_a_slice, in_a_tuple_by_indices, in_a_tuple_by_an_ellipsis),
    *(in_a_tuple_added_to_a_slice, of_a_view, into_a_view, into_a_reshaped_array, of_an_iterator, of_a_buffer),
    *(of_the_module, of_the_module_added, of_the_defaults),
)
