"""Splines as functions of a point: SciPy's own on plain numbers gives every value, a composition the derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.as_written.lists import as_array
from rmad.as_written.swap import paused
from rmad.errors.refusals import numpys_only
from rmad.machine.backend import is_cupy
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import with_value
from rmad.types import Array
from rmad.written import settled

__all__ = ["Curve", "as_floats", "inside", "periodic", "plain_of"]


def as_floats(a: Any) -> Any:
    """a as an array of doubles, or of complex ones, as SciPy takes it. TypeError for an array of CuPy."""
    a = settled(as_array(a))
    if is_cupy(stop(a)):
        raise numpys_only("a spline of SciPy")
    dtype = np.dtype(complex if a.dtype.kind == "c" else float)
    return a if a.dtype == dtype else a.astype(dtype)


def plain_of(a: Any) -> Any:
    """The value of an array on all tapes."""
    return np.asarray(stop(a)) if isinstance(a, Traced) else a


def inside(knots: Array, x: Array) -> Array:
    """The number of the interval between knots that x lies in, the first or the last one for a point outside."""
    return np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)


def periodic(x: Any, start: Any, end: Any) -> tuple[Any, Array]:
    """x moved into [start, end) by whole periods, and the number of these."""
    length = end - start
    turns = np.floor(plain_of((x - start) / length))
    return x - turns * length, turns


class Curve:
    """What all splines share.

    scipys: SciPy's spline of plain numbers. parts: what it is made of, traced or not. axis: that of the points in y.
    """

    def __init__(self, scipys: Any, *parts: Any) -> None:
        self.scipys, self.axis, self.extrapolate = scipys, scipys.axis, scipys.extrapolate
        self._is_plain = not any(isinstance(part, Traced) for part in parts)

    def __call__(self, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
        """The spline, or its derivative of order nu, at x, an array of any shape; traced or not.

        extrapolate: True, False for NaN outside, or "periodic"; default that of the spline.
        """
        x = settled(as_array(x))
        if is_cupy(stop(x)):
            raise numpys_only("a spline of SciPy")
        with paused():
            value = self.scipys(plain_of(x), nu, extrapolate)
        if self._is_plain and not isinstance(x, Traced):
            return value
        flat = np.reshape(x.astype(float) if x.dtype != float else x, (-1,))
        y = self._at(flat, nu, self.extrapolate if extrapolate is None else extrapolate)
        y = np.reshape(y, (*x.shape, *y.shape[1:]))
        y = np.moveaxis(y, range(x.ndim), range(self.axis, self.axis + x.ndim)) if self.axis else y
        return with_value(y, value, type(self).__name__)

    def integrate(self, a: Any, b: Any, extrapolate: Any = None) -> Any:
        """∫ₐᵇ of the spline; a and b: numbers, traced or not."""
        with paused():
            value = self.scipys.integrate(float(plain_of(a)), float(plain_of(b)), extrapolate)
        if self._is_plain and not (isinstance(a, Traced) or isinstance(b, Traced)):
            return value
        y = self._integral(as_floats(a), as_floats(b), self.extrapolate if extrapolate is None else extrapolate)
        y = np.reshape(y, np.shape(value))
        return with_value(y, value, f"{type(self).__name__}.integrate")

    def __getattr__(self, name: str) -> Any:
        """Everything else is SciPy's, if nothing is traced."""
        if name.startswith("_") or not hasattr(self.scipys, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self._is_plain:
            return getattr(self.scipys, name)
        raise NotImplementedError(
            f"{type(self).__name__}.{name} has no derivative; rmad.implicit differentiates roots that other code finds"
        )

    def _at(self, x: Any, nu: int, extrapolate: Any) -> Any:
        """The derivative of order nu at x: (m,) → (m, …)."""
        raise NotImplementedError

    def _integral(self, a: Any, b: Any, extrapolate: Any) -> Any:
        raise NotImplementedError
