"""The arrays that a block keeps alive, however it holds them: in slots, containers, closures or bound methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from rmad.tapes.tape import ArraySpec, Block, Tape
from rmad.types import Array

__all__ = ["holds", "residuals"]

_NO_HOLDERS = (str, bytes, int, float, complex, ModuleType)


def residuals(block: Block) -> Iterator[Array]:
    """The arrays of one axis or more that a block holds; of an array that an outer tape traces, the value."""
    seen: set[int] = set()
    todo: list[Any] = [block]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, ArraySpec | type | Tape | np.generic | np.dtype):
            continue
        seen.add(id(thing))
        if hasattr(thing, "__array_function__"):
            while hasattr(thing, "tape"):
                thing = thing.value
            if getattr(thing, "ndim", 0):
                yield thing
        elif not hasattr(thing, "linearized"):  # a primitive holds no array
            todo += _held_by(thing)


def holds(tape: Tape, array: Array) -> bool:
    """True if a block of the tape may read the memory of `array`."""
    return any(
        isinstance(a, np.ndarray) and np.may_share_memory(a, array)
        for node in tape.nodes
        for block in node.blocks
        for a in residuals(block)
    )


def _held_by(thing: Any) -> Iterable[Any]:
    """The objects that a container, a function with its closure, a bound method or any other object refers to."""
    if isinstance(thing, list | tuple | set | frozenset):
        return thing
    if isinstance(thing, dict):
        return thing.values()
    if isinstance(thing, FunctionType):
        return [*(c.cell_contents for c in thing.__closure__ or () if _filled(c)), *(thing.__defaults__ or ())]
    if isinstance(thing, MethodType):
        return [thing.__self__]
    if isinstance(thing, partial):
        return [thing.func, thing.args, thing.keywords]
    return () if isinstance(thing, _NO_HOLDERS) else _attributes(thing)


def _attributes(thing: Any) -> Iterator[Any]:
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield getattr(thing, name)
    yield from getattr(thing, "__dict__", {}).values()


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
