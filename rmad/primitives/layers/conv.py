"""Convolution: one form, linear in images x, weights w and cotangents u, seen from its three sides.

    ⟨u, conv2d(x, w)⟩ = ⟨conv2d_input(u, w), x⟩ = ⟨conv2d_weight(u, x), w⟩
                      = Σ u[n, y, x, o] x[n, y s + k d − top, x s + l d − left, i] w[k, l, i, o]

Each of the three is the transpose of the other two, so the three primitives are closed under derivatives of any order.
x: (n, h, w, i), w: (kh, kw, i / groups, o), u and y: (n, h′, w′, o).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels.depthwise import DepthwiseFolded, DepthwiseForward, DepthwiseWeights, is_depthwise
from rmad.kernels.gpu_patches import FoldedOnGPU, ForwardOnGPU, PairOnGPU, WeightsOnGPU
from rmad.kernels.patches import Folded, Forward, Geometry, NewArray, Weights
from rmad.kernels.windows import Pair, paddings, pair
from rmad.kernels.winograd import WinogradForward, WinogradPair, WinogradWeights, fits
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.layers.images import OfImages
from rmad.rules import as_array, bilinear
from rmad.tapes.blocks import Linear
from rmad.types import Array

__all__ = ["conv2d", "conv2d_input", "conv2d_weight"]

# -- the three sides, for plain arrays -----------------------------------------------------------------------


def _product(
    like: Array, wanted: str, geometry: Geometry, n: int, dtype: Any, new: NewArray, add: bool = False
) -> Callable[..., None]:
    """The product with the patches of n images that makes u of (x, w), x of (u, w) or w of (u, x), arrays of a kind."""
    kinds: Any = {"u": Forward, "x": Folded, "w": Weights}
    if is_cupy(like):
        kinds = {"u": ForwardOnGPU, "x": FoldedOnGPU, "w": WeightsOnGPU}
        return kinds[wanted](geometry, n, dtype, new, add, tuning.CONVOLUTION_CHUNK_ON_GPU)
    if is_depthwise(geometry):
        kinds = {"u": DepthwiseForward, "x": DepthwiseFolded, "w": DepthwiseWeights}
    elif fits(geometry, n, dtype):
        kinds = {"u": WinogradForward, "x": Folded, "w": WinogradWeights}
    return kinds[wanted](geometry, n, dtype, new, add)


def _run(wanted: str, geometry: Geometry, n: int, a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """The wanted one of u, x and w, as a new array."""
    dtype = np.result_type(a.dtype, b.dtype)

    def new(shape: Any, dtype: Any) -> Any:
        return arrays.empty(a, shape, dtype)

    out = new(shape, dtype)
    _product(a, wanted, geometry, n, dtype, new)(a, b, out)
    return out


def _forward(x: Array, w: Array, geometry: Geometry) -> Array:
    return _run("u", geometry, len(x), x, w, (len(x), *geometry.out, geometry.o))


def _input(u: Array, w: Array, geometry: Geometry) -> Array:
    """x̄[n, p, q, i] = Σ u[n, y, x, o] w[k, l, i, o] over y s + k d − top = p, x s + l d − left = q.

    With s = 1, y = p + top − k d: a convolution of u with the kernel turned by 180° and its channels transposed. Else
    a sum over taps.
    """
    turned = geometry.transposed()
    if turned is not None:
        return _forward(u, geometry.turned(w), turned)
    return _run("x", geometry, len(u), u, w, (len(u), *geometry.size, geometry.i))


def _weight(u: Array, x: Array, geometry: Geometry) -> Array:
    return _run("w", geometry, len(x), u, x, geometry.weight_shape)


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
forward.block = backward.block = OfImages


# -- in a plan -------------------------------------------------------------------------------------------------


class Kernels:
    """Pushes and pulls of the blocks that write into buffers of a plan, for arrays of one real dtype.

    roles: the names in the form above of the primitive's two arguments and of its result.
    """

    def __init__(self, *roles: str) -> None:
        self.roles = roles

    def work(self, block: Linear) -> float:
        """Multiply-adds of a product."""
        geometry, n = block.args[2], self._images(block)
        return float(n * geometry.pixels * geometry.width * geometry.o)

    def push(self, block: Linear, new: NewArray, add: bool) -> Callable[..., None] | None:
        """f(v, out) with out ← J v, or out ← out + J v; new(shape, dtype) makes scratch. None if it cannot."""
        return self._bind(block, self.roles[block.argnum], self.roles[2], new, add)

    def pull(self, block: Linear, new: NewArray, add: bool) -> Callable[..., None] | None:
        """f(u, out) with out ← Jᵀ u, or out ← out + Jᵀ u."""
        return self._bind(block, self.roles[2], self.roles[block.argnum], new, add)

    def push_both(self, blocks: Sequence[Linear], new: NewArray, add: bool) -> Callable[..., None] | None:
        """f(v, v′, out) for the blocks of both arguments: conv2d(v, w) + conv2d(x, v′) as one product by tiles.

        On a GPU, as two products with patches that one kernel gathers.
        """
        first, second = sorted(blocks, key=lambda block: block.argnum)
        geometry, n, dtype = first.args[2], self._images(first), first.y.dtype
        plain = self.roles[2] == "u" and first.args[2] == second.args[2] and second.argnum == first.argnum + 1
        if not (plain and self._binds(first) and self._binds(second)):
            return None
        product: WinogradPair | PairOnGPU
        if not isinstance(first.args[1], np.ndarray):
            if geometry.pointwise:
                return None
            product = PairOnGPU(geometry, n, dtype, new, add, tuning.CONVOLUTION_CHUNK_ON_GPU // 2)
        elif fits(geometry, n, dtype):
            product = WinogradPair(geometry, n, dtype, new, add)
        else:
            return None
        w, x = first.args[1], second.args[0]
        if first is blocks[0]:
            return lambda v, V, out: product(v, w, x, V, out)
        return lambda V, v, out: product(v, w, x, V, out)

    def _binds(self, block: Linear) -> bool:
        """True if the block has one real dtype, the wider of its two if they differ."""
        kept, dtype = block.args[1 - block.argnum], block.y.dtype
        return block.x.dtype == dtype and dtype.kind == "f" and bool(np.result_type(kept.dtype, dtype) == dtype)

    def _images(self, block: Linear) -> int:
        """The number of images, which one of x and u of every primitive shows."""
        return (block.args[0] if self.roles[0] != "w" else block.y).shape[0]

    def _bind(self, block: Linear, given: str, wanted: str, new: NewArray, add: bool) -> Callable[..., None] | None:
        """The product that makes the wanted one of x, w, u from the given one and from the one that the block keeps."""
        kept, geometry = block.args[1 - block.argnum], block.args[2]
        dtype = block.y.dtype
        if not self._binds(block):
            return None
        first = {"u": "x", "x": "u", "w": "u"}[wanted]
        turned = geometry.transposed() if wanted == "x" else None
        if turned is None:
            product = _product(kept, wanted, geometry, self._images(block), dtype, new, add)
        elif given == "w":  # the kernel is new in every sweep
            forward = _product(kept, "u", turned, self._images(block), dtype, new, add)
            kernel = new(turned.weight_shape, dtype)

            def with_turned(w: Array, out: Array) -> None:
                geometry.turn(w, kernel)
                forward(kept, kernel, out)

            return with_turned
        else:
            product = _product(kept, "u", turned, self._images(block), dtype, new, add)
            kept = arrays.contiguous(geometry.turned(kept))  # a view with steps would be copied in every sweep
        if given == first:
            return lambda a, out: product(a, kept, out)
        return lambda b, out: product(kept, b, out)


forward.kernels = Kernels("x", "w", "u")
backward.kernels = Kernels("u", "w", "x")
weight.kernels = Kernels("u", "x", "w")

# -- called by users ------------------------------------------------------------------------------------------


def conv2d(
    x: Array,
    w: Array,
    stride: int | Pair = (1, 1),
    padding: int | Pair | tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: int | Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """y[n, y, x, o] = Σ x[n, y s + k d − top, x s + l d − left, i] w[k, l, i, o].

    Parameters
    ----------
    x : array, (n, h, w, i)
    w : array, (kh, kw, i / groups, o)
    stride : int or (vertical, horizontal), default 1
        s, in pixels.
    padding : int, (vertical, horizontal) or ((top, bottom), (left, right)), default 0
        Rows and columns of zeros around the image.
    dilation : int or (vertical, horizontal), default 1
        d, pixels from one element of the kernel to the next.
    groups : int, default 1
        Output channel o reads only its own group of the input channels.

    Returns
    -------
    y : array, (n, h′, w′, o), h′ = ⌊(h + top + bottom − d (kh − 1) − 1) / s⌋ + 1

    Raises
    ------
    ValueError
        If the shapes do not fit, or the kernel is larger than the padded image.
    """
    x, w = as_array(x), as_array(w)
    return forward(x, w, _geometry("conv2d", x.shape, w.shape, stride, padding, dilation, groups))


def conv2d_input(
    u: Array,
    w: Array,
    shape: Sequence[int],
    stride: int | Pair = (1, 1),
    padding: int | Pair | tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: int | Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """x̄ with ⟨x̄, x⟩ = ⟨u, conv2d(x, w)⟩ for all x: the transposed convolution.

    Parameters
    ----------
    u : array, (n, h′, w′, o)
    w : array, (kh, kw, i / groups, o)
    shape : (n, h, w, i)
        The shape of the result.
    stride, padding, dilation, groups
        Those of conv2d(x, w).

    Returns
    -------
    x̄ : array, (n, h, w, i)

    Raises
    ------
    ValueError
        If conv2d of an x of that shape would not have the shape of u.
    """
    u, w = as_array(u), as_array(w)
    geometry = _geometry("conv2d_input", shape, w.shape, stride, padding, dilation, groups)
    _check_cotangent("conv2d_input", u.shape, (shape[0], *geometry.out, geometry.o), shape)
    return backward(u, w, geometry)


def conv2d_weight(
    u: Array,
    x: Array,
    shape: Sequence[int],
    stride: int | Pair = (1, 1),
    padding: int | Pair | tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: int | Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """w̄ with ⟨w̄, w⟩ = ⟨u, conv2d(x, w)⟩ for all w.

    Parameters
    ----------
    u : array, (n, h′, w′, o)
    x : array, (n, h, w, i)
    shape : (kh, kw, i / groups, o)
        The shape of the result.
    stride, padding, dilation, groups
        Those of conv2d(x, w).

    Returns
    -------
    w̄ : array, (kh, kw, i / groups, o)

    Raises
    ------
    ValueError
        If conv2d(x, w) would not have the shape of u.
    """
    u, x = as_array(u), as_array(x)
    geometry = _geometry("conv2d_weight", x.shape, shape, stride, padding, dilation, groups)
    _check_cotangent("conv2d_weight", u.shape, (len(x), *geometry.out, geometry.o), x.shape)
    return weight(u, x, geometry)


def _check_cotangent(name: str, shape: Sequence[int], expected: Sequence[int], x: Sequence[int]) -> None:
    if tuple(shape) != tuple(expected):
        raise ValueError(f"{name}: u has shape {tuple(shape)}; for x of shape {tuple(x)} it must be {tuple(expected)}")


def _geometry(name: str, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Geometry:
    """The checked sizes of a convolution of x with w, given by their shapes."""
    x, w = tuple(map(int, x)), tuple(map(int, w))
    if len(x) != 4:
        raise ValueError(f"{name}: x has shape {x}, expected (n, h, w, i)")
    if len(w) != 4 or min(w) < 1:
        raise ValueError(f"{name}: w has shape {w}, expected (kh, kw, i / groups, o), none of them zero")
    s, d = pair(stride, f"{name}: stride"), pair(dilation, f"{name}: dilation")
    p = paddings(padding, f"{name}: padding")
    if groups < 1 or x[3] != groups * w[2] or w[3] % groups:
        raise ValueError(f"{name}: x of shape {x} and w of shape {w} do not fit with groups={groups}")
    size, kernel = (x[1], x[2]), (w[0], w[1])
    rest = [m + sum(pp) - dd * (k - 1) - 1 for m, pp, dd, k in zip(size, p, d, kernel, strict=True)]
    if min(rest) < 0:
        raise ValueError(
            f"{name}: the kernel of w, shape {w}, with dilation {d} is larger than x, shape {x}, with padding {p}"
        )
    return Geometry(size, kernel, (rest[0] // s[0] + 1, rest[1] // s[1] + 1), s, p, d, int(groups), x[3], w[3])
