"""The memory of a recurrent layer: where its parameters lie in one matrix P, and the residuals of its steps.

    a_t = P [1; x_t; h_{t−1}; 1],   P = [b; W; U; e]ᵀ

Cases are the last axis, so that gates are blocks of rows and every pass goes through memory in order. Where P has
blocks of zeros (the GRU's), the products leave them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Protocol

import numpy as np

from rmad.machine import arrays, fused
from rmad.types import Array

__all__ = ["Cell", "Layout", "ParameterSums", "Residuals"]


class Cell(Protocol):
    """One step of a recurrent layer and its derivatives; see rmad.kernels.cells."""

    blocks: int
    extras: int
    scratch: int
    has_cell: bool
    carries: bool
    of_x: Sequence[int]
    of_h: Sequence[int]

    def forward(
        self, a: Array, before: Array, h: Array, c: Array | None, extras: Sequence[Array], scratch: Sequence[Array]
    ) -> None: ...

    def push(self, d: Array, extras: Sequence[Array], va: Array, vh: Array, vc: Array | None) -> None: ...

    def pull(
        self, d: Array, extras: Sequence[Array], uh: Array, uc: Array | None, ua: Array, scratch: Array
    ) -> None: ...


class Layout:
    """The places of the parts of a cell's product a = P [1; x; h; 1]: rows of a, columns of P.

    sizes: i, m, and whether there are the first and the second bias.
    """

    def __init__(self, cell: Cell, i: int, m: int, first: bool, second: bool) -> None:
        self.x, self.h = slice(first, first + i), slice(first + i, first + i + m)
        self.both = slice(first, first + i + m)
        self.shape = cell.blocks * m, first + i + m + second
        self.first, self.second = slice(0, int(first)), slice(self.h.stop, self.h.stop + second)
        self.of_x = [slice(k * m, (k + 1) * m) for k in cell.of_x]
        self.of_h = [slice(k * m, (k + 1) * m) for k in cell.of_h]
        left, right = slice(0, self.h.start), slice(self.h.start, self.second.stop)
        x, h = set(cell.of_x), set(cell.of_h)
        self.whole = x == h
        if self.whole:
            self.parts = self.sides = [(slice(0, self.shape[0]), slice(0, self.shape[1]))]
        else:
            self.sides = [(_rows(x, m), left), (_rows(h, m), right)]
            parts = [(x & h, slice(0, self.h.stop)), (x - h, left), (h - x, right)]
            self.parts = [(_rows(blocks, m), columns) for blocks, columns in parts if blocks]

    def fill(self, P: Array, W: Array | None, U: Array | None, b: Array | None, e: Array | None) -> Array:
        """P = [b; W; U; e]ᵀ, with zeros in place of None."""
        for a, rows, columns in ((W, self.of_x, self.x), (U, self.of_h, self.h), (b, self.of_x, self.first)):
            if a is not None:
                m = a.shape[-1] // len(rows)
                for k, row in enumerate(rows):
                    part = a[..., k * m : (k + 1) * m]
                    P[row, columns] = part.T if part.ndim == 2 else part[:, None]
        if e is not None:
            P[self.of_h[-1], self.second] = e[:, None]
        return P

    def parameters(self, P: Array) -> list[Array]:
        """W, U, b and e of P; b and e may be empty."""
        W, U, b = (
            P[:, columns].T if self.whole else np.concatenate([P[row, columns].T for row in rows], axis=1)
            for rows, columns in ((self.of_x, self.x), (self.of_h, self.h), (self.of_x, self.first))
        )
        return [W, U, b.reshape(-1), P[self.of_h[-1], self.second].reshape(-1)]


def _rows(blocks: set[int], m: int) -> slice:
    return slice(min(blocks) * m, (max(blocks) + 1) * m)


class Residuals:
    """The residuals of some consecutive steps: inputs = [1; x; h; 1], d and extras = the coefficients of the cell.

    `steps` holds (inputs, d, extras) of each step, as views.
    """

    def __init__(self, cell: Cell, steps: int, like: Array, layout: Layout, n: int) -> None:
        m = layout.h.stop - layout.h.start
        self.inputs = arrays.empty(like, (steps, layout.shape[1], n))
        self.inputs[:, layout.first] = self.inputs[:, layout.second] = 1
        self.d = arrays.empty(like, (steps, cell.blocks * m, n))
        extras = [arrays.empty(like, (steps, m, n)) for _ in range(cell.extras)]
        more = zip(*extras, strict=True) if extras else repeat((), steps)
        self.steps = list(zip(self.inputs, self.d, more, strict=True))


class ParameterSums:
    """P̄ = Σ_t u_a [1; x; h; 1]ᵀ, one sum for each block of P that is not zero."""

    def __init__(self, layout: Layout, like: Array) -> None:
        self.shape, self.like = layout.shape, like
        sizes = [(_length(rows), _length(columns)) for rows, columns in layout.sides]
        self.sums = [(*side, arrays.zeros(like, size)) for side, size in zip(layout.sides, sizes, strict=True)]
        self.terms = [np.empty_like(total) for _, _, total in self.sums]

    def add(self, ua: Array, inputs: Array) -> None:
        for (rows, columns, total), term in zip(self.sums, self.terms, strict=True):
            A, B = ua[rows], inputs[columns].T
            if not isinstance(total, np.ndarray) and fused.can_add_product(A, B, total):
                fused.add_product(A, B, total)
            else:
                np.add(total, np.dot(A, B, term), total)

    def whole(self) -> Array:
        """P̄, with zeros in the other blocks."""
        P = arrays.zeros(self.like, self.shape)
        for rows, columns, total in self.sums:
            P[rows, columns] = total
        return P


def _length(part: slice) -> int:
    return part.stop - part.start
