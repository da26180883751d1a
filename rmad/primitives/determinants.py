"""numpy.linalg: det and slogdet. A: (…, n, n)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.linalg import all_of, eye, mH, mT
from rmad.rules import primitive
from rmad.tracing.traced import stop
from rmad.types import Array, Pairs


@primitive(np.linalg.det)
def det(y, A) -> Pairs:
    """d det A = Σ C∘dA with the cofactors C, which exist for singular A too."""
    C = cache(lambda: _cofactors(A))
    return ((lambda v: np.sum(C() * v, axis=(-2, -1)), lambda u: all_of(u) * np.conj(C())),)


def _cofactors(A) -> Array:
    """det(A) A⁻ᵀ if no matrix of the stack is near singular, otherwise by the SVD."""
    plain = stop(A)
    try:
        inverse = np.linalg.inv(plain)
        condition = np.linalg.norm(plain, 1, (-2, -1)) * np.linalg.norm(inverse, 1, (-2, -1))
        regular = bool(np.all(condition < np.finfo(plain.dtype).eps ** -0.25))
    except np.linalg.LinAlgError:
        regular = False
    return all_of(np.linalg.det(A)) * mT(np.linalg.inv(A)) if regular else _cofactors_by_svd(A)


def _products_without_one(s) -> tuple[Any, Any]:
    """Π_{l ≠ i} s_l for every i."""
    one = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([one, s[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, s[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before, after


def _products_without_two(s) -> Array:
    """Π_{l ≠ i, j} s_l for every i ≠ j, (…, n, n): the products before i, between, and after j."""
    before, after = _products_without_one(s)
    n = s.shape[-1]
    j = arrays.arange(s, n)
    i = j[:, None]
    previous = np.concatenate([np.ones_like(s[..., :1]), s[..., :-1]], axis=-1)
    between = np.cumprod(np.where(j > i + 1, previous[..., None, :], np.ones_like(s)[..., None, :]), axis=-1)
    upper = (j > i) * before[..., :, None] * between * after[..., None, :]
    return upper + mT(upper)


def _svd_cofactors(A) -> Array:
    U, s, Vh = np.linalg.svd(A)
    before, after = _products_without_one(s)
    unit = np.linalg.det(U) * np.linalg.det(Vh)
    return all_of(unit) * (np.conj(U) * (before * after)[..., None, :]) @ np.conj(Vh)


@primitive(_svd_cofactors, name="cofactors")
def _cofactors_by_svd(y, A) -> Pairs:
    """dC = det(U Vᴴ) Ū (diag(P diag W) − P∘Wᵀ) V̄ᴴ,  W = Uᴴ dA V,  P_ij = Π_{l ≠ i, j} s_l, at any rank.

    Third derivatives go through the SVD and need distinct singular values.
    """
    U, s, Vh = np.linalg.svd(A)
    unit = all_of(np.linalg.det(U) * np.linalg.det(Vh))
    P = _products_without_two(s)
    one = eye(A.shape, A)

    def middle(W) -> Array:
        return one * (P @ np.sum(one * W, axis=-1, keepdims=True)) - P * mT(W)

    return (
        (
            lambda v: unit * np.conj(U) @ middle(mH(U) @ v @ mH(Vh)) @ np.conj(Vh),
            lambda u: U @ middle(np.conj(unit) * mT(U) @ u @ mT(Vh)) @ Vh,
        ),
    )


@primitive(np.linalg.slogdet)
def slogdet(y, A) -> Pairs:
    """d log|det A| = Re tr(A⁻¹ dA), d sign = i sign Im tr(A⁻¹ dA); LinAlgError in a sweep if A is singular."""
    sign = y[0]
    inverse = cache(lambda: np.linalg.inv(A))

    def trace(v) -> Array:
        return np.sum(mT(inverse()) * v, axis=(-2, -1))

    phase = (
        lambda v: 1j * sign * np.imag(trace(v)),
        lambda u: 1j * all_of(np.real(np.conj(u) * 1j * sign)) * mH(inverse()),
    )
    return (
        (phase,) if sign.dtype.kind == "c" else None,
        ((lambda v: np.real(trace(v)), lambda u: all_of(u) * mH(inverse())),),
    )
