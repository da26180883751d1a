"""The interface of a loss, and the checks of its arguments.

The optimizers take any callable (z, t) → scalar. An object with the methods below is faster, because it knows its
derivatives in closed form; `value`, `gradient` and `hessian_product` are the least:

    value(z, t)                 L, a scalar
    gradient(z, t)              ∂L/∂z, an array like z
    value_and_gradient(z, t)    both, for less than the two apart
    hessian_product(z, t, v)    L″ v, an array like z
    curvature(z, t)             v → L″ v, with everything that is the same for every v computed once; a `diagonal`
                                that L″ = diag(d) has is its attribute d
    sqrt_hessian(z, t)          S: (c, *z.shape) with Σ_c S[c, i] S[c, i]ᵀ = L″ᵢᵢ
    sample(z, rng)              targets drawn from the model
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nn.once import once
from nn.other_names import OF_LOSSES
from rmad.extend import Array, Traced, arrays, other_names, stop, tuning

__all__ = ["BETWEEN_0_AND_1", "BoundLoss", "Curvature", "DiagonalCurvature", "Loss"]

BETWEEN_0_AND_1 = "between 0 and 1"  # what targets are checked for, see `once`


class Curvature(Protocol):
    """v → L″ v at one z; `product_into(v, out)` writes it into out, which may be v."""

    def __call__(self, v: Array) -> Array:
        """Returns L″ v, an array like v."""

    def product_into(self, v: Array, out: Array) -> Array:
        """Writes L″ v into out, which may be v; returns out."""


class Loss(ABC):
    """L(z, t), convex in the outputs z, in closed form: summed over outputs, averaged over cases.

    z: (n, …) outputs of a model, cases along the first axis; t: the targets. L = 1/n Σᵢ ℓ(zᵢ, tᵢ), so
    every derivative includes the 1/n. Results have the dtype of z; values are accumulated in float64.
    `value` can be differentiated by rmad to any order; the other methods take plain arrays.

    Raises
    ------
    ValueError
        Names the loss and shows the shapes that do not fit.
    TypeError
        For a wrong kind of number.
    """

    mean_over_cases = True

    def __call__(self, z: Array, t: Array | None) -> np.float64:
        """Returns value(z, t)."""
        return self.value(z, t)

    if not TYPE_CHECKING:  # a type checker would take every attribute for one of ours

        def __getattr__(self, name: str) -> Any:
            raise other_names.absent(self, OF_LOSSES, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def value(self, z: Array, t: Array | None) -> np.float64:
        """Returns L."""

    @abstractmethod
    def gradient(self, z: Array, t: Array | None) -> Array:
        """Returns ∂L/∂z, a new array like z."""

    @abstractmethod
    def value_and_gradient(self, z: Array, t: Array | None) -> tuple[np.float64, Array]:
        """Returns L and ∂L/∂z, for less than the two apart."""

    @abstractmethod
    def curvature(self, z: Array, t: Array | None = None) -> Curvature:
        """Returns v → L″ v at z, with everything that is the same for every v computed once.

        t is not read: the curvature of these losses does not depend on it.
        """

    @abstractmethod
    def sqrt_hessian(self, z: Array, t: Array | None = None) -> Array:
        """Returns S: (c, *z.shape) with Σ_c S[c, i] S[c, i]ᵀ = L″ᵢᵢ, the block of L″ that belongs to case i.

        L″ᵢᵢ includes the 1/n, and L″ has no blocks between cases. c is the number of outputs of a case.
        """

    @abstractmethod
    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        """Returns targets drawn from the distribution p(t | z) ∝ exp(−ℓ(z, t))."""

    def hessian_product(self, z: Array, t: Array | None, v: Array) -> Array:
        """Returns L″ v, an array like z. For many v at one z, `curvature` is faster."""
        if np.shape(v) != np.shape(z):
            raise ValueError(f"{self._name}: z has shape {np.shape(z)}, but v has shape {np.shape(v)}")
        return self.curvature(z, t)(v)

    def bind(self, t: Array | None) -> BoundLoss:
        """Returns the loss as a function of z alone, for rmad.GGNOperator(f, loss.bind(t), x)."""
        return BoundLoss(self, t)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _checked(self, z: Array) -> Array:
        """Returns z, if it is a batch of at least one case of floats."""
        z = self._array("z", z)
        if z.dtype.kind != "f":
            raise TypeError(f"{self._name}: z must hold real floats, not {z.dtype}")
        if not z.ndim:
            raise ValueError(f"{self._name}: z is a scalar, but its first axis must count the cases")
        if not z.shape[0]:
            raise ValueError(f"{self._name}: z has shape {z.shape}: the mean over no cases is undefined")
        return z

    def _array(self, name: str, a: Any) -> Array:
        """Returns a, or the array of the numbers in a list. TypeError for several arrays and for PyTorch's tensors."""
        several = isinstance(a, tuple | list) and any(hasattr(part, "shape") and np.ndim(part) for part in a)
        if several or isinstance(a, dict):
            found = f"a {type(a).__name__} of {len(a)}"
            hint = "; a loss of your own, any function (z, t) -> scalar, may take several" if name == "z" else ""
            raise TypeError(f"{self._name}: {name} must be one array, not {found}{hint}")
        if not hasattr(a, "dtype"):
            return np.asarray(a)
        if not hasattr(a.dtype, "kind"):
            raise TypeError(f"{self._name}: {name} is a {type(a).__module__}.{type(a).__name__}; pass {name}.numpy()")
        return a

    def _given(self, t: Array | None, z: Array) -> None:
        """Raises ValueError if there is no target."""
        if t is None:
            raise ValueError(f"{self._name}: there is no target t for z of shape {np.shape(z)}; opt.step(x, t)")

    def _like(self, t: Array | None, z: Array) -> Array:
        """Returns t in the dtype of z, if it has the shape of z."""
        self._given(t, z)
        t = self._array("t", t)
        if t.shape != z.shape:
            hint = ""
            if t.shape == z.shape[:-1] and z.shape[-1] == 1:
                hint = "; t[..., None] has a column"
            elif t.shape == z.shape[:-1] and t.dtype.kind in "iu":
                hint = f"; labels are for nn.SoftmaxCrossEntropy, np.eye({z.shape[-1]})[t] makes targets of them"
            raise ValueError(f"{self._name}: z has shape {z.shape}, but t has shape {t.shape}{hint}")
        if t.dtype.kind not in "fiub":
            raise TypeError(f"{self._name}: t must hold real numbers, not {t.dtype}")
        return t if t.dtype == z.dtype else t.astype(z.dtype)

    def _between_0_and_1(self, t: Array) -> None:
        """Raises ValueError unless t is in [0, 1]. NaN passes: it makes the loss NaN, which an optimizer reports."""
        t = stop(t)

        def check() -> None:
            low, high = arrays.numbers([t.min(), t.max()]) if t.size else (0, 1)
            if low < 0 or high > 1:
                raise ValueError(f"{self._name}: t must lie in [0, 1], but reaches from {low:g} to {high:g}")

        once(t, BETWEEN_0_AND_1, check)


class BoundLoss:
    """z → L(z, t) with the target fixed, and its derivatives. Made by `Loss.bind`.

    Parameters
    ----------
    loss : Loss
        L.
    t : array
        The targets.
    """

    def __init__(self, loss: Loss, t: Array | None) -> None:
        self.loss, self.t = loss, t

    def __call__(self, z: Array) -> np.float64:
        """Returns L."""
        return self.loss.value(z, self.t)

    value = __call__

    def gradient(self, z: Array) -> Array:
        """Returns ∂L/∂z, an array like z."""
        return self.loss.gradient(z, self.t)

    def value_and_gradient(self, z: Array) -> tuple[np.float64, Array]:
        """Returns L and ∂L/∂z."""
        return self.loss.value_and_gradient(z, self.t)

    def hessian_product(self, z: Array, v: Array) -> Array:
        """Returns L″ v, an array like z."""
        return self.loss.hessian_product(z, self.t, v)

    def curvature(self, z: Array) -> Curvature:
        """Returns v → L″ v."""
        return self.loss.curvature(z, self.t)


class DiagonalCurvature:
    """L″ v = d · v, elementwise.

    Parameters
    ----------
    diagonal : array or float
        d, the 1/n included: an array like z, or a number.
    """

    def __init__(self, diagonal: Array | float) -> None:
        self.diagonal = diagonal

    def __call__(self, v: Array) -> Array:
        """Returns d · v."""
        return self.diagonal * v

    def product_into(self, v: Array, out: Array) -> Array:
        """Writes d · v into out, which may be v; returns out."""
        return np.multiply(self.diagonal, v, out=out)


def is_traced(*arrays: object) -> bool:
    """Returns True if a function of one of the arrays is being recorded."""
    return any(isinstance(a, Traced) for a in arrays)


def blocks(z: Array) -> Iterator[slice]:
    """Returns slices of cases of about `tuning.LOSS_CHUNK` elements; a single one for arrays of a GPU."""
    n = z.shape[0]
    step = max(1, tuning.LOSS_CHUNK * n // max(1, z.size)) if isinstance(z, np.ndarray) else n
    return (slice(k, k + step) for k in range(0, n, step))


def diagonal_columns(root: Array | float, like: Array) -> Array:
    """Returns S: (c, n, …) with S[c] = √d at output c, zeros elsewhere. root: √d, an array like z or a number."""
    n, shape = like.shape[0], like.shape[1:]
    c = int(np.prod(shape))
    S = arrays.zeros(like, (c, n, c))
    k = arrays.arange(like, c)
    S[k, :, k] = root if np.ndim(root) == 0 else np.reshape(root, (n, c)).T
    return np.reshape(S, (c, n, *shape))
