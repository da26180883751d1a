"""Arrays, and the constants that a function uses, moved to the device and back."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from test_primitives import assert_same

from rmad.trees import tree

CONSTRUCTORS = (
    "array",
    "arange",
    "ones",
    "zeros",
    "eye",
    "vander",
    "fftfreq",
)  # those that tests write inside of a function


def cupy() -> Any:
    return sys.modules["cupy"]


def to_device(x: Any) -> Any:
    """NumPy's arrays in a tree as CuPy's."""
    return tree.map_leaves(lambda a: cupy().asarray(a) if isinstance(a, np.ndarray | np.generic) else a, x)


def to_host(y: Any) -> Any:
    """CuPy's arrays in a tree as NumPy's."""
    return tree.map_leaves(lambda a: a.get() if isinstance(a, cupy().ndarray) else a, y)


def on_device(f: Callable[..., Any]) -> Callable[..., Any]:
    """f as it would be written for arrays of the device: NumPy arrays that it refers to, or makes, are CuPy's."""
    if not isinstance(f, types.FunctionType) or f.__module__.startswith(("rmad.", "nn.", "optim.", "numpy", "scipy")):
        return f
    used = set(_names(f.__code__))
    named = {name: _moved(value) if name in used else value for name, value in f.__globals__.items()}
    cells = tuple(types.CellType(_moved(cell.cell_contents)) for cell in f.__closure__ or ())
    g = types.FunctionType(f.__code__, named, f.__name__, _moved(f.__defaults__), cells)
    g.__kwdefaults__ = _moved(f.__kwdefaults__)
    return g


def _names(code: types.CodeType) -> list[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return [*code.co_names, *(name for names in inner for name in names)]


def _moved(value: Any) -> Any:
    if value is np:
        return _NumPy(np)
    if isinstance(value, np.ndarray):
        return cupy().asarray(value)
    if isinstance(value, tuple | list):
        return type(value)(map(_moved, value))
    if isinstance(value, dict):
        return {name: _moved(v) for name, v in value.items()}
    if isinstance(value, functools.partial):
        return functools.partial(_moved(value.func), *_moved(value.args), **_moved(value.keywords))
    return on_device(value) if isinstance(value, types.FunctionType) else value


class _NumPy:
    """numpy, or numpy.fft, but its constructors make CuPy's arrays of constants."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        f = eval(f"module.{name}", {"module": self._module})  # code that asks by the name gets rmad's wrapper
        if f is np.fft:
            return _NumPy(f)
        if name not in CONSTRUCTORS:
            return f

        def constant(*args: Any, **options: Any) -> Any:
            y = f(*args, **options)
            return cupy().asarray(y) if isinstance(y, np.ndarray) else y

        return constant


def assert_equal(found: Any, wanted: Any, what: str = "", rtol: float = 1e-10) -> None:
    """A tree of CuPy's arrays holds the shapes, dtypes and values of a tree of NumPy's."""
    for (path, leaf), (_, like) in zip(tree.leaves(found, what), tree.leaves(wanted, what), strict=True):
        assert isinstance(leaf, cupy().ndarray) == isinstance(like, np.ndarray | np.generic), f"{path}: {type(leaf)}"
    assert_same(to_host(found), wanted, what, rtol=rtol)
