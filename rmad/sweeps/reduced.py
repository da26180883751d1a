"""The rows of every case at a place where a parameter is used, for factors that sum over them first ("reduce")."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul, mT
from rmad.sweeps.rows import Rows
from rmad.sweeps.uses import Use
from rmad.tapes.blocks import Linear
from rmad.tapes.tape import Node
from rmad.types import Array

__all__ = ["Places", "by_case", "row_axes", "rows_first"]

Pulled = Callable[[Sequence[Any]], Iterable[tuple[int, Array]]]


class Places:
    """The layout of n cases in the nodes at which parameters are used.

    The shape of a node tells it or, where that allows more than one, cotangents of two halves of the cases, which are
    zero in each other's rows. Where neither does, because cases mix, they count as lying along the first axis.

    uses: node → one use at it; ends: nodes of the outputs, whose first axis counts the cases; pulled: a backward sweep.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        ends: Sequence[int | None],
        n: int,
        uses: Mapping[int, Use],
        pulled: Pulled,
        like: Array,
    ) -> None:
        self.n, self.nodes, self.like = n, nodes, like
        self.found: dict[int, Rows | None] = {}
        candidates = {j: Rows.candidates(n, row_axes(use, nodes[j].spec.shape)) for j, use in uses.items()}
        if all(len(layouts) < 2 for layouts in candidates.values()):
            self.found = {j: layouts[0] if layouts else None for j, layouts in candidates.items()}
            return
        shapes = [() if k is None else nodes[k].spec.shape for k in ends]
        if any(shape[:1] != (n,) for shape, k in zip(shapes, ends, strict=True) if k is not None):
            return
        halves, U = self._halves_of(ends)
        for j, u in pulled(U):
            if j in uses:
                parts = [rows_first(uses[j], part) for part in u]
                self.found[j] = next((rows for rows, fits in Rows.tests(halves, parts, candidates[j]) if fits), None)

    def _halves_of(self, ends: Sequence[int | None]) -> tuple[list[Array], list[Array | None]]:
        """The numbers of the cases in two halves, by chance, and the cotangents of both at every output, stacked."""
        rng = np.random.default_rng(0)
        order = rng.permutation(self.n)
        halves = order[: (self.n + 1) // 2], order[(self.n + 1) // 2 :]
        U: list[Array | None] = []
        for k in ends:
            if k is None:
                U.append(None)
                continue
            u = rng.uniform(1, 2, (2, *self.nodes[k].spec.shape))
            u[0, halves[1]] = u[1, halves[0]] = 0
            U.append(arrays.moved_to(self.like, u, self.nodes[k].spec.dtype))
        return [arrays.moved_to(self.like, half) for half in halves], U

    def by_case(self, use: Use, rows: Array) -> Array:
        """Rows (n r, p) of activations or cotangents of a use as (n, r, p)."""
        layout, axes = self.found.get(use.node), row_axes(use, self.nodes[use.node].spec.shape)
        if layout is not None and len(rows) % math.prod(axes) == 0:
            return by_case(layout, axes, rows)
        return np.reshape(rows, (self.n, -1, rows.shape[-1]))


def by_case(layout: Rows | None, axes: tuple[int, ...], rows: Array) -> Array:
    """Rows (n r, p) along axes of this shape as (n, r, p); without a layout there is one case."""
    if layout is None:
        return rows[None]
    view = layout.view(np.reshape(rows, (*axes, -1, rows.shape[-1])))
    return np.reshape(view, (layout.n, -1, rows.shape[-1]))


def _is_convolution(use: Use) -> bool:
    return use.block.primitive in (conv.forward, conv.backward)


def _is_left(use: Use) -> bool:
    """True for W in y = W a, whose rows lie along the last axis of y."""
    return isinstance(use.block, Linear) and use.block.primitive is matmul and use.block.argnum == 0


def row_axes(use: Use, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of the rows of a use at a node of this shape; of images, their number alone."""
    if _is_convolution(use):
        return shape[:1]
    return (*shape[:-2], shape[-1]) if _is_left(use) else shape[:-1]


def rows_first(use: Use, u: Array) -> Array:
    """The cotangent of a node with the axes of rows first."""
    return mT(u) if _is_left(use) else u
