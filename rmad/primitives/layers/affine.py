"""y = x W + b: the bias is added in place, which is safe because no other code holds the product."""

from __future__ import annotations

from rmad.kernels import elementwise as fast
from rmad.rules import elementwise
from rmad.tracing.traced import Traced
from rmad.types import Array

__all__ = ["affine"]


def _onto(y, b) -> Array:
    """y ← y + b"""
    loop = fast.loop("add_to_rows", y) if fast.suits(b) else None
    if loop is None:
        y += b
    else:
        loop(y.reshape(-1, b.size), b)
    return y


_add_onto = elementwise(_onto, 1, 1, name="add")


def affine(x, weight, bias) -> Array:
    """y = x W + b.  x: (…, i), W: (i, o), b: (o,), y: (…, o)"""
    y = x @ weight
    ours = type(y) is type(bias) or isinstance(y, Traced) or isinstance(bias, Traced)
    if not ours or y.dtype != bias.dtype or y.shape[-1:] != bias.shape:
        return y + bias
    return _add_onto(y, bias)
