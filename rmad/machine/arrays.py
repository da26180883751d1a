"""New arrays of the kind of an array at hand, NumPy's or CuPy's: the only place that knows how each of them is made.

    zeros(x, (3, n))    a (3, n) array of zeros with the dtype of x, on the device of x
    moved_to(x, a)      the constant a on the device of x

NumPy's own ways to say this, `zeros_like(x, shape=…)`, `eye(n, like=x)`, `array(x, copy=True)`, `add.at` and
`max(initial=…)`, fail on CuPy's arrays or give a wrong result: shape=() counts as no shape there. x may be traced; the
new arrays are not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from rmad.machine import fused
from rmad.machine.backend import import_cupy, is_cupy
from rmad.types import Array

__all__ = [
    "ON_THE_CPU",
    "add_at",
    "arange",
    "contiguous",
    "copied",
    "empty",
    "eye",
    "full",
    "highest",
    "is_all",
    "key_for",
    "kind_of",
    "largest",
    "may_be_any",
    "moved_to",
    "numbers",
    "on_the_cpu",
    "one",
    "ones",
    "order",
    "running",
    "sample",
    "sample_of",
    "take",
    "tri",
    "zeros",
]

ON_THE_CPU: Array = np.empty(0)  # stands for the kind of an array when there is none at hand
MOST_GATHERED = 8  # numbers of one kernel: every count has its own, which is compiled


def kind_of(x: Any) -> ModuleType:
    """The module that makes arrays of this kind: `cupy` for CuPy's arrays, traced or not, `numpy` for anything else."""
    cupy = sys.modules.get("cupy")
    if cupy is None or type(x) is np.ndarray:
        return np
    while hasattr(x, "tape"):  # traced
        x = x.value
    return cupy if isinstance(x, cupy.ndarray) else np


def sample(values: Iterable[Any]) -> Array:
    """An empty array of the kind of these: CuPy's if one of them is. It stands for that kind and holds no memory."""
    if "cupy" in sys.modules:
        for x in values:
            if (kind := kind_of(x)) is not np:
                return kind.empty(0)
    return ON_THE_CPU


def sample_of(operator: Any) -> Array:
    """An empty array of the kind that a LinearOperator multiplies: CuPy's for an operator of cupyx."""
    if any(base.__module__.startswith("cupyx.") for base in type(operator).__mro__):
        return import_cupy().empty(0)
    return ON_THE_CPU


# -- new arrays ----------------------------------------------------------------------------------------


def empty(like: Any, shape: Any, dtype: Any = None) -> Array:
    """An array of any content, in C order; dtype: that of `like` unless given."""
    return kind_of(like).empty(shape, like.dtype if dtype is None else dtype)


def zeros(like: Any, shape: Any, dtype: Any = None) -> Array:
    """An array of zeros, in C order; dtype: that of `like` unless given."""
    return kind_of(like).zeros(shape, like.dtype if dtype is None else dtype)


def ones(like: Any, shape: Any, dtype: Any = None) -> Array:
    """An array of ones, in C order; dtype: that of `like` unless given."""
    return kind_of(like).ones(shape, like.dtype if dtype is None else dtype)


def full(like: Any, shape: Any, value: Any, dtype: Any = None) -> Array:
    """An array that holds `value` everywhere, in C order; dtype: that of `like` unless given."""
    return kind_of(like).full(shape, value, like.dtype if dtype is None else dtype)


def one(like: Any, dtype: Any = None) -> Any:
    """The number 1: a scalar of NumPy, a 0-d array of CuPy; dtype: that of `like` unless given."""
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    return dtype.type(1) if (kind := kind_of(like)) is np else kind.ones((), dtype)


def eye(like: Any, n: int, m: int | None = None, *, dtype: Any = bool) -> Array:
    """The identity, (n, m); as booleans, the default, it promotes no dtype that it meets."""
    return kind_of(like).eye(n, m, dtype=dtype)


def tri(like: Any, n: int, m: int | None = None, k: int = 0, *, dtype: Any = bool) -> Array:
    """Ones at and below the k-th diagonal of an (n, m) array."""
    return kind_of(like).tri(n, m, k, dtype)


def arange(like: Any, start: int, stop: int | None = None, *, dtype: Any = np.intp) -> Array:
    """start … stop − 1, or 0 … start − 1 without a stop."""
    return kind_of(like).arange(start, stop, dtype=dtype)


# -- copies --------------------------------------------------------------------------------------------


def moved_to(like: Any, a: Any, dtype: Any = None) -> Any:
    """An array or scalar of NumPy on the device of `like`: `a` itself if it is there already, or traced."""
    kind = kind_of(like)
    if hasattr(a, "tape") or (kind is np and dtype is None):
        return a
    return kind.asarray(a, dtype)


def key_for(like: Any, key: Any) -> Any:
    """A key of the CPU with its arrays on the device of `like`."""
    if type(key) is tuple:
        return tuple(key_for(like, part) for part in key)
    return moved_to(like, key) if isinstance(key, np.ndarray) else key


def on_the_cpu(a: Any) -> Any:
    """A plain array of CuPy copied to the CPU, those of a tuple too; anything else as it is."""
    if type(a) is tuple:
        return tuple(map(on_the_cpu, a))
    return a.get() if is_cupy(a) else a


def copied(like: Any, a: Any, dtype: Any = None) -> Array:
    """A copy of `a`, in C order, on the device of `like`."""
    return kind_of(like).array(a, dtype, order="C", copy=True)


def contiguous(a: Any, dtype: Any = None) -> Array:
    """`a` in C order and with at least one axis, copied if need be."""
    return kind_of(a).ascontiguousarray(a, dtype)


def numbers(values: Sequence[Any]) -> list[Any]:
    """0-d arrays as Python's numbers; from a device in one copy, because every copy waits for it."""
    kind = kind_of(values[0]) if values else np
    if kind is np:
        return [v.item() for v in values]
    if len(values) <= MOST_GATHERED and all(v.dtype.kind == "f" for v in values):
        return fused.gathered(values).tolist()  # one kernel: `stack` has one for each value
    return kind.stack(values).tolist()


def is_all(mask: Any) -> bool:
    """True if the mask is known to be True everywhere: a GPU is not asked, since the answer would wait for it."""
    return kind_of(mask) is np and bool(np.all(mask))


def may_be_any(mask: Any) -> bool:
    """False if the mask is known to be False everywhere; a GPU is not asked."""
    return kind_of(mask) is not np or bool(np.any(mask))


# -- what the two do differently -----------------------------------------------------------------------


def add_at(total: Any, key: Any, u: Any) -> None:
    """total[key] += u in place; an element that the key names several times gets every share."""
    kind = kind_of(total)
    if kind is not np and total.dtype.kind == "c":  # the GPU adds real numbers only
        add_at(total.real, key, u.real)
        add_at(total.imag, key, u.imag)
    else:
        kind.add.at(total, key, u)


def running(extremum: np.ufunc, x: Any) -> Any:
    """maximum.accumulate(x) or minimum.accumulate(x) along axis 0; on a GPU in log₂ n steps of doubling reach."""
    if kind_of(x) is np:
        return extremum.accumulate(x)
    reach = 1
    while reach < len(x):
        x = np.concatenate([x[:reach], extremum(x[reach:], x[:-reach])])
        reach *= 2
    return x


def highest(x: Any, start: float, axis: Any = None, keepdims: bool = False) -> Any:
    """max(start, max x) over these axes; `start` if there are no elements."""
    if (kind := kind_of(x)) is np:
        return np.max(x, axis=axis, keepdims=keepdims, initial=start)
    if x.size:
        return kind.maximum(kind.max(x, axis=axis, keepdims=keepdims), start)
    return full(x, kind.sum(x, axis=axis, keepdims=keepdims).shape, start)


def order(x: Array, axis: int, kind: Any, stable: Any) -> Array:
    """argsort of x; CuPy's is stable whatever the `kind`."""
    module = kind_of(x)
    return np.argsort(x, axis, kind=kind, stable=stable) if module is np else module.argsort(x, axis)


def take(x: Array, index: Array, out: Array) -> None:
    """out ← x[index], of a vector."""
    if kind_of(x) is np:
        np.take(x, index, None, out, "clip")  # "raise" would copy `out`
    else:
        x.take(index, None, out)


def largest(x: Any) -> float:
    """max |x_i| as a number, 0 for an empty array."""
    return float(highest(abs(x), 0.0))
