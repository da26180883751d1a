"""Trees: nested tuples, lists, dicts and objects whose leaves are arrays.

An object joins in by answering three methods (`nn.Module` does):

    __tree_items__()           -> {name: subtree}
    __tree_replace__(items)    -> a new object of the same kind with these subtrees
    __tree_assign__(name, sub) -> rebinds one subtree in place
    __tree_map_rest__(f)       -> optional: applies f to further arrays of the object, in place

A leaf is *differentiable* when it holds real or complex floating-point numbers; integer and
boolean leaves are constants that stay where they are. In a derivative they become zeros of
their own dtype, so that `ravel` of a derivative is as long as `ravel` of the tree.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, is_
from typing import Any

import numpy as np

from rmad.trees.containers import Differs, found_in
from rmad.trees.leaf import as_pairs, dtype_of, from_pairs, is_differentiable, joined, no_array, sizes, split

__all__ = [
    "TreeDef",
    "as_pairs",
    "flatten",
    "from_pairs",
    "in_tuple",
    "joined",
    "leaves",
    "map_leaves",
    "met_twice",
    "rebind",
    "replace_leaves",
    "sizes",
    "split",
]


def _items(tree: Any) -> list[tuple[str, Any]] | None:
    """(label, subtree) pairs of one level; None if `tree` is a leaf."""
    if tree is None:
        return []
    if isinstance(tree, tuple | list):
        return [(f"[{k}]", sub) for k, sub in enumerate(tree)]
    if isinstance(tree, dict):
        return [(f"[{key!r}]", sub) for key, sub in tree.items()]
    if hasattr(type(tree), "__tree_items__"):
        return [(f".{name}", sub) for name, sub in tree.__tree_items__().items()]
    return None


def _is_leaf(tree: Any) -> bool:
    return not (tree is None or isinstance(tree, tuple | list | dict) or hasattr(type(tree), "__tree_items__"))


def _walk(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    items = _items(tree)
    if items is None:
        yield path, tree
    else:
        for label, sub in items:
            yield from _walk(sub, path + label)


def _collect(tree: Any, found: list[Any]) -> None:
    """Appends the leaves, without their paths."""
    if isinstance(tree, np.ndarray):  # most nodes: the other tests would take as long again
        found.append(tree)
    elif isinstance(tree, (tuple, list)):  # building a union takes longer than the test
        for sub in tree:
            _collect(sub, found)
    elif isinstance(tree, dict):
        for sub in tree.values():
            _collect(sub, found)
    elif hasattr(type(tree), "__tree_items__"):
        for sub in tree.__tree_items__().values():
            _collect(sub, found)
    elif tree is not None:
        found.append(tree)


def leaves(tree: Any, name: str = "x") -> list[tuple[str, Any]]:
    """(path, leaf) pairs in the order of the tree, e.g. ("x['W'][0]", array)."""
    return list(_walk(tree, name))


def replace_leaves(tree: Any, new: Iterator[Any]) -> Any:
    """A tree like `tree` with its leaves taken from the iterator, in order."""
    if tree is None:
        return None
    if isinstance(tree, tuple):
        subs = [replace_leaves(sub, new) for sub in tree]
        return type(tree)(*subs) if hasattr(tree, "_fields") else tuple(subs)
    if isinstance(tree, list):
        return [replace_leaves(sub, new) for sub in tree]
    if isinstance(tree, dict):
        return {key: replace_leaves(sub, new) for key, sub in tree.items()}
    if hasattr(type(tree), "__tree_items__"):
        items = tree.__tree_items__()
        return tree.__tree_replace__({k: replace_leaves(sub, new) for k, sub in items.items()})
    return next(new)


def map_leaves(f: Callable[[Any], Any], tree: Any) -> Any:
    """A tree like `tree` with f applied to every leaf.

    Parameters
    ----------
    f : callable
        f(leaf) -> the new leaf, for example `cupy.asarray`.
    tree : tree of arrays
        Nested tuples, lists, dicts or modules; it is not changed.

    Returns
    -------
    tree like `tree`
        Its containers are new. Running statistics of modules, which are no leaves, are mapped too.
    """
    new = replace_leaves(tree, iter([f(leaf) for _, leaf in leaves(tree)]))
    _map_rest(f, new)
    return new


def _map_rest(f: Callable[[Any], Any], tree: Any) -> None:
    """Applies f to the arrays of objects in a tree that are no leaves of it."""
    if hasattr(type(tree), "__tree_map_rest__"):
        tree.__tree_map_rest__(f)
    for _, sub in _items(tree) or ():
        _map_rest(f, sub)


def rebind(tree: Any, new: Sequence[Any]) -> None:
    """Rebinds the differentiable leaves of a mutable tree to new arrays, in order.

    No array is written into, so a live Jacobian keeps the old ones. Ctrl-C comes before the first or after the last.
    Raises TypeError for an array that sits directly in a tuple, which cannot be rebound.
    """
    try:
        _rebind(tree, iter(new), "x")
    except TypeError:
        raise
    except BaseException:  # an interrupt: some of them are rebound
        _rebind(tree, iter(new), "x")
        raise


def _rebind(tree: Any, new: Iterator[Any], path: str) -> None:
    keys: Any = list(tree) if isinstance(tree, dict) else itertools.count()
    for key, (label, sub) in zip(keys, _items(tree) or (), strict=False):
        if not _is_leaf(sub):
            _rebind(sub, new, path + label)
        elif is_differentiable(sub):
            if isinstance(tree, list | dict):
                tree[key] = next(new)
            elif hasattr(type(tree), "__tree_assign__"):
                tree.__tree_assign__(label[1:], next(new))
            else:
                raise TypeError(f"{path}{label} sits in a tuple and cannot be rebound; use a list or a dict")


def met_twice(tree: Any, name: str = "x") -> tuple[str, str] | None:
    """Paths of two places that hold one list, dict or object with float arrays: `rebind` would reach it twice."""
    seen: dict[int, tuple[str, Any]] = {}  # the nodes too, so that no id comes a second time

    def walk(node: Any, path: str) -> tuple[str, str] | None:
        items = _items(node)
        if not items:
            return None
        if not isinstance(node, tuple) and any(is_differentiable(leaf) for _, leaf in _walk(node, path)):
            if id(node) in seen:
                return seen[id(node)][0], path
            seen[id(node)] = path, node
        return next(filter(None, (walk(sub, path + label) for label, sub in items)), None)

    return walk(tree, name)


def in_tuple(tree: Any, name: str = "x") -> str | None:
    """The path of a float array in a tuple, which `rebind` cannot reach; None if there is none."""
    for label, sub in _items(tree) or ():
        if _items(sub) is not None:
            if found := in_tuple(sub, name + label):
                return found
        elif isinstance(tree, tuple) and is_differentiable(sub):
            return name + label
    return None


_shape, _dtype = attrgetter("shape"), attrgetter("dtype")


class TreeDef:
    """The structure of a tree: which leaves are differentiable, their paths, shapes and dtypes.

    `flatten(tree)` makes one. `unflatten` puts differentiable leaves back between the constant
    ones; `match` flattens another tree (a tangent, say) that must have the same structure.
    """

    def __init__(self, tree: Any, name: str) -> None:
        self.tree, self.name = tree, name
        self.leaves: list[Any] = []
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[np.dtype[Any]] = []
        self._where: list[int | None] = []  # per leaf of the tree: its number among the differentiable
        self._constants: list[Any] = []
        found: list[Any] = []
        self._root = found_in(tree, found)
        for leaf in found:
            try:
                dtype = dtype_of(leaf)
            except TypeError:
                raise no_array(leaves(tree, name)[len(self._where)][0], leaf) from None
            varies = dtype.kind in "fc"
            self._where.append(len(self.leaves) if varies else None)
            self._constants.append(None if varies else leaf)
            if varies:
                self.leaves.append(leaf)
                self.shapes.append(leaf.shape if hasattr(leaf, "shape") else ())
                self.dtypes.append(dtype)

    @property
    def paths(self) -> list[str]:
        """Per differentiable leaf, as x['W'][0]."""
        return [path for (path, _), k in zip(leaves(self.tree, self.name), self._where, strict=True) if k is not None]

    @property
    def holds_objects(self) -> bool:
        """True if a constant leaf is an object array, which may hold anything."""
        return len(self.leaves) < len(self._where) and any(
            c is not None and dtype_of(c).kind == "O" for c in self._constants
        )

    def forget_values(self) -> None:
        """Drops the arrays and keeps the structure."""
        self.leaves = [None] * len(self.leaves)
        self.tree = self._with_leaves([0] * len(self._where))

    def holds(self, tree: Any) -> bool:
        """True if this is the current structure of `tree`: the leaves are the same objects, in the same order.

        It walks the tree, but makes no paths and asks for no dtypes, which is most of the cost of a new TreeDef.
        """
        found: list[Any] = []
        _collect(tree, found)
        known = [c if k is None else self.leaves[k] for k, c in zip(self._where, self._constants, strict=True)]
        return tree is self.tree and len(found) == len(known) and all(map(is_, found, known))

    def replaced(self, new: Sequence[Any]) -> TreeDef:
        """The structure of `unflatten(new)`, whose leaves have the shapes and dtypes of the present ones."""
        other = copy.copy(self)
        other.tree, other.leaves = self.unflatten(new), list(new)
        return other

    def unflatten(self, new: Sequence[Any], constants: Callable[[Any], Any] = lambda c: c) -> Any:
        """The tree with these differentiable leaves; constant leaves c become constants(c)."""
        every = new
        if len(new) < len(self._where):
            every = [constants(c) if k is None else new[k] for k, c in zip(self._where, self._constants, strict=True)]
        return self._with_leaves(every)

    def _with_leaves(self, every: Sequence[Any]) -> Any:
        """The tree with these leaves, the constant ones among them."""
        if isinstance(self._root, int):
            return every[0]
        return replace_leaves(self.tree, iter(every)) if self._root.has_objects else self._root.made(every)

    def match(self, tree: Any, what: str) -> list[Any]:
        """The differentiable leaves of a tree of the same structure, shapes checked.

        Raises ValueError that names the first leaf that does not fit, TypeError if its dtype
        cannot be a tangent of the leaf's (complex for a real leaf).
        """
        if (fitting := self._fitting(tree)) is not None:
            return fitting
        found = [leaf for _, leaf in _walk(_like(tree, self.tree, what, self.name), what)]
        if len(found) != len(self._where):
            raise ValueError(f"{what} has {len(found)} leaves, {self.name} has {len(self._where)}")
        kept, paths = [leaf for leaf, k in zip(found, self._where, strict=True) if k is not None], self.paths
        for k, leaf in enumerate(kept):
            path, dtype = what + paths[k][len(self.name) :], self.dtypes[k]
            if np.shape(leaf) != self.shapes[k]:
                raise ValueError(f"{path} has shape {np.shape(leaf)}, but {paths[k]} has shape {self.shapes[k]}")
            if not hasattr(leaf, "dtype") or leaf.dtype != dtype:
                if dtype_of(leaf).kind == "c" and dtype.kind != "c":
                    raise TypeError(f"{path} is complex, but {paths[k]} is {dtype}")
                kept[k] = leaf.astype(dtype) if hasattr(leaf, "astype") else np.asarray(leaf, dtype)[()]
        return kept

    def _fitting(self, tree: Any) -> list[Any] | None:
        """`match` for a tree that fits in every respect, without a look at paths; None for others."""
        found: list[Any] = []
        try:
            if isinstance(self._root, int):
                found.append(tree)
            else:
                self._root.read(tree, found)
            if len(self.leaves) < len(found):
                found = [leaf for leaf, k in zip(found, self._where, strict=True) if k is not None]
            fits = [*map(_shape, found)] == self.shapes and [*map(_dtype, found)] == self.dtypes
        except (Differs, KeyError, AttributeError):  # the last: a number, or a container in place of an array
            return None
        return found if fits else None


def _like(tree: Any, model: Any, what: str, name: str) -> Any:
    """`tree`, with dicts in the key order of `model`; ValueError if the structures differ."""
    if isinstance(model, dict):
        if not isinstance(tree, dict) or tree.keys() != model.keys():
            raise ValueError(f"{what} must have the keys of {name}: {list(model)}")
        return {k: _like(tree[k], sub, f"{what}[{k!r}]", f"{name}[{k!r}]") for k, sub in model.items()}
    if isinstance(model, tuple | list):
        if not isinstance(tree, tuple | list) or len(tree) != len(model):
            raise ValueError(f"{what} must be a sequence of {len(model)} like {name}")
        return [_like(t, m, f"{what}[{k}]", f"{name}[{k}]") for k, (t, m) in enumerate(zip(tree, model, strict=True))]
    if hasattr(type(model), "__tree_items__") and type(tree) is not type(model):
        raise ValueError(f"{what} must be a {type(model).__name__} like {name}, not {type(tree).__name__}")
    if isinstance(tree, tuple | list | dict) and _items(model) is None:
        raise TypeError(f"{what} is of type {type(tree).__name__}, not an array like {name}")
    return tree


def flatten(tree: Any, name: str = "x") -> tuple[list[Any], TreeDef]:
    """The differentiable leaves of a tree, and its structure."""
    treedef = TreeDef(tree, name)
    return treedef.leaves, treedef
