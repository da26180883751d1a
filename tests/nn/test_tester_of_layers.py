"""rmad.testing.check finds losses and layers that are wrong, and passes those of nn."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest

import nn
import rmad
from rmad.testing import LOSSES, arrays, check

Z = np.random.default_rng(0).standard_normal((6, 3))
T = np.random.default_rng(1).standard_normal((6, 3))


class Squares(nn.SquaredError):
    pass


def changed(**methods):
    return type("Wrong", (Squares,), methods)()


def shared_buffer():
    buffer = np.empty_like(Z)

    def gradient(self, z, t):
        np.subtract(z, t, out=buffer) if z.dtype == buffer.dtype else None
        time.sleep(0.01)
        out = buffer.copy() if z.dtype == buffer.dtype else z - t.astype(z.dtype)
        buffer[...] = 0
        return out / len(z)

    return gradient


right = nn.SquaredError()


def halves(z, t):
    return np.mean(np.sum((z - t) ** 2, axis=-1)) / 2


def as_mean(loss):
    loss = copy.copy(loss) if not callable(loss) else lambda z, t, f=loss: f(z, t)
    loss.mean_over_cases = True
    return loss


LOSS_FAULTS = {
    "gradient 0.05 %": (changed(gradient=lambda s, z, t: 1.0005 * right.gradient(z, t)), "gradient.*not that of value"),
    "gradient of another dtype": (
        changed(gradient=lambda s, z, t: right.gradient(z.astype(float), t)),
        "of float32, gradient",
    ),
    "gradient of another shape": (
        changed(gradient=lambda s, z, t: np.mean(right.gradient(z, t), axis=1, keepdims=True)),
        r"gradient.*shape \(6, 1\)",
    ),
    "value_and_gradient": (
        changed(value_and_gradient=lambda s, z, t: (1.0005 * right.value(z, t), right.gradient(z, t))),
        r"value_and_gradient\(z, t\)\[0\]",
    ),
    "hessian_product": (
        changed(hessian_product=lambda s, z, t, v: 1.0005 * right.hessian_product(z, t, v)),
        "hessian_product.*not that of value",
    ),
    "curvature": (changed(curvature=lambda s, z, t=None: lambda v: v), "hessian_product|curvature"),
    "root": (changed(sqrt_hessian=lambda s, z, t=None: 2 * right.sqrt_hessian(z)), "Σ S Sᵀ of sqrt_hessian"),
    "samples": (changed(sample=lambda s, z, rng: z + 2 * rng.standard_normal(z.shape)), "does not draw from"),
    "writes into t": (changed(gradient=lambda s, z, t: (right.gradient(z, t), t.sort())[0]), "gradient|writes into"),
    "threads": (changed(gradient=shared_buffer()), "threads at once"),
    "a sum that claims to be a mean": (
        as_mean(lambda z, t: np.sum((z - t) ** 2)),
        "mean_over_cases is claimed, but on 2 parts of the 6 cases the value",
    ),
    "a mean in its value and gradient only": (
        as_mean(lambda z, t: (np.mean(z) - np.mean(rmad.stop_gradient(z))) ** 2 + np.mean(z**2)),
        "mean_over_cases is claimed, .*L″v|no function|differences",
    ),
    "no scalar": (as_mean(lambda z, t: np.sum((z - t) ** 2, axis=1)), "no real scalar"),
}


@pytest.mark.parametrize("row", LOSS_FAULTS.values(), ids=LOSS_FAULTS)
def test_a_wrong_loss_is_found(row):
    loss, message = row
    with pytest.raises(AssertionError, match=message):
        check(loss, Z, T.copy())


@pytest.mark.parametrize("case", [c for c in LOSSES.values() if not c.is_mean], ids=repr)
def test_losses_that_claim_to_be_means_and_are_none(case):
    def claimed(z, t):
        return getattr(case.loss, "value", case.loss)(z, t)

    z = Z if case.heads == 1 else (Z, np.tanh(Z))
    check(claimed, z, case.targets(6), kind="loss")
    claimed.mean_over_cases = True
    with pytest.raises(AssertionError, match="mean_over_cases is claimed"):
        check(claimed, z, case.targets(6))


@pytest.mark.parametrize("case", [c for c in LOSSES.values() if c.is_mean], ids=repr)
def test_losses_that_are_means_may_claim_it(case):
    def claimed(z, t):
        return getattr(case.loss, "value", case.loss)(z, t)

    claimed.mean_over_cases = True
    check(claimed, Z if case.heads == 1 else (Z, np.tanh(Z)), case.targets(6))
    check(case.loss, Z if case.heads == 1 else (Z, np.tanh(Z)), case.targets(6), kind="loss")


def test_losses_of_nn():
    check(nn.SquaredError(), arrays(("n", 2)), arrays(("n", 2)), max_examples=3)
    check(nn.SigmoidCrossEntropy(), arrays(("n", 2)), arrays(("n", 2), lo=0, hi=1), max_examples=3)
    check(nn.SoftmaxCrossEntropy(), arrays(("n", 3)), arrays(("n",), dtype=int, lo=0, hi=2), max_examples=3)


class Scale(nn.Module):
    def __init__(self, forward=None):
        self.weight = np.array([1.0, 2.0, 3.0])
        self.how = forward

    def forward(self, x):
        return self.how(self, x)


def decays(s, x):
    if isinstance(s.weight, np.ndarray):
        s.weight *= 0.9
    return x * s.weight


def rebinds(s, x):
    y = x * s.weight
    s.weight = s.weight * 0.5
    return y


def centres(x):
    x -= np.mean(x)
    return x


noise = np.random.default_rng(0)
LAYER_FAULTS = {
    "writes into its weight": (decays, "f writes into its argument"),
    "rebinds its weight": (rebinds, "f writes into its argument"),
    "writes into x": (lambda s, x: s.weight * (centres(x) if isinstance(x, np.ndarray) else x), "writes into its arg"),
    "mixes cases": (lambda s, x: s.weight * (x - np.mean(x, axis=0)), "couples_cases is not True"),
    "sums over cases": (lambda s, x: np.sum(s.weight * x), "no row for each"),
    "noise": (lambda s, x: s.weight * x + noise.standard_normal(), "no function of x alone"),
    "widens": (lambda s, x: x * s.weight * np.ones(3), "of a float32 layer"),
}


@pytest.mark.parametrize("row", LAYER_FAULTS.values(), ids=LAYER_FAULTS)
def test_a_wrong_layer_is_found(row):
    forward, message = row
    with pytest.raises(AssertionError, match=message):
        check(Scale(forward), Z.copy())


def test_a_right_layer_passes():
    check(Scale(lambda s, x: np.tanh(x) * s.weight), arrays(("n", 3)), max_examples=5)
    with pytest.raises(TypeError, match="Scale is a class; pass an object"):
        check(Scale, Z)
    with pytest.raises(TypeError, match="a layer is checked on x: none is given"):
        check(Scale(lambda s, x: x))
