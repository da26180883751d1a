"""A model with complex arrays as one with real arrays: each number is a pair (Re, Im)."""

from __future__ import annotations

import copy
from operator import is_
from typing import Any

from optim.types import Model
from rmad.extend import Array, tree

__all__ = ["Pairs", "original", "real_model"]


class Pairs:
    """A model whose complex arrays (…) are trained as real arrays (…, 2).

    An objective is a function of pairs of reals: its gradient and its curvature have an entry for each of the two, and
    no method needs to know of complex numbers. The pairs are views: for a model that is complex throughout, θ is
    ravel(model) seen as 2p reals. A step rebinds the arrays of the model itself.

    Parameters
    ----------
    model : Model
        A tree that holds complex arrays and can be called.
    """

    def __init__(self, model: Model) -> None:
        self.original: Any = model
        self._own: list[Array] | None = []  # the model's arrays that the pairs were made of; None for other pairs
        self._items: dict[str, Any] = {}

    def __call__(self, x: Any, *args: Any) -> Any:
        if self._own is not None:
            return self.original(x, *args)
        structure = tree.TreeDef(self.original, "")
        pairs = zip(self._items.values(), structure.dtypes, strict=True)
        return structure.unflatten([tree.from_pairs(pair, dtype) for pair, dtype in pairs])(x, *args)

    def __tree_items__(self) -> dict[str, Any]:
        if self._own is not None:
            structure = tree.TreeDef(self.original, "")
            if len(structure.leaves) != len(self._own) or not all(map(is_, structure.leaves, self._own)):
                items = {path: tree.as_pairs(a) for path, a in zip(structure.paths, structure.leaves, strict=True)}
                self._items = items
                self._own = structure.leaves  # last: another thread then makes the same
                return items
        return self._items

    def __tree_replace__(self, items: dict[str, Any]) -> Pairs:
        other = copy.copy(self)
        other._own, other._items = None, items
        return other

    def __tree_assign__(self, name: str, sub: Any) -> None:
        items = {**self.__tree_items__(), name: sub}
        if self._own is not None:
            own, place = list(self._own), list(items).index(name)
            own[place] = tree.from_pairs(sub, tree.TreeDef(self.original, "").dtypes[place])
            tree.rebind(self.original, own)
            self._own = own
        self._items = items

    @property
    def couples_cases(self) -> bool:
        """True if the model mixes the cases of a batch."""
        return bool(getattr(self.original, "couples_cases", False))

    def begin_step(self) -> None:
        """Tells the model that an update begins."""
        getattr(self.original, "begin_step", lambda: None)()

    def end_step(self) -> None:
        """Tells the model that the update was accepted."""
        getattr(self.original, "end_step", lambda: None)()


def real_model(model: Model) -> Any:
    """The model itself if its arrays are real, else the model of pairs."""
    return Pairs(model) if any(dtype.kind == "c" for dtype in tree.TreeDef(model, "model").dtypes) else model


def original(model: Any) -> Any:
    """The model that `real_model` was given."""
    return model.original if isinstance(model, Pairs) else model
