"""NumPy in the place of cuSOLVER, cuFFT and Thrust: CuPy's signatures and checks, NumPy's values."""

from __future__ import annotations

import ctypes
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupy_on_host import count

LINALG = {  # the module of cupy.linalg that defines the function, and its arguments that are arrays
    **dict.fromkeys(("cholesky", "qr", "svd"), ("_decomposition", ("a",))),
    **dict.fromkeys(("eigh", "eigvalsh", "eig", "eigvals"), ("_eigenvalue", ("a",))),
    **dict.fromkeys(("inv", "pinv"), ("_solve", ("a",))),
    **dict.fromkeys(("solve", "lstsq"), ("_solve", ("a", "b"))),
    **dict.fromkeys(("slogdet", "det"), ("_norms", ("a",))),
}
FFT = [f"{kind}fft{rank}" for kind in ("", "i", "r", "ir") for rank in ("", "2", "n")] + ["hfft", "ihfft"]
NUMBERS = "fdFD?bBhHiIlLqQ"  # the dtypes that CuPy's linear algebra takes


def install() -> None:
    """Puts the functions in the places where CuPy looks for them."""
    import cupy

    for name, (home, arrays) in LINALG.items():
        f = _stand_in(getattr(cupy.linalg, name), getattr(np.linalg, name), arrays, check=_check_matrices)
        setattr(cupy.linalg, name, f)
        setattr(importlib.import_module(f"cupy.linalg.{home}"), name, f)
    for name in FFT:
        setattr(cupy.fft, name, _stand_in(getattr(cupy.fft, name), getattr(np.fft, name), ("a",)))
    cupy.cuda.thrust.sort = _sort
    cupy.cuda.thrust.argsort = _argsort
    cupy.cuda.thrust.lexsort = _lexsort


def _stand_in(
    real: Callable[..., Any],
    of_numpy: Callable[..., Any],
    arrays: Sequence[str],
    check: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    """A function with the signature and the checks of CuPy's `real` and the values of NumPy's."""
    import cupy.linalg._util as util

    signature = inspect.signature(real)

    @functools.wraps(real)
    def f(*args: Any, **keywords: Any) -> Any:
        given = signature.bind(*args, **keywords).arguments
        util._assert_cupy_array(*(given[name] for name in arrays))
        if check is not None:
            check(*(given[name] for name in arrays))
        count.note("library_calls", real.__name__)
        with count.not_counted():
            host = {name: _on_host(value) for name, value in given.items()}
            return _on_device(_values(of_numpy, [host.pop(name) for name in arrays], host))

    return f


def _check_matrices(*given: Any) -> None:
    import cupy.linalg._util as util

    util._assert_stacked_2d(given[0])
    for a in given:
        if a.dtype.char not in NUMBERS:
            raise TypeError(f"numpy.linalg does not support dtype {a.dtype}")


def _values(of_numpy: Callable[..., Any], arrays: list[Any], options: dict[str, Any]) -> Any:
    """NumPy's values, or NaN where it raises LinAlgError: CuPy does not look at cuSOLVER's verdict unless asked to."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return of_numpy(*arrays, **options)
        except np.linalg.LinAlgError:
            first = arrays[0]
            identity = np.broadcast_to(np.eye(*first.shape[-2:], dtype=first.dtype), first.shape)
            y = of_numpy(identity, *arrays[1:], **options)
    return type(y)(*(np.full_like(a, np.nan) for a in y)) if isinstance(y, tuple) else np.full_like(y, np.nan)


def _on_host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else x


def _on_device(y: Any) -> Any:
    import cupy

    if isinstance(y, tuple):
        parts = map(_on_device, y)
        return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
    return cupy.asarray(y)


# -- Thrust ----------------------------------------------------------------------------------------------------------


def _memory(pointer: int, shape: Sequence[int], dtype: Any) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(shape)


def _sort(dtype: Any, data: int, keys: int, shape: Sequence[int]) -> None:
    count.note("library_calls", "sort")
    _memory(data, shape, dtype).sort(axis=-1)


def _argsort(dtype: Any, indices: int, data: int, keys: int, shape: Sequence[int]) -> None:
    count.note("library_calls", "argsort")
    a, i = _memory(data, shape, dtype), _memory(indices, shape, np.intp)
    i[...] = np.argsort(a, axis=-1, kind="stable")
    a[...] = np.take_along_axis(a, i, -1)


def _lexsort(dtype: Any, indices: int, keys: int, k: int, n: int) -> None:
    count.note("library_calls", "lexsort")
    _memory(indices, (n,), np.intp)[...] = np.lexsort(_memory(keys, (k, n), dtype))
