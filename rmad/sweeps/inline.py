"""The nodes of a tape with every checkpoint, or other joint node, replaced by the nodes of its piece."""

from __future__ import annotations

from collections.abc import Sequence

from rmad.tapes.tape import Node, Tape

__all__ = ["inlined"]


def inlined(tape: Tape, outputs: Sequence[int | None], n_inputs: int) -> tuple[list[Node], list[int | None]]:
    """The nodes, every checkpoint replaced by the nodes of its piece, and the numbers of the outputs among them."""
    nodes, place = list(tape.nodes[:n_inputs]), list(range(n_inputs))
    _append(tape, place, nodes)
    return nodes, [None if k is None else place[k] for k in outputs]


def _append(tape: Tape, place: list[int], nodes: list[Node]) -> None:
    """Appends the tape's nodes after its inputs. place: by number on the tape, the number in `nodes`."""
    for node in tape.nodes[len(place) :]:
        inputs = [place[i] for i in node.inputs]
        if node.joint is None:
            place.append(len(nodes))
            nodes.append(Node(node.primitive, inputs, node.blocks, node.spec))
        else:
            piece = node.joint.tape
            _append(piece, inputs, nodes)
            alive = [k for k, inner in enumerate(piece.nodes) if inner.inputs]
            place.append(inputs[alive[-1] if alive else 0])  # its output is the last node that is alive
