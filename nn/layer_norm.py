"""Layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.checks import check_dtype, check_floats, check_sizes
from nn.module import Module
from rmad.primitives.layers.normalize import standardize

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """y = γ (x − μ) / √(σ² + ε) + β, with γ = weight, β = bias, and the mean μ and variance σ² of each case alone.

    x, y: (…, features), weight, bias: (features,), or None without bias. `features` may be several sizes, (h, w, c):
    mean and variance are then over that many last axes. The same in training and in use.

    Raises ValueError where the last axes of x are others, TypeError where x holds no floats.
    Source: Ba, Kiros & Hinton (2016), eqs. (3) and (4); default ε as PyTorch's.
    """

    def __init__(
        self, features: int | Sequence[int], *, eps: float = 1e-5, bias: bool = True, dtype: Any = np.float32
    ) -> None:
        self.shape = tuple(features) if isinstance(features, tuple | list) else (features,)
        self.eps = float(eps)
        name = f"LayerNorm({self.describe()})"
        check_sizes(name, "the numbers of features", *self.shape)
        check_dtype(name, dtype, "f")
        if not 0 <= eps < math.inf:
            raise ValueError(f"{name}: eps must be finite and not negative, got {eps!r}")
        self.weight = np.ones(self.shape, dtype)
        self.bias = np.zeros(self.shape, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        check_floats(self, x, "f")
        shape, n = np.shape(x), len(self.shape)
        if shape[len(shape) - n :] != self.shape:
            raise ValueError(f"LayerNorm({self.describe()}): x has shape {shape}, expected (…, {self._sizes()})")
        y = standardize(x, tuple(range(-n, 0)), self.eps) * self.weight
        return y if self.bias is None else y + self.bias

    def _sizes(self) -> str:
        return ", ".join(map(str, self.shape))

    def describe(self) -> str:
        sizes = self._sizes()
        return sizes if len(self.shape) == 1 else f"({sizes})"
