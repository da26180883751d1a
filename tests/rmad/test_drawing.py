"""Boxes of a graph are below those that they read, none over another, near their neighbours; edges pass between."""

from __future__ import annotations

import itertools
import random
from xml.etree import ElementTree

import pytest

from rmad.pictures import drawing
from rmad.pictures.drawing import Bar, Box, Place

SVG = "{http://www.w3.org/2000/svg}"


def graph(seed: int, n: int = 25) -> list[Box]:
    rng = random.Random(seed)
    return [
        Box(["x" * rng.randint(1, 30)] * rng.randint(1, 4), sorted(rng.sample(range(k), min(k, rng.randint(0, 3)))))
        for k in range(n)
    ]


def placed(boxes: list[Box]) -> tuple[list[Place], list[list[Place]]]:
    places, layers = drawing._layers(boxes)
    drawing._order(layers)
    drawing._spread(layers)
    return places, layers


@pytest.mark.parametrize("seed", range(10))
def test_layers_and_gaps(seed: int) -> None:
    boxes = graph(seed)
    places, layers = placed(boxes)
    for box, place in zip(boxes, places, strict=True):
        assert all(places[i].layer < place.layer for i in box.inputs)
        assert all(abs(a.layer - place.layer) == 1 for a in place.above + place.below)
    for layer in layers:
        for a, b in itertools.pairwise(layer):
            gap = drawing.ACROSS if a.box and b.box else drawing.EDGE
            assert b.x - a.x >= (a.width + b.width) / 2 + gap - 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_everything_is_inside_the_picture(seed: int) -> None:
    svg = ElementTree.fromstring(drawing.svg(graph(seed), "a title that is rather long " * 3))
    left, top, width, height = map(float, (svg.get("viewBox") or "").split())
    for rect in svg.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name) or "nan") for name in ("x", "y", "width", "height"))
        assert left - 1 <= x <= x + w <= left + width + 1
        assert top - 1 <= y <= y + h <= top + height + 1


def test_boxes_do_not_overlap_in_the_picture() -> None:
    svg = ElementTree.fromstring(drawing.svg(graph(3)))
    rects = [node.find(f"{SVG}rect") for node in svg.findall(f"{SVG}g")]
    corners = [[float(r.get(n) or "nan") for n in ("x", "y", "width", "height")] for r in rects if r is not None]
    for (x, y, w, h), (p, q, r, s) in itertools.combinations(corners, 2):
        assert x + w <= p or p + r <= x or y + h <= q or q + s <= y


def test_a_chain_is_straight() -> None:
    """Inputs that one box reads stand aside, and do not bend the line of the others."""
    boxes = [Box(["x"], [])]
    for k in range(1, 20, 2):
        boxes += [Box(["weight"], []), Box(["matmul"], [k - 1, k])]
    places, _ = placed(boxes)
    line = [places[k].x for k in range(2, len(boxes), 2)]
    assert max(line) - min(line) < boxes[2].width / 5


def test_apart_is_least_squares() -> None:
    """Against a search over the first of three boxes; the others follow it where they must."""
    layer = [Place(0, Box(["x" * n], [])) for n in (3, 8, 5)]
    for p in layer:
        p.above = [p]  # not aside
    wanted = [10.0, 0.0, 30.0]
    drawing._apart(layer, wanted)
    gaps = [(a.width + b.width) / 2 + drawing.ACROSS for a, b in itertools.pairwise(layer)]
    found = sum((p.x - w) ** 2 for p, w in zip(layer, wanted, strict=True))
    grid = [x / 2 for x in range(-200, 301)]
    best = min(
        (a - wanted[0]) ** 2 + (b - wanted[1]) ** 2 + (c - wanted[2]) ** 2
        for a in grid
        for b in (max(wanted[1], a + gaps[0]),)
        for c in (max(wanted[2], b + gaps[1]),)
    )
    assert found <= best + 1e-9
    assert found == pytest.approx(best, rel=0.02)


def test_bars_and_escapes() -> None:
    svg = drawing.svg([Box(["a<b"], [], True), Box(["f"], [0], bar=Bar(1.0, 0.25))], "x & y")
    root = ElementTree.fromstring(svg)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == ["x & y", "a<b", "f"]
    bars = [float(r.get("width") or "nan") for r in root.iter(f"{SVG}rect") if r.get("height") == "3"]
    assert bars[1] == pytest.approx(bars[0] / 4, abs=0.1)
    assert ElementTree.fromstring(drawing.svg([])).tag == f"{SVG}svg"
