"""The place in the batch of the cases that a model sees: set by code that divides a batch, read by random layers.

A batch may be worked through in parts (`optim.problem.batch`), and the results must not depend on the parts. So a layer
that drops units at random has to know which cases it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["cases_from", "first_case"]

_first: ContextVar[int] = ContextVar("first_case", default=0)


def first_case() -> int:
    """The number, within the batch, of the first case that the model sees: 0 for a whole batch."""
    return _first.get()


@contextmanager
def cases_from(start: int) -> Iterator[None]:
    """While this is open, on this thread, models see the part of the batch that begins at case `start`."""
    token = _first.set(start)
    try:
        yield
    finally:
        _first.reset(token)
