"""A batch is a list of shards, and a product is a sum over shards: in turn, or on threads.

f is a mean over cases and the model works case by case, so value, gradient and curvature products are sums
over slices of the batch, each with a tape of its own. NumPy's elementwise passes run on one core; shards
on threads, each with a single-threaded BLAS, use all of them. The split depends on shapes only and every sum is
taken in the order of the shards, so results are the same from run to run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from rmad.extend import cases_from

__all__ = ["Share", "cases", "slices", "take"]


class Share:
    """A slice of the batch; `weight` is its share of the cases, `first` the number of its first one."""

    def __init__(self, x: Any, t: Any, weight: float, first: int) -> None:
        self.x, self.t, self.weight, self.first = x, t, weight, first

    def run(self, model: Any) -> Any:
        """model(x), where layers that draw random numbers know which cases these are."""
        with cases_from(self.first):
            z = model(self.x)
        if z is None:
            raise TypeError("model(x) is None: does its forward end without a return?")
        return z


def cases(*batch: Any) -> int | None:
    """The number of cases: the common length of all arrays of the batch; None where it has none or they differ."""
    lengths = {len(a) if np.ndim(a) else None for a in _arrays(batch)}
    return lengths.pop() if len(lengths) == 1 else None


def _arrays(tree: Any) -> list[Any]:
    if tree is None:
        return []
    if hasattr(tree, "__next__"):
        raise TypeError(
            f"a step takes one batch of arrays, not a {type(tree).__name__} of batches: "
            "for x, t in batches: opt.step(x, t)"
        )
    if isinstance(tree, tuple | list):
        return [a for sub in tree for a in _arrays(sub)]
    if isinstance(tree, dict):
        return [a for sub in tree.values() for a in _arrays(sub)]
    return [tree]


def take(tree: Any, part: slice) -> Any:
    """The cases of a slice, from every array of a tree."""
    if tree is None:
        return None
    if isinstance(tree, tuple | list):
        subs = [take(sub, part) for sub in tree]
        return type(tree)(*subs) if hasattr(tree, "_fields") else type(tree)(subs)
    if isinstance(tree, dict):
        return {key: take(sub, part) for key, sub in tree.items()}
    return tree[part]


def slices(n: int, parts: int) -> list[slice]:
    """n cases in `parts` slices of nearly equal length, the longer ones first."""
    size, longer = divmod(n, parts)
    bounds = [0]
    for k in range(parts):
        bounds.append(bounds[-1] + size + (k < longer))
    return [slice(a, b) for a, b in pairwise(bounds)]
