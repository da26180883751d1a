"""The interface that optimizers need from a loss: an object with value and gradient, or any callable (z, t) → scalar.

For diagonals of the curvature they also need S with Σ_c S_c S_cᵀ = L″ (case by case): the loss's `sqrt_hessian`, or
its products and columns one by one if S would be a large array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optim import tuning
from optim.problem.pairing import check_pairing
from rmad import value_and_grad
from rmad.extend import Array, Traced, arrays, loss_curvature

__all__ = [
    "case_blocks",
    "couples_cases",
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
        if isinstance(z, Traced) and not isinstance(L, Traced):
            raise TypeError(
                "loss(z, t) does not depend on z in a way that has a derivative: np.argmax, comparisons and rounding "
                "have none, so an accuracy is no loss; measure it with measure= of opt.fit"
            )
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
    root = np.broadcast_to(arrays.moved_to(z, np.sqrt(curvature.diagonal).astype(z.dtype)), z.shape)
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


def case_blocks(loss: Any, product: Callable[[Array], Array], like: Array) -> Array:
    """The blocks L″ₙₙ of the cases, (n, m, m).

    They take one product per output, and one more that tells if the loss couples the cases. If it does, L″ has other
    blocks too, and those of the cases take a product for every output of every case.

    Parameters
    ----------
    loss : a loss that says that it is a mean over cases is taken at its word
    product : V → L″ V, (n, m) → (n, m), the outputs of a case in a row
    like : array, (n, m)
    """
    H = np.stack([product(unit(like, k)).copy() for k in range(like.shape[1])], axis=1)
    if couples_cases(loss, product, like, np.sum(H, axis=0)):
        H = _one_by_one(loss, product, like)
    return (H + np.swapaxes(H, 1, 2)) / 2


def couples_cases(loss: Any, product: Callable[[Array], Array], like: Array, total: Array) -> bool:
    """True if L″ has blocks between the cases, which `total`, Σ L″ₙₘ over all n and m, has taken in.

    Random signs sₙ tell: Σ sₙ sₘ L″ₙₘ is the same without those blocks only.
    """
    n, m = like.shape
    if n == 1 or getattr(loss, "mean_over_cases", False):
        return False
    rng = np.random.default_rng(0)
    signs = arrays.moved_to(like, rng.choice([-1, 1], (n, 1)), like.dtype)
    w = arrays.moved_to(like, rng.standard_normal(m), like.dtype)
    expected, found = w @ total, np.sum(signs * product(signs * w), axis=0)
    limit = float(np.finfo(like.dtype).eps) ** 0.5 * max(arrays.largest(expected), arrays.largest(found))
    return arrays.largest(found - expected) > limit


def _one_by_one(loss: Any, product: Callable[[Array], Array], like: Array) -> Array:
    """The blocks of a loss that couples the cases."""
    n, m = like.shape
    if n * m > tuning.COUPLED_OUTPUTS:
        raise ValueError(
            f"{getattr(loss, '__name__', type(loss).__name__)} couples the cases of a batch: its curvature per case "
            f"takes a product for each of the {n} × {m} outputs, and more than {tuning.COUPLED_OUTPUTS} are refused; "
            'take smaller batches, or the targets of the batch, estimate="empirical"'
        )
    H, V = arrays.empty(like, (n, m, m)), arrays.zeros(like, (n, m))
    for case in range(n):
        for k in range(m):
            V[case, k] = 1
            H[case, k] = product(V)[case]
            V[case, k] = 0
    return H


def _sqrt_hessian(loss: Any, z: Any, t: Any) -> Any:
    if not hasattr(loss, "sqrt_hessian"):
        raise ValueError(
            "diag(G) by columns of L″^½ needs a loss with sqrt_hessian(z, t), "
            f"which {type(loss).__name__} does not have; optim.ClippedCurvature(loss) adds one to any loss"
        )
    return loss.sqrt_hessian(z, t)
