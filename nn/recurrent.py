"""Layers that run through time: RNN, LSTM, GRU.

    x: (n, t, i) → all hidden states (n, t, h); with last=True the one after the last step, (n, h)

Each is a loop of plain NumPy steps, whose sweeps are those of rmad.joint.recurrence. With checkpoint=True the
tape keeps every ⌈√t⌉-th state, and a sweep computes the steps in between anew (Martens & Sutskever 2012, section
7.1): a product takes up to twice as long, for about 2/√t of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import rmad
from nn import init as _init
from nn.checks import bias_of, check_dtype, check_floats, check_sizes, initial
from nn.functional import relu, sigmoid
from nn.module import Module
from rmad.extend import GRUCell, LSTMCell, RNNCell, recur

__all__ = ["GRU", "LSTM", "RNN"]

Init = Callable[..., Any]  # (rng, shape, dtype) -> weight
State = tuple[Any, ...]
Step = Callable[[Sequence[Any], Any, State | None], State]  # (parameters, x_t, state) -> state; h comes first in it


class Recurrent(Module):
    """What the recurrent layers have in common: parameters side by side in one array, the loop, its checkpoints.

    Each spells out its options, so that help and the messages of Python name the layer.

    The order weight, recurrent_weight, bias makes them neighbours in the flat vector, so that the engine takes
    x W + h U + b as one product [x h 1] [W; U; b].
    """

    gates = 1
    has_cell = False  # the state is (h, c), not h alone

    def _make(
        self,
        i: int,
        h: int,
        bias: bool | float,
        rng: np.random.Generator,
        init: Init,
        recurrent_init: Init,
        dtype: Any,
        last: bool,
        checkpoint: bool,
    ) -> None:
        name = f"{type(self).__name__}({i}, {h})"
        check_sizes(name, "the numbers of features and of units", i, h)
        check_dtype(name, dtype)
        # the matrices of all gates, side by side; each is drawn on its own
        gates = range(self.gates)
        weights = [initial(name, init, rng, (i, h), dtype) for _ in gates]
        recurrent = [initial(name, recurrent_init, rng, (h, h), dtype, "recurrent_init") for _ in gates]
        self.weight, self.recurrent_weight = np.concatenate(weights, axis=1), np.concatenate(recurrent, axis=1)
        self.bias = bias_of(bias, self.gates * h, dtype)
        self.last, self.checkpoint = last, checkpoint

    @property
    def in_features(self) -> int:
        return self.weight.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.recurrent_weight.shape[0]

    def _parameters(self) -> list[Any]:
        return [self.weight, self.recurrent_weight, self.bias]

    def _step(self) -> Step:
        raise NotImplementedError(f"{type(self).__name__}: one step in time")

    def _cell(self) -> Any:
        """The cell whose sweeps rmad.joint.recurrence has."""
        raise NotImplementedError(f"{type(self).__name__}: the cell of its sweeps")

    def forward(self, x: Any, state: Any = None) -> Any:
        """x: (n, t, i), state: (n, h) before the first step (LSTM: a pair of them), zeros where None."""
        start = self._start(state, self._check(x))
        size = math.ceil(math.sqrt(x.shape[1])) if self.checkpoint else None
        h, c = (None, None) if start is None else (*start, None)[:2]
        W, U, b, *more = self._parameters()
        arrays = (W, U, b, x, h, c, *(more or [None]))
        y = recur(self._cell(), partial(_steps, self._step(), self.last), arrays, last=self.last, every=size)
        return self._loop(x, start, size) if y is None else y

    def _loop(self, x: Any, start: State | None, size: int | None) -> Any:
        """The steps as they are written, in pieces of `size` that every sweep computes anew."""
        parameters, steps = self._parameters(), x.shape[1]
        run: Callable[..., tuple[Any, State]] = partial(_run, self._step(), self.last)
        if size is None:
            states, final = run(parameters, x, start)
            return final[0] if self.last else states
        run, pieces = rmad.checkpoint(run), []
        for first in range(0, steps, size):
            states, rest = run(parameters, x[:, first : first + size], start)
            start = rest if self.last else (states[:, -1], *rest)
            pieces.append(states)
        if self.last:
            return rest[0]
        return np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]

    def _check(self, x: Any) -> int:
        """The number of cases; ValueError or TypeError where x is not (n, t, i) of floats."""
        check_floats(self, x)
        shape, name = np.shape(x), f"{type(self).__name__}({self.describe()})"
        if len(shape) != 3 or shape[2] != self.in_features:
            raise ValueError(f"{name}: x has shape {shape}, expected (n, t, {self.in_features})")
        if shape[1] == 0:
            raise ValueError(f"{name}: x has shape {shape}, at least one step in time is needed")
        return shape[0]

    def _start(self, state: Any, n: int) -> State | None:
        if state is None:
            return None
        arrays = tuple(state) if self.has_cell and isinstance(state, tuple | list) else (state,)
        expected = (n, self.hidden_size)
        if len(arrays) != 1 + self.has_cell or any(np.shape(a) != expected for a in arrays):
            kind = "a pair (h, c) of arrays" if self.has_cell else "one array"
            found = ", ".join(str(np.shape(a)) for a in arrays)
            name = f"{type(self).__name__}({self.describe()})"
            raise ValueError(f"{name}: state has shape {found}, expected {kind} of shape {expected}")
        return arrays

    def describe(self) -> str:
        flags = [f", {name}=True" for name in ("last", "checkpoint") if getattr(self, name)]
        return f"{self.in_features}, {self.hidden_size}{', bias=False' if self.bias is None else ''}{''.join(flags)}"


def _run(step: Step, last: bool, parameters: Sequence[Any], x: Any, state: State | None) -> tuple[Any, State]:
    """The steps of x: (states (n, t, h), the state after them but for h), or with `last` (None, all of that state)."""
    states = []
    for t in range(x.shape[1]):
        state = step(parameters, x[:, t], state)
        if not last:
            states.append(state[0])
    assert state is not None
    return (None, state) if last else (np.stack(states, axis=1), state[1:])


def _steps(step: Step, last: bool, W: Any, U: Any, b: Any, x: Any, h: Any, c: Any, e: Any) -> Any:
    """The states, or with `last` h after the last step, by the loop."""
    state = None if h is None else (h,) if c is None else (h, c)
    states, final = _run(step, last, (W, U, b, e), x, state)
    return final[0] if last else states


def _affine(parameters: Sequence[Any], x: Any, h: Any) -> Any:
    """x W + h U + b"""
    W, U, b = parameters[:3]
    y = x @ W if h is None else x @ W + h @ U
    return y if b is None else y + b


class RNN(Recurrent):
    """h_t = tanh(x_t W + h_{t−1} U + b), or with activation="relu" max(·, 0)

    x: (n, t, i) → (n, t, h); last=True: (n, h). W = weight: (i, h), U = recurrent_weight: (h, h), b = bias: (h,) or
    None. `init` and `recurrent_init` make W and U: functions (rng, shape, dtype) of nn.init. checkpoint: see above.
    Raises ValueError where x or the state has another shape. Source: Elman (1990).
    """

    def __init__(
        self,
        i: int,
        h: int,
        *,
        activation: str = "tanh",
        bias: bool | float = True,
        rng: np.random.Generator,
        init: Init = _init.glorot_uniform,
        recurrent_init: Init = _init.orthogonal,
        dtype: Any = np.float32,
        last: bool = False,
        checkpoint: bool = False,
    ) -> None:
        if activation not in ("tanh", "relu"):
            raise ValueError(f"RNN({i}, {h}): activation must be 'tanh' or 'relu', not {activation!r}")
        self._make(i, h, bias, rng, init, recurrent_init, dtype, last, checkpoint)
        self.activation = activation

    def _step(self) -> Step:
        return partial(_rnn_step, np.tanh if self.activation == "tanh" else relu)

    def _cell(self) -> Any:
        return RNNCell(self.activation)

    def describe(self) -> str:
        return super().describe() + (", activation='relu'" if self.activation == "relu" else "")


def _rnn_step(activation: Callable[[Any], Any], parameters: Sequence[Any], x: Any, state: State | None) -> State:
    return (activation(_affine(parameters, x, None if state is None else state[0])),)


class LSTM(Recurrent):
    """c_t = σ(f) c_{t−1} + σ(i) tanh(g),  h_t = σ(o) tanh(c_t),  [i f g o] = x_t W + h_{t−1} U + b

    x: (n, t, i) → (n, t, h); last=True: (n, h). weight: (i, 4h), recurrent_weight: (h, 4h), bias: (4h,) or None (the
    sum of torch's two), gates in the order of torch. The state is the pair (h, c). The options are those of RNN.
    Source: Hochreiter & Schmidhuber (1997) with the forget gate of Gers, Schmidhuber & Cummins (2000).
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
        init: Init = _init.glorot_uniform,
        recurrent_init: Init = _init.orthogonal,
        dtype: Any = np.float32,
        last: bool = False,
        checkpoint: bool = False,
    ) -> None:
        self._make(i, h, bias, rng, init, recurrent_init, dtype, last, checkpoint)

    def _step(self) -> Step:
        return _lstm_step

    def _cell(self) -> Any:
        return LSTMCell()


def _lstm_step(parameters: Sequence[Any], x: Any, state: State | None) -> State:
    h, c = (None, None) if state is None else state
    a = _affine(parameters, x, h)
    m = a.shape[1] // 4
    i, f, g, o = (a[:, k * m : (k + 1) * m] for k in range(4))
    new = sigmoid(i) * np.tanh(g)
    if c is not None:
        new = sigmoid(f) * c + new
    return sigmoid(o) * np.tanh(new), new


class GRU(Recurrent):
    """h_t = (1 − z) n + z h_{t−1},  r = σ(·), z = σ(·),  n = tanh(x_t W_n + b_n + r (h_{t−1} U_n + c))

    x: (n, t, i) → (n, t, h); last=True: (n, h). weight: (i, 3h), recurrent_weight: (h, 3h), bias: (3h,), gates in
    the order r, z, n of torch. The reset gate acts after the product with U, as in torch and cuDNN, so that n has a
    second bias c = recurrent_bias: (h,). The options are those of RNN. Source: Cho et al. (2014), as cuDNN has it.
    """

    gates = 3

    def __init__(
        self,
        i: int,
        h: int,
        *,
        bias: bool | float = True,
        rng: np.random.Generator,
        init: Init = _init.glorot_uniform,
        recurrent_init: Init = _init.orthogonal,
        dtype: Any = np.float32,
        last: bool = False,
        checkpoint: bool = False,
    ) -> None:
        self._make(i, h, bias, rng, init, recurrent_init, dtype, last, checkpoint)
        self.recurrent_bias = None if bias is False else np.zeros(h, dtype)

    def _parameters(self) -> list[Any]:
        return [*super()._parameters(), self.recurrent_bias]

    def _step(self) -> Step:
        return _gru_step

    def _cell(self) -> Any:
        return GRUCell()


def _gru_step(parameters: Sequence[Any], x: Any, state: State | None) -> State:
    W, U, b, c = parameters
    a = x @ W if b is None else x @ W + b
    m = U.shape[0]
    if state is None:  # h = 0: what is left of h U + c is c
        r, z, n = (a[:, k * m : (k + 1) * m] for k in range(3))
        n = np.tanh(n if c is None else n + sigmoid(r) * c)
        return ((1 - sigmoid(z)) * n,)
    (h,) = state
    s = h @ U
    r, z = (sigmoid(a[:, k * m : (k + 1) * m] + s[:, k * m : (k + 1) * m]) for k in range(2))
    inner = s[:, 2 * m :] if c is None else s[:, 2 * m :] + c
    n = np.tanh(a[:, 2 * m :] + r * inner)
    return (n + z * (h - n),)
