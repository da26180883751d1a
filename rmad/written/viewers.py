"""The calls of NumPy's functions that may make views, each as a step from an array to its view.

The array is not the first argument of np.einsum("ii->i", x), and of "ii" the result is no view; np.broadcast_arrays has
as many results as arguments, and the k-th is a view of the k-th.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine.arrays import on_the_cpu
from rmad.tracing.traced import Traced, parts, stop
from rmad.written.memory import Step, take
from rmad.written.pieces import nothing

__all__ = ["copies", "is_of_many", "kth", "of_one"]


def of_one(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    """The array that the results of this call may be views of, and the step to them; None if they are not."""
    if not args:
        args, kwargs = _by_position(func, kwargs)
    if (read := _READERS.get(func)) is not None:
        return read(args, kwargs)
    x, rest = (args[0], args[1:]) if args else (None, ())
    if not isinstance(x, Traced) or any(isinstance(a, Traced) for a in parts(rest)):
        return None
    return x, (func, rest, kwargs)


def _by_position(func: Callable[..., Any], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of np.ravel(a=x) as those of np.ravel(x)."""
    code = getattr(func, "_implementation", func).__code__
    first = code.co_varnames[0] if code.co_argcount else ""
    if first not in kwargs:
        return (), kwargs
    return (kwargs[first],), {name: a for name, a in kwargs.items() if name != first}


def is_of_many(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> bool:
    """True for a call whose k-th result may be a view of its k-th argument."""
    if func in (np.broadcast_arrays, np.ix_):
        return True
    if func is np.meshgrid:
        return kwargs.get("copy", True) is False
    return func in (np.atleast_1d, np.atleast_2d, np.atleast_3d) and len(args) > 1


def kth(func: Callable[..., Any], k: int, args: Any, kwargs: dict[str, Any]) -> Step:
    """The step from the k-th argument of such a call to its k-th result: the others take part with their shapes."""
    shapes = [nothing(np.shape(a)) for a in args]
    return _kth, (func, shapes[:k], shapes[k + 1 :], kwargs), {}


def _kth(a: Any, func: Callable[..., Any], before: Any, after: Any, kwargs: dict[str, Any]) -> Any:
    return func(*before, a, *after, **kwargs)[len(before)]


def _of_diag(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    x, *rest = args or (None,)
    return (x, (np.diag, tuple(rest), kwargs)) if isinstance(x, Traced) and len(x.shape) == 2 else None


def _of_diff(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    n = args[1] if len(args) > 1 else kwargs.get("n", 1)
    return (args[0], (np.diff, args[1:], kwargs)) if n == 0 and isinstance(args[0], Traced) else None


def _of_astype(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    x = args[0]
    return None if kwargs.get("copy", True) or not isinstance(x, Traced) else (x, (np.astype, args[1:], kwargs))


def _of_nan_to_num(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    return None if copies(args, kwargs) or not isinstance(args[0], Traced) else (args[0], (_itself, (), {}))


def copies(args: Any, kwargs: dict[str, Any]) -> bool:
    """True unless copy=False, the second argument of np.nan_to_num."""
    return bool(args[1] if len(args) > 1 else kwargs.get("copy", True))


def _of_real_if_close(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    """What it makes depends on the numbers; a view of the same array, whatever these are later, on the kind of it."""
    x = args[0]
    if not isinstance(x, Traced):
        return None
    stays = x.dtype.kind != "c" or np.iscomplexobj(np.real_if_close(stop(x), *args[1:], **kwargs))
    return x, (_itself if stays else np.real, (), {})


def _itself(a: Any) -> Any:
    return a


def _of_trim_zeros(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    """The slices between the zeros, which stay where they are if the numbers change."""
    if not isinstance(args[0], Traced):
        return None
    a = on_the_cpu(stop(args[0])).copy()
    y = np.trim_zeros(a, *args[1:], **kwargs)
    starts: Any = (0,) * y.ndim
    if y.size:
        first = y.__array_interface__["data"][0] - a.__array_interface__["data"][0]
        starts = np.unravel_index(first // a.itemsize, a.shape)
    return args[0], (take, (tuple(slice(int(s), int(s) + n) for s, n in zip(starts, y.shape, strict=True)),), {})


def _of_einsum(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Step] | None:
    """One array with nothing summed: its diagonals, and its axes in another order."""
    if isinstance(args[0], str):
        text, x, *others = args
        of, arrow, kept = text.replace(" ", "").replace("...", "").partition("->")
        labels, result = list(of), list(kept) if arrow else None
        step: Step = (_by_text, (text,), kwargs)
    else:
        x, labels, *others = args
        result, others, step = others[0] if others else None, others[1:], (np.einsum, args[1:], kwargs)
    if others or not isinstance(x, Traced):
        return None
    sums = len(set(labels)) < len(labels) if result is None else set(labels) - set(result)
    return None if sums else (x, step)


def _by_text(a: Any, text: str, **kwargs: Any) -> Any:
    return np.einsum(text, a, **kwargs)


_READERS: dict[Any, Callable[[Any, dict[str, Any]], tuple[Any, Step] | None]] = {
    np.diag: _of_diag,
    np.diff: _of_diff,
    np.einsum: _of_einsum,
    np.meshgrid: lambda args, kwargs: None,  # of copies, unless `is_of_many`
    np.nan_to_num: _of_nan_to_num,
    np.real_if_close: _of_real_if_close,
    np.trim_zeros: _of_trim_zeros,
}
if hasattr(np, "astype"):  # NumPy 2.1
    _READERS[np.astype] = _of_astype
