"""Nested lists of traced numbers as one traced array: y[key] = x for every traced array x in the list.

The array is NumPy's own, made of the plain values, so that its dtype, shape, layout and every error about them are
NumPy's. One node then ties it to the traced arrays in the list.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rmad.errors.refusals import lossy_dtype
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.tracing.handlers import HANDLERS
from rmad.tracing.objects import OBJECT
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import with_value

__all__ = ["Numbers", "as_array", "forgiven", "holds_traced", "stacked"]


def holds_traced(x: Any) -> bool:
    """True for a traced array, and for lists, tuples and object arrays with one in them."""
    if isinstance(x, Traced):
        return True
    if isinstance(x, list | tuple):
        return any(map(holds_traced, x))
    return isinstance(x, np.ndarray) and x.dtype is OBJECT and any(map(holds_traced, x.ravel().tolist()))


class Numbers:
    """The traced arrays in nested lists: `found`, each with its place, the indices that lead to it.

    values: the same lists with plain values; object arrays with traced numbers become lists.
    """

    __slots__ = ("found", "values", "x")

    def __init__(self, x: Any) -> None:
        self.x = x
        self.found: list[tuple[tuple[int, ...], Traced]] = []
        self.values = self._walked(x, ())

    def _walked(self, x: Any, at: tuple[int, ...]) -> Any:
        if isinstance(x, Traced):
            now = x.now()
            if isinstance(now, Traced):
                self.found.append((at, now))
            return stop(now)
        if isinstance(x, list | tuple):
            return [self._walked(part, (*at, k)) for k, part in enumerate(x)]
        if isinstance(x, np.ndarray) and x.dtype is OBJECT and holds_traced(x):
            for part in x.ravel().tolist():
                if np.ndim(stop(part)):
                    raise ValueError("setting an array element with a sequence.")
            return self._walked(x.tolist(), at)
        return x

    @property
    def on_the_gpu(self) -> bool:
        return "cupy" in sys.modules and any(is_cupy(stop(part)) for _, part in self.found)

    def tied(self, value: Any) -> Any:
        """`value`, the array that NumPy makes of the plain values, with their derivatives."""
        kind = value.dtype.kind
        if kind in "biu" or not self.found:
            return value
        if kind not in "fc":
            raise self.found[0][1].tape.loses(lossy_dtype("np.array", value.dtype))
        if isinstance(self.x, Traced):
            return _in_shape(self.found[0][1], value)
        at, part = self.found[0]
        above = (0,) * (value.ndim - len(at) - len(part.shape))  # ndmin=
        keys = [(*above, *at, ...) for at, _ in self.found]
        return HANDLERS["array"](value, keys, [_real(part) if kind == "f" else part for _, part in self.found])


def as_array(x: Any) -> Any:
    """np.asarray(x), a traced array if x holds traced numbers."""
    found = Numbers(x)
    if not found.found:
        return np.asarray(x)
    return stacked(x) if found.on_the_gpu else found.tied(np.asarray(found.values))


def _real(x: Traced) -> Any:
    return np.real(x) if x.dtype.kind == "c" else x  # type: ignore[call-overload]


def _in_shape(x: Traced, value: Any) -> Any:
    """One traced array in another dtype, with axes of length one in front."""
    y: Any = x if x.dtype == value.dtype else (_real(x) if value.dtype.kind == "f" else x).astype(value.dtype)
    return with_value(y if y.shape == value.shape else np.reshape(y, value.shape), value, "np.array")


def forgiven(error: BaseException, args: Any) -> bool:
    """True if the error says that a derivative was about to be lost from a list; the tape then forgets it."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    found = False
    for _, part in Numbers(args).found:
        x: Any = part
        while isinstance(x, Traced):
            if x.tape.lost is not None and any(x.tape.lost is link for link in chain):
                x.tape.lost, found = None, True
            x = x.value
    return found


def stacked(x: Any) -> Any:
    """Nested lists with CuPy's arrays in them as one array, made by CuPy's np.stack, level by level."""
    like = Numbers(x).found[0][1]

    def joined(part: Any) -> Any:
        if isinstance(part, np.ndarray) and part.dtype is OBJECT:
            part = part.tolist()
        return np.stack(list(map(joined, part))) if isinstance(part, list | tuple) else arrays.moved_to(like, part)

    return joined(x)
