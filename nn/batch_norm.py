"""Batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

import rmad
from nn.checks import check_dtype, check_floats, check_sizes
from nn.module import Module
from rmad.primitives.layers.normalize import moments

__all__ = ["BatchNorm"]


class _Seen:
    """The batch statistics of the update under way. One object for a layer and all its copies."""

    def __init__(self) -> None:
        self.mean: Any = None
        self.variance: Any = None


class BatchNorm(Module):
    """y = γ (x − μ) / √(σ² + ε) + β, with γ = weight, β = bias: (c,), over all axes of x but the last.

    x, y: (…, c), as (n, c), (n, t, c) or images (n, h, w, c). In training μ and σ² are the mean and the variance of
    the batch and are differentiated through in every sweep, so the cases of a batch are coupled and `optim` never
    divides it. In use (`eval`) they are the running averages, and y is affine in x.

    running ← (1 − momentum) running + momentum · batch, the variance unbiased, once per accepted update, with the
    statistics at the point where the update began: trial points of a line search leave no trace. Optimizers see to
    that through begin_step and end_step; a loop of your own calls both.

    Raises ValueError for x with another number of channels, and in training for a single value per channel, TypeError
    where x holds no floats.
    Source: Ioffe & Szegedy (2015), algorithms 1 and 2; defaults and the unbiased variance as PyTorch's.
    """

    buffers = ("running_mean", "running_var")

    def __init__(
        self, features: int, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, dtype: Any = np.float32
    ) -> None:
        check_sizes(f"BatchNorm({features})", "the number of features", features)
        check_dtype(f"BatchNorm({features})", dtype, "f")
        if not eps > 0:
            raise ValueError(f"BatchNorm({features}): eps must be > 0, got {eps!r}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm({features}): momentum must be in [0, 1], got {momentum!r}")
        self.features, self.eps, self.momentum = features, float(eps), float(momentum)
        self.weight = np.ones(features, dtype) if affine else None
        self.bias = np.zeros(features, dtype) if affine else None
        self.running_mean = np.zeros(features, dtype)
        self.running_var = np.ones(features, dtype)
        self._seen = _Seen()

    def forward(self, x: Any) -> Any:
        check_floats(self, x, "f")
        shape = np.shape(x)
        if len(shape) < 2 or shape[-1] != self.features:
            raise ValueError(f"BatchNorm({self.features}): x has shape {shape}, expected (n, …, {self.features})")
        y = self._by_batch(x) if self.training else self._by_running(x)
        return y if self.weight is None else y * self.weight + self.bias

    def _by_batch(self, x: Any) -> Any:
        axes = tuple(range(x.ndim - 1))
        values = int(np.prod(x.shape[:-1]))
        if values < 2:
            raise ValueError(
                f"BatchNorm({self.features}): x {x.shape} has {values} values per channel, needs 2 in training; "
                "to use a model, call model.eval() first"
            )
        y, mean, variance = moments(x, axes, self.eps)
        seen = self._seen
        if seen.mean is None:
            mean, variance = (np.reshape(a, self.features) for a in rmad.stop_gradient((mean, variance)))
            seen.mean, seen.variance = mean, variance * (values / (values - 1))
        return y

    def _by_running(self, x: Any) -> Any:
        return (x - self.running_mean) / np.sqrt(self.running_var + self.eps)

    def on_couples_cases(self) -> bool:
        return self.training

    def on_begin_step(self) -> None:
        self._seen.mean = self._seen.variance = None

    def on_end_step(self) -> None:
        seen, m = self._seen, self.momentum
        if self.training and seen.mean is not None:
            dtype = self.running_mean.dtype
            self.running_mean = ((1 - m) * self.running_mean + m * seen.mean).astype(dtype, copy=False)
            self.running_var = ((1 - m) * self.running_var + m * seen.variance).astype(dtype, copy=False)

    def describe(self) -> str:
        return f"{self.features}"
