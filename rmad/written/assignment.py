"""Assignment: y[key] = v, and the functions of NumPy that write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from opcode import opname
from types import FrameType
from typing import Any

import numpy as np

from rmad.errors.refusals import (
    into_plain,
    lost_imaginary_part,
    part_written_by,
    scalars_are_fixed,
    swapped_by_views,
    written_from_the_gpu,
    written_into_integers,
)
from rmad.keys import is_basic
from rmad.machine.arrays import kind_of, moved_to, on_the_cpu
from rmad.machine.backend import is_cupy
from rmad.tracing.handlers import HANDLERS, writing
from rmad.tracing.objects import is_object
from rmad.tracing.traced import Traced, stop
from rmad.written.arrays import Blank, Written, become, fill_slots, memory_of, refuse_from_outside
from rmad.written.memory import Memory, Step, take
from rmad.written.pieces import fitted, twin

__all__ = ["opened", "plain_key", "write", "write_by"]


def write(y: Any, key: Any, v: Any) -> None:
    """y[key] = v."""
    if type(v) is Written and _is_itself(y, key, v):
        return  # y[key] += 1 has written into the view y[key], and ends with this
    if isinstance(v, Traced) and v.place is not None and v.place.parent is y and _is_compiled(sys._getframe(1)):
        raise swapped_by_views()
    key, v = plain_key(key), _value(v)
    refuse_from_outside(_level(y))
    if type(y) is Blank:
        if not isinstance(v, Traced) and (isinstance(y.value, np.ndarray) or is_basic(key)):
            y.value[key] = moved_to(y.value, v) if np.ndim(v) else v
            return
    elif type(y) is Traced and y.place is None and key is Ellipsis and _is_like(v, y):
        y.value, y.tape, y.index = v.value, v.tape, v.index  # the whole of it: another array of the same name
        return
    memory = opened(y)
    v = _of_dtype(v, y, memory)
    if y.place.part is None:
        memory.write(y.place, on_the_cpu(key), v)
    else:
        whole = _with_part(y, key, v)
        key = on_the_cpu(key)
        memory.place_by(y.place, whole, lambda where, ids: where.__setitem__(key, ids))


def _is_compiled(frame: Any) -> bool:
    """True if compiled code, which has no frame, has made this call: the user's code is in the middle of a call."""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("rmad."):
        frame = frame.f_back
    return "CALL" in opname[frame.f_code.co_code[frame.f_lasti]]


def _level(y: Any) -> int:
    if y.place is not None:
        return int(y.place.memory.level)
    return int(y.index if type(y) is Blank else y.tape.level)


def _is_like(v: Any, y: Traced) -> bool:
    same = type(v) is Traced and v.shape == y.shape and v.dtype == y.dtype
    return same and not isinstance(stop(y), np.generic) and not isinstance(stop(v), np.generic)


def write_by(name: str, y: Any, v: Any, writer: Callable[[Any, Any], None]) -> None:
    """Lets a function of NumPy of this name, which moves numbers, write v into y: writer(array, numbers)."""
    v = _value(v)
    if isinstance(y, Traced):
        refuse_from_outside(_level(y))
    if type(y) is Blank and isinstance(y.value, np.ndarray) and not isinstance(v, Traced):
        writer(y.value, v)
        return
    if not isinstance(y, Traced):
        if isinstance(v, Traced):
            raise v.tape.loses(into_plain(name))
        writer(y, v)
        return
    memory = opened(y)
    if y.place.part is not None:
        raise part_written_by(name)
    memory.place_by(y.place, _of_dtype(v, y, memory), writer)


def _is_itself(y: Any, key: Any, v: Written) -> bool:
    step = v.place.step
    if v.place.parent is not y or step is None or step[0] is not take or type(key) is not type(step[1][0]):
        return False
    return is_basic(key) and bool(step[1][0] == key)


def _value(v: Any) -> Any:
    """What is written: an ordinary traced array that no user holds, or something plain."""
    if isinstance(v, Traced):
        if type(v.value) is np.float64:  # a number cannot be written into
            return v
        return twin(v.now())
    if isinstance(v, list | tuple) or is_object(v):
        return HANDLERS["asarray"](v)
    return v


def _of_dtype(v: Any, y: Any, memory: Memory) -> Any:
    """v in the dtype of y, and, if it is plain, as a copy."""
    dtype = y.dtype
    if isinstance(v, Traced):
        if is_cupy(stop(v)) and kind_of(memory.base) is np:
            raise written_from_the_gpu()
        if v.dtype == dtype:
            return v
        if v.dtype.kind == "c" and dtype.kind != "c":
            raise lost_imaginary_part()
        return v.astype(dtype)
    if type(v) in (float, int):
        return moved_to(memory.base, dtype.type(v))
    a = v if hasattr(v, "dtype") else np.asarray(v)
    if a.dtype.kind == "c" and dtype.kind != "c":
        raise lost_imaginary_part()
    return moved_to(memory.base, a.astype(dtype))


def opened(y: Any) -> Memory:
    """The memory of y, after its first write: every array that lies in it becomes `Written`."""
    if y.place is None:
        if isinstance(stop(y), np.generic):
            if not _for_any_library(sys._getframe(1)):
                raise scalars_are_fixed(y.dtype)
            array: Any = np.reshape(y, ())
            y.value, y.tape, y.index = array.value, array.tape, array.index
        if y.dtype.kind not in "fc":
            raise y.tape.loses(written_into_integers(y.dtype))
    memory = memory_of(y)
    if memory.written:
        return memory
    arrays = memory.alive()
    root = arrays[0]
    if memory.exposed and _is_shared(root, len(arrays) - 1):
        raise TypeError(
            "a traced number is written into an array whose memory a plain array shares, as np.asarray(c) does: "
            "the plain one would not see it; copy it first"
        )
    memory.layout, memory.written = stop(root), True
    for a in arrays:
        a.place.found, a.place.version = a.twin() if type(a) is Traced else a.value, memory.version
        fill_slots(a, None, None, None)
        become(a, Written)
    memory.base = root.place.found
    return memory


def _for_any_library(frame: FrameType | None) -> bool:
    """True if code for all libraries of the array API writes: there, what has no dimensions is an array, too."""
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "rmad":
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("array_api_extra", "scipy")


def _is_shared(root: Blank, views: int) -> bool:
    """True if somebody else holds the plain array of a blank one, or a view of it."""
    return sys.getrefcount(root.value) - views > 2  # of the slot and of this call


def _with_part(y: Written, key: Any, v: Any) -> Any:
    """The complex numbers of which y is a part, at that key, with v as this part."""
    steps: list[Step] = []
    place = y.place
    while place.parent.place.part is not None:
        steps.append(place.step)
        place = place.parent.place
    old = place.parent.now()
    for f, args, kwargs in reversed(steps):
        old = f(old, *args, **kwargs)
    old = old[key]
    v = fitted(v, np.shape(old))
    return v + 1j * np.imag(old) if y.place.part == "real" else np.real(old) + 1j * v


def plain_key(key: Any) -> Any:
    """The key without traced arrays, and with copies of index arrays, which the caller may shuffle in place later."""

    def part(p: Any) -> Any:
        p = stop(p)
        if isinstance(p, list):
            p = np.asarray(p)
            return p.astype(np.intp) if p.size == 0 else p
        return p.copy() if getattr(p, "ndim", 0) else p

    return tuple(map(part, key)) if isinstance(key, tuple) else part(key)


writing.write, writing.plain_key = write, plain_key
