"""An early end by Ctrl-C, SIGTERM or a full disk: one line each, and all files stay whole."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import nn
from optim import StateDoesNotFit
from runner.ranks import is_first


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception, like Ctrl-C."""


def word_and_code(end: KeyboardInterrupt) -> tuple[str, int]:
    """Returns the name of the signal that ended the program, and the exit code."""
    return ("SIGTERM", 128 + signal.SIGTERM) if isinstance(end, Terminated) else ("Ctrl-C", 128 + signal.SIGINT)


@contextmanager
def one_line(prog: str) -> Iterator[None]:
    """Prints a line instead of a traceback after a signal, or if a file is missing or cannot be written.

    The decorator of a script's main.
    """

    def terminated(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    except KeyboardInterrupt as end:
        word, code = word_and_code(end)
        print(f"{prog}: ended by {word}", file=sys.stderr)
        raise SystemExit(code) from None
    except (OSError, StateDoesNotFit) as problem:
        if is_first():
            print(f"{prog}: {problem}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def last_checkpoint(checkpoints: nn.Checkpoints) -> str:
    """Returns a sentence about the checkpoint from which the run can continue."""
    try:
        state = checkpoints.load()
    except (OSError, ValueError) as problem:
        return str(problem)
    if state is None:
        return "there is no checkpoint"
    return f"--resume continues from the checkpoint of update {state['run']['update']} in {checkpoints.path.parent}"
