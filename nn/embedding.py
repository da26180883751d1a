"""Tables of vectors that integers look up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nn import init as _init
from nn.checks import check_dtype, check_sizes, initial
from nn.module import Module
from rmad.traced import stop

__all__ = ["Embedding"]


class Embedding(Module):
    """y = W[x]: row x of W for every token x.

    x: (…) integers in 0 … n_tokens − 1, W = weight: (n_tokens, features), y: (…, features). `init` makes the
    weight, N(0, 1) unless given: a function (rng, shape, dtype) of nn.init. Jᵀu adds up the cotangents of a token
    that occurs several times.

    Raises TypeError where x holds no integers, ValueError for a token out of range, negative ones among them.
    """

    def __init__(
        self,
        n_tokens: int,
        features: int,
        *,
        rng: np.random.Generator,
        init: Callable[..., Any] = _init.normal,
        dtype: Any = np.float32,
    ) -> None:
        name = f"Embedding({n_tokens}, {features})"
        check_sizes(name, "both numbers", n_tokens, features)
        check_dtype(name, dtype)
        self.weight = initial(name, init, rng, (n_tokens, features), dtype)

    def forward(self, x: Any) -> Any:
        x = np.asarray(x) if isinstance(x, int | list | tuple) else stop(x)
        n = self.weight.shape[0]
        kind = getattr(getattr(x, "dtype", None), "kind", None)
        if kind is None or kind not in "iu":
            found = type(x).__name__ if kind is None else x.dtype
            raise TypeError(f"Embedding({self.describe()}): x of shape {np.shape(x)} must hold integers, not {found}")
        if x.size and (x.min() < 0 or x.max() >= n):
            wrong = x.min() if x.min() < 0 else x.max()
            raise ValueError(
                f"Embedding({self.describe()}): x of shape {x.shape} holds the token {wrong}, expected 0 … {n - 1}"
            )
        return self.weight[x]

    def describe(self) -> str:
        n, features = self.weight.shape
        return f"{n}, {features}"
