"""The affine layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nn import init as _init
from nn.checks import bias_of, check_dtype, check_floats, check_sizes, initial
from nn.module import Module
from rmad.primitives.layers.affine import affine

__all__ = ["Linear"]


class Linear(Module):
    """y = x W + b

    x: (…, i), W = weight: (i, o), b = bias: (o,) or None, y: (…, o). `init` makes the weight: a function
    (rng, shape, dtype) of nn.init; `bias` is the number that fills b, True for 0, False for no bias at all.
    Raises ValueError where x has another number of features, TypeError unless it is an array of floats.
    """

    def __init__(
        self,
        i: int,
        o: int,
        *,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: Callable[..., Any] = _init.glorot_uniform,
        dtype: Any = np.float32,
    ) -> None:
        name = f"Linear({i}, {o})"
        check_sizes(name, "both numbers of features", i, o)
        check_dtype(name, dtype)
        # the weight comes first: the engine takes weight and bias as neighbours in the flat vector
        self.weight = initial(name, init, rng, (i, o), dtype)
        self.bias = bias_of(bias, o, dtype)

    @property
    def in_features(self) -> int:
        return self.weight.shape[0]

    @property
    def out_features(self) -> int:
        return self.weight.shape[1]

    def forward(self, x: Any) -> Any:
        weight, bias = self.weight, self.bias
        check_floats(self, x)
        shape = x.shape if hasattr(x, "shape") else np.shape(x)  # of a traced array, np.shape takes ten times as long
        if not shape or shape[-1] != weight.shape[0]:
            has = f"{shape[-1]} features" if shape else "no axis of features"
            images = len(shape) == 4 and np.prod(shape[1:]) == weight.shape[0]
            hint = "; nn.Flatten() before it makes rows of images" if images else ""
            raise ValueError(
                f"Linear({self.describe()}): x has {has}: its shape is {shape}, expected (…, {weight.shape[0]}){hint}"
            )
        return x @ weight if bias is None else affine(x, weight, bias)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")
