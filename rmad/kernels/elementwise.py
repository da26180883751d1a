"""Which arrays a loop of numba's takes over from NumPy (the extra `fast`): plain ones of float32, in C order, long.

NumPy's exp of float32 takes 1.3 ns per element on AVX2, its tanh 2.6, and every further pass over an array 0.15
to 0.3; `rmad.kernels.compiled.maths` has sigmoid and its derivative in one pass of 0.7. All else stays with NumPy:
other dtypes, strided, traced and CuPy arrays, short ones, and everything where numba is not installed. The results
agree to a few units in the last place; of overflow the loops do not warn. numba is loaded when the first array is
long enough.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["WORTH_IT", "exp", "exp_with_derivative", "loop", "loops_of", "same", "suits", "tanh", "with_derivative"]

WORTH_IT = 1 << 14  # elements; below, a call of NumPy's costs about as much as all that it computes
FLOAT32 = np.dtype(np.float32)


@cache
def loops_of(module: str) -> Any:
    """rmad.kernels.compiled.maths, or another module of loops; None without numba."""
    return (
        importlib.import_module(f"rmad.kernels.compiled.{module}")
        if importlib.util.find_spec("numba") is not None
        else None
    )


def suits(a: Any) -> bool:
    """A plain array of float32, in C order, that may be written into: for read-only ones numba would compile anew."""
    return type(a) is np.ndarray and a.dtype == FLOAT32 and a.flags.carray


def loop(name: str, *arrays: Any) -> Callable[..., Any] | None:
    """The loop of that name, which wants flat arrays, if it may run on these; else None."""
    for a in arrays:
        if not suits(a) or a.shape != arrays[0].shape:
            return None
    if arrays[0].size < WORTH_IT:
        return None
    return getattr(loops_of("maths"), name, None)


def same(name: str, x: Any) -> Any:
    """f(x), a new array like x; None where no loop takes x. (Into x itself, LLVM's loops run one number at a time.)"""
    run = loop(name, x)
    if run is None:
        return None
    y = np.empty_like(x)
    run(x.reshape(-1), y.reshape(-1))
    return y


def with_derivative(name: str) -> Callable[[Any], tuple[Any, Any] | None]:
    """x → f(x), f′(x) in one pass, or None: what an elementwise primitive has as `forward`."""
    both = f"{name}_and_derivative"

    def forward(x: Any) -> tuple[Any, Any] | None:
        run = loop(both, x)
        if run is None:
            return None
        y, d = np.empty_like(x), np.empty_like(x)
        run(x.reshape(-1), y.reshape(-1), d.reshape(-1))
        return y, d

    return forward


def exp_with_derivative(x: Any) -> tuple[Any, Any] | None:
    y = same("exp", x)
    return None if y is None else (y, y)


def exp(x: Any, *, ours: bool = False) -> Any:
    """np.exp; with `ours`, x may be written over, and is not to be used again."""
    y = same("exp", x)
    return y if y is not None else np.exp(x, out=x) if ours and x.ndim else np.exp(x)


def tanh(x: Any) -> Any:
    """np.tanh"""
    y = same("tanh", x)
    return np.tanh(x) if y is None else y
