"""NumPy's arguments as rules need them: axes, dtypes, masks, and functions that older versions lack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from rmad.tapes.tape import ArraySpec, Block
from rmad.tracing.traced import Traced, stop
from rmad.trees.leaf import real_dtype
from rmad.types import Array

__all__ = [
    "as_float_array",
    "as_numbers",
    "axes_of",
    "cast",
    "conj",
    "count",
    "dropped",
    "from_end",
    "initial_of",
    "is_complex",
    "kept",
    "known",
    "masked",
    "moved",
    "reduced_axes",
    "refuse_out",
    "spread",
    "stacked",
]


def known(*names: str, module: Any = np) -> list[Any]:
    """The functions of these names that this version of NumPy has."""
    return [getattr(module, name) for name in names if hasattr(module, name)]


def refuse_out(out: Any) -> None:
    if out is not None:
        raise TypeError("a traced array cannot be written to `out`; use the return value")


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """axis=None, an int or a tuple as a tuple of non-negative ints."""
    return tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes of a reduction: a number without axes may be reduced along axis 0, too."""
    return () if ndim == 0 and axis in (0, -1) else axes_of(axis, ndim)


def from_end(axis: Any, ndim: int) -> Any:
    """The same axes counted from the end, so that they stay the same if an axis is put in front."""
    axes = tuple(k - ndim for k in reduced_axes(axis, ndim))
    return axes[0] if axes and isinstance(axis, int | np.integer) else axes


def stacked(k: int, block: Block, *rest: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a linear f(x, *rest, **kwargs) that takes k arrays x as one, (k, *x.shape)."""
    return (ArraySpec((k, *block.x.shape), block.x.dtype), *rest), kwargs


def kept(shape: Sequence[int], axis: Any) -> tuple[int, ...]:
    """The shape after a reduction over `axis` with keepdims=True."""
    axes = reduced_axes(axis, len(shape))
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def spread(u: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """u repeated along the reduced axes to the shape of x: y = Σ_i x_i, so x̄_i = u."""
    if isinstance(u, np.generic):
        return np.ndarray(x.shape, u.dtype, u, 0, (0,) * len(x.shape))  # as broadcast_to, in a tenth of the time
    if axis is not None and not keepdims:
        u = np.reshape(u, kept(x.shape, axis))
    return np.broadcast_to(u, x.shape)


def count(x: Any, axis: Any, where: Any = True) -> Any:
    """The number of elements that a reduction over `axis` takes in: an int; with a mask an array, dimensions kept."""
    if where is True:
        return math.prod(x.shape[k] for k in reduced_axes(axis, len(x.shape)))
    n = np.sum(np.broadcast_to(where, x.shape), axis=axis, keepdims=True)
    return n.astype(real_dtype(x.dtype))


def as_float_array(x: Any) -> Array:
    """Lists and numbers as arrays, integers as floats."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def is_complex(x: Any) -> bool:
    return x.dtype.kind == "c"


def as_numbers(mask: Any, y: Any) -> Any:
    """A mask as zeros and ones of the dtype of y."""
    return mask.astype(y.dtype)


def conj(d: Any) -> Any:
    """conj(d), without a copy if d is real."""
    return np.conj(d) if d.dtype.kind == "c" else d


def cast(x: Any, dtype: Any, casting: Any = "unsafe") -> Any:
    """x in the dtype that the caller asked for, if any; TypeError if `casting` forbids it."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    if dtype is None or x.dtype == dtype:
        return x
    if not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"cannot cast {x.dtype} to {np.dtype(dtype)} according to the rule {casting!r}")
    return x.astype(dtype)


def masked(x: Any, where: Any, fill: Any) -> Any:
    """x with `fill`, the identity of the reduction to come, in place of all that the mask leaves out."""
    where = stop(where)
    return x if where is True else np.where(where, x, fill)


def dropped(y: Any, axis: Any) -> Any:
    """y without the axes that a reduction has kept; a scalar if none is left."""
    axes = reduced_axes(axis, y.ndim)
    return y[tuple(0 if k in axes else slice(None) for k in range(y.ndim))]


def initial_of(initial: Any, y: Any) -> Any:
    """The `initial` of a reduction in the dtype of its result."""
    return initial if isinstance(initial, Traced) else y.dtype.type(initial)


def moved(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """x with the axes of `axis` merged into one last axis, and the shape of the other axes."""
    axes = reduced_axes(axis, x.ndim)
    rest = tuple(k for k in range(x.ndim) if k not in axes)
    shape = tuple(x.shape[k] for k in rest)
    order = (*rest, *axes)
    if order != tuple(range(x.ndim)):
        x = np.transpose(x, order)
    size = math.prod(x.shape[len(rest) :])
    return (x if len(axes) == 1 else np.reshape(x, (*shape, size))), shape
