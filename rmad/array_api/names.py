"""The names in the array API standard, and NumPy's functions as functions of a namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from types import ModuleType, SimpleNamespace
from typing import Any

from rmad.as_written.swap import for_users, is_recording

__all__ = ["CONSTANTS", "DTYPES", "FFT", "FUNCTIONS", "LINALG", "extension", "function"]

CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)

_FUNCTIONS = """
    abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh bitwise_and
    bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor broadcast_arrays broadcast_to can_cast
    ceil clip concat conj copysign cos cosh count_nonzero cumulative_prod cumulative_sum diff divide empty empty_like
    equal exp expand_dims expm1 eye finfo flip floor floor_divide from_dlpack full full_like greater greater_equal hypot
    iinfo imag isdtype isfinite isinf isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and
    logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis multiply
    negative nextafter nonzero not_equal ones ones_like permute_dims positive pow prod real reciprocal remainder repeat
    reshape result_type roll round searchsorted sign signbit sin sinh sort sqrt square squeeze stack std subtract sum
    take take_along_axis tan tanh tensordot tile tril triu trunc unique_all unique_counts unique_inverse unique_values
    unstack var vecdot where zeros zeros_like
"""

_LINALG = """
    cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer
    pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""

_FFT = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift"

FUNCTIONS, LINALG, FFT = _FUNCTIONS.split(), _LINALG.split(), _FFT.split()


def function(module: ModuleType, name: str) -> Any:
    """NumPy's function of that name; while a function is recorded, the one that the user's own code gets."""
    own: Any = module.__dict__[name]
    ours = for_users(module).get(name)
    if ours is None:
        return own

    @wraps(own)
    def call(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs) if is_recording() else own(*args, **kwargs)

    return call


def extension(name: str, module: ModuleType, names: Iterable[str], own: dict[str, Callable[..., Any]]) -> Any:
    """An extension of the standard, such as linalg."""
    functions = {key: own.get(key) or function(module, key) for key in names}
    return SimpleNamespace(__name__=name, **functions)
