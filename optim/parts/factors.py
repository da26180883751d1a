"""Kronecker factors: curvature as blocks A ⊗ G and a diagonal, their moving average, and their place in a state.

A ⊗ G acts on the parameters of one group as a matrix V, (p, q): (A ⊗ G) vec V = vec(A V G).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from optim.parts import pictures as pictures_of
from optim.problem.vectors import are_finite
from rmad.extend import Array, arrays

__all__ = ["Block", "Corrected", "KroneckerFactors", "loaded", "parts_of", "saved"]


PICTURED = 12  # blocks that a notebook shows


@dataclass(frozen=True)
class Corrected:
    """(L ⊗ R) diag(vec Λ) (L ⊗ R)ᵀ: eigenvectors of A and G with second moments of their own, in place of A ⊗ G.

    Parameters
    ----------
    L : (p, p) array
        Eigenvectors of A, as columns.
    values : (p, q) array
        Λ, the mean over the cases of (Lᵀ ∇W R)², ≥ 0.
    R : (q, q) array
        Eigenvectors of G.
    """

    L: Array
    values: Array
    R: Array


@dataclass(frozen=True)
class Block:
    """A ⊗ G on some parameters of the flat vector, stacked as a matrix (p, q).

    Parameters
    ----------
    parts : tuple of (first, last, rows)
        Places in the flat vector, each a matrix of so many rows.
    A : (p, p) array
        The factor of the inputs of a layer.
    G : (q, q) array
        The factor of its outputs.
    columns : (c, k), default (0, 1)
        The matrix is the c-th of k equal parts of the columns: a group of channels of a convolution.
    corrected : Corrected, default None
        Stands in for A ⊗ G, which are then the factors that its eigenvectors come from or follow.
    """

    parts: tuple[tuple[int, int, int], ...]
    A: Array
    G: Array
    columns: tuple[int, int] = (0, 1)
    corrected: Corrected | None = None

    def times(self, V: Array) -> Array:
        """The product with a matrix (p, q)."""
        if self.corrected is None:
            return self.A @ V @ self.G
        L, R = self.corrected.L, self.corrected.R
        return L @ (self.corrected.values * (L.T @ V @ R)) @ R.T

    def trace(self) -> float:
        """The trace."""
        if self.corrected is not None:
            return float(np.sum(self.corrected.values, dtype=np.float64))
        return float(np.trace(self.A)) * float(np.trace(self.G))

    def diagonal(self) -> Array:
        """The diagonal, as a matrix (p, q)."""
        if self.corrected is None:
            return np.multiply.outer(np.diag(self.A), np.diag(self.G))
        return np.square(self.corrected.L) @ self.corrected.values @ np.square(self.corrected.R).T

    @property
    def shape(self) -> tuple[int, int]:
        """(p, q)."""
        return len(self.A), len(self.G)

    @property
    def size(self) -> int:
        """The number of parameters, p q."""
        return math.prod(self.shape)

    def arrays(self) -> list[Array]:
        """A and G, and those of the correction."""
        corrected = self.corrected
        return [self.A, self.G, *(() if corrected is None else (corrected.L, corrected.values, corrected.R))]

    def of(self, v: Array) -> Array:
        """The matrix (p, q) in the flat vector v; a view if its parts are neighbours."""
        neighbours = all(a[1] == b[0] for a, b in zip(self.parts, self.parts[1:], strict=False))
        if neighbours:
            return v[self.parts[0][0] : self.parts[-1][1]].reshape(self.shape[0], -1)[:, self._own]
        return np.concatenate([v[first:last].reshape(rows, -1)[:, self._own] for first, last, rows in self.parts])

    @property
    def _own(self) -> slice:
        """The columns, among those of all parts."""
        q, (c, _) = self.G.shape[0], self.columns
        return slice(c * q, (c + 1) * q)

    def put(self, V: Array, out: Array) -> None:
        """Writes the matrix V into its places in the flat vector `out`."""
        row = 0
        for first, last, rows in self.parts:
            out[first:last].reshape(rows, -1)[:, self._own] = V[row : row + rows]
            row += rows


@dataclass(frozen=True)
class KroneckerFactors:
    """Curvature as blocks A ⊗ G, and as a diagonal d for the parameters without a block.

    Parameters
    ----------
    blocks : tuple of Block
        The factors A and G, one block for each group of parameters.
    d : (p,) array
        The diagonal; zero for the parameters in blocks.
    rest : (p,) array of bool
        True for the parameters without a block, for which d holds. NumPy's, on whatever device the factors are.
    unused : (p,) array of bool
        True for the parameters on which the objective does not depend; NumPy's.
    """

    blocks: tuple[Block, ...]
    d: Array
    rest: Array
    unused: Array

    @property
    def work(self) -> int:
        """Σ (p² q + p q²) over the blocks: a measure of what their inverses take."""
        return sum(block.size * sum(block.shape) for block in self.blocks)

    def _repr_html_(self) -> str:
        """A picture of A and of G per block, as correlations, for notebooks."""
        rows = []
        for block in self.blocks[:PICTURED]:
            (first, _, _), (_, last, _) = block.parts[0], block.parts[-1]
            of = f"parameters {first:,} to {last - 1:,}<br>trace {block.trace():.3g}"
            pictures = [
                f"{pictures_of.image(M, name)}<br>{name}: {len(M):,} × {len(M):,}, trace {float(np.trace(M)):.3g}"
                for name, M in (("A", block.A), ("G", block.G))
            ]
            rows.append([of, pictures[0], "⊗", pictures[1]])
        size, more = self.d.size, len(self.blocks) - PICTURED
        title = f"Kronecker factors of {size:,} parameters: {len(self.blocks)} blocks A ⊗ G"
        if diagonal := int(np.count_nonzero(self.rest)):
            title += f", and a diagonal for {diagonal:,}"
        title += "; pictures of correlations, red for positive ones and blue for negative ones"
        return pictures_of.table(title + (f"; the first {PICTURED}" if more > 0 else ""), rows)

    def mixed_with(self, older: KroneckerFactors, average: float) -> KroneckerFactors:
        """average · older + (1 − average) · these: a moving average of the factors."""

        def mix(new: Array, old: Array) -> Array:
            mixed = old * old.dtype.type(average)
            mixed += new * new.dtype.type(1 - average)
            return mixed

        blocks = [
            Block(new.parts, mix(new.A, old.A), mix(new.G, old.G), new.columns)
            for new, old in zip(self.blocks, older.blocks, strict=True)
        ]
        return KroneckerFactors(tuple(blocks), mix(self.d, older.d), self.rest, self.unused)

    def moments_mixed_with(self, older: KroneckerFactors, average: float) -> KroneckerFactors:
        """These factors with average · older + (1 − average) · new second moments, along the same eigenvectors."""

        def mix(new: Corrected | None, old: Corrected | None) -> Corrected | None:
            if new is None or old is None:
                return new
            dtype = new.values.dtype.type
            return replace(new, values=old.values * dtype(average) + new.values * dtype(1 - average))

        pairs = zip(self.blocks, older.blocks, strict=True)
        return replace(self, blocks=tuple(replace(a, corrected=mix(a.corrected, b.corrected)) for a, b in pairs))

    def is_finite(self) -> bool:
        """True if no factor holds NaN or Inf."""
        return are_finite([self.d, *(M for block in self.blocks for M in block.arrays())])

    def fits(self, other: KroneckerFactors) -> bool:
        """True if the blocks are those of the same parameters."""
        own, others = ([(b.parts, b.columns, b.shape) for b in factors.blocks] for factors in (self, other))
        return own == others and bool(np.array_equal(self.rest, other.rest))


def parts_of(inputs: Sequence[int], shapes: Sequence[tuple[int, ...]], width: int) -> tuple[tuple[int, int, int], ...]:
    """Per input its place in the flat vector, and its rows as a matrix with `width` columns: (first, last, rows)."""
    sizes = [math.prod(shape) for shape in shapes]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return tuple((int(starts[i]), int(starts[i + 1]), sizes[i] // width) for i in inputs)


CORRECTED = ("L", "values", "R")

# -- as arrays of a state ---------------------------------------------------------------------------------------


def saved(factors: KroneckerFactors, name: str) -> dict[str, Array]:
    """The factors as copied arrays, under name.…"""
    state = {f"{name}.d": factors.d, f"{name}.rest": factors.rest, f"{name}.unused": factors.unused}
    for k, block in enumerate(factors.blocks):
        state |= {f"{name}.{k}.parts": np.array(block.parts), f"{name}.{k}.A": block.A, f"{name}.{k}.G": block.G}
        if block.corrected is not None:
            state |= {f"{name}.{k}.{key}": getattr(block.corrected, key) for key in CORRECTED}
        if block.columns != (0, 1):
            state[f"{name}.{k}.columns"] = np.array(block.columns)
    return {key: value.copy() for key, value in state.items()}


def loaded(state: Mapping[str, Any], name: str, like: Array) -> KroneckerFactors | None:
    """The factors that `saved` made, for parameters like the vector `like`; None if there are none by that name."""
    if not any(key.startswith(f"{name}.") for key in state):
        return None
    try:
        with np.errstate(over="ignore"):  # what overflows is not finite
            d = arrays.copied(like, state[f"{name}.d"])
            rest, unused = (np.array(arrays.on_the_cpu(state[f"{name}.{key}"])) for key in ("rest", "unused"))
            factors = KroneckerFactors(tuple(_blocks(state, name, like)), d, rest, unused)
        fits = _of(factors, like) and factors.is_finite()
    except KeyError as error:
        raise ValueError(f"the state has no entry {error}") from None
    except Exception as error:  # an entry may be anything, and fail anywhere
        raise ValueError(f"the state's {name} are no factors: {error}") from error
    if not fits:
        raise ValueError(f"the state's {name} do not fit {like.size:,} parameters of {like.dtype}, or are not finite")
    return factors


def _blocks(state: Mapping[str, Any], name: str, like: Array) -> Iterator[Block]:
    for k in count():
        if f"{name}.{k}.parts" not in state:
            return
        parts = tuple((int(a), int(b), int(rows)) for a, b, rows in state[f"{name}.{k}.parts"])
        A, G = (arrays.copied(like, state[f"{name}.{k}.{key}"]) for key in ("A", "G"))
        c, of = (int(number) for number in state.get(f"{name}.{k}.columns", (0, 1)))
        corrected = None
        if f"{name}.{k}.values" in state:
            corrected = Corrected(*(arrays.copied(like, state[f"{name}.{k}.{key}"]) for key in CORRECTED))
        yield Block(parts, A, G, (c, of), corrected)


def _of(factors: KroneckerFactors, like: Array) -> bool:
    """True if these are factors for parameters like the flat vector `like`."""
    matrices = [M for block in factors.blocks for M in block.arrays()]
    if not all(M.ndim == 2 and M.shape[0] == M.shape[1] for block in factors.blocks for M in (block.A, block.G)):
        return False
    if not all(_of_one_shape(block) for block in factors.blocks):
        return False
    if not all(mask.shape == like.shape and mask.dtype == bool for mask in (factors.rest, factors.unused)):
        return False
    sizes = [
        0 <= b.columns[0] < b.columns[1] and sum(last - first for first, last, _ in b.parts) == b.size * b.columns[1]
        for b in factors.blocks
    ]
    return factors.d.shape == like.shape and all(M.dtype == like.dtype for M in (factors.d, *matrices)) and all(sizes)


def _of_one_shape(block: Block) -> bool:
    """True if a block has no correction, or one of its own shape with values ≥ 0."""
    if block.corrected is None:
        return True
    L, values, R = (getattr(block.corrected, key) for key in CORRECTED)
    shapes = (L.shape, values.shape, R.shape) == (block.A.shape, block.shape, block.G.shape)
    return shapes and not bool((values < 0).any())
