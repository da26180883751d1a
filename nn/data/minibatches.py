"""Minibatches, and the position of a run in the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.checks import check_rng, check_sizes
from rmad.extend import Array, arrays

__all__ = ["Batches", "batches"]


def batches(
    x: Array,
    t: Array | None,
    size: int,
    rng: np.random.Generator | None = None,
    *,
    passes: int | None = None,
    rest: bool = False,
) -> Batches:
    """Iterates over pairs (x, t) of `size` cases, without end or for some passes over the data.

    Parameters
    ----------
    x : array
        Inputs, cases along the first axis.
    t : array or None
        Targets, cases along the first axis; x itself, or None, which stays x or None in every pair.
    size : int
        Number of cases in a batch; all of them, if there are fewer.
    rng : np.random.Generator, optional
        Draws a new order of the cases for every pass; without it, they keep their order.
    passes : int, optional
        Number of passes; endless unless given.
    rest : bool, default False
        Whether a pass ends with the batch of the remaining cases, fewer than `size`.

    Returns
    -------
    Batches

    Raises
    ------
    ValueError
        If x and t differ in length, there is no case, or size is below 1.
    TypeError
        For the wrong kind of argument.

    Examples
    --------
    >>> import nn, numpy as np
    >>> x = np.arange(5)
    >>> [xb.tolist() for xb, _ in nn.data.batches(x, None, 2, passes=1, rest=True)]
    [[0, 1], [2, 3], [4]]
    """
    _check(x, t, size, rng)
    return Batches(x, t, min(size, len(x)), rng, passes, rest)


def _check(x: Any, t: Any, size: Any, rng: Any) -> None:
    """Raises the errors of `batches`."""
    for name, a in (("x", x), ("t", t)):
        if a is not None and not hasattr(a, "shape"):
            hint = "; batches(data.x_train, data.t_train, size)" if hasattr(a, "_fields") else ""
            raise TypeError(f"batches: {name} must be an array, not a {type(a).__name__}{hint}")
    if rng is not None:
        check_rng("batches", rng)
    check_sizes("batches", "size", size)
    n = len(x)
    if t is not None and len(t) != n:
        raise ValueError(f"batches: x has {n} cases, t has {len(t)}")
    if n == 0:
        raise ValueError(f"batches: x has no cases, its shape is {np.shape(x)}")


class Batches:
    """The iterator that `batches` returns. Its state is its position in the data, for a run that continues later.

    Parameters
    ----------
    x : array
        Inputs, cases along the first axis.
    t : array or None
        Targets, cases along the first axis.
    size : int
        Number of cases in a batch.
    rng : np.random.Generator or None
        Draws the order of the cases.
    passes : int or None
        Number of passes, or None.
    rest : bool
        Whether a pass ends with the batch of the remaining cases.
    """

    def __init__(
        self,
        x: Array,
        t: Array | None,
        size: int,
        rng: np.random.Generator | None,
        passes: int | None,
        rest: bool,
    ) -> None:
        self.x, self.t, self.size, self.rng, self.passes = x, t, size, rng, passes
        n = len(x)
        self.end = n if rest else n - n % size
        self.done = 0  # passes
        self.place = self.end  # in this pass; there is none yet
        self._started_from: Any = None  # the rng's state when this pass began
        self._order: Array | None = None

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> tuple[Array, Any]:
        if self.place >= self.end:
            if self.done == self.passes:
                raise StopIteration
            self._begin()
        cases: Any = slice(self.place, self.place + self.size)
        if self._order is not None:
            cases = self._order[cases]
        self.place += self.size
        x = self.x[cases]
        return x, None if self.t is None else x if self.t is self.x else self.t[cases]

    def _begin(self) -> None:
        """Begins another pass."""
        self.place, self.done = 0, self.done + 1
        if self.rng is not None:
            self._shuffle(self.rng)

    def _shuffle(self, rng: np.random.Generator) -> None:
        """Draws the order of a pass."""
        self._started_from = rng.bit_generator.state
        order = rng.permutation(len(self.x))
        self._order = arrays.moved_to(self.x, order)

    def state_dict(self) -> dict[str, Any]:
        """Returns the position. The rng should be its own: its state is that of the beginning of the pass."""
        rng = self.rng.bit_generator.state if self.rng is not None and not self.done else self._started_from
        return {"cases": len(self.x), "done": self.done, "place": self.place, "rng": rng}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from the position in a state_dict.

        Parameters
        ----------
        state : dict
            A state_dict of batches of the same data.

        Raises
        ------
        ValueError
            If the state belongs to another number of cases, only one of the two has an rng, or an entry is missing or
            wrong. The position is as it was, then.
        """
        if missing := [name for name in ("cases", "done", "place", "rng") if name not in state]:
            raise ValueError(f"batches: the state lacks {missing[0]!r}")
        if state["cases"] != len(self.x):
            raise ValueError(f"batches: the state is of {state['cases']} cases, there are {len(self.x)}")
        for name, most in (("done", np.inf), ("place", self.end + self.size - 1)):
            if type(state[name]) is not int or not 0 <= state[name] <= most:
                raise ValueError(f"batches: {name} of the state is {state[name]!r}, no place in the data")
        if (state["rng"] is None) != (self.rng is None):
            raise ValueError(f"batches: the state has {'no' if state['rng'] is None else 'an'} rng, unlike the batches")
        if self.rng is not None:
            _restore(self.rng, state["rng"])
        self.done, self.place = state["done"], state["place"]
        if self.rng is not None and self.done:
            self._shuffle(self.rng)


def _restore(rng: np.random.Generator, state: Any) -> None:
    """Sets the state of the generator; ValueError, and no change, if it is none of its kind."""
    before, own = rng.bit_generator.state, rng.bit_generator
    try:
        own.state = state
        at, numbers = state.get("buffer_pos", 0), state.get("buffer", ())  # of Philox; NumPy does not check places
        if isinstance(state["state"], dict) and "pos" in state["state"]:  # of MT19937, where the end is a place too
            at, numbers = state["state"]["pos"], state["state"]["key"]
        if not 0 <= at <= len(numbers):
            raise ValueError(f"place {at} of {len(numbers)}")
    except Exception as error:  # whatever the state happens to be
        own.state = before
        raise ValueError(f"batches: the state has an rng that is no {type(own).__name__}: {error}") from None
