"""Checks of the values of an array: on a GPU once per array, because the host waits for the answer."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable

import numpy as np

from rmad.extend import Array

__all__ = ["once", "passed"]

_passed: dict[tuple[int, Hashable], weakref.ref[Array]] = {}  # by identity: an array of CuPy has no hash


def once(a: Array, what: Hashable, check: Callable[[], None]) -> None:
    """Calls check(), which raises an error if the values of `a` are wrong.

    An array on a GPU that has passed is not checked for the same `what` again, so values written into it later are not
    seen. One on the CPU is checked at every call.
    """
    if isinstance(a, np.ndarray | np.generic):
        check()
        return
    known = _passed.get((id(a), what))
    if known is None or known() is not a:
        check()
        passed(a, what)


def passed(a: Array, what: Hashable) -> None:
    """Notes that an array is right by the way it was made, so that `once` does not wait for a GPU to check it."""
    if not isinstance(a, np.ndarray | np.generic):
        key = id(a), what
        _passed[key] = weakref.ref(a, lambda _: _passed.pop(key, None))
