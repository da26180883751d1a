"""A batch is a list of shards, and a product is a sum over shards: in turn, or on threads.

f is a mean over cases and the model works case by case, so value, gradient and curvature products are sums over
shards, slices of the batch that have a tape of their own. NumPy's elementwise passes run on one core; shards on
threads, each with a single-threaded BLAS, use all of them. The split depends on shapes only and every sum is taken in
the order of the shards, so results are the same from run to run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from optim.problem.stored import in_memory, is_stored, rows
from rmad.extend import Array, cases_from

__all__ = ["Shard", "cases", "leaves", "slices", "take"]


class Shard:
    """A slice (x, t) of the batch.

    Parameters
    ----------
    x, t : trees of arrays
        The inputs and the targets; either may be None.
    weight : float
        The number of its cases over that of the batch.
    first : int
        The number of its first case in the batch.
    """

    def __init__(self, x: Any, t: Any, weight: float, first: int) -> None:
        self.x, self.t, self.weight, self.first = x, t, weight, first

    @property
    def targets(self) -> Any:
        """t, read if it lies in a file."""
        return in_memory(self.t)

    def run(self, model: Any) -> Any:
        """Returns model(x); layers that draw random numbers know which cases these are."""
        with cases_from(self.first):
            z = model(in_memory(self.x))
        if z is None:
            raise TypeError("model(x) is None: does its forward end without a return?")
        if getattr(getattr(z, "dtype", None), "kind", "f") not in "fc":
            raise TypeError(
                f"model(x) is an array of {z.dtype}, which has no derivative; leave np.argmax, comparisons and "
                "rounding to the use of the model"
            )
        return z


def cases(*batch: Any) -> int | None:
    """The number of cases: the common length of all arrays of the batch; None if it has none or they differ."""
    lengths = {(a.shape[0] if hasattr(a, "shape") else len(a)) if np.ndim(a) else None for a in leaves(batch)}
    return lengths.pop() if len(lengths) == 1 else None


def leaves(tree: Any) -> list[Any]:
    """The arrays of a batch; TypeError for an iterator of batches."""
    if tree is None:
        return []
    if hasattr(tree, "__next__"):
        raise TypeError(
            f"a step takes one batch of arrays, not a {type(tree).__name__} of batches: "
            "for x, t in batches: opt.step(x, t)"
        )
    if isinstance(tree, tuple | list):
        return [a for sub in tree for a in leaves(sub)]
    if isinstance(tree, dict):
        return [a for sub in tree.values() for a in leaves(sub)]
    return [tree]


def take(tree: Any, cases: slice | Array) -> Any:
    """The given cases of every array of a tree."""
    if tree is None:
        return None
    if isinstance(tree, tuple | list):
        subs = [take(sub, cases) for sub in tree]
        return type(tree)(*subs) if hasattr(tree, "_fields") else type(tree)(subs)
    if isinstance(tree, dict):
        return {key: take(sub, cases) for key, sub in tree.items()}
    return rows(tree, cases) if is_stored(tree) else tree[cases]


def slices(n: int, number: int) -> list[slice]:
    """n cases in `number` slices of nearly equal length, the longer ones first."""
    size, longer = divmod(n, number)
    bounds = [0]
    for k in range(number):
        bounds.append(bounds[-1] + size + (k < longer))
    return [slice(a, b) for a, b in pairwise(bounds)]
