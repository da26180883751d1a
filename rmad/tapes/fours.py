"""Four tangents of a number as a tuple of Python's floats, in stacks that are pushed through loops over numbers.

    y = d x + e z      tangents (d x₁ + e z₁, …, d x₄ + e z₄)

Python multiplies and adds four floats in a tenth of the time that one call of NumPy takes. So Jacobians in few numbers
are pushed four columns at a time. Where an array is made of numbers, or reads one, the tuple becomes a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.tapes.specs import ArraySpec

__all__ = ["FOUR", "NUMBER", "as_stack", "combined", "of_four"]

FOUR = 4
NUMBER = ArraySpec.of(np.float64(0))


def of_four(V: Any) -> Any:
    """A stack of four tangents of a number as a tuple; anything else as it is."""
    return tuple(V.tolist()) if type(V) is np.ndarray and V.shape == (FOUR,) and V.dtype is NUMBER.dtype else V


def as_stack(V: Any) -> Any:
    """A tuple as a stack again; anything else as it is."""
    return np.array(V) if type(V) is tuple else V


def combined(ds: Sequence[Any], inputs: Sequence[int], v: Sequence[Any]) -> Any:
    """Σ d_k v_i, i = inputs[k], for one or two tuples of tangents of numbers, None being zero.

    NotImplemented if one is no tuple, or there are more of them.
    """
    if len(ds) == 2:
        i, j = inputs
        x, z = v[i], v[j]
        if type(x) is tuple and type(z) is tuple:
            d, e = ds
            d, e = float(d), float(e)
            x1, x2, x3, x4 = x
            z1, z2, z3, z4 = z
            return d * x1 + e * z1, d * x2 + e * z2, d * x3 + e * z3, d * x4 + e * z4
        if x is not None and z is not None:
            return NotImplemented
        x, d = (x, ds[0]) if z is None else (z, ds[1])
    elif len(ds) == 1:
        x, d = v[inputs[0]], ds[0]
    else:
        return NotImplemented
    if type(x) is not tuple:
        return None if x is None else NotImplemented
    d, (x1, x2, x3, x4) = float(d), x
    return d * x1, d * x2, d * x3, d * x4
