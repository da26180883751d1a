"""Functions that call the user's, and np.r_: always NumPy's own code with other names, as what they meet is not known.

np.piecewise(t, [t < 1], [lambda t: a * t])    no argument is traced, but a may be
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

from rmad.as_written.lists import holds_traced
from rmad.as_written.own_code import own, own_code, own_method
from rmad.tracing.handlers import register
from rmad.written import settled

__all__ = ["CALLERS", "OWN_CALL", "Joining", "calling", "of_lists", "of_polynomials", "vectorized"]

CALLERS = (np.apply_along_axis, np.apply_over_axes, np.piecewise)
"""Functions that call the user's."""


def calling(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls one of the user's."""
    return register(f, own_code(f))


def of_lists(f: Callable[..., Any]) -> Callable[..., Any]:
    """np.trim_zeros, which returns a part of its argument: of a list, a list."""
    own_call = own_code(f)

    @wraps(f)
    def call(filt: Any, *args: Any, **kwargs: Any) -> Any:
        is_list = isinstance(filt, list | tuple) and holds_traced(filt)
        return (own_call if is_list else f)(filt, *args, **kwargs)

    return call


@cache
def _vectorize() -> Any:
    """A class like np.vectorize, with its methods for traced arrays."""
    names = ("_get_ufunc_and_otypes", "_vectorize_call_with_signature")
    methods = {name: own_method(np.vectorize.__dict__[name]) for name in names}
    return type("vectorize", (), methods | {"_vectorize_call": own_method(OWN_CALL)})


OWN_CALL = np.vectorize.__dict__["_vectorize_call"]  # another one while something is recorded


def vectorized(vectorize: Any, func: Callable[..., Any], args: Any) -> Any:
    """np.vectorize's method `_vectorize_call` while something is recorded."""
    ours: Any = _vectorize()()
    ours.__dict__ = vectorize.__dict__
    return settled(ours._vectorize_call(func, args))


def of_polynomials(f: Any) -> Callable[..., Any]:
    """A function of numpy.polynomial, which asks if its argument is an array of NumPy's."""

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not holds_traced(args) and not holds_traced(tuple(kwargs.values())):
            return f(*args, **kwargs)
        return settled(own_method(getattr(f, "_implementation", f))(*map(own, args), **kwargs))

    return call


class Joining:
    """np.r_ or np.c_, which join traced arrays, too; np.mgrid or np.ogrid with traced ends."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        bounds = [(p.start, p.stop, p.step) if isinstance(p, slice) else p for p in parts]
        if not holds_traced(bounds):
            return self._plain[key]
        return own_method(type(self._plain).__getitem__)(self._plain, key)

    def __len__(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)
