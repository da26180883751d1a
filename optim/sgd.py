"""Stochastic gradient descent with classical or Nesterov momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from optim.first_order import FirstOrder
from optim.hyper import flag, fraction
from optim.problem.vectors import blocks
from optim.schedules import Schedule

__all__ = ["SGD"]


class SGD(FirstOrder):
    """θ ← θ − lr v,  v ← μ v + ∇f(θ); with nesterov θ ← θ − lr (∇f(θ) + μ v).

    lr: learning rate, or a schedule of `optim.schedules`. momentum: μ in [0, 1). nesterov: needs μ > 0. l2: adds
    ½ l2‖θ‖² to f.
    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.

    Source: Sutskever, Martens, Dahl & Hinton (2013), eqs. (1)–(4), v scaled by −1/lr as PyTorch does; Nesterov's
    in the point of the gradient (Bengio, Boulanger-Lewandowski & Pascanu 2013, eqs. (6), (7)).
    """

    _state = ("k", "velocity")

    def __init__(
        self,
        model: Any,
        loss: Any,
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        l2: float = 0.0,
    ) -> None:
        super().__init__(model, loss, lr=lr, l2=l2)
        self.momentum, self.nesterov = fraction("momentum", momentum), flag("nesterov", nesterov)
        if self.nesterov and not momentum:
            raise ValueError("nesterov needs momentum > 0")
        self.velocity = np.zeros_like(self.objective.flat())

    def _update(self, flat: Any, gradient: Any, lr: float) -> None:
        self.k += 1
        mu = self.momentum
        for theta, v, u in blocks(flat, self.velocity, gradient):
            np.multiply(v, mu, out=v)
            np.add(v, u, out=v)  # v ← μ v + ∇f
            d = u + mu * v if self.nesterov else v
            np.subtract(theta, lr * d, out=theta)
