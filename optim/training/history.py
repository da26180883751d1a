"""What a training comes back with: records that can be looked up by name and drawn, and the state to continue from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from optim.step_info import StepInfo
from rmad.extend import Array

__all__ = ["History", "Record"]

Record = dict[str, Any]
"""Measures by name, all of one moment of a training."""


@dataclass(eq=False, repr=False)
class History(Mapping[str, Array]):
    """The records of a training by name, history["loss"], with the reason for its end and the best model.

    Every series has one entry per record, NaN where a record lacks it: the first record is made before the first
    update, and has no loss. Names are "seconds", "update", "epoch", those of `StepInfo`, "validation_loss", and those
    that the measures of the user have; "loss" is the mean over the updates since the record before.

    Attributes
    ----------
    optimizer : Optimizer
        The optimizer, with the model.
    records : list of dict
        The records in order.
    update : int
        Updates made.
    seconds : float
        Seconds of the updates alone, by the clock of the training.
    best : dict or None
        value, update and model (a state_dict) at the minimum of what was monitored.
    stale : int
        Records since then.
    end : str
        Why the training ended.
    stopped : bool
        True if it was asked to end before it was over: by Ctrl-C, or by `stop`.
    failed : bool
        True if it diverged: see `TrainingDiverged`.
    infos : list of StepInfo
        The updates since the last record.
    logged : float
        Seconds at the last record.

    Examples
    --------
    >>> import optim
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt = optim.SGD(nn.Linear(3, 1, rng=np.random.default_rng(0)), nn.SquaredError(), lr=0.1)
    >>> history = opt.fit(x, t, updates=5, every=1)
    >>> history["update"]
    array([0, 1, 2, 3, 4, 5])
    >>> history
    History(6 records, 5 updates: all updates are done)
    """

    optimizer: Any
    records: list[Record] = field(default_factory=list)
    update: int = 0
    seconds: float = 0.0
    best: dict[str, Any] | None = None
    stale: int = 0
    end: str = ""
    stopped: bool = False
    failed: bool = False
    infos: list[StepInfo] = field(default_factory=list)
    logged: float = 0.0

    def __post_init__(self) -> None:
        self._last: dict[str, Any] | None = None  # the state at the end, before the best model was put back

    @property
    def model(self) -> Any:
        """The model of the optimizer."""
        return self.optimizer.model

    # -- series by name -----------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Array:
        if name not in (known := list(self)):
            raise KeyError(f"{name!r} was not recorded; there are {', '.join(known)}")
        values = [record.get(name) for record in self.records]
        if any(isinstance(value, str) for value in values):
            return np.array(["" if value is None else value for value in values], dtype=object)
        return np.array([math.nan if value is None else value for value in values])

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for record in self.records for name in record))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        counted = f"{len(self.records)} records, {self.update} updates"
        return f"History({counted}{f': {self.end}' if self.end else ''})"

    def plot(self, *names: str, against: str = "seconds", axes: Any = None) -> Any:
        """Draws series on one pair of axes with matplotlib.

        Parameters
        ----------
        *names : str
            The series; the losses unless given.
        against : str, default "seconds"
            The series of the horizontal axis: "seconds", "update" or "epoch".
        axes : matplotlib Axes, default None
            Where to draw; None makes a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        KeyError
            If a series was not recorded.
        """
        drawn = names or tuple(name for name in self if name in ("loss", "validation_loss"))
        series = {name: self[name] for name in drawn}
        where = self[against]
        if axes is None:
            try:
                from matplotlib import pyplot
            except ImportError as problem:
                raise ImportError("History.plot needs matplotlib: pip install matplotlib") from problem
            axes = pyplot.figure(layout="constrained").add_subplot()
        for name, values in series.items():
            there = np.isfinite(values)
            axes.plot(where[there], values[there], ".-", label=name.replace("_", " "))
        axes.set_xlabel(against)
        if len(series) > 1:
            axes.legend()
        elif series:
            axes.set_ylabel(next(iter(series)).replace("_", " "))
        if series and all((values[np.isfinite(values)] > 0).all() for values in series.values()):
            axes.set_yscale("log")
        axes.grid(True, alpha=0.3)
        return axes

    # -- in the loop --------------------------------------------------------------------------------------

    def record(self, measured: Mapping[str, Any], monitor: str | None) -> Record:
        """Adds a record of measures with a summary of the updates since the last; keeps the model if it is the best."""
        made = {"seconds": self.seconds, "update": self.update, **measured}
        self.records.append(made | summary(self.infos, self.seconds - self.logged))
        self.infos, self.logged = [], self.seconds
        if monitor is not None and monitor in measured:
            value, self.stale = float(measured[monitor]), self.stale + 1
            if self.best is None or value < self.best["value"]:
                self.best, self.stale = {"value": value, "update": self.update, "model": self.model.state_dict()}, 0
        return self.records[-1]

    def run_state(self) -> dict[str, Any]:
        """Returns the part of a state that is not the batches'."""
        names = ("records", "update", "seconds", "best", "stale", "end", "stopped", "failed", "logged")
        state = {name: getattr(self, name) for name in names} | {"infos": [asdict(info) for info in self.infos]}
        state["records"] = list(self.records)
        return state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_run_state(self, state: Mapping[str, Any]) -> None:
        """Continues from such a part."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("records", "update", "seconds", "best", "stale", "failed", "logged"):
            setattr(self, name, state[name])
        self.records = list(self.records)
        self.end = state["end"] if self.failed else ""
        self.infos = [StepInfo(**info) for info in state["infos"]]

    def end_with(self, state: dict[str, Any]) -> None:
        """Keeps the state at the end."""
        self._last = state

    def state_dict(self) -> dict[str, Any]:
        """Returns the state at the end: model, optimizer, batches and records, from which `fit` continues bit for bit.

        Returns
        -------
        dict
            For `fit(…, resume=state)`, or for `nn.Checkpoints(folder).save(state)`.

        Raises
        ------
        RuntimeError
            If the training is not over.
        """
        if self._last is None:
            raise RuntimeError("the training is not over: its state is that of fit's checkpoints")
        return self._last

    def load_best(self) -> None:
        """Gives the model the parameters and buffers of the best record.

        Raises
        ------
        ValueError
            If nothing was monitored.
        """
        if self.best is None:
            raise ValueError("there is no best model, because nothing was monitored: give fit validation=…")
        self.model.load_state_dict(self.best["model"])


def summary(infos: list[StepInfo], span: float) -> Record:
    """Summarizes updates that took `span` seconds: the last step's info, the mean loss, sums and rates."""
    if not infos:
        return {}
    products, span = sum(info.products for info in infos), span or math.nan
    return {
        **asdict(infos[-1]),
        "loss": float(np.mean([info.loss for info in infos])),
        "products": products,
        "rejected": sum(info.rejected for info in infos),
        "rises": sum(info.reduction_ratio == -math.inf for info in infos),  # JSON has null for ρ = −∞ and for NaN
        "products_per_second": products / span,
        "updates_per_second": len(infos) / span,
    }
