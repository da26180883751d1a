"""NumPy's functions that make arrays and have no protocol: each calls NumPy, and then ties the numbers to the tape."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import wraps
from itertools import islice
from typing import Any, cast

import numpy as np
from numpy import ndarray

from rmad.as_written.callers import is_sparse, takes_plain_arrays
from rmad.as_written.lists import Numbers, as_array, forgiven, holds_traced, stacked
from rmad.errors.refusals import no_matrix
from rmad.tracing.handlers import HANDLERS, register, writing
from rmad.tracing.traced import Traced, stop

__all__ = [
    "CONVERTERS",
    "EAGER",
    "FILLING",
    "applied_where",
    "arrays_for_lists",
    "asking",
    "common_namespace",
    "converted",
    "converter",
    "eager",
    "from_iterator",
    "lifting",
    "making",
    "matrices",
]

CONVERTERS = ["array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "asarray_chkfinite", "require"]
"""Functions that make an array of their first argument, whatever it is."""

OBJECT = np.dtype(object)
_NONE: Any = object()  # in place of an argument that is not given

EAGER = ["array_equal", "array_equiv"]
"""Functions that return False if an argument is no array, and so would swallow our errors."""

OF_SEQUENCES = {
    *(np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack),
    *(np.choose, np.select, np.linalg.multi_dot, np.histogramdd),
    *(getattr(np, name) for name in ("concat",) if hasattr(np, name)),
}
"""Functions of lists of arrays, which may differ in shape and dtype."""

_PROTOCOL, _TYPES, _AXIS = type(np.sum), (Traced,), {"axis"}

_LOST = (TypeError, ValueError)  # ours, and NumPy's own with ours as its cause


def converter(f: Callable[..., Any], for_users: bool) -> Callable[..., Any]:
    """np.array and its kin: an array of NumPy's, or a traced one if the argument holds traced numbers.

    for_users: True if what it makes of other numbers may be written into.
    """

    @wraps(f)
    def convert(a: Any = _NONE, /, *args: Any, **kwargs: Any) -> Any:
        kind = type(a)
        if kind is list or kind is tuple:
            traced = len(a) > 0 and (_begins_traced(a[0]) or _begins_traced(a[-1]))
        else:
            traced = kind is not ndarray and isinstance(a, Traced)
        if not traced:
            try:
                if args or kwargs:
                    y = f(*args, **kwargs) if a is _NONE else f(a, *args, **kwargs)
                else:
                    y = f(a) if a is not _NONE else f()
                if type(y) is ndarray and y.dtype is OBJECT and (held := _above_traced(a, y)) is not None:
                    return held
                return writing.blank(y) if for_users and _is_new(y, a) else y
            except _LOST as error:
                if not forgiven(error, (a, *kwargs.values())):
                    raise
        if a is _NONE:
            name = "object" if "object" in kwargs else "a"
            a, kwargs = kwargs[name], {k: value for k, value in kwargs.items() if k != name}
        caller = sys._getframe(1)
        if takes_plain_arrays(caller):
            if isinstance(a, Traced) and f.__name__ == "asanyarray" and is_sparse(caller):
                return _no_array(a)
            return f(a, *args, **kwargs)  # our error, which says so, or makes `lifting` act
        if kind is list and a and (y := HANDLERS["numbers"](f, a, args, kwargs)) is not None:
            return y
        y = converted(f, a, args, kwargs)
        return writing.blank(y) if for_users and _is_new(y, a) else y

    return convert


def _begins_traced(part: Any) -> bool:
    """True for a traced array, and for a list that begins with one; NumPy would raise an error, which takes longer."""
    kind = type(part)
    if kind is list:
        return len(part) > 0 and type(part[0]) is Traced
    return kind is not float and isinstance(part, Traced)


def _above_traced(a: Any, value: Any) -> Any:
    """The array of a list that holds arrays of a class above traced ones, by that class; None if it holds none."""
    for part in value.flat:
        if hasattr(part, "above_traced"):
            return part.stacked(a)
    return None


def _is_new(y: Any, a: Any) -> bool:
    """True for floats that no other array holds."""
    return y is not a and type(y) is ndarray and y.base is None and y.dtype.kind in "fc"


def _no_array(a: Any) -> Any:
    """Wraps a traced array so that SciPy's sparse matrices take it for no array and leave S @ a to a.__rmatmul__."""
    held = np.empty((), object)
    held[()] = a
    return held


def converted(f: Callable[..., Any], a: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """f(a, *args, **kwargs) of traced numbers; f is np.array or one of its kin."""
    dtype = args[0] if args else kwargs.get("dtype")
    if dtype is not None and np.dtype(dtype).kind == "O":
        return f(a, *args, **kwargs)
    if isinstance(a, Traced) and a.settles:
        return writing.converted(f, a, args, kwargs)
    found = Numbers(a)
    if found.on_the_gpu:
        y = stacked(a)
        return y if dtype is None else y.astype(dtype)
    if not isinstance(a, Traced):
        value = f(found.values if found.found else a, *args, **kwargs)
        if value.dtype is OBJECT and (above := _above_traced(a, value)) is not None:
            return above
        return found.tied(value) if found.found else value
    held = stop(a)
    value = f(held, *args, **kwargs)
    if value is held:
        return a
    if value.dtype == held.dtype and np.may_share_memory(value, held):  # ndmin=2: a view
        return np.reshape(a, value.shape)  # type: ignore[call-overload]
    return found.tied(value)


def lifting(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a protocol, called again if NumPy met traced numbers where it does not look for them.

    In lists, which become arrays; and in arguments such as initial= that have no say in who is called.
    """
    asks = isinstance(f, _PROTOCOL)

    @wraps(f)
    def lift(*args: Any, **kwargs: Any) -> Any:
        if asks and len(args) == 1 and type(args[0]) is Traced and kwargs.keys() <= _AXIS:
            return args[0].__array_function__(f, _TYPES, args, kwargs)  # what NumPy would do
        try:
            return f(*args, **kwargs)
        except _LOST as error:
            again = arrays_for_lists(f, args, kwargs)
            traced = next((a for a in (*args, *kwargs.values()) if isinstance(a, Traced)), None)
            if (again is None and traced is None) or not forgiven(error, (args, tuple(kwargs.values()))):
                raise
        if again is not None:
            if asks:
                return f(*again[0], **again[1])
            args, kwargs = tuple(again[0]), again[1]
            traced = next(a for a in (*args, *kwargs.values()) if isinstance(a, Traced))
        return cast(Traced, traced).__array_function__(f, (type(traced),), args, kwargs)

    return lift


def asking(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function without a protocol that has a handler: np.full and its like."""
    lift = lifting(f)

    @wraps(f)
    def ask(*args: Any, **kwargs: Any) -> Any:
        for a in (*args, *kwargs.values()):
            if isinstance(a, Traced):
                return a.__array_function__(f, (type(a),), args, kwargs)
        return lift(*args, **kwargs)

    return ask


def common_namespace(f: Callable[..., Any]) -> Callable[..., Any]:
    """array_api_compat's array_namespace: plain arrays next to traced ones are constants, and no other library's."""

    @wraps(f)
    def namespace(*arrays: Any, **options: Any) -> Any:
        if any(isinstance(a, Traced) for a in arrays):
            arrays = tuple(a for a in arrays if isinstance(a, Traced) or not isinstance(a, np.ndarray | np.generic))
        return f(*arrays, **options)

    return namespace


def applied_where(f: Callable[..., Any]) -> Callable[..., Any]:
    """array_api_extra's apply_where, which makes an array and writes into it: by our namespace if one is traced."""

    @wraps(f)
    def apply(cond: Any, args: Any, *more: Any, **options: Any) -> Any:
        traced = [a for a in (args if isinstance(args, tuple) else (args,)) if isinstance(a, Traced)]
        if traced:
            options["xp"] = traced[0].__array_namespace__()
        return f(cond, args, *more, **options)

    return apply


def from_iterator(f: Callable[..., Any]) -> Callable[..., Any]:
    """np.fromiter, of an iterator that gives traced numbers."""

    @wraps(f)
    def collect(iter: Any, dtype: Any, count: Any = -1, **kwargs: Any) -> Any:
        items = list(iter if count < 0 else islice(iter, count))
        found = Numbers(items)
        value = f(found.values, dtype, count, **kwargs)
        return found.tied(value) if found.found else value

    return collect


class _Filling(threading.local):
    """made: what makes the arrays that users fill of those of np.zeros and np.empty; None for blank ones."""

    made: Callable[[Any], Any] | None = None


FILLING = _Filling()


def making(f: Callable[..., Any]) -> Callable[..., Any]:
    """np.zeros and what else makes arrays, for the user's own code: traced numbers may be written into them."""
    lift = lifting(f)

    fills = f in (np.zeros, np.empty)

    @wraps(f)
    def make(*args: Any, **kwargs: Any) -> Any:
        y = lift(*args, **kwargs)
        return FILLING.made(y) if fills and FILLING.made is not None else writing.blank(y)

    return make


def matrices(f: Callable[..., Any]) -> Callable[..., Any]:
    """np.bmat or np.asmatrix: an error for traced numbers."""

    @wraps(f)
    def refuse(*args: Any, **kwargs: Any) -> Any:
        if found := Numbers((*args, *kwargs.values())).found:
            raise found[0][1].tape.loses(no_matrix(f.__name__))
        return f(*args, **kwargs)

    return refuse


def eager(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes our error for a result, as np.array_equal takes every error for "not equal"."""

    @wraps(f)
    def lift(*args: Any, **kwargs: Any) -> Any:
        return f(*map(lifted, args), **{name: lifted(a) for name, a in kwargs.items()})

    return lift


def lifted(a: Any) -> Any:
    """A list with traced numbers in it as an array, or as a list of arrays if these differ in shape."""
    if isinstance(a, Traced) or not holds_traced(a):
        return a
    found = Numbers(a)
    if found.on_the_gpu:
        return stacked(a)
    try:
        return found.tied(np.array(found.values))
    except ValueError:  # arrays of different shapes, as np.einsum takes them
        return _each_lifted(a)


def _each_lifted(a: Any) -> Any:
    """A list of arrays with arrays in place of the lists in it."""
    if not (isinstance(a, list | tuple) and holds_traced(a)):
        return a
    parts = [lifted(part) for part in a]
    return a if all(new is old for new, old in zip(parts, a, strict=True)) else parts


def arrays_for_lists(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments of f with arrays in place of lists of traced numbers; None if there are no such lists."""
    lift = _each_lifted if f in OF_SEQUENCES else lifted
    new, named = list(map(lift, args)), {name: lift(a) for name, a in kwargs.items()}
    same = all(a is b for a, b in zip(args, new, strict=True)) and all(kwargs[name] is named[name] for name in kwargs)
    return None if same else (new, named)


def _instead_of_an_error(
    error: Exception, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]] | None:
    """`arrays_for_lists` if a list may be the reason why the handler of f raised this error."""
    if forgiven(error, (args, tuple(kwargs.values()))) or isinstance(error, AttributeError | TypeError):
        return arrays_for_lists(f, args, kwargs)
    return None


register("asarray", as_array)
register("lists", _instead_of_an_error)
writing.of_traced = converted
