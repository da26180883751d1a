"""The command line of a training, and the folder that it leaves."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import nn
from nn.io import write_whole
from runner.loop import Config, Methods, Record, Run, StateDoesNotFit
from runner.report import as_json, draw_training, read_records, table

HYPER: dict[str, tuple[type, str]] = {
    "batch": (int, "cases of a gradient"),
    "curvature_batch": (int, "cases of a curvature product: the first of the gradient's"),
    "double_batches": (int, "updates after which the batches are twice as large"),
    "lr": (float, "learning rate"),
    "momentum": (float, "μ"),
    "damping": (float, "λ at the start"),
    "cg_iterations": (int, "the most CG steps of an update"),
    "decay": (float, "ζ: CG starts from ζ times its last result"),
    "l2": (float, "weight decay"),
}


class Parser(argparse.ArgumentParser):
    """Takes an option for every field of the config and every hyper-parameter; its errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows all arguments)\n")

    def add_common(self, methods: Methods, config: type[Config], folder: str) -> None:
        """folder: what --help calls the folder for the results where --out is not given."""
        self.add_argument("--optimizer", choices=methods, help="default: hf, Hessian-free")
        for name, (kind, text) in HYPER.items():
            given = {m: hyper[name] for m, (_, hyper) in methods.items() if name in hyper}
            if given:
                defaults = ", ".join(f"{m} {value:g}" for m, value in given.items() if value is not None)
                number = positive(int) if kind is int else float  # the optimizer itself says what it takes
                metavar = "N" if kind is int else "X"
                self.add_argument(option(name), type=number, metavar=metavar, help=f"{text} ({defaults})")
        self.add_argument("--seed", type=natural, metavar="N", help="of the weights and of the order of the cases (0)")
        self.add_argument("--device", choices=("cpu", "gpu"), help="gpu needs CuPy (cpu)")
        budget = f"of training, evaluation excluded ({config.BUDGET:g})"
        self.add_argument("--time-budget", type=positive(float), metavar="SECONDS", help=budget)
        self.add_argument("--updates", type=positive(int), metavar="N", help="end after so many")
        patience = "end after so many records without a better validation set"
        self.add_argument("--patience", type=positive(int), metavar="N", help=patience)
        interval = f"of training between records ({config.log_interval:g})"
        self.add_argument("--log-interval", type=positive(float), metavar="SECONDS", help=interval)
        self.add_argument("--log-every", type=positive(int), metavar="N", help="updates between records instead")
        checkpoints = f"of training between checkpoints ({config.checkpoint_every:g})"
        self.add_argument("--checkpoint-every", type=positive(float), metavar="SECONDS", help=checkpoints)
        self.add_argument("--out", type=Path, metavar="DIR", help=f"for the results ({folder})")
        self.add_flag("--resume", "go on from the last checkpoint in DIR, bit for bit; begin where there is none")
        self.add_flag("--restart", "begin anew although the run in DIR is not over")
        self.add_flag("--draw", "only draw the records in DIR, also while the run is under way")

    def add_flag(self, name: str, text: str) -> None:
        self.add_argument(name, action="store_const", const=True, help=text)


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


@dataclass
class Job:
    """What an example does, for `main`: the functions are called in this order."""

    parser: Parser
    config: type[Config]
    folder: Callable[[Any], str]  # the name of the folder below runs/
    prepare: Callable[[Any], tuple[Any, Any]]  # config -> optimizer, data
    train: Callable[..., Run]  # config, optimizer, data, and the keywords of runner.train
    numbers: Callable[[Record], str]  # a record for the progress bar
    finish: Callable[[Any, Any, Any, Path], tuple[Record, str]]  # model, config, data, folder -> measures, last words
    drawn: tuple[str, ...]  # what of a record is in the figure
    ylabel: str


@dataclass
class Stop:
    """Inside, the first Ctrl-C or SIGTERM asks for an end after the present update; the second ends the program."""

    reason: str = ""
    code: int = 0
    before: dict[signal.Signals, Any] = field(default_factory=dict)

    def __enter__(self) -> Stop:
        self.before = {s: signal.signal(s, self.ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def ask(self, number: int, frame: Any) -> None:
        self.reason, self.code = f"stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}", 128 + number
        self.__exit__()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


LAYOUT = "{percentage:3.0f}%|{bar:10}| {elapsed}<{remaining}{postfix}"


def main(job: Job) -> int:
    """The whole of an example: arguments, data, training, results. Returns the exit code."""
    checkpoints: nn.Checkpoints | None = None
    p = job.parser
    given = {name: value for name, value in vars(p.parse_args()).items() if value is not None}
    for package in ("tqdm", "matplotlib", "safetensors"):
        if importlib.util.find_spec(package) is None:
            p.error(f"{package} is not installed: pip install -e '.[examples]'")
    try:
        given["hyper"] = {name: given.pop(name) for name in HYPER if name in given}
        resume, restart, draw = (given.pop(flag, False) for flag in ("resume", "restart", "draw"))
        out = given.pop("out", None) or Path("runs") / job.folder(job.config(**given))
        if out.is_file():  # told before the data are made
            raise FileExistsError(f"{out} is a file, results go to a folder")
        if draw:
            print(draw_again(job, out))
            return 0
        checkpoints = nn.Checkpoints(out)
        state = None if restart else found(checkpoints, resume)
        config = job.config(**(given if state is None else continued(job.config, given, state["config"])))
        optimizer, data = job.prepare(config)
        out.mkdir(parents=True, exist_ok=True)
        append = begin(out, config, checkpoints, state)
    except KeyboardInterrupt:
        print("ended by Ctrl-C, without results", file=sys.stderr)
        return 128 + signal.SIGINT
    except (ImportError, OSError, ValueError) as problem:
        p.error(" ".join(str(problem).split()))
    try:
        with Stop() as stop:
            run = with_progress(job, config, optimizer, data, append, stop, checkpoints=checkpoints, state=state)
        print(results(job, run, config, data, out))
    except KeyboardInterrupt:
        print(f"ended by Ctrl-C; {last_checkpoint(checkpoints)}", file=sys.stderr)
        return 128 + signal.SIGINT
    except StateDoesNotFit as problem:
        p.error(str(problem))
    except OSError as problem:
        print(f"{p.prog}: {problem}; {last_checkpoint(checkpoints)}", file=sys.stderr)
        return 1
    return stop.code or int(run.failed)


def found(checkpoints: nn.Checkpoints, resume: bool) -> dict[str, Any] | None:
    """The state to go on from; None for a run from the start. Refuses to lose a run that is not over."""
    state = checkpoints.load()
    if checkpoints.refused is not None:
        print(f"{checkpoints.refused}; taking {checkpoints.previous.name}", file=sys.stderr)
    if state is not None and not is_run(state):
        raise StateDoesNotFit(f"{checkpoints.path.parent} has the checkpoint of another program")
    if resume:
        if state is None:
            print(f"{checkpoints.path.parent} has no checkpoint: the run begins", file=sys.stderr)
        return state
    if state is not None and (state["run"]["stopped"] or not state["run"]["end"]):
        update = state["run"]["update"]
        raise ValueError(
            f"{checkpoints.path.parent} has a run that is not over, at update {update}: "
            "--resume goes on with it, --restart begins anew"
        )
    return None


def is_run(state: dict[str, Any]) -> bool:
    """Whether a checkpoint is one of runner.train."""
    run, config = state.get("run"), state.get("config")
    known = {"update", "end", "stopped", "records"}
    return isinstance(run, dict) and isinstance(config, dict) and known <= run.keys()


def config_of(config: type[Config], saved: dict[str, Any]) -> Config:
    """The config that was saved; ValueError where it is none of this program's."""
    try:
        return config(**saved)
    except (KeyError, TypeError, ValueError) as misfit:
        raise ValueError(f"the run in this folder is one of another program, or of another version: {misfit}") from None


def continued(config: type[Config], given: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the saved config, with what of them may change as it is given now."""
    whole = config_of(config, saved)
    hyper = given.get("hyper", {})
    for name, value in [*given.items(), *hyper.items()]:
        before = whole.hyper.get(name) if name in hyper else getattr(whole, name)
        if value != before and name != "hyper" and name not in whole.free():
            raise ValueError(f"{option(name)} {value} does not go with --resume: the run began with {before}")
    return saved | {name: value for name, value in given.items() if name != "hyper"}


def begin(
    out: Path, config: Config, checkpoints: nn.Checkpoints, state: dict[str, Any] | None
) -> Callable[[Record], None]:
    """Makes the folder what it must be before the first update, without records later than the checkpoint.

    Returns what adds a record.
    """
    if state is None:
        checkpoints.remove()
        (out / "best.safetensors").unlink(missing_ok=True)
    for part in out.glob("*.part"):  # of a run that was killed
        part.unlink()
    write_whole(out / "config.json", lambda file: file.write(as_json(asdict(config), indent=2).encode() + b"\n"))
    return record_file(out / "metrics.jsonl", state["run"]["records"] if state else [])


def record_file(path: Path, records: list[Record]) -> Callable[[Record], None]:
    """Writes records, one JSON line each; what it returns appends one."""
    path.write_text("".join(as_json(record) + "\n" for record in records))

    def append(record: Record) -> None:
        with open(path, "a") as file:
            print(as_json(record), file=file)

    return append


def with_progress(
    job: Job, config: Config, optimizer: Any, data: Any, append: Callable[[Record], None], stop: Stop, **keywords: Any
) -> Run:
    """job.train with a bar."""
    from tqdm import tqdm

    with tqdm(total=1.0, bar_format=LAYOUT) as bar:

        def show(record: Record) -> None:
            bar.set_postfix_str(job.numbers(record))
            append(record)

        return job.train(
            config,
            optimizer,
            data,
            on_record=show,
            on_update=lambda fraction: bar.update(min(fraction, 1.0) - bar.n),
            should_stop=lambda: stop.reason,
            **keywords,
        )


def results(job: Job, run: Run, config: Config, data: Any, out: Path) -> str:
    """Writes models, figure and summary; returns what is to be said."""
    run.model.eval()
    nn.save(run.model, out / "model.safetensors")
    measures, words = job.finish(run.model, config, data, out)
    last = {"end": run.end, "seconds": run.seconds, "update": run.update, **measures}
    if run.best is not None:
        last |= {f"best_{config.MONITOR}": run.best["value"], "best_update": run.best["update"]}
        own = run.model.state_dict()
        run.model.load_state_dict(run.best["model"])
        nn.save(run.model, out / "best.safetensors")
        run.model.load_state_dict(own)
    (out / "summary.json").write_text(as_json(last | {"config": asdict(config)}, indent=2) + "\n")
    draw_training(run.records, job.drawn, job.ylabel, job.folder(config), out / "training.png")
    words = words and words + "\n\n"
    counted = f"{run.end}: {run.update} updates, {run.seconds:.0f} s of training; results in {out}"
    return f"{words}{table(run, measures)}\n{counted}"


def draw_again(job: Job, out: Path) -> Path:
    """training.png from the records in the folder."""
    config = config_of(job.config, json.loads((out / "config.json").read_text()))
    records = read_records(out / "metrics.jsonl")
    if not records:
        raise ValueError(f"{out / 'metrics.jsonl'} has no records yet")
    draw_training(records, job.drawn, job.ylabel, job.folder(config), out / "training.png")
    return out / "training.png"


def last_checkpoint(checkpoints: nn.Checkpoints) -> str:
    """Where the run can go on, in words."""
    try:
        state = checkpoints.load()
    except (OSError, ValueError) as problem:
        return str(problem)
    if state is None:
        return "there is no checkpoint"
    return f"--resume goes on from the checkpoint of update {state['run']['update']} in {checkpoints.path.parent}"
