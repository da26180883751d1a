"""Threads that work through a list of tasks, each with a single-threaded BLAS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from optim.problem.blas import OneThread, use_one_thread_for_good

__all__ = ["Crew", "cores", "in_order"]

R = TypeVar("R")

_on_a_crew: ContextVar[bool] = ContextVar("_on_a_crew", default=False)
"""True in a task of some crew that runs on a thread other than the caller's."""


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew:
    """A fixed number of threads that work through a list of tasks; the caller's thread is one of them.

    Task k of a list always goes to thread k mod `threads`. While they work, BLAS uses one thread. An exception in any
    task, or Ctrl-C, waits until no thread is at work any more, and is raised then; Ctrl-C wins, then the first task's
    exception. Several threads may use a crew at the same time, and each gets all threads it asks for: a task may wait
    for another caller's. A task on another thread than the caller's that has a crew of its own works alone.

    Parameters
    ----------
    threads : int
        The number of threads, ≥ 1.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def run(self, task: Callable[[int], R], n: int) -> list[R]:
        """Returns [task(0), …, task(n-1)], each computed on its thread."""
        threads = min(self.threads, n)
        if threads <= 1 or _on_a_crew.get():
            return [task(k) for k in range(n)]
        failures: list[tuple[bool, int, BaseException]] = []
        parts = [_Part(task, range(first, n, threads), failures) for first in range(threads)]
        alone = OneThread()
        try:
            try:
                alone.begin()
                for part in parts[1:]:
                    part.hand_over(_threads)
                parts[0].work(Exception)
                parts[0].over = True
            finally:
                _end(parts, alone)
            if failures:
                raise min(failures, key=lambda failure: failure[:2])[2]
            if not all(part.over for part in parts):
                raise RuntimeError(
                    "the process was forked in a task, and the other tasks' threads are not in the child"
                )
        finally:
            _end(parts, alone)  # an interrupt may have come before the first
            failures.clear()  # no cycle through the traceback: it would keep the arrays of every frame
        return in_order([part.done for part in parts])


class _Part:
    """The tasks that one thread of a run works through.

    failures: of all parts of the run, as (False if it ends the program, task, exception).
    """

    def __init__(self, task: Callable[[int], Any], tasks: Iterable[int], failures: list[Any]) -> None:
        self.task, self.tasks, self.failures, self.done = task, tasks, failures, list[Any]()
        self.over = False
        self._threads: _Threads | None = None  # those that it was handed over to
        self._handed_over = False
        self._owner: dict[str, str] = {}  # setdefault is atomic: a part is begun or taken back, not both
        self._gate = Lock()
        self._gate.acquire()

    def work(self, kind: type[BaseException] = BaseException) -> None:
        """Does the tasks, up to the first that raises an exception of this kind."""
        k = -1
        try:
            for k in self.tasks:
                self.done.append(self.task(k))
        except kind as error:
            self.failures.append((isinstance(error, Exception), k, error))

    def hand_over(self, threads: _Threads) -> None:
        """Lets another thread do the tasks, in the context of this one: NumPy's errstate is a context variable."""
        self._context, self._threads = copy_context(), threads
        threads.give(self)
        self._handed_over = True

    def work_there(self) -> None:
        """Does the tasks on the thread that calls it, unless they were taken back."""
        if self._owner.setdefault("owner", "thread") == "thread":
            self._context.run(_on_a_crew.set, True)
            self._context.run(self.work)

    def finish(self) -> None:
        """Says on that thread that no task is running."""
        self.over = True
        self._gate.release()

    def end(self) -> None:
        """Returns when no thread is at work on the part, nor will be."""
        if not self._handed_over and self._owner.setdefault("owner", "caller") == "caller":
            return
        while not self.over and self._threads is _threads:  # a forked process has other threads
            self._gate.acquire()


class _Threads:
    """The threads of all crews, kept between runs. Each part gets one at once, since parts may wait for each other."""

    def __init__(self) -> None:
        self._parts: SimpleQueue[_Part] = SimpleQueue()
        self._idle: list[None] = []  # as many as threads that will take a part

    def give(self, part: _Part) -> None:
        """Has a thread work on the part."""
        try:
            self._idle.pop()
        except IndexError:
            Thread(target=self._work, name="rmad-crew", daemon=True).start()
        self._parts.put(part)

    def _work(self) -> None:
        use_one_thread_for_good()
        while True:
            part = self._parts.get()
            part.work_there()
            self._idle.append(None)  # first: the next run begins when this part is over
            part.finish()
            del part  # it holds the arrays of its tasks


_threads = _Threads()


def _replace_threads() -> None:
    """In a forked process, where no thread is but the one that forked."""
    global _threads
    _threads = _Threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_threads)


def in_order(dealt: Sequence[Sequence[R]]) -> list[R]:
    """Undoes round-robin dealing: item k came from thread k mod n."""
    return [dealt[k % len(dealt)][k // len(dealt)] for k in range(sum(map(len, dealt)))]


def _end(parts: Sequence[_Part], alone: OneThread) -> None:
    """Returns when no task is running, even under repeated Ctrl-C: a thread must not outlive its buffers' owner."""
    interrupt = None
    while not alone.ended:
        try:
            for part in parts:
                part.end()
            alone.end()
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        try:
            raise interrupt
        finally:
            del interrupt  # no cycle through the traceback
