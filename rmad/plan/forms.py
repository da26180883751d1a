"""Recognizes blocks whose push or pull is a single NumPy call with `out`, or a view of a buffer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from rmad.plan.buffers import shares
from rmad.primitives.matmul import matmul
from rmad.tapes.blocks import ONE, Block, Diagonal, Linear
from rmad.types import Array

__all__ = [
    "gemm",
    "is_bias",
    "is_copy",
    "is_matmul",
    "is_same_shape",
    "is_scale",
    "is_scaling",
    "is_stacked_matmul",
    "rank",
    "transposed_view_of",
    "view_of",
]


def is_scaling(block: Block) -> TypeGuard[Diagonal]:
    """y = d x in one real dtype; x may be broadcast."""
    return isinstance(block, Diagonal) and block.x.dtype == block.y.dtype and block.y.dtype.kind == "f"


def is_same_shape(block: Block) -> TypeGuard[Diagonal]:
    """y = d x in one real dtype, x and y of one shape: d v and d u may be written over v and u."""
    return is_scaling(block) and block.x.shape == block.y.shape


def is_copy(block: Block) -> bool:
    """y = x."""
    return is_same_shape(block) and block.d is ONE


def is_bias(block: Block) -> bool:
    """b in y = … + b: of shape (o,) or (1, …, o), added along the last axis."""
    if not (is_scaling(block) and block.d is ONE and block.y.size):
        return False
    return block.y.ndim >= 2 and block.x.size == block.x.shape[-1:][0] == block.y.shape[-1] if block.x.ndim else False


def is_matmul(block: Block, argnum: int) -> TypeGuard[Linear]:
    """(…, i) @ (i, o), all of one real dtype, with a matrix on the right."""
    if not (isinstance(block, Linear) and block.primitive is matmul and block.argnum == argnum):
        return False
    A, B = block.args
    real = block.y.dtype.kind == "f" and A.dtype == B.dtype == block.y.dtype
    flat = argnum == 0 or A.ndim == 2 or A.flags.c_contiguous
    return real and B.ndim == 2 and A.ndim >= 2 and flat and bool(A.size and B.size)


def is_stacked_matmul(block: Block) -> TypeGuard[Linear]:
    """(…, i, j) @ (…, j, k) with the same leading axes, all of one real dtype: one product each."""
    if not (isinstance(block, Linear) and block.primitive is matmul):
        return False
    A, B = block.args
    real = block.y.dtype.kind == "f" and A.dtype == B.dtype == block.y.dtype
    return real and A.ndim >= 3 and A.shape[:-2] == B.shape[:-2] and bool(A.size and B.size)


def is_scale(block: Block) -> TypeGuard[Diagonal]:
    """s in y = a · s: of shape (o,), multiplied along the last axis of a."""
    if not (is_scaling(block) and getattr(block.d, "shape", None) == block.y.shape):
        return False
    return block.y.ndim >= 2 and block.x.shape == block.y.shape[-1:] and bool(block.y.size)


def rank(block: Block) -> int:
    """Orders the terms of a sum: products first, since they can write in place of adding; diagonals last."""
    return 0 if isinstance(block, Linear) else 2 if isinstance(block, Diagonal) else 1


def view_of(block: Block, buffer: Array) -> Array | None:
    """block.push(buffer) if that is a writable view of the buffer, else None."""
    if isinstance(block, Diagonal):
        return buffer if is_copy(block) else None
    return _as_view(block, block.push, buffer)


def transposed_view_of(block: Block, buffer: Array) -> Array | None:
    """block.pull(buffer) if that is a writable view of the buffer, else None."""
    return _as_view(block, block.pull, buffer)


def _as_view(block: Block, sweep: Callable[[Array], Array], buffer: Array) -> Array | None:
    if not isinstance(block, Linear) or block.x.dtype != block.y.dtype or _is_product(block):
        return None
    y = sweep(buffer)
    is_view = getattr(y, "base", None) is not None and shares(y, buffer) and getattr(y.flags, "writeable", True)
    return y if is_view and y.size else None


def _is_product(block: Linear) -> bool:
    """Bilinear: never a view, and too expensive to try."""
    return len(getattr(block.primitive, "transposes", ())) > 1


def gemm(A: Array, B: Array, out: Array) -> Callable[[], Any]:
    """out ← A B as one BLAS call; np.dot is the quicker entry, but wants `out` in C order."""
    if out.flags.c_contiguous:
        return partial(np.dot, A, B, out)
    if out.flags.f_contiguous:
        return partial(np.dot, B.T, A.T, out.T)
    return partial(np.matmul, A, B, out)
