"""A small transformer that learns to write, one character after another, Hessian-free or by Adam.

    python examples/characters.py                                    # Tiny Shakespeare, Hessian-free, four minutes
    python examples/characters.py --optimizer adam
    python examples/characters.py --data-dir DIR

Characters as vectors with learned positions, two causal transformer blocks, a linear layer that tells the next
character. The objective is the cross-entropy per character; what is reported is the same in bits, on pieces of the text
for training and on held-out text. Metrics, model, a picture and a sample of the text that it writes go to a folder.
Ctrl-C ends early and keeps what there is.
"""

from __future__ import annotations

import argparse
import math
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

METHODS: runner.Methods = {
    # small batches and short runs of CG, as the third recipe in section 13 of Martens & Sutskever (2012); the
    # preconditioner gains nothing here
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
}


@dataclass
class Config(runner.Config):
    """One run. `hyper` holds what differs from the defaults in METHODS."""

    METHODS = METHODS

    data_dir: str | None = None
    length: int = 64  # characters that the model sees at once
    features: int = 64
    heads: int = 4
    blocks: int = 2
    log_interval: float = 5.0
    sample: int = 400  # characters written at the end


class Transformer(nn.Module):
    """z = logits of the next character at every position. x: (n, t) tokens, z: (n, t, k), t ≤ length"""

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
    """The text as tokens, a tenth of it held out."""
    return nn.data.tiny_shakespeare(config.data_dir)


def build(config: Config, text: Any) -> Any:
    """The optimizer, with a new model in it."""
    model = Transformer(len(text.vocabulary), config, np.random.default_rng(config.seed))
    return runner.optimizer_for(config, model, nn.SoftmaxCrossEntropy(per_position=True))


def train(
    config: Config,
    optimizer: Any,
    text: Any,
    *,
    clock: Callable[[], float] = time.perf_counter,
    **callbacks: Callable[..., Any],
) -> Run:
    """runner.train on random pieces of the text; the records' figures are of 64 pieces of either part."""
    samples = {f"{part}_bits": spread(text.sequences(config.length, part=part), 64) for part in ("train", "validation")}

    def errors(model: Any) -> Record:
        return {name: bits(model, *pieces) for name, pieces in samples.items()}

    some = batches(text, config, np.random.default_rng([config.seed, 1]))
    return runner.train(config, optimizer, some, errors, clock=clock, **callbacks)


def batches(text: Any, config: Config, rng: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Pieces from random places of the text for training, without end; t is one character on from x."""
    while True:
        yield text.sample(config.hyper["batch"], config.length, rng)


def spread(pieces: tuple[Any, Any], n: int) -> tuple[Any, Any]:
    """About n pieces from all over the text."""
    step = max(1, len(pieces[0]) // n)
    return pieces[0][::step][:n], pieces[1][::step][:n]


def bits(model: Any, x: Any, t: Any) -> float:
    """−log₂ of the probability of a character, the mean over all positions."""
    loss, n = nn.SoftmaxCrossEntropy(), 64
    nats = sum(loss.value(model(x[k : k + n]), t[k : k + n]) * len(x[k : k + n]) for k in range(0, len(x), n))
    return float(nats / t.size / math.log(2))


def write(model: Any, text: Any, config: Config, rng: np.random.Generator) -> str:
    """Characters drawn from the model's probabilities, one after another, after a line break."""
    tokens = list(text.encode("\n"))
    loss = nn.SoftmaxCrossEntropy()
    for _ in range(config.sample):
        z = model(np.array([tokens[-config.length :]]))
        tokens.append(int(loss.sample(z[:, -1], rng)[0]))
    return text.decode(np.array(tokens[1:]))


# -- what a person sees -----------------------------------------------------------------------------------


def numbers(record: Record) -> str:
    """One record for the progress bar."""
    text = f"{record['train_bits']:.3f} bits per character (held out {record['validation_bits']:.3f})"
    return runner.progress(record, text)


def save(run: Run, config: Config, text: Any, out: Path) -> str:
    """Model, picture, a sample, and the bits per character of all the held-out text; returns the last words."""
    run.model.eval()
    held_out = bits(run.model, *text.sequences(config.length, part="validation"))
    last = {"end": run.end, "seconds": run.records[-1]["seconds"], "update": run.records[-1]["update"]}
    last |= {"train_bits": run.records[-1]["train_bits"], "validation_bits": held_out}
    (out / "summary.json").write_text(as_json(last | {"config": asdict(config)}, indent=2) + "\n")
    nn.save(run.model, out / "model.safetensors")
    names, title = ("train_bits", "validation_bits"), f"Tiny Shakespeare, {config.optimizer}"
    runner.draw_training(run.records, names, "bits per character", title, out / "training.png")
    sample = write(run.model, text, config, np.random.default_rng([config.seed, 2]))
    (out / "sample.txt").write_text(sample + "\n")
    return (
        f"{sample}\n\n{run.end}: {last['update']} updates, {last['seconds']:.0f} s of training; "
        f"bits per character: training {last['train_bits']:.3f}, held out {held_out:.3f}; results in {out}"
    )


# -- the command line -------------------------------------------------------------------------------------


def parser() -> runner.Parser:
    p = runner.Parser(prog="characters.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data-dir", metavar="DIR", help="where tinyshakespeare is: else $RMAD_DATA, else a download")
    for name, text in (
        ("length", "characters that the model sees at once"),
        ("features", "numbers per character"),
        ("heads", "of an attention"),
        ("blocks", "one above the other"),
    ):
        default = getattr(Config, name)
        p.add_argument(runner.option(name), type=positive(int), metavar="N", help=f"{text} ({default})")
    p.add_argument("--sample", type=runner.natural, metavar="N", help=f"characters to write ({Config.sample})")
    p.add_common(METHODS, Config)
    p.add_argument("--out", type=Path, metavar="DIR", help="for the results (runs/characters-OPTIMIZER)")
    return p


def prepare(config: Config) -> tuple[Any, Any]:
    text = load(config)
    return build(config, text), text


def main() -> int:
    return runner.main(
        runner.Job(
            parser=parser(),
            config=Config,
            prepare=prepare,
            train=train,
            numbers=numbers,
            save=save,
            folder=lambda config: f"characters-{config.optimizer}",
        )
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("ended by Ctrl-C, without results", file=sys.stderr)
        sys.exit(130)
