"""The loop of a training: updates, records, checkpoints, and the tests for its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim
from rmad import map_leaves
from runner.state import StateDoesNotFit, check_state

Record = dict[str, Any]
Methods = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


@dataclass
class Config:
    """One run. `hyper` holds the values that differ from the defaults in METHODS."""

    METHODS: ClassVar[Methods] = {}
    BUDGET: ClassVar[float] = 210.0
    MONITOR: ClassVar[str] = "validation_error"  # entry of the records whose minimum is the best model

    optimizer: str = "hf"
    hyper: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    time_budget: float | None = None  # seconds of training, evaluation excluded; None: BUDGET
    updates: int | None = None  # at most
    patience: int | None = None  # records without a better MONITOR, at most
    log_interval: float = 1.0  # seconds of training from record to record
    log_every: int | None = None  # updates from record to record, in place of the seconds
    checkpoint_every: float = 60.0  # seconds of training

    def __post_init__(self) -> None:
        known = self.known_hyper()
        for name in self.hyper.keys() - known.keys():
            raise ValueError(f"--{name.replace('_', '-')} means nothing to {self.method()}")
        self.hyper = {name: value for name, value in (known | self.hyper).items() if value is not None}
        for name in ("time_budget", "updates", "patience", "log_interval", "log_every", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and not value >= (name == "log_every"):
                raise ValueError(f"--{name.replace('_', '-')} {value} is below {int(name == 'log_every')}")
        self.time_budget = self.time_budget or self.budget()

    def budget(self) -> float | None:
        """Returns the default of the seconds; None for no limit."""
        return self.BUDGET

    def free(self) -> set[str]:
        """Returns the fields that may change when a run continues."""
        return {"time_budget", "updates", "patience", "log_interval", "log_every", "checkpoint_every"}

    def method(self) -> str:
        """Returns the part of the command line that determines the hyper-parameters."""
        return f"--optimizer {self.optimizer}"

    def known_hyper(self) -> dict[str, Any]:
        """Returns the defaults of the hyper-parameters of this optimizer; None leaves one to the optimizer."""
        return self.METHODS[self.optimizer][1]


@dataclass
class Run:
    """The state of a training: the optimizer with its model, the progress, the records, and the reason for its end.

    seconds are those of the updates alone. best: value, update and parameters at the minimum of config.MONITOR;
    stale: records since then. stopped: by a signal, before it was over. failed: it diverged.
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
    infos: list[optim.StepInfo] = field(default_factory=list)  # since the last record
    logged: float = 0.0  # seconds at the last record

    @property
    def model(self) -> Any:
        """The model of the optimizer."""
        return self.optimizer.model

    def over(self, config: Config) -> str:
        """Returns the reason to make no further update; "" if there is none."""
        if config.updates is not None and self.update >= config.updates:  # a continued run may be beyond them
            return "all updates are done"
        if config.patience is not None and self.stale >= config.patience:
            return f"no better {config.MONITOR.replace('_', ' ')} in {self.stale} records"
        return "the time is used up" if self.seconds >= (config.time_budget or math.inf) else ""

    def due(self, config: Config) -> bool:
        """Returns True if it is time for a record."""
        if config.log_every is not None:
            return self.update % config.log_every == 0
        return self.seconds >= self.logged + config.log_interval

    def record(self, errors: Callable[[Any], Record], monitor: str) -> Record:
        """Measures the model in use, not in training; adds a record with a summary of the updates since the last."""
        switch = getattr(self.model, "train", lambda training: None)
        switch(False)
        measured = errors(self.model)
        switch(True)
        made = {"seconds": self.seconds, "update": self.update, **measured}
        self.records.append(made | summary(self.infos, self.seconds - self.logged))
        self.infos, self.logged = [], self.seconds
        if monitor in measured:
            value, self.stale = float(measured[monitor]), self.stale + 1
            if self.best is None or value < self.best["value"]:
                self.best, self.stale = {"value": value, "update": self.update, "model": self.model.state_dict()}, 0
        return self.records[-1]

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        names = ("records", "update", "seconds", "best", "stale", "end", "stopped", "failed", "logged")
        state = {name: getattr(self, name) for name in names} | {"infos": [asdict(info) for info in self.infos]}
        return state | {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from the state of a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("records", "update", "seconds", "best", "stale", "failed", "logged"):
            setattr(self, name, state[name])
        self.end = state["end"] if self.failed else ""
        self.infos = [optim.StepInfo(**info) for info in state["infos"]]


def train(
    config: Config,
    optimizer: Any,
    batches: Iterable[Any],
    errors: Callable[[Any], Record],
    *,
    checkpoints: nn.Checkpoints | None = None,
    state: Mapping[str, Any] | None = None,
    on_record: Callable[[Record], None] = lambda record: None,
    on_update: Callable[[float], None] = lambda fraction: None,
    should_stop: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Makes updates until the run is over, or should_stop() gives a reason.

    batches: endless pairs (x, t), or dicts of the arguments of a step. errors(model) measures the model for a
    record. checkpoints: save the run, with config, records and the state of the batches (which then have
    state_dict and load_state_dict); state: a loaded checkpoint, from which the run continues. on_record gets every
    record; on_update gets the finished share of the run after every update. `clock` returns seconds.
    """
    run, batches = Run(optimizer), iter(batches)

    def save() -> None:
        if checkpoints is not None:
            own = {"run": run.state_dict(), "batches": batches.state_dict()}  # type: ignore[attr-defined]
            checkpoints.save({"config": asdict(config), **own})

    if state is None:
        on_record(run.record(errors, config.MONITOR))
        save()  # fails early if nothing can be written
    else:
        load(run, batches, state, str(checkpoints.path) if checkpoints else "the state")
    saved = run.seconds
    while not run.failed:
        run.end = should_stop()
        run.stopped = bool(run.end)
        run.end = run.end or run.over(config)
        if run.end:
            break
        arguments = arguments_of(next(batches), config)
        started = clock()
        try:
            info = optimizer.step(**arguments)
        except optim.TrainingDiverged as failure:
            run.end, run.failed = str(failure), True
            break
        run.infos.append(info)
        run.seconds, run.update = run.seconds + clock() - started, run.update + 1
        on_update(max(run.seconds / (config.time_budget or math.inf), run.update / (config.updates or math.inf)))
        if run.due(config):
            on_record(run.record(errors, config.MONITOR))
        if run.seconds >= saved + config.checkpoint_every:
            save()
            saved = run.seconds
    save()  # before the last record: a run that continues makes none at this update
    if run.infos:
        on_record(run.record(errors, config.MONITOR))
    return run


def load(run: Run, batches: Any, state: Mapping[str, Any], name: str) -> None:
    """Loads a checkpoint of this name into run and batches; StateDoesNotFit if it belongs to others."""
    try:
        check_state(state)
        run.load_state_dict(state["run"])
        batches.load_state_dict(state["batches"])
    except Exception as misfit:  # the parts raise what they meet in a state that is not theirs
        raise StateDoesNotFit(f"{name} does not fit: {misfit}") from None


def arguments_of(batch: Any, config: Config) -> dict[str, Any]:
    """Returns the arguments of a step: (x, t), and the first of them for the curvature, if the config asks for it."""
    if isinstance(batch, dict):
        return batch
    x, t = batch
    cases = config.hyper.get("curvature_batch", len(x))
    return {"x": x, "t": t} | ({"curvature_batch": (x[:cases], t[:cases])} if cases < len(x) else {})


def optimizer_for(config: Config, model: Any, loss: Any) -> Any:
    """Returns the optimizer that the config names, with its hyper-parameters."""
    hyper = {name: value for name, value in config.hyper.items() if "batch" not in name}
    return config.METHODS[config.optimizer][0](model, loss, **hyper)


def on_device(placed: Any, tree: Any) -> Any:
    """Returns a tree (a model, data) with its arrays on that device: NumPy's, or CuPy's on the GPU.

    placed: anything with a `device`, "cpu" or "gpu": a config, a series, or the arguments of a command line.
    """
    if placed.device == "cpu":
        return tree
    from rmad.extend import import_cupy

    return map_leaves(import_cupy().asarray, tree)


def on_cpu(placed: Any, tree: Any) -> Any:
    """Returns a tree that is on that device with NumPy's arrays."""
    if placed.device == "cpu":
        return tree
    from rmad.extend import to_numpy

    return map_leaves(to_numpy, tree)


def summary(infos: list[optim.StepInfo], span: float) -> Record:
    """Summarizes updates that took `span` seconds: the last step's info, the mean loss, sums and rates."""
    if not infos:
        return {}
    products = sum(info.products for info in infos)
    return {
        **asdict(infos[-1]),
        "loss": float(np.mean([info.loss for info in infos])),
        "products": products,
        "rejected": sum(info.rejected for info in infos),
        "rises": sum(info.reduction_ratio == -math.inf for info in infos),  # JSON has null for ρ = −∞ and for NaN
        "products_per_second": products / span,
        "updates_per_second": len(infos) / span,
    }
