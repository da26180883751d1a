"""Trees as flat vectors, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.trees.leaf import as_pairs, from_pairs, joined, real_dtype, sizes, split
from rmad.trees.tree import flatten
from rmad.types import Array, Tree

__all__ = ["Flat", "ravel"]


class Flat:
    """The space of trees like `tree` as vectors (size,) of their common dtype, and both ways between the two.

    pairs: complex leaves count as pairs of reals, so that the space is real; else `dtype` is complex if a leaf is.
    """

    def __init__(self, tree: Any, pairs: bool = False) -> None:
        _, self._structure = flatten(tree, "tree")
        self._structure.forget_values()  # the space outlives the arrays
        self._pairs = pairs and any(dtype.kind == "c" for dtype in self._structure.dtypes)
        specs = list(zip(self._structure.shapes, self._structure.dtypes, strict=True))
        self._shapes = [(*shape, 2) if self._pairs and dtype.kind == "c" else shape for shape, dtype in specs]
        self._dtypes = [real_dtype(dtype) if self._pairs else dtype for _, dtype in specs]
        self.size, self.dtype = sum(sizes(self._shapes)), np.result_type(*self._dtypes or [np.dtype(float)])

    def ravel(self, tree: Any) -> Array:
        """A tree of the same structure as a vector."""
        arrays, _ = flatten(tree, "tree")
        flat = joined(list(map(as_pairs, arrays)) if self._pairs else arrays)
        return flat if flat.dtype == self.dtype else flat.astype(self.dtype)

    def unravel(self, vector: Array) -> Any:
        """A tree of a vector: leaves in their own dtypes, constant leaves as they were."""
        if np.shape(vector) != (self.size,):
            raise ValueError(f"unravel: expected a vector of shape ({self.size},), got {np.shape(vector)}")
        if vector.dtype.kind == "c" and self.dtype.kind != "c":
            raise TypeError(f"unravel: a {vector.dtype} vector does not fit a tree that takes {self.dtype}")
        parts = [_cast(v, dtype) for v, dtype in zip(split(vector, self._shapes), self._dtypes, strict=True)]
        if self._pairs:
            parts = [from_pairs(v, dtype) for v, dtype in zip(parts, self._structure.dtypes, strict=True)]
        return self._structure.unflatten(parts)


def _cast(a: Array, dtype: np.dtype[Any]) -> Array:
    """a in this dtype: its real part, if that is real."""
    if a.dtype == dtype:
        return a
    return (np.real(a) if a.dtype.kind == "c" and dtype.kind != "c" else a).astype(dtype)


def ravel(tree: Tree, *, pairs: bool = False) -> tuple[Array, Callable[[Array], Tree]]:
    """flat = [leaf₀, leaf₁, …], the float arrays of a tree as one vector, and the way back.

    Parameters
    ----------
    tree : array, or tree of arrays; traced ones too
    pairs : bool, default False
        Take each number of a complex leaf as two neighbours (Re, Im), as the operators and the optimizers do. If all
        leaves are complex, `flat.view(complex)` is the vector without pairs.

    Returns
    -------
    flat : (p,) in the order of the tree and the common dtype of the leaves, which is real with `pairs`
    unravel : (p,) → a tree like `tree` with the leaves' own dtypes, integer leaves as they were; ValueError for a
        vector of another length, TypeError for a complex one where `flat` is real

    Examples
    --------
    >>> flat, unravel = ravel({"W": np.ones((2, 2)), "b": np.zeros(1)})
    >>> flat
    array([1., 1., 1., 1., 0.])
    >>> unravel(2 * flat)["b"]
    array([0.])
    >>> ravel({"w": np.array([1 + 2j, 3j]), "b": 4.0}, pairs=True)[0]
    array([1., 2., 0., 3., 4.])
    """
    space = Flat(tree, pairs)
    return space.ravel(tree), space.unravel
