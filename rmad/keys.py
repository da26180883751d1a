"""Keys of arrays, as in x[key]: which of them make views, and what they select."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["are_disjoint", "is_basic", "is_mask", "is_number"]


def is_basic(key: Any) -> bool:
    """True if x[key] is a view: integers, slices, None and Ellipsis only."""
    if type(key) is int or type(key) is slice:
        return True
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        p is None
        or p is Ellipsis
        or isinstance(p, slice)
        or (isinstance(p, int | np.integer) and not isinstance(p, bool))
        for p in parts
    )


def is_mask(part: Any) -> bool:
    """True for a boolean or an array of them."""
    return isinstance(part, bool) or getattr(getattr(part, "dtype", None), "kind", "") == "b"


def is_number(key: Any, ndim: int) -> bool:
    """True for the key of a single number, made of Python's integers."""
    if type(key) is int:
        return ndim == 1
    return type(key) is tuple and len(key) == ndim and all(type(k) is int for k in key)


def are_disjoint(keys: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """True if it is plain from the ends along each axis that no two of the basic keys select one element."""
    boxes = [_box(key, shape) for key in keys]
    return all(_are_apart(a, b) for j, a in enumerate(boxes) for b in boxes[:j])


def _are_apart(a: list[tuple[int, int]] | None, b: list[tuple[int, int]] | None) -> bool:
    if a is None or b is None:
        return False
    return any(stop <= start_b or stop_b <= start for (start, stop), (start_b, stop_b) in zip(a, b, strict=True))


def _box(key: Any, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """Per axis the first index that a basic key selects and the one after the last; None if the key adds axes."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if None in parts:
        return None
    missing = [slice(None)] * (len(shape) - len(parts))
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [*missing, slice(None)][: len(shape) - len(parts) + 1]
    else:
        parts += missing
    return [_ends(p, n) for p, n in zip(parts, shape, strict=True)]


def _ends(part: Any, n: int) -> tuple[int, int]:
    if isinstance(part, slice):
        r = range(n)[part]
        return (min(r[0], r[-1]), max(r[0], r[-1]) + 1) if r else (0, 0)
    k = int(part) + (n if part < 0 else 0)
    return k, k + 1
