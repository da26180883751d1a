"""Kronecker factors, read off the tape wherever a parameter meets an activation.

    y = a W + b,   GGN block of [W; b] ≈ A ⊗ G,   A = E[ā āᵀ] with ā = [a 1],   G = Σ_k Σ_n u_kn u_knᵀ

u_k are the cotangents of y for columns U_k of a square root of the loss's curvature: of all of them (KFLR), or of one
random column, the gradient at targets drawn from the model (KFAC). A use leaves a row of a and a row of u for every
case, or several: positions of a convolution, steps of a sequence, several nodes. "expand" takes all rows for cases, A
their mean and G their sum. "reduce" averages a and sums u over the rows of a case first. (Eschenhagen et al., 2023.)

A weight may be the right or the left operand of a product, the transpose of one, or the kernel of a convolution in
either direction; then rows of A and G swap places, or are patches. A bias beside a weight in every use is its last
row; any other shift is a block 1 ⊗ G. What no block fits is listed in `rest`. Frozen parameters are not on the tape.
Source: Martens & Grosse (2015); Grosse & Martens (2016); Botev, Ritter & Barber (2017), sections 3.1 to 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad.blocks import ONE, Block, Diagonal, Linear
from rmad.kernels.patches import Gathered
from rmad.plan.forms import is_bias
from rmad.plan.rewrite import rewrite
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul, mT
from rmad.primitives.shape import reshape, swapaxes, transpose
from rmad.sweeps.squares import inlined
from rmad.tape import Node, Tape

__all__ = ["Group", "Meetings", "Use"]


class Use(NamedTuple):
    """One place where a parameter meets an activation: node j, by `block`.

    swapped: rows of the parameter, as a matrix, belong to the cotangent and its columns to the activation.
    """

    node: int
    block: Block
    swapped: bool


class Group(NamedTuple):
    """Parameters with one block A ⊗ G: inputs `weight` and `bias` (or None), as a matrix of `shape` (p, q)."""

    weight: int
    bias: int | None
    uses: tuple[Use, ...]
    shape: tuple[int, int]

    @property
    def inputs(self) -> list[int]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]


class Meetings:
    """Where the inputs of a tape meet activations, for n cases.

    groups: the parameters with Kronecker blocks; rest: inputs that are used, but have none; unused: the others.
    sharing: "expand" or "reduce".
    """

    def __init__(
        self, tape: Tape, outputs: Sequence[int | None], n_inputs: int, n: int, sharing: str = "expand"
    ) -> None:
        if sharing not in ("expand", "reduce"):
            raise ValueError(f'sharing must be "expand" or "reduce", got {sharing!r}')
        own = Tape()
        own.nodes, self.ends = inlined(tape, outputs, n_inputs)
        rewrite(own, self.ends)  # a weight and its bias are then terms of one sum
        self.nodes, self.n_inputs, self.n, self.reduce = own.nodes, n_inputs, n, sharing == "reduce"
        self.groups, self.rest, self.unused = _groups(self.nodes, self.ends, n_inputs, n)
        self.by_node: dict[int, list[tuple[int, Use]]] = {}
        for g, group in enumerate(self.groups):
            for use in group.uses:
                self.by_node.setdefault(use.node, []).append((g, use))
        self.needed = self._needed()

    def _needed(self) -> list[bool]:
        """The nodes whose cotangents a factor depends on."""
        needed = [False] * len(self.nodes)
        for j, node in enumerate(self.nodes):
            needed[j] = j in self.by_node or any(needed[i] for i in node.inputs)
        return needed

    # -- the side of the activations -----------------------------------------------------------------------

    def activations(self) -> list[list[tuple[Any, float]]]:
        """Per group and use: E[ā āᵀ] over the rows, and how many rows there are."""
        return [[self._activation_side(group, use) for use in group.uses] for group in self.groups]

    def _activation_side(self, group: Group, use: Use) -> tuple[Any, float]:
        dtype = use.block.y.dtype
        if isinstance(use.block, Diagonal):  # a shift: the activation is 1
            return np.ones((1, 1), dtype), float(use.block.y.size / use.block.x.size)
        total, ones, count = None, None, 0
        for rows in self._per_case(activation_rows(use.block), "mean"):
            total = _added(total, gram(rows))
            count += len(rows)
            if group.bias is not None:
                ones = _added(ones, np.sum(rows, axis=0))
        if total is None:
            raise ValueError(f"{use.block.primitive.name}: no rows of activations, so there is no mean over them")
        if ones is not None:
            ones = ones[:, None]
            total = np.concatenate([np.concatenate([total, ones], 1), np.append(ones, count)[None]]).astype(dtype)
        return total * dtype.type(1 / count), float(count)

    def _per_case(self, chunks: Iterator[Any], how: str) -> Iterator[Any]:
        """The rows as they come, or ("reduce") one row per case: the mean or the sum over its rows."""
        if not self.reduce:
            yield from chunks
            return
        rows = np.concatenate([chunk.copy() for chunk in chunks])
        if len(rows) == self.n or len(rows) % self.n:
            yield rows
            return
        rows = np.reshape(rows, (self.n, -1, rows.shape[-1]))
        yield np.mean(rows, axis=1) if how == "mean" else np.sum(rows, axis=1)

    # -- the side of the cotangents ------------------------------------------------------------------------

    def cotangents(self, U: Sequence[Any]) -> list[list[Any]]:
        """Per group and use: Σ_k Σ_rows u uᵀ, for k stacked cotangents of every output, (k, *z.shape).

        One sweep that pulls through activations only: no product for a parameter is formed. Memory: k n d numbers
        for nodes of d numbers per case.
        """
        found: list[list[Any]] = [[None] * len(group.uses) for group in self.groups]
        for j, u in self.pulled(U):
            for g, use in self.by_node.get(j, ()):
                parts = u if self.reduce or _has_patches(use) else [u]
                sums = [self._cotangent_side(use, part) for part in parts]
                found[g][self.groups[g].uses.index(use)] = sum(sums[1:], start=sums[0])
        for g, group in enumerate(self.groups):
            for k, use in enumerate(group.uses):
                if found[g][k] is None:  # the loss does not depend on this place
                    size = group.shape[0 if use.swapped else 1]
                    found[g][k] = np.zeros((size, size), use.block.y.dtype)
        return found

    def _cotangent_side(self, use: Use, u: Any) -> Any:
        total = None
        for rows in self._per_case(cotangent_rows(use.block, u), "sum"):
            total = _added(total, gram(rows))
        return total

    def pulled(self, U: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(j, cotangents of node j stacked along a first axis), backwards, for the nodes that factors depend on."""
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
                    term = pull_stack(block, u[j])
                    u[i] = term if u[i] is None else u[i] + term
            u[j] = None

    # -- both -----------------------------------------------------------------------------------------------------

    def pair(self, g: int, activations: Sequence[tuple[Any, float]], cotangents: Sequence[Any]) -> tuple[Any, Any]:
        """(A, G) of group g, (p, p) and (q, q), with A ⊗ G for the parameters as a matrix (p, q): summed over uses.

        A is the mean over all rows and G their sum. Where a matrix is used both ways round, the two pairs
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


def _summed(pairs: list[tuple[tuple[Any, float], Any]]) -> tuple[Any, Any] | None:
    """The mean of A over the rows of all uses, and the sum of G."""
    if not pairs:
        return None
    if len(pairs) == 1:
        return pairs[0][0][0], pairs[0][1]
    count = sum(rows for (_, rows), _ in pairs)
    A, G = None, None
    for (mean, rows), total in pairs:
        A = _added(A, mean * mean.dtype.type(rows / count))
        G = _added(G, total)
    return A, G


def _added(a: Any, b: Any) -> Any:
    return b if a is None else np.add(a, b, a)


# -- what a block's rows are ------------------------------------------------------------------------------------


def gram(rows: Any) -> Any:
    """Σ_r r rᵀ: a product with its own transpose, which BLAS forms at half the cost."""
    return rows.T @ rows


def _rows(a: Any) -> Any:
    return np.reshape(a, (-1, a.shape[-1]))


def _has_patches(use: Use) -> bool:
    return use.block.primitive is conv.backward


def activation_rows(block: Any) -> Iterator[Any]:
    """The rows of activations that the parameter of a block meets, (rows, i), in chunks."""
    if block.primitive is matmul:
        yield _rows(block.args[0] if block.argnum == 1 else mT(block.args[1]))
    elif block.primitive is conv.forward:
        yield from _patches(block, block.args[0].astype(block.y.dtype, copy=False))
    else:
        yield _rows(block.args[0].astype(block.y.dtype, copy=False))


def cotangent_rows(block: Any, u: Any) -> Iterator[Any]:
    """The rows of cotangents that belong to them, (rows, o)."""
    if block.primitive is conv.backward:
        yield from _patches(block, u)
    else:
        yield _rows(mT(u) if block.primitive is matmul and block.argnum == 0 else u)


def _patches(block: Any, x: Any) -> Iterator[Any]:
    """patches(x), (rows, kh kw i), in chunks that are overwritten; with groups, those of all groups as rows."""

    def new(shape: Any, dtype: Any) -> Any:
        return np.empty_like(x, order="C", shape=shape, dtype=dtype)

    for _, patches in Gathered(block.args[2], len(x), x.dtype, new).patches(x):
        yield _rows(patches)


def pull_stack(block: Block, u: Any) -> Any:
    """Jᵀ u_k for every k; u: (k, *y.shape). In one call where the block allows."""
    if len(u) == 1:
        return block.pull(u[0])[None]
    if isinstance(block, Diagonal) and block.x == block.y and block.y.dtype.kind == "f":
        return u if block.d is ONE else -u if isinstance(block.d, int) else block.d * u
    if isinstance(block, Linear) and block.primitive is matmul and block.argnum == 0 and block.args[1].ndim == 2:
        return np.reshape(_rows(u) @ block.args[1].T, (len(u), *block.x.shape))
    return np.stack([block.pull(u_k) for u_k in u])


# -- which parameters have blocks -------------------------------------------------------------------------------


def _groups(
    nodes: list[Node], ends: Sequence[int | None], n_inputs: int, n: int
) -> tuple[list[Group], list[int], list[int]]:
    """The groups, the inputs that are used but have no block, and those that are not used."""
    names = _names(nodes, n_inputs)
    uses: dict[int, list[Use]] = {i: [] for i in range(n_inputs)}
    odd = {k for k in ends if k is not None and k < n_inputs}  # an output itself
    for j, node in enumerate(nodes):
        for i, block in zip(node.inputs, node.blocks, strict=True):
            if i not in names or (j in names and i in names):
                continue
            param, turned = names[i]
            use = _use(j, block, turned, n)
            if use is None:
                odd.add(param)
            else:
                uses[param].append(use)
    kinds = {i: found for i, found in uses.items() if found and i not in odd and _one_kind(found)}
    groups: list[Group] = []
    for i, found in kinds.items():
        if not isinstance(found[0].block, Diagonal):
            p, q = _matrix(nodes[i].spec.shape)
            bias = _bias_of(found, kinds, {g.bias for g in groups})
            groups.append(Group(i, bias, tuple(found), (p + (bias is not None), q)))
    taken = {i for group in groups for i in group.inputs}
    lone = [i for i in kinds if i not in taken]
    groups += [Group(i, None, tuple(kinds[i]), (1, nodes[i].spec.size)) for i in lone]
    taken |= set(kinds)
    reached = {names[i][0] for node in nodes for i in node.inputs if i in names} | odd
    return groups, sorted(reached - taken), [i for i in range(n_inputs) if i not in reached]


def _names(nodes: list[Node], n_inputs: int) -> dict[int, tuple[int, bool]]:
    """Nodes that are an input as a matrix (p, q), or its transpose: which, and whether turned."""
    names = {i: (i, False) for i in range(n_inputs)}
    for j, node in enumerate(nodes):
        if len(node.inputs) == 1 and node.inputs[0] in names and node.spec.shape and len(node.spec.shape) == 2:
            block = node.blocks[0]
            if isinstance(block, Linear) and block.primitive in (transpose, swapaxes) and _is_turn(block):
                i, turned = names[node.inputs[0]]
                names[j] = (i, not turned)
            elif isinstance(block, Linear) and _keeps_columns(block):
                names[j] = names[node.inputs[0]]
    return names


def _keeps_columns(block: Linear) -> bool:
    return block.primitive is reshape and not block.kwargs and block.x.shape[-1:] == block.y.shape[-1:]


def _is_turn(block: Linear) -> bool:
    if block.primitive is transpose:
        return len(block.args) == 1 or block.args[1] is None or tuple(block.args[1]) == (1, 0)
    return {block.args[1] % 2, block.args[2] % 2} == {0, 1}


def _use(j: int, block: Block, turned: bool, n: int) -> Use | None:
    """The use of a parameter by a block, where its rows are those of cases."""
    if block.y.dtype.kind != "f" or block.x.dtype != block.y.dtype or not block.y.size:
        return None
    if is_bias(block):
        return Use(j, block, False) if _has_rows(block.y.shape[:-1], n) else None
    if not isinstance(block, Linear) or block.y.ndim < 2:
        return None
    if block.primitive is matmul and block.x.ndim == 2 and hasattr(block.args[1 - block.argnum], "ndim"):
        left = block.argnum == 0
        rows = (*block.y.shape[:-2], block.y.shape[-1]) if left else block.y.shape[:-1]
        return Use(j, block, left != turned) if _has_rows(rows, n) else None
    if block.primitive in (conv.forward, conv.backward) and block.argnum == 1:
        return Use(j, block, block.primitive is conv.backward)
    return None


def _has_rows(rows: tuple[int, ...], n: int) -> bool:
    """Whether an array can have rows per case: made of parameters alone it has not, and is summed over cases."""
    return n in rows or (bool(rows) and rows[0] % n == 0)


def _one_kind(uses: list[Use]) -> bool:
    return len({isinstance(use.block, Diagonal) for use in uses}) == 1


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return int(np.prod(shape[:-1])), shape[-1]


def _bias_of(uses: list[Use], kinds: dict[int, list[Use]], taken: set[int | None]) -> int | None:
    """The shift that stands in the same sums as a weight, once in each, where the weight is used plainly."""
    places = [use.node for use in uses]
    if any(use.swapped for use in uses) or len(set(places)) < len(places):
        return None
    for i, found in kinds.items():
        if i not in taken and isinstance(found[0].block, Diagonal) and sorted(use.node for use in found) == places:
            return i
    return None
