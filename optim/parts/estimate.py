"""Kronecker factors of the curvature on a batch, as KFAC, KFLR and KFRA estimate them: sums over shards.

    "kfac"       one column per case: the gradient at a target drawn from the model, E[u uᵀ] = L″
    "empirical"  the same at the targets of the batch (the empirical Fisher, which is not the GGN)
    "kflr"       all columns of a square root of L″: exact
    "kfra"       L″ averaged over the cases, and passed back as a matrix

Source: Martens & Grosse (2015); Botev, Ritter & Barber (2017), sections 3.4 and 3.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from optim.parts.kronecker import Block, KroneckerFactors, parts_of
from optim.problem.batch import cases
from optim.problem.losses import loss_value_and_gradient
from optim.problem.quadratic import Quadratic
from optim.problem.shard import LinearizedShard
from rmad.extend import Meetings, averaged, loss_curvature, squares, tree

__all__ = ["METHODS", "kronecker_factors"]

METHODS = ("kfac", "empirical", "kflr", "kfra")

AT_A_TIME = 1 << 24  # numbers in the largest of the stacked cotangents that are pulled at a time


def kronecker_factors(
    q: Quadratic, method: str, sharing: str = "expand", seed: int = 0, samples: int = 1
) -> KroneckerFactors:
    """G ≈ blockdiag(A_l ⊗ 𝒢_l) ⊕ diag(d) on the batch of q, without l2 and damping.

    A loss needs neither `sample` nor `sqrt_hessian` if the outputs are one array: without them the blocks L″ₙₙ are
    formed by one product per output.

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
        Seed of the targets that are drawn, which also depend on how the batch is divided.
    samples : int, default 1
        Targets drawn for every case.

    Returns
    -------
    KroneckerFactors
        The factors, means over the cases.

    References
    ----------
    Martens & Grosse (2015); Botev, Ritter & Barber (2017), sections 3.4 and 3.5.
    """
    found = q.each_shard(lambda shard: _Part(shard, method, sharing, seed, samples))
    first = found[0].meetings
    dtype, shapes = q.objective.dtype, [node.spec.shape for node in first.nodes[: first.n_inputs]]
    if method == "kfra":
        sides = averaged(
            [part.meetings for part in found],
            [part.weight for part in found],
            sum(part.averaged_curvature() for part in found),
            q.objective.crew.run,
        )
    else:
        sides = _sum([part.cotangents for part in found])
    blocks = []
    for g, group in enumerate(first.groups):
        activations = [_mean([(part.activations[g][k], part.weight) for part in found]) for k in range(len(group.uses))]
        A, G = first.pair(g, activations, sides[g])
        blocks.append(Block(parts_of(group.inputs, shapes, group.shape[1]), A, G))
    d = np.zeros_like(q._shared.made)
    rest, unused = (np.zeros_like(q._shared.made, dtype=bool) for _ in range(2))
    for views, which in ((tree.split(rest, shapes), first.rest), (tree.split(unused, shapes), first.unused)):
        for i in which:
            views[i][...] = True
    for i, view in enumerate(tree.split(d, shapes)):
        if i in first.rest:
            for part in found:
                view += part.diagonal[i]
    return KroneckerFactors(tuple(blocks), d.astype(dtype, copy=False), rest, unused)


def _mean(terms: list[tuple[tuple[Any, float], float]]) -> tuple[Any, float]:
    """The mean over shards of E[ā āᵀ], and the rows of all."""
    return _total([A * A.dtype.type(w) for (A, _), w in terms]), sum(count for (_, count), _ in terms)


def _sum(parts: list[list[list[Any]]]) -> list[list[Any]]:
    """Σ over parts, per group and use."""
    return [[_total(list(same)) for same in zip(*uses, strict=True)] for uses in zip(*parts, strict=True)]


def _total(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = np.add(total, term, total)
    return total


class _Part:
    """What one shard contributes."""

    def __init__(self, shard: LinearizedShard, method: str, sharing: str, seed: int, samples: int) -> None:
        x, t = shard.x, shard.t
        self.shard, self.weight, self.method = shard, shard.weight, method
        self.n = cases(x, t) or 1
        self.meetings = Meetings(shard.tape, shard.outputs, shard.n_inputs, self.n, sharing)
        self.activations = self.meetings.activations()
        self.rng = [seed, shard.first]
        self.samples = samples
        self.diagonal: dict[int, Any] = dict.fromkeys(self.meetings.rest, 0)
        self.cotangents: list[list[Any]] = []
        if method != "kfra":
            found = []
            for columns in self._columns(method):
                found.append(self.meetings.cotangents(columns))
                if len(found) == 2:
                    found = [_sum(found)]
                self._add_squares(columns)
            root = np.sqrt(self.weight)
            self.cotangents = [[G * G.dtype.type(root * root) for G in uses] for uses in found[0]]
        elif self.meetings.rest:
            for columns in self._columns("kfac"):
                self._add_squares(columns)

    # -- columns of a square root of L″ -------------------------------------------------------------------

    def _columns(self, method: str) -> Iterator[list[Any]]:
        """Stacks U, per output (k, *z.shape), with Σ_k U_k U_kᵀ = L″ per case, or that in expectation."""
        if method == "kflr":
            yield from self._all_columns()
            return
        loss, z, t = self.shard.loss, self.shard.z, self.shard.t
        rng, samples = np.random.default_rng(self.rng), self.samples if method == "kfac" else 1
        if method == "kfac" and not hasattr(loss, "sample"):
            yield from self._mixed_columns(rng, samples)
            return
        gradient = loss_value_and_gradient(loss)
        for _ in range(samples):
            targets = loss.sample(z, rng) if method == "kfac" else t
            u = self.shard.out.match(gradient(z, targets)[1], "loss gradient")
            scale = math.sqrt(self._terms() / samples)
            yield [(c * c.dtype.type(scale))[None] for c in u]

    def _terms(self) -> int:
        """n of L = 1/n Σ ℓ: with u = ∇ℓ/n, L″ = E[∇ℓ ∇ℓᵀ]/n = n E[u uᵀ]."""
        shape = np.shape(self._outputs()[0])
        return math.prod(shape[:-1]) if getattr(self.shard.loss, "per_position", False) else self.n

    def _outputs(self) -> list[Any]:
        return [z for _, z in tree.leaves(self.shard.z)]

    def _all_columns(self) -> Iterator[list[Any]]:
        loss, z, t = self.shard.loss, self.shard.z, self.shard.t
        at_a_time = max(1, AT_A_TIME // max(1, *(node.spec.size for node in self.meetings.nodes)))
        d = getattr(loss_curvature(loss, z, t), "diagonal", None) if hasattr(loss, "curvature") else None
        if d is not None and hasattr(z, "shape"):
            yield from self._diagonal_columns(z, np.sqrt(np.broadcast_to(d, z.shape)), at_a_time)
            return
        if hasattr(loss, "sqrt_hessian"):
            S = [columns for _, columns in tree.leaves(loss.sqrt_hessian(z, t))]
        else:
            S = [self._root()]
        for k in range(0, len(S[0]), at_a_time):
            yield [columns[k : k + at_a_time] for columns in S]

    def _mixed_columns(self, rng: np.random.Generator, samples: int) -> Iterator[list[Any]]:
        """Of a loss that draws no targets: all columns, with signs drawn for every case, in one."""
        for _ in range(samples):
            u: list[Any] = []
            for columns in self._all_columns():
                for k, stack in enumerate(columns):
                    signs = rng.choice([-1.0, 1.0], (len(stack), self.n))
                    term = np.einsum("kn...,kn->n...", stack, np.asarray(signs, stack.dtype, like=stack))
                    u[k:] = [u[k] + term if len(u) > k else term]
            yield [(c * c.dtype.type(1 / math.sqrt(samples)))[None] for c in u]

    def _root(self) -> Any:
        """S: (c, *z.shape) from the eigenvalues of the blocks L″ₙₙ, of a loss that knows its products only."""
        z = self.shard.z
        if not hasattr(z, "shape") or not z.ndim or len(z) != self.n:
            raise TypeError(
                f"the square root of the curvature of {_name(self.shard.loss)}: for outputs that are no array with a "
                "row per case the loss must have sqrt_hessian(z, t)"
            )
        curvature = loss_curvature(self.shard.loss, z, self.shard.t)
        c = z.size // self.n
        H = np.stack([np.reshape(curvature(_unit(z, k)), (self.n, c)) for k in range(c)], axis=1)
        eigenvalues, Q = np.linalg.eigh((H + np.swapaxes(H, 1, 2)) / 2)
        S = Q * np.sqrt(np.maximum(eigenvalues, 0))[:, None, :]
        return np.reshape(np.moveaxis(S, 2, 0), (c, *z.shape))

    def _diagonal_columns(self, z: Any, root: Any, at_a_time: int) -> Iterator[list[Any]]:
        """Columns with one entry per case, made as they are needed: (k, n, outputs)."""
        c = z.size // len(z)
        root = np.reshape(root, (len(z), c))
        for first in range(0, c, at_a_time):
            last = min(first + at_a_time, c)
            U = np.zeros_like(z, shape=(last - first, len(z), c))
            k = np.arange(last - first)
            U[k, :, first + k] = root[:, first:last].T
            yield [np.reshape(U, (last - first, *z.shape))]

    def averaged_curvature(self) -> Any:
        """Σ over the cases of the blocks L″ₙₙ, (c, c), times the weight of the shard: E[ℋ_L], exact."""
        z = self.shard.z
        if not hasattr(z, "shape"):
            raise TypeError(f"KFRA needs a model with one array of outputs, got {type(z).__name__}")
        z = np.asarray(z) if not z.ndim else z
        curvature = loss_curvature(self.shard.loss, z, self.shard.t)
        c = z.size // self.n
        weight = z.dtype.type(self.weight)
        if hasattr(curvature, "diagonal"):
            rows = np.reshape(np.broadcast_to(curvature.diagonal, z.shape), (self.n, c))
            return np.diag(np.sum(rows, axis=0, dtype=np.float64)).astype(z.dtype) * weight
        H = np.empty_like(z, shape=(c, c))
        for k in range(c):
            H[k] = np.sum(np.reshape(curvature(_unit(z, k)), (-1, c)), axis=0)
        return (H + H.T) * (weight / 2)

    # -- the rest -------------------------------------------------------------------------------------------------

    def _add_squares(self, columns: list[Any]) -> None:
        """diag(GGN) of the parameters without a block: the sums of squared per-case pulls, or an estimate of them."""
        rest = self.meetings.rest
        if not rest:
            return
        shard, rng = self.shard, np.random.default_rng([*self.rng, 1])
        for k in range(len(columns[0])):
            u = [stack[k] for stack in columns]
            found = squares(shard.tape, u, shard.outputs, shard.n_inputs, self.n, rest)
            if found is None:  # the cases mix, or do not come in rows: squares of the whole, with signs drawn by case
                found = self._squared_pull([c * _signs(c, self.n, rng) for c in u])
            for i in rest:
                self.diagonal[i] = self.diagonal[i] + found[i] * found[i].dtype.type(self.weight)

    def _squared_pull(self, u: list[Any]) -> list[Any]:
        """(Jᵀu)²: for u of independent signs its expectation is the diagonal of Jᵀ diag(u²) J."""
        plan = self.shard.plan
        for buffer, c in zip(plan.z, u, strict=True):
            if buffer is not None:
                np.copyto(buffer, c)
        plan.pull()
        return [np.square(c) for c in plan.cotangents]


def _signs(c: Any, n: int, rng: np.random.Generator) -> Any:
    """±1 for every case, to broadcast over c."""
    if np.ndim(c) == 0 or len(c) != n:
        return c.dtype.type(1)
    return np.asarray(rng.choice([-1, 1], (n, *[1] * (c.ndim - 1))), dtype=c.dtype, like=c)


def _unit(z: Any, k: int) -> Any:
    """Like z, for every case a one at output k."""
    v = np.zeros_like(z, order="C")
    v.reshape(len(z) if z.ndim else 1, -1)[:, k] = 1
    return v


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
