"""The operators and methods of a traced array that are NumPy's functions of it: x + y, x.sum(…), x.reshape(…), x.T.

`Traced` inherits them. What a method of ndarray would change in memory, or give as plain numbers, is an error here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.mixins import NDArrayOperatorsMixin

from rmad.errors.refusals import not_a_number
from rmad.tracing.handlers import HANDLERS, OPERATORS, writing
from rmad.tracing.loops import IN_PLACE, in_place
from rmad.tracing.objects import plain_value

__all__ = ["METHODS", "Methods"]


class Methods(NDArrayOperatorsMixin):
    """ndarray's operators, methods and attributes, written in NumPy's functions."""

    __slots__ = ()
    __getitem__: Any
    __setitem__: Any
    dtype: Any
    now: Any
    place: Any
    tape: Any
    twin: Any

    def __pow__(self, p: Any) -> Any:
        return HANDLERS["power"](self, p) if hasattr(p, "dtype") or type(p) in (int, float) else super().__pow__(p)

    def __rpow__(self, x: Any) -> Any:
        return HANDLERS["power"](x, self) if type(x) in (int, float) else super().__rpow__(x)

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        if not copy and self.dtype == dtype:
            return self
        y = HANDLERS["astype"](self, np.dtype(dtype), casting)
        return y.twin() if y is self else y

    def copy(self, order: Any = "C") -> Any:
        if isinstance(plain_value(self), np.generic):
            return self.twin()
        return np.copy(self, order=order)  # type: ignore[call-overload]

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def compress(self, condition: Any, axis: Any = None) -> Any:
        return np.compress(condition, self, axis=axis)  # type: ignore[call-overload]

    def flatten(self, order: Any = "C") -> Any:
        return np.ravel(self, order=order).copy()  # type: ignore[call-overload]

    def reshape(self, *shape: Any, order: Any = "C", copy: Any = None) -> Any:
        if not shape:
            raise TypeError("reshape() takes exactly 1 argument (0 given)")
        options = {} if copy is None else {"copy": copy}  # NumPy 2.1
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, **options)  # type: ignore[call-overload]

    def view(self, dtype: Any = None, type: Any = None) -> Any:
        """A view of the same elements, in the dtype that they have."""
        if isinstance(dtype, int | tuple):
            raise TypeError(
                f"x.view({dtype!r}, …) is a shape in PyTorch, and a dtype in NumPy; x.reshape(…) takes a shape"
            )
        if dtype is not None and dtype is not ndarray and np.dtype(dtype) != self.dtype:
            raise TypeError(
                f"x.view({np.dtype(dtype)}) of a traced array reads its memory as other numbers, which rmad does not "
                "follow; x.real, x.imag and x.astype(…) are differentiable"
            )
        return self.twin() if isinstance(plain_value(self), np.generic) else self[...]

    @property
    def base(self) -> Any:
        """The array that this one is a view of; None if it is none."""
        return None if self.place is None or self.place.parent is None else self.place.memory.members[0]()

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return np.transpose(self, order or None)  # type: ignore[call-overload]

    @property
    def T(self) -> Any:
        return np.transpose(self)  # type: ignore[call-overload]

    @property
    def mT(self) -> Any:
        return np.swapaxes(self, -1, -2)  # type: ignore[call-overload]

    @property
    def real(self) -> Any:
        return np.real(self)  # type: ignore[call-overload]

    @real.setter
    def real(self, value: Any) -> None:
        (self.real if self.dtype.kind == "c" else self)[...] = value

    @property
    def imag(self) -> Any:
        return np.imag(self)  # type: ignore[call-overload]

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    def conjugate(self) -> Any:
        # np.conjugate of a real array makes a scalar of a 0-d one
        return np.conjugate(self) if self.dtype.kind == "c" else self  # type: ignore[call-overload]

    conj = conjugate

    def clip(self, min: Any = None, max: Any = None, out: None = None) -> Any:
        # by position: np.clip knows the names min and max since NumPy 2.1
        return np.clip(self, min, max, out=out)  # type: ignore[call-overload]

    @property
    def flat(self) -> Any:
        return writing.flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.flat[:] = value

    def choose(self, choices: Any, out: Any = None, mode: Any = "raise") -> Any:
        return np.choose(self, choices, out=out, mode=mode)  # type: ignore[call-overload]

    def fill(self, value: Any) -> None:
        self[...] = value

    def put(self, indices: Any, values: Any, mode: Any = "raise") -> None:
        np.put(self, indices, values, mode)  # type: ignore[arg-type]

    def sort(self, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
        self[...] = np.sort(self, operator.index(axis), kind, order, stable=stable)  # type: ignore[call-overload]

    def partition(self, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> None:
        self[...] = np.partition(self, kth, operator.index(axis), kind, order)  # type: ignore[call-overload]


def _method(f: Callable[..., Any]) -> Callable[..., Any]:
    """x.f(…) as f(x, …)."""

    def method(self: Methods, *args: Any, **kwargs: Any) -> Any:
        return f(self, *args, **kwargs)

    method.__name__ = f.__name__
    return method


def _operator(name: str, ufunc: np.ufunc) -> None:
    """x + y and y + x as Python's operator has them, without NumPy's dispatch where a quick call suffices."""
    forward, backward = (getattr(NDArrayOperatorsMixin, f"__{r}{name}__") for r in ("", "r"))
    evaluate = OPERATORS[ufunc]

    def method(self: Methods, other: Any) -> Any:
        try:  # quickly, whose call would take a tenth of the time
            y = HANDLERS[ufunc].of_two(self, other, evaluate)  # type: ignore[attr-defined]
        except Exception:
            y = None
        return forward(self, other) if y is None else y

    def reflected(self: Methods, other: Any) -> Any:
        try:
            y = HANDLERS[ufunc].of_two(other, self, evaluate)  # type: ignore[attr-defined]
        except Exception:
            y = None
        return backward(self, other) if y is None else y

    for made, of in ((method, forward), (reflected, backward)):
        made.__name__ = of.__name__
        setattr(Methods, of.__name__, made)


_operator("add", np.add)
_operator("sub", np.subtract)
_operator("mul", np.multiply)
_operator("truediv", np.true_divide)


def _negative(self: Methods) -> Any:
    try:
        y = HANDLERS[np.negative].of_one(self, operator.neg)  # type: ignore[attr-defined]
    except Exception:
        y = None
    return NDArrayOperatorsMixin.__neg__(self) if y is None else y


_negative.__name__ = "__neg__"
Methods.__neg__ = _negative  # type: ignore[method-assign,assignment]

METHODS = """
    all any argmax argmin argpartition argsort cumprod cumsum diagonal dot max mean min nonzero
    prod ravel repeat round searchsorted squeeze std sum swapaxes take trace var
"""

for _name in METHODS.split():
    setattr(Methods, _name, _method(getattr(np, _name)))

for _name, _ufunc in IN_PLACE.items():
    setattr(Methods, f"__i{_name}__", in_place(_ufunc, getattr(Methods, f"__{_name}__")))


def _refused(name: str) -> Callable[..., Any]:
    """A method of ndarray that changes the memory of an array: TypeError."""

    def method(self: Methods, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"x.{name}(…) of a traced array changes its memory, which rmad does not follow; make a new array"
        )

    method.__name__ = name
    return method


for _name in ("byteswap", "resize", "setfield", "setflags"):
    setattr(Methods, _name, _refused(_name))


def _lossy(name: str) -> Callable[..., Any]:
    """A method of ndarray that gives plain numbers or bytes: TypeError."""

    def method(self: Methods, *args: Any, **kwargs: Any) -> Any:
        now = self.now()
        if not isinstance(now, Methods):
            return getattr(now, name)(*args, **kwargs)
        raise self.tape.loses(not_a_number(f"{{}}.{name}()"))

    method.__name__ = name
    return method


for _name in ("dump", "dumps", "getfield", "item", "tobytes", "tofile", "tolist"):
    setattr(Methods, _name, _lossy(_name))
