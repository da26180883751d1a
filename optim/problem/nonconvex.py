"""Losses that are not convex in the outputs of the network, whose GGN would not be positive semi-definite.

    Through            the boundary moved: a nonlinearity of the loss becomes part of the network
    ClippedCurvature   L″ with its negative eigenvalues dropped, or a multiple of I added

Source: Martens & Sutskever (2012), section 6.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from optim.hyper import Flag, Number, Rule, checked
from optim.problem.losses import case_blocks, loss_value, loss_value_and_gradient
from optim.problem.parameters import Updates
from optim.types import Loss, Model
from rmad.extend import Array, loss_curvature

__all__ = ["ClippedCurvature", "Through"]


class Through(Updates):
    """y = s(F(x)): the model with one more nonlinearity, for a loss that is convex in s(z) and not in z.

    For L = ½‖tanh(z) − t‖² take Through(model, np.tanh) with ½‖y − t‖².

    Parameters
    ----------
    model : Model
        F: x → z. The parameters are those of this model.
    s : callable
        s(z), a function that rmad can differentiate.

    References
    ----------
    Martens & Sutskever (2012), section 6.3.

    Examples
    --------
    >>> import numpy as np
    >>> from optim import Function, Through
    >>> model = Through(Function(lambda params, x: x @ params, np.eye(2)), np.tanh)
    >>> model(np.zeros((1, 2)))
    array([[0., 0.]])
    """

    def __init__(self, model: Model, s: Callable[[Any], Any]) -> None:
        self.model: Any = model
        self.s = s

    def __call__(self, x: Any) -> Any:
        return self.s(self.model(x))

    @property
    def couples_cases(self) -> bool:
        """True if the model mixes the cases of a batch."""
        return bool(getattr(self.model, "couples_cases", False))

    def __tree_items__(self) -> dict[str, Any]:
        return {"model": self.model}

    def __tree_replace__(self, items: dict[str, Any]) -> Through:
        return Through(items["model"], self.s)

    def __tree_assign__(self, name: str, sub: Any) -> None:
        setattr(self, name, sub)


class ClippedCurvature:
    """L″ → max(L″, 0) + shift · I/n, for the eigenvalues of L″ of each case; value and gradient of the loss stay.

    One product per output of a case finds L″, or one per output of the batch if the loss couples its cases, whose
    blocks between cases are dropped. The blocks take n·m² numbers for m outputs per case.

    Parameters
    ----------
    loss : loss object or callable
        loss(z, t) → scalar, a mean over the cases of z, (n, …).
    shift : float, default 0.0
        Added to every eigenvalue, ≥ 0.
    clip : bool, default True
        Drops negative eigenvalues before the shift is added. False: max(L″ + shift · I/n, 0).

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 6.3.

    Examples
    --------
    >>> import numpy as np
    >>> loss = ClippedCurvature(lambda z, t: np.sum(np.cos(z)) / len(z))
    >>> loss.hessian_product(np.array([[0.0], [np.pi]]), None, np.ones((2, 1))).round(3)  # L″ = −cos z / n
    array([[0. ],
           [0.5]])
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"shift": Number(at_least=0.0), "clip": Flag()}

    def __init__(self, loss: Loss, shift: float = 0.0, *, clip: bool = True) -> None:
        kept = checked(ClippedCurvature.HYPER, locals())
        self.loss: Any = loss
        self.shift, self.clip = kept["shift"], kept["clip"]
        self.mean_over_cases = getattr(loss, "mean_over_cases", None)

    def value(self, z: Array, t: Any) -> Any:
        """L, a scalar."""
        return loss_value(self.loss)(z, t)

    def value_and_gradient(self, z: Array, t: Any) -> tuple[Any, Array]:
        """L and ∂L/∂z."""
        return loss_value_and_gradient(self.loss)(z, t)

    def curvature(self, z: Array, t: Any) -> Callable[[Array], Array]:
        """v → L″ v at z."""
        S = self._root(z, t)
        blocks = S @ np.swapaxes(S, 1, 2)  # (n, m, m)
        return lambda v: np.reshape(blocks @ np.reshape(v, (len(z), -1, 1)), z.shape)

    def hessian_product(self, z: Array, t: Any, v: Array) -> Array:
        """L″ v, like z."""
        return self.curvature(z, t)(v)

    def sqrt_hessian(self, z: Array, t: Any) -> Array:
        """S: (m, *z.shape), Σ_c S_c S_cᵀ = L″."""
        return np.reshape(np.moveaxis(self._root(z, t), 2, 0), (-1, *z.shape))

    def root_columns(self, z: Array, t: Any) -> Iterator[Array]:
        """S_c for every c."""
        yield from self.sqrt_hessian(z, t)

    def _root(self, z: Array, t: Any) -> Array:
        """U √Λ of every case, (n, m, m)."""
        curvature, rows = loss_curvature(self.loss, z, t), np.reshape(z, (len(z), -1))
        d, U = np.linalg.eigh(
            case_blocks(self.loss, lambda V: np.reshape(curvature(np.reshape(V, z.shape)), V.shape), rows)
        )
        shift = d.dtype.type(self.shift / len(z))
        root = np.sqrt(np.maximum(d, 0) + shift if self.clip else np.maximum(d + shift, 0))
        return U * root[:, None, :]
