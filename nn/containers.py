"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, overload

import numpy as np

from nn.module import Module
from rmad.extend import Array

__all__ = ["Residual", "Sequential"]


class Sequential(Module):
    """y = f_m(… f_2(f_1(x))).

    x: an array that the first layer takes, y: the result of the last. The parameters are named by place, "0.weight".
    `len`, iteration and indexing work as on a list; a slice is a Sequential that shares its layers.

    Parameters
    ----------
    *layers : modules, or any functions of one array
        f_1, f_2, …; a function that is not a module has no parameters.

    Raises
    ------
    TypeError
        For a layer that cannot be called, or a class in place of an object.

    Examples
    --------
    >>> import nn
    >>> rng = np.random.default_rng(0)
    >>> nn.Sequential(nn.Linear(784, 100, rng=rng), nn.Sigmoid(), nn.Linear(100, 10, rng=rng))
    Sequential(
      0: Linear(784, 100)
      1: Sigmoid()
      2: Linear(100, 10)
    )  # 79,510 parameters
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for k, layer in enumerate(layers):
            if isinstance(layer, type):
                name = layer.__name__
                raise TypeError(f"Sequential: layer {k} is the class {name}; give an object, {name}()")
            if not callable(layer):
                hint = "; give the layers one by one, Sequential(*layers)" if isinstance(layer, list | tuple) else ""
                what = type(layer).__name__
                raise TypeError(f"Sequential: layer {k} is of type {what}, which cannot be called{hint}")
        self._layers = list(layers)

    def forward(self, x: Array) -> Array:
        """Returns y, the result of the last layer."""
        for layer in self._layers:
            x = layer(x)
        return x

    def __tree_items__(self) -> dict[str, Any]:
        numbered = {str(k): layer for k, layer in enumerate(self._layers) if isinstance(layer, Module)}
        if len(vars(self)) == 1:  # nothing but the layers, as a rule; an update asks about ten times
            return numbered
        others = super().__tree_items__()  # those that a subclass adds
        others.pop("_layers", None)
        return numbered | others

    def __tree_replace__(self, items: Mapping[str, Any]) -> Self:
        new = super().__tree_replace__({name: sub for name, sub in items.items() if not name.isdecimal()})
        new._layers = [items.get(str(k), layer) for k, layer in enumerate(self._layers)]
        return new

    def __tree_assign__(self, name: str, value: Any) -> None:
        if name.isdecimal():
            self._layers[int(name)] = value
        else:
            super().__tree_assign__(name, value)

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        return iter(self._layers)

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | slice) -> Any:
        return Sequential(*self._layers[key]) if isinstance(key, slice) else self._layers[key]

    def __repr__(self) -> str:
        if not self._layers:
            return "Sequential()"
        lines = [f"{k}: {layer!r}".replace("\n", "\n  ") for k, layer in enumerate(self._layers)]
        body = "".join(f"\n  {line}" for line in lines)
        return f"{type(self).__name__}({body}\n)  # {self.n_parameters:,} parameters"


class Residual(Module):
    """y = f(x) + x, or f(x) + shortcut(x).

    x: an array that f takes, y: an array like f(x).

    Parameters
    ----------
    *layers : modules, or any functions of one array
        f: one, or several in a row as for Sequential.
    shortcut : module or function of one array, optional
        Brings x to the shape of f(x), if the two differ.

    Raises
    ------
    ValueError
        If there is no layer, or f(x) and the shortcut differ in shape.

    References
    ----------
    He, Zhang, Ren & Sun (2016), eqs. (1) and (2).
    """

    def __init__(self, *layers: Callable[[Any], Any], shortcut: Callable[[Any], Any] | None = None) -> None:
        if not layers:
            raise ValueError("Residual: give at least one layer")
        if shortcut is not None and not callable(shortcut):
            raise TypeError(f"Residual: the shortcut is of type {type(shortcut).__name__}, which cannot be called")
        self.body = layers[0] if len(layers) == 1 and isinstance(layers[0], Module) else Sequential(*layers)
        self.shortcut = shortcut

    def forward(self, x: Array) -> Array:
        """Returns y, an array like f(x)."""
        y = self.body(x)
        x = x if self.shortcut is None else self.shortcut(x)
        if np.shape(y) != np.shape(x):
            what = "x" if self.shortcut is None else "shortcut(x)"
            raise ValueError(f"Residual: f(x) has shape {np.shape(y)}, but {what} has shape {np.shape(x)}")
        return y + x
