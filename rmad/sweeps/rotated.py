"""Second moments of per-case gradients in a given basis, for every parameter that has a Kronecker block.

    Λ = Σ_n (Lᵀ G_n R)²,    G_n = Σ_r a_nr u_nrᵀ        over all rows r of case n, in all uses of the parameter

The rows are rotated, not the gradients: for one row per case Λ = ((a L)∘(a L))ᵀ ((u R)∘(u R)), two products for the
rotation and one for the sum; else the gradients of some cases at a time are formed in the basis, summed over the uses,
and squared. The layout of the cases in every node is found as in `squares`.
Source: George, Laurent, Bouthillier, Ballas & Vincent (2018), section 3 (EKFAC).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad import tuning
from rmad.blocks import Diagonal
from rmad.machine import arrays
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul, mT
from rmad.sweeps.factors import Meetings, activation_rows, cotangent_rows
from rmad.sweeps.rows import Rows
from rmad.sweeps.squares import CasesMix, Sweep
from rmad.sweeps.uses import Group, Use
from rmad.types import Array

__all__ = ["second_moments"]

Basis = tuple[Array, Array]  # L, (p, p), and R, (q, q)


def second_moments(
    meetings: Meetings, cotangents: Sequence[Array | None], bases: Sequence[Basis]
) -> list[Array] | None:
    """Per group: Σ_k Σ_n (Lᵀ G_nk R)², (p, q), for k stacked cotangents of every output, (k, *z.shape).

    None if one sweep does not tell the cases apart: cases that mix (batch statistics), or outputs without rows.
    """
    found = [
        arrays.zeros(meetings.like, group.shape, L.dtype) for group, (L, _) in zip(meetings.groups, bases, strict=True)
    ]
    probe: Sweep | None = None
    columns = next(len(u) for u in cotangents if u is not None)
    for k in range(columns):
        given = [
            (end, u[k]) for end, u in zip(meetings.ends, cotangents, strict=True) if end is not None and u is not None
        ]
        if any(meetings.n > 1 and np.shape(u)[:1] != (meetings.n,) for _, u in given):
            return None
        try:
            if probe is None:
                probe = _layouts(meetings, given)
            sweep = Sweep(meetings.nodes, meetings.n_inputs, meetings.n, meetings.like, probe)
            sweep.run(given)
            for total, group, basis in zip(found, meetings.groups, bases, strict=True):
                _add(total, group, basis, sweep)
        except CasesMix:
            return None
    return found


def _layouts(meetings: Meetings, given: Sequence[tuple[int, Array]]) -> Sweep:
    """A sweep that has found the layouts, with random numbers in place of the cotangents, which may be zero."""
    probe, rng = Sweep(meetings.nodes, meetings.n_inputs, meetings.n, meetings.like), np.random.default_rng(0)
    probe.run([(k, arrays.moved_to(u, rng.uniform(1, 2, np.shape(u)).astype(u.dtype))) for k, u in given])
    return probe


class _Met(NamedTuple):
    """A use that the loss depends on, the cotangent of its node and the layout of the cases there."""

    use: Use
    u: Array
    rows: Rows


def _add(total: Array, group: Group, basis: Basis, sweep: Sweep) -> None:
    """total += Σ_n (Lᵀ G_n R)²."""
    met = []
    for use in group.uses:
        u, rows = sweep.total[use.node], sweep.rows[use.node]
        if u is not None:
            if rows is None:
                raise CasesMix
            met.append(_Met(use, u, rows))
    if not met:
        return
    step = sweep.n
    if len(met) > 1 or not _has_one_row(met[0], sweep.n):
        row = max(total.size, max(_numbers_of_a_case(one, group) for one in met))
        step = max(1, tuning.CASE_GRADIENTS_CHUNK // row)
    for start in range(0, sweep.n, step):
        part = slice(start, min(start + step, sweep.n))
        pairs = [_rotated(one, group, basis, part) for one in met]
        left, right = pairs[0]
        if len(pairs) == 1 and left.shape[1] == 1:
            total += np.square(left[:, 0]).T @ np.square(right[:, 0])
            continue
        gradients = np.matmul(np.swapaxes(left, 1, 2), right)
        for left, right in pairs[1:]:
            gradients += np.matmul(np.swapaxes(left, 1, 2), right)
        total += np.sum(np.square(gradients, out=gradients), axis=0)


def _has_one_row(one: _Met, n: int) -> bool:
    """True if a case has one row of cotangents here."""
    return not _is_convolution(one.use) and one.u.size == n * one.u.shape[-2 if _is_left(one.use) else -1]


def _numbers_of_a_case(one: _Met, group: Group) -> int:
    """Numbers in the rows of a case, on both sides."""
    if _is_convolution(one.use):
        image = int(np.prod(one.use.block.y.shape[1:3]))
        return image * sum(group.shape)
    return 2 * one.u.size // one.rows.n


def _is_convolution(use: Use) -> bool:
    return getattr(use.block, "primitive", None) in (conv.forward, conv.backward)


def _is_left(use: Use) -> bool:
    """True for W in y = W x."""
    block: Any = use.block
    return getattr(block, "primitive", None) is matmul and block.argnum == 0


def _rotated(one: _Met, group: Group, basis: Basis, part: slice) -> tuple[Array, Array]:
    """Lᵀ a and Rᵀ u of the rows of some cases: (m, r, p) and (m, r, q)."""
    a, u = _rows(one, group, part)
    if group.bias is not None:
        a = np.concatenate([a, arrays.ones(a, (*a.shape[:-1], 1))], axis=-1)
    left, right = (u, a) if one.use.swapped else (a, u)
    L, R = basis
    return left @ L, right @ R


def _rows(one: _Met, group: Group, part: slice) -> tuple[Array, Array]:
    """The rows of activations and of cotangents of some cases, (m, r, …)."""
    use, u, rows = one
    block: Any = use.block
    if isinstance(block, Diagonal):  # a shift: the activation is 1
        u = _by_case(rows, u)[part]
        return arrays.ones(u, (*u.shape[:-1], 1)), u
    if _is_convolution(use):
        if rows.axis or rows.rest != 1:
            raise CasesMix
        images = _of_images(use, part)
        m = len(range(rows.n)[part])
        sides = activation_rows(images, group.part), cotangent_rows(images, u[part], group.part)
        a, u = (np.concatenate([chunk.copy() for chunk in side]) for side in sides)
        return np.reshape(a, (m, -1, a.shape[-1])), np.reshape(u, (m, -1, u.shape[-1]))
    if block.argnum == 1:
        a = _by_case(rows, block.args[0])[part]
        u = _by_case(rows, u)[part]
    else:
        turned = _turned(rows, u.ndim)
        a, u = (_by_case(turned, mT(side))[part] for side in (block.args[1], u))
    c, k = group.part
    if use.swapped:
        width = a.shape[-1] // k
        return a[..., c * width : (c + 1) * width], u
    width = u.shape[-1] // k
    return a, u[..., c * width : (c + 1) * width]


def _of_images(use: Use, part: slice) -> Use:
    """The use of a kernel by some of the images."""
    block: Any = use.block
    some = type(block)(
        block.primitive,
        block.argnum,
        block.x,
        block.y,
        block.transpose,
        (block.args[0][part], *block.args[1:]),
        block.kwargs,
    )
    return use._replace(block=some)


def _by_case(rows: Rows, a: Array) -> Array:
    """(…, f) as (n, r, f)."""
    if rows.rest == 1 and rows.axis >= a.ndim - 1:
        raise CasesMix  # the cases lie along the columns
    view = rows.view(a)
    return np.reshape(view, (rows.n, -1, a.shape[-1]))


def _turned(rows: Rows, ndim: int) -> Rows:
    """The layout in an array whose last two axes change places."""
    if rows.rest != 1:
        if ndim == 2:
            raise CasesMix
        return rows
    axis = {ndim - 1: ndim - 2, ndim - 2: ndim - 1}.get(rows.axis, rows.axis)
    return Rows(rows.n, axis)
