"""np.pad, axis after axis. Most modes pick elements; the others are linear or reduce a strip at the edge."""

from __future__ import annotations

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import axes_of, stacked
from rmad.rules import linear
from rmad.tracing.handlers import implements
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import numpys
from rmad.types import Array

COPIES = ("edge", "reflect", "symmetric", "wrap")
STATISTICS = {"mean": np.mean, "maximum": np.max, "minimum": np.min, "median": np.median}


def _crop(u, x, widths) -> Array:
    """y_{i + before} = x_i, zero elsewhere, so x̄_i = u_{i + before}."""
    return u[tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))]


zero_pad = linear(lambda x, widths: np.pad(x, widths), _crop, "zero_pad")
zero_pad.on_stack = lambda k, block: stacked(k, block, ((0, 0), *block.args[1]))


@implements(np.pad)
def pad(array, pad_width, mode="constant", **options) -> Array:
    """np.pad for every mode but 'empty' and functions, which have no rule."""
    if mode == "constant" and not options:
        return _zeros_around(array, _widths(pad_width, array.ndim))
    return _exact_pad(array, pad_width, mode, **options)


def _zeros_around(array, widths) -> Array:
    return zero_pad(array, widths) if widths else array


def _pad(array, pad_width, mode, **options) -> Array:
    widths = _widths(pad_width, array.ndim)
    if mode == "constant":
        return _constant(array, widths, options.get("constant_values", 0))
    if mode not in (*COPIES, *STATISTICS, "linear_ramp"):
        raise NotImplementedError(f"np.pad of a traced array has no rule for mode={mode!r}")
    known = {"reflect_type"} if mode in COPIES else {"end_values"} if mode == "linear_ramp" else {"stat_length"}
    if not options.keys() <= known:
        raise ValueError(f"np.pad: mode {mode!r} takes no {', '.join(options.keys() - known)}")
    for axis, width in enumerate(widths):
        if any(width):
            array = _along(array, axis, width, mode, options)
    return array


_exact_pad = numpys(np.pad, _pad)


def _widths(pad_width, ndim) -> tuple[tuple[int, int], ...]:
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            widths[axes_of(axis, ndim)[0]] = (width, width) if np.ndim(width) == 0 else tuple(width)
        return tuple(widths)
    plain = np.asarray(stop(pad_width))
    if plain.dtype.kind != "i":
        raise TypeError("pad: `pad_width` must be of integral type")
    if np.any(plain < 0):
        raise ValueError(f"pad: the widths {pad_width} must not be negative")
    return tuple((int(a), int(b)) for a, b in np.broadcast_to(plain, (ndim, 2)))


def _constant(array, widths, values) -> Array:
    if not widths:
        return array
    y = zero_pad(array, widths)
    if isinstance(values, Traced):
        if values.ndim:
            raise NotImplementedError("np.pad: traced constant_values must be a scalar")
        return y + values * np.pad(np.zeros_like(array), widths, constant_values=1)
    if not np.any(stop(values)):
        return y
    return y + np.pad(np.zeros_like(array), widths, constant_values=values)


def _along(x, axis, width, mode, options) -> Array:
    n = x.shape[axis]
    if mode in COPIES and options.get("reflect_type", "even") == "even":
        return np.take(x, arrays.moved_to(x, np.pad(np.arange(n), width, mode)), axis=axis)
    if mode in STATISTICS:
        return _with_statistics(x, axis, width, STATISTICS[mode], options.get("stat_length"))
    x = np.moveaxis(x, axis, -1)
    if mode == "linear_ramp":
        ends = np.broadcast_to(stop(options.get("end_values", 0)), (len(axes_of(None, x.ndim)), 2))[axis]
        matrix = np.pad(np.eye(n, dtype=x.dtype), (width, (0, 0)), mode)
        offset = np.pad(np.zeros(n, x.dtype), width, mode, end_values=tuple(ends))
    else:  # odd reflections: 2 edge - reflection, as often as the width needs
        matrix = np.pad(np.eye(n, dtype=x.dtype), (width, (0, 0)), mode, reflect_type="odd")
        offset = None
    y = x @ arrays.moved_to(x, matrix.T)
    return np.moveaxis(y if offset is None else y + arrays.moved_to(x, offset), -1, axis)


def _with_statistics(x, axis, width, statistic, stat_length) -> Array:
    """A statistic of the first and of the last few elements, repeated outwards."""
    n = x.shape[axis]
    lengths = [(n, n)] * x.ndim if stat_length is None else np.broadcast_to(stop(stat_length), (x.ndim, 2))
    first, last = (min(int(k), n) for k in lengths[axis])
    lead = (slice(None),) * axis
    parts = [x]
    for part, count, in_front in ((slice(0, first), width[0], True), (slice(n - last, n), width[1], False)):
        edge = statistic(x[(*lead, part)], axis=axis, keepdims=True)
        edge = np.broadcast_to(edge, [count if k == axis else m for k, m in enumerate(x.shape)])
        parts = [edge, *parts] if in_front else [*parts, edge]
    return np.concatenate(parts, axis=axis)
