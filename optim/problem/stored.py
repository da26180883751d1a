"""Arrays that lie in a file, as h5py's and zarr's: slices of them are read when a sweep comes to them, and no earlier.

A memory map of NumPy needs none of this: a slice of it is a view.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.extend import Array

__all__ = ["Stored", "in_memory", "is_stored", "rows"]


def is_stored(a: Any) -> bool:
    """True for an array in a file, which is stored in chunks and read by indexing."""
    return not isinstance(a, np.ndarray) and all(hasattr(a, name) for name in ("chunks", "shape", "dtype"))


class Stored:
    """The rows from `start` to `stop` of an array in a file, unread; a slice of it is another such object.

    a: the array. It answers for an array of these rows, as far as its shape is concerned; `in_memory` reads it.
    """

    chunks: Any = None  # it is stored, too

    def __init__(self, a: Any, start: int, stop: int) -> None:
        self.a, self.start, self.stop = a, start, stop
        self.shape, self.dtype, self.ndim = (stop - start, *a.shape[1:]), a.dtype, len(a.shape)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, which: Any) -> Any:
        return rows(self, which)

    def read(self) -> Array:
        """Returns the rows as an array."""
        return np.asarray(self.a[self.start : self.stop])


def rows(a: Any, which: slice | Array) -> Any:
    """Some rows of an array in a file: a slice is left unread, any other choice is read in the order of the file."""
    base, first = (a.a, a.start) if isinstance(a, Stored) else (a, 0)
    n = a.shape[0]  # zarr's arrays have no len
    if isinstance(which, slice):
        start, stop, step = which.indices(n)
        if step == 1:
            return Stored(base, first + start, first + max(start, stop))
        which = np.arange(start, stop, step)
    which = np.asarray(which)
    if which.dtype == bool:
        which = np.flatnonzero(which)
    which = np.where(which < 0, which + n, which)
    if which.size and not (which.min() >= 0 and which.max() < n):
        raise IndexError(f"the {n} cases of a stored array have no number {int(which.max())}")
    places, back = np.unique(which + first, return_inverse=True)  # h5py takes them in this order, and only once
    if not places.size:
        return np.asarray(base[0:0])
    chosen = base.oindex[places] if hasattr(base, "oindex") else base[places]
    return np.asarray(chosen)[back.reshape(which.shape)]


def in_memory(tree: Any) -> Any:
    """The tree with the arrays in files read."""
    if isinstance(tree, np.ndarray) or tree is None:
        return tree
    if isinstance(tree, tuple | list):
        subs = [in_memory(sub) for sub in tree]
        if all(a is b for a, b in zip(subs, tree, strict=True)):
            return tree
        return type(tree)(*subs) if hasattr(tree, "_fields") else type(tree)(subs)
    if isinstance(tree, dict):
        return {key: in_memory(sub) for key, sub in tree.items()}
    if isinstance(tree, Stored):
        return tree.read()
    return np.asarray(tree[:]) if is_stored(tree) else tree
