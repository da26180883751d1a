"""The wrappers in place of NumPy's own functions while a function is recorded, and in its thread only.

A module may change its class. While something is recorded `numpy` has one with a property for every name that is
wrapped: `np.array` is the wrapper in a thread that records, and NumPy's own in any other. Nothing in the module's
namespace changes, a name that is not wrapped costs what it did, and a trace costs one assignment per module. Outside
of traces the module has its own class.

RMAD_AS_WRITTEN=off, set before the first trace, leaves NumPy alone.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

import rmad.as_written.names  # noqa: F401  # it registers what it has
from rmad.as_written import mathematics
from rmad.as_written.callbacks import (
    CALLERS,
    OWN_CALL,
    Joining,
    calling,
    of_lists,
    of_polynomials,
    vectorized,
)
from rmad.as_written.callers import asks_itself, is_users
from rmad.as_written.constructors import (
    CONVERTERS,
    EAGER,
    applied_where,
    asking,
    common_namespace,
    converter,
    eager,
    from_iterator,
    lifting,
    making,
    matrices,
)
from rmad.as_written.iteration import Enumerating, Iterating
from rmad.tracing.handlers import FILLED

__all__ = ["SWITCH", "Recording", "for_users", "is_recording", "paused"]

SWITCH = "RMAD_AS_WRITTEN"


class _Here(threading.local):
    """The number of functions that this thread is recording, one within the other."""

    depth = 0


_here = _Here()
_lock = threading.RLock()
_open: set[Recording] = set()
_changes: list[tuple[Any, str, Any, Any]] | None = None  # what has an attribute, its name, its own value, and ours
_originals: dict[int, Any] = {}  # id of a wrapper → what it stands for


class Recording:
    """One function that is recorded: begin() before it is called, end() when it has returned, both as often as may be.

    An interrupt may come at any point: end() undoes what of begin() was done.
    """

    __slots__ = ("depth", "modules", "thread")

    def __init__(self) -> None:
        self.depth, self.modules, self.thread = _here.depth, len(sys.modules), threading.get_ident()

    def begin(self) -> None:
        try:
            _lock.acquire()
            _open.add(self)
            changes = _built()
            if changes:
                for name in [name for name in _at_import if name in sys.modules]:
                    changes += map(_swapped, _at_import.pop(name)(sys.modules[name]))
            for owner, name, _, ours in changes:
                setattr(owner, name, ours)
            _here.depth = self.depth + 1
        finally:
            _unlock()

    def end(self) -> None:
        _here.depth = self.depth
        if self not in _open and not _lock._is_owned():  # type: ignore[attr-defined]
            return
        try:
            _lock.acquire()
            if not _open - {self}:
                for owner, name, own, _ in _built():
                    setattr(owner, name, own)
            _open.discard(self)  # last: an interrupt before it leaves all of this to the next call
        finally:
            _unlock()
        if len(sys.modules) > self.modules and not self.depth:
            _give_back(list(sys.modules.values())[self.modules :])


def is_recording() -> bool:
    """True while this thread records a function."""
    return _here.depth > 0


def for_users(module: ModuleType) -> dict[str, Any]:
    """What the user's own code gets for the names of NumPy's module that are wrapped."""
    return {name: wrapper for name, (wrapper, _) in _wrappers(module).items()}


@contextmanager
def paused() -> Iterator[None]:
    """While code runs that takes plain arrays and is not recorded: it gets NumPy's own functions."""
    depth, _here.depth = _here.depth, 0
    try:
        yield
    finally:
        _here.depth = depth


def _unlock() -> None:
    """Releases the lock as often as this thread has it: an interrupt may have come before an earlier release."""
    while _lock._is_owned():  # type: ignore[attr-defined]
        _lock.release()


def _go_on_alone() -> None:
    """In a forked process, which has one thread: what others were recording goes on in their process only."""
    _open.intersection_update([recording for recording in _open if recording.thread == threading.get_ident()])
    if not _open:
        for owner, name, own, _ in _changes or ():
            setattr(owner, name, own)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_go_on_alone
    )


def _built() -> list[tuple[Any, str, Any, Any]]:
    global _changes
    if _changes is None:
        if os.environ.get(SWITCH, "").strip().lower() == "off":
            _changes = []
        else:
            _changes = [_swapped(m) for m in (np, np.linalg, np.fft, math)]
            _changes.append((np.vectorize, "_vectorize_call", OWN_CALL, _vectorize_call))
    return _changes


def _swapped(module: ModuleType) -> tuple[Any, str, Any, Any]:
    return module, "__class__", type(module), _class_of(module)


def _polynomials(package: Any) -> list[ModuleType]:
    """numpy.polynomial's modules; `mapdomain` is what its classes begin with."""
    return [getattr(package, name) for name in _FAMILIES] + [package.polyutils]


_FAMILIES = ("chebyshev", "hermite", "hermite_e", "laguerre", "legendre", "polynomial")

_COMPAT = ("scipy._lib.array_api_compat", "array_api_compat")
"""Modules whose function array_namespace finds the namespace that arrays have in common; SciPy has its own copy."""

_EXTRA = "scipy._lib.array_api_extra"

_at_import: dict[str, Callable[[Any], list[ModuleType]]] = {
    "numpy.polynomial": _polynomials,
    **dict.fromkeys((*_COMPAT, _EXTRA, "cmath", "statistics"), lambda module: [module]),
}
"""Modules that are swapped, too, once somebody has imported them."""


def _vectorize_call(vectorize: Any, func: Callable[..., Any], args: Any) -> Any:
    """The method of np.vectorize, which objects have, too, that were made before."""
    return (vectorized if _here.depth else OWN_CALL)(vectorize, func, args)


def _class_of(module: ModuleType) -> type[ModuleType]:
    """The class of the module while something is recorded.

    Python caches what it finds in a module for the class of all modules, and for those that look names up as that does;
    ours looks them up as objects do. So it takes care itself of names that a module makes at their first use.
    """

    def at_first_use(self: ModuleType, name: str) -> Any:
        return self.__dict__["__getattr__"](name)

    names: dict[str, Any] = {"__getattribute__": object.__getattribute__, "__module__": "types"}
    if "__getattr__" in module.__dict__:
        names["__getattr__"] = at_first_use
    for name, (for_users, for_packages) in _wrappers(module).items():
        for wrapper in filter(None, (for_users, for_packages)):
            _originals[id(wrapper)] = module.__dict__[name]
        names[name] = _property(module.__dict__, name, for_users, for_packages)
    return type("module", (type(module),), names)


def _property(names: dict[str, Any], name: str, for_users: Any, for_packages: Any) -> property:
    """The name as an attribute: while this thread records, a wrapper for Python code that asks for it by its name.

    for_packages: that for the code of installed packages; None if they get NumPy's own, as compiled code always does.
    """
    old = names[name]

    def get(module: ModuleType) -> Any:
        now = names[name]
        if now is old and _here.depth:  # nobody else has put another function there
            frame = sys._getframe(1)
            if asks_itself(frame):
                new = for_users if is_users(frame.f_code.co_filename) else for_packages
                return now if new is None else new
        return now

    def put(module: ModuleType, value: Any) -> None:
        names[name] = value

    def drop(module: ModuleType) -> None:
        del names[name]

    return property(get, put, drop)


_MAKERS = {f.__name__ for f in FILLED} | {"copy", "empty", "eye", "full", "identity", "linspace", "ones", "zeros"}
_PROTOCOL = type(np.sum)

_OTHERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(EAGER, eager),
    **dict.fromkeys(_MAKERS, making),
    **dict.fromkeys((f.__name__ for f in CALLERS), calling),
    **dict.fromkeys(("asmatrix", "bmat"), matrices),
    "row_stack": eager,
    "trim_zeros": of_lists,
    **dict.fromkeys(("arange", "isscalar"), asking),
    **dict.fromkeys(("full", "full_like"), lambda f: making(asking(f))),
    "fromiter": from_iterator,
    "ndenumerate": lambda kind: Enumerating,
    "nditer": lambda kind: Iterating,
    **dict.fromkeys(("r_", "c_", "mgrid", "ogrid"), Joining),
}
"""Names in numpy, and what makes their wrappers."""


def _wrappers(module: ModuleType) -> dict[str, tuple[Any, Any]]:
    """The wrappers of every name of the module that has them: for the user's code, and for that of installed packages.

    Packages may compare functions that have a protocol (`func is np.concatenate`), and so get NumPy's own: None.
    """
    if module.__name__ in mathematics.MODULES:
        return {name: (f, None) for name, f in mathematics.wrappers(module).items()}
    if module.__name__ == "numpy.polynomial.polyutils":
        wrapper = of_polynomials(module.__dict__["mapdomain"])
        return {"mapdomain": (wrapper, wrapper)}
    if module.__name__ == _EXTRA:
        if "apply_where" not in module.__dict__:  # before SciPy 1.15
            return {}
        wrapper = applied_where(module.__dict__["apply_where"])
        return {"apply_where": (wrapper, wrapper)}
    if module.__name__ in _COMPAT:
        wrapper = common_namespace(module.__dict__["array_namespace"])
        return {"array_namespace": (wrapper, wrapper)}
    found: dict[str, tuple[Any, Any]] = {}
    if module.__name__.startswith("numpy.polynomial."):
        functions = {name: module.__dict__[name] for name in module.__dict__["__all__"]}
        return {
            name: (of_polynomials(f), None) for name, f in functions.items() if callable(f) and not isinstance(f, type)
        }
    for name in module.__dict__["__all__"]:
        f: Any = module.__dict__.get(name)
        if module is np and name in CONVERTERS:
            found[name] = converter(f, for_users=True), converter(f, for_users=False)
        elif module is np and name in _OTHERS:
            found[name] = _OTHERS[name](f), None
        elif isinstance(f, _PROTOCOL):
            found[name] = lifting(f), None
    return found


def _give_back(modules: list[Any]) -> None:
    """Modules that were imported meanwhile get NumPy's functions for the wrappers that they have taken."""
    for module in modules:
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in _originals:
                module.__dict__[name] = _originals[id(value)]
