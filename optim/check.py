"""check_ggn compares the products with the Gauss-Newton matrix of a model with central differences.

Source: Martens & Sutskever (2012), section 7.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optim.hyper import generator
from optim.problem.losses import loss_value_and_gradient
from optim.problem.objective import Objective
from optim.types import Loss, Model
from rmad import JacobianOperator, ravel
from rmad.extend import Array, arrays, loss_curvature

__all__ = ["check_ggn"]


def check_ggn(
    model: Model,
    loss: Loss,
    x: Any,
    t: Any = None,
    *,
    l2: float = 0.0,
    eps: float = 1e-4,
    rtol: float = 1e-6,
    columns: int | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """G e_j = Jᵀ(L″(J e_j)) with J and L″ by central differences, for every j: the procedure of section 7.2.

    Parameters
    ----------
    model : Model
        In float64 and small (a few units per layer, few steps in time), its parameters neither so small that it is
        linear nor so large that it saturates.
    loss : Loss
        An object with closed forms, or a function (z, t) → scalar.
    x, t : trees of arrays
        A batch of few cases.
    l2 : float, default 0.0
        As for an optimizer.
    eps : float, default 1e-4
        Step of the differences.
    rtol : float, default 1e-6
        Allowed error, relative to the norm.
    columns : int, optional
        Check so many j, drawn from rng; by default all.
    rng : np.random.Generator, optional
        Draws the vectors; seed 0 by default.

    Raises
    ------
    AssertionError
        If a product is wrong; it names the first one, J w, L″ w, Jᵀ w or G e_j.
    ValueError
        If the parameters are not float64.

    References
    ----------
    Martens & Sutskever (2012), section 7.2.

    Examples
    --------
    >>> import numpy as np
    >>> from optim import Function, check_ggn
    >>> model = Function(lambda params, x: np.tanh(x @ params["W"]), {"W": np.array([[0.3], [-0.2]])})
    >>> check_ggn(model, lambda z, t: np.sum((z - t) ** 2) / len(z), np.eye(2), np.zeros((2, 1)))
    """
    rng, objective = generator(rng), Objective(model, loss, l2)
    if objective.dtype != np.float64:
        raise ValueError(f"check_ggn: the parameters are {objective.dtype}; differences need float64")
    exact = _Differences(objective, x, t, eps)
    _check_factors(exact, rng, rtol)
    p = objective.size
    js = np.arange(p) if columns is None else rng.permutation(p)[:columns]
    _check_columns(exact, arrays.moved_to(exact.theta, js), rng, rtol)


class _Differences:
    """J and L″ at the present parameters by central differences, on flat vectors."""

    def __init__(self, objective: Objective, x: Any, t: Any, eps: float) -> None:
        self.objective, self.x, self.t, self.eps = objective, x, t, eps
        self.theta = objective.flat()
        self.z, self.unravel = ravel(objective.model_at(self.theta)(x), pairs=True)
        self.operator = JacobianOperator(lambda flat: objective.model_at(flat)(x), self.theta)

    def J(self, w: Array) -> Array:
        """J w."""
        return (self._F(self.theta + self.eps * w) - self._F(self.theta - self.eps * w)) / (2 * self.eps)

    def L2(self, w: Array) -> Array:
        """L″ w."""
        return (self._slope(self.z + self.eps * w) - self._slope(self.z - self.eps * w)) / (2 * self.eps)

    @staticmethod
    def random(like: Array, rng: np.random.Generator) -> Array:
        """A random vector like the given one."""
        return arrays.moved_to(like, rng.standard_normal(like.size))

    def _F(self, theta: Array) -> Array:
        return ravel(self.objective.model_at(theta)(self.x), pairs=True)[0]

    def _slope(self, z: Array) -> Array:
        slope = loss_value_and_gradient(self.objective.loss)(self.unravel(z), self.t)[1]
        return ravel(slope, pairs=True)[0]


def _check_factors(exact: _Differences, rng: np.random.Generator, rtol: float) -> None:
    """J w and L″ w for one random vector each."""
    w, u = exact.random(exact.theta, rng), exact.random(exact.z, rng)
    curvature = loss_curvature(exact.objective.loss, exact.unravel(exact.z), exact.t)
    _compare("J w", exact.operator.matvec(w), exact.J(w), rtol)
    _compare("L″ w", ravel(curvature(exact.unravel(u)), pairs=True)[0], exact.L2(u), rtol)


def _check_columns(exact: _Differences, js: Array, rng: np.random.Generator, rtol: float) -> None:
    """Jᵀ w for one random vector, and G e_j for the given j."""
    Je = {int(j): exact.J(_unit(exact.theta, j)) for j in js}
    u = exact.random(exact.z, rng)
    JTu = exact.operator.rmatvec(u)
    _compare("Jᵀ w", JTu[js], np.stack([Je[int(j)] @ u for j in js]), rtol)  # [Jᵀw]_j = ⟨J e_j, w⟩
    q, Ge = exact.objective.quadratic(exact.x, exact.t), np.empty_like(exact.theta)
    for j in js:
        expected = exact.L2(Je[int(j)])
        rows = np.stack([Je[int(i)] @ expected for i in js]) + exact.objective.l2 * (js == j)
        q.ggn_product(_unit(exact.theta, j), Ge)  # the product that the optimizers' CG asks for
        _compare(f"G e_{j}", Ge[js], rows, rtol)


def _unit(theta: Array, j: int) -> Array:
    e = np.zeros_like(theta)
    e[j] = 1
    return e


def _compare(what: str, ours: Array, expected: Array, rtol: float) -> None:
    error, size = float(np.linalg.norm(ours - expected)), float(np.linalg.norm(expected))
    scale = max(size, float(np.linalg.norm(ours)))
    if not error <= rtol * scale + 1e-12:
        raise AssertionError(f"{what} is off by {error / scale:.2g} of its norm {size:.3g}, allowed is {rtol:g}")
