"""Generated sequences with long-range dependencies: the pathological tasks for recurrent nets.

    addition, multiplication, xor    two marked values, a number at the end        x: (n, T, 2), t: (n, 1)
    temporal_order                   two or three symbols in noise, their order    x: (n, T, 6), t: (n,)
    random_permutation               the first symbol, at the end                  x: (n, T, 100), t: (n,)
    noiseless_memorisation           all symbols again, after T steps              x: (n, T + 2m, k + 2), t: (n, T + 2m)

`zero_one` is the share of cases that are wrong. Source: Hochreiter & Schmidhuber (1997); Martens & Sutskever (2011),
"Learning recurrent neural networks with Hessian-free optimization", section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rmad.extend import Array

__all__ = [
    "addition",
    "multiplication",
    "noiseless_memorisation",
    "random_permutation",
    "temporal_order",
    "xor",
    "zero_one",
]

Cases: TypeAlias = tuple[Array, Array]


def addition(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = (a + b) / 2 for the two marked values a, b, uniform in [0, 1).

    x[:, :, 0] holds the values; x[:, :, 1] marks the two operands with 1, steps 0 and T − 3 with −1.

    Parameters
    ----------
    n : int
        Number of cases.
    T : int
        Number of steps, at least 20.
    rng : np.random.Generator
        Source of the cases.

    Returns
    -------
    x : (n, T, 2) float32 array
    t : (n, 1) array

    Examples
    --------
    >>> import nn
    >>> x, t = nn.data.tasks.addition(3, 20, rng=np.random.default_rng(0))
    >>> x.shape, t.shape, bool(np.allclose(t[:, 0], (x[:, :, 0] * (x[:, :, 1] > 0)).sum(axis=1) / 2))
    ((3, 20, 2), (3, 1), True)
    """
    return _marked("addition", n, T, rng, rng.random, lambda a, b: (a + b) / 2)


def multiplication(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = a b for the two marked values a, b, uniform in [0, 1); marks as in `addition`.

    Parameters
    ----------
    n : int
        Number of cases.
    T : int
        Number of steps, at least 20.
    rng : np.random.Generator
        Source of the cases.

    Returns
    -------
    x : (n, T, 2) float32 array
    t : (n, 1) array
    """
    return _marked("multiplication", n, T, rng, rng.random, lambda a, b: a * b)


def xor(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = a ⊕ b for the two marked bits a, b; all values are 0.0 or 1.0, marks as in `addition`.

    Parameters
    ----------
    n : int
        Number of cases.
    T : int
        Number of steps, at least 20.
    rng : np.random.Generator
        Source of the cases.

    Returns
    -------
    x : (n, T, 2) float32 array
    t : (n, 1) array
    """
    return _marked("xor", n, T, rng, lambda shape: rng.integers(0, 2, shape), lambda a, b: np.abs(a - b))


def _marked(
    name: str,
    n: int,
    T: int,
    rng: np.random.Generator,
    draw: Callable[[tuple[int, int]], Array],
    combine: Callable[[Array, Array], Array],
) -> Cases:
    """Returns x: (n, T, 2), values and marks, and t: (n, 1).

    The mark is −1 at steps 0 and T − 3, +1 at the two operands, the first in steps 1 to T/10, the second after it and
    up to T/2 − 1, and 0 elsewhere.
    """
    _check(name, n, T, 20)
    x = np.zeros((n, T, 2), np.float32)
    x[:, :, 0] = draw((n, T))
    first, second = rng.integers(1, T // 10 + 1, n), rng.integers(T // 10 + 1, T // 2, n)
    x[:, [0, T - 3], 1] = -1
    cases = np.arange(n)
    x[cases, first, 1] = x[cases, second, 1] = 1
    return x, combine(x[cases, first, 0], x[cases, second, 0])[:, None]


def temporal_order(n: int, T: int, *, symbols: int = 2, rng: np.random.Generator) -> Cases:
    """t = the order of two (or three) symbols X, Y that are hidden among random a, b, c, d: 4 (or 8) classes.

    x is one-hot, X and Y the last two; t holds the symbols as binary digits, the first one highest. Two: in steps T/10
    to 2T/10 and 5T/10 to 6T/10; three: T/10 to 2T/10, 3T/10 to 4T/10, 6T/10 to 7T/10.

    Parameters
    ----------
    n : int
        Number of cases.
    T : int
        Number of steps, at least 10.
    symbols : {2, 3}, default 2
        Number of symbols whose order counts.
    rng : np.random.Generator
        Source of the cases.

    Returns
    -------
    x : (n, T, 6) float32 array
    t : (n,) int64 array
    """
    if symbols not in (2, 3):
        raise ValueError(f"temporal_order: symbols must be 2 or 3, got {symbols!r}")
    _check("temporal_order", n, T, 10)
    drawn, t = rng.integers(0, 4, (n, T)), np.zeros(n, np.int64)
    for tenth in (1, 5) if symbols == 2 else (1, 3, 6):
        bit = rng.integers(0, 2, n)
        drawn[np.arange(n), rng.integers(tenth * T // 10, (tenth + 1) * T // 10, n)] = 4 + bit
        t = 2 * t + bit
    return _one_hot(drawn, 6), t


def random_permutation(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = the first symbol of a sequence, 0 or 1; all others are drawn from the remaining 98 of 100.

    x is one-hot. A net with 100 outputs predicts the symbol after the sequence.

    Parameters
    ----------
    n : int
        Number of cases.
    T : int
        Number of steps, at least 2.
    rng : np.random.Generator
        Source of the cases.

    Returns
    -------
    x : (n, T, 100) float32 array
    t : (n,) int64 array
    """
    _check("random_permutation", n, T, 2)
    drawn = rng.integers(2, 100, (n, T))
    drawn[:, 0] = rng.integers(0, 2, n)
    return _one_hot(drawn, 100), drawn[:, 0].copy()


def noiseless_memorisation(n: int, T: int, *, bits: int = 5, rng: np.random.Generator) -> Cases:
    """t = the first m symbols again, T steps after the last of them: m = 5 of k = 2 symbols, or 10 of 5 (20 bits).

    x is one-hot: m symbols out of k, then blanks (k), with the trigger (k + 1) one step before the last m. t is the
    class at every step, out of k + 1: blank (k), and in the last m steps the symbols.

    Parameters
    ----------
    n : int
        Number of cases.
    T : int
        Number of steps, at least 1.
    bits : {5, 20}, default 5
        Amount of information in the symbols.
    rng : np.random.Generator
        Source of the cases.

    Returns
    -------
    x : (n, T + 2m, k + 2) float32 array
    t : (n, T + 2m) int64 array
    """
    if bits not in (5, 20):
        raise ValueError(f"noiseless_memorisation: bits must be 5 or 20, got {bits!r}")
    _check("noiseless_memorisation", n, T, 1)
    m, k = (5, 2) if bits == 5 else (10, 5)
    given = rng.integers(0, k, (n, m))
    drawn = np.full((n, T + 2 * m), k)
    t = drawn.copy()
    drawn[:, :m], drawn[:, T + m - 1], t[:, T + m :] = given, k + 1, given
    return _one_hot(drawn, k + 2), t


def zero_one(z: Array, t: Array) -> float:
    """Returns the share of wrong cases: |z − t| > 0.04 for real targets, another class than t (at any step) for labels.

    Parameters
    ----------
    z : array
        Outputs: (n, 1) for real targets, (n, k) or (n, T, k) for labels.
    t : array
        Targets: (n, 1) floats, or labels (n,) or (n, T).

    Returns
    -------
    float in [0, 1]
    """
    wrong = np.abs(z - t) > 0.04 if t.dtype.kind == "f" else np.argmax(z, axis=-1) != t
    return float(np.mean(np.any(np.reshape(wrong, (len(t), -1)), axis=1)))


def _one_hot(drawn: Array, k: int) -> Array:
    return np.eye(k, dtype=np.float32)[drawn]


def _check(name: str, n: int, steps: int, least: int) -> None:
    """Raises ValueError for too few cases or steps."""
    if n < 1:
        raise ValueError(f"{name}: n must be positive, got {n!r}")
    if steps < least:
        raise ValueError(f"{name}: T must be ≥ {least}, got {steps!r}")
