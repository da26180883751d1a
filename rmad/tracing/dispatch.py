"""A primitive that is called: on plain arrays it is the function itself, on traced ones it leaves a node on the tape.

tape        the innermost of the tapes that trace an argument
values      the arguments with that tape taken off; outer tapes may still trace them
y, blocks   the function and its Jacobian blocks at the values, computed by primitives again, so that every outer
            tape records them, too: that is how derivatives nest
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.errors.refusals import lossy_dtype
from rmad.tapes.tape import Block, Node, Tape
from rmad.tracing.traced import Traced

__all__ = ["PRIMITIVES", "Primitive"]

_HOLDS_NUMBERS = (np.ndarray, list, dict)

PRIMITIVES: list[Primitive] = []
"""Every primitive ever made, in the order of definition."""


class Primitive:
    """A function with a derivative rule. Called on plain arrays it is the function itself.

    f: the function; `name` defaults to its name. Subclasses linearize it: `blocks` returns ∂y/∂args[k]. If f returns
    a tuple, every output becomes a node of its own.
    """

    pattern: Callable[[Any], Any] | None = None  # of a block: the sparse matrix of where it can differ from zero
    kernels: Any  # set by a primitive with calls of its own for the sweeps of a plan: see `rmad.plan.calls`
    captures = True  # False if no block holds a constant argument that the caller could write into
    holds_arguments = False  # True if a block holds its constant arguments themselves, and no views of them

    def __init__(self, f: Callable[..., Any], name: str | None = None) -> None:
        self.f = f
        self.name: str = getattr(f, "__name__", repr(f)) if name is None else name
        self.__name__, self.__doc__ = self.name, getattr(f, "__doc__", None)
        PRIMITIVES.append(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} primitive {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for a in kwargs.values():
            if isinstance(a, Traced):
                args, kwargs = self._by_position(args, kwargs)
                break
        tape: Tape | None = None
        argnums, inputs, values = [], [], []
        for k, a in enumerate(args):
            if isinstance(a, Traced):
                if type(a) is not Traced and a.settles:
                    return self(*args[:k], a.now(), *args[k + 1 :], **kwargs)
                if a.tape is not tape:
                    if tape is not None:
                        return self._of_several_tapes(args, kwargs)
                    tape = a.tape
                argnums.append(k)
                inputs.append(a.index)
                a = a.value
            values.append(a)
        if tape is None:
            return self.f(*args, **kwargs)
        return self._recorded(tape, argnums, inputs, values, kwargs)

    def _of_several_tapes(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The innermost tape records the call; to it, the arrays of the others are constants.

        Blocks may hold these, and the user may write into those that they have: hence the twins.
        """
        for k, a in enumerate(args):
            if isinstance(a, Traced) and a.settles:
                return self(*args[:k], a.now(), *args[k + 1 :], **kwargs)
        tape = max((a.tape for a in args if isinstance(a, Traced)), key=lambda tape: tape.level)
        tape.nested = True
        argnums = [k for k, a in enumerate(args) if isinstance(a, Traced) and a.tape is tape]
        values = [a.value if k in argnums else a.twin() if isinstance(a, Traced) else a for k, a in enumerate(args)]
        return self._recorded(tape, argnums, [args[k].index for k in argnums], values, kwargs)

    def _recorded(
        self, tape: Tape, argnums: list[int], inputs: list[int], values: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """y = f(*values) as traced on the tape, on which values[argnums] are the nodes `inputs`."""
        y, every = self.linearized(argnums, values, kwargs, tape)
        if not isinstance(y, tuple):
            return self._record(tape, inputs, every, y)
        outputs = [self._record(tape, inputs, blocks, y_k) for blocks, y_k in zip(every, y, strict=True)]
        return type(y)(*outputs) if hasattr(y, "_fields") else tuple(outputs)

    def _by_position(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments with keywords moved to their positions: only positional arguments are traced."""
        import inspect  # takes longer to load than all rules together, and is hardly ever needed

        try:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
        except ValueError:  # a ufunc or a builtin without a signature
            raise TypeError(f"{self.name}: pass traced arrays by position, not as {', '.join(kwargs)}=") from None
        if any(isinstance(a, Traced) for a in bound.kwargs.values()):
            raise TypeError(f"{self.name}: keyword-only arguments cannot be traced; rmad.stop_gradient fixes them")
        return bound.args, bound.kwargs

    def _record(self, tape: Tape, inputs: list[int], blocks: Sequence[Block | None], y: Any) -> Any:
        """y as a traced array on the tape; plain if no block is left (a constant function)."""
        if None in blocks:
            inputs = [i for i, block in zip(inputs, blocks, strict=True) if block is not None]
            blocks = [block for block in blocks if block is not None]
        if not blocks:
            return y
        spec = blocks[0].y  # type: ignore[union-attr]
        if spec.dtype.kind not in "fc":
            if spec.dtype.kind in "biu":
                return y
            raise tape.loses(lossy_dtype(self.name, spec.dtype))
        if isinstance(y, Traced):
            tape.nested = True
        return Traced(y, tape, tape.append(Node(self, tuple(inputs), tuple(blocks), spec)))  # type: ignore[arg-type]

    def linearized(
        self, argnums: Sequence[int], args: Sequence[Any], kwargs: dict[str, Any], tape: Tape
    ) -> tuple[Any, Any]:
        """y = f(*args), and its blocks at these arguments: per output, if f returns a tuple.

        y is that of the arrays as they are, to the last bit; the blocks hold what the tape keeps of the constants.
        """
        y = (self if tape.nested else self.f)(*args, **kwargs)
        if self.captures:
            args = tape.captured.kept(args, argnums, self.name, self.holds_arguments)
            for value in kwargs.values():
                if isinstance(value, _HOLDS_NUMBERS):
                    kwargs = tape.captured.keep(kwargs, self.name)
                    break
        return y, self.blocks(argnums, y, args, kwargs)

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The Jacobian blocks ∂y/∂args[k], k in argnums, at these arguments (None for zero)."""
        raise NotImplementedError(f"{type(self).__name__}.blocks")

    def _missing(self, argnum: int) -> NotImplementedError:
        return NotImplementedError(
            f"{str(self.name).lstrip('_')} has no derivative with respect to argument {argnum}; "
            "rmad.stop_gradient makes that argument a constant"
        )
