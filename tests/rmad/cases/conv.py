"""Rows of the table: convolution and its two transposes, over strides, paddings, dilations and groups."""

from __future__ import annotations

from typing import Any

from cases import Case, real
from rmad.primitives.layers.conv import conv2d, conv2d_input, conv2d_weight

X = (2, 5, 6, 2)


def three_sides(name: str, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], **settings: Any) -> list[Case]:
    args: dict[str, Any] = {"complex": True, "layouts": name == "stride"}
    return [
        Case(f"conv2d {name}", lambda a, b: conv2d(a, b, **settings), args=[real(*x), real(*w)], **args),
        Case(f"conv2d_input {name}", lambda u, b: conv2d_input(u, b, x, **settings), [real(*y), real(*w)], **args),
        Case(f"conv2d_weight {name}", lambda u, a: conv2d_weight(u, a, w, **settings), [real(*y), real(*x)], **args),
    ]


CASES: list[Case] = [
    *three_sides("plain", (2, 4, 5, 2), (3, 2, 2, 3), (2, 2, 4, 3)),
    *three_sides("same", (1, 3, 4, 2), (3, 3, 2, 2), (1, 3, 4, 2), padding=1),
    *three_sides("1 × 1", (2, 2, 3, 3), (1, 1, 3, 2), (2, 2, 3, 2)),
    *three_sides("stride", X, (3, 2, 2, 2), (2, 2, 3, 2), stride=2),
    *three_sides("stride past the end", (1, 4, 6, 1), (2, 1, 1, 2), (1, 1, 2, 2), stride=(3, 4)),
    *three_sides("padding", (1, 3, 2, 2), (2, 2, 2, 1), (1, 5, 5, 1), padding=((1, 2), (3, 1))),
    *three_sides("dilation", (1, 5, 5, 1), (3, 2, 1, 2), (1, 3, 4, 2), dilation=(2, 3), padding=(1, 1)),
    *three_sides("groups", (1, 3, 3, 4), (2, 2, 2, 6), (1, 2, 2, 6), groups=2),
    *three_sides("depthwise", (1, 5, 3, 3), (3, 2, 1, 3), (1, 3, 2, 3), groups=3, stride=2, padding=1),
]
