"""Shape and dtype of an array, apart from the array."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["ArraySpec", "Shaped"]


class Shaped:
    """ndim, size, itemsize and nbytes of anything that has a shape and a dtype."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError(f"{type(self).__name__}.shape")

    @property
    def dtype(self) -> np.dtype[Any]:
        raise NotImplementedError(f"{type(self).__name__}.dtype")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize


class ArraySpec(Shaped):
    """Shape and dtype of an array, without the array: all that a transpose may know of its input."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype  # type: ignore[misc]  # slots, in place of the properties

    @classmethod
    def of(cls, array: Any) -> ArraySpec:
        """The spec of an array, or of the array that a Python number would become. Equal ones are mostly one object."""
        try:
            return _spec(array.shape, array.dtype)
        except AttributeError:
            return cls.of(np.asarray(array))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, ArraySpec) and self.shape == other.shape and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


_spec = lru_cache(maxsize=4096)(ArraySpec)  # a long tape has few kinds of arrays, and many of each
