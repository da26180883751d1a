"""Names for the types in signatures: arrays, and the trees that hold them."""

from __future__ import annotations

from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

__all__ = ["Array", "Out", "P", "Pairs", "Tree"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
"""A NumPy array, or an array that stands in for one: a CuPy array, or a traced array while a function is recorded.

An alias of NumPy's class and no Protocol, because NumPy's own signatures (`out=`, `np.copyto`) accept nothing else.
"""

Tree = TypeVar("Tree", bound=Any)  # Any: a lambda's argument then supports every operation
"""An array, or a nested tuple, list, dict or `nn.Module` of arrays: a function of a tree returns one like it."""

Out = TypeVar("Out", bound=Any)
"""The tree that a differentiated function returns."""

P = ParamSpec("P")
"""The further parameters of a differentiated function, which are passed through."""

Pairs: TypeAlias = "tuple[Any, ...]"
"""The result of an explicit rule: a pair (push, pull) per argument, None for a zero block.

A rule of several outputs returns one such row per output, None for an output without derivative.
"""
