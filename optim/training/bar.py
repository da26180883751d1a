"""The progress of a training on one line of the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from optim.training.history import Record

__all__ = ["Bar", "numbers"]

WIDTH = 80  # columns, at most
CELLS = 8
EIGHTHS = " ▏▎▍▌▋▊▉"
PAUSE = 0.1  # seconds between two drawings
SWITCH = "RMAD_PROGRESS"


def numbers(record: Record) -> str:
    """Returns the text of a record: its losses, and what the optimizer did."""
    said = [f"loss {record['loss']:.4g}"] if "loss" in record else []
    if "validation_loss" in record:
        said.append(f"validation {record['validation_loss']:.4g}")
    if record.get("damping"):
        said.append(f"λ {record['damping']:.2g}")
    if record.get("cg_iterations"):
        said.append(f"{record['cg_iterations']} CG")
    return ", ".join(said)


class Bar:
    """A line that is drawn again: share done, time so far and to go, and the text of the last record.

    In a file, and wherever else a line cannot be drawn again, every record has a line of its own.

    Parameters
    ----------
    words : callable
        The text of a record.
    file : text file, default None
        Where to write; sys.stderr for None.
    """

    def __init__(self, words: Callable[[Record], str] = numbers, file: TextIO | None = None) -> None:
        self.words, self.file = words, file or sys.stderr
        self.redraws = redraws(self.file)
        self.began, self.begins_at = time.perf_counter(), 0.0
        self.fraction, self.text, self._drawn, self._length = 0.0, "", -PAUSE, 0

    def begin(self, fraction: float) -> None:
        """Notes the share that an earlier part of the training has done."""
        self.fraction = self.begins_at = fraction

    def record(self, record: Record) -> None:
        """Shows the text of a record."""
        self.text = self.words(record)
        if self.redraws:
            self._draw()
        else:
            print(self.line(), file=self.file, flush=True)

    def update(self, fraction: float) -> None:
        """Shows the share done, now and then."""
        self.fraction = fraction
        if self.redraws and time.perf_counter() >= self._drawn + PAUSE:
            self._draw()

    def close(self, end: str) -> None:
        """Ends the line; names the end if it is an early one."""
        if self.redraws:
            self._draw()
            print(file=self.file)
        if end:
            print(end, file=self.file, flush=True)

    def line(self) -> str:
        """Returns the line as it stands, of 80 columns at most, and no more than the terminal has."""
        whole, part = divmod(round(8 * CELLS * self.fraction), 8)
        cells = ("█" * whole + (EIGHTHS[part] if part else "")).ljust(CELLS)
        past, left = time.perf_counter() - self.began, "?"
        done = self.fraction - self.begins_at
        if done > 0:
            left = clock(past * (1 - self.fraction) / done)
        line = f"{100 * self.fraction:3.0f}%|{cells}|{clock(past)}<{left} {self.text}"
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) - 1  # the last column may begin a new line
        return line if len(line) <= width else line[: width - 1] + "…"

    def _draw(self) -> None:
        line, self._drawn = self.line(), time.perf_counter()
        print("\r" + line.ljust(self._length), end="", file=self.file, flush=True)
        self._length = len(line)


def clock(seconds: float) -> str:
    """Returns a time as 1:05, or 1:00:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def redraws(file: Any) -> bool:
    """Returns True if a line of this file can be drawn again: in a terminal, or in a notebook that somebody sees run.

    A notebook does not know whether it runs in the background; there RMAD_PROGRESS=off tells it.
    """
    if os.environ.get(SWITCH, "").strip().lower() == "off":
        return False
    return bool(getattr(file, "isatty", lambda: False)()) or type(file).__module__.startswith("ipykernel")
