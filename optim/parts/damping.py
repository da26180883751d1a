"""Damping by a penalty ½ λ δᵀD δ, and the Levenberg-Marquardt rule that adapts λ.

    Tikhonov           D = I                              section 8.1
    DiagonalDamping    D = (diag(G) + κ)^ξ                section 8.3
    MatrixDamping      any D                              section 8.3

Structural damping (section 8.4) is `optim.parts.structural`.

References
----------
Martens & Sutskever (2012), sections 8.1 to 8.3 and 8.5; constants of Martens' MATLAB code.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from optim.hyper import NONE, Instance, Number, Rule, checked
from optim.parts.passes import Product
from optim.parts.preconditioner import Diagonal, Diagonals, EmpiricalFisher, Kappa, KappaRule, kappa_at, to_a_power
from optim.problem.quadratic import Quadratic
from optim.problem.vectors import inner
from rmad.extend import Array

__all__ = [
    "MOST",
    "DiagonalDamping",
    "MatrixDamping",
    "Penalty",
    "Tikhonov",
    "decided_by_rounding",
    "raised",
    "reduction_ratio",
    "relaxed",
]

MOST = 1e6  # times its start, no rule raises λ further


def reduction_ratio(actual: float, predicted: float) -> float:
    """ρ = (f(θ + δ) − f(θ)) / M(δ), eq. (10), with M the undamped model without its constant.

    Parameters
    ----------
    actual : float
        f(θ + δ) − f(θ).
    predicted : float
        M(δ).

    Returns
    -------
    float
        ρ; −∞ if the objective rose, whatever the sign of M (Martens' code); NaN if either is NaN, or M = 0.

    Examples
    --------
    >>> from optim import reduction_ratio
    >>> reduction_ratio(-0.5, -1.0), reduction_ratio(0.5, -1.0)
    (0.5, -inf)
    """
    if actual > 0:
        return -math.inf
    return actual / predicted if predicted != 0 else math.nan


def decided_by_rounding(
    actual: float, predicted: float, loss: float, delta2: float, theta2: float, dtype: np.dtype[Any]
) -> bool:
    """True if rounding decides ρ: then it says nothing about the model, and neither λ nor a radius may follow it.

    At a minimum ρ is a quotient of rounding errors, below 1/4 more often than not, and λ would grow without end. That
    holds if the predicted change is at most 8 ε of f, or δ at most 8 ε of θ (at an exact fit f itself is rounding), ε
    that of the dtype. A rise of f by more than √ε of it is no rounding, whatever the model predicts.

    Parameters
    ----------
    actual, predicted : float
        f(θ + δ) − f(θ) and M(δ).
    loss : float
        f(θ).
    delta2, theta2 : float
        ‖δ‖² and ‖θ‖².
    dtype : dtype
        That of θ.
    """
    eps = float(np.finfo(dtype).eps)
    if not (math.isfinite(actual) and math.isfinite(predicted)):
        return False
    if abs(predicted) <= 8 * eps * abs(loss):
        return actual <= math.sqrt(eps) * abs(loss)
    return delta2 <= (8 * eps) ** 2 * theta2


def raised(damping: float, factor: float, start: float) -> float:
    """λ × factor, but no more than 10⁶ times its start: from further up it would take too many steps to come back.

    A λ that starts at 0 has no such bound.
    """
    return min(damping * factor, max(MOST * start, damping)) if start else damping * factor


def relaxed(damping: float, factor: float, start: float) -> float:
    """λ × factor (< 1), but no less than its start, for an update in which rounding decides ρ.

    At a minimum nothing is lost by it. Elsewhere it is λ that makes the predicted change so small, and if λ stayed,
    no step would ever be long enough again.
    """
    return max(damping * factor, start) if damping > start else damping


class Operator(Protocol):
    """A symmetric positive definite matrix known by its products D @ v."""

    def __matmul__(self, v: Any, /) -> Any: ...


class Penalty:
    """½ λ δᵀD δ in one update.

    Parameters
    ----------
    strength : float
        λ.
    D : (p,) array or operator, default None
        A diagonal, or an object that answers D @ v; None is the identity.
    """

    def __init__(self, strength: float, D: Array | Operator | None = None) -> None:
        self.strength = strength
        self.D: Any = D

    def quadratic_form(self, delta: Array) -> Any:
        """λ δᵀD δ, a Scalar."""
        if self.strength == 0:
            return 0.0
        D_delta = delta if self.D is None else self.D * delta if self._is_diagonal else self.D @ delta
        return self.strength * inner(delta, D_delta)

    @property
    def _is_diagonal(self) -> bool:
        return getattr(self.D, "ndim", None) == 1

    @property
    def diagonal(self) -> float | Array:
        """The diagonal of λD: λ, or (p,); ValueError for an operator that does not know its own."""
        if self.D is None or self.strength == 0:
            return self.strength
        if self._is_diagonal:
            return self.strength * self.D
        if not hasattr(self.D, "diagonal"):
            raise ValueError(
                "damping: the preconditioner approximates diag(B + λD) (section 11.2), and D does not tell its own; "
                "give D a method diagonal(), or take preconditioner=False"
            )
        return self.strength * self.D.diagonal()

    def split(self, product: Product) -> tuple[Product, float | Array]:
        """The product, with λD v added if D is no diagonal, and what is left for `pcg` to add: λ, or (p,)."""
        if self.D is None or self.strength == 0 or self._is_diagonal:
            return product, self.diagonal

        def damped(v: Array, out: Array) -> None:
            term = self.strength * (self.D @ v)  # before the product: out may be v
            product(v, out)
            np.add(out, term, out)

        return damped, 0.0


class Tikhonov:
    """M̂(δ) = M(δ) + ½ λ‖δ‖², section 8.1. λ = 0 is no damping, and stays so.

    Parameters
    ----------
    strength : float
        λ ≥ 0 at the start.
    minimum : float, default 0.0
        Floor below which the rule does not lower λ (1e-6 in SGN's code).

    Raises
    ------
    ValueError, TypeError
        If a number is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), sections 8.1 and 8.5.

    Examples
    --------
    >>> import optim
    >>> damping = optim.Tikhonov(3.0)
    >>> damping.update(rho=0.9)
    >>> damping.strength
    2.0
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"strength": Number(at_least=0.0), "minimum": Number(at_least=0.0)}
    low, high = 1 / 4, 3 / 4
    boost, drop = 3 / 2, 2 / 3

    def __init__(self, strength: float, minimum: float = 0.0) -> None:
        kept = checked(Tikhonov.HYPER, {"strength": strength, "minimum": minimum})
        self.strength, self.minimum = float(kept["strength"]), kept["minimum"]
        self.start = self.strength

    def matrix(self, q: Quadratic, diagonals: Diagonals) -> Array | Operator | None:
        """D at the present parameters: None for the identity, (p,) a diagonal, or an operator that answers D @ v."""
        return None

    def undamped(self, phi: float, squared_norm: float) -> float:
        """M(δ) from the damped value φ = M̂(δ) that CG knows, and ‖δ‖²."""
        return phi - 0.5 * self.strength * squared_norm

    def update(self, rho: float) -> None:
        """The Levenberg-Marquardt rule, section 8.5: λ × 2/3 if ρ > 3/4, λ × 3/2 if ρ < 1/4 or NaN."""
        if rho > self.high:
            self.strength = max(self.strength * self.drop, min(self.minimum, self.strength))
        elif rho < self.low or math.isnan(rho):
            self.increase()

    def increase(self) -> None:
        """λ × 3/2, up to 10⁶ times its start."""
        self.strength = raised(self.strength, self.boost, self.start)

    def relax(self) -> None:
        """λ × 2/3 down to its start, where rounding decides ρ."""
        self.strength = relaxed(self.strength, self.drop, self.start)


class DiagonalDamping(Tikhonov):
    """M̂(δ) = M(δ) + ½ λ δᵀD δ, D = (diag(G) + κ)^ξ of each update: scale-sensitive damping, section 8.3.

    Parameters
    ----------
    strength : float
        λ ≥ 0 at the start.
    minimum : float, default 0.0
        Floor of λ.
    diagonal : Diagonal, default None
        An estimator of diag(G) from `optim.parts.preconditioner`; EmpiricalFisher() for None.
    exponent : float, default 0.75
        ξ ≥ 0, section 11.2; 1 is Levenberg and Marquardt's choice, whose steps do not depend on the units of θ.
    kappa : float, (p,) array or callable, default 0.0
        κ ≥ 0 in the units of diag(G), or a function of diag(G); 0 leaves parameters without gradient undamped.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 8.3.

    Examples
    --------
    >>> import optim
    >>> optim.DiagonalDamping(1.0, exponent=1.0).exponent
    1.0
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "diagonal": Instance(Diagonal) | NONE,
        "exponent": Number(at_least=0.0),
        "kappa": KappaRule(),
    }

    def __init__(
        self,
        strength: float,
        minimum: float = 0.0,
        *,
        diagonal: Diagonal | None = None,
        exponent: float = 0.75,
        kappa: Kappa = 0.0,
    ) -> None:
        super().__init__(strength, minimum)
        kept = checked(DiagonalDamping.HYPER, locals())
        self.exponent, self.kappa = kept["exponent"], kept["kappa"]
        self.diagonal_of_G = EmpiricalFisher() if diagonal is None else diagonal

    def matrix(self, q: Quadratic, diagonals: Diagonals) -> Array:
        d = diagonals.of(self.diagonal_of_G)
        return to_a_power(np.add(d, kappa_at(self.kappa, d)).astype(diagonals.dtype, copy=False), self.exponent)


class Matrix(Rule):
    """(p,) a diagonal, an object that answers D @ v, or a function."""

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Any:
        if not (callable(value) or hasattr(value, "__matmul__")):
            wanted = "a (p,) array, an operator or a function of the quadratic model"
            raise ValueError(f"{name} must be {wanted}, got {value!r}")
        return value


class MatrixDamping(Tikhonov):
    """M̂(δ) = M(δ) + ½ λ δᵀD δ for any symmetric positive definite D, section 8.3.

    Parameters
    ----------
    strength : float
        λ ≥ 0 at the start.
    D : (p,) array, operator or callable
        A diagonal, an object that answers D @ v (a LinearOperator), or a function of the local quadratic model that
        gives either at every update. `lambda q: q.ggn` is B itself, which shortens the step and keeps its direction.
        With a preconditioner an operator also needs a method diagonal().
    minimum : float, default 0.0
        Floor of λ.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 8.3.

    Examples
    --------
    >>> import optim
    >>> optim.MatrixDamping(1.0, lambda q: np.exp(2 * q.theta)).strength
    1.0
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"D": Matrix()}

    def __init__(
        self, strength: float, D: Array | Operator | Callable[[Quadratic], Array | Operator], minimum: float = 0.0
    ) -> None:
        super().__init__(strength, minimum)
        self.D: Any = checked(MatrixDamping.HYPER, locals())["D"]

    def matrix(self, q: Quadratic, diagonals: Diagonals) -> Array | Operator:
        is_operator = hasattr(self.D, "__matmul__")
        D = self.D if is_operator else self.D(q)
        size = q.objective.size
        if np.shape(D) not in ((size,), (size, size)) and getattr(D, "shape", None) != (size, size):
            raise ValueError(f"D must be ({size},) or ({size}, {size}), got {np.shape(D)}")
        return D


def damping_rule(damping: float | Tikhonov | None, minimum: float, trust_region: bool) -> Tikhonov:
    """The damping as an object of the optimizer's own, in whatever way it was given."""
    if isinstance(damping, Tikhonov):
        return copy.copy(damping)
    strength = (0.0 if trust_region else 1.0) if damping is None else float(damping)
    return Tikhonov(Number(at_least=minimum, or_zero=True)("damping", strength), minimum)
