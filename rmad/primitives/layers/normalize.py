"""Standardization: mean zero and variance one over some axes, for layer and batch normalization.

    x̂ = (x − μ) r,   μ = mean x,   σ² = mean (x − μ)²,   r = 1/√(σ² + ε)

Its Jacobian is r (I − 1 1ᵀ/m − x̂ x̂ᵀ/m) over m elements: symmetric, so one function is push and pull, and a sweep
needs only x̂ and r.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels import gpu_rows
from rmad.machine import arrays, fused
from rmad.machine.backend import is_cupy
from rmad.primitives.arguments import axes_of, kept
from rmad.primitives.layers.symmetric import SymmetricKernels, row_chunks
from rmad.rules import primitive
from rmad.types import Array, Pairs

__all__ = ["Means", "moments", "standardize"]


# Σ v and Σ v x̂ as one complex number, and the product that they give: of x̂ = {0} or {1}, v, r, the sums and m
SUMS = "Y({0}, {0} * {1})"
WITH_SUMS = "{2} * ({1} - ({3}.real() / {4} + {0} * ({3}.imag() / {4})))"
WITH_SUMS_ADDED = "{5} + " + WITH_SUMS


class Means:
    """Means over `axes` of arrays of one shape, with the reduced axes kept as ones, in the dtype of the arrays.

    For plain arrays whose reduced axes are all first or all last, a mean is a product with a vector of 1/m: BLAS sums a
    matrix three to six times as fast as np.mean does.
    """

    def __init__(self, shape, axes) -> None:
        self.axes = axes_of(axes, len(shape))
        self.kept = kept(shape, self.axes)
        self.m = math.prod(shape[k] for k in self.axes)
        n, ndim = len(self.axes), len(shape)
        self.last = set(self.axes) == set(range(ndim - n, ndim))
        self.first = set(self.axes) == set(range(n))

    def __call__(self, a) -> Array:
        """mean a"""
        if not isinstance(a, np.ndarray) or not a.size or not (self.last or self.first):
            return np.mean(a, axis=self.axes, keepdims=True)
        if self.last:
            return (a.reshape(-1, self.m) @ np.full(self.m, 1 / self.m, a.dtype)).reshape(self.kept)
        return self._down(lambda rows: np.ones((1, rows.shape[-2]), a.dtype) @ rows, a)

    def of_product(self, a, b) -> Array:
        """mean a b"""
        plain = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        if not plain or not a.size or not (self.last or self.first):
            return np.mean(a * b, axis=self.axes, keepdims=True)
        if self.last:
            sums = np.vecdot(a.reshape(-1, self.m), b.reshape(-1, self.m))
            return (sums * a.dtype.type(1 / self.m)).reshape(self.kept)
        return self._down(lambda a, b: np.einsum("...nc,...nc->...c", a, b), a, b)

    def _down(self, total, *arrays) -> Array:
        """Sums block by block: one running sum over a million rows would lose half the digits of single precision."""
        rows = [a.reshape(self.m, -1) for a in arrays]
        block = tuning.FLOAT32_SUM_ROWS
        whole = self.m - self.m % block
        y = total(*(a[whole:] for a in rows)).reshape(-1)
        if whole:
            blocks = (a[:whole].reshape(whole // block, block, -1) for a in rows)
            y = y + total(*blocks).reshape(whole // block, -1).sum(axis=0)
        return (y * y.dtype.type(1 / self.m)).reshape(self.kept)


def _standardize(x, axes, eps) -> tuple[Any, Any, Any]:
    mean = Means(x.shape, axes)
    mu = mean(x)
    y = x - mu
    variance = mean.of_product(y, y)
    y *= 1 / np.sqrt(variance + eps)
    return y, mu, variance


class _Product:
    """v → r (v − (mean v + x̂ mean x̂ v)), for x̂ = y."""

    def __init__(self, y, r, mean) -> None:
        self.y, self.r, self.mean = y, r, mean
        self.fused = is_cupy(y) and y.dtype.char in "fd" and bool(y.size)

    def __call__(self, v) -> Array:
        if self.fused and is_cupy(v):
            out = arrays.empty(v, v.shape)
            self._on_gpu(partial(arrays.empty, v), False)(v, out)
            return out
        part = self.y * self.mean.of_product(self.y, v)
        part += self.mean(v)
        part = v - part
        part *= self.r
        return part

    def on_gpu(self, new, add) -> Callable[[Array, Array], None] | None:
        """out ← or out ← out + the product, by fused kernels; None for arrays that have none."""
        return self._on_gpu(new, add) if self.fused else None

    def _on_gpu(self, new, add) -> Callable[[Array, Array], None]:
        mean, y, r = self.mean, self.y, self.r
        if mean.last:
            return lambda v, out: gpu_rows.standardized_product(y, r, mean.m, v, out, add)
        sums, axes, m = new(r.shape, np.result_type(y.dtype, np.complex64)), mean.axes, mean.m
        return fused.Passes(
            lambda v, out: [
                fused.Total(SUMS, [v, y], sums, axes, dtype=y.dtype),
                fused.Pass(WITH_SUMS_ADDED, [y, v, r, sums, m, out], out)
                if add
                else fused.Pass(WITH_SUMS, [y, v, r, sums, m], out),
            ]
        )

    def into(self, v, out) -> None:
        mean, y = self.mean, self.y
        a, b, r = mean(v), mean.of_product(y, v), self.r
        if not (y.size and (mean.last or mean.first)):
            _steps(y, a, b, r, v, out)
            return
        n, width = (-1, mean.m) if mean.last else (mean.m, -1)
        y, v, out = (array.reshape(n, width) for array in (y, v, out))
        a, b, r = (array.reshape((-1, 1) if mean.last else (1, -1)) for array in (a, b, r))
        for rows in row_chunks(*y.shape):
            own = rows if mean.last else slice(None)
            _steps(y[rows], a[own], b[own], r[own], v[rows], out[rows])


def _steps(y, a, b, r, v, out) -> None:
    """out ← r (v − (a + y b))"""
    np.multiply(y, b, out)
    np.add(out, a, out)
    np.subtract(v, out, out)
    np.multiply(out, r, out)


@primitive(_standardize, name="standardize")
def _moments(out, x, axes, eps) -> Pairs:
    y, _, variance = out
    mean, shape = Means(x.shape, axes), x.shape
    m = float(mean.m)
    r = 1 / np.sqrt(variance + eps)
    product = _Product(y, r, mean)
    return (
        ((product, product),),
        ((mean, lambda u: np.broadcast_to(u / m, shape)),),
        # σ² = mean (x − μ)²: dσ² = 2 mean (x − μ) dx, and x − μ = x̂ / r
        ((lambda v: 2 / r * mean.of_product(y, v), lambda u: y * (u * (2 / (r * m)))),),
    )


_moments.kernels = SymmetricKernels()


def moments(x, axes, eps=0.0) -> Array:
    """x̂, μ, σ²: x with mean zero and variance σ²/(σ² + ε) over the axes, and its moments (axes kept)."""
    return _moments(x, axes, eps)


def standardize(x, axes, eps=0.0) -> Array:
    """x̂ = (x − mean x)/√(σ² + ε), mean and variance σ² over the axes (an int or a tuple). x: real floats."""
    return _moments(x, axes, eps)[0]
