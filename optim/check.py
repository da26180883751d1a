"""check_ggn: are the products with the Gauss-Newton matrix of my own model right?

Source: Martens & Sutskever (2012), section 7.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optim.hyper import generator
from optim.problem.losses import loss_value_and_gradient
from optim.problem.objective import Objective
from rmad import JacobianOperator
from rmad.extend import loss_curvature, tree

__all__ = ["check_ggn"]


def check_ggn(
    model: Any,
    loss: Any,
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

    model, loss, x, t: as an optimizer takes them; the model in float64 and small (a few units to a layer, few cases and
    steps in time), its parameters neither so small that it is linear nor so large that it saturates. eps: of the
    differences; rtol: allowed error, relative to the norm. columns: check so many j, drawn from rng, instead of all.

    Raises AssertionError that names the product that is wrong, J w, L″ w, Jᵀ w or G e_j; ValueError where the
    parameters are not float64.
    """
    rng, objective = generator(rng), Objective(model, loss, l2)
    if objective.dtype != np.float64:
        raise ValueError(f"check_ggn: the parameters are {objective.dtype}; differences need float64")
    theta = objective.flat()
    z, unravel = tree.ravel(objective.model_at(theta)(x))

    def F(theta: Any) -> Any:
        return tree.ravel(objective.model_at(theta)(x))[0]

    def slope(z: Any) -> Any:
        return tree.ravel(loss_value_and_gradient(loss)(unravel(z), t)[1])[0]

    def J(w: Any) -> Any:
        return (F(theta + eps * w) - F(theta - eps * w)) / (2 * eps)  # 1

    def L2(w: Any) -> Any:
        return (slope(z + eps * w) - slope(z - eps * w)) / (2 * eps)  # 2

    ours = JacobianOperator(lambda flat: objective.model_at(flat)(x), theta)
    curvature = loss_curvature(loss, unravel(z), t)
    w, u = rng.standard_normal(theta.size), rng.standard_normal(z.size)
    _compare("J w", ours.matvec(w), J(w), rtol)
    _compare("L″ w", tree.ravel(curvature(unravel(u)))[0], L2(u), rtol)

    js = np.arange(theta.size) if columns is None else rng.permutation(theta.size)[:columns]
    Je = {int(j): J(_unit(theta, j)) for j in js}
    JTu = ours.rmatvec(u)
    _compare("Jᵀ w", JTu[js], np.array([Je[int(j)] @ u for j in js]), rtol)  # 3: [Jᵀw]_j = ⟨J e_j, w⟩
    q, Ge = objective.quadratic(x, t), np.empty_like(theta)
    for j in js:
        expected = L2(Je[int(j)])
        rows = np.array([Je[int(i)] @ expected for i in js]) + l2 * (js == j)
        q.ggn_product(_unit(theta, j), Ge)  # the product that the optimizers' CG asks for
        _compare(f"G e_{j}", Ge[js], rows, rtol)


def _unit(theta: Any, j: int) -> Any:
    e = np.zeros_like(theta)
    e[j] = 1
    return e


def _compare(what: str, ours: Any, expected: Any, rtol: float) -> None:
    error, size = float(np.linalg.norm(ours - expected)), float(np.linalg.norm(expected))
    scale = max(size, float(np.linalg.norm(ours)))
    if not error <= rtol * scale + 1e-12:
        raise AssertionError(f"{what} is off by {error / scale:.2g} of its norm {size:.3g}, allowed is {rtol:g}")
