"""Checkpoints, time for memory: a piece of a function that stands on the tape as its inputs alone.

    y = checkpoint(f)(x₀, x₁, …)       one node; every sweep over it runs f again on a tape of its own
    push   v_y = Σ_i J_i v_i           one run of f for all arguments together
    pull   u_i ← u_i + J_iᵀ u_y        the same, added to the cotangents so far

Only one piece holds residuals at a time, and no input is copied: a loop over T steps in √T pieces needs the memory of
2√T steps (Martens & Sutskever 2012, section 7.1). When an outer tape traces the sweep, the sweep of the piece is such
a piece again, so Hessian products need as little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rmad.batch import cases_from, first_case
from rmad.errors.refusals import written_from_checkpoint
from rmad.machine import arrays
from rmad.record import Record
from rmad.rules import Primitive
from rmad.singular.limits import settled
from rmad.singular.ties import may_lose
from rmad.stacked import pull_stack, push_stack
from rmad.tapes.blocks import Block
from rmad.tapes.frozen import freeze, thaw
from rmad.tapes.tape import ArraySpec, Tape, pull, push
from rmad.tracing.traced import Traced, stop
from rmad.trees import tree as _tree
from rmad.trees.flat import ravel
from rmad.types import Out, P
from rmad.written.arrays import closed_to_the_outside

__all__ = ["checkpoint"]


def checkpoint(f: Callable[P, Out]) -> Callable[P, Out]:
    """y = f(x₀, x₁, …), stored on the tape as its inputs only: every sweep runs f again to get its residuals.

    Parameters
    ----------
    f : function of trees
        Must return the same at every run, and take every traced array as an argument. The leaves of its arguments and
        result that are no float arrays are constants.

    Returns
    -------
    checkpointed : function like f

    Raises
    ------
    ValueError
        When called, if f closes over a traced array.

    References
    ----------
    Martens & Sutskever (2012), section 7.1.

    Examples
    --------
    >>> f = rmad.checkpoint(lambda x: np.sin(np.exp(x)))
    >>> rmad.grad(lambda x: np.sum(f(x)))(np.zeros(2)).round(4)
    array([0.5403, 0.5403])
    """
    run: Callable[..., Any] = f

    def checkpointed(*args: Any) -> Any:
        leaves = [leaf for _, leaf in _tree.leaves(args)]
        traced = [isinstance(leaf, Traced) for leaf in leaves]
        if not any(traced):
            return run(*args)
        captured = max((leaf.tape for leaf in leaves if isinstance(leaf, Traced)), key=lambda tape: tape.level).captured
        constants = [None if t else captured.keep(leaf, "checkpoint") for t, leaf in zip(traced, leaves, strict=True)]
        like = _tree.replace_leaves(args, iter([0] * len(leaves)))
        structure: list[Callable[[Any], Any]] = []
        start = first_case()  # in the batch, which a sweep that runs f again does not know, and on which masks depend

        def of_arrays(*arrays: Any) -> Any:
            given = [a.twin() if isinstance(a, Traced) else a for a in arrays]
            some = iter(given)
            full = [next(some) if t else leaf for t, leaf in zip(traced, constants, strict=True)]
            with cases_from(start), closed_to_the_outside(arrays), _read_only(arrays):
                y, back = _as_one(run(*_tree.replace_leaves(like, iter(full))))
            if any(isinstance(a, Traced) and not a.is_same(b) for a, b in zip(arrays, given, strict=True)):
                raise written_from_checkpoint()
            structure[:] = [back]
            return y

        y = _recomputed(of_arrays, *(leaf for leaf, t in zip(leaves, traced, strict=True) if t))
        return structure[0](y)

    return checkpointed  # type: ignore[return-value]  # by position only


@contextmanager
def _read_only(args: Sequence[Any]) -> Iterator[None]:
    """While it is open, f may not write into its plain arguments: they are the arrays of the outer function."""
    frozen = [a for a in args if isinstance(a, np.ndarray) and freeze(a)]
    try:
        yield
    except ValueError as error:
        if "read-only" in str(error):
            raise written_from_checkpoint() from error
        raise
    finally:
        for a in frozen:
            thaw(a)


def _as_one(out: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The differentiable leaves of a tree as one array, and the way back; one leaf stays as it is."""
    arrays, treedef = _tree.flatten(out, "f(x)")
    if len(arrays) != 1:
        return ravel(out)
    treedef.forget_values()
    return arrays[0], lambda y: treedef.unflatten([y])


class Piece:
    """f at these arguments, some of which carry a tangent: its Jacobian, from a new run of f for every sweep."""

    decomposes = False

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int], y: Any = None) -> None:
        self.f, self.args, self.argnums = f, args, argnums
        self.some_of_y = _some(y)

    def record(self, args: Sequence[Any] | None = None) -> Record:
        fixed = self.args if args is None else args

        def of_inputs(inputs: Sequence[Any]) -> Any:
            every = list(fixed)
            for k, x in zip(self.argnums, inputs, strict=True):
                every[k] = x
            return self.f(*every)

        record = Record(of_inputs, [fixed[k] for k in self.argnums], ())
        self._check_result(record.y)
        return record

    def _check_result(self, y: Any) -> None:
        """ValueError if f has returned something else than at its first run, beyond rounding."""
        now, before = _some(y), self.some_of_y
        if now is None or before is None:
            return
        tolerance = np.finfo(now.dtype).eps ** 0.5 * arrays.largest(np.where(np.isfinite(before), before, 0))
        if now.shape != before.shape or not np.allclose(now, before, rtol=0, atol=tolerance, equal_nan=True):
            raise ValueError(
                "checkpoint(f): f returned something else when a product ran it again. It must return the same at "
                "every run: pass arrays that change as arguments, and draw random numbers outside"
            )

    @property
    def tape(self) -> Tape:
        """The tape of one more run of f."""
        return self.record().tape

    def planned(self) -> Piece:
        """The same for a plan: its results are read before the next sweep, so arrays of a sweep may be used again."""
        return self

    def push(self, tangents: Sequence[Any], stacked: bool = False) -> Any:
        """J v, from one tangent per input (None for zero); None for zero. The result may alias a tangent."""

        def run(tangents: Sequence[Any], args: Sequence[Any]) -> Any:
            record = self.record(args)
            if stacked:
                return push_stack(record.tape, tangents, record.outputs)[0]
            v = settled(push(record.tape, tangents, record.outputs))[0]
            self.decomposes = may_lose(record.tape)
            return v

        return self._nested(run, tangents)(tangents, self.args)

    def pull(
        self, u: Any, totals: Sequence[Any], owned: Sequence[bool], stacked: bool = False
    ) -> tuple[list[Any], list[bool]]:
        """totals + Jᵀu, and which of these arrays the engine made; those that are `owned` are written into."""

        def run(u: Any, args: Sequence[Any]) -> list[Any]:
            record = self.record(args)
            if stacked:
                return pull_stack(record.tape, [u], record.outputs, record.n_inputs)
            return settled(pull(record.tape, [u], record.outputs, record.n_inputs))

        if any(isinstance(a, Traced) for a in (u, *self.args, *totals)):
            return _sums(totals, self._nested(run, [u])(u, self.args), owned)
        record, ours = self.record(), list(owned)
        return pull(record.tape, [u], record.outputs, record.n_inputs, totals, ours, stacked), ours

    def _nested(self, run: Callable[..., Any], given: Sequence[Any]) -> Callable[..., Any]:
        traced = any(isinstance(a, Traced) for a in (*given, *self.args))
        return checkpoint(run) if traced else run


def _some(y: Any) -> Any:
    """Up to 64 numbers of y, spread over it; None on a GPU, which would have to wait for them."""
    y = stop(y)
    if not isinstance(y, np.ndarray):
        return np.asarray(y) if isinstance(y, np.generic) else None
    return (
        y
        if not y.ndim
        else y[np.unravel_index(np.linspace(0, max(y.size - 1, 0), min(y.size, 64), dtype=np.intp), y.shape)]
    )


def _sums(totals: Sequence[Any], terms: Sequence[Any], owned: Sequence[bool]) -> tuple[list[Any], list[bool]]:
    """totals + terms, None for zero, and which of them the engine made."""
    found, ours = [], []
    for total, term, was_ours in zip(totals, terms, owned, strict=True):
        both = total is not None and term is not None
        found.append(total + term if both else term if total is None else total)
        ours.append(both or (was_ours and term is None))
    return found, ours


class PieceBlock(Block):
    """One argument of a piece. The sweeps take a node's blocks together, by `joint`; alone, each costs a run of f."""

    __slots__ = ("joint", "piece", "place")

    def __init__(self, primitive: Primitive, argnum: int, y: ArraySpec, piece: Piece, place: int) -> None:
        super().__init__(primitive, argnum, ArraySpec.of(piece.args[argnum]), y)
        self.piece, self.place = piece, place
        self.joint = piece

    @property
    def args(self) -> Sequence[Any]:
        return self.piece.args

    def push(self, v: Any) -> Any:
        y = self._push(v, False)
        return arrays.zeros(v, self.y.shape, self.y.dtype) if y is None else y

    def pull(self, u: Any) -> Any:
        x = self._pull(u, False)
        return arrays.zeros(u, self.x.shape, self.x.dtype) if x is None else x

    def push_stack(self, V: Any) -> Any:
        Y = self._push(V, True)
        return arrays.zeros(V, (len(V), *self.y.shape), self.y.dtype) if Y is None else Y

    def pull_stack(self, U: Any) -> Any:
        X = self._pull(U, True)
        return arrays.zeros(U, (len(U), *self.x.shape), self.x.dtype) if X is None else X

    def _push(self, v: Any, stacked: bool) -> Any:
        tangents: list[Any] = [None] * len(self.piece.argnums)
        tangents[self.place] = v
        return self.piece.push(tangents, stacked)

    def _pull(self, u: Any, stacked: bool) -> Any:
        nothing = [None] * len(self.piece.argnums)
        return self.piece.pull(u, nothing, [False] * len(nothing), stacked)[0][self.place]


class Pieces(Primitive):
    """y = f(x₀, x₁, …) for one array y, f the first argument; its blocks are those of one piece."""

    def piece(self, f: Any, arrays: Sequence[Any], argnums: Sequence[int], y: Any) -> Piece:
        return Piece(f, arrays, argnums, y)

    def linearized(
        self, argnums: Sequence[int], args: Sequence[Any], kwargs: dict[str, Any], tape: Tape
    ) -> tuple[Any, Any]:
        """The same as for every primitive, but f is given what is kept: it may keep arrays itself."""
        args = tape.captured.kept(args, argnums, self.name, own=True)
        y = self(*args, **kwargs)
        return y, self.blocks(argnums, y, args, kwargs)

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if _level(y) > max(map(_level, args)):
            raise ValueError("checkpoint(f): f closes over a traced array; pass it to f as an argument")
        f, *arrays = args
        piece = self.piece(f, arrays, [k - 1 for k in argnums], y)
        spec = ArraySpec.of(y)
        return [PieceBlock(self, k, spec, piece, place) for place, k in enumerate(piece.argnums)]

    def _record(self, tape: Tape, inputs: list[int], blocks: Any, y: Any) -> Any:
        if len(set(inputs)) < len(inputs):  # the same array twice: its shares are added one after the other
            for block in blocks:
                block.joint = None
        return super()._record(tape, inputs, blocks, y)


def _level(a: Any) -> int:
    """The number of the tape on which an array is traced, -1 for a plain one."""
    return a.tape.level if isinstance(a, Traced) else -1


_recomputed = Pieces(lambda f, *arrays: f(*arrays), name="checkpoint")
