"""Kronecker factors of the curvature on a batch, as KFAC, KFLR and KFRA estimate them: sums over shards.

    "kfac"       one column per case: the gradient at a target drawn from the model, E[u uᵀ] = L″
    "empirical"  the same at the targets of the batch (the empirical Fisher, which is not the GGN)
    "kflr"       all columns of a square root of L″: exact
    "kfra"       L″ averaged over the cases, and passed back as a matrix

`corrected` keeps the eigenvectors of A and G and estimates the eigenvalues anew, as EKFAC does.
Source: Martens & Grosse (2015); Botev, Ritter & Barber (2017), sections 3.4 and 3.5; George et al. (2018).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from optim import tuning
from optim.parts.columns import (
    all_columns,
    averaged_curvature,
    drawn_columns,
    gradient_columns,
    signs_of_cases,
)
from optim.parts.factors import Block, Corrected, KroneckerFactors, parts_of
from optim.parts.kronecker import Run, eigh
from optim.problem.parameters import Parameters
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Alone, Terms
from optim.problem.shard import LinearizedShard
from optim.problem.vectors import sum_into
from rmad.extend import Array, Cost, Meetings, arrays, averaged, cost, second_moments, squares, tree

__all__ = ["METHODS", "Basis", "eigenvectors", "kronecker_factors", "with_moments"]

T = TypeVar("T")

METHODS = ("kfac", "empirical", "kflr", "kfra")
Basis = tuple[Array, Array]  # eigenvectors of A and of G


def kronecker_factors(
    q: Quadratic,
    method: str,
    sharing: str = "expand",
    seed: int = 0,
    samples: int = 1,
    *,
    corrected: bool = False,
) -> KroneckerFactors:
    """G ≈ blockdiag(A_l ⊗ 𝒢_l) ⊕ diag(d) on the batch of q, without l2 and damping.

    A loss needs neither `sample` nor `sqrt_hessian` if the outputs are one array: without them the blocks L″ₙₙ are
    formed by one product per output; per output and case if the loss couples the cases.

    Parameters
    ----------
    q : Quadratic
        The local model, as `Objective.quadratic(x, t)` gives it.
    method : {"kfac", "empirical", "kflr", "kfra"}
        How 𝒢 is estimated: from targets drawn from the model, from the targets of the batch, exactly, or from L″
        averaged over the cases and passed back as a matrix.
    sharing : {"expand", "reduce"}, default "expand"
        For a weight that a case uses several times: every use counts as a case, or the uses are summed first.
    seed : int, default 0
        Seed of the targets and signs that are drawn; those of a case do not depend on how the batch is divided. So
        neither do the factors, nor the diagonal of parameters without a block, in KFRA too. The exception are cases
        that do not mix but cannot be told apart: squares of sums over a shard estimate their diagonal.
    samples : int, default 1
        Targets drawn for every case.
    corrected : bool, default False
        Keep only the eigenvectors of A and 𝒢: the eigenvalues of a block are the second moments of the gradients of the
        cases along them, by one more sweep for every column ("kfra": for drawn columns).

    Returns
    -------
    KroneckerFactors
        The factors, means over the cases.

    References
    ----------
    Martens & Grosse (2015); Botev, Ritter & Barber (2017), sections 3.4 and 3.5; George et al. (2018), section 3.
    """
    factors = _factors(q, method, sharing, seed, samples)
    if not corrected or not factors.is_finite():
        return factors
    return with_moments(
        factors, eigenvectors(factors, q.objective.ranks.divided(q.objective.crew.run)), q, method, seed, samples
    )


def _factors(q: Quadratic, method: str, sharing: str, seed: int, samples: int) -> KroneckerFactors:
    sums: list[_Sums] = []

    def terms() -> Terms:
        sums.append(_Sums(q, q.each_shard(lambda shard: _Terms(shard, method, sharing, seed, samples))))
        return [], sums[0].arrays(with_curvature=method == "kfra")

    q.objective.ranks.exchange(terms)
    (found,) = sums
    first = found.first
    sides = found.cotangents
    if method == "kfra":
        _warn_of_cost(q.objective, cost([terms.meetings for terms in found.terms]))
        weights = [terms.shard.weight for terms in found.terms]
        elsewhere = OnRanks(q.objective.ranks) if q.objective.ranks.size > 1 else None
        meetings = [terms.meetings for terms in found.terms]
        sides = averaged(meetings, weights, found.curvature, q.objective.crew.run, elsewhere)
    blocks = []
    for g, group in enumerate(first.groups):
        A, G = first.pair(g, found.activations[g], sides[g])
        parts = parts_of(group.inputs, found.shapes, group.shape[1] * group.part[1])
        blocks.append(Block(parts, A, G, group.part))
    rest, unused = (_marked(found.shapes, which) for which in (first.rest, first.unused))
    return KroneckerFactors(tuple(blocks), found.d, rest, unused)


class _Sums:
    """The sums over this rank's shards that the factors are made of; those over all ranks once `arrays` are summed."""

    def __init__(self, q: Quadratic, terms: list[_Terms]) -> None:
        self.terms, self.first = terms, terms[0].meetings
        self.shapes = [node.spec.shape for node in self.first.nodes[: self.first.n_inputs]]
        self.cotangents = _sums([of_shard.cotangents for of_shard in terms])
        sides = [
            [
                [(of_shard.activations[g][k], of_shard.shard.weight) for of_shard in terms]
                for k in range(len(group.uses))
            ]
            for g, group in enumerate(self.first.groups)
        ]
        self._means = [[_mean(same) for same in group] for group in sides]
        counts = [[sum(count for (_, count), _ in same) for same in group] for group in sides]
        self._counts = np.array([count for group in counts for count in group], np.float64)
        self.d = np.zeros_like(q.theta, dtype=q.objective.dtype)
        for i, view in enumerate(tree.split(self.d, self.shapes)):
            if i in self.first.rest:
                for of_shard in terms:
                    view += of_shard.diagonal[i]
        self.curvature: Any = None

    def arrays(self, with_curvature: bool) -> list[Array]:
        """The arrays of the sums; with_curvature: E[L″], too."""
        if with_curvature:
            self.curvature = _sum([averaged_curvature(of_shard.shard) for of_shard in self.terms])
        flat = [M for groups in (self._means, self.cotangents) for group in groups for M in group]
        return [*flat, self.d, self._counts, *([self.curvature] if with_curvature else [])]

    @property
    def activations(self) -> list[list[tuple[Array, float]]]:
        """Per group and use: the mean of ā āᵀ, and the rows of all."""
        counts = iter(self._counts.tolist())
        return [[(A, next(counts)) for A in group] for group in self._means]


class OnRanks:
    """The parts of a batch on other ranks, as `averaged` meets them: sums, and decisions that all of them share."""

    def __init__(self, ranks: Alone) -> None:
        self._ranks = ranks

    def total(self, own: Array) -> Array:
        """The sum of an array over ranks."""
        own = arrays.contiguous(own)
        self._ranks.exchange(lambda: ([], [own]))
        return own

    def of_most(self, value: T, n: int) -> T:
        """The value of the rank whose n is the largest."""
        found = self._ranks.gathered(lambda: (value, n))
        return max(found, key=lambda pair: pair[1])[0]

    def all(self, value: bool) -> bool:
        """True if it is on all ranks."""
        return all(self._ranks.gathered(lambda: value))

    def of_first(self, value: T) -> T:
        """That of the first rank."""
        return self._ranks.share(value)


def eigenvectors(factors: KroneckerFactors, run: Run) -> list[Basis]:
    """The eigenvectors of A and of G, per block; in C order, as those of a state are."""
    blocks = factors.blocks

    def task(k: int) -> Basis:
        return arrays.contiguous(eigh(blocks[k].A)[1]), arrays.contiguous(eigh(blocks[k].G)[1])

    return run(task, len(blocks))


def with_moments(
    factors: KroneckerFactors, bases: Sequence[Basis], q: Quadratic, method: str, seed: int = 0, samples: int = 1
) -> KroneckerFactors:
    """The factors with blocks (L ⊗ R) diag(vec Λ) (L ⊗ R)ᵀ, Λ = E[(Lᵀ ∇W R)²] over the cases: George et al. (2018).

    If cases mix, or cannot be told apart, ∇W is that of the shard with random signs for the cases, whose squares have
    the same expectation.
    """
    sums: list[Array] = []

    def terms() -> Terms:
        found = q.each_shard(lambda shard: _moments(shard, factors.blocks, bases, method, seed, samples))
        sums.extend(_sum(moments) for moments in zip(*found, strict=True))
        return [], sums

    q.objective.ranks.exchange(terms)
    blocks = []
    for block, (L, R), moments in zip(factors.blocks, bases, sums, strict=True):
        blocks.append(replace(block, corrected=Corrected(L, moments, R)))
    return replace(factors, blocks=tuple(blocks))


def _moments(
    shard: LinearizedShard, blocks: Sequence[Block], bases: Sequence[Basis], method: str, seed: int, samples: int
) -> list[Array]:
    """The terms of a shard in Λ, per block, times its weight."""
    meetings = Meetings(shard.tape, shard.outputs, shard.n_inputs, shard.n)
    total: list[Array] = []
    pulled = 0
    for columns in columns_of(shard, meetings, method, seed, samples):
        found = second_moments(meetings, columns, bases)
        if found is None:
            found = [arrays.zeros(block.A, block.shape) for block in blocks]
            for k in range(len(columns[0])):
                pulled += 1
                signed = [stack[k] * _signs((seed, pulled, 2), shard, stack[k]) for stack in columns]
                flat = shard.pulled(signed)
                for sum_of, block, (L, R) in zip(found, blocks, bases, strict=True):
                    sum_of += np.square(L.T @ block.of(flat) @ R)
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    return [moments * moments.dtype.type(shard.weight) for moments in total]


def _warn_of_cost(objective: Parameters, estimate: Cost) -> None:
    """Warns, once for a problem, if KFRA's factors are far more expensive than a gradient."""
    seconds = estimate.work / tuning.AVERAGED_CURVATURE_RATE
    gradients = estimate.work / max(3 * estimate.forward, 1.0)
    if seconds < tuning.AVERAGED_CURVATURE_SECONDS or gradients < tuning.AVERAGED_CURVATURE_GRADIENTS:
        return
    if "cost of KFRA" not in objective.warned_of:
        objective.warned_of |= {"cost of KFRA"}
        warnings.warn(
            f"KFRA passes matrices of up to {estimate.width:,} × {estimate.width:,} back through this model: each "
            f"estimate of the factors takes about {seconds:.2g} seconds of one core, as long as {gradients:.0f} "
            f"gradients, and {estimate.memory / 1e9:.2g} GB. KFAC and KFLR form none of these matrices",
            RuntimeWarning,
            stacklevel=3,
        )


def _marked(shapes: list[tuple[int, ...]], which: Sequence[int]) -> Array:
    """(p,), True at the given parameters; NumPy's."""
    marks = arrays.zeros(arrays.ON_THE_CPU, sum(map(math.prod, shapes)), bool)
    views = tree.split(marks, shapes)
    for i in which:
        views[i][...] = True
    return marks


def _mean(sides: list[tuple[tuple[Array, float], float]]) -> Array:
    """The mean over shards of E[ā āᵀ]."""
    return _sum([A * A.dtype.type(weight) for (A, _), weight in sides])


def _sums(found: list[list[list[Array]]]) -> list[list[Array]]:
    """Sums over the first list, per group and use."""
    return [[_sum(same) for same in zip(*uses, strict=True)] for uses in zip(*found, strict=True)]


def _sum(terms: Sequence[Array]) -> Array:
    """Σ terms, written into the first."""
    return sum_into(terms[0], terms)


def columns_of(
    shard: LinearizedShard, meetings: Meetings, method: str, seed: int, samples: int
) -> Iterator[list[Array]]:
    """Stacks U, per output (k, *z.shape), with Σ_k U_k U_kᵀ = L″ per case, or that in expectation."""
    at_a_time = max(1, tuning.PULLED_TOGETHER // max(1, *(node.spec.size for node in meetings.nodes)))
    if method == "kflr":
        return all_columns(shard, at_a_time)
    if method == "empirical":
        return gradient_columns(shard)
    return drawn_columns(shard, seed, samples, at_a_time)


class _Terms:
    """The terms of one shard in the factors: of A per use, of G per use, and of the diagonal of the rest."""

    def __init__(self, shard: LinearizedShard, method: str, sharing: str, seed: int, samples: int) -> None:
        self.shard, self.seed = shard, seed
        self.meetings = Meetings(shard.tape, shard.outputs, shard.n_inputs, shard.n, sharing)
        self.activations = self.meetings.activations()
        self.diagonal: dict[int, Any] = dict.fromkeys(self.meetings.rest, 0)
        self.cotangents: list[list[Array]] = []
        self._pulled = 0  # columns whose squares took random signs
        if method != "kfra":
            found: list[list[list[Array]]] = []
            for columns in columns_of(shard, self.meetings, method, seed, samples):
                found.append(self.meetings.cotangents(columns))
                if len(found) == 2:
                    found = [_sums(found)]
                self._add_squares(columns)
            root = np.sqrt(shard.weight)
            self.cotangents = [[G * G.dtype.type(root * root) for G in uses] for uses in found[0]]
        elif self.meetings.rest:
            for columns in columns_of(shard, self.meetings, "kfac", seed, samples):
                self._add_squares(columns)

    def _add_squares(self, columns: list[Array]) -> None:
        """diag(GGN) of the parameters without a block: the sums of squared per-case pulls, or an estimate of them."""
        rest, shard = self.meetings.rest, self.shard
        if not rest:
            return
        for k in range(len(columns[0])):
            u = [stack[k] for stack in columns]
            found = squares(shard.tape, u, shard.outputs, shard.n_inputs, shard.n, rest)
            if found is None:  # the cases mix, or do not come in rows: squares of the whole, with signs drawn by case
                self._pulled += 1
                seed = self.seed, self._pulled, 1
                found = shard.squared_pull([c * _signs(seed, shard, c) for c in u])
            for i in rest:
                self.diagonal[i] = self.diagonal[i] + found[i] * found[i].dtype.type(shard.weight)


def _signs(seed: tuple[int, ...], shard: LinearizedShard, c: Array) -> Array:
    """±1 for every case, to broadcast over c."""
    if np.ndim(c) == 0 or len(c) != shard.n:
        return c.dtype.type(1)
    return signs_of_cases(seed, shard.first, arrays.empty(c, (shard.n, *[1] * (c.ndim - 1))))
