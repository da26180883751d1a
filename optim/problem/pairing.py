"""Refuses a loss that lets z and t broadcast against each other: with z (n, 1) and t (n,), z − t is (n, n).

A loss is looked at only if the shapes that it is given allow that. It is then run once on arrays that remember being
given. An elementwise function of such an array counts as given too, and so does a column of it, as z[:, 0], z[:, :1]
and z.ravel() are; one that the loss has given a further axis does not, so z[:, None] − z and z − t[None] are what they
seem: every pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rmad.extend import is_cupy, stop, to_numpy, tree

__all__ = ["BroadcastError", "check_pairing"]

Shape = tuple[int, ...]


class BroadcastError(ValueError):
    """A loss met an entry of z with every entry of t; the message names both shapes."""


_PASSED: WeakKeyDictionary[Any, set[tuple[Shape, ...]]] = WeakKeyDictionary()
"""Loss -> the shapes that it has been run on, so that it is run once for each."""


def check_pairing(loss: Any, value: Callable[[Any, Any], Any], z: Any, t: Any) -> None:
    """Raises BroadcastError if value(z, t) of the loss broadcasts two of the given arrays to a larger one.

    The loss is run on the host, without its errors and NumPy's warnings: the run that follows reports those.
    """
    if isinstance(t, list | tuple) and all(isinstance(a, int | float | np.generic) for a in t):
        t = np.asarray(t)
    arrays = [leaf for _, leaf in [*tree.leaves(z), *tree.leaves(t)] if hasattr(leaf, "shape")]
    shapes = tuple(a.shape for a in arrays)
    if not any(_spread(a.shape, b.shape) or _columns(a, b) for a, b in combinations(arrays, 2)):
        return
    passed = _passed(loss)
    if shapes in passed:
        return
    try:
        with np.errstate(all="ignore"):
            value(_given(z, "z"), _given(t, "t"))
    except BroadcastError:
        raise
    except Exception:  # the loss does not take such arrays, or has an error of its own
        pass
    passed.add(shapes)


def _passed(loss: Any) -> set[tuple[Shape, ...]]:
    try:
        return _PASSED.setdefault(loss, set())
    except TypeError:  # no hash, or no weak references
        return set()


def _spread(a: Shape, b: Shape) -> Shape | None:
    """The shape that a and b broadcast to, if they have one size and the result a larger one; else None."""
    if a == b or math.prod(a) != math.prod(b):
        return None
    try:
        y = np.broadcast_shapes(a, b)
    except ValueError:
        return None
    return y if math.prod(y) > math.prod(a) else None


def _columns(a: Any, b: Any) -> bool:
    """True if columns (n,) and (n, 1) of a and b would broadcast, and one of the two is such a column itself.

    Not for the labels of classes, integers (n,) next to scores (n, k): they are an index.
    """
    n = a.shape[0] if a.shape else 1
    if n == 1 or b.shape[:1] != (n,) or a.ndim == b.ndim == 1:
        return False
    columns = [c for c in (a, b) if c.size == n]
    return len(columns) == 2 or any(c.ndim > 1 or c.dtype.kind not in "iu" for c in columns)


def _given(arrays: Any, name: str) -> Any:
    """The tree with its arrays as read-only `Given`, on the host."""

    def given(path: str, leaf: Any) -> Any:
        leaf = stop(leaf)
        if not (isinstance(leaf, np.ndarray) or is_cupy(leaf)):
            return leaf
        array = Given.of(to_numpy(leaf), path)
        array.flags.writeable = False
        return array

    return tree.replace_leaves(arrays, iter([given(path, leaf) for path, leaf in tree.leaves(arrays, name)]))


class Given(np.ndarray[Any, Any]):
    """An array that a loss was given, a column of one, or an elementwise function of these.

    root: the name of the array that was given, "" for any other array. path: that of the column.
    """

    root: str = ""
    path: str = ""

    @classmethod
    def of(cls, array: Any, path: str, root: str | None = None) -> Any:
        """The array under this name."""
        given = array.view(cls)
        given.path, given.root = path, path if root is None else root
        return given

    def _column(self, y: Any, what: str) -> Any:
        """y, made of this array, under its name if the axis of cases is still the first one and no axis was added."""
        if not (self.root and isinstance(y, np.ndarray) and y.ndim <= self.ndim and y.shape[:1] == self.shape[:1]):
            return y
        return Given.of(y, self.path if y.shape == self.shape else self.path + what, self.root)

    def __getitem__(self, key: Any) -> Any:
        y = super().__getitem__(key)
        keys = key if isinstance(key, tuple) else (key,)
        if not all(k is Ellipsis or isinstance(k, slice | int | np.integer) for k in keys):
            return y  # a further axis, or cases in another order
        return self._column(y, f"[{', '.join(map(_written, keys))}]")

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        y = super().reshape(*shape, **kwargs)
        return self._column(y, ".ravel()") if y.ndim == 1 else y

    def ravel(self, *args: Any, **kwargs: Any) -> Any:
        return self._column(super().ravel(*args, **kwargs), ".ravel()")

    def flatten(self, *args: Any, **kwargs: Any) -> Any:
        return self._column(super().flatten(*args, **kwargs), ".flatten()")

    def squeeze(self, *args: Any, **kwargs: Any) -> Any:
        return self._column(super().squeeze(*args, **kwargs), ".squeeze()")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if any(hasattr(a, "__array_ufunc__") and not isinstance(a, np.ndarray | np.generic) for a in inputs):
            return NotImplemented
        elementwise = method == "__call__" and ufunc.signature is None
        shared = _shared(inputs, ufunc.__name__) if elementwise else []
        if out is not None:
            kwargs["out"] = _plain(out)
        return _named(getattr(ufunc, method)(*_plain(inputs), **kwargs), shared)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func not in (np.where, np.select):
            return super().__array_function__(func, types, args, kwargs)
        shared = _shared(args, func.__name__)
        return _named(func(*_plain(args), **kwargs), shared)

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return Given.of(super().astype(*args, **kwargs), self.path, self.root)

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        return Given.of(super().copy(*args, **kwargs), self.path, self.root)


def _written(key: Any) -> str:
    """A key as it is written between brackets."""
    if not isinstance(key, slice):
        return "..." if key is Ellipsis else str(key)
    start, stop, step = ("" if k is None else str(k) for k in (key.start, key.stop, key.step))
    return f"{start}:{stop}" + (f":{step}" if step else "")


def _plain(a: Any) -> Any:
    if isinstance(a, list | tuple):
        return type(a)(map(_plain, a))
    return a.view(np.ndarray) if isinstance(a, Given) else a


def _named(y: Any, given: Sequence[Given]) -> Any:
    """The result of an elementwise function, under the name of the first of its arguments that has its shape."""
    if isinstance(y, tuple):
        return tuple(_named(a, given) for a in y)
    if not isinstance(y, np.ndarray):
        return y
    path, root = next(((a.path, a.root) for a in given if a.shape == y.shape), ("", ""))
    return Given.of(y, path, root)


def _shared(args: Sequence[Any], function: str) -> list[Given]:
    """The given arrays among the arguments. BroadcastError if two of them broadcast against each other."""
    given = [leaf for _, leaf in tree.leaves(list(args)) if isinstance(leaf, Given) and leaf.root]
    for a, b in combinations(given, 2):
        if a.root != b.root and (y := _spread(a.shape, b.shape)) is not None:
            a, b = (b, a) if a.root.startswith("t") else (a, b)
            raise BroadcastError(
                f"the loss broadcasts {a.path} of shape {a.shape} and {b.path} of shape {b.shape} to {y} in "
                f"{function}: every entry of one meets every entry of the other. {b.path}.reshape({a.path}.shape) "
                f"pairs them; {b.path}[None] says that all pairs are meant"
            )
    return given
