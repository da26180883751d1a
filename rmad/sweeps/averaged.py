"""Averaged curvature: KFRA's recursion, one matrix per edge of the tape, through every primitive on the way.

    Ḡ_ik = E[J_jiᵀ] Ḡ_jk  (k another live node),   Ḡ_ii′ = E[J_jiᵀ Ḡ_jj J_ji′]

Ḡ_jk, (d_j, d_k), is the expectation over cases of the GGN with respect to nodes j and k, of d_j and d_k numbers per
case. It starts from E[L″] at the outputs and is passed back as if it did not depend on the J of a case, which is exact
if J is the same for all cases (affine maps, convolutions, reshapes, means). Elementwise maps give Ḡ ⊙ E[b bᵀ]; a
maximum over windows, and any other map that works case by case, the mean over cases of JᵀḠJ. Sums of branches need the
Ḡ_jk between nodes that are alive together: with them a residual net of linear maps is exact, too.
Source: Botev, Ritter & Barber (2017), section 3.5; sums of branches and general maps are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad import tuning
from rmad.primitives.layers import conv, selection
from rmad.primitives.matmul import matmul
from rmad.sweeps.case_maps import CaseMap, Elsewhere, find_map
from rmad.sweeps.factors import Meetings
from rmad.sweeps.rows import Rows
from rmad.sweeps.uses import Use
from rmad.tapes.blocks import Block, Diagonal, Linear
from rmad.types import Array

__all__ = ["Cost", "averaged", "cost"]

Run = Callable[[Callable[[int], Any], int], list[Any]]


class Cost(NamedTuple):
    """The cost of `averaged`, roughly.

    work: multiply-adds; forward: those of a forward pass on the same cases; width: the most numbers per case of a node;
    memory: bytes of the matrices that are alive together.
    """

    work: float
    forward: float
    width: int
    memory: int


def cost(meetings: Sequence[Meetings]) -> Cost:
    """The cost of `averaged(meetings, …)`, from shapes alone.

    E[JᵀḠJ] takes n d² multiply-adds if J differs from case to case, and if not the work of a case for every row of Ḡ
    and of JᵀḠ. A product, its factor and its result are alive together, each at most as large as the largest Ḡ.
    """
    first, n = meetings[0], sum(part.n for part in meetings)
    work, forward, width, itemsize = 0.0, 0.0, 0, 0
    for node in first.nodes:
        d_y, once = node.spec.size // first.n, max(map(_work, node.blocks), default=0.0) / first.n
        forward += once * n
        for i, block in zip(node.inputs, node.blocks, strict=True):
            if i < first.n_inputs or not first.needed[i]:
                continue
            d_x = first.nodes[i].spec.size // first.n
            width, itemsize = max(width, d_x), block.y.dtype.itemsize
            if isinstance(block, Diagonal):
                differs = np.ndim(block.d) > 0
            else:
                differs = not isinstance(block, Linear) or block.primitive is selection.select
            work += n * max(d_x, d_y) ** 2 if differs else (d_x + d_y) * max(once, d_x)
    return Cost(work, forward, width, 3 * itemsize * width**2)


def _work(block: Block) -> float:
    """Multiply-adds of a matrix product or a convolution; 0 for anything else, which is little next to them."""
    if not isinstance(block, Linear) or block.primitive is selection.select:
        return 0.0
    if block.primitive is matmul:
        return float(block.args[0].size * block.args[1].shape[-1])
    kernels = getattr(block.primitive, "kernels", None)
    return float(kernels.work(block)) if kernels is not None else 0.0


def averaged(
    meetings: Sequence[Meetings],
    weights: Sequence[float],
    H: Array,
    run: Run | None = None,
    elsewhere: Elsewhere | None = None,
) -> list[list[Array]]:
    """G per group and use, from E[L″] = H, (c, c), at the one output.

    meetings: the same program on each part of a batch, whose `weights` sum to one; run: maps a function over the
    numbers of the parts, on threads; elsewhere: other processes, which hold further parts. If rows of a case share a
    parameter, G is the sum of its diagonal blocks ("expand"), or of all blocks ("reduce"; within a node).
    ValueError names the primitive at which the recursion is not defined: its cases mix, or it is a kernel that is used
    transposed.
    """
    sweep = _Sweep(meetings, weights, run or (lambda task, n: [task(k) for k in range(n)]), elsewhere)
    return sweep.run_from(H)


class _Sweep:
    """G[j, k] = Ḡ_jk, (d_j, d_k), for the live nodes j ≥ k; rows[j]: per part, the layout of the cases in node j."""

    def __init__(
        self, meetings: Sequence[Meetings], weights: Sequence[float], run: Run, elsewhere: Elsewhere | None
    ) -> None:
        self.parts, self.weights, self.run, self.elsewhere = meetings, weights, run, elsewhere
        self.first = meetings[0]
        self.G: dict[tuple[int, int], Any] = {}
        self.rows: dict[int, list[Rows]] = {}

    def run_from(self, H: Array) -> list[list[Array]]:
        """G per group and use, backward from Ḡ = H at the output."""
        first = self.first
        found = first.zeros()
        ends = [k for k in first.ends if k is not None]
        if len(ends) != 1:
            raise ValueError(f"KFRA needs one array of outputs that depends on the parameters, found {len(ends)}")
        self.rows[ends[0]] = [_rows_of_output(part, ends[0]) for part in self.parts]
        self.G[ends[0], ends[0]] = H
        for j in range(ends[0], first.n_inputs - 1, -1):
            if (j, j) not in self.G:
                continue
            whole: dict[int, Array] = {}  # by use: the parts of a parameter's columns share it
            for g, use in first.by_node.get(j, ()):
                if id(use.block) not in whole:
                    whole[id(use.block)] = self._factor(j, use)
                G, (c, k) = whole[id(use.block)], first.groups[g].part
                part = slice(0, len(G)) if use.swapped else slice(c * len(G) // k, (c + 1) * len(G) // k)
                found[g][first.groups[g].uses.index(use)] = G[part, part]
            self._pass_on(j)
        return found

    def _pass_on(self, j: int) -> None:
        """Passes Ḡ from node j to its inputs; node j is dead afterwards."""
        maps: list[tuple[int, CaseMap]] = []
        node = self.first.nodes[j]
        for place, i in enumerate(node.inputs):
            if self.first.needed[i]:
                maps.append((i, self._map(j, place)))
        own = self.G.pop((j, j))
        others = [(k, self._take(j, k)) for k in sorted({b if a == j else a for a, b in self.G if j in (a, b)})]
        for k, M in others:  # M: (d_j, d_k)
            for i, jacobian in maps:
                self._add(i, k, jacobian.mean_pull(M))
        for a, (i, jacobian) in enumerate(maps):
            self._add_square(i, jacobian.both(own, jacobian))
            for k, other in maps[:a]:
                self._add(i, k, jacobian.both(own, other))

    def _take(self, j: int, k: int) -> Array:
        """Ḡ_jk, which is given up."""
        return self.G.pop((j, k)) if (j, k) in self.G else self.G.pop((k, j)).T

    def _add_square(self, i: int, M: Array) -> None:
        """Adds M to Ḡ_ii."""
        self.G[i, i] = self.G[i, i] + M if (i, i) in self.G else M

    def _add(self, i: int, k: int, M: Array) -> None:
        """Adds M to Ḡ_ik, and so its transpose to Ḡ_ki."""
        if i == k:
            self._add_square(i, M + M.T)
            return
        key, M = ((i, k), M) if i > k else ((k, i), M.T)
        self.G[key] = self.G[key] + M if key in self.G else M

    def _map(self, j: int, place: int) -> CaseMap:
        """The map of input number `place` of node j, from the blocks of all parts; sets rows of the input."""
        i = self.first.nodes[j].inputs[place]
        blocks = [part.nodes[j].blocks[place] for part in self.parts]
        known = self.rows[j], self.rows.get(i), self.weights, self.run, self.first.like
        found, rows = find_map(blocks, *known, self.elsewhere)
        self.rows.setdefault(i, rows)
        width = self.first.nodes[i].spec.size // self.first.n
        if width > tuning.AVERAGED_CURVATURE_MOST:
            raise ValueError(
                f"KFRA: {blocks[0].primitive.name} has an input of {width:,} numbers per case, whose averaged "
                f"curvature is a {width:,} × {width:,} matrix; use KFAC or KFLR"
            )
        return found

    def _factor(self, j: int, use: Use) -> Array:
        """G, (o, o): the blocks of Ḡ_jj for one row of a case each, or ("reduce") for pairs of rows, summed."""
        block = use.block
        if block.primitive is conv.backward:
            raise ValueError(f"KFRA is not defined for the kernel of {block.primitive.name}; use KFAC or KFLR")
        shape = self.rows[j][0].view(np.empty(block.y.shape, bool)).shape[1:]
        axis = len(shape) - 1
        if block.primitive is matmul and block.argnum == 0 and self.rows[j][0].axis != block.y.ndim - 1:  # type: ignore[attr-defined]
            axis -= 1
        o, before, after = shape[axis], int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        G = np.reshape(self.G[j, j], (before, o, after, before, o, after))
        return np.einsum("aobcpd->op" if self.first.reduce else "aobapb->op", G)


def _rows_of_output(part: Meetings, k: int) -> Rows:
    shape = part.nodes[k].spec.shape
    if not shape or shape[0] != part.n:
        raise ValueError(f"KFRA: the model's output has shape {shape}, and no first axis for the {part.n} cases")
    return Rows(part.n, 0)
