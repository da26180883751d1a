"""One run of a function, recorded: its value and its tape."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from rmad import tuning
from rmad.as_written.callers import called_by_scipy, made_by_user
from rmad.as_written.swap import Recording
from rmad.machine.arrays import sample, zeros
from rmad.singular.limits import settled
from rmad.singular.selected import mended, pull_used, push_used
from rmad.singular.ties import AtTies, Decomposition, Undecided, agreed, determined, is_lost, may_lose, rounding
from rmad.tapes.frozen import is_constant
from rmad.tapes.residuals import holds
from rmad.tapes.tape import ArraySpec, Node, Tape, pull, push
from rmad.tracing.objects import stacked
from rmad.tracing.traced import Traced, parts
from rmad.tracing.weak import Weak
from rmad.trees import tree as _tree
from rmad.types import Array
from rmad.written import settled as settled_writes

__all__ = ["Record", "filled"]


def _follows(error: Exception, lost: TypeError | None) -> bool:
    """True for an error that a lost derivative has led to, and that says so in other words.

    NumPy's is "setting an array element …"; C code of SciPy raises one of its own, or Python's SystemError.
    """
    if lost is None or error is lost:
        return False
    if error.__cause__ is lost and isinstance(error, TypeError | ValueError | BufferError | SystemError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "scipy"


class Record:
    """One run of f: its value `y` and the tape of it. The blocks of the tape are the Jacobian at x.

    x may come as its TreeDef, where the caller has that already: it is not made again, and keeps its arrays. Such a
    caller also vouches for x and for large arrays that f captures: nobody writes into them while the tape is in use.

    x, out: the structures of x and f(x). outputs: per array of f(x) its node on the tape, None for a constant.
    n_inputs: nodes[:n_inputs] are the inputs, the arrays of x. values: the arrays of f(x), until `give_y` drops them.
    """

    def __init__(self, f: Callable[..., Any], x: Any, args: Sequence[Any], tape: Tape | None = None) -> None:
        if not callable(f):
            raise TypeError(f"the function comes first, and {type(f).__name__} is none: rmad.linearize(f, x)")
        known = isinstance(x, _tree.TreeDef)
        self.x = x if known else _tree.TreeDef(x, "x")
        if not self.x.leaves and called_by_scipy(sys._getframe(1)):
            self.x = _tree.TreeDef(_tree.map_leaves(_floats, x), "x")
        leaves = self.x.leaves
        if not leaves:
            raise _nothing_to_differentiate(x)
        self.n_inputs, self.tape = len(leaves), Tape() if tape is None else tape
        self.tape.captured.watches = not known
        self.tape.like = sample(leaves)
        values = leaves if known else [self._kept(leaf, self.x, k) for k, leaf in enumerate(leaves)]
        outputs, self.out = self._run(f, self.x.unflatten([self._traced(value) for value in values]), args)
        self._again: Callable[[Tape], Record] | None = None
        if self.tape.decomposes and tape is None:
            again = self.x.unflatten(values)
            self._again = lambda tape: Record(f, again, args, tape)
        if not known:
            self.x.forget_values()
        self.tape.captured.give_back(outputs)
        self.outputs = [z.index if isinstance(z, Traced) and z.tape is self.tape else None for z in outputs]
        self.tape.prune(self.outputs)
        self.verify()
        self.values = [z.value if k is not None else z for z, k in zip(outputs, self.outputs, strict=True)]
        self.out.forget_values()

    def _run(self, f: Callable[..., Any], x: Any, args: Sequence[Any]) -> tuple[list[Any], _tree.TreeDef]:
        """The arrays of f(x, *args) and their structure; f may not write into arrays that blocks hold."""
        captured, recording = self.tape.captured, Recording()
        try:
            recording.begin()
            outputs, treedef = _output_leaves(f(x, *args))
            outputs = [settled_writes(z) for z in outputs]
        except Exception as error:
            if (refused := captured.refused_write(error)) is not None:
                raise refused from error
            if _follows(error, self.tape.lost):
                raise TypeError(str(self.tape.lost)) from error
            _explain(error, self.x.tree)
            raise
        finally:
            self.tape.close()
            try:
                _surely(recording.end)
            finally:
                if captured.has_to_release:
                    _surely(captured.release)
        if self.tape.lost is not None:
            self.tape.lost.add_note("Code in between caught this error, and f went on without the derivative.")
            raise self.tape.lost
        return outputs, treedef

    def _kept(self, leaf: Any, tree: _tree.TreeDef, k: int, own: bool = False) -> Any:
        """Array k of x as blocks may hold it, whatever the caller does to it later, or one of f(x) for the caller.

        own: True if nobody can write into it once the caller has dropped it.
        """
        if not isinstance(leaf, np.ndarray) or leaf.nbytes <= tuning.CAPTURED_COPY:
            return self.tape.captured.keep(leaf, tree.name)
        if not is_constant(leaf):
            self.tape.captured.watch(leaf, f"{tree.paths[k]}, {ArraySpec.of(leaf)}", own or leaf.base is None)
        return leaf

    def verify(self) -> None:
        """ValueError if an array that blocks hold has been written into since f used it.

        RuntimeError if an interrupt has left the tape half rewritten.
        """
        if not self.tape.whole:
            raise RuntimeError("an interrupt came while the first product was planned: linearize the function again")
        if self.tape.captured.watched:
            self.tape.captured.verify(partial(holds, self.tape))

    def settle(self) -> None:
        """To be called before the tape is rewritten: later no block shows which arrays a plan reads."""
        if self.tape.captured.watched:
            self.tape.captured.forget_unheld(partial(holds, self.tape))

    def _traced(self, leaf: Any) -> Traced:
        """One array of x as an input of the tape."""
        if type(leaf) is np.ndarray:
            return Traced(leaf, self.tape, self.tape.append(Node(None, (), (), ArraySpec.of(leaf))))
        if isinstance(leaf, np.ma.MaskedArray | np.matrix) or hasattr(leaf, "tocsr"):  # SciPy's sparse ones
            raise TypeError(f"x holds a {type(leaf).__name__}, whose arithmetic is not an ndarray's")
        kind: type[Traced] = Weak if isinstance(leaf, Weak) or not hasattr(leaf, "dtype") else Traced
        value = leaf.strong if isinstance(leaf, Weak) else leaf if kind is Traced else np.asarray(leaf)[()]
        if isinstance(value, Traced):
            value = value.now()
            value = value.twin() if isinstance(value, Traced) else value
        self.tape.nested |= isinstance(value, Traced)
        return kind(value, self.tape, self.tape.append(Node(None, (), (), ArraySpec.of(value))))

    @property
    def y(self) -> Any:
        """f(x)."""
        return self.out.unflatten(self.values)

    def give_y(self) -> Any:
        """Returns f(x) and drops it from the record: only the tape outlives the run.

        Blocks may hold its arrays (exp is its own derivative), so small ones are given as copies, large ones watched.
        """
        values, self.values = self.values, []
        for j, (a, k) in enumerate(zip(values, self.outputs, strict=True)):
            if isinstance(a, Traced):
                values[j] = a.twin()
            elif k is not None and isinstance(a, np.ndarray):
                values[j] = self._kept(a, self.out, j, own=True)
        return self.out.unflatten(values)

    def push(self, v: Any) -> Any:
        """Jv by one sweep over the tape as recorded: a tree like x to a tree like f(x)."""
        return self.push_arrays(self.x.match(v, "v"))

    def pull(self, u: Any) -> Any:
        """Jᵀu by one sweep over the tape as recorded: a tree like f(x) to a tree like x."""
        return self.pull_arrays(self.out.match(u, "u"))

    def push_arrays(self, tangents: Sequence[Array]) -> Any:
        """Jv for the tangents of the arrays of x."""
        given = self.tape, tangents, self.outputs
        results = mended(settled(push(*given)), lambda: settled(push_used(*given)))
        if may_lose(self.tape) and any(map(is_lost, results)):
            results = determined(results, self.tape, tangents, self._pulled)
        return filled(self.out, _fresh(results, tangents), self.tape.like)

    def pull_arrays(self, cotangents: Sequence[Array]) -> Any:
        """Jᵀu for the cotangents of the arrays of f(x)."""
        return filled(self.x, _fresh(self._pulled(cotangents), cotangents), self.tape.like)

    def _pulled(self, cotangents: Sequence[Array | None]) -> list[Array | None]:
        """The cotangents of the inputs; if they need it, by two more runs of f, which `rmad.singular.ties` explains."""
        try:
            given = self.tape, cotangents, self.outputs, self.n_inputs
            return mended(settled(pull(*given)), lambda: settled(pull_used(*given)))
        except Undecided:
            if self._again is None:
                raise
        sites = Decomposition.sites(self.tape)
        here, turned = AtTies(sites), AtTies(sites, turned=True)
        found, others = (list(map(tape.choice.below, self._again(tape)._pulled(cotangents))) for tape in (here, turned))
        return agreed(found, others, rounding(turned, self.n_inputs))


def _explain(error: Exception, x: Any) -> None:
    """Notes on an error of other code that has met a traced array what to write instead.

    Compiled code of SciPy says "no matching signature", and much of the rest "must be scalars". A list that is x is one
    in f, too.
    """
    text = str(error)
    if "traced" in text:
        return
    if isinstance(x, list | tuple) and x and all(isinstance(a, float | int | np.number) for a in x):
        error.add_note(f"x is a {type(x).__name__} of {len(x)} numbers, and f gets one, too; np.array(x) is an array.")
    if isinstance(error, AttributeError) and isinstance(error.obj, Traced):
        from rmad.errors.other_names import OF_ARRAYS, instead

        if ours := instead(OF_ARRAYS, str(error.name)):
            error.add_note(f"x.{error.name} of PyTorch, JAX or pandas is here: {ours}.")
            return
    frame = _where(error)
    of_scipy = frame is not None and _package(frame) == "scipy"
    asks_for_a_kind = isinstance(error, AttributeError | TypeError) or "scalar" in text or "ndarray" in text
    endless = frame is not None and not made_by_user(frame) and isinstance(error, RecursionError)
    meant = asks_for_a_kind or endless or (of_scipy and not os.environ.get("SCIPY_ARRAY_API"))
    if frame is not None and meant and _holds_traced(frame):
        from rmad.errors.instead import advice

        if known := advice(frame):
            error.add_note(f"It was called with a traced array: {known}, or rmad.stop_gradient(x) for its value.")
            return
    if "Traced" in text:
        error.add_note("Traced stands in for an array while f is recorded; rmad.stop_gradient(x) is its value.")


def _where(error: Exception) -> FrameType | None:
    """The innermost frame of an error; of an endless recursion, which pandas falls into, the frame that it began in."""
    found, within = None, error.__traceback__
    while within is not None:
        if within.tb_frame.f_locals:  # compiled code has none, and its frame leads nowhere
            found = within.tb_frame
            foreign = not made_by_user(found) and _package(found) not in ("rmad", "numpy")
            if foreign and isinstance(error, RecursionError) and _holds_traced(found):
                break
        within = within.tb_next
    return found


def _holds_traced(frame: FrameType) -> bool:
    return any(isinstance(a, Traced) for a in parts(frame.f_locals.values()))


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _surely(undo: Callable[[], None]) -> None:
    """Calls a function that may be called again, twice: the second call undoes what an interrupt of the first left."""
    try:
        undo()
    finally:
        undo()


def _floats(a: Any) -> Any:
    """Integers as floats: solvers of SciPy pass a start as they are given it, [0, 0] as integers."""
    return a + 0.0 if _tree.dtype_of(a).kind in "iu" else a


def _nothing_to_differentiate(x: Any) -> TypeError:
    if x is None:
        return TypeError("nothing to differentiate: x is None; does the function that makes it end without a return?")
    found = [f"{path} is {_tree.dtype_of(leaf)}" for path, leaf in _tree.leaves(x, "x")]
    return TypeError(
        f"nothing to differentiate: {', '.join(found) or 'x has no leaves'}; pass floats, e.g. x.astype(float)"
    )


def _output_leaves(out: Any) -> tuple[list[Any], _tree.TreeDef]:
    """The arrays of f(x); an object array of traced numbers is stacked to one array."""
    if out is None:
        raise TypeError("f returned None: does it end without a return?")
    try:
        found, treedef = _tree.flatten(out, "f(x)")
        if treedef.holds_objects:
            return _tree.flatten(_tree.map_leaves(stacked, out), "f(x)")
        return found, treedef
    except TypeError as error:
        raise TypeError(f"f must return a tree of arrays: {error}") from None


def filled(treedef: _tree.TreeDef, results: Sequence[Array | None], like: Array) -> Any:
    """The tree of results, with zeros of the kind of `like` for None and for constant leaves.

    A constant leaf keeps its dtype, so that it stays outside the flat vectors of `rmad.ravel`.
    """
    if type(None) in map(type, results):
        specs = zip(results, treedef.shapes, treedef.dtypes, strict=True)
        results = [zeros(like, shape, dtype) if r is None else r for r, shape, dtype in specs]
    return treedef.unflatten(results, lambda leaf: zeros(like, np.shape(leaf), _tree.dtype_of(leaf)))


def _fresh(results: list[Array | None], given: Sequence[Array]) -> list[Array | None]:
    """The results, copied if they share memory with an array that the caller gave, with each other or with the tape."""
    seen = {id(a) for a in given}
    for k, r in enumerate(results):
        if not isinstance(r, Traced) and r is not None:
            if isinstance(r, np.ndarray) and (id(r) in seen or not r.flags.owndata):
                results[k] = r.copy()
            seen.add(id(r))
    return results
