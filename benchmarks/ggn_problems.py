"""The problems of ggn_product.py and gpu.py, and the timing of their contenders."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

CLASSES = 10


@dataclass(frozen=True)
class Problem:
    """A network and a batch.

    kind: an autoencoder ("mlp"), a recurrent net ("rnn") or SGN's convolutional net ("cifar"). n: cases. sizes: of the
    encoder. steps, inputs, units, outputs: of the recurrent net. side, channels, dense: of the
    images and of the convolutional net.
    """

    kind: str
    n: int
    sizes: tuple[int, ...] = (784, 400, 200, 100, 50, 25, 6)
    steps: int = 100
    inputs: int = 2
    units: int = 100
    outputs: int = 2
    side: int = 32
    channels: tuple[int, ...] = (3, 32, 64, 64)
    dense: int = 64

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the layers of the autoencoder."""
        return list(pairwise([*self.sizes, *self.sizes[-2::-1]]))

    @property
    def linear(self) -> set[int]:
        """The layers of the autoencoder without a sigmoid: the code, and the output, whose sigmoid is the loss's."""
        return {len(self.sizes) - 2, len(self.layers) - 1}

    @property
    def convolutions(self) -> list[tuple[int, int, int]]:
        """Side of the images, channels in and out; the images are pooled after all but the last."""
        return [(self.side >> k, i, o) for k, (i, o) in enumerate(pairwise(self.channels))]

    @property
    def flat(self) -> int:
        """Features of an image after the convolutions."""
        return (self.side >> (len(self.channels) - 2)) ** 2 * self.channels[-1]

    def pooled(self, k: int) -> bool:
        return k < len(self.channels) - 2


PROBLEMS = {
    "mlp": Problem("mlp", 1000),
    "rnn": Problem("rnn", 1000),
    "cifar": Problem("cifar", 250),
    "cifar-1000": Problem("cifar", 1000),
}


def our_problem(p: Problem, place: Callable[[Any], Any] = lambda a: a) -> tuple[Any, Any, Any, Any]:
    """Returns model, loss, x and t; place: moves an array to a device."""
    import rmad  # first: it may choose the BLAS kernel

    import numpy as np  # isort: skip

    import nn
    import optim

    rng = np.random.default_rng(0)
    if p.kind == "mlp":
        x = place(rng.random((p.n, p.sizes[0]), dtype=np.float32))
        return rmad.map_leaves(place, nn.models.autoencoder(p.sizes, rng=rng)), nn.SigmoidCrossEntropy(), x, x
    if p.kind == "cifar":
        layers: list[Any] = []
        for k, (_, i, o) in enumerate(p.convolutions):
            layers += [nn.Conv2d(i, o, 3, padding="same", rng=rng), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if p.pooled(k) else []
        layers += [nn.Flatten(), nn.Linear(p.flat, p.dense, rng=rng), nn.ReLU(), nn.Linear(p.dense, CLASSES, rng=rng)]
        x = rng.random((p.n, p.side, p.side, p.channels[0]), dtype=np.float32)
        model = rmad.map_leaves(place, nn.Sequential(*layers))
        return model, nn.SoftmaxCrossEntropy(), place(x), place(rng.integers(0, CLASSES, p.n))
    start = place(np.zeros((p.n, p.units), np.float32))

    def forward(q: Any, x: Any) -> Any:
        h = start[: len(x)]
        for t in range(x.shape[1]):
            h = np.tanh(x[:, t] @ q["U"] + h @ q["W"] + q["b"])
        return h @ q["V"] + q["c"]

    def weights(*shape: int) -> Any:
        return place(rng.normal(0, 0.1, shape).astype(np.float32))

    params = {"U": weights(p.inputs, p.units), "W": weights(p.units, p.units), "b": weights(p.units)}
    params |= {"V": weights(p.units, p.outputs), "c": weights(p.outputs)}
    x = weights(p.n, p.steps, p.inputs)
    return optim.Function(forward, params), nn.SquaredError(), x, weights(p.n, p.outputs)


def gemms(p: Problem, gradient: bool, xp: Any, piece: int | None = None) -> Callable[[], None]:
    """Returns the matrix products of one GGN product (or of one gradient), bound to buffers.

    xp: numpy or cupy. piece: images at a time; None takes all of them.
    """

    def product(n: int, k: int, m: int, left: bool = False, right: bool = False) -> Callable[[], Any]:
        a = xp.ones((k, n), "f").T if left else xp.ones((n, k), "f")
        b = xp.ones((m, k), "f").T if right else xp.ones((k, m), "f")
        return partial(xp.dot, a, b, xp.empty((n, m), "f"))

    calls = []
    if p.kind == "mlp":
        for layer, (i, o) in enumerate(p.layers):
            forward = [product(p.n, i, o)] if gradient or layer == 0 else [product(p.n, i, o), product(p.n, i, o)]
            calls += [*forward, product(i, p.n, o, left=True)]
            if layer:
                calls.append(product(p.n, o, i, right=True))
    elif p.kind == "cifar":
        images = piece or p.n
        for size, i, o in (*p.convolutions, (0, p.flat, p.dense), (0, p.dense, CLASSES)):
            rows, taps, first = images * (size**2 or 1), 9 if size else 1, i == p.channels[0]
            calls += [product(rows, taps * i, o)] * (1 if gradient or first else 2)
            calls.append(product(taps * i, rows, o, left=True))
            if not first:
                calls.append(product(rows, taps * o, i))
        calls *= p.n // images
    else:
        k, m = p.units + p.inputs, p.units
        forward = [product(p.n, k, m)] if gradient else [product(p.n, k, m), product(p.n, m, m)]
        calls = [*forward, product(k, p.n, m, left=True), product(p.n, m, m, right=True)] * p.steps

    def run() -> None:
        for call in calls:
            call()

    return run


def median_ms(call: Callable[[], Any], repeats: int = 15, wait: Callable[[], Any] = lambda: None) -> float:
    """Returns the median of the times of a call, and of a wait for the device that works on it, in ms."""

    def timed() -> float:
        start = time.perf_counter()
        call()
        wait()
        return time.perf_counter() - start

    if timed() > 0.1:  # s
        repeats = (repeats + 2) // 3
    else:
        timed(), timed()
    return statistics.median(timed() for _ in range(repeats)) * 1e3
