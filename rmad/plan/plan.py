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
from typing import NamedTuple

import numpy as np

from rmad import tuning
from rmad.machine.turns import lazy
from rmad.plan.buffers import address
from rmad.plan.calls import Call
from rmad.plan.fusion import fuse
from rmad.plan.program import Program
from rmad.plan.pull import Pull
from rmad.plan.push import Push
from rmad.tapes.tape import Tape
from rmad.types import Array

__all__ = ["Plan", "products_before_a_plan"]


class Lent(NamedTuple):
    """The calls of a sweep over arrays of the caller, the arrays, and where their memory begins."""

    arrays: Sequence[Array | None]
    addresses: Sequence[int | None]
    calls: list[Call]


class Plan(Program):
    """Both sweeps over a tape, bound to buffers; each is planned when it runs first.

    push reads v (or `tangents`, its views) and writes z; pull reads z, which it may destroy, and writes u (or
    `cotangents`): J, then L″ in place on z, then Jᵀ needs no copy in between.
    """

    _push: list[Call] | None = None
    _pull: list[Call] | None = None

    @lazy
    def _lent(self) -> dict[str, Lent]:
        """Sweeps over arrays of the caller, by direction."""
        return {}

    def push(self, v: Array | None = None, free: Array | None = None) -> None:
        """z ← J v. v: a flat array of the caller's to read in place of `v`; free: to destroy meanwhile in place of `u`.

        The calls are bound to these arrays; other arrays are planned again.
        """
        if v is not None:
            free = self.u if free is None else free
            lent = self._lent.get("push")
            if lent is None or lent.arrays[0] is not v or lent.arrays[1] is not free:
                lent = self._over("push", (v, free), lambda: self._planned_push(free, v, self.inputs_of(v)))
            calls = lent.calls
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
            lent = self._lent.get("pull")
            if lent is None or lent.arrays[0] is not u:
                lent = self._over("pull", (u,), lambda: self._planned_pull(u, self.inputs_of(u)))
            calls = lent.calls
        elif self._pull is None:
            calls = self._pull = self._planned_pull(self.u, self.cotangents)
        else:
            calls = self._pull
        for call in calls:
            call()

    def _planned_push(self, free: Array | None, v: Array | None, tangents: list[Array]) -> list[Call]:
        with self.pool.with_scratch(free):
            return fuse(Push(self, v, tangents), self.z)

    def _planned_pull(self, u: Array | None, cotangents: list[Array]) -> list[Call]:
        with self.pool.borrowed(self.z):
            return fuse(Pull(self, u, cotangents), cotangents)

    def _over(self, direction: str, arrays: Sequence[Array | None], planned: Callable[[], list[Call]]) -> Lent:
        """The sweep over arrays of the caller: the last one, if the arrays lie in the same memory."""
        where = tuple(None if a is None else address(a) for a in arrays)  # it stays theirs: the calls hold it
        found = self._lent.get(direction)
        if found is None or found.addresses != where:
            self._lent.pop(direction, None)
            found = self._lent[direction] = Lent(arrays, where, planned())
        return found

    def set_outputs(self, u: Sequence[Array], weight: float = 1) -> None:
        """z ← weight · u, on the buffers of the outputs that depend on the inputs."""
        for z, c in zip(self.z, u, strict=True):
            if z is not None:
                if weight == 1:
                    z[...] = c
                else:
                    np.multiply(c, weight, z)

    def Jv(self, tangents: Sequence[Array]) -> list[Array | None]:
        """Tangents of the inputs to new arrays, the tangents of the outputs (None for a constant output)."""
        for buffer, v in zip(self.tangents, tangents, strict=True):
            buffer[...] = v  # np.copyto takes twice as long for a small array
        self.push()
        return [None if z is None else z.copy() if z.ndim else z.copy()[()] for z in self.z]

    def JTu(self, cotangents: Sequence[Array]) -> list[Array | None]:
        """Cotangents of the outputs to new arrays, the cotangents of the inputs."""
        self.set_outputs(cotangents)
        self.pull()
        return [u.copy() if u.ndim else u.copy()[()] for u in self.cotangents]


def products_before_a_plan(tape: Tape) -> int:
    """The number of products after which a plan pays: none, except for small arrays.

    Planning a node costs as much as ten sweeps over it if NumPy's calls are all the work there, since a plan saves few
    of them. On a large array it saves passes over memory, and pays at once. A short tape is planned when a product
    comes again: that is late enough for a Jacobian that is used once, and soon enough for all others.
    """
    nodes = [node.spec for node in tape.nodes if node.inputs]
    nbytes = sum(spec.size * spec.dtype.itemsize for spec in nodes)
    if nbytes >= tuning.PLAN_AT_ONCE * len(nodes):
        return 0
    return tuning.PRODUCTS_BEFORE_A_PLAN if len(nodes) > tuning.SHORT_TAPE else tuning.PRODUCTS_ON_A_SHORT_TAPE
