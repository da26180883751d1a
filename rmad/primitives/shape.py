"""Rearrangements of one array, as views whenever NumPy returns views."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.arguments import axes_of, cast, from_end, known, reduced_axes, stacked
from rmad.rules import as_array, constant, linear
from rmad.tapes.tape import ArraySpec
from rmad.tracing.handlers import implements, register
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed, with_value
from rmad.trees.leaf import real_dtype
from rmad.types import Array

for _f in (np.isscalar, np.iscomplexobj, np.isrealobj, np.shares_memory):
    constant(_f)


def _new(f: Any, make: Callable[..., Any]) -> None:
    """np.zeros_like and its kind, which read shape=() as no shape on CuPy's arrays."""

    def handler(a=None, dtype=None, order="K", subok=True, shape=None, *, prototype=None, **device) -> Array:
        a = stop(prototype if a is None else a)  # np.empty_like has the other name
        if is_cupy(a):
            return make(a, a.shape if shape is None else shape, dtype)
        return f(a, dtype, order, subok, shape, **device)

    handler.constant = True  # type: ignore[attr-defined]
    register(f, handler)


_new(np.zeros_like, arrays.zeros)
_new(np.ones_like, arrays.ones)
_new(np.empty_like, arrays.empty)

# -- the same elements in another shape -----------------------------------------------------------------

reshape = linear(np.reshape, lambda u, x, shape, order="C": np.reshape(u, x.shape, order=order))
reshape.on_stack = lambda k, b: None if b.kwargs else stacked(k, b, (k, *b.y.shape))  # in C order only


@implements(np.reshape)
def _reshape(a, /, shape=np._NoValue, order="C", *, newshape=np._NoValue, copy=None) -> Array:
    shape = newshape if shape is np._NoValue else shape
    if shape is np._NoValue:
        raise TypeError("reshape() missing 1 required positional argument: 'shape'")
    order = _index_order(a, order)
    return reshape(a, shape) if order == "C" else reshape(a, shape, order=order)


def _index_order(a, order) -> Literal["C", "F"]:
    """Orders A and K follow the layout in memory: F for an array in Fortran's order, else C."""
    if order in ("C", "F"):
        return order
    if order not in ("A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K', not {order!r}")
    flags = stop(a).flags
    if order == "K" and not (flags.c_contiguous or flags.f_contiguous):
        raise NotImplementedError("order='K' of a traced array that is contiguous in neither order; use 'C' or 'F'")
    return "F" if flags.f_contiguous and not flags.c_contiguous else "C"


@implements(np.ravel)
def ravel(a, order="C") -> Array:
    return np.reshape(a, -1, order=_index_order(a, order))


@implements(np.squeeze)
def squeeze(a, axis=None) -> Array:
    if axis is None:
        axes = tuple(k for k, n in enumerate(a.shape) if n == 1)
    else:
        axes = reduced_axes(axis, a.ndim)
        if any(a.shape[k] != 1 for k in axes):
            raise ValueError(f"squeeze: axis {axis} of shape {a.shape} is not of length 1")
    return reshape(a, tuple(n for k, n in enumerate(a.shape) if k not in axes)) if axes else a


@implements(np.expand_dims)
def expand_dims(a, axis) -> Array:
    axes = axes_of(axis, a.ndim + (1 if np.ndim(axis) == 0 else len(axis)))
    lengths = iter(a.shape)
    return reshape(a, tuple(1 if k in axes else next(lengths) for k in range(a.ndim + len(axes))))


def _at_least(ndim, place) -> Callable[..., Any]:
    """np.atleast_1d, 2d, 3d: one array gives an array, several give a tuple."""

    def handler(*arys) -> Array | tuple[Array, ...]:
        out = tuple(a if a.ndim >= ndim else reshape(a, place(a.shape)) for a in map(as_array, arys))
        return out[0] if len(out) == 1 else out

    return handler


register(np.atleast_1d, _at_least(1, lambda shape: (1,)))
register(np.atleast_2d, _at_least(2, lambda shape: (1, *(shape or (1,)))))
register(np.atleast_3d, _at_least(3, lambda shape: (1, *(shape or (1,)), 1) if len(shape) < 2 else (*shape, 1)))

# -- axes in another order --------------------------------------------------------------------------------

transpose = linear(np.transpose, lambda u, x, axes=None: np.transpose(u, None if axes is None else np.argsort(axes)))
swapaxes = linear(np.swapaxes, lambda u, x, a, b: np.swapaxes(u, a, b))
swapaxes.on_stack = lambda k, block: stacked(k, block, *from_end(block.args[1:], block.x.ndim))


def _transposed_stack(k, block) -> Any:
    axes = block.args[1] if len(block.args) > 1 else range(block.x.ndim)[::-1]
    return stacked(k, block, (0, *(a + 1 for a in axes)))


transpose.on_stack = _transposed_stack


@implements(*{np.transpose, *known("permute_dims")})
def _transpose(a, axes=None) -> Array:
    return transpose(a) if axes is None else transpose(a, axes_of(axes if np.ndim(axes) == 0 else tuple(axes), a.ndim))


@implements(np.swapaxes)
def _swapaxes(a, axis1, axis2) -> Array:
    return swapaxes(a, axis1, axis2)


@implements(*known("matrix_transpose"), *known("matrix_transpose", module=np.linalg))
def matrix_transpose(x, /) -> Array:
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: x has shape {x.shape}, a matrix has two axes at least")
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(a, source, destination) -> Array:
    source, destination = axes_of(_sequence(source), a.ndim), axes_of(_sequence(destination), a.ndim)
    if len(source) != len(destination):
        raise ValueError(f"moveaxis: {len(source)} source axes and {len(destination)} destinations")
    order = [k for k in range(a.ndim) if k not in source]
    for to, k in sorted(zip(destination, source, strict=True)):
        order.insert(to, k)
    return a if order == list(range(a.ndim)) else transpose(a, tuple(order))


def _sequence(axis) -> Any:
    return axis if np.ndim(axis) == 0 else tuple(axis)


@implements(np.rollaxis)
def rollaxis(a, axis, start=0) -> Array:
    axis = normalize_axis_index(axis, a.ndim)
    start = start + a.ndim if start < 0 else start
    return moveaxis(a, axis, start - 1 if axis < start else start)


# -- elements in another place ----------------------------------------------------------------------------


def _rolled(x, shift, axis=None) -> Array:
    """np.roll; of a vector by two slices, in a third of the time."""
    if type(x) is np.ndarray and x.ndim == 1 and type(shift) is int and axis in (None, 0, -1) and x.size:
        k = -shift % x.size
        return np.concatenate((x[k:], x[:k]))
    return np.roll(x, shift, axis)


flip = linear(np.flip, lambda u, x, axis=None: np.flip(u, axis))
roll = linear(_rolled, lambda u, x, shift, axis=None: _rolled(u, _negative(shift), axis), name="roll")
flip.on_stack = lambda k, block: stacked(k, block, from_end(block.args[1], block.x.ndim))


def _rolled_stack(k, block) -> Any:
    """Axes may repeat: their shifts add up. Without an axis, arrays are rolled as vectors."""
    _, shift, axis = block.args
    n = block.x.ndim
    if axis is None:
        return stacked(k, block, shift, -1) if n == 1 and np.ndim(shift) == 0 else None
    return stacked(k, block, shift, axis % n - n if np.ndim(axis) == 0 else tuple(a % n - n for a in axis))


roll.on_stack = _rolled_stack


def _negative(shift) -> Any:
    return -shift if np.ndim(shift) == 0 else tuple(-s for s in shift)


@implements(np.flip)
def _flip(m, axis=None) -> Array:
    return flip(m, axis)


@implements(np.fliplr)
def fliplr(m) -> Array:
    return flip(m, 1)


@implements(np.flipud)
def flipud(m) -> Array:
    return flip(m, 0)


@implements(np.roll)
def _roll(a, shift, axis=None) -> Array:
    return roll(a, stop(shift), axis)


@implements(np.rot90)
def rot90(m, k=1, axes=(0, 1)) -> Array:
    first, second = axes_of(tuple(axes), m.ndim)
    k %= 4
    if k == 0:
        return m
    if k == 2:
        return flip(m, (first, second))
    if k == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second)


# -- repetition ---------------------------------------------------------------------------------------------

broadcast_to = linear(np.broadcast_to, lambda u, x, shape: u)


def _broadcast_stack(k, block) -> Any:
    x, y = block.x, block.y
    return (ArraySpec((k, *(1,) * (y.ndim - x.ndim), *x.shape), x.dtype), (k, *y.shape)), {}


broadcast_to.on_stack = _broadcast_stack


@implements(np.broadcast_to)
def _broadcast_to(array, shape, subok=False) -> Array:
    return broadcast_to(array, shape)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args, subok=False) -> tuple[Array, ...]:
    arrays = [as_array(a) for a in args]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    whole: list[Any] = [a if isinstance(a, Traced) and a.shape == shape else np.broadcast_to(a, shape) for a in arrays]
    return tuple(whole)


@implements(np.meshgrid)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy") -> tuple[Array, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', not {indexing!r}")
    n = len(xi)
    grids = [np.reshape(as_array(x), [1] * k + [-1] + [1] * (n - 1 - k)) for k, x in enumerate(xi)]
    if indexing == "xy" and n > 1:
        grids = [np.swapaxes(a, 0, 1) for a in grids]
    return tuple(grids) if sparse else np.broadcast_arrays(*grids)


@composed(np.tile)
def tile(A, reps) -> Array:
    """Each axis repeated as a whole: a new axis in front of it, merged with it."""
    reps = (reps,) if np.ndim(reps) == 0 else tuple(reps)
    n = max(A.ndim, len(reps))
    reps = (1,) * (n - len(reps)) + reps
    shape = (1,) * (n - A.ndim) + tuple(A.shape)
    y = np.reshape(A, [m for k in shape for m in (1, k)])
    y = np.broadcast_to(y, [m for pair in zip(reps, shape, strict=True) for m in pair])
    return np.reshape(y, [r * k for r, k in zip(reps, shape, strict=True)])


@composed(np.repeat)
def repeat(a, repeats, axis=None) -> Array:
    """Each element repeated in its place."""
    if axis is None or a.ndim == 0:
        a, axis = np.ravel(a), axis or 0
    axis, repeats = normalize_axis_index(axis, a.ndim), np.asarray(arrays.on_the_cpu(stop(repeats)))
    n = a.shape[axis]
    if repeats.size != 1:
        return np.take(a, arrays.moved_to(a, np.repeat(np.arange(n), repeats)), axis=axis)
    r = int(repeats.reshape(()))
    before, after = a.shape[:axis], a.shape[axis + 1 :]
    y = np.broadcast_to(np.reshape(a, (*before, n, 1, *after)), (*before, n, r, *after))
    return np.reshape(y, (*before, n * r, *after))


@composed(np.resize)
def resize(a, new_shape) -> Array:
    """The elements of a, repeated until the shape is full."""
    shape = (new_shape,) if np.ndim(new_shape) == 0 else tuple(new_shape)
    size = math.prod(shape)
    if a.size == 0 or size == 0:
        return arrays.zeros(a, shape)
    return np.reshape(np.ravel(a)[arrays.arange(a, size) % a.size], shape)


# -- arrays of one value ------------------------------------------------------------------------------------


@implements(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, **device) -> Array:
    """An array like a with one value, in which it is differentiable."""
    if not isinstance(fill_value, Traced) and isinstance(stop(a), np.ndarray):
        return np.full_like(stop(a), fill_value, dtype, order, shape=shape)
    y = np.broadcast_to(arrays.moved_to(a, as_array(fill_value)), np.shape(a) if shape is None else shape)
    return y.astype(a.dtype if dtype is None else dtype)


@composed(np.full)
def full(shape, fill_value, dtype=None, order="C", **device) -> Array:
    """An array of one value."""
    y = np.broadcast_to(as_array(fill_value), shape)
    return y if dtype is None else y.astype(dtype)


@composed(np.arange)
def arange(start=None, stop=None, step=1, dtype=None, **device) -> Array:
    """start + k step, as many as NumPy makes."""
    if stop is None:
        start, stop = 0, start
    start, step = as_array(0 if start is None else start), as_array(1 if step is None else step)
    k = arrays.arange(arrays.sample((start, step)), len(np.arange(*_values(start, stop, step))))
    return start + k * step


def _values(*args) -> list[Any]:
    return [arrays.on_the_cpu(stop(a)) for a in args]


@composed(np.linspace)
def linspace(
    start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, **device
) -> Array | tuple[Array, Array]:
    """start (1 - t) + stop t, t from 0 to 1."""
    common = np.result_type(start, stop, float(num))
    like = arrays.sample((start, stop))
    start, stop = np.broadcast_arrays(*(arrays.moved_to(like, cast(a, common)) for a in (start, stop)))
    steps = num - 1 if endpoint else num
    t = arrays.arange(like, num) / (steps or 1)
    t = np.reshape(t.astype(real_dtype(common)), (num, *[1] * start.ndim))
    y = np.moveaxis((1 - t) * start + t * stop, 0, axis)
    y = y if dtype is None else y.astype(dtype)
    return (y, (stop - start) / steps if steps else np.full_like(start, math.nan)) if retstep else y


@implements(np.copy)
def copy(a, order="K", subok=False) -> Array:
    """The same array of the tape as another object; its elements are copied only if they lie in another order."""
    if isinstance(stop(a), np.generic):  # a number becomes an array without axes
        return with_value(a, np.array(stop(a)), "numpy.copy")
    y = a.twin()
    if isinstance(a.value, np.ndarray) and not a.value.flags.c_contiguous:
        y.value = a.value.copy(order)
    return y
