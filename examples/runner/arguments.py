"""The arguments of a training: an option for every field of the config and every hyper-parameter."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from runner.loop import Config, Methods


def natural(text: str) -> int:
    """An argparse type: a whole number ≥ 0."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return int(text)


HYPER: dict[str, tuple[Callable[[str], Any], str]] = {
    "batch": (int, "cases of a gradient"),
    "curvature_batch": (int, "cases of a curvature product: the first of the gradient's"),
    "batch_growth": (natural, "cases by which the batch grows every ten updates, the curvature's in proportion"),
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
                number = positive(int) if kind is int else kind  # the optimizer itself says what it takes
                metavar = "X" if kind is float else "N"
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
