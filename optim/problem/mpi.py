"""Messages between the processes of an MPI job, by mpi4py; the end of the job if one of them is missing.

Sums are formed in the order of the ranks, so that they round in one way whatever the library: for a long vector every
rank gets one stretch of it from all others, adds those up, and all gather the stretches. That moves as many bytes as
the best allreduce does.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from optim import tuning
from rmad.extend import Array, arrays, is_cupy

__all__ = ["MPI"]

LOOK_AFTER, LOOK_EVERY = 0.5, 0.2  # seconds: from when on, and how often, a waiting rank looks for ranks that left
LEFT = 77  # the tag of the messages of a rank that leaves

_open: list[MPI] = []
"""What this process takes part in."""


def _leave() -> None:
    """Tells the other ranks that this one ends, by all that it takes part in, before it waits for them to end."""
    waits = [mpi.leave() for mpi in _open]
    for wait in waits:
        wait()


class MPI:
    """The ranks of a communicator.

    A rank that leaves its program, or fails outside of an optimizer, ends the job once others wait for it.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator, which is duplicated.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI as library

        self._library = library
        self._comm, self._farewell = comm.Dup(), comm.Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._calls = 0
        self._left: dict[int, int] = {}  # rank -> the calls that it took part in
        if self.size > 1:
            if not _open:
                atexit.register(_leave)
            _open.append(self)
            self._hook, sys.excepthook = sys.excepthook, self._end_with

    def gather(self, row: Array) -> Array:
        """(size, n): the rows (n,) of all ranks, in their order."""
        found = arrays.empty(row, (self.size, row.size))
        self._wait(lambda: self._comm.Iallgather(row, found))
        return found

    def broadcast(self, array: Array, root: int) -> None:
        """array ← that of rank `root`."""
        self._wait(lambda: self._comm.Ibcast(array, root))

    def sum(self, array: Array) -> None:
        """array ← its sum over ranks; array: contiguous."""
        if is_cupy(array):
            raise TypeError("ranks: MPI sums NumPy arrays, and the model has arrays of CuPy")
        flat = array.reshape(-1)
        if array.nbytes * self.size <= tuning.SHORT_MESSAGE:
            _in_order(self.gather(flat), flat)
            return
        each, longer = divmod(flat.size, self.size)
        counts = [each + (k < longer) for k in range(self.size)]
        starts = [k * each + min(k, longer) for k in range(self.size)]
        own = flat[starts[self.rank] : starts[self.rank] + counts[self.rank]]
        if self.size <= tuning.RANKS_IN_ORDER:
            found = arrays.empty(flat, (self.size, own.size))
            here = [own.size] * self.size, [k * own.size for k in range(self.size)]
            self._wait(lambda: self._comm.Ialltoallv([flat, (counts, starts)], [found, here]))
            _in_order(found, own)
        else:  # in an order of the library's, one and the same on all ranks, as each stretch is added up on one of them
            total = arrays.empty(flat, own.size)
            self._wait(lambda: self._comm.Ireduce_scatter(flat, total, counts))
            np.copyto(own, total)
        self._wait(lambda: self._comm.Iallgatherv(self._library.IN_PLACE, [flat, (counts, starts)]))

    def abort(self, words: str, code: int = 1) -> None:
        """Ends all processes of the job, with a message."""
        print(f"rank {self.rank}: {words}; the job ends", file=sys.stderr, flush=True)
        self._comm.Abort(code)

    def _wait(self, post: Callable[[], Any]) -> None:
        """Waits for a message; ends the job if a rank that it needs has left. Ctrl-C is raised afterwards."""
        self._calls += 1
        with _Postponed() as interrupt:
            request = post()
            for _ in range(1000):
                if request.Test():
                    return
            begin = looked = time.monotonic()
            while not request.Test():
                os.sched_yield()
                now = time.monotonic()
                if now - begin > LOOK_AFTER and now - looked > LOOK_EVERY:
                    looked = now
                    self._look()
                    if interrupt.came and now - begin > tuning.SECONDS_AFTER_INTERRUPT:
                        self.abort("interrupted while it waited for other ranks", 130)

    def _look(self) -> None:
        """Ends the job if a rank that has left did not take part in the present call."""
        status = self._library.Status()
        while self._farewell.Iprobe(self._library.ANY_SOURCE, LEFT, status):
            calls = np.zeros(1, np.int64)
            self._farewell.Recv(calls, status.Get_source(), LEFT)
            self._left[status.Get_source()] = int(calls[0])
        for rank, calls_of in self._left.items():
            if calls_of < self._calls:
                self.abort(f"rank {rank} has left its program, and this rank waits for it")

    def leave(self) -> Callable[[], None]:
        """Tells the other ranks that this one ends; returns a function that waits until all do."""
        if self._library.Is_finalized():
            return lambda: None
        others = [k for k in range(self.size) if k != self.rank]
        calls = np.array([self._calls], np.int64)
        sent = [self._farewell.Isend(calls, k, LEFT) for k in others]
        ended = self._farewell.Ibarrier()

        def wait() -> None:
            while not ended.Test():
                time.sleep(0.01)
            for k in others:
                if k not in self._left:
                    self._farewell.Recv(np.zeros(1, np.int64), k, LEFT)
            self._library.Request.Waitall(sent)

        return wait

    def _end_with(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        """The exception hook: an error that nothing catches ends the job."""
        self._hook(kind, error, traceback)
        sys.stderr.flush()
        if type(error).__name__ == "RankFailed":
            time.sleep(1)  # the rank that it tells of says more
        self.abort(f"ended by {kind.__name__}", 130 if issubclass(kind, KeyboardInterrupt) else 1)


def _in_order(rows: Array, out: Array) -> None:
    """out ← Σ rows, the first first."""
    np.copyto(out, rows[0])
    for row in rows[1:]:
        np.add(out, row, out)


class _Postponed:
    """Postpones Ctrl-C: a rank must not give up a message that the others complete. `came` tells that it came."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> _Postponed:
        self._there: Any = None
        if threading.current_thread() is threading.main_thread():
            self._there = signal.getsignal(signal.SIGINT)
            if callable(self._there):
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        self.came, self._frame = True, frame

    def __exit__(self, *error: Sequence[object]) -> None:
        if callable(self._there):
            signal.signal(signal.SIGINT, self._there)
            if self.came:
                self._there(signal.SIGINT, self._frame)
