"""The arguments of a training: an option for every field of the config and every hyper-parameter."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from runner.loop import Config, Methods
from runner.ranks import is_first


def natural(text: str) -> int:
    """Reads a whole number ≥ 0; an argparse type."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return int(text)


HYPER: dict[str, tuple[Callable[[str], Any], str]] = {
    "batch": (int, "number of cases of a gradient"),
    "curvature_batch": (int, "number of cases of a curvature product: the first of the gradient's"),
    "batch_growth": (natural, "cases added to the batch every ten updates; the curvature's grows in proportion"),
    "lr": (float, "learning rate"),
    "momentum": (float, "μ"),
    "damping": (float, "λ at the start"),
    "cg_iterations": (int, "maximum number of CG steps of an update"),
    "decay": (float, "ζ: CG starts from ζ times its last result"),
    "l2": (float, "weight decay"),
}


class Parser(argparse.ArgumentParser):
    """Takes an option for every field of the config and every hyper-parameter; its errors are one line.

    prog: the name of the script; text: its module's docstring, which --help shows as it is.
    """

    def __init__(self, prog: str, text: str | None) -> None:
        super().__init__(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)

    def _print_message(self, message: str, file: Any = None) -> None:
        if is_first():
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows all arguments)\n")

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Ends the program with one line for a file or an argument inside that does not fit, or not into memory."""
        try:
            yield
        except (ImportError, OSError, ValueError, MemoryError, OverflowError) as problem:
            self.error(" ".join(str(problem).split()))

    def add_common(self, methods: Methods, config: type[Config], folder: str) -> None:
        """Adds the options of a training; --help shows `folder` as the default of --out."""
        self.add_argument("--optimizer", choices=methods, help="default: hf, Hessian-free")
        for name, (kind, text) in HYPER.items():
            given = {m: hyper[name] for m, (_, hyper) in methods.items() if name in hyper}
            if given:
                defaults = ", ".join(f"{m} {value:g}" for m, value in given.items() if value is not None)
                number = positive(int) if kind is int else kind  # the optimizer checks the range
                metavar = "X" if kind is float else "N"
                self.add_argument(option(name), type=number, metavar=metavar, help=f"{text} ({defaults})")
        self.add_argument("--seed", type=natural, metavar="N", help="seed of weights and of the order of the cases (0)")
        add_device(self)
        budget = f"seconds of training, evaluation excluded ({config.BUDGET:g})"
        self.add_argument("--time-budget", type=positive(float), metavar="SECONDS", help=budget)
        text = "CPU seconds of training in place of --time-budget, for a machine with other work"
        self.add_argument("--cpu-seconds", type=positive(float), metavar="SECONDS", help=text)
        self.add_argument("--updates", type=positive(int), metavar="N", help="number of updates at the most")
        patience = "stop after this number of records without a better error on the validation set"
        self.add_argument("--patience", type=positive(int), metavar="N", help=patience)
        interval = f"seconds of training between records ({config.log_interval:g})"
        self.add_argument("--log-interval", type=positive(float), metavar="SECONDS", help=interval)
        self.add_argument("--log-every", type=positive(int), metavar="N", help="updates between records instead")
        checkpoints = f"seconds of training between checkpoints ({config.checkpoint_every:g})"
        self.add_argument("--checkpoint-every", type=positive(float), metavar="SECONDS", help=checkpoints)
        self.add_argument("--out", type=Path, metavar="DIR", help=f"folder for the results ({folder})")
        self.add_flag("--resume", "continue from the last checkpoint in DIR, bit for bit; without one, start")
        self.add_flag("--restart", "start over, although the run in DIR is not finished")
        self.add_flag("--draw", "only draw the records in DIR, even while the run is in progress")

    def add_runs(self, *, seeds: int, epochs: str, out: str, text: str) -> None:
        """Adds the options of runs over seeds and epochs; `epochs` and `text` are the help of --epochs and --out."""
        self.add_argument("--seeds", type=positive(int), default=seeds, help=f"number of runs per method ({seeds})")
        self.add_argument("--epochs", type=positive(int), help=epochs)
        self.add_argument("--data-dir", help="folder of the data sets")
        self.add_argument("--out", type=Path, default=Path(out), help=text)

    def add_limits(self) -> None:
        """Adds the options for parts of a data set, for a time limit and for other seeds."""
        self.add_argument("--seed", type=natural, default=0, help="first of the seeds (0)")
        self.add_argument("--seconds", type=positive(float), help="time limit of the updates of a run")
        for name, use in (("--n-train", "training"), ("--n-test", "test")):
            text = f"number of cases for {use}, the first of the set (all)"
            self.add_argument(name, type=positive(int), help=text)

    def add_flag(self, name: str, text: str) -> None:
        """Adds an option without a value: True if it is given, None otherwise."""
        self.add_argument(name, action="store_const", const=True, help=text)


def add_device(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Adds --device."""
    parser.add_argument("--device", choices=("cpu", "gpu"), default=default, help="gpu needs CuPy (cpu)")


def option(name: str) -> str:
    """Returns the option of a field: --log-every for log_every."""
    return "--" + name.replace("_", "-")


def positive(kind: type) -> Callable[[str], Any]:
    """Returns an argparse type that reads a finite number above zero."""

    def number(text: str) -> Any:
        if not 0 < kind(text) < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a finite number above zero")
        return kind(text)

    number.__name__ = "whole number" if kind is int else "number"  # argparse says "invalid whole number value"
    return number


def listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Returns an argparse type that reads several of a kind, separated by commas."""

    def read(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    return read
