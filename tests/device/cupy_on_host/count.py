"""Counts what CuPy asks of the device."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
from collections import Counter
from collections.abc import Iterator

OURS = ("/rmad/", "/nn/", "/optim/", "/tests/", "/examples/", "/benchmarks/")
NOT_OURS = ("/site-packages/", "/cupy_on_host/")


@dataclasses.dataclass
class Counts:
    """The calls in a recorded stretch of a program.

    A call of a library (cuSOLVER, cuFFT, Thrust) is one call here, whatever it launches on a GPU.
    """

    launches: int = 0  #: of CuPy's kernels
    products: int = 0  #: calls of cuBLAS
    library_calls: int = 0  #: of cuSOLVER, cuFFT and Thrust
    copies_to_host: int = 0
    copies_to_device: int = 0
    copies_on_device: int = 0
    fills: int = 0  #: of memory with a byte
    waits: int = 0  #: of the host for the device
    allocations: int = 0  #: from CuPy's memory pool
    pool_growths: int = 0  #: allocations of the pool from the device
    calls: list[str] = dataclasses.field(default_factory=list)  #: the names of kernels and library functions, in order
    lines: Counter[str] = dataclasses.field(default_factory=Counter)  #: the lines of this project that copied to host

    def __str__(self) -> str:
        numbers = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("calls", "lines")}
        return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in numbers.items() if n)


_active: list[Counts] = []
_lock = threading.Lock()


def note(kind: str, name: str = "") -> None:
    """Adds one to the count `kind` of every recording in progress."""
    if not _active:
        return
    line = _line() if kind == "copies_to_host" else ""
    with _lock:
        for counts in _active:
            setattr(counts, kind, getattr(counts, kind) + 1)
            if name:
                counts.calls.append(name)
            if line:
                counts.lines[line] += 1


def _line() -> str:
    """The innermost three lines of the project on the stack, innermost first."""
    found: list[str] = []
    frame = sys._getframe(2)
    while frame is not None and len(found) < 3:
        path = frame.f_code.co_filename
        if any(p in path for p in OURS) and not any(p in path for p in NOT_OURS):
            found.append(f"{'/'.join(path.split('/')[-3:])}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found) or "outside the project"


@contextlib.contextmanager
def recorded() -> Iterator[Counts]:
    """Counts from here to the end of the block. Recordings may be nested; all threads are counted."""
    counts = Counts()
    with _lock:
        _active.append(counts)
    try:
        yield counts
    finally:
        with _lock:
            _active[:] = [c for c in _active if c is not counts]


@contextlib.contextmanager
def not_counted() -> Iterator[None]:
    """The work of a stand-in that is no work of CuPy's."""
    with _lock:
        paused, _active[:] = _active[:], []
    try:
        yield
    finally:
        with _lock:
            _active.extend(paused)


@contextlib.contextmanager
def no_copies_to_host(at_most: int = 0) -> Iterator[None]:
    """Raises AssertionError at the end of the block if more than that was copied to the host in it, with the lines."""
    with recorded() as counts:
        yield
    if counts.copies_to_host > at_most:
        lines = "\n".join(f"  {n} at {line}" for line, n in counts.lines.most_common())
        raise AssertionError(f"{counts.copies_to_host} copies to the host:\n{lines}")
