"""Blocks of parameters: a weight and its bias are one, every other parameter is one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optim.problem.quadratic import Quadratic
from optim.problem.shard import LinearizedShard
from rmad.extend import Array, Meetings

__all__ = ["Layer", "layers"]


@dataclass(frozen=True)
class Layer:
    """Some parameters: their name, and their places in the flat vector.

    Attributes
    ----------
    name : str
        The common part of their paths, as model.0.
    parts : tuple of (first, last)
        Stretches of the flat vector.
    """

    name: str
    parts: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(last - first for first, last in self.parts)

    def copy(self, source: Array, target: Array) -> None:
        """target ← source in these places, for vectors or for columns."""
        for first, last in self.parts:
            target[first:last] = source[first:last]


def layers(q: Quadratic, paths: Sequence[str], sizes: Sequence[int]) -> tuple[Layer, ...]:
    """The blocks, in the order of the parameters, as the tape of the first shard has them."""
    found = q.each_shard(_groups)[0]
    with_bias = {i: group for group in found for i in group}
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    made = []
    for i in range(len(paths)):
        group = with_bias.get(i, (i,))
        if i == min(group):
            name = paths[i] if len(group) == 1 else _common([paths[k] for k in group])
            made.append(Layer(name, tuple((starts[k], starts[k + 1]) for k in sorted(group))))
    return tuple(made)


def _groups(shard: LinearizedShard) -> list[tuple[int, ...]]:
    meetings = Meetings(shard.tape, shard.outputs, shard.n_inputs, shard.n)
    return [tuple(group.inputs) for group in meetings.groups]


def _common(paths: Sequence[str]) -> str:
    """The path of the object that holds all of them, or "a+b" if that holds others, too (a dict of arrays)."""
    parts = [path.split(".") for path in paths]
    if len({tuple(part[:-1]) for part in parts}) == 1 and {part[-1] for part in parts} == {"weight", "bias"}:
        return ".".join(parts[0][:-1])
    return "+".join(paths)
