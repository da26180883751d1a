"""The problems of `benchmarks/defaults.py`: a model, a loss, data, and how many cases a step is given.

Some were looked at while the defaults were chosen (`tuned`), the others were kept out of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import nn

Batch = tuple[Any, Any]


@dataclass(frozen=True)
class Problem:
    """What a user has: model and loss, data, and batches.

    batch: cases of a step of every method; small: those of SGD and Adam, if fewer.
    """

    model: Any
    loss: Any
    train: Batch
    test: Batch
    batch: int
    small: int

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """(x, t) without end: all cases, the same arrays every time, or cases in a new order for every pass."""
        n = cases(self.train[0])
        while size >= n:
            yield self.train
        while True:
            order = rng.permutation(n)
            for first in range(0, n - size + 1, size):
                which = order[first : first + size]
                yield take(self.train[0], which), take(self.train[1], which)


def cases(x: Any) -> int:
    """The number of cases of an array or a tuple of arrays."""
    return cases(x[0]) if isinstance(x, tuple) else len(x)


def take(x: Any, which: Any) -> Any:
    """Some cases of an array or a tuple of arrays."""
    return tuple(take(a, which) for a in x) if isinstance(x, tuple) else x[which]


def _autoencoder(data: nn.data.Dataset, sizes: tuple[int, ...], loss: Any, rng: np.random.Generator) -> Problem:
    x, x_test = data.x_train[:5000], data.x_test[:1000]
    return Problem(nn.models.autoencoder(sizes, rng=rng), loss, (x, x), (x_test, x_test), len(x), 100)


def curves(rng: np.random.Generator) -> Problem:
    """CURVES, 784-400-200-100-50-25-6 and back, all 5,000 cases in every step."""
    return _autoencoder(nn.data.curves(5000, 1000), nn.models.CURVES, nn.SigmoidCrossEntropy(), rng)


def mnist(rng: np.random.Generator) -> Problem:
    """Digits, 784-250-60-12 and back, all 5,000 cases in every step."""
    return _autoencoder(nn.data.mnist(), (784, 250, 60, 12), nn.SigmoidCrossEntropy(), rng)


def faces(rng: np.random.Generator) -> Problem:
    """FACES, 625-400-100-30 and back with linear outputs, all 5,000 cases in every step."""
    data = nn.data.faces(pairs=20)
    order = np.random.default_rng(0).permutation(len(data.x_train))
    return _autoencoder(data._replace(x_train=data.x_train[order]), (625, 400, 100, 30), nn.SquaredError(), rng)


def mlp(rng: np.random.Generator) -> Problem:
    """A classifier of digits, 784-128-64-10, batches of 200 of 10,000."""
    data = nn.data.mnist()
    model = nn.models.mlp((784, 128, 64, 10), rng=rng)
    train, test = (data.x_train[:10000], data.t_train[:10000]), (data.x_test[:2000], data.t_test[:2000])
    return Problem(model, nn.SoftmaxCrossEntropy(), train, test, 200, 200)


def _images(data: nn.data.Dataset, shape: tuple[int, ...], model: Any, batch: int) -> Problem:
    train = data.x_train[:10000].reshape(-1, *shape), data.t_train[:10000]
    test = data.x_test[:1000].reshape(-1, *shape), data.t_test[:1000]
    return Problem(model, nn.SoftmaxCrossEntropy(), train, test, batch, min(batch, 100))


def _filters(rng: np.random.Generator, *after: Callable[[], nn.Module]) -> nn.Module:
    made = [layer() for layer in after]
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, rng=rng), *made, nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 10, rng=rng),
    )  # fmt: skip


def cnn(rng: np.random.Generator) -> Problem:
    """A small convolutional net on Fashion-MNIST, batches of 500 of 10,000."""
    return _images(nn.data.fashion_mnist(), (28, 28, 1), _filters(rng), 500)


def cnn_batch_norm(rng: np.random.Generator) -> Problem:
    """The same with batch normalization."""
    return _images(nn.data.fashion_mnist(), (28, 28, 1), _filters(rng, lambda: nn.BatchNorm(8)), 500)


def resnet(rng: np.random.Generator) -> Problem:
    """Two residual blocks on CIFAR-10 at half of its resolution, batches of 250 of 10,000."""
    data = nn.data.cifar10()

    def halved(x: Any) -> Any:
        return x.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))

    def block(width: int) -> nn.Module:
        return nn.Residual(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding="same", rng=rng), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding="same", rng=rng),
            )
        )  # fmt: skip

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding="same", rng=rng), nn.ReLU(), nn.MaxPool2d(2), block(16), nn.ReLU(),
        block(16), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(16, 10, rng=rng),
    )  # fmt: skip
    halves = data._replace(x_train=halved(data.x_train[:10000]), x_test=halved(data.x_test[:1000]))
    return _images(halves, (16, 16, 3), model, 250)


class Characters(nn.Module):
    """Tokens (n, t) → scores of the next ones (n, t, k)."""

    def __init__(self, k: int, width: int, layers: list[nn.Module], rng: np.random.Generator, length: int = 0) -> None:
        self.table = nn.Embedding(k, width, rng=rng)
        self.places = [rng.normal(0, 0.1, (length, width)).astype(np.float32)] if length else []
        self.layers = layers
        self.out = nn.Linear(width if length else 64, k, rng=rng)

    def forward(self, x: Any) -> Any:
        h = self.table(x)
        for places in self.places:
            h = h + places
        for layer in self.layers:
            h = layer(h)
        return self.out(h)


def _text(make: Callable[[int], nn.Module], length: int, batch: int) -> Problem:
    text = nn.data.tiny_shakespeare()

    def windows(tokens: Any, n: int) -> Batch:
        rows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[:: length // 2][:n]
        return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])

    model = make(len(text.vocabulary))
    train, test = windows(text.train, 5000), windows(text.validation, 500)
    return Problem(model, nn.SoftmaxCrossEntropy(), train, test, batch, min(batch, 50))


def lstm(rng: np.random.Generator) -> Problem:
    """Characters of Shakespeare, an LSTM of 64, 30 steps, batches of 100 of 5,000."""
    return _text(lambda k: Characters(k, 24, [nn.LSTM(24, 64, rng=rng)], rng), 30, 100)


def gru(rng: np.random.Generator) -> Problem:
    """The same with a GRU."""
    return _text(lambda k: Characters(k, 24, [nn.GRU(24, 64, rng=rng)], rng), 30, 100)


def transformer(rng: np.random.Generator) -> Problem:
    """The same with two transformer blocks of width 48."""
    return _text(
        lambda k: Characters(k, 48, [nn.TransformerBlock(48, 4, causal=True, rng=rng) for _ in range(2)], rng, 30),
        30,
        100,
    )


class VAE(nn.Module):
    """(images, noise) → (logits of the images, mean, logarithm of the variance)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.encoder = nn.models.mlp((784, 200, 40), rng=rng)
        self.decoder = nn.models.mlp((20, 200, 784), rng=rng)

    def forward(self, x: Any) -> Any:
        images, noise = x
        code = self.encoder(images)
        mean, log_variance = code[:, :20], code[:, 20:]
        return self.decoder(mean + np.exp(log_variance / 2) * noise), mean, log_variance


def negative_elbo(z: Any, t: Any) -> Any:
    """Cross-entropy of the images plus the divergence from the standard normal distribution, a mean over cases."""
    logits, mean, log_variance = z
    images = np.sum(np.logaddexp(0, logits) - t * logits, axis=1)
    divergence = np.sum(mean**2 + np.exp(log_variance) - log_variance - 1, axis=1) / 2
    return np.mean(images + divergence)


def vae(rng: np.random.Generator) -> Problem:
    """Digits, with the noise of every case as data, batches of 500 of 5,000."""
    data, noise = nn.data.mnist(), np.random.default_rng(1)

    def pair(images: Any) -> Batch:
        return (images, noise.standard_normal((len(images), 20), dtype=np.float32)), images

    return Problem(VAE(rng), negative_elbo, pair(data.x_train[:5000]), pair(data.x_test[:1000]), 500, 100)


class PINN(nn.Module):
    """x (n, 1) → −u″ + u³, u = x (1 − x) N(x), N a net of tanh units."""

    def __init__(self, sizes: tuple[int, ...], rng: np.random.Generator) -> None:
        self.W = [rng.normal(0, np.sqrt(2 / (i + o)), (i, o)) for i, o in pairwise(sizes)]
        self.b = [np.zeros(o) for o in sizes[1:]]

    def forward(self, x: Any) -> Any:
        a, da, dda = x, np.ones_like(x), np.zeros_like(x)  # a layer, and its derivatives by x
        for k, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            a, da, dda = a @ W + b, da @ W, dda @ W
            if k + 1 < len(self.W):
                y = np.tanh(a)
                slope = 1 - y * y
                a, da, dda = y, slope * da, slope * dda - 2 * y * slope * da * da
        p, dp = x * (1 - x), 1 - 2 * x
        u, ddu = p * a, -2 * a + 2 * dp * da + p * dda
        return -ddu + u**3


def pinn(rng: np.random.Generator) -> Problem:
    """−u″ + u³ = g with u = sin πx·e^x known, 400 points, in double precision, all in every step."""
    x = np.linspace(0, 1, 400)[:, None]

    def g(x: Any) -> Any:
        u = np.sin(np.pi * x) * np.exp(x)
        ddu = np.exp(x) * ((1 - np.pi**2) * np.sin(np.pi * x) + 2 * np.pi * np.cos(np.pi * x))
        return -ddu + u**3

    middle = (x[1:] + x[:-1]) / 2
    return Problem(PINN((1, 30, 30, 1), rng), nn.SquaredError(), (x, g(x)), (middle, g(middle)), 400, 400)


def regression(rng: np.random.Generator) -> Problem:
    """Prices of houses, 13-100-100-1, all cases in every step."""
    data = nn.data.boston()
    train, test = (data.x_train, data.t_train), (data.x_test, data.t_test)
    return Problem(nn.models.sgn_boston(rng=rng), nn.SquaredError(), train, test, len(train[0]), 50)


tuned = {"mnist": mnist, "curves": curves, "mlp": mlp, "cnn": cnn, "lstm": lstm, "pinn": pinn, "regression": regression}
kept_out = {
    "faces": faces,
    "cnn_batch_norm": cnn_batch_norm,
    "resnet": resnet,
    "gru": gru,
    "transformer": transformer,
    "vae": vae,
}
PROBLEMS: dict[str, Callable[[np.random.Generator], Problem]] = tuned | kept_out
