"""Kronecker-factored curvature as a linear operator, its inverse, and a preconditioner.

    C = blockdiag(A_l ⊗ G_l) ⊕ diag(d),   C + λI

A_l ⊗ G_l acts on the parameters of group l as a matrix V, (p, q): (A ⊗ G) vec V = vec(A V G).
Source: Martens & Grosse (2015), section 6.3; Botev, Ritter & Barber (2017), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator

from optim.hyper import Number
from optim.problem.vectors import is_finite

__all__ = ["Block", "KroneckerFactors", "KroneckerInverse", "KroneckerOperator"]


Run = Callable[[Callable[[int], Any], int], list[Any]]


def _in_turn(task: Callable[[int], Any], n: int) -> list[Any]:
    return [task(k) for k in range(n)]


@dataclass(frozen=True)
class Block:
    """A ⊗ G on the parameters `parts` = ((first, last, rows), …) of the flat vector, stacked as a matrix (p, q)."""

    parts: tuple[tuple[int, int, int], ...]
    A: Any
    G: Any

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape[0], self.G.shape[0]

    @property
    def size(self) -> int:
        return self.A.shape[0] * self.G.shape[0]

    def of(self, v: Any) -> Any:
        """The matrix (p, q) of the flat vector v; a view where its parts are neighbours."""
        neighbours = all(a[1] == b[0] for a, b in zip(self.parts, self.parts[1:], strict=False))
        if neighbours:
            return v[self.parts[0][0] : self.parts[-1][1]].reshape(self.shape)
        return np.concatenate([v[first:last].reshape(rows, -1) for first, last, rows in self.parts])

    def put(self, V: Any, out: Any) -> None:
        row = 0
        for first, last, rows in self.parts:
            out[first:last].reshape(rows, -1)[...] = V[row : row + rows]
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
        True for the parameters without a block, for which d holds.
    unused : (p,) array of bool
        True for the parameters on which the objective does not depend.
    """

    blocks: tuple[Block, ...]
    d: Any
    rest: Any
    unused: Any

    def mixed_with(self, older: KroneckerFactors, average: float) -> KroneckerFactors:
        """average · older + (1 − average) · these: a moving average of the factors."""

        def mix(new: Any, old: Any) -> Any:
            mixed = old * old.dtype.type(average)
            mixed += new * new.dtype.type(1 - average)
            return mixed

        blocks = [
            Block(new.parts, mix(new.A, old.A), mix(new.G, old.G))
            for new, old in zip(self.blocks, older.blocks, strict=True)
        ]
        return KroneckerFactors(tuple(blocks), mix(self.d, older.d), self.rest, self.unused)

    def is_finite(self) -> bool:
        arrays = [self.d, *(M for block in self.blocks for M in (block.A, block.G))]
        return all(is_finite(np.reshape(a, -1)) for a in arrays)

    def fits(self, other: KroneckerFactors) -> bool:
        """Whether the blocks are those of the same parameters."""
        same = [(a.parts, a.shape) for a in self.blocks] == [(b.parts, b.shape) for b in other.blocks]
        return same and bool(np.array_equal(self.rest, other.rest))


DAMPING = Number(at_least=0.0)


class KroneckerOperator(LinearOperator):
    """C + λI, (p, p), on flat vectors, from Kronecker factors; symmetric.

    damping: λ. `inverse()`, `trace()`, `log_determinant()` are exact (by eigenvalues of the factors). On
    parameters that the objective does not depend on it is λI.
    """

    def __init__(self, factors: KroneckerFactors, damping: float = 0.0) -> None:
        self.factors, self.damping = factors, DAMPING("damping", damping)
        super().__init__(factors.d.dtype, (factors.d.size, factors.d.size))  # type: ignore[call-arg]

    def _matvec(self, v: Any) -> Any:
        v = np.reshape(v, -1).astype(self.dtype, copy=False)
        out = self.factors.d * v
        for block in self.factors.blocks:
            block.put(block.A @ block.of(v) @ block.G, out)
        out += self.dtype.type(self.damping) * v
        return out

    def _adjoint(self) -> KroneckerOperator:
        return self

    def inverse(self) -> LinearOperator:
        """(C + λI)⁻¹. Parameters of zero curvature and λ = 0 stay zero."""
        inverse = KroneckerInverse(self.factors, self.damping, exact=True, skip_unused=self.damping == 0)

        def apply(v: Any) -> Any:
            v = np.reshape(v, -1).astype(self.dtype, copy=False)
            out = np.empty_like(v)
            inverse.apply(v, out)
            return out

        return LinearOperator(self.shape, matvec=apply, rmatvec=apply, dtype=self.dtype)  # type: ignore[call-arg]

    def trace(self) -> float:
        blocks = sum(float(np.trace(b.A)) * float(np.trace(b.G)) for b in self.factors.blocks)
        return blocks + float(self.factors.d.sum(dtype=np.float64)) + self.damping * self.shape[0]

    def log_determinant(self) -> float:
        """log det(C + λI); −∞ where it is singular."""
        alone = np.ones(self.shape[0], bool)
        total = 0.0
        with np.errstate(divide="ignore"):
            for block in self.factors.blocks:
                a, b = (_eigh(M.astype(np.float64))[0] for M in (block.A, block.G))
                total += float(np.sum(np.log(np.multiply.outer(a, b) + self.damping)))
                for first, last, _ in block.parts:
                    alone[first:last] = False
            return total + float(np.sum(np.log(self.factors.d[alone].astype(np.float64) + self.damping)))


class KroneckerInverse:
    """r → C̃⁻¹ r, C̃ ≈ C + λI, as `apply(r, out)`: the natural step of KFAC, and a preconditioner of CG.

    Parameters without a block are divided by d + λ.

    Parameters
    ----------
    factors : KroneckerFactors
        C, as `kronecker_factors` gives it.
    damping : float
        λ.
    exact : bool, default False
        False: (A + π√λ I)⁻¹ V (G + √λ/π I)⁻¹ with π² = (tr A / p) / (tr G / q), factored Tikhonov damping. Both shifts
        are at least eps · trace (or the smallest number of the dtype), the bound of Cholesky's rounding, so λ = 0 and
        singular factors are safe. True: (A ⊗ G + λI)⁻¹ by eigendecompositions, with negative eigenvalues (rounding)
        taken for 0 and denominators of at least eps times the largest.
    skip_unused : bool, default True
        Return zero for parameters on which the objective does not depend.
    run : callable, default None
        run(task, n) is [task(0), …, task(n − 1)], on threads; None runs the blocks in turn.
    """

    def __init__(
        self,
        factors: KroneckerFactors,
        damping: float,
        exact: bool = False,
        skip_unused: bool = True,
        run: Run | None = None,
    ) -> None:
        dtype = factors.d.dtype
        self._run = run or _in_turn
        self.blocks = sorted(factors.blocks, key=lambda block: -block.size * sum(block.shape))  # threads take turns
        kind = _exact if exact else _factored
        self.parts = self._run(lambda k: kind(self.blocks[k], damping), len(self.blocks))
        denominator = factors.d + dtype.type(damping)
        info = np.finfo(dtype)
        floor = max(float(info.eps) * float(np.max(factors.d, initial=0.0)), float(info.tiny))
        np.maximum(denominator, floor, out=denominator)
        self.diagonal = np.where(factors.unused & skip_unused, dtype.type(0), 1 / denominator)

    def apply(self, r: Any, out: Any) -> None:
        """out ← C̃⁻¹ r. r, out: (p,), not the same array."""
        np.multiply(r, self.diagonal, out=out)

        def task(k: int) -> None:
            L, R, divisor = self.parts[k]
            V = L.T @ self.blocks[k].of(r) @ R
            if divisor is not None:
                V /= divisor
                V = L @ V @ R.T
            self.blocks[k].put(V, out)

        self._run(task, len(self.blocks))

    def __call__(self, r: Any) -> Any:
        out = np.empty_like(r)
        self.apply(r, out)
        return out

    def arrays(self) -> list[Any]:
        return [self.diagonal, *(a for part in self.parts for a in part if a is not None)]


def _factored(block: Block, damping: float) -> tuple[Any, Any, None]:
    p, q = block.shape
    mean_A, mean_G = float(np.trace(block.A)) / p, float(np.trace(block.G)) / q
    pi = math.sqrt(mean_A / mean_G) if mean_A > 0 and mean_G > 0 else 1.0
    root = math.sqrt(damping)
    return _inverse(block.A, pi * root), _inverse(block.G, root / pi), None


_lapack: Any = scipy.linalg.get_lapack_funcs


def _inverse(M: Any, shift: float) -> Any:
    """(M + shift I)⁻¹ of a symmetric positive semi-definite matrix, by Cholesky; by eigenvalues where that fails."""
    info = np.finfo(M.dtype)
    shift = max(shift, float(info.eps) * float(np.trace(M)), math.sqrt(float(info.tiny)))
    shifted = M.copy()
    shifted.reshape(-1)[:: len(M) + 1] += M.dtype.type(shift)
    if isinstance(M, np.ndarray):
        potrf, potri = _lapack(("potrf", "potri"), (shifted,))
        L, failed = potrf(shifted.T, lower=False, overwrite_a=True, clean=False)
        if not failed:
            inverse, failed = potri(L, lower=False, overwrite_c=True)
        if not failed:
            return _mirrored(inverse)
    eigenvalues, Q = _eigh(M)
    return (Q / (eigenvalues + M.dtype.type(shift))) @ Q.T


def _mirrored(M: Any) -> Any:
    """The symmetric matrix of which M holds the upper triangle; written into M, in blocks that stay in cache."""
    for k in range(0, len(M), 128):
        own = M[k : k + 128, k : k + 128]
        np.copyto(own, np.triu(own) + np.triu(own, 1).T)
        M[k + 128 :, k : k + 128] = M[k : k + 128, k + 128 :].T
    return M


def _exact(block: Block, damping: float) -> tuple[Any, Any, Any]:
    dtype = block.A.dtype
    (a, L), (g, R) = _eigh(block.A), _eigh(block.G)
    divisor = np.multiply.outer(a, g) + dtype.type(damping)
    info = np.finfo(dtype)
    np.maximum(divisor, max(float(info.eps) * float(divisor.max()), math.sqrt(float(info.tiny))), out=divisor)
    return L, R, divisor


def _eigh(M: Any) -> tuple[Any, Any]:
    """Eigenvalues, none of them negative, and eigenvectors."""
    if isinstance(M, np.ndarray):
        values, Q = scipy.linalg.eigh(M, driver="evd", check_finite=False)
    else:
        values, Q = np.linalg.eigh(M)
    return np.maximum(values, 0), Q


def parts_of(inputs: Sequence[int], shapes: Sequence[tuple[int, ...]], width: int) -> tuple[tuple[int, int, int], ...]:
    """Where the inputs lie in the flat vector, and their rows as matrices with `width` columns."""
    sizes = [math.prod(shape) for shape in shapes]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return tuple((int(starts[i]), int(starts[i + 1]), sizes[i] // width) for i in inputs)


# -- as arrays of a state ---------------------------------------------------------------------------------------


def saved(factors: KroneckerFactors, name: str) -> dict[str, Any]:
    """The factors as arrays, under name.…"""
    state = {f"{name}.d": factors.d, f"{name}.rest": factors.rest, f"{name}.unused": factors.unused}
    for k, block in enumerate(factors.blocks):
        state |= {f"{name}.{k}.parts": np.array(block.parts), f"{name}.{k}.A": block.A, f"{name}.{k}.G": block.G}
    return {key: value.copy() for key, value in state.items()}


def loaded(state: Mapping[str, Any], name: str, like: Any) -> KroneckerFactors | None:
    """What `saved` made, for parameters like the flat vector `like`; None where there is nothing under that name."""
    if not any(key.startswith(f"{name}.") for key in state):
        return None
    try:
        d, rest, unused = (np.array(state[f"{name}.{key}"], like=like) for key in ("d", "rest", "unused"))
        blocks = list[Block]()
        while f"{name}.{len(blocks)}.parts" in state:
            parts = state[f"{name}.{len(blocks)}.parts"]
            A, G = (np.array(state[f"{name}.{len(blocks)}.{key}"], like=like) for key in ("A", "G"))
            blocks.append(Block(tuple((int(a), int(b), int(rows)) for a, b, rows in parts), A, G))
    except KeyError as error:
        raise ValueError(f"the state has no entry {error}") from None
    factors = KroneckerFactors(tuple(blocks), d, rest, unused)
    fits = d.shape == like.shape and all(M.dtype == like.dtype for M in (d, *(M for b in blocks for M in (b.A, b.G))))
    sizes = [sum(last - first for first, last, _ in block.parts) == block.size for block in blocks]
    if not (fits and all(sizes) and factors.is_finite()):
        raise ValueError(f"the state's {name} do not fit {like.size:,} parameters of {like.dtype}, or are not finite")
    return factors
