"""Numbers that a function does not use: a bad derivative there, an infinite one, has no part in the result.

    r = np.sqrt(x)[x > 0]        w = 1 / r; w[r == 0] = 0        np.where(x > 0, np.log(x), 0)

The cotangent of a number that is not chosen, or that is written over, is zero, and 0 · ∞ is NaN. So a sweep that has
left NaN is made again with a mask beside every cotangent: False where no path leads from the number to the outputs.
There the derivative is left out, as a path that does not exist contributes nothing. A cotangent that is zero by its
value has a path, and keeps its NaN: that of √x in (√x)² at 0, for instance, where the derivative is 1.

Likewise a tangent or cotangent that is given as 0, as most of a unit vector is, begins no path. Paths end at functions
that select, all of which are linear (and `where`, whose coefficients are a mask). What a linear block maps to zero
shows in random positive numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.rules import LinearPrimitive
from rmad.tapes.blocks import MINUS_ONE, ONE, Diagonal, DiagonalNode, Explicit, LightNode
from rmad.tapes.scaling import pull_scaled, push_scaled, unbroadcast
from rmad.tapes.tape import ArraySpec, Block, Tape
from rmad.tracing.handlers import HANDLERS
from rmad.tracing.traced import Traced, stop
from rmad.types import Array

__all__ = ["has_bad_derivatives", "mended", "pull_used", "push_used"]


def mended(results: list[Any], again: Callable[[], list[Any]]) -> list[Any]:
    """The results of a sweep; those of `again` if it has left NaN."""
    return again() if any(map(_is_lost, results)) else results


def _is_lost(y: Any) -> bool:
    """True if an array of NumPy holds NaN; one of CuPy is not asked, because that would wait for the device."""
    a = stop(y)
    if not isinstance(a, np.ndarray):
        return bool(a != a) if isinstance(a, np.generic) else False
    square = np.vdot(a, a)  # in a third of the time that np.isnan(a).any() takes
    return bool(square != square)


def has_bad_derivatives(tape: Tape) -> bool:
    """True if a coefficient of an elementwise function is not finite, so that a sweep may leave NaN."""
    return any(map(_is_bad, tape.nodes))


def _is_bad(node: Any) -> bool:
    if isinstance(node, LightNode) and node.held is not None:
        ds = node.held if isinstance(node, DiagonalNode) else ()
    else:
        ds = [block.d for block in node.blocks if isinstance(block, Diagonal)]
    found = [stop(d) for d in ds if d is not ONE and d is not MINUS_ONE]
    return any(isinstance(d, np.ndarray | np.generic) and not np.isfinite(d).all() for d in found)


def pull_used(
    tape: Tape, cotangents: Sequence[Array | None], outputs: Sequence[int | None], n_inputs: int
) -> list[Any]:
    """`rmad.tapes.tape.pull` without the derivatives of numbers that no path leads from."""
    nodes = tape.nodes
    u: list[Any] = [None] * len(nodes)
    used: list[Any] = [None] * len(nodes)
    for k, cotangent in zip(outputs, cotangents, strict=True):
        if k is not None and cotangent is not None:
            _add(u, k, cotangent)
            _join(used, k, _seed(cotangent))
    for j in range(len(nodes) - 1, n_inputs - 1, -1):
        u_j, mask, node = u[j], used[j], nodes[j]
        if u_j is None or not node.inputs:
            continue
        u[j] = used[j] = None
        if node.joint is not None:
            none = [None] * len(node.inputs), [False] * len(node.inputs)
            terms, _ = node.joint.pull(u_j, *none)
            for i, term in zip(node.inputs, terms, strict=True):
                if term is not None:
                    _add(u, i, term)
                    _join(used, i, arrays.ones(stop(term), nodes[i].spec.shape, bool))
            continue
        for i, block in zip(node.inputs, node.blocks, strict=True):
            term, reached = _pulled(block, u_j, mask)
            _add(u, i, term)
            _join(used, i, reached)
    return u[:n_inputs]


def _add(u: list[Any], k: int, term: Any) -> None:
    u[k] = term if u[k] is None else u[k] + term


def _join(used: list[Any], k: int, mask: Any) -> None:
    used[k] = mask if used[k] is None else used[k] | mask


def _pulled(block: Block, u: Any, used: Any) -> tuple[Any, Any]:
    """Jᵀu, and which numbers of x have a path."""
    if not isinstance(block, Diagonal):
        return block.pull(u), _reached(block, block.pull, used, block.x)
    d = block.d
    if d is not ONE and d is not MINUS_ONE:
        if block.primitive.name == "where":
            used = used & (np.broadcast_to(stop(d), used.shape) != 0)
        d = _only(d, used)
    return pull_scaled(d, u, block.x, block.y), unbroadcast(used.astype(np.float64), block.x.shape) != 0


def _only(d: Any, used: Any) -> Any:
    """d where it is used, else 0; an outer tape sees a choice, too, and no product with 0."""
    if used.all():
        return d
    if not isinstance(d, Traced):
        return np.where(used, d, d.dtype.type(0))
    whole = np.broadcast_to(d, used.shape)
    return HANDLERS["added"](arrays.zeros(stop(d), used.shape, d.dtype), whole[used], used)


def _reached(block: Block, sweep: Callable[[Array], Array], used: Any, spec: ArraySpec) -> Any:
    """The mask behind a block: what a linear one makes of positive numbers; everything for other blocks."""
    primitive: Any = block.primitive
    several = isinstance(primitive, LinearPrimitive) and len(primitive.transposes) > 1
    if several or (isinstance(block, Explicit) and primitive.name != "added"):
        return arrays.ones(used, spec.shape, bool)
    draw = arrays.moved_to(used, np.random.default_rng(0).uniform(1, 2, used.shape))
    other = block.y if spec is block.x else block.x
    return stop(sweep((used * draw).astype(other.dtype))) != 0


def push_used(tape: Tape, tangents: Sequence[Array | None], outputs: Sequence[int | None]) -> list[Any]:
    """`rmad.tapes.tape.push` without the derivatives of numbers that no path leads to, or from."""
    nodes = tape.nodes
    v: list[Any] = [None] * len(nodes)
    used: list[Any] = [None] * len(nodes)
    for k, tangent in enumerate(tangents):
        if tangent is not None:
            v[k], used[k] = tangent, _seed(tangent)
    for j, node in enumerate(nodes):
        if node.joint is not None:
            v[j] = node.joint.push([v[i] for i in node.inputs])
            used[j] = None if v[j] is None else arrays.ones(stop(v[j]), node.spec.shape, bool)
            continue
        for i, block in zip(node.inputs, node.blocks, strict=True):
            if v[i] is not None:
                term, reached = _pushed(block, v[i], used[i])
                _add(v, j, term)
                _join(used, j, reached)
    return [None if k is None else v[k] for k in outputs]


def _pushed(block: Block, v: Any, used: Any) -> tuple[Any, Any]:
    """J v, and which numbers of y have a path."""
    if not isinstance(block, Diagonal):
        return block.push(v), _reached(block, block.push, used, block.y)
    d, shape = block.d, block.y.shape
    used = np.broadcast_to(used, shape)
    if d is ONE or d is MINUS_ONE:
        return block.push(v), used
    if block.primitive.name == "where":
        used = used & (np.broadcast_to(stop(d), shape) != 0)
    return push_scaled(_only(d, used), _only(np.broadcast_to(v, shape), used), block.y, block.y), used


def _seed(a: Any) -> Any:
    """Where a tangent or a cotangent that is given is not 0; everywhere if an outer tape sees it vary."""
    return arrays.ones(stop(a), a.shape, bool) if isinstance(a, Traced) else a != 0
