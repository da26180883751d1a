"""CURVES: squared error per image against seconds, Hessian-free beside Adam at several learning rates.

    python benchmarks/autoencoder_race.py --out runs/race                   run everything, in turn
    python benchmarks/autoencoder_race.py --only hf --out runs/race         one contender
    python benchmarks/autoencoder_race.py --draw --out runs/race            figure and table from the files

Every contender runs in a process of its own on one thread, and its seconds are CPU seconds of that process: so
the figures hold on a busy machine, and contenders may run beside each other. Evaluation is not counted.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import autoencoder

MARKS = (30, 60, 120, 240, 360, 500, 700, 900, 1200)


def contenders(budget: float) -> dict[str, tuple[str, dict[str, Any], float]]:
    """name -> optimizer, hyper-parameters, seconds: the learning rates that are out of the race early are cut short."""
    found: dict[str, tuple[str, dict[str, Any], float]] = {"hf": ("hf", {}, budget)}
    for lr, share in ((1e-4, 0.1), (3e-4, 0.6), (1e-3, 0.6), (3e-3, 1.0), (1e-2, 0.1), (3e-2, 0.05), (1e-1, 0.05)):
        found[f"adam-{lr:g}"] = ("adam", {"lr": lr}, share * budget)
    return found


def run(name: str, budget: float, out: Path) -> None:
    optimizer, hyper, seconds = contenders(budget)[name]
    config = autoencoder.Config(optimizer=optimizer, hyper=hyper, time_budget=seconds, log_interval=5)
    method = autoencoder.build(config)
    method.objective.threads = 1
    with open(out / f"{name}.jsonl", "w") as file:

        def write(record: dict[str, Any]) -> None:
            print(autoencoder.as_json(record), file=file, flush=True)

        autoencoder.train(config, method, autoencoder.load(config), on_record=write, clock=time.process_time)


def read(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: [json.loads(line) for line in path.open()] for path in sorted(out.glob("*.jsonl"))}


def table(records: dict[str, list[dict[str, Any]]], key: str) -> None:
    """Markdown on standard output: `key` of every contender at the marks that it reached."""
    print(f"\n| {key.replace('_', ' ')} | " + " | ".join(f"{m} s" for m in MARKS) + " | updates |")
    print("|---" * (len(MARKS) + 2) + "|")
    for name, rows in records.items():
        cells = []
        for mark in MARKS:
            reached = [r[key] for r in rows if r["seconds"] <= mark + 3]
            cells.append(f"{reached[-1]:.2f}" if rows[-1]["seconds"] >= mark - 3 else "–")
        print(f"| {name} | " + " | ".join(cells) + f" | {rows[-1]['update']} |")


def draw(out: Path) -> None:
    """race.png, and the tables of docs/benchmarks.md on standard output."""
    from matplotlib.figure import Figure

    records = read(out)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharey=True), ("train_error", "test_error"), strict=True):
        table(records, key)
        for name, rows in records.items():
            width = 2 if name.startswith("hf") else 1
            axes.loglog([r["seconds"] for r in rows[1:]], [r[key] for r in rows[1:]], label=name, lw=width)
        axes.set(xlabel="CPU seconds of one core", title=f"CURVES, {key.replace('_', ' ')}")
        axes.grid(True, which="both", alpha=0.3)
    figure.axes[0].set(ylabel="squared error per image")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(out / "race.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1200.0, help="CPU seconds of the finalists")
    parser.add_argument("--out", type=Path, default=Path("runs/race"))
    parser.add_argument("--only", nargs="*", help="names of contenders to run")
    parser.add_argument("--draw", action="store_true", help="only draw what is there")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = [] if args.draw else args.only or list(contenders(args.budget))
    if len(names) == 1:
        run(names[0], args.budget, args.out)
        return
    for name in names:
        command = [sys.executable, __file__, "--only", name, "--budget", str(args.budget), "--out", str(args.out)]
        subprocess.run(command, check=True)
    draw(args.out)


if __name__ == "__main__":
    main()
