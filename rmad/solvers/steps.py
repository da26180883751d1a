"""The steps of a run on the tape: all at once, or piece by piece if their tape would be large.

    y = piece(y₀, θ)      the states of some steps, from the first one and from the traced arrays θ in f

A piece stands on the tape as y₀ and θ, and what it holds is made again by every sweep over it (`checkpoint`). Its
values are those of SciPy's run, so to record it costs no call of f: a gradient takes as long as without pieces.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from rmad import tuning
from rmad.as_written.lists import as_array
from rmad.as_written.swap import paused
from rmad.joint.checkpointing import checkpoint
from rmad.record import Record
from rmad.solvers.closures import plain, substituted, traced_in
from rmad.solvers.columns import columns
from rmad.solvers.lanes import in_lanes
from rmad.solvers.replay import replayed
from rmad.solvers.runs import Run
from rmad.tracing.traced import Traced

__all__ = ["along"]


class Slope:
    """(t, y) → dy/dt as an array, y: (n,), or (n, C) at as many times; of: fun and its args."""

    def __init__(self, of: tuple[Any, Any], vectorized: bool) -> None:
        self.fun, args = of
        self.vectorized, self.more = vectorized, () if args is None else tuple(args)

    def __call__(self, t: Any, y: Any) -> Any:
        if self.vectorized and y.ndim == 1:
            return np.reshape(as_array(self.fun(t, y[:, None], *self.more)), y.shape)
        k = self.fun(t, y, *self.more)
        if type(k) is Traced or type(k) is np.ndarray:
            return k
        if y.ndim == 2 and isinstance(k, list | tuple):  # numbers among arrays
            k = [part + np.zeros(y.shape[1]) for part in k]
        return as_array(k)

    def in_lanes(self, t: Any, Y: Any) -> Any:
        """The same for Y: (n, C), by code for one y."""
        return in_lanes(lambda t, y: self.fun(t, y, *self.more))(t, Y)


def along(of: tuple[Any, Any], vectorized: bool, taken: Run, y0: Any) -> Any:
    """The states at the times of the result, (n, m); of: fun and its args, traced."""
    N = len(taken.h)
    if not N:
        return np.stack([y0] * len(taken.result.t), axis=1)
    with paused():
        most = _steps_at_a_time(Slope(plain(of), vectorized), taken)
    if most >= N:
        return _states(of, vectorized, taken, y0)[0]
    arrays = traced_in(of)
    y, found = y0, []
    for start, end in pairwise(np.linspace(0, N, -(-N // most) + 1).astype(int).tolist()):
        at, y = _piece(of, vectorized, taken.part(start, end), arrays)(y, *(a.now() for a in arrays))
        found.append(at[:, 1:] if taken.between and start else at)
    return np.concatenate(found, axis=1)


def _piece(of: tuple[Any, Any], vectorized: bool, taken: Run, arrays: list[Traced]) -> Any:
    """(y₀, *arrays) → the states at the times of the result, and that at the end."""
    ids = list(map(id, arrays))

    def states(y0: Any, *given: Any) -> tuple[Any, Any]:
        if not any(isinstance(a, Traced) for a in (y0, *given)):
            return taken.result.y, taken.y[-1]
        return _states(substituted(of, dict(zip(ids, given, strict=True))), vectorized, taken, y0)

    return checkpoint(states)


def _states(of: tuple[Any, Any], vectorized: bool, taken: Run, y0: Any) -> tuple[Any, Any]:
    """The states at the times of the result, (n, m), and that at the end."""
    f, plain_f = Slope(of, vectorized), Slope(plain(of), vectorized)
    with paused():
        found = columns(plain_f, taken, plain_f)
        by_lanes = found is None and not vectorized
        if by_lanes:
            found = columns(plain_f, taken, plain_f.in_lanes)
    if found is None:
        return replayed(f, taken, y0)
    places, system = found
    return places.solved(f.in_lanes if by_lanes else f, y0, system)


def _steps_at_a_time(f: Slope, taken: Run) -> int:
    """The number of steps whose tape holds `tuning.RUN_NUMBERS` numbers."""
    N, rows, n = taken.stages.shape
    if N * rows * 20 * (n + tuning.NODE_NUMBERS) < tuning.RUN_NUMBERS:
        return N
    nodes = Record(lambda y: f(taken.t[0], y), taken.y[0], ()).tape.nodes
    numbers = sum(int(np.prod(node.spec.shape)) for node in nodes) + tuning.NODE_NUMBERS * len(nodes)
    return max(8, tuning.RUN_NUMBERS // (rows * (numbers + n * min(n, 8))))
