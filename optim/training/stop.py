"""A training that is asked to end by Ctrl-C ends after the update that is in progress."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["Stop"]


class Stop:
    """Inside, the first Ctrl-C requests an end after the update in progress; the second interrupts the program.

    with Stop() as stop: opt.fit(x, t, epochs=10, stop=stop). `fit` has one of its own unless it is given one; one of
    the user's may also take SIGTERM, which queues send before they kill a job, or serve several trainings. In another
    thread than the main one, which gets no signals, it never asks.

    Parameters
    ----------
    *signals : signal.Signals
        The signals to take; SIGINT, which is Ctrl-C, unless given.

    Examples
    --------
    >>> from optim import Stop
    >>> with Stop() as stop:
    ...     stop()
    ''
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self.signals = signals or (signal.SIGINT,)
        self.reason = ""  # why to stop; "" before a signal
        self.code = 0  # the exit code of a program that the signal ends
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> str:
        return self.reason

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in self.signals}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        """Notes the signal; the next one has its usual effect."""
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self.reason, self.code = f"stopped by {name}", 128 + number
        self.__exit__()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
