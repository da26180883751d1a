"""Activations as modules. They hold no arrays; x and y have the same shape."""

from __future__ import annotations

from typing import ClassVar

from nn import functional as F
from nn.module import Module
from rmad.extend import Array

__all__ = ["ELU", "GELU", "Identity", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh"]


class _Activation(Module):
    """y = _function(x), for activations without settings."""

    _function: ClassVar[staticmethod[[Array], Array]]

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x."""
        return self._function(x)


class Identity(_Activation):
    """y = x.

    x, y: any shape.
    """

    _function = staticmethod(lambda x: x)


class Sigmoid(_Activation):
    """y = 1 / (1 + e⁻ˣ).

    x, y: any shape. As the last layer of a classifier, leave it out: SigmoidCrossEntropy already includes it.

    Examples
    --------
    >>> import nn
    >>> nn.Sigmoid()(np.array([-np.inf, 0, np.inf]))
    array([0. , 0.5, 1. ])
    """

    _function = staticmethod(F.sigmoid)


class Tanh(_Activation):
    """y = tanh x.

    x, y: any shape.
    """

    _function = staticmethod(F.tanh)


class ReLU(_Activation):
    """y = max(x, 0).

    x, y: any shape. The derivative at x = 0 is ½, the mean of its two sides, as np.maximum has it.
    """

    _function = staticmethod(F.relu)


class LeakyReLU(Module):
    """y = x for x > 0, else slope · x.

    x, y: any shape.

    Parameters
    ----------
    slope : float, default 0.01
        Slope for x < 0.
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = float(slope)

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x."""
        return F.leaky_relu(x, self.slope)

    def describe(self) -> str:
        """Returns the slope."""
        return f"{self.slope:g}"


class ELU(Module):
    """y = x for x > 0, else α (eˣ − 1).

    x, y: any shape.

    Parameters
    ----------
    alpha : float, default 1
        −α is the limit for x → −∞.

    References
    ----------
    Clevert, Unterthiner & Hochreiter (2016).
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = float(alpha)

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x."""
        return F.elu(x, self.alpha)

    def describe(self) -> str:
        """Returns α."""
        return f"{self.alpha:g}"


class GELU(_Activation):
    """y = x Φ(x), Φ the normal distribution function.

    x, y: any shape.

    References
    ----------
    Hendrycks & Gimpel (2016).
    """

    _function = staticmethod(F.gelu)


class SiLU(_Activation):
    """y = x / (1 + e⁻ˣ).

    x, y: any shape. Called Swish, too.

    References
    ----------
    Hendrycks & Gimpel (2016); Ramachandran, Zoph & Le (2017).
    """

    _function = staticmethod(F.silu)


class Softplus(_Activation):
    """y = log(1 + eˣ).

    x, y: any shape.
    """

    _function = staticmethod(F.softplus)


class Softmax(Module):
    """y = eˣ / Σ eˣ over the axis.

    x, y: any shape. SoftmaxCrossEntropy includes a softmax, so a model for it has none as its last layer.

    Parameters
    ----------
    axis : int, default −1
        Axis of the classes.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x."""
        return F.softmax(x, self.axis)

    def describe(self) -> str:
        """Returns the axis, unless it is the last."""
        return "" if self.axis == -1 else f"axis={self.axis}"
