"""The Jacobians of softmax and of standardization on a GPU, one kernel each: sums over an axis, and what they make.

If the axis is the last one, the 32 threads of a warp share a row: they add up their parts of its sums by exchanging
registers, so that v is read from memory once and nothing but the result is written. Sums over other axes are a kernel
of their own.
"""

from __future__ import annotations

from rmad.machine.fused import Elementwise, Reduction
from rmad.types import Array

__all__ = ["softmax_product", "standardized_product", "standardized_sums", "standardized_with_sums"]

WARP = 32
FUNCTIONS = """
template <typename T> __device__ T sum_of_warp(T x) {
    for (int k = 16; k; k >>= 1) x += __shfl_xor_sync(0xffffffffu, x, k);
    return x;
}
"""
EACH = "for (ptrdiff_t k = first + i % 32; k < first + width; k += 32) "
ROW = "const ptrdiff_t first = i / 32 * width; "


def _softmax(name: str, assign: str) -> Elementwise:
    body = (
        f"{ROW} T top = 0, sum = 0; "
        f"{EACH} if (y[k] > T(0.5)) top += v[k]; top = sum_of_warp(top); "
        f"{EACH} sum += y[k] * (v[k] - top); sum = sum_of_warp(sum); "
        f"{EACH} out[k] {assign} y[k] * ((v[k] - top) - sum)"
    )
    return Elementwise("raw T y, raw T v, int64 width", "raw T out", body, name, FUNCTIONS)


def _standardized(name: str, assign: str) -> Elementwise:
    body = (
        f"{ROW} T mean = 0, along = 0; "
        f"{EACH} {{ mean += v[k]; along += y[k] * v[k]; }} "
        "mean = sum_of_warp(mean) / T(width); along = sum_of_warp(along) / T(width); const T scale = r[i / 32]; "
        f"{EACH} out[k] {assign} scale * (v[k] - (mean + y[k] * along))"
    )
    return Elementwise("raw T y, raw T r, raw T v, int64 width", "raw T out", body, name, FUNCTIONS)


_softmax_products = _softmax("softmax_product", "="), _softmax("softmax_product_added", "+=")
_standardized_products = _standardized("standardized", "="), _standardized("standardized_added", "+=")
_with_sums = tuple(
    Elementwise(
        "T y, T r, T v, C sums, T m",
        "T out",
        f"out {assign} r * (v - (sums.real() / m + y * (sums.imag() / m)))",
        name,
    )
    for name, assign in (("standardized_with_sums", "="), ("standardized_with_sums_added", "+="))
)
standardized_sums = Reduction("T v, T y", "C sums", "C(v, v * y)", "a + b", "sums = a", "0", "standardized_sums")
"""Σ v and Σ v x̂ over some axes, as one complex number."""


def softmax_product(y: Array, v: Array, out: Array, add: bool = False) -> None:
    """out ← y (v − Σ y v), sums over the last axis; v may be out.

    v_t of the y above ½, if there is one, is subtracted first: see rmad.primitives.softmax.
    """
    width = y.shape[-1]
    _softmax_products[add](y, v, width, out, size=WARP * (y.size // width))


def standardized_product(y: Array, r: Array, width: int, v: Array, out: Array, add: bool = False) -> None:
    """out ← r (v − mean v − x̂ mean x̂ v), x̂ = y, means over the last axes, of `width` elements; v may be out."""
    _standardized_products[add](y, r, v, width, out, size=WARP * (y.size // width))


def standardized_with_sums(y: Array, r: Array, m: int, v: Array, sums: Array, out: Array, add: bool = False) -> None:
    """The same from the sums of `standardized_sums` over axes of m elements."""
    _with_sums[add](y, r, v, sums, m, out)
