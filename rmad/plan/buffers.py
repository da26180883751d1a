"""The memory of a plan: buffers that nodes take and give back while a sweep is planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rmad.tape import ArraySpec, Tape

__all__ = ["Pool", "address", "prototype", "shares"]

LINE = 64  # bytes: where a buffer begins


class Pool:
    """Buffers that nodes take and give back while a sweep is planned: stretches of a few long arrays of bytes."""

    def __init__(self, prototype: Any) -> None:
        self.prototype = prototype  # any array of the kind (NumPy, CuPy) to allocate
        self.free: list[tuple[Any, int, int]] = []  # (array of bytes, start, stop), no two of them touch
        self.lent: dict[int, tuple[Any, int, int, Any]] = {}

    def new(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros_like(self.prototype, order="C", shape=shape, dtype=dtype, subok=False)

    def take(self, spec: ArraySpec) -> Any:
        """A buffer in the smallest stretch that holds it; the rest of the stretch stays free."""
        nbytes = spec.size * spec.dtype.itemsize
        length = max(1, -(-nbytes // LINE)) * LINE
        fitting = [stretch for stretch in self.free if stretch[2] - stretch[1] >= length]
        if fitting:
            stretch = min(fitting, key=lambda s: s[2] - s[1])
            self.free = [s for s in self.free if s is not stretch]
        else:
            raw = self.new((length,), np.uint8)
            stretch = (raw, 0, length)
        raw, start, stop = stretch
        if start + length < stop:
            self.free.append((raw, start + length, stop))
        array = raw[start : start + nbytes].view(spec.dtype).reshape(spec.shape)
        self.lent[id(array)] = (raw, start, start + length, array)
        return array

    def give(self, array: Any) -> None:
        entry = self.lent.pop(id(array), None)
        if entry is not None:
            self._free(*entry[:3])

    def _free(self, raw: Any, start: int, stop: int) -> None:
        """Adds a stretch, as one with those that it touches."""
        apart = []
        for stretch in self.free:
            if stretch[0] is raw and stretch[2] == start:
                start = stretch[1]
            elif stretch[0] is raw and stretch[1] == stop:
                stop = stretch[2]
            else:
                apart.append(stretch)
        self.free = [*apart, (raw, start, stop)]

    @contextmanager
    def with_scratch(self, array: Any) -> Iterator[None]:
        """Lends the memory of an array that is not in use meanwhile."""
        with self.borrowed([array]):
            self.give(array)
            yield

    @contextmanager
    def borrowed(self, arrays: Sequence[Any]) -> Iterator[None]:
        """Within, `give` takes these arrays too (None is left out), as soon as they are not in use any more."""
        arrays = [array for array in arrays if array is not None and array.size]
        raws = [array.reshape(-1).view(np.uint8) for array in arrays]
        for raw, array in zip(raws, arrays, strict=True):
            start = -address(raw) % LINE
            if start < raw.size:
                self.lent[id(array)] = (raw, start, raw.size, array)
        try:
            yield
        finally:  # also where planning is interrupted: the arrays are not the pool's
            for array in arrays:
                self.lent.pop(id(array), None)
            self.free = [stretch for stretch in self.free if not any(stretch[0] is raw for raw in raws)]


def prototype(tape: Tape) -> Any:
    """Any array that a block of the tape holds: it tells NumPy from CuPy."""
    for node in tape.nodes:
        for block in node.blocks:
            held = [getattr(block, "d", None), *getattr(block, "args", ())]
            for a in held:
                if hasattr(a, "__array_function__") and not np.isscalar(a):
                    return a
    return np.empty(0)


def shares(y: Any, buffer: Any) -> bool:
    if not isinstance(y, np.ndarray):
        start, stop = address(buffer), address(buffer) + buffer.nbytes
        return start <= address(y) < stop
    return np.may_share_memory(y, buffer)


def address(array: Any) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
