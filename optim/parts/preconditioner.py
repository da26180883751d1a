"""Preconditioners of CG: P = (diag(B̂) + κ)^ξ, with three ways to a diagonal of the curvature, and Kronecker factors.

    EmpiricalFisher          mean of the squared per-case gradients        section 11.3
    UnbiasedDiagonal         squares of Jᵀ L″^½ v for random v = ±1        section 11.4, Chapelle & Erhan (2011)
    ExactDiagonal            the same for all columns of L″^½              section 11.2
    KroneckerPreconditioner  blocks A ⊗ G, layer by layer                  Martens & Grosse (2015)

Source: Martens & Sutskever (2012), sections 11.2 to 11.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from optim import tuning
from optim.hyper import COUNT, Flag, Number, OneOf, Rule, check
from optim.parts.columns import signs_of_cases
from optim.parts.estimate import METHODS, kronecker_factors
from optim.parts.kronecker import KroneckerInverse
from optim.problem.losses import root_columns, root_product
from optim.problem.quadratic import Quadratic
from optim.problem.shard import LinearizedShard
from rmad.extend import Array

__all__ = [
    "Diagonal",
    "Diagonals",
    "EmpiricalFisher",
    "ExactDiagonal",
    "KroneckerPreconditioner",
    "Preconditioner",
    "UnbiasedDiagonal",
    "diagonal_inverse",
]


def diagonal_inverse(d: Array, kappa: float | Array, xi: float = 0.75) -> Array:
    """P⁻¹ for P = (diag(d) + κ)^ξ, between the diagonal of B̂ and a multiple of the identity. Section 11.2.

    Parameters
    ----------
    d : (p,) array
        An estimate of the diagonal of the curvature, e.g. the mean over cases of squared gradients (section 11.3).
    kappa : float or (p,) array
        κ, added to the diagonal: λ + l2.
    xi : float, default 0.75
        ξ; the default is that of section 11.2.

    Returns
    -------
    inverse_P : (p,) array
    """
    return to_a_power(np.add(d, kappa), -xi)


def to_a_power(d: Array, xi: float) -> Array:
    """d^ξ in place, (p,); entries below rounding of the largest count as that, so that P stays invertible."""
    info = np.finfo(d.dtype)
    floor = np.maximum(float(info.eps) * np.max(d), float(info.tiny))
    np.maximum(d, floor, out=d)
    return np.power(d, xi, out=d)


Kappa: TypeAlias = "float | Array | Callable[[Array], float | Array]"
"""A number, (p,), or a function of the diagonal (p,) that returns either."""


class KappaRule(Rule):
    """κ: a number ≥ 0, (p,) of such, or a function of the diagonal."""

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Kappa:
        if callable(value):
            return value
        if np.ndim(value) == 0:
            return Number(at_least=0.0)(name, value)
        array = value if hasattr(value, "dtype") else np.asarray(value)
        if array.dtype.kind not in "iufb" or array.ndim != 1 or not (np.isfinite(array) & (array >= 0)).all():
            raise ValueError(f"{name} must be a number, (p,) finite numbers ≥ 0 or a function of d, got {value!r}")
        return array


def kappa_at(kappa: Kappa, d: Array) -> float | Array:
    """κ at the diagonal d, (p,): a number or (p,)."""
    value = kappa(d) if callable(kappa) else kappa
    if np.shape(value) not in ((), np.shape(d)):
        raise ValueError(f"kappa must be a number or ({len(d)},), got shape {np.shape(value)}")
    return value


class Preconditioner:
    """Base: P⁻¹ for CG, made at every update."""

    def inverse(self, diagonals: Diagonals, added: float | Array) -> Any:
        """P⁻¹: (p,), or an object with apply(r, out). added: the diagonal of λD plus l2, a number or (p,)."""
        raise NotImplementedError(f"{type(self).__name__}: P⁻¹")


@dataclass(frozen=True)
class Diagonal(Preconditioner):
    """Base: P = (diag(G) + diag(λD) + l2 + κ)^ξ, from an estimate of diag(G). Section 11.2.

    Parameters
    ----------
    exponent : float, default 0.75
        ξ in [0, 1]; 0 makes P the identity.
    kappa : float, (p,) array or callable, default 0.0
        κ, if damping is weak: a number; (p,), κs for known scales s of the parameters; or a function of
        d = diag(G) + diag(λD) + l2, as lambda d: 0.01 * d.mean() (section 13, with scale-sensitive damping).
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"exponent": Number(at_least=0.0, at_most=1.0), "kappa": KappaRule()}

    exponent: float = 0.75
    kappa: Kappa = 0.0

    def __post_init__(self) -> None:
        check(self)

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Array:
        """diag(G), (p,), without l2. seed: of random vectors."""
        raise NotImplementedError(f"{type(self).__name__}: an estimate of diag(G)")

    def inverse(self, diagonals: Diagonals, added: float | Array) -> Array:
        d = diagonals.of(self)
        kappa = kappa_at(self.kappa, np.add(d, added) if callable(self.kappa) else d)
        return diagonal_inverse(d, np.add(added, kappa).astype(diagonals.dtype), self.exponent)


@dataclass(frozen=True)
class EmpiricalFisher(Diagonal):
    """diag(G) ≈ mean over cases of the squared per-case gradients: one backward sweep; zero only if the gradient is.

    Parameters
    ----------
    exponent : float, default 0.75
        ξ in [0, 1], section 11.2.
    kappa : float, (p,) array or callable, default 0.0
        κ, see `Diagonal`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), sections 11.2 and 11.3.

    Examples
    --------
    >>> from optim import EmpiricalFisher
    >>> EmpiricalFisher(kappa=0.1)
    EmpiricalFisher(exponent=0.75, kappa=0.1)
    """

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Array:
        return q.squared_gradients()


@dataclass(frozen=True)
class UnbiasedDiagonal(Diagonal):
    """E[Σ_i (J_iᵀ L″_i^½ v_i)²] = diag(G) for v = ±1: algorithm 7, case by case. It sees structural damping.

    Parameters
    ----------
    exponent : float, default 0.75
        ξ in [0, 1], section 11.2.
    kappa : float, (p,) array or callable, default 0.0
        κ, see `Diagonal`.
    probes : int, default 1
        Random vectors v, averaged; each costs one backward sweep.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 11.4; Chapelle & Erhan (2011).

    Examples
    --------
    >>> from optim import UnbiasedDiagonal
    >>> UnbiasedDiagonal(probes=2)
    UnbiasedDiagonal(exponent=0.75, kappa=0.0, probes=2)
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"probes": COUNT}

    probes: int = 1

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Array:
        def cotangents(shard: LinearizedShard) -> Iterator[list[Array]]:
            for k in range(self.probes):
                signs = [signs_of_cases((*seed, k, j), shard.first, z) for j, z in enumerate(shard.arrays())]
                u = root_product(shard.loss, shard.z, shard.t, shard.out.unflatten(signs))
                yield shard.out.match(u, "L″^½ v")

        total = q.squares(cotangents, "an estimate of diag(G)")
        total /= self.probes
        return total


@dataclass(frozen=True)
class ExactDiagonal(Diagonal):
    """diag(G) = Σ_i Σ_c (J_iᵀ S_ic)², Σ_c S_ic S_icᵀ = L″_i: one backward sweep per output of a case. Section 11.2.

    Parameters
    ----------
    exponent : float, default 0.75
        ξ in [0, 1], section 11.2.
    kappa : float, (p,) array or callable, default 0.0
        κ, see `Diagonal`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 11.2.

    Examples
    --------
    >>> from optim import ExactDiagonal
    >>> ExactDiagonal(exponent=1.0)
    ExactDiagonal(exponent=1.0, kappa=0.0)
    """

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Array:
        def cotangents(shard: LinearizedShard) -> Iterator[list[Array]]:
            for column in root_columns(shard.loss, shard.z, shard.t):
                yield shard.out.match(column, "a column of L″^½")

        return q.squares(cotangents, "diag(G)")


@dataclass(frozen=True)
class KroneckerPreconditioner(Preconditioner):
    """P = blockdiag(A_l ⊗ G_l) + λI from the factors of the curvature batch.

    CG needs a third to a fourth of the steps. Each application takes the matrix products of some two cases per row of
    A and G. Damping that differs from parameter to parameter enters by its mean.

    Parameters
    ----------
    estimate : {"kfac", "empirical", "kflr", "kfra"}, default "kfac"
        How the factors are estimated, see `kronecker_factors`.
    exact : bool, default False
        Add λ by eigendecompositions; else it is split between A and G, at half of the cost.
    sharing : {"expand", "reduce"}, default "expand"
        How a weight that a case uses several times is counted.
    samples : int, default 1
        Targets drawn per case, for "kfac".
    corrected : bool, default False
        Eigenvalues by second moments, as in `EKFAC`, which take one more sweep; λ is then added to them.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Grosse (2015), section 6.3; Botev, Ritter & Barber (2017).

    Examples
    --------
    >>> from optim import KroneckerPreconditioner
    >>> KroneckerPreconditioner("kflr").exact
    False
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "estimate": OneOf(METHODS, quoted=False),
        "exact": Flag(),
        "sharing": OneOf(("expand", "reduce")),
        "samples": COUNT,
        "corrected": Flag(),
    }

    estimate: str = "kfac"
    exact: bool = False
    sharing: str = "expand"
    samples: int = 1
    corrected: bool = False

    def __post_init__(self) -> None:
        check(self)

    def inverse(self, diagonals: Diagonals, added: float | Array) -> KroneckerInverse | Array:
        q = diagonals.q
        seed = int(np.random.SeedSequence(diagonals.seed).generate_state(1)[0])
        how = (self.estimate, self.sharing, seed, self.samples)
        factors = kronecker_factors(q, *how, corrected=self.corrected)
        if not factors.is_finite():
            return np.full_like(factors.d, np.nan)  # the step is rejected, as for any P⁻¹ that is not finite
        run, large = q.objective.crew.run, factors.work >= tuning.INVERTED_ON_THREADS_FROM
        make = q.objective.ranks.divided(run) if large else run
        mean = float(np.mean(added))
        return KroneckerInverse(factors, mean, self.exact, skip_unused=False, run=run, make=make)


class Diagonals:
    """The diagonals of one update, each estimated once and shared by the preconditioner and the damping."""

    def __init__(self, q: Quadratic, seed: tuple[int, ...] = (0,)) -> None:
        self.q, self.seed = q, seed
        self.dtype = q.objective.dtype
        self._found: dict[tuple[Any, ...], Array] = {}

    def of(self, diagonal: Diagonal) -> Array:
        key = (type(diagonal), getattr(diagonal, "probes", 0))
        if key not in self._found:
            self._found[key] = diagonal.estimate(self.q, self.seed)
        return self._found[key]
