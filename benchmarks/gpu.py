"""rmad on a GPU, next to PyTorch and JAX on the same one: ratios to the bare products of cuBLAS.

    python benchmarks/gpu.py --write             the tests on the GPU, then all figures, into docs/benchmarks.md
    python benchmarks/gpu.py --rounds 1 --tests tests/device/test_optimizers.py
    python benchmarks/gpu.py --tiny --stand-in   small sizes over the host's memory, which shows that all of it runs

Needs CuPy; PyTorch and JAX are left out, with a word, if they are not installed or see no GPU. Each contender runs in a
process of its own, the processes take turns, and the figures are medians over rounds. The bare products are those that
cannot be avoided, called back to back by CuPy; those of a gradient are the measure for gradients and for steps.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import runpy
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from ggn_peers import run_jax, run_torch
from ggn_problems import PROBLEMS, Problem, gemms, median_ms, our_problem
from workers import work

ROOT = pathlib.Path(__file__).parents[1]
STAND_IN = ROOT / "tests" / "device"
PAGE = ROOT / "docs" / "benchmarks.md"
START, END = "<!-- gpu -->\n", "<!-- end -->\n"

NAMES = {
    "curves": "CURVES autoencoder, n = 1000",
    "curves-10000": "CURVES autoencoder, n = 10,000",
    "rnn": "RNN, T = 100, n = 1000",
    "cifar": "CIFAR net, n = 250",
}
FULL = {
    "curves": PROBLEMS["mlp"],
    "curves-10000": Problem("mlp", 10_000),
    "rnn": PROBLEMS["rnn"],
    "cifar": PROBLEMS["cifar"],
}
TINY = {
    "curves": Problem("mlp", 16, sizes=(20, 12, 6)),
    "curves-10000": Problem("mlp", 24, sizes=(20, 12, 6)),
    "rnn": Problem("rnn", 5, steps=4, units=6),
    "cifar": Problem("cifar", 3, side=8, channels=(3, 4, 6, 6), dense=6),
}
JOB = ["--time-budget", "60"]
TINY_JOB = ["--n-train", "60", "--n-test", "20", "--batch", "30", "--curvature-batch", "15"]
TINY_JOB += ["--updates", "2", "--cg-iterations", "3"]


# -- contenders, each in a process of its own ----------------------------------------------------------------------


def run_rmad(p: Problem, args: argparse.Namespace) -> dict[str, float]:
    import cupy

    model, loss, x, t = our_problem(p, cupy.asarray)

    import optim

    objective = optim.Objective(model, loss)
    quadratic = objective.quadratic(x, t)
    v = objective.flat()
    return timed(
        {
            "gemms": gemms(p, False, cupy),
            "gemms of a gradient": gemms(p, True, cupy),
            "rmad": partial(quadratic.ggn_product, v, v.copy()),
            "rmad, gradient": partial(objective.value_and_gradient, x, t),
        },
        args.repeats,
    )


def run_steps(p: Problem, args: argparse.Namespace) -> dict[str, float]:
    import cupy

    model, loss, x, t = our_problem(p, cupy.asarray)

    import optim
    import rmad

    makers: dict[str, Callable[..., Any]] = {
        "SGD": partial(optim.SGD, lr=1e-6, momentum=0.9),
        "Adam": partial(optim.Adam, lr=1e-6),
        "CurveBall": optim.CurveBall,
        "SGN": partial(optim.SGN.preset, "paper", cg_tolerance=0.0),
        "HessianFree": partial(optim.HessianFree, cg_iterations=10, cg_tolerance=0.0),
        "KFAC": optim.KFAC,
        "KFLR": optim.KFLR,
        "KFRA": optim.KFRA,
        "LevenbergMarquardt": partial(optim.LevenbergMarquardt, solver="cg", cg_iterations=10),
    }

    def step(make: Callable[..., Any]) -> Callable[[], None]:
        """Makes a step from the same θ each time: its cost depends on the network and the damping."""
        opt = make(rmad.map_leaves(lambda a: a.copy(), model), loss)
        theta = opt.objective.flat()

        def call() -> None:
            opt.step(x, t)
            opt.objective.assign(theta)

        return call

    return timed({f"rmad, step of {name}": step(make) for name, make in makers.items()}, args.repeats)


def timed(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Returns the ms of every call until the GPU is done, the calls taking turns."""
    import cupy

    wait = cupy.cuda.Device().synchronize
    turns = [{name: median_ms(call, repeats, wait) for name, call in calls.items()} for _ in range(3)]
    return {name: statistics.median(turn[name] for turn in turns) for name in calls}


def run_job(device: str, args: argparse.Namespace) -> dict[str, float]:
    """The main job: examples/autoencoder.py with its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        job = TINY_JOB if args.tiny else JOB
        script = ROOT / "examples" / "autoencoder.py"
        sys.argv = [str(script), "--device", device, "--out", folder, *job]
        sys.path.insert(0, str(script.parent))
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        summary = json.loads((pathlib.Path(folder) / "summary.json").read_text())
    return {"updates": summary["update"], "seconds": summary["seconds"], "train error": summary["train_error"]}


def run_peer(peer: str, name: str, p: Problem, args: argparse.Namespace) -> dict[str, float]:
    if peer == "torch":
        return run_torch(p, device="cpu" if args.stand_in else "cuda", steps=name == "curves")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if not args.stand_in and jax.default_backend() != "gpu":
        raise SystemExit("jax sees no GPU")
    return run_jax(p)


def worked(args: argparse.Namespace) -> dict[str, float]:
    """The figures of one worker."""
    p = (TINY if args.tiny else FULL)[args.problem]
    if args.worker == "rmad":
        return run_rmad(p, args)
    if args.worker == "steps":
        return run_steps(p, args)
    if args.worker.startswith("job"):
        return run_job(args.worker.removeprefix("job-"), args)
    return run_peer(args.worker, args.problem, p, args)


# -- in turns ------------------------------------------------------------------------------------------------------


def tested(args: argparse.Namespace) -> str:
    """Runs the tests for a GPU; returns pytest's summary."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *args.tests]
    env = dict(os.environ)
    if args.stand_in:
        command += ["-p", "cupy_on_host"]
        env["PYTHONPATH"] = os.pathsep.join([str(STAND_IN), *filter(None, [env.get("PYTHONPATH")])])
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    return (done.stdout.strip().splitlines() or ["no output"])[-1] if done.returncode in (0, 1) else "failed to start"


def measured(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Per problem, and for the job on each device, the figures of every round by name."""
    options = [option for option in ("--tiny", "--stand-in") if getattr(args, option[2:].replace("-", "_"))]
    options += ["--repeats", str(args.repeats)]
    found: dict[str, dict[str, list[float]]] = {}

    def add(place: str, worker: str, problem: str = "curves") -> None:
        for name, figure in work(__file__, worker, "--problem", problem, *options).items():
            found.setdefault(place, {}).setdefault(name, []).append(figure)

    peers = [peer for peer in ("torch", "jax") if importlib.util.find_spec(peer)]
    for peer in {"torch", "jax"}.difference(peers):
        print(f"{peer} is not installed: left out", file=sys.stderr)
    for _ in range(args.rounds):
        for problem in FULL:
            for worker in ("rmad", *peers):
                add(problem, worker, problem)
        add("curves", "steps")
        for device in ("gpu", "cpu"):
            add(f"job on the {device.upper()}", f"job-{device}")
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures in Markdown."""
    lines = ["| | bare products, ms | rmad | PyTorch | JAX |", "|---|---|---|---|---|"]
    for problem, title in NAMES.items():
        for what, base in (("", "gemms"), (", gradient", "gemms of a gradient")):
            lines.append(row(("gradient" if what else "GGN product") + f", {title}", found[problem], what, base))
    steps = sorted(name.removeprefix("rmad") for name in found["curves"] if name.startswith("rmad, step"))
    lines += [row(name.removeprefix(", "), found["curves"], name, "gemms of a gradient") for name in steps]
    lines += ["", "| `examples/autoencoder.py` | updates | seconds | training error |", "|---|---|---|---|"]
    for name, figures in found.items():
        if name.startswith("job"):
            updates, seconds, error = (statistics.median(figures[k]) for k in ("updates", "seconds", "train error"))
            lines.append(f"| {name.removeprefix('job ')} | {updates:.0f} | {seconds:.1f} | {error:.3f} |")
    return "\n".join(lines) + "\n"


def row(title: str, found: dict[str, list[float]], what: str, base: str) -> str:
    """A row of ratios, round by round, to the bare products."""
    cells = [title, f"{statistics.median(found[base]):.3g}"]
    for peer in ("rmad", "torch", "jax"):
        figures = found.get(f"{peer}{what}")
        ratios = [f / g for f, g in zip(figures or [], found[base], strict=False)]
        cells.append(f"{statistics.median(ratios):.2f}" if ratios else "–")
    return f"| {' | '.join(cells)} |"


def write(page: pathlib.Path, text: str) -> None:
    """Puts the table in its place on the page."""
    whole = page.read_text(encoding="utf-8")
    first = whole.index(START) + len(START)
    page.write_text(whole[:first] + text + whole[whole.index(END, first) :], encoding="utf-8")


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3, help="turns of the processes (3)")
    p.add_argument("--repeats", type=int, default=15, help="calls of which a process takes the median (15)")
    p.add_argument("--tests", nargs="*", default=["tests"], help="tests to run first (all); nothing for none")
    p.add_argument(
        "--write", nargs="?", type=pathlib.Path, const=PAGE, metavar="PAGE", help="write to docs/benchmarks.md"
    )
    p.add_argument("--tiny", action="store_true", help="small sizes")
    p.add_argument("--stand-in", action="store_true", help="over the host's memory, see tests/device/README.md")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    p.add_argument("--problem", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.stand_in:
        sys.path.insert(0, str(STAND_IN))
        import cupy_on_host  # noqa: F401  # before cupy
    if args.worker:
        print(json.dumps(worked(args)))
        return 0
    summary = tested(args) if args.tests else "not run"
    print(f"tests: {summary}")
    found = measured(args)
    if failed := [name for name in FULL if "rmad" not in found.get(name, {})]:
        print(f"rmad failed on {', '.join(failed)}", file=sys.stderr)
        return 1
    sizes = "tiny sizes in place of those named, so the ratios mean nothing; " if args.tiny else ""
    text = f"{device_name()}; {sizes}tests: {summary}.\n\n{table(found)}"
    print(text, end="")
    if args.write:
        write(args.write, text)
    return int("failed" in summary or "error" in summary)


def device_name() -> str:
    """The GPU, and the version of CuPy."""
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return f"{name.decode() if isinstance(name, bytes) else name}, CuPy {cupy.__version__}"


if __name__ == "__main__":
    sys.exit(main())
