"""Plain arrays that take a traced number: the name that holds one stands for a written array from then on.

    u = u0.copy()        a plain array, made by NumPy alone, at no cost
    u[1:-1] = theta      NumPy asks theta for plain numbers; the local variable u becomes a `Written`

That is right if nothing else holds the array: no other name, no container, no view, none of the caller's variables.
How often an array is referred to while NumPy writes into it depends on the key and on the version of Python, so it is
compared with a store of the same kind into an array that has one name only.

NumPy goes on, and writes what it was given into the old array. These are marks: numbers that are NaN, with a count in
their bits. Where they are found at the first use of the name, there the elements of the traced array belong; so what a
key selects, what fits, and which errors there are remains NumPy's answer, for lists with traced numbers in them, too.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType
from typing import Any

import numpy as np

from rmad.as_written.callers import is_users
from rmad.errors.refusals import held_elsewhere, lost_imaginary_part
from rmad.errors.source import IS_COPY, store_at, variables
from rmad.tracing.handlers import writing
from rmad.tracing.traced import Traced
from rmad.tracing.weak import Weak
from rmad.written import Written, blank, write_by
from rmad.written.arrays import CONSTANT, Blank, become, fill_slots, level_here
from rmad.written.assignment import opened

__all__ = ["Taken", "in_place", "taken"]

# Per dtype: integers of its size, how many bits of a mark count, and what the other bits are.
_MARKS: dict[Any, tuple[Any, int, int]] = {
    np.dtype(np.float32): (np.uint32, 20, 0x7FF00000),
    np.dtype(np.float64): (np.uint64, 32, 0x7FFC5EED00000000),
}
_place: Any = Traced.__dict__["place"]  # the slot


class _Pending:
    """What one store writes into a plain array: marks, numbered through the traced arrays in `values`."""

    def __init__(self, array: Any, at: tuple[CodeType, int]) -> None:
        self.array, self.at = array, at
        self.values: list[Any] = []
        self.starts = [0]
        self._integers, self._bits, self._mark = _MARKS[array.real.dtype]

    def marks(self, x: Any) -> Any:
        """One mark for each element of x, in the dtype of the array; None if there are too many."""
        start, end = self.starts[-1], self.starts[-1] + x.size
        if end >> self._bits:
            return None
        self.values.append(x)
        self.starts.append(end)
        counts = np.arange(start, end).astype(self._integers) | self._integers(self._mark)
        return counts.view(self.array.real.dtype).astype(self.array.dtype).reshape(x.shape)

    def counts(self) -> tuple[Any, Any]:
        """Where in the array there are marks, and their counts."""
        bits = np.array(self.array.real, order="C").view(self._integers)
        mask = bits >> self._integers(self._bits) == self._integers(self._mark >> self._bits)
        return mask, (bits[mask] & self._integers((1 << self._bits) - 1)).astype(np.intp)


class Taken(Written):
    """A written array before its first use: a plain one with marks in it."""

    __slots__ = ()

    @property
    def place(self) -> Any:  # type: ignore[override]
        _settle(self)
        return self.place


def _settle(y: Any) -> None:
    """Makes of a `Taken` what NumPy's store has made of it."""
    pending = _place.__get__(y)
    mask, counts = pending.counts()
    pending.array[mask] = 0
    fill_slots(y, pending.array, CONSTANT, level_here())
    become(y, Blank)
    y.place = None
    opened(y)
    for x, start, end in zip(pending.values, pending.starts, pending.starts[1:], strict=False):
        mine = (counts >= start) & (counts < end)
        if mine.any():
            _write(y, x, mask, mine, counts - start)


def _write(y: Any, x: Any, mask: Any, mine: Any, counts: Any) -> None:
    chosen = np.zeros(mask.shape, bool)
    chosen[mask] = mine

    def writer(a: Any, elements: Any) -> None:
        a[chosen] = elements.reshape(-1)[counts[mine]] if np.ndim(elements) else elements

    write_by("y[key] = v", y, x, writer)


def taken(x: Traced, frame: FrameType) -> Any:
    """Marks in place of the numbers of x, for NumPy's store into a plain array that only names of functions hold.

    None if that is not what the frame is doing. TypeError if something else holds the array, too.
    """
    if frame.f_code is _store.__code__:
        _counted.append(_references(variables(frame)["c"]))
        return np.zeros(x.shape)
    if not is_users(frame.f_code.co_filename) or (store := store_at(frame)) is None or store.key is None:
        return None
    at, held = (frame.f_code, frame.f_lasti), variables(frame).get(store.name)
    if type(held) is Taken:
        pending = _place.__get__(held)
        return pending.marks(_noted(x, pending.array)) if pending.at == at else None
    if not _may_take(held):
        return None
    names = _names_of(held, frame)
    if not _is_named_only(held, len(names), _while_stored(held, store.key_of(frame), x)):
        raise x.tape.loses(held_elsewhere(store.name))
    pending, new = _Pending(held, at), Taken.__new__(Taken)
    found = pending.marks(_noted(x, held))
    if found is not None:
        _place.__set__(new, pending)
        _rebind(names, new)
    return found


def in_place(frame: FrameType, out: Any, result: Callable[[], Any]) -> Any:
    """What `out += x` leaves in the name that a plain array has, of which NumPy wants result() written into it.

    In name[key] += x, which ends with a store of its own, just the result. None and TypeError as `taken`.
    """
    ours = frame
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("rmad."):
        if frame.f_code is _add.__code__:
            _counted.append(_references(variables(frame)["c"]))
            raise _Counted
        ours, frame = frame, frame.f_back
    if not is_users(frame.f_code.co_filename) or (store := store_at(frame)) is None:
        return None
    held = variables(frame).get(store.name)
    if store.key is not None:
        return result() if _may_take(held) else None
    if held is not out or not _may_take(held):
        return None
    names, y = _names_of(held, frame), result()
    if not _is_named_only(held, len(names), _while_added(held, y, ours.f_code)):
        raise y.tape.loses(held_elsewhere(store.name))
    new = blank(held.copy())
    new[...] = y
    _rebind(names, new)
    return new


def _noted(x: Traced, array: Any) -> Any:
    """x as it is now, to be written into this array later."""
    if x.dtype.kind == "c" and array.dtype.kind != "c":
        raise lost_imaginary_part()
    now = x.now()
    return now.twin() if isinstance(now, Traced) else now.copy()


def _may_take(c: Any) -> bool:
    """True for a plain array of floats that NumPy would write into, in memory of NumPy's."""
    if type(c) is not np.ndarray or not c.flags.writeable or c.real.dtype not in _MARKS or not _keep_bits():
        return False
    return c.base is None or (type(c.base) is np.ndarray and c.base.base is None)


# -- who holds an array -------------------------------------------------------------------------------------


def _is_named_only(c: Any, names: int, counted: tuple[int, int] | None) -> bool:
    """True if an array has as many references as one with a single name has at this point, and one for each other name.

    To be called with the only reference of the caller's own.
    """
    if counted is None:
        return False
    of_array, of_base = _references(c)
    return of_array - 2 == counted[0] + names - 1 and of_base == counted[1]


def _references(c: Any) -> tuple[int, int]:
    """How often an array is referred to, and the array of which it is a view; the latter is that of all views of it."""
    return sys.getrefcount(c), 0 if c.base is None else sys.getrefcount(c.base)


def _new(like: Any) -> Any:
    """An array that nothing else holds, and a view if the other one is."""
    return np.empty_like(like) if like.base is None else np.empty((1, *like.shape), like.dtype)[0]


def _names_of(c: Any, frame: FrameType) -> list[tuple[FrameType, str]]:
    """The variables that hold the array, of the functions from this frame up to the one that is recorded."""
    found = []
    here: FrameType | None = frame
    while here is not None and here.f_globals.get("__name__") != "rmad.record":
        code = here.f_code
        if code.co_flags & CO_OPTIMIZED:
            names, own = variables(here), (*code.co_varnames, *code.co_cellvars)
            found += [(here, name) for name in dict.fromkeys(own) if names.get(name) is c]
        here = here.f_back
    return found


_counted: list[tuple[int, int]] = []


class _Counted(Exception):
    """Ends an operation that was begun to count references."""


def _store(c: Any, key: Any, x: Any) -> None:
    c[key] = x


def _add(c: Any, x: Any) -> None:
    c += x


def _while_stored(c: Any, key: Any, x: Any) -> tuple[int, int] | None:
    """The references to an array with one name while x, or [x], is stored into it; None if these differ."""
    del _counted[:]
    for value in (x, [x]):
        with suppress(IndexError, TypeError, ValueError):
            _store(_new(c), key, value)
    return _counted[0] if len(set(_counted)) == 1 else None


def _while_added(c: Any, y: Any, way: CodeType) -> tuple[int, int] | None:
    """The same while something is added to it that comes this way, as y, written arrays and Python's numbers do."""
    x: Any = y
    view = None
    if way is Written.__array_ufunc__.__code__:
        x = y.copy()
        view = x[...]  # noqa: F841  # with a view it stays what it is
        opened(x)
    elif way is Weak.__array_ufunc__.__code__:
        total = np.sum(y)
        x = Weak(total.value, total.tape, total.index)
    del _counted[:]
    with suppress(_Counted):
        _add(_new(c), x)
    return _counted[0] if _counted else None


def _rebind(names: list[tuple[FrameType, str]], value: Any) -> None:
    """Gives variables of functions that run another value."""
    for frame, name in names:
        here = frame.f_locals
        here[name] = value
        if IS_COPY:
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
            here.clear()


@cache
def _keep_bits() -> bool:
    """True if this machine copies and converts the bits of a NaN as they are."""
    for dtype in _MARKS:
        pending = _Pending(np.zeros(2, dtype), (_store.__code__, 0))
        a, b = pending.marks(np.zeros(2))
        pending.array[0], pending.array[1] = float(b), a
        if pending.counts()[1].tolist() != [1, 0]:
            return False
    return True


writing.taken, writing.in_place = taken, in_place
