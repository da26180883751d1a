"""Squares: the sum over cases of the squared per-case gradients, in one backward sweep.

    D_θ = Σ_n (∂L_n/∂θ)²,      e.g. Σ_n (a_nᵀ u_n)² where y = a W + … with one or more rows of a and u per case

The cotangents of different cases lie in different rows of an array as long as the cases do not mix. So a pull that
stops where arrays with rows per case meet arrays without (parameters, and arrays made of parameters alone) has all
per-case gradients. The rows of a case are not guessed from shapes: the sweep runs for two halves of the cases, whose
cotangents must be exactly zero in each other's rows.

A matrix met once with one row per case costs one product of squares, (a∘a)ᵀ(u∘u); else the gradients of some cases
at a time are formed, summed over rows and over all uses of the parameter, and squared.
Source: Martens & Sutskever (2012), section 11.3 (empirical Fisher), and 11.4 with other cotangents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.sweeps.inline import inlined
from rmad.sweeps.per_case import (
    gradients,
    is_embedding,
    is_weight,
    one_by_one,
    squares_of_embedding,
    squares_of_weight,
)
from rmad.sweeps.rows import Rows
from rmad.tapes.blocks import Block
from rmad.tapes.tape import Node, Tape
from rmad.types import Array

__all__ = ["squares"]


def squares(
    tape: Tape,
    cotangents: Sequence[Array],
    outputs: Sequence[int | None],
    n_inputs: int,
    n: int,
    wanted: Sequence[int] | None = None,
) -> list[Any] | None:
    """Per input: Σ_n (∂⟨u_n, z_n⟩/∂θ)², for cotangents u whose first axis counts the n cases.

    wanted: the inputs to find it for (None: all); the others get None.

    None if one sweep does not tell the cases apart: cases that mix (batch statistics), outputs without an axis
    of cases, a parameter that is an output itself, complex parameters.
    """
    nodes, ends = inlined(tape, outputs, n_inputs)
    given = [(k, u) for k, u in zip(ends, cotangents, strict=True) if k is not None]
    if any(k < n_inputs or (n > 1 and np.shape(u)[:1] != (n,)) for k, u in given):
        return None
    if any(node.spec.dtype.kind != "f" for node in nodes[:n_inputs]):
        return None
    places = [i for i in range(n_inputs) if wanted is None or i in wanted]
    try:
        found = _found(_Sweep(nodes, n_inputs, n, tape.like), given, places)
    except _CasesMix:
        if all(np.any(np.reshape(u, (len(u), -1)) != 0, axis=1).all() for _, u in given if np.ndim(u)):
            return None
        try:  # cases of no cotangent hide the layout: find it with others
            probe, rng = _Sweep(nodes, n_inputs, n, tape.like), np.random.default_rng(0)
            probe.run([(k, arrays.moved_to(u, rng.uniform(1, 2, np.shape(u)).astype(u.dtype))) for k, u in given])
            found = _found(_Sweep(nodes, n_inputs, n, tape.like, probe), given, places)
        except _CasesMix:
            return None
    return [found.get(i) for i in range(n_inputs)]


def _found(sweep: _Sweep, given: Sequence[tuple[int, Array]], places: Sequence[int]) -> dict[int, Array]:
    sweep.run(given)
    return {i: sweep.sum_of_squares(i) for i in places}


def _first_of(answers: Iterable[tuple[Rows | None, Any]]) -> tuple[Rows | None, bool]:
    """The layout of the first answer that is yes, and whether there is one."""
    return next(((rows, True) for rows, fits in answers if fits), (None, False))


class _CasesMix(Exception):
    """Raised if one case influences another's outputs, or the rows cannot be assigned to cases."""


class _Sweep:
    """The pull for two halves of the cases, up to the nodes where rows per case end.

    rows[j]: the layout of the cases in node j, or None. apart[j]: the halves share no element of it. total[j]: its
    cotangent, kept while some input of it may be without rows. uses[i]: (j, ∂y_j/∂y_i). open[j]: the inputs of node j
    that may be without rows. probe: a sweep that has found the layouts.
    """

    def __init__(self, nodes: list[Node], n_inputs: int, n: int, like: Array, probe: _Sweep | None = None) -> None:
        self.like, self.probe = like, probe
        self.nodes, self.n_inputs, self.n = nodes, n_inputs, n
        order = np.random.default_rng(0).permutation(n)  # by chance, so that no other layout fits
        halves = order[: (n + 1) // 2], order[(n + 1) // 2 :]
        self.halves = [arrays.moved_to(like, half) for half in halves]  # the numbers of the cases in each
        self.rows: list[Rows | None] = [None] * len(nodes)
        self.apart = [False] * len(nodes)
        self.total: list[Any] = [None] * len(nodes)
        self.uses: list[list[tuple[int, Block]]] = [[] for _ in nodes]
        self.open = [set(node.inputs) for node in nodes]
        for j, node in enumerate(nodes):
            for i, block in zip(node.inputs, node.blocks, strict=True):
                self.uses[i].append((j, block))

    def run(self, cotangents: Sequence[tuple[int, Array]]) -> None:
        """u_i += J_jiᵀ u_j for each half, from (output node, its cotangent), through nodes with rows per case."""
        u: list[list[Any]] = [[None, None] for _ in self.nodes]
        owned = [[False, False] for _ in self.nodes]
        later: list[tuple[int, list[tuple[Rows | None, Any]]]] = []
        for k, cotangent in cotangents:
            for s in range(2):
                part = self._only(cotangent, s)
                u[k][s] = part if u[k][s] is None else u[k][s] + part
        for j in range(len(self.nodes) - 1, self.n_inputs - 1, -1):
            node, both = self.nodes[j], u[j]
            if both[0] is None or not node.inputs:
                continue
            self.total[j] = both[0] + both[1]
            if self.probe is not None:
                self._classify(j, self.probe.rows[j], self.probe.apart[j])
            elif isinstance(both[0], np.ndarray):
                self._classify(j, *_first_of(self._answers(j, both)))
            else:
                later.append((j, list(self._answers(j, both))))
            for i, block in zip(node.inputs, node.blocks, strict=True):
                if i >= self.n_inputs:
                    for s in range(2):
                        u[i][s], owned[i][s] = block.pull_add(both[s], u[i][s], owned[i][s])
            u[j] = [None, None]
        found = iter(arrays.numbers([fits for _, answers in later for _, fits in answers]))  # one copy from a GPU
        for j, answers in later:
            self._classify(j, *_first_of([(rows, next(found)) for rows, _ in answers]))

    def _only(self, cotangent: Array, s: int) -> Array:
        """The cotangent of the cases in half s, zero in the rows of the others."""
        if self.n == 1:
            return cotangent * cotangent.dtype.type(len(self.halves[s]))
        part = cotangent.copy()
        part[self.halves[1 - s]] = 0
        return part

    def _answers(self, j: int, both: Sequence[Array]) -> Iterator[tuple[Rows | None, Any]]:
        """(layout, whether the cotangents of the two halves have it) …, then (None, whether they share no element)."""
        yield from Rows.tests(self.halves, both)
        if any(i >= self.n_inputs for i in self.nodes[j].inputs):
            yield None, ~np.any((both[0] != 0) & (both[1] != 0))

    def _classify(self, j: int, rows: Rows | None, apart: bool) -> None:
        """Sets rows[j] and apart[j]; _CasesMix if the cases meet in a later node."""
        self.rows[j], self.apart[j] = rows, apart
        for k, _ in self.uses[j]:
            if self.apart[j] and self.total[k] is not None and not self.apart[k]:
                raise _CasesMix
            if self.apart[j]:
                self.open[k].discard(j)
                if not self.open[k]:
                    self.total[k] = None  # all its inputs have rows

    # -- nodes without rows --------------------------------------------------------------------------------------

    def sum_of_squares(self, i: int) -> Array:
        """Σ over the cases of the squared gradient of input i."""
        spec = self.nodes[i].spec
        uses = [(j, block) for j, block in self.uses[i] if self.total[j] is not None]
        if not uses:
            return arrays.zeros(self.like, spec.shape, spec.dtype)
        if len(uses) == 1:
            found = self._at_once(*uses[0])
            if found is not None:
                return found
        total = arrays.zeros(self.like, spec.shape, spec.dtype)
        step = max(1, tuning.CASE_GRADIENTS_CHUNK // max(1, self._largest(i)))
        for start in range(0, self.n, step):
            total += np.sum(np.square(self._gradients(i, slice(start, min(start + step, self.n)))), axis=0)
        return total

    def _at_once(self, j: int, block: Block) -> Array | None:
        """The sum of squares without per-case gradients; None if the block has no such short cut."""
        rows, u = self.rows[j], self.total[j]
        if block.y.dtype.kind == "c":
            return None  # the gradient is the real part of aᴴu, whose square is no product
        if rows is not None and is_weight(block, rows):
            return squares_of_weight(block, u, rows)  # type: ignore[arg-type]
        if rows is not None and is_embedding(block, rows):
            return squares_of_embedding(block, u, rows)  # type: ignore[arg-type]
        return None

    def _largest(self, i: int) -> int:
        """The size of node i, or of the largest array without rows that is computed from it."""
        made = [self._largest(j) for j, _ in self.uses[i] if self.total[j] is not None and not self.apart[j]]
        return max([self.nodes[i].spec.size, *made])

    def _gradients(self, i: int, part: slice) -> Array:
        """The gradients of the cases of `part`, (m, *shape), summed over all uses of node i."""
        terms = [self._share(i, j, block, part) for j, block in self.uses[i] if self.total[j] is not None]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def _share(self, i: int, j: int, block: Block, part: slice) -> Array:
        """The gradients of node i by way of node j, (m, *shape)."""
        rows, u = self.rows[j], self.total[j]
        if not self.apart[j]:  # both without rows: made of parameters alone
            return np.stack([block.pull(share) for share in self._gradients(j, part)])
        if rows is None:
            raise _CasesMix
        found = gradients(block, u, rows, part)
        if found is None and i < self.n_inputs:
            found = one_by_one(block, u, rows, part)
        if found is None:  # not a parameter, and its rows mix: batch statistics
            raise _CasesMix
        return found
