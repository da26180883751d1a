"""Jacobians at many points by one tape: f works on the last axis of some arguments point by point.

    f(x)[…, p] depends on x[…, p] alone:    ∂f(x)[…, p] / ∂x[…, p] = ∂f(x + z ⊗ 1)[…, p] / ∂z    at z = 0

So z, which has the numbers of one point, takes the place of x, which has those of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.tracing.traced import stop
from rmad.transforms.argnums import Argnums, places, several
from rmad.trees import tree as _tree

__all__ = ["check_points", "shifted"]


def shifted(
    f: Callable[..., Any], argnums: Argnums, points: Argnums, args: Sequence[Any]
) -> tuple[Callable[..., Any], list[Any], int]:
    """g, its arguments and the number of points: g(…, z, …) = f(…, x + z ⊗ 1, …) for arguments in both tuples.

    Raises TypeError for an argument without an axis, ValueError if two of them have different numbers of points.
    """
    every = list(args)
    with_points = places(several(points, "points"), len(args), "points")
    count: dict[int, str] = {}
    for k in with_points:
        for path, leaf in _tree.leaves(args[k], f"argument {k}"):
            if not np.ndim(leaf):
                raise TypeError(f"points={points!r}: {path} is a number, which has no axis of points")
            count.setdefault(np.shape(leaf)[-1], path)
    if len(count) > 1:
        (m, one), (n, other) = list(count.items())[:2]
        raise ValueError(f"points={points!r}: {one} has {m} points in its last axis, {other} has {n}")
    moved = sorted(set(with_points) & set(places(several(argnums), len(args))))
    for k in moved:
        every[k] = _tree.map_leaves(_at_one_point, args[k])

    def g(*shifts: Any, **kwargs: Any) -> Any:
        now = list(shifts)
        for k in moved:
            now[k] = _moved(args[k], shifts[k])
        return f(*now, **kwargs)

    return g, every, next(iter(count), 0)


def check_points(shapes: Sequence[tuple[int, ...]], count: int) -> None:
    """ValueError if the last axis of a result is not that of the points."""
    for shape in shapes:
        if shape[-1:] != (count,):
            raise ValueError(f"f must return one column per point, (…, {count}), but returned shape {shape}")


def _at_one_point(x: Any) -> Any:
    x = stop(x)
    return arrays.zeros(x, x.shape[:-1], x.dtype)


def _moved(x: Any, z: Any) -> Any:
    pairs = zip(_tree.leaves(x), _tree.leaves(z), strict=True)
    return _tree.replace_leaves(x, iter([a + b[..., None] for (_, a), (_, b) in pairs]))
