"""A tape that will be swept many times is rewritten once: a linear program with known coefficients.

    sums absorb    y = (a + b) + c          becomes one node with the blocks of a, b and c
    chains merge   y = d₂ (d₁ x)            becomes y = (d₂ d₁) x
    twins merge    y = d₁ x + d₂ x          becomes y = (d₁ + d₂) x
    dead nodes go

So tanh(x @ W + h @ U + b) is two nodes: a sum of products and a diagonal. The blocks stay exact and the
tape stays a tape: `push` and `pull` work on the rewritten one as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmad.tapes.blocks import MINUS_ONE, ONE, Block, Diagonal
from rmad.tapes.tape import Node, Tape

__all__ = ["count_uses", "rewrite"]


def rewrite(tape: Tape, outputs: Sequence[int | None]) -> None:
    """Rewrites the nodes of the tape in place. Node numbers stay; absorbed nodes become empty.

    Takes time linear in the number of terms: a sum that only one node reads gives its terms to that node as they
    stand, so that s = s + x in a loop copies none of them twice.
    """
    tape.whole = False
    tape.nodes[:] = [node.plain() for node in tape.nodes]
    uses = count_uses(tape.nodes, outputs)
    sums: dict[int, _Sum] = {}
    for j, node in enumerate(tape.nodes):
        total: _Sum | None = None
        for i, block in zip(node.inputs, node.blocks, strict=True):
            if total is None and i in sums and _dissolves(tape.nodes[i], uses[i], block):
                total = sums.pop(i)
                tape.nodes[i].inputs, tape.nodes[i].blocks = (), ()
                continue
            total = _Sum() if total is None else total
            for source, part in _absorb(tape, uses, i, block):
                total.add(source, part)
        if total is not None:
            node.inputs, node.blocks = total.inputs, total.blocks
            sums[j] = total
    tape.prune(outputs)
    tape.whole = True


class _Sum:
    """The terms of one node; a diagonal joins another diagonal from the same input."""

    def __init__(self) -> None:
        self.inputs: list[int] = []
        self.blocks: list[Block] = []
        self._place: dict[int, int] = {}  # input → where its plain diagonal stands

    def add(self, i: int, block: Block) -> None:
        """Appends a term."""
        if isinstance(block, Diagonal) and _plain(block):
            k = self._place.setdefault(i, len(self.inputs))
            if k < len(self.inputs):
                self.blocks[k] = _diagonal(block, block, self.blocks[k].d + block.d)  # type: ignore[attr-defined]
                return
        self.inputs.append(i)
        self.blocks.append(block)


def count_uses(nodes: Sequence[Node], ends: Sequence[int | None]) -> list[int]:
    """Per node: how often it is read by other nodes, plus how often it is among `ends` (outputs, say)."""
    uses = [0] * len(nodes)
    for node in nodes:
        for i in node.inputs:
            uses[i] += 1
    for k in ends:
        if k is not None:
            uses[k] += 1
    return uses


def _absorb(tape: Tape, uses: list[int], i: int, block: Block) -> list[tuple[int, Block]]:
    """The terms that replace `block` of node i: those of node i itself if the two compose for free."""
    inner = tape.nodes[i]
    if not (isinstance(block, Diagonal) and inner.inputs and _plain(block)) or inner.joint is not None:
        return [(i, block)]
    if _dissolves(inner, uses[i], block):
        return list(zip(inner.inputs, inner.blocks, strict=True))
    first = inner.blocks[0]
    worth_it = len(inner.blocks) == 1 and (uses[i] == 1 or not isinstance(block.d, int))
    if worth_it and isinstance(first, Diagonal) and _plain(first):
        return [(inner.inputs[0], _diagonal(block, first, _times(block.d, first.d)))]
    return [(i, block)]


def _dissolves(inner: Node, uses: int, block: Block) -> bool:
    """True if the terms of a node become those of its only reader, which adds it as it is."""
    if not (isinstance(block, Diagonal) and inner.inputs and _plain(block)) or inner.joint is not None:
        return False
    return block.d is ONE and uses == 1 and block.x == block.y


def _times(d2: Any, d1: Any) -> Any:
    """d₂ d₁, without a multiplication by one."""
    if d2 is ONE:
        return d1
    if d1 is ONE:
        return d2
    return d2 * d1


def _diagonal(outer: Block, inner: Block, d: Any) -> Diagonal:
    """The block from the input of `inner` to the output of `outer`."""
    if isinstance(d, int) and d not in (ONE, MINUS_ONE):
        d = outer.y.dtype.type(d)  # a sum of ones is a number like any other
    return Diagonal(outer.primitive, outer.argnum, inner.x, outer.y, d)


def _plain(block: Diagonal) -> bool:
    """True if no dtype changes on the way, so that coefficients may be multiplied in any order."""
    return block.x.dtype == block.y.dtype and (isinstance(block.d, int) or block.d.dtype == block.y.dtype)
