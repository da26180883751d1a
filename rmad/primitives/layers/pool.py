"""Pooling over windows of images (n, h, w, c).

    max_pool2d   y = max over the window      selects the first maximum, by a code kept for it
    avg_pool2d   y = mean over the window     linear

The code of a maximum is its place in the window: one byte per output, the only thing that the tape keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels import gpu_windows
from rmad.kernels.patches import NewArray
from rmad.kernels.windows import Pair, Windows, paddings, pair
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.layers.images import OfImages
from rmad.primitives.layers.selection import Selection, select, transposed
from rmad.rules import Primitive, linear
from rmad.tapes.blocks import Linear
from rmad.tapes.tape import ArraySpec
from rmad.tracing.handlers import register
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["avg_pool2d", "max_pool2d"]


def max_pool2d(
    x: Array,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair | tuple[Pair, Pair] = 0,
    dilation: int | Pair = 1,
) -> Array:
    """y[n, p, q, c] = max over a, b of x[n, p s + a d − top, q s' + b d' − left, c]

    Padding never wins. Among equal elements the first one, row by row, has the derivative; a window with NaN gives NaN.

    Parameters
    ----------
    x : array, (n, h, w, c)
        Real floats.
    kernel : int or (vertical, horizontal)
    stride : int or (vertical, horizontal), default that of the kernel
    padding : int, (vertical, horizontal) or ((top, bottom), (left, right)), default 0
    dilation : int or (vertical, horizontal), default 1

    Returns
    -------
    y : array, (n, p, q, c)

    Raises
    ------
    ValueError
        If no window fits.
    TypeError
        Unless x is real.
    """
    return _maximum(x, _windows("max_pool2d", x, kernel, stride, padding, dilation))


def avg_pool2d(
    x: Array,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair | tuple[Pair, Pair] = 0,
    count_include_pad: bool = True,
) -> Array:
    """y[n, p, q, c] = mean over a, b < k of x[n, p s + a − top, q s' + b − left, c]

    Parameters
    ----------
    x : array, (n, h, w, c)
        Real floats.
    kernel : int or (vertical, horizontal)
    stride : int or (vertical, horizontal), default that of the kernel
    padding : int, (vertical, horizontal) or ((top, bottom), (left, right)), default 0
    count_include_pad : bool, default True
        True counts padding as zeros; False takes the mean over the pixels of the image.

    Returns
    -------
    y : array, (n, p, q, c)

    Raises
    ------
    ValueError
        If no window fits.
    TypeError
        Unless x is real.
    """
    windows = _windows("avg_pool2d", x, kernel, stride, padding, (1, 1))
    return _mean(x, windows, count_include_pad or not windows.padded)


def _windows(name: str, x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Windows:
    if np.ndim(x) != 4:
        raise ValueError(f"{name}: x has shape {np.shape(x)}, expected (n, h, w, c)")
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: x must be real floats, not {x.dtype}")
    kernel = pair(kernel, f"{name}: kernel")
    stride = kernel if stride is None else pair(stride, f"{name}: stride")
    padding, dilation = paddings(padding, f"{name}: padding"), pair(dilation, f"{name}: dilation")
    try:
        return Windows(x.shape[1:3], kernel, stride, padding, dilation)
    except ValueError as error:
        raise ValueError(f"{name}: x has shape {x.shape}, but {error}") from None


# -- the maximum --------------------------------------------------------------------------------------------


def _largest(x: Array, windows: Windows) -> Array:
    """The largest element of every window; NaN if it has one."""
    (_, to, at), *others = windows.parts
    if windows.padded:
        y = arrays.full(x, windows.shape_of(x), -np.inf)
        y[to] = x[at]
    else:
        y = x[at].copy()
    for _, to, at in others:
        np.maximum(y[to], x[at], out=y[to])
    return y


def _first(x: Array, y: Array, windows: Windows) -> Array:
    """The first tap at which x attains y; the first NaN if y is NaN."""
    dtype = np.uint8 if windows.taps < 255 else np.int32
    code: Array = np.zeros_like(y, dtype=dtype, order="C")
    has_nan = not isinstance(y, np.ndarray) or bool(np.isnan(y).any())  # on a GPU a look would wait for the device
    taps = {k: (to, at) for k, to, at in windows.parts}
    for k in reversed(range(windows.taps)):  # code: the number of taps from k on before one attains y
        code += 1
        if k in taps:
            to, at = taps[k]
            other: Any = x[at] != y[to]
            if has_nan:
                other &= ~np.isnan(x[at])
            code[to] *= other.view(np.uint8)
    return code


class MaxPool(Primitive):
    """Its Jacobian at x is the block of `select` for the first maximum of every window."""

    def blocks(self, argnums: Any, y: Array, args: Any, kwargs: Any) -> Any:
        x, windows = args
        chosen = Selection(_first(stop(x), stop(y), windows), windows)
        return [Linear(select, 0, ArraySpec.of(x), ArraySpec.of(y), transposed, (x, chosen), {}) for _ in argnums]


_maximum = register(_largest, MaxPool(_largest, "max_pool2d"))


# -- the mean -----------------------------------------------------------------------------------------------


def _weights(like: Array, windows: Windows, whole: bool) -> Array:
    """1 / the number of elements in each mean: one number, or (p, q, 1) if padding does not count."""
    if whole:
        return like.dtype.type(1 / windows.taps)
    return arrays.moved_to(like, (1 / windows.pixels[:, :, None]).astype(like.dtype))


def _weight_of_each(like: Array, windows: Windows, whole: bool) -> Array:
    """1 / the number of elements in the mean of every window of an image, (p q,)."""
    weights = _weights(like, windows, whole)
    return arrays.full(like, (math.prod(windows.out),), weights) if whole else weights.reshape(-1)


def _means(x: Array, windows: Windows, whole: bool) -> Array:
    y = arrays.empty(x, windows.shape_of(x))
    mean_into(x, windows, _weights(x, windows, whole), y)
    return y


def mean_into(x: Array, windows: Windows, weights: Array, y: Array) -> None:
    """y ← weights · Σ over the window of x."""
    (_, to, at), *others = windows.parts
    if windows.padded:
        y.fill(0)
    np.copyto(y[to], x[at])
    for _, to, at in others:
        np.add(y[to], x[at], y[to])
    np.multiply(y, weights, y)


def _shared(u: Array, windows: Windows, whole: bool) -> Array:
    """y = Σ x / m over the m pixels of a window, so x̄ = Σ u / m over the windows of a pixel."""
    x = arrays.zeros(u, (u.shape[0], *windows.size, u.shape[3]))
    share_into(u * _weights(u, windows, whole), windows, x, windows.overlap)
    return x


def share_into(u: Array, windows: Windows, x: Array, add: bool) -> None:
    """x[at] ← u, or x[at] ← x[at] + u, at every tap."""
    for _, to, at in windows.parts:
        if add:
            np.add(x[at], u[to], x[at])
        else:
            np.copyto(x[at], u[to])


_mean: Any = linear(_means, lambda u, x, windows, whole: _share(u, windows, whole), "avg_pool2d")
_share: Any = linear(_shared, lambda u, y, windows, whole: _mean(u, windows, whole), "avg_pool2d.share")
_mean.block = _share.block = OfImages


class MeanKernels:
    """Pushes and pulls of a mean over windows that write into buffers of a plan."""

    def push(self, block: Linear, new: NewArray, add: bool) -> Callable[[Array, Array], Any]:
        _, windows, whole = block.args
        like = new((0,), block.y.dtype)
        if is_cupy(like):
            each = _weight_of_each(like, windows, whole)
            return lambda v, out: gpu_windows.means(v, windows, each, out, add)
        weights = _weights(like, windows, whole)
        if not add:
            return lambda v, out: mean_into(v, windows, weights, out)
        part = new(block.y.shape, block.y.dtype)

        def push(v: Array, out: Array) -> None:
            mean_into(v, windows, weights, part)
            np.add(out, part, out)

        return push

    def pull(self, block: Linear, new: NewArray, add: bool) -> Callable[[Array, Array], Any]:
        _, windows, whole = block.args
        like = new((0,), block.y.dtype)
        if is_cupy(like):
            each = _weight_of_each(like, windows, whole)
            return lambda u, out: gpu_windows.shares(u, windows, each, out, add)
        weights = _weights(like, windows, whole)
        scaled = new(block.y.shape, block.y.dtype)

        def pull(u: Array, out: Array) -> None:
            np.multiply(u, weights, scaled)
            if not add:
                out.fill(0)
            share_into(scaled, windows, out, add or windows.overlap)

        return pull

    def work(self, block: Linear) -> float:
        return float(tuning.ELEMENT_WORK * block.x.size)


_mean.kernels = MeanKernels()
