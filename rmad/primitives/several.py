"""Elementwise functions with several outputs, such as scipy.special.airy: every output a node with diagonal blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from rmad.rules import Primitive
from rmad.tapes.blocks import Diagonal
from rmad.tapes.tape import ArraySpec
from rmad.tracing.handlers import register
from rmad.tracing.quick import no_wider

__all__ = ["elementwise_of_several"]

Derivative = Callable[..., Any]


class SeveralOutputs(Primitive):
    """(y₀, y₁, …) = f(x₀, x₁, …). derivatives: per argument (ys, x₀, x₁, …) → (∂y₀/∂x_k, ∂y₁/∂x_k, …), or None."""

    def __init__(self, f: Callable[..., Any], derivatives: Sequence[Derivative | None]) -> None:
        super().__init__(f)
        self.derivatives = derivatives

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        @cache
        def slopes(k: int) -> Any:
            if (slopes_in := self.derivatives[k]) is None:
                raise self._missing(k)
            return slopes_in(y, *args, **kwargs)

        return [[self._block(k, args[k], y_j, slopes(k)[j]) for k in argnums] for j, y_j in enumerate(y)]

    def _block(self, k: int, x: Any, y: Any, d: Any) -> Diagonal:
        spec = ArraySpec.of(y)
        return Diagonal(self, k, ArraySpec.of(x), spec, no_wider(d, spec.dtype))


def elementwise_of_several(f: Callable[..., Any], *derivatives: Derivative | None) -> Primitive:
    """f with its rule: per argument (ys, x₀, x₁, …) → the derivatives of all outputs in it, or None."""
    return register(f, SeveralOutputs(f, derivatives))
