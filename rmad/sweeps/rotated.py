"""Second moments of per-case gradients, in a basis of their own, for every parameter that has a Kronecker block.

    Λ = Σ_k Σ_n (Lᵀ G_nk R)²,    G_nk = Σ_r a_nr u_nrkᵀ        r: the rows of case n, in all uses of the parameter

The rows are rotated, not the gradients: for one row per case Λ = ((a L)∘(a L))ᵀ Σ_k ((u_k R)∘(u_k R)), two products for
the rotation and one for the sum; else the gradients of some cases at a time are formed in the basis, summed over the
uses, and squared. All columns k are pulled in one sweep, through activations only. The rows of a case are not guessed
from shapes: the first column comes as two halves of the cases, which must be zero in each other's rows.
Without bases Λ is the diagonal of Jᵀ (Σ_k u_k u_kᵀ) J.
Source: George, Laurent, Bouthillier, Ballas & Vincent (2018), section 3 (EKFAC).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.primitives.layers import conv
from rmad.sweeps.factors import Meetings, activation_rows, cotangent_rows
from rmad.sweeps.reduced import by_case, row_axes, rows_first
from rmad.sweeps.rows import Rows
from rmad.sweeps.squares import squares
from rmad.sweeps.uses import Group, Use
from rmad.tapes.blocks import Diagonal
from rmad.tapes.tape import Tape
from rmad.types import Array

__all__ = ["second_moments", "stacked_squares"]

Basis = tuple[Array, Array]  # L, (p, p), and R, (q, q)


def second_moments(
    meetings: Meetings, cotangents: Sequence[Array | None], bases: Sequence[Basis] | None = None
) -> list[Array] | None:
    """Per group: Σ_k Σ_n (Lᵀ G_nk R)², (p, q), for k stacked cotangents of every output, (k, *z.shape).

    bases: of every group; None for no rotation. None if one sweep does not tell the cases apart: cases that mix (batch
    statistics), or outputs without rows.
    """
    sweep = _Sweep(meetings, cotangents)
    if not sweep.has_rows():
        return None
    found: list[Array | None] = [None] * len(meetings.groups)
    of_group: Sequence[Basis | None] = [None] * len(meetings.groups) if bases is None else bases
    waiting: dict[int, list[_Met]] = {}
    left = [len(group.uses) for group in meetings.groups]
    try:
        for j, u in meetings.pulled(sweep.columns()):
            for g, use in meetings.by_node.get(j, ()):
                waiting.setdefault(g, []).append(_Met(use, *sweep.met(use, u)))
                left[g] -= 1
                if not left[g]:
                    found[g] = _moments(waiting.pop(g), meetings.groups[g], of_group[g], meetings.n)
        for g, met in waiting.items():  # other uses of these do not reach the loss
            found[g] = _moments(met, meetings.groups[g], of_group[g], meetings.n)
    except _CasesMix:
        return None
    zeros = (arrays.zeros(meetings.like, group.shape, _dtype(group)) for group in meetings.groups)
    return [zero if moments is None else moments for moments, zero in zip(found, zeros, strict=True)]


def stacked_squares(
    tape: Tape, cotangents: Sequence[Array], outputs: Sequence[int | None], n_inputs: int, n: int
) -> list[Any] | None:
    """Per input: Σ_k Σ_n (∂⟨u_nk, z_n⟩/∂θ)² for k stacked cotangents of every output, (k, *z.shape), n cases.

    As `squares` for every column, in one sweep for all parameters that have a Kronecker block. None if that does not
    tell the cases apart.
    """
    meetings = Meetings(tape, outputs, n_inputs, n)
    moments = second_moments(meetings, cotangents)
    if moments is None:
        return None
    specs = [node.spec for node in meetings.nodes[:n_inputs]]
    found = [arrays.zeros(meetings.like, spec.shape, spec.dtype) for spec in specs]
    for group, total in zip(meetings.groups, moments, strict=True):
        c, q, first = group.part[0], group.shape[1], 0
        for i in group.inputs:
            own = np.reshape(found[i], (-1, q * group.part[1]))[:, c * q : (c + 1) * q]
            own[...] = total[first : first + len(own)]
            first += len(own)
    for k in range(len(cotangents[0]) if meetings.rest else 0):
        rest = squares(tape, [u[k] for u in cotangents], outputs, n_inputs, n, meetings.rest)
        if rest is None:
            return None
        for i in meetings.rest:
            found[i] += rest[i]
    return found


def _dtype(group: Group) -> Any:
    return group.uses[0].block.y.dtype


class _CasesMix(Exception):
    """Raised if one case influences another's outputs, or the rows cannot be assigned to cases."""


class _Sweep:
    """The columns that are pulled: those given, the first in two halves of the cases, or after two such halves.

    own: the halves are those of the first column, which is their sum.
    """

    def __init__(self, meetings: Meetings, cotangents: Sequence[Array | None]) -> None:
        self.n, self.given = meetings.n, list(cotangents)
        order = np.random.default_rng(0).permutation(self.n)  # by chance, so that no other layout fits
        halves = order[: (self.n + 1) // 2], order[(self.n + 1) // 2 :]
        self.halves = [arrays.moved_to(meetings.like, half) for half in halves]
        stacks = [u for u in self.given if u is not None]
        self.own = bool(stacks) and len(stacks[0]) == 1 and all(map(self._fills, stacks))

    def has_rows(self) -> bool:
        """True if all outputs have a row for every case."""
        return all(self.n == 1 or np.shape(u)[1:2] == (self.n,) for u in self.given if u is not None)

    def _fills(self, u: Array) -> bool:
        """True if no case has a cotangent of zero, which would hide where its rows are."""
        return bool(np.all(np.any(np.reshape(u[0] != 0, (self.n, -1)), axis=1)))

    def columns(self) -> list[Array | None]:
        """The stacks to pull."""
        rng = np.random.default_rng(0)
        return [None if u is None else self._with_halves(u, rng) for u in self.given]

    def _with_halves(self, u: Array, rng: np.random.Generator) -> Array:
        if self.n == 1:
            return u
        first = u[0] if self.own else arrays.moved_to(u, rng.uniform(1, 2, u.shape[1:]), u.dtype)
        pair = np.stack([first, first])
        pair[0, self.halves[1]] = 0
        pair[1, self.halves[0]] = 0
        return pair if self.own else np.concatenate([pair, u])

    def met(self, use: Use, u: Array) -> tuple[Array, Rows | None]:
        """The given columns at a node, and the layout of the cases there; _CasesMix if they meet in a later one."""
        if self.n == 1:
            return u, None
        pair = [rows_first(use, half) for half in (u[0], u[1])]
        candidates = Rows.candidates(self.n, row_axes(use, u.shape[1:]))
        layout = next((rows for rows, fits in Rows.tests(self.halves, pair, candidates) if fits), None)
        if layout is None:
            raise _CasesMix
        return (u[:1] + u[1:2] if self.own else u[2:]), layout


class _Met(NamedTuple):
    """A use, the stacked cotangents of its node and the layout of the cases there (None for a single case)."""

    use: Use
    u: Array
    rows: Rows | None


def _moments(met: list[_Met], group: Group, basis: Basis | None, n: int) -> Array:
    """Σ_k Σ_n (Lᵀ G_nk R)²."""
    total = arrays.zeros(met[0].u, group.shape)
    step = max(1, tuning.CASE_GRADIENTS_CHUNK // max(1, _numbers_of_a_case(met, group, n)))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        total += _squared([_rotated(one, group, basis, part) for one in met])
    return total


def _numbers_of_a_case(met: Sequence[_Met], group: Group, n: int) -> int:
    """Numbers in the arrays of a case that are formed at a time."""
    rows = sum(one.u[0].size // n // max(1, group.shape[0 if one.use.swapped else 1]) for one in met)
    columns, (p, q) = len(met[0].u), group.shape
    gradients = p * q * columns if len(met) > 1 or rows > 1 else 0
    return max(gradients, rows * (p + q * columns))


def _squared(pairs: list[tuple[Array, Array]]) -> Array:
    """Σ_k Σ_m (Σ over uses and rows of left rightᵀ)², from (k or 1, m, r, p) and (k or 1, m, r, q)."""
    left, right = pairs[0]
    if len(pairs) == 1 and left.shape[2] == 1:  # one row per case; one of the sides is the same for all columns
        return np.square(left[:, :, 0]).sum(axis=0).T @ np.square(right[:, :, 0]).sum(axis=0)
    gradients = np.matmul(np.swapaxes(left, 2, 3), right)
    for left, right in pairs[1:]:
        gradients += np.matmul(np.swapaxes(left, 2, 3), right)
    return np.sum(np.square(gradients, out=gradients), axis=(0, 1))


def _rotated(one: _Met, group: Group, basis: Basis | None, part: slice) -> tuple[Array, Array]:
    """Lᵀ a and Rᵀ u of the rows of some cases: (k or 1, m, r, p) and (k or 1, m, r, q)."""
    a, u = _rows(one, group, part)
    a = a[None]
    if group.bias is not None:
        a = np.concatenate([a, arrays.ones(a, (*a.shape[:-1], 1))], axis=-1)
    left, right = (u, a) if one.use.swapped else (a, u)
    return (left, right) if basis is None else (left @ basis[0], right @ basis[1])


def _rows(one: _Met, group: Group, part: slice) -> tuple[Array, Array]:
    """The rows of activations and of cotangents of some cases, (m, r, …) and (k, m, r, …)."""
    use, u, rows = one
    block: Any = use.block
    if getattr(block, "primitive", None) in (conv.forward, conv.backward):
        if rows is not None and (rows.axis or rows.rest != 1):
            raise _CasesMix
        args = block.args[0][part], *block.args[1:]
        some = type(block)(block.primitive, block.argnum, block.x, block.y, block.transpose, args, block.kwargs)
        use = use._replace(block=some)
        m = len(args[0])
        a = _together(activation_rows(use, group.part), m)
        return a, np.stack([_together(cotangent_rows(use, column[part], group.part), m) for column in u])
    axes = row_axes(use, block.y.shape)
    cotangents = [by_case(rows, axes, _only(cotangent_rows(use, column, group.part)))[part] for column in u]
    u = cotangents[0][None] if len(cotangents) == 1 else np.stack(cotangents)
    if isinstance(block, Diagonal):  # a shift: the activation is 1
        return arrays.ones(u, (*u.shape[1:-1], 1)), u
    return by_case(rows, axes, _only(activation_rows(use, group.part)))[part], u


def _together(chunks: Any, m: int) -> Array:
    """The rows of m images in chunks that are overwritten, as (m, r, …)."""
    rows = np.concatenate([chunk.copy() for chunk in chunks])
    return np.reshape(rows, (m, -1, rows.shape[-1]))


def _only(chunks: Any) -> Array:
    (rows,) = chunks
    return rows
