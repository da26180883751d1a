"""NumPy's own Python code as the rule of a function: run again on traced arrays, with constructors that keep them.

    own_code(np.cov)    the code of np.cov, in which `array` makes a traced array and `zeros` one to be written into

The code is that of the NumPy that is installed. Only the names it looks up are others; NumPy itself is not changed.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from rmad.as_written.constructors import CONVERTERS, asking, converted, lifting
from rmad.errors.refusals import label, numpys_only
from rmad.machine.arrays import kind_of
from rmad.machine.backend import is_cupy
from rmad.tracing.objects import Objects
from rmad.tracing.traced import Traced, on_gpu, stop
from rmad.written import blank, settled

__all__ = ["own", "own_code", "own_method"]

_MADE = "empty empty_like full full_like indices ones ones_like zeros zeros_like"
_PROTOCOL = type(np.sum)
_HOMES = ("numpy", "numpy._core", "numpy._core.numeric")


def own_code(f: Any) -> Callable[..., Any]:
    """The code of a public function of NumPy, for traced arrays; read at its first call."""

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if f not in _FOR_ANY_ARRAY and on_gpu((*args, *kwargs.values())):
            raise numpys_only(label(f))
        return settled(own_method(f._implementation)(*map(own, args), **kwargs))

    return call


def own(a: Any) -> Any:
    """An argument that the code may write into, as it does into results of its own: a constant becomes a copy."""
    return blank(a.copy()) if type(a) is np.ndarray else a


_FOR_ANY_ARRAY = (
    *(np.apply_along_axis, np.apply_over_axes, np.corrcoef, np.cov, np.ediff1d, np.histogram_bin_edges),
    *(np.intersect1d, np.ix_, np.polyfit, np.sort_complex, np.union1d),
    *(np.emath.arccos, np.emath.arcsin, np.emath.arctanh, np.emath.log, np.emath.log10, np.emath.log2),
    *(np.emath.logn, np.emath.power, np.emath.sqrt),
)
"""Functions whose code makes no array of NumPy's that meets the arguments."""


@cache
def own_method(method: FunctionType) -> FunctionType:
    """The code of a method of one of NumPy's classes, for traced arrays."""
    return _in(_shadow(method.__globals__["__name__"]), method)


def _in(names: dict[str, Any], f: FunctionType) -> FunctionType:
    new = FunctionType(f.__code__, names, f.__name__, f.__defaults__, f.__closure__)
    new.__kwdefaults__ = f.__kwdefaults__
    return new


@cache
def _shadow(module: str) -> dict[str, Any]:
    """The names of a module of NumPy, other ones in place of those that make arrays or ask for them."""
    numpys = np.__dict__  # its own functions, also while something is recorded
    others = {name: _converting(numpys[name]) for name in CONVERTERS}
    others |= {name: _making(numpys[name]) for name in _MADE.split()}
    others |= {name: asking(numpys[name]) for name in ("arange", "ndim", "shape", "size")}
    others["broadcast"] = lambda *args: np.broadcast(*stop(args))  # of which its shape is of interest
    names = dict(sys.modules[module].__dict__)
    for name, value in list(names.items()):
        if isinstance(value, ModuleType) and value.__name__ in _HOMES:
            names[name] = _Names(value, others)
        elif isinstance(value, ModuleType) and value.__name__ == "numpy.polynomial.polyutils":
            names[name] = SimpleNamespace(**_shadow(value.__name__))
        elif name in others:
            names[name] = others[name]
        elif isinstance(value, _PROTOCOL):
            names[name] = lifting(value)
        elif isinstance(value, FunctionType) and value.__module__ == module:
            names[name] = _in(names, value)
    names |= {"isinstance": _isinstance, "_array_converter": _Converter}
    names["__builtins__"] = vars(builtins) | {"__import__": _import}
    return names


class _Names(SimpleNamespace):
    """A module with other functions for some of its names."""

    def __init__(self, module: ModuleType, others: dict[str, Any]) -> None:
        super().__init__(**others)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = self._module.__dict__[name]
        return lifting(value) if isinstance(value, _PROTOCOL) else value


def _converting(f: Callable[..., Any]) -> Callable[..., Any]:
    def convert(a: Any, *args: Any, **kwargs: Any) -> Any:
        y = getattr(kind_of(a), f.__name__)(a, *args, **kwargs) if is_cupy(a) else converted(f, a, args, kwargs)
        return y.view(np.ndarray) if isinstance(y, Objects) else y if y is a else blank(y)

    return convert


def _making(f: Callable[..., Any]) -> Callable[..., Any]:
    make = lifting(f)
    return lambda *args, **kwargs: blank(make(*args, **kwargs))


def _import(name: str, names: Any = None, *rest: Any) -> Any:
    """`from .polynomial import polyadd` in a function of numpy.polynomial: the names for traced arrays."""
    module = builtins.__import__(name, names, *rest)
    is_family = isinstance(module, ModuleType) and module.__name__.startswith("numpy.polynomial.")
    return SimpleNamespace(**_shadow(module.__name__)) if is_family else module


def _isinstance(x: Any, kinds: Any) -> bool:
    """A traced array is one of NumPy's."""
    if builtins.isinstance(x, Traced):
        return np.ndarray in kinds if builtins.isinstance(kinds, tuple) else kinds is np.ndarray
    return builtins.isinstance(x, kinds)


class _Converter:
    """The object of that name in NumPy: arguments as arrays, and results as the kind that they had."""

    def __init__(self, *arrays: Any) -> None:
        arrays_or_lists = np.ndarray | Traced | list | tuple
        self._was_scalar = tuple(not isinstance(a, arrays_or_lists) and np.ndim(a) == 0 for a in arrays)
        self._arrays = tuple(converted(np.asanyarray, a, (), {}) for a in arrays)

    @property
    def scalar_input(self) -> tuple[bool, ...]:
        return self._was_scalar

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, k: Any) -> Any:
        return self._arrays[k]

    def as_arrays(self, *, subok: bool = True, pyscalars: Any = None) -> tuple[Any, ...]:
        return self._arrays

    def result_type(self, *extra: Any, **options: Any) -> Any:
        return np.result_type(*self._arrays, *extra)

    def wrap(self, a: Any, /, to_scalar: Any = None) -> Any:
        return a
