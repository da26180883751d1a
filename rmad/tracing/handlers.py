"""The table of functions that stand in for NumPy's and SciPy's when an argument is traced.

HANDLERS[np.tanh]    called in place of np.tanh; modules of rules fill the table by `register` and `implements`
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from importlib import import_module
from types import FunctionType, SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from rmad.errors.refusals import label, no_rule

__all__ = [
    "DEFERRED",
    "FILLED",
    "HANDLERS",
    "OPERATORS",
    "VIEWS",
    "H",
    "gives_integers",
    "implements",
    "lookup",
    "quickly",
    "register",
    "writing",
]

HANDLERS: dict[Any, Callable[..., Any]] = {}
"""NumPy or SciPy function -> the function called in its place when an argument is traced.
Methods of ufuncs have keys such as (np.add, "reduce")."""

writing: Any = SimpleNamespace()
"""The functions of `rmad.written`, which is read after this file, for arrays that are views or are written into."""

VIEWS = frozenset(
    getattr(module, name)
    for module, names in (
        (
            np,
            """array_split astype atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_to diag diagonal diff
            dsplit einsum expand_dims flip fliplr flipud hsplit imag ix_ matrix_transpose meshgrid moveaxis nan_to_num
            permute_dims ravel real real_if_close reshape rollaxis rot90 split squeeze swapaxes transpose trim_zeros
            unstack vsplit""",
        ),
        (np.linalg, "diagonal matrix_transpose"),
        (np.lib.stride_tricks, "sliding_window_view"),
    )
    for name in names.split()
    if hasattr(module, name)
)
"""Functions of NumPy whose results may be views of an argument; `rmad.written.viewers` says of which."""

FILLED = frozenset((np.empty_like, np.full_like, np.ones_like, np.zeros_like))
"""Functions that make an array to be written into."""

OPERATORS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.negative: operator.neg,
}
"""Python's operators in place of ufuncs: they take numbers in a tenth of the time."""

DEFERRED: list[str] = []
"""Modules of rules, imported at the first call of a function that has no rule yet."""

H = TypeVar("H", bound=Callable[..., Any])

_DTYPE_AT: dict[Any, int] = {}  # the position of dtype=, of the functions that have one


def register(f: Any, handler: H) -> H:
    """Makes `handler` the function called in place of f when an argument is traced, and returns it."""
    HANDLERS[f] = handler
    written = getattr(handler, "__wrapped__", handler)
    if isinstance(written, FunctionType):
        code = written.__code__
        by_position, names = code.co_argcount, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if "dtype" in names:
            _DTYPE_AT[f] = names.index("dtype") if "dtype" in names[:by_position] else sys.maxsize
    return handler


def gives_integers(f: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """True if dtype= asks for integers or booleans: the result is a constant, and NumPy's own."""
    at = _DTYPE_AT.get(f)
    if at is None:
        return False
    dtype = args[at] if at < len(args) else kwargs.get("dtype")
    try:
        return dtype is not None and np.dtype(dtype).kind in "biu"
    except TypeError:  # no dtype: NumPy's function says so, or what is wrong before that
        return False


def implements(*functions: Any) -> Callable[[H], H]:
    """Decorator: the handler for these NumPy functions, written in functions that have rules already."""

    def decorate(handler: H) -> H:
        for f in functions:
            register(f, handler)
        return handler

    return decorate


def lookup(key: Any, what: Any) -> Callable[..., Any]:
    """The handler of a function, or of a ufunc's method; NotImplementedError or TypeError names what has none."""
    handler = HANDLERS.get(key)
    if handler is None:
        for module in DEFERRED:  # all stay in the list: a thread waits here for another that imports them
            import_module(module)
            if (handler := HANDLERS.get(key)) is not None:
                return handler
    if handler is None:
        name = what if isinstance(what, str) else label(what)
        raise no_rule(name)
    return handler


def quickly(ufunc: np.ufunc, inputs: Any) -> Any:
    """ufunc(*inputs), recorded by an elementwise primitive in one go; None if that cannot be."""
    quick = getattr(HANDLERS.get(ufunc), "quick", None)
    if quick is None:
        return None
    try:
        return quick(inputs, OPERATORS.get(ufunc, ufunc))
    except Exception:  # comes again in the general way, which finds the words for it
        return None
