"""The memory of a plan: a node takes a buffer when it is planned, and gives it back after its last reader."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.tapes.tape import ArraySpec
from rmad.types import Array

__all__ = ["Pool", "address", "shares"]

LINE = 64  # bytes: buffers begin at multiples of it


class Pool:
    """Buffers that nodes take and give back while a sweep is planned: stretches of a few long arrays of bytes.

    like: any array of the kind (NumPy, CuPy) to allocate. lent: by id of the buffer, its stretch and the buffer itself,
    so that no other array gets that id.
    """

    def __init__(self, like: Array) -> None:
        self.like = like
        self.lent: dict[int, tuple[int, int, int, Array]] = {}
        self._raws: dict[int, Array] = {}  # the arrays of bytes, by number
        self._numbers = itertools.count()
        self._stretches = Stretches()

    @property
    def free(self) -> list[tuple[Array, int, int]]:
        """The stretches (array of bytes, start, stop) that no buffer takes; no two of them touch."""
        return [(self._raws[k], start, stop) for k, start, stop in self._stretches]

    def new(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> Array:
        """A new array of zeros, which no other node ever takes."""
        return arrays.zeros(self.like, shape, dtype)

    def take(self, spec: ArraySpec) -> Array:
        """A buffer in the smallest stretch that holds it; the rest of the stretch stays free."""
        nbytes = spec.size * spec.dtype.itemsize
        length = max(1, -(-nbytes // LINE)) * LINE
        found = self._stretches.take(length)
        if found is None:
            found = self._add(self.new((length,), np.uint8)), 0
        k, start = found
        array = self._raws[k][start : start + nbytes].view(spec.dtype).reshape(spec.shape)
        self.lent[id(array)] = (k, start, start + length, array)
        return array

    def give(self, array: Array) -> None:
        """Takes a buffer back; arrays that are not the pool's are left alone."""
        entry = self.lent.pop(id(array), None)
        if entry is not None:
            self._stretches.give(*entry[:3])

    def _add(self, raw: Array) -> int:
        k = next(self._numbers)
        self._raws[k] = raw
        return k

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
        numbers = set()
        try:
            for array in given:
                raw = array.reshape(-1).view(np.uint8)
                start = -address(raw) % LINE
                if start < raw.size:
                    k = self._add(raw)
                    numbers.add(k)
                    self.lent[id(array)] = (k, start, raw.size, array)
            yield
            for array in given:
                self.lent.pop(id(array), None)
            self._stretches.drop(numbers)
            for k in numbers:
                del self._raws[k]
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        """Begins with no memory: an interrupt may have come between two steps. Sweeps planned before keep theirs."""
        self.lent, self._raws, self._stretches = {}, {}, Stretches()


class Stretches:
    """Free stretches (k, start, stop) of numbered arrays, no two of which touch: best fit in constant time.

    Of distinct lengths there are at most about √(2 m / 64) in m bytes, so that the sorted list of them stays short
    where there are many stretches.
    """

    def __init__(self) -> None:
        self._stops: dict[tuple[int, int], int] = {}  # (k, start) → stop
        self._starts: dict[tuple[int, int], int] = {}  # (k, stop) → start
        self._by_length: dict[int, dict[tuple[int, int], None]] = {}  # length → its (k, start), the last freed last
        self._lengths: list[int] = []  # sorted

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return ((k, start, stop) for (k, start), stop in self._stops.items())

    def take(self, length: int) -> tuple[int, int] | None:
        """(k, start) of the smallest stretch of at least `length`, whose rest stays free; None if there is none."""
        at = bisect_left(self._lengths, length)
        if at == len(self._lengths):
            return None
        (k, start), _ = self._by_length[self._lengths[at]].popitem()  # `reversed` would pass all that were deleted
        stop = self._remove(k, start)
        if start + length < stop:
            self._insert(k, start + length, stop)
        return k, start

    def give(self, k: int, start: int, stop: int) -> None:
        """Adds a free stretch and merges it with adjacent ones."""
        before = self._starts.get((k, start))
        if before is not None:
            self._remove(k, before)
            start = before
        if (k, stop) in self._stops:
            stop = self._remove(k, stop)
        self._insert(k, start, stop)

    def drop(self, numbers: set[int]) -> None:
        """Forgets the stretches of these arrays."""
        for k, start in [at for at in self._stops if at[0] in numbers]:
            self._remove(k, start)

    def _insert(self, k: int, start: int, stop: int) -> None:
        self._stops[k, start], self._starts[k, stop] = stop, start
        length = stop - start
        if length not in self._by_length:
            self._by_length[length] = {}
            insort(self._lengths, length)
        self._by_length[length][k, start] = None

    def _remove(self, k: int, start: int) -> int:
        stop = self._stops.pop((k, start))
        del self._starts[k, stop]
        same = self._by_length[stop - start]
        same.pop((k, start), None)  # `take` has it
        if not same:
            del self._by_length[stop - start]
            del self._lengths[bisect_left(self._lengths, stop - start)]
        return stop


def shares(y: Array, buffer: Array) -> bool:
    """True if y lies in the memory of the buffer."""
    if not isinstance(y, np.ndarray):
        start, stop = address(buffer), address(buffer) + buffer.nbytes
        return start <= address(y) < stop
    return np.may_share_memory(y, buffer)


def address(array: Any) -> int:
    """The address of the first element, on the CPU or the GPU."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
