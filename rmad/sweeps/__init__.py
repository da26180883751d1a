"""Sweeps over a tape that carry something else than tangents or cotangents."""

from rmad.sweeps.squares import squares

__all__ = ["squares"]
