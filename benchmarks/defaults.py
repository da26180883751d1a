"""The methods with the arguments that everybody gives, Method(model, loss), in equal CPU seconds on one thread.

    python benchmarks/defaults.py --seconds 20 --out runs/defaults                    everything, in turn
    python benchmarks/defaults.py --problems mnist cnn --methods hf adam --out …      some of it
    python benchmarks/defaults.py --draw --out runs/defaults                          table and figure from the files

`benchmarks/default_problems.py` has the problems. SGD, Adam and AdamW run at five rates each, of which the best counts;
all others run once, with their defaults. Every run has a process of its own on one thread, and its seconds are CPU
seconds of that process without evaluation, so the figures hold on a busy machine. What was run already is left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from default_problems import PROBLEMS, cases, kept_out, take

import optim

RATES = {
    "adam": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "adamw": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "sgd": (1e-3, 1e-2, 3e-2, 1e-1, 3e-1),
}
SECOND: dict[str, Callable[..., Any]] = {
    "hf": optim.HessianFree,
    "report": partial(optim.HessianFree, automatic=False),
    "kfac": optim.KFAC,
    "kflr": optim.KFLR,
    "kfra": optim.KFRA,
    "ekfac": optim.EKFAC,
    "sgn": optim.SGN,
    "curveball": optim.CurveBall,
}
MARKS = 20  # evaluations of a run, at equal steps of CPU time
EVALUATED = 2000  # cases of the training set on which its loss is measured


def contenders(methods: list[str]) -> list[str]:
    """The runs of some methods by name: "hf", "adam-0.001"."""
    return [run for m in methods for run in ([f"{m}-{rate:g}" for rate in RATES[m]] if m in RATES else [m])]


def make(name: str, model: Any, loss: Any) -> Any:
    method, _, rate = name.partition("-")
    if method == "adam":
        return optim.Adam(model, loss, float(rate))
    if method == "adamw":
        return optim.Adam(model, loss, float(rate), weight_decay=1e-2)
    if method == "sgd":
        return optim.SGD(model, loss, float(rate), momentum=0.9)
    return SECOND[method](model, loss)


def run(problem: str, name: str, seed: int, seconds: float) -> dict[str, Any]:
    """One run: the losses on training and test cases at the marks."""
    p = PROBLEMS[problem](np.random.default_rng(seed))
    opt = make(name, p.model, p.loss)
    opt.objective.threads = 1
    first_order = name.partition("-")[0] in RATES
    batches = p.batches(p.small if first_order else p.batch, np.random.default_rng([seed, 1]))
    some = slice(0, EVALUATED)
    train = (p.train, tuple(take(a, some) for a in p.train))[cases(p.train[0]) > EVALUATED]
    found: dict[str, Any] = {"seconds": [], "train": [], "test": [], "updates": [], "error": ""}

    def evaluate(used: float, updates: int) -> None:
        model = opt.model
        if hasattr(model, "eval"):
            model.eval()
        plain = optim.Objective(model, p.loss, threads=1)
        for key, part in (("train", train), ("test", p.test)):
            found[key].append(plain.value(*part))
        if hasattr(model, "train"):
            model.train()
        found["seconds"].append(used)
        found["updates"].append(updates)

    used, updates, mark = 0.0, 0, 0
    evaluate(used, updates)
    try:
        while used < seconds:
            x, t = next(batches)
            before = time.process_time()
            opt.step(x, t)
            used += time.process_time() - before
            updates += 1
            if used >= (mark + 1) * seconds / MARKS:
                mark = int(used * MARKS / seconds)
                evaluate(used, updates)
    except Exception as error:  # a method that does not fit the problem, or diverged: the table says so
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def at(found: dict[str, Any], second: float, key: str = "train") -> float:
    """The loss at the last evaluation not after a second."""
    values = [v for s, v in zip(found["seconds"], found[key], strict=True) if s <= second * 1.05]
    return values[-1] if values and np.isfinite(values[-1]) else float("inf")


def table(out: Path, seconds: float) -> str:
    """Median losses at the end, best rates for first-order methods, per problem."""
    lines = []
    for problem in PROBLEMS:
        runs: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(out.glob(f"{problem}.*.json")):
            runs.setdefault(path.name.split(".", 1)[1].rsplit(".", 2)[0], []).append(json.loads(path.read_text()))
        if not runs:
            continue
        lines.append(f"{problem}{' (kept out)' if problem in kept_out else ''}")
        methods: dict[str, list[tuple[float, str]]] = {}
        for name, seeds in runs.items():
            final = statistics.median(at(s, seconds) for s in seeds)
            methods.setdefault(name.partition("-")[0], []).append((final, name))
        for _, name in sorted(min(m) for m in methods.values()):
            seeds = runs[name]
            marks = "  ".join(f"{statistics.median(at(s, f * seconds) for s in seeds):9.4g}" for f in (0.25, 0.5, 1))
            test = statistics.median(at(s, seconds, "test") for s in seeds)
            updates = statistics.median(s["updates"][-1] for s in seeds)
            lines.append(f"  {name:14} {marks}   test {test:9.4g}  {updates:6.0f} updates  {seeds[0]['error'][:60]}")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    p.add_argument("--methods", nargs="*", default=[*SECOND, *RATES], choices=[*SECOND, *RATES])
    p.add_argument("--seconds", type=float, default=20.0)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--draw", action="store_true", help="only the table of what was run")
    p.add_argument("--one", nargs=3, metavar=("PROBLEM", "RUN", "SEED"), help="one run in this process")
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.one:
        warnings.simplefilter("ignore")
        problem, name, seed = args.one
        found = run(problem, name, int(seed), args.seconds)
        (args.out / f"{problem}.{name}.{seed}.json").write_text(json.dumps(found))
        return
    if not args.draw:
        for seed in range(args.seeds):
            for problem in args.problems:
                for name in contenders(args.methods):
                    if not (args.out / f"{problem}.{name}.{seed}.json").exists():
                        one = ["--one", problem, name, str(seed), "--seconds", str(args.seconds), "--out", args.out]
                        subprocess.run([sys.executable, __file__, *map(str, one)], check=True)
    print(table(args.out, args.seconds))


if __name__ == "__main__":
    main()
