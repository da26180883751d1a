"""Initial weights: functions (rng, shape, dtype) → array.

shape: (i, o), or (kh, kw, i, o) for a convolution, whose units have fan-in kh·kw·i and fan-out kh·kw·o. As a matrix
such an array is (kh·kw·i, o): one column per unit. With groups, i is the number of channels in one group.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from rmad.extend import Array

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

Shape: TypeAlias = tuple[int, ...]
Init: TypeAlias = Callable[[np.random.Generator, Shape, DTypeLike], Array]
"""The type of the functions here, and of a layer's argument `init`: (rng, shape, dtype) → weight."""


def _fans(shape: Shape) -> tuple[int, int]:
    """Returns fan-in and fan-out: the inputs of a unit, and the units that an input goes to."""
    if len(shape) not in (2, 4):
        raise ValueError(f"initial weights: the shape must be (i, o) or (kh, kw, i, o), not {tuple(shape)}")
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


def glorot_uniform(rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
    """W ~ U(−a, a), a = √(6 / (fan-in + fan-out)).

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (i, o) or (kh, kw, i, o).
    dtype : dtype, default float32
        Type of the weights.

    Returns
    -------
    array of that shape and dtype

    Raises
    ------
    ValueError
        If the shape has neither two nor four axes.

    References
    ----------
    Glorot & Bengio (2010), eq. (16).

    Examples
    --------
    >>> import nn
    >>> W = nn.init.glorot_uniform(np.random.default_rng(0), (100, 200))
    >>> W.shape, bool(abs(W).max() <= (6 / 300) ** 0.5)
    ((100, 200), True)
    """
    return _uniform(rng, shape, dtype, 6 / sum(_fans(shape)))


def glorot_normal(rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
    """W ~ N(0, 2 / (fan-in + fan-out)).

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (i, o) or (kh, kw, i, o).
    dtype : dtype, default float32
        Type of the weights.

    Returns
    -------
    array of that shape and dtype

    References
    ----------
    Glorot & Bengio (2010), eq. (12).
    """
    return normal(rng, shape, dtype, std=math.sqrt(2 / sum(_fans(shape))))


def he_uniform(rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
    """W ~ U(−a, a), a = √(6 / fan-in): the variance of he_normal.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (i, o) or (kh, kw, i, o).
    dtype : dtype, default float32
        Type of the weights.

    Returns
    -------
    array of that shape and dtype

    References
    ----------
    He, Zhang, Ren & Sun (2015), eq. (10), as a uniform distribution.
    """
    return _uniform(rng, shape, dtype, 6 / _fans(shape)[0])


def he_normal(rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
    """W ~ N(0, 2 / fan-in).

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (i, o) or (kh, kw, i, o).
    dtype : dtype, default float32
        Type of the weights.

    Returns
    -------
    array of that shape and dtype

    References
    ----------
    He, Zhang, Ren & Sun (2015), eq. (10).
    """
    return normal(rng, shape, dtype, std=math.sqrt(2 / _fans(shape)[0]))


def normal(rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32, *, std: float = 1.0) -> Array:
    """W ~ N(0, std²).

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        Any shape.
    dtype : dtype, default float32
        Type of the weights.
    std : float, default 1
        Standard deviation.

    Returns
    -------
    array of that shape and dtype
    """
    return (std * rng.standard_normal(shape)).astype(dtype)


def _uniform(rng: np.random.Generator, shape: Shape, dtype: DTypeLike, a_squared: float) -> Array:
    """W ~ U(−a, a)."""
    a = math.sqrt(a_squared)
    return rng.uniform(-a, a, shape).astype(dtype)


def orthogonal(rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32, *, gain: float = 1.0) -> Array:
    """W = gain · Q with WᵀW = gain² I, or WWᵀ if there are more columns than rows; Q is uniformly distributed.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (i, o) or (kh, kw, i, o).
    dtype : dtype, default float32
        Type of the weights.
    gain : float, default 1
        Common value of the nonzero singular values.

    Returns
    -------
    array of that shape and dtype

    References
    ----------
    Saxe, McClelland & Ganguli (2014), section 3; the signs that make Q uniform: Mezzadri (2007), section 5.
    """
    i, o = _fans(shape)[0], shape[-1]
    Q, R = np.linalg.qr(rng.standard_normal((max(i, o), min(i, o))))
    Q *= np.where(np.diagonal(R) < 0, -1, 1)
    return (gain * (Q if i >= o else Q.T)).reshape(shape).astype(dtype)


def sparse(
    rng: np.random.Generator,
    shape: Shape,
    dtype: DTypeLike = np.float32,
    *,
    connections: int = 15,
    scale: float = 1.0,
) -> Array:
    """W with `connections` weights ~ N(0, scale²) into each unit, at random places, and zeros elsewhere.

    A unit with fewer inputs gets them all; the inputs of a unit of a convolution are those of its patch. Biases to
    go with it are 0 (logistic units) or 0.5 (tanh, with smaller weights): Linear(…, bias=0.5, init=sparse_with(…)).

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (i, o) or (kh, kw, i, o).
    dtype : dtype, default float32
        Type of the weights.
    connections : int, default 15
        Nonzero weights into each unit (Martens 2010).
    scale : float, default 1
        Their standard deviation; Sutskever's code has 1/√15 for tanh units.

    Returns
    -------
    array of that shape and dtype

    Raises
    ------
    ValueError
        If `connections` is below 1.

    References
    ----------
    Martens (2010), section 5.

    Examples
    --------
    >>> import nn
    >>> W = nn.init.sparse(np.random.default_rng(0), (100, 7))
    >>> np.count_nonzero(W, axis=0).tolist()
    [15, 15, 15, 15, 15, 15, 15]
    """
    if connections < 1:
        raise ValueError(f"sparse: connections must be positive, not {connections}")
    i, o = _fans(shape)[0], shape[-1]
    k = min(connections, i)
    rows = np.argpartition(rng.random((o, i)), k - 1, axis=1)[:, :k]
    weight = np.zeros((i, o), dtype)
    weight[rows, np.arange(o)[:, None]] = scale * rng.standard_normal((o, k))
    return weight.reshape(shape)


def sparse_with(*, connections: int = 15, scale: float = 1.0) -> Init:
    """Returns `sparse` with these settings, for Linear(init=…).

    Parameters
    ----------
    connections : int, default 15
        Nonzero weights into each unit.
    scale : float, default 1
        Their standard deviation.

    Returns
    -------
    function (rng, shape, dtype) → array
    """
    return functools.partial(sparse, connections=connections, scale=scale)


def spectral_radius(
    rng: np.random.Generator, shape: Shape, dtype: DTypeLike = np.float32, *, radius: float = 1.1, connections: int = 15
) -> Array:
    """W, sparse with `connections` weights into each unit, scaled to max |λ(W)| = radius: for recurrent units.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the random numbers.
    shape : tuple of int
        (o, o).
    dtype : dtype, default float32
        Type of the weights.
    radius : float, default 1.1
        Largest modulus of an eigenvalue.
    connections : int, default 15
        Nonzero weights into each unit.

    Returns
    -------
    array of that shape and dtype

    Raises
    ------
    ValueError
        If the shape is not square, or the connections leave no cycle.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), section 4.
    """
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"spectral_radius: the matrix must be square, not {tuple(shape)}")
    for _ in range(100):
        weight = sparse(rng, shape, np.float64, connections=connections)
        largest = float(np.abs(np.linalg.eigvals(weight)).max())
        if largest > 1e-3:  # few connections may leave a graph without a cycle, all of whose eigenvalues are 0
            return (weight * (radius / largest)).astype(dtype)
    raise ValueError(f"spectral_radius: {connections} connections leave no cycle among {shape[0]} units")
