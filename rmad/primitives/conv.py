"""Convolution: one form, linear in images x, weights w and cotangents u, seen from its three sides.

    ⟨u, conv2d(x, w)⟩ = ⟨conv2d_input(u, w), x⟩ = ⟨conv2d_weight(u, x), w⟩
                      = Σ u[n, y, x, o] x[n, y s + k d − top, x s + l d − left, i] w[k, l, i, o]

Each of the three is the transpose of the other two, so the three primitives are closed under derivatives of any order.
x: (n, h, w, i), w: (kh, kw, i / groups, o), u and y: (n, h′, w′, o).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.patches import Geometry, fold, gather, pad
from rmad.rules import as_array, bilinear

__all__ = ["conv2d", "conv2d_input", "conv2d_weight"]

CHUNK = 1 << 19  # bytes of patches at a time: they are written and read again, so they should stay in the L2 cache


# -- the three sides, for plain arrays -----------------------------------------------------------------------


def _chunks(n: int, geometry: Geometry, itemsize: int) -> list[slice]:
    """The images in slices whose patches fill the scratch."""
    one = geometry.pixels * geometry.width * geometry.groups * itemsize
    size = max(1, CHUNK // max(1, one))
    return [slice(k, min(k + size, n)) for k in range(0, n, size)]


def _patches(x: Any, geometry: Geometry, dtype: Any) -> Any:
    out = np.zeros_like(x, order="C", shape=(geometry.groups, len(x) * geometry.pixels, geometry.width), dtype=dtype)
    gather(pad(x, geometry), geometry, out)
    return out


def _by_group(a: Any, geometry: Geometry) -> Any:
    """(…, groups·o) as (groups, rows, o)."""
    o = a.shape[-1] // geometry.groups
    return np.moveaxis(np.reshape(a, (a.size // a.shape[-1], geometry.groups, o)), 1, 0)


def _matrix(w: Any, geometry: Geometry) -> Any:
    """w as one matrix (kh·kw·i, o) per group."""
    return _by_group(w, geometry)


def _forward(x: Any, w: Any, geometry: Geometry) -> Any:
    """y = patches(x) w."""
    dtype = np.result_type(x.dtype, w.dtype)
    y = np.zeros_like(x, order="C", shape=(len(x), *geometry.out, geometry.o), dtype=dtype)
    for part in _chunks(len(x), geometry, dtype.itemsize):
        product = _patches(x[part], geometry, dtype) @ _matrix(w, geometry)
        y[part] = np.moveaxis(product, 0, 1).reshape(y[part].shape)
    return y


def _input(u: Any, w: Any, geometry: Geometry) -> Any:
    """x̄ = foldᵀ(u wᵀ); for stride 1 that is the convolution of u with the kernel turned by 180° and transposed."""
    turned = geometry.transposed()
    if turned is not None:
        return _forward(u, _turn(w, geometry), turned)
    dtype = np.result_type(u.dtype, w.dtype)
    (top, _), (left, _) = geometry.padding
    x = np.zeros_like(u, order="C", shape=(len(u), *geometry.padded, geometry.i), dtype=dtype)
    transposed = np.swapaxes(_matrix(w, geometry), 1, 2)
    for part in _chunks(len(u), geometry, dtype.itemsize):
        fold(_by_group(u[part], geometry) @ transposed, geometry, x[part])
    return x[:, top : top + geometry.size[0], left : left + geometry.size[1]]


def _turn(w: Any, geometry: Geometry) -> Any:
    """The kernel of the transposed convolution: w[kh − 1 − k, kw − 1 − l, i, q·o + o′] at [k, l, o′, q·i + i′]."""
    kh, kw, i, o = geometry.weight_shape
    w = np.reshape(w[::-1, ::-1], (kh, kw, i, geometry.groups, o // geometry.groups))
    return np.reshape(np.transpose(w, (0, 1, 4, 3, 2)), (kh, kw, o // geometry.groups, geometry.i))


def _weight(u: Any, x: Any, geometry: Geometry) -> Any:
    """w̄ = patches(x)ᵀ u."""
    dtype = np.result_type(u.dtype, x.dtype)
    shape = (geometry.groups, geometry.width, geometry.o // geometry.groups)
    w = np.zeros_like(u, order="C", shape=shape, dtype=dtype)
    for part in _chunks(len(x), geometry, dtype.itemsize):
        w += np.swapaxes(_patches(x[part], geometry, dtype), 1, 2) @ _by_group(u[part], geometry)
    return np.moveaxis(w, 0, 1).reshape(geometry.weight_shape)


forward: Any = bilinear(
    _forward,
    lambda u, x, w, geometry: backward(u, w, geometry),
    lambda u, x, w, geometry: weight(u, x, geometry),
    name="conv2d",
)
backward: Any = bilinear(
    _input,
    lambda v, u, w, geometry: forward(v, w, geometry),
    lambda v, u, w, geometry: weight(u, v, geometry),
    name="conv2d_input",
)
weight: Any = bilinear(
    _weight,
    lambda v, u, x, geometry: forward(x, v, geometry),
    lambda v, u, x, geometry: backward(u, v, geometry),
    name="conv2d_weight",
)

# -- what a user calls -----------------------------------------------------------------------------------------


def conv2d(
    x: Any, w: Any, stride: Any = (1, 1), padding: Any = ((0, 0), (0, 0)), dilation: Any = (1, 1), groups: int = 1
) -> Any:
    """y[n, y, x, o] = Σ x[n, y s + k d − top, x s + l d − left, i] w[k, l, i, o].

    x: (n, h, w, i), w: (kh, kw, i / groups, o) → (n, h′, w′, o), h′ = ⌊(h + top + bottom − d (kh − 1) − 1) / s⌋ + 1.
    stride, dilation: a number or a pair (vertical, horizontal); padding: a number, a pair, or
    ((top, bottom), (left, right)). With groups, output channel o reads only its own group of the input channels.
    Raises ValueError where the shapes do not fit or the kernel is larger than the padded image.
    """
    x, w = as_array(x), as_array(w)
    return forward(x, w, _geometry("conv2d", x.shape, w.shape, stride, padding, dilation, groups))


def conv2d_input(
    u: Any,
    w: Any,
    shape: Any,
    stride: Any = (1, 1),
    padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Any:
    """x̄ with ⟨x̄, x⟩ = ⟨u, conv2d(x, w)⟩ for all x: the transposed convolution.

    u: (n, h′, w′, o), w: (kh, kw, i / groups, o), shape = (n, h, w, i) that of the result; the rest as for
    conv2d(x, w). Raises ValueError where conv2d of an x of that shape would not give the shape of u.
    """
    u, w = as_array(u), as_array(w)
    geometry = _geometry("conv2d_input", shape, w.shape, stride, padding, dilation, groups)
    _check_cotangent("conv2d_input", u.shape, (shape[0], *geometry.out, geometry.o), shape)
    return backward(u, w, geometry)


def conv2d_weight(
    u: Any,
    x: Any,
    shape: Any,
    stride: Any = (1, 1),
    padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Any:
    """w̄ with ⟨w̄, w⟩ = ⟨u, conv2d(x, w)⟩ for all w.

    u: (n, h′, w′, o), x: (n, h, w, i), shape = (kh, kw, i / groups, o) that of the result; the rest as for
    conv2d(x, w). Raises ValueError where conv2d(x, w) would not have the shape of u.
    """
    u, x = as_array(u), as_array(x)
    geometry = _geometry("conv2d_weight", x.shape, shape, stride, padding, dilation, groups)
    _check_cotangent("conv2d_weight", u.shape, (len(x), *geometry.out, geometry.o), x.shape)
    return weight(u, x, geometry)


def _check_cotangent(name: str, shape: Any, expected: Any, x: Any) -> None:
    if tuple(shape) != tuple(expected):
        raise ValueError(f"{name}: u has shape {tuple(shape)}; for x of shape {tuple(x)} it must be {tuple(expected)}")


def _geometry(name: str, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Geometry:
    """The checked sizes of a convolution of x with w, given by their shapes."""
    x, w = tuple(map(int, x)), tuple(map(int, w))
    if len(x) != 4:
        raise ValueError(f"{name}: x has shape {x}, expected (n, h, w, i)")
    if len(w) != 4 or min(w) < 1:
        raise ValueError(f"{name}: w has shape {w}, expected (kh, kw, i / groups, o), none of them zero")
    s, d, p = _pair(name, "stride", stride, 1), _pair(name, "dilation", dilation, 1), _padding(name, padding)
    if groups < 1 or x[3] != groups * w[2] or w[3] % groups:
        raise ValueError(f"{name}: x of shape {x} and w of shape {w} do not fit with groups={groups}")
    size, kernel = (x[1], x[2]), (w[0], w[1])
    rest = [m + sum(pp) - dd * (k - 1) - 1 for m, pp, dd, k in zip(size, p, d, kernel, strict=True)]
    if min(rest) < 0:
        raise ValueError(
            f"{name}: the kernel of w, shape {w}, with dilation {d} is larger than x, shape {x}, with padding {p}"
        )
    return Geometry(size, kernel, (rest[0] // s[0] + 1, rest[1] // s[1] + 1), s, p, d, int(groups), x[3], w[3])


def _pair(name: str, what: str, value: Any, least: int) -> tuple[int, int]:
    pair = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(pair) != 2 or any(int(k) != k or k < least for k in pair):
        raise ValueError(f"{name}: {what} must be a whole number ≥ {least} or a pair of them, got {value!r}")
    return int(pair[0]), int(pair[1])


def _padding(name: str, value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    pair = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name}: padding must be a number, a pair or ((top, bottom), (left, right)), got {value!r}")
    return _pair(name, "padding", pair[0], 0), _pair(name, "padding", pair[1], 0)
