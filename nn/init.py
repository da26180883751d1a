"""Initial weights: functions (rng, shape, dtype) → array.

shape: (i, o), or (kh, kw, i, o) of a convolution, whose units have fan-in kh·kw·i and fan-out kh·kw·o. As a matrix
such an array is (kh·kw·i, o): one column per unit. With groups, i is that of one group.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

__all__ = [
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "normal",
    "orthogonal",
    "sparse",
    "sparse_with",
    "spectral_radius",
]

Shape = tuple[int, ...]


def _fans(shape: Shape) -> tuple[int, int]:
    """How many inputs a unit has, and how many units an input goes to."""
    if len(shape) not in (2, 4):
        raise ValueError(f"initial weights: the shape must be (i, o) or (kh, kw, i, o), not {tuple(shape)}")
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


def glorot_uniform(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ U(−a, a), a = √(6 / (fan-in + fan-out)). Source: Glorot & Bengio (2010), eq. (16)."""
    a = math.sqrt(6 / sum(_fans(shape)))
    return rng.uniform(-a, a, shape).astype(dtype)


def glorot_normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ N(0, 2 / (fan-in + fan-out)). Source: Glorot & Bengio (2010), eq. (12)."""
    return normal(rng, shape, dtype, std=math.sqrt(2 / sum(_fans(shape))))


def he_uniform(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ U(−a, a), a = √(6 / fan-in): the variance of he_normal."""
    a = math.sqrt(6 / _fans(shape)[0])
    return rng.uniform(-a, a, shape).astype(dtype)


def he_normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32) -> Any:
    """W ~ N(0, 2 / fan-in). Source: He, Zhang, Ren & Sun (2015), eq. (10)."""
    return normal(rng, shape, dtype, std=math.sqrt(2 / _fans(shape)[0]))


def normal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32, *, std: float = 1.0) -> Any:
    """W ~ N(0, std²)"""
    return (std * rng.standard_normal(shape)).astype(dtype)


def orthogonal(rng: np.random.Generator, shape: Shape, dtype: Any = np.float32, *, gain: float = 1.0) -> Any:
    """W = gain · Q with WᵀW = gain² I, or WWᵀ where there are more columns than rows; Q uniformly distributed.

    Source: Saxe, McClelland & Ganguli (2014), section 3; the signs that make Q uniform: Mezzadri (2007), section 5.
    """
    i, o = _fans(shape)[0], shape[-1]
    Q, R = np.linalg.qr(rng.standard_normal((max(i, o), min(i, o))))
    Q *= np.where(np.diagonal(R) < 0, -1, 1)
    return (gain * (Q if i >= o else Q.T)).reshape(shape).astype(dtype)


def sparse(
    rng: np.random.Generator,
    shape: Shape,
    dtype: Any = np.float32,
    *,
    connections: int = 15,
    scale: float = 1.0,
) -> Any:
    """W with `connections` weights ~ N(0, scale²) into each unit, at random places, and zeros elsewhere.

    A unit with fewer inputs gets them all; the inputs of a unit of a convolution are those of its patch. The
    biases that go with it are 0 (logistic units) or 0.5 (tanh, with smaller weights):
    Linear(…, bias=0.5, init=sparse_with(scale=…)).

    Source: Martens (2010), section 5; 1/√15 as scale: Sutskever's code for tanh units.
    """
    if connections < 1:
        raise ValueError(f"sparse: connections must be positive, not {connections}")
    i, o = _fans(shape)[0], shape[-1]
    k = min(connections, i)
    rows = np.argpartition(rng.random((o, i)), k - 1, axis=1)[:, :k]
    weight = np.zeros((i, o), dtype)
    weight[rows, np.arange(o)[:, None]] = scale * rng.standard_normal((o, k))
    return weight.reshape(shape)


def sparse_with(*, connections: int = 15, scale: float = 1.0) -> Any:
    """`sparse` with these settings, for Linear(init=…)."""
    return functools.partial(sparse, connections=connections, scale=scale)


def spectral_radius(
    rng: np.random.Generator,
    shape: Shape,
    dtype: Any = np.float32,
    *,
    radius: float = 1.1,
    connections: int = 15,
) -> Any:
    """W, sparse with `connections` weights into each unit, scaled to max |λ(W)| = radius: for recurrent units.

    Raises ValueError unless shape is (o, o). Source: Sutskever, Martens, Dahl & Hinton (2013), section 4.
    """
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"spectral_radius: the matrix must be square, not {tuple(shape)}")
    for _ in range(100):
        weight = sparse(rng, shape, np.float64, connections=connections)
        largest = float(np.abs(np.linalg.eigvals(weight)).max())
        if largest > 1e-3:  # few connections may leave a graph without a cycle, all of whose eigenvalues are 0
            return (weight * (radius / largest)).astype(dtype)
    raise ValueError(f"spectral_radius: {connections} connections leave no cycle among {shape[0]} units")
