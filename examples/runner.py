"""What the training examples share: the loop with its records, a clean end by Ctrl-C, the command line, the curve."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import optim

Record = dict[str, Any]
Methods = dict[str, tuple[Callable[..., Any], dict[str, Any]]]

HYPER: dict[str, tuple[type, str]] = {
    "batch": (int, "cases of a gradient"),
    "curvature_batch": (int, "cases of a curvature product: the first of the gradient's"),
    "lr": (float, "learning rate"),
    "momentum": (float, "μ"),
    "damping": (float, "λ at the start"),
    "cg_iterations": (int, "the most CG steps of an update"),
    "decay": (float, "ζ: CG starts from ζ times its last result"),
    "l2": (float, "weight decay"),
}


@dataclass
class Config:
    """One run. `hyper` holds what differs from the defaults in METHODS."""

    METHODS: ClassVar[Methods] = {}

    optimizer: str = "hf"
    hyper: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    time_budget: float = 210.0  # seconds of training, evaluation excluded
    updates: int | None = None  # at most
    log_interval: float = 1.0  # seconds of training from record to record

    def __post_init__(self) -> None:
        self.hyper = self.METHODS[self.optimizer][1] | self.hyper
        for name in self.hyper.keys() - self.METHODS[self.optimizer][1].keys():
            raise ValueError(f"{option(name)} means nothing to --optimizer {self.optimizer}")


@dataclass
class Run:
    """What a training leaves: the model, one record per log interval, and why it ended."""

    model: Any
    records: list[Record]
    end: str = ""
    failed: bool = False


# -- the loop ---------------------------------------------------------------------------------------------


def optimizer_for(config: Config, model: Any, loss: Any) -> Any:
    """The optimizer that the config names, with its hyper-parameters."""
    hyper = {name: value for name, value in config.hyper.items() if "batch" not in name}
    return config.METHODS[config.optimizer][0](model, loss, **hyper)


def train(
    config: Config,
    optimizer: Any,
    batches: Iterable[tuple[Any, Any]],
    errors: Callable[[Any], Record],
    *,
    on_record: Callable[[Record], None] = lambda record: None,
    on_update: Callable[[float], None] = lambda fraction: None,
    should_stop: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Updates until the time or the updates are used up, or should_stop() gives a reason. `clock` tells seconds.

    batches: pairs (x, t) without end. errors(model) measures the model for a record. on_record sees every record as
    it is made; on_update sees after every update how much of the run is done.
    """
    run, seconds, updates, logged = Run(optimizer.model, []), 0.0, 0, 0.0
    infos: list[optim.StepInfo] = []

    def record() -> None:
        measured = errors(run.model)
        run.records.append({"seconds": seconds, "update": updates, **measured, **summary(infos, seconds - logged)})
        on_record(run.records[-1])

    record()
    for x, t in batches:
        run.end = should_stop() or finished(config, seconds, updates)
        if run.end:
            break
        started = clock()
        cases = config.hyper.get("curvature_batch", len(x))
        curvature = {"curvature_batch": (x[:cases], t[:cases])} if cases < len(x) else {}
        try:
            infos.append(optimizer.step(x, t, **curvature))
        except optim.TrainingDiverged as failure:
            run.end, run.failed = str(failure), True
            break
        seconds, updates = seconds + clock() - started, updates + 1
        on_update(max(seconds / config.time_budget, updates / (config.updates or math.inf)))
        if seconds >= logged + config.log_interval:
            record()
            infos, logged = [], seconds
    if infos:
        record()
    return run


def finished(config: Config, seconds: float, updates: int) -> str:
    if updates == config.updates:
        return "all updates are done"
    return "the time is used up" if seconds >= config.time_budget else ""


def summary(infos: list[optim.StepInfo], span: float) -> Record:
    """What the optimizer said of some updates that took `span` seconds: the last word, the mean loss, rates."""
    if not infos:
        return {}
    names = ("damping", "reduction_ratio", "step_size", "cg_iterations")
    return {
        "loss": float(np.mean([info.loss for info in infos])),
        **{name: getattr(infos[-1], name) for name in names},
        "products_per_second": sum(info.products for info in infos) / span,
        "updates_per_second": len(infos) / span,
        "rejected": sum(info.rejected for info in infos),
    }


# -- what a person sees -----------------------------------------------------------------------------------


def progress(record: Record, text: str) -> str:
    """One record for the progress bar: `text`, and what the optimizer does."""
    if record.get("cg_iterations"):
        text += f", λ {record['damping']:.2g}, {record['cg_iterations']} CG steps"
        return f"{text}, {record['products_per_second']:.0f} products/s"
    return f"{text}, {record['updates_per_second']:.0f} updates/s" if "loss" in record else text


def draw_training(records: list[Record], names: tuple[str, ...], ylabel: str, title: str, path: Path) -> None:
    """What is measured against seconds, and below it the damping, or the loss where there is none."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 6), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    for name, style in zip(names, ("-", "--"), strict=True):
        top.semilogy([r["seconds"] for r in records], [r[name] for r in records], style, label=name.replace("_", " "))
    top.set(ylabel=ylabel, title=title)
    top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    top.yaxis.set_major_formatter("{x:g}")
    top.yaxis.set_minor_formatter("")
    top.legend()
    later = [r for r in records if "loss" in r]
    name = "damping" if any(r["damping"] for r in later) else "loss"
    bottom.semilogy([r["seconds"] for r in later], [r[name] for r in later], "C2", label=name)
    bottom.set(ylabel=name, xlabel="seconds of training")
    for axes in (top, bottom):
        axes.grid(True, alpha=0.3)
    figure.savefig(path, dpi=120)


LAYOUT = "{percentage:3.0f}%|{bar:10}| {elapsed}<{remaining}{postfix}"


class Stop:
    """Inside, the first Ctrl-C or SIGTERM asks for an end after the present update; the second ends the program."""

    reason, code = "", 0

    def __enter__(self) -> Stop:
        self.before = {s: signal.signal(s, self.ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def ask(self, number: int, frame: Any) -> None:
        self.reason, self.code = f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}", 128 + number
        self.__exit__()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


# -- the command line -------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Takes an option for every field of the config and every hyper-parameter; its errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows all arguments)\n")

    def add_common(self, methods: Methods, config: type[Config]) -> None:
        self.add_argument("--optimizer", choices=methods, help="default: hf, Hessian-free")
        for name, (kind, text) in HYPER.items():
            given = {m: hyper[name] for m, (_, hyper) in methods.items() if name in hyper}
            if given:
                defaults = ", ".join(f"{m} {value:g}" for m, value in given.items())
                number = positive(int) if kind is int else float  # the optimizer itself says what it takes
                metavar = "N" if kind is int else "X"
                self.add_argument(option(name), type=number, metavar=metavar, help=f"{text} ({defaults})")
        self.add_argument("--seed", type=natural, metavar="N", help="of the weights and of the order of the cases (0)")
        budget = f"of training ({config.time_budget:g})"
        self.add_argument("--time-budget", type=positive(float), metavar="SECONDS", help=budget)
        self.add_argument("--updates", type=positive(int), metavar="N", help="end after so many")
        self.add_argument("--log-interval", type=positive(float), metavar="SECONDS", help="between records (1)")


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def positive(kind: type) -> Callable[[str], Any]:
    """An argparse type: a finite number above zero."""

    def number(text: str) -> Any:
        if not 0 < kind(text) < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a finite number above zero")
        return kind(text)

    number.__name__ = "whole number" if kind is int else "number"  # argparse says "invalid whole number value"
    return number


def natural(text: str) -> int:
    """An argparse type: a whole number ≥ 0."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return int(text)


def as_json(record: Record, indent: int | None = None) -> str:
    """JSON knows neither NaN nor infinity: null in their place."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite, indent=indent)


@dataclass
class Job:
    """What an example does, for `main`: the functions are called in this order."""

    parser: Parser  # with --out among its options
    config: Callable[..., Config]
    prepare: Callable[[Any], tuple[Any, Any]]  # config -> optimizer, data
    train: Callable[..., Run]  # config, optimizer, data, on_record=, on_update=, should_stop=
    numbers: Callable[[Record], str]  # a record for the progress bar
    save: Callable[[Run, Any, Any, Path], str]  # writes the results, returns the last words
    folder: Callable[[Any], str]  # the name of the folder below runs/


def main(job: Job) -> int:
    p = job.parser
    given = {name: value for name, value in vars(p.parse_args()).items() if value is not None}
    for package in ("tqdm", "matplotlib", "safetensors"):
        if importlib.util.find_spec(package) is None:
            p.error(f"{package} is not installed: pip install -e '.[examples]'")
    try:
        out = given.pop("out", None)
        hyper = {name: given.pop(name) for name in HYPER if name in given}
        config = job.config(**given, hyper=hyper)
        out = out or Path("runs") / job.folder(config)
        if out.is_file():  # told before the data are made
            raise FileExistsError(f"{out} is a file, results go to a folder")
        optimizer, data = job.prepare(config)
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.jsonl").write_text("")
    except (ImportError, OSError, ValueError) as problem:
        p.error(" ".join(str(problem).split()))
    from tqdm import tqdm

    with tqdm(total=1.0, bar_format=LAYOUT) as bar, Stop() as stop:

        def show(record: Record) -> None:
            bar.set_postfix_str(job.numbers(record))
            with open(out / "metrics.jsonl", "a") as file:
                print(as_json(record), file=file)

        run = job.train(
            config,
            optimizer,
            data,
            on_record=show,
            on_update=lambda fraction: bar.update(min(fraction, 1.0) - bar.n),
            should_stop=lambda: stop.reason,
        )
    print(job.save(run, config, data, out))
    return stop.code or int(run.failed)
