"""Checks of the arguments that layers share: sizes, a random generator, arrays of floats; one wording per error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from nn.init import Init, Shape
from nn.module import Module
from rmad.extend import Array

__all__ = ["bias_of", "check_dtype", "check_floats", "check_maker", "check_rng", "check_sizes", "initial"]

MakesLayer: TypeAlias = Callable[[], Module]
"""The type of an argument `activation`: a class of layers, or a function that returns a layer."""


def check_sizes(name: str, what: str, *sizes: Any) -> None:
    """Raises TypeError or ValueError that begins with `name`, unless all sizes are whole numbers ≥ 1."""
    if not all(isinstance(size, int | np.integer) for size in sizes):
        raise TypeError(f"{name}: {what} must be whole, not {' and '.join(map(repr, sizes))}")
    if min(sizes) < 1:
        raise ValueError(f"{name}: {what} must be positive, not {' and '.join(map(str, sizes))}")


def check_rng(name: str, rng: Any) -> None:
    """Raises TypeError unless rng is a NumPy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{name}: rng must be a Generator, as np.random.default_rng(0), not {type(rng).__name__}")


def check_maker(name: str, argument: str, make: Any) -> None:
    """Raises TypeError unless `make` makes a layer: a class, or a function without arguments."""
    if not callable(make) or (hasattr(make, "forward") and not isinstance(make, type)):
        found = f"a {type(make).__name__} that is made already" if callable(make) else repr(make)
        raise TypeError(f"{name}: {argument} must make a layer, as the class nn.ReLU does, not {found}")


def check_dtype(name: str, dtype: Any, kinds: str = "fc") -> None:
    """Raises TypeError unless dtype is a float type. kinds: "fc" for real and complex floats, "f" for real ones."""
    if np.dtype(dtype).kind not in kinds:
        raise TypeError(f"{name}: dtype must be a {_real(kinds)}float type, not {np.dtype(dtype)}")


def initial(
    name: str, init: Init, rng: np.random.Generator, shape: Shape, dtype: DTypeLike, argument: str = "init"
) -> Array:
    """Returns the weight that init(rng, shape, dtype) makes."""
    check_rng(name, rng)
    if not callable(init):
        wanted = "a function (rng, shape, dtype), as nn.init.he_normal"
        raise TypeError(f"{name}: {argument} must be {wanted}, not {type(init).__name__}")
    weight = init(rng, shape, dtype)
    if np.shape(weight) != shape:
        raise ValueError(f"{name}: {argument} made a weight of shape {np.shape(weight)}, expected {shape}")
    return weight


def bias_of(bias: bool | float, size: int, dtype: DTypeLike) -> Array | None:
    """Returns (size,) filled with the number `bias`, with 0 for True; None for False."""
    return None if bias is False else np.full(size, 0.0 if bias is True else bias, dtype)


def check_floats(layer: Module, x: Any, kinds: str = "fc", name: str = "x") -> None:
    """Raises TypeError that names the layer, unless x is an array, traced or not, of floats."""
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    if kind is None or kind not in kinds:
        called = f"{type(layer).__name__}({layer.describe()})"
        raise TypeError(f"{called}: {name} must be an array of {_real(kinds)}floats, not {_found(x, name)}")


def _real(kinds: str) -> str:
    return "" if "c" in kinds else "real "


def _found(x: Any, name: str) -> str:
    """Describes x, and says how to make an array of it."""
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, tuple) else ()
    if any(hasattr(part, "shape") for part in parts):
        return f"a {type(x).__name__} of {len(x)}; a batch is given in two, opt.step(x, t)"
    if isinstance(x, list | tuple):
        return f"a {type(x).__name__}; np.array({name}, np.float32) makes one of it"
    if hasattr(x, "detach"):
        return f"a {type(x).__module__}.{type(x).__name__}; pass {name}.numpy()"
    if hasattr(x, "to_numpy"):
        return f"a {type(x).__name__}; {name}.to_numpy(np.float32) makes one of it"
    if not hasattr(x, "dtype"):
        return type(x).__name__
    return f"of {x.dtype}" + ("" if x.dtype.kind == "c" else f"; {name}.astype(np.float32) makes one of it")
