"""The step that SGD and Adam share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from optim.base import Optimizer, StepInfo, not_finite
from optim.hyper import above
from optim.problem.vectors import dot, is_finite
from optim.schedules import Schedule, value_at

__all__ = ["FirstOrder"]


class FirstOrder(Optimizer, ABC):
    """θ ← θ − lr · direction(∇f). Subclasses give the direction in `_update`.

    lr: a number, or a schedule k → lr of the updates made so far (`optim.schedules`).
    """

    _state: tuple[str, ...] = ("k",)

    def __init__(self, model: Any, loss: Any, *, lr: float | Schedule, l2: float) -> None:
        super().__init__(model, loss, l2=l2)
        self.lr = lr
        if not callable(lr):
            above("lr", lr, 0.0)
        self.k = 0  # updates made
        self._lr()

    def _lr(self) -> float:
        """The learning rate of the next update."""
        return value_at("lr", self.lr, self.k)

    @abstractmethod
    def _update(self, flat: Any, gradient: Any, lr: float) -> None:
        """Moves the parameters, given as a fresh vector, in place, and the method's own state."""

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # found and reported as a rejected step
    def step(self, x: Any, t: Any = None) -> StepInfo:
        """One update on the batch (x, t). Skipped where the loss, the gradient or the result is not finite."""
        self.objective.begin_step()
        loss, gradient = self.objective.value_and_gradient(x, t)
        squared_norm = dot(gradient, gradient)
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        reason = not_finite(loss, gradient, squared_norm)
        record: dict[str, Any] = {"loss": loss, "gradient_norm": norm}
        if reason:
            return self._reject(reason, record)
        flat = self.objective.flat()
        lr = self._lr()
        self._update(flat, gradient, lr)
        if not is_finite(flat):
            return self._reject("non-finite parameters after the update", record)
        self._accept(flat)
        return StepInfo(**record, step_size=lr)
