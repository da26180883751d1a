"""Sequences with long-range dependencies, drawn on the spot: the pathological tasks for recurrent nets.

    addition, multiplication, xor    two marked values, a number at the end        x: (n, T, 2), t: (n, 1)
    temporal_order                   two or three symbols in noise, their order    x: (n, T, 6), t: (n,)
    random_permutation               the first symbol, at the end                  x: (n, T, 100), t: (n,)
    noiseless_memorisation           all symbols again, after T steps              x: (n, T + 2m, k + 2), t: (n, T + 2m)

`zero_one` is the share of cases that are wrong. Source: Hochreiter & Schmidhuber (1997); Martens & Sutskever (2011),
"Learning recurrent neural networks with Hessian-free optimization", section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "addition",
    "multiplication",
    "noiseless_memorisation",
    "random_permutation",
    "temporal_order",
    "xor",
    "zero_one",
]

Cases = tuple[Any, Any]


def addition(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = (a + b) / 2 for the two marked values a, b, uniform in [0, 1). See `_marked`."""
    return _marked("addition", n, T, rng, rng.random, lambda a, b: (a + b) / 2)


def multiplication(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = a b for the two marked values a, b, uniform in [0, 1)."""
    return _marked("multiplication", n, T, rng, rng.random, lambda a, b: a * b)


def xor(n: int, T: int, *, rng: np.random.Generator) -> Cases:
    """t = a ⊕ b for the two marked bits a, b; all values are bits. t: (n, 1) of 0.0 and 1.0."""
    return _marked("xor", n, T, rng, lambda shape: rng.integers(0, 2, shape), lambda a, b: np.abs(a - b))


def _marked(
    name: str,
    n: int,
    T: int,
    rng: np.random.Generator,
    draw: Callable[[Any], Any],
    combine: Callable[[Any, Any], Any],
) -> Cases:
    """x: (n, T, 2) values and marks; t: (n, 1).

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

    x: (n, T, 6), one-hot, X and Y the last two; t: (n,), the symbols as binary digits, the first one highest. Two: in
    steps T/10 to 2T/10 and 5T/10 to 6T/10; three: T/10 to 2T/10, 3T/10 to 4T/10, 6T/10 to 7T/10.
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

    x: (n, T, 100), one-hot; t: (n,). A net with 100 outputs is asked for the symbol that follows the sequence.
    """
    _check("random_permutation", n, T, 2)
    drawn = rng.integers(2, 100, (n, T))
    drawn[:, 0] = rng.integers(0, 2, n)
    return _one_hot(drawn, 100), drawn[:, 0].copy()


def noiseless_memorisation(n: int, T: int, *, bits: int = 5, rng: np.random.Generator) -> Cases:
    """t = the first m symbols again, T steps after the last of them: 5 bits are 5 of 2 symbols, 20 bits 10 of 5.

    x: (n, T + 2m, k + 2), one-hot: m symbols out of k, then blanks (k), but the trigger (k + 1) a step before the last
    m. t: (n, T + 2m), the class at every step, among k + 1: blank (k), and in the last m steps the symbols.
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


def zero_one(z: Any, t: Any) -> float:
    """The share of wrong cases: |z − t| > 0.04 for real targets, another class than t (at any step) for labels.

    z: (n, 1) for t: (n, 1) of floats; (n, k) for labels (n,), or (n, T, k) for (n, T).
    """
    wrong = np.abs(z - t) > 0.04 if t.dtype.kind == "f" else np.argmax(z, axis=-1) != t
    return float(np.mean(np.any(np.reshape(wrong, (len(t), -1)), axis=1)))


def _one_hot(drawn: Any, k: int) -> Any:
    return np.eye(k, dtype=np.float32)[drawn]


def _check(name: str, n: int, steps: int, least: int) -> None:
    if n < 1:
        raise ValueError(f"{name}: n must be positive, got {n!r}")
    if steps < least:
        raise ValueError(f"{name}: T must be ≥ {least}, got {steps!r}")
