"""The most frequent calls of elementwise primitives, of one or two operands on a single tape, recorded in one go.

A loop over small arrays takes as long as its calls: here each step is taken once per call, and not once per operand.
None as the result stands for "a call like any other", which `dispatch` records, or finds the words for its error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

import numpy as np
from numpy import float64, ndarray

from rmad import tuning
from rmad.machine.backend import is_cupy
from rmad.tapes.blocks import MINUS_ONE, ONE, DiagonalNode
from rmad.tapes.fours import NUMBER
from rmad.tapes.tape import ArraySpec, Tape
from rmad.tracing.dispatch import Primitive
from rmad.tracing.objects import OBJECT
from rmad.tracing.traced import Traced

__all__ = ["Quick", "as_array", "is_one_of", "no_wider"]

_NUMBERS = frozenset((np.float64, np.float32, float, int))  # 1j * np.float64(2) is a Python number
_FIRST, _SECOND = (0,), (1,)


class Quick(Primitive):
    """A primitive y = f(x₀, x₁, …) with derivatives ∂f/∂x_k = derivatives[k](y, x₀, x₁, …), or ±1, or None."""

    forward: Callable[[Any], tuple[Any, Any] | None] | None = None  # see `rmad.rules.Elementwise`

    def __init__(self, f: Callable[..., Any], derivatives: Sequence[Any], name: str | None) -> None:
        super().__init__(f, name)
        self.derivatives = derivatives
        given = (*derivatives, None, None)
        self._first, self._second = (self._refused(k) if given[k] is None else given[k] for k in (0, 1))

    def _refused(self, k: int) -> Callable[..., Any]:
        """In place of a derivative that there is not."""

        def refuse(*_: Any) -> Any:
            raise self._missing(k)

        return refuse

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        y = None if kwargs else self.quick(args, self.f)
        return super().__call__(*args, **kwargs) if y is None else y

    def quick(self, args: Sequence[Any], f: Callable[..., Any]) -> Traced | None:
        """y, computed by f as `self.f` does: an operator of Python's is faster than a ufunc on numbers."""
        if len(args) == 2:
            return self.of_two(args[0], args[1], f)
        return self.of_one(args[0], f) if len(args) == 1 else None

    def of_one(self, a: Any, f: Callable[..., Any]) -> Traced | None:
        """`quick` of one operand."""
        if type(a) is not Traced or a.tape.closed:
            return None
        tape, x, i = a.tape, a.value, a.index
        if self.forward and (x.size >= tuning.ELEMENTWISE_LOOPS_FROM or is_cupy(x)):
            return None
        y = (self if tape.nested else f)(x)
        spec = NUMBER if type(y) is float64 else ArraySpec.of(y)
        if spec.dtype.kind not in "fc":
            return None
        d = self._first
        if d is not ONE and d is not MINUS_ONE:
            d = d(y, x)
            if getattr(d, "dtype", None) is not spec.dtype:
                d = no_wider(d, spec.dtype)
        nodes = tape.nodes
        given = nodes[i].spec
        nodes.append(DiagonalNode(self, (i,), (d,), spec, None, None if given is spec else (given,)))
        return Traced(y, tape, len(nodes) - 1)

    def of_two(self, a: Any, b: Any, f: Callable[..., Any]) -> Traced | None:
        """`quick` of two operands, one of them traced."""
        left, right = type(a) is Traced, type(b) is Traced
        constant = None
        if left:
            tape, x, z = a.tape, a.value, b
            if not right:
                constant = b
            elif b.tape is tape:
                z = b.value
            else:
                return None
        elif right:
            tape, x, z, constant = b.tape, a, b.value, a
        else:
            return None
        if constant is not None:
            kind = type(constant)
            if kind in _NUMBERS:
                constant = None
            elif kind is not ndarray or constant.dtype is OBJECT:
                return None  # weak numbers, arrays that are written into or of other libraries, lists
        if tape.closed:
            return None
        y = (self if tape.nested else f)(x, z)
        spec = NUMBER if type(y) is float64 else ArraySpec.of(y)
        if spec.dtype.kind not in "fc":
            return None
        d, e = self._first, self._second
        if left and d is not ONE and d is not MINUS_ONE:
            d = d(y, x, z)
            if type(d) is not float64 or spec is not NUMBER:
                d = float64(d) if type(d) is float and spec is NUMBER else self._fitted(d, spec, constant, tape)
        if right and e is not ONE and e is not MINUS_ONE:
            e = e(y, x, z)
            if type(e) is not float64 or spec is not NUMBER:
                e = float64(e) if type(e) is float and spec is NUMBER else self._fitted(e, spec, constant, tape)
        nodes = tape.nodes
        if left and right:
            i, j = a.index, b.index
            given, other = nodes[i].spec, nodes[j].spec
            specs: Any = None if given is spec and other is spec else (given, other)
            node = DiagonalNode(self, (i, j), (d, e), spec, None, specs)
        else:
            i = a.index if left else b.index
            given = nodes[i].spec
            specs = None if given is spec else (given,)
            node = DiagonalNode(self, (i,), (d if left else e,), spec, _FIRST if left else _SECOND, specs)
        nodes.append(node)
        return Traced(y, tape, len(nodes) - 1)

    def _fitted(self, d: Any, spec: ArraySpec, constant: Any, tape: Tape) -> Any:
        """A coefficient that does not promote y and, if it is the constant operand, nobody's to write into."""
        if getattr(d, "dtype", None) is not spec.dtype:
            d = no_wider(d, spec.dtype)
        return tape.captured.array(d, self.name, own=True) if constant is not None and is_one_of((constant,), d) else d


def as_array(x: Any) -> Any:
    """Python numbers become NumPy scalars; everything else stays as it is."""
    if hasattr(x, "dtype"):
        return x
    y = np.asarray(x)[()]
    if hasattr(y, "dtype"):
        return y
    if isinstance(y, Number):
        return np.float64(y)  # type: ignore[arg-type]  # an int of more than 64 bits
    raise TypeError(f"a {type(x).__name__} is no array of numbers")


def no_wider(d: Any, dtype: np.dtype[Any]) -> Any:
    """d in a dtype that does not promote `dtype`: a Python number in a rule must not make float64 of float32."""
    if type(d) in (float, int) and dtype.kind == "f":
        return dtype.type(d)
    d = as_array(d)
    return d if d.dtype == dtype or np.result_type(d.dtype, dtype) == dtype else d.astype(dtype)


def is_one_of(constants: Sequence[Any], d: Any) -> bool:
    """True if d is one of the constant arrays, as ∂(a x)/∂x = a, or a view of one."""
    if not isinstance(d, np.ndarray):
        return False
    return any(
        d is a or (d.base is not None and isinstance(a, np.ndarray) and np.may_share_memory(d, a)) for a in constants
    )
