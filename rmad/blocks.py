"""The three kinds of Jacobian blocks that rules make: diagonal, linear, explicit.

Diagonal   J = diag(d)             push d v          pull conj(d) u, summed over broadcast axes
Linear     J = f(…, ·, …)          push f(…, v, …)   pull conj(transpose(conj(u), …))
Explicit   J as its author says    push pair[0](v)   pull pair[1](u)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.tape import ArraySpec, Block, Named
from rmad.types import Array

__all__ = ["MINUS_ONE", "ONE", "Block", "Diagonal", "Explicit", "Linear", "padded", "unbroadcast"]

Map = Callable[[Any], Any]
_NO_KEYWORDS: dict[str, Any] = {}  # one for all blocks

ONE, MINUS_ONE = 1, -1  # CPython keeps small ints, so `is` tells a factor of one from an array


def unbroadcast(u: Array, shape: tuple[int, ...]) -> Array:
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


def padded(V: Array, x: tuple[int, ...], ndim: int) -> Array:
    """A stack of arrays of shape x, (k, *x), with axes of length 1 between, so that they broadcast to `ndim` axes."""
    return V if len(x) >= ndim else np.reshape(V, (len(V), *(1,) * (ndim - len(x)), *x))


def _unbroadcast_stack(U: Array, shape: tuple[int, ...]) -> Array:
    """`unbroadcast` of every array of a stack."""
    if U.shape[1:] == shape:
        return U
    k = len(U)
    return np.reshape(unbroadcast(U, (k, *(1,) * (U.ndim - 1 - len(shape)), *shape)), (k, *shape))


def _as_input(u: Array, spec: ArraySpec) -> Array:
    """A cotangent in the dtype of its input; its real part for a real input."""
    if u.dtype == spec.dtype:
        return u
    if u.dtype.kind == "c" and spec.dtype.kind != "c":
        u = np.real(u)
    return u.astype(spec.dtype)


def _as_output(v: Array, spec: ArraySpec) -> Array:
    """A tangent in the dtype of its output. Its shape is left alone, so that `check_grads` sees a wrong one."""
    return v if v.dtype == spec.dtype else v.astype(spec.dtype)


class Diagonal(Block):
    """J = diag(d), d = ∂f/∂x of an elementwise y = f(x): an array that broadcasts to y, or ±1, which costs nothing."""

    __slots__ = ("d",)

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec, d: Any) -> None:
        self.primitive, self.argnum, self.x, self.y, self.d = primitive, argnum, x, y, d

    def push(self, v: Array) -> Array:
        d, y = self.d, self.y
        v = v if d is ONE else -v if d is MINUS_ONE else d * v
        if v.shape != y.shape:
            v = np.broadcast_to(v, y.shape)
        return v if v.dtype is y.dtype else _as_output(v, y)

    def pull(self, u: Array) -> Array:
        d, x = self.d, self.x
        if d is MINUS_ONE:
            u = -u
        elif d is not ONE:
            u = (np.conj(d) if d.dtype.kind == "c" else d) * u
        if u.shape != x.shape:
            u = unbroadcast(u, x.shape)
        return u if u.dtype is x.dtype else _as_input(u, x)

    def push_add(self, v: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        return (self.push(v), False) if total is None else super().push_add(v, total, owned)

    def pull_add(self, u: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        return (self.pull(u), False) if total is None else super().pull_add(u, total, owned)

    def push_stack(self, V: Array) -> Array:
        d, x, y = self.d, self.x, self.y
        if x.shape != y.shape:
            V = padded(V, x.shape, y.ndim)
        V = V if d is ONE else -V if d is MINUS_ONE else d * V
        if V.shape[1:] != y.shape:
            V = np.broadcast_to(V, (len(V), *y.shape))
        return V if V.dtype is y.dtype else _as_output(V, y)

    def pull_stack(self, U: Array) -> Array:
        d, x = self.d, self.x
        if d is MINUS_ONE:
            U = -U
        elif d is not ONE:
            U = (np.conj(d) if d.dtype.kind == "c" else d) * U
        if x.shape != self.y.shape:
            U = _unbroadcast_stack(U, x.shape)
        return U if U.dtype is x.dtype else _as_input(U, x)

    def push_stack_add(self, V: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        return (self.push_stack(V), False) if total is None else super().push_stack_add(V, total, owned)

    def pull_stack_add(self, U: Array, total: Array | None, owned: bool) -> tuple[Array, bool]:
        return (self.pull_stack(U), False) if total is None else super().pull_stack_add(U, total, owned)


class Linear(Block):
    """J = f(…, ·, …) for y linear in x, the other arguments fixed: the linear and the bilinear family.

    transpose: (u, *args) → Jᵀu, a plain transpose; args: every argument of f, x itself as its ArraySpec.
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
        self.primitive, self.argnum, self.x, self.y = primitive, argnum, x, y  # super() takes as long as all of it
        self.transpose, self.kwargs = transpose, kwargs or _NO_KEYWORDS
        self.args = (x, *args[1:]) if argnum == 0 else (*args[:argnum], x, *args[argnum + 1 :])

    def push(self, v: Array) -> Array:
        k = self.argnum
        return _as_output(self.primitive(*self.args[:k], v, *self.args[k + 1 :], **self.kwargs), self.y)

    def pull(self, u: Array) -> Array:
        if self.x.dtype.kind == "c" or self.y.dtype.kind == "c":
            u = np.conj(self.transpose(np.conj(u), *self.args, **self.kwargs))
        else:
            u = self.transpose(u, *self.args, **self.kwargs)
        return _as_input(unbroadcast(u, self.x.shape), self.x)

    def push_stack(self, V: Array) -> Array:
        Y = self.of_stack(V)
        return super().push_stack(V) if Y is None else _as_output(Y, self.y)

    def pull_stack(self, U: Array) -> Array:
        if self.x.dtype.kind == "c" or self.y.dtype.kind == "c":
            X = self.transpose_of_stack(np.conj(U))
            X = X if X is None else np.conj(X)
        else:
            X = self.transpose_of_stack(U)
        return super().pull_stack(U) if X is None else _as_input(_unbroadcast_stack(X, self.x.shape), self.x)

    def of_stack(self, V: Array) -> Array | None:
        """f of k stacked arrays, (k, *y.shape), of V: (k, *x.shape); None if f takes no stack."""
        rule = self.primitive.on_stack  # type: ignore[attr-defined]  # of the linear family
        if rule is None or (found := rule(len(V), self)) is None:
            return None
        (args, kwargs), k = found, self.argnum
        V = np.reshape(V, args[k].shape)
        return self.primitive(*args[:k], V, *args[k + 1 :], **kwargs)

    def transpose_of_stack(self, U: Array) -> Array | None:
        """The transpose of k stacked arrays, of U: (k, *y.shape); None if it takes no stack."""
        rule = self.primitive.on_stack  # type: ignore[attr-defined]
        if rule is None or (found := rule(len(U), self)) is None:
            return None
        args, kwargs = found
        return self.transpose(U, *args, **kwargs)


class Explicit(Block):
    """J as its author wrote it: pair = (push, pull)."""

    __slots__ = ("pair",)

    def __init__(self, primitive: Named, argnum: int, x: ArraySpec, y: ArraySpec, pair: Sequence[Map]) -> None:
        super().__init__(primitive, argnum, x, y)
        self.pair = pair

    def push(self, v: Array) -> Array:
        return _as_output(self.pair[0](v), self.y)

    def pull(self, u: Array) -> Array:
        return _as_input(self.pair[1](u), self.x)
