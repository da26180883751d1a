"""The step that SGD and Adam share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from optim.base import Optimizer, StepInfo, all_or_nothing
from optim.hyper import SCHEDULE, Number, Rule, Schedule, value_at
from optim.problem.ranks import Ranks
from optim.problem.vectors import is_finite
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["FirstOrder"]


class FirstOrder(Optimizer, ABC):
    """θ ← θ − lr · direction(∇f). Subclasses give the direction in `_update`.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar.
    lr : float or schedule
        Learning rate, > 0, or a function of the number of updates made (`optim.schedules`).
    l2 : float
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"lr": Number(above=0.0) | SCHEDULE}
    _state: tuple[str, ...] = ("k",)

    lr: float | Schedule

    def __init__(self, model: Model, loss: Loss, *, lr: float | Schedule, l2: float, ranks: Ranks | None) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        self._keep(FirstOrder.HYPER, locals())
        self.k = 0  # updates made
        self._lr()

    def _lr(self) -> float:
        """The learning rate of the next update."""
        return value_at("lr", self.lr, self.k)

    @abstractmethod
    def _update(self, flat: Array, gradient: Array, lr: float) -> dict[str, Array]:
        """Moves the parameters, given as a fresh vector, in place; returns the method's new vectors by name."""

    @all_or_nothing
    def step(self, x: object, t: object = None) -> StepInfo:
        """Makes one update on a batch; skipped if the loss, the gradient or the result is not finite.

        Parameters
        ----------
        x, t : whatever model and loss take
            The batch.

        Returns
        -------
        StepInfo
            The loss before the update, ‖∇f‖ and lr.

        Raises
        ------
        TrainingDiverged
            At the tenth rejected step in a row.
        """
        self.objective.begin_step()
        f, gradient = self.objective.scalar_and_gradient(x, t)
        record, ended = self._begun(f, gradient)
        if ended:
            return ended
        flat = self.objective.flat()
        lr = self._lr()
        vectors = self._update(flat, gradient, lr)
        if not is_finite(flat):
            return self._reject("non-finite parameters after the update", record)
        self._accept(flat)
        vars(self).update(vectors, k=self.k + 1)
        return StepInfo(**record, step_size=lr)
