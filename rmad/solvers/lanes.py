"""A function of one state called with many: arrays that keep a hidden last axis, one lane for every state.

    y = Lanes(Y), Y: (n, C)      behaves as one y: (n,): y[0] is a number, np.sum(y) and np.roll(y, 1) are of each lane

The axis is the last one, so that axes which are counted from the front mean what they meant, and plain arrays next to
it get an axis of length one. What is not here raises `Unfit`. Where lanes part, at `if t < 2` or `int(t)`, the function
is called again for each group of lanes that go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from rmad.as_written.constructors import FILLING
from rmad.tracing.traced import Traced, stop
from rmad.types import Array
from rmad.written import blank

__all__ = ["Lanes", "Unfit", "in_lanes"]


class Unfit(TypeError):
    """Code that cannot be called with all lanes at once."""


class Parting(Exception):
    """The lanes go different ways; labels: (C,), equal for those that go together."""

    def __init__(self, labels: Array) -> None:
        self.labels = labels


MOST_WAYS = 32  # of the lanes of one call


class Lanes(NDArrayOperatorsMixin):
    """value: (*shape, C), plain or traced."""

    __slots__ = ("value",)
    above_traced = True  # a traced array leaves operations with it to this class

    def __init__(self, value: Any) -> None:
        self.value = value

    @staticmethod
    def stacked(parts: Any) -> Lanes:
        """np.array of a list with lanes in it."""
        return Lanes(_joined(np.stack, list(parts)))

    # -- what an array says of itself ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape[:-1])

    @property
    def ndim(self) -> int:
        return int(self.value.ndim) - 1

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def T(self) -> Lanes:
        if self.ndim > 1:
            raise Unfit("T of a matrix of lanes")
        return self

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a number")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Lanes:
        return Lanes(self.value[self._key(key)])

    def __setitem__(self, key: Any, new: Any) -> None:
        self.value[self._key(key)] = _aligned(new)

    def _key(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, Lanes) for part in parts):
            raise Unfit("an index that differs from lane to lane")
        return (*parts, slice(None)) if any(part is Ellipsis for part in parts) else parts

    def _one_of(self, kind: Callable[[Any], Array]) -> Any:
        """The number that all lanes agree on."""
        if self.shape:
            raise Unfit("a number of an array")
        labels = kind(stop(self.value))
        if np.all(labels == labels[0]):
            return labels[0].item()
        raise Parting(labels)

    def __bool__(self) -> bool:
        return bool(self._one_of(lambda x: x != 0))

    def __int__(self) -> int:
        return int(self._one_of(np.trunc))

    def __floor__(self) -> int:
        return int(self._one_of(np.floor))

    def __ceil__(self) -> int:
        return int(self._one_of(np.ceil))

    def __round__(self, *digits: Any) -> Any:
        return int(self._one_of(np.rint)) if digits in ((), (None,)) else self._refuse()

    def _refuse(self, *args: Any) -> Any:
        raise Unfit("a number of each lane")

    __float__ = __index__ = __complex__ = _refuse

    def __getattr__(self, name: str) -> Any:
        """y.sum(), and y.sin() as NumPy has it for elements of object arrays."""
        f = getattr(np, name, None) if not name.startswith("_") else None
        if f in REDUCTIONS or f in IN_PLACE_OF_AXES or isinstance(f, np.ufunc):
            return lambda *args, **kwargs: f(self, *args, **kwargs)  # type: ignore[misc]
        raise AttributeError(name)

    def astype(self, dtype: Any) -> Lanes:
        return Lanes(self.value.astype(dtype))

    # -- NumPy's protocols -----------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", (None,))
        if method == "reduce":
            y = _reduced(getattr(ufunc, method), inputs, {"axis": 0, **kwargs})
        elif method != "__call__" or (ufunc.signature is not None and ufunc is not np.matmul):
            raise Unfit(f"{ufunc.__name__}.{method}")
        elif ufunc is np.matmul:
            y = _product(*inputs)
        else:
            y = ufunc(*map(_aligned, inputs), **kwargs)
        y = tuple(map(Lanes, y)) if isinstance(y, tuple) else Lanes(y)
        if out[0] is None:
            return y
        if len(out) > 1 or not isinstance(out[0], Lanes) or isinstance(y, tuple):
            raise Unfit("out= of several arrays")
        out[0].value = y.value
        return out[0]

    def __array_function__(self, f: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if f in REDUCTIONS:
            return Lanes(_reduced(f, args, kwargs))
        if f in IN_PLACE_OF_AXES:
            return Lanes(_along(f, args, kwargs))
        if f in OF_SEQUENCES:
            return Lanes(_joined(f, *args, **kwargs))
        if f in LIKE:
            return Lanes(_made(f, *args, **kwargs))
        if f in (np.dot, np.inner):
            return Lanes(_product(*args)) if np.ndim(args[0]) and np.ndim(args[1]) else args[0] * args[1]
        if f in OF_ELEMENTS:
            return Lanes(f(*map(_aligned, args), **kwargs))
        if f is np.interp and not any(isinstance(a, Lanes) for a in (*args[1:], *kwargs.values())):
            return Lanes(f(args[0].value, *args[1:], **kwargs))
        if f in SHAPES:
            return SHAPES[f](args[0])
        raise Unfit(getattr(f, "__name__", repr(f)))


REDUCTIONS = {np.sum, np.mean, np.prod, np.max, np.min, np.amax, np.amin, np.std, np.var, np.linalg.norm}
IN_PLACE_OF_AXES = {np.roll, np.flip, np.cumsum, np.cumprod, np.diff, np.gradient}
OF_SEQUENCES = {np.concatenate, np.stack, np.hstack}
OF_ELEMENTS = {np.where, np.clip, np.real, np.imag, np.nan_to_num, np.sinc}
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.copy}
SHAPES: dict[Any, Callable[[Any], Any]] = {
    np.shape: lambda y: y.shape,
    np.ndim: lambda y: y.ndim,
    np.size: lambda y: y.size,
    np.atleast_1d: lambda y: y if y.ndim else y[None],
    np.ravel: lambda y: y if y.ndim == 1 else y._refuse(),
}


def _aligned(a: Any) -> Any:
    """An operand next to values with lanes: a plain array gets an axis of length one."""
    if isinstance(a, Lanes):
        return a.value
    if isinstance(a, list | tuple):
        return _joined(np.stack, a)
    return a[..., None] if isinstance(a, np.ndarray | Traced) and a.ndim else a


def _axes(axis: Any, ndim: int) -> Any:
    """Axes counted from the front; None for all but that of the lanes."""
    if axis is None:
        return tuple(range(ndim))
    each = [axis] if np.ndim(axis) == 0 else list(axis)
    if any(not -ndim <= k < ndim for k in each):
        raise Unfit("an axis that is not there")
    return each[0] % ndim if np.ndim(axis) == 0 else tuple(k % ndim for k in each)


def _reduced(f: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    y, *rest = args
    if not isinstance(y, Lanes):
        raise Unfit("a list of lanes")
    place = 1 if f is np.linalg.norm else 0  # norm(x, ord, axis)
    rest, kwargs = list(rest), dict(kwargs)
    axis = rest.pop(place) if len(rest) > place else kwargs.pop("axis", None)
    if f is np.linalg.norm and (y.ndim != 1 or kwargs.get("keepdims")):
        raise Unfit("a norm of matrices")
    axes = _axes(axis, y.ndim)
    return f(y.value, *rest, axis=axes[0] if f is np.linalg.norm and axis is None else axes, **kwargs)


def _along(f: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """f(y, …, axis), along the only axis of y if it has none."""
    y, *rest = args
    if not isinstance(y, Lanes) or y.ndim != 1 or any(isinstance(a, Lanes) for a in rest):
        raise Unfit(f"{f.__name__} of matrices")
    axis = kwargs.pop("axis", None)
    if (
        axis not in (None, 0, -1)
        or (f in (np.flip, np.cumsum, np.cumprod) and rest)
        or (f is np.roll and len(rest) > 1)
    ):
        raise Unfit(f"{f.__name__} with an axis by position")
    return f(y.value, *rest, axis=0, **kwargs)


def _number(parts: Any) -> int | None:
    """The number of lanes in a nested list; None if it holds none."""
    for part in parts:
        if isinstance(part, Lanes):
            return int(part.value.shape[-1])
        if isinstance(part, list | tuple) and (number := _number(part)) is not None:
            return number
    return None


def _spread(part: Any, number: int) -> Any:
    """A part of a list with lanes."""
    if isinstance(part, Lanes):
        return part.value
    if isinstance(part, list | tuple):
        return _joined(np.stack, part, number=number)
    plain = part if isinstance(part, Traced) else np.asarray(part, float)
    return np.broadcast_to(plain[..., None], (*plain.shape, number))


def _joined(f: Any, parts: Sequence[Any], axis: Any = 0, number: int | None = None, **more: Any) -> Any:
    number = _number(parts) if number is None else number
    values = [_spread(part, number or 1) for part in parts]
    if axis not in (0, -1) or (axis == -1 and values[0].ndim > 2 - (f is np.stack)):
        raise Unfit("joined along another axis")
    return (np.concatenate if f is np.hstack else f)(values, axis=0, **more)


def _made(f: Any, y: Lanes, *args: Any, **kwargs: Any) -> Any:
    if f is np.copy:
        return y.value.copy()
    if any(isinstance(a, Lanes) for a in args) or "shape" in kwargs:
        raise Unfit(f"{f.__name__} of another shape")
    made = np.full(y.value.shape, {np.ones_like: 1.0}.get(f, 0.0) if f is not np.full_like else args[0])
    return blank(made) if isinstance(y.value, Traced) else made


def _product(A: Any, B: Any) -> Any:
    """A @ B, a matrix and a vector, or two vectors."""
    if isinstance(A, Lanes) and isinstance(B, Lanes):
        if B.ndim != 1 or A.ndim > 2:
            raise Unfit("a product of matrices that differ from lane to lane")
        return np.sum(A.value * B.value, axis=A.ndim - 1)
    y, matrix = (A, B) if isinstance(A, Lanes) else (B, A)
    if y.ndim != 1:
        raise Unfit("a product with a matrix that differs from lane to lane")
    if isinstance(matrix, list | tuple):
        matrix = np.asarray(matrix)
    if matrix.ndim > 2:
        raise Unfit("a product with a stack of matrices")
    return (matrix.T if y is A and matrix.ndim == 2 else matrix) @ y.value


def in_lanes(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Array]:
    """(t, Y) → K of f: (t, y) → k; t: (C,), Y, K: (n, C)."""

    def called(t: Any, Y: Any) -> Any:
        before, FILLING.made = FILLING.made, lambda y: Lanes(blank(np.zeros((*y.shape, len(t)), y.dtype)))
        try:
            k = f(Lanes(t), Lanes(Y))
        finally:
            FILLING.made = before
        if isinstance(k, np.ndarray) and k.dtype == object:
            k = k.tolist()
        if isinstance(k, Lanes):
            return k.value
        return _joined(np.stack, k, number=len(t)) if isinstance(k, list | tuple) else _spread(k, len(t))

    def by_ways(t: Any, Y: Any, most: list[int]) -> Any:
        try:
            return called(t, Y)
        except Parting as parting:
            labels = parting.labels
        ways = np.unique(labels)
        most[0] -= len(ways) - 1
        if most[0] < 0:
            raise Unfit("lanes that go too many ways")
        groups = [np.flatnonzero(labels == way) for way in ways]
        K = np.concatenate([by_ways(t[group], Y[:, group], most) for group in groups], axis=1)
        return K[:, np.argsort(np.concatenate(groups))]

    return lambda t, Y: by_ways(t, Y, [MOST_WAYS])
