"""The table of primitives: one row per function, in the other files of this folder.

    Case("tanh", np.tanh, args=[any_shape()], covers=[np.tanh])
    Case("log", np.log, args=[any_shape(0.2, 3)], complex=True, covers=[np.log])
    Case("maximum", np.maximum, args=[any_shape(), any_shape()], distinct=True, covers=[np.maximum])
    Case("sum axis", lambda x: np.sum(x, axis=1), args=[real(3, 4)], complex=True, covers=[np.sum])
    Case("cholesky", np.linalg.cholesky, args=[made(spd(3))], covers=[np.linalg.cholesky])

f takes arrays by position and all of them are differentiated; other arguments go into a lambda. It
returns an array or a tree.
A row is run through everything in tests/rmad/test_primitives.py. `covers` lists the keys of
rmad.tracing.handlers.HANDLERS that the row exercises, as they stand there: functions, (np.add, "reduce"), "getitem".
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FILES = (
    *("elementwise", "special", "reduce", "statistics", "products", "shape", "index", "linalg", "fft", "functions"),
    *("writing", "stats", "own_code", "higher"),
    *("conv", "pool"),  # what layers use
)
CHOSEN = tuple(os.environ.get("RMAD_CASES", ",".join(FILES)).split(","))  # RMAD_CASES=reduce,fft runs those files only


@dataclass(frozen=True)
class Arg:
    """One argument: a shape (None: any, drawn by hypothesis) and the open interval of its values, or a maker."""

    shape: tuple[int, ...] | None
    lo: float = -2.0
    hi: float = 2.0
    make: Callable[[np.random.Generator], Any] | None = None
    complex: bool = True  # complex in the complex variant of the row


def real(*shape: int, lo: float = -2.0, hi: float = 2.0) -> Arg:
    """An array of this shape, uniform in (lo, hi); complex too where the row is run on complex arrays."""
    return Arg(shape, lo, hi)


def any_shape(lo: float = -2.0, hi: float = 2.0) -> Arg:
    """Values in (lo, hi); the shapes of all such arguments of a row broadcast together."""
    return Arg(None, lo, hi)


def made(make: Callable[[np.random.Generator], Any]) -> Arg:
    """The array that make(rng) returns: for domains that no interval describes. It is not made complex."""
    return Arg(None, make=make, complex=False)


def spd(*shape: int) -> Callable[[np.random.Generator], Any]:
    """Maker of symmetric positive definite matrices, (…, n, n): spd(n) or spd(…, n)."""

    def make(rng: np.random.Generator) -> Any:
        A = rng.standard_normal((*shape, shape[-1]))
        return A @ np.swapaxes(A, -1, -2) / shape[-1] + np.eye(shape[-1])

    return make


def well_conditioned(*shape: int) -> Callable[[np.random.Generator], Any]:
    """Maker of invertible matrices, (…, n, n): well_conditioned(n) or well_conditioned(…, n)."""
    return lambda rng: 0.3 * rng.standard_normal((*shape, shape[-1])) + np.diag(1.0 + np.arange(shape[-1]))


@dataclass(frozen=True)
class Case:
    """One row. f of positional arrays; args their shapes and domains.

    covers    keys of HANDLERS that the row exercises
    complex   also holds for complex inputs (imaginary parts in (-1, 1))
    float32   also run in single precision
    distinct  no two values of any input are near each other (maximum, sort, median)
    order     how many derivatives are checked
    modes     directions that are checked
    rtol      tolerance of the differences where 1e-6 is too sharp; `why` says why
    layouts   also run on Fortran-ordered, strided and reversed inputs
    costly    a derivative takes milliseconds, so that the second one is left to the slow tests
    """

    name: str
    f: Callable[..., Any]
    args: Sequence[Arg]
    covers: Sequence[Any] = field(default=())
    complex: bool = False
    float32: bool = True
    distinct: bool = False
    order: int = 2
    modes: Sequence[str] = ("fwd", "rev")
    rtol: float | None = None
    why: str = ""
    layouts: bool = True
    costly: bool = False

    def __post_init__(self) -> None:
        if self.rtol is not None and not self.why:
            raise ValueError(f"case {self.name!r}: a tolerance needs its reason, why=…")

    @property
    def any_shapes(self) -> int:
        """The number of arguments whose shapes are drawn by hypothesis."""
        return sum(a.shape is None and a.make is None for a in self.args)

    def arrays(self, seed: int, shapes: Sequence[tuple[int, ...]], as_complex: bool = False) -> tuple[Any, ...]:
        """Arguments with these shapes in place of the free ones."""
        rng = np.random.default_rng(seed)
        free = iter(shapes)
        given = [next(free) if a.shape is None and a.make is None else a.shape for a in self.args]
        sizes = [0 if shape is None else int(np.prod(shape)) for shape in given]
        unit = rng.random(sum(sizes))
        if self.distinct and unit.size:
            unit = (rng.permutation(unit.size) + 0.5) / unit.size
        out, start = [], 0
        for a, shape, size in zip(self.args, given, sizes, strict=True):
            if a.make is not None:
                out.append(a.make(rng))
                continue
            x = np.asarray(a.lo + (a.hi - a.lo) * unit[start : start + size]).reshape(shape)  # type: ignore[arg-type]
            start += size
            out.append(x + 1j * rng.uniform(-1, 1, shape) if as_complex and a.complex else x)
        return tuple(out)


def table() -> list[tuple[str, Case]]:
    """(id, case) of every row of every file, in order."""
    rows = []
    for name in CHOSEN:
        module = importlib.import_module(f"{__name__}.{name}")
        rows += [(f"{name}: {case.name}", case) for case in module.CASES]
    names = [row for row, _ in rows]
    if twice := {row for row in names if names.count(row) > 1}:
        raise ValueError(f"rows of the same name: {sorted(twice)}")
    return rows
