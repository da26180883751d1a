"""The clock of a training, and the decision to end it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optim.problem.ranks import ALONE, Alone
from optim.training.history import History

__all__ = ["CLOCKS", "Limits"]

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass
class Limits:
    """Decides when to make a record, to save, and to end; None stands for no limit.

    clock: seconds; updates, seconds: of the whole training; every, every_seconds: from record to record; patience:
    records without a better `monitor`; stop: says why to stop at once, or ""; ranks: any of which may be asked to stop.
    """

    clock: Callable[[], float]
    updates: int | None
    seconds: float | None
    patience: int | None
    monitor: str | None
    every: int | None
    every_seconds: float | None
    checkpoint_every: float
    stop: Callable[[], str]
    ranks: Alone = ALONE
    asked: str = ""  # by a callback
    settled: str = ""  # that the optimizer has converged on all cases

    def verdict(self, history: History) -> str:
        """Returns the reason to make no further update, and notes it in the history; "" if there is none."""
        asked = next(filter(None, self.ranks.gathered(self.stop)), "")
        history.stopped = bool(asked)
        history.end = asked or self.asked or self.over(history)
        return history.end

    def over(self, history: History) -> str:
        """Returns the reason why the training is over; "" if it is not."""
        if self.updates is not None and history.update >= self.updates:  # a continued run may be beyond them
            return "all updates are done"
        if self.patience is not None and history.stale >= self.patience:
            return f"no better {(self.monitor or '').replace('_', ' ')} in {history.stale} records"
        if history.seconds >= (self.seconds or math.inf):
            return "the time is used up"
        return self.settled

    def due(self, history: History) -> bool:
        """Returns True if it is time for a record."""
        if self.every is not None and history.update % self.every == 0:
            return True
        return self.every_seconds is not None and history.seconds >= history.logged + self.every_seconds

    def fraction(self, history: History) -> float:
        """Returns the finished share of the training, 0 to 1, as far as updates and seconds limit it."""
        of_updates = history.update / (self.updates or math.inf)
        return min(1.0, max(of_updates, history.seconds / (self.seconds or math.inf)))

    def note(self, words: Any) -> None:
        """Notes what a callback returned: a text is a reason to stop."""
        if isinstance(words, str) and words:
            self.asked = words
