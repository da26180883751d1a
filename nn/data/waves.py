"""A noisy sine wave, made on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np

from nn.checks import check_sizes
from nn.data.dataset import Dataset

__all__ = ["sine"]


def sine(
    n_train: int = 10_000, n_test: int = 1000, *, frequency: float = 10.0, sigma: float = 0.01, seed: int = 0
) -> Dataset:
    """t = sin(frequency · x) + N(0, σ²), x uniform in (−1, 1). x, t: (n, 1) float32.

    Deterministic in the seed; a larger set begins with the smaller one. The test cases have the noise too.
    Source: Gargiani et al. (2020), section 4.2 (10,000 samples, frequency 10, σ = 0.01; the test cases are ours).
    """
    check_sizes("sine", "n_train and n_test", n_train, n_test)
    if not sigma >= 0:
        raise ValueError(f"sine: sigma must not be negative, not {sigma}")
    parts: list[Any] = []
    for part, n in enumerate((n_train, n_test)):
        x = 2 * np.random.default_rng([seed, part, 0]).random((n, 1)) - 1
        noise = np.random.default_rng([seed, part, 1]).standard_normal((n, 1))  # a stream of its own, as for x
        parts += [x.astype(np.float32), (np.sin(frequency * x) + sigma * noise).astype(np.float32)]
    return Dataset(*parts)
