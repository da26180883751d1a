"""Layers that run through time: RNN, LSTM, GRU.

x: (n, t, i) → all hidden states (n, t, h); with last=True the one after the last step, (n, h)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.functional import relu, sigmoid
from nn.recurrent_base import Recurrent, State, Step, affine
from rmad.extend import Array, GRUCell, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(Recurrent):
    """h_t = tanh(x_t W + h_{t−1} U + b), or with activation="relu" max(·, 0).

    x: (n, t, i), y: (n, t, h). `layer(x, state)` starts from state: (n, h), otherwise from 0.

    Parameters
    ----------
    i : int
        Number of input features.
    h : int
        Number of units.
    activation : {"tanh", "relu"}, default "tanh"
        The function of the sum.
    bias : bool or float, default True
        Number that fills b: True stands for 0, False for no bias at all.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W, gate by gate: one of nn.init.
    recurrent_init : function (rng, shape, dtype) → array, default orthogonal
        Makes U, gate by gate: one of nn.init.
    dtype : dtype, default float32
        Type of the parameters: a real or complex float.
    last : bool, default False
        Whether y is the state after the last step only: (n, h).
    checkpoint : bool, default False
        Whether the tape keeps √t of the t states; a product takes up to twice as long.

    Attributes
    ----------
    weight : (i, h) array
        W.
    recurrent_weight : (h, h) array
        U.
    bias : (h,) array or None
        b.

    Raises
    ------
    ValueError
        If x or the state has another shape.
    TypeError
        Unless x is an array of floats.

    References
    ----------
    Elman (1990); checkpoints: Martens & Sutskever (2012), section 7.1.

    Examples
    --------
    >>> import nn
    >>> x, rng = np.ones((2, 7, 3), np.float32), np.random.default_rng(0)
    >>> nn.RNN(3, 5, rng=rng)(x).shape, nn.RNN(3, 5, last=True, rng=rng)(x).shape
    ((2, 7, 5), (2, 5))
    """

    def __init__(
        self,
        i: int,
        h: int,
        *,
        activation: str = "tanh",
        bias: bool | float = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        recurrent_init: _init.Init = _init.orthogonal,
        dtype: DTypeLike = np.float32,
        last: bool = False,
        checkpoint: bool = False,
    ) -> None:
        if activation not in ("tanh", "relu"):
            raise ValueError(f"RNN({i}, {h}): activation must be 'tanh' or 'relu', not {activation!r}")
        self._make(i, h, bias, rng, init, recurrent_init, dtype, last, checkpoint)
        self.activation = activation

    def _step(self) -> Step:
        return partial(_rnn_step, np.tanh if self.activation == "tanh" else relu)

    def _cell(self) -> RNNCell:
        return RNNCell(self.activation)

    def describe(self) -> str:
        """Returns "i, h", and the settings that differ from the defaults."""
        return super().describe() + (", activation='relu'" if self.activation == "relu" else "")


def _rnn_step(activation: Callable[[Array], Array], parameters: Sequence[Any], x: Array, state: State | None) -> State:
    return (activation(affine(parameters, x, None if state is None else state[0])),)


class LSTM(Recurrent):
    """c_t = σ(f) c_{t−1} + σ(i) tanh(g),  h_t = σ(o) tanh(c_t),  [i f g o] = x_t W + h_{t−1} U + b.

    x: (n, t, i), y: (n, t, h). `layer(x, state)` starts from the pair state = (h, c), (n, h) each, otherwise from 0.

    Parameters
    ----------
    i : int
        Number of input features.
    h : int
        Number of units.
    bias : bool or float, default True
        Number that fills b: True stands for 0, False for no bias at all.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W, gate by gate: one of nn.init.
    recurrent_init : function (rng, shape, dtype) → array, default orthogonal
        Makes U, gate by gate: one of nn.init.
    dtype : dtype, default float32
        Type of the parameters: a real or complex float.
    last : bool, default False
        Whether y is the state after the last step only: (n, h).
    checkpoint : bool, default False
        Whether the tape keeps √t of the t states; a product takes up to twice as long.

    Attributes
    ----------
    weight : (i, 4h) array
        W, gates in the order of torch.
    recurrent_weight : (h, 4h) array
        U.
    bias : (4h,) array or None
        b, the sum of torch's two.

    Raises
    ------
    ValueError
        If x or the state has another shape.
    TypeError
        Unless x is an array of floats.

    References
    ----------
    Hochreiter & Schmidhuber (1997), with the forget gate of Gers, Schmidhuber & Cummins (2000).

    Examples
    --------
    >>> import nn
    >>> layer = nn.LSTM(3, 5, rng=np.random.default_rng(0))
    >>> layer(np.ones((2, 7, 3), np.float32)).shape, layer.weight.shape
    ((2, 7, 5), (3, 20))
    """

    gates = 4
    has_cell = True

    def __init__(
        self,
        i: int,
        h: int,
        *,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        recurrent_init: _init.Init = _init.orthogonal,
        dtype: DTypeLike = np.float32,
        last: bool = False,
        checkpoint: bool = False,
    ) -> None:
        self._make(i, h, bias, rng, init, recurrent_init, dtype, last, checkpoint)

    def _step(self) -> Step:
        return _lstm_step

    def _cell(self) -> LSTMCell:
        return LSTMCell()


def _lstm_step(parameters: Sequence[Any], x: Array, state: State | None) -> State:
    h, c = (None, None) if state is None else state
    a = affine(parameters, x, h)
    m = a.shape[1] // 4
    i, f, g, o = (a[:, k * m : (k + 1) * m] for k in range(4))
    new = sigmoid(i) * np.tanh(g)
    if c is not None:
        new = sigmoid(f) * c + new
    return sigmoid(o) * np.tanh(new), new


class GRU(Recurrent):
    """h_t = (1 − z) n + z h_{t−1},  r = σ(·), z = σ(·),  n = tanh(x_t W_n + b_n + r (h_{t−1} U_n + c)).

    x: (n, t, i), y: (n, t, h). `layer(x, state)` starts from state: (n, h), otherwise from zeros. The reset gate acts
    after the product with U, as in torch and cuDNN, so n has a second bias c.

    Parameters
    ----------
    i : int
        Number of input features.
    h : int
        Number of units.
    bias : bool or float, default True
        Number that fills b: True stands for 0, False for no bias at all.
    rng : np.random.Generator
        Source of the first weights.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes W, gate by gate: one of nn.init.
    recurrent_init : function (rng, shape, dtype) → array, default orthogonal
        Makes U, gate by gate: one of nn.init.
    dtype : dtype, default float32
        Type of the parameters: a real or complex float.
    last : bool, default False
        Whether y is the state after the last step only: (n, h).
    checkpoint : bool, default False
        Whether the tape keeps √t of the t states; a product takes up to twice as long.

    Attributes
    ----------
    weight : (i, 3h) array
        W, gates in torch's order r, z, n.
    recurrent_weight : (h, 3h) array
        U.
    bias : (3h,) array or None
        b.
    recurrent_bias : (h,) array or None
        c.

    Raises
    ------
    ValueError
        If x or the state has another shape.
    TypeError
        Unless x is an array of floats.

    References
    ----------
    Cho et al. (2014), in the form of cuDNN.

    Examples
    --------
    >>> import nn
    >>> layer = nn.GRU(3, 5, rng=np.random.default_rng(0))
    >>> layer(np.ones((2, 7, 3), np.float32)).shape, layer.weight.shape
    ((2, 7, 5), (3, 15))
    """

    gates = 3

    def __init__(
        self,
        i: int,
        h: int,
        *,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: _init.Init = _init.glorot_uniform,
        recurrent_init: _init.Init = _init.orthogonal,
        dtype: DTypeLike = np.float32,
        last: bool = False,
        checkpoint: bool = False,
    ) -> None:
        self._make(i, h, bias, rng, init, recurrent_init, dtype, last, checkpoint)
        self.recurrent_bias = None if bias is False else np.zeros(h, dtype)

    def _parameters(self) -> list[Array | None]:
        return [*super()._parameters(), self.recurrent_bias]

    def _step(self) -> Step:
        return _gru_step

    def _cell(self) -> GRUCell:
        return GRUCell()


def _gru_step(parameters: Sequence[Any], x: Array, state: State | None) -> State:
    W, U, b, c = parameters
    a = x @ W if b is None else x @ W + b
    m = U.shape[0]
    if state is None:  # h = 0, so h U + c = c
        r, z, n = (a[:, k * m : (k + 1) * m] for k in range(3))
        n = np.tanh(n if c is None else n + sigmoid(r) * c)
        return (sigmoid(-z) * n,)  # 1 − σ(z), with all digits
    (h,) = state
    s = h @ U
    r, z = (sigmoid(a[:, k * m : (k + 1) * m] + s[:, k * m : (k + 1) * m]) for k in range(2))
    inner = s[:, 2 * m :] if c is None else s[:, 2 * m :] + c
    n = np.tanh(a[:, 2 * m :] + r * inner)
    return (n + z * (h - n),)
