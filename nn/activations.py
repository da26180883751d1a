"""Activations as modules. They hold no arrays."""

from __future__ import annotations

from typing import Any

from nn import functional as F
from nn.module import Module

__all__ = ["ELU", "GELU", "Identity", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh"]


class Identity(Module):
    """y = x"""

    def forward(self, x: Any) -> Any:
        return x


class Sigmoid(Module):
    """y = 1 / (1 + e⁻ˣ)"""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Module):
    """y = tanh x"""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class ReLU(Module):
    """y = max(x, 0)"""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class LeakyReLU(Module):
    """y = x for x > 0, else slope · x"""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = float(slope)

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x, self.slope)

    def describe(self) -> str:
        return f"{self.slope:g}"


class ELU(Module):
    """y = x for x > 0, else α (eˣ − 1)"""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = float(alpha)

    def forward(self, x: Any) -> Any:
        return F.elu(x, self.alpha)

    def describe(self) -> str:
        return f"{self.alpha:g}"


class GELU(Module):
    """y = x Φ(x), Φ the normal distribution function"""

    def forward(self, x: Any) -> Any:
        return F.gelu(x)


class SiLU(Module):
    """y = x / (1 + e⁻ˣ)"""

    def forward(self, x: Any) -> Any:
        return F.silu(x)


class Softplus(Module):
    """y = log(1 + eˣ)"""

    def forward(self, x: Any) -> Any:
        return F.softplus(x)


class Softmax(Module):
    """y = eˣ / Σ eˣ over the axis. Not below SoftmaxCrossEntropy, which holds its own."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.axis)

    def describe(self) -> str:
        return "" if self.axis == -1 else f"axis={self.axis}"
