"""One lock per object, which a forked process finds free; methods and attributes that are computed under that lock.

functools.cached_property has one lock per attribute for all objects on Python 3.11, and none from 3.12 on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import RLock
from types import FunctionType
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["in_turn", "lazy", "lent", "turn"]

V = TypeVar("V")
T = TypeVar("T")

_waiting: ContextVar[tuple[Any, ...]] = ContextVar("_waiting", default=())
"""The objects that wait, in their turn, for the task that runs here."""

_forks = 0  # between this process and the one that imported the module


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class _Locks(dict[int, Any]):
    """The lock of an object, by number of forks: the thread that holds one at a fork cannot release it in the child."""

    def __reduce__(self) -> tuple[type[_Locks], tuple[()]]:
        return _Locks, ()  # a copy of the object has a lock of its own


def turn(owner: object) -> Any:
    """The lock of an object: `with turn(self):` one thread at a time, which may enter again.

    RuntimeError in a task that the object waits for, see `lent`: the two would wait for each other.
    """
    for waiting in _waiting.get():
        if waiting is owner:
            raise RuntimeError(
                f"a task that runs for a method of a {type(owner).__name__} uses the {type(owner).__name__} itself, "
                "which waits for the task; compute what the task needs before"
            )
    held = vars(owner)
    locks = held.get("_turn")
    if locks is None:
        locks = held.setdefault("_turn", _Locks())
    lock = locks.get(_forks)
    return locks.setdefault(_forks, RLock()) if lock is None else lock


class lazy(Generic[V]):
    """A decorator: the method becomes an attribute, computed when it is first asked for, in the turn of its object.

    Objects never wait for each other. Other threads that ask for an attribute of the same object wait for its value.
    """

    def __init__(self, compute: Callable[[Any], V]) -> None:
        self._compute, self._name = compute, compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type) -> V: ...
    def __get__(self, owner: object | None, kind: type) -> Self | V:
        if owner is None:
            return self
        held = vars(owner)
        with turn(owner):
            if self._name not in held:
                held[self._name] = self._compute(owner)
            found: V = held[self._name]
        return found


@contextmanager
def lent(owner: object) -> Iterator[None]:
    """A context in which tasks of the caller's run, on several threads as a rule, while `owner` has its turn."""
    before = _waiting.get()
    try:
        _waiting.set((*before, owner))
        yield
    finally:
        _waiting.set(before)  # not reset by a token, which an interrupt may keep from being stored


def in_turn(kind: type[T]) -> type[T]:
    """A class decorator: every public method and property of an object runs in its turn, as `lazy` attributes do."""
    for name, member in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, FunctionType):
            setattr(kind, name, _alone(member))
        elif isinstance(member, property) and member.fget is not None:
            setattr(kind, name, property(_alone(member.fget), doc=member.__doc__))
    return kind


def _alone(method: Callable[..., V]) -> Callable[..., V]:
    @wraps(method)
    def alone(self: Any, *args: Any, **kwargs: Any) -> V:
        with turn(self):
            return method(self, *args, **kwargs)

    return alone
