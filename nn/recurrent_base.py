"""The loop through time that RNN, LSTM and GRU share, its checkpoints and its checks.

A layer is a loop of plain NumPy steps, whose sweeps are those of rmad.joint.recurrence. With checkpoint=True the tape
keeps every ⌈√t⌉-th state, and a sweep computes the steps in between again (Martens & Sutskever 2012, section 7.1): a
product takes up to twice as long, for about 2/√t of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

import rmad
from nn.checks import bias_of, check_dtype, check_floats, check_sizes, initial
from nn.init import Init
from nn.module import Module
from rmad.extend import Array, recur

__all__ = ["Recurrent", "State", "Step", "affine"]

State: TypeAlias = tuple[Array, ...]
Step: TypeAlias = Callable[[Sequence[Any], Array, State | None], State]
"""(parameters, x_t, state) → the next state, whose first array is h."""


class Recurrent(Module):
    """h_t = step(x_t, h_{t−1}): parameters of all gates in one array, the loop, its checkpoints.

    Each layer spells out its options in a constructor of its own, so that `help` and Python's messages name the layer.

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
        dtype: DTypeLike,
        last: bool,
        checkpoint: bool,
    ) -> None:
        """Sets the parameters, (i, gates·h), (h, gates·h) and (gates·h,), and the options."""
        name = f"{type(self).__name__}({i}, {h})"
        check_sizes(name, "the numbers of features and of units", i, h)
        check_dtype(name, dtype)
        # the matrices of all gates stand next to each other; each is drawn on its own
        gates = range(self.gates)
        weights = [initial(name, init, rng, (i, h), dtype) for _ in gates]
        recurrent = [initial(name, recurrent_init, rng, (h, h), dtype, "recurrent_init") for _ in gates]
        self.weight, self.recurrent_weight = np.concatenate(weights, axis=1), np.concatenate(recurrent, axis=1)
        self.bias = bias_of(bias, self.gates * h, dtype)
        self.last, self.checkpoint = last, checkpoint

    @property
    def in_features(self) -> int:
        """Number of input features, i."""
        return self.weight.shape[0]

    @property
    def hidden_size(self) -> int:
        """Number of units, h."""
        return self.recurrent_weight.shape[0]

    def _parameters(self) -> list[Array | None]:
        return [self.weight, self.recurrent_weight, self.bias]

    def _step(self) -> Step:
        raise NotImplementedError(f"{type(self).__name__}: one step in time")

    def _cell(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: the cell of its sweeps")

    def forward(self, x: Array, state: Array | State | None = None) -> Array:
        """Returns all states h: (n, t, h), or the last one: (n, h).

        Parameters
        ----------
        x : (n, t, i) array
            Sequences.
        state : (n, h) array, or a pair of them for LSTM, optional
            State before the first step; zeros unless given.

        Returns
        -------
        (n, t, h) array, or (n, h) if the layer has last=True

        Raises
        ------
        ValueError
            If x or the state has another shape.
        TypeError
            Unless x is an array of floats.
        """
        start = self._start(state, self._check(x))
        size = math.ceil(math.sqrt(x.shape[1])) if self.checkpoint else None
        h, c = (None, None) if start is None else (*start, None)[:2]
        W, U, b, *more = self._parameters()
        arrays = (W, U, b, x, h, c, *(more or [None]))
        y = recur(self._cell(), partial(_steps, self._step(), self.last), arrays, last=self.last, every=size)
        return self._loop(x, start, size) if y is None else y

    def _loop(self, x: Array, start: State | None, size: int | None) -> Array:
        """Runs the steps as they are written, in pieces of `size` that every sweep computes again."""
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

    def _check(self, x: Array) -> int:
        """Returns the number of cases; ValueError or TypeError unless x is (n, t, i) of floats."""
        check_floats(self, x)
        shape, name = np.shape(x), f"{type(self).__name__}({self.describe()})"
        if len(shape) != 3 or shape[2] != self.in_features:
            raise ValueError(f"{name}: x has shape {shape}, expected (n, t, {self.in_features})")
        if shape[1] == 0:
            raise ValueError(f"{name}: x has shape {shape}, at least one step in time is needed")
        return shape[0]

    def _start(self, state: Any, n: int) -> State | None:
        """Returns the state before the first step as a tuple; ValueError unless it has the right shape."""
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
        """Returns "i, h", and the settings that differ from the defaults."""
        flags = [f", {name}=True" for name in ("last", "checkpoint") if getattr(self, name)]
        return f"{self.in_features}, {self.hidden_size}{', bias=False' if self.bias is None else ''}{''.join(flags)}"


def affine(parameters: Sequence[Any], x: Array, h: Array | None) -> Array:
    """Returns x W + h U + b."""
    W, U, b = parameters[:3]
    y = x @ W if h is None else x @ W + h @ U
    return y if b is None else y + b


def _run(
    step: Step, last: bool, parameters: Sequence[Any], x: Array, state: State | None
) -> tuple[Array | None, State]:
    """Returns (states (n, t, h), the state after the steps but for h), or with `last` (None, all of that state)."""
    states = []
    for t in range(x.shape[1]):
        state = step(parameters, x[:, t], state)
        if not last:
            states.append(state[0])
    assert state is not None
    return (None, state) if last else (np.stack(states, axis=1), state[1:])


def _steps(step: Step, last: bool, W: Any, U: Any, b: Any, x: Any, h: Any, c: Any, e: Any) -> Any:
    """Returns the states, or with `last` h after the last step, by the loop."""
    state = None if h is None else (h,) if c is None else (h, c)
    states, final = _run(step, last, (W, U, b, e), x, state)
    return final[0] if last else states
