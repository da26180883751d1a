"""Dropout: units that are left out at random, the same ones for the whole of an update."""

from __future__ import annotations

import numpy as np

from nn.checks import check_floats, check_rng
from nn.module import Module
from rmad.extend import Array, arrays, first_case

__all__ = ["Dropout"]

LEVELS = 1 << 16  # a mask compares 16 random bits with a threshold
DRAWS = 16  # such numbers per step of Philox's counter


class _Read:
    """The two numbers that the masks depend on, read once: the host waits for those that are on a GPU."""

    def __init__(self) -> None:
        self._known: tuple[tuple[Array, int], ...] = ()

    def number(self, a: Array) -> int:
        """Returns the number in the array of one."""
        for known, value in self._known:
            if known is a:
                return value
        value = int(a[0])
        self._known = ((a, value), *self._known[:1])
        return value


class Dropout(Module):
    """y = m ⊙ x / (1 − p) in training, m ∈ {0, 1} with P(m = 0) = p; y = x in use (`eval`).

    x, y: (n, …). The mask belongs to the update, not to the call: it is a function of the layer's seed, the number of
    updates begun, the case's place in the batch and the unit. So all products of CG and all trials of a line search
    see one function, parts of a batch see the masks of the whole, and a saved run continues with the same masks.
    A layer that is used several times in a model has one mask for all its uses of the same shape.
    `model.begin_step()`, which the optimizers call, draws new masks.

    Parameters
    ----------
    p : float, default 0.5
        Probability that a unit is left out, in [0, 1); rounded to a multiple of 2⁻¹⁶.
    rng : np.random.Generator
        Source of the layer's seed.

    Raises
    ------
    ValueError
        If p is outside of [0, 1).
    TypeError
        Unless x is an array of floats.

    References
    ----------
    Srivastava et al. (2014), scaled in training.

    Examples
    --------
    >>> import nn
    >>> layer, x = nn.Dropout(0.5, rng=np.random.default_rng(0)), np.ones((2, 4))
    >>> set(layer(x).ravel().tolist()) <= {0.0, 2.0}, bool((layer.eval()(x) == x).all())
    (True, True)
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator) -> None:
        if not isinstance(p, int | float | np.number) or not 0 <= p < 1:
            raise ValueError(f"Dropout: p must be in [0, 1), got {p!r}")
        check_rng(f"Dropout({p})", rng)
        self.p = float(p)
        self.seed = rng.integers(0, 1 << 63, size=1)
        self.updates = np.zeros(1, np.int64)  # begun so far
        self._read = _Read()

    def forward(self, x: Array) -> Array:
        """Returns y, an array like x: (n, …)."""
        if not self.training or self.p == 0:
            return x
        check_floats(self, x)
        kept = max(1, round((1 - self.p) * LEVELS))
        mask = self._bits(np.shape(x)) < kept
        factor = np.multiply(mask, LEVELS / kept, dtype=x.dtype)
        return x * arrays.moved_to(x, factor)

    def on_begin_step(self) -> None:
        """Chooses new masks."""
        self.updates = self.updates + 1

    def _bits(self, shape: tuple[int, ...]) -> Array:
        """Returns random uint16. Each case has its own stretch of the counter, so any part can be drawn alone."""
        if not shape:
            raise ValueError(f"Dropout({self.describe()}): x has no axis of cases")
        n, units = shape[0], int(np.prod(shape[1:]))
        steps = -(-units // DRAWS)
        key = self._read.number(self.seed) + (self._read.number(self.updates) << 64)
        bits = np.random.Philox(key=key).advance(first_case() * steps)
        raw = bits.random_raw(n * steps * 4) if n * steps else np.zeros(0, np.uint64)
        return raw.view(np.uint16).reshape(n, steps * DRAWS)[:, :units].reshape(shape)

    def describe(self) -> str:
        """Returns p."""
        return f"{self.p:g}"
