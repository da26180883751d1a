"""numpy.fft: discrete Fourier transforms, linear in their input.

With ω = exp(−2πi/n), y_k = Σ_t a_t ω^{kt} has the adjoint ā_t = Σ_k u_k ω^{−kt}: the inverse transform with the other
normalization, on the length of the output, cut or padded with zeros to the length of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import from_end, stacked
from rmad.rules import linear, primitive
from rmad.tracing.handlers import implements, register
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed
from rmad.types import Array, Pairs

SWAPPED: dict[str | None, Any] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The normalization of the inverse transform that makes it the adjoint."""


def _resize(x, size, axis) -> Array:
    """x cut, or padded with zeros, to `size` along one axis, as `n=` does before a transform. Its own adjoint."""
    axis %= x.ndim
    before = (slice(None),) * axis
    if x.shape[axis] > size:
        return x[(*before, slice(size))]
    if x.shape[axis] == size:
        return x
    shape = (*x.shape[:axis], size - x.shape[axis], *x.shape[axis + 1 :])
    return np.concatenate([x, arrays.zeros(x, shape)], axis=axis)


def _complex_rule(f, inverse) -> Callable[..., Any]:
    def rule(y, a, n=None, axis=-1, norm=None) -> Pairs:
        size = a.shape[axis]
        return (
            (
                lambda v: f(v, n, axis, norm),
                lambda u: _resize(inverse(u, None, axis, SWAPPED[norm]), size, axis),
            ),
        )

    return rule


fft = primitive(np.fft.fft, _complex_rule(np.fft.fft, np.fft.ifft))
ifft = primitive(np.fft.ifft, _complex_rule(np.fft.ifft, np.fft.fft))


def _scale_inner(x, n, axis, factor) -> Array:
    """Half of a spectrum of length n, with every entry that stands for two, k and n − k, times `factor`."""
    k = arrays.arange(x, n // 2 + 1)
    weights = np.where((k > 0) & (2 * k < n), factor, 1.0).reshape((-1,) + (1,) * (x.ndim - 1 - axis % x.ndim))
    return x * weights.astype(stop(x).real.dtype)


@primitive(np.fft.rfft)
def rfft(y, a, n=None, axis=-1, norm=None) -> Pairs:
    """y_k = Σ_t a_t ω^{kt}, k ≤ n/2, a real, so ā_t = Re Σ_{k ≤ n/2} u_k ω^{−kt}.

    irfft sums over k and n − k, which is twice the real part for 0 < k < n/2: these entries are halved first.
    """
    size = a.shape[axis]
    n = size if n is None else n
    return (
        (
            lambda v: np.fft.rfft(v, n, axis, norm),
            lambda u: _resize(np.fft.irfft(_scale_inner(u, n, axis, 0.5), n, axis, SWAPPED[norm]), size, axis),
        ),
    )


@primitive(np.fft.irfft)
def irfft(y, a, n=None, axis=-1, norm=None) -> Pairs:
    """n y_t = Re Σ_{k ≤ n/2} c_k a_k ω^{−kt}, c_k = 2 for 0 < k < n/2, else 1, so ā_k = c_k Σ_t u_t ω^{kt} / n.

    a is half of a Hermitian spectrum; the imaginary parts at 0 and n/2 are not read.
    """
    size = a.shape[axis]
    n = 2 * (size - 1) if n is None else n
    return (
        (
            lambda v: np.fft.irfft(v, n, axis, norm),
            lambda u: _resize(_scale_inner(np.fft.rfft(u, n, axis, SWAPPED[norm]), n, axis, 2.0), size, axis),
        ),
    )


@composed(np.fft.hfft)
def hfft(a, n=None, axis=-1, norm=None) -> Array:
    return np.fft.irfft(np.conj(a), 2 * (a.shape[axis] - 1) if n is None else n, axis, SWAPPED[norm])


@composed(np.fft.ihfft)
def ihfft(a, n=None, axis=-1, norm=None) -> Array:
    return np.conj(np.fft.rfft(a, a.shape[axis] if n is None else n, axis, SWAPPED[norm]))


# -- several axes: one after the other, as NumPy does -----------------------------------------------------


def _lengths(a, s, axes, real_output=False) -> list[tuple[int, int | None]]:
    """(axis, length) pairs; an s of −1 keeps the length, None is the default of a transform."""
    if s is None:
        axes = range(a.ndim) if axes is None else axes
        s = [a.shape[k] for k in axes]
        if real_output and s:
            s[-1] = 2 * (s[-1] - 1)
    axes = range(-len(s), 0) if axes is None else axes
    if len(s) != len(axes):
        raise ValueError(f"s={tuple(s)} and axes={tuple(axes)} have different lengths")
    return [(k, a.shape[k] if n == -1 else n) for k, n in zip(axes, s, strict=True)]


def _over_axes(transform) -> Callable[..., Any]:
    def over_axes(a, s=None, axes=None, norm=None) -> Array:
        for axis, n in reversed(_lengths(a, s, axes)):
            a = transform(a, n, axis, norm)
        return a

    return over_axes


fftn = register(np.fft.fftn, _over_axes(np.fft.fft))
ifftn = register(np.fft.ifftn, _over_axes(np.fft.ifft))


@implements(np.fft.rfftn)
def rfftn(a, s=None, axes=None, norm=None) -> Array:
    *rest, (axis, n) = _lengths(a, s, axes)
    a = np.fft.rfft(a, n, axis, norm)
    for axis, n in reversed(rest):
        a = np.fft.fft(a, n, axis, norm)
    return a


@implements(np.fft.irfftn)
def irfftn(a, s=None, axes=None, norm=None) -> Array:
    *rest, (axis, n) = _lengths(a, s, axes, real_output=True)
    for other, length in rest:
        a = np.fft.ifft(a, length, other, norm)
    return np.fft.irfft(a, n, axis, norm)


def _over_two(over_axes) -> Callable[..., Any]:
    def over_two(a, s=None, axes=(-2, -1), norm=None) -> Array:
        return over_axes(a, s, axes, norm)

    return over_two


for _f, _over in ((np.fft.fft2, fftn), (np.fft.ifft2, ifftn), (np.fft.rfft2, rfftn), (np.fft.irfft2, irfftn)):
    register(_f, _over_two(_over))

fftshift = linear(np.fft.fftshift, lambda u, x, axes=None: np.fft.ifftshift(u, axes))
ifftshift = linear(np.fft.ifftshift, lambda u, x, axes=None: np.fft.fftshift(u, axes))


def _shifted_stack(k, block) -> Any:
    axes = block.args[1] if len(block.args) > 1 else block.kwargs.get("axes")
    return stacked(k, block, from_end(axes, block.x.ndim))


fftshift.on_stack = ifftshift.on_stack = _shifted_stack
