"""The three kinds of Jacobian blocks that rules make: diagonal, linear, explicit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.tape import ArraySpec, Block, Named

__all__ = ["MINUS_ONE", "ONE", "Block", "Diagonal", "Explicit", "Linear", "unbroadcast"]

ONE, MINUS_ONE = 1, -1  # CPython keeps small ints, so `is` tells a factor of one from an array


def unbroadcast(u: Any, shape: tuple[int, ...]) -> Any:
    """Sums u over the axes along which an array of `shape` was broadcast: the transpose of broadcasting."""
    if u.shape == shape:
        return u
    extra = u.ndim - len(shape)
    stretched = [k + extra for k, n in enumerate(shape) if n == 1 and u.shape[k + extra] != 1]
    axes = (*range(extra), *stretched)
    if not stretched and isinstance(u, np.ndarray) and u.size and u.dtype.kind in "fc" and u.flags.c_contiguous:
        rows = np.reshape(u, (-1, int(np.prod(shape))))
        return np.reshape(np.ones(len(rows), u.dtype) @ rows, shape)  # a quarter of the time that np.sum takes
    return np.reshape(np.sum(u, axis=axes), shape) if axes else u


def _as_input(u: Any, spec: ArraySpec) -> Any:
    """A cotangent in the dtype of the input it belongs to: the real part of it, where that is real."""
    if u.dtype == spec.dtype:
        return u
    if u.dtype.kind == "c" and spec.dtype.kind != "c":
        u = np.real(u)
    return u.astype(spec.dtype)


class Diagonal(Block):
    """y = f(x) elementwise, d = ∂f/∂x: push d v, pull conj(d) u. d = ±1 costs no multiplication."""

    __slots__ = ("d",)

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec, d: Any) -> None:
        super().__init__(primitive, argnum, x, y)
        self.d = d

    def push(self, v: Any) -> Any:
        d = self.d
        y = v if d is ONE else -v if d is MINUS_ONE else d * v
        if y.shape != self.y.shape:
            y = np.broadcast_to(y, self.y.shape)
        return y if y.dtype == self.y.dtype else y.astype(self.y.dtype)

    def pull(self, u: Any) -> Any:
        d = self.d
        if d is MINUS_ONE:
            u = -u
        elif d is not ONE:
            u = (np.conj(d) if d.dtype.kind == "c" else d) * u
        return _as_input(unbroadcast(u, self.x.shape), self.x)


class Linear(Block):
    """y linear in x, the other arguments fixed: push f(…, v, …), pull conj(transpose(conj(u), …)).

    Covers the linear and the bilinear family; `args` holds every argument, x itself as its ArraySpec.
    """

    __slots__ = ("args", "kwargs", "transpose")

    def __init__(
        self,
        primitive: Named,
        argnum: int,
        x: ArraySpec,
        y: ArraySpec,
        transpose: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(primitive, argnum, x, y)
        self.transpose, self.kwargs = transpose, kwargs
        self.args = (*args[:argnum], x, *args[argnum + 1 :])

    def push(self, v: Any) -> Any:
        k = self.argnum
        y = self.primitive(*self.args[:k], v, *self.args[k + 1 :], **self.kwargs)
        return y if y.dtype == self.y.dtype else y.astype(self.y.dtype)

    def pull(self, u: Any) -> Any:
        if self.x.dtype.kind == "c" or self.y.dtype.kind == "c":
            u = np.conj(self.transpose(np.conj(u), *self.args, **self.kwargs))
        else:
            u = self.transpose(u, *self.args, **self.kwargs)
        return _as_input(unbroadcast(u, self.x.shape), self.x)


class Explicit(Block):
    """y = f(x) with the pair (push, pull) as its author wrote it."""

    __slots__ = ("pair",)

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec, pair: Any) -> None:
        super().__init__(primitive, argnum, x, y)
        self.pair = pair

    def push(self, v: Any) -> Any:
        y = self.pair[0](v)
        return y if y.dtype == self.y.dtype else y.astype(self.y.dtype)

    def pull(self, u: Any) -> Any:
        return _as_input(self.pair[1](u), self.x)
