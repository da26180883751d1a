"""Functions that write into their arguments, and the primitives that the writes of a function become.

`assembled(keys, base, values)` is base with v_k at the slice keys[k], `added(a, b, key)` is a with b added at the key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import stacked
from rmad.primitives.index import scatter
from rmad.primitives.join import Part
from rmad.rules import Primitive, as_array, linear, primitive, register
from rmad.tapes.blocks import Block
from rmad.tapes.tape import ArraySpec
from rmad.tracing.handlers import implements
from rmad.tracing.traced import stop
from rmad.types import Array
from rmad.written import write_by

# -- what writes become ------------------------------------------------------------------------------------------


def _cleared(x, keys) -> Array:
    y = x.copy()
    for key in keys:
        y[key] = 0
    return y


def _shifted(keys) -> list[Any]:
    return [(slice(None), *key) for key in keys]


cleared: Any = linear(_cleared, lambda u, x, keys: cleared(u, keys), name="cleared")
cleared.captures = False  # the keys are slices
cleared.on_stack = lambda k, block: stacked(k, block, _shifted(block.args[1]))


class Rest(Block):
    """What is left of the array that is written into: zero at the slices that are written."""

    __slots__ = ("keys",)

    def __init__(self, primitive, x, y, keys) -> None:
        super().__init__(primitive, 1, x, y)
        self.keys = keys

    def push(self, v) -> Array:
        return cleared(v, self.keys)

    def push_stack(self, V) -> Array:
        return cleared(V, _shifted(self.keys))

    def pull(self, u) -> Array:
        return cleared(u, self.keys)

    def pull_stack(self, U) -> Array:
        return cleared(U, _shifted(self.keys))


class Assembled(Primitive):
    """y = base with v_k at the slice keys[k]; the slices share no element."""

    captures = False

    def blocks(self, argnums, y, args, kwargs) -> list[Block | None]:
        keys, spec = args[0], ArraySpec.of(y)
        whole = _cover(args[2:], spec.size)
        found: list[Block | None] = []
        for k in argnums:
            x = ArraySpec.of(args[k])
            if k > 1:
                found.append(Part(self, k, x, spec, keys[k - 2]))
            else:
                found.append(None if whole else Rest(self, x, spec, keys))
        return found


def _cover(values, size) -> bool:
    """True if slices of these sizes, which share no element, make up an array of that size."""
    return sum(math.prod(np.shape(v)) for v in values) == size


def _assemble(keys, base, *values) -> Array:
    y = np.empty_like(base) if _cover(values, base.size) else base.copy("K")
    for key, v in zip(keys, values, strict=True):
        y[key] = v
    return y


_assembled = Assembled(_assemble, "assembled")


@implements("assembled")
def assembled(keys, base, values) -> Array:
    """base with the values at the keys, slices that share no element."""
    return _assembled([_as_view(key if isinstance(key, tuple) else (key,)) for key in keys], base, *values)


def _as_view(key) -> Any:
    """The key such that y[key] is an array, if without axes, and no number."""
    return key if Ellipsis in key else (*key, Ellipsis)


def _add(a, b, key) -> Array:
    y = a.copy()
    arrays.add_at(y, key, b)
    return y


def _add_rule(y, a, b, key) -> Any:
    shape = y.shape
    return (lambda v: v, lambda u: u), (lambda v: scatter(v, key, shape), lambda u: u[key])


added = register("added", primitive(_add, _add_rule, name="added"))

# -- functions that write ---------------------------------------------------------------------------------------------


def _plain(a) -> Any:
    """Masks and indices, which choose places among integers of the CPU."""
    return arrays.on_the_cpu(stop(a))


@implements(np.copyto)
def copyto(dst, src, casting="same_kind", where=True) -> None:
    src = as_array(src)
    if not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(f"Cannot cast array data from {src.dtype!r} to {dst.dtype!r} according to the rule '{casting}'")
    write_by("numpy.copyto", dst, src, lambda a, v: np.copyto(a, v, casting, where=_plain(where)))


@implements(np.put)
def put(a, ind, v, mode="raise") -> None:
    write_by("numpy.put", a, v, lambda b, w: np.put(b, _plain(ind), w, mode))


@implements(np.putmask)
def putmask(a, /, mask, values) -> None:
    write_by("numpy.putmask", a, values, lambda b, w: np.putmask(b, _plain(mask), w))


@implements(np.place)
def place(arr, mask, vals) -> None:
    write_by("numpy.place", arr, vals, lambda b, w: np.place(b, _plain(mask), w))


@implements(np.put_along_axis)
def put_along_axis(arr, indices, values, axis=-1) -> None:
    write_by("numpy.put_along_axis", arr, values, lambda b, w: np.put_along_axis(b, _plain(indices), w, axis))


@implements(np.fill_diagonal)
def fill_diagonal(a, val, wrap=False) -> None:
    write_by("numpy.fill_diagonal", a, val, lambda b, w: np.fill_diagonal(b, w, wrap))
