"""Shared code of the examples that compare optimizers: runs over epochs and seeds, tables, curves."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner.state import check_entries

import nn
import optim

Load = Callable[[str | None, int | None, int | None], Any]  # folder, cases for training, for the test (None: all)


@dataclass
class Curve:
    """One run, with an entry per epoch: the mean loss of its updates, the results of `measure`, and seconds."""

    train: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    end: str = ""


def standardized(load: Load) -> Load:
    """Returns a loader of images (n, h, w, c), each channel of each with mean 0 and variance 1 over its pixels."""

    def images(x: Any) -> Any:
        x = x.reshape(-1, 28, 28, 1) if x.ndim == 2 else x
        mean, std = x.mean(axis=(1, 2), keepdims=True), x.std(axis=(1, 2), keepdims=True)
        return ((x - mean) / np.maximum(std, 1e-6)).astype(np.float32)

    def loaded(folder: str | None, train: int | None, test: int | None) -> Any:
        data = load(folder, train, test)
        return data._replace(x_train=images(data.x_train), x_test=images(data.x_test))

    return loaded


def cases(source: Callable[[str | None], Any]) -> Load:
    """Returns a loader of the first cases of a set, from its folder."""
    return lambda folder, train, test: first(source(folder), train, test)


def first(data: Any, train: int | None, test: int | None) -> Any:
    """Returns the first cases of a set: so many, or all for None."""
    cases = {"x_train": data.x_train[:train], "t_train": data.t_train[:train]}
    return data._replace(**cases, x_test=data.x_test[:test], t_test=data.t_test[:test])


def error(model: Any, x: Any, t: Any, piece: int = 1000) -> float:
    """Returns the percentage of wrongly classified cases, computed `piece` cases at a time."""
    pieces = [slice(k, k + piece) for k in range(0, len(x), piece)]
    return 100 * sum(int(np.sum(np.argmax(model(x[p]), axis=1) != t[p])) for p in pieces) / len(x)


def mlp(sizes: Sequence[int], seed: int = 10) -> Any:
    """Returns sigmoid layers and a linear one, weights N(0, 1), biases 0, drawn from the legacy stream of this seed.

    The seed 10 gives the numbers from which all runs of SGN's benchmarks start.
    """
    legacy = np.random.RandomState(seed)

    def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
        return legacy.standard_normal(shape).astype(dtype)

    return nn.models.mlp(sizes, rng=np.random.default_rng(0), activation=nn.Sigmoid, init=normal)


@dataclass
class Config(runner.Config):
    """A run of a number of epochs; `optimizer` is its label."""

    def known_hyper(self) -> dict[str, Any]:
        return {}

    def budget(self) -> float | None:
        return None


def train(
    series: runner.Series,
    label: str,
    optimizer: Any,
    data: Any,
    batch: int,
    epochs: int,
    seed: int,
    measure: Callable[[Any], dict[str, float]],
    seconds: float | None = None,
) -> Curve:
    """Trains for epochs of minibatches in an order drawn from the seed; `seconds` limits the time of the updates."""
    each = -(-len(data.x_train) // batch)  # updates of an epoch
    run = series.train(
        f"{label}-{seed}",
        Config(optimizer=label, seed=seed, updates=epochs * each, log_every=each, time_budget=seconds),
        optimizer,
        nn.data.batches(data.x_train, data.t_train, batch, np.random.default_rng(seed), rest=True),
        measure,
    )
    whole = [record for record in run.records if record["update"] and record["update"] % each == 0]
    names = [n for n in ("test", "error", "seconds") if n in run.records[0]]
    check_entries(whole, ["loss", *names], f"{series.folder / f'{label}-{seed}'}, epoch")
    kept: dict[str, list[float]] = {n: [r[n] for r in whole] for n in names}
    return Curve([r["loss"] for r in whole], **kept, end=run.end if run.failed else "")


def tuned(name: str, rates: Sequence[float], run: Callable[[str, float], Curve]) -> float:
    """Returns the learning rate with the lowest mean loss in the last epoch of a short run, run(label, lr)."""

    def score(lr: float) -> float:
        curve = run(f"tuning-{name}-{lr:g}", lr)
        return math.inf if curve.end or not curve.train else curve.train[-1]

    found = optim.grid_search(score, lr=rates)
    scores = ", ".join(f"{hyper['lr']:g}: {value:.3g}" for hyper, value in found.scores)
    print(f"{name}: learning rate {found.best['lr']:g}; losses of the grid {scores}", flush=True)
    return found.best["lr"]


def method(name: str, **sgn: Any) -> tuple[str, Callable[[Any, Any], Any]]:
    """Returns label and maker: "sgn:10" is SGN with 10 CG steps, "sgd:0.1" SGD with that learning rate."""
    kind, _, number = name.partition(":")
    if kind == "sgn":
        steps = int(number)
        return f"SGN({steps})", lambda model, loss: optim.SGN.preset("paper", model, loss, cg_iterations=steps, **sgn)
    if kind == "sgd":
        return f"SGD({number})", lambda model, loss: optim.SGD(model, loss, float(number))
    raise ValueError(f"{name}: expected sgn:STEPS or sgd:LR")


def at_epoch(curves: Sequence[Curve], name: str, epoch: int) -> Any:
    """Returns that entry of every run that reached the epoch."""
    return np.array([getattr(c, name)[epoch - 1] for c in curves if len(c.train) >= epoch])


def spread(values: Any, digits: int = 3, unit: float = 1.0) -> str:
    """Returns median [lowest, highest] and mean as text, with so many significant digits."""
    if not len(values):
        return "–"
    low, middle, high, mean = (f"{unit * v:.{digits}g}" for v in (*np.quantile(values, (0, 0.5, 1)), np.mean(values)))
    return f"{middle} [{low}, {high}], mean {mean}"


def results(args: argparse.Namespace, name: str) -> Path:
    """Returns the folder of the runs on the problem of this name."""
    return args.out.with_name(f"{args.out.name}-{name}")


def how_many(number: int) -> str:
    """Returns "one run" or "means of 5 runs"."""
    return "one run" if number == 1 else f"means of {number} runs"


def draw(
    args: argparse.Namespace, name: str, curves: dict[str, list[Curve]], ylabels: dict[str, str], logarithmic: bool
) -> None:
    """Draws means over the runs of the entries in `ylabels` ("train", "test", "error"), by epochs and by seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(ylabels)), layout="constrained")
    panels = figure.subplots(len(ylabels), 2, squeeze=False)
    for row, (entry, ylabel) in zip(panels, ylabels.items()):
        for k, (label, runs) in enumerate(curves.items()):
            epochs = min((len(c.train) for c in runs), default=0)
            if not epochs:
                continue
            mean = np.mean([getattr(c, entry)[:epochs] for c in runs], axis=0)
            seconds = np.mean([c.seconds[:epochs] for c in runs], axis=0)
            style = {"label": label, "color": f"C{k}", "ls": "-" if label.lower().startswith(("sgd", "adam")) else "--"}
            row[0].plot(np.arange(1, epochs + 1), mean, **style)
            row[1].plot(seconds, mean, **style)
        row[0].set(ylabel=ylabel, xlabel="epochs")
        row[1].set(xlabel="seconds of updates")
        for axes in row:
            axes.grid(True, alpha=0.3)
            if logarithmic:
                axes.set_yscale("log")
    if panels[0][1].lines:
        panels[0][1].legend()
    figure.suptitle(f"{name}, {how_many(args.seeds)}")
    path = args.out.with_name(f"{args.out.name}-{name}.png")
    runner.save_figure(figure, path, dpi=120)
    print(f"figure: {path}", flush=True)
