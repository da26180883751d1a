"""Minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["batches"]


def batches(
    x: Any, t: Any, size: int, rng: np.random.Generator | None = None, *, passes: int | None = None, rest: bool = False
) -> Iterator[tuple[Any, Any]]:
    """(x, t) pairs of `size` cases, without end, or as many passes over the cases as `passes` says.

    x, t: arrays with the cases along their first axis; t may be None, and is None in every pair then. Each pass
    goes through the cases in a new order drawn from rng, or in theirs where rng is None. `rest` keeps the batch of
    fewer cases that ends a pass; without it all batches are of one size, which is all cases where there are fewer.

    >>> import nn, numpy as np
    >>> x = np.arange(5)
    >>> [xb.tolist() for xb, _ in nn.data.batches(x, None, 2, passes=1, rest=True)]
    [[0, 1], [2, 3], [4]]

    Raises ValueError, when it is called, where x and t differ in length, there is no case, or size is no number ≥ 1.
    """
    n = len(x)
    if t is not None and len(t) != n:
        raise ValueError(f"batches: x has {n} cases, t has {len(t)}")
    if n == 0:
        raise ValueError(f"batches: x has no cases, its shape is {np.shape(x)}")
    if size < 1:
        raise ValueError(f"batches: size must be positive, not {size}")
    return _batches(x, t, min(size, n), rng, passes, rest)


def _batches(x: Any, t: Any, size: int, rng: Any, passes: int | None, rest: bool) -> Iterator[tuple[Any, Any]]:
    n, done = len(x), 0
    end = n if rest else n - n % size
    while passes is None or done < passes:
        order = None if rng is None else rng.permutation(n)
        for start in range(0, end, size):
            part = slice(start, start + size)
            cases = part if order is None else order[part]
            yield x[cases], None if t is None else t[cases]
        done += 1
