"""Compares trees of arrays: structure, shapes and dtypes first, because broadcasting hides a wrong shape."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rmad.trees import tree as _tree

__all__ = ["assert_same", "assert_specs", "at_once", "copied", "is_finite", "random_like", "same"]

_RTOL = {8: 1e-12, 4: 1e-5}  # by bytes of the real type


def assert_same(a: Any, b: Any, what: str = "a", rtol: float | None = None) -> None:
    """Asserts that two trees have the same leaves: paths, then shapes and dtypes, then values.

    Parameters
    ----------
    a, b : trees of arrays
    what : str, the name of a in messages; default "a"
    rtol : float, allowed difference relative to the largest element of a leaf; default 1e-12, in single precision
        1e-5. NaN equals NaN

    Raises
    ------
    AssertionError
        The message names the leaf and its first element that differs.

    Examples
    --------
    >>> assert_same({"W": np.ones(2)}, {"W": np.ones(2) + 1e-14})
    """
    ours, theirs = _tree.leaves(a, what), _tree.leaves(b, what)
    if [path for path, _ in ours] != [path for path, _ in theirs]:
        raise AssertionError(f"{what} has the leaves {_paths(ours)}, must have {_paths(theirs)}")
    for (path, p), (_, q) in zip(ours, theirs, strict=True):
        _same_spec(path, p, q)
        _same_values(path, _host(p), _host(q), rtol)


def same(a: Any, b: Any) -> bool:
    """True if assert_same passes."""
    try:
        assert_same(a, b)
    except AssertionError:
        return False
    return True


def assert_specs(a: Any, like: Any, what: str = "a") -> None:
    """Asserts that a derivative has the leaves of `like`: the same paths, shapes and dtypes.

    Parameters
    ----------
    a, like : trees of arrays
    what : str, the name of a in messages; default "a"

    Raises
    ------
    AssertionError
        The message names the leaf.

    Examples
    --------
    >>> assert_specs(np.zeros(3), np.ones(3))
    """
    ours, theirs = _tree.leaves(a, what), _tree.leaves(like, what)
    if len(ours) != len(theirs):
        raise AssertionError(f"{what} has {len(ours)} leaves, must have {len(theirs)}")
    for (path, p), (_, q) in zip(ours, theirs, strict=True):
        _same_spec(path, p, q)


def copied(tree: Any) -> Any:
    """A tree of copies; what is no array stays."""
    return _tree.map_leaves(lambda leaf: leaf.copy() if hasattr(leaf, "copy") else leaf, tree)


def random_like(tree: Any, rng: np.random.Generator) -> Any:
    """A tree of random numbers in the dtypes of its leaves, zeros for constant ones."""

    def draw(leaf: Any) -> Any:
        dtype = _tree.dtype_of(leaf)
        if dtype.kind not in "fc":
            return np.zeros(np.shape(leaf), dtype)
        noise = rng.standard_normal(np.shape(leaf))
        return np.asarray(noise + 1j * rng.standard_normal(np.shape(leaf)) if dtype.kind == "c" else noise, dtype)

    return _tree.map_leaves(draw, tree)


def at_once(task: Callable[[int], Any], n: int) -> list[Any]:
    """[task(0), …, task(n − 1)], each on a thread of its own."""
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(task, range(n)))


def is_finite(tree: Any) -> bool:
    """True if no leaf holds NaN or infinity."""
    arrays = [_host(leaf) for _, leaf in _tree.leaves(tree)]
    return all(bool(np.isfinite(a).all()) for a in arrays if a.dtype.kind in "fc")


def _paths(leaves: list[tuple[str, Any]]) -> list[str]:
    return [path for path, _ in leaves]


def _host(a: Any) -> Any:
    return a.get() if hasattr(a, "get") else np.asarray(a)


def _same_spec(path: str, p: Any, q: Any) -> None:
    if np.shape(p) != np.shape(q):
        raise AssertionError(f"{path} has shape {np.shape(p)}, must have {np.shape(q)}")
    if np.asarray(p).dtype != np.asarray(q).dtype:
        raise AssertionError(f"{path} has dtype {np.asarray(p).dtype}, must have {np.asarray(q).dtype}")


def _same_values(path: str, p: Any, q: Any, rtol: float | None) -> None:
    if p.dtype.kind not in "fc":
        equal = np.asarray(p == q)
    else:
        rtol = _RTOL[4 if np.finfo(p.dtype).eps > 1e-10 else 8] if rtol is None else rtol
        with np.errstate(all="ignore"):
            scale = float(np.max(np.abs(q[np.isfinite(q)]), initial=0))
            equal = np.asarray((p == q) | (np.isnan(p) & np.isnan(q)) | (np.abs(p - q) <= rtol * scale))
    if not equal.all():
        k = tuple(map(int, np.argwhere(~equal)[0]))
        raise AssertionError(f"{path}{list(k)} = {p[k]}, must be {q[k]} ({int((~equal).sum())} of {p.size} differ)")
