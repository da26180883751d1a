"""Elementwise functions in numba's loops (the extra `fast`), for plain arrays of float32 in C order that are long.

NumPy's exp of float32 takes 1.3 ns per element on AVX2, its tanh 2.6, and every further pass over an array 0.15
to 0.3; `rmad.kernels.compiled.maths` has sigmoid and its derivative in one pass of 0.7. All else stays with NumPy:
other dtypes, strided and traced arrays, short ones, and everything if numba is not installed. The results agree
to a few units in the last place; the loops do not warn of overflow. On a GPU the kernels of `gpu_elementwise` do this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad import tuning
from rmad.kernels import gpu_elementwise, loader
from rmad.machine.backend import is_cupy
from rmad.types import Array

__all__ = ["exp", "exp_with_derivative", "loop", "same", "suits", "tanh", "with_derivative"]

FLOAT32 = np.dtype(np.float32)


def suits(a: Any) -> bool:
    """True for a plain, writable array of float32 in C order: numba would compile again for a read-only one."""
    return type(a) is np.ndarray and a.dtype == FLOAT32 and a.flags.carray


def loop(name: str, *arrays: Any) -> Callable[..., Any] | None:
    """The loop of that name, which takes flat arrays, if it may run on these; else None."""
    for a in arrays:
        if not suits(a) or a.shape != arrays[0].shape:
            return None
    if arrays[0].size < tuning.ELEMENTWISE_LOOPS_FROM:
        return None
    return getattr(loader.loops("maths"), name, None)


def _is_on_gpu(x: Any) -> bool:
    return is_cupy(x) and x.dtype.char in "fd"


def same(name: str, x: Any) -> Array | None:
    """f(x), a new array like x; None if no loop takes x. (Into x itself, LLVM's loops run one number at a time.)"""
    if _is_on_gpu(x):
        kernel = gpu_elementwise.ONE.get(name)
        return None if kernel is None else kernel(x)
    run = loop(name, x)
    if run is None:
        return None
    y = np.empty_like(x)
    run(x.reshape(-1), y.reshape(-1))
    return y


def with_derivative(name: str) -> Callable[[Any], tuple[Array, Array] | None]:
    """x → f(x), f′(x) in one pass, or None: the `forward` of an elementwise primitive."""
    both = f"{name}_and_derivative"

    def forward(x: Any) -> tuple[Array, Array] | None:
        if _is_on_gpu(x):
            y, d = gpu_elementwise.WITH_DERIVATIVE[name](x)
            return y, d
        run = loop(both, x)
        if run is None:
            return None
        y, d = np.empty_like(x), np.empty_like(x)
        run(x.reshape(-1), y.reshape(-1), d.reshape(-1))
        return y, d

    return forward


def exp_with_derivative(x: Any) -> tuple[Array, Array] | None:
    """e^x twice: it is its own derivative."""
    y = same("exp", x)
    return None if y is None else (y, y)


def exp(x: Array, *, ours: bool = False) -> Array:
    """np.exp(x); with `ours` it may overwrite x, which the caller must not use again."""
    y = same("exp", x)
    return y if y is not None else np.exp(x, out=x) if ours and x.ndim else np.exp(x)


def tanh(x: Array) -> Array:
    """np.tanh(x)"""
    y = same("tanh", x)
    return np.tanh(x) if y is None else y
