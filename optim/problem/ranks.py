"""A batch over several processes, ranks: each works on its own cases, and sums over shards are sums over all ranks.

All ranks run one program. They hold the same parameters, the same state of the optimizer, and make the same decisions,
since all that a decision is made of has been summed in the order of the ranks. What one of them meets in a sweep, an
exception or Ctrl-C, the others learn at the sum that it was for.
"""

from __future__ import annotations

import os
import pickle
import socket
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from optim.problem.batch import leaves
from optim.problem.blas import use_threads
from optim.problem.mpi import MPI
from optim.problem.threads import cores, in_order
from optim.problem.vectors import Scalar, read, summed
from rmad.extend import Array, arrays

__all__ = ["ALONE", "Alone", "Backend", "RankFailed", "Ranks"]

T = TypeVar("T")

Terms: TypeAlias = "tuple[Sequence[Sequence[Scalar]], Sequence[Array]]"
"""What a rank adds to sums: columns of numbers, each the terms of one sum, and arrays."""

Run: TypeAlias = "Callable[[Callable[[int], Any], int], list[Any]]"
"""(task, n) → [task(0), …, task(n − 1)]"""


class Backend(Protocol):
    """The messages between ranks; each method is called by all ranks in the same order."""

    rank: int
    size: int

    def gather(self, row: Array) -> Array:
        """(size, n): the rows (n,) of all ranks, in their order; bytes."""
        ...

    def sum(self, array: Array) -> None:
        """array ← its sum over ranks, in their order: the same bits on all of them. The array is contiguous."""
        ...

    def broadcast(self, array: Array, root: int) -> None:
        """array ← that of rank `root`; bytes."""
        ...


class One:
    """The messages of one process: none."""

    rank, size = 0, 1

    def gather(self, row: Array) -> Array:
        return row[None]

    def sum(self, array: Array) -> None:
        pass

    def broadcast(self, array: Array, root: int) -> None:
        pass


class RankFailed(RuntimeError):
    """Another rank raised an exception, which the message tells, or the ranks do not agree.

    It is a TypeError, ValueError or NotImplementedError as well if the other exception is, so that all ranks take the
    same way out.
    """


KINDS = (NotImplementedError, TypeError, ValueError)
_SAME: dict[str, type[RankFailed]] = {
    kind.__name__: type("RankFailed", (RankFailed, kind), {"__module__": __name__}) for kind in KINDS
}


class Alone:
    """One process, which has all cases."""

    rank, size, sliced = 0, 1, False

    def exchange(self, task: Callable[[], Terms]) -> Sequence[Sequence[Scalar]]:
        """The columns of task(), as terms of sums over all ranks, in their order; its arrays become those sums."""
        return task()[0]

    def gathered(self, task: Callable[[], T]) -> list[T]:
        """[task() of every rank], in their order."""
        return [task()]

    def of_root(self, task: Callable[[], T]) -> T:
        """task() of rank 0, on all ranks; what it raises is raised on all."""
        return task()

    def divided(self, run: Run) -> Run:
        """run(task, n) → [task(0), …] as `run` does it, but each task on one rank, and its result on all."""
        return run

    def share(self, value: T, root: int = 0) -> T:
        """Returns the value that rank `root` passes.

        Parameters
        ----------
        value : object that can be pickled
            That of the root counts.
        root : int, default 0
            The rank whose value all get.
        """
        return value

    def begin(self, parameters: Sequence[Array]) -> None:
        """A step begins at these parameters, which must be the same on all ranks."""

    def given(self, batch: Any) -> None:
        """The batch of the next sum, which must be the same on all ranks; some cases of it are compared."""

    def fail(self, error: BaseException) -> None:
        """Tells the other ranks, at their next sum, that this one gave up a step."""


ALONE = Alone()

HEADER = 16  # numbers in the first message of every exchange
STATUS, KIND, COUNT, CHECKED, CHECKSUM, BATCH, NUMBERS = 0, 1, 2, 3, 4, 5, 6  # places in it
SUMS, TEXTS, TEXT = 0, 1, 2  # kinds: sums, texts of all ranks, that of one


class Ranks(Alone):
    """The processes of an MPI job: HessianFree(model, loss, ranks=Ranks(MPI.COMM_WORLD)).

    Every optimizer and `Objective` take it. The script is started as mpiexec -n 4 python script.py, and all ranks run
    it alike; each works on its own slice of every batch. Parameters and decisions are the same on all ranks, bit for
    bit, and those of shards = ranks in one process; batches whose cases do not come apart (batch statistics, losses
    that couple cases), or with fewer cases than ranks, are refused.

    An exception in a step on one rank ends the step on all: the original there, `RankFailed` elsewhere. A rank that
    ends its program while others wait for it ends the job.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or Backend, default None
        The communicator, or an object with rank, size and the methods gather, sum and broadcast; None is this process
        alone.
    sliced : bool, default False
        False: every rank is given the whole batch, and takes its own cases. True: every rank is given its own cases,
        of which the batch is made in the order of the ranks; sizes and shares are then those of a rank's cases.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and that of all.
    threads : int
        The cores of a node over the ranks there, for all ranks the least.
    exchanges, bytes : int
        The messages so far, and the bytes of arrays summed in them: a message may be up to three calls of MPI.

    Raises
    ------
    TypeError
        If comm is none of these.

    Examples
    --------
    >>> import optim
    >>> optim.Ranks()
    Ranks(rank 0 of 1)
    """

    def __init__(self, comm: Any = None, sliced: bool = False) -> None:
        if comm is None:
            self.backend: Backend = One()
        elif hasattr(comm, "Iallgather"):
            self.backend = MPI(comm)
        elif all(hasattr(comm, name) for name in ("gather", "sum", "broadcast", "rank", "size")):
            self.backend = comm
        else:
            found = type(comm).__name__
            raise TypeError(f"Ranks(comm) takes a communicator of mpi4py, as MPI.COMM_WORLD, not {found}")
        if not isinstance(sliced, bool | np.bool_):
            raise TypeError(f"sliced must be True or False, got {sliced!r}")
        self.rank, self.size, self.sliced = self.backend.rank, self.backend.size, bool(sliced) and self.backend.size > 1
        self.exchanges = self.bytes = 0
        self._checksum: np.uint64 | None = None
        self._batch = 0
        self._agreed: BaseException | None = None  # the last error that all ranks know of
        self.threads = self._threads()
        if isinstance(self.backend, MPI) and self.size > 1:
            use_threads(self.threads)

    def _threads(self) -> int:
        if self.size == 1:
            return cores()
        own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(cores()))
        places = self.gathered(lambda: (socket.gethostname(), own))
        if not isinstance(self.backend, MPI):
            return max(1, cores() // self.size)
        shares = [
            sum(1 / sum(core in theirs for there, theirs in places if there == host) for core in mine)
            for host, mine in places
        ]
        return max(1, int(min(shares) + 1e-9))

    def __repr__(self) -> str:
        return f"Ranks(rank {self.rank} of {self.size}{', sliced' * self.sliced})"

    def exchange(self, task: Callable[[], Terms]) -> Sequence[Sequence[Scalar]]:
        if self.size == 1:
            return task()[0]
        columns: list[float] = []
        found: Sequence[Array] = ()
        error: BaseException | None = None
        try:
            terms, found = task()
            columns = read(*map(summed, terms))
        except BaseException as problem:
            error = problem
        rows = self._agreed_numbers(SUMS, columns, error)
        for some in _by_dtype(found):
            self._sum(some)
        return [list(column) for column in zip(*rows, strict=True)]

    def gathered(self, task: Callable[[], T]) -> list[T]:
        if self.size == 1:
            return [task()]
        text, error = _pickled(task)
        sizes = [int(size) for (size,) in self._agreed_numbers(TEXTS, [float(len(text))], error)]
        row = np.zeros(max(sizes), np.uint8)
        row[: len(text)] = np.frombuffer(text, np.uint8)
        self.bytes += row.nbytes
        rows = self.backend.gather(row)
        return [pickle.loads(rows[k, :size].tobytes()) for k, size in enumerate(sizes)]

    def share(self, value: T, root: int = 0) -> T:
        return value if self.size == 1 else self._of(root, lambda: value)

    def of_root(self, task: Callable[[], T]) -> T:
        return task() if self.size == 1 else self._of(0, task)

    def _of(self, root: int, task: Callable[[], T]) -> T:
        text, error = _pickled(task) if self.rank == root else (b"", None)
        size = int(self._agreed_numbers(TEXT, [float(len(text))], error)[root][0])
        row = np.zeros(size, np.uint8)
        if self.rank == root:
            row[:] = np.frombuffer(text, np.uint8)
        self.bytes += size
        self.backend.broadcast(row, root)
        found: T = pickle.loads(row.tobytes())
        return found

    def divided(self, run: Run) -> Run:
        if self.size == 1:
            return run

        def on_ranks(task: Callable[[int], Any], n: int) -> list[Any]:
            own = range(self.rank, n, self.size)
            return in_order(self.gathered(lambda: run(lambda j: task(own[j]), len(own))))

        return on_ranks

    def begin(self, parameters: Sequence[Array]) -> None:
        if self.size > 1:
            self._checksum = checksum(parameters)

    def given(self, batch: Any) -> None:
        self._batch = fingerprint(batch, self._batch)

    def fail(self, error: BaseException) -> None:
        if self.size > 1 and error is not self._agreed:
            try:
                self._agreed_numbers(SUMS, [], error)
            except BaseException:  # the error itself, which the caller raises
                self._agreed = error

    def _agreed_numbers(self, kind: int, numbers: Sequence[float], error: BaseException | None) -> list[list[float]]:
        """The numbers of all ranks, unless one has an error: it is raised on all. kind: what follows.

        The first message of an exchange has one length whatever it is for, so that a rank that gave up a step can take
        part in any.
        """
        self.exchanges += 1
        header = np.zeros(HEADER)
        header[STATUS], header[KIND], header[COUNT] = error is not None, kind, len(numbers)
        if self._checksum is not None:
            header[CHECKED], header.view(np.uint64)[CHECKSUM] = 1, self._checksum
            self._checksum = None
        header[BATCH], self._batch = self._batch, 0
        room = HEADER - NUMBERS
        header[NUMBERS : NUMBERS + len(numbers[:room])] = numbers[:room]
        rows = _numbers(self.backend.gather(_bytes(header)))
        if rows[:, STATUS].any():
            self._raise(int(np.argmax(rows[:, STATUS])), error)
        self._compare(rows)
        if len(numbers) <= room:
            return rows[:, NUMBERS : NUMBERS + len(numbers)].tolist()
        return _numbers(self.backend.gather(_bytes(np.array(numbers, np.float64)))).tolist()

    def _raise(self, first: int, error: BaseException | None) -> None:
        """Raises this rank's own error, or one that tells that of the first rank that has one."""
        known = next((kind.__name__ for kind in KINDS if isinstance(error, kind)), "")
        text = f"{known}\n{type(error).__name__}: {error}".encode()[:4096]
        row = np.zeros(4096, np.uint8)
        row[: len(text)] = np.frombuffer(text, np.uint8)
        self.backend.broadcast(row, first)
        known, _, text_of_first = row.tobytes().rstrip(b"\0").decode(errors="replace").partition("\n")
        raised = error or _SAME.get(known, RankFailed)(f"rank {first} raised {text_of_first}")
        self._agreed = raised
        raise raised

    def _compare(self, rows: Array) -> None:
        """Raises RankFailed on all ranks if they are at different places of the program, or at different parameters."""
        for place, what in (
            (KIND, "are at different places of the program: rank {} at another than rank 0"),
            (COUNT, "are at different places of the program: rank {} at another than rank 0"),
            (
                CHECKED,
                "are at different places of the program: rank {} and rank 0 do not begin a step together",
            ),
            (BATCH, "were given different batches: that of rank {} is not that of rank 0"),
            (CHECKSUM, "have different parameters: those of rank {} are not those of rank 0"),
        ):
            bits = rows[:, place].view(np.uint64)
            if (bits != bits[0]).any():
                self._agreed = RankFailed(f"the ranks {what.format(int(np.argmax(bits != bits[0])))}")
                raise self._agreed

    def _sum(self, some: Sequence[Array]) -> None:
        """Each of the arrays, of one dtype, ← its sum over ranks."""
        alone = some[0] if len(some) == 1 and some[0].flags.c_contiguous else None
        whole = alone if alone is not None else np.concatenate([np.reshape(a, -1) for a in some])
        self.bytes += whole.nbytes
        self.backend.sum(whole)
        if alone is None:
            start = 0
            for a in some:
                np.copyto(a, whole[start : start + a.size].reshape(a.shape))
                start += a.size


def checksum(parameters: Sequence[Array]) -> np.uint64:
    """A number that changes with any bit of the parameters."""
    total = np.zeros(1, np.uint64)
    for a in parameters:
        flat = arrays.contiguous(arrays.on_the_cpu(a)).reshape(-1).view(np.uint8)
        whole = flat.size // 8 * 8
        total = total * np.uint64(3) + np.add.reduce(flat[:whole].view(np.uint64), dtype=np.uint64)
        for byte in flat[whole:]:
            total = total * np.uint64(257) + np.uint64(byte)
    return np.uint64(total[0])


def fingerprint(batch: Any, before: int = 0) -> int:
    """A number, below 2³², that tells batches of other cases: from their number, and the first and the last of them."""
    total = before
    for a in leaves(batch):
        total = zlib.crc32(repr((np.shape(a), str(getattr(a, "dtype", "")))).encode(), total)
        if isinstance(a, np.ndarray) and a.ndim and len(a):
            for k in (0, -1):
                total = zlib.crc32(arrays.contiguous(a[k]).view(np.uint8).data, total)
    return total


def _pickled(task: Callable[[], Any]) -> tuple[bytes, BaseException | None]:
    """The result of a task as bytes, or what it raises."""
    try:
        return pickle.dumps(task(), protocol=5), None
    except BaseException as problem:
        return b"", problem


def _bytes(numbers: Array) -> Array:
    return numbers.view(np.uint8)


def _numbers(rows: Array) -> Array:
    return rows.view(np.float64)


def _by_dtype(some: Sequence[Array]) -> list[list[Array]]:
    groups: dict[Any, list[Array]] = {}
    for a in some:
        groups.setdefault(a.dtype, []).append(a)
    return list(groups.values())
