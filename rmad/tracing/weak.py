"""Python's numbers while they are traced: next to an array of float32 they are float32, as NumPy has it (NEP 50).

    y = x * a      x a Python number, a an array: computed in the dtype of a
    z = 2 * x      still a Python number, as long as only those meet
    s = np.sin(x)  a function makes a double of it

A conversion to the dtype that NumPy takes is a step of the function, so the derivative comes back as a double.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.tracing.traced import Traced, parts

__all__ = ["Weak"]

_COMMON = {np.where: 1, np.select: 1, np.choose: 1, np.clip: 0}
"""Per function the first of the arguments that have one dtype together."""


class Weak(Traced):
    """A traced Python number. Its value is a double, or a complex one, whatever it stands for."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        inputs = _settled(inputs) if method == "__call__" else _strong(inputs)
        return getattr(ufunc, method)(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        start = _COMMON.get(func, len(args))
        return func(*_strong(args[:start]), *_settled(args[start:]), **_strong(kwargs))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    @property
    def strong(self) -> Traced:
        """The double."""
        return Traced(self.value, self.tape, self.index)


def _settled(args: Any) -> Any:
    """The arguments with every weak number in the dtype that it takes next to the others."""
    found = list(parts(args))
    others = [a for a in found if not isinstance(a, Weak)]
    if not any(hasattr(a, "dtype") for a in others):
        return _strong(args)
    dtypes = [a.dtype if hasattr(a, "dtype") else a for a in others if hasattr(a, "dtype") or _is_number(a)]
    common = np.result_type(*dtypes, *(a.dtype.type(0).item() for a in found if isinstance(a, Weak)))
    return _replaced(args, lambda a: a.strong.astype(common)) if common.kind in "fc" else _strong(args)


def _strong(args: Any) -> Any:
    return _replaced(args, lambda a: a.strong)


def _replaced(part: Any, change: Callable[[Weak], Any]) -> Any:
    if isinstance(part, Weak):
        return change(part)
    if type(part) in (list, tuple):
        return type(part)(_replaced(a, change) for a in part)
    if isinstance(part, dict):
        return {name: _replaced(a, change) for name, a in part.items()}
    return part


def _is_number(a: Any) -> bool:
    return isinstance(a, int | float | complex)


def _operator(name: str) -> Callable[..., Any]:
    """The operator of arrays; the result is a Python number, traced or not, if every operand is one."""
    of_arrays = getattr(Traced, name)

    def method(self: Weak, *others: Any) -> Any:
        y = of_arrays(self, *others)
        if not all(isinstance(a, Weak) or (_is_number(a) and not hasattr(a, "dtype")) for a in others):
            return y
        if isinstance(y, np.generic):
            return y.item()
        return Weak(y.value, y.tape, y.index) if isinstance(y, Traced) else y

    method.__name__ = name
    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _prefix in ("", "r"):
        setattr(Weak, f"__{_prefix}{_name}__", _operator(f"__{_prefix}{_name}__"))
    setattr(Weak, f"__i{_name}__", getattr(Weak, f"__{_name}__"))  # a number is not changed in place
for _name in ("neg", "pos", "abs"):
    setattr(Weak, f"__{_name}__", _operator(f"__{_name}__"))
