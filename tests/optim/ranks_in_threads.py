"""Two or more "ranks" in one process, on threads: a stand-in for MPI, whose three methods `optim.Ranks` asks for."""

from __future__ import annotations

import contextvars
import threading

import numpy as np

import optim

__all__ = ["Stuck", "together"]

SECONDS = 60  # after which a rank that waits for others gives up


class Stuck(RuntimeError):
    """A rank waits for others that do not come."""


class Place:
    """Where the ranks meet: everyone puts an array, and takes those of all."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size)
        self.put = [None] * size

    def exchanged(self, rank, array):
        self.put[rank] = array.copy()
        self._wait()
        found = list(self.put)
        self._wait()
        assert len({(a.shape, a.dtype) for a in found}) == 1, found
        return found

    def _wait(self):
        try:
            self.barrier.wait(SECONDS)
        except threading.BrokenBarrierError:
            raise Stuck("a rank has left, and others wait for it") from None


class InThreads:
    """The messages of one such rank."""

    def __init__(self, place, rank):
        self.place, self.rank, self.size = place, rank, place.size
        self.calls = []

    def gather(self, row):
        self.calls.append(("gather", row.nbytes))
        return np.stack(self.place.exchanged(self.rank, row))

    def sum(self, array):
        assert array.flags.c_contiguous
        self.calls.append(("sum", array.nbytes))
        first, *others = self.place.exchanged(self.rank, array)
        array[...] = first
        for other in others:
            array += other

    def broadcast(self, array, root):
        self.calls.append(("broadcast", array.nbytes))
        array[...] = self.place.exchanged(self.rank, array)[root]


def together(size, program, sliced=False):
    """[program(ranks), …] of `size` ranks, an exception in place of the result of one that raised it."""
    place, results = Place(size), [None] * size

    def run(rank):
        try:
            results[rank] = program(optim.Ranks(InThreads(place, rank), sliced=sliced))
        except BaseException as error:
            results[rank] = error
            if isinstance(error, Stuck):
                return
        finally:
            done.release()

    done = threading.Semaphore(0)
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(run, rank), daemon=True) for rank in range(size)
    ]
    for thread in threads:
        thread.start()
    for k in range(size):
        done.acquire()
        if any(isinstance(result, BaseException) for result in results):
            for _ in range(size - k - 1):
                if not done.acquire(timeout=2):
                    place.barrier.abort()
                    done.acquire()
            break
    for thread in threads:
        thread.join(SECONDS)
    return results
