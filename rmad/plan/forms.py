"""What a block is, as far as a plan can use it: which NumPy call with `out` is its whole push or pull."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from rmad.blocks import ONE, Block, Diagonal, Linear
from rmad.plan.buffers import shares
from rmad.primitives.matmul import matmul

__all__ = [
    "gemm",
    "is_bias",
    "is_copy",
    "is_matmul",
    "is_scale",
    "is_stacked_matmul",
    "rank",
    "simple",
    "view_of",
]


def simple(block: Diagonal) -> bool:
    """Real, and no change of dtype: a NumPy ufunc with `out` is the whole story."""
    return block.x.dtype == block.y.dtype and block.y.dtype.kind == "f"


def is_copy(block: Block) -> bool:
    return isinstance(block, Diagonal) and block.d is ONE and simple(block) and block.x == block.y


def is_bias(block: Block) -> bool:
    """b in y = … + b: of shape (o,) or (1, …, o), added along the last axis."""
    if not (isinstance(block, Diagonal) and block.d is ONE and simple(block) and block.y.size):
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
    if not (isinstance(block, Diagonal) and simple(block) and getattr(block.d, "shape", None) == block.y.shape):
        return False
    return block.y.ndim >= 2 and block.x.shape == block.y.shape[-1:] and bool(block.y.size)


def rank(block: Block) -> int:
    return 0 if isinstance(block, Linear) else 2 if isinstance(block, Diagonal) else 1


def view_of(block: Block, buffer: Any) -> Any:
    """block.push(buffer) where that is a writable view of the buffer, else None."""
    if isinstance(block, Diagonal):
        return buffer if is_copy(block) else None
    if not isinstance(block, Linear) or block.x.dtype != block.y.dtype or _is_product(block):
        return None
    y = block.push(buffer)
    is_view = getattr(y, "base", None) is not None and shares(y, buffer) and getattr(y.flags, "writeable", True)
    return y if is_view and y.size else None


def _is_product(block: Linear) -> bool:
    """Of the bilinear family: never a view, and too dear to try."""
    return len(getattr(block.primitive, "transposes", ())) > 1


def gemm(A: Any, B: Any, out: Any) -> Callable[[], Any]:
    """out ← A B as one BLAS call; np.dot is the quicker entry, but wants `out` in C order."""
    if out.flags.c_contiguous:
        return partial(np.dot, A, B, out)
    if out.flags.f_contiguous:
        return partial(np.dot, B.T, A.T, out.T)
    return partial(np.matmul, A, B, out)
