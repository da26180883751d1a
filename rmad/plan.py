"""A plan: the sweeps over one tape as lists of NumPy calls with all their arguments bound.

    push    for call in calls: call()        each call writes into a buffer that was planned for it
    pull    the same, backwards

A tape is swept hundreds of times at one θ, so what can be decided once is decided here: the tape
is rewritten (`rmad.rewrite`), buffers are shared between nodes that are not alive together, diagonals
work in place, reshapes and slices are views taken once, and the parameters that meet in one sum of products,
x @ W + h @ U + b, become one GEMM, [x h 1] @ [W; U; b], whose right side is a slice of the flat vector.
What has no such form calls its block's own push or pull. A plan is not reentrant: it has one set of buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from rmad import tree as _tree
from rmad.primitives.index import Index, is_basic, scatter_add
from rmad.primitives.join import Part
from rmad.primitives.products import matmul
from rmad.rewrite import rewrite
from rmad.rules import Block, Diagonal, Linear
from rmad.tape import ArraySpec, Tape

__all__ = ["Plan"]

Call = Callable[[], Any]


class Pool:
    """Buffers that nodes take and give back while a sweep is planned."""

    def __init__(self, prototype: Any) -> None:
        self.prototype = prototype  # any array of the kind (NumPy, CuPy) to allocate
        self.free: list[Any] = []
        self.lent: dict[int, Any] = {}

    def new(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros_like(self.prototype, shape=shape, dtype=dtype, subok=False)

    def take(self, spec: ArraySpec) -> Any:
        nbytes = spec.size * spec.dtype.itemsize
        fitting = [raw for raw in self.free if nbytes <= raw.nbytes <= 2 * nbytes + 4096]
        if fitting:
            raw = min(fitting, key=lambda r: r.nbytes)
            self.free = [r for r in self.free if r is not raw]
        else:
            raw = self.new((nbytes,), np.uint8)
        array = raw[:nbytes].view(spec.dtype).reshape(spec.shape)
        self.lent[id(array)] = (raw, array)
        return array

    @contextmanager
    def with_scratch(self, array: Any) -> Iterator[None]:
        """Lends the memory of an array that is not in use meanwhile."""
        raw = None if array is None else array.view(np.uint8)
        if raw is not None:
            self.free.append(raw)
        yield
        self.free = [r for r in self.free if r is not raw]

    def give(self, array: Any) -> None:
        entry = self.lent.pop(id(array), None)
        if entry is not None:
            self.free.append(entry[0])


class Plan:
    """Both sweeps over a tape, bound to buffers.

    v, u: flat input tangents and cotangents, (p,), where all inputs share one dtype (else None);
    `tangents` and `cotangents` are the inputs' views of them. `z` are the outputs' buffers: push writes
    them, pull reads and may destroy them, so that J, then L″ in place, then Jᵀ needs no copy in between.
    """

    def __init__(self, tape: Tape, outputs: Sequence[int | None], n_inputs: int, v: Any = None) -> None:
        rewrite(tape, outputs)
        self.nodes, self.outputs, self.n_inputs = tape.nodes, outputs, n_inputs
        specs = [node.spec for node in tape.nodes[:n_inputs]]
        self.pool = Pool(_prototype(tape))
        self.flat = len({spec.dtype for spec in specs}) == 1
        self.v, self.tangents = self._vector(specs, v)
        self.u: Any = None
        self.cotangents: list[Any] = []
        self.z = [None if k is None else self._output(tape.nodes[k].spec) for k in outputs]
        self.stacks: dict[int, Stack] = {}
        for j in range(n_inputs, len(self.nodes)):
            self._stack_parameters(j)
        self._push: list[Call] | None = None
        self._pull: list[Call] | None = None

    def _vector(self, specs: Sequence[ArraySpec], flat: Any = None) -> tuple[Any, list[Any]]:
        """Buffers for the inputs: views of one vector where they share a dtype."""
        if not self.flat:
            return None, [self.pool.new(spec.shape, spec.dtype) for spec in specs]
        if flat is None:
            flat = self.pool.new((sum(spec.size for spec in specs),), specs[0].dtype)
        return flat, _tree.split(flat, [spec.shape for spec in specs])

    def _output(self, spec: ArraySpec) -> Any:
        return self.pool.new(spec.shape, spec.dtype)

    def push(self) -> None:
        """z ← J v."""
        if self._push is None:
            with self.pool.with_scratch(self._u()):  # u is written by the pull only, so a push may use its memory
                self._push = Push(self).calls
        for call in self._push:
            call()

    def pull(self) -> None:
        """u ← Jᵀ z; z is lost."""
        if self._pull is None:
            self._u()
            self._pull = Pull(self).calls
        for call in self._pull:
            call()

    def _u(self) -> Any:
        if not self.cotangents:
            self.u, self.cotangents = self._vector([node.spec for node in self.nodes[: self.n_inputs]])
        return self.u

    def Jv(self, tangents: Sequence[Any]) -> list[Any]:
        """Tangents of the inputs to new arrays, the tangents of the outputs (None for a constant output)."""
        for buffer, v in zip(self.tangents, tangents, strict=True):
            np.copyto(buffer, v)
        self.push()
        return [None if z is None else z.copy()[()] for z in self.z]

    def JTu(self, cotangents: Sequence[Any]) -> list[Any]:
        """Cotangents of the outputs to new arrays, the cotangents of the inputs."""
        for buffer, u in zip(self.z, cotangents, strict=True):
            if buffer is not None:
                np.copyto(buffer, u)
        self.pull()
        return [u.copy()[()] for u in self.cotangents]

    # -- parameters that meet in one sum of products ------------------------------------------------------

    def _stack_parameters(self, j: int) -> None:
        """x @ W + h @ U + b with neighbouring parameters: [x h 1] is laid out once, as one residual."""
        node = self.nodes[j]
        if not any(_is_matmul(block, 0) for block in node.blocks):
            return  # x @ W + b of given data: stacking would save one pass and cost a copy of x
        found = {}
        for i, block in zip(node.inputs, node.blocks, strict=True):
            if i < self.n_inputs and (_is_right_factor(block) or _is_bias(block)):
                if i in found:  # the same parameter twice in one sum: leave both alone
                    return
                found[i] = block
        run = _longest_run(sorted(found)) if self.flat else []
        if len(run) < 2:
            return
        terms = [found[i] for i in run]
        rows = int(np.prod(node.spec.shape[:-1]))
        widths = [1 if isinstance(b, Diagonal) else b.x.shape[0] for b in terms]
        width = sum(widths)
        x = self.pool.new((rows, width), node.spec.dtype)  # not padded: np.dot copies what is not contiguous
        column = 0
        for block, n in zip(terms, widths, strict=True):
            part = x[:, column : column + n]
            if isinstance(block, Linear):
                np.copyto(part, block.args[0].reshape(rows, n))
                block.args = (part.reshape(block.args[0].shape) if rows else part, *block.args[1:])
            else:
                part[...] = 1
            column += n
        self.stacks[j] = Stack(run, x)


class Stack:
    """[x h 1]: the residual of several neighbouring parameters in one node; `inputs` are their numbers."""

    def __init__(self, inputs: Sequence[int], x: Any) -> None:
        self.inputs, self.x = inputs, x

    def rows_of(self, buffers: Sequence[Any], flat: Any) -> Any:
        """[W; U; b] as a (k, o) view of the flat vector."""
        first, last = buffers[self.inputs[0]], buffers[self.inputs[-1]]
        start = (_address(first) - _address(flat)) // flat.itemsize
        stop = (_address(last) - _address(flat)) // flat.itemsize + last.size
        return flat[start:stop].reshape(self.x.shape[1], -1)


class Sweep:
    """What planning a push and planning a pull have in common: emitting calls that write or add."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.pool, self.nodes = plan, plan.pool, plan.nodes
        self.calls: list[Call] = []

    def emit(self, f: Callable[..., Any], *args: Any) -> None:
        self.calls.append(partial(f, *args))

    def product(self, A: Any, B: Any, out: Any, add: bool) -> None:
        """out ← A B or out ← out + A B, for matrices."""
        self.into(out, add, lambda target: self.calls.append(_gemm(A, B, target)))

    def scaled(self, d: Any, a: Any, out: Any, add: bool) -> None:
        """out ← d a or out ← out + d a; d = ±1 costs no multiplication."""
        if d is _ONE and not add:
            if a is not out:
                self.emit(np.copyto, out, a)
        elif d is _ONE:
            self.emit(np.add, out, a, out)
        elif d is _MINUS_ONE:
            self.emit(np.subtract, out, a, out) if add else self.emit(np.negative, a, out)
        else:
            self.into(out, add, lambda target: self.emit(np.multiply, a, d, target))

    def into(self, out: Any, add: bool, write: Callable[[Any], None]) -> None:
        """Writes to `out`, or to a buffer that is then added to `out`."""
        if not add:
            write(out)
            return
        temporary = self.pool.take(ArraySpec.of(out))
        write(temporary)
        self.emit(np.add, out, temporary, out)
        self.pool.give(temporary)

    def computed(self, f: Callable[[Any], Any], a: Any, out: Any, add: bool) -> None:
        """out ← f(a) or out ← out + f(a), for a block without a form of its own."""
        self.calls.append((lambda: np.add(out, f(a), out)) if add else (lambda: np.copyto(out, f(a))))


_ONE, _MINUS_ONE = 1, -1


class Push(Sweep):
    """Plans v_j ← Σ_i J_ji v_i, forwards."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.v: list[Any] = [*plan.tangents, *[None] * (len(self.nodes) - plan.n_inputs)]
        self.owner: list[int] = list(range(len(self.nodes)))  # whose storage a node's tangent lies in
        self.reads = [0] * len(self.nodes)  # how often that storage is still to be read
        for node in self.nodes:
            for i in node.inputs:
                self.reads[i] += 1
        self.fixed = {k for k in plan.outputs if k is not None} | set(range(plan.n_inputs))
        for k in self.fixed:
            self.reads[k] += 1  # never given back
        for j in range(plan.n_inputs, len(self.nodes)):
            if self.nodes[j].inputs:
                self.node(j)
        for k, z in zip(plan.outputs, plan.z, strict=True):
            if k is not None and self.v[k] is not z:
                self.emit(np.copyto, z, self.v[k])

    def node(self, j: int) -> None:
        node = self.nodes[j]
        if len(node.blocks) == 1 and j not in self.fixed and self.alias(j):
            return
        terms = list(zip(node.inputs, node.blocks, strict=True))
        stack = self.plan.stacks.get(j)
        if stack:
            terms = [(i, b) for i, b in terms if i not in stack.inputs]
        terms.sort(key=lambda term: _rank(term[1]))  # products first, they write; then what is added
        out, add = self.target(j, terms if not stack else []), False
        if stack and not any(isinstance(b, Linear) for _, b in terms):
            self.stack(stack, out, False)
            stack, add = None, True
        if len(terms) >= 2 and not add and all(_is_copy(b) for _, b in terms[:2]) and not stack:
            (i, _), (k, _) = terms[:2]
            self.emit(np.add, self.v[i], self.v[k], out)
            terms, add = terms[2:], True
        for i, block in terms:
            self.term(block, self.v[i], out, add)
            if stack:
                self.stack(stack, out, True)
                stack = None
            add = True
        self.v[j] = out
        for i in node.inputs:
            self.release(i, keep=out)

    def stack(self, stack: Stack, out: Any, add: bool) -> None:
        parameters = stack.rows_of(self.plan.tangents, self.plan.v)
        self.product(stack.x, parameters, out.reshape(-1, out.shape[-1]), add)

    def target(self, j: int, terms: Sequence[tuple[int, Block]]) -> Any:
        """Where v_j goes: an output's own buffer, a dying input's that a diagonal scales in place, or a new one."""
        if j in self.fixed:
            return self.plan.z[self.plan.outputs.index(j)]
        if terms:
            i, block = terms[0]
            dying = self.reads[self.owner[i]] == 1 and self.owner[i] == i
            if dying and isinstance(block, Diagonal) and _simple(block) and _same(block.x, block.y):
                return self.v[i]
        return self.pool.take(self.nodes[j].spec)

    def alias(self, j: int) -> bool:
        """A reshape, transpose or slice of a buffer is a view, taken once; so is y = x."""
        (i,), (block,) = self.nodes[j].inputs, self.nodes[j].blocks
        view = _view(block, self.v[i])
        if view is None:
            return False
        self.v[j], self.owner[j] = view, self.owner[i]
        self.reads[self.owner[i]] += self.reads[j] - 1
        return True

    def release(self, i: int, keep: Any) -> None:
        k = self.owner[i]
        self.reads[k] -= 1
        if self.reads[k] == 0 and self.v[k] is not keep:
            self.pool.give(self.v[k])

    def term(self, block: Block, v: Any, out: Any, add: bool) -> None:
        """out ← J v or out ← out + J v for one block."""
        if isinstance(block, Diagonal) and _simple(block):
            self.scaled(block.d, v, out, add)
        elif _is_matmul(block, 0):
            B = block.args[1]
            self.product(v.reshape(-1, B.shape[0]), B, out.reshape(-1, B.shape[1]), add)
        elif _is_matmul(block, 1):
            A = block.args[0]
            self.product(A.reshape(-1, A.shape[-1]), v, out.reshape(-1, v.shape[1]), add)
        elif isinstance(block, Part):  # T parts of one array cost T parts, not T arrays
            if not add:
                self.emit(out.fill, 0)
            self.emit(np.add, out[block.key], v, out[block.key])
        else:
            self.computed(block.push, v, out, add)


class Pull(Sweep):
    """Plans u_i ← Σ_j J_jiᵀ u_j, backwards."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        n = len(self.nodes)
        self.u: list[Any] = [None] * n
        self.whole = [False] * n  # u[j] is a buffer of its own, not a view of another node's
        self.uses = [0] * n
        self.probes: dict[int, Any] = {}  # views are probed on the layout that they will meet, a view of a view too
        self.views = [self.view_source(j) for j in range(n)]
        self.probes.clear()
        for node in self.nodes:
            for i in node.inputs:
                self.uses[i] += 1
        for k, z in zip(plan.outputs, plan.z, strict=True):
            if k is not None:
                self.uses[k] += 1
                self.start(k, z)
        for j in range(n - 1, plan.n_inputs - 1, -1):
            if self.u[j] is not None and self.nodes[j].inputs and self.views[j] is None:
                self.node(j)
        for i, u in enumerate(plan.cotangents):
            if self.u[i] is None:
                self.emit(u.fill, 0)

    def start(self, k: int, z: Any) -> None:
        if self.u[k] is None and self.views[k] is None and k >= self.plan.n_inputs:
            self.u[k], self.whole[k] = z, True
        else:
            out, add = self.target(k)
            self.scaled(_ONE, z, out, add)

    def view_source(self, j: int) -> Callable[[Any], Any] | None:
        """For a node that only rearranges its input: the same rearrangement, as a view of a buffer."""
        node = self.nodes[j]
        if len(node.blocks) != 1 or not isinstance(node.blocks[0], Linear):
            return None
        block, source = node.blocks[0], self.probes.get(node.inputs[0])
        probe = _view(block, self.pool.new(block.x.shape, block.x.dtype) if source is None else source)
        if probe is None or probe.size > block.x.size:
            return None
        self.probes[j] = probe
        return partial(_view, block)

    def target(self, i: int) -> tuple[Any, bool]:
        """The buffer of u_i, and whether something is in it already."""
        if self.u[i] is not None:
            return self.u[i], True
        view = self.views[i]
        if view is None:
            is_input = i < self.plan.n_inputs
            self.u[i] = self.plan.cotangents[i] if is_input else self.pool.take(self.nodes[i].spec)
            self.whole[i] = not is_input
            return self.u[i], False
        source = self.nodes[i].inputs[0]
        buffer, add = self.target(source)
        if not add and (self.uses[source] > 1 or self.nodes[i].spec.size < self.nodes[source].spec.size):
            self.emit(buffer.fill, 0)
            add = True
        self.u[i] = view(buffer)
        return self.u[i], add

    def node(self, j: int) -> None:
        node, u = self.nodes[j], self.u[j]
        terms = list(zip(node.inputs, node.blocks, strict=True))
        stack = self.plan.stacks.get(j)
        if stack:
            self.stack(stack, u)
            terms = [(i, b) for i, b in terms if i not in stack.inputs]
        terms.sort(key=lambda term: _rank(term[1]))  # diagonals last: they may take u's buffer over
        for k, (i, block) in enumerate(terms):
            last = k == len(terms) - 1
            if last and self.whole[j] and self.takes_over(i, block):
                self.u[i], self.whole[i] = u, True
                self.scaled(block.d, u, u, False)  # type: ignore[attr-defined]
                self.whole[j] = False
            else:
                self.term(i, block, u)
        if self.whole[j]:
            self.pool.give(u)

    def takes_over(self, i: int, block: Block) -> bool:
        """Whether u_i may be computed in the buffer of u_j, which nobody reads after this."""
        free = self.u[i] is None and self.views[i] is None and i >= self.plan.n_inputs
        return free and isinstance(block, Diagonal) and _simple(block) and _same(block.x, block.y)

    def stack(self, stack: Stack, u: Any) -> None:
        """[W̄; Ū; b̄] ← [x h 1]ᵀ u in one product."""
        plan = self.plan
        started = [self.u[i] is not None for i in stack.inputs]
        if any(started):
            for i, done in zip(stack.inputs, started, strict=True):
                if not done:
                    self.emit(plan.cotangents[i].fill, 0)
        for i in stack.inputs:
            self.u[i] = plan.cotangents[i]
        out = stack.rows_of(plan.cotangents, plan.u)
        self.product(stack.x.T, u.reshape(-1, u.shape[-1]), out, any(started))

    def term(self, i: int, block: Block, u: Any) -> None:
        """u_i ← Jᵀ u or u_i ← u_i + Jᵀ u for one block."""
        out, add = self.target(i)
        if isinstance(block, Diagonal) and _simple(block) and _same(block.x, block.y):
            self.scaled(block.d, u, out, add)
        elif _is_bias(block):
            rows = u.reshape(-1, u.shape[-1])
            self.into(
                out, add, lambda target: self.emit(np.add.reduce, rows, 0, None, target.reshape(rows.shape[1]))
            )
        elif _is_matmul(block, 0):
            B = block.args[1]
            self.product(u.reshape(-1, B.shape[1]), B.T, out.reshape(-1, B.shape[0]), add)
        elif _is_matmul(block, 1):
            A = block.args[0]
            self.product(A.reshape(-1, A.shape[-1]).T, u.reshape(-1, out.shape[1]), out, add)
        elif isinstance(block, Index) and not is_basic(block.args[1]):
            if not add:
                self.emit(out.fill, 0)
            self.emit(scatter_add, out, block.args[1], u)
        elif isinstance(block, Part) and block.x.dtype == block.y.dtype:
            self.scaled(_ONE, u[block.key], out, add)
        else:
            self.computed(block.pull, u, out, add)


# -- what a block is, as far as a plan can use it -------------------------------------------------------


def _prototype(tape: Tape) -> Any:
    """Any array that a block of the tape holds: it tells NumPy from CuPy."""
    for node in tape.nodes:
        for block in node.blocks:
            held = [getattr(block, "d", None), *getattr(block, "args", ())]
            for a in held:
                if hasattr(a, "__array_function__") and not np.isscalar(a):
                    return a
    return np.empty(0)


def _same(x: ArraySpec, y: ArraySpec) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype


def _simple(block: Diagonal) -> bool:
    """Real, and no change of dtype: a NumPy ufunc with `out` is the whole story."""
    return block.x.dtype == block.y.dtype and block.y.dtype.kind == "f"


def _is_copy(block: Block) -> bool:
    return isinstance(block, Diagonal) and block.d is _ONE and _simple(block) and _same(block.x, block.y)


def _is_bias(block: Block) -> bool:
    """b in y = … + b: of shape (o,) or (1, …, o), added along the last axis."""
    if not (isinstance(block, Diagonal) and block.d is _ONE and _simple(block) and block.y.size):
        return False
    return block.y.ndim >= 2 and block.x.size == block.x.shape[-1:][0] == block.y.shape[-1] if block.x.ndim else False


def _is_matmul(block: Block, argnum: int) -> bool:
    """(…, i) @ (i, o), all of one real dtype, with a matrix on the right."""
    if not (isinstance(block, Linear) and block.primitive is matmul and block.argnum == argnum):
        return False
    A, B = block.args
    real = block.y.dtype.kind == "f" and A.dtype == B.dtype == block.y.dtype
    flat = argnum == 0 or A.ndim == 2 or A.flags.c_contiguous
    return real and B.ndim == 2 and A.ndim >= 2 and flat and A.size and B.size


def _is_right_factor(block: Block) -> bool:
    return _is_matmul(block, 1)


def _rank(block: Block) -> int:
    return 0 if isinstance(block, Linear) else 2 if isinstance(block, Diagonal) else 1


def _longest_run(numbers: Sequence[int]) -> list[int]:
    """The longest run of consecutive numbers."""
    best: list[int] = []
    run: list[int] = []
    for n in numbers:
        run = [*run, n] if run and n == run[-1] + 1 else [n]
        best = run if len(run) > len(best) else best
    return best


def _view(block: Block, buffer: Any) -> Any:
    """block.push(buffer) where that is a writable view of the buffer, else None."""
    if isinstance(block, Diagonal):
        return buffer if _is_copy(block) else None
    if not isinstance(block, Linear) or block.x.dtype != block.y.dtype or _is_product(block):
        return None
    y = block.push(buffer)
    is_view = getattr(y, "base", None) is not None and _shares(y, buffer) and getattr(y.flags, "writeable", True)
    return y if is_view and y.size else None


def _is_product(block: Linear) -> bool:
    """Of the bilinear family: never a view, and too dear to try."""
    return len(getattr(block.primitive, "transposes", ())) > 1


def _shares(y: Any, buffer: Any) -> bool:
    if not isinstance(y, np.ndarray):
        start, stop = _address(buffer), _address(buffer) + buffer.nbytes
        return start <= _address(y) < stop
    return np.may_share_memory(y, buffer)


def _address(array: Any) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def _gemm(A: Any, B: Any, out: Any) -> Call:
    """out ← A B as one BLAS call; np.dot is the quicker entry, but wants `out` in C order."""
    if out.flags.c_contiguous:
        return partial(np.dot, A, B, out)
    if out.flags.f_contiguous:
        return partial(np.dot, B.T, A.T, out.T)
    return partial(np.matmul, A, B, out)
