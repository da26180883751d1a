"""numpy.linalg: pseudoinverses and least squares, A⁺ = V diag(1/s) Uᴴ for the singular values s above a cutoff.

The number of these is taken to be constant. Where the others are zero to rounding, the rule is that of Golub & Pereyra,
which needs A⁺ alone. Where the cutoff leaves out values that are not, A⁺ is a function of the singular values, 1/s
above the cutoff and 0 below, and its derivative that of such functions: see `_Cut`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.primitives.linalg import columns, from_triangle, mH, right
from rmad.rules import as_array, primitive
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed
from rmad.types import Array, Pairs

_ROUNDING = 1e3  # singular values below this many eps times the largest are zero


class _Cut:
    """The derivative of F = U diag(f) Vᴴ, f_i = 1/s_i for those s_i that are kept and 0 for the others: F = (A⁺)ᴴ.

    With E = Uᴴ dA V, real symmetric Γ_ij = (f_i − f_j)/(s_i − s_j) and Δ_ij = (f_i + f_j)/(s_i + s_j),
    dF = U [Γ (E + Eᴴ)/2 + Δ (E − Eᴴ)/2] Vᴴ + (I − UUᴴ) dA V diag(f/s) Vᴴ + U diag(f/s) Uᴴ dA (I − VVᴴ).
    The map dA ↦ dF is its own adjoint. See Noferini (2017), A formula for the Fréchet derivative of a generalized
    matrix function, SIAM J. Matrix Anal. Appl. 38, 434–457, for theorem and proof.
    """

    def __init__(self, A, rtol) -> None:
        self.U, s, Vh = np.linalg.svd(A, full_matrices=False)
        self.V = mH(Vh)
        kept = _kept(stop(s), rtol)
        both, one = kept[..., :, None] & kept[..., None, :], kept[..., :, None] ^ kept[..., None, :]
        f = np.where(kept, 1 / np.where(kept, s, 1), 0)
        rows, columns = np.expand_dims(s, -1), np.expand_dims(s, -2)
        over, sign = np.expand_dims(f, -1) + np.expand_dims(f, -2), np.where(kept, 1, -1)[..., :, None]
        product = np.expand_dims(f, -1) * np.expand_dims(f, -2)
        self.symmetric = np.where(one, over * sign / np.where(one, rows - columns, 1), -product)
        self.skew = np.where(one, over / np.where(one, rows + columns, 1), np.where(both, product, 0))
        self.squares = f * f

    def __call__(self, v) -> Array:
        U, V, D = self.U, self.V, right(self.squares)
        Uv, vV = mH(U) @ v, v @ V
        E = mH(U) @ vV
        inner = self.symmetric * (E + mH(E)) / 2 + self.skew * (E - mH(E)) / 2
        left = (vV - U @ E) * D
        above = mH(D) * (Uv - E @ mH(V))
        return (U @ inner + left) @ mH(V) + U @ above


def _kept(s, rtol) -> Array:
    """True for the singular values above the cutoff."""
    return s > (rtol if np.ndim(rtol) == 0 else np.expand_dims(rtol, -1)) * np.max(s, axis=-1, keepdims=True)


def _cuts(A, rtol) -> bool:
    """True if the cutoff leaves out a singular value that is not zero to rounding."""
    zero = _ROUNDING * np.finfo(np.result_type(A.dtype, np.float32)).eps
    if np.all(rtol <= zero) or 0 in A.shape:
        return False
    s = np.linalg.svd(stop(A), compute_uv=False)
    return bool(np.any(~_kept(s, rtol) & _kept(s, zero)))


@primitive(lambda A, rtol: np.linalg.pinv(A, rtol), name="pinv")  # by position: CuPy calls it rcond
def _pinv(P, A, rtol) -> Pairs:
    """Golub & Pereyra (1973), eq. (4.12), for a rank that does not change:
    dA⁺ = −A⁺ dA A⁺ + A⁺A⁺ᴴ dAᴴ (I − A A⁺) + (I − A⁺A) dAᴴ A⁺ᴴA⁺.
    """
    if _cuts(A, rtol):
        cut = cache(lambda: _Cut(A, rtol))
        return ((lambda v: mH(cut()(v)), lambda u: cut()(mH(u))),)

    def push(v) -> Array:
        left, right = P @ (mH(P) @ mH(v)), (mH(v) @ mH(P)) @ P
        return left - (left @ A) @ P + right - P @ (A @ right) - P @ v @ P

    def pull(u) -> Array:
        left, right = mH(u) @ P @ mH(P), mH(P) @ P @ mH(u)
        return left - A @ (P @ left) + right - (right @ P) @ A - mH(P) @ u @ mH(P)

    return ((push, pull),)


_NONE_GIVEN = object()


@composed(np.linalg.pinv)
def pinv(a, rcond=None, hermitian=False, *, rtol=_NONE_GIVEN) -> Array:
    """a⁺; with `hermitian` only the lower triangle of a is read, as in NumPy, and has a derivative."""
    if rcond is None:
        rcond = 1e-15 if rtol is _NONE_GIVEN else rtol
    if rcond is None:
        rcond = max(a.shape[-2:]) * np.finfo(a.dtype).eps
    return _pinv(from_triangle(a, True) if hermitian else a, stop(rcond))


@primitive(lambda A, B, rcond: np.linalg.lstsq(A, B, rcond), name="lstsq")
def _lstsq(y, A, B, rcond) -> Pairs:
    """X = A⁺B, so dX = A⁺ (dB − dA X) + A⁺A⁺ᴴ dAᴴ R + (I − A⁺A) dAᴴ A⁺ᴴX with R = B − A X; or see `_Cut`."""
    X = y[0]
    P = cache(lambda: np.linalg.pinv(A, rcond))
    R = cache(lambda: B - A @ X)
    of_B = (lambda v: P() @ v, lambda u: mH(P()) @ u)

    if _cuts(A, rcond):
        cut = cache(lambda: _Cut(A, rcond))
        return ((lambda v: mH(cut()(v)) @ B, lambda u: cut()(B @ mH(u))), of_B), None, None, None

    def push(v) -> Array:
        right = mH(v) @ (mH(P()) @ X)
        return P() @ (mH(P()) @ (mH(v) @ R()) - v @ X) + right - P() @ (A @ right)

    def pull(u) -> Array:
        w = mH(P()) @ u
        rest = mH(P()) @ X @ mH(u)
        return R() @ mH(P() @ w) - w @ mH(X) + rest - (rest @ P()) @ A

    return ((push, pull), of_B), None, None, None  # the other results of NumPy have their own rules


@composed(np.linalg.lstsq)
def lstsq(a, b, rcond=None) -> tuple[Any, Any, Any, Any]:
    """(x, residuals, rank, s) for a rank that does not change."""
    a, b = as_array(a), as_array(b)
    if rcond is None:
        rcond = np.finfo(np.result_type(a.dtype, b.dtype, np.float32)).eps * max(a.shape)
    B = columns(b) if b.ndim == 1 else b
    X, residuals, rank, s = _lstsq(a, B, stop(rcond))
    if residuals.size:
        R = B - a @ X
        residuals = np.sum(np.real(np.conj(R) * R), axis=0)
    if isinstance(a, Traced):
        s = np.linalg.svdvals(a)
    return X[:, 0] if np.ndim(b) == 1 else X, residuals, rank, s
