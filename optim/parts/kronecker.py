"""Kronecker-factored curvature as a linear operator, and its inverse.

    C = blockdiag(A_l ⊗ G_l) ⊕ diag(d),   C + λI

A_l ⊗ G_l acts on the parameters of group l as a matrix V, (p, q): (A ⊗ G) vec V = vec(A V G).
Source: Martens & Grosse (2015), section 6.3; Botev, Ritter & Barber (2017), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator

from optim.hyper import Number
from optim.parts.factors import Block, KroneckerFactors
from optim.problem.vectors import read, weighted
from rmad.extend import Array, SymmetricOperator, arrays

__all__ = ["KroneckerInverse", "KroneckerOperator"]


DAMPING = Number(at_least=0.0)

Run = Callable[[Callable[[int], Any], int], list[Any]]


def _in_turn(task: Callable[[int], Any], n: int) -> list[Any]:
    return [task(k) for k in range(n)]


class KroneckerOperator(SymmetricOperator):
    """C + λI, (p, p), on flat vectors, C = blockdiag(A_l ⊗ G_l) ⊕ diag(d); symmetric.

    `inverse()`, `trace()` and `log_determinant()` are exact, by eigenvalues of the factors. On parameters that the
    objective does not depend on it is λI.

    Parameters
    ----------
    factors : KroneckerFactors
        C, as `kronecker_factors` returns it.
    damping : float, default 0.0
        λ ≥ 0.

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

    def __init__(self, factors: KroneckerFactors, damping: float = 0.0) -> None:
        self.factors, self.damping = factors, DAMPING("damping", damping)
        super().__init__(factors.d)

    def _apply(self, v: Array) -> Array:
        out = self.factors.d * v
        for block in self.factors.blocks:
            block.put(block.A @ block.of(v) @ block.G, out)
        out += self.dtype.type(self.damping) * v
        return out

    def inverse(self) -> LinearOperator:
        """(C + λI)⁻¹. Parameters of zero curvature and λ = 0 stay zero."""
        inverse = KroneckerInverse(self.factors, self.damping, exact=True, skip_unused=self.damping == 0)
        return SymmetricOperator(self.factors.d, inverse)

    def trace(self) -> float:
        """tr(C + λI)."""
        blocks = sum(float(np.trace(b.A)) * float(np.trace(b.G)) for b in self.factors.blocks)
        return blocks + float(self.factors.d.sum(dtype=np.float64)) + self.damping * self.shape[0]

    def log_determinant(self) -> float:
        """log det(C + λI); −∞ if it is singular."""
        alone = arrays.ones(self.factors.d, self.shape[0], bool)
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
        if exact:
            self.parts = self._run(lambda k: _exact(self.blocks[k], damping), len(self.blocks))
        else:
            traces = read(*(weighted(1.0, np.trace(M)) for block in self.blocks for M in (block.A, block.G)))
            pairs = list(zip(traces[::2], traces[1::2], strict=True))
            self.parts = self._run(lambda k: _factored(self.blocks[k], damping, *pairs[k]), len(self.blocks))
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
    eigenvalues, Q = _eigh(M)
    return (Q / (eigenvalues + M.dtype.type(shift))) @ Q.T


def _mirrored(M: Array) -> Array:
    """The symmetric matrix with the upper triangle of M, written into M, in blocks that stay in cache."""
    for k in range(0, len(M), 128):
        own = M[k : k + 128, k : k + 128]
        np.copyto(own, np.triu(own) + np.triu(own, 1).T)
        M[k + 128 :, k : k + 128] = M[k : k + 128, k + 128 :].T
    return M


def _exact(block: Block, damping: float) -> tuple[Array, Array, Array]:
    dtype = block.A.dtype
    (a, L), (g, R) = _eigh(block.A), _eigh(block.G)
    divisor = np.multiply.outer(a, g) + dtype.type(damping)
    info = np.finfo(dtype)
    floor = np.maximum(float(info.eps) * divisor.max(), math.sqrt(float(info.tiny))).astype(dtype)
    np.maximum(divisor, floor, out=divisor)
    return L, R, divisor


def _eigh(M: Array) -> tuple[Array, Array]:
    """Eigenvalues, negative ones (rounding) taken for 0, and eigenvectors."""
    if isinstance(M, np.ndarray):
        values, Q = scipy.linalg.eigh(M, driver="evd", check_finite=False)
    else:
        values, Q = np.linalg.eigh(M)
    return np.maximum(values, 0), Q
