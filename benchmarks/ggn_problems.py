"""The problems of ggn_product.py, and the timing of its contenders."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

SIZES = (784, 400, 200, 100, 50, 25, 6)
N, T, HIDDEN, INPUTS, OUTPUTS = 1000, 100, 100, 2, 2
PROBLEMS = ("mlp", "rnn", "cifar", "cifar-1000")
CONVOLUTIONS = ((32, 3, 32), (16, 32, 64), (8, 64, 64))  # of SGN's net: size of the images, channels in and out
CLASSES, SLICE = 10, 25  # images at a time in the bare products


def images(problem: str) -> int:
    return 1000 if problem == "cifar-1000" else 250


def layer_sizes() -> list[tuple[int, int]]:
    sizes = [*SIZES, *SIZES[-2::-1]]
    return list(pairwise(sizes))


def median_ms(call: Callable[[], Any], repeats: int = 15) -> float:
    start = time.perf_counter()
    call()
    if time.perf_counter() - start > 0.1:  # s
        repeats = (repeats + 2) // 3
    else:
        call(), call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3
