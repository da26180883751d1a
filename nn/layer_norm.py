"""Layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from nn.checks import check_dtype, check_floats, check_sizes
from nn.module import Module
from rmad.extend import Array, standardize

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """y = γ (x − μ) / √(σ² + ε) + β, with the mean μ and the variance σ² of each case alone.

    x, y: (…, features). The layer computes the same in training and in use.

    Parameters
    ----------
    features : int or sequence of int
        Length of the last axis; several lengths, as (h, w, c), take mean and variance over that many last axes.
    eps : float, default 1e-5
        ε, as in PyTorch.
    bias : bool, default True
        Whether there is a β.
    dtype : dtype, default float32
        Type of γ and β: a real float.

    Attributes
    ----------
    weight : (features,) array
        γ, ones at the start.
    bias : (features,) array or None
        β, zeros at the start.

    Raises
    ------
    ValueError
        If the last axes of x have other lengths.
    TypeError
        Unless x is an array of real floats.

    References
    ----------
    Ba, Kiros & Hinton (2016), eqs. (3) and (4).

    Examples
    --------
    >>> import nn
    >>> nn.LayerNorm(2)(np.array([[1.0, 3.0], [10.0, 30.0]])).round(2)
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    def __init__(
        self, features: int | Sequence[int], *, eps: float = 1e-5, bias: bool = True, dtype: DTypeLike = np.float32
    ) -> None:
        self.shape: tuple[int, ...] = tuple(features) if isinstance(features, Sequence) else (features,)
        self.eps = float(eps)
        name = f"LayerNorm({self.describe()})"
        check_sizes(name, "the numbers of features", *self.shape)
        check_dtype(name, dtype, "f")
        if not 0 <= eps < math.inf:
            raise ValueError(f"{name}: eps must be finite and not negative, got {eps!r}")
        self.weight = np.ones(self.shape, dtype)
        self.bias = np.zeros(self.shape, dtype) if bias else None

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x: (…, features)."""
        check_floats(self, x, "f")
        shape, n = np.shape(x), len(self.shape)
        if shape[len(shape) - n :] != self.shape:
            raise ValueError(f"LayerNorm({self.describe()}): x has shape {shape}, expected (…, {self._sizes()})")
        y = standardize(x, tuple(range(-n, 0)), self.eps) * self.weight
        return y if self.bias is None else y + self.bias

    def _sizes(self) -> str:
        return ", ".join(map(str, self.shape))

    def describe(self) -> str:
        """Returns the features."""
        sizes = self._sizes()
        return sizes if len(self.shape) == 1 else f"({sizes})"
