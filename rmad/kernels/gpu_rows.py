"""Jacobians of softmax and of standardization, and (p − t)/n, on a GPU: sums over an axis, and what they make.

One kernel each. If the axis is the last one, the 32 threads of a warp share a row: they add up their parts of its sums
by exchanging registers, so that v is read from memory once and nothing but the result is written.
"""

from __future__ import annotations

from rmad.machine.fused import Elementwise
from rmad.types import Array

__all__ = ["minus_targets", "softmax_product", "standardized_product"]

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


def _minus(name: str, parameters: str, is_target: str, other: str) -> Elementwise:
    """(p − t)/n: where t is one, p − 1 as minus the sum of the other p, in which no digit cancels."""
    body = (
        f"{ROW} T others = 0; {EACH} if (!({is_target})) others += p[k]; others = sum_of_warp(others); "
        f"{EACH} u[k] = T(({is_target} ? -others : {other}) * over_n)"
    )
    return Elementwise(f"raw T p, {parameters}, int64 width, float64 over_n", "raw T u", body, name, FUNCTIONS)


_minus_labels = _minus("minus_labels", "raw L t", "k - first == t[i / 32]", "p[k]")
_minus_probabilities = _minus("minus_probabilities", "raw T t", "t[k] == T(1)", "p[k] - t[k]")


def minus_targets(p: Array, t: Array, over_n: float, out: Array) -> None:
    """out ← (p − t) over_n, for rows p that sum to one; t: labels (…,), or rows like p. out may be p."""
    width = p.shape[-1]
    kernel = _minus_labels if t.ndim < p.ndim else _minus_probabilities
    kernel(p, t, width, over_n, out, size=WARP * (p.size // max(1, width)))


def softmax_product(y: Array, v: Array, out: Array, add: bool = False) -> None:
    """out ← y (v − Σ y v), sums over the last axis; v may be out.

    v_t of the y above ½, if there is one, is subtracted first: see rmad.primitives.softmax.
    """
    width = y.shape[-1]
    _softmax_products[add](y, v, width, out, size=WARP * (y.size // width))


def standardized_product(y: Array, r: Array, width: int, v: Array, out: Array, add: bool = False) -> None:
    """out ← r (v − mean v − x̂ mean x̂ v), x̂ = y, means over the last axes, of `width` elements; v may be out."""
    _standardized_products[add](y, r, v, width, out, size=WARP * (y.size // width))
