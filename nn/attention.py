"""Attention, and the block of a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nn import functional as F
from nn import init as _init
from nn.activations import GELU
from nn.checks import MakesLayer, check_floats, check_maker, check_sizes
from nn.containers import Sequential
from nn.dropout import Dropout
from nn.layer_norm import LayerNorm
from nn.linear import Linear
from nn.module import Module
from rmad.extend import Array

__all__ = ["MultiHeadAttention", "TransformerBlock"]


class MultiHeadAttention(Module):
    """y = [head₁ … head_h] Wₒ + bₒ, head = softmax(Q Kᵀ/√d + mask) V,  [Q K V] = x W + b.

    x, y: (n, t, features). `layer(x, context, mask)` takes keys and values from context: (n, s, features). mask:
    (t, s), (n, t, s) or (n, heads, t, s), as in nn.functional.scaled_dot_product_attention.

    Parameters
    ----------
    features : int
        Length of the vector at each position.
    heads : int
        Number of heads; it divides `features`.
    causal : bool, default False
        Whether position j sees the positions up to j only.
    bias : bool, default True
        Whether there are b and bₒ.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W and Wₒ: one of nn.init.
    dtype : dtype, default float32
        Type of the parameters: a real or complex float.

    Attributes
    ----------
    projection : Linear
        W, (features, 3 features), and b: queries, keys and values next to each other, the heads of each within it.
    out : Linear
        Wₒ, (features, features), and bₒ.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a query may see no key.
    TypeError
        Unless x and context are arrays of floats.

    References
    ----------
    Vaswani et al. (2017), section 3.2; projections as PyTorch's in_proj.

    Examples
    --------
    >>> import nn
    >>> layer = nn.MultiHeadAttention(8, 2, causal=True, rng=np.random.default_rng(0))
    >>> layer(np.ones((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        features: int,
        heads: int,
        *,
        causal: bool = False,
        bias: bool = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = f"MultiHeadAttention({features}, {heads})"
        check_sizes(name, "the numbers of features and of heads", features, heads)
        if features % heads:
            raise ValueError(f"{name}: heads must divide the number of features")
        self.heads, self.causal = heads, bool(causal)
        self.projection = Linear(features, 3 * features, bias=bias, rng=rng, init=init, dtype=dtype)
        self.out = Linear(features, features, bias=bias, rng=rng, init=init, dtype=dtype)

    @property
    def features(self) -> int:
        """Length of the vector at each position."""
        return self.out.in_features

    def forward(self, x: Array, context: Array | None = None, mask: Array | None = None) -> Array:
        """Returns y: (n, t, features) for x: (n, t, features), context: (n, s, features), mask: (…, t, s)."""
        n, t = self._checked("x", x)
        if context is None:
            parts = np.reshape(self.projection(x), (n, t, 3, self.heads, self.features // self.heads))
            query, key, value = (np.swapaxes(parts[:, :, k], 1, 2) for k in range(3))
        else:
            if self._checked("context", context)[0] != n:
                raise ValueError(f"{self._name}: x has {n} cases, but context has shape {np.shape(context)}")
            query, key, value = (self._heads(a, k) for k, a in enumerate((x, context, context)))
        if mask is not None and np.ndim(mask) == 3:
            mask = mask[:, None]
        y = F.scaled_dot_product_attention(query, key, value, mask, causal=self.causal)
        return self.out(np.reshape(np.swapaxes(y, 1, 2), (n, t, self.features)))

    def _heads(self, a: Array, k: int) -> Array:
        """Returns part k of the projection of a alone: (n, heads, t, d)."""
        own = slice(k * self.features, (k + 1) * self.features)
        y = a @ self.projection.weight[:, own]
        if self.projection.bias is not None:
            y = y + self.projection.bias[own]
        return np.swapaxes(np.reshape(y, (*np.shape(a)[:2], self.heads, self.features // self.heads)), 1, 2)

    def _checked(self, name: str, a: Array) -> tuple[int, int]:
        """Returns the numbers of cases and of positions of a."""
        check_floats(self, a, name=name)
        shape = np.shape(a)
        if len(shape) != 3 or shape[-1] != self.features or not shape[1]:
            raise ValueError(f"{self._name}: {name} has shape {shape}, expected (n, t, {self.features})")
        return shape[0], shape[1]

    @property
    def _name(self) -> str:
        return f"MultiHeadAttention({self.describe()})"

    def describe(self) -> str:
        """Returns "features, heads", and the settings that differ from the defaults."""
        bias = "" if self.projection.bias is not None else ", bias=False"
        return f"{self.features}, {self.heads}" + (", causal=True" if self.causal else "") + bias


class TransformerBlock(Module):
    """x ← x + Attention(LayerNorm(x)),  y = x + MLP(LayerNorm(x)),  MLP(x) = φ(x W₁ + b₁) W₂ + b₂.

    x, y: (n, t, features). `layer(x, mask)` takes a mask as MultiHeadAttention does.

    Parameters
    ----------
    features : int
        Length of the vector at each position.
    heads : int
        Number of heads; it divides `features`.
    hidden : int, optional
        Number of hidden units of the MLP; 4 features unless given (Vaswani et al. 2017, section 3.3).
    dropout : float, default 0
        Share of each of the two summands that is left out, drawn once per update.
    causal : bool, default False
        Whether position j sees the positions up to j only.
    norm_first : bool, default True
        False puts each normalisation after its sum, as in the first paper.
    activation : class or function that makes a layer, default GELU
        φ.
    bias : bool, default True
        Whether linear layers and normalisations have biases.
    eps : float, default 1e-5
        ε of the normalisations.
    rng : np.random.Generator
        Source of the first weights and of the dropout masks.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes the weights: one of nn.init.
    dtype : dtype, default float32
        Type of the parameters: a real float.

    References
    ----------
    Vaswani et al. (2017), section 3.1; norm first: Xiong et al. (2020).

    Examples
    --------
    >>> import nn
    >>> block = nn.TransformerBlock(8, 2, causal=True, rng=np.random.default_rng(0))
    >>> block(np.ones((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        features: int,
        heads: int,
        *,
        hidden: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        norm_first: bool = True,
        activation: MakesLayer = GELU,
        bias: bool = True,
        eps: float = 1e-5,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        dtype: DTypeLike = np.float32,
    ) -> None:
        check_maker(f"TransformerBlock({features}, {heads})", "activation", activation)
        hidden = 4 * features if hidden is None else hidden
        linear: dict[str, Any] = {"bias": bias, "rng": rng, "init": init, "dtype": dtype}
        self.norm_first = bool(norm_first)
        self.norm1 = LayerNorm(features, eps=eps, bias=bias, dtype=dtype)
        self.attention = MultiHeadAttention(features, heads, causal=causal, **linear)
        self.norm2 = LayerNorm(features, eps=eps, bias=bias, dtype=dtype)
        self.mlp = Sequential(Linear(features, hidden, **linear), activation(), Linear(hidden, features, **linear))
        self.dropout1, self.dropout2 = (Dropout(dropout, rng=rng) if dropout else None for _ in range(2))

    def forward(self, x: Array, mask: Array | None = None) -> Array:
        """Returns y: (n, t, features) for x: (n, t, features), mask: (…, t, t)."""
        if self.norm_first:
            x = x + self._dropped(self.dropout1, self.attention(self.norm1(x), mask=mask))
            return x + self._dropped(self.dropout2, self.mlp(self.norm2(x)))
        x = self.norm1(x + self._dropped(self.dropout1, self.attention(x, mask=mask)))
        return self.norm2(x + self._dropped(self.dropout2, self.mlp(x)))

    @staticmethod
    def _dropped(dropout: Dropout | None, x: Array) -> Array:
        return x if dropout is None else dropout(x)

    def describe(self) -> str:
        """Returns norm_first, if it is False."""
        return "" if self.norm_first else "norm_first=False"
