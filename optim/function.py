"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rmad import tree as _tree

__all__ = ["Function"]


class Function:
    """z = forward(params, x): a plain function made into a model, a tree of arrays that can be called.

    params: any tree of float arrays, tuples included; it is not written into. `.params` is the tree as it
    stands: after a step it holds the new arrays.

    >>> import numpy as np
    >>> model = Function(lambda params, x: x @ params["W"] + params["b"], {"W": np.ones((2, 3)), "b": np.zeros(3)})
    >>> model(np.ones((1, 2)))
    array([[2., 2., 2.]])
    """

    def __init__(self, forward: Callable[..., Any], params: Any) -> None:
        if not callable(forward):
            raise TypeError(f"forward must be callable, not {type(forward).__name__}")
        self.forward = forward
        # Every leaf is an item of its own, so that a leaf in a tuple can be rebound like any other.
        self._leaves = {f"params{path}": leaf for path, leaf in _tree.leaves(params, "")}
        self._like = _tree.map_leaves(lambda leaf: 0, params)

    @property
    def params(self) -> Any:
        return _tree.replace_leaves(self._like, iter(self._leaves.values()))

    def __call__(self, x: Any, *args: Any) -> Any:
        return self.forward(self.params, x, *args)

    def __tree_items__(self) -> dict[str, Any]:
        return self._leaves

    def __tree_replace__(self, items: dict[str, Any]) -> Function:
        other = object.__new__(type(self))
        other.forward, other._leaves, other._like = self.forward, items, self._like
        return other

    def __tree_assign__(self, name: str, sub: Any) -> None:
        self._leaves = {**self._leaves, name: sub}

    def __repr__(self) -> str:
        name = getattr(self.forward, "__name__", type(self.forward).__name__)
        return f"Function({name}, {len(self._leaves)} arrays)"
