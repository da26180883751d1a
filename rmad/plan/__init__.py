"""Plans: a tape that is swept many times, as lists of NumPy calls bound to buffers."""

from rmad.plan.plan import Plan

__all__ = ["Plan"]
