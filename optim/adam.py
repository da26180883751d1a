"""Adam, and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optim.first_order import FirstOrder
from optim.hyper import above, at_least, fraction
from optim.problem.vectors import blocks
from optim.schedules import Schedule

__all__ = ["Adam"]


class Adam(FirstOrder):
    """θ ← θ − lr (m̂ / (√v̂ + ε) + w θ),  m ← β₁ m + (1 − β₁) ∇f,  v ← β₂ v + (1 − β₂) ∇f².

    m̂ = m / (1 − β₁ᵏ), v̂ likewise. lr, betas = (β₁, β₂), eps = ε: as in the paper, k counts steps; lr may
    be a schedule of `optim.schedules`. l2: adds ½ l2‖θ‖² to f. weight_decay: w, decoupled from the gradient, which
    makes it AdamW.
    Raises ValueError for a hyper-parameter out of range; TrainingDiverged at the tenth rejected step in a row.

    Source: Kingma & Ba (2015), algorithm 1, computed in the order given at the end of their section 2; Loshchilov &
    Hutter (2019), algorithm 2, with lr in the place of η α.
    """

    _state = ("k", "m", "v")

    def __init__(
        self,
        model: Any,
        loss: Any,
        lr: float | Schedule = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        l2: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(model, loss, lr=lr, l2=l2)
        if np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers, got {betas!r}")
        self.betas = fraction("betas[0]", betas[0]), fraction("betas[1]", betas[1])
        self.eps = above("eps", eps, 0.0)
        self.weight_decay = at_least("weight_decay", weight_decay, 0.0)
        self.m = np.zeros_like(self.objective.flat())
        self.v = np.zeros_like(self.m)

    def _update(self, flat: Any, gradient: Any, lr: float) -> None:
        self.k += 1
        b1, b2 = self.betas
        root = math.sqrt(1 - b2**self.k)
        lr_k, eps_k = lr * root / (1 - b1**self.k), self.eps * root
        for theta, m, v, u in blocks(flat, self.m, self.v, gradient):
            w = (1 - b1) * u
            np.multiply(m, b1, out=m)
            np.add(m, w, out=m)  # m ← β₁ m + (1 − β₁) ∇f
            np.multiply(u, u, out=w)
            np.multiply(w, 1 - b2, out=w)
            np.multiply(v, b2, out=v)
            np.add(v, w, out=v)  # v ← β₂ v + (1 − β₂) ∇f²
            np.sqrt(v, out=w)
            np.add(w, eps_k, out=w)
            np.divide(m, w, out=w)
            np.multiply(w, lr_k, out=w)
            if self.weight_decay:
                np.multiply(theta, 1 - lr * self.weight_decay, out=theta)
            np.subtract(theta, w, out=theta)
