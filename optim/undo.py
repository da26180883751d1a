"""An optimizer and its model as they were before a step, to undo one that an exception cuts off.

No array is copied for this. A step rebinds arrays, those of the model as well as those of the method's own state, and
never writes into the old ones; so the references held before a step are the state before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from types import FunctionType
from typing import Any

import numpy as np

from optim.problem.pairs import original

__all__ = ["Before"]


class Before:
    """An optimizer and its model as they are now; `restore` makes them so again.

    It holds the attributes of the optimizer, of its objective, of the parts that `_parts` names, and of all modules,
    lists and dicts in the tree of the model, so buffers and counters too; and the state of every random generator that
    is an attribute of the model or the loss, or in the closure of a function that is.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    """

    def __init__(self, optimizer: Any) -> None:
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []  # each with a copy
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._without_dict: list[tuple[Any, dict[str, Any]]] = []  # objects of the tree, each with its items
        self._generators: list[tuple[Any, Any]] = []
        objective = optimizer.objective
        model, loss = objective.model, objective.loss
        for owner in (optimizer, objective, *(attrgetter(name)(optimizer) for name in optimizer._parts)):
            if owner is not None:
                self._keep_dict(vars(owner))
        self._keep_tree(model)
        if original(model) is not model:
            self._keep_tree(original(model))
        self._keep_generators([loss, *getattr(loss, "__dict__", {}).values()])

    def _keep_dict(self, attributes: dict[Any, Any]) -> None:
        self._dicts.append((attributes, attributes.copy()))

    def _keep_tree(self, node: Any) -> None:
        if hasattr(type(node), "__tree_items__"):
            items = node.__tree_items__()
            if hasattr(node, "__dict__"):
                self._keep_dict(vars(node))
                self._keep_generators(vars(node).values())
            else:
                self._without_dict.append((node, items))
            subs = items.values()
        elif isinstance(node, dict):
            self._keep_dict(node)
            subs = node.values()
        elif isinstance(node, list):
            self._lists.append((node, node.copy()))
            subs = node
        else:
            subs = node if isinstance(node, tuple) else ()
        for sub in subs:
            if not isinstance(sub, np.ndarray):
                self._keep_tree(sub)

    def _keep_generators(self, values: Iterable[Any]) -> None:
        """Keeps the states of the random generators among these, and in the closures of the functions among them."""
        for value in values:
            if isinstance(value, np.random.Generator):
                self._generators.append((value.bit_generator, value.bit_generator.state))
            elif isinstance(value, FunctionType) and value.__closure__:
                held = map(_contents, value.__closure__)
                self._keep_generators(cell for cell in held if isinstance(cell, np.random.Generator))

    def restore(self) -> None:
        """Puts everything back; it may be called again."""
        for attributes, before in self._dicts:
            attributes.clear()  # the order comes back too: it is that of the tree
            attributes.update(before)
        for items, kept in self._lists:
            items[:] = kept
        for node, subs in self._without_dict:
            for name, sub in subs.items():
                node.__tree_assign__(name, sub)
        for bits, state in self._generators:
            bits.state = state


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty: the variable was deleted
        return None
