"""Moving averages of Kronecker factors, and the inverse of an earlier average, each renewed at its own time.

    C̄ ← ε C̄ + (1 − ε) C,   ε = min(average, 1 − 1/k) at the k-th estimate of the factors C

References
----------
Martens & Grosse (2015), sections 5 and 8; George et al. (2018), section 3.3 and algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from optim import tuning
from optim.parts.estimate import eigenvectors, kronecker_factors, with_moments
from optim.parts.factors import Corrected, KroneckerFactors, loaded, saved
from optim.parts.fallback import check_factors
from optim.parts.kronecker import KroneckerInverse
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import ALONE, Alone
from optim.problem.threads import Crew
from optim.problem.vectors import are_finite
from rmad.extend import Array

__all__ = ["Inverted", "Renewal", "RunningFactors"]


@dataclass(frozen=True)
class Renewal:
    """How factors are estimated, averaged and inverted, and how often.

    Parameters
    ----------
    method, sharing, samples
        As for `kronecker_factors`.
    average : float, default 0.9
        ε, in [0, 1).
    factors_every, inverses_every : int, default 2 and 5
        Updates between two estimates, and between two inversions, which take new factors too; the first four updates
        do both.
    exact : bool, default False
        Adds λ by eigendecompositions instead of splitting it.
    skip_unused : bool, default True
        The inverse is zero for parameters on which the objective does not depend.
    follow : float, default inf
        The factor by which λ may have changed since the last inversion before the same factors are inverted again.
    corrected : bool, default False
        Keep the eigenvectors of the averages at every inversion, and average second moments along them (EKFAC).
    longest : int, default None
        Rows of a factor at most; an estimate that has more, or no block, is a ValueError, and nothing is kept of it.
    """

    method: str = "kfac"
    sharing: str = "expand"
    samples: int = 1
    average: float = 0.9
    factors_every: int = 2
    inverses_every: int = 5
    exact: bool = False
    skip_unused: bool = True
    follow: float = math.inf
    corrected: bool = False
    longest: int | None = None


class Inverted(NamedTuple):
    """What an inverse was made of."""

    factors: KroneckerFactors
    damping: float  # λ


class RunningFactors:
    """The factors and the inverse of a run, and what a state keeps of them. Every renewal rebinds them.

    Parameters
    ----------
    crew : Crew
        Threads that invert large blocks.
    ranks : Ranks, optional
        Processes that share the inversion of large blocks; by default this one alone.
    """

    start = 3  # section 8: the first estimates age fast

    def __init__(self, crew: Crew, ranks: Alone = ALONE) -> None:
        self._crew, self._ranks = crew, ranks
        self.estimates = 0  # of the factors
        self.factors: KroneckerFactors | None = None
        self.inverted: Inverted | None = None
        self.inverse: KroneckerInverse | None = None

    def renew(self, q: Quadratic, how: Renewal, k: int, damping: float, seed: int) -> str:
        """New factors and a new inverse, if update k is the time for them. Names what is not finite, or ""."""
        renewed = self.inverse is None or k <= self.start or k % how.inverses_every == 0
        factors = self.factors
        if factors is None or renewed or k % how.factors_every == 0:
            new = kronecker_factors(q, how.method, how.sharing, seed % 2**32, how.samples)
            if how.longest is not None:
                check_factors(new, how.longest)
            if not new.is_finite():
                return "non-finite curvature factors"
            if factors is not None and factors.fits(new):
                new = new.mixed_with(factors, self._weight(how))
            if how.corrected:
                new, renewed = self._corrected(new, factors, q, how, seed % 2**32, renewed), True
                if not new.is_finite():
                    return "non-finite second moments in the basis of the factors"
            factors, self.estimates = new, self.estimates + 1
        if renewed or self._is_far(damping, how.follow):
            made_of = Inverted(factors, damping)
            inverse = self._invert(made_of, how, self._ranks)
            if not is_finite(inverse):
                return "non-finite inverse of the curvature"
            self.inverted, self.inverse = made_of, inverse
        self.factors = factors
        return ""

    def _weight(self, how: Renewal) -> float:
        """ε of an average with the present estimate."""
        return min(how.average, 1 - 1 / (1 + self.estimates))

    def _corrected(
        self,
        new: KroneckerFactors,
        older: KroneckerFactors | None,
        q: Quadratic,
        how: Renewal,
        seed: int,
        renewed: bool,
    ) -> KroneckerFactors:
        """The averages with second moments along their eigenvectors, which are new ones if `renewed`.

        The moments are averaged, too. In new eigenvectors the older ones are the diagonal of the older matrix, which is
        as near to it as a matrix with these eigenvectors can be.
        """
        known = older is not None and older.fits(new) and all(block.corrected for block in older.blocks)
        before = [block.corrected for block in older.blocks] if older is not None and known else []
        bases = (
            eigenvectors(new, self._ranks.divided(self._crew.run))
            if renewed or not known
            else [(c.L, c.R) for c in before if c is not None]
        )
        found = with_moments(new, bases, q, how.method, seed, how.samples)
        if not known:
            return found
        blocks = [
            replace(block, corrected=_averaged(block.corrected, old, self._weight(how)))
            for block, old in zip(found.blocks, before, strict=True)
        ]
        return replace(found, blocks=tuple(blocks))

    def forget_inverse(self) -> None:
        """The next update makes a new inverse, of new factors."""
        self.inverse = self.inverted = None

    def state(self) -> dict[str, Any]:
        """The factors, and those and λ of the inverse, as far as there are any; `estimates` is left to the caller."""
        state: dict[str, Any] = {}
        if self.factors is not None:
            state |= saved(self.factors, "factors")
        if self.inverted is not None:
            state |= {**saved(self.inverted.factors, "inverted"), "inverted.damping": self.inverted.damping}
        return state

    def loaded(self, state: Mapping[str, Any], like: Array, how: Renewal) -> RunningFactors:
        """Those of a state, for parameters like the vector `like`; ValueError names what does not fit."""
        new = RunningFactors(self._crew, self._ranks)
        new.factors, inverted = (loaded(state, name, like) for name in ("factors", "inverted"))
        if inverted is not None:
            damping = state.get("inverted.damping")  # of a file: an array without axes
            is_number = damping is not None and np.shape(damping) == () and np.asarray(damping).dtype.kind in "iuf"
            if damping is None or not (is_number and 0 <= damping < math.inf):
                raise ValueError(f"the state's inverted.damping must be a finite number ≥ 0, got {damping!r}")
            new.inverted = Inverted(inverted, float(damping))
            try:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    new.inverse = self._invert(new.inverted, how)
            except np.linalg.LinAlgError as error:
                raise ValueError(f"the state's inverted factors have no inverse: {error}") from None
            if not is_finite(new.inverse):
                raise ValueError("the state's inverted factors have no finite inverse")
        return new

    @staticmethod
    def numbers(state: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of a state that are not of factors."""
        return {key: value for key, value in state.items() if not key.startswith(("factors.", "inverted."))}

    def _is_far(self, damping: float, follow: float) -> bool:
        """True if λ is far from that of the inverse."""
        assert self.inverted is not None
        of_inverse = self.inverted.damping
        return not of_inverse / follow <= damping <= of_inverse * follow

    def _invert(self, made_of: Inverted, how: Renewal, ranks: Alone = ALONE) -> KroneckerInverse:
        """The inverse, made on threads, and each block on one of the ranks, if the blocks are large."""
        run = self._crew.run if made_of.factors.work >= tuning.INVERTED_ON_THREADS_FROM else None
        make = None if run is None else ranks.divided(run)
        return KroneckerInverse(*made_of, how.exact, skip_unused=how.skip_unused, run=run, make=make)


def _averaged(new: Corrected | None, old: Corrected | None, average: float) -> Corrected:
    """average · the older moments, as they are along the new eigenvectors, + (1 − average) · the new ones."""
    assert new is not None
    assert old is not None
    values = old.values
    if new.L is not old.L or new.R is not old.R:
        values = np.square(new.L.T @ old.L) @ values @ np.square(old.R.T @ new.R)
    dtype = values.dtype.type
    return replace(new, values=values * dtype(average) + new.values * dtype(1 - average))


def is_finite(inverse: KroneckerInverse) -> bool:
    """True if no array of the inverse holds NaN or Inf."""
    return are_finite(inverse.arrays())
