"""A plan: the sweeps over one tape as lists of NumPy calls with all their arguments bound.

    push    for call in calls: call()        each call writes into a buffer that was planned for it
    pull    the same, backward

A tape is swept hundreds of times at one θ, so all decisions are taken once: the tape is rewritten
(`rmad.plan.rewrite`), buffers are shared between nodes that are not alive together, diagonals work in place, reshapes
and slices are views taken once, and the parameters that meet in one sum of products, x @ W + h @ U + b, become one
GEMM, [x h 1] @ [W; U; b], whose right side is a slice of the flat vector. A block without such a form calls its own
push or pull. A plan is not reentrant: it has one set of buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from rmad.plan.buffers import address
from rmad.plan.calls import Call
from rmad.plan.program import Program
from rmad.plan.pull import Pull
from rmad.plan.push import Push
from rmad.types import Array

__all__ = ["Plan"]


class Plan(Program):
    """Both sweeps over a tape, bound to buffers; each is planned when it runs first.

    push reads v (or `tangents`, its views) and writes z; pull reads z, which it may destroy, and writes u (or
    `cotangents`): J, then L″ in place on z, then Jᵀ needs no copy in between.
    """

    _push: list[Call] | None = None
    _pull: list[Call] | None = None

    @cached_property
    def _lent(self) -> dict[str, tuple[Any, list[Call]]]:
        """Sweeps over arrays of the caller, by direction: the addresses of the arrays, and the calls."""
        return {}

    def push(self, v: Array | None = None, free: Array | None = None) -> None:
        """z ← J v. v: a flat array of the caller's to read in place of `v`; free: to destroy meanwhile in place of `u`.

        The calls are bound to these arrays; other arrays are planned again.
        """
        if v is not None:
            free = self.u if free is None else free
            calls = self._over("push", (v, free), lambda: self._planned_push(free, v, self.inputs_of(v)))
        elif self._push is None:
            # u is written by the pull only, so a push may use its memory
            calls = self._push = self._planned_push(self.u, self.v, self.tangents)
        else:
            calls = self._push
        for call in calls:
            call()

    def pull(self, u: Array | None = None) -> None:
        """u ← Jᵀ z; z is lost. u: a flat array of the caller's to write in place of `u`."""
        if u is not None:
            calls = self._over("pull", (u,), lambda: self._planned_pull(u, self.inputs_of(u)))
        elif self._pull is None:
            calls = self._pull = self._planned_pull(self.u, self.cotangents)
        else:
            calls = self._pull
        for call in calls:
            call()

    def _planned_push(self, free: Array | None, v: Array | None, tangents: list[Array]) -> list[Call]:
        with self.pool.with_scratch(free):
            return Push(self, v, tangents).calls

    def _planned_pull(self, u: Array | None, cotangents: list[Array]) -> list[Call]:
        with self.pool.borrowed(self.z):
            return Pull(self, u, cotangents).calls

    def _over(self, direction: str, arrays: Sequence[Any], planned: Callable[[], list[Call]]) -> list[Call]:
        """The calls of a sweep over arrays of the caller: the last ones, if the arrays are the same."""
        key = tuple(None if a is None else address(a) for a in arrays)  # their memory stays theirs: the calls hold it
        found = self._lent.get(direction)
        if found is None or found[0] != key:
            self._lent.pop(direction, None)
            found = self._lent[direction] = (key, planned())
        return found[1]

    def Jv(self, tangents: Sequence[Array]) -> list[Array | None]:
        """Tangents of the inputs to new arrays, the tangents of the outputs (None for a constant output)."""
        for buffer, v in zip(self.tangents, tangents, strict=True):
            np.copyto(buffer, v)
        self.push()
        return [None if z is None else z.copy()[()] for z in self.z]

    def JTu(self, cotangents: Sequence[Array]) -> list[Array | None]:
        """Cotangents of the outputs to new arrays, the cotangents of the inputs."""
        for buffer, u in zip(self.z, cotangents, strict=True):
            if buffer is not None:
                np.copyto(buffer, u)
        self.pull()
        return [u.copy()[()] for u in self.cotangents]
