"""The memory of a plan: a node takes a buffer when it is planned, and gives it back after its last reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rmad.tape import ArraySpec, Tape
from rmad.types import Array

__all__ = ["Pool", "address", "prototype", "shares"]

LINE = 64  # bytes: buffers begin at multiples of it


class Pool:
    """Buffers that nodes take and give back while a sweep is planned: stretches of a few long arrays of bytes.

    prototype: any array of the kind (NumPy, CuPy) to allocate. free: stretches (array of bytes, start, stop), of which
    no two touch. lent: by id of the buffer, its stretch and the buffer itself, so that no other array gets that id.
    """

    def __init__(self, prototype: Any) -> None:
        self.prototype = prototype
        self.free: list[tuple[Array, int, int]] = []
        self.lent: dict[int, tuple[Array, int, int, Array]] = {}

    def new(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array:
        """A new array of zeros, which no other node ever takes."""
        return np.zeros_like(self.prototype, order="C", shape=shape, dtype=dtype, subok=False)

    def take(self, spec: ArraySpec) -> Array:
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

    def give(self, array: Array) -> None:
        """Takes a buffer back; arrays that are not the pool's are left alone."""
        entry = self.lent.pop(id(array), None)
        if entry is not None:
            self._free(*entry[:3])

    def _free(self, raw: Array, start: int, stop: int) -> None:
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
    def with_scratch(self, array: Array | None) -> Iterator[None]:
        """Lends the memory of an array that is not in use meanwhile."""
        with self.borrowed([array]):
            if array is not None:
                self.give(array)
            yield

    @contextmanager
    def borrowed(self, arrays: Sequence[Array | None]) -> Iterator[None]:
        """Within, `give` takes these arrays too (None is left out), as soon as they are not in use any more."""
        given = [array for array in arrays if array is not None and array.size]
        raws = [array.reshape(-1).view(np.uint8) for array in given]
        for raw, array in zip(raws, given, strict=True):
            start = -address(raw) % LINE
            if start < raw.size:
                self.lent[id(array)] = (raw, start, raw.size, array)
        try:
            yield
        finally:  # also if planning is interrupted: the arrays are not the pool's
            for array in given:
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


def shares(y: Array, buffer: Array) -> bool:
    """True if y lies in the memory of the buffer."""
    if not isinstance(y, np.ndarray):
        start, stop = address(buffer), address(buffer) + buffer.nbytes
        return start <= address(y) < stop
    return np.may_share_memory(y, buffer)


def address(array: Any) -> int:
    """The address of the first element, on the CPU or the GPU."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
