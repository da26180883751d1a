"""The affine layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.checks import bias_of, check_dtype, check_floats, check_sizes, initial
from nn.module import Module
from rmad.extend import Array, affine

__all__ = ["Linear"]


class Linear(Module):
    """y = x W + b.

    x: (…, i), y: (…, o).

    Parameters
    ----------
    i : int
        Number of input features.
    o : int
        Number of units.
    bias : bool or float, default True
        Number that fills b: True stands for 0, False for no bias at all.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W: one of nn.init.
    dtype : dtype, default float32
        Type of W and b: a real or complex float.

    Attributes
    ----------
    weight : (i, o) array
        W.
    bias : (o,) array or None
        b.

    Raises
    ------
    ValueError
        If x has another number of features.
    TypeError
        Unless x is an array of floats.

    Examples
    --------
    >>> import nn
    >>> layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    >>> layer(np.ones((5, 3), np.float32)).shape, layer.weight.shape
    ((5, 2), (3, 2))
    """

    def __init__(
        self,
        i: int,
        o: int,
        *,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = f"Linear({i}, {o})"
        check_sizes(name, "both numbers of features", i, o)
        check_dtype(name, dtype)
        # the weight comes first: the engine takes weight and bias as neighbours in the flat vector
        self.weight = initial(name, init, rng, (i, o), dtype)
        self.bias = bias_of(bias, o, dtype)

    @property
    def in_features(self) -> int:
        """Number of input features, i."""
        return self.weight.shape[0]

    @property
    def out_features(self) -> int:
        """Number of units, o."""
        return self.weight.shape[1]

    def forward(self, x: Array) -> Array:
        """Returns y: (…, o) for x: (…, i)."""
        weight, bias = self.weight, self.bias
        check_floats(self, x)
        shape = x.shape if hasattr(x, "shape") else np.shape(x)  # np.shape of a traced array takes ten times as long
        if not shape or shape[-1] != weight.shape[0]:
            has = f"{shape[-1]} features" if shape else "no axis of features"
            images = len(shape) == 4 and np.prod(shape[1:]) == weight.shape[0]
            hint = "; nn.Flatten() before it makes rows of images" if images else ""
            raise ValueError(
                f"Linear({self.describe()}): x has {has}: its shape is {shape}, expected (…, {weight.shape[0]}){hint}"
            )
        return x @ weight if bias is None else affine(x, weight, bias)

    def describe(self) -> str:
        """Returns "i, o"."""
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")
