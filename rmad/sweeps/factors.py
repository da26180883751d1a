"""Kronecker factors, read off the tape wherever a parameter meets an activation.

    y = a W + b             a: (rows, p), W: (p, q), u: (rows, q); ā = [a 1]
    GGN block of [W; b]     ≈ A ⊗ G,   A = E[ā āᵀ], (p + 1, p + 1),   G = Σ_k Σ_n u_kn u_knᵀ, (q, q)

u_k are the cotangents of y for columns U_k of a square root of the loss's curvature: all of them (KFLR), or one random
column, the gradient at targets drawn from the model (KFAC). A use leaves a row of a and a row of u for every case, or
several: positions of a convolution, steps of a sequence, several nodes. "expand" counts every row as a case, with A
their mean and G their sum. "reduce" averages a and sums u over the rows of a case first.

Parameters that fit no such block are listed in `rest`. Frozen parameters are not on the tape.
Source: Martens & Grosse (2015); Grosse & Martens (2016); Botev, Ritter & Barber (2017), sections 3.1 to 3.4;
Eschenhagen et al. (2023), expand and reduce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rmad.kernels.patches import Gathered
from rmad.machine import arrays
from rmad.machine.turns import lazy
from rmad.plan.rewrite import rewrite
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul, mT
from rmad.sweeps.inline import inlined
from rmad.sweeps.reduced import Places
from rmad.sweeps.uses import Group, Use, Uses
from rmad.tapes.blocks import Diagonal
from rmad.tapes.tape import Tape
from rmad.types import Array

__all__ = ["Meetings"]

Side = tuple[Array, float]  # E[ā āᵀ] of one use, and the number of rows that it is the mean over


class Meetings:
    """The places where the inputs of a tape meet activations, for n cases, and the factors A and G of each.

    groups: the parameters with Kronecker blocks; rest: inputs that are used, but have none; unused: the others.
    sharing: "expand" or "reduce". by_node: the uses at a node, with the numbers of their groups. needed: the nodes
    whose cotangents a factor depends on.
    """

    def __init__(
        self, tape: Tape, outputs: Sequence[int | None], n_inputs: int, n: int, sharing: str = "expand"
    ) -> None:
        if sharing not in ("expand", "reduce"):
            raise ValueError(f'sharing must be "expand" or "reduce", got {sharing!r}')
        own, self.like = Tape(), tape.like
        own.nodes, self.ends = inlined(tape, outputs, n_inputs)
        rewrite(own, self.ends)  # a weight and its bias are then terms of one sum
        self.nodes, self.n_inputs, self.n, self.reduce = own.nodes, n_inputs, n, sharing == "reduce"
        uses = Uses(self.nodes, self.ends, n_inputs, n)
        self.groups, self.rest, self.unused = uses.groups, uses.rest, uses.unused
        self.by_node: dict[int, list[tuple[int, Use]]] = {}
        for g, group in enumerate(self.groups):
            for use in group.uses:
                self.by_node.setdefault(use.node, []).append((g, use))
        self.needed = self._needed()

    def _needed(self) -> list[bool]:
        """Nodes with a use, and those that read one of them."""
        needed = [False] * len(self.nodes)
        for j, node in enumerate(self.nodes):
            needed[j] = j in self.by_node or any(needed[i] for i in node.inputs)
        return needed

    # -- the side of the activations -----------------------------------------------------------------------

    def activations(self) -> list[list[Side]]:
        """Per group and use: E[ā āᵀ] over the rows, (p, p) or (p + 1, p + 1) with a bias, and the number of rows."""
        return [[self._activation_side(group, use) for use in group.uses] for group in self.groups]

    def _activation_side(self, group: Group, use: Use) -> Side:
        dtype = use.block.y.dtype
        if isinstance(use.block, Diagonal):  # a shift: the activation is 1
            return arrays.ones(self.like, (1, 1), dtype), float(use.block.y.size / use.block.x.size)
        total, ones, count = None, None, 0  # Σ a aᵀ, Σ a and the number of rows a
        for rows in self._per_case(use, activation_rows(use, group.part), np.mean):
            total = _added(total, gram(rows))
            count += len(rows)
            if group.bias is not None:
                ones = _added(ones, np.sum(rows, axis=0))
        if total is None:
            raise ValueError(f"{use.block.primitive.name}: no rows of activations, so there is no mean over them")
        if ones is not None:  # [Σ a aᵀ, Σ a; (Σ a)ᵀ, count]
            ones = ones[:, None]
            total = np.concatenate([np.concatenate([total, ones], 1), np.append(ones, count)[None]]).astype(dtype)
        return total * dtype.type(1 / count), float(count)

    def _per_case(self, use: Use, chunks: Iterator[Array], over: Callable[..., Array]) -> Iterator[Array]:
        """The rows as they come, or ("reduce") one row per case: the mean or the sum over its rows."""
        if not self.reduce:
            yield from chunks
            return
        rows = np.concatenate([chunk.copy() for chunk in chunks])
        if len(rows) == self.n or len(rows) % self.n:
            yield rows
            return
        yield over(self._places.by_case(use, rows), axis=1)

    @lazy
    def _places(self) -> Places:
        uses = {j: uses[0][1] for j, uses in self.by_node.items()}
        return Places(self.nodes, self.ends, self.n, uses, self.pulled, self.like)

    # -- the side of the cotangents ------------------------------------------------------------------------

    def cotangents(self, U: Sequence[Array | None]) -> list[list[Array]]:
        """Per group and use: Σ_k Σ_rows u uᵀ, (q, q), for k stacked cotangents of every output, (k, *z.shape).

        One sweep that pulls through activations only: no product for a parameter is formed. Memory: k n d numbers
        for nodes of d numbers per case.
        """
        found = self.zeros()
        for j, u in self.pulled(U):
            for g, use in self.by_node.get(j, ()):
                parts = u if self.reduce or _has_patches(use) else [u]
                sums = [self._cotangent_side(use, part, self.groups[g].part) for part in parts]
                found[g][self.groups[g].uses.index(use)] = sum(sums[1:], start=sums[0])
        return found

    def zeros(self) -> list[list[Array]]:
        """G = 0 per group and use, (q, q): that of a place on which the loss does not depend."""
        sizes = [[group.shape[0 if use.swapped else 1] for use in group.uses] for group in self.groups]
        return [
            [arrays.zeros(self.like, (q, q), use.block.y.dtype) for q, use in zip(row, group.uses, strict=True)]
            for row, group in zip(sizes, self.groups, strict=True)
        ]

    def _cotangent_side(self, use: Use, u: Array, part: tuple[int, int]) -> Any:
        """Σ_rows u uᵀ of one use."""
        total = None
        for rows in self._per_case(use, cotangent_rows(use, u, part), np.sum):
            total = _added(total, gram(rows))
        return total

    def pulled(self, U: Sequence[Array | None]) -> Iterator[tuple[int, Array]]:
        """(j, (k, *y_j.shape) cotangents of node j), backward, for the nodes that factors depend on."""
        u: list[Any] = [None] * len(self.nodes)
        for k, stack in zip(self.ends, U, strict=True):
            if k is not None and stack is not None:
                u[k] = stack if u[k] is None else u[k] + stack
        for j in range(len(self.nodes) - 1, self.n_inputs - 1, -1):
            if u[j] is None or not self.needed[j]:
                u[j] = None
                continue
            yield j, u[j]
            node = self.nodes[j]
            for i, block in zip(node.inputs, node.blocks, strict=True):
                if self.needed[i]:
                    term = block.pull_stack(u[j])
                    u[i] = term if u[i] is None else u[i] + term
            u[j] = None

    # -- both -----------------------------------------------------------------------------------------------------

    def pair(self, g: int, activations: Sequence[Side], cotangents: Sequence[Array]) -> tuple[Array, Array]:
        """(A, G) of group g, (p, p) and (q, q), with A ⊗ G for the parameters as a matrix (p, q): summed over uses.

        A is the mean over all rows and G their sum. For a matrix that is used both ways round, the two pairs
        are brought to the same mean trace on the left first.
        """
        triples = list(zip(self.groups[g].uses, activations, cotangents, strict=True))
        plain = _summed([(A, G) for use, A, G in triples if not use.swapped])
        turned = _summed([(A, G) for use, A, G in triples if use.swapped])
        if turned is None:
            assert plain is not None
            return plain
        right, left = turned
        if plain is None:
            return left, right
        traces = float(np.trace(plain[0])), float(np.trace(left))
        scale = plain[0].dtype.type(traces[0] / traces[1]) if min(traces) > 0 else plain[0].dtype.type(1)
        return (plain[0] + left * scale) / 2, plain[1] + right / scale


def _summed(pairs: list[tuple[Side, Array]]) -> tuple[Array, Array] | None:
    """The mean of A over the rows of all uses, and the sum of G; None for no pairs."""
    if not pairs:
        return None
    if len(pairs) == 1:
        return pairs[0][0][0], pairs[0][1]
    count = sum(rows for (_, rows), _ in pairs)
    A: Any = None
    G: Any = None
    for (mean, rows), total in pairs:
        A = _added(A, mean * mean.dtype.type(rows / count))
        G = _added(G, total)
    return A, G


def _added(a: Any, b: Any) -> Any:
    return b if a is None else np.add(a, b, a)


# -- rows of activations and of cotangents ----------------------------------------------------------------------


def gram(rows: Array) -> Array:
    """Σ_r r rᵀ, (p, p), of rows (n, p): a product with its own transpose, which BLAS forms at half the cost."""
    return rows.T @ rows


def _rows(a: Array) -> Array:
    """(…, p) as (rows, p)."""
    return np.reshape(a, (-1, a.shape[-1]))


def _has_patches(use: Use) -> bool:
    return use.block.primitive is conv.backward


def activation_rows(use: Use, part: tuple[int, int]) -> Iterator[Array]:
    """The rows of activations that a part (c, k) of the columns of a parameter meets, (rows, p), in chunks."""
    block: Any = use.block
    if block.primitive is matmul:
        rows = _rows(block.args[0] if block.argnum == 1 else mT(block.args[1]))
    elif block.primitive is conv.forward:
        yield from _patches(use, block.args[0].astype(block.y.dtype, copy=False), part)
        return
    else:
        rows = _rows(block.args[0].astype(block.y.dtype, copy=False))
    yield _columns(rows, part) if use.swapped else rows


def cotangent_rows(use: Use, u: Array, part: tuple[int, int]) -> Iterator[Array]:
    """The rows of cotangents that belong to them, (rows, q)."""
    block: Any = use.block
    if block.primitive is conv.backward:
        yield from _patches(use, u, part)
        return
    rows = _rows(mT(u) if block.primitive is matmul and block.argnum == 0 else u)
    yield rows if use.swapped else _columns(rows, part)


def _columns(rows: Array, part: tuple[int, int]) -> Array:
    """The c-th of k equal parts of the columns."""
    c, k = part
    width = rows.shape[1] // k
    return rows[:, c * width : (c + 1) * width]


def _patches(use: Use, x: Array, part: tuple[int, int]) -> Iterator[Array]:
    """patches(x) of the group of channels that a part of the kernel's columns belongs to, (rows, kh kw i).

    In chunks that are overwritten.
    """

    def new(shape: Any, dtype: Any) -> Any:
        return arrays.empty(x, shape, dtype)

    geometry = use.block.args[2]  # type: ignore[attr-defined]
    if (groups := geometry.groups) > 1:
        i, g = geometry.i // groups, part[0] * groups // part[1]
        x = arrays.contiguous(x[..., g * i : (g + 1) * i])
        geometry = geometry._replace(groups=1, i=i, o=geometry.o // groups)
    for _, patches in Gathered(geometry, len(x), x.dtype, new).patches(x):
        yield _rows(patches)
