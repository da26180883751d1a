"""What traced arrays hold that are views of each other and have been written into.

    y[key] = v     `where[key] = ids`: v is a new piece, and its elements have the next free numbers
    y[key]         the pieces that `where[key]` names; y itself is concatenate(pieces)[where]

`where` is an array of integers, laid out in memory as NumPy would lay out y. A view of y has a view of `where`, made by
NumPy from the same arguments; so what a write reaches, what is a view and what a copy, and which shapes fit are NumPy's
own answers. Few large writes of slices need no numbers: their pieces are put side by side as they come.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from rmad.keys import are_disjoint, is_basic
from rmad.tracing.handlers import HANDLERS
from rmad.tracing.traced import Traced, stop
from rmad.written.pieces import (
    are_consecutive,
    at_place,
    fitted,
    gathered,
    laid_as,
    laid_out,
    number,
    picked,
    shape_at,
    twin,
)

__all__ = ["Memory", "Place", "Step", "take"]

SLICES = 16  # at most so many writes are kept as slices
LARGE = 8  # a part of an array is large if it is an eighth of it

Step = tuple[Callable[..., Any], Any, Any]  # a function of NumPy and its further arguments: step(parent) is a view


def take(a: Any, key: Any) -> Any:
    """a[key], as a step from an array to its view."""
    return a[key]


class Place:
    """How one array lies in a memory: the root of it, or a view that a step has made of another array.

    parent: the array that it is a view of, None for the root. part: "real" or "imag" of complex numbers, or None.
    found, version: the array on the tape that it was last joined to, and the memory's count of writes then.
    """

    __slots__ = ("_layout", "_where", "found", "memory", "parent", "part", "step", "version")

    def __init__(self, memory: Memory, parent: Any = None, step: Step | None = None) -> None:
        self.memory, self.parent, self.step = memory, parent, step
        self._where: Any = None
        self._layout: Any = None
        self.found: Any = None
        self.version = -1
        self.part: str | None = None if parent is None else parent.place.part
        if step is not None and step[0] in _PARTS and parent.dtype.kind == "c":
            self.part = _PARTS[step[0]]

    def of(self, a: Any) -> Any:
        """Takes the same view of another array, which lies as the parent does."""
        f, args, kwargs = self.step  # type: ignore[misc]  # the root is never asked
        return f(a, *args, **kwargs)

    @property
    def where(self) -> Any:
        """The numbers of its elements, a view of those of the memory."""
        for place in self._from_known(lambda place: place._where is not None):
            if place.parent is None:
                place._where = self.memory.numbers()
            else:
                where = place.parent.place._where
                place._where = where if place.step[0] in _PARTS else place.of(where)  # type: ignore[index]
        return self._where

    @property
    def layout(self) -> Any:
        """A plain array that lies in memory as NumPy's would; its elements mean nothing."""
        for place in self._from_known(lambda place: place._layout is not None):
            place._layout = self.memory.layout if place.parent is None else place.of(place.parent.place._layout)
        return self._layout

    def _from_known(self, is_known: Callable[[Place], bool]) -> list[Place]:
        """Lists this place and those that it is a view of, up to the first that is known, in the order of the steps."""
        chain: list[Place] = []
        place: Place | None = self
        while place is not None and not is_known(place):
            chain.append(place)
            place = None if place.parent is None else place.parent.place
        return chain[::-1]

    def up(self, key: Any) -> tuple[Place, Any]:
        """The write of the whole of a slice, as the write of that slice of what it is a view of."""
        place = self
        while key is Ellipsis and place.step is not None and place.step[0] is take and place.part is None:
            key, place = place.step[1][0], place.parent.place
        return place, key


_PARTS: dict[Any, str] = {np.real: "real", np.imag: "imag"}


class Memory:
    """The pieces of an array, its root, and of the views of it.

    members: weak references to the arrays that lie in it. written: True after the first write.
    level: that of the tape on which the root was when it was first seen here.
    exposed: True if a plain array has been made of a blank one, without a copy.
    """

    __slots__ = (
        "_limit",
        "_where",
        "base",
        "exposed",
        "layout",
        "level",
        "members",
        "pieces",
        "slices",
        "starts",
        "total",
        "version",
        "written",
    )

    def __init__(self, root: Any, level: int) -> None:
        self.level = level
        self.members: list[weakref.ref[Any]] = [weakref.ref(root)]
        self._limit = 64
        self.written = False
        self.exposed = False
        self.version = 0
        self.base: Any = None  # the array before the writes that `slices` or `pieces` hold
        self.slices: list[tuple[Any, Any]] = []  # (key, v) of large writes to the root, not in `where` yet
        self.pieces: list[Any] | None = None
        self.starts: list[int] = []  # per piece the number of its first element
        self.total = 0  # the number that the next element gets
        self.layout: Any = None
        self._where: Any = None

    def add(self, member: Any) -> None:
        """Notes another array that lies here."""
        if len(self.members) >= self._limit:
            self.members = [m for m in self.members if m() is not None]
            self._limit = 2 * len(self.members) + 64
        self.members.append(weakref.ref(member))

    def alive(self) -> list[Any]:
        """The arrays that lie here and that somebody still holds."""
        return [a for m in self.members if (a := m()) is not None]

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, place: Place, key: Any, v: Any) -> None:
        """y[key] = v for the array y at that place, and a v of its dtype, which nobody writes into."""
        place, key = place.up(key)
        if self.pieces is None and place.parent is None and len(self.slices) < SLICES and is_basic(key):
            self.slices.append((key, fitted(v, shape_at(self.base.shape, key))))
            self.version += 1
            return
        self.place_by(place, v, lambda where, ids: where.__setitem__(key, ids))

    def place_by(self, place: Place, v: Any, writer: Callable[[Any, Any], None]) -> None:
        """Takes v as a new piece; writer(where, ids) puts the numbers of its elements where y takes them."""
        where = place.where
        if self.pieces is None:
            self._open()
        assert self.pieces is not None
        start = self.total
        shape = np.shape(v)
        if shape:
            size = v.size
            writer(where, np.arange(start, start + size).reshape(shape))
        else:
            size = 1
            writer(where, start)
        self.pieces.append(v)
        self.starts.append(start)
        self.total = start + size
        self.version += 1

    def set_number(self, place: Place, key: Any, v: Any) -> bool:
        """y[key] = v for one traced number of the dtype of y, in few steps; False if this is another case."""
        if self.pieces is None or type(v.value) is not self.base.dtype.type or place.part is not None:
            return False
        total = self.total
        place.where[key] = total
        self.pieces.append(v)
        self.starts.append(total)
        self.total = total + 1
        self.version += 1
        return True

    def numbers(self) -> Any:
        """`where` of the root."""
        if self._where is None:
            self._where = laid_out(self.layout)
        return self._where

    def _open(self) -> None:
        """Numbers the elements of the base, and the slices after them."""
        where, n = self.numbers(), self.base.size
        where[...] = np.arange(n).reshape(where.shape)
        self.pieces, self.starts, self.total = [self.base], [0], n
        for key, v in self.slices:
            size = v.size
            where[key] = np.arange(self.total, self.total + size).reshape(v.shape)
            self.pieces.append(v)
            self.starts.append(self.total)
            self.total += size
        self.slices = []

    # -- reading -------------------------------------------------------------------------------------------------

    def element(self, place: Place, key: Any) -> Any:
        """One number of y."""
        if self.pieces is None:
            if not self.slices:
                return number(HANDLERS["getitem"](self.now(place), key))
            self._open()
        assert self.pieces is not None
        i = int(place.where[key])
        k = bisect_right(self.starts, i) - 1
        piece = self.pieces[k]
        if type(piece) is Traced and type(piece.value) is np.float64 and place.part is None:
            return piece
        if piece.shape:
            piece = at_place(piece, np.unravel_index(i - self.starts[k], piece.shape))
        piece = number(piece)
        return piece if place.part is None else number(getattr(piece, place.part))

    def now(self, place: Place) -> Any:
        """The array at that place as it is now: on a tape, or plain if no derivative goes through it."""
        if place.version != self.version:
            if place.parent is not None:
                if self.slices and LARGE * place.layout.size <= self.base.size:
                    self._open()  # the slices would be joined to a whole array for a small part of it
                if self.pieces is not None and (y := self._selected(place)) is not None:
                    place.found, place.version = twin(laid_as(y, stop(place.layout))), self.version
                    return place.found
            for part in place._from_known(lambda part: part.version == self.version):
                part.found = self._joined() if part.parent is None else twin(part.of(part.parent.place.found))
                part.version = self.version
        return place.found

    def chosen(self, place: Place, key: Any) -> Any:
        """y[key] for a key with arrays in it, from the pieces, if it takes few of them; else None."""
        if place.version == self.version or place.part is not None or not (self.slices or self.pieces):
            return None
        where = place.where
        if self.pieces is None:
            self._open()
        chosen, pieces = where[key], cast("list[Any]", self.pieces)
        return picked(pieces, self.starts, chosen) if 0 < LARGE * chosen.size <= self.base.size else None

    def _joined(self) -> Any:
        """The root as an array of its own; it is the base of what is written from now on."""
        if self.pieces is not None:
            self.base = laid_as(twin(gathered(self.pieces, self.starts, self.numbers())), stop(self.layout))
            self.pieces = None
        elif self.slices:
            keys = [key for key, _ in self.slices]
            if len(keys) == 1 or are_disjoint(keys, self.base.shape):
                self.base = HANDLERS["assembled"](keys, self.base, [v for _, v in self.slices])
                self.slices = []
            else:
                self._open()
                return self._joined()
        return self.base

    def _selected(self, place: Place) -> Any:
        """The array at that place from its own pieces, if it is small; else None."""
        where = place.where
        if where.size == 0 or LARGE * where.size > self.base.size:
            return None
        ids = where.reshape(-1)
        low = bisect_right(self.starts, int(ids.min())) - 1
        high = bisect_right(self.starts, int(ids.max())) - 1
        pieces: Any = self.pieces
        if low == high:
            piece = pieces[low]
            assert place.step is not None  # the whole array is not small
            func, rest, _ = place.step
            if low == 0 and func is take and place.parent.place.parent is None:
                return HANDLERS["getitem"](self.base, rest[0]) if place.part is None else None
            if piece.shape == where.shape and are_consecutive(ids, self.starts[low]):
                return piece if place.part is None else getattr(piece, place.part)
        return picked(pieces, self.starts, where) if place.part is None else None
