"""Names for the types in the signatures of optimizers: models, losses, batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

__all__ = ["Batch", "Loss", "LossObject", "Model"]


class Model(Protocol):
    """A tree of arrays that can be called: model(x) -> z. An `nn.Module`, or `optim.Function(forward, params)`."""

    def __call__(self, x: Any, /) -> Any: ...


class LossObject(Protocol):
    """A loss with closed forms: value(z, t), and optionally gradient(z, t) and hessian_product(z, t, v)."""

    def value(self, z: Any, t: Any, /) -> Any: ...


Loss: TypeAlias = LossObject | Callable[[Any, Any], Any]
"""A loss object or a callable (z, t) -> scalar, convex in z."""

Batch: TypeAlias = tuple[Any, Any]
"""(x, t): whatever the model and the loss take."""
