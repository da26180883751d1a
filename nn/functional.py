"""Activations as functions of arrays, in plain NumPy, so that rmad differentiates them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import rmad
from rmad.primitives.elementwise import sigmoid

__all__ = [
    "elu",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

tanh = np.tanh


def relu(x: Any) -> Any:
    """y = max(x, 0)"""
    return np.maximum(x, 0)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """y = x for x > 0, else slope · x"""
    return np.where(x > 0, x, slope * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """y = x for x > 0, else α (eˣ − 1). Source: Clevert, Unterthiner & Hochreiter (2016)."""
    # the minimum keeps exp from overflowing in the branch that is not taken: inf · 0 would be NaN in its derivative
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(x: Any) -> Any:
    """y = x Φ(x) = x/2 (1 + erf(x/√2)), exact. Source: Hendrycks & Gimpel (2016)."""
    from scipy.special import erf  # here, because importing SciPy takes longer than importing nn

    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def silu(x: Any) -> Any:
    """y = x / (1 + e⁻ˣ)"""
    return x * sigmoid(x)


def softplus(x: Any) -> Any:
    """y = log(1 + eˣ)"""
    return np.logaddexp(x, 0)


def softmax(x: Any, axis: int = -1) -> Any:
    """y = eˣ / Σ eˣ over the axis. No finite x overflows."""
    e = np.exp(_below_zero(x, axis))
    e /= np.sum(e, axis=axis, keepdims=True)
    return e


def log_softmax(x: Any, axis: int = -1) -> Any:
    """y = x − log Σ eˣ over the axis. No finite x overflows."""
    x = _below_zero(x, axis)
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


def _below_zero(x: Any, axis: int) -> Any:
    """x − max x. Both functions are the same for x + c, so the maximum counts as a constant."""
    return x - np.max(rmad.stop_gradient(x), axis=axis, keepdims=True)
