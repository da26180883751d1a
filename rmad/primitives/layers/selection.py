"""The selection of one element from every window, which is linear: the Jacobian of a maximum.

The code of an element is its place in the window: one byte per output, the only thing that the tape keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels import gpu_windows
from rmad.kernels.patches import NewArray
from rmad.kernels.windows import Windows
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.rules import linear
from rmad.tapes.blocks import Linear
from rmad.types import Array

__all__ = ["Selection", "place", "put", "select", "transposed"]


class Selection:
    """One element of every window: code (n, p, q, c) is its tap, row by row."""

    __slots__ = ("code", "planned", "windows")

    def __init__(self, code: Array, windows: Windows) -> None:
        self.code, self.windows = code, windows
        self.planned: Array | None = None  # the index, kept once a plan has asked for it: many sweeps repay its memory

    def index(self) -> Array:
        """The places of these elements in the images as one vector, (n, p, q, c)."""
        windows, (n, _, _, c) = self.windows, self.code.shape
        (h, w), (s, t), (d, e) = windows.size, windows.stride, windows.dilation
        (top, _), (left, _) = windows.padding
        code = self.code
        taps, images = arrays.arange(code, windows.taps), arrays.arange(code, n)
        shift = (taps // windows.kernel[1] * d * w + taps % windows.kernel[1] * e) * c
        rows = arrays.arange(code, windows.out[0]) * s - top
        columns = arrays.arange(code, windows.out[1]) * t - left
        corner = ((rows[:, None] * w + columns)[:, :, None] * c + arrays.arange(code, c))[None]
        index = np.take(shift, code)
        index += corner
        index += images[:, None, None, None] * (h * w * c)
        return index

    def places(self) -> Array:
        """(taps, p q c): the place of every tap of every window in an image as one vector; −1 is padding."""
        windows, c = self.windows, self.code.shape[3]
        (h, w), (s, t), (d, e) = windows.size, windows.stride, windows.dilation
        (top, _), (left, _) = windows.padding
        taps = arrays.arange(self.code, windows.taps)[:, None, None]
        row = arrays.arange(self.code, windows.out[0])[:, None] * s - top + taps // windows.kernel[1] * d
        column = arrays.arange(self.code, windows.out[1]) * t - left + taps % windows.kernel[1] * e
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        at = (row * w + column)[..., None] * c + arrays.arange(self.code, c)
        return np.reshape(np.where(inside[..., None], at, -1), (windows.taps, -1))

    def keep_index(self) -> Array:
        if self.planned is None:
            self.planned = self.index()
        return self.planned

    def shape(self) -> tuple[int, ...]:
        """The shape of the images."""
        return (self.code.shape[0], *self.windows.size, self.code.shape[3])


def _select(x: Array, chosen: Selection) -> Array:
    return np.take(np.reshape(x, -1), chosen.index())


def _put(u: Array, chosen: Selection) -> Array:
    x = arrays.zeros(u, chosen.shape())
    put(x, u, chosen.index(), chosen.windows, False)
    return x


def put(x: Array, u: Array, index: Array, windows: Windows, add: bool) -> None:
    """x[index] += u in place; with add=False x is zero before."""
    flat = x.reshape(-1)
    if windows.overlap:
        arrays.add_at(flat, index.reshape(-1), u.reshape(-1))
    elif add:
        flat[index] += u
    else:
        flat[index] = u


def transposed(u: Array, x: Array, chosen: Selection) -> Array:
    return place(u, chosen)


select: Any = linear(_select, transposed, "max_pool2d.select")
place: Any = linear(_put, lambda u, x, chosen: select(u, chosen), "max_pool2d.place")


def _is_fused(index: Array, block: Linear) -> bool:
    """True for arrays of a GPU that atomic additions know."""
    return is_cupy(index) and block.y.dtype.char in "fd" and block.x.dtype == block.y.dtype


class SelectKernels:
    """Pushes and pulls of a selection that write into buffers of a plan. See rmad.plan.pull."""

    def push(self, block: Linear, new: NewArray, add: bool) -> Callable[[Array, Array], Any]:
        index = block.args[1].keep_index()
        if _is_fused(index, block):
            return lambda v, out: gpu_windows.gather(v, index, out, add)
        if not add:
            return lambda v, out: arrays.take(v.reshape(-1), index, out)
        part = new(index.shape, block.y.dtype)

        def push(v: Array, out: Array) -> None:
            arrays.take(v.reshape(-1), index, part)
            np.add(out, part, out)

        return push

    def pull(self, block: Linear, new: NewArray, add: bool) -> Callable[[Array, Array], Any]:
        chosen = block.args[1]
        index, windows = chosen.keep_index(), chosen.windows
        if _is_fused(index, block):
            return lambda u, out: gpu_windows.scatter(u, index, out, add, windows.overlap)

        def scatter(u: Array, out: Array) -> None:
            if not add:
                out.fill(0)
            put(out, u, index, windows, add)

        return scatter

    def work(self, block: Linear) -> float:
        """Roughly, in multiply-adds of a matrix product."""
        return float(tuning.ELEMENT_WORK * block.y.size)


select.kernels = SelectKernels()
