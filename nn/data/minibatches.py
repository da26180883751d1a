"""Minibatches, and where in the data a run stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.checks import check_rng, check_sizes

__all__ = ["Batches", "batches"]


def batches(
    x: Any, t: Any, size: int, rng: np.random.Generator | None = None, *, passes: int | None = None, rest: bool = False
) -> Batches:
    """(x, t) pairs of `size` cases, without end, or as many passes over the cases as `passes` says.

    x, t: arrays with the cases along their first axis; t may be x itself, or None, and is None in every pair then.
    Each pass goes through the cases in a new order drawn from rng, or in theirs where rng is None. `rest` keeps the
    batch of fewer cases that ends a pass; without it all batches are of one size, which is all cases where there are
    fewer.

    >>> import nn, numpy as np
    >>> x = np.arange(5)
    >>> [xb.tolist() for xb, _ in nn.data.batches(x, None, 2, passes=1, rest=True)]
    [[0, 1], [2, 3], [4]]

    Raises, when it is called, ValueError where x and t differ in length, there is no case, or size is below 1, and
    TypeError for what is no array, no whole number or no generator.
    """
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
    return Batches(x, t, min(size, n), rng, passes, rest)


class Batches:
    """The iterator that `batches` returns. Its state says where in the data it stands, for a run that goes on later."""

    def __init__(self, x: Any, t: Any, size: int, rng: Any, passes: int | None, rest: bool) -> None:
        self.x, self.t, self.size, self.rng, self.passes = x, t, size, rng, passes
        n = len(x)
        self.end = n if rest else n - n % size
        self.done = 0  # passes
        self.place = self.end  # in this pass; there is none yet
        self._started_from: Any = None  # the rng's state when this pass began
        self._order: Any = None

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> tuple[Any, Any]:
        if self.place >= self.end:
            if self.done == self.passes:
                raise StopIteration
            self._begin()
        cases = slice(self.place, self.place + self.size)
        if self._order is not None:
            cases = self._order[cases]
        self.place += self.size
        x = self.x[cases]
        return x, None if self.t is None else x if self.t is self.x else self.t[cases]

    def _begin(self) -> None:
        """Another pass."""
        self.place, self.done = 0, self.done + 1
        if self.rng is not None:
            self._shuffle()

    def _shuffle(self) -> None:
        self._started_from = self.rng.bit_generator.state
        order = self.rng.permutation(len(self.x))
        self._order = np.asarray(order, like=self.x) if hasattr(self.x, "__array_function__") else order

    def state_dict(self) -> dict[str, Any]:
        """Where it stands. The rng should be its own: the state is that of the beginning of the pass."""
        rng = self.rng.bit_generator.state if self.rng is not None and not self.done else self._started_from
        return {"cases": len(self.x), "done": self.done, "place": self.place, "rng": rng}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there. ValueError where the state is of another number of cases."""
        if state["cases"] != len(self.x):
            raise ValueError(f"batches: the state is of {state['cases']} cases, there are {len(self.x)}")
        if (state["rng"] is None) != (self.rng is None):
            raise ValueError(f"batches: the state has {'no' if state['rng'] is None else 'an'} rng, unlike the batches")
        self.done, self.place = state["done"], state["place"]
        if self.rng is not None:
            self.rng.bit_generator.state = state["rng"]
            if self.done:
                self._shuffle()
