"""Times a plan: the calls of a sweep, tagged while they are planned with the node and the primitive they belong to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from rmad.plan.calls import Sweep
from rmad.plan.plan import Plan
from rmad.plan.program import Program
from rmad.plan.pull import Pull
from rmad.plan.push import Push
from rmad.primitives.matmul import matmul
from rmad.tapes.blocks import Block

__all__ = ["Times", "measured"]


class Times:
    """Seconds of one sweep, by node and by primitive: medians of the calls, summed. Copies in and out: node -1."""

    def __init__(self, sweep: _Tagged, seconds: Sequence[Sequence[float]]) -> None:
        self.by_node: dict[int, float] = {}
        self.by_primitive: dict[str, float] = {}
        for k, runs in enumerate(seconds):
            j, name = sweep.tags.get(k, (-1, "(copies)"))
            t = statistics.median(runs)
            self.by_node[j] = self.by_node.get(j, 0.0) + t
            self.by_primitive[name] = self.by_primitive.get(name, 0.0) + t


def measured(plan: Plan, repeat: int) -> tuple[Times, Times]:
    """The times of a push and of a pull, planned again and run `repeat` times after one that warms up."""
    with plan.pool.with_scratch(plan.u):
        push = _TaggedPush(plan)
    pull = _TaggedPull(plan)
    for v in plan.tangents:
        v.fill(1)
    return _timed(push, repeat, plan, False), _timed(pull, repeat, plan, True)


def _timed(sweep: _Tagged, repeat: int, plan: Plan, backward: bool) -> Times:
    seconds: list[list[float]] = [[] for _ in sweep.calls]
    for _ in range(repeat + 1):
        if backward:  # a pull destroys its input
            for z in plan.z:
                if z is not None:
                    z.fill(1)
        for call, runs in zip(sweep.calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            runs.append(time.perf_counter() - start)
    return Times(sweep, [runs[1:] for runs in seconds])


class _Tagged(Sweep):
    """Plans a sweep as usual, and records the node and the primitive for which each call was appended.

    tags: call number → (node, primitive); the innermost method that appended a call tags it, a term before its node.
    """

    def __init__(self, program: Program) -> None:
        self.tags: dict[int, tuple[int, str]] = {}
        self.at = -1
        super().__init__(program)

    def node(self, j: int) -> None:
        start, self.at = len(self.calls), j
        super().node(j)  # type: ignore[misc]
        primitive = self.nodes[j].primitive
        self._tag(start, primitive.name if primitive else "input")

    def term(self, *args: Any) -> None:
        start = len(self.calls)
        super().term(*args)  # type: ignore[misc]
        self._tag(start, next(a for a in args if isinstance(a, Block)).primitive.name)

    def stack(self, *args: Any) -> None:
        start = len(self.calls)
        super().stack(*args)  # type: ignore[misc]
        self._tag(start, matmul.name)

    def _tag(self, start: int, name: str) -> None:
        for k in range(start, len(self.calls)):
            self.tags.setdefault(k, (self.at, name))


class _TaggedPush(_Tagged, Push):
    pass


class _TaggedPull(_Tagged, Pull):
    pass
