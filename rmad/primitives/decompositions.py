"""numpy.linalg: factorizations of (stacks of) matrices.

Some decompositions are unique up to phases of eigenvectors or signs of singular vectors. If LAPACK fixes the choice
(eig, qr, cholesky), the derivative follows it; else (eigh, svd) the phase does not turn. Functions that do not depend
on the choice have the right derivative in either case. Vectors of a repeated eigenvalue have no derivative: a sweep
through them raises LinAlgError, a sweep through the values alone does not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.primitives.linalg import eye, from_triangle, mH, mT, to_triangle
from rmad.rules import primitive
from rmad.traced import implements, stop
from rmad.types import Array, Pairs


def _differences(w, what) -> Array:
    """w_j − w_i, with ones on the diagonal. Raises LinAlgError if two of w agree to rounding."""
    one = eye(w.shape[-1:] * 2, w)
    gap = w[..., None, :] - w[..., :, None] + one
    plain = np.abs(stop(w))
    scale = np.max(plain, axis=-1, keepdims=True, initial=0)[..., None]
    near = np.abs(stop(gap) - one) <= np.finfo(plain.dtype).eps * scale
    if np.any(near & ~one):
        raise np.linalg.LinAlgError(f"a repeated {what}: its vectors have no derivative (the values have one)")
    return gap


def _off_diagonal(x) -> Array:
    return ~eye(x.shape, x)


def _left(d) -> Array:
    """diag(d) for products from the left, diag(d) X = _left(d) * X."""
    return np.expand_dims(d, -1)


def _right(d) -> Array:
    """diag(d) for products from the right, X diag(d) = X * _right(d)."""
    return np.expand_dims(d, -2)


# -- Cholesky ------------------------------------------------------------------------------------------


@primitive(lambda H: np.linalg.cholesky(H), name="cholesky")
def _cholesky(L, H) -> Pairs:
    """dL = L Φ(L⁻¹ dH L⁻ᴴ), Φ the lower triangle with half of the diagonal (Murray 2016, eq. 8)."""
    inverse = cache(lambda: np.linalg.inv(L))
    half = np.tri(L.shape[-1], dtype=stop(L).real.dtype, like=stop(L))
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
    L = _cholesky(from_triangle(a, not upper))
    return mH(L) if upper else L


# -- eigenvalues ---------------------------------------------------------------------------------------


@primitive(lambda H, UPLO: np.linalg.eigh(H, UPLO), name="eigh")
def _eigh(y, H, UPLO) -> Pairs:
    """dw = diag(Qᴴ dH Q), dQ = Q (F∘QᴴdH Q), F_ij = 1/(w_j − w_i): qᵢᴴdqᵢ = 0."""
    w, Q = y
    F = cache(lambda: _off_diagonal(Q) / _differences(w, "eigenvalue"))
    return (
        ((lambda v: np.sum(np.real(np.conj(Q) * (v @ Q)), axis=-2), lambda u: (Q * _right(u)) @ mH(Q)),),  # w
        ((lambda v: Q @ (F() * (mH(Q) @ v @ Q)), lambda u: Q @ (F() * (mH(Q) @ u)) @ mH(Q)),),  # Q
    )


@implements(np.linalg.eigh)
def eigh(a, UPLO="L") -> Any:
    """a Q = Q diag(w); only the triangle UPLO of a is read, as in NumPy, and has a derivative."""
    return _eigh(from_triangle(a, UPLO.upper() == "L"), UPLO)


@implements(np.linalg.eigvalsh)
def eigvalsh(a, UPLO="L") -> Array:
    return eigh(a, UPLO)[0]


def _anchor(V) -> bool:
    """Mask of the component of each column that LAPACK makes real: the largest of the real ones."""
    score = np.abs(V) + (np.imag(V) == 0)
    rows = np.arange(V.shape[-2], like=V)[:, None]
    return rows == np.argmax(score, axis=-2, keepdims=True)


@primitive(np.linalg.eig)
def eig(y, A) -> Pairs:
    """A V = V diag(w): dw = diag(W), dV = V (F∘W) + V diag(c), W = V⁻¹ dA V, F_ij = 1/(w_j − w_i).

    c keeps LAPACK's normalization: columns of norm one whose largest component is real.
    """
    w, V = y
    inverse = cache(lambda: np.linalg.inv(V))
    F = cache(lambda: _off_diagonal(V) / _differences(w, "eigenvalue"))
    is_complex = V.dtype.kind == "c"
    anchor: Any = _anchor(stop(V)) if is_complex else None

    def of_columns(a, b) -> Array:
        return np.sum(a * b, axis=-2, keepdims=True)

    def push(v) -> Array:
        dV = V @ (F() * (inverse() @ v @ V))
        length = np.real(of_columns(np.conj(V), dV))
        if not is_complex:
            return dV - V * length
        turn = of_columns(anchor, np.imag(dV)) / of_columns(anchor, np.real(V))
        return dV - V * (length + 1j * turn)

    def pull(u) -> Array:
        along = of_columns(np.conj(V), u)
        w = u - V * np.real(along)
        if is_complex:
            w = w - 1j * anchor * (np.imag(along) / of_columns(anchor, np.real(V)))
        return mH(inverse()) @ (np.conj(F()) * (mH(V) @ w)) @ mH(V)

    return (
        (
            (
                lambda v: np.sum(mT(inverse()) * (v @ V), axis=-2),
                lambda u: (mH(inverse()) * _right(u)) @ mH(V),
            ),
        ),  # w
        ((push, pull),),  # V
    )


@implements(np.linalg.eigvals)
def eigvals(a) -> Array:
    return eig(a)[0]


# -- singular values -----------------------------------------------------------------------------------


def _left_vectors(U, s, V) -> tuple[Any, Any]:
    """(push, pull) of U in A = U diag(s) Vᴴ.

    dU = U (F∘(P S + S Pᴴ) + i Im diag(P) / 2s) + (I − U Uᴴ) dA V / s,  P = Uᴴ dA V,  F_ij = 1/(s_j² − s_i²)
    """
    is_complex, wide = U.dtype.kind == "c", U.shape[-2] == U.shape[-1]
    one = eye(U.shape[-1:] * 2, U)

    @cache
    def coefficients() -> tuple[Any, Any]:
        sums = s[..., None, :] + s[..., :, None]
        F = ~one / (_differences(s, "singular value") * (sums + (sums == 0)))
        if np.any(stop(s) == 0) and (is_complex or not wide):
            raise np.linalg.LinAlgError("singular vectors of a singular value zero have no derivative")
        return F, (None if wide and not is_complex else 1 / s)

    def outside(x) -> Array:
        """(I − U Uᴴ) x / s."""
        return (x - U @ (mH(U) @ x)) * _right(coefficients()[1])

    def push(v) -> Array:
        F, reciprocal = coefficients()
        vV = v @ V
        P = mH(U) @ vV
        Z = F * (P * _right(s) + _left(s) * mH(P))
        if is_complex:
            Z = Z + 0.5j * one * np.imag(P) * _right(reciprocal)
        return U @ Z if wide else U @ Z + outside(vV)

    def pull(u) -> Array:
        F, reciprocal = coefficients()
        M = mH(U) @ u
        Z = F * M
        Z = (Z + mH(Z)) * _right(s)
        if is_complex:
            Z = Z + 0.5j * one * np.imag(M) * _right(reciprocal)
        return (U @ Z if wide else U @ Z + outside(u)) @ mH(V)

    return push, pull


@primitive(lambda A, hermitian: np.linalg.svd(A, full_matrices=False, hermitian=hermitian), name="svd")
def _svd(y, A, hermitian) -> Pairs:
    """ds = Re diag(Uᴴ dA V); V is the left factor of Aᴴ = V diag(s) Uᴴ."""
    U, s, Vh = y
    V = mH(Vh)
    push, pull = _left_vectors(V, s, U)
    return (
        (_left_vectors(U, s, V), None),  # U
        (
            (lambda v: np.sum(np.real(np.conj(U) * (v @ V)), axis=-2), lambda u: (U * _right(u)) @ Vh),
            None,
        ),  # s
        ((lambda v: mH(push(mH(v))), lambda u: mH(pull(mH(u)))), None),  # Vh
    )


@implements(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True, hermitian=False) -> Any:
    """a = U diag(s) Vᴴ; with `hermitian` only the lower triangle of a is read, as in NumPy, and has a derivative.

    Raises ValueError if full_matrices asks for vectors that are an arbitrary basis of a null space.
    """
    m, n = a.shape[-2:]
    if hermitian:
        a = from_triangle(a, True)
    if compute_uv and full_matrices and m != n:
        raise ValueError(
            f"svd: the last {abs(m - n)} singular vectors of a {m} × {n} matrix are an arbitrary basis "
            "and have no derivative; pass full_matrices=False"
        )
    y = _svd(a, hermitian)
    return y if compute_uv else y[1]


@implements(np.linalg.svdvals)
def svdvals(x, /) -> Array:
    return _svd(x, False)[1]


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
