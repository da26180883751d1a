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

from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.machine.products import multiply
from rmad.types import Array

__all__ = ["Cell", "Layout", "ParameterSums", "Residuals", "Scratch"]


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

    def parameters(self, P: Array, scratch: Scratch) -> list[Array]:
        """W, U, b and e of P; b and e may be empty."""
        W, U, b = (
            P[:, columns].T if self.whole else _side_by_side([P[row, columns].T for row in rows], scratch)
            for rows, columns in ((self.of_x, self.x), (self.of_h, self.h), (self.of_x, self.first))
        )
        return [W, U, b.reshape(-1), P[self.of_h[-1], self.second].reshape(-1)]


def _side_by_side(parts: Sequence[Array], scratch: Scratch) -> Array:
    whole = scratch.empty((len(parts[0]), sum(part.shape[1] for part in parts)))
    column = 0
    for part in parts:
        whole[:, column : column + part.shape[1]] = part
        column += part.shape[1]
    return whole


def _rows(blocks: set[int], m: int) -> slice:
    return slice(min(blocks) * m, (max(blocks) + 1) * m)


class Scratch:
    """The arrays of a sweep: new ones, or, with `kept`, those of the sweep before, asked for in the same order."""

    def __init__(self, like: Array, kept: bool = False) -> None:
        self.like, self.kept = like, kept
        self._held: list[Array] = []
        self._asked = 0

    def begin(self) -> Scratch:
        """A sweep begins."""
        self._asked = 0
        return self

    def empty(self, shape: tuple[int, ...]) -> Array:
        """An array of any content."""
        if not self.kept:
            return arrays.empty(self.like, shape)
        self._asked += 1
        if self._asked > len(self._held):
            self._held.append(arrays.empty(self.like, shape))
        return self._held[self._asked - 1]

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """An array of zeros."""
        if not self.kept:
            return arrays.zeros(self.like, shape)
        a = self.empty(shape)
        a.fill(0)
        return a

    def contiguous(self, a: Array) -> Array:
        """`a` in C order, copied if need be."""
        if not self.kept or a.flags.c_contiguous:
            return arrays.contiguous(a)
        copy = self.empty(a.shape)
        np.copyto(copy, a)
        return copy


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

    def __init__(self, layout: Layout, scratch: Scratch) -> None:
        self.shape, self.scratch = layout.shape, scratch
        sizes = [(_length(rows), _length(columns)) for rows, columns in layout.sides]
        self.sums = [(*side, scratch.zeros(size)) for side, size in zip(layout.sides, sizes, strict=True)]
        self.terms = [scratch.empty(size) for size in sizes]

    def add(self, ua: Array, inputs: Array) -> None:
        for (rows, columns, total), term in zip(self.sums, self.terms, strict=True):
            A, B = ua[rows], inputs[columns].T
            if is_cupy(total):
                multiply(A, B, total, add=True)
            else:
                np.add(total, np.dot(A, B, term), total)

    def whole(self) -> Array:
        """P̄, with zeros in the other blocks."""
        P = self.scratch.zeros(self.shape)
        for rows, columns, total in self.sums:
            P[rows, columns] = total
        return P


def _length(part: slice) -> int:
    return part.stop - part.start
