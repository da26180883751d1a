"""The limits of C_ij/(λ_j − λ_i) for values that are tied, and other vectors of these: see `rmad.singular.ties`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.singular.ties import Undecided, Vectors
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["Ties", "Zeros", "gaps", "inverse", "largest", "or_nan", "packed", "rotation", "tied_pairs"]

ROUNDING = 1 << 8  # units in the last place, times √n, by which a coefficient that vanishes may differ from 0


def tied_pairs(values: Any, scale: Array) -> Array:
    """Mask (…, n, n) of the pairs i ≠ j of values that agree to rounding, or are linked by some that do.

    scale: ‖A‖, per pair or broadcast to it.
    """
    w = stop(values)
    n = w.shape[-1]
    limit = w.real.dtype.type(max(10.0, 3 * n**0.5) * float(np.finfo(w.dtype).eps))
    one = arrays.eye(w, n, dtype=bool)
    linked = (np.abs(w[..., None, :] - w[..., :, None]) <= limit * scale) | one
    while np.any(linked & ~one):
        steps = linked.astype(w.real.dtype)  # BLAS multiplies no booleans
        more = steps @ steps > 0
        if not np.any(more & ~linked):
            break
        linked = more
    return linked & ~one


def inverse(x: Array, skipped: Array) -> Array:
    """1/x, and 0 for the skipped places."""
    kept = ~skipped
    return kept / (x * kept + skipped)


def gaps(w: Array) -> Array:
    """w_j − w_i"""
    return w[..., None, :] - w[..., :, None]


def or_nan(x: Array, mask: Array) -> Array:
    """x, NaN in the places of the mask."""
    return np.where(mask, arrays.moved_to(x, np.nan, stop(x).dtype), x) if np.any(mask) else x


def packed(values: Array, *vectors: Array) -> Array:
    """One array of rows: the values, and the rows of every matrix of vectors."""
    dtype = vectors[0].dtype
    return np.concatenate([np.expand_dims(values, -2).astype(dtype), *vectors], axis=-2)


def largest(w: Array) -> Array:
    """max |w|, (…, 1, 1), without its derivative."""
    return arrays.highest(np.abs(stop(w)), 0, -1)[..., None, None]


def rotation(pairs: Array, like: Array) -> Array:
    """A random unitary matrix that mixes tied vectors: Cayley's (I + Ω)⁻¹(I − Ω) of a random Ω = −Ωᴴ."""
    draw = np.random.default_rng(0).standard_normal((2, *pairs.shape))
    X = draw[0] + 1j * draw[1] if like.dtype.kind == "c" else draw[0]
    X = arrays.moved_to(like, (X - np.conj(np.swapaxes(X, -1, -2))).astype(like.dtype)) * pairs
    one = arrays.eye(like, pairs.shape[-1], dtype=like.dtype)
    return np.linalg.solve(one + X, one - X)


def _size(matrices: Sequence[Any]) -> Array:
    """The largest modulus in several stacks of matrices, per matrix, (…, 1, 1)."""
    return np.max(np.stack([arrays.highest(np.abs(stop(A)), 0, (-2, -1)) for A in matrices]), 0)[..., None, None]


class Ties:
    """The tied pairs of one decomposition, and the limits that they need.

    Parameters
    ----------
    pairs : mask (…, n, n), symmetric
    values : (…, n)
    what : "eigenvalue" or "singular value"
    growth : (…,) or a number
        By how much the vectors' condition enlarges rounding errors.
    """

    def __init__(self, pairs: Array, values: Any, what: str, growth: Any = 1.0) -> None:
        w = stop(values)
        self.pairs, self.what, self._w = pairs, what, w
        self.exist = bool(np.any(pairs))
        n, eps = w.shape[-1], float(np.finfo(w.dtype).eps)
        growth = growth[..., None, None] if np.ndim(growth) else growth
        self._rounding = ROUNDING * n**0.5 * eps * growth

    def limits(self, of: Vectors, coefficient: Any, vectors: Sequence[Any], values: Any) -> Any:
        """The limits of C_ij/conj(λ_j − λ_i) for the tied pairs, (…, n, n), 0 elsewhere.

        coefficient: C. vectors, values: their cotangents, (…, m, n) and (…, n).
        Raises LinAlgError if C does not vanish, Undecided if its slope is not known.
        """
        used = np.any(np.concatenate([stop(u) != 0 for u in vectors], axis=-2), axis=-2)
        needed = used[..., None, :] | used[..., :, None] | (self._w[..., None, :] == self._w[..., :, None])
        if not np.any(self.pairs & needed):
            return np.zeros_like(stop(coefficient))
        if of.choice is None:
            raise Undecided(self._message())
        S = self._slopes(of, coefficient)
        left = np.abs(stop(of.choice.below(coefficient)) - stop(S) * np.conj(gaps(self._w)))
        small = self._rounding * (_size(vectors) + _size([S]) * largest(self._w))
        if np.any(self.pairs & (left > small)):
            raise np.linalg.LinAlgError(self._message())
        quotients = inverse(gaps(self._w), self.pairs | arrays.eye(self._w, self._w.shape[-1]))
        of.rounding = of.rounding + self._rounding * largest(values) + small * _size([quotients])
        return S

    def _slopes(self, of: Vectors, coefficient: Any) -> Any:
        """½ (∂C_ij/∂λ_j − ∂C_ij/∂λ_i)"""
        n = self._w.shape[-1]
        S: Any = np.zeros_like(stop(coefficient))
        for k in np.flatnonzero(np.any(self.pairs, axis=tuple(range(self.pairs.ndim - 1)))):
            D = of.slope(coefficient, of.along_value(int(k)))
            column = arrays.arange(self._w, n) == k
            S = S + D * (self.pairs * (column / 2 - column[:, None] / 2)).astype(self._w.real.dtype)
        return S

    def _message(self) -> str:
        return f"a repeated {self.what} (to rounding): its vectors have no derivative (the values have one)"


class Zeros:
    """The singular values that are zero to rounding, and the limits that they need: of C_ij/(s_i + s_j) and x_j/s_j.

    Parameters
    ----------
    s : (…, n)
    zero : mask (…, n)
    pairs : mask (…, n, n)
        Where 1/(s_i + s_j) is needed; the diagonal too if the vectors are complex.
    columns : list of masks (…, n)
        Where 1/s_j is needed, for the parts outside of U and of V.
    """

    def __init__(self, s: Any, zero: Array, pairs: Array, columns: Sequence[Array]) -> None:
        self.zero, self.pairs, self.columns, self._s = zero, pairs, columns, stop(s)
        n, eps = self._s.shape[-1], float(np.finfo(self._s.dtype).eps)
        self._rounding = ROUNDING * n**0.5 * eps
        self.exist = bool(np.any(pairs)) or any(map(np.any, columns))

    def limits(self, of: Vectors, C: Any, outside: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """The limits for C, (…, n, n), and for each x of `outside`, (…, m, n); 0 where none is needed.

        cotangents: of the vectors. Raises as `Ties.limits`.
        """
        used = np.any(np.concatenate([stop(u) != 0 for u in cotangents], axis=-2), axis=-2) | (self._s == 0)
        if not (np.any(self.pairs & (used[..., None, :] | used[..., :, None])) or np.any(self.columns & used)):
            return [np.zeros_like(stop(x)) for x in (C, *outside)]
        if of.choice is None:
            raise Undecided(self.message)
        found = self._slopes(of, C, outside)
        s = self._s
        small = self._rounding * (_size(cotangents) + _size(found[:1]) * largest(s))
        sums = s[..., None, :] + s[..., :, None]
        places = [self.pairs, *(column[..., None, :] for column in self.columns)]
        for x, limit, divisor, mask in zip(
            (C, *outside), found, (sums, s[..., None, :], s[..., None, :]), places, strict=True
        ):
            left = np.abs(stop(of.choice.below(x)) - stop(limit) * divisor)
            if np.any(mask & (left > small)):
                raise np.linalg.LinAlgError(self.message)
        of.rounding = of.rounding + small * largest(inverse(s, self.zero))
        return found

    def _slopes(self, of: Vectors, C: Any, outside: Sequence[Any]) -> list[Any]:
        """½ (∂C_ij/∂s_j + ∂C_ij/∂s_i) and ∂x_j/∂s_j"""
        n, dtype = self._s.shape[-1], self._s.dtype
        found: list[Any] = [np.zeros_like(stop(x)) for x in (C, *outside)]
        every = np.any(self.pairs, axis=-1) | self.columns[0] | self.columns[1]
        for k in np.flatnonzero(np.any(every, axis=tuple(range(every.ndim - 1)))):
            direction = of.along_value(int(k))
            column = arrays.arange(self._s, n) == k
            found[0] = found[0] + of.slope(C, direction) * (self.pairs * (column | column[:, None]) / 2).astype(dtype)
            for j, (x, mask) in enumerate(zip(outside, self.columns, strict=True)):
                found[j + 1] = found[j + 1] + of.slope(x, direction) * (mask & column)[..., None, :].astype(dtype)
        return found

    message = "singular vectors of a singular value zero have no derivative"
