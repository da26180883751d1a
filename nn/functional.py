"""The maths of layers as functions of arrays, in NumPy or in primitives of rmad: all of them can be differentiated."""

from __future__ import annotations

import math

import numpy as np

import rmad
from nn.once import once
from rmad.extend import Array, arrays, avg_pool2d, conv2d, fast, max_pool2d, normal_cdf, sigmoid, softplus

__all__ = [
    "avg_pool2d",
    "conv2d",
    "elu",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "max_pool2d",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def tanh(x: Array) -> Array:
    """y = tanh x.

    Parameters
    ----------
    x : array
        Floats of any shape.

    Returns
    -------
    array like x
    """
    return fast.tanh(x)


def relu(x: Array) -> Array:
    """y = max(x, 0). The derivative at 0 is 1/2, as for every tie of np.maximum.

    Parameters
    ----------
    x : array
        Floats of any shape.

    Returns
    -------
    array like x
    """
    return np.maximum(x, 0)


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """y = x for x > 0, else slope · x. The derivative at 0 is the slope.

    Parameters
    ----------
    x : array
        Floats of any shape.
    slope : float, default 0.01
        Slope for x < 0.

    Returns
    -------
    array like x
    """
    return np.where(x > 0, x, slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """y = x for x > 0, else α (eˣ − 1). The derivative at 0 is α.

    Parameters
    ----------
    x : array
        Floats of any shape.
    alpha : float, default 1
        −α is the limit for x → −∞.

    Returns
    -------
    array like x

    References
    ----------
    Clevert, Unterthiner & Hochreiter (2016).
    """
    # 0 in place of x > 0: an exp that overflows in the branch not taken would make inf · 0 = NaN of its derivative
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x)))


def gelu(x: Array) -> Array:
    """y = x Φ(x), Φ the normal distribution function, not an approximation of it.

    Parameters
    ----------
    x : array
        Floats of any shape.

    Returns
    -------
    array like x

    References
    ----------
    Hendrycks & Gimpel (2016).
    """
    return x * normal_cdf(x)


def silu(x: Array) -> Array:
    """y = x / (1 + e⁻ˣ).

    Parameters
    ----------
    x : array
        Floats of any shape.

    Returns
    -------
    array like x
    """
    return x * sigmoid(x)


def softmax(x: Array, axis: int = -1) -> Array:
    """y = eˣ / Σ eˣ over the axis. No finite x overflows; −inf has the weight 0.

    Parameters
    ----------
    x : array
        Floats of any shape.
    axis : int, default −1
        Axis over which y sums to one.

    Returns
    -------
    array like x
    """
    return rmad.softmax(x, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """y = x − log Σ eˣ over the axis. No finite x overflows.

    Parameters
    ----------
    x : array
        Floats of any shape.
    axis : int, default −1
        Axis over which eʸ sums to one.

    Returns
    -------
    array like x
    """
    return rmad.log_softmax(x, axis)


def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, mask: Array | None = None, *, causal: bool = False
) -> Array:
    """y = softmax(q kᵀ/√d + mask) v over the keys.

    Parameters
    ----------
    query : (…, t, d) array
        Queries q.
    key : (…, s, d) array
        Keys k.
    value : (…, s, o) array
        Values v.
    mask : (…, t, s) array, optional
        Booleans, True for a key that a query may see; or numbers to add, −inf for a key that it may not.
    causal : bool, default False
        Whether query j sees the keys up to j + s − t only.

    Returns
    -------
    (…, t, o) array

    Raises
    ------
    ValueError
        If a query may see no key, or the shapes do not fit.
    TypeError
        For a mask of integers.

    References
    ----------
    Vaswani et al. (2017), eq. (1).

    Examples
    --------
    >>> import nn
    >>> q = k = v = np.eye(2)
    >>> nn.functional.scaled_dot_product_attention(q, k, v, causal=True).round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    """
    shapes = [np.shape(a) for a in (query, key, value)]
    q, k, v = shapes
    if min(map(len, shapes)) < 2 or q[-1] != k[-1] or k[-2] != v[-2]:
        raise ValueError(
            f"attention: query, key and value have shapes {q}, {k} and {v}, expected (…, t, d), (…, s, d) and (…, s, o)"
        )
    scores = (query * (1 / math.sqrt(q[-1]))) @ np.swapaxes(key, -1, -2)
    added = _added_mask(rmad.stop_gradient(mask), q[-2], k[-2], scores, causal)
    return softmax(scores if added is None else scores + added) @ value


def _added_mask(mask: Array | None, t: int, s: int, scores: Array, causal: bool) -> Array | None:
    """Returns the summand of the scores: a constant, so that a sweep skips it; softmax turns −∞ into 0."""
    seen = arrays.tri(scores, t, s, s - t) if causal else None
    if mask is None:
        if seen is not None and t > s:  # else every query sees the first key
            _check_seen(seen)
        return None if seen is None else np.where(seen, 0, -math.inf).astype(scores.dtype)
    _check_mask(mask, t, s, np.shape(scores))
    there = arrays.moved_to(scores, mask)
    if mask.dtype.kind == "b":
        seen = there if seen is None else there & seen
        added = np.where(seen, 0, -math.inf).astype(scores.dtype)
    else:
        added = there.astype(scores.dtype)
        if seen is not None:
            added = np.where(seen, added, -math.inf).astype(scores.dtype, copy=False)
    once(mask, ("some key is seen", causal), lambda: _check_seen(added > -math.inf))
    return added


def _check_mask(mask: Array, t: int, s: int, scores: tuple[int, ...]) -> None:
    """Raises TypeError unless the mask holds booleans or floats, ValueError unless its shape fits the scores."""
    kind = getattr(getattr(mask, "dtype", None), "kind", None)
    if kind is None or kind not in "bf":
        found = f"of {mask.dtype}; mask.astype(bool) makes one" if kind else type(mask).__name__
        found += "; np.array(mask) makes one" if isinstance(mask, list | tuple) else ""
        raise TypeError(
            f"attention: mask must be an array of booleans, True for what is seen, or of floats, not {found}"
        )
    shape = np.shape(mask)
    leading, ours = shape[-3::-1], scores[-3::-1]
    if shape[-2:] != (t, s) or any(m not in (1, n) for m, n in zip(leading, ours)):
        batch = "".join(f"{n}, " for n in scores[:-2])
        raise ValueError(f"attention: mask has shape {shape}, expected (…, {t}, {s}), as ({batch}{t}, {s})")


def _check_seen(seen: Array) -> None:
    """Raises ValueError if some query sees no key."""
    if not np.all(np.any(seen, axis=-1)):
        raise ValueError(f"attention: under the mask of shape {np.shape(seen)} some query sees no key")
