"""Tables of vectors that integers look up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.checks import check_dtype, check_sizes, initial
from nn.module import Module
from nn.once import once
from rmad.extend import Array, stop

__all__ = ["Embedding"]


class Embedding(Module):
    """y = W[x]: row x of W for every token x.

    x: (…) integers in 0 … n_tokens − 1, y: (…, features). Jᵀu adds up the cotangents of a token that occurs several
    times.

    Parameters
    ----------
    n_tokens : int
        Number of distinct tokens.
    features : int
        Length of a token's vector.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default N(0, 1)
        Makes W: one of nn.init.
    dtype : dtype, default float32
        Type of W: a real or complex float.

    Attributes
    ----------
    weight : (n_tokens, features) array
        W.

    Raises
    ------
    TypeError
        If x holds no integers.
    ValueError
        For a token out of range, negative ones included.

    Examples
    --------
    >>> import nn
    >>> layer = nn.Embedding(65, 16, rng=np.random.default_rng(0))
    >>> layer(np.array([[3, 1, 4], [1, 5, 9]])).shape
    (2, 3, 16)
    """

    def __init__(
        self,
        n_tokens: int,
        features: int,
        *,
        rng: np.random.Generator,
        init: _init.Init = _init.normal,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = f"Embedding({n_tokens}, {features})"
        check_sizes(name, "both numbers", n_tokens, features)
        check_dtype(name, dtype)
        self.weight = initial(name, init, rng, (n_tokens, features), dtype)

    def forward(self, x: Array | Sequence[int] | int) -> Array:
        """Returns y: (…, features) for x: (…) integers."""
        x = np.asarray(x) if isinstance(x, int | list | tuple) else stop(x)
        n = self.weight.shape[0]
        kind = getattr(getattr(x, "dtype", None), "kind", None)
        if kind is None or kind not in "iu":
            found = type(x).__name__ if kind is None else x.dtype
            raise TypeError(f"Embedding({self.describe()}): x of shape {np.shape(x)} must hold integers, not {found}")
        once(x, ("tokens", n), lambda: self._are_tokens(x))
        return self.weight[x]

    def _are_tokens(self, x: Array) -> None:
        """Raises ValueError unless every number in x is that of a token."""
        n = self.weight.shape[0]
        if x.size and (x.min() < 0 or x.max() >= n):
            wrong = x.min() if x.min() < 0 else x.max()
            raise ValueError(
                f"Embedding({self.describe()}): x of shape {x.shape} holds the token {wrong}, expected 0 … {n - 1}"
            )

    def describe(self) -> str:
        """Returns "n_tokens, features"."""
        n, features = self.weight.shape
        return f"{n}, {features}"
