"""np.ndenumerate and np.nditer while something is recorded: of traced arrays, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rmad.as_written.lists import Numbers, as_array, holds_traced
from rmad.errors.refusals import numpys_only
from rmad.tracing.traced import Traced, on_gpu, stop
from rmad.written import blank

__all__ = ["Enumerating", "Iterating"]


class Enumerating(np.ndenumerate):  # type: ignore[type-arg]
    """np.ndenumerate while something is recorded: of a traced array, too."""

    def __init__(self, arr: Any) -> None:
        if holds_traced(arr):
            self.iter: Any = _Elements(_array(arr))
        else:
            super().__init__(arr)


def _array(a: Any) -> Any:
    return a if isinstance(a, Traced) else as_array(a)


class _Elements:
    """The iterator over the elements of a traced array that knows the place of the next."""

    def __init__(self, x: Any) -> None:
        self._x, self._places = x, np.ndindex(x.shape)
        self.coords = next(self._places, ())
        self._left = x.size

    def __next__(self) -> Any:
        if not self._left:
            raise StopIteration
        now, self._left = self._x[self.coords], self._left - 1
        self.coords = next(self._places, ())
        return now


_UNDERSTOOD = {"c_index", "f_index", "multi_index", "refs_ok", "zerosize_ok", "copy_if_overlap"}
_NUMPYS = np.nditer


class Iterating:
    """np.nditer of traced arrays: NumPy iterates over arrays of places, which lie in memory as the operands do.

    An operand that may be written into gives views of no axes, any other numbers; None is a new array. With other
    options, such as `buffered`, it is an error.
    """

    def __new__(cls, op: Any, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls) if Numbers(op).found else _NUMPYS(_plain(op), *args, **kwargs)

    def __init__(self, op: Any, flags: Any = (), op_flags: Any = None, **options: Any) -> None:
        if on_gpu(op if isinstance(op, list | tuple) else [op]):
            raise numpys_only("numpy.nditer")
        given = list(op) if isinstance(op, list | tuple) else [op]
        if isinstance(op, list | tuple) and not any(a is None or np.ndim(a) for a in given):
            given = [op]  # a list of numbers
        if (unknown := set(flags) - _UNDERSTOOD) or not options.keys() <= {"order"}:
            names = ", ".join([*sorted(map(repr, unknown)), *(f"{name}=" for name in options)])
            raise NotImplementedError(f"np.nditer of traced arrays does without {names}; use a loop over x.flat")
        shape = np.broadcast_shapes(*(np.shape(a) for a in given if a is not None))
        self.operands = tuple(blank(np.zeros(shape)) if a is None else _array(a) for a in given)
        modes = [["readonly"]] * len(given) if op_flags is None else op_flags
        modes = [modes] * len(given) if modes and isinstance(modes[0], str) else modes
        self._writes = [a is None or "readonly" not in mode for a, mode in zip(given, modes, strict=True)]
        self._it = _NUMPYS(list(map(_places, self.operands)), flags, [["readonly"]] * len(given), **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._it, name)  # finished, iternext, multi_index, index, itersize, shape, reset, …

    def __len__(self) -> int:
        return len(self.operands)

    def __getitem__(self, k: int) -> Any:
        operand = self.operands[k]
        place = np.unravel_index(int(self._it[k]), operand.shape)
        return operand[(*place, ...)] if self._writes[k] else operand[place]

    @property
    def value(self) -> Any:
        found = tuple(self[k] for k in range(len(self.operands)))
        return found if len(found) > 1 else found[0]

    def __iter__(self) -> Iterator[Any]:
        while not self._it.finished:
            yield self.value
            self._it.iternext()

    def __enter__(self) -> Iterating:
        return self

    def __exit__(self, *_: Any) -> None:
        self._it.close()


def _plain(op: Any) -> Any:
    """Arrays that may be written into, but are constant as yet, as NumPy's."""
    return [_plain(a) for a in op] if isinstance(op, list | tuple) else np.asarray(op) if holds_traced(op) else op


def _places(x: Any) -> Any:
    """0, 1, 2, … in the shape of x, in memory that is laid out as that of x is: it gives the order of iteration."""
    a = stop(x)
    forward: Any = (*(slice(None, None, -1 if step < 0 else 1) for step in a.strides), ...)
    places = np.empty_like(a[forward], dtype=np.intp, subok=False)[forward]
    places[...] = np.arange(a.size).reshape(a.shape)
    return places
