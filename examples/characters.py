"""A small transformer that predicts the next character of a text, trained Hessian-free or by Adam.

    python examples/characters.py                                    # Tiny Shakespeare, Hessian-free, four minutes
    python examples/characters.py --optimizer adam
    python examples/characters.py --data-dir DIR
    python examples/characters.py --resume --time-budget 3600        # continues the same run

Vectors for characters and for their positions, two causal transformer blocks, and a linear layer with the logits of
the next character. The objective is the cross-entropy per character; it is reported in bits, on pieces of the training
text and of held-out text. Metrics, model, a picture and a sample of generated text go to a folder. Ctrl-C saves the run
and ends the program.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner import Record, positive

import nn
import optim

METHODS: runner.Methods = {
    # small batches and short runs of CG, as in the third recipe of Martens & Sutskever (2012), section 13; the
    # preconditioner brings no gain here
    "hf": (
        optim.HessianFree,
        {
            "batch": 128,
            "curvature_batch": 32,
            "damping": 0.1,
            "cg_iterations": 20,
            "decay": 0.95,
            "l2": 0.0,
            "preconditioner": False,
        },
    ),
    "adam": (optim.Adam, {"batch": 32, "lr": 3e-3, "l2": 0.0}),
    "curveball": (optim.CurveBall, {"batch": 32, "lr": 1.0, "damping": 10.0, "l2": 0.0}),
    "sgn": (
        partial(optim.SGN.preset, "paper"),
        {"batch": 128, "damping": 1e-3, "cg_iterations": 10, "momentum": 0.0, "l2": 0.0},
    ),
    "kfac": (optim.KFAC, {"batch": 128, "damping": 1e-2, "l2": 0.0}),
    "sgd": (optim.SGD, {"batch": 32, "lr": 1e-1, "momentum": 0.9, "l2": 0.0}),
}


@dataclass
class Config(runner.Config):
    """One run. `hyper` holds the values that differ from the defaults in METHODS."""

    METHODS = METHODS

    data_dir: str | None = None
    length: int = 64  # characters in the model's context
    features: int = 64
    heads: int = 4
    blocks: int = 2
    log_interval: float = 5.0
    sample: int = 400  # characters generated at the end

    def monitored(self) -> str | None:
        return "validation_bits"


class Transformer(nn.Module):
    """z = logits of the next character at every position. x: (n, t) tokens, z: (n, t, k), t ≤ length."""

    def __init__(self, k: int, config: Config, rng: np.random.Generator) -> None:
        small = partial(nn.init.normal, std=0.02)
        self.embedding = nn.Embedding(k, config.features, rng=rng, init=small)
        self.positions = small(rng, (config.length, config.features))
        self.blocks = [
            nn.TransformerBlock(config.features, config.heads, causal=True, rng=rng) for _ in range(config.blocks)
        ]
        self.norm = nn.LayerNorm(config.features)
        self.out = nn.Linear(config.features, k, rng=rng, init=small)

    def forward(self, x: Any) -> Any:
        y = self.embedding(x) + self.positions[: np.shape(x)[1]]
        for block in self.blocks:
            y = block(y)
        return self.out(self.norm(y))


# -- the job itself ---------------------------------------------------------------------------------------


def load(config: Config) -> Any:
    """Loads the text as tokens, a tenth of it held out."""
    return nn.data.tiny_shakespeare(config.data_dir)


def build(config: Config, text: Any) -> Any:
    """Makes the optimizer with a new model."""
    model = Transformer(len(text.vocabulary), config, np.random.default_rng(config.seed))
    loss = nn.SoftmaxCrossEntropy(per_position=True)
    return runner.optimizer_for(config, runner.on_device(config, model), loss)


def train(
    config: Config,
    optimizer: Any,
    text: Any,
    *,
    clock: str | Callable[[], float] = "wall",
    **keywords: Any,
) -> optim.History:
    """Calls runner.train on random pieces of the text; records are measured on 64 pieces of either part."""
    samples = {
        f"{part}_bits": runner.on_device(config, spread(text.sequences(config.length, part=part), 64))
        for part in ("train", "validation")
    }

    def errors(model: Any) -> Record:
        return {name: bits(model, *pieces) for name, pieces in samples.items()}

    return runner.train(config, optimizer, Pieces(text, config), errors, clock=clock, **keywords)


class Pieces:
    """Endless pieces from random places of the training text; t is one character ahead of x."""

    def __init__(self, text: Any, config: Config) -> None:
        self.text, self.config, self.rng = text, config, np.random.default_rng([config.seed, 1])

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self

    def __next__(self) -> tuple[Any, Any]:
        pieces = self.text.sample(self.config.hyper["batch"], self.config.length, self.rng)
        return runner.on_device(self.config, pieces)

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]


def spread(pieces: tuple[Any, Any], n: int) -> tuple[Any, Any]:
    """Returns about n pieces, evenly spaced in the text."""
    step = max(1, len(pieces[0]) // n)
    return pieces[0][::step][:n], pieces[1][::step][:n]


def bits(model: Any, x: Any, t: Any) -> float:
    """Returns −log₂ of the probability of a character, the mean over all positions."""
    loss, n = nn.SoftmaxCrossEntropy(), 64
    nats = sum(loss.value(model(x[k : k + n]), t[k : k + n]) * len(x[k : k + n]) for k in range(0, len(x), n))
    return float(nats / t.size / math.log(2))


def write(model: Any, text: Any, config: Config, rng: np.random.Generator) -> str:
    """Draws characters from the model's probabilities, one after another, after a line break."""
    tokens, model = list(text.encode("\n")), runner.on_cpu(config, model)
    loss = nn.SoftmaxCrossEntropy()
    for _ in range(config.sample):
        z = model(np.array([tokens[-config.length :]]))
        tokens.append(int(loss.sample(z[:, -1], rng)[0]))
    return text.decode(np.array(tokens[1:]))


# -- output -----------------------------------------------------------------------------------


def numbers(record: Record) -> str:
    """Returns the text of a record for the progress bar."""
    text = f"{record['train_bits']:.3f} bits (held out {record['validation_bits']:.3f})"
    return runner.progress(record, text)


def finish(model: Any, config: Config, text: Any, out: Path) -> tuple[Record, str]:
    """Returns the bits per character on all held-out text, and a sample of generated text."""
    held_out = bits(model, *runner.on_device(config, text.sequences(config.length, part="validation")))
    sample = write(model, text, config, np.random.default_rng([config.seed, 2]))
    nn.write_whole(out / "sample.txt", lambda file: file.write(f"{sample}\n".encode()))
    return {"validation_bits": held_out}, sample


# -- the command line -------------------------------------------------------------------------------------


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("characters.py", __doc__)
    p.add_argument("--data-dir", metavar="DIR", help="folder of the text; otherwise $RMAD_DATA, or a download")
    for name, text in (
        ("length", "number of characters in the model's context"),
        ("features", "length of the vector of a character"),
        ("heads", "number of heads of an attention"),
        ("blocks", "number of transformer blocks"),
    ):
        default = getattr(Config, name)
        p.add_argument(runner.option(name), type=positive(int), metavar="N", help=f"{text} ({default})")
    p.add_argument("--sample", type=runner.natural, metavar="N", help=f"characters to generate ({Config.sample})")
    p.add_common(METHODS, Config, "runs/characters-OPTIMIZER")
    return p


def prepare(config: Config) -> tuple[Any, Any]:
    """Returns the optimizer and the text."""
    text = load(config)
    return build(config, text), text


def main() -> int:
    return runner.main(
        runner.Job(
            parser=parser(),
            config=Config,
            folder=lambda config: f"characters-{config.optimizer}",
            prepare=prepare,
            train=train,
            numbers=numbers,
            finish=finish,
            drawn=("train_bits", "validation_bits"),
            ylabel="bits per character",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
