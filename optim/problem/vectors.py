"""Long vectors: scalars accumulated in float64, updates in place, by blocks that stay in cache.

CG and the first-order methods make a handful of passes over vectors of the size of θ for every product or
gradient. Written as plain expressions those passes allocate, go to memory each, and sum float32 in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from optim.tuning import BLOCK, SUMMED_IN_FLOAT32
from rmad.extend import Array, arrays, fused

__all__ = [
    "Scalar",
    "Unread",
    "accumulated",
    "are_finite",
    "blocks",
    "dot",
    "dots",
    "inner",
    "is_finite",
    "read",
    "sum_into",
    "summed",
    "weighted",
]

CHUNK = SUMMED_IN_FLOAT32

Scalar: TypeAlias = "float | Array | Unread"
"""A number: a float on the CPU; on a device a 0-d array, or one that is `Unread`, which `read` makes floats of."""


class Unread:
    """A number on a device that is copied to the host once, when it is first needed.

    number: a 0-d array; a float once it has been read.
    """

    def __init__(self, number: Array) -> None:
        self.number: Array | float = number

    def __float__(self) -> float:
        return read(self)[0]


def read(*scalars: Scalar) -> list[float]:
    """The numbers as floats; from a device all in one copy, because every copy waits for it."""
    found: list[Any] = [s.number if isinstance(s, Unread) else s for s in scalars]
    waiting = [k for k, number in enumerate(found) if not isinstance(number, float)]
    for k, number in zip(waiting, arrays.numbers([found[k] for k in waiting]), strict=True):
        found[k] = float(number)
        if isinstance(unread := scalars[k], Unread):
            unread.number = found[k]
    return found


def dot(a: Array, b: Array) -> float:
    """aᵀb as a Python float, for flat vectors; float32 is summed by chunks and the chunks in float64."""
    if not isinstance(a, np.ndarray):
        return float(fused.dot(a, b))
    if a.dtype.itemsize >= 8:
        return float(np.dot(a, b))
    whole = a.size // CHUNK * CHUNK
    if whole < a.size:
        rest = np.dot(a[whole:].astype(np.float64), b[whole:].astype(np.float64))
        return float(rest) + (dot(a[:whole], b[:whole]) if whole else 0.0)
    return float(np.vecdot(a.reshape(-1, CHUNK), b.reshape(-1, CHUNK)).sum(dtype=np.float64))


def inner(a: Array, b: Array) -> Any:
    """aᵀb of flat vectors in float64, a Scalar: as `dot` on the CPU, on a device there until `read`."""
    return dot(a, b) if isinstance(a, np.ndarray) else fused.dot(a, b)


def dots(*pairs: tuple[Array, Array]) -> list[float]:
    """aᵀb of every pair, as `dot`; from a device in one copy."""
    return read(*(inner(a, b) for a, b in pairs))


def weighted(weight: float, value: Any) -> Any:
    """weight · value in float64, a Scalar."""
    if arrays.kind_of(value) is np:
        return weight * float(value)
    value = value.astype(np.float64, copy=False)
    return value if weight == 1 else value * weight


def summed(terms: Sequence[Any]) -> Any:
    """Σ terms in float64, a Scalar; terms: Scalars that are not `Unread`."""
    there = [term for term in terms if not isinstance(term, float | int)]
    if not there:
        return sum(terms)
    here = sum(term for term in terms if isinstance(term, float | int))
    total = there[0] if len(there) == 1 else np.sum(np.stack(there), dtype=np.float64)
    return total + here if here else total


def is_finite(a: Array) -> bool:
    """True if no entry of the flat vector is NaN or infinite: one pass, nothing allocated, in the usual case."""
    return math.isfinite(dot(a, a)) or bool(np.isfinite(a).all())  # the squares alone may overflow


def are_finite(arrays: Iterable[Array]) -> bool:
    """True if no entry of any array is NaN or infinite; from a device in one copy, in the usual case."""
    vectors = [np.reshape(a, -1) for a in arrays]
    if not vectors or isinstance(vectors[0], np.ndarray):
        return all(map(is_finite, vectors))
    return all(map(math.isfinite, dots(*((a, a) for a in vectors)))) or all(map(is_finite, vectors))


def sum_into(out: Array, terms: Sequence[Array]) -> Array:
    """out ← Σ terms, in their order; 0 for none. The first term may be `out` itself."""
    if not terms:
        out.fill(0)
    elif len(terms) > 1:
        np.add(terms[0], terms[1], out)
    elif terms[0] is not out:
        np.copyto(out, terms[0])
    for term in terms[2:]:
        np.add(out, term, out)
    return out


def accumulated(out: Array, terms: Iterable[Array]) -> Array:
    """out ← Σ terms, which may all come in one and the same buffer, one after the other."""
    for k, term in enumerate(terms):
        np.add(out, term, out) if k else np.copyto(out, term)
    return out


def blocks(*vectors: Any) -> Iterator[list[Any]]:
    """Views of the same stretch of every vector, block after block; on a device of the whole vectors at once."""
    size = vectors[0].size
    block = BLOCK if isinstance(vectors[0], np.ndarray) else max(size, 1)
    for k in range(0, size, block):
        yield [v[k : k + block] for v in vectors]
