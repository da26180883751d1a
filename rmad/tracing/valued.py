"""Functions written in other functions: the derivative is that of the composition, the value is NumPy's own.

A sum in another order, a mask in place of a slice or a missing `[()]` give a value that differs from NumPy's in its
last bits, its dtype or its kind. So NumPy's function runs first, on plain arrays, for the value and for the errors;
the composition then leaves its nodes on the tape, and the array of the last one is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from rmad.errors.refusals import label
from rmad.tracing.handlers import H, register
from rmad.tracing.objects import OBJECT
from rmad.tracing.traced import Traced, on_gpu, parts, stop

__all__ = ["composed", "numpys", "scalar", "with_value"]


def composed(*functions: Any) -> Callable[[H], H]:
    """Decorator: `implements`, for a handler whose own value may differ from NumPy's. Returns it as it is."""

    def decorate(handler: H) -> H:
        for f in functions:
            register(f, numpys(f, handler))
        return handler

    return decorate


def numpys(f: Any, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler of f, a function or (ufunc, method), with the value and the errors of f itself.

    CuPy lacks some of NumPy's arguments, so on its arrays the handler's own value stands.
    """
    call = getattr(*f) if isinstance(f, tuple) else _on_copy(f) if _may_write(handler) else f

    @wraps(handler)
    def evaluate(*args: Any, **kwargs: Any) -> Any:
        values, options = stop(args), stop(kwargs)
        if on_gpu((*values, *options.values())):
            return handler(*args, **kwargs)
        try:
            value = call(*values, **options)
        except Exception as numpys:
            raise _in_own_words(handler, args, kwargs, numpys) from None
        if not (_hold_numbers(args) or _hold_numbers(kwargs.values())):
            return value
        return with_value(handler(*args, **kwargs), value, label(call))

    evaluate.is_numpys = True  # type: ignore[attr-defined]
    return evaluate


def _may_write(handler: Callable[..., Any]) -> bool:
    """True for functions that write into their argument if they are told to."""
    names = handler.__code__.co_varnames[: handler.__code__.co_argcount]
    return "overwrite_input" in names or "copy" in names


def _on_copy(f: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*map(_copied, args), **{name: _copied(a) for name, a in kwargs.items()})

    return call


def _copied(a: Any) -> Any:
    return a.copy() if isinstance(a, np.ndarray) else a


def _in_own_words(handler: Callable[..., Any], args: Any, kwargs: dict[str, Any], numpys: Exception) -> Exception:
    """The error of the handler if it is of the kind of NumPy's, because it shows shapes; else NumPy's."""
    try:
        handler(*args, **kwargs)
    except Exception as own:
        return own if isinstance(own, type(numpys)) else numpys
    return numpys


def scalar(y: Any) -> Any:
    """y without axes as the scalar that NumPy's reductions and ufuncs return."""
    return Traced(scalar(y.value), y.tape, y.index) if isinstance(y, Traced) else y[()]


def _hold_numbers(args: Any) -> bool:
    """True if a traced array is among the arguments that is not empty."""
    return any(isinstance(a, Traced) and a.size for a in parts(args))


def with_value(y: Any, value: Any, name: str) -> Any:
    """y, one traced array or several, with the arrays of `value` in its place."""
    if isinstance(value, list | tuple):
        parts = [with_value(a, b, name) for a, b in zip(y, value, strict=True)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if getattr(y, "dtype", None) is OBJECT:  # of traced numbers
        return y
    if not isinstance(y, Traced):
        return value
    value = value if hasattr(value, "dtype") else np.asarray(value)[()]
    if value.dtype is OBJECT:  # of Python's numbers, whose traced counterparts are doubles
        return y
    if y.shape != value.shape:
        raise NotImplementedError(f"{name} of a traced array has no rule for these arguments; its value is {value!r}")
    if y.dtype != value.dtype:
        y = (np.real(y) if value.dtype.kind == "f" else y).astype(value.dtype)
    return _replaced(y, value) if isinstance(y, Traced) else value


def _replaced(y: Any, value: Any) -> Any:
    """y with another array at the bottom, below all tapes that trace it."""
    return Traced(_replaced(y.value, value), y.tape, y.index) if isinstance(y, Traced) else value


register("valued", with_value)
