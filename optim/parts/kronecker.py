"""Kronecker-factored curvature as a linear operator, and its inverse.

    C = blockdiag(A_l ⊗ G_l) ⊕ diag(d),   C + λI

A_l ⊗ G_l acts on the parameters of group l as a matrix V, (p, q): (A ⊗ G) vec V = vec(A V G).
Source: Martens & Grosse (2015), section 6.3; Botev, Ritter & Barber (2017), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator

from optim.hyper import Number
from optim.parts.factors import Block, KroneckerFactors
from optim.problem.vectors import read, weighted
from rmad.extend import Array, SymmetricOperator, arrays, lazy

__all__ = ["KroneckerInverse", "KroneckerOperator", "eigen", "eigh"]


DAMPING = Number(at_least=0.0)

Run = Callable[[Callable[[int], Any], int], list[Any]]
Eigen = tuple[Array, Array, Array]


def _in_turn(task: Callable[[int], Any], n: int) -> list[Any]:
    return [task(k) for k in range(n)]


class KroneckerOperator(SymmetricOperator):
    """C + λI, (p, p), on flat vectors, C = blockdiag(A_l ⊗ G_l) ⊕ diag(d); symmetric.

    Everything that it can tell is exact, by eigenvalues of the factors. On parameters that the objective does not
    depend on it is λI.

    Parameters
    ----------
    factors : KroneckerFactors
        C, as `kronecker_factors` returns it.
    damping : float, default 0.0
        λ ≥ 0.
    run : callable, default None
        run(task, n) is [task(0), …, task(n − 1)], on threads; None decomposes the factors in turn.

    Raises
    ------
    ValueError
        If the damping is negative or not finite.

    References
    ----------
    Martens & Grosse (2015), section 6.3; Botev, Ritter & Barber (2017), section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from optim import Function, KroneckerOperator, Objective, kronecker_factors
    >>> model = Function(lambda params, x: x @ params["W"], {"W": np.ones((2, 1))})
    >>> q = Objective(model, lambda z, t: np.sum((z - t) ** 2) / (2 * len(z))).quadratic(np.eye(2), np.zeros((2, 1)))
    >>> C = KroneckerOperator(kronecker_factors(q, "kflr"), damping=1.0)
    >>> C @ np.ones(2), C.trace()
    (array([1.5, 1.5]), 3.0)
    """

    def __init__(self, factors: KroneckerFactors, damping: float = 0.0, run: Run | None = None) -> None:
        self.factors, self.damping = factors, DAMPING("damping", damping)
        self._run = run or _in_turn
        super().__init__(factors.d)

    def _apply(self, v: Array) -> Array:
        out = self.factors.d * v
        for block in self.factors.blocks:
            block.put(block.times(block.of(v)), out)
        out += self.dtype.type(self.damping) * v
        return out

    @lazy
    def _decomposed(self) -> list[Eigen]:
        """L, the eigenvalues as a matrix (p_l, q_l) and R for every block."""
        blocks = self.factors.blocks
        return self._run(lambda k: eigen(blocks[k]), len(blocks))

    @lazy
    def _alone(self) -> Array:
        """(p,), True for the parameters without a block."""
        alone = arrays.ones(self.factors.d, self.shape[0], bool)
        for block in self.factors.blocks:
            for first, last, _ in block.parts:
                alone[first:last] = False
        return alone

    def eigenvalues(self) -> Array:
        """The p eigenvalues of C + λI, block by block, then those of the parameters without a block."""
        parts = [np.reshape(values, -1) for _, values, _ in self._decomposed]
        return np.concatenate([*parts, self.factors.d[self._alone]]) + self.dtype.type(self.damping)

    def function(self, h: Callable[[Array], Array]) -> LinearOperator:
        """h(C + λI) for a function of arrays of eigenvalues, as lambda x: 1 / np.sqrt(x); symmetric, (p, p)."""
        shift = self.dtype.type(self.damping)
        parts = [(block, L, h(values + shift), R) for block, (L, values, R) in self._pairs()]
        d = h(self.factors.d + shift)

        def apply(v: Array) -> Array:
            out = d * v
            for block, L, values, R in parts:
                block.put(L @ (values * (L.T @ block.of(v) @ R)) @ R.T, out)
            return out

        return SymmetricOperator(self.factors.d, apply)

    def _pairs(self) -> Iterator[tuple[Block, Eigen]]:
        return zip(self.factors.blocks, self._decomposed, strict=True)

    def solver(self, damping: float = 0.0) -> KroneckerInverse:
        """(C + (λ + damping) I)⁻¹ as `optim.pcg` takes a preconditioner, the damping split; positive definite."""
        return KroneckerInverse(self.factors, self.damping + damping, skip_unused=False, run=self._run)

    def inverse(self, damping: float = 0.0) -> LinearOperator:
        """(C + (λ + damping) I)⁻¹. Parameters of zero curvature and no damping stay zero."""
        added = self.damping + DAMPING("damping", damping)
        inverse = KroneckerInverse(self.factors, added, exact=True, skip_unused=added == 0, run=self._run)
        return SymmetricOperator(self.factors.d, inverse)

    def trace(self) -> float:
        """tr(C + λI)."""
        blocks = sum(block.trace() for block in self.factors.blocks)
        return blocks + float(self.factors.d.sum(dtype=np.float64)) + self.damping * self.shape[0]

    def diagonal(self) -> Array:
        """diag(C + λI), (p,)."""
        out = self.factors.d + self.dtype.type(self.damping)
        for block in self.factors.blocks:
            block.put(block.diagonal() + self.dtype.type(self.damping), out)
        return out

    def norm(self) -> float:
        """‖C + λI‖_F, the Frobenius norm."""
        return math.sqrt(float(np.sum(self.eigenvalues().astype(np.float64) ** 2)))

    def logdet(self) -> float:
        """log det(C + λI); −∞ if it is singular."""
        with np.errstate(divide="ignore"):
            total = sum(
                float(np.sum(np.log(values.astype(np.float64) + self.damping))) for _, values, _ in self._decomposed
            )
            return total + float(np.sum(np.log(self.factors.d[self._alone].astype(np.float64) + self.damping)))

    def eigsh(self, k: int = 6, which: str = "LA") -> tuple[Array, Array]:
        """k eigenvalues at the upper end ("LA") or the lower ("SA"), ascending, (k,), and eigenvectors, (p, k)."""
        if which not in ("LA", "SA") or not 1 <= k <= self.shape[0]:
            raise ValueError(f'eigsh: which must be "LA" or "SA" and 1 ≤ k ≤ {self.shape[0]}, got {which!r} and {k}')
        values = arrays.on_the_cpu(self.eigenvalues())
        order = np.argsort(values, kind="stable")
        chosen = order[-k:] if which == "LA" else order[:k]
        V = arrays.zeros(self.factors.d, (k, self.shape[0]))
        ends = np.cumsum([0, *(block.size for block in self.factors.blocks)])
        alone = np.flatnonzero(arrays.on_the_cpu(self._alone))
        for row, place in zip(V, chosen, strict=True):
            if place >= ends[-1]:
                row[int(alone[place - ends[-1]])] = 1
                continue
            b = int(np.searchsorted(ends, place, side="right")) - 1
            L, found, R = self._decomposed[b]
            i, j = divmod(int(place - ends[b]), found.shape[1])
            self.factors.blocks[b].put(np.multiply.outer(L[:, i], R[:, j]), row)
        return arrays.moved_to(self.factors.d, values[chosen]), V.T


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
    make : callable, default None
        The same for the inversion of the blocks, which may go to several processes; None is `run`.
    """

    def __init__(
        self,
        factors: KroneckerFactors,
        damping: float,
        exact: bool = False,
        skip_unused: bool = True,
        run: Run | None = None,
        make: Run | None = None,
    ) -> None:
        dtype = factors.d.dtype
        self._run = run or _in_turn
        make = make or self._run
        self.blocks = sorted(factors.blocks, key=lambda block: -block.size * sum(block.shape))  # threads take turns
        if exact or any(block.corrected is not None for block in self.blocks):
            self.parts = make(lambda k: _exact(self.blocks[k], damping), len(self.blocks))
        else:
            traces = read(*(weighted(1.0, np.trace(M)) for block in self.blocks for M in (block.A, block.G)))
            pairs = list(zip(traces[::2], traces[1::2], strict=True))
            self.parts = make(lambda k: _factored(self.blocks[k], damping, *pairs[k]), len(self.blocks))
        denominator = factors.d + dtype.type(damping)
        info = np.finfo(dtype)
        floor = np.maximum(float(info.eps) * arrays.highest(factors.d, 0.0), float(info.tiny)).astype(dtype)
        np.maximum(denominator, floor, out=denominator)
        skipped = arrays.moved_to(denominator, factors.unused & skip_unused)
        self.diagonal = np.where(skipped, dtype.type(0), 1 / denominator)

    def apply(self, r: Array, out: Array) -> None:
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

    def __call__(self, r: Array) -> Array:
        out = np.empty_like(r)
        self.apply(r, out)
        return out

    def arrays(self) -> list[Array]:
        """All arrays that an application reads: if they are finite, so is the inverse."""
        return [self.diagonal, *(a for part in self.parts for a in part if a is not None)]


def _factored(block: Block, damping: float, trace_A: float, trace_G: float) -> tuple[Array, Array, None]:
    p, q = block.shape
    mean_A, mean_G = trace_A / p, trace_G / q
    pi = math.sqrt(mean_A) / math.sqrt(mean_G) if mean_A > 0 and mean_G > 0 else 1.0
    root = math.sqrt(damping)
    return _inverse(block.A, trace_A, pi * root), _inverse(block.G, trace_G, root / pi), None


_lapack: Any = scipy.linalg.get_lapack_funcs


def _inverse(M: Array, trace: float, shift: float) -> Array:
    """(M + shift I)⁻¹ of a symmetric positive semi-definite matrix, by Cholesky; by eigenvalues if that fails."""
    info = np.finfo(M.dtype)
    shift = max(shift, float(info.eps) * trace, math.sqrt(float(info.tiny)))
    shifted = M.copy()
    shifted.reshape(-1)[:: len(M) + 1] += M.dtype.type(shift)
    if isinstance(M, np.ndarray):
        potrf, potri = _lapack(("potrf", "potri"), (shifted,))
        L, failed = potrf(shifted.T, lower=False, overwrite_a=True, clean=False)
        if not failed:
            inverse, failed = potri(L, lower=False, overwrite_c=True)
        if not failed:
            return _mirrored(inverse)
    eigenvalues, Q = eigh(M)
    return (Q / (eigenvalues + M.dtype.type(shift))) @ Q.T


def _mirrored(M: Array) -> Array:
    """The symmetric matrix with the upper triangle of M, written into M, in blocks that stay in cache."""
    for k in range(0, len(M), 128):
        own = M[k : k + 128, k : k + 128]
        np.copyto(own, np.triu(own) + np.triu(own, 1).T)
        M[k + 128 :, k : k + 128] = M[k : k + 128, k + 128 :].T
    return M


def eigen(block: Block) -> Eigen:
    """L, Λ, R with A ⊗ G = (L ⊗ R) diag(vec Λ) (L ⊗ R)ᵀ; the corrected Λ of a block that has one."""
    if block.corrected is not None:
        return block.corrected.L, block.corrected.values, block.corrected.R
    (a, L), (g, R) = eigh(block.A), eigh(block.G)
    return L, np.multiply.outer(a, g), R


def _exact(block: Block, damping: float) -> tuple[Array, Array, Array]:
    dtype = block.A.dtype
    L, values, R = eigen(block)
    divisor = values + dtype.type(damping)
    info = np.finfo(dtype)
    floor = np.maximum(float(info.eps) * divisor.max(), math.sqrt(float(info.tiny))).astype(dtype)
    np.maximum(divisor, floor, out=divisor)
    return L, R, divisor


def eigh(M: Array) -> tuple[Array, Array]:
    """Eigenvalues, negative ones (rounding) taken for 0, and eigenvectors."""
    if isinstance(M, np.ndarray):
        values, Q = scipy.linalg.eigh(M, driver="evd", check_finite=False)
    else:
        values, Q = np.linalg.eigh(M)
    return np.maximum(values, 0), Q
