"""Four tangents of a number as a tuple of Python's floats, in stacks that are pushed through loops over numbers.

    y = d x + e z      tangents (d x₁ + e z₁, …, d x₄ + e z₄)

Python multiplies and adds four floats in a tenth of the time that one call of NumPy takes. So Jacobians in few numbers
are pushed four columns at a time. Where an array is made of numbers, or reads one, the tuple becomes a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.specs import ArraySpec

__all__ = ["FOUR", "NUMBER", "as_stack", "combined", "of_four"]

FOUR = 4
NUMBER = ArraySpec.of(np.float64(0))


def of_four(V: Any) -> Any:
    """A stack of four tangents of a number as a tuple; anything else as it is."""
    return tuple(V.tolist()) if type(V) is np.ndarray and V.shape == (FOUR,) and V.dtype is NUMBER.dtype else V


def as_stack(V: Any) -> Any:
    """A tuple as a stack again; anything else as it is."""
    return np.array(V) if type(V) is tuple else V


def combined(ds: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Σ d_i v_i for one or two tuples of tangents of numbers, None being zero; NotImplemented if one is no tuple."""
    if len(ds) == 2:
        v, w = tangents
        if type(v) is tuple and type(w) is tuple:
            d, e = float(ds[0]), float(ds[1])
            v0, v1, v2, v3 = v
            w0, w1, w2, w3 = w
            return d * v0 + e * w0, d * v1 + e * w1, d * v2 + e * w2, d * v3 + e * w3
        if v is not None and w is not None:
            return NotImplemented
        v, d = (v, ds[0]) if w is None else (w, ds[1])
    elif len(ds) == 1:
        v, d = tangents[0], ds[0]
    else:
        return NotImplemented
    if v is None:
        return None
    if type(v) is not tuple:
        return NotImplemented
    d, (v0, v1, v2, v3) = float(d), v
    return d * v0, d * v1, d * v2, d * v3
