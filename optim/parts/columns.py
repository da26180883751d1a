"""Columns U_k of a square root of the loss's curvature, Σ_k U_k U_kᵀ = L″ per case: all of them, or random ones.

A generator yields stacks: one array (k, *z.shape) for every output z of the model. Source: Martens & Grosse (2015),
E[u uᵀ] = L″ for gradients u at targets drawn from the model; Botev, Ritter & Barber (2017), section 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import ndtri

from optim.problem.losses import case_blocks, couples_cases, loss_value_and_gradient, unit
from optim.problem.means import declared_mean
from optim.problem.shard import LinearizedShard
from rmad.extend import Array, arrays, loss_curvature, tree

__all__ = ["all_columns", "averaged_curvature", "drawn_columns", "gradient_columns", "signs_of_cases"]

Stacks = Iterator[list[Array]]


def drawn_columns(shard: LinearizedShard, seed: int, samples: int, at_a_time: int) -> Stacks:
    """Gradients at targets drawn from the model, `samples` of them; for a loss without `sample`, random ±1 sums.

    These also for a loss that says that it is no mean over cases, whose gradients have another factor. A case has the
    same draws whatever shard it is in.
    """
    if hasattr(shard.loss, "sample") and declared_mean(shard.loss) is not False:
        for k in range(samples):
            targets = shard.loss.sample(shard.z, GeneratorOfCases((seed, k), shard.first))
            yield _gradient_column(shard, targets, samples)
    else:
        yield from _mixed_columns(shard, seed, samples, at_a_time)


def gradient_columns(shard: LinearizedShard) -> Stacks:
    """Gradients at the targets of the batch: the empirical Fisher, which is not L″."""
    yield _gradient_column(shard, shard.t, 1)


def _gradient_column(shard: LinearizedShard, targets: Any, samples: int) -> list[Array]:
    u = shard.out.match(loss_value_and_gradient(shard.loss)(shard.z, targets)[1], "loss gradient")
    scale = math.sqrt(_terms(shard) / samples)
    return [(c * c.dtype.type(scale))[None] for c in u]


def _terms(shard: LinearizedShard) -> int:
    """n of L = 1/n Σ ℓ: with u = ∇ℓ/n, L″ = E[∇ℓ ∇ℓᵀ]/n = n E[u uᵀ]."""
    if not getattr(shard.loss, "per_position", False):
        return shard.n
    return math.prod(np.shape(tree.leaves(shard.z)[0][1])[:-1])


def _mixed_columns(shard: LinearizedShard, seed: int, samples: int, at_a_time: int) -> Stacks:
    """One random ±1 sum of all columns per case, `samples` times."""
    roots = _separable(shard)
    for j in range(samples):
        if roots is not None:  # a sign for every entry
            signs = [signs_of_cases((seed, j, k), shard.first, root) for k, root in enumerate(roots)]
            scale = 1 / math.sqrt(samples)
            yield [(root * (s * root.dtype.type(scale)))[None] for root, s in zip(roots, signs, strict=True)]
            continue
        u: list[Array] = []
        for i, columns in enumerate(all_columns(shard, at_a_time)):
            rows = arrays.empty(columns[0], (shard.n, len(columns[0])))
            of_columns = signs_of_cases((seed, j, 0, i), shard.first, rows)  # a column has parts in all outputs
            for k, stack in enumerate(columns):
                term = np.einsum("kn...,nk->n...", stack, of_columns.astype(stack.dtype))
                u[k:] = [u[k] + term if len(u) > k else term]
        yield [(c * c.dtype.type(1 / math.sqrt(samples)))[None] for c in u]


def all_columns(shard: LinearizedShard, at_a_time: int) -> Stacks:
    """All columns, as many at a time as given."""
    loss, z, t = shard.loss, shard.z, shard.t
    d = getattr(loss_curvature(loss, z, t), "diagonal", None) if hasattr(loss, "curvature") else None
    if d is not None and hasattr(z, "shape"):
        yield from _diagonal_columns(z, np.sqrt(np.broadcast_to(d, z.shape)), at_a_time)
        return
    if hasattr(loss, "sqrt_hessian"):
        S = [columns for _, columns in tree.leaves(loss.sqrt_hessian(z, t))]
    elif (roots := _separable(shard)) is not None:
        yield from _one_output_at_a_time(shard.arrays(), roots, at_a_time)
        return
    else:
        S = _root(shard)
    for k in range(0, len(S[0]), at_a_time):
        yield [columns[k : k + at_a_time] for columns in S]


def _diagonal_columns(z: Array, root: Array, at_a_time: int) -> Stacks:
    """Columns with one entry per case, made as they are needed: (k, n, outputs)."""
    c = z.size // len(z)
    root = np.reshape(root, (len(z), c))
    for first in range(0, c, at_a_time):
        last = min(first + at_a_time, c)
        U = arrays.zeros(z, (last - first, len(z), c))
        k = arrays.arange(z, last - first)
        U[k, :, first + k] = root[:, first:last].T
        yield [np.reshape(U, (last - first, *z.shape))]


def _one_output_at_a_time(outputs: list[Array], roots: list[Array], at_a_time: int) -> Stacks:
    """The columns of a diagonal root of several outputs: those of each, with zeros at the others."""
    for i, z in enumerate(outputs):
        for (columns,) in _diagonal_columns(z, roots[i], at_a_time):
            shapes = [(len(columns), *a.shape) for a in outputs]
            yield [
                columns if k == i else arrays.zeros(a, shape)
                for k, (a, shape) in enumerate(zip(outputs, shapes, strict=True))
            ]


def _separable(shard: LinearizedShard) -> list[Array] | None:
    """The root of a diagonal L″ of several outputs, for a loss that offers products only; None if it is not diagonal.

    A Gaussian likelihood with its divergence is an example. Two products with random vectors tell: L″v = d ∘ v.
    """
    if hasattr(shard.z, "shape") or hasattr(shard.loss, "sqrt_hessian"):
        return None
    outputs, rng = shard.arrays(), np.random.default_rng(0)
    if any(not a.ndim or len(a) != shard.n for a in outputs):
        return None
    curvature, d = loss_curvature(shard.loss, shard.z, shard.t), list[Array]()
    for k in range(2):
        v = [arrays.moved_to(a, rng.uniform(1, 2, a.shape), a.dtype) for a in outputs]
        Lv = shard.out.match(curvature(shard.out.unflatten(v)), "L″ v")
        found = [a / b for a, b in zip(Lv, v, strict=True)]
        d = d if k else found
        off = max(arrays.largest(a - b) for a, b in zip(found, d, strict=True))
        if not off <= 100 * float(np.finfo(d[0].dtype).eps) * max(map(arrays.largest, d)):
            return None
    return [np.sqrt(np.maximum(a, 0)) for a in d]


def _root(shard: LinearizedShard) -> list[Array]:
    """S: (c, *z.shape) per output, from the eigenvalues of the blocks L″ₙₙ, for a loss that offers products only."""
    outputs, n = shard.arrays(), shard.n
    if any(not a.ndim or len(a) != n for a in outputs):
        found = ", ".join(str(a.shape) for a in outputs)
        raise TypeError(
            f"the square root of the curvature of {_name(shard.loss)} needs outputs with a row for each of the {n} "
            f"cases, found {found}: give the loss a method sqrt_hessian(z, t), or take the targets of the batch, "
            'estimate="empirical"'
        )
    eigenvalues, Q = np.linalg.eigh(_blocks(shard, outputs))
    S = Q * np.sqrt(np.maximum(eigenvalues, 0))[:, None, :]  # (n, outputs, c)
    ends = np.cumsum([a.size // n for a in outputs])[:-1]
    parts = np.split(np.moveaxis(S, 2, 0), ends, axis=2)
    return [np.reshape(part, (-1, *a.shape)) for part, a in zip(parts, outputs, strict=True)]


def _blocks(shard: LinearizedShard, outputs: list[Array]) -> Array:
    """`case_blocks` of all outputs together, a case in a row."""
    curvature, n = loss_curvature(shard.loss, shard.z, shard.t), shard.n

    def product(V: Array) -> Array:
        parts = np.split(V, ends, axis=1)
        v = [arrays.contiguous(part).reshape(z.shape) for part, z in zip(parts, outputs, strict=True)]
        return rows(shard.out.match(curvature(shard.out.unflatten(v)), "L″ v"))

    def rows(of: list[Array]) -> Array:
        return np.concatenate([np.reshape(a, (n, -1)) for a in of], axis=1)

    ends = np.cumsum([a.size // n for a in outputs])[:-1]
    return case_blocks(shard.loss, product, rows(outputs))


def averaged_curvature(shard: LinearizedShard) -> Array:
    """E[ℋ_L] = Σ over the cases of the blocks L″ₙₙ, (c, c), times the weight of the shard; exact."""
    z, weight = shard.z, shard.weight
    if not hasattr(z, "shape"):
        raise TypeError(
            f"KFRA needs a model with one array of outputs, got {type(z).__name__}; KFAC and KFLR take several"
        )
    z = np.asarray(z) if isinstance(z, np.generic) else z
    curvature, c = loss_curvature(shard.loss, z, shard.t), z.size // shard.n
    if hasattr(curvature, "diagonal"):
        rows = np.reshape(np.broadcast_to(arrays.moved_to(z, curvature.diagonal), z.shape), (shard.n, c))
        return np.diag(np.sum(rows, axis=0, dtype=np.float64)).astype(z.dtype) * z.dtype.type(weight)
    rows = np.reshape(z, (shard.n, c))

    def product(V: Array) -> Array:
        return np.reshape(curvature(np.reshape(V, z.shape)), V.shape)

    H = arrays.empty(z, (c, c))
    for k in range(c):
        H[k] = np.sum(product(unit(rows, k)), axis=0)
    if couples_cases(shard.loss, product, rows, H):
        H = np.sum(case_blocks(shard.loss, product, rows), axis=0)
    return (H + H.T) * (z.dtype.type(weight) / 2)


def signs_of_cases(seed: tuple[int, ...], first: int, z: Array) -> Array:
    """±1 like z, (n, …): a case has the same signs whatever shard it is in; `first` is the number of the first case.

    One bit each, by a generator that can be moved forward to the case.
    """
    n, size = z.shape[0], int(np.prod(z.shape[1:]))
    words = -(-size // 64)
    bits = np.random.PCG64(np.random.SeedSequence(seed)).advance(first * words)
    drawn = bits.random_raw(n * words).reshape(n, words).view(np.uint8)
    signs = np.unpackbits(drawn, axis=1)[:, :size].reshape(z.shape)
    return arrays.moved_to(z, signs).astype(z.dtype) * 2 - 1


class GeneratorOfCases(np.random.Generator):
    """A generator whose `random` and `standard_normal` give a case the same numbers whatever shard it is in.

    The first axis of the numbers counts the cases. One word of 64 bits is drawn for each, so that the bits can be moved
    forward to the first case of a shard; a normal number is Φ⁻¹ of a uniform one. All other methods give a shard its
    own numbers.

    Parameters
    ----------
    seed : tuple of int
        The seed.
    first : int
        The number of the first case.
    """

    def __init__(self, seed: tuple[int, ...], first: int) -> None:
        super().__init__(np.random.PCG64([*seed, first]))
        self._seed, self._first, self._calls = seed, first, 0

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        if out is not None or not np.ndim(size):
            return super().random(size, dtype, out)
        self._calls += 1
        bits = np.random.PCG64([*self._seed, self._calls]).advance(self._first * math.prod(size[1:]))
        drawn = np.random.Generator(bits).random(size)
        if np.dtype(dtype) == drawn.dtype:
            return drawn
        return np.minimum(drawn, 1 - float(np.finfo(dtype).epsneg)).astype(dtype)  # below 1 once it is rounded

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        if out is not None or not np.ndim(size):
            return super().standard_normal(size, dtype, out)
        return ndtri(self.random(size) + 2.0**-54).astype(dtype)


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
