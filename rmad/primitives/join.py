"""Several arrays into one, and one into several."""

from __future__ import annotations

from itertools import pairwise
from numbers import Number
from typing import Any

import numpy as np
from numpy import float64
from numpy.lib.array_utils import normalize_axis_index

from rmad.machine import arrays
from rmad.primitives.arguments import cast, known, refuse_out
from rmad.primitives.index import scatter
from rmad.rules import Primitive, as_array
from rmad.tapes.blocks import Block, LightNode
from rmad.tapes.fours import NUMBER
from rmad.tapes.tape import ArraySpec, added
from rmad.tracing.handlers import implements
from rmad.tracing.traced import Traced
from rmad.types import Array


class Part(Block):
    """y[key] = x for one of the arrays that make up y: push writes v to the key, pull reads u from it."""

    __slots__ = ("key",)

    def __init__(self, primitive, argnum, x, y, key) -> None:
        self.primitive, self.argnum, self.x, self.y, self.key = primitive, argnum, x, y, key

    def push(self, v) -> Array:
        v = v if v.dtype == self.y.dtype else v.astype(self.y.dtype)
        return scatter(v, self.key, self.y.shape)

    def push_add(self, v, total, owned) -> Any:
        """Adds into the sum so far, so that T parts of one array cost T parts, not T arrays."""
        if isinstance(v, Traced) or isinstance(total, Traced):
            term = self.push(v)
            return (term, True) if total is None else (total + term, True)
        if total is None:
            total = arrays.zeros(v, self.y.shape, self.y.dtype)
        elif not owned:
            total = total.copy()
        total[self.key] += v
        return total, True

    def push_stack(self, V) -> Array:
        V = V if V.dtype == self.y.dtype else V.astype(self.y.dtype)
        return scatter(V, self._stacked_key(), (len(V), *self.y.shape))

    def push_stack_add(self, V, total, owned) -> Any:
        if isinstance(V, Traced) or isinstance(total, Traced):
            return super().push_stack_add(V, total, owned)
        key = (slice(None), *self.key)
        if total is None:
            total = arrays.zeros(V, (len(V), *self.y.shape), self.y.dtype)
            total[key] = V
            return total, True
        if not owned:
            total = total.copy()
        total[key] += V
        return total, True

    def _stacked_key(self) -> Any:
        return (slice(None), *self.key)

    def pull(self, u) -> Array:
        return self._as_x(u[self.key])

    def pull_stack(self, U) -> Array:
        return self._as_x(U[self._stacked_key()])

    def _as_x(self, u) -> Array:
        if u.dtype == self.x.dtype:
            return u
        return (np.real(u) if self.x.dtype.kind != "c" else u).astype(self.x.dtype)


class Join(Primitive):
    """y = f(axis, x_0, x_1, …) with the arrays side by side: keys(axis, arrays) gives the place of each."""

    captures = False

    def __init__(self, f, keys, name) -> None:
        super().__init__(f, name)
        self.keys = keys

    def blocks(self, argnums, y, args, kwargs) -> list[Any]:
        spec = ArraySpec.of(y)
        keys = self.keys(args[0], args[1:])
        return [Part(self, k, ArraySpec.of(args[k]), spec, keys[k - 1]) for k in argnums]


def _intervals(axis, arrays) -> list[tuple[Any, ...]]:
    keys, start = [], 0
    for x in arrays:
        stop = start + x.shape[axis]
        keys.append((*(slice(None),) * axis, slice(start, stop)))
        start = stop
    return keys


_concatenate = Join(lambda axis, *arrays: np.concatenate(arrays, axis), _intervals, "concatenate")


def _stacked(axis, *arrays) -> Array:
    """np.stack; np.array makes the same of numbers of one kind in a tenth of the time."""
    return np.array(arrays) if {*map(type, arrays)} == _DOUBLES else np.stack(arrays, axis)


_DOUBLES = {np.float64}
_stack = Join(
    _stacked,
    lambda axis, arrays: [(*(slice(None),) * axis, k, ...) for k in range(len(arrays))],  # a view, scalars too
    "stack",
)


class Places:
    """An array of NumPy's with numbers in it that are to be traced, and the key of each of them."""

    def __init__(self, value, keys) -> None:
        self.value, self.keys = value, keys

    def filled(self, *parts) -> Array:
        y = self.value.copy(order="K")
        for key, part in zip(self.keys, parts, strict=True):
            y[key] = part
        return y


_array = Join(Places.filled, lambda places, parts: places.keys, "array")


@implements("array")
def array(value, keys, parts) -> Array:
    """y = value, and y[key] = x for each of the traced arrays x in `parts`."""
    return _array(Places(value, keys), *parts)


class NumbersNode(LightNode):
    """An array of numbers, of which those that are traced are the inputs; held: their places in C order."""

    __slots__ = ()

    def __init__(self, inputs, held, spec) -> None:
        self.primitive, self.inputs, self.held, self.spec = _array, inputs, held, spec

    def made(self) -> tuple[Block, ...]:
        keys = zip(*np.unravel_index(self.held, self.spec.shape), strict=True)
        return tuple([Part(_array, k, NUMBER, self.spec, (*map(int, key), ...)) for k, key in enumerate(keys, 1)])

    def push(self, v, stacked) -> Any:
        if self.held is None:
            return super().push(v, stacked)
        given = [(place, v[i]) for place, i in zip(self.held, self.inputs, strict=True) if v[i] is not None]
        if not all(_is_plain(v_i) for _, v_i in given):
            return super().push(v, stacked)
        if not given:
            return None
        rows: list[Any] = [(0.0,) * len(given[0][1]) if stacked else 0.0] * self.spec.size
        for place, v_i in given:
            rows[place] = v_i
        y, shape = np.array(rows).T, self.spec.shape
        return y if len(shape) == 1 else np.reshape(y, (*y.shape[:-1], *shape))

    def pull(self, u_j, u, owned, stacked) -> None:
        if self.held is None or not _is_plain(u_j):
            super().pull(u_j, u, owned, stacked)
            return
        u_j = np.reshape(u_j, (len(u_j), -1)).T if stacked else np.reshape(u_j, -1)
        for place, i in zip(self.held, self.inputs, strict=True):
            term = u_j[place]
            u[i], owned[i] = (term, False) if u[i] is None else added(term, u[i], owned[i])


def _is_plain(a) -> bool:
    return type(a) is tuple or (isinstance(a, np.ndarray | float64) and a.dtype is NUMBER.dtype)


@implements("numbers")
def numbers(make, x, args, kwargs) -> Any:
    """make(x, *args, **kwargs) of a list of numbers, or of lists of them, recorded in one go; None if x is not that.

    make: np.array or one of its kin.
    """
    rows = x if type(x[0]) is list else [x]
    width = len(rows[0])
    tape, shape = None, (len(rows), width) if rows is x else (width,)
    inputs: list[int] = []
    places: list[int] = []
    values: list[Any] = []
    for row in rows:
        if type(row) is not list or len(row) != width:
            return None
        for a in row:
            kind = type(a)
            if kind is Traced:
                if type(a.value) is not float64 or (a.tape is not tape and tape is not None):
                    return None
                tape = a.tape
                inputs.append(a.index)
                places.append(len(values))
                a = a.value
            elif kind is not float and kind is not float64 and kind is not int:
                return None
            values.append(a)
    if tape is None:
        return None
    if rows is x:
        values = [values[k : k + width] for k in range(0, len(values), width)]
    y = make(values, *args, **kwargs)
    if type(y) is not np.ndarray or y.dtype is not NUMBER.dtype or y.shape != shape:
        return None
    return Traced(y, tape, tape.append(NumbersNode(tuple(inputs), tuple(places), ArraySpec.of(y))))


def _together(parts: list[Any]) -> list[Any]:
    """The arrays, with the numbers among them on the device of the others."""
    if (like := arrays.sample(parts)) is arrays.ON_THE_CPU:
        return parts
    return [arrays.moved_to(like, a) if isinstance(a, np.ndarray | np.generic) and a.size == 1 else a for a in parts]


@implements(*{np.concatenate, *known("concat")})
def concatenate(arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind") -> Array:
    refuse_out(out)
    if axis is None and dtype is None:  # Python's numbers take the dtype of the others
        dtype = np.result_type(*[a if hasattr(a, "dtype") or isinstance(a, Number) else np.asarray(a) for a in arrays])
    arrays = _together([cast(a, dtype, casting) for a in arrays])
    if axis is None:
        arrays, axis = [np.ravel(a) for a in arrays], 0
    return _concatenate(normalize_axis_index(axis, arrays[0].ndim), *arrays)


@implements(np.stack)
def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind") -> Array:
    refuse_out(out)
    plain = type(arrays) is list and arrays and axis == 0 and dtype is None
    if plain and (y := numbers(np.array, arrays, (), {})) is not None:
        return y
    if dtype is not None or not {*map(type, arrays)} <= _ARRAYS:
        arrays = [cast(a, dtype, casting) for a in arrays]
    return _stack(axis and normalize_axis_index(axis, arrays[0].ndim + 1), *arrays)


_ARRAYS = {Traced, np.ndarray, np.float64}  # most of what is stacked, which need not be made arrays


def _each(f, arrays) -> list[Array]:
    return [f(as_array(a)) for a in arrays]


@implements(np.vstack)
def vstack(tup, *, dtype=None, casting="same_kind") -> Array:
    return concatenate(_each(np.atleast_2d, tup), dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup, *, dtype=None, casting="same_kind") -> Array:
    arrays = _each(np.atleast_1d, tup)
    return concatenate(arrays, axis=0 if arrays[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup) -> Array:
    return concatenate(_each(np.atleast_3d, tup), axis=2)


@implements(np.column_stack)
def column_stack(tup) -> Array:
    return concatenate(_each(lambda a: a if a.ndim >= 2 else np.reshape(a, (-1, 1)), tup), axis=1)


@implements(np.append)
def append(arr, values, axis=None) -> Array:
    arr, values = as_array(arr), as_array(values)
    return concatenate([np.ravel(arr), np.ravel(values)] if axis is None else [arr, values], axis=axis or 0)


@implements(np.block)
def block(arrays) -> Array:
    """Nested lists: the innermost are joined along the last axis, the next along the one before, …"""
    depth, ndim = _depth(arrays), _most_axes(arrays)
    ndim = max(depth, ndim)

    def join(part, level) -> Array:
        if not isinstance(part, list):
            a = as_array(part)
            return np.reshape(a, (1,) * (ndim - a.ndim) + tuple(a.shape)) if a.ndim < ndim else a
        return concatenate([join(p, level + 1) for p in part], axis=level - depth + ndim)

    return join(arrays, 0)


def _depth(part) -> int:
    if not isinstance(part, list):
        return 0
    if not part:
        raise ValueError("block: a list of blocks is empty")
    depths = {_depth(p) for p in part}
    if len(depths) > 1:
        raise ValueError(f"block: lists are nested to different depths {sorted(depths)}")
    return 1 + depths.pop()


def _most_axes(part) -> int:
    return max(_most_axes(p) for p in part) if isinstance(part, list) else as_array(part).ndim


# -- and back -----------------------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary, indices_or_sections, axis=0) -> list[Array]:
    """Slices between the given indices, or of as equal a length as can be."""
    axis = normalize_axis_index(axis, ary.ndim)
    n = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        parts = int(indices_or_sections)
        if parts <= 0:
            raise ValueError(f"array_split: the number of sections must be positive, not {parts}")
        size, longer = divmod(n, parts)
        cuts = [k * size + min(k, longer) for k in range(parts + 1)]
    else:
        cuts = [0, *indices_or_sections, n]
    lead = (slice(None),) * axis
    return [ary[(*lead, slice(a, b))] for a, b in pairwise(cuts)]


@implements(np.split)
def split(ary, indices_or_sections, axis=0) -> list[Array]:
    if np.ndim(indices_or_sections) == 0 and ary.shape[axis] % indices_or_sections:
        raise ValueError(f"split: {ary.shape[axis]} elements along axis {axis} into {indices_or_sections} equal parts")
    return array_split(ary, indices_or_sections, axis)


def _need_axes(name, ary, ndim) -> None:
    if ary.ndim < ndim:
        raise ValueError(f"{name}: the array has shape {ary.shape}, {ndim} axes or more are needed")


@implements(np.hsplit)
def hsplit(ary, indices_or_sections) -> list[Array]:
    _need_axes("hsplit", ary, 1)
    return split(ary, indices_or_sections, axis=1 if ary.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary, indices_or_sections) -> list[Array]:
    _need_axes("vsplit", ary, 2)
    return split(ary, indices_or_sections, axis=0)


@implements(np.dsplit)
def dsplit(ary, indices_or_sections) -> list[Array]:
    _need_axes("dsplit", ary, 3)
    return split(ary, indices_or_sections, axis=2)


@implements(*known("unstack"))
def unstack(x, /, *, axis=0) -> tuple[Array, ...]:
    axis = normalize_axis_index(axis, x.ndim)
    return tuple(x[(*(slice(None),) * axis, k)] for k in range(x.shape[axis]))
