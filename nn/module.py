"""Module: a tree of arrays that can be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nn.other_names import OF_MODULES
from rmad.extend import Array, arrays, other_names, tree

__all__ = ["Module"]

_STATIC = (type(None), bool, int, float, complex, str, np.dtype, type, np.generic)


class Module:
    """y = forward(x, …), with the arrays among its attributes as parameters.

    An attribute belongs to the tree when it is an array, a Module, or a list, tuple or dict that
    holds one, in the order in which the attributes were first set. All else (numbers, strings,
    functions, an rng) is static: copies share it. Float arrays are parameters; integer arrays are
    constants that are saved with them. An array in two places counts as two.

    Arrays are rebound, never written into. The attributes that a layer names in `buffers` (running statistics) are
    saved in the state, but are no part of the tree: nothing is differentiated with respect to them, and copies share
    them.

    A subclass defines `forward`, and may define `describe`, `on_begin_step`, `on_end_step` and `on_couples_cases`.

    Attributes
    ----------
    training : bool
        Whether layers that differ in training and use (Dropout, BatchNorm) are in training; see train and eval.
    buffers : tuple of str
        Names of the arrays that are saved with the module and are not parameters.

    Examples
    --------
    Any function of a module can be differentiated:

    >>> import nn, rmad
    >>> layer = nn.Linear(3, 2, rng=np.random.default_rng(0))
    >>> y, lin = rmad.linearize(lambda m: m(np.ones((5, 3), np.float32)), layer)
    >>> lin.JTu(y).weight.shape
    (3, 2)
    """

    buffers: tuple[str, ...] = ()
    training: bool = True
    _tree_names: frozenset[str] = frozenset()
    """Attributes that belong to the tree whatever they hold: a copy made by __tree_replace__ keeps its structure."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes y. A subclass defines it, with arguments and a result of any kind."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes: define forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    if not TYPE_CHECKING:  # a type checker would take every attribute for one of ours

        def __init_subclass__(cls, **keywords: Any) -> None:
            """Has the class say what `rng` is, if it is called without."""
            super().__init_subclass__(**keywords)
            if "__init__" in vars(cls):
                cls.__init__ = other_names.explaining(vars(cls)["__init__"], _wrong_call)

        def __getattr__(self, name: str) -> Any:
            raise other_names.absent(self, OF_MODULES, name)

    # -- the protocol of rmad.trees.tree ----------------------------------------------------------------------

    def __tree_items__(self) -> dict[str, Any]:
        kept, buffers = self._tree_names, self.buffers
        return {
            name: value
            for name, value in vars(self).items()
            if name in kept or (name not in buffers and _holds_arrays(value))
        }

    def __tree_replace__(self, items: Mapping[str, Any]) -> Self:
        new = object.__new__(type(self))
        vars(new).update(vars(self), _tree_names=frozenset(items))
        for name, value in items.items():
            vars(new)[name] = _as_leaf(value)
        return new

    def __tree_assign__(self, name: str, value: Any) -> None:
        setattr(self, name, _as_leaf(value))

    def __tree_map_rest__(self, f: Callable[[Array], Array]) -> None:
        for name in self.buffers:
            if getattr(self, name) is not None:
                setattr(self, name, f(getattr(self, name)))

    # -- training and use -------------------------------------------------------------------------------

    def modules(self) -> Iterator[Module]:
        """Yields the module itself and every module below it, in the order of the tree."""
        yield self
        for _, child in _children(self):
            yield from _modules(child)

    def train(self, training: bool = True) -> Self:
        """Sets `training` here and in every module below.

        Parameters
        ----------
        training : bool, default True
            False for the use of a trained model.

        Returns
        -------
        the module itself
        """
        if not isinstance(training, bool | np.bool_):
            raise TypeError(
                f"train(True) and train(False) switch the mode, got {type(training).__name__}; "
                "opt.fit(x, t, …) trains a model"
            )
        for module in self.modules():
            module.training = bool(training)
        return self

    def eval(self) -> Self:
        """Sets `training` to False here and in every module below; returns the module."""
        return self.train(False)

    @property
    def couples_cases(self) -> bool:
        """True if the output of one case depends on the others of its batch, as under batch statistics."""
        return any(module.on_couples_cases() for module in self.modules())

    def begin_step(self) -> None:
        """Begins an update: until the next one the module is one fixed function. Optimizers call it.

        Layers draw their random masks now, and batch statistics seen first from now on are those of the update.
        """
        for module in self.modules():
            module.on_begin_step()

    def end_step(self) -> None:
        """Ends an accepted update: running statistics include those of its batch. Optimizers call it."""
        for module in self.modules():
            module.on_end_step()

    def on_begin_step(self) -> None:
        """Prepares this layer, not the ones below it, for an update."""

    def on_end_step(self) -> None:
        """Updates the buffers of this layer, not of the ones below it, after an accepted update."""

    def on_couples_cases(self) -> bool:
        """Returns True if this layer, in its current mode, mixes the cases of a batch."""
        return False

    # -- names and states -------------------------------------------------------------------------------

    def named_parameters(self) -> Iterator[tuple[str, Array]]:
        """Yields (name, array) for the float arrays in the order of the tree, names as "0.weight"."""
        return ((name, array) for name, array, *_ in _places(self, _children) if tree.is_differentiable(array))

    def parameters(self) -> list[Array]:
        """Returns the float arrays in the order of the tree."""
        return [array for _, array in self.named_parameters()]

    @property
    def n_parameters(self) -> int:
        """Number of numbers in the float arrays."""
        return sum(int(array.size) for _, array in self.named_parameters())

    def state_dict(self) -> dict[str, Array]:
        """Returns {name: array} of all arrays in the order of the tree, buffers included: its own, not copies."""
        return {name: array for name, array, *_ in _places(self, _with_buffers)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Rebinds every array to a copy of the one of its name, in the dtype that the module has.

        Parameters
        ----------
        state : dict of arrays
            A state_dict of such a module.

        Raises
        ------
        ValueError
            Names the misfit: a name that is missing or unknown, a shape, a kind of number (float for float), NaN, a
            number that is too large for the dtype.
        TypeError
            Unless state is a mapping of arrays. After either error the module is as it was.
        """
        places, new = self._fitting_arrays(state)
        try:
            _assign_all(places, new)
        except BaseException:  # Ctrl-C: half of the arrays would be those of another state
            _assign_all(places, new)
            raise

    def _fitting_arrays(self, state: Mapping[str, Array]) -> tuple[list[tuple[str, Array, Any, str]], list[Array]]:
        """Returns the places of all arrays, and the copies of the state's that belong there."""
        places = list(_places(self, _with_buffers))
        kind = type(self).__name__
        _check_names(kind, state, {name for name, *_ in places})
        new = []
        for name, array, owner, _ in places:
            if name not in state:
                raise ValueError(f"{kind}: the state lacks {name!r} of shape {array.shape}")
            if isinstance(owner, tuple):
                raise TypeError(f"{kind}: {name!r} sits in a tuple and cannot be rebound; use a list or a dict")
            new.append(_fitting(kind, name, array, state[name]))
        return places, new

    # -- how it looks -----------------------------------------------------------------------------------

    def describe(self) -> str:
        """Returns the text in the parentheses of the repr: "784, 400"."""
        return ""

    def __repr__(self) -> str:
        children = [(name, child) for name, child in _children(self) if isinstance(child, Module)]
        head = f"{type(self).__name__}({self.describe()}"
        if not children:
            return head + ")"
        lines = [f"{name}: {child!r}".replace("\n", "\n  ") for name, child in children]
        return head + "".join(f"\n  {line}" for line in lines) + "\n)"


def _wrong_call(kind: type, args: tuple[Any, ...], kwargs: dict[str, Any], words: str) -> str:
    """What is wrong with the call of a layer that Python refuses in these words; "" if they say it."""
    if "missing" in words and "'rng'" in words and "rng" not in kwargs:
        return f"{kind.__name__}: rng is missing, which it draws its numbers from; rng=np.random.default_rng(0)"
    return ""


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, (np.ndarray, Module)):  # a tuple: building a union takes longer than the test
        return True
    if isinstance(value, _STATIC):
        return False
    if isinstance(value, list | tuple):
        return any(map(_holds_arrays, value))
    if isinstance(value, dict):
        return any(map(_holds_arrays, value.values()))
    return _is_array(value)


def _as_leaf(value: Any) -> Any:
    """Returns a scalar of NumPy as a 0-d array, which stays in the tree of a module."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def _children(node: Any) -> list[tuple[str, Any]]:
    """Returns (key, subtree) for one level, keys as they stand in names."""
    if hasattr(type(node), "__tree_items__"):
        return list(node.__tree_items__().items())
    if isinstance(node, dict):
        return [(str(key), value) for key, value in node.items()]
    return [(str(k), value) for k, value in enumerate(node)]


def _with_buffers(node: Any) -> list[tuple[str, Any]]:
    """Returns _children, and after them the buffers of a module."""
    buffers = [(name, getattr(node, name)) for name in node.buffers] if isinstance(node, Module) else []
    return _children(node) + [(name, value) for name, value in buffers if value is not None]


def _modules(node: Any) -> Iterator[Module]:
    if isinstance(node, Module):
        yield from node.modules()
    elif isinstance(node, list | tuple | dict):
        for _, child in _children(node):
            yield from _modules(child)


def _places(
    node: Any, children: Callable[[Any], list[tuple[str, Any]]], prefix: str = ""
) -> Iterator[tuple[str, Array, Any, str]]:
    """Yields (name, array, owner, key) for every array below node, in the order of rmad.trees.tree."""
    for key, value in children(node):
        if _is_array(value):
            yield prefix + key, value, node, key
        elif hasattr(type(value), "__tree_items__") or isinstance(value, list | tuple | dict):
            yield from _places(value, children, f"{prefix}{key}.")


def _check_names(kind: str, state: Mapping[str, Array], known: set[str]) -> None:
    """Raises TypeError unless state is a mapping, ValueError for a name in it that the module of this kind lacks."""
    if not isinstance(state, Mapping):
        hint = "; nn.load(model, path) reads a file" if isinstance(state, str) else ""
        hint = "; pass its state_dict()" if hasattr(state, "state_dict") else hint
        raise TypeError(f"{kind}: a state is {{name: array}}, as state_dict gives it, not {type(state).__name__}{hint}")
    for name in state:
        if name not in known:
            raise ValueError(
                f"{kind}: the state has {name!r} of shape {np.shape(state[name])}, which the module does not have"
            )


def _fitting(kind: str, name: str, array: Array, given: Array) -> Array:
    """Returns a copy of `given` in the dtype of `array`, whose place it is to take; ValueError if it does not fit."""
    try:
        dtype = tree.dtype_of(given)
    except TypeError:
        raise TypeError(f"{kind}: {name!r} of the state must be an array, not {type(given).__name__}") from None
    if np.shape(given) != array.shape:
        raise ValueError(f"{kind}: {name!r} has shape {array.shape}, the state has {np.shape(given)}")
    if dtype.kind != array.dtype.kind:
        raise ValueError(f"{kind}: {name!r} is {array.dtype}, the state has {dtype}")
    with np.errstate(over="ignore"):
        given = arrays.moved_to(array, given)
        new = arrays.copied(array, given, array.dtype)  # those of PyTorch are transposed views
    if array.dtype.kind in "fc":
        if np.isnan(new).any() and not np.isnan(array).any():
            raise ValueError(f"{kind}: {name!r} of the state holds NaN")
        too_large: Any = (np.isinf(new) & ~np.isinf(given)).any()
    else:
        too_large = array.dtype.kind in "iu" and (new != given).any()
    if too_large:
        raise ValueError(f"{kind}: {name!r} of the state has numbers too large for {array.dtype}")
    return new


def _assign_all(places: list[tuple[str, Array, Any, str]], new: list[Array]) -> None:
    for (_, _, owner, key), array in zip(places, new, strict=True):
        _assign(owner, key, array)


def _assign(owner: Any, key: str, array: Array) -> None:
    if hasattr(type(owner), "__tree_assign__"):
        owner.__tree_assign__(key, array)
    elif isinstance(owner, list):
        owner[int(key)] = array
    elif isinstance(owner, dict):
        owner[next(k for k in owner if str(k) == key)] = array
    else:
        raise TypeError(f"array {key} sits in a tuple and cannot be rebound; use a list or a dict")
