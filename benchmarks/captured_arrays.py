"""The cost of copying or watching the arrays that a function captures: gradients with it and without, in turn.

    python benchmarks/captured_arrays.py

Three functions of x with a constant A of 1 kB to 100 MB: Σ A x² (one product per element), Σ tanh(A x) for a matrix A
of 64 columns, and a loop of 100 steps h = tanh(A h) + x for a square A of up to 1 MB. CPU time, the least of many;
without: the tape keeps a reference to A.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rmad  # first: it may choose the BLAS kernel

SIZES = (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 17, 1 << 20, 10_000_000, 100_000_000)  # bytes


@contextmanager
def by_reference() -> Iterator[None]:
    """Keeps arrays by reference while it is open, as if nobody wrote into them."""
    from rmad.extend import Tape

    kind: Any = type(Tape().captured)
    before = kind.keep, kind.watch
    kind.keep, kind.watch = lambda self, a, *rest, **how: a, lambda self, *rest: None
    try:
        yield
    finally:
        kind.keep, kind.watch = before


def functions(size: int) -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    a, x = rng.standard_normal(size // 8), rng.standard_normal(size // 8)
    yield "Σ A x²", lambda x: np.sum(a * x * x), x
    if size >= 1 << 14:
        A = a[: size // 512 * 64].reshape(-1, 64)
        yield "Σ tanh(A x)", lambda x: np.sum(np.tanh(A @ x)), rng.standard_normal(64)
    if size <= 1 << 20:
        n = int((size // 8) ** 0.5)
        B = a[: n * n].reshape(n, n) / n

        def loop(x: Any) -> Any:
            h = x
            for _ in range(100):
                h = np.tanh(B @ h) + x
            return np.sum(h)

        yield "100 steps h = tanh(A h) + x", loop, rng.standard_normal(n)


def main() -> None:
    for size in SIZES:
        for name, f, x in functions(size):
            gradient, times = rmad.grad(f), ([], [])
            start, rounds = time.process_time(), 0
            while rounds < 7 or (time.process_time() - start < 2 and rounds < 3000):
                for k in (rounds % 2, 1 - rounds % 2):
                    with by_reference() if k else no_change():
                        begin = time.process_time()
                        gradient(x)
                        times[k].append(time.process_time() - begin)
                rounds += 1
            kept, referred = map(min, times)  # of a busy machine, the least disturbed
            text = f"{referred * 1e6:9.0f} µs, {kept * 1e6:9.0f} µs with copies and samples"
            print(f"{size:>11,} B  {name:<28} {text}  {100 * (kept / referred - 1):+.1f} %", flush=True)


@contextmanager
def no_change() -> Iterator[None]:
    yield


if __name__ == "__main__":
    main()
