"""One lock per object, which a forked process finds free, and attributes that are computed once, under that lock.

functools.cached_property has one lock per attribute for all objects on Python 3.11, and none from 3.12 on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["lazy", "turn"]

V = TypeVar("V")

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
    """The lock of an object: `with turn(self):` one thread at a time, which may enter again."""
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
