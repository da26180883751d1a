"""Convolution and correlation of sequences, polynomials and their matrices of powers."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import cast, conj
from rmad.rules import as_array, bilinear
from rmad.tracing.handlers import implements
from rmad.tracing.valued import composed
from rmad.types import Array


def _in_full(u, n, m, mode) -> Array:
    """u at its place in the full convolution, which has n + m - 1 points."""
    if mode == "full":
        return u
    before = (min(n, m) - 1) // 2 if mode == "same" else min(n, m) - 1
    return np.pad(u, (before, n + m - 1 - len(u) - before))


def _transpose(u, other, n, mode) -> Array:
    """y_k = Σ_i x_i other_{k-i}, so x̄_i = Σ_k u_k other_{k-i}, i < n: a convolution with the reversed `other`."""
    full = _in_full(u, n, len(other), mode)
    return convolution(full, np.flip(other), "valid")


convolution = bilinear(
    lambda a, v, mode: np.convolve(a, v, mode),
    lambda u, a, v, mode: _transpose(u, v, a.size, mode),
    lambda u, a, v, mode: _transpose(u, a, v.size, mode),
    "convolve",
)


@implements(np.convolve)
def convolve(a, v, mode="full") -> Array:
    """y_k = Σ_i a_i v_{k-i}."""
    a, v = (np.atleast_1d(as_array(x)) for x in (a, v))
    return convolution(a, v, _mode(mode))


@composed(np.correlate)
def correlate(a, v, mode="valid") -> Array:
    """y_k = Σ_i a_{k+i} conj(v_i)."""
    a, v, mode = as_array(a), as_array(v), _mode(mode)
    y = convolution(a, conj(np.flip(v)), "full")
    n, m = a.size, v.size
    short, long = sorted((n, m))
    if mode == "full":
        return y
    if mode == "valid":
        return y[short - 1 : long]
    start = (short - 1) // 2 if n >= m else short // 2  # np.correlate swaps the two and reverses the result
    return y[start : start + long]


def _mode(mode) -> Literal["same", "valid", "full"]:
    for name in ("full", "same", "valid"):
        if str(mode) == name:
            return name
    raise ValueError(f"mode must be 'full', 'same' or 'valid', not {mode!r}")


@composed(np.polyval)
def polyval(p, x) -> Array:
    """p_0 x^n + … + p_n by Horner's rule."""
    x = as_array(x)
    y = np.zeros_like(x)
    for c in p:
        y = y * x + c
    return y


@composed(np.vander)
def vander(x, N=None, increasing=False) -> Array:
    """The powers x^0 … x^(N-1) as columns, the highest first unless `increasing`."""
    x = cast(x, np.promote_types(x.dtype, int))  # as NumPy has it
    if x.ndim != 1:
        raise ValueError(f"vander: x must have one axis, its shape is {x.shape}")
    powers = [np.ones_like(x)]
    while len(powers) < (x.size if N is None else N):
        powers.append(powers[-1] * x)
    powers = powers[: x.size if N is None else N]
    if not powers:
        return arrays.zeros(x, (x.size, 0))
    return np.stack(powers if increasing else powers[::-1], axis=1)
