"""Plain arrays that a function uses with traced ones, and that its tape needs as they were: copied, or watched.

    s = s + np.sum(buffer * x)          the block of multiply is diag(buffer): it must not see what comes next
    buffer[:] = …

An array of up to `tuning.CAPTURED_COPY` bytes is copied at each use. A larger one is kept as it is and watched: while
f runs it is read-only, so that NumPy refuses to write into it, and samples of it are compared when f returns and
before every later product. Either the derivative is right, or one ValueError names the array.
"""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from rmad import tuning
from rmad.machine.backend import is_cupy
from rmad.tapes.frozen import freeze, is_constant, names_in, thaw
from rmad.types import Array

__all__ = ["Captured"]

LINE = 64  # bytes that a sample takes in: a cache line costs as much as one number in it
_NO_ARRAYS = frozenset((int, float, complex, bool, str, type(None), slice, type(...), np.float64, np.float32))


class Watched(NamedTuple):
    """An array that is kept by reference: the array, or a weak reference to it; samples of it; words for it."""

    array: Callable[[], Array | None]
    sample: bytes
    words: object


class Use(NamedTuple):
    """Words for an array that a primitive has used; str(use) makes them."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    primitive: str

    def __str__(self) -> str:
        name = f"np.{self.primitive}" if hasattr(np, self.primitive) else self.primitive
        return f"{self.dtype}{list(self.shape)}, used by {name}"


class Copied:
    """A copy, a weak reference to the array that it is of, and, from the second use on, the bytes of both."""

    __slots__ = ("array", "bytes", "copy")

    def __init__(self, array: Array) -> None:
        self.array, self.copy = weakref.ref(array), array.copy(order="K")
        self.bytes: bytes | None = None

    def is_of(self, a: Array) -> bool:
        """True if a is that array, and holds what it held."""
        if self.array() is not a:
            return False
        if self.bytes is None:
            self.bytes = self.copy.tobytes()
        return a.tobytes() == self.bytes


class Captured:
    """The plain arrays that the blocks of one tape need.

    keep(a, user)   a, or a copy of it, for a block to hold; user: the primitive that uses it, for messages
    release()       f has returned: its arrays are its own again
    verify(held)    ValueError if an array that is held by reference has changed; held: a → True if a block holds it
    watches         False if the caller knows that nobody writes into large arrays once f has returned
    """

    __slots__ = ("_copies", "_frozen", "_thawed", "watched", "watches")

    def __init__(self) -> None:
        self.watches = True
        self._copies: dict[int, Copied] = {}
        self._frozen: dict[int, tuple[Array, Use]] = {}
        self._thawed: list[Array] = []
        self.watched: dict[int, Watched] = {}

    # -- while f runs ------------------------------------------------------------------------------------------

    def kept(self, args: Sequence[Any], argnums: Sequence[int], user: str, own: bool) -> Sequence[Any]:
        """The arguments of a primitive as its blocks may hold them; argnums: those that are traced."""
        new: list[Any] | None = None
        for k, a in enumerate(args):
            if k in argnums or type(a) in _NO_ARRAYS or (type(a) is tuple and _no_arrays(a)):
                continue
            b = self.keep(a, user, own)
            if b is not a:
                new = list(args) if new is None else new
                new[k] = b
        return args if new is None else new

    def keep(self, a: Any, user: str, own: bool = False) -> Any:
        """a as a block may hold it; arrays in lists, tuples and dicts too.

        own: True if the block holds the array itself and no view of it, so that it need not be kept alive here.
        """
        if isinstance(a, np.ndarray):
            return self.array(a, user, own)
        if hasattr(a, "tape"):  # traced by an outer tape
            y = a.now()
            return y.twin() if hasattr(y, "tape") else self.keep(y, user, own)
        if isinstance(a, list | tuple | dict):
            return self._container(a, user)
        if is_cupy(a):
            return a.copy() if a.nbytes <= tuning.CAPTURED_COPY else a
        if hasattr(a, "tocsr") and isinstance(getattr(a, "data", None), np.ndarray):  # a sparse matrix of SciPy's
            if a.data.nbytes <= tuning.CAPTURED_COPY:
                return a.copy()
            self.watch(a.data, Use(a.data.dtype, a.data.shape, user), own=True)
        return a

    def array(self, a: Array, user: str, own: bool) -> Array:
        """`keep` for an array of NumPy's."""
        size = a.nbytes
        if size > tuning.CAPTURED_COPY:
            if not is_constant(a):
                self._freeze(a, user, own)
            return a
        if size <= tuning.CAPTURED_COPY_EACH or a.dtype.hasobject:
            return a.copy(order="K")
        known = self._copies.get(id(a))
        if known is None or not known.is_of(a):
            known = self._copies[id(a)] = Copied(a)
        return known.copy

    def _container(self, a: Any, user: str) -> Any:
        kept = [self.keep(part, user) for part in (a.values() if isinstance(a, dict) else a)]
        if isinstance(a, dict):
            return dict(zip(a, kept, strict=True))
        return kept if isinstance(a, list) else type(a)(*kept) if hasattr(a, "_fields") else tuple(kept)

    def _freeze(self, a: Array, user: str, own: bool) -> None:
        """Watches a, and makes it read-only while f runs, with the array that it is another shape of."""
        if id(a) in self._frozen:
            return
        known = self.watched.get(id(a))
        if known is not None and known.array() is a:
            if sample(a) != known.sample:
                raise _changed(known)
            return
        given = [a, *_same_memory(a)]  # a handler may have reshaped the array that f knows
        words = Use(a.dtype, given[-1].shape, user)
        if self.watches:
            self.watch(a, words, own)
        for array in given:
            if id(array) not in self._frozen:
                self._frozen[id(array)] = array, words  # first: an interrupt must not leave it read-only
                if not freeze(array):
                    del self._frozen[id(array)]

    def watch(self, a: Array, words: object, own: bool) -> None:
        """Notes samples of a; words: what to call it."""
        self.watched[id(a)] = Watched(weakref.ref(a) if own else lambda: a, sample(a), words)

    def refused_write(self, error: BaseException) -> ValueError | None:
        """The error to raise in place of NumPy's `assignment destination is read-only`, if f met it at our arrays."""
        if not (self._frozen and _READ_ONLY.search(str(error))):
            return None
        frozen = list(self._frozen.values())
        found = [f"`{name}`, {use}" for a, use in frozen for name in names_in(error.__traceback__, a)]
        found = found or [str(use) for _, use in frozen[-3:]]
        return ValueError(
            f"f writes into an array that it has used with a traced one, {' or '.join(found)}: the derivative needs "
            "its values. Write into a copy, or make a new array for each use"
        )

    # -- when f has returned, and before every product -----------------------------------------------------------

    @property
    def has_to_release(self) -> bool:
        return bool(self._copies or self._frozen)

    def release(self) -> None:
        self._copies.clear()
        while self._frozen:
            key, (a, _) = next(reversed(self._frozen.items()))
            thaw(a)
            self._thawed.append(a)
            del self._frozen[key]

    def give_back(self, results: Sequence[Any]) -> None:
        """Makes those of f's results writable that were made as views of arrays while these were read-only."""
        while self._thawed:
            a = self._thawed.pop()
            for view in results:
                if isinstance(view, np.ndarray) and not view.flags.writeable and view.base is a and a.flags.writeable:
                    view.flags.writeable = True

    def verify(self, held: Callable[[Array], bool]) -> None:
        for key, watched in list(self.watched.items()):
            a = watched.array()
            if a is None:
                self.watched.pop(key, None)
            elif sample(a) != watched.sample:
                if held(a):
                    raise _changed(watched)
                self.watched.pop(key, None)

    def forget_unheld(self, held: Callable[[Array], bool]) -> None:
        """Watches no longer what no block holds."""
        for key, watched in list(self.watched.items()):
            a = watched.array()
            if a is None or not held(a):
                self.watched.pop(key, None)


_READ_ONLY = re.compile(r"read-?only|writ(e)?able|read-write", re.IGNORECASE)


def _no_arrays(parts: tuple[Any, ...]) -> bool:
    """True for a shape, axes, a key of slices."""
    return _NO_ARRAYS.issuperset(map(type, parts))


def _same_memory(a: Array) -> list[Array]:
    """Other arrays of just the memory of a: its base, and what our handlers on the stack were given, by f at last."""
    if a.base is None:
        return []
    found: list[Array] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("rmad."):
        for b in frame.f_locals.values():
            if isinstance(b, np.ndarray) and b is not a and b.nbytes == a.nbytes and np.may_share_memory(a, b):
                found.append(b)
        frame = frame.f_back
    if isinstance(a.base, np.ndarray) and a.base.nbytes == a.nbytes:
        found.append(a.base)
    return found


def _changed(watched: Watched) -> ValueError:
    return ValueError(
        f"{watched.words}, has been written into since, and the derivative needs its former values; write into a copy, "
        "or make a new array for each use (x = x + 1, not x += 1)"
    )


# -- samples ---------------------------------------------------------------------------------------------------------


def sample(a: Array) -> bytes:
    """Lines of 64 bytes spread over the whole array: one in each of up to 1024 equal stretches."""
    flat = a.reshape(-1) if a.flags.c_contiguous else a.T.reshape(-1) if a.flags.f_contiguous else None
    width = LINE // a.itemsize
    if flat is None or not width or a.dtype.hasobject:
        return a[_places(a.shape, _count(a.nbytes // LINE))].tobytes()
    lines = len(flat) // width
    found = flat[: lines * width].reshape(lines, width).take(_stretches(lines, _count(lines)), axis=0)
    return found.tobytes() + flat[lines * width :].tobytes()


def _count(lines: int) -> int:
    return min(max(lines // 128, 64), 1024, lines)


@lru_cache(maxsize=256)
def _stretches(n: int, count: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """A random number from each of `count` equal stretches of 0 … n − 1: a step would miss a column."""
    inside = np.random.default_rng(0).random(count)
    return ((np.arange(count) + inside) * (n / count)).astype(np.intp)


@lru_cache(maxsize=64)
def _places(shape: tuple[int, ...], count: int) -> tuple[Any, ...]:
    size = int(np.prod(shape))
    return np.unravel_index(_stretches(size, min(count, size)), shape)
