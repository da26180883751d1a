"""The traced array: it stands in for a NumPy array while a function is recorded on a tape.

NumPy hands every call on it to `__array_ufunc__` or `__array_function__`; both look the function
up in one table, `HANDLERS`. So the language is NumPy itself, and SciPy's ufuncs with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from rmad.machine.backend import is_cupy
from rmad.tape import Shaped, Tape

__all__ = ["HANDLERS", "Traced", "implements", "register", "stop"]

HANDLERS: dict[Any, Callable[..., Any]] = {}
"""NumPy or SciPy function -> the function called in its place when an argument is traced.
Methods of ufuncs have keys such as (np.add, "reduce")."""

DEFERRED: list[str] = []
"""Modules of rules, imported at the first call of a function that has no rule yet."""

H = TypeVar("H", bound=Callable[..., Any])


def register(f: Any, handler: H) -> H:
    """Makes `handler` the function called in place of f when an argument is traced, and returns it."""
    HANDLERS[f] = handler
    return handler


def implements(*functions: Any) -> Callable[[H], H]:
    """Decorator: the handler for these NumPy functions, written in functions that have rules already."""

    def decorate(handler: H) -> H:
        for f in functions:
            register(f, handler)
        return handler

    return decorate


def _label(f: Any) -> str:
    """The name of a function as users write it: numpy.tanh, scipy.special.expit."""
    module = (getattr(f, "__module__", None) or "").removesuffix("._ufuncs")
    if isinstance(f, np.ufunc):
        homes = ("numpy", "scipy.special")  # a ufunc of neither, as np.frompyfunc makes one, has its name alone
        module = next((m for m in homes if getattr(sys.modules.get(m), f.__name__, None) is f), "")
    name = getattr(f, "__name__", repr(f))
    return f"{module}.{name}" if module and not hasattr(f, "__objclass__") else name


def _no_rule(what: str) -> NotImplementedError:
    return NotImplementedError(
        f"{what} has no derivative rule in rmad. Add one with rmad.elementwise, rmad.linear, rmad.bilinear "
        "or rmad.primitive, or keep its argument constant with rmad.stop_gradient"
    )


def _writes(what: str) -> TypeError:
    return TypeError(
        f"{what} of a traced array: arrays on the tape are never written into; "
        "build the result with np.where, np.concatenate or np.stack"
    )


WRITERS = {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}


def _lookup(key: Any, what: Any) -> Callable[..., Any]:
    """The handler of a function, or of a ufunc's method; NotImplementedError or TypeError names what has none."""
    handler = HANDLERS.get(key)
    if handler is None:
        while DEFERRED:
            import_module(DEFERRED.pop())
        handler = HANDLERS.get(key)
    if handler is None:
        label = what if isinstance(what, str) else _label(what)
        raise (_writes if label.removeprefix("numpy.") in WRITERS or label.endswith(".at") else _no_rule)(label)
    return handler


def _refuse_foreign(what: str, args: Any) -> None:
    """Raises TypeError if an array of PyTorch or of another device is among the traced ones."""
    found = [stop(a) for a in args]
    if any(hasattr(a, "detach") for a in found):
        raise TypeError(f"{what} of a traced array and a tensor of PyTorch; pass the tensor's .numpy()")
    if any(map(is_cupy, found)) and any(isinstance(a, np.ndarray) and a.ndim for a in found):
        raise TypeError(f"{what} of arrays of NumPy and of CuPy; cupy.asarray(a) is the array a on the GPU")


def stop(x: Any) -> Any:
    """x with every traced array in it replaced by its plain value (lists, tuples and dicts are entered)."""
    while isinstance(x, Traced):
        x = x.value
    if isinstance(x, list | tuple):
        parts = [stop(part) for part in x]
        return parts if isinstance(x, list) else type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    if isinstance(x, dict):
        return {key: stop(part) for key, part in x.items()}
    return x


class Traced(Shaped, NDArrayOperatorsMixin):
    """An array on a tape: its value (a plain array, or one traced by an outer tape) and its node."""

    __slots__ = ("index", "tape", "value")
    __array_priority__ = 1000

    def __init__(self, value: Any, tape: Tape, index: int) -> None:
        self.value, self.tape, self.index = value, tape, index

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        in_place = method == "__call__" and out is not None and out[0] is inputs[0]  # x += y is x = x + y
        if out is not None and out[0] is not None and not (in_place and isinstance(out[0], Traced)):
            raise TypeError(
                f"{ufunc.__name__}: a traced array cannot be written into a plain one (`out=`, y += x); use y = y + x"
            )
        if method == "__call__":
            dtype = kwargs.pop("dtype", None)
            if "where" in kwargs:
                raise TypeError(f"{ufunc.__name__} of a traced array takes no where=; use np.where")
            for layout in ("casting", "order", "subok"):
                kwargs.pop(layout, None)
            try:
                y = _lookup(ufunc, ufunc)(*inputs, **kwargs)
            except (AttributeError, TypeError):  # the first: a tensor's dtype has no kind
                _refuse_foreign(ufunc.__name__, inputs)
                raise
            return y if dtype is None else y.astype(dtype)
        if method == "outer":
            a, b = inputs
            return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b, **kwargs)
        return _lookup((ufunc, method), f"{_label(ufunc)}.{method}")(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            raise TypeError(f"{func.__name__}: a traced array cannot be written to `out`; use the return value")
        try:
            return _lookup(func, func)(*args, **kwargs)
        except (AttributeError, TypeError):
            _refuse_foreign(func.__name__, args)
            raise

    # -- errors, in place of losing the derivative ---------------------------------------------------

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "a traced array cannot become a plain NumPy array without losing its derivative: use NumPy functions on it "
            "as it is; np.stack for a list of traced numbers; rmad.expm, rmad.logsumexp, … for those of SciPy; "
            "or rmad.stop_gradient(x) for its value"
        )

    def _not_a_number(self, call: str, also: str = "y[i] = x on a plain array y does") -> TypeError:
        return TypeError(
            f"{call.format('x')} of a traced array would lose its derivative ({also} the same); "
            f"keep x as an array, collect with np.stack, or write {call.format('rmad.stop_gradient(x)')}"
        )

    def __float__(self) -> float:
        raise self._not_a_number("float({})")

    def __int__(self) -> int:
        raise self._not_a_number("int({})")

    def __complex__(self) -> complex:
        raise self._not_a_number("complex({})")

    def __index__(self) -> int:
        raise self._not_a_number("int({})", "range(x) and the index a[x] of a plain a do")

    def item(self, *args: Any) -> Any:
        raise self._not_a_number("{}.item()")

    def tolist(self) -> Any:
        raise self._not_a_number("{}.tolist()")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a traced array cannot be pickled without losing its derivative; see rmad.stop_gradient")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise _writes("x[i] = …")

    # -- attributes and protocols that need no derivative ----------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.value)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __bool__(self) -> bool:
        return bool(stop(self))

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return format(stop(self), spec) if spec else repr(self)

    def __repr__(self) -> str:
        return f"Traced({self.dtype}{list(self.shape)}, node {self.index})"

    # -- methods and attributes of ndarray are NumPy functions; the table is at the end of this file -------

    def __getitem__(self, key: Any) -> Any:
        return HANDLERS["getitem"](self, key)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return HANDLERS["astype"](self, np.dtype(dtype))

    def copy(self, order: str = "C") -> Any:
        return self

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def compress(self, condition: Any, axis: Any = None) -> Any:
        return np.compress(condition, self, axis=axis)  # type: ignore[call-overload]

    def flatten(self, order: Any = "C") -> Any:
        return np.ravel(self, order=order)  # type: ignore[call-overload]

    def reshape(self, *shape: Any, order: Any = "C") -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)  # type: ignore[call-overload]

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

    @property
    def imag(self) -> Any:
        return np.imag(self)  # type: ignore[call-overload]

    def clip(self, min: Any = None, max: Any = None, out: None = None) -> Any:
        return np.clip(self, min, max, out=out)  # by position: np.clip knows the names min and max since NumPy 2.1

    @property
    def flat(self) -> Any:
        return iter(np.ravel(self))  # type: ignore[call-overload]


def _method(f: Callable[..., Any]) -> Callable[..., Any]:
    """x.f(…) as f(x, …)."""

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return f(self, *args, **kwargs)

    method.__name__ = f.__name__
    return method


METHODS = """
    all any argmax argmin argpartition argsort conj conjugate cumprod cumsum diagonal dot max mean min nonzero
    prod ptp ravel repeat round searchsorted squeeze std sum swapaxes take trace var
"""

for _name in METHODS.split():
    setattr(Traced, _name, _method(getattr(np, _name)))


def _in_place(name: str) -> Callable[..., Any]:
    """A method of ndarray that writes: TypeError."""

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"x.{name}(…) on a traced array: arrays on the tape are never written into; "
            "use the function of NumPy that returns a new array (np.sort, np.where, np.full_like, …)"
        )

    method.__name__ = name
    return method


for _name in ("byteswap", "fill", "partition", "put", "resize", "setfield", "setflags", "sort"):
    setattr(Traced, _name, _in_place(_name))
