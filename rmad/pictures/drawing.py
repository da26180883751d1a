"""A graph of boxes as an SVG: layers from the top down, as few crossings as sweeps of medians find, smooth edges.

    layers      every box is below those that it reads; a box without inputs stands right above its first reader
    order       within a layer by the mean place of the neighbours, in sweeps down and up; an edge over several layers
                passes through a place of its own in each
    places      least squares: every box near the mean of its neighbours, none over another (isotonic regression)

References
----------
Sugiyama, Tagawa & Toda (1981), "Methods for visual understanding of hierarchical system structures"; Barlow et al.
(1972), pool adjacent violators.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Bar", "Box", "svg"]

CHARACTER, LINE, PAD = 6.7, 14.0, 7.0  # of a monospace font of 11 pixels
ACROSS, DOWN, EDGE = 18.0, 30.0, 10.0  # gaps between boxes, between layers, and beside an edge that passes
SWEEPS = 8
ASIDE = 0.01  # weight of the place of an input beside what is read with it
PUSH, PULL = "#3b6fb6", "#d9822b"


@dataclass
class Bar:
    """Two bars at the bottom of a box: shares of the width, 0 to 1."""

    push: float
    pull: float


@dataclass
class Box:
    """A node: its lines of text, the boxes that it reads, and whether it is an input or an output."""

    lines: list[str]
    inputs: list[int]
    marked: bool = False
    bar: Bar | None = None

    @property
    def width(self) -> float:
        return 2 * PAD + CHARACTER * max(map(len, self.lines), default=0)

    @property
    def height(self) -> float:
        return 2 * PAD + LINE * len(self.lines) + (6.0 if self.bar else 0.0)


@dataclass
class Place:
    """A box in its layer, or an edge that passes through the layer: box is None then."""

    layer: int
    box: Box | None
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)
    x: float = 0.0

    @property
    def width(self) -> float:
        return self.box.width if self.box else EDGE

    @property
    def is_aside(self) -> bool:
        """True for an input with one reader, which stands beside the others that are read: those stay in line."""
        return not self.above and len(self.below) == 1


def svg(boxes: Sequence[Box], title: str = "") -> str:
    """Draws boxes; `inputs` are their numbers in the sequence, each smaller than the number of its reader."""
    places, layers = _layers(boxes)
    _order(layers)
    _spread(layers)
    heights = [max((p.box.height for p in layer if p.box), default=0.0) for layer in layers]
    tops = [0.0]
    for height in heights:
        tops.append(tops[-1] + height + DOWN)
    left = min((p.x - p.width / 2 for layer in layers for p in layer), default=0.0) - ACROSS
    right = max((p.x + p.width / 2 for layer in layers for p in layer), default=0.0) + ACROSS
    right = max(right, left + 2 * ACROSS + CHARACTER * len(title))
    top, width, height = -LINE - 2 * PAD, right - left, tops[-1] + LINE + PAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" style="max-width: 100%; height: auto" '
        'font-family="monospace" font-size="11">',
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" fill="white"/>',
        f'<text x="{left + ACROSS:.1f}" y="{top + LINE + 2:.1f}" fill="#444">{html.escape(title)}</text>',
        *(_edges(place, tops, heights) for place in places),
        *(_drawn(place, tops[place.layer]) for place in places),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def _layers(boxes: Sequence[Box]) -> tuple[list[Place], list[list[Place]]]:
    """The places of the boxes, and all places by layer."""
    layer = [0] * len(boxes)
    for k, box in enumerate(boxes):
        layer[k] = 1 + max((layer[i] for i in box.inputs), default=-1)
    first = dict[int, int]()
    for k, box in enumerate(boxes):
        for i in box.inputs:
            first[i] = min(first.get(i, layer[k]), layer[k])
    for k, box in enumerate(boxes):
        if not box.inputs and k in first:
            layer[k] = first[k] - 1
    places = [Place(layer[k], box) for k, box in enumerate(boxes)]
    layers: list[list[Place]] = [[] for _ in range(1 + max(layer, default=-1))]
    for place in places:
        layers[place.layer].append(place)
    for place in places:
        for i in dict.fromkeys(place.box.inputs if place.box else ()):
            end = places[i]
            for between in range(end.layer + 1, place.layer):
                passing = Place(between, None, [end])
                end.below.append(passing)
                layers[between].append(passing)
                end = passing
            end.below.append(place)
            place.above.append(end)
    return places, layers


def _order(layers: list[list[Place]]) -> None:
    """Sorts every layer by the mean place of its neighbours, from above and from below in turn."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers[1:] if down else layers[-2::-1]:
            for at, place in enumerate(layer):
                near = place.above if down else place.below
                place.x = sum(p.x for p in near) / len(near) if near else float(at)
            layer.sort(key=lambda p: p.x)
            for at, place in enumerate(layer):
                place.x = float(at)
        for at, place in enumerate(layers[0 if down else -1] if layers else ()):
            place.x = float(at)


def _spread(layers: list[list[Place]]) -> None:
    """Gives every place its x: near the mean of its neighbours, without overlaps."""
    for layer in layers:
        _apart(layer, [0.0] * len(layer))
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = []
            for place in layer:
                near = place.above + place.below if sweep >= 2 else (place.above if sweep == 0 else place.below)
                near = [p for p in near if not p.is_aside] or near
                wanted.append(sum(p.x for p in near) / len(near) if near else place.x)
            _apart(layer, wanted)


def _apart(layer: list[Place], wanted: Sequence[float]) -> None:
    """The x nearest to the wanted ones that keep the order and the gaps: min Σ cᵢ (xᵢ − wᵢ)², xᵢ₊₁ − xᵢ ≥ sᵢ."""
    offsets = [0.0]
    for a, b in pairwise(layer):
        offsets.append(offsets[-1] + (a.width + b.width) / 2 + (ACROSS if a.box and b.box else EDGE))
    pools: list[tuple[float, float, int]] = []  # sums of cᵢ (wᵢ − offsetᵢ), of cᵢ, and how many
    for place, w, offset in zip(layer, wanted, offsets, strict=False):
        c = ASIDE if place.is_aside else 1.0
        total, weight, number = c * (w - offset), c, 1
        while pools and pools[-1][0] * weight > total * pools[-1][1]:
            before, heavy, more = pools.pop()
            total, weight, number = total + before, weight + heavy, number + more
        pools.append((total, weight, number))
    levels = [total / weight for total, weight, number in pools for _ in range(number)]
    for place, level, offset in zip(layer, levels, offsets, strict=True):
        place.x = level + offset


def _edges(place: Place, tops: Sequence[float], heights: Sequence[float]) -> str:
    """The edges into a box, each from the box that it reads."""
    paths = []
    for above in place.above:
        chain = [place, above]
        while chain[-1].box is None:
            chain.append(chain[-1].above[0])
        x, y = place.x, tops[place.layer]
        path = f"M {x:.1f} {y:.1f}"
        for p in chain[1:]:
            bottom = tops[p.layer] + (p.box.height if p.box else heights[p.layer])
            middle = (y + bottom) / 2
            path += f" C {x:.1f} {middle:.1f} {p.x:.1f} {middle:.1f} {p.x:.1f} {bottom:.1f}"
            x, y = p.x, bottom
            if p.box is None:
                y = tops[p.layer]
                path += f" L {x:.1f} {y:.1f}"
        paths.append(f'<path d="{path}" fill="none" stroke="#888" stroke-width="1"/>')
    if paths:
        x, y = place.x, tops[place.layer]
        paths.append(
            f'<path d="M {x - 3.5:.1f} {y - 6:.1f} L {x:.1f} {y:.1f} L {x + 3.5:.1f} {y - 6:.1f} Z" fill="#888"/>'
        )
    return "\n".join(paths)


def _drawn(place: Place, top: float) -> str:
    """A box with its text."""
    box = place.box
    assert box is not None
    left, fill = place.x - box.width / 2, "#e8eef7" if box.marked else "white"
    parts = [
        f'<g class="node"><rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="3" '
        f'fill="{fill}" stroke="#555"/>'
    ]
    for k, line in enumerate(box.lines):
        weight = ' font-weight="bold"' if k == 0 and box.marked else ""
        y = top + PAD + LINE * (k + 0.75)
        parts.append(
            f'<text x="{place.x:.1f}" y="{y:.1f}" text-anchor="middle" fill="#222"{weight}>{html.escape(line)}</text>'
        )
    if box.bar:
        for k, (share, colour) in enumerate(((box.bar.push, PUSH), (box.bar.pull, PULL))):
            y, length = top + box.height - 8 + 4 * k, share * (box.width - 4)
            parts.append(f'<rect x="{left + 2:.1f}" y="{y:.1f}" width="{length:.1f}" height="3" fill="{colour}"/>')
    return "\n".join([*parts, "</g>"])
