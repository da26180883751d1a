"""The affine layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nn import init as _init
from nn.module import Module

__all__ = ["Linear"]


class Linear(Module):
    """y = x W + b

    x: (…, i), W = weight: (i, o), b = bias: (o,) or None, y: (…, o). `init` makes the weight: a function
    (rng, shape, dtype) of nn.init; `bias` is the number that fills b, True for 0, False for no bias at all.
    Raises ValueError where x has another number of features.
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
        if i < 1 or o < 1:
            raise ValueError(f"Linear({i}, {o}): both numbers of features must be positive")
        if not isinstance(i, int | np.integer) or not isinstance(o, int | np.integer):
            raise TypeError(f"Linear({i!r}, {o!r}): both numbers of features must be whole numbers")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"Linear({i}, {o}): rng must be a Generator, as np.random.default_rng(0), not {type(rng).__name__}"
            )
        if np.dtype(dtype).kind not in "fc":
            raise TypeError(f"Linear({i}, {o}): dtype must be a float type, not {np.dtype(dtype)}")
        # the weight comes first: the engine takes weight and bias as neighbours in the flat vector
        self.weight = init(rng, (i, o), dtype)
        if np.shape(self.weight) != (i, o):
            raise ValueError(f"Linear({i}, {o}): init made a weight of shape {np.shape(self.weight)}")
        # a bool is no number here: True is a bias of 0
        self.bias = None if bias is False else np.full(o, 0.0 if bias is True else bias, dtype)

    @property
    def in_features(self) -> int:
        return self.weight.shape[0]

    @property
    def out_features(self) -> int:
        return self.weight.shape[1]

    def forward(self, x: Any) -> Any:
        weight, bias = self.weight, self.bias
        if isinstance(x, tuple) and any(hasattr(part, "shape") for part in x):
            raise TypeError(
                f"Linear({self.describe()}): x is a tuple of {len(x)}, expected an array (…, {weight.shape[0]}); "
                "a batch is given in two, opt.step(x, t)"
            )
        shape = np.shape(x)
        if not shape or shape[-1] != weight.shape[0]:
            has = f"{shape[-1]} features" if shape else "no axis of features"
            raise ValueError(f"Linear({self.describe()}): x has {has}")
        y = x @ weight
        if bias is None:
            return y
        if type(y) is type(bias) and y.dtype == bias.dtype:
            y += bias  # y is ours; on a traced array this is y + bias
            return y
        return y + bias

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")
