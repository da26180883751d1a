"""Kronecker factors of the curvature and their inverse, each renewed at its own time, with the state that resumes them.

References
----------
Martens & Grosse (2015), sections 5 and 8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optim import tuning
from optim.base import Optimizer, State
from optim.parts.estimate import kronecker_factors
from optim.parts.factors import KroneckerFactors, loaded, saved
from optim.parts.kronecker import KroneckerInverse, KroneckerOperator
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import are_finite
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["Factored"]


class Factored(Optimizer):
    """Base of the methods that precondition with C = blockdiag(A_l ⊗ G_l): moving averages of the factors, (C + λI)⁻¹.

    A subclass sets the hyper-parameters named here, and calls `_renew` in every step.

    Parameters
    ----------
    model : nn.Module
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f, and l2 I to C.
    """

    k: int  # updates made
    seed: int  # of the targets that are drawn
    damping: float
    delta: Array  # like θ
    method: str
    sharing: str
    samples: int
    average: float
    factors_every: int
    inverses_every: int
    exact_damping: bool

    def __init__(self, model: Model, loss: Loss, *, l2: float = 0.0) -> None:
        super().__init__(model, loss, l2=l2)
        self.estimates = 0  # of the factors
        self.factors: KroneckerFactors | None = None
        self._inverted: tuple[KroneckerFactors, float] | None = None  # what the inverse was made of: factors and λ
        self._inverse: KroneckerInverse | None = None

    def _renew(self, q: Quadratic) -> str:
        """New factors and a new inverse, if it is time for them. Names what is not finite, or ""."""
        start = self.k <= 3  # section 8: the first estimates age fast
        invert = self._inverse is None or start or self.k % self.inverses_every == 0
        factors = self.factors
        if factors is None or invert or self.k % self.factors_every == 0:
            new = kronecker_factors(q, self.method, self.sharing, (self.seed + self.k) % 2**32, self.samples)
            if not new.is_finite():
                return "non-finite curvature factors"
            if factors is not None and factors.fits(new):
                new = new.mixed_with(factors, min(self.average, 1 - 1 / (1 + self.estimates)))
            factors, self.estimates = new, self.estimates + 1
        assert factors is not None
        if invert:
            made_of = factors, self.damping + self.objective.l2
            inverse = self._invert(*made_of)
            if not self._is_finite(inverse):
                return "non-finite inverse of the curvature"
            self._inverted, self._inverse = made_of, inverse
        self.factors = factors
        return ""

    def _invert(self, factors: KroneckerFactors, damping: float) -> KroneckerInverse:
        """The inverse, made on threads if the blocks are large."""
        large = sum(block.size * sum(block.shape) for block in factors.blocks) >= tuning.INVERTED_ON_THREADS_FROM
        return KroneckerInverse(factors, damping, self.exact_damping, run=self.objective.crew.run if large else None)

    def _forget_inverse(self) -> None:
        self._inverse = self._inverted = None

    @property
    def operator(self) -> KroneckerOperator:
        """C + (λ + l2) I of the last factors, a LinearOperator. ValueError before the first step."""
        if self.factors is None:
            raise ValueError(f"{type(self).__name__}: there are no factors before the first step")
        return KroneckerOperator(self.factors, self.damping + self.objective.l2)

    def state_dict(self) -> State:
        """As for every optimizer; from the first step on also the factors, and those and λ of the inverse."""
        state = super().state_dict()
        if self.factors is not None:
            state |= saved(self.factors, "factors")
        if self._inverted is not None:
            state |= {**saved(self._inverted[0], "inverted"), "inverted.damping": self._inverted[1]}
        return state

    def load_state_dict(self, state: Mapping[str, Array | float]) -> None:
        """Continues from a state_dict. ValueError names what does not fit, and then nothing is changed."""
        self._check_state(state)
        numbers = {key: value for key, value in state.items() if not key.startswith(("factors.", "inverted."))}
        factors, inverted = (loaded(state, name, self.delta) for name in ("factors", "inverted"))
        made = None if inverted is None else self._inverse_of_state(inverted, state.get("inverted.damping"))
        before = self.factors, self._inverted, self._inverse
        self.factors = self._inverted = self._inverse = None
        try:
            super().load_state_dict(numbers)
        except ValueError:
            self.factors, self._inverted, self._inverse = before
            raise
        self.factors = factors
        if made is not None:
            self._inverted, self._inverse = made

    def _inverse_of_state(
        self, factors: KroneckerFactors, damping: Any
    ) -> tuple[tuple[KroneckerFactors, float], KroneckerInverse]:
        """The factors and λ in a state, and their inverse; ValueError if there is none."""
        if not (isinstance(damping, int | float) and 0 <= damping < math.inf):
            raise ValueError(f"the state's inverted.damping must be a finite number ≥ 0, got {damping!r}")
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                inverse = self._invert(factors, float(damping))
        except np.linalg.LinAlgError as error:
            raise ValueError(f"the state's inverted factors have no inverse: {error}") from None
        if not self._is_finite(inverse):
            raise ValueError("the state's inverted factors have no finite inverse")
        return (factors, float(damping)), inverse

    @staticmethod
    def _is_finite(inverse: KroneckerInverse) -> bool:
        return are_finite(inverse.arrays())
