"""What every loss has, and the checks that its arguments go through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from rmad.traced import Traced, stop

__all__ = ["BoundLoss", "DiagonalCurvature", "Loss"]

BLOCK = 1 << 17
"""Elements worked on at a time. Temporaries of this size stay in cache, and the allocator keeps them: of a
(1000, 784) batch each temporary costs more in page faults than the arithmetic on it."""


class Loss(ABC):
    """L(z, t), convex in the outputs z, in closed form: summed over outputs, averaged over cases.

    z: (n, …) outputs of a model, cases along the first axis; t: the targets. L = 1/n Σᵢ ℓ(zᵢ, tᵢ), so
    every derivative includes the 1/n. Results have the dtype of z; values are accumulated in float64.
    `value` can be differentiated by rmad to any order; the other methods take plain arrays.

    Raises ValueError (TypeError for a wrong kind of number) that names the loss and shows the shapes.
    """

    mean_over_cases = True

    def __call__(self, z: Any, t: Any) -> Any:
        return self.value(z, t)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def value(self, z: Any, t: Any) -> Any:
        """L, a float64 scalar."""

    @abstractmethod
    def gradient(self, z: Any, t: Any) -> Any:
        """∂L/∂z, a new array like z."""

    @abstractmethod
    def value_and_gradient(self, z: Any, t: Any) -> tuple[Any, Any]:
        """L and ∂L/∂z, for less than the two apart."""

    @abstractmethod
    def curvature(self, z: Any, t: Any = None) -> Any:
        """L″ at z as a function v → L″ v, with all that is the same for every v computed once.

        Its `product_into(v, out)` writes L″ v into out, which may be v. t is not read: the curvature
        of these losses does not depend on it.
        """

    @abstractmethod
    def sqrt_hessian(self, z: Any, t: Any = None) -> Any:
        """S: (c, *z.shape) with Σ_c S[c, i] S[c, i]ᵀ = L″ᵢᵢ, the block of L″ that belongs to case i.

        L″ᵢᵢ includes the 1/n, and L″ has no blocks between cases. c is the number of outputs of a case.
        """

    @abstractmethod
    def sample(self, z: Any, rng: np.random.Generator) -> Any:
        """Targets drawn from the distribution whose negative log-likelihood ℓ is, with parameters z."""

    def hessian_product(self, z: Any, t: Any, v: Any) -> Any:
        """L″ v, an array like z. For many v at one z take `curvature`."""
        if np.shape(v) != np.shape(z):
            raise ValueError(f"{self._name}: z has shape {np.shape(z)}, but v has shape {np.shape(v)}")
        return self.curvature(z, t)(v)

    def bind(self, t: Any) -> BoundLoss:
        """The loss as a function of z alone, for rmad.GGNOperator(f, loss.bind(t), x)."""
        return BoundLoss(self, t)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _checked(self, z: Any) -> Any:
        """z, when it is a batch of at least one case of floats."""
        z = self._array("z", z)
        if z.dtype.kind != "f":
            raise TypeError(f"{self._name}: z must hold real floats, not {z.dtype}")
        if not z.ndim:
            raise ValueError(f"{self._name}: z is a scalar, but its first axis must count the cases")
        if not z.shape[0]:
            raise ValueError(f"{self._name}: z has shape {z.shape}: the mean over no cases is undefined")
        return z

    def _array(self, name: str, a: Any) -> Any:
        """a, or the array of the numbers in a list. TypeError for several arrays and for tensors of PyTorch."""
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

    def _given(self, t: Any, z: Any) -> None:
        if t is None:
            raise ValueError(f"{self._name}: there is no target t for z of shape {np.shape(z)}; opt.step(x, t)")

    def _like(self, t: Any, z: Any) -> Any:
        """t in the dtype of z, when it has the shape of z."""
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

    def _between_0_and_1(self, t: Any) -> None:
        """NaN passes: bad data make the loss NaN, which an optimizer rejects by name."""
        t = stop(t)
        if t.size and (t.min() < 0 or t.max() > 1):
            raise ValueError(f"{self._name}: t must lie in [0, 1], but reaches from {t.min():g} to {t.max():g}")


class BoundLoss:
    """z → L(z, t) with the target fixed, and its derivatives. Made by `Loss.bind`."""

    def __init__(self, loss: Loss, t: Any) -> None:
        self.loss, self.t = loss, t

    def __call__(self, z: Any) -> Any:
        return self.loss.value(z, self.t)

    value = __call__

    def gradient(self, z: Any) -> Any:
        return self.loss.gradient(z, self.t)

    def value_and_gradient(self, z: Any) -> tuple[Any, Any]:
        return self.loss.value_and_gradient(z, self.t)

    def hessian_product(self, z: Any, v: Any) -> Any:
        return self.loss.hessian_product(z, self.t, v)

    def curvature(self, z: Any) -> Any:
        return self.loss.curvature(z, self.t)


class DiagonalCurvature:
    """L″ v = d · v, elementwise. `diagonal` is d, 1/n included: an array like z, or a number."""

    def __init__(self, diagonal: Any) -> None:
        self.diagonal = diagonal

    def __call__(self, v: Any) -> Any:
        return self.diagonal * v

    def product_into(self, v: Any, out: Any) -> Any:
        return np.multiply(self.diagonal, v, out=out)


def is_traced(*arrays: Any) -> bool:
    return any(isinstance(a, Traced) for a in arrays)


def blocks(z: Any) -> Iterator[slice]:
    """Slices of cases of about BLOCK elements; one slice for arrays that do not live in the CPU's cache."""
    n = z.shape[0]
    step = max(1, BLOCK * n // max(1, z.size)) if isinstance(z, np.ndarray) else n
    return (slice(k, k + step) for k in range(0, n, step))


def diagonal_columns(root: Any, like: Any) -> Any:
    """S: (c, n, …) with S[c] = the entries of √d at output c, zeros elsewhere. root: like z, or a number."""
    n, shape = like.shape[0], like.shape[1:]
    c = int(np.prod(shape))
    S = np.zeros_like(like, shape=(c, n, c))
    k = np.arange(c)
    S[k, :, k] = root if np.ndim(root) == 0 else np.reshape(root, (n, c)).T
    return np.reshape(S, (c, n, *shape))
