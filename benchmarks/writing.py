"""Costs of writing into arrays, next to the same functions written without it: numbers in a loop, slices.

    python benchmarks/writing.py [--rounds 15]

numbers  y[k] = x[k % 3] for n numbers, and y[k] = 0.9 y[k - 1], next to lists that np.stack joins: microseconds per
         number of a recording and of a gradient, and bytes of the tape per number
slices   one step of finite volumes on 100,000 cells, by y[1:-1] = … and by np.concatenate: gradient, push and pull

CPU time of one BLAS thread; contenders alternate, medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import rmad  # first: it may choose the BLAS kernel

# isort: split
import numpy as np

SIZES = 1000, 10_000, 100_000
CELLS = 100_000

Function = Callable[[Any], Any]


def copied(n: int) -> tuple[Function, Function]:
    """n numbers of x, one after the other: written, and in a list."""

    def written(x: Any) -> Any:
        y = np.zeros_like(x, shape=n)
        for k in range(n):
            y[k] = x[k % 3]
        return np.sum(y)

    return written, lambda x: np.sum(np.stack([x[k % 3] for k in range(n)]))


def recursive(n: int) -> tuple[Function, Function]:
    """A recursion that reads what it has written, and one that keeps a list."""

    def written(x: Any) -> Any:
        y = np.zeros_like(x, shape=n)
        y[0] = x[0]
        for k in range(1, n):
            y[k] = y[k - 1] * 0.9
        return np.sum(y)

    def listed(x: Any) -> Any:
        y = [x[0]]
        for _ in range(1, n):
            y.append(y[-1] * 0.9)
        return np.sum(np.stack(y))

    return written, listed


def by_slices(u: Any) -> Any:
    f = 0.5 * u * u
    d = np.zeros_like(u)
    d[1:-1] = f[2:] - f[:-2]
    d[0], d[-1] = f[1] - f[-1], f[0] - f[-2]
    return np.sum((u - 0.1 * d) ** 2)


def by_parts(u: Any) -> Any:
    f = 0.5 * u * u
    d = np.concatenate([np.stack([f[1] - f[-1]]), f[2:] - f[:-2], np.stack([f[0] - f[-2]])])
    return np.sum((u - 0.1 * d) ** 2)


def side_by_side(calls: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """CPU seconds of each call, in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for k in range(rounds + 1):
        for call, found in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            if k:  # the first is a rehearsal
                found.append(time.process_time() - start)
    return times


def ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(p / q for p, q in zip(a, b, strict=True))


def memory(f: Function, x: Any) -> int:
    tracemalloc.start()
    _, lin = rmad.linearize(f, x)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del lin
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    x = np.ones(3)
    print("µs per number: written, in a list, what writing adds; bytes per number: written, in a list")
    for name, pair in (("y[k] = x[k % 3]", copied), ("y[k] = 0.9 y[k - 1]", recursive)):
        for n in SIZES:
            f, g = pair(n)
            calls = [lambda h=h: rmad.linearize(h, x) for h in (f, g)] + [lambda h=h: rmad.grad(h)(x) for h in (f, g)]
            a, b, c, d = (1e6 * statistics.median(t) / n for t in side_by_side(calls, max(3, rounds * 1000 // n)))
            held = [memory(h, x) / n for h in (f, g)]
            print(
                f"{name:20s} n = {n:6d}  recorded {a:5.1f} {b:5.1f} {a - b:+5.1f}  "
                f"gradient {c:5.1f} {d:5.1f} {c - d:+5.1f}  held {held[0]:4.0f} {held[1]:4.0f}"
            )
    u = np.random.default_rng(0).normal(size=CELLS)
    a, b = side_by_side([lambda: rmad.grad(by_slices)(u), lambda: rmad.grad(by_parts)(u)], rounds)
    print(f"finite volumes, gradient: {1e3 * statistics.median(a):.2f} ms by slices, {ratio(a, b):.2f} × by parts")
    lins = [rmad.linearize(f, u)[1] for f in (by_slices, by_parts)]
    a, b = side_by_side([lambda lin=lin: lin.JTu(float(lin.Jv(u))) for lin in lins], 2 * rounds)
    print(f"finite volumes, push and pull: {1e3 * statistics.median(a):.2f} ms by slices, {ratio(a, b):.2f} × by parts")


if __name__ == "__main__":
    main()
