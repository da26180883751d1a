"""Sweeps with k stacked vectors, (k, *shape) per array, at about the Python cost of one sweep.

    push_stack   V_j = Σ_i J_ji V_i        pull_stack   U_i = Σ_j J_jiᵀ U_j

A block multiplies the stack as one array if its kind allows it, else vector by vector (`Block.push_stack`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.singular.limits import Length, settled
from rmad.singular.selected import mended, pull_used, push_used
from rmad.tapes.fours import FOUR
from rmad.tapes.tape import Tape, pull, push
from rmad.types import Array

__all__ = ["at_a_time", "pull_stack", "push_stack", "side_by_side"]

Stacks = Sequence["Array | None"]


def push_stack(tape: Tape, tangents: Stacks, outputs: Sequence[int | None]) -> list[Array | None]:
    """Tangents of the inputs to those of the outputs, k > 0 of each; None is zero, given and returned."""
    if _has_limits(tape):
        return _one_by_one(lambda v: push(tape, v, outputs), tangents)
    found = _pushed_stack(tape, tangents, outputs)
    return mended(found, lambda: _one_by_one(lambda v: push_used(tape, v, outputs), tangents))


def _pushed_stack(tape: Tape, tangents: Stacks, outputs: Sequence[int | None]) -> list[Array | None]:
    k = next((len(V) for V in tangents if V is not None), FOUR)
    if k >= FOUR or tape.largest > tuning.FOURS_UP_TO or tape.nested:
        return push(tape, tangents, outputs, stacked=True)
    found = push(tape, [None if V is None else _four(V) for V in tangents], outputs, stacked=True)
    return [None if V is None else V[:k] for V in found]


def _four(V: Array) -> Array:
    """A stack with zeros as its other vectors."""
    return np.concatenate([V, arrays.zeros(V, (FOUR - len(V), *V.shape[1:]))])


def pull_stack(tape: Tape, cotangents: Stacks, outputs: Sequence[int | None], n_inputs: int) -> list[Array | None]:
    """Cotangents of the outputs to those of the inputs, k > 0 of each; None is zero, given and returned."""
    if _has_limits(tape):
        return _one_by_one(lambda u: pull(tape, u, outputs, n_inputs), cotangents)
    found = pull(tape, cotangents, outputs, n_inputs, stacked=True)
    return mended(found, lambda: _one_by_one(lambda u: pull_used(tape, u, outputs, n_inputs), cotangents))


def _has_limits(tape: Tape) -> bool:
    """True if a sweep may have to find limits at lengths of 0, which `settled` does for one vector."""
    return tape.nested and any(isinstance(node.primitive, Length) for node in tape.nodes)


def _one_by_one(sweep: Callable[[list[Any]], list[Any]], stacks: Stacks) -> list[Any]:
    k = next((len(V) for V in stacks if V is not None), 0)
    rows = [settled(sweep([None if V is None else V[r] for V in stacks])) for r in range(k)]
    return [None if column[0] is None else np.stack(column) for column in zip(*rows, strict=True)]


def side_by_side(V: Array, product: Callable[[Array], Array]) -> Array:
    """A V for a stack, (k, n) or (k, n, c), by one product of A with all columns, (n, c k) → (m, c k)."""
    Y = product(np.reshape(np.moveaxis(V, 0, -1), (V.shape[1], -1)))
    return np.moveaxis(np.reshape(Y, (len(Y), *V.shape[2:], len(V))), -1, 0)


def at_a_time(tape: Tape, limit: int) -> int:
    """The number of vectors in a stack: of the largest array on the tape, so many fit that many bytes."""
    return max(1, limit // max(1, 8 * tape.largest))
