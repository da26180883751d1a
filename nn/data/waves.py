"""A generated noisy sine wave."""

from __future__ import annotations

import numpy as np

from nn.checks import check_sizes
from nn.data.dataset import Dataset
from rmad.extend import Array

__all__ = ["sine"]


def sine(
    n_train: int = 10_000, n_test: int = 1000, *, frequency: float = 10.0, sigma: float = 0.01, seed: int = 0
) -> Dataset:
    """t = sin(frequency · x) + N(0, σ²), x uniform in (−1, 1). x, t: (n, 1) float32.

    Deterministic in the seed; a larger set begins with the smaller one. The test cases have the noise, too.

    Parameters
    ----------
    n_train : int, default 10000
        Number of cases for training.
    n_test : int, default 1000
        Number of cases for test.
    frequency : float, default 10
        Angular frequency, in radians per unit of x.
    sigma : float, default 0.01
        Standard deviation of the noise.
    seed : int, default 0
        Seed of x and of the noise.

    Returns
    -------
    Dataset

    References
    ----------
    Gargiani et al. (2020), section 4.2; the test cases are ours.

    Examples
    --------
    >>> import nn
    >>> nn.data.sine(3, 2).x_train.shape
    (3, 1)
    """
    check_sizes("sine", "n_train and n_test", n_train, n_test)
    if not sigma >= 0:
        raise ValueError(f"sine: sigma must not be negative, not {sigma}")
    parts: list[Array] = []
    for part, n in enumerate((n_train, n_test)):
        x = 2 * np.random.default_rng([seed, part, 0]).random((n, 1)) - 1
        noise = np.random.default_rng([seed, part, 1]).standard_normal((n, 1))  # a stream of its own, as for x
        parts += [x.astype(np.float32), (np.sin(frequency * x) + sigma * noise).astype(np.float32)]
    return Dataset(*parts)
