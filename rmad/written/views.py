"""Views of traced arrays: what NumPy's functions make of them that shares their memory.

Whether a result is a view is NumPy's own answer: the function is asked with a plain array that lies in memory as the
traced one does. Ordinary arrays note their views, for the case that one of them is written into later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.keys import is_basic
from rmad.machine.backend import is_cupy
from rmad.tracing.handlers import writing
from rmad.tracing.traced import Traced, stop
from rmad.written.arrays import CONSTANT, Blank, Written, become, blank, fill_slots, memory_of
from rmad.written.memory import Place, Step, take
from rmad.written.viewers import is_of_many, kth, of_one

__all__ = ["apart", "seen_by", "seen_by_many", "viewed"]


def _view(y: Any, x: Any, step: Step) -> Any:
    """y, an ordinary traced array that the step has made of x, as a view of it."""
    memory = memory_of(x)
    y.place = Place(memory, x, step)
    memory.add(y)
    return y


def viewed(y: Any, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What a function that makes views has made of ordinary traced arrays, as views of those where they are."""
    if is_of_many(func, args, kwargs):
        found = [_viewed(p, args[k], kth(func, k, args, kwargs)) for k, p in enumerate(y)]
        return found if isinstance(y, list) else tuple(found)
    if (one := of_one(func, args, kwargs)) is None:
        return apart(y, args)
    x, step = one
    if isinstance(y, list | tuple):
        found = [_viewed(p, x, _part_of(step, k)) for k, p in enumerate(y)]
        return found if isinstance(y, list) else tuple(found)
    return _viewed(y, x, step)


def _part_of(step: Step, k: int) -> Step:
    func, rest, kwargs = step
    return _part, (k, func, rest, kwargs), {}


def _part(a: Any, k: int, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    return func(a, *args, **kwargs)[k]


def _viewed(y: Any, x: Traced, step: Step) -> Any:
    if y is x or not (isinstance(x, Traced) and isinstance(y, Traced)):
        return y
    plain = stop(x)
    shared = step[0] is not np.ravel and "copy" not in step[2] and np.may_share_memory(stop(y), plain)
    if not shared:
        f, args, kwargs = step
        shared = np.may_share_memory(f(plain, *stop(args), **stop(kwargs)), plain)
    if shared:
        return _view(y if y.place is None else y.twin(), x, step)
    return y if y.place is None else y.twin()


def apart(y: Any, args: Any) -> Any:
    """The results of a function that makes no views, as arrays of their own."""
    if isinstance(y, Traced):
        return y.twin() if y.place is not None or any(y is a for a in args) else y
    if isinstance(y, list | tuple) and any(isinstance(p, Traced) and p.place is not None for p in y):
        found = [apart(p, args) for p in y]
        return found if isinstance(y, list) else type(y)(*found) if hasattr(y, "_fields") else tuple(found)
    return y


def seen(y: Any, layout: Any, step: Step) -> Any:
    """The view that a step makes of an array that has been written into; what is a copy in NumPy is one here."""
    f, args, kwargs = step
    there = f(layout, *args, **kwargs)
    if there is layout:
        return y
    if not np.may_share_memory(there, layout):
        now = y.now()
        return apart(f(now, *args, **kwargs), (now,)) if isinstance(now, Traced) else blank(f(now, *args, **kwargs))
    new = Written.__new__(Written)
    fill_slots(new, None, None, None)
    new.place = Place(y.place.memory, y, step)
    y.place.memory.add(new)
    return new


def blank_view(a: Any, y: Blank, step: Step) -> Any:
    """The plain array that a step has made of a blank one."""
    if a is y.value:
        return y
    if not (isinstance(a, np.ndarray) or is_cupy(a)) or not np.may_share_memory(a, y.value):
        return blank(a)
    return _view(Blank(a, CONSTANT, y.index), y, step)


def seen_by(y: Any, step: Step) -> Any:
    """step(y) of an array that may have been written into, for a function that makes views."""
    lies, (func, rest, kwargs) = _layout(y), step
    found = func(lies, *rest, **kwargs)
    if not isinstance(found, list | tuple):
        return _seen_one(y, found, lies, step)
    views = [_seen_one(y, a, lies, _part_of(step, k)) for k, a in enumerate(found)]
    return views if isinstance(found, list) else tuple(views)


def seen_by_many(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """func(*args, **kwargs) for a function whose k-th result is a view of its k-th argument, whatever that is."""
    found = []
    for k, a in enumerate(args):
        f, rest, named = step = kth(func, k, args, kwargs)
        if isinstance(a, Traced) and a.settles:
            found.append(_seen_one(a, f(_layout(a), *rest, **named), _layout(a), step))
        else:
            found.append(_viewed(f(a, *rest, **named), a, step))
    return tuple(found)


def reshape_in_place(y: Any, shape: Any) -> None:
    """y.shape = shape, of an array that shares its elements with no other."""
    if y.place is not None and (y.place.parent is not None or len(y.place.memory.alive()) > 1):
        raise TypeError("y.shape = … of a traced array that is a view, or has views; write y = y.reshape(…)")
    now = y.value if type(y) is Blank else y.now()
    new = np.reshape(now, shape)
    if not np.may_share_memory(stop(new), stop(now)):
        raise AttributeError("incompatible shape for in-place modification; y.reshape(…) makes a copy")
    if isinstance(new, Traced):
        become(y, Traced)
        fill_slots(y, new.value, new.tape, new.index)
    else:
        become(y, Blank)
        fill_slots(y, new, CONSTANT, y.index if type(y) is Blank else y.place.memory.level)
    y.place = None


def _layout(y: Any) -> Any:
    return y.value if type(y) is Blank else y.place.layout


def _seen_one(y: Any, found: Any, lies: Any, step: Step) -> Any:
    return blank_view(found, y, step) if type(y) is Blank else seen(y, lies, step)


def part(y: Traced, x: Traced, key: Any) -> Any:
    """y = x[key], of an ordinary array."""
    return _view(y, x, (take, (key,), {})) if is_basic(key) else y


def converted(f: Callable[..., Any], y: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """f(y, *args, **kwargs) for np.array or one of its kin: y itself, a view of it, or a copy, as NumPy has it."""
    lies = _layout(y)
    found = f(lies, *args, **kwargs)
    if found is lies:
        return y
    if np.may_share_memory(found, lies) and found.dtype == lies.dtype:  # ndmin=2
        return _seen_one(y, found, lies, (np.reshape, (found.shape,), {}))
    if type(y) is Blank:
        return blank(found)
    now = y.now()
    return writing.of_traced(f, now, args, kwargs) if isinstance(now, Traced) else blank(f(now, *args, **kwargs))


writing.converted = converted
writing.seen, writing.blank_view = seen, blank_view
writing.viewed, writing.apart, writing.part = viewed, apart, part
writing.reshape_in_place = reshape_in_place
