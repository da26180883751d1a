"""What the optimizers ask of a loss: an object with value and gradient, or any callable (z, t) → scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rmad.transforms import value_and_grad

__all__ = ["loss_value", "loss_value_and_gradient"]


def loss_value(loss: Any) -> Callable[[Any, Any], Any]:
    """(z, t) → L, of a loss object or a callable."""
    return loss.value if hasattr(loss, "value") else loss


def loss_value_and_gradient(loss: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """(z, t) → L, ∂L/∂z: in closed form where the loss has one, else by a sweep."""
    if hasattr(loss, "value_and_gradient"):
        return loss.value_and_gradient
    if hasattr(loss, "gradient"):
        return lambda z, t: (loss.value(z, t), loss.gradient(z, t))
    return value_and_grad(loss_value(loss))
