"""Pieces of arrays, joined and laid out in memory: the functions that `memory` is made of."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.machine.arrays import key_for, moved_to
from rmad.tracing.handlers import HANDLERS
from rmad.tracing.traced import Traced, stop

__all__ = [
    "are_consecutive",
    "at_place",
    "fitted",
    "gathered",
    "laid_as",
    "laid_out",
    "nothing",
    "number",
    "picked",
    "shape_at",
    "twin",
]


_NOTHING = np.zeros(())


def nothing(shape: tuple[int, ...]) -> Any:
    """An array of that shape, for its shape."""
    return np.broadcast_to(_NOTHING, shape)


def shape_at(shape: tuple[int, ...], key: Any) -> tuple[int, ...]:
    """The shape of y[key]."""
    return nothing(shape)[key].shape


def twin(y: Any) -> Any:
    """The array as an object that no user holds."""
    return y.twin() if isinstance(y, Traced) else y


def laid_as(y: Any, layout: Any) -> Any:
    """The array with its elements in memory in the order of `layout`: whether y.ravel() is a view depends on it."""
    if isinstance(y, Traced):
        return Traced(laid_as(y.value, layout), y.tape, y.index)
    if not isinstance(y, np.ndarray):
        return y
    if _is_in_c_order(layout):
        return y if y.flags.c_contiguous else y.copy()
    a = np.empty_like(layout, y.dtype)
    a[...] = y
    return a


def _is_in_c_order(a: Any) -> bool:
    steps = [abs(s) for s, n in zip(a.strides, a.shape, strict=True) if n > 1]
    return all(s >= t for s, t in itertools.pairwise(steps))


def number(y: Any) -> Any:
    """A number as NumPy's indexing gives it, no 0-d array."""
    if not isinstance(y, Traced):
        return y[()]
    return HANDLERS["getitem"](y, ()) if isinstance(stop(y), np.ndarray) else y


def _is_number(y: Any) -> bool:
    return type(y.value) is np.float64 or y.shape == () if isinstance(y, Traced) else y.ndim == 0


def at_place(piece: Any, index: tuple[Any, ...]) -> Any:
    return HANDLERS["getitem"](piece, tuple(map(int, index)))


def are_consecutive(ids: Any, start: int) -> bool:
    return bool(ids[0] == start and ids[-1] == start + len(ids) - 1 and np.all(ids[1:] == ids[:-1] + 1))


def fitted(v: Any, shape: tuple[int, ...]) -> Any:
    """v broadcast to the shape of what it is written to, with NumPy's error if it does not fit."""
    given = np.shape(v)
    if given == shape:
        return v
    extra = len(given) - len(shape)
    fits = extra <= 0 or set(given[:extra]) == {1}
    inner = given[max(extra, 0) :]
    if not fits or any(a not in (1, b) for a, b in zip(inner[::-1], shape[::-1], strict=False)):
        raise ValueError(f"could not broadcast input array from shape {_shown(given)} into shape {_shown(shape)}")
    return np.broadcast_to(np.reshape(v, inner) if extra > 0 else v, shape)


def _shown(shape: tuple[int, ...]) -> str:
    return str(tuple(map(int, shape))).replace(" ", "")


def laid_out(layout: Any) -> Any:
    """An array of integers of the shape of `layout`, whose axes lie in memory as those of it do."""
    a = stop(layout)
    shape, strides, size = a.shape, a.strides, a.itemsize
    if not a.size or a.flags.c_contiguous:
        return np.empty(shape, np.intp)
    if any(s % size or s == 0 for s, n in zip(strides, shape, strict=True) if n > 1):
        return np.empty(shape, np.intp)  # records, or one number many times: a new array has neither
    steps = [s // size if n > 1 else 1 for s, n in zip(strides, shape, strict=True)]
    first = -sum(s * (n - 1) for s, n in zip(steps, shape, strict=True) if s < 0)
    buffer = np.empty(sum(abs(s) * (n - 1) for s, n in zip(steps, shape, strict=True)) + 1, np.intp)
    strides = tuple(s * buffer.itemsize for s in steps)
    return np.lib.stride_tricks.as_strided(buffer[first:], shape, strides)


def gathered(pieces: Sequence[Any], starts: Sequence[int], where: Any) -> Any:
    """concatenate(pieces)[where], of the pieces that `where` names only."""
    ids = where.reshape(-1)
    if not ids.size:
        return np.reshape(pieces[0], -1)[:0].reshape(where.shape)
    of = np.searchsorted(starts, ids, "right") - 1
    used = np.flatnonzero(np.bincount(of, minlength=len(starts)))
    parts = [pieces[int(k)] for k in used]
    scalars = all(map(_is_number, parts))
    sizes = np.ones(len(parts), np.intp) if scalars else np.array([p.size for p in parts])
    shift = np.zeros(len(starts), np.intp)
    shift[used] = np.cumsum(sizes) - sizes - np.asarray(starts)[used]
    index = ids + shift[of]
    if scalars:
        whole = np.stack(parts)
    else:
        whole = np.concatenate([np.reshape(p, -1) for p in parts]) if len(parts) > 1 else np.reshape(parts[0], -1)
    return _taken(whole, index, where.shape)


def picked(pieces: Sequence[Any], starts: Sequence[int], where: Any) -> Any:
    """concatenate(pieces)[where] for few elements: of a large piece only these are read."""
    ids = where.reshape(-1)
    of = np.array([bisect_right(starts, k) - 1 for k in ids.tolist()])
    parts: list[Any] = []
    index, end = np.empty(len(ids), np.intp), 0
    for k in np.unique(of).tolist():
        mine = of == k
        piece, local = pieces[k], ids[mine] - starts[k]
        if piece.shape == ():
            part: Any = np.reshape(piece, (1,))
        elif piece.size <= 4 * len(local) + 16:
            part = np.reshape(piece, -1)
        else:
            part = HANDLERS["getitem"](piece, key_for(piece, np.unravel_index(local, piece.shape)))
            local = np.arange(len(local))
        index[mine] = end + local
        parts.append(part)
        end += part.size
    whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return _taken(whole, index, where.shape)


def _taken(whole: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """whole[index] in that shape; the whole itself if that is what the index says."""
    if len(index) != whole.size or not are_consecutive(index, 0):
        whole = HANDLERS["getitem"](whole, moved_to(whole, index))
    return np.reshape(whole, shape)
