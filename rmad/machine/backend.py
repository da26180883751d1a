"""CuPy behind one door: the only file of the project that imports it, and only if it is imported already or asked for.

A CuPy array can exist only after CuPy was imported, so a look into `sys.modules` is enough to tell the two kinds
apart, and a program that stays on the CPU never pays for the import.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from typing import Any

import numpy as np

__all__ = [
    "cublas_handle",
    "cublas_library",
    "devices",
    "import_cupy",
    "is_cupy",
    "linear_operator",
    "special_functions",
    "synchronize",
    "to_numpy",
]


def is_cupy(array: Any) -> bool:
    """True if `array` lives on the GPU. Costs a dictionary look-up on a machine without CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def import_cupy() -> Any:
    """The module cupy. Raises ImportError with the way to install it."""
    try:
        import cupy
    except ImportError as error:
        raise ImportError(f"CuPy cannot be imported ({error}); install it with: pip install 'rmad[gpu]'") from error
    return cupy


@cache
def cublas_library() -> Any:
    """CuPy's module of cuBLAS's functions, as sgemm(handle, …)."""
    from cupy_backends.cuda.libs import cublas

    return cublas


def cublas_handle() -> int:
    """CuPy's handle of cuBLAS for the present device and thread."""
    return import_cupy().cuda.device.get_cublas_handle()  # type: ignore[no-any-return]


def linear_operator(array: Any) -> Any:
    """The LinearOperator class for vectors like `array`: SciPy's, or cupyx's on the GPU."""
    if is_cupy(array):
        from cupyx.scipy.sparse.linalg import LinearOperator
    else:
        from scipy.sparse.linalg import LinearOperator
    return LinearOperator


def special_functions(array: Any) -> Any:
    """The module of special functions for arrays like `array`: SciPy's, or cupyx's on the GPU."""
    if is_cupy(array):
        from cupyx.scipy import special
    else:
        from scipy import special
    return special


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """`array` as a NumPy array: copied from the GPU, or as it is."""
    return array.get() if is_cupy(array) else np.asarray(array)


def synchronize(array: Any) -> None:
    """Waits until the device of `array` has finished its work; returns at once on the CPU."""
    if is_cupy(array):
        array.device.synchronize()


def devices() -> list[str]:
    """One line per GPU that CuPy sees; empty without CuPy, one line with the reason if CuPy fails.

    Imports CuPy if it is installed.
    """
    if importlib.util.find_spec("cupy") is None:
        return []
    try:
        cupy = import_cupy()
        found = []
        for k in range(cupy.cuda.runtime.getDeviceCount()):
            properties = cupy.cuda.runtime.getDeviceProperties(k)
            name, memory = properties["name"].decode(), properties["totalGlobalMem"] / 2**30
            found.append(f"GPU {k}: {name}, {memory:.0f} GiB")
        return found
    except Exception as error:  # a driver that is missing or too old: report it, the CPU still works
        return [f"CuPy is installed but no GPU can be used: {' '.join(str(error).split())[:200]}"]
