"""The base of methods that hold Kronecker factors of the curvature from update to update, with their state."""

from __future__ import annotations

from collections.abc import Mapping

from optim.base import Optimizer, State
from optim.parts.factors import KroneckerFactors
from optim.parts.kronecker import KroneckerOperator
from optim.parts.running import Renewal, RunningFactors
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["Factored"]


class Factored(Optimizer):
    """Base of the methods that precondition with C = blockdiag(A_l ⊗ G_l): moving averages of the factors, (C + λI)⁻¹.

    A subclass sets the attributes named here, names "running.estimates" in `_state`, and calls `running.renew` in its
    steps.

    Parameters
    ----------
    model : nn.Module
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f, and l2 I to C.
    """

    damping: float
    delta: Array  # like θ
    _parts: tuple[str, ...] = ("running",)

    def __init__(self, model: Model, loss: Loss, *, l2: float = 0.0) -> None:
        super().__init__(model, loss, l2=l2)
        self.running = RunningFactors(self.objective.crew)

    @property
    def renewal(self) -> Renewal:
        """How the factors are estimated, averaged and inverted."""
        raise NotImplementedError(f"{type(self).__name__}: the hyper-parameters of its factors")

    @property
    def factors(self) -> KroneckerFactors | None:
        """The moving averages; None before the first step."""
        return self.running.factors

    @property
    def operator(self) -> KroneckerOperator:
        """C + (λ + l2) I of the last factors, a LinearOperator. ValueError before the first step."""
        if self.factors is None:
            raise ValueError(f"{type(self).__name__}: there are no factors before the first step")
        return KroneckerOperator(self.factors, self.damping + self.objective.l2)

    def state_dict(self) -> State:
        """As for every optimizer; once there are factors also these, and those and λ of the inverse."""
        return super().state_dict() | self.running.state()

    def load_state_dict(self, state: Mapping[str, Array | float]) -> None:
        """Continues from a state_dict. ValueError names what does not fit, and then nothing is changed."""
        self._check_state(state)
        before, new = self.running, self.running.loaded(state, self.delta, self.renewal)
        self.running = RunningFactors(self.objective.crew)  # without factors, as the rest of the state is
        try:
            super().load_state_dict(RunningFactors.numbers(state))
        except ValueError:
            self.running = before
            raise
        new.estimates = self.running.estimates
        self.running = new
