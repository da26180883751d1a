"""The traced array: it stands in for a NumPy array while a function is recorded on a tape.

NumPy hands every call on it to `__array_ufunc__` or `__array_function__`; both look the function up in one table,
`rmad.tracing.handlers`. So the language is NumPy itself, and SciPy's ufuncs with it. The methods of ndarray are in
`rmad.tracing.methods`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from rmad.errors.plain_calls import is_cast_to_integers
from rmad.errors.refusals import label, not_a_number, plain_array
from rmad.errors.source import called_at, computes
from rmad.machine.backend import is_cupy
from rmad.tapes.tape import Shaped, Tape
from rmad.tracing.handlers import FILLED, HANDLERS, VIEWS, gives_integers, lookup, quickly, writing
from rmad.tracing.loops import in_loop
from rmad.tracing.methods import Methods
from rmad.tracing.objects import OBJECT, by_elements, is_object, lifted, objects

__all__ = ["Traced", "on_gpu", "parts", "stop"]

OURS = frozenset(("nn", "optim", "rmad"))

API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
"""Of the array API standard: the namespace has the last one, which contains the others."""

_NOT_IN_CUPY = re.compile(r"operand type\(s\) all returned NotImplemented from __array_ufunc__\(<ufunc '(\w+)'>")
_NOT_COMPLEX_IN_CUPY = re.compile(
    r"Wrong type \(\(dtype\('complex\d+'\),.* of arguments for cupyx?_(?:scipy_special_)?(\w+)"
)


def _refuse_foreign(what: str, args: Any, error: Exception) -> None:
    """Raises TypeError if a tensor of PyTorch or an array of another device is among them, or CuPy lacks a function."""
    found = [stop(a) for a in parts(args)]
    if any(hasattr(a, "detach") for a in found):
        raise TypeError(f"{what} of a traced array and a tensor of PyTorch; pass the tensor's .numpy()")
    if not (isinstance(error, AttributeError | TypeError) and any(map(is_cupy, found))):
        return
    if any(isinstance(a, np.ndarray) and a.ndim for a in found):
        raise TypeError(f"{what} of arrays of NumPy and of CuPy; cupy.asarray(a) is the array a on the GPU")
    if any(isinstance(a, list) and a and isinstance(a[0], int | float | complex | list) for a in args):
        raise TypeError(f"{what} of a list and of arrays of CuPy; cupy.asarray(a) is the list a as an array on the GPU")
    if missing := _NOT_IN_CUPY.match(str(error)):
        needed = "" if missing[1] == what else f", or its derivative, needs {missing[1]}, which"
        raise TypeError(f"{what}{needed or ' is a function that'} CuPy does not have") from None
    if missing := _NOT_COMPLEX_IN_CUPY.match(str(error)):
        needed = "" if missing[1] == what else f", or its derivative, needs {missing[1]}"
        raise TypeError(f"{what}{needed} of complex arrays, which CuPy does not have") from None


def parts(args: Any) -> Iterator[Any]:
    """Arguments one by one, those in lists and tuples too."""
    for a in args:
        if isinstance(a, list | tuple):
            yield from parts(a)
        else:
            yield a


def on_gpu(args: Any) -> bool:
    """True if an array of CuPy, traced or not, is among the arguments."""
    return any(is_cupy(stop(a)) for a in parts(args))


def _is_special(a: Any) -> bool:
    """True for an operand of a ufunc that is no array of numbers: a list, a sparse matrix, an object."""
    return isinstance(a, list | tuple) or hasattr(a, "tocsr") or hasattr(a, "above_traced") or is_object(a)


def _is_of_objects(ufunc: np.ufunc) -> bool:
    """True for a ufunc that np.frompyfunc has made."""
    return all(set(types) <= set("O->") for types in ufunc.types)


def _outs(kwargs: dict[str, Any]) -> Any:
    """The arrays of `out`, taken from the options of a ufunc with what NumPy gives among the inputs, too."""
    for name in ("array", "indices"):  # of methods
        kwargs.pop(name, None)
    return kwargs.pop("out", ())


def _of_special(ufunc: np.ufunc, method: str, inputs: Any, kwargs: dict[str, Any]) -> Any:
    if any(hasattr(a, "above_traced") for a in inputs):  # a class of ours that holds traced arrays
        return NotImplemented
    if any(isinstance(a, list | tuple) for a in inputs):
        _refuse_foreign(ufunc.__name__, inputs, TypeError())
        arrays = [HANDLERS["asarray"](a) if isinstance(a, list | tuple) else a for a in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)
    if any(hasattr(a, "tocsr") for a in inputs):
        return HANDLERS["sparse"](ufunc, inputs)
    return by_elements(ufunc, method, inputs, kwargs)


def _raise_numpys(
    error: Exception, handler: Callable[..., Any], call: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> None:
    """Raises the error that NumPy has for the plain arrays, if it is of another kind than the handler's."""
    ufunc = getattr(call, "__self__", None)  # `call` is a method of it
    _refuse_foreign((ufunc if isinstance(ufunc, np.ufunc) else call).__name__, args, error)
    if hasattr(handler, "is_numpys") or on_gpu(args):
        return
    try:
        call(*stop(args), **stop(kwargs))
    except Exception as numpys:
        if not isinstance(error, type(numpys)):
            raise numpys from None


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


class Traced(Shaped, Methods):
    """An array on a tape: its value (a plain array, or one traced by an outer tape) and its node."""

    __slots__ = ("__weakref__", "index", "place", "tape", "value")
    __array_priority__ = 1000
    settles = False  # True for arrays that may have been written into: `now` makes an ordinary one of them

    def __init__(self, value: Any, tape: Tape, index: int) -> None:
        self.value, self.tape, self.index = value, tape, index
        self.place: Any = None  # set if it is a view, or has views: see `rmad.written`

    def now(self) -> Any:
        """The array itself; what has been written into gives an ordinary array, traced or plain."""
        return self

    def is_same(self, other: Any) -> bool:
        """True if the other object still stands for the same array of the tape."""
        return type(other) is type(self) and other.index == self.index and other.tape is self.tape

    def twin(self) -> Traced:
        """The same array of the tape as another object: writes into one of them leave the other as it is."""
        return Traced(self.value, self.tape, self.index)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and (y := quickly(ufunc, inputs)) is not None:
            return y
        if method == "at":
            return writing.at(ufunc, *inputs)
        for a in inputs if method != "reduceat" else inputs[:1]:  # the others are indices
            kind = type(a)
            if kind is not Traced and (
                a.dtype is OBJECT if kind is ndarray else kind not in _NUMBERS and _is_special(a)
            ):
                return _of_special(ufunc, method, inputs, kwargs)
        if kwargs:
            outs = _outs(kwargs)
            if any(out is not None for out in outs):
                return writing.into(getattr(ufunc, method), inputs, kwargs, outs)
            if method == "__call__" and kwargs.get("where", True) is not True:
                return writing.where(ufunc, inputs, kwargs)
            if method == "__call__":
                inputs, kwargs = in_loop(ufunc, inputs, kwargs)
                if not any(isinstance(a, Traced) for a in inputs):  # objects, or integers, which are constants
                    return ufunc(*inputs, **kwargs)
            elif gives_integers((ufunc, method), inputs, kwargs):
                return getattr(ufunc, method)(*stop(inputs), **stop(kwargs))
        if method == "outer":
            a, b = (part if hasattr(part, "dtype") else np.asarray(part)[()] for part in inputs)  # no weak numbers here
            return ufunc(np.reshape(a, a.shape + (1,) * b.ndim), b, **kwargs)
        key = ufunc if method == "__call__" else (ufunc, method)
        try:
            handler = lookup(key, ufunc if key is ufunc else f"{label(ufunc)}.{method}")
        except NotImplementedError:
            if not _is_of_objects(ufunc):
                getattr(ufunc, method)(*stop(inputs), **stop(kwargs))  # NumPy's error, as for ~x of floats
                raise
            return by_elements(ufunc, method, [objects(a) if isinstance(a, Traced) else a for a in inputs], kwargs)
        try:
            y = handler(*inputs, **kwargs)
            return y.twin() if y is inputs[0] else y  # +x is another array
        except Exception as error:
            _raise_numpys(error, handler, ufunc if key is ufunc else getattr(ufunc, method), inputs, kwargs)
            raise

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if kwargs:
            if (out := kwargs.pop("out", None)) is not None:
                return writing.into(func, args, kwargs, out)
            for name, value in kwargs.items():
                if isinstance(value, Traced) and value.settles:
                    kwargs = {**kwargs, name: value.now()}
        if len(types) > 1:  # arrays of other kinds, too
            if any(hasattr(kind, "above_traced") for kind in types):
                return NotImplemented
            args, kwargs = lifted(args, kwargs)
        if gives_integers(func, args, kwargs):
            return func(*stop(args), **stop(kwargs))
        handler = lookup(func, func)
        try:
            y = handler(*args, **kwargs)
        except Exception as error:
            if (arrays := HANDLERS["lists"](error, func, args, kwargs)) is not None:
                return func(*arrays[0], **arrays[1])
            _raise_numpys(error, handler, func, args, kwargs)
            raise
        if func in VIEWS:
            return writing.viewed(y, func, args, kwargs)
        if type(y) is Traced and y.place is None and not (args and y is args[0]):
            return y
        if func in FILLED and sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] not in OURS:
            return writing.blank(y)
        return writing.apart(y, args)

    # -- errors, in place of losing the derivative ---------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if dtype is not None and np.dtype(dtype).kind == "O":
            return objects(self)
        if (marks := writing.taken(self, sys._getframe(1))) is not None:
            return marks
        if is_cast_to_integers(sys._getframe(1)):
            return np.array(stop(self))
        raise self.tape.loses(plain_array())

    def __float__(self) -> float:
        if (mark := writing.taken(self, sys._getframe(1))) is not None:
            return float(mark)
        if computes(sys._getframe(1), "%"):  # of a text: no other left operand asks for a number of Python's
            return float(stop(self))
        raise self.tape.loses(not_a_number("float({})"))

    def __int__(self) -> int:
        frame = sys._getframe(1)
        if computes(frame, "%") or (called_at(frame) or (None, None))[1] is int:  # no array of integers takes it
            return int(stop(self))
        raise self.tape.loses(not_a_number("int({})"))

    def __complex__(self) -> complex:
        if (mark := writing.taken(self, sys._getframe(1))) is not None:
            return complex(mark)
        raise self.tape.loses(not_a_number("complex({})"))

    def __index__(self) -> int:
        # Not noted on the tape: code that swallows it, as `integers ** x` of NumPy 2.0 does, learns "no integer".
        raise TypeError("a traced number is no integer: range(int(x)), and a[int(x)] of a plain a")

    def __reduce_ex__(self, protocol: Any) -> Any:
        message = "a traced array cannot be pickled without losing its derivative; pickle rmad.stop_gradient(x)"
        raise self.tape.loses(TypeError(message))

    def __setitem__(self, key: Any, value: Any) -> None:
        writing.write(self, key, value)

    # -- attributes and protocols that need no derivative ----------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape  # type: ignore[no-any-return]

    @shape.setter
    def shape(self, shape: Any) -> None:
        writing.reshape_in_place(self, shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype

    @property
    def flags(self) -> Any:
        return stop(self).flags

    @property
    def strides(self) -> tuple[int, ...]:
        return stop(self).strides

    def __contains__(self, number: Any) -> bool:
        return number in stop(self)

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

    def __eq__(self, other: object) -> Any:
        return stop(self) == stop(other)

    def __ne__(self, other: object) -> Any:
        return stop(self) != stop(other)

    def __abs__(self) -> Any:
        y = np.absolute(self)  # type: ignore[call-overload]
        number = stop(self)
        if isinstance(number, np.complexfloating):  # Python's abs rounds otherwise than the ufunc
            return HANDLERS["valued"](y, abs(number), "abs")
        return y

    def __round__(self, *digits: Any) -> Any:
        return round(stop(self), *digits)

    def __floor__(self) -> int:
        return math.floor(stop(self))

    def __ceil__(self) -> int:
        return math.ceil(stop(self))

    def __trunc__(self) -> int:
        return math.trunc(stop(self))

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return format(stop(self), spec)

    def __str__(self) -> str:
        return str(stop(self))

    def __repr__(self) -> str:
        return f"Traced({stop(self)!r})"

    # -- the array API standard ----------------------------------------------------------------------------

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        if is_cupy(stop(self)):
            raise TypeError("the array API namespace of traced arrays is for NumPy's arrays, not CuPy's")
        if api_version not in (None, *API_VERSIONS):
            raise ValueError(f"api_version={api_version!r} of the array API; rmad has {API_VERSIONS[-1]}")
        return sys.modules["rmad"].array_api  # imported on first use, as it is made of much of rmad

    @property
    def device(self) -> Any:
        return stop(self).device

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        if device != self.device:
            raise ValueError(f"to_device: a traced array stays on {self.device!r}, got {device!r}")
        return self

    def __dlpack__(self, **options: Any) -> Any:
        raise self.tape.loses(plain_array())

    def __dlpack_device__(self) -> Any:
        return stop(self).__dlpack_device__()

    # -- methods and attributes of ndarray are NumPy functions; the table is at the end of this file -------

    def __getitem__(self, key: Any) -> Any:
        if type(key) is int and (j := self.tape.elements.get((self.index, key))) is not None:
            return Traced(self.value[key], self.tape, j)
        y = HANDLERS["getitem"](self, key)
        value = y.value
        if isinstance(value, np.generic) or (type(value) is ndarray and value.base is None):  # the key has arrays in it
            return y
        return y if isinstance(stop(value), np.generic) else writing.part(y, self, key)


_NUMBERS = frozenset({Traced, int, float, complex, np.float64, np.float32})  # no objects, and most operands
