"""Convolutions with a kernel for every channel in rmad and PyTorch: CPU milliseconds of one thread.

    python benchmarks/depthwise.py

Value, J v and Jᵀu of x and w by rmad, the linearization cached; value, and value with both gradients, by PyTorch with
channels last. CPU time depends little on other work of the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import rmad  # first: it may choose the BLAS kernel

SIZES = (
    (32, 32, 64, 3, 1),
    (32, 32, 64, 3, 2),
    (32, 16, 256, 3, 1),
    (8, 56, 128, 5, 1),
)  # n, pixels, c, kernel, stride


def cpu_ms(call: Callable[[], Any], repeats: int = 7) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times)


def main() -> None:
    import numpy as np

    from rmad.extend import conv2d

    for n, pixels, c, kernel, stride in SIZES:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((n, pixels, pixels, c), dtype=np.float32)
        w = rng.standard_normal((kernel, kernel, 1, c), dtype=np.float32)

        def f(p: Any, stride: int = stride, padding: int = kernel // 2, c: int = c) -> Any:
            return conv2d(*p, stride, padding, 1, c)

        y, lin = rmad.linearize(f, (x, w))
        u = rng.standard_normal(y.shape, dtype=np.float32)
        calls: list[Callable[[], Any]] = [
            lambda f=f, p=(x, w): f(p),
            lambda lin=lin, p=(x, w): lin.Jv(p),
            lambda lin=lin, u=u: lin.JTu(u),
        ]
        value, push, pull = map(cpu_ms, calls)
        name = f"n={n} {pixels}×{pixels}×{c}, kernel {kernel}, stride {stride}"
        ours = f"value {value:.1f}  Jv {push:.1f}  Jᵀu {pull:.1f}"
        print(f"{name}: {ours}{torch_line(x, w, u, stride)}", flush=True)


def torch_line(x: Any, w: Any, u: Any, stride: int) -> str:
    try:
        import torch
    except ImportError:
        return ""
    torch.set_num_threads(1)

    def channels_last(a: Any) -> Any:
        return torch.from_numpy(a.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=torch.channels_last)

    tx, tu = channels_last(x).requires_grad_(), channels_last(u)
    tw = torch.from_numpy(w.transpose(3, 2, 0, 1).copy()).requires_grad_()

    def value() -> Any:
        return torch.nn.functional.conv2d(tx, tw, None, stride, w.shape[0] // 2, 1, x.shape[3])

    both = cpu_ms(lambda: torch.autograd.grad(value(), (tx, tw), tu))
    return f"   PyTorch: value {cpu_ms(value):.1f}  with gradients {both:.1f}"


if __name__ == "__main__":
    main()
