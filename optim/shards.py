"""A batch is a list of shards, and a product is a sum over shards: in turn, or on threads.

f is a mean over cases and the model works case by case, so value, gradient and curvature products are sums
over slices of the batch, each with a tape of its own. NumPy's elementwise passes run on one core; shards
on threads, each with a single-threaded BLAS, use all of them. The split depends on shapes only and every sum is
taken in the order of the shards, so results are the same from run to run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rmad.batch import cases_from

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["Crew", "Share", "cases", "cores", "in_order", "slices", "take"]

R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    """One for the process: finding the BLAS libraries takes longer than a small product."""
    from threadpoolctl import ThreadpoolController  # its import sets an environment variable

    return ThreadpoolController()


@cache
def _executor(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads are kept between products; a forked process (another id) gets its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="rmad-shard")


_turns: dict[int, Any] = {}


@contextmanager
def _one_thread_of_blas() -> Iterator[None]:
    """The setting is the process's, and only the thread that made it can undo it: crews take turns."""
    with _turns.setdefault(os.getpid(), threading.RLock()), _controller().limit(limits=1, user_api="blas"):
        yield


# Whether this code runs as a task of some crew, on a thread that is not the caller's.
_on_a_crew: ContextVar[bool] = ContextVar("_on_a_crew", default=False)


class Crew:
    """A fixed number of threads that work through a list of tasks, the caller's thread among them.

    Task k goes to thread k mod n, always. While they work, BLAS uses one thread. An exception in any task, or
    Ctrl-C, waits until no thread is at work any more, and is raised then; Ctrl-C wins, then the first task's
    exception. A task that has a crew of its own works alone: waiting for its own thread would never end.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def run(self, task: Callable[[int], R], n: int) -> list[R]:
        """[task(0), …, task(n-1)], each task on its thread."""
        threads = min(self.threads, n)
        if threads <= 1 or _on_a_crew.get():
            return [task(k) for k in range(n)]
        failures: list[tuple[int, Exception]] = []

        def lane(first: int) -> list[R]:
            done: list[R] = []
            for k in range(first, n, threads):
                try:
                    done.append(task(k))
                except Exception as error:
                    failures.append((k, error))
                    break
            return done

        def other_lane(first: int) -> list[R]:
            _on_a_crew.set(True)
            return lane(first)

        with self.single_threaded_blas():
            executor = _executor(os.getpid(), threads - 1)
            others: list[Future[list[R]]] = []
            try:
                for first in range(1, threads):  # NumPy's errstate is a context variable: the caller's holds everywhere
                    others.append(executor.submit(copy_context().run, other_lane, first))
                lanes = [lane(0)]
            finally:
                _wait_for_all(others)
            lanes += [future.result() for future in others]
        if failures:
            try:
                raise min(failures, key=lambda failure: failure[0])[1]
            finally:
                failures.clear()  # no cycle through the traceback: it would keep the arrays of every frame
        return in_order(lanes)

    def single_threaded_blas(self) -> AbstractContextManager[Any]:
        return _one_thread_of_blas() if self.threads > 1 else nullcontext()


def in_order(lanes: Sequence[Sequence[R]]) -> list[R]:
    """What was dealt to lanes in turn, the k-th to lane k mod their number, as one list again."""
    return [lanes[k % len(lanes)][k // len(lanes)] for k in range(sum(map(len, lanes)))]


def _wait_for_all(futures: Sequence[Future[Any]]) -> None:
    """Returns when no task is running, also under repeated Ctrl-C: a thread must not outlive its buffers' owner."""
    interrupted = None
    while not all(future.done() for future in futures):
        try:
            wait(futures)
        except KeyboardInterrupt as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


class Share:
    """A slice of the batch; `weight` is its share of the cases, `first` the number of its first one."""

    def __init__(self, x: Any, t: Any, weight: float, first: int) -> None:
        self.x, self.t, self.weight, self.first = x, t, weight, first

    def run(self, model: Any) -> Any:
        """model(x), where layers that draw random numbers know which cases these are."""
        with cases_from(self.first):
            z = model(self.x)
        if z is None:
            raise TypeError("model(x) is None: does its forward end without a return?")
        return z


def cases(*batch: Any) -> int | None:
    """The number of cases: the common length of all arrays of the batch; None where it has none or they differ."""
    lengths = {len(a) if np.ndim(a) else None for a in _arrays(batch)}
    return lengths.pop() if len(lengths) == 1 else None


def _arrays(tree: Any) -> list[Any]:
    if tree is None:
        return []
    if hasattr(tree, "__next__"):
        raise TypeError(
            f"a step takes one batch of arrays, not a {type(tree).__name__} of batches: "
            "for x, t in batches: opt.step(x, t)"
        )
    if isinstance(tree, tuple | list):
        return [a for sub in tree for a in _arrays(sub)]
    if isinstance(tree, dict):
        return [a for sub in tree.values() for a in _arrays(sub)]
    return [tree]


def take(tree: Any, part: slice) -> Any:
    """The cases of a slice, from every array of a tree."""
    if tree is None:
        return None
    if isinstance(tree, tuple | list):
        subs = [take(sub, part) for sub in tree]
        return type(tree)(*subs) if hasattr(tree, "_fields") else type(tree)(subs)
    if isinstance(tree, dict):
        return {key: take(sub, part) for key, sub in tree.items()}
    return tree[part]


def slices(n: int, parts: int) -> list[slice]:
    """n cases in `parts` slices of nearly equal length, the longer ones first."""
    size, longer = divmod(n, parts)
    bounds = [0]
    for k in range(parts):
        bounds.append(bounds[-1] + size + (k < longer))
    return [slice(a, b) for a, b in pairwise(bounds)]
