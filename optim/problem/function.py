"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np

from rmad.extend import arrays, tree

__all__ = ["Function"]


class Function:
    """z = forward(params, x): a plain function made into a model, a tree of arrays that can be called.

    `.params` is the tree as it stands: after a step it holds the new arrays. If modules are among its leaves,
    calls of this model's begin_step, end_step, train and eval go on to copies of them, which it keeps.

    Parameters
    ----------
    forward : callable
        forward(params, x) → z.
    params : tree of float arrays
        The parameters at the start, tuples included; no array is written into.

    Raises
    ------
    TypeError
        If forward is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> model = Function(lambda params, x: x @ params["W"] + params["b"], {"W": np.ones((2, 3)), "b": np.zeros(3)})
    >>> model(np.ones((1, 2)))
    array([[2., 2., 2.]])
    """

    def __init__(self, forward: Callable[..., Any], params: Any) -> None:
        if not callable(forward):
            raise TypeError(f"forward must be callable, not {type(forward).__name__}")
        self.forward, self._couples = forward, False
        # Every leaf is an item of its own, so that a leaf in a tuple can be rebound like any other.
        self._leaves = {f"params{path}": leaf for path, leaf in tree.leaves(params, "")}
        self._like = _without_leaves(params)

    @property
    def params(self) -> Any:
        """The parameters, a tree like that of the start."""
        return tree.replace_leaves(self._like, iter(self._leaves.values()))

    def __call__(self, x: Any, *args: Any) -> Any:
        return self.forward(self.params, x, *args)

    @property
    def couples_cases(self) -> bool:
        """True if forward mixes the cases of a batch: set it if it does; modules in params say so themselves."""
        return self._couples or any(getattr(module, "couples_cases", False) for module in _modules(self._like))

    @couples_cases.setter
    def couples_cases(self, couples: bool) -> None:
        self._couples = bool(couples)

    def begin_step(self) -> None:
        """Tells the modules among the parameters that an update begins."""
        self._tell("begin_step")

    def end_step(self) -> None:
        """Tells them that the update was accepted."""
        self._tell("end_step")

    def train(self, training: bool = True) -> Function:
        """Puts the modules among the parameters into training mode, or out of it; returns the model."""
        self._tell("train", training)
        return self

    def eval(self) -> Function:
        """train(False)."""
        return self.train(False)

    def _tell(self, what: str, *args: Any) -> None:
        """Calls this method of the modules among the parameters, and takes over what they have rebound."""
        params, told = self.params, False
        for module in _modules(params):
            if hasattr(module, what):
                getattr(module, what)(*args)
                told = True
        if told:
            self._leaves = {f"params{path}": leaf for path, leaf in tree.leaves(params, "")}
            self._like = _without_leaves(params)

    def state_dict(self) -> dict[str, Any]:
        """{name: array} of all arrays of the parameters, and of the buffers of modules among them; not copies."""
        state = dict(self._leaves)
        for k, module in enumerate(_modules(self._like)):  # here only buffers are arrays
            if hasattr(module, "state_dict"):
                state |= {f"modules[{k}].{name}": array for name, array in module.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Rebinds every array to a copy of the one of its name. ValueError or TypeError names what does not fit."""
        if not isinstance(state, Mapping):
            raise TypeError(f"Function: a state is {{name: array}}, as state_dict gives it, not {type(state).__name__}")
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"Function: the state has the entries {sorted(map(str, state))}, expected {sorted(own)}")
        for name, array in own.items():
            if not hasattr(state[name], "dtype"):
                raise TypeError(f"Function: {name} of the state must be an array, not {type(state[name]).__name__}")
            if np.shape(state[name]) != array.shape or state[name].dtype != array.dtype:
                found = f"{state[name].dtype}{list(state[name].shape)}"
                raise ValueError(f"Function: {name} is {array.dtype}{list(array.shape)}, the state has {found}")
            if array.dtype.kind in "fc" and np.isnan(state[name]).any() and not np.isnan(array).any():
                raise ValueError(f"Function: {name} of the state holds NaN")
        new = {name: arrays.copied(array, state[name]) for name, array in own.items()}
        self._leaves = {name: new[name] for name in self._leaves}
        for k, module in enumerate(_modules(self._like)):
            start = f"modules[{k}]."
            if hasattr(module, "load_state_dict"):
                module.load_state_dict({n.removeprefix(start): a for n, a in new.items() if n.startswith(start)})

    def __tree_items__(self) -> dict[str, Any]:
        return self._leaves

    def __tree_replace__(self, items: dict[str, Any]) -> Function:
        other = object.__new__(type(self))
        other.forward, other._leaves, other._like, other._couples = self.forward, items, self._like, self._couples
        return other

    def __tree_assign__(self, name: str, sub: Any) -> None:
        self._leaves = {**self._leaves, name: sub}

    def __repr__(self) -> str:
        name = getattr(self.forward, "__name__", type(self.forward).__name__)
        return f"Function({name}, {len(self._leaves)} arrays)"


def _without_leaves(params: Any) -> Any:
    """The tree with 0 for every leaf; copies of its modules keep their buffers."""
    return tree.replace_leaves(params, repeat(0))


def _modules(node: Any) -> Iterator[Any]:
    """The outermost objects of a tree that hold arrays of their own."""
    if isinstance(node, tuple | list | dict):
        for sub in node.values() if isinstance(node, dict) else node:
            yield from _modules(sub)
    elif hasattr(type(node), "__tree_items__"):
        yield node
