"""The Jacobian of one run of a function: products with it, planned once that pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic

import numpy as np

from rmad.machine.turns import in_turn
from rmad.plan.plan import Plan, products_before_a_plan
from rmad.record import Record, filled
from rmad.singular.selected import has_bad_derivatives
from rmad.singular.ties import Undecided, is_lost
from rmad.tapes.tape import Joint
from rmad.tracing.traced import Traced
from rmad.trees import tree as _tree
from rmad.types import Array, Out, Tree

__all__ = ["Linearization"]

PLAIN = frozenset((np.ndarray, np.float64, np.float32))  # the types of most arrays, none of them traced


@in_turn  # a plan rewrites the tape that other products sweep, and has one set of buffers
class Linearization(Generic[Tree, Out]):
    """The Jacobian J of f at x, from one run of f: Jv(v) and JTu(u) as often as wanted.

    Made by `linearize`. Several threads may use it; their products run one after the other.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._plan: Plan | None = None
        self._unplanned: int | None = None  # products to come without a plan
        self._is_bad = False  # True if a plan may leave NaN where `rmad.singular.selected` finds a number
        self._joints: list[Joint] | None = None  # of the tape, looked up once

    def __repr__(self) -> str:
        x, y, nodes = self._record.x, self._record.out, self._record.tape.nodes
        p, q = (sum(_tree.sizes(tree.shapes)) for tree in (x, y))
        return f"<Linearization: {p:,} numbers to {q:,}, {len(nodes) - self._record.n_inputs} nodes>"

    def Jv(self, v: Tree) -> Out:
        """J v, the R-operator.

        Parameters
        ----------
        v : tree like x

        Returns
        -------
        Jv : tree like y, of new arrays

        Raises
        ------
        ValueError
            v does not fit x; the message names its first leaf that does not.
        """
        record = self._record
        return self._product(record.x.match(v, "v"), record.push_arrays, record.out, Plan.Jv)

    def JTu(self, u: Out | float) -> Tree:
        """Jᵀ u, backprop: the adjoint of J under ⟨u, v⟩ = Re uᴴv.

        Parameters
        ----------
        u : tree like y

        Returns
        -------
        JTu : tree like x, of new arrays; integer and boolean leaves, which are constants, become zeros of their dtype

        Raises
        ------
        ValueError
            u does not fit y; the message names its first leaf that does not.
        """
        record = self._record
        return self._product(record.out.match(u, "u"), record.pull_arrays, record.x, Plan.JTu)

    def _product(
        self,
        arrays: list[Array],
        sweep: Callable[[Sequence[Array]], Any],
        like: _tree.TreeDef,
        planned: Callable[[Plan, Sequence[Array]], list[Array | None]],
    ) -> Any:
        """One product, by the plan; by a sweep over the tape as recorded before that pays, or if it is traced."""
        self._record.verify()
        traced = not PLAIN.issuperset(map(type, arrays)) and any(isinstance(a, Traced) for a in arrays)
        if traced or self._record.tape.nested or (self._plan is None and not self._pays()) or self._is_bad:
            return sweep(arrays)
        try:
            results = planned(self._plan or self.plan, arrays)
        except Undecided:
            return sweep(arrays)
        if planned is Plan.Jv and self._loses() and any(map(is_lost, results)):
            return sweep(arrays)
        return filled(like, results, self._record.tape.like)

    def _loses(self) -> bool:
        """True if a plan may leave NaN where a sweep over the tape finds a number: see `rmad.singular.ties`."""
        tape = self._record.tape
        if self._joints is None:
            self._joints = [node.joint for node in tape.nodes if node.joint is not None]
        return tape.decomposes or (bool(self._joints) and any(joint.decomposes for joint in self._joints))

    def _pays(self) -> bool:
        """True once enough products were made for a plan to pay off; it depends on the tape only, not on the clock."""
        if self._plan is None and self._unplanned is None:
            self._unplanned = products_before_a_plan(self._record.tape)
            self._is_bad = has_bad_derivatives(self._record.tape)
        if self._plan is None and self._unplanned:
            self._unplanned -= 1
            return False
        return True

    @property
    def plan(self) -> Plan:
        """The tape rewritten for many sweeps; made when it is first asked for."""
        if self._plan is None:
            self._record.settle()
            self._plan = Plan(self._record.tape, self._record.outputs, self._record.n_inputs)
        return self._plan
