"""The containers of a tree, looked at once: its leaves are read out of trees like it, and put into new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

__all__ = ["Container", "Differs", "found_in"]


class Differs(Exception):
    """Raised if a tree is not of the structure at hand, or may not be: `TreeDef.match` knows the words for it."""


class Container:
    """A tuple, list, dict or object of a tree, or None, which holds nothing.

    parts: per item the number of the leaf, or a container; keys: of a dict, or the names of an object's items; places:
    pairs of the two.
    is_flat: True if all parts are leaves; has_objects: True if it is an object, or holds one.
    """

    __slots__ = ("first", "get", "has_objects", "is_flat", "keys", "kind", "make", "parts", "places")

    def __init__(self, tree: Any, leaves: list[Any]) -> None:
        self.kind: Any = type(tree)
        self.keys: tuple[Any, ...] = ()
        self.first, self.has_objects = len(leaves), False
        items: Any = () if tree is None else tree
        if isinstance(tree, dict):
            self.keys, items = tuple(tree), tree.values()
        elif tree is not None and not isinstance(tree, (tuple, list)):
            found = tree.__tree_items__()
            self.keys, items, self.has_objects = tuple(found), found.values(), True
        self.get = itemgetter(*self.keys) if len(self.keys) > 1 else None
        self.parts = [found_in(part, leaves) for part in items]
        self.places: list[tuple[Any, Any]] = list(zip(self.keys, self.parts, strict=False))
        self.make = _maker(self.kind, self.keys)
        self.is_flat = all(type(part) is int for part in self.parts)
        self.has_objects |= any(type(part) is Container and part.has_objects for part in self.parts)

    def read(self, tree: Any, leaves: list[Any]) -> None:
        """Appends the leaves of a tree of this structure. `Differs`, or KeyError, if it has another."""
        if type(tree) is not self.kind:
            raise Differs
        items = tree
        if self.kind is dict:
            if len(tree) != len(self.keys):
                raise Differs
            items = self.get(tree) if self.get is not None else [tree[key] for key in self.keys]
        elif tree is None:
            return
        elif self.keys or not isinstance(tree, (tuple, list)):
            found = tree.__tree_items__()
            items = found.values()
            if tuple(found) != self.keys:
                raise Differs
        elif len(tree) != len(self.parts):
            raise Differs
        if self.is_flat:
            leaves.extend(items)
        else:
            for part, item in zip(self.parts, items, strict=True):
                if isinstance(part, int):
                    leaves.append(item)
                else:
                    part.read(item, leaves)

    def made(self, leaves: Sequence[Any]) -> Any:
        """A tree of this structure, without objects, with these leaves."""
        if self.is_flat:
            if self.places:
                return {key: leaves[k] for key, k in self.places}
            items = leaves[self.first : self.first + len(self.parts)]
        else:
            items = [leaves[part] if isinstance(part, int) else part.made(leaves) for part in self.parts]
        return self.make(items)


def _maker(kind: Any, keys: Sequence[Any]) -> Callable[[Any], Any]:
    """A list of items → a container of them. Subclasses come back as the plain kind, but for named tuples."""
    if issubclass(kind, dict):
        return lambda items: dict(zip(keys, items, strict=True))
    if issubclass(kind, list):
        return list
    if kind is type(None):
        return lambda items: None
    return (lambda items: kind(*items)) if hasattr(kind, "_fields") else tuple


def found_in(tree: Any, leaves: list[Any]) -> Container | int:
    """The structure of a tree, whose leaves are appended; its number if it is a leaf."""
    if isinstance(tree, np.ndarray):  # most parts
        leaves.append(tree)
    elif tree is None or isinstance(tree, (tuple, list, dict)) or hasattr(type(tree), "__tree_items__"):
        return Container(tree, leaves)
    else:
        leaves.append(tree)
    return len(leaves) - 1
