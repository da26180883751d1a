"""The places where parameters meet activations, and which parameters share a Kronecker block.

A weight may be the right or the left operand of a product, the transpose of one, or the kernel of a convolution in
either direction; then rows of A and G swap places, or are patches. A bias that is added to a weight's product in every
use is its last row; any other shift is a block 1 ⊗ G. A kernel whose convolution has groups of channels is one block
A_c ⊗ G_c per group: its columns for the outputs of group c meet the inputs of group c alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rmad.plan.forms import is_bias
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul
from rmad.primitives.shape import reshape, swapaxes, transpose
from rmad.tapes.blocks import Block, Diagonal, Linear
from rmad.tapes.tape import Node

__all__ = ["Group", "Use", "Uses"]


class Use(NamedTuple):
    """A place where a parameter meets an activation: node j = `node`, by its block J_ji = `block`.

    swapped: rows of the parameter, as a matrix, belong to the cotangent and its columns to the activation.
    """

    node: int
    block: Block
    swapped: bool

    @property
    def channel_groups(self) -> int:
        """The groups of channels of a convolution, else 1."""
        return self.block.args[2].groups if _is_convolution(self.block) else 1  # type: ignore[attr-defined]


class Group(NamedTuple):
    """Parameters with one block A ⊗ G: inputs `weight` and `bias` (or None), as a matrix of `shape` (p, q).

    part: (c, k) for the c-th of k equal parts of the columns of a larger matrix.
    """

    weight: int
    bias: int | None
    uses: tuple[Use, ...]
    shape: tuple[int, int]
    part: tuple[int, int] = (0, 1)

    @property
    def inputs(self) -> list[int]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]


class Uses:
    """groups: the parameters with Kronecker blocks; rest: inputs that are used, but have none; unused: the others.

    nodes: of a rewritten tape for n cases, so that a weight and its bias are terms of one sum; ends: of its outputs.
    """

    def __init__(self, nodes: list[Node], ends: Sequence[int | None], n_inputs: int, n: int) -> None:
        self.nodes, self.n = nodes, n
        self.names = _names(nodes, n_inputs)
        outputs = {k for k in ends if k is not None and k < n_inputs}  # an input that is an output itself has no block
        kinds = {i: uses for i, uses in self._by_input(n_inputs).items() if uses and i not in outputs}
        self.groups = self._groups(kinds)
        reached = {self.names[i][0] for node in nodes for i in node.inputs if i in self.names} | outputs
        self.rest = sorted(reached - set(kinds))
        self.unused = [i for i in range(n_inputs) if i not in reached]

    def _by_input(self, n_inputs: int) -> dict[int, list[Use]]:
        """The uses of every input; none if one of them fits no block, or if it is a weight here and a shift there."""
        found: dict[int, list[Use | None]] = {i: [] for i in range(n_inputs)}
        for i, use in self._found():
            found[i].append(use)
        fitting = {i: [use for use in uses if use is not None] for i, uses in found.items()}
        return {i: uses if len(uses) == len(found[i]) and _one_kind(uses) else [] for i, uses in fitting.items()}

    def _found(self) -> Iterator[tuple[int, Use | None]]:
        """(input, its use by a block) for every block of the tape that reads an input; None for one that fits no block.

        A reshape or transpose of an input is read under the name of the input, and is no use itself.
        """
        for j, node in enumerate(self.nodes):
            for i, block in zip(node.inputs, node.blocks, strict=True):
                if i in self.names and j not in self.names:
                    parameter, turned = self.names[i]
                    yield parameter, _use(j, block, turned, self.n)

    def _groups(self, kinds: dict[int, list[Use]]) -> list[Group]:
        """Weights with their biases, then the shifts that are the bias of no weight."""
        groups: list[Group] = []
        for i, uses in kinds.items():
            if not _is_shift(uses):
                p, q = _matrix(self.nodes[i].spec.shape)
                bias = _bias_of(uses, kinds, {group.bias for group in groups})
                k = math.lcm(*(use.channel_groups for use in uses))
                shape = (p + (bias is not None), q // k)
                groups += [Group(i, bias, tuple(uses), shape, (c, k)) for c in range(k)]
        taken = {i for group in groups for i in group.inputs}
        shifts = [i for i in kinds if i not in taken]
        return groups + [Group(i, None, tuple(kinds[i]), (1, self.nodes[i].spec.size)) for i in shifts]


def _names(nodes: list[Node], n_inputs: int) -> dict[int, tuple[int, bool]]:
    """node → (input, turned), for nodes that are an input as a matrix (p, q), or its transpose (turned)."""
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
    """(…, q) as (p, q)."""
    return block.primitive is reshape and not block.kwargs and block.x.shape[-1:] == block.y.shape[-1:]


def _is_turn(block: Linear) -> bool:
    """(p, q) as (q, p)."""
    if block.primitive is transpose:
        return len(block.args) == 1 or block.args[1] is None or tuple(block.args[1]) == (1, 0)
    return {block.args[1] % 2, block.args[2] % 2} == {0, 1}


def _use(j: int, block: Block, turned: bool, n: int) -> Use | None:
    """The use of a parameter by a block, if its rows are those of cases; None if it fits no Kronecker block."""
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
    if _is_convolution(block):
        return Use(j, block, block.primitive is conv.backward)
    return None


def _is_convolution(block: Block) -> bool:
    """True for the kernel of a convolution, in either direction."""
    return isinstance(block, Linear) and block.primitive in (conv.forward, conv.backward) and block.argnum == 1


def _has_rows(rows: tuple[int, ...], n: int) -> bool:
    """True if an array may have rows per case; one made of parameters alone has none, and is summed over cases."""
    return n in rows or (bool(rows) and rows[0] % n == 0)


def _is_shift(uses: list[Use]) -> bool:
    """b in y = … + b, as opposed to a weight."""
    return isinstance(uses[0].block, Diagonal)


def _one_kind(uses: list[Use]) -> bool:
    """True if all are shifts, or none."""
    return len({isinstance(use.block, Diagonal) for use in uses}) == 1


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """(p, q) of a parameter with rows of q."""
    return int(np.prod(shape[:-1])), shape[-1]


def _bias_of(uses: list[Use], kinds: dict[int, list[Use]], taken: set[int | None]) -> int | None:
    """The shift in the same sums as a weight, once in each; None if a use of the weight is swapped or there is none."""
    places = [use.node for use in uses]
    if any(use.swapped for use in uses) or len(set(places)) < len(places):
        return None
    for i, found in kinds.items():
        if i not in taken and _is_shift(found) and sorted(use.node for use in found) == places:
            return i
    return None
