"""Selection: y = x[key], in every form that NumPy knows, and the functions that reduce to it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy import float64
from numpy.lib.array_utils import normalize_axis_index

from rmad import tuning
from rmad.keys import is_basic, is_mask
from rmad.machine import arrays
from rmad.primitives.arguments import cast, refuse_out, stacked
from rmad.rules import LinearPrimitive, as_array, linear
from rmad.tapes.blocks import Block, LightNode, Linear
from rmad.tapes.fours import NUMBER, of_four
from rmad.tapes.tape import ArraySpec
from rmad.tracing.handlers import implements, register
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed
from rmad.types import Array
from rmad.written import plain_key

# -- x[key] ---------------------------------------------------------------------------------------------


def scatter_add(total, key, u) -> None:
    """total[key] += u in place; an element that the key names several times gets every share."""
    if type(key) is int or type(key) is slice:
        total[key] += u
        return
    parts = key if isinstance(key, tuple) else (key,)
    if is_basic(key) or all(is_mask(p) or is_basic(p) for p in parts):
        total[key] += u
    elif isinstance(total, np.ndarray) and total.flags.c_contiguous and np.size(u):
        _scatter_add_numpy(total, parts, u)
    else:
        arrays.add_at(total, key, u)


def _scatter_add_numpy(total, key, u) -> None:
    """np.add.at is quick on vectors only: rows go through a sparse matrix of ones, the rest over flat positions."""
    u = np.asarray(u)
    row = key[0]
    by_rows = len(key) == 1 and total.ndim > 1 and row.ndim and total.dtype.char in "fdFD"  # as SciPy has them
    if by_rows and total.size <= 8 * u.size:
        from scipy.sparse import csc_array  # importing it takes longer than importing rmad

        width = total.size // total.shape[0] if total.shape[0] else 0
        row = row.astype(np.intp, copy=False)  # bytes cannot be added to a length
        rows = np.where(row < 0, row + total.shape[0], row).reshape(-1)
        n = rows.size
        ones = csc_array((np.ones(n, total.dtype), rows, np.arange(n + 1)), shape=(total.shape[0], n))
        total += (ones @ u.reshape(n, width)).reshape(total.shape)
    elif total.ndim > 1 and total.size <= 8 * u.size:
        places = np.arange(total.size).reshape(total.shape)[key]
        arrays.add_at(total.reshape(-1), places.reshape(-1), np.broadcast_to(u, places.shape).reshape(-1))
    else:
        arrays.add_at(total, key if len(key) != 1 else key[0], u)


def _behind_stack(key) -> Any:
    """The key that selects from every array of a stack, (k, *x.shape); None if NumPy would move the first axis."""
    if type(key) is int:
        return slice(None), key
    parts = key if isinstance(key, tuple) else (key,)
    if not is_basic(key):
        places = [k for k, p in enumerate(parts) if not (p is None or p is Ellipsis or isinstance(p, slice))]
        if places[-1] - places[0] >= len(places) or any(is_mask(p) and np.ndim(p) == 0 for p in parts):
            return None
    return (slice(None), *parts)


class Index(Linear):
    """y = x[key]. The pull adds into the sum so far, so T slices of one array cost T slices, not T arrays."""

    def push_stack(self, V) -> Array:
        key = _behind_stack(self.args[1])
        return super().push_stack(V) if key is None else V[key]

    def pull_stack_add(self, U, total, owned) -> Any:
        if isinstance(U, Traced) or isinstance(total, Traced):
            return super().pull_stack_add(U, total, owned)
        if U.dtype.kind == "c" and self.x.dtype.kind != "c":
            U = np.real(U)
        if total is None:
            total = arrays.zeros(U, (len(U), *self.x.shape), self.x.dtype)
        elif not owned:
            total = total.copy()
        key = _behind_stack(self.args[1])
        if key is not None:
            scatter_add(total, key, U)
        else:
            for part, u in zip(total, U, strict=True):
                scatter_add(part, self.args[1], u)
        return total, True

    def pull_add(self, u, total, owned) -> Any:
        if isinstance(u, Traced) or isinstance(total, Traced) or not self.x.shape:  # a number is not added into
            return super().pull_add(u, total, owned)
        x, key = self.x, self.args[1]
        if u.dtype is not x.dtype and u.dtype.kind == "c" and x.dtype.kind != "c":
            u = np.real(u)
        if total is None:
            total = arrays.zeros(u, x.shape, x.dtype)
        elif not owned:
            total = total.copy()
        scatter_add(total, key, u)
        return total, True


_NO_KEYWORDS: dict[str, Any] = {}


class _GetItem(LinearPrimitive):
    captures = False  # the key is a copy, and nobody else's
    block = Index

    def blocks(self, argnums, y, args, kwargs) -> list[Block]:
        return super().blocks(argnums, y, args, kwargs) if argnums == [0] else []

    def view(self, x, key) -> Any:
        """x[key] as a view: what a call does if no other tape traces x, in one go."""
        tape, i, y = x.tape, x.index, x.value[key]
        is_number = type(y) is float64
        spec = NUMBER if is_number else ArraySpec.of(y)
        j = tape.append(ViewNode(self, (i,), (tape.nodes[i].spec, key), spec))
        if is_number and type(key) is int:
            if len(tape.elements) >= tuning.ELEMENTS_KNOWN:
                tape.elements.clear()
            tape.elements[i, key] = j
        return Traced(y, tape, j)


class ViewNode(LightNode):
    """y = x[key] for a key of integers and slices, of an array that no other tape traces."""

    __slots__ = ()

    def __init__(self, primitive, inputs, held, spec) -> None:
        self.primitive, self.inputs, self.held, self.spec = primitive, inputs, held, spec

    def made(self) -> tuple[Block, ...]:
        x, key = self.held
        return (Index(self.primitive, 0, x, self.spec, _scatter, (x, key), _NO_KEYWORDS),)

    def push(self, v, stacked) -> Any:
        v_i = v[self.inputs[0]]
        if v_i is None:
            return None
        if self.held is None or type(v_i) is not np.ndarray or v_i.dtype is not self.spec.dtype:
            return super().push(v, stacked)
        key = self.held[1]
        if not stacked:
            return v_i[key]
        v_j = v_i[_behind_stack(key)]
        return of_four(v_j) if self.spec is NUMBER else v_j

    def pull(self, u_j, u, owned, stacked) -> None:
        i = self.inputs[0]
        total = u[i]
        traced = isinstance(u_j, Traced) or isinstance(total, Traced)
        if self.held is None or traced or u_j.dtype is not self.spec.dtype or not self.held[0].shape:
            super().pull(u_j, u, owned, stacked)
            return
        x, key = self.held
        if total is None:
            u[i] = total = arrays.zeros(u_j, (len(u_j), *x.shape) if stacked else x.shape, x.dtype)
        elif not owned[i]:
            u[i] = total = total.copy()
        owned[i] = True
        total[_behind_stack(key) if stacked else key] += u_j


def _scatter(u, x, key) -> Array:
    """y_j = x_{key(j)}, so x̄_i = Σ u_j over all j with key(j) = i: zeros of the shape of x, plus u at the key."""
    return scatter(u, key, x.shape)


def _zeros_plus(u, key, shape) -> Array:
    total = arrays.zeros(u, shape)
    scatter_add(total, key, u)
    return total


def _select(x, key) -> Array:
    """x[key]; np.take gathers rows faster; old versions of it refuse uint64."""
    if isinstance(key, np.ndarray) and key.ndim and key.dtype.kind in "iu" and x.ndim > 1:
        return x[key] if key.dtype == np.uint64 else np.take(x, key, axis=0)
    return x[key]


scatter = linear(_zeros_plus, lambda u, x, key, shape: u[key], name="scatter")
scatter.captures = False
_getitem = _GetItem(_select, (_scatter,), "getitem")


def _selected_stack(k, block) -> Any:
    key = _behind_stack(block.args[1])
    return None if key is None else stacked(k, block, key)


def _scattered_stack(k, block) -> Any:
    key = _behind_stack(block.args[1])
    return None if key is None else stacked(k, block, key, (k, *block.args[2]))


_getitem.on_stack, scatter.on_stack = _selected_stack, _scattered_stack


def getitem(x, key) -> Array:
    if not is_basic(key):
        return _getitem(x, plain_key(key))
    return _getitem(x, key) if not isinstance(x, Traced) or x.tape.nested else _getitem.view(x, key)


register("getitem", getitem)

# -- functions ------------------------------------------------------------------------------------------


def _along(axis, key) -> Any:
    """The key that takes `key` along `axis` and everything along the axes before it."""
    return (*(slice(None),) * axis, key) if axis else key


@implements(np.take)
def take(a, indices, axis=None, out=None, mode="raise") -> Array:
    refuse_out(out)
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"take: mode must be 'raise', 'wrap' or 'clip', not {mode!r}")
    a, indices = as_array(a), _as_indices(indices)
    if not a.size:
        return np.take(stop(a), indices, axis, mode=mode)
    if axis is None or a.ndim == 0:
        a, axis = np.ravel(a), 0 if axis is None else axis
    axis = normalize_axis_index(axis, a.ndim)
    n = a.shape[axis]
    if mode != "raise":
        indices = indices % n if mode == "wrap" else np.clip(indices, 0, n - 1)
    return getitem(a, _along(axis, indices if indices.ndim else int(indices)))


def _as_indices(indices) -> Array:
    """The indices as integers: booleans count as 0 and 1 here, and numbers in lists are cast."""
    indices = stop(indices)
    if not hasattr(indices, "dtype"):
        return np.asarray(indices, np.intp)
    return indices.astype(np.intp) if indices.dtype.kind == "b" else indices


@implements(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1) -> Array:
    indices = stop(indices)
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = normalize_axis_index(axis, arr.ndim)
    if indices.ndim != arr.ndim:
        raise ValueError(f"take_along_axis: arr has shape {arr.shape} and indices {indices.shape}")
    grid = [
        np.reshape(arrays.arange(arr, n), [-1 if q == k else 1 for q in range(arr.ndim)])
        for k, n in enumerate(arr.shape)
    ]
    return getitem(arr, tuple(indices if k == axis else g for k, g in enumerate(grid)))


@composed(np.compress)
def compress(condition, a, axis=None, out=None) -> Array:
    return take(a, np.flatnonzero(stop(condition)), axis, out)


@composed(np.extract)
def extract(condition, arr) -> Array:
    return getitem(np.ravel(as_array(arr)), np.flatnonzero(stop(condition)))


@composed(np.delete)
def delete(arr, obj, axis=None) -> Array:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    return take(arr, np.delete(arrays.arange(arr, arr.shape[axis]), stop(obj)), axis)


@composed(np.insert)
def insert(arr, obj, values, axis=None) -> Array:
    """NumPy inserts labels of the values among labels of the elements; then every label is looked up.

    CuPy cannot insert, so that the labels are NumPy's on a GPU too.
    """
    arr = as_array(arr)
    values = arrays.moved_to(arr, as_array(values))
    if axis is None:
        arr, axis = np.ravel(arr), 0
    labels = np.arange(arr.size).reshape(arr.shape)
    inserted = np.arange(arr.size, arr.size + values.size).reshape(values.shape)
    places = arrays.moved_to(arr, np.insert(labels, arrays.on_the_cpu(stop(obj)), inserted, axis=axis))
    return getitem(np.concatenate([np.ravel(arr), np.ravel(values).astype(arr.dtype)]), places)


@composed(np.choose)
def choose(a, choices, out=None, mode="raise") -> Array:
    """choices[a[i]][i], everything broadcast."""
    refuse_out(out)
    a, n, dtype = as_array(stop(a)), len(choices), np.result_type(*choices)
    if mode != "raise":
        a = a % n if mode == "wrap" else np.clip(a, 0, n - 1)
    elif np.any((a < 0) | (a >= n)):
        raise ValueError(f"choose: an entry of a is not one of the {n} choices")
    parts = np.broadcast_arrays(a, *choices)
    y = parts[1]
    for k in range(1, n):
        y = np.where(stop(parts[0]) == k, parts[1 + k], y)
    return cast(y, dtype)


@composed(np.select)
def select(condlist, choicelist, default=0) -> Array:
    """The choice of the first condition that holds, else the default."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(f"select: {len(condlist)} conditions and {len(choicelist)} choices")
    y = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = np.where(stop(condition), choice, y)
    return y


# -- windows, counts and sums of stretches ---------------------------------------------------------------


@composed(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False) -> Array:
    """Every window along the given axes, as further axes at the end."""
    sizes = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    axes = range(x.ndim) if axis is None else [normalize_axis_index(k, x.ndim) for k in np.atleast_1d(axis)]
    for k, n in zip(axes, sizes, strict=True):
        places = arrays.arange(x, x.shape[k] - n + 1)[:, None] + arrays.arange(x, n)
        x = np.moveaxis(getitem(x, _along(k, places)), k + 1, -1)
    return x


@composed(np.bincount)
def bincount(x, /, weights=None, minlength=0) -> Array:
    """Σ weights over the places where x is k; the counts themselves are constants."""
    x = stop(as_array(x))
    if weights is None:
        return np.bincount(x, minlength=minlength)
    n = max(minlength, int(x.max()) + 1 if x.size else 0)
    return scatter(cast(weights, np.float64), arrays.moved_to(weights, x), (n,))


@composed((np.add, "reduceat"))
def add_reduceat(array, indices, axis=0, dtype=None, out=None) -> Array:
    """The sum of every stretch from one index to the next: the elements, each added to the place of its stretch."""
    a = np.moveaxis(cast(as_array(array), dtype), axis, 0)
    parts = stretches(indices, len(a))
    places = np.concatenate([np.zeros(0, np.intp), *(np.arange(i, j) for i, j in parts)])
    lengths = [j - i for i, j in parts]
    y = scatter(getitem(a, places), np.repeat(np.arange(len(lengths)), lengths), (len(lengths), *a.shape[1:]))
    return np.moveaxis(y, 0, axis)


def stretches(indices, n) -> list[tuple[int, int]]:
    """From each index to the next, or the element alone if that is not larger."""
    first = [int(i) for i in stop(indices)]
    return [(i, j if i < j else i + 1) for i, j in pairwise([*first, n])]
