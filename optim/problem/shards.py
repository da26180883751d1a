"""The shards of one thread, worked on in turn: the sums over them that make a value, a gradient or a product.

The whole product is formed on one shard before the next, so that a shard of the right size stays in cache; shards that
are worked on in turn share their buffers. If a batch does not fit into memory, no tape outlives its turn: it is
recorded again for every product. Source: Martens & Sutskever (2012), section 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from optim.problem.batch import Shard
from optim.problem.losses import loss_value
from optim.problem.parameters import Parameters
from optim.problem.shard import LinearizedShard
from optim.problem.vectors import accumulated, summed
from rmad import grad
from rmad.extend import Array, Plan, Record, arrays, tree

__all__ = ["HessianShards", "Shards", "sums"]

R = TypeVar("R")


class Shards:
    """The shards of one thread, worked on in turn; every method returns the sum over them, (p,), in a buffer.

    structure: of the model, which is its `tree`. v: returns the buffer of the vector to multiply, which all threads
    read. keep: True if the tapes stay; else every method runs the model again, shard by shard, and only one tape is
    alive at a time. `value` and `inner` are the sums of those of the shards, Scalars.
    """

    def __init__(
        self,
        objective: Parameters,
        structure: tree.TreeDef,
        shards: list[Shard],
        v: Callable[[], Array],
        keep: bool = True,
    ) -> None:
        self._linearized = partial(LinearizedShard, objective.loss, structure)
        self.shards, self._shared = shards, v
        self.value: Any = 0.0
        self.inner: tuple[Any, ...] = ()
        self._new = partial(np.empty_like, structure.leaves[0], shape=(objective.size,))
        self._adds = len(shards) > 1 or not keep
        self._total: Array | None = None  # made when a sum is first wanted in a buffer
        self._v: Array | None = None if keep else self._new()  # a copy of the shared one: sweeps may destroy it
        self._kept: list[LinearizedShard] | None = None
        if keep:
            self._kept = []
            for shard in shards:
                self._kept.append(self._linearized(shard, v, self._kept[0].plan if self._kept else None))
            self.value = summed([shard.value for shard in self._kept])

    def __iter__(self) -> Iterator[LinearizedShard]:
        if self._kept is not None:
            yield from self._kept
            return
        for shard in self.shards:
            self._take_v(self._shared())
            yield self._linearized(shard, lambda: self._v)

    def _take_v(self, v: Array) -> None:
        if self._v is not None:
            np.copyto(self._v, v)

    def gradient(self) -> Array:
        """∇f without l2."""
        return self._sum(LinearizedShard.gradient)

    def value_and_gradient(self) -> Array:
        """The gradient, and in passing `value`."""
        self.value = 0.0
        return self._sum(self._gradient_and_value)

    def _gradient_and_value(self, shard: LinearizedShard) -> Array:
        self.value = summed([self.value, shard.value])
        return shard.gradient()

    def ggn(self, v: Array | None = None, out: Array | None = None, into: Array | None = None) -> Array:
        """G v. v and out: arrays of the caller's that are read, and may be written, in place of the shared ones.

        into: where several shards are added up, not an array that the sweeps read; None for a buffer.
        """
        if not self._adds and self._kept is not None:
            return self._kept[0].ggn(v, out)
        return self._sum(lambda shard: shard.ggn(v), into)

    def between(self, matrix: Callable[[LinearizedShard], Callable[[list[Array]], list[Array]]]) -> Array:
        """Jᵀ M J v, v the shared vector, M = matrix(shard) for every shard."""
        return self._sum(lambda shard: shard.between(matrix(shard)))

    def residual(self) -> Array:
        """G v + ∇f, with vᵀG v and ∇fᵀv in `inner`."""
        return self._sum(LinearizedShard.residual)

    def set_aside(self) -> None:
        """Keeps with kept shards what `residual_along` needs of the shared vector."""
        list(self._results(LinearizedShard.set_aside))

    def curvature_aside(self) -> None:
        """Leaves vᵀG v and ∇fᵀv in `inner`, and sets v, the shared vector, aside."""
        list(self._results(LinearizedShard.curvature_aside))

    def residual_along(self, v: Array) -> None:
        """Leaves wᵀG w, vᵀG w and ∇fᵀw in `inner`, w the shared vector, after `residual` or `set_aside` for v."""

        def along(shard: LinearizedShard) -> None:
            if self._kept is None:  # this tape is new: v is not set aside on it
                self._take_v(v)
                shard.set_aside()
                self._take_v(self._shared())
            shard.residual_along()

        list(self._results(along))

    def curvature_along(self) -> None:
        """Leaves vᵀ J_jᵀ (L″ J v)_j for every output j in `inner`."""
        list(self._results(LinearizedShard.curvature_along))

    def squares(self, cotangents: Callable[[LinearizedShard], Iterator[list[Array]]], what: str) -> Array:
        """Σ over the given cotangents u, one row per case, of Σ_i (J_iᵀ u_i)², times the shards' weights."""
        return self._sum(lambda shard: shard.squares(cotangents(shard), what))

    def squared_columns(self, stacks: Callable[[LinearizedShard], Iterator[list[Array]]], what: str) -> Array:
        """Σ over stacked cotangents, rows per case, of Σ_i (J_iᵀ u_ik)², times the shards' weights."""
        return self._sum(lambda shard: shard.squared_columns(stacks(shard), what))

    def each(self, task: Callable[[LinearizedShard], R]) -> list[R]:
        """[task(shard), …]"""
        return [task(shard) for shard in self]

    def _sum(self, task: Callable[[LinearizedShard], Array], into: Array | None = None) -> Array:
        """Σ task(shard): the only result itself, or in the given array or a buffer."""
        if not self._adds:
            (only,) = self._results(task)
            return only
        if into is None:
            if self._total is None:
                self._total = self._new()
            into = self._total
        return accumulated(into, self._results(task))

    def _results(self, task: Callable[[LinearizedShard], R]) -> Iterator[R]:
        """task(shard), …; in the end `inner` is the sum of what they left."""
        inner = []
        for shard in self:
            yield task(shard)
            inner.append(shard.inner)
        self.inner = sums(inner)


class HessianShards:
    """The gradients of one thread's shards, each on a tape: their pushes are Hessian products, times the weights.

    structure, v, keep: as for `Shards`.
    """

    def __init__(
        self,
        objective: Parameters,
        structure: tree.TreeDef,
        shards: list[Shard],
        v: Callable[[], Array],
        keep: bool = True,
    ) -> None:
        self._value, self._structure, self.shards, self._v = loss_value(objective.loss), structure, shards, v
        self._trained = [tree.is_differentiable(leaf) for _, leaf in tree.leaves(structure.tree)]
        self._total = arrays.empty(structure.leaves[0], (objective.size,))
        self._views = objective._split(self._total)
        self._kept: list[Plan] | None = None
        if keep:
            self._kept = []
            for shard in shards:
                self._kept.append(self._plan(shard, self._kept[0] if self._kept else None))

    def _plan(self, shard: Shard, sharing: Plan | None = None) -> Plan:
        record = Record(partial(self._gradient, shard), self._structure, ())
        return Plan(record.tape, record.outputs, record.n_inputs, self._v, sharing)

    def _gradient(self, shard: Shard, model: Any) -> list[Array]:
        """Differentiates with respect to float leaves only: integer leaves have zero gradient."""
        t = shard.targets
        whole = grad(lambda m: self._value(shard.run(m), t) * shard.weight)(model)
        return [leaf for (_, leaf), trained in zip(tree.leaves(whole), self._trained, strict=True) if trained]

    def product(self) -> Array:
        """Σ over the shards H v, (p,), in a buffer."""
        self._total.fill(0)
        for plan in self._kept if self._kept is not None else map(self._plan, self.shards):
            plan.push()
            for total, z in zip(self._views, plan.z, strict=True):
                if z is not None:
                    np.add(total, z, total)
        return self._total


def sums(rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The sum of every column of Scalars."""
    return tuple(map(summed, zip(*rows, strict=True)))
