"""The interface that optimizers need from a loss: an object with value and gradient, or any callable (z, t) → scalar.

For diagonals of the curvature they also need S with Σ_c S_c S_cᵀ = L″ (case by case): the loss's `sqrt_hessian`, or
its products and columns one by one if S would be a large array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optim.problem.pairing import check_pairing
from rmad import value_and_grad
from rmad.extend import Array, loss_curvature

__all__ = [
    "eigen_blocks",
    "loss_gradient",
    "loss_value",
    "loss_value_and_gradient",
    "one_entry_columns",
    "root_columns",
    "root_product",
    "unit",
]


def loss_value(loss: Any) -> Callable[[Any, Any], Any]:
    """(z, t) → L, for a loss object or a callable; it raises BroadcastError if z and t spread over each other."""
    evaluate = getattr(loss, "value", loss)

    def value(z: Any, t: Any) -> Any:
        check_pairing(loss, evaluate, z, t)
        L = evaluate(z, t)
        if L is None:
            raise TypeError("loss(z, t) is None: does it end without a return?")
        if np.shape(L) != ():
            raise TypeError(f"loss must return a scalar, a mean over cases, but it returned shape {np.shape(L)}")
        return L

    return value


def loss_value_and_gradient(loss: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """(z, t) → L, ∂L/∂z: in closed form if the loss has one, else by a sweep."""
    if not hasattr(loss, "gradient") and not hasattr(loss, "value_and_gradient"):
        return value_and_grad(loss_value(loss))

    def both(z: Any, t: Any) -> tuple[Any, Any]:
        check_pairing(loss, loss.value, z, t)
        if hasattr(loss, "value_and_gradient"):
            return loss.value_and_gradient(z, t)
        return loss.value(z, t), loss.gradient(z, t)

    return both


def loss_gradient(loss: Any) -> Callable[[Any, Any], Any]:
    """(z, t) → ∂L/∂z: without L itself, if the loss has that in closed form."""
    if hasattr(loss, "gradient"):
        return loss.gradient
    both = loss_value_and_gradient(loss)
    return lambda z, t: both(z, t)[1]


def root_product(loss: Any, z: Any, t: Any, v: Any) -> Any:
    """L″^½ v = Σ_c S_c v_c, like z; v: like z, one number for every column of every case."""
    if hasattr(loss, "root_product"):
        return loss.root_product(z, t, v)
    curvature = loss_curvature(loss, z, t)
    if hasattr(curvature, "diagonal"):
        return np.sqrt(curvature.diagonal).astype(z.dtype) * v
    if hasattr(curvature, "root_product"):
        return curvature.root_product(v)
    S, n = _sqrt_hessian(loss, z, t), z.shape[0]
    return np.reshape(np.einsum("cni,nc->ni", np.reshape(S, (len(S), n, -1)), np.reshape(v, (n, -1))), z.shape)


def root_columns(loss: Any, z: Any, t: Any) -> Iterator[Any]:
    """S_c for every c, each like z."""
    if hasattr(loss, "root_columns"):
        yield from loss.root_columns(z, t)
        return
    curvature = loss_curvature(loss, z, t)
    if not hasattr(curvature, "diagonal"):
        yield from _sqrt_hessian(loss, z, t)
        return
    root = np.broadcast_to(np.sqrt(curvature.diagonal).astype(z.dtype), z.shape)
    yield from one_entry_columns(np.zeros_like(z), root)


def one_entry_columns(column: Array, root: Array) -> Iterator[Array]:
    """`column`, an array of zeros like z, again and again: with entry c of `root` in every case, for every c."""
    flat, roots = np.reshape(column, (len(column), -1)), np.reshape(root, (len(root), -1))
    for c in range(flat.shape[1]):
        flat[:, c] = roots[:, c]
        yield column
        flat[:, c] = 0


def unit(z: Array, k: int) -> Array:
    """Like z, for every case a one at output k."""
    v = np.zeros_like(z, order="C")
    v.reshape(len(z) if z.ndim else 1, -1)[:, k] = 1
    return v


def eigen_blocks(curvature: Callable[[Array], Array], z: Array, n: int) -> tuple[Array, Array]:
    """Eigenvalues (n, m) and eigenvectors (n, m, m) of the blocks L″ₙₙ of the cases, from one product per output."""
    m = z.size // n
    columns = [np.reshape(curvature(unit(z, k)), (n, m)).copy() for k in range(m)]
    H = np.stack(columns, axis=1)
    return np.linalg.eigh((H + np.swapaxes(H, 1, 2)) / 2)


def _sqrt_hessian(loss: Any, z: Any, t: Any) -> Any:
    if not hasattr(loss, "sqrt_hessian"):
        raise ValueError(
            "diag(G) by columns of L″^½ needs a loss with sqrt_hessian(z, t), "
            f"which {type(loss).__name__} does not have; optim.ClippedCurvature(loss) adds one to any loss"
        )
    return loss.sqrt_hessian(z, t)
