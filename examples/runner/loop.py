"""A training as a config says: the arguments of `fit`, the optimizer, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import nn
import optim
from rmad import map_leaves
from runner.ranks import ranks

Record = dict[str, Any]
Methods = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


@dataclass
class Config:
    """One run. `hyper` holds the values that differ from the defaults in METHODS."""

    METHODS: ClassVar[Methods] = {}
    BUDGET: ClassVar[float] = 210.0

    optimizer: str = "hf"
    hyper: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    time_budget: float | None = None  # seconds of training, evaluation excluded; None: BUDGET
    cpu_seconds: float | None = None  # the same in CPU seconds of all threads, in place of the former
    updates: int | None = None  # at most
    patience: int | None = None  # records without a better value of what is monitored, at most
    log_interval: float = 1.0  # seconds of training from record to record
    log_every: int | None = None  # updates from record to record, in place of the seconds
    checkpoint_every: float = 60.0  # seconds of training

    def __post_init__(self) -> None:
        known = self.known_hyper()
        for name in self.hyper.keys() - known.keys():
            raise ValueError(f"--{name.replace('_', '-')} means nothing to {self.method()}")
        self.hyper = {name: value for name, value in (known | self.hyper).items() if value is not None}
        if self.time_budget is not None and self.cpu_seconds is not None:
            raise ValueError("--time-budget and --cpu-seconds are two budgets: give one of them")
        for name in (
            "time_budget",
            "cpu_seconds",
            "updates",
            "patience",
            "log_interval",
            "log_every",
            "checkpoint_every",
        ):
            value = getattr(self, name)
            if value is not None and not value >= (name == "log_every"):
                raise ValueError(f"--{name.replace('_', '-')} {value} is below {int(name == 'log_every')}")
        if self.cpu_seconds is None:
            self.time_budget = self.time_budget or self.budget()

    def budget(self) -> float | None:
        """Returns the default of the seconds; None for no limit."""
        return self.BUDGET

    def free(self) -> set[str]:
        """Returns the fields that may change when a run continues."""
        budget = "time_budget" if self.cpu_seconds is None else "cpu_seconds"
        return {budget, "updates", "patience", "log_interval", "log_every", "checkpoint_every"}

    def monitored(self) -> str | None:
        """Returns the entry of the records whose minimum is the best model."""
        return None

    def method(self) -> str:
        """Returns the part of the command line that determines the hyper-parameters."""
        return f"--optimizer {self.optimizer}"

    def known_hyper(self) -> dict[str, Any]:
        """Returns the defaults of the hyper-parameters of this optimizer; None leaves one to the optimizer."""
        return self.METHODS[self.optimizer][1]


class Saved:
    """Checkpoints of a training, each with the config of the run."""

    def __init__(self, checkpoints: nn.Checkpoints, config: Config) -> None:
        self.checkpoints, self.config, self.path = checkpoints, config, checkpoints.path

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint."""
        self.checkpoints.save({"config": asdict(self.config), **state})

    def load(self) -> dict[str, Any] | None:
        """Reads the newest checkpoint."""
        return self.checkpoints.load()


class Split(Iterator[dict[str, Any]]):
    """Batches (x, t) as the arguments of a step, with the first cases of each for the curvature; dicts as they are."""

    def __init__(self, batches: Any, cases: int) -> None:
        self.batches, self.cases = batches, cases

    def __next__(self) -> dict[str, Any]:
        batch = next(self.batches)
        if isinstance(batch, dict):
            return batch
        x, t = batch
        some = {"curvature_batch": (x[: self.cases], t[: self.cases])} if self.cases < len(x) else {}
        return {"x": x, "t": t, **some}

    def state_dict(self) -> dict[str, Any]:
        """Returns the place in the data."""
        return self.batches.state_dict()  # type: ignore[no-any-return]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a place in the data."""
        self.batches.load_state_dict(state)


def train(
    config: Config,
    optimizer: optim.Optimizer,
    batches: Iterator[Any],
    errors: Callable[[Any], Record],
    *,
    checkpoints: nn.Checkpoints | None = None,
    state: Mapping[str, Any] | None = None,
    on_record: Callable[[Record], Any] = lambda record: None,
    progress: bool | Callable[[Record], str] = False,
    stop: Callable[[], str] | None = None,
    clock: str | Callable[[], float] = "wall",
) -> optim.History:
    """Calls the optimizer's `fit` with the budgets of the config.

    batches: endless pairs (x, t), or dicts of the arguments of a step, with state_dict and load_state_dict if there
    are checkpoints. errors(model) measures the model for a record. state: a loaded checkpoint, from which the run
    continues. The others are those of `fit`.
    """
    if "curvature_batch" in config.hyper:
        batches = Split(batches, config.hyper["curvature_batch"])
    return optimizer.fit(
        batches,
        updates=config.updates,
        seconds=config.cpu_seconds or config.time_budget,
        clock="cpu" if config.cpu_seconds else clock,
        measure=errors,
        monitor=config.monitored(),
        patience=config.patience,
        keep="last",
        every=config.log_every,
        every_seconds=config.log_interval if config.log_every is None else None,
        progress=progress,
        on_record=lambda history: on_record(history.records[-1]),
        stop=stop,
        checkpoints=None if checkpoints is None else Saved(checkpoints, config),
        checkpoint_every=config.checkpoint_every,
        resume=False if state is None else state,
    )


def optimizer_for(config: Config, model: Any, loss: Any) -> Any:
    """Returns the optimizer that the config names, with its hyper-parameters."""
    hyper = {name: value for name, value in config.hyper.items() if "batch" not in name}
    return config.METHODS[config.optimizer][0](model, loss, ranks=ranks(), **hyper)


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
