"""Functions without the traced arrays that they close over: the same code, on plain values.

    plain(lambda t, y: -k * y)      with k traced outside: a function of t and y with the value of k in its place

Solvers call a function hundreds of times, and none of these calls belongs on a tape.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from rmad.tracing.traced import Traced
from rmad.transforms.transforms import stop_gradient
from rmad.trees.tree import leaves, map_leaves
from rmad.written import Blank

__all__ = ["has_derivative", "plain", "substituted", "traced_in"]


def plain(x: Any) -> Any:
    """x with every traced array in it replaced by its value; x itself if it holds none.

    Looks into lists, tuples, dicts, trees, the variables and defaults of functions, partial functions, and into the
    attributes of objects. Arrays that a function has made while it is recorded are replaced, too.
    """
    return _replaced(x, {}, stop_gradient) if _holds(x, {}) else x


def substituted(x: Any, values: dict[int, Any]) -> Any:
    """x with other arrays in place of the traced ones, by their id; those that are not among them become plain."""
    return _replaced(x, {}, lambda a: values[id(a)] if id(a) in values else stop_gradient(a)) if _holds(x, {}) else x


def has_derivative(x: Any) -> bool:
    """True if x holds an array of a tape, wherever `plain` looks."""
    return _holds(x, {}, _is_on_a_tape)


def traced_in(x: Any) -> list[Traced]:
    """The arrays of a tape that x holds, each once."""
    found: dict[int, Traced] = {}

    def note(a: Traced) -> bool:
        if _is_on_a_tape(a):
            found[id(a)] = a
        return False

    _holds(x, {}, note)
    return list(found.values())


def _is_on_a_tape(a: Traced) -> bool:
    return type(a) is not Blank and isinstance(a.now(), Traced)


def _parts(x: Any) -> list[Any]:
    """What x is made of, as far as traced arrays may be in it."""
    if isinstance(x, list | tuple):
        return list(x)
    if isinstance(x, dict):
        return list(x.values())
    if isinstance(x, FunctionType):
        return [*map(_contents, x.__closure__ or ()), x.__defaults__, x.__kwdefaults__]
    if isinstance(x, partial):
        return [x.func, x.args, x.keywords]
    if isinstance(x, MethodType):
        return [x.__self__]
    if hasattr(type(x), "__tree_items__"):
        return [leaf for _, leaf in leaves(x)]
    is_users = type(x).__module__.partition(".")[0] not in ("builtins", "numpy", "scipy", "cupy", "cupyx")
    return list(vars(x).values()) if hasattr(x, "__dict__") and is_users and not isinstance(x, type) else []


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that is not set yet
        return None


def _holds(x: Any, seen: dict[int, Any], counts: Callable[[Traced], bool] = lambda a: True) -> bool:
    """True if there is a traced array in x that counts.

    seen: what has been looked at, since objects may refer to each other.
    """
    if isinstance(x, Traced):
        return counts(x)
    if id(x) in seen:
        return False
    parts = _parts(x)
    if parts:
        seen[id(x)] = x
    return any(_holds(part, seen, counts) for part in parts)


def _replaced(x: Any, known: dict[int, Any], new: Callable[[Traced], Any]) -> Any:
    """x with new(a) for every traced array a in it; known: what has been replaced, by id."""
    if isinstance(x, Traced):
        return new(x)
    if id(x) not in known:
        if not _holds(x, {}):
            return x
        known[id(x)] = _copy(x, known, new)
    return known[id(x)]


def _copy(x: Any, known: dict[int, Any], new: Callable[[Traced], Any]) -> Any:
    """A copy with new parts of something that holds a traced array; functions and objects may refer to themselves."""
    if isinstance(x, FunctionType):
        return _of_function(x, known, new)
    if isinstance(x, MethodType):
        return MethodType(x.__func__, _replaced(x.__self__, known, new))
    if hasattr(type(x), "__tree_items__"):
        return map_leaves(lambda leaf: _replaced(leaf, known, new), x)
    if isinstance(x, list | tuple | partial | dict):
        parts = [_replaced(part, known, new) for part in _parts(x)]
        if isinstance(x, dict):
            return dict(zip(x, parts, strict=True))
        if isinstance(x, partial):
            return partial(parts[0], *parts[1], **parts[2])
        return parts if isinstance(x, list) else type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    y = known[id(x)] = copy.copy(x)
    vars(y).update({name: _replaced(part, known, new) for name, part in vars(x).items()})
    return y


def _of_function(f: FunctionType, known: dict[int, Any], new: Callable[[Traced], Any]) -> FunctionType:
    """The same code with other variables. It shares those without traced arrays, into which it may write."""
    old = f.__closure__ or ()
    cells = tuple(CellType() if _holds(_contents(cell), {}) else cell for cell in old)
    g = known[id(f)] = FunctionType(f.__code__, f.__globals__, f.__name__, _replaced(f.__defaults__, known, new), cells)
    g.__kwdefaults__ = _replaced(f.__kwdefaults__, known, new)
    vars(g).update(vars(f))
    for before, cell in zip(old, cells, strict=True):
        if cell is not before:
            cell.cell_contents = _replaced(before.cell_contents, known, new)
    return g
