"""What every public function of NumPy is called with: one line for functions that take the same.

The names stand for the arrays in `ARRAYS`, which are traced, and in `CONSTANTS`, which are not. Several calls are
separated by bars.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ARRAYS", "CONSTANTS", "LEFT_OUT", "WRITERS", "calls", "methods"]


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    X, S = rng.uniform(0.2, 0.9, (3, 4)), rng.normal(size=(3, 3))
    return {
        "X": X,
        "Y": rng.uniform(1.1, 1.9, (3, 4)),
        "V": rng.uniform(0.2, 0.9, 4),
        "W": rng.uniform(1.1, 1.9, 4),
        "T": rng.uniform(0.2, 0.9, (2, 3, 4)),
        "S": S @ S.T + 2 * np.eye(3),
        "B": rng.uniform(0.2, 0.9, (3, 2)),
        "A": rng.uniform(0.2, 0.9, (4, 3)),
        "D": rng.uniform(0.2, 0.9, (2, 3)),
        "R": np.array([0.1, 0.4, 0.9, 1.7]),
        "O": np.array(0.7),
    }


ARRAYS = _arrays()
CONSTANTS = {
    "I": np.array([2, 0, 1]),
    "K": np.array([[1, 0, 2, 2]]),
    "M": np.arange(12).reshape(3, 4) % 3 > 0,
    "N": np.arange(12).reshape(3, 4),
}

_CALLS = """
abs absolute fabs negative positive sign exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal sin cos tan
    arcsin arccos arctan asin acos atan sinh cosh tanh arcsinh arctanh asinh atanh deg2rad rad2deg degrees radians floor
    ceil trunc rint signbit isnan isfinite isinf conjugate conj spacing logical_not modf frexp real imag angle
    nan_to_num real_if_close isreal iscomplex iscomplexobj isrealobj i0 sinc fix round around isposinf isneginf
    isscalar emath.sqrt emath.log emath.log2 emath.log10 emath.arccos emath.arcsin emath.arctanh: X | V | O
add subtract multiply divide true_divide power pow float_power maximum minimum fmax fmin hypot arctan2 atan2
    logaddexp logaddexp2 remainder mod fmod copysign heaviside floor_divide divmod equal not_equal less less_equal
    greater greater_equal logical_and logical_or logical_xor nextafter isclose allclose array_equal array_equiv
    emath.power emath.logn: X, Y | Y, V | X, 2
sum mean prod max min amax amin ptp var std median nansum nanmean nanprod nanmax nanmin nanvar nanstd nanmedian
    argmax argmin nanargmax nanargmin all any count_nonzero cumsum cumprod nancumsum nancumprod average: X | V
ravel transpose atleast_1d atleast_2d atleast_3d matrix_transpose fliplr flipud flip rot90 copy ndim size shape
    squeeze permute_dims nonzero argwhere flatnonzero sort argsort sort_complex unique unique_values unique_counts
    unique_inverse unique_all diagonal trace diag triu tril diagflat vander array asarray asanyarray ascontiguousarray
    asfortranarray asarray_chkfinite require zeros_like ones_like gradient diff ediff1d unwrap trim_zeros
    histogram histogram_bin_edges poly roots iterable min_scalar_type result_type common_type unstack
    trapezoid cumulative_sum cumulative_prod isfortran tril_indices_from triu_indices_from diag_indices_from polyder
    polyint asmatrix ix_ array2string array_repr array_str: X | V
arccosh acosh: Y | W
ldexp: X, K
where: M, X, Y | X > 0.5, X, 2
select: [M, ~M], [X, Y] | [M], [X], 1.5
choose: K, [V, W, V] | [2, 0], X[:, :2]
clip: X, 0.4, V | X, 0.3, 0.8
interp: V, R, W | O, [0, 1], [O, 2]
piecewise: V, [V < 0.5, V >= 0.5], [lambda a: a * a, 2]
apply_along_axis: np.sum, 0, X | lambda a: a * a[0], -1, X
apply_over_axes: np.sum, X, [0, 1]
fromfunction: (lambda i, j: i * O + j), (2, 3)
fromiter: (a * 2 for a in V), float
reshape: X, (2, 6) | V, (2, 2)
resize: X, (2, 5) | V, 7
expand_dims: X, 1 | V, (0, 2)
swapaxes moveaxis rollaxis: X, 1, 0 | T, 2, 0
roll: X, 1 | V, 2
broadcast_to: V, (2, 4) | X, (2, 3, 4)
tile: X, 2 | V, (2, 2)
repeat: X, 2 | V, [1, 2, 0, 1]
full: 3, O | (2, 4), V
full_like: X, O | X, 2
empty_like: X
arange: O | 0, 3 * O, 0.5 | O, 4
linspace geomspace logspace: O, 2, 5 | V, W, 3
append: X, Y | V, 2.0
insert: X, 1, V, 0 | V, [0, 2], O
delete: X, 1, 0 | V, [0, 2]
split array_split: V, 2 | X, [1, 2]
hsplit: X, 2 | V, 2
vsplit: A, 2
dsplit: T, 2
concatenate concat stack vstack row_stack hstack dstack column_stack: [X, Y] | [V, W] | X
block bmat: [[X, Y], [Y, X]] | [V, W]
meshgrid: V, W
broadcast_arrays: X, V
take: X, I, 0 | V, K
take_along_axis: X, K, 0
compress: [True, False, True], X, 0 | M[0], V
extract: M, X
put: X, [0, 2], V | V, [1], O
put_along_axis: X, K, V, 0
place: X, M, V
putmask: X, M, V
copyto: X, V | X, Y
fill_diagonal: X, O | S, V
pad: X, 1 | V, (1, 2), 'edge' | X, 1, 'reflect'
partition argpartition: X, 1 | V, 2
quantile percentile nanquantile nanpercentile: X, 0.3 | V, [0.2, 0.6] | X, 0.4, 0
searchsorted: R, O | R, V
digitize: V, R
bincount: N[0], V | K[0], None, 5
histogram: V, 3 | N, 4, None, None, X
histogram2d: V, W, 3 | N[0], N[1], 2, None, None, V
histogramdd: X, 2
average: X, None, Y | X, 1, V
cov corrcoef: X | V, W
lexsort: (V, W) | X
in1d isin union1d intersect1d setdiff1d setxor1d: V, W
correlate convolve: V, W | V, W, 'same'
dot matmul: X, A | S, B | V, W
vdot inner: V, W | X, Y
vecdot: X, Y | V, W
vecmat: V, A | V, T[0].T
matvec: X, V | T, V
outer kron: X, V | V, W
tensordot: X, A, 1 | X, Y
cross: D, D[::-1] | X[:, :3], V[:3]
einsum: 'ij,jk->ik', X, A | 'ij->j', X | 'i,i', V, W
einsum_path: 'ij,jk->ik', X, A
trapezoid trapz: X, V | V, W
polyval: V, W | V, X
polyfit: R, W, 2
polyadd polysub polymul polydiv: V, W | V, W[:2]
tri eye identity tril_indices triu_indices diag_indices: 3
zeros ones empty indices: (2, 3)
mask_indices: 3, np.triu
ravel_multi_index: ([1, 2], [0, 1]), (3, 4)
unravel_index: [3, 5], (3, 4)
broadcast_shapes: (3, 1), (4,)
astype: X, np.float32 | X, complex
can_cast: X.dtype, float
promote_types: X.dtype, np.float32
may_share_memory shares_memory: X, Y
isdtype: X.dtype, 'real floating'
issubdtype: X.dtype, float
typename mintypecode: X.dtype.char

linalg.norm: X | V | X, 1 | X, 'nuc'
linalg.vector_norm: X | V
linalg.matrix_norm: X | T
linalg.cond: S | X
linalg.det linalg.slogdet linalg.inv linalg.cholesky linalg.eigvals linalg.eigvalsh linalg.eig linalg.eigh: S
linalg.svd linalg.svdvals linalg.qr linalg.pinv linalg.matrix_rank: X | A
linalg.solve: S, B | S, V[:3]
linalg.tensorsolve: S, V[:3]
linalg.tensorinv: S, 1
linalg.lstsq: A, V
linalg.matrix_power: S, 3 | S, -2
linalg.multi_dot: [X, A, S]
linalg.matmul: X, A
linalg.outer: V, W
linalg.cross: D[:, :3], D[::-1, :3]
linalg.vecdot: X, Y
linalg.tensordot: X, A, axes=1
linalg.diagonal linalg.trace linalg.matrix_transpose: X | T

fft.fft fft.ifft fft.rfft fft.irfft fft.hfft fft.ihfft: X | V | V, 6
fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn fft.rfftn fft.irfftn: X | T
fft.fftshift fft.ifftshift: X | V
fft.fftfreq fft.rfftfreq: 8, O

lib.stride_tricks.sliding_window_view: V, 2 | X, (2, 2)
lib.stride_tricks.as_strided: V, (2, 2), (8, 8)
"""

_POLYNOMIALS = {
    "polynomial": "poly",
    "chebyshev": "cheb",
    "legendre": "leg",
    "hermite": "herm",
    "hermite_e": "herme",
    "laguerre": "lag",
}
_OF_POLYNOMIALS = """
val: O, V | X, V
val2d grid2d: V, W, X | O, O, X
val3d grid3d: V, W, R, T
der int: V | X
fromroots companion roots: V
add sub mul div: V, W
pow: V, 3
mulx: V
vander: V, 3
vander2d: V, W, [1, 2]
vander3d: V, W, R, [1, 1, 1]
fit: R, W, 2
line: O, V[0]
trim: V
2poly: V
weight: V
gauss: 4
interpolate: (lambda a: a * O), 3
valfromroots: O, V | X, V
pts1 pts2: 4
"""

METHODS = """
all any argmax argmin argsort conj conjugate copy cumprod cumsum flatten max mean min nonzero prod ravel round squeeze
    std sum transpose var view tobytes tolist byteswap dumps: | axis
argpartition: 1
astype: np.float32 | complex | int
choose: [V, W, V]
clip: 0.3, 0.6
compress: [True, False]
diagonal trace: | 1
dot: A | V
fill: O
item: | 0
partition: 1
put: [0, 1], V[:2]
repeat: 2 | 2, 0
reshape: 2, -1 | (-1,)
resize: (2, 2)
searchsorted: 0.5
setfield: 1.0, float
setflags: False
sort: | 0
swapaxes: 0, 1 | 0, -1
take: [0, 1] | I, 0
to_device: "cpu"
"""
_IN_PLACE = ("fill", "partition", "put", "sort", "resize", "setfield", "setflags")
UFUNC_METHODS = {
    "reduce": "X | V, keepdims=True | X, initial=0.5 | X, axis=1",
    "accumulate": "X | V | X, axis=1",
    "reduceat": "V, [0, 2] | X, [0, 2, 1]",
    "outer": "V, W | X, 2.0",
}

LEFT_OUT = {
    "no numbers": """
        base_repr binary_repr busday_count busday_offset datetime_as_string datetime_data is_busday isnat
        format_float_positional format_float_scientific info get_include show_config show_runtime test
        get_printoptions set_printoptions printoptions getbufsize setbufsize geterr seterr geterrcall seterrcall
        nested_iters frompyfunc
    """,
    "files and memory": """
        from_dlpack frombuffer fromfile fromregex fromstring genfromtxt load loadtxt save savetxt savez
        savez_compressed
    """,
    "integers only": """
        bitwise_and bitwise_count bitwise_invert bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
        bitwise_xor gcd invert lcm left_shift packbits right_shift unpackbits
    """,
    "constants": "bartlett blackman hamming hanning kaiser",
}


WRITERS = {"np.copyto", "np.fill_diagonal", "np.place", "np.put", "np.put_along_axis", "np.putmask"}
"""Functions that write into their first argument and return None."""


def calls() -> dict[str, list[str]]:
    """The arguments of every function: {"np.sum": ["X", "V"], …}."""
    table: dict[str, list[str]] = {}
    for line in filter(str.strip, _CALLS.replace("\n    ", " ").splitlines()):
        names, _, arguments = line.partition(": ")
        for name in names.split():
            table.setdefault(f"np.{name}", []).extend(arguments.strip().split(" | "))
    for module, short in _POLYNOMIALS.items():
        for line in filter(str.strip, _OF_POLYNOMIALS.splitlines()):
            names, _, arguments = line.partition(": ")
            for name in names.split():
                full = f"{short}{name}"
                if hasattr(getattr(np.polynomial, module), full):
                    table[f"np.polynomial.{module}.{full}"] = arguments.strip().split(" | ")
    return table


def methods() -> dict[str, list[str]]:
    """The whole calls of methods: {"x.sum": ["X.sum()", …], "np.hypot.reduce": […], …}."""
    table: dict[str, list[str]] = {}
    for line in filter(str.strip, METHODS.replace("\n    ", " ").splitlines()):
        names, _, arguments = line.partition(":")
        for name in names.split():
            given = [a.strip() for a in arguments.replace("axis", "").split("|")]
            made = [f"{x}.{name}({a})" for x in ("X", "V") for a in dict.fromkeys(given)]
            if name in _IN_PLACE:
                made = [f"(lambda y: (y{call[1:]}, y)[1])({call[0]}.copy())" for call in made]
            table[f"x.{name}"] = made
    for ufunc in _ufuncs_of_two():
        for method, arguments in UFUNC_METHODS.items():
            table[f"np.{ufunc}.{method}"] = [f"np.{ufunc}.{method}({a})" for a in arguments.split(" | ")]
    return table


def _ufuncs_of_two() -> list[str]:
    names = [name for name, f in vars(np).items() if isinstance(f, np.ufunc) and f.__name__ == name]
    return sorted(n for n in names if "dd->d" in getattr(np, n).types and getattr(np, n).signature is None)
