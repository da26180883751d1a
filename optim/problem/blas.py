"""The number of threads of BLAS: one as long as any crew is at work, and then again what it was.

Changing it must survive an interrupt at any place, since Ctrl-C may come at any: whatever was begun can be ended as
often as it takes, and ending changes nothing the second time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import LibController

__all__ = ["OneThread", "use_one_thread_for_good", "use_threads"]

_mutex = RLock()  # of _before and of the calls that change the libraries
_held: dict[OneThread, None] = {}
_before: dict[Library, int] = {}
"""The number of threads of the libraries that were changed, before that."""


class OneThread:
    """BLAS uses one thread from begin() to end(), and until others that have begun have ended."""

    def __init__(self) -> None:
        self.thread = get_ident()
        self._here: dict[Library, int] = {}  # as _before, of libraries with a setting for each thread
        self.ended = False

    def begin(self) -> None:
        """Sets the libraries to one thread."""
        _held[self] = None
        _settle()
        for library in _libraries():
            if library.by_thread:
                self._here.setdefault(library, library.count())
                library.set(1)

    def end(self) -> None:
        """Restores the number of threads, if nothing else wants one; on the thread that began."""
        if not self.ended:
            _held.pop(self, None)
            for library, n in self._here.items():
                library.set(n)
            _settle()
            self.ended = True


def use_one_thread_for_good() -> None:
    """Sets the libraries that have a setting for each thread, on the thread that calls it."""
    for library in _libraries():
        if library.by_thread:
            library.set(1)


def use_threads(number: int) -> None:
    """Sets all libraries to this number of threads."""
    for library in _libraries():
        library.set(number)


class Library:
    """A BLAS library: count() and set(n), its number of threads; by_thread: each thread has a number of its own."""

    def __init__(self, found: LibController) -> None:
        layer = getattr(found, "threading_layer", None)
        self.by_thread = found.internal_api == "mkl" or layer == "openmp"
        self.count: Callable[[], int] = found.get_num_threads
        self.set: Callable[[int], Any] = found.set_num_threads
        if found.internal_api == "openblas" and not self.by_thread:
            # threadpoolctl's function obeys only the first thread that has called it, and takes a lock, which a
            # forked process may find held for ever
            names = [f"{a}openblas_set_num_threads{b}" for a in ("", "scipy_") for b in ("", "64_", "_64")]
            self.set = next((f for name in names if (f := getattr(found.dynlib, name, None))), self.set)


@cache
def _libraries() -> list[Library]:
    """The BLAS libraries of the process, which are looked for once: that takes longer than a small product."""
    from threadpoolctl import ThreadpoolController  # its import sets an environment variable

    return [Library(found) for found in ThreadpoolController().lib_controllers if found.user_api == "blas"]


def _settle() -> None:
    """Brings the libraries that have one setting in line with _held."""
    try:
        try:
            _mutex.acquire()
            if _held:
                for library in _libraries():
                    if not library.by_thread and (n := library.count()) != 1:
                        _before.setdefault(library, n)
                        library.set(1)
            else:
                for library, n in list(_before.items()):
                    library.set(n)
                    del _before[library]
        finally:
            _release()
    finally:
        _release()  # an interrupt may have come before the first


def _release() -> None:
    with suppress(RuntimeError):  # it is not held
        _mutex.release()


def _after_fork() -> None:
    """In a forked process: the threads that would have ended what they began are not there."""
    global _mutex
    _mutex = RLock()
    for held in list(_held):
        if held.thread != get_ident():
            del _held[held]
    _settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _mutex.acquire(), after_in_parent=_release, after_in_child=_after_fork)
