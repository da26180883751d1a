"""Batch normalisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import rmad
from nn.checks import check_dtype, check_floats, check_sizes
from nn.module import Module
from rmad.extend import Array, moments

__all__ = ["BatchNorm"]


class _Seen:
    """The batch statistics of the update under way. One object for a layer and all its copies."""

    def __init__(self) -> None:
        self.mean: Array | None = None
        self.variance: Array | None = None


class BatchNorm(Module):
    """y = γ (x − μ) / √(σ² + ε) + β, with mean and variance over all axes of x but the last.

    x, y: (…, c), as (n, c), (n, t, c) or images (n, h, w, c). In training μ and σ² are the mean and the variance of
    the batch and are differentiated through in every sweep, so the cases of a batch are coupled and `optim` never
    divides it. In use (`eval`) they are the running averages, and y is affine in x.

    running ← (1 − momentum) running + momentum · batch, the variance unbiased, once per accepted update, with the
    statistics at the point where the update began: trial points of a line search leave no trace. Optimizers see to
    that through begin_step and end_step; a loop of your own calls both.

    Parameters
    ----------
    features : int
        Number of channels c.
    eps : float, default 1e-5
        ε > 0, as in PyTorch.
    momentum : float, default 0.1
        Weight of the newest batch in the running averages, in [0, 1], as in PyTorch.
    affine : bool, default True
        Whether there are γ and β.
    dtype : dtype, default float32
        Type of all arrays: a real float.

    Attributes
    ----------
    weight : (c,) array or None
        γ, ones at the start.
    bias : (c,) array or None
        β, zeros at the start.
    running_mean : (c,) array
        Average of the means; a buffer.
    running_var : (c,) array
        Average of the unbiased variances; a buffer.

    Raises
    ------
    ValueError
        For x with another number of channels, and in training for a single value per channel.
    TypeError
        Unless x is an array of real floats.

    References
    ----------
    Ioffe & Szegedy (2015), algorithms 1 and 2.

    Examples
    --------
    >>> import nn
    >>> nn.BatchNorm(1)(np.array([[1.0], [3.0], [5.0], [7.0]])).ravel().round(2)
    array([-1.34, -0.45,  0.45,  1.34])
    """

    buffers = ("running_mean", "running_var")

    def __init__(
        self,
        features: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
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

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x: (…, c)."""
        check_floats(self, x, "f")
        shape = np.shape(x)
        if len(shape) < 2 or shape[-1] != self.features:
            raise ValueError(f"BatchNorm({self.features}): x has shape {shape}, expected (n, …, {self.features})")
        y = self._by_batch(x) if self.training else self._by_running(x)
        return y if self.weight is None else y * self.weight + self.bias

    def _by_batch(self, x: Array) -> Array:
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

    def _by_running(self, x: Array) -> Array:
        return (x - self.running_mean) / np.sqrt(self.running_var + self.eps)

    def on_couples_cases(self) -> bool:
        """Returns whether the layer is in training."""
        return self.training

    def on_begin_step(self) -> None:
        """Forgets the statistics of the last update."""
        self._seen.mean = self._seen.variance = None

    def on_end_step(self) -> None:
        """Takes the statistics of this update into the running averages."""
        seen, m = self._seen, self.momentum
        if self.training and seen.mean is not None and seen.variance is not None:
            dtype = self.running_mean.dtype
            self.running_mean = ((1 - m) * self.running_mean + m * seen.mean).astype(dtype, copy=False)
            self.running_var = ((1 - m) * self.running_var + m * seen.variance).astype(dtype, copy=False)

    def describe(self) -> str:
        """Returns the number of channels."""
        return f"{self.features}"
