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
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner import Record, Run, as_json, positive

import nn
import optim

SIZES = {"curves": nn.models.CURVES, "mnist": nn.models.MNIST}

METHODS: runner.Methods = {
    # the third recipe in section 13 of Martens & Sutskever (2012): small batches, short runs of CG
    "hf": (
        optim.HessianFree,
        {"batch": 3000, "curvature_batch": 500, "damping": 45.0, "cg_iterations": 40, "decay": 0.95, "l2": 2e-5},
    ),
    "sgd": (optim.SGD, {"batch": 200, "lr": 1e-2, "momentum": 0.0, "l2": 2e-5}),
    "nesterov": (partial(optim.SGD, nesterov=True), {"batch": 200, "lr": 1e-2, "momentum": 0.9, "l2": 2e-5}),
    "adam": (optim.Adam, {"batch": 200, "lr": 1e-3, "l2": 2e-5}),
}


@dataclass
class Config(runner.Config):
    """One run. `hyper` holds what differs from the defaults in METHODS."""

    METHODS = METHODS

    data: str = "curves"
    data_dir: str | None = None
    n_train: int | None = None  # None: 20,000 and 10,000 curves, all of MNIST
    n_test: int | None = None


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
    return runner.optimizer_for(config, model, nn.SigmoidCrossEntropy())


def train(
    config: Config,
    optimizer: Any,
    data: tuple[Any, Any],
    *,
    clock: Callable[[], float] = time.perf_counter,
    **callbacks: Callable[..., Any],
) -> Run:
    """runner.train on these images; the records' errors are of the first 1000 of each set."""
    samples = {name: images[:1000] for name, images in zip(("train_error", "test_error"), data)}

    def errors(model: Any) -> Record:
        return {name: error(model, images) for name, images in samples.items()}

    some = batches(data[0], config.hyper["batch"], np.random.default_rng([config.seed, 1]))
    return runner.train(config, optimizer, ((x, x) for x in some), errors, clock=clock, **callbacks)


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


# -- what a person sees -----------------------------------------------------------------------------------


def numbers(record: Record) -> str:
    """One record for the progress bar."""
    text = f"error {record['train_error']:.2f} (test {record['test_error']:.2f})"
    return runner.progress(record, f"loss {record['loss']:.1f}, {text}" if "loss" in record else text)


def draw_reconstructions(model: Any, images: Any, path: Path) -> None:
    """Sixteen images above, what the network makes of them below; black on white, each pixel as 2 × 2."""
    from matplotlib.image import imsave

    some = images[:16]
    rows = np.stack([some, reconstruct(model, some)]).reshape(2, len(some), 28, 28)
    rows = np.pad(rows, ((0, 0), (0, 0), (2, 2), (2, 2)))
    sheet = rows.transpose(0, 2, 1, 3).reshape(2 * 32, -1)
    imsave(path, 1 - sheet.repeat(2, axis=0).repeat(2, axis=1), cmap="gray", vmin=0, vmax=1)


def save(run: Run, config: Config, data: tuple[Any, Any], out: Path) -> str:
    """Model, pictures and the errors on all images; returns the last words."""
    names = ("train_error", "test_error")
    errors = {name: error(run.model, x) for name, x in zip(names, data)}
    last = {"end": run.end, "seconds": run.records[-1]["seconds"], "update": run.records[-1]["update"], **errors}
    (out / "summary.json").write_text(as_json(last | {"config": asdict(config)}, indent=2) + "\n")
    nn.save(run.model, out / "model.safetensors")
    title = f"{config.data}, {config.optimizer}"
    runner.draw_training(run.records, names, "squared error per image", title, out / "training.png")
    draw_reconstructions(run.model, data[1], out / "reconstructions.png")
    return (
        f"{run.end}: {last['update']} updates, {last['seconds']:.0f} s of training; squared error per image over all "
        f"images: training {errors['train_error']:.3f}, test {errors['test_error']:.3f}; results in {out}"
    )


# -- the command line -------------------------------------------------------------------------------------


def parser() -> runner.Parser:
    p = runner.Parser(
        prog="autoencoder.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", choices=SIZES, help="curves (made on the spot, the default) or mnist")
    p.add_argument("--data-dir", metavar="DIR", help="where the MNIST files are: else $RMAD_DATA, else a download")
    p.add_argument("--n-train", type=positive(int), metavar="N", help="images for training")
    p.add_argument("--n-test", type=positive(int), metavar="N", help="images for test")
    p.add_common(METHODS, Config)
    p.add_argument("--out", type=Path, metavar="DIR", help="for the results (runs/DATA-OPTIMIZER)")
    return p


def main() -> int:
    return runner.main(
        runner.Job(
            parser=parser(),
            config=Config,
            prepare=lambda config: (build(config), load(config)),
            train=train,
            numbers=numbers,
            save=save,
            folder=lambda config: f"{config.data}-{config.optimizer}",
        )
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("ended by Ctrl-C, without results", file=sys.stderr)
        sys.exit(130)
