"""Leaves of trees: arrays or numbers, differentiable ones, hints for the others; flat vectors and pairs of reals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.types import Array

__all__ = [
    "as_pairs",
    "dtype_of",
    "from_pairs",
    "is_differentiable",
    "joined",
    "no_array",
    "real_dtype",
    "sizes",
    "split",
]


def dtype_of(leaf: Any) -> np.dtype[Any]:
    """The dtype an array has or a number would get; TypeError for anything else."""
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        if not isinstance(leaf, bool | int | float | complex):
            raise TypeError(f"{type(leaf).__name__} is not an array")
        dtype = np.asarray(leaf).dtype
    elif not hasattr(dtype, "kind"):
        raise TypeError(f"{type(leaf).__name__} is not an array of NumPy's or CuPy's")
    return dtype


def is_differentiable(leaf: Any) -> bool:
    """True for real or complex floating-point numbers."""
    return dtype_of(leaf).kind in "fc"


def no_array(path: str, leaf: Any) -> TypeError:
    """The error for a leaf that is neither an array nor a number."""
    kind = f"{type(leaf).__module__}.{type(leaf).__name__}" if hasattr(leaf, "dtype") else type(leaf).__name__
    return TypeError(f"{path} is of type {kind}, not an array of floats{_advice(leaf)}")


def _advice(leaf: Any) -> str:
    """A hint for a leaf that is neither an array nor a tree, to end the error message."""
    for method in ("numpy", "to_numpy"):  # tensors, and data frames
        if callable(getattr(leaf, method, None)):
            return f"; pass x.{method}()"
    if hasattr(leaf, "__next__") or isinstance(leaf, set | frozenset):
        return "; make it a list"
    if isinstance(leaf, FunctionType | np.ufunc):
        return ", but a function; the function to differentiate comes first, then the arrays"
    if isinstance(leaf, str | bytes):
        return ""
    return "; a tree is made of tuples, lists, dicts and objects with __tree_items__, as nn.Module has"


def sizes(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Numbers of elements."""
    return [math.prod(shape) for shape in shapes]


def split(flat: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Views of a flat vector, one per shape, in order."""
    views, start = [], 0
    for shape, size in zip(shapes, sizes(shapes), strict=True):
        views.append(flat[start : start + size].reshape(shape))
        start += size
    return views


def joined(arrays: Sequence[Array]) -> Array:
    """The arrays as one flat vector, in order: the inverse of `split`."""
    return np.concatenate([np.reshape(a, -1) for a in arrays]) if arrays else np.zeros(0)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the real part."""
    return np.empty(0, dtype).real.dtype


def as_pairs(a: Any) -> Any:
    """(…) complex as (…, 2) real, a view if `a` is contiguous; a real array as it is."""
    dtype = dtype_of(a)
    if dtype.kind != "c":
        return a
    if hasattr(a, "tape"):  # traced
        return np.stack([np.real(a), np.imag(a)], axis=-1)
    return arrays.contiguous(a).reshape(-1).view(real_dtype(dtype)).reshape(*np.shape(a), 2)


def from_pairs(pairs: Any, dtype: np.dtype[Any]) -> Any:
    """(…, 2) as (…) of the complex dtype, a view if it is contiguous and on the CPU; a real array as it is."""
    if dtype.kind != "c":
        return pairs
    if isinstance(pairs, np.ndarray) and pairs.flags.c_contiguous and pairs.dtype == real_dtype(dtype):
        return pairs.reshape(-1).view(dtype).reshape(pairs.shape[:-1])
    return (pairs[..., 0] + 1j * pairs[..., 1]).astype(dtype)
