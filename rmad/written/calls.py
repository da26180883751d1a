"""Calls of arrays that may have been written into, and calls that write: ufunc.at, out=, where=, x.flat."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rmad.errors.refusals import written_out
from rmad.machine import arrays
from rmad.tracing.handlers import HANDLERS, VIEWS, writing
from rmad.tracing.loops import fitting
from rmad.tracing.traced import Traced, parts, stop
from rmad.types import Array
from rmad.written.arrays import Blank, blank, fresh, settled
from rmad.written.assignment import plain_key, write_by
from rmad.written.viewers import copies, is_of_many, of_one
from rmad.written.views import seen_by, seen_by_many

__all__ = ["WRITERS", "Flat"]

WRITERS = frozenset(
    (np.copyto, np.fill_diagonal, np.nan_to_num, np.place, np.put, np.put_along_axis, np.putmask)  # with copy=False
)
"""Functions that write into their first argument."""


def ufunc(call: np.ufunc, method: str, inputs: Any, kwargs: dict[str, Any]) -> Any:
    """A ufunc of arrays that may have been written into."""
    if method == "at":
        return at(call, *inputs)
    out = kwargs.pop("out", ())
    for name in ("array", "indices"):  # of methods; NumPy has them among the inputs, too
        kwargs.pop(name, None)
    inputs, kwargs = settled(inputs), settled(kwargs)
    if any(a is not None for a in out):
        return into(getattr(call, method), inputs, kwargs, out)
    return fresh(getattr(call, method)(*inputs, **kwargs))


def function(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A function of NumPy of arrays that may have been written into."""
    if func in WRITERS and (func is not np.nan_to_num or not copies(args, kwargs)):
        return HANDLERS[func](*args, **kwargs)
    if (out := kwargs.pop("out", None)) is not None:
        return into(func, args, kwargs, out)
    if func in VIEWS:
        if is_of_many(func, args, kwargs):
            return seen_by_many(func, args, kwargs)
        if (one := of_one(func, args, kwargs)) is not None and one[0].settles:
            return seen_by(*one)
    return fresh(func(*settled(args), **settled(kwargs)))


def at(ufunc: np.ufunc, a: Any, indices: Any, b: Any = None) -> None:
    """ufunc.at(a, indices, b): a[indices] = ufunc(a[indices], b) one place after the other."""
    key = plain_key(indices)
    b = None if b is None else _array(settled(b))
    if not isinstance(a, Traced):
        if not isinstance(b, Traced):
            ufunc.at(a, key, *() if b is None else (b,))
            return
        instead = "an array made by np.zeros_like(x, shape=…)"
        raise b.tape.loses(written_out(f"{ufunc.__name__}.at", "a plain one", instead))
    if isinstance(a, Blank) and isinstance(a.value, np.ndarray) and not isinstance(b, Traced):
        ufunc.at(a.value, key, *() if b is None else (b,))
        return
    places = np.arange(a.size).reshape(a.shape)[arrays.on_the_cpu(key)]
    if b is not None:
        b = np.broadcast_to(arrays.moved_to(a, b), places.shape)
    if ufunc in (np.add, np.subtract):
        a[...] = fitting(ufunc, HANDLERS["added"](a.now(), b if ufunc is np.add else -b, arrays.key_for(a, key)), a)
        return
    places = places.reshape(-1)
    b = None if b is None else np.reshape(b, -1)
    turns = _turns(places)
    flat = a.flat
    for turn in range(int(turns.max(initial=-1)) + 1):  # a place that comes again waits for the next turn
        now = np.flatnonzero(turns == turn)
        y = ufunc(flat[places[now]], *() if b is None else (b[arrays.moved_to(b, now)],))
        flat[places[now]] = y


def _turns(places: Array) -> Array:
    """For each place, how often it came before."""
    order = np.argsort(places, kind="stable")
    found = places[order]
    first = np.flatnonzero(np.r_[True, found[1:] != found[:-1]]) if len(found) else found
    turns = np.empty_like(places)
    turns[order] = np.arange(len(places)) - np.repeat(first, np.diff(np.append(first, len(found))))
    return turns


def into(call: Any, args: Any, kwargs: dict[str, Any], target: Any) -> Any:
    """call(*args, out=target) with the result written into target, an array or a tuple of arrays and None."""
    args = settled(args)
    where = kwargs.pop("where", True) if isinstance(getattr(call, "__self__", None), np.ufunc) else True
    targets = target if isinstance(target, tuple) else (target,)
    traced = any(isinstance(a, Traced) for a in (*parts(args), *parts(kwargs.values())))
    plain = next((t for t in targets if t is not None and not isinstance(t, Traced)), None)
    if plain is not None and (traced or any(isinstance(t, Traced) for t in targets)):
        if not any(isinstance(a, Traced) for a in (*targets, *parts((call(*args, **kwargs),)))):  # a constant
            options = {} if where is True else {"where": stop(where)}
            return call(*stop(args), **stop(kwargs), **options, out=target)
        if where is True and len(targets) == 1:

            def result() -> Any:
                return fitting(getattr(call, "__self__", call), _array(call(*args, **kwargs)), plain)

            if (y := writing.in_place(sys._getframe(1), plain, result)) is not None:
                return y
        raise _tape(args, kwargs, targets).loses(
            written_out(_name(call), "`out=`, y += x", "y = y + x, or make y by np.zeros_like(x, shape=…)")
        )
    if where is not True:
        _into_where(call, args, kwargs, stop(where), targets)
        return targets if len(targets) > 1 else targets[0]
    found = call(*args, **kwargs)
    results = found if isinstance(found, tuple) else (found,)
    for t, y in zip(targets, results, strict=True):
        if t is not None:
            y = _array(y)
            if y.shape != t.shape and isinstance(getattr(call, "__self__", None), np.ufunc):
                y = np.broadcast_to(y, np.broadcast_shapes(y.shape, t.shape))
            t[...] = fitting(getattr(call, "__self__", call), y, t)
    given = tuple(y if t is None else t for t, y in zip(targets, results, strict=True))
    return given if isinstance(found, tuple) else given[0]


def _array(a: Any) -> Any:
    return a if hasattr(a, "dtype") else np.asarray(a)[()]


def _tape(args: Any, kwargs: dict[str, Any], targets: Any) -> Any:
    return next(a for a in (*parts(args), *parts(kwargs.values()), *targets) if isinstance(a, Traced)).tape


def _name(call: Any) -> str:
    return getattr(call, "__self__", call).__name__


def _into_where(call: Any, args: Any, kwargs: dict[str, Any], where: Any, targets: Any) -> None:
    """The ufunc where the mask says, written there; no number elsewhere takes part, not even in a derivative."""
    shapes = [np.shape(a) for a in args]
    shape = np.broadcast_shapes(*shapes, np.shape(where), *(t.shape for t in targets if t is not None))
    mask = np.broadcast_to(where, shape)
    found = call(*(np.broadcast_to(_array(a), shape)[mask] for a in args), **kwargs)
    for t, y in zip(targets, found if isinstance(found, tuple) else (found,), strict=True):
        if t is not None:
            if t.shape != shape:
                raise ValueError(
                    f"non-broadcastable output operand with shape {t.shape} doesn't match the broadcast shape {shape}"
                )
            if not np.can_cast(y.dtype, t.dtype, "same_kind"):
                fitting(call.__self__, np.broadcast_to(y[:1], t.shape), t)
            t[mask] = y


def where(ufunc: np.ufunc, inputs: Any, kwargs: dict[str, Any]) -> Any:
    """ufunc(*inputs, where=mask) without `out`: zero where NumPy leaves what was in memory."""
    mask = kwargs.pop("where")
    inputs = settled(inputs)
    shape = np.broadcast_shapes(*map(np.shape, inputs), np.shape(mask))
    found = ufunc(*(np.broadcast_to(_array(a), shape)[np.broadcast_to(stop(mask), shape)] for a in inputs), **kwargs)
    results = found if isinstance(found, tuple) else (found,)
    ys = tuple(blank(arrays.zeros(y, shape, y.dtype)) for y in results)
    for t, y in zip(ys, results, strict=True):
        t[np.broadcast_to(stop(mask), shape)] = y
    given = tuple(settled(t) for t in ys)
    return given if isinstance(found, tuple) else given[0]


class Flat:
    """x.flat: the numbers of a traced array one after the other, in C order, to be read and written."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Any:
        return iter(np.ravel(self.base))

    def __getitem__(self, key: Any) -> Any:
        y = np.ravel(self.base)[arrays.key_for(self.base, key)]
        return y.copy() if np.ndim(y) else y

    def __setitem__(self, key: Any, value: Any) -> None:
        key = arrays.on_the_cpu(plain_key(key))
        write_by("x.flat[key] = v", self.base, value, lambda a, v: a.flat.__setitem__(key, v))

    def copy(self) -> Any:
        return self.base.flatten()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*_copied(inputs), **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return func(*_copied(args), **kwargs)


def _copied(a: Any) -> Any:
    """Arguments, in lists too, with an array for each x.flat."""
    if isinstance(a, Flat):
        return a.copy()
    return type(a)(map(_copied, a)) if type(a) in (list, tuple) else a


writing.ufunc, writing.function, writing.flat = ufunc, function, Flat
writing.at, writing.into, writing.where = at, into, where
