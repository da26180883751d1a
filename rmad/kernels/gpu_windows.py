"""Windows over images (n, h, w, c) on a GPU, one kernel each: patches and their transpose, maxima, means.

A kernel has one thread for each number that it writes. It computes the place of what it reads from the sizes, so no
image is padded, no array of places is made, and sums over windows need no atomic additions. `windows` is a
rmad.kernels.windows.Sampling.
"""

from __future__ import annotations

from rmad.kernels.windows import Sampling
from rmad.machine.fused import Elementwise
from rmad.types import Array

__all__ = ["fold", "gather", "means", "patches", "patches_of_both", "scatter", "shares"]

SIZES = (
    "int32 h, int32 w, int32 channels, int32 lines, int32 columns, int32 kh, int32 kw, int32 sh, int32 sw, int32 dh, "
    "int32 dw, int32 top, int32 left"
)


def _sizes(windows: Sampling, channels: int, lines: int) -> tuple[int, ...]:
    (top, _), (left, _) = windows.padding
    columns = windows.out[1]
    return (*windows.size, channels, lines, columns, *windows.kernel, *windows.stride, *windows.dilation, top, left)


# i runs over (group, image, line, column, k, l, channel of the group)
OF_PATCHES = f"{SIZES}, int32 groups, int32 images, int32 first"
TO_PATCH = """
    const int own = channels / groups;
    ptrdiff_t rest = i;
    const int c = rest % own; rest /= own;
    const int l = rest % kw; rest /= kw;
    const int k = rest % kh; rest /= kh;
    const int column = rest % columns; rest /= columns;
    const int line = rest % lines; rest /= lines;
    const ptrdiff_t image = rest % images;
    const int group = rest / images;
    const int row = (first + line) * sh + k * dh - top, at = column * sw + l * dw - left;
    const bool inside = row >= 0 && row < h && at >= 0 && at < w;
    const ptrdiff_t from = inside ? ((image * h + row) * w + at) * channels + group * own + c : 0;
"""
_patches = Elementwise(f"raw S x, {OF_PATCHES}", "T patch", TO_PATCH + "patch = inside ? T(x[from]) : T(0)", "patches")
_both_patches = Elementwise(
    f"raw S x, raw R z, {OF_PATCHES}",
    "T patch, T other",
    TO_PATCH + "patch = inside ? T(x[from]) : T(0); other = inside ? T(z[from]) : T(0)",
    "patches_of_both",
)

# i runs over (image, row, column, channel); with `reached`, the lines of windows that the patches are of
TO_PIXEL = """
    ptrdiff_t rest = i;
    const int c = rest % channels; rest /= channels;
    const int at = rest % w; rest /= w;
    const int row = rest % h;
    const ptrdiff_t image = rest / h;
    T sum = 0;
    for (int k = 0; k < kh; k++) {
        const int down = row + top - k * dh, line = down / sh - first;
        if (down < 0 || down % sh || line < 0 || line >= lines) continue;
        for (int l = 0; l < kw; l++) {
            const int across = at + left - l * dw, column = across / sw;
            if (across < 0 || across % sw || column >= columns) continue;
"""


def _to_pixels(name: str, given: str, term: str, assign: str) -> Elementwise:
    body = f"{TO_PIXEL} sum += {term}; }} }} x {assign} sum"
    return Elementwise(f"{given}, {SIZES}, int32 first, int32 groups, int32 images", "T x", body, name)


PATCH_OF_PIXEL = (
    "u[((((c / (channels / groups) * ptrdiff_t(images) + image) * lines + line) * columns + column) * kh * kw"
    " + k * kw + l) * (channels / groups) + c % (channels / groups)]"
)
MEAN_OF_PIXEL = (
    "u[((image * lines + line) * columns + column) * channels + c] * weights[line * ptrdiff_t(columns) + column]"
)
_fold = tuple(_to_pixels("fold" + more, "raw T u", PATCH_OF_PIXEL, a) for more, a in (("", "="), ("_added", "+=")))
_shares = tuple(
    _to_pixels("shares_of_means" + more, "raw T u, raw T weights", MEAN_OF_PIXEL, a)
    for more, a in (("", "="), ("_added", "+="))
)

_means = tuple(
    Elementwise(
        f"raw T x, raw T weights, {SIZES}",
        "T y",
        f"""
        ptrdiff_t rest = i;
        const int c = rest % channels; rest /= channels;
        const int column = rest % columns; rest /= columns;
        const int line = rest % lines;
        const ptrdiff_t image = rest / lines;
        T sum = 0;
        for (int k = 0; k < kh; k++) {{
            const int row = line * sh + k * dh - top;
            if (row < 0 || row >= h) continue;
            for (int l = 0; l < kw; l++) {{
                const int at = column * sw + l * dw - left;
                if (at >= 0 && at < w) sum += x[((image * h + row) * w + at) * channels + c];
            }}
        }}
        y {assign} weights[line * ptrdiff_t(columns) + column] * sum
        """,
        name,
    )
    for name, assign in (("means", "="), ("means_added", "+="))
)
_gather = tuple(
    Elementwise("raw T x, I place", "T y", f"y {assign} x[place]", name)
    for name, assign in (("gather", "="), ("gather_added", "+="))
)
_scatter = {
    (add, overlap): Elementwise("T u, I place", "raw T x", body, name)
    for add, overlap, body, name in (
        (False, False, "x[place] = u", "scatter"),
        (True, False, "x[place] += u", "scatter_added"),
        (True, True, "atomicAdd(&x[place], u)", "scatter_overlapping"),
    )
}


def patches(x: Array, windows: Sampling, groups: int, first: int, lines: int, out: Array) -> None:
    """out[group, (image, line, column), (k, l, channel)] ← x, for some lines of windows, from `first` on."""
    _patches(x, *_sizes(windows, x.shape[3], lines), groups, len(x), first, out.reshape(-1))


def patches_of_both(
    x: Array, z: Array, windows: Sampling, groups: int, first: int, lines: int, out: Array, other: Array
) -> None:
    """The same, out ← x and other ← z, of two batches of images."""
    sizes = _sizes(windows, x.shape[3], lines)
    _both_patches(x, z, *sizes, groups, len(x), first, out.reshape(-1), other.reshape(-1))


def fold(u: Array, windows: Sampling, groups: int, first: int, lines: int, x: Array, add: bool) -> None:
    """The transpose of `patches`: x ← u, or x ← x + u, every number of a patch at the pixel that it comes from."""
    _fold[add](u.reshape(-1), *_sizes(windows, x.shape[3], lines), first, groups, len(x), x)


def means(x: Array, windows: Sampling, weights: Array, y: Array, add: bool) -> None:
    """y ← weights Σ x over each window, or y ← y + …; weights: (p q,)."""
    _means[add](x, weights, *_sizes(windows, x.shape[3], windows.out[0]), y)


def shares(u: Array, windows: Sampling, weights: Array, x: Array, add: bool) -> None:
    """The transpose of `means`."""
    _shares[add](u, weights, *_sizes(windows, x.shape[3], windows.out[0]), 0, 1, len(x), x)


def gather(x: Array, places: Array, y: Array, add: bool) -> None:
    """y ← x[places], or y ← y + x[places], places in x as one vector."""
    _gather[add](x, places, y)


def scatter(u: Array, places: Array, x: Array, add: bool, overlap: bool) -> None:
    """x[places] ← u, or x[places] ← x[places] + u, places in x as one vector; overlap: one may occur twice."""
    if not add:
        x.fill(0)
    _scatter[add or overlap, overlap](u, places, x)
