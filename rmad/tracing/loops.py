"""Loops of ufuncs: the dtypes in which NumPy computes when dtype=, signature= or casting= asks for them.

    np.exp(x32, dtype=np.float64)    NumPy casts x32 to float64 and takes the loop d -> d: no value overflows on the way

The casts are steps of the function like any other, so the adjoint comes back in the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.errors.refusals import objects_into_numbers
from rmad.tracing.objects import plain_value

__all__ = ["IN_PLACE", "fitting", "in_loop", "in_place"]

_OURS = frozenset({"casting", "dtype", "order", "sig", "signature", "subok", "where"})
_WEAK = (int, float, complex)  # Python's numbers, which take the dtype of the others


def in_loop(ufunc: np.ufunc, inputs: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The inputs in the dtypes of the loop that NumPy takes with these options, and the options that are left.

    NumPy's own TypeError if the ufunc has no such loop, or if the casts to it are not allowed.
    """
    rest = {name: value for name, value in options.items() if name not in _OURS}
    signature, casting = _signature(ufunc, options), options.get("casting", "same_kind")
    if signature is None and casting == "same_kind":
        return inputs, rest
    inputs = [a if hasattr(a, "dtype") or type(a) in _WEAK else np.asarray(a) for a in inputs]
    given = (*(type(a) if type(a) in _WEAK else a.dtype for a in inputs), *(None,) * ufunc.nout)
    free = (None,) * len(given)
    loop = ufunc.resolve_dtypes(given, signature=signature or free, casting=casting)  # type: ignore[arg-type]
    return [_cast(a, dtype) for a, dtype in zip(inputs, loop, strict=False)], rest


def _cast(a: Any, dtype: np.dtype[Any]) -> Any:
    if type(a) in _WEAK:
        return dtype.type(a)
    return a if a.dtype == dtype else a.astype(dtype)


def _signature(ufunc: np.ufunc, options: dict[str, Any]) -> tuple[Any, ...] | None:
    """The dtypes that the options fix, of all inputs and all outputs; None for each that is free."""
    dtype, signature = options.get("dtype"), options.get("signature", options.get("sig"))
    if signature is None:
        return None if dtype is None else (*(None,) * ufunc.nin, *(np.dtype(dtype),) * ufunc.nout)
    if dtype is not None:
        raise TypeError("cannot specify both 'signature' and 'dtype'")
    parts = (
        signature.partition("->")[::2]
        if isinstance(signature, str)
        else (signature[: ufunc.nin], signature[ufunc.nin :])
    )
    if tuple(map(len, parts)) != (ufunc.nin, ufunc.nout):
        raise ValueError(
            f"{ufunc.__name__}: signature={signature!r} has not the {ufunc.nin} inputs and {ufunc.nout} outputs"
        )
    return tuple(None if d is None else np.dtype(d) for part in parts for d in part)


IN_PLACE = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "matmul": np.matmul,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
}
"""The operators that have an in-place form, such as x += y, for floats."""


def in_place(ufunc: np.ufunc, operator: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The method for x += y of traced arrays: x + y written into x, in its dtype and shape. NumPy's errors if not."""

    def method(x: Any, other: Any) -> Any:
        y = operator(x, other)
        if y is NotImplemented or isinstance(plain_value(x), np.generic):  # a scalar is replaced, not written into
            return y
        x[...] = fitting(ufunc, y, x)
        return x

    return method


def fitting(ufunc: Any, y: Any, out: Any) -> Any:
    """y as a result that is written into `out`, in the dtype of that; NumPy's errors if it does not fit."""
    if y.dtype.kind == "O":
        raise objects_into_numbers(ufunc)
    if y.shape != out.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {out.shape} doesn't match the broadcast shape {y.shape}"
        )
    if not np.can_cast(y.dtype, out.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast ufunc {ufunc.__name__!r} output from {y.dtype} to {out.dtype} with casting rule 'same_kind'"
        )
    return _cast(y, out.dtype)
