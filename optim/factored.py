"""The base of methods that hold Kronecker factors of the curvature from update to update, with their state."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from optim.base import Optimizer, State
from optim.parts.automatic import Automatic, Policy
from optim.parts.cg import InverseP
from optim.parts.factors import KroneckerFactors
from optim.parts.kronecker import KroneckerOperator
from optim.parts.preconditioner import Diagonals, EmpiricalFisher, KroneckerPreconditioner, Preconditioner
from optim.parts.running import Renewal, RunningFactors
from optim.problem.ranks import Ranks
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["Deciding", "Factored"]


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
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.
    """

    damping: float
    _parts: tuple[str, ...] = ("running",)

    def __init__(self, model: Model, loss: Loss, *, l2: float = 0.0, ranks: Ranks | None = None) -> None:
        super().__init__(model, loss, l2=l2, ranks=ranks)
        self.running = RunningFactors(self.objective.crew, self.objective.ranks)

    @property
    def renewal(self) -> Renewal:
        """How the factors are estimated, averaged and inverted."""
        raise NotImplementedError(f"{type(self).__name__}.renewal")

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
        before, new = self.running, self.running.loaded(state, self.objective.flat(), self.renewal)
        self.running = RunningFactors(
            self.objective.crew, self.objective.ranks
        )  # without factors, as the rest of the state is
        try:
            super().load_state_dict(RunningFactors.numbers(state))
        except ValueError:
            self.running = before
            raise
        new.estimates = self.running.estimates
        self.running = new


class Deciding(Factored):
    """Base of the methods that choose their preconditioner themselves where none is given, and more by the same policy.

    A subclass sets the attributes named here.
    """

    policy: Policy
    preconditioner: bool | Preconditioner | None
    _parts: tuple[str, ...] = ("running", "policy", "policy.changing", "policy.settled")

    @property
    def numbers(self) -> Automatic:
        """The numbers behind what the method decides for itself."""
        return self.policy.numbers

    @property
    def _has_factors(self) -> bool:
        """True if Kronecker factors precondition where batches change, as far as is known before they are tried."""
        if self.preconditioner is None:
            return self.policy.changing.kind == 0
        return isinstance(self.preconditioner, KroneckerPreconditioner)

    @property
    def renewal(self) -> Renewal:
        """How the factors are estimated, averaged and inverted, to precondition CG."""
        every, longest = self.numbers.renewal, self.numbers.longest
        return Renewal(factors_every=every, inverses_every=every, skip_unused=False, follow=2.0, longest=longest)

    def _inverse_of_kind(self, kind: int, diagonals: Diagonals, added: Callable[[], float | Array], k: int) -> InverseP:
        """P⁻¹ of a kind of `Fallback.kinds` at update k; None for the last, the identity.

        added: returns λD + l2, which a damping without a diagonal cannot, and the identity does not need.
        """
        if kind == 0:
            return self._running_inverse(diagonals, added(), k)
        return EmpiricalFisher().inverse(diagonals, added()) if kind == 1 else None

    def _running_inverse(self, diagonals: Diagonals, added: float | Array, k: int) -> InverseP:
        """(C̄ + λI)⁻¹ of the moving averages at update k; NaN if they are not finite, so that the step is rejected.

        added: λ + l2, a number or (p,). ValueError if the factors do not fit the model.
        """
        seed = int(np.random.SeedSequence(diagonals.seed).generate_state(1)[0])
        if self.running.renew(diagonals.q, self.renewal, k, float(np.mean(added)), seed):
            return np.full_like(self.objective.flat(), np.nan)
        return self.running.inverse
