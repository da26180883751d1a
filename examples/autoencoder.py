"""A deep autoencoder, trained Hessian-free or by one of the usual methods.

    python examples/autoencoder.py                                   # CURVES, Hessian-free, four minutes
    python examples/autoencoder.py --optimizer adam --lr 1e-3
    python examples/autoencoder.py --data mnist --data-dir DIR

784-400-200-100-50-25-6 and back, logistic units, a linear code (Hinton & Salakhutdinov 2006): a network that plain
gradient descent hardly moves. The objective is the sigmoid cross-entropy; the error reported is the squared
reconstruction error per image. Metrics, model and pictures go to a folder. Ctrl-C ends early and keeps what there is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim

Record = dict[str, Any]
SIZES = {"curves": nn.models.CURVES, "mnist": nn.models.MNIST}

METHODS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    # the third recipe in section 13 of Martens & Sutskever (2012): small batches, short runs of CG
    "hf": (
        optim.HessianFree,
        {"batch": 3000, "curvature_batch": 500, "damping": 45.0, "cg_iterations": 40, "decay": 0.95, "l2": 2e-5},
    ),
    "sgd": (optim.SGD, {"batch": 200, "lr": 1e-2, "momentum": 0.0, "l2": 2e-5}),
    "nesterov": (partial(optim.SGD, nesterov=True), {"batch": 200, "lr": 1e-2, "momentum": 0.9, "l2": 2e-5}),
    "adam": (optim.Adam, {"batch": 200, "lr": 1e-3, "l2": 2e-5}),
}
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

    data: str = "curves"
    data_dir: str | None = None
    n_train: int | None = None  # None: 20,000 and 10,000 curves, all of MNIST
    n_test: int | None = None
    optimizer: str = "hf"
    hyper: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    time_budget: float = 210.0  # seconds of training, evaluation excluded
    updates: int | None = None  # at most
    log_interval: float = 1.0  # seconds of training from record to record

    def __post_init__(self) -> None:
        self.hyper = METHODS[self.optimizer][1] | self.hyper
        for name in self.hyper.keys() - METHODS[self.optimizer][1].keys():
            raise ValueError(f"{option(name)} means nothing to --optimizer {self.optimizer}")


@dataclass
class Run:
    """What a training leaves: the model, one record per log interval, and why it ended."""

    model: Any
    records: list[Record]
    end: str = ""
    failed: bool = False


# -- the job itself ---------------------------------------------------------------------------------------


def load(config: Config) -> tuple[Any, Any]:
    """Images for training and for test, float32 in [0, 1]: (n, 784) each."""
    if config.data == "mnist":
        data = nn.data.mnist(config.data_dir)
        return data.x_train[: config.n_train], data.x_test[: config.n_test]
    data = nn.data.curves(config.n_train or 20_000, config.n_test or 10_000)
    return data.x_train, data.x_test


def build(config: Config) -> Any:
    """The optimizer, with a new model in it."""
    model = nn.models.autoencoder(SIZES[config.data], rng=np.random.default_rng(config.seed))
    hyper = {name: value for name, value in config.hyper.items() if "batch" not in name}
    return METHODS[config.optimizer][0](model, nn.SigmoidCrossEntropy(), **hyper)


def train(
    config: Config,
    optimizer: Any,
    data: tuple[Any, Any],
    *,
    on_record: Callable[[Record], None] = lambda record: None,
    on_update: Callable[[float], None] = lambda fraction: None,
    should_stop: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Updates until the time or the updates are used up, or should_stop() gives a reason. `clock` tells seconds.

    on_record sees every record as it is made; on_update sees after every update how much of the run is done.
    """
    samples = [images[:1000] for images in data]  # the records' errors are of these
    run, seconds, updates, logged = Run(optimizer.model, []), 0.0, 0, 0.0
    infos: list[optim.StepInfo] = []

    def record() -> None:
        errors = {name: error(run.model, x) for name, x in zip(("train_error", "test_error"), samples)}
        run.records.append({"seconds": seconds, "update": updates, **errors, **summary(infos, seconds - logged)})
        on_record(run.records[-1])

    record()
    for x in batches(data[0], config.hyper["batch"], np.random.default_rng([config.seed, 1])):
        run.end = should_stop() or finished(config, seconds, updates)
        if run.end:
            break
        started = clock()
        some = x[: config.hyper.get("curvature_batch")]
        curvature = {"curvature_batch": (some, some)} if len(some) < len(x) else {}
        try:
            infos.append(optimizer.step(x, x, **curvature))
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


def batches(images: Any, size: int, rng: np.random.Generator) -> Iterator[Any]:
    """Batches of `size` images, without end: each pass over the images in a new order, a short rest left out."""
    size = min(size, len(images))
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(images) - size + 1, size):
            yield images[order[start : start + size]]


def reconstruct(model: Any, images: Any) -> Any:
    """The sigmoid of the model's output, which is in logits because the loss holds the sigmoid."""
    return 0.5 + 0.5 * np.tanh(0.5 * model(images))


def error(model: Any, images: Any) -> float:
    """Σ over pixels of (reconstruction − image)², mean over images; in pieces that fit in a cache."""
    pieces = [images[k : k + 500] for k in range(0, len(images), 500)]
    return sum(float(np.sum(np.square(reconstruct(model, x) - x), dtype=float)) for x in pieces) / len(images)


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


def numbers(record: Record) -> str:
    """One record for the progress bar."""
    text = f"error {record['train_error']:.2f} (test {record['test_error']:.2f})"
    if "loss" in record:
        text = f"loss {record['loss']:.1f}, {text}"
        if record["cg_iterations"]:
            text += f", λ {record['damping']:.2g}, {record['cg_iterations']} CG steps"
            return f"{text}, {record['products_per_second']:.0f} products/s"
        return f"{text}, {record['updates_per_second']:.0f} updates/s"
    return text


def draw_training(records: list[Record], title: str, path: Path) -> None:
    """Error against seconds, and below it the damping, or the loss where there is none."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 6), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    for name, style in (("train_error", "-"), ("test_error", "--")):
        top.semilogy([r["seconds"] for r in records], [r[name] for r in records], style, label=name.replace("_", " "))
    top.set(ylabel="squared error per image", title=title)
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


def draw_reconstructions(model: Any, images: Any, path: Path) -> None:
    """Sixteen images above, what the network makes of them below; black on white, each pixel as 2 × 2."""
    from matplotlib.image import imsave

    some = images[:16]
    rows = np.stack([some, reconstruct(model, some)]).reshape(2, len(some), 28, 28)
    rows = np.pad(rows, ((0, 0), (0, 0), (2, 2), (2, 2)))
    sheet = rows.transpose(0, 2, 1, 3).reshape(2 * 32, -1)
    imsave(path, 1 - sheet.repeat(2, axis=0).repeat(2, axis=1), cmap="gray", vmin=0, vmax=1)


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
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows all arguments)\n")


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


def parser() -> Parser:
    p = Parser(prog="autoencoder.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", choices=SIZES, help="curves (made on the spot, the default) or mnist")
    p.add_argument("--data-dir", metavar="DIR", help="where the MNIST files are: else $RMAD_DATA, else a download")
    p.add_argument("--n-train", type=positive(int), metavar="N", help="images for training")
    p.add_argument("--n-test", type=positive(int), metavar="N", help="images for test")
    p.add_argument("--optimizer", choices=METHODS, help="default: hf, Hessian-free")
    for name, (kind, text) in HYPER.items():
        defaults = ", ".join(f"{m} {hyper[name]:g}" for m, (_, hyper) in METHODS.items() if name in hyper)
        number = positive(int) if kind is int else float  # the optimizer itself says what it takes
        p.add_argument(option(name), type=number, metavar="N" if kind is int else "X", help=f"{text} ({defaults})")
    p.add_argument("--seed", type=natural, metavar="N", help="of the weights and of the order of the images (0)")
    p.add_argument("--time-budget", type=positive(float), metavar="SECONDS", help="of training (210)")
    p.add_argument("--updates", type=positive(int), metavar="N", help="end after so many")
    p.add_argument("--log-interval", type=positive(float), metavar="SECONDS", help="between records (1)")
    p.add_argument("--out", type=Path, metavar="DIR", help="for the results (runs/DATA-OPTIMIZER)")
    return p


def as_json(record: Record, indent: int | None = None) -> str:
    """JSON knows neither NaN nor infinity: null in their place."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite, indent=indent)


def save(run: Run, config: Config, data: tuple[Any, Any], out: Path) -> str:
    """Model, pictures and the errors on all images; returns the last words."""
    errors = {name: error(run.model, x) for name, x in zip(("train_error", "test_error"), data)}
    last = {"end": run.end, "seconds": run.records[-1]["seconds"], "update": run.records[-1]["update"], **errors}
    (out / "summary.json").write_text(as_json(last | {"config": asdict(config)}, indent=2) + "\n")
    nn.save(run.model, out / "model.safetensors")
    draw_training(run.records, f"{config.data}, {config.optimizer}", out / "training.png")
    draw_reconstructions(run.model, data[1], out / "reconstructions.png")
    return (
        f"{run.end}: {last['update']} updates, {last['seconds']:.0f} s of training; squared error per image over all "
        f"images: training {errors['train_error']:.3f}, test {errors['test_error']:.3f}; results in {out}"
    )


def main() -> int:
    p = parser()
    given = {name: value for name, value in vars(p.parse_args()).items() if value is not None}
    for package in ("tqdm", "matplotlib", "safetensors"):
        if importlib.util.find_spec(package) is None:
            p.error(f"{package} is not installed: pip install -e '.[examples]'")
    try:
        out = given.pop("out", None)
        hyper = {name: given.pop(name) for name in HYPER if name in given}
        config = Config(**given, hyper=hyper)
        optimizer = build(config)
        out = out or Path("runs") / f"{config.data}-{config.optimizer}"
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.jsonl").write_text("")
        data = load(config)
    except (ImportError, OSError, ValueError) as problem:
        p.error(" ".join(str(problem).split()))
    from tqdm import tqdm

    with tqdm(total=1.0, bar_format=LAYOUT) as bar, Stop() as stop:

        def show(record: Record) -> None:
            bar.set_postfix_str(numbers(record))
            with open(out / "metrics.jsonl", "a") as file:
                print(as_json(record), file=file)

        run = train(
            config,
            optimizer,
            data,
            on_record=show,
            on_update=lambda fraction: bar.update(min(fraction, 1.0) - bar.n),
            should_stop=lambda: stop.reason,
        )
    print(save(run, config, data, out))
    return stop.code or int(run.failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("ended by Ctrl-C, without results", file=sys.stderr)
        sys.exit(130)
