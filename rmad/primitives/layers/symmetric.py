"""Explicit blocks that are their own adjoint, J = Jᵀ: one product object is push and pull, and works in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad import tuning
from rmad.types import Array

__all__ = ["SymmetricKernels", "row_chunks"]


def row_chunks(n, width) -> list[slice]:
    """Slices of n rows that stay in cache."""
    step = max(1, tuning.PASSES_CHUNK // max(1, width))
    return [slice(k, k + step) for k in range(0, n, step)]


class SymmetricKernels:
    """Pushes and pulls that write into the buffers of a plan. See rmad.plan.pull.

    The pair of a block is an object twice, called as product(v), with a method into(v, out); a pair of plain functions
    has no kernel. `on_gpu(new, add)` returns a call for arrays of a GPU, None for others.
    """

    def push(self, block, new, add) -> Callable[[Array, Array], Any] | None:
        product = block.pair[0]
        into = getattr(product, "into", None)
        if into is None or block.x != block.y:
            return None
        call = product.on_gpu(new, add)
        if call is not None:
            return call
        if not add:
            return into
        part = new(block.y.shape, block.y.dtype)

        def added(v, out) -> None:
            into(v, part)
            np.add(out, part, out)

        return added

    pull = push

    def work(self, block) -> float:
        """Roughly, in multiply-adds of a matrix product."""
        return float(tuning.ELEMENT_WORK * block.y.size)
