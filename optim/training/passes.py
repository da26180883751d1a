"""The batches of a training: passes over the cases, each in an order of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optim.problem.batch import cases, leaves, take
from optim.types import Batch

__all__ = ["Passes", "held_out", "some"]


class Passes:
    """Endless batches (x, t) of `size` cases; update k has the same batch whenever it is asked for.

    A pass takes the cases in an order drawn from the seed and its number, and leaves out the last ones that fill no
    batch: they come up in other passes. A batch of all cases is (x, t) itself, every time.

    Parameters
    ----------
    x, t : whatever model and loss take
        All cases, along the first axis.
    size : int or None
        Cases of a batch; None, or as many as there are, for all.
    seed : int
        Seed of the orders.
    shuffle : bool
        False leaves the cases in their order.
    """

    def __init__(self, x: Any, t: Any, size: int | None, seed: int, shuffle: bool) -> None:
        self.x, self.t, self.seed, self.shuffle = x, t, seed, shuffle
        for name, tree in (("x", x), ("t", t)):
            for part in leaves(tree):
                if hasattr(part, "iloc"):
                    raise TypeError(f"{name} holds a {type(part).__name__} of pandas; {name}.to_numpy() makes an array")
        n = cases(x, t)
        if n is None and size is not None:
            raise ValueError(
                "batch needs cases along the first axis of x and t, as many in each array; without it, x and t are "
                f"one batch. Found {counted(x, t)}"
            )
        self.n, self.size = n, None if n is None or size is None or size >= n else size
        self.k = 0  # batches drawn
        self.per_pass = 1 if self.size is None or n is None else n // self.size  # batches of a pass
        self.total = n
        self._order: tuple[int, Any] = -1, None

    def of_all(self, cases: Sequence[int], per_pass: Sequence[int]) -> None:
        """Makes as many batches of a pass as the least of several ranks, each with cases of its own."""
        self.total, self.per_pass = sum(cases), min(per_pass)

    def __iter__(self) -> Passes:
        return self

    def __next__(self) -> Batch:
        k, self.k = self.k, self.k + 1
        if self.size is None:
            return self.x, self.t
        number, place = divmod(k, self.per_pass)
        which: Any = slice(place * self.size, (place + 1) * self.size)
        if self.shuffle:
            if self._order[0] != number and self.n is not None:
                self._order = number, np.random.default_rng([self.seed, number]).permutation(self.n)
            which = self._order[1][which]
        return some((self.x, self.t), which)

    def _identity(self) -> dict[str, Any]:
        return {"cases": self.total or 0, "size": self.size or 0, "seed": self.seed, "shuffle": self.shuffle}

    def state_dict(self) -> dict[str, Any]:
        """Returns the place in the data, and what tells them from others."""
        return self._identity() | {"k": self.k}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from the place in a state_dict. ValueError if it is of other batches; the place is as it was."""
        for name, own in self._identity().items():
            if name not in state:
                raise ValueError(f"batches: the state lacks {name!r}")
            if type(state[name]) is not type(own) or state[name] != own:
                raise ValueError(f"batches: the state has {name} {state[name]!r}, these have {own!r}")
        k = state.get("k")
        if type(k) is not int or not 0 <= k < 2**63:
            raise ValueError(f"batches: k of the state is {k!r}, no place in the data")
        self.k = k


def some(batch: Batch, which: Any) -> Batch:
    """Some cases of (x, t); t stays x where it is x."""
    x = take(batch[0], which)
    return x, x if batch[1] is batch[0] else take(batch[1], which)


def held_out(batch: Batch, share: float, seed: int) -> tuple[Batch, Batch]:
    """Splits the cases at random: those of training, in their order, and a share of them for validation."""
    n = cases(*batch)
    if n is None or n < 2:
        raise ValueError(f"validation={share} is a share of the cases of x and t; found {counted(*batch)}")
    order = np.random.default_rng([seed, 2**32]).permutation(n)
    number = min(n - 1, max(1, round(share * n)))
    return some(batch, np.sort(order[number:])), some(batch, np.sort(order[:number]))


def counted(x: Any, t: Any) -> str:
    """The cases of x and of t in words."""
    n, m = cases(x), cases(t)
    return f"{'no number' if n is None else n} in x and {'no number' if m is None else m} in t"
