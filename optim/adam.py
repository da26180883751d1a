"""Adam, and AdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from optim.first_order import FirstOrder
from optim.hyper import FRACTION, Number, Rule, Schedule
from optim.problem.ranks import Ranks
from optim.problem.vectors import blocks
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["Adam"]


class Betas(Rule):
    """Two numbers in [0, 1)."""

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> tuple[float, float]:
        if np.shape(value) != (2,):
            raise ValueError(f"{name} must be two numbers, got {value!r}")
        return FRACTION(f"{name}[0]", value[0]), FRACTION(f"{name}[1]", value[1])


class Adam(FirstOrder):
    """θ ← θ − lr (m̂ / (√v̂ + ε) + w θ),  m ← β₁ m + (1 − β₁) ∇f,  v ← β₂ v + (1 − β₂) ∇f².

    m̂ = m / (1 − β₁ᵏ) and v̂ = v / (1 − β₂ᵏ) at update k = 1, 2, …

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar.
    lr : float or schedule, default 1e-3
        Learning rate, > 0, or a schedule of `optim.schedules`; the default is that of the paper.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂ in [0, 1); the defaults are those of the paper.
    eps : float, default 1e-8
        ε > 0, in the units of ∇f; the default is that of the paper.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.
    weight_decay : float, default 0.0
        w ≥ 0, decoupled from the gradient: AdamW.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Kingma & Ba (2015), algorithm 1, computed in the order given at the end of their section 2; Loshchilov & Hutter
    (2019), algorithm 2, with lr in the place of η α.

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.Adam(model, nn.SquaredError(), lr=0.1)
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "betas": Betas(),
        "eps": Number(above=0.0),
        "weight_decay": Number(at_least=0.0),
    }
    _state = ("k", "m", "v")

    betas: tuple[float, float]
    eps: float
    weight_decay: float

    def __init__(
        self,
        model: Model,
        loss: Loss,
        lr: float | Schedule = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        l2: float = 0.0,
        ranks: Ranks | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(model, loss, lr=lr, l2=l2, ranks=ranks)
        self._keep(Adam.HYPER, locals())
        self.m = np.zeros_like(self.objective.flat())
        self.v = np.zeros_like(self.m)

    def _update(self, flat: Array, gradient: Array, lr: float) -> dict[str, Array]:
        k, (b1, b2) = self.k + 1, self.betas
        root = math.sqrt(1 - b2**k)
        lr_k, eps_k = lr * root / (1 - b1**k), self.eps * root
        new_m, new_v = np.empty_like(self.m), np.empty_like(self.v)
        for theta, m, v, old_m, old_v, u in blocks(flat, new_m, new_v, self.m, self.v, gradient):
            w = (1 - b1) * u
            np.multiply(old_m, b1, out=m)
            np.add(m, w, out=m)  # m ← β₁ m + (1 − β₁) ∇f
            np.multiply(u, u, out=w)
            np.multiply(w, 1 - b2, out=w)
            np.multiply(old_v, b2, out=v)
            np.add(v, w, out=v)  # v ← β₂ v + (1 − β₂) ∇f²
            np.sqrt(v, out=w)
            np.add(w, eps_k, out=w)
            np.divide(m, w, out=w)
            np.multiply(w, lr_k, out=w)
            if self.weight_decay:
                np.multiply(theta, 1 - lr * self.weight_decay, out=theta)
            np.subtract(theta, w, out=theta)
        return {"m": new_m, "v": new_v}
