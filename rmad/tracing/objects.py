"""Object arrays, NumPy's arrays of Python objects: of traced numbers, each with a derivative of its own.

    x.astype(object)    NumPy computes with it element by element, and every element leaves its own nodes on the tape
    numbers(o)          and back: the elements as one array

NumPy puts an operand into an object array if it has no dtype for it, as for a Fraction, or if the other operand is one.
A traced array stands for its numbers here: it is recognized as `Shaped`, and calls on it are NumPy's.
"""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from rmad.errors.refusals import lossy_operand, objects_into_numbers
from rmad.tapes.tape import Shaped

__all__ = ["Objects", "by_elements", "is_object", "lifted", "numbers", "objects", "plain_value", "stacked"]

OBJECT = np.dtype(object)  # there is only one


class Objects(np.ndarray[Any, np.dtype[np.object_]]):
    """An object array of traced numbers that becomes one traced array again by `astype`."""

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return super().astype(dtype, *args, **kwargs) if np.dtype(dtype).kind == "O" else numbers(self).astype(dtype)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array.view(Objects)

    def var(self, *args: Any, **kwargs: Any) -> Any:
        return np.var(numbers(self), *args, **kwargs)

    def std(self, *args: Any, **kwargs: Any) -> Any:
        return np.std(numbers(self), *args, **kwargs)

    def mean(self, axis: Any = None, dtype: Any = None, out: None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Σ / n; ndarray's own method would make plain numbers of the elements."""
        n = np.sum(np.ones(self.shape), axis=axis, **kwargs)
        return np.sum(self, axis=axis, dtype=dtype, out=out, **kwargs) / n


def objects(x: Any) -> Objects:
    """x_i, one traced number for each element; doubles, as Python's numbers are."""
    dtype = np.result_type(x.dtype, np.float64)
    wide = x if x.dtype == dtype else x.astype(dtype)
    y = np.empty(x.shape, object).view(Objects)
    for key in np.ndindex(x.shape):
        y[key] = wide[key]
    return y


def numbers(a: Any) -> Any:
    """The elements of an object array as one array, traced if one of them is. TypeError if one is no number."""
    parts: list[Any] = [part if isinstance(part, Shaped) else _number(part) for part in a.ravel().tolist()]
    for part in parts:
        if np.ndim(part) or not hasattr(part, "dtype"):
            what = "an array" if np.ndim(part) else f"a {type(part).__name__}"
            raise TypeError(f"an object array of traced numbers holds {what}, which is no number; use a list")
    return np.reshape(np.stack(parts), a.shape) if parts else np.zeros(a.shape)


def stacked(leaf: Any) -> Any:
    """An object array with traced numbers as one traced array; anything else as it is."""
    held = _is_object_array(leaf) and any(isinstance(part, Shaped) for part in leaf.ravel().tolist())
    return numbers(leaf) if held else leaf


def lifted(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a function with the object arrays in them as arrays of numbers; lists and tuples are entered."""
    if _hold_objects(args) or (kwargs and _hold_objects(kwargs.values())):
        return _lifted(args), {name: _lifted(value) for name, value in kwargs.items()}
    return args, kwargs


def _lifted(part: Any) -> Any:
    if isinstance(part, list | tuple):
        return [_lifted(p) for p in part] if _hold_objects(part) else part
    return numbers(part) if _is_object_array(part) else part


def _hold_objects(parts: Any) -> bool:
    """True if an object array is among the arguments; in few steps, because every call of a function takes them."""
    for part in parts:
        kind = type(part)
        if kind is np.ndarray:
            if part.dtype is OBJECT:
                return True
        elif kind is Objects or ((kind is list or kind is tuple) and _hold_objects(part)):
            return True
    return False


def is_object(a: Any) -> bool:
    """True for an operand that NumPy would take as an object array."""
    dtype = getattr(a, "dtype", None)
    return getattr(np.asarray(a).dtype if dtype is None else dtype, "kind", "") == "O"


def by_elements(ufunc: np.ufunc, method: str, inputs: Any, kwargs: dict[str, Any]) -> Any:
    """The ufunc of traced arrays and of objects, as NumPy computes it: element by element."""
    if any(isinstance(a, Shaped) for a in kwargs.get("out") or ()):
        raise objects_into_numbers(ufunc)
    call = getattr(ufunc, method)
    inputs = [a if hasattr(a, "dtype") else _number(a) for a in inputs]
    if not all(hasattr(a, "dtype") for a in inputs):
        if method == "__call__" and (y := _of_its_own(ufunc, inputs)) is not NotImplemented:
            return y
        y = call(*map(plain_value, inputs), **kwargs)  # of None, for instance
        if getattr(y, "dtype", OBJECT).kind not in "biu":
            traced: Any = next(a for a in inputs if isinstance(a, Shaped))
            raise traced.tape.loses(lossy_operand(ufunc, inputs))
        return y
    if any(map(_is_object_array, inputs)):
        inputs = [objects(a) if isinstance(a, Shaped) else a for a in inputs]
    return call(*inputs, **kwargs)


_OPERATORS: dict[np.ufunc, str] = {
    **{np.add: "add", np.subtract: "sub", np.multiply: "mul", np.true_divide: "truediv", np.floor_divide: "floordiv"},
    **{np.remainder: "mod", np.power: "pow", np.matmul: "matmul"},
}


def _of_its_own(ufunc: np.ufunc, inputs: Any) -> Any:
    """A number and an object whose class has the operator, such as 2 * v of a class of vectors; else NotImplemented."""
    name = _OPERATORS.get(ufunc)
    if name is None or len(inputs) != 2 or any(getattr(a, "ndim", 0) for a in inputs):
        return NotImplemented
    a, b = inputs
    method = f"__r{name}__" if isinstance(a, Shaped) else f"__{name}__"
    of, other = (b, a) if isinstance(a, Shaped) else (a, b)
    return getattr(type(of), method, lambda *_: NotImplemented)(of, other)


def _is_object_array(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "O"


def plain_value(a: Any) -> Any:
    while isinstance(a, Shaped):
        a = a.value  # type: ignore[attr-defined]  # a traced array has one
    return a


def _number(a: Any) -> Any:
    """A Python object as what NumPy can compute with: a Fraction as a float, an array-like as an array; else itself."""
    b = np.asarray(a)
    if b.dtype.kind != "O" or b.ndim:
        return b[()]
    return np.float64(a) if isinstance(a, Number) else a  # type: ignore[arg-type]  # a Fraction, a Decimal, an int of more than 64 bits
