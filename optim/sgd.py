"""Stochastic gradient descent with classical or Nesterov momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from optim.first_order import FirstOrder
from optim.hyper import FRACTION, Flag, Rule, Schedule
from optim.problem.ranks import Ranks
from optim.problem.vectors import blocks
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["SGD"]


class SGD(FirstOrder):
    """θ ← θ − lr v,  v ← μ v + ∇f(θ); with nesterov θ ← θ − lr (∇f(θ) + μ v).

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar.
    lr : float or schedule
        Learning rate, > 0, or a schedule of `optim.schedules`.
    momentum : float, default 0.0
        μ in [0, 1).
    nesterov : bool, default False
        Takes Nesterov's momentum; needs momentum > 0.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), eqs. (1)–(4), v scaled by −1/lr as PyTorch does; Nesterov's in the point
    of the gradient: Bengio, Boulanger-Lewandowski & Pascanu (2013), eqs. (6), (7).

    Examples
    --------
    >>> import optim
    >>> model = nn.Linear(3, 1, rng=np.random.default_rng(0))
    >>> opt = optim.SGD(model, nn.SquaredError(), lr=0.1, momentum=0.9)
    >>> x, t = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)
    >>> opt.step(x, t).loss > opt.step(x, t).loss
    True
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"momentum": FRACTION, "nesterov": Flag()}
    _state = ("k", "velocity")

    momentum: float
    nesterov: bool

    def __init__(
        self,
        model: Model,
        loss: Loss,
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        l2: float = 0.0,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(model, loss, lr=lr, l2=l2, ranks=ranks)
        self._keep(SGD.HYPER, locals())
        if nesterov and not momentum:
            raise ValueError("nesterov needs momentum > 0")
        self.velocity = np.zeros_like(self.objective.flat())

    def _update(self, flat: Array, gradient: Array, lr: float) -> dict[str, Array]:
        mu, velocity = self.momentum, np.empty_like(self.velocity)
        for theta, v, old, u in blocks(flat, velocity, self.velocity, gradient):
            np.multiply(old, mu, out=v)
            np.add(v, u, out=v)  # v ← μ v + ∇f
            d = u + mu * v if self.nesterov else v
            np.subtract(theta, lr * d, out=theta)
        return {"velocity": velocity}
