"""The arrays that may be written into: `Blank`, constant as yet, and `Written`, with a traced number somewhere in it.

An ordinary traced array becomes `Written` at its first write, together with the arrays that are views of it or that it
is a view of: their class is changed, so every name that a user has for them sees the write. Arrays that nobody writes
into pay nothing for this; a whole array that is replaced, as x += 1 does, stays an ordinary one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rmad import tuning
from rmad.errors.refusals import written_from_checkpoint
from rmad.keys import is_basic, is_number
from rmad.machine.arrays import on_the_cpu
from rmad.machine.backend import is_cupy
from rmad.tapes.tape import Tape
from rmad.tracing.handlers import HANDLERS, writing
from rmad.tracing.traced import Traced, stop
from rmad.written.memory import Memory, Place, take

__all__ = [
    "CONSTANT",
    "Blank",
    "Written",
    "become",
    "blank",
    "closed_to_the_outside",
    "fill_slots",
    "fresh",
    "level_here",
    "memory_of",
    "refuse_from_outside",
    "settled",
]

CONSTANT = Tape()
"""The tape of constants: no primitive records on it."""
CONSTANT.level = -1


class _Inside(threading.local):
    """The level from which on tapes are of the innermost function that runs again in every product."""

    level = -1


_inside = _Inside()


def level_here() -> int:
    """The level of an array that is made now."""
    return _inside.level


@contextmanager
def closed_to_the_outside(args: Iterable[Any]) -> Iterator[None]:
    """While it is open, arrays that were made before may not be written into: no product would see it.

    args: the arguments of the function that runs; if it is recorded, the newest tape among theirs is its own.
    """
    before = _inside.level
    levels = [a.tape.level for a in args if isinstance(a, Traced)]
    _inside.level = max(levels) if levels else Tape().level
    try:
        yield
    finally:
        _inside.level = before


def refuse_from_outside(level: int) -> None:
    """TypeError if an array of this level was made outside of the function that runs again."""
    if level < _inside.level:
        raise written_from_checkpoint()


class Written(Traced):
    """A traced array that has been written into, or a view of one. Only `now` makes nodes of the writes."""

    __slots__ = ()
    settles = True

    def now(self) -> Any:
        """The array as it is now: an ordinary traced one, or a plain one if no derivative goes through it."""
        place = self.place
        known = place.version == place.memory.version
        y = place.memory.now(place)
        if not known and place.parent is None and type(y) is Traced and len(place.memory.alive()) == 1:
            become(self, Traced)  # no view sees the next write
            fill_slots(self, y.value, y.tape, y.index)
            self.place = None
        return y

    value = property(lambda self: _below(self.now()))  # type: ignore[assignment]
    index = property(lambda self: self.now().index)  # type: ignore[assignment]

    @property
    def tape(self) -> Tape:  # type: ignore[override]
        y = self.now()
        return y.tape if isinstance(y, Traced) else CONSTANT

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.place.layout.shape)

    @shape.setter
    def shape(self, shape: Any) -> None:
        writing.reshape_in_place(self, shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.place.layout.dtype

    @property
    def flags(self) -> Any:
        return self.place.layout.flags

    @property
    def strides(self) -> tuple[int, ...]:
        return self.place.layout.strides

    def __getitem__(self, key: Any) -> Any:
        place = self.place
        if is_number(key, place.where.ndim):
            y = place.memory.element(place, key)
            return blank(y.copy()) if is_cupy(y) else y  # of CuPy: an array of its own, as NumPy's is a number
        if is_basic(key):
            return writing.seen(self, self.place.layout, (take, (key,), {}))
        y = place.memory.chosen(place, on_the_cpu(writing.plain_key(key)))
        return fresh(HANDLERS["getitem"](self.now(), key) if y is None else y)

    def __setitem__(self, key: Any, value: Any) -> None:
        place = self.place
        if type(value) is Traced and is_number(key, place.where.ndim):
            refuse_from_outside(place.memory.level)
            if place.memory.set_number(place, key, value):
                return
        writing.write(self, key, value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        y = self.now()
        if not isinstance(y, Traced):
            return np.array(y, dtype)
        marks = writing.taken(y, sys._getframe(1))
        return y.__array__(dtype, copy) if marks is None else marks

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return writing.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return writing.function(func, args, kwargs)


class Blank(Traced):
    """A plain array that a function has made while it is recorded, and may write traced numbers into."""

    __slots__ = ()
    settles = True
    __class__ = property(lambda self: np.ndarray)  # type: ignore[assignment]  # for isinstance: it behaves like one

    def now(self) -> Any:
        """The plain array; a copy if a block would not make one."""
        return self.value if self.value.nbytes <= tuning.CAPTURED_COPY else self.value.copy()

    def __getitem__(self, key: Any) -> Any:
        y = self.value[stop(key)]
        if not isinstance(y, np.ndarray) and not is_cupy(y):
            return y
        if is_number(key, self.value.ndim):  # of CuPy: an array of its own, as NumPy's is a number
            return blank(y.copy())
        return writing.blank_view(y, self, (take, (key,), {})) if is_basic(key) else blank(y)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if copy or (dtype is not None and np.dtype(dtype) != self.dtype):
            return np.array(self.value, dtype)
        memory_of(self).exposed = True
        return self.value.view()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return writing.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return writing.function(func, args, kwargs)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __complex__(self) -> complex:
        return complex(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def copy(self, order: Any = "C") -> Any:
        return blank(self.value.copy(order))

    def astype(self, dtype: Any, *args: Any, copy: bool = True, **kwargs: Any) -> Any:
        y = self.value.astype(dtype, *args, copy=copy, **kwargs)
        return self if y is self.value else blank(y)

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.value.__reduce_ex__(protocol)

    def __buffer__(self, flags: int) -> memoryview:
        memory_of(self).exposed = True
        return memoryview(self.value.view())

    def __dlpack__(self, **options: Any) -> Any:
        memory_of(self).exposed = True
        return self.value.view().__dlpack__(**options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in Traced.__slots__:
            raise AttributeError(name)
        memory_of(self).exposed = True
        return getattr(self.value, name)

    def __repr__(self) -> str:
        return repr(self.value)

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


_slots = [Traced.__dict__[name] for name in ("value", "tape", "index")]


def fill_slots(y: Traced, value: Any, tape: Any, index: Any) -> None:
    """Fills the slots of an array, whatever its class makes of their names."""
    for slot, content in zip(_slots, (value, tape, index), strict=True):
        slot.__set__(y, content)


_set_class = object.__dict__["__class__"].__set__


def become(y: Traced, kind: type[Traced]) -> None:
    """Makes another kind of array of y."""
    _set_class(y, kind)


def _below(y: Any) -> Any:
    return y.value if isinstance(y, Traced) else y


def blank(a: Any) -> Any:
    """A fresh plain array of floats as one that traced numbers may be written into; anything else as it is."""
    if isinstance(a, Traced) or not (isinstance(a, np.ndarray) or is_cupy(a)):
        return a
    if a.dtype.kind not in "fc" or type(a) in (np.ma.MaskedArray, np.matrix) or _is_read_only(a):
        return a
    return Blank(a if a.base is None else a.copy(), CONSTANT, _inside.level)


def _is_read_only(a: Any) -> bool:
    return isinstance(a, np.ndarray) and not a.flags.writeable


def settled(part: Any) -> Any:
    """Arguments with every array that may have been written into as it is now; lists, tuples and dicts are entered."""
    if isinstance(part, Traced):
        return part.now()
    if isinstance(part, list | tuple):
        if not any(map(_settles, part)):
            return part
        parts = [settled(p) for p in part]
        return parts if isinstance(part, list) else type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)
    if isinstance(part, dict):
        return {name: settled(value) for name, value in part.items()}
    return part


def _settles(part: Any) -> bool:
    return part.settles if isinstance(part, Traced) else isinstance(part, list | tuple | dict)


writing.blank = blank


def fresh(y: Any) -> Any:
    """The result of a function: a plain array may be written into, as a traced one; so may those of a list or tuple."""
    if isinstance(y, list | tuple):
        found = [fresh(part) for part in y]
        return found if isinstance(y, list) else type(y)(*found) if hasattr(y, "_fields") else tuple(found)
    return blank(y) if isinstance(y, np.ndarray) or is_cupy(y) else y


def memory_of(y: Any) -> Memory:
    """The memory that a traced array lies in; a new one if it has no views."""
    if y.place is None:
        y.place = Place(Memory(y, y.index if type(y) is Blank else y.tape.level))
    return y.place.memory
