"""Threads that work through a list of tasks, each with a single-threaded BLAS."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["Crew", "cores", "in_order"]

R = TypeVar("R")

_on_a_crew: ContextVar[bool] = ContextVar("_on_a_crew", default=False)
"""True in a task of some crew that runs on a thread other than the caller's."""

_turns: dict[int, threading.RLock] = {}
"""Per process, the lock of the crew whose turn it is."""


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    """The process's only controller: finding the BLAS libraries takes longer than a small product."""
    from threadpoolctl import ThreadpoolController  # its import sets an environment variable

    return ThreadpoolController()


@cache
def _executor(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads, which are kept between products; a forked process (another id) gets its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="rmad-shard")


@contextmanager
def _one_thread_of_blas() -> Iterator[None]:
    """Crews take turns: the setting is the process's, and only the thread that made it can undo it."""
    with _turns.setdefault(os.getpid(), threading.RLock()), _controller().limit(limits=1, user_api="blas"):
        yield


class Crew:
    """A fixed number of threads that work through a list of tasks; the caller's thread is one of them.

    Task k of a list always goes to thread k mod `threads`. While they work, BLAS uses one thread. An exception in any
    task, or Ctrl-C, waits until no thread is at work any more, and is raised then; Ctrl-C wins, then the first task's
    exception. A task that has a crew of its own works alone: waiting for its own thread would never end.

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
        failures: list[tuple[int, Exception]] = []

        def every_task_from(first: int) -> list[R]:
            done: list[R] = []
            for k in range(first, n, threads):
                try:
                    done.append(task(k))
                except Exception as error:
                    failures.append((k, error))
                    break
            return done

        def on_another_thread(first: int) -> list[R]:
            _on_a_crew.set(True)
            return every_task_from(first)

        with self.single_threaded_blas():
            executor = _executor(os.getpid(), threads - 1)
            others: list[Future[list[R]]] = []
            try:
                for first in range(1, threads):  # NumPy's errstate is a context variable: the caller's holds everywhere
                    others.append(executor.submit(copy_context().run, on_another_thread, first))
                dealt = [every_task_from(0)]
            finally:
                _wait_for_all(others)
            dealt += [future.result() for future in others]
        if failures:
            try:
                raise min(failures, key=lambda failure: failure[0])[1]
            finally:
                failures.clear()  # no cycle through the traceback: it would keep the arrays of every frame
        return in_order(dealt)

    def single_threaded_blas(self) -> AbstractContextManager[None]:
        """Returns a context in which BLAS uses one thread, if the crew has several."""
        return _one_thread_of_blas() if self.threads > 1 else nullcontext()


def in_order(dealt: Sequence[Sequence[R]]) -> list[R]:
    """Undoes round-robin dealing: item k came from thread k mod n."""
    return [dealt[k % len(dealt)][k // len(dealt)] for k in range(sum(map(len, dealt)))]


def _wait_for_all(futures: Sequence[Future[Any]]) -> None:
    """Returns when no task is running, even under repeated Ctrl-C: a thread must not outlive its buffers' owner."""
    interrupted = None
    while not all(future.done() for future in futures):
        try:
            wait(futures)
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted
