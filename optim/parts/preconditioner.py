"""Preconditioners of CG: P = (diag(B̂) + κ)^ξ, with three ways to a diagonal of the curvature, and Kronecker factors.

    EmpiricalFisher          mean of the squared per-case gradients        section 11.3
    UnbiasedDiagonal         squares of Jᵀ L″^½ v for random v = ±1        section 11.4, Chapelle & Erhan (2011)
    ExactDiagonal            the same for all columns of L″^½              section 11.2
    KroneckerPreconditioner  blocks A ⊗ G, layer by layer                  Martens & Grosse (2015)

Source: Martens & Sutskever (2012), sections 11.2 to 11.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from optim.hyper import COUNT, Flag, Number, OneOf, Rule, check
from optim.parts.estimate import METHODS, kronecker_factors
from optim.parts.kronecker import KroneckerInverse
from optim.problem.losses import root_columns, root_product
from optim.problem.quadratic import Quadratic
from optim.problem.shard import LinearizedShard

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


def diagonal_inverse(d: Any, kappa: Any, xi: float = 0.75) -> Any:
    """P⁻¹ for P = (diag(d) + κ)^ξ, section 11.2: between the diagonal of B̂ and a multiple of the identity.

    d: (p,) an estimate of the diagonal of the curvature, e.g. the empirical Fisher's (section 11.3): the mean over
    cases of squared gradients. κ: what is added to all of it, λ + l2, or (p,). Returns (p,).
    """
    return to_a_power(np.add(d, kappa), -xi)


def to_a_power(d: Any, xi: float) -> Any:
    """d^ξ in place, (p,); entries below rounding of the largest count as that, so that P stays invertible."""
    info = np.finfo(d.dtype)
    floor = max(float(info.eps) * float(d.max()), float(info.tiny))
    np.maximum(d, floor, out=d)
    return np.power(d, xi, out=d)


Kappa = Any  # a number, (p,), or a function of the diagonal (p,) that gives either


class KappaRule(Rule):
    """κ: a number ≥ 0, (p,) of such, or a function of the diagonal."""

    def __call__(self, name: str, value: Any, given: Mapping[str, Any] | None = None) -> Kappa:
        if callable(value):
            return value
        if np.ndim(value) == 0:
            return Number(at_least=0.0)(name, value)
        kappa = value if hasattr(value, "dtype") else np.asarray(value)
        if kappa.dtype.kind not in "iufb" or kappa.ndim != 1 or not (np.isfinite(kappa) & (kappa >= 0)).all():
            raise ValueError(f"{name} must be a number, (p,) finite numbers ≥ 0 or a function of d, got {value!r}")
        return kappa


def kappa_at(kappa: Kappa, d: Any) -> Any:
    """κ at the diagonal d, (p,): a number or (p,)."""
    value = kappa(d) if callable(kappa) else kappa
    if np.shape(value) not in ((), np.shape(d)):
        raise ValueError(f"kappa must be a number or ({len(d)},), got shape {np.shape(value)}")
    return value


class Preconditioner:
    """Base: what CG takes for P⁻¹ at an update."""

    def inverse(self, diagonals: Diagonals, added: Any) -> Any:
        """P⁻¹: (p,), or an object with apply(r, out). added: the diagonal of λD plus l2, a number or (p,)."""
        raise NotImplementedError(f"{type(self).__name__}: P⁻¹")


@dataclass(frozen=True)
class Diagonal(Preconditioner):
    """Base: an estimate of diag(G), and the preconditioner P = (diag(G) + diag(λD) + l2 + κ)^ξ made of it.

    exponent: ξ in [0, 1]; 0 makes P the identity. kappa: κ, for where damping is weak (section 11.2): a number; (p,),
    κs where the scales s of the parameters are known; or a function of d = diag(G) + diag(λD) + l2, as lambda d:
    0.01 * d.mean(), which section 13 advises beside scale-sensitive damping.
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"exponent": Number(at_least=0.0, at_most=1.0), "kappa": KappaRule()}

    exponent: float = 0.75
    kappa: Kappa = 0.0

    def __post_init__(self) -> None:
        check(self)

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Any:
        """(p,), without l2. seed: of what is random."""
        raise NotImplementedError(f"{type(self).__name__}: an estimate of diag(G)")

    def inverse(self, diagonals: Diagonals, added: Any) -> Any:
        d = diagonals.of(self)
        kappa = kappa_at(self.kappa, np.add(d, added) if callable(self.kappa) else d)
        return diagonal_inverse(d, np.add(added, kappa).astype(diagonals.dtype), self.exponent)


@dataclass(frozen=True)
class EmpiricalFisher(Diagonal):
    """The mean of squared per-case gradients, section 11.3: one backward sweep; zero only where the gradient is."""

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Any:
        return q.squared_gradients()


@dataclass(frozen=True)
class UnbiasedDiagonal(Diagonal):
    """E[Σ_i (J_iᵀ L″_i^½ v_i)²] = diag(G) for v = ±1, section 11.4; algorithm 7, case by case. Sees structural damping.

    probes: how many v, averaged; each is one backward sweep.
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"probes": COUNT}

    probes: int = 1

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Any:
        def cotangents(shard: LinearizedShard) -> Iterator[list[Any]]:
            for k in range(self.probes):
                signs = [_signs((*seed, k, j), shard.first, z) for j, z in enumerate(shard.arrays())]
                u = root_product(shard.loss, shard.z, shard.t, shard.out.unflatten(signs))
                yield shard.out.match(u, "L″^½ v")

        total = q.squares(cotangents, "an estimate of diag(G)")
        total /= self.probes
        return total


@dataclass(frozen=True)
class ExactDiagonal(Diagonal):
    """diag(G) = Σ_i Σ_c (J_iᵀ S_ic)², Σ_c S_ic S_icᵀ = L″_i: one backward sweep per output of a case. Section 11.2."""

    def estimate(self, q: Quadratic, seed: tuple[int, ...]) -> Any:
        def cotangents(shard: LinearizedShard) -> Iterator[list[Any]]:
            for column in root_columns(shard.loss, shard.z, shard.t):
                yield shard.out.match(column, "a column of L″^½")

        return q.squares(cotangents, "diag(G)")


@dataclass(frozen=True)
class KroneckerPreconditioner(Preconditioner):
    """P = blockdiag(A_l ⊗ G_l) + λI from the factors of the curvature batch: CG needs a third to a fourth of the steps.

    estimate: "kfac", "empirical", "kflr" or "kfra", as for `optim.KFAC`; sharing, samples: likewise. exact: λ is added
    by eigen-decompositions; else it is split between A and G, at half of the cost. Damping that differs from parameter
    to parameter enters by its mean. Each application takes the matrix products of some two cases per row of A and G.
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "estimate": OneOf(METHODS, quoted=False),
        "exact": Flag(),
        "sharing": OneOf(("expand", "reduce")),
        "samples": COUNT,
    }

    estimate: str = "kfac"
    exact: bool = False
    sharing: str = "expand"
    samples: int = 1

    def __post_init__(self) -> None:
        check(self)

    def inverse(self, diagonals: Diagonals, added: Any) -> Any:
        q = diagonals.q
        seed = int(np.random.SeedSequence(diagonals.seed).generate_state(1)[0])
        factors = kronecker_factors(q, self.estimate, self.sharing, seed, self.samples)
        return KroneckerInverse(factors, float(np.mean(added)), self.exact, skip_unused=False, run=q.objective.crew.run)


class Diagonals:
    """The diagonals of one update, each found once, whoever asks: the preconditioner, the damping matrix."""

    def __init__(self, q: Quadratic, seed: tuple[int, ...] = (0,)) -> None:
        self.q, self.seed = q, seed
        self.dtype = q.objective.dtype
        self._found: dict[tuple[Any, ...], Any] = {}

    def of(self, diagonal: Diagonal) -> Any:
        key = (type(diagonal), getattr(diagonal, "probes", 0))
        if key not in self._found:
            self._found[key] = diagonal.estimate(self.q, self.seed)
        return self._found[key]


def _signs(seed: tuple[int, ...], first: int, z: Any) -> Any:
    """±1 like z, (n, …): a case has the same whatever part of the batch it comes in; `first` is the first one's number.

    One bit each, by a generator that can be moved forward to the case.
    """
    n, size = z.shape[0], int(np.prod(z.shape[1:]))
    words = -(-size // 64)
    bits = np.random.PCG64(np.random.SeedSequence(seed)).advance(first * words)
    drawn = bits.random_raw(n * words).reshape(n, words).view(np.uint8)
    signs = np.unpackbits(drawn, axis=1)[:, :size].reshape(z.shape)
    return np.asarray(signs, like=z).astype(z.dtype) * 2 - 1
