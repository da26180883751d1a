"""A deep autoencoder, trained Hessian-free or by another optimizer.

    python examples/autoencoder.py                                   # CURVES, Hessian-free, four minutes
    python examples/autoencoder.py --optimizer adam --lr 1e-3
    python examples/autoencoder.py --data mnist --data-dir DIR
    python examples/autoencoder.py --resume --time-budget 3600       # continues the same run
    python examples/autoencoder.py --preset momentum --data mnist --device gpu

784-400-200-100-50-25-6 and back, logistic units, a linear code (Hinton & Salakhutdinov 2006): a network on which plain
gradient descent makes little progress. Metrics, model and pictures go to a folder. Ctrl-C saves the run and ends the
program.

What to expect: the error falls to that of the mean image, stays on this plateau for some forty updates, the first
half minute, and falls again. Two numbers measure one image: the error is the squared difference to the image, summed
over its pixels, which is what the papers report; the loss is the objective, the sigmoid cross-entropy summed over
pixels (for faces half the squared error), whose least value is the entropy of the pixels, not zero. On a machine with
other work --cpu-seconds 400 gives the run about what it has on two idle cores.

--preset is a complete recipe of Martens & Sutskever (2012), section 13, over --updates (1000 by default), without a
time budget unless one is given. Every update takes the curvature on a different twentieth of the images. original: up
to 250 CG steps, gradient on all images. held-out: the same, with the step chosen on another twentieth. momentum: 50 CG
steps, gradient and curvature on one twentieth, ζ 0.95; after 60 % of the updates ζ 0.995 and a step that falls to a
tenth; after 90 % the gradient on all images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner import Record, as_json, positive
from scipy.special import entr

import nn
import optim
from rmad.extend import to_numpy

__all__ = ["Config", "as_json", "build", "load", "train"]  # for scripts that race


@dataclass(frozen=True)
class Problem:
    """Images of side × side pixels, the sizes of an encoder, and a loss on the outputs of the network.

    hf: hyper-parameters of Hessian-free that differ from METHODS.
    """

    sizes: tuple[int, ...]
    side: int = 28
    loss: Callable[[], Any] = nn.SigmoidCrossEntropy
    hf: dict[str, Any] = field(default_factory=dict)

    def pictures(self, z: Any) -> Any:
        """Returns the pixels for outputs z, which are logits if the loss includes the sigmoid."""
        return 0.5 + 0.5 * np.tanh(0.5 * z) if self.loss is nn.SigmoidCrossEntropy else z


PROBLEMS = {
    "curves": Problem(nn.models.CURVES),
    "mnist": Problem(nn.models.MNIST),
    # factors of layers of 2000 units cost more than the products of 300 cases; from 45, λ fell 17 times in a row
    "faces": Problem(
        nn.models.FACES,
        25,
        nn.SquaredError,
        {"batch": 2000, "curvature_batch": 333, "batch_growth": 1500, "damping": 3.0},
    ),
}

METHODS: runner.Methods = {
    # after the third recipe in section 13 of Martens & Sutskever (2012), short runs of CG on batches that grow
    "hf": (
        partial(optim.HessianFree, preconditioner=optim.KroneckerPreconditioner()),
        {"batch": 750, "curvature_batch": 125, "batch_growth": 600}
        | {"damping": 45.0, "cg_iterations": 10, "decay": 0.95, "l2": 2e-5},
    ),
    "curveball": (optim.CurveBall, {"batch": 200, "lr": 1.0, "damping": 10.0, "l2": 2e-5}),
    "sgn": (
        partial(optim.SGN.preset, "paper"),
        {"batch": 1000, "damping": 1e-3, "cg_iterations": 10, "momentum": 0.0, "l2": 2e-5},
    ),
    "kfac": (optim.KFAC, {"batch": 1000, "damping": 1e-3, "l2": 2e-5}),
    "kfra": (optim.KFRA, {"batch": 1000, "damping": 1e-3, "l2": 2e-5}),
    "ekfac": (optim.EKFAC, {"batch": 1000, "damping": 1e-3, "l2": 2e-5}),
    "lm": (
        partial(optim.LevenbergMarquardt, cg_tolerance=1e-2),
        {"batch": 1000, "damping": 1.0, "cg_iterations": 50, "l2": 2e-5},
    ),
    "sgd": (optim.SGD, {"batch": 200, "lr": 1e-2, "momentum": 0.0, "l2": 2e-5}),
    "nesterov": (partial(optim.SGD, nesterov=True), {"batch": 200, "lr": 1e-2, "momentum": 0.9, "l2": 2e-5}),
    "adam": (optim.Adam, {"batch": 200, "lr": 1e-3, "l2": 2e-5}),
}
PRESETS = ("original", "held-out", "momentum")
REPLACEABLE = ("damping", "cg_iterations", "decay", "lr", "l2")  # settings of a preset that options replace
SHARE = 1 / 20  # share of the images in a curvature batch of a preset
STAGE = 10  # updates with batches of one size, before they grow
NEAR = 0.05  # relative distance of the error to that of the mean image on the plateau
ALL_IMAGES = 0.9  # share of the updates after which "momentum" has its gradient on all images


@dataclass
class Config(runner.Config):
    """One run. `hyper` holds the values that differ from the defaults in METHODS, or from the preset's."""

    METHODS = METHODS

    preset: str | None = None
    data: str = "curves"
    data_dir: str | None = None
    n_train: int | None = None  # None: 20,000 and 10,000 curves, all of MNIST
    n_test: int | None = None
    validation: int = 0  # the last images, held out of training

    def __post_init__(self) -> None:
        if self.preset is not None:
            if self.optimizer != "hf":
                raise ValueError(f"--preset is a recipe of --optimizer hf, not of {self.optimizer}")
            self.updates = self.updates or 1000
        super().__post_init__()

    def method(self) -> str:
        return f"--preset {self.preset}" if self.preset else super().method()

    def known_hyper(self) -> dict[str, Any]:
        if self.preset:
            return dict.fromkeys(REPLACEABLE)
        return super().known_hyper() | (PROBLEMS[self.data].hf if self.optimizer == "hf" else {})

    def budget(self) -> float | None:
        return None if self.preset else super().budget()

    def free(self) -> set[str]:
        return (super().free() | {"data_dir"}) - ({"updates"} if self.preset else set())

    def monitored(self) -> str | None:
        return "validation_error" if self.validation else None


# -- the job itself ---------------------------------------------------------------------------------------


def load(config: Config) -> tuple[Any, Any]:
    """Loads images for training (the validation set at their end) and for test, float32 in [0, 1]: (n, 784) each."""
    if config.patience is not None and not config.validation:
        raise ValueError("--patience looks at a validation set: give --validation")
    if config.data == "curves":
        data = nn.data.curves(config.n_train or 20_000, config.n_test or 10_000)
    else:
        data = (nn.data.mnist if config.data == "mnist" else nn.data.faces)(config.data_dir)
    images = data.x_train[: config.n_train], data.x_test[: config.n_test]
    if config.validation >= len(images[0]):
        raise ValueError(f"--validation {config.validation} leaves none of the {len(images[0])} images for training")
    return runner.on_device(config, images)


def build(config: Config) -> Any:
    """Makes the optimizer with a new model."""
    problem = PROBLEMS[config.data]
    model = nn.models.autoencoder(problem.sizes, rng=np.random.default_rng(config.seed))
    model, loss = runner.on_device(config, model), problem.loss()
    if config.preset is None:
        return runner.optimizer_for(config, model, loss)
    updates = config.updates or 1000
    return optim.HessianFree.preset(config.preset, model, loss, updates=updates, ranks=runner.ranks(), **config.hyper)


def train(
    config: Config,
    optimizer: Any,
    data: tuple[Any, Any],
    *,
    clock: str | Callable[[], float] = "wall",
    **keywords: Any,
) -> optim.History:
    """Calls runner.train on these images; records have the errors on the first 1000 of each set."""
    x, held_out = split(config, data[0])
    samples = {"train_error": x[:1000], "test_error": data[1][:1000]}
    if len(held_out):
        samples["validation_error"] = held_out

    plateau = mean_image_error(samples["train_error"])

    def errors(model: Any) -> Record:
        measured = {name: error(model, images, PROBLEMS[config.data]) for name, images in samples.items()}
        return {**measured, "mean_image_error": plateau}

    rng = np.random.default_rng([config.seed, 1])
    if config.preset is not None:
        batches: Any = Recipe(config, optimizer, x, rng)
    elif config.optimizer == "hf":
        batches = Growing(config, optimizer, x)
    else:
        batches = nn.data.batches(x, x, config.hyper["batch"], rng)
    return runner.train(config, optimizer, batches, errors, clock=clock, **keywords)


def mean_image_error(images: Any) -> float:
    """Returns the error of the best constant output, the mean image: that of the plateau."""
    return float(np.sum(np.square(images - images.mean(axis=0)), dtype=float)) / len(images)


def split(config: Config, images: Any) -> tuple[Any, Any]:
    """Splits off the validation set."""
    end = len(images) - config.validation
    return images[:end], images[end:]


class Counted(Iterator[dict[str, Any]]):
    """Batches as arguments of the optimizer's next step, which depend on its count of updates only: no state."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Growing(Counted):
    """Batches of Hessian-free that grow until they hold all images: less noise as the error falls. Section 12.2.

    The first ones are small, because the plateau at the start takes about thirty updates of any size. ρ is measured
    on the cases of the gradient, which include those of the curvature: a step that fits the latter alone lowers ρ,
    and λ rises.
    """

    def __init__(self, config: Config, optimizer: Any, x: Any) -> None:
        super().__init__(optimizer)
        self.x, self.seed = x, config.seed
        self.first = {name: config.hyper[name] for name in ("batch", "curvature_batch")}
        self.growth = config.hyper["batch_growth"]

    def __next__(self) -> dict[str, Any]:
        k, n = self.optimizer.k, len(self.x)
        batch = min(n, self.first["batch"] + self.growth * (k // STAGE))
        cases = max(1, batch * self.first["curvature_batch"] // self.first["batch"])
        order = np.random.default_rng([self.seed, 1, k]).permutation(n)
        x, some = self.x if batch == n else self.x[order[:batch]], self.x[order[: min(cases, batch)]]
        return {"x": x, "t": x, "curvature_batch": (some, some), "ratio_batch": (x, x)}


class Recipe(Counted):
    """The batches of a preset."""

    def __init__(self, config: Config, optimizer: Any, x: Any, rng: np.random.Generator) -> None:
        super().__init__(optimizer)
        momentum = config.preset == "momentum"
        apart = {"backtracking": SHARE} if config.preset == "held-out" else {}
        self.all_images = optim.Roles(x, x, gradient=1.0, curvature=SHARE, rng=rng, **apart)
        self.some = optim.Roles(x, x, gradient=SHARE, rng=rng)
        self.until = round(ALL_IMAGES * (config.updates or 0)) if momentum else 0

    def __next__(self) -> dict[str, Any]:
        k = self.optimizer.k
        return self.some(k) if k < self.until else self.all_images(k)


def error(model: Any, images: Any, problem: Problem) -> float:
    """Returns Σ over pixels of (reconstruction − image)², mean over images; in pieces that fit in a cache."""
    pieces = [images[k : k + 500] for k in range(0, len(images), 500)]
    return sum(float(np.sum(np.square(problem.pictures(model(x)) - x), dtype=float)) for x in pieces) / len(images)


# -- output -----------------------------------------------------------------------------------


def numbers(record: Record) -> str:
    """Returns the text of a record for the progress bar; on the plateau it says so."""
    text = f"error {record['train_error']:.2f} (test {record['test_error']:.2f})"
    if abs(record["train_error"] / (record["mean_image_error"] or 1.0) - 1) < NEAR:
        return runner.progress(record, f"plateau: {text}")
    return runner.progress(record, f"{text}, loss {record['loss']:.3g}" if "loss" in record else text)


def scales(images: Any, problem: Problem) -> str:
    """Returns the words for the two scales of the error."""
    words = "error: squared difference to the image, summed over its pixels, mean over images\n"
    if problem.loss is nn.SquaredError:
        return words + "loss: the objective, half the error and the term of l2"
    x = images.astype(np.float64)
    entropy = float(np.sum(entr(x) + entr(1 - x))) / len(x)
    return (
        words
        + f"loss: the objective, cross-entropy and the term of l2; {entropy:.1f} at the least, the pixels' entropy"
    )


def draw_reconstructions(model: Any, images: Any, problem: Problem, path: Path) -> None:
    """Draws sixteen images above their reconstructions; black on white, each pixel as 2 × 2."""
    from matplotlib.image import imsave

    some, side = images[:16], problem.side
    rows = to_numpy(np.stack([some, problem.pictures(model(some))])).reshape(2, len(some), side, side)
    rows = np.pad(rows, ((0, 0), (0, 0), (2, 2), (2, 2)))
    sheet = rows.transpose(0, 2, 1, 3).reshape(2 * (side + 4), -1)
    imsave(path, 1 - sheet.repeat(2, axis=0).repeat(2, axis=1), cmap="gray", vmin=0, vmax=1)


def finish(model: Any, config: Config, data: tuple[Any, Any], out: Path) -> tuple[Record, str]:
    """Returns the errors on all images, and draws some of them."""
    x, held_out = split(config, data[0])
    sets = {"train_error": x, "test_error": data[1]} | ({"validation_error": held_out} if len(held_out) else {})
    problem = PROBLEMS[config.data]
    draw_reconstructions(model, data[1], problem, out / "reconstructions.png")
    measured = {name: error(model, images, problem) for name, images in sets.items()}
    return {**measured, "mean_image_error": mean_image_error(x)}, scales(x, problem)


# -- the command line -------------------------------------------------------------------------------------


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("autoencoder.py", __doc__)
    p.add_argument("--data", choices=PROBLEMS, help="curves (generated, the default), mnist, faces")
    p.add_argument("--data-dir", metavar="DIR", help="folder of the files; otherwise $RMAD_DATA, or a download")
    p.add_argument("--n-train", type=positive(int), metavar="N", help="number of images for training")
    p.add_argument("--n-test", type=positive(int), metavar="N", help="number of images for test")
    p.add_argument("--validation", type=positive(int), metavar="N", help="images of the former for early stopping")
    p.add_argument("--preset", choices=PRESETS, help="a complete recipe for --optimizer hf, see above")
    p.add_common(METHODS, Config, "runs/DATA-OPTIMIZER")
    return p


def main() -> int:
    return runner.main(
        runner.Job(
            parser=parser(),
            config=Config,
            folder=lambda config: f"{config.data}-{config.preset or config.optimizer}",
            prepare=lambda config: (build(config), load(config)),
            train=train,
            numbers=numbers,
            finish=finish,
            drawn=("train_error", "test_error", "validation_error", "mean_image_error"),
            ylabel="squared error per image",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
