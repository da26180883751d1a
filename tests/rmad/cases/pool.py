"""Rows of rmad/primitives/layers/pool.py: windows that fit, leave a rest, overlap and reach over the edge."""

import numpy as np

import rmad
from rmad.primitives.layers.pool import avg_pool2d, max_pool2d

from . import Case, real

EDGE = ((1, 0), (0, 1))
X = np.random.default_rng(0).standard_normal((1, 4, 6, 2))


def row(name, f, *shape, **options):
    return Case(name, f, args=[real(*shape)], distinct=True, **options)


CASES = [
    row("max_pool2d", lambda x: max_pool2d(x, (2, 2)), 2, 4, 6, 3),
    row("max_pool2d, a rest", lambda x: max_pool2d(x, (2, 2), (3, 2)), 1, 6, 5, 2),
    row("max_pool2d, overlap", lambda x: max_pool2d(x, (3, 2), (2, 1)), 2, 5, 4, 2),
    row("max_pool2d, padding", lambda x: max_pool2d(x, (3, 2), (2, 2), EDGE), 2, 6, 3, 2),
    row("max_pool2d, dilation", lambda x: max_pool2d(x, (2, 2), (1, 1), dilation=(2, 1)), 1, 4, 3, 2),
    row("max_pool2d, many taps", lambda x: max_pool2d(x, (16, 16)), 1, 17, 16, 1),
    row("max_pool2d, no images", lambda x: max_pool2d(x, (2, 2)), 0, 4, 4, 3),
    row("max_pool2d of a function", lambda x: max_pool2d(np.exp(x), (2, 2)) * np.sum(x), 1, 2, 4, 2),
    row("avg_pool2d", lambda x: avg_pool2d(x, (2, 2)) ** 2, 2, 4, 6, 3),
    row("avg_pool2d, overlap", lambda x: avg_pool2d(x, (3, 2), (2, 1)), 2, 5, 4, 2),
    row("avg_pool2d, padding", lambda x: avg_pool2d(x, (3, 2), (2, 2), EDGE), 2, 6, 3, 2),
    row("avg_pool2d, padding left out", lambda x: avg_pool2d(x, (3, 2), (2, 2), EDGE, False), 2, 6, 3, 2),
    row(
        "poolings that meet in a sum",
        lambda x: (
            np.sum(x) + max_pool2d(x, 2) + avg_pool2d(x, 2) + max_pool2d(x, 2, 2, 0) * np.sin(avg_pool2d(x, 3, 2, 1)),
            x + max_pool2d(x, 3, 1, 1) + avg_pool2d(x, 3, 1, 1, False),
        ),
        *(2, 4, 6, 3),
    ),
    row("max_pool2d, pulled", lambda u: rmad.vjp(lambda x: max_pool2d(x, 2), X)[1](u), 1, 2, 3, 2),
    row("avg_pool2d, pulled", lambda u: rmad.vjp(lambda x: avg_pool2d(x, 2), X)[1](u), 1, 2, 3, 2),
    row("avg_pool2d, no images", lambda x: avg_pool2d(x, (2, 2)), 0, 4, 4, 3),
]
