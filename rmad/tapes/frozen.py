"""Arrays that are read-only while a function runs, so that NumPy refuses what would be written into them.

The flag is the array's own: a view that was made earlier can still be written through. An array may be frozen by
several functions, on several threads, and is writable again when the last of them has returned.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import FrameType, ModuleType, TracebackType
from typing import Any

import numpy as np

from rmad.types import Array

__all__ = ["freeze", "is_constant", "names_in", "thaw"]

_lock = threading.Lock()
_frozen: dict[int, list[Any]] = {}  # by id: the array, and how many runs of functions want it read-only


def is_constant(a: Array) -> bool:
    """True if neither a nor any array that it is a view of can be written into."""
    b: Any = a
    while isinstance(b, np.ndarray):
        if b.flags.writeable or id(b) in _frozen:
            return False
        b = b.base
    return True


def freeze(a: Array) -> bool:
    """Makes a read-only for one more run of a function; False if it is read-only for other reasons."""
    with _lock:
        if id(a) in _frozen:
            _frozen[id(a)][1] += 1
        elif a.flags.writeable:
            _frozen[id(a)] = [a, 1]
            a.flags.writeable = False
        else:
            return False
    return True


def thaw(a: Array) -> None:
    """Ends what one `freeze` began."""
    with _lock:
        entry = _frozen.get(id(a))
        if entry is not None and entry[1] > 1:
            entry[1] -= 1
        elif entry is not None:
            a.flags.writeable = True
            del _frozen[id(a)]


def _thaw_all() -> None:
    """In a child process after a fork: the threads whose functions froze arrays are not there to thaw them."""
    global _lock
    _lock = threading.Lock()
    for a, _ in _frozen.values():
        a.flags.writeable = True
    _frozen.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_thaw_all)


def names_in(traceback: TracebackType | None, a: Array) -> list[str]:
    """The names that a has in the frame that raised."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return [] if traceback is None else [name for name, value in _variables(traceback.tb_frame) if value is a][:1]


def _variables(frame: FrameType) -> Iterator[tuple[str, Any]]:
    """The variables of a frame, and the attributes of its objects, as (name, value)."""
    names = [name for name in frame.f_code.co_names if name in frame.f_globals]
    for name, value in [*frame.f_locals.items(), *((name, frame.f_globals[name]) for name in names)]:
        yield name, value
        if not isinstance(value, ModuleType | type):
            yield from ((f"{name}.{part}", held) for part, held in getattr(value, "__dict__", {}).items())
