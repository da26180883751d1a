"""Recurrent nets on the pathological tasks, by Hessian-free optimization with structural damping.

    python examples/pathological.py --task addition --T 30
    python examples/pathological.py --task addition,multiplication,temporal_order --T 30 --seeds 4 --mu 0.03,0
    python examples/pathological.py --task temporal_order --T 100 --seeds 1 --resume       continues an interrupted run
    python examples/pathological.py --draw                                      table and figure from the files

Every update draws new sequences for the gradient; the first of them serve for the curvature. After it the net is tested
on 2000 others, and if fewer than one in a thousand are wrong, on 10,000 more: if that holds for them, too, the task is
solved, and the run ends. --mu 0 switches structural damping off. Records: one JSON line per update in
OUT/TASK-T-mu-SEED/metrics.jsonl; cpu_seconds are those of all threads, including tests and the drawing of sequences.

Source: Martens & Sutskever (2011); λ₀ = 0.01 · outputs, μ = 0.03, no preconditioner: Sutskever's code. If the loss is a
sum over steps (memorisation), λ₀ is multiplied by their number: with 0.01 · outputs alone, λ rises for ten updates
before full steps are accepted. The code makes 300 CG steps from 0.95 times the last result: 30 from all of it need
fewer products ("momentum", Martens & Sutskever 2012, section 13).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner import Record

import nn
import optim
from nn.data import tasks

Draw = Callable[..., tuple[Any, Any]]
TASKS: dict[str, tuple[Draw, int]] = {  # and the number of outputs
    "addition": (tasks.addition, 1),
    "multiplication": (tasks.multiplication, 1),
    "xor": (tasks.xor, 1),
    "temporal_order": (tasks.temporal_order, 4),
    "temporal_order_3": (partial(tasks.temporal_order, symbols=3), 8),
    "random_permutation": (tasks.random_permutation, 100),
    "memorisation_5": (partial(tasks.noiseless_memorisation, bits=5), 3),
    "memorisation_20": (partial(tasks.noiseless_memorisation, bits=20), 6),
}
SOLVED = 1e-3
ENTRIES = ("test_error", "cpu_seconds")  # of every record
CHUNK = 1000  # test sequences in memory at a time


class WithStates(nn.Module):
    """(z, h): the outputs of nn.models.rnn and all of its hidden states, for structural damping."""

    def __init__(self, hidden: Any, out: Any, every_step: bool) -> None:
        self.hidden, self.out, self.every_step = hidden, out, every_step

    def forward(self, x: Any) -> tuple[Any, Any]:
        h = self.hidden(x)
        return self.out(h if self.every_step else h[:, -1]), h


def network(inputs: int, outputs: int, every_step: bool, rng: np.random.Generator) -> WithStates:
    """Returns the RNN of the paper with new weights."""
    whole = nn.models.rnn(inputs, outputs, rng=rng, every_step=True)
    hidden, out = list(whole)
    return WithStates(hidden, out, every_step)


class Sequences:
    """Endless new sequences for the updates, and the CPU time since the first of them."""

    def __init__(self, series: runner.Series, draw: Draw, n: int, T: int, rng: np.random.Generator) -> None:
        self.series, self.draw, self.n, self.T, self.rng = series, draw, n, T, rng
        self.drawn, self.started = 0, time.process_time()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> tuple[Any, Any]:
        self.drawn += 1
        return runner.on_device(self.series, self.draw(self.n, self.T, rng=self.rng))

    def cpu_seconds(self) -> float:
        """Returns the CPU time of all threads since the start of the run."""
        return time.process_time() - self.started

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state, "drawn": self.drawn, "cpu_seconds": self.cpu_seconds()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.drawn, self.started = state["drawn"], time.process_time() - state["cpu_seconds"]


@dataclass
class Config(runner.Config):
    """A run; `optimizer` describes the damping of the hidden states."""

    def known_hyper(self) -> dict[str, Any]:
        return {"curvature_batch": 500}

    def budget(self) -> float | None:
        return None


def error(series: runner.Series, model: Any, draw: Draw, n: int, T: int, seed: Any) -> float:
    """Returns the share of wrong cases among n sequences, the same ones in every call."""
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, n - first) for first in range(0, n, CHUNK)]
    wrong = 0.0
    for size in sizes:
        x, t = runner.on_device(series, draw(size, T, rng=rng))
        wrong += size * tasks.zero_one(model(x)[0], t)
    return wrong / n


def train(series: runner.Series, args: argparse.Namespace, task: str, mu: float, seed: int) -> list[Record]:
    """Returns the records of a run until the task is solved, or the updates or the CPU seconds are used up."""
    name = f"{task}-{args.T}-{mu:g}-{seed}"
    before = series.folder / name / "metrics.jsonl"
    if series.resume and before.exists() and solved(records := runner.read_records(before, ENTRIES)):
        return records
    draw, outputs = TASKS[task]
    rng = np.random.default_rng(seed)
    x, t = draw(1, args.T, rng=np.random.default_rng(0))
    real = t.dtype.kind == "f"
    steps = t.shape[1] if not real and t.ndim == 2 else 1  # the loss sums over them
    opt = optim.HessianFree.preset(
        "rnn",
        runner.on_device(series, network(x.shape[2], outputs, every_step=steps > 1, rng=rng)),
        nn.SquaredError() if real else nn.SoftmaxCrossEntropy(),
        damping=args.damping * outputs * steps,  # in the units of the loss, section 8.1
        structural=optim.StructuralDamping(mu),
        cg_iterations=args.cg_iterations,
        decay=args.decay,
    )
    config = Config(
        optimizer=f"structural damping, μ = {mu:g}" if mu else "no structural damping",
        hyper={"curvature_batch": args.curvature_batch},
        seed=seed,
        updates=args.updates,
        log_every=1,
    )
    batches = Sequences(series, draw, args.batch, args.T, rng)

    def measured(model: Any) -> Record:
        wrong = error(series, model, draw, 2000, args.T, (seed, 1))
        if wrong < SOLVED:
            wrong = error(series, model, draw, 10_000, args.T, (seed, 2))
        cpu = batches.cpu_seconds()
        if args.verbose:
            print(f"{name}: update {batches.drawn}, {cpu:.1f} CPU seconds, test error {wrong:.4f}", flush=True)
        return {"test_error": wrong, "cpu_seconds": cpu}

    def over(record: Record) -> str:
        if solved([record]):
            return "the task is solved"
        return "the CPU seconds are used up" if record["cpu_seconds"] >= args.cpu_seconds else ""

    return series.train(name, config, opt, batches, measured, ENTRIES, over).records


def solved(records: list[Record]) -> bool:
    """Returns True if the last record has an error below SOLVED."""
    return bool(records) and records[-1].get("test_error", 1.0) < SOLVED


def table(runs: dict[str, list[Record]]) -> str:
    """Returns a row per task, T and μ: the number of solved seeds, and CPU seconds, updates, products of every seed."""
    groups: dict[tuple[str, str, str], list[list[Record]]] = {}
    for name, records in sorted(runs.items()):
        task, T, mu, _ = name.rsplit("-", 3)
        groups.setdefault((task, T, mu), []).append(records)
    rows = [["task", "T", "μ", "seeds solved", "CPU seconds", "updates", "products", "last test error"]]
    for (task, T, mu), found in sorted(groups.items(), key=lambda item: (item[0][0], int(item[0][1]), item[0][2])):
        ends = [
            (
                ("" if solved(records) else "> ") + f"{records[-1]['cpu_seconds']:.0f}",
                f"{records[-1]['update']}",
                f"{sum(record.get('products', 0) for record in records)}",
                f"{records[-1]['test_error']:.4f}",
            )
            for records in found
        ]
        count = sum(map(solved, found))
        columns = [", ".join(column) for column in zip(*ends, strict=True)]
        rows.append([task.replace("_", " "), T, mu, f"{count} of {len(found)}", *columns])
    return runner.markdown(rows)


def draw_figure(runs: dict[str, list[Record]], path: Path) -> None:
    """Draws test errors by CPU seconds, a panel per task and T, with structural damping and without."""
    from matplotlib.figure import Figure

    kinds = sorted({tuple(name.rsplit("-", 3)[:2]) for name in runs}, key=lambda kind: (int(kind[1]), kind[0]))
    columns = min(3, len(kinds))
    rows = math.ceil(len(kinds) / columns)
    figure = Figure(figsize=(4.3 * columns, 3.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(kinds) :]:
        axes.set_visible(False)
    for axes, (task, T) in zip(panels.flat, kinds):
        shown = [(name, records) for name, records in sorted(runs.items()) if name.rsplit("-", 3)[:2] == [task, T]]
        labels: set[str] = set()
        for name, records in shown:
            draw_run(axes, float(name.rsplit("-", 3)[2]), records, labels)
        axes.axhline(SOLVED, color="gray", lw=0.8)
        axes.set(title=f"{task.replace('_', ' ')}, T = {T}", xlabel="CPU seconds")
        axes.grid(True, alpha=0.3)
        axes.legend()
    for axes in panels[:, 0]:
        axes.set_ylabel("test zero-one error")
    runner.save_figure(figure, path, dpi=110)


def draw_run(axes: Any, mu: float, records: list[Record], labels: set[str]) -> None:
    """Draws the curve of one run; the first of each μ has a label in the legend."""
    label = f"μ = {mu:g}" if mu else "without"
    shown = [max(r["test_error"], SOLVED / 10) for r in records]
    seconds = [r["cpu_seconds"] for r in records]
    color = "C0" if mu else "C1"
    axes.semilogy(seconds, shown, "-" if mu else "--", color=color, label=None if label in labels else label)
    if solved(records):
        axes.plot(seconds[-1], shown[-1], "o", color=color, ms=4)
    labels.add(label)


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("pathological.py", __doc__)
    whole = runner.positive(int)
    p.add_argument("--task", default="addition", help=f"comma-separated list of {', '.join(TASKS)} (addition)")
    p.add_argument("--T", type=whole, default=30, metavar="N", help="length of the sequences (30)")
    seeds = p.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=runner.natural, default=0, metavar="N", help="seed of weights and sequences (0)")
    seeds.add_argument("--seeds", type=whole, metavar="N", help="runs the seeds 0 to N − 1 instead")
    text = "comma-separated factors μ of structural damping; 0: none (0.03)"
    p.add_argument("--mu", type=runner.listed(float), default=[0.03], metavar="X,…", help=text)
    p.add_argument("--damping", type=float, default=0.01, metavar="X", help="λ₀ per output and step with a loss (0.01)")
    p.add_argument("--batch", type=whole, default=2000, metavar="N", help="cases of a gradient (2000)")
    p.add_argument("--curvature-batch", type=whole, default=500, metavar="N", help="cases of a product (500)")
    p.add_argument("--cg-iterations", type=whole, default=30, metavar="N", help="CG steps of an update (30)")
    p.add_argument("--decay", type=float, default=1.0, metavar="X", help="ζ of the warm start (1)")
    p.add_argument("--updates", type=whole, default=1000, metavar="N", help="number of updates at the most (1000)")
    p.add_argument("--cpu-seconds", type=runner.positive(float), default=math.inf, metavar="X", help="CPU time limit")
    text = "folder for the results (runs/pathological)"
    p.add_argument("--out", type=Path, default=Path("runs/pathological"), metavar="DIR", help=text)
    p.add_argument("--quiet", dest="verbose", action="store_false", help="no line per update")
    p.add_argument("--draw", action="store_true", help="only print the table and draw the figure from the files")
    runner.Series.add_options(p)
    return p


@runner.one_line("pathological.py")
def main() -> int:
    """Trains on every task with every seed and μ, prints the table and draws the figure."""
    p = parser()
    args = p.parse_args()
    tasks_given: list[str] = args.task.split(",")
    for task in tasks_given:
        if task not in TASKS:
            p.error(f"--task {task}: expected one of {', '.join(TASKS)}")
    with p.refusing():
        for task in tasks_given:
            TASKS[task][0](1, args.T, rng=np.random.default_rng(0))
    if not args.draw:
        with runner.Series(p.prog, args.out, args) as series:
            seeds = list(range(args.seeds)) if args.seeds else [args.seed]
            factors: list[float] = args.mu
            for seed, task, mu in product(seeds, tasks_given, factors):
                records = train(series, args, task, mu, seed)
                last, word = records[-1], "solved" if solved(records) else "not solved"
                spent = f"{last['update']} updates, {last['cpu_seconds']:.1f} CPU seconds"
                print(f"{task}, T = {args.T}, μ = {mu:g}, seed {seed}: {word}, {spent}", flush=True)
    files = {path.parent.name: runner.read_records(path, ENTRIES) for path in sorted(args.out.glob("*/metrics.jsonl"))}
    runs = {name: records for name, records in files.items() if records}  # a run that has just begun has none
    if not runs:
        p.error(f"{args.out} has no records")
    print(table(runs))
    draw_figure(runs, args.out / "pathological.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
