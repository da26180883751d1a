"""Squared error per image against seconds: Hessian-free and KFAC, Adam and Nesterov at several learning rates.

    python benchmarks/autoencoder_race.py --out runs/race                   CURVES, everything, in turn
    python benchmarks/autoencoder_race.py --only hf --out runs/race         one contender
    python benchmarks/autoencoder_race.py --draw --out runs/race            figure and tables from the files
    python benchmarks/autoencoder_race.py --data mnist --out runs/mnist     another data set: mnist, faces

Every contender runs in a process of its own on one thread, and its seconds are CPU seconds of that process, so
the figures hold on a busy machine, and contenders may run at the same time. Evaluation is not counted.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import autoencoder

MARKS = (30, 60, 120, 240, 360, 500, 700, 900, 1200)


ADAM = {  # learning rate: share of the budget; rates that fall behind early have a small one
    "curves": {1e-4: 0.1, 3e-4: 0.6, 1e-3: 0.6, 3e-3: 1.0, 1e-2: 0.1, 3e-2: 0.05, 1e-1: 0.05},
    "mnist": {1e-4: 0.1, 3e-4: 0.1, 1e-3: 1.0, 3e-3: 0.1, 1e-2: 0.05},
    "faces": {1e-5: 0.1, 3e-5: 0.1, 1e-4: 1.0, 3e-4: 0.1, 1e-3: 0.1},
}
NESTEROV = {  # with momentum 0.99
    "curves": {},
    "mnist": {1e-4: 0.1, 3e-4: 0.1, 1e-3: 0.1, 3e-3: 0.1},
    "faces": {1e-4: 0.1, 3e-4: 0.1, 1e-3: 0.1},
}
KFAC_SHARE = 0.2  # share of the budget


def contenders(data: str, budget: float) -> dict[str, tuple[str, dict[str, Any], float]]:
    """Returns optimizer, hyper-parameters and seconds by name."""
    found: dict[str, tuple[str, dict[str, Any], float]] = {
        "hf": ("hf", {}, budget),
        "kfac": ("kfac", {}, KFAC_SHARE * budget),
    }
    for lr, share in ADAM[data].items():
        found[f"adam-{lr:g}"] = ("adam", {"lr": lr}, share * budget)
    for lr, share in NESTEROV[data].items():
        found[f"nesterov-{lr:g}"] = ("nesterov", {"lr": lr, "momentum": 0.99}, share * budget)
    return found


def run(data: str, name: str, budget: float, out: Path) -> None:
    optimizer, hyper, seconds = contenders(data, budget)[name]
    config = autoencoder.Config(data=data, optimizer=optimizer, hyper=hyper, time_budget=seconds, log_interval=5)
    method, images = autoencoder.build(config), autoencoder.load(config)
    method.objective.threads = 1
    step, cases = method.step, 0

    def counted(x: Any, t: Any, **batches: Any) -> Any:
        nonlocal cases
        cases += len(x)
        return step(x, t, **batches)

    method.step = counted
    with open(out / f"{name}.jsonl", "w") as file:

        def write(record: dict[str, Any]) -> None:
            passes = {"passes": cases / len(images[0])}  # passes of gradients over the training images
            print(autoencoder.as_json(record | passes), file=file, flush=True)

        autoencoder.train(config, method, images, on_record=write, clock="cpu")


def read(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: [json.loads(line) for line in path.open()] for path in sorted(out.glob("*.jsonl"))}


def table(records: dict[str, list[dict[str, Any]]], key: str) -> None:
    """Prints a Markdown table: `key` of every contender at the marks that it reached."""
    print(f"\n| {key.replace('_', ' ')} | " + " | ".join(f"{m} s" for m in MARKS) + " | updates | passes |")
    print("|---" * (len(MARKS) + 3) + "|")
    for name, rows in records.items():
        cells = []
        for mark in MARKS:
            reached = [r[key] for r in rows if r["seconds"] <= mark + 3]
            cells.append(f"{reached[-1]:.2f}" if rows[-1]["seconds"] >= mark - 3 else "–")
        passes = f"{rows[-1]['passes']:.0f}" if "passes" in rows[-1] else "–"
        print(f"| {name} | " + " | ".join([*cells, str(rows[-1]["update"]), passes]) + " |")


def draw(out: Path, data: str) -> None:
    """Draws race.png, and prints the tables of docs/benchmarks.md."""
    from matplotlib.figure import Figure

    records = read(out)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharey=True), ("train_error", "test_error"), strict=True):
        table(records, key)
        for name, rows in records.items():
            width = 2 if name in ("hf", "kfac") else 1
            axes.loglog([r["seconds"] for r in rows[1:]], [r[key] for r in rows[1:]], label=name, lw=width)
        axes.set(xlabel="CPU seconds of one core", title=f"{data.upper()}, {key.replace('_', ' ')}")
        axes.grid(True, which="both", alpha=0.3)
    figure.axes[0].set(ylabel="squared error per image")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(out / "race.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=ADAM, default="curves")
    parser.add_argument("--budget", type=float, default=1200.0, help="CPU seconds of the finalists")
    parser.add_argument("--out", type=Path, default=Path("runs/race"))
    parser.add_argument("--only", nargs="*", help="names of contenders to run")
    parser.add_argument("--draw", action="store_true", help="only draw the records in the files")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = [] if args.draw else args.only or list(contenders(args.data, args.budget))
    if len(names) == 1:
        run(args.data, names[0], args.budget, args.out)
        return
    for name in names:
        options = {"--data": args.data, "--only": name, "--budget": str(args.budget), "--out": str(args.out)}
        subprocess.run([sys.executable, __file__, *(word for option in options.items() for word in option)], check=True)
    draw(args.out, args.data)


if __name__ == "__main__":
    main()
