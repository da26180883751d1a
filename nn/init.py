"""Initial weights: functions (rng, shape, dtype) of shape (i, o) → array."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

__all__ = ["glorot_normal", "glorot_uniform", "he_normal", "normal", "sparse", "sparse_with"]

Shape = tuple[int, int]


def glorot_uniform(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ U(−a, a), a = √(6 / (i + o)). Source: Glorot & Bengio (2010), eq. (16)."""
    a = math.sqrt(6 / sum(shape))
    return rng.uniform(-a, a, shape).astype(dtype)


def glorot_normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ N(0, 2 / (i + o)). Source: Glorot & Bengio (2010), eq. (12)."""
    return (math.sqrt(2 / sum(shape)) * rng.standard_normal(shape)).astype(dtype)


def he_normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ N(0, 2 / i). Source: He, Zhang, Ren & Sun (2015), eq. (10)."""
    return (math.sqrt(2 / shape[0]) * rng.standard_normal(shape)).astype(dtype)


def normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32, *, std: float = 1.0) -> Any:
    """W ~ N(0, std²)"""
    return (std * rng.standard_normal(shape)).astype(dtype)


def sparse(
    rng: np.random.Generator,
    shape: Shape,
    dtype: Any = np.float32,
    *,
    connections: int = 15,
    scale: float = 1.0,
) -> Any:
    """W with `connections` weights ~ N(0, scale²) into each unit, at random places, and zeros elsewhere.

    A unit with fewer inputs gets them all. The biases that go with it are 0 (logistic units) or 0.5
    (tanh, with smaller weights): Linear(…, bias=0.5, init=sparse_with(scale=…)).

    Source: Martens (2010), section 5; 1/√15 as scale: Sutskever's code for tanh units.
    """
    if connections < 1:
        raise ValueError(f"sparse: connections must be positive, not {connections}")
    i, o = shape
    k = min(connections, i)
    rows = np.argpartition(rng.random((o, i)), k - 1, axis=1)[:, :k]
    weight = np.zeros(shape, dtype)
    weight[rows, np.arange(o)[:, None]] = scale * rng.standard_normal((o, k))
    return weight


def sparse_with(*, connections: int = 15, scale: float = 1.0) -> Any:
    """`sparse` with these settings, for Linear(init=…)."""
    return functools.partial(sparse, connections=connections, scale=scale)
