"""Convolutions of every channel with a kernel of its own, groups = i = o: sums over taps in place of matrix products.

    y = Σ over taps x[at] w[tap],   x̄[at] += u w[tap],   w̄[tap] = Σ x[at] u

A product with patches would be one of (rows, kh·kw) and (kh·kw, 1) for every channel, which costs many times what is
multiplied. With numba (the extra `fast`) these are loops of rmad.kernels.compiled.depthwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rmad.kernels import patches
from rmad.kernels.patches import CHUNK, Geometry, meeting

__all__ = ["DepthwiseFolded", "DepthwiseForward", "DepthwiseWeights", "is_depthwise"]


def is_depthwise(geometry: Geometry) -> bool:
    return geometry.groups == geometry.i == geometry.o > 1


class _Depthwise:
    """Arguments as those of rmad.kernels.patches.Patches."""

    def __init__(
        self, geometry: Geometry, n: int, dtype: Any, new: Callable[..., Any], add: bool = False, chunk: int = CHUNK
    ) -> None:
        g = geometry
        self.geometry, self.n, self.dtype, self.add = g, n, dtype, add
        worth_it = n * g.pixels * g.width * g.o >= patches.WORTH_IT and dtype.char in "fd"
        self.loops: Any = _loops() if worth_it else None
        self.images = max(1, min(n, chunk // (g.pixels * g.o * dtype.itemsize)))
        self.scratch = new((g.kernel[0] * g.kernel[1] * g.o if self.loops else self.images * g.pixels * g.o,), dtype)

    def taps(self) -> Iterator[tuple[int, int, Any, Any]]:
        """(k, l, where in images of u, where in images of x) for every tap that meets an image at all."""
        g = self.geometry
        for k in range(g.kernel[0]):
            ys, rows = meeting(g, 0, k, slice(0, g.out[0]))
            for m in range(g.kernel[1]):
                xs, columns = meeting(g, 1, m, slice(0, g.out[1]))
                if ys.start < ys.stop and xs.start < xs.stop:
                    yield k, m, (slice(None), ys, xs), (slice(None), rows, columns)

    def chunks(self) -> Iterator[slice]:
        for first in range(0, self.n, self.images):
            yield slice(first, min(first + self.images, self.n))

    def times(self, a: Any, b: Any) -> Any:
        """a b in the scratch."""
        return np.multiply(a, b, out=self.scratch[: a.size].reshape(a.shape))

    def loop(self, name: str, x: Any, w: Any, u: Any) -> bool:
        """Runs that loop, if the arrays are what it takes."""
        arrays = [np.ascontiguousarray(a, self.dtype).reshape(-1) for a in (x, w, u)]
        g = self.geometry
        sizes = (self.n, *g.size, *g.out, *g.kernel, g.o)
        steps = (*g.stride, *g.dilation, g.padding[0][0], g.padding[1][0])
        getattr(self.loops, name)(*arrays, sizes, steps, self.scratch)
        return True


class DepthwiseForward(_Depthwise):
    def __call__(self, x: Any, w: Any, out: Any) -> None:
        if not self.add:
            out.fill(0)
        if self.loops:
            self.loop("forward", x, w, out)
            return
        for images in self.chunks():
            x_part, y = x[images], out[images]
            for k, m, to, at in self.taps():
                np.add(y[to], self.times(x_part[at], w[k, m, 0]), out=y[to])


class DepthwiseFolded(_Depthwise):
    def __call__(self, u: Any, w: Any, out: Any) -> None:
        if not self.add:
            out.fill(0)
        if self.loops:
            self.loop("folded", out, w, u)
            return
        for images in self.chunks():
            u_part, x = u[images], out[images]
            for k, m, to, at in self.taps():
                np.add(x[at], self.times(u_part[to], w[k, m, 0]), out=x[at])


class DepthwiseWeights(_Depthwise):
    def __call__(self, u: Any, x: Any, out: Any) -> None:
        if not self.add:
            out.fill(0)
        if self.loops:
            self.loop("weights", x, out, u)
            return
        for images in self.chunks():
            x_part, u_part = x[images], u[images]
            for k, m, to, at in self.taps():
                rows = self.times(x_part[at], u_part[to]).reshape(-1, self.geometry.o)
                out[k, m, 0] += np.ones(len(rows), self.dtype) @ rows


def _loops() -> Any:
    if patches.loops() is None:
        return None
    import rmad.kernels.compiled.depthwise

    return rmad.kernels.compiled.depthwise
