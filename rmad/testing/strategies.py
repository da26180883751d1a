"""Strategies of hypothesis: arrays of all shapes, layouts, dtypes and kinds of values, and trees of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rmad.types import Array

__all__ = ["LAYOUTS", "arrays", "broadcastable", "dtypes", "shapes", "trees"]

SPECIAL = (0.0, -0.0, np.nan, np.inf, -np.inf)


def _contiguous(x: Array) -> Array:
    return np.array(x, order="C")


def _fortran(x: Array) -> Array:
    return np.asfortranarray(x).reshape(x.shape)  # NumPy makes 0-d arrays 1-d here


def _strided(x: Array) -> Array:
    big = np.zeros([2 * n for n in x.shape], x.dtype)
    every: Any = (..., *(slice(None, None, 2) for _ in x.shape))
    view: Array = big[every]
    view[...] = x
    return view


def _backwards(x: Array) -> Array:
    every: Any = (..., *(slice(None, None, -1),) * x.ndim)
    backwards: Array = x[every].copy()[every]
    return backwards


def _read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": _contiguous,
    "fortran": _fortran,
    "strided": _strided,
    "backwards": _backwards,
    "read-only": _read_only,
}
"""Copies of an array in other memory: Fortran's order, every second element of a larger array, negative strides."""


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3) -> st.SearchStrategy[Any]:
    """Shapes of small arrays, 0-d and empty ones among them.

    Parameters
    ----------
    min_dims, max_dims : int, numbers of axes; default 0 to 3
    min_side, max_side : int, lengths of the axes; default 0 to 3

    Returns
    -------
    strategy of tuples
    """
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def dtypes(complex: bool = True) -> st.SearchStrategy[Any]:
    """Floating-point dtypes: float64, float32 and, if `complex`, complex128 and complex64.

    Parameters
    ----------
    complex : bool, default True

    Returns
    -------
    strategy of numpy.dtype
    """
    names = ["float64", "float32", *(["complex128", "complex64"] if complex else [])]
    return st.sampled_from([np.dtype(name) for name in names])


def arrays(
    shape: Any = None,
    *,
    dtype: Any = np.float64,
    lo: float = -2.0,
    hi: float = 2.0,
    kinks: Sequence[float] = (),
    special: bool = False,
    distinct: bool = False,
    layout: str = "C",
) -> st.SearchStrategy[Any]:
    """Arrays with values in [lo, hi], in three decimals of that range: a failure shrinks to short numbers.

    Parameters
    ----------
    shape : tuple, int or strategy, default shapes(). A letter in a tuple, as in ("n", 3), is a length from 1 to 5
        that all arrays of the example share
    dtype : dtype or strategy; integers and booleans, too
    lo, hi : float, the domain of f; default -2 to 2. Imaginary parts are in [-1, 1]
    kinks : floats that are also drawn: points in which f has no derivative or takes another branch
    special : bool, also draw 0, -0, NaN and infinities; default False
    distinct : bool, no two values of an array are equal, as for a maximum; default False
    layout : a key of LAYOUTS, or "any"; default "C"

    Returns
    -------
    strategy of numpy.ndarray

    Examples
    --------
    >>> logits, labels = arrays(("n", 3)), arrays(("n",), dtype=int, lo=0, hi=2)
    >>> LAYOUTS["fortran"](np.ones((2, 3))).flags.f_contiguous
    True
    """
    if layout not in LAYOUTS and layout != "any":
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)} or any, not {layout!r}")
    if isinstance(dtype, st.SearchStrategy):
        return dtype.flatmap(
            lambda d: arrays(
                shape, dtype=d, lo=lo, hi=hi, kinks=kinks, special=special, distinct=distinct, layout=layout
            )
        )
    dtype = np.dtype(dtype)
    drawn = hnp.arrays(dtype, _shape(shape), elements=_elements(dtype, lo, hi, kinks, special), unique=distinct)
    layouts = st.sampled_from(list(LAYOUTS)) if layout == "any" else st.just(layout)
    return st.builds(lambda x, name: LAYOUTS[name](x), drawn, layouts)


def broadcastable(n: int = 2, *, max_dims: int = 3, max_side: int = 3, **options: Any) -> st.SearchStrategy[Any]:
    """Tuples of n arrays whose shapes broadcast together.

    Parameters
    ----------
    n : int, default 2
    max_dims, max_side : int, of the shapes; default 3
    **options : of `arrays`, but for its shape

    Returns
    -------
    strategy of tuples of numpy.ndarray
    """
    drawn = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=max_dims, min_side=0, max_side=max_side)
    return drawn.flatmap(lambda found: st.tuples(*(arrays(shape, **options) for shape in found.input_shapes)))


def trees(leaf: st.SearchStrategy[Any] | None = None, *, constants: bool = True) -> st.SearchStrategy[Any]:
    """Nested dicts, lists and tuples of arrays, with at least one float array.

    Parameters
    ----------
    leaf : strategy of float arrays, default arrays()
    constants : bool, also integer and boolean leaves, numbers and None; default True

    Returns
    -------
    strategy of trees
    """
    leaf = arrays() if leaf is None else leaf
    other = [arrays(dtype=np.int64, lo=0, hi=3), arrays(dtype=np.bool_), st.integers(0, 3), st.none()]
    node = st.recursive(
        st.one_of(leaf, *(other if constants else [])),
        lambda sub: st.one_of(
            st.lists(sub, max_size=3),
            st.lists(sub, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("abc"), sub, max_size=3),
        ),
        max_leaves=4,
    )
    return st.one_of(st.tuples(leaf, node), st.fixed_dictionaries({"w": leaf, "more": node}))


def as_strategy(given: Any) -> st.SearchStrategy[Any] | None:
    """A strategy of what was given: a tree that holds strategies draws them; None if it holds none."""
    if isinstance(given, st.SearchStrategy):
        return given
    parts = given.values() if isinstance(given, dict) else given if isinstance(given, list | tuple) else ()
    drawn = [as_strategy(part) for part in parts]
    if all(part is None for part in drawn):
        return None
    each = [st.just(part) if s is None else s for part, s in zip(parts, drawn, strict=True)]
    if isinstance(given, dict):
        return st.fixed_dictionaries(dict(zip(given, each, strict=True)))
    return st.tuples(*each).map(list) if isinstance(given, list) else st.tuples(*each)


_LENGTH = st.integers(1, 5)


def _shape(shape: Any) -> Any:
    if shape is None:
        return shapes()
    if isinstance(shape, str):
        shape = (shape,)
    if isinstance(shape, tuple) and any(isinstance(side, str) for side in shape):
        sides = [st.shared(_LENGTH, key=f"rmad {n}") if isinstance(n, str) else st.just(n) for n in shape]
        return st.tuples(*sides)
    return shape


def _elements(dtype: np.dtype[Any], lo: float, hi: float, kinks: Sequence[float], special: bool) -> Any:
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        return st.integers(math.ceil(lo), math.floor(hi))
    if dtype.kind == "c":
        real = _floats(lo, hi, kinks, special)
        return st.builds(complex, real, _floats(-1.0, 1.0, (), False))
    return _floats(lo, hi, kinks, special).map(lambda x: float(dtype.type(x)))


def _floats(lo: float, hi: float, kinks: Sequence[float], special: bool) -> Any:
    step = 10.0 ** (math.floor(math.log10(hi - lo)) - 3) if hi > lo else 1.0

    def rounded(x: float) -> float:
        return min(max(round(round(x / step) * step, 12), lo), hi)

    regular = st.floats(lo, hi, allow_subnormal=False).map(rounded)
    chosen = [*kinks, *(SPECIAL if special else ())]
    return st.one_of(regular, st.sampled_from(chosen)) if chosen else regular
