"""numpy.linalg: Cholesky and QR factorizations of (stacks of) matrices."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.linalg import eye, from_triangle, mH, need_matrices, to_triangle
from rmad.rules import primitive
from rmad.tracing.handlers import implements
from rmad.tracing.traced import stop
from rmad.types import Array, Pairs

# -- Cholesky ------------------------------------------------------------------------------------------


@primitive(lambda H: np.linalg.cholesky(H), name="cholesky")
def _cholesky(L, H) -> Pairs:
    """dL = L Φ(L⁻¹ dH L⁻ᴴ), Φ the lower triangle with half of the diagonal (Murray 2016, eq. 8)."""
    inverse = cache(lambda: np.linalg.inv(L))
    half = arrays.tri(L, L.shape[-1], dtype=stop(L).real.dtype)
    half = half - eye(L.shape, L) * half / 2
    return (
        (
            lambda v: L @ (half * (inverse() @ v @ mH(inverse()))),
            lambda u: mH(inverse()) @ (half * (mH(L) @ u)) @ inverse(),
        ),
    )


@implements(np.linalg.cholesky)
def cholesky(a, /, *, upper=False) -> Array:
    """A = L Lᴴ, or A = Uᴴ U with `upper`. Only the triangle that NumPy reads has a derivative."""
    need_matrices("cholesky", a)
    L = _cholesky(from_triangle(a, not upper))
    return mH(L) if upper else L


# -- QR ------------------------------------------------------------------------------------------------


@primitive(lambda A: np.linalg.qr(A), name="qr")
def _qr(y, A) -> Pairs:
    """dQ = X − Q T(C),  dR = Qᴴ dA − (C − T(C)) R,  X = dA B, R B = I, C = QᴴX.

    T(C) is the upper triangle of C + Cᴴ with a real half of the diagonal, so that the diagonal of R stays real, as
    LAPACK makes it. A: (…, m, n). For m < n, B is zero below the inverse of the first m columns of R.
    """
    Q, R = y
    k, n = R.shape[-2:]

    @cache
    def B() -> Array:
        inverse = np.linalg.inv(R[..., :k])
        return inverse if k == n else eye((n, k), R, R.dtype) @ inverse

    def push_R(v) -> Array:
        C = mH(Q) @ (v @ B())
        return mH(Q) @ v - (C - to_triangle(C, False)) @ R

    def pull_R(u) -> Array:
        C = u @ mH(R)
        return Q @ (u - (C - from_triangle(C, False)) @ mH(B()))

    def push_Q(v) -> Array:
        X = v @ B()
        return X - Q @ to_triangle(mH(Q) @ X, False)

    return (
        ((push_Q, lambda u: (u - Q @ from_triangle(mH(Q) @ u, False)) @ mH(B())),),  # Q
        ((push_R, pull_R),),  # R
    )


@implements(np.linalg.qr)
def qr(a, mode="reduced") -> Any:
    """a = Q R. Raises ValueError for the modes whose result has no derivative."""
    m, n = a.shape[-2:]
    if mode == "complete" and m > n:
        raise ValueError(
            f"qr: the last {m - n} columns of Q of a {m} × {n} matrix are an arbitrary basis and have no derivative; "
            "use mode='reduced'"
        )
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode {mode!r} has no derivative; use 'reduced' or 'r'")
    y = _qr(a)
    return y[1] if mode == "r" else y
