"""Constants of tuning, in one place: each with its unit, its meaning, and the measurement that set it.

They change how fast a result comes, and the result itself by rounding at most.
"""

from __future__ import annotations

__all__ = ["FEWEST_BLOCKS_ON_THREADS"]

FEWEST_BLOCKS_ON_THREADS = 4
