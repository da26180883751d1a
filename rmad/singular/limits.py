"""Second derivatives at a point where a length is 0: the limit of u / n as n = ‖x‖ → 0.

The derivative of g(n), n = ‖x‖, is u x / n with u = g′(n). At x = 0 it counts as 0, which is right for every g that is
even and smooth: n², cos n, log cosh n, … Its own derivative at 0 is (lim u/n) dx, and u/n is 0/0 there. By L'Hôpital's
rule the limit is du/dn, and the outer tape, which traces u and n, knows it: one sweep from the node of n to that of u.

    pull  z = x q,  q = lim u/n        `_slope` is the value of q at the zeros of n
    push  ṅ = m/n,  m = ⟨x, v⟩         `pole`: m = 0 there, but dm = ⟨dx, v⟩ is not

A pole is not known to be finite before it has been multiplied by all that follows: Jv = Σ c m/n with c = ∂y/∂n, and
the limit is (dc/dn) m. So m/n is traced on a tape of its own, `Poles`, until the sweep has come to its end. Then every
tangent on that tape is p/n + r, and a block J(n) = J + n J′ + … maps it to

    (J p)/n + (J r + J′ p)

where J′ is the derivative of the block along n, from the same sweep over the outer tape. The result is r.

Convention: where no limit exists (u(0) ≠ 0, as for n itself and for exp n; u_i that depends on another zero n_j, as for
(Σ‖xᵢ‖)²), the derivative at 0 is 0, to every order. Third derivatives are right too, fourth ones along one direction:
g⁗(0) δ_ij δ_kl is not made symmetric. A length that is squared outside its `checkpoint` counts as 0, without its node.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.rules import ExplicitPrimitive
from rmad.tapes.blocks import Diagonal, Explicit, Linear
from rmad.tapes.tape import ArraySpec, Block, Node, Tape, pull
from rmad.tracing.traced import Traced, stop
from rmad.types import Array

__all__ = ["Length", "at_zero", "nested_at_zero", "pole", "ratio", "settled"]

Tangents = dict[int, Any]


def at_zero(n: Array) -> Array | None:
    """The mask of the zeros of a length that an outer tape traces; None if there are none, or no tape."""
    if not isinstance(n, Traced):
        return None
    zero = stop(n) == 0
    return zero if zero.any() else None


class _LengthBlock(Explicit):
    """The block of a length; settings: n and the arguments other than x, which tell one length of x from another."""

    __slots__ = ("settings",)
    settings: list[Any]


class Length(ExplicitPrimitive):
    """n = f(x, …) with an explicit rule whose blocks are divided by n with `ratio` and `pole`."""

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        blocks: list[Block] = []
        for block in super().blocks(argnums, y, args, kwargs):
            length = _LengthBlock(block.primitive, block.argnum, block.x, block.y, block.pair)
            length.settings = [y, *(a for k, a in enumerate(args) if k not in argnums)]
            blocks.append(length)
        return blocks

    def _record(self, tape: Tape, inputs: list[int], blocks: Sequence[Block | None], y: Any) -> Any:
        """y on the tape; if an outer tape traces it and it has zeros, a length that was taken before is not repeated:

        log(exp n + exp(−n)) has a limit, but neither of its terms does.
        """
        if at_zero(y) is not None:
            node = Node(self, inputs, [block for block in blocks if block is not None], ArraySpec.of(y))
            for k in _same(tape, node):
                return Traced(y, tape, k)
        return super()._record(tape, inputs, blocks, y)


class _Quotient(ExplicitPrimitive):
    """q = u/n, and `limit` at the zeros of n.

    The tape that traces u sees du/n there, again as a limit. Tapes further out see the derivatives of `limit`.
    """

    def linearized(
        self, argnums: Sequence[int], args: Sequence[Any], kwargs: dict[str, Any], tape: Tape
    ) -> tuple[Any, Any]:
        y = self.f(*args)
        return y, self.blocks(argnums, y, args, kwargs)


def _divide(u: Array, n: Array, limit: Array, zero: Array) -> Array:
    return np.where(zero, limit, u / np.where(zero, 1, n)).astype(n.dtype)


def _quotient_rule(q: Array, u: Array, n: Array, limit: Array, zero: Array) -> Any:
    d = np.where(zero, 0, -q / np.where(zero, 1, n))
    only = zero.astype(n.dtype)
    return (
        (lambda v: ratio(v, n), lambda w: pole(w, n)),  # u
        (lambda v: d * v, lambda w: d * w),  # n
        (lambda v: only * v, lambda w: only * w),  # limit
    )


_quotient = _Quotient(_divide, _quotient_rule, "quotient of lengths")


def ratio(u: Array, n: Any) -> Array:
    """u/n; where n = 0, the limit if an outer tape knows it and there is one, else 0."""
    zero = np.equal(n, 0)
    if not np.any(zero):
        return u / n
    u = _without_pole(u, n)
    limit = _slope(u, n, zero) if isinstance(n, Traced) else np.zeros_like(stop(n))
    return _quotient(u, n, limit, zero)


def _without_pole(a: Array, n: Array) -> Array:
    """a without its poles at n = 0: of 1/n² there is no limit, but in sums that higher derivatives have."""
    while isinstance(a, Traced) and isinstance(a.tape, Poles) and isinstance(n, Traced) and a.tape.is_of(n):
        a = a.value
    return a


def nested_at_zero(x: Array) -> bool:
    """True if an outer tape traces the values of x, and some of them are 0."""
    return isinstance(x, Traced) and isinstance(x.value, Traced) and at_zero(x.value) is not None


def _slope(u: Array, n: Traced, zero: Array) -> Array:
    """lim u/n at the zeros of n, and 0 where there is no limit."""
    found = _on(n.tape, u)
    s = None if found is None else _tangents(n, zero.astype(n.dtype)).get(found.index)
    if s is None or found is None:
        return np.zeros_like(stop(n))
    limit = zero & (stop(u) == 0) & np.isfinite(stop(s))
    if np.count_nonzero(zero) > 1:
        a, _ = _directions(zero, n.dtype)
        limit = limit & _agree(_tangents(n, a)[found.index], a * s)
    return np.where(limit, s, np.zeros_like(s))


def pole(m: Array, n: Any) -> Any:
    """m/n, and 0 at the zeros of n, where an outer tape traces it until the sweep has ended: see `Poles`."""
    zero = np.equal(stop(n), 0)
    if not np.any(zero):
        return m / n
    m = _without_pole(m, n)
    y = np.where(zero, 0, m / np.where(zero, 1, n)).astype(m.dtype)
    if not isinstance(n, Traced):
        return y
    tape = Poles(n, np.where(zero, m, np.zeros_like(m)), zero)
    return Traced(y, tape, tape.append(Node(None, (), (), ArraySpec.of(y))))


class Poles(Tape):
    """The tape on which a sweep records its linear function of m/n at the zeros of n.

    n: a length, traced by the outer tape. m: an array like n, 0 where n is 0. zero: the mask of these places.
    """

    def __init__(self, n: Traced, m: Array, zero: Array) -> None:
        super().__init__()
        self.n, self.m, self.zero, self.nested = n, m, zero, True

    def is_of(self, n: Traced) -> bool:
        """True if n is the length of these poles."""
        return n.tape is self.n.tape and n.index == self.n.index

    def settle(self, results: Sequence[Any]) -> list[Any]:
        """The results of a sweep, those on this tape replaced by their limits."""
        mine = [y for y in results if isinstance(y, Traced) and y.tape is self]
        together = self._limits() if any(y.size != 1 for y in mine) else None
        limit = {y.index: self._row(y.index, 0) if together is None else together(y.index) for y in mine}
        return [y.value + limit[y.index] if any(y is z for z in mine) else y for y in results]

    def _row(self, index: int, k: int) -> Any:
        """The limit of element k of a node, by backprop: Σ_i (lim c_i/n_i) m_i, c its derivative in m/n."""
        shape = self.nodes[index].spec.shape
        (c,) = pull(self, [self._one_hot(shape, k)], [index], 1)
        return 0 if c is None else np.broadcast_to(np.sum(ratio(c, self.n) * self.m), shape)

    def _one_hot(self, shape: tuple[int, ...], k: int) -> Array:
        """Zeros of this shape, and a one for element k."""
        y = arrays.zeros(self.n, math.prod(shape))
        y[k] = 1
        return np.reshape(y, shape)

    def _limits(self) -> Callable[[int], Any]:
        """node → its limit, for all elements and nodes together."""
        a, b = _directions(self.zero, self.n.dtype)
        one = self.zero.astype(self.n.dtype)
        _, limits = self._finite(self.m, one)
        poles, mixed = self._finite(a, b)
        _, apart = self._finite(a * b, one)

        def limit(index: int) -> Any:
            if index not in limits:
                return 0
            y, infinite = limits[index], np.not_equal(stop(poles.get(index, 0)), 0)
            known = _agree(mixed[index], apart[index]) & ~infinite
            if np.all(known):
                return y
            y = np.where(known, y, np.zeros_like(y))
            doubtful = ~known & ((stop(mixed[index]) != 0) | (stop(apart[index]) != 0))
            for k in np.flatnonzero(doubtful):  # several zeros meet there, perhaps one of them without a limit
                y = y + self._one_hot(y.shape, int(k)) * self._row(index, int(k))
            return y

        return limit

    def _finite(self, m: Array, along: Array) -> tuple[Tangents, Tangents]:
        """p and r of every tangent p/n + r, from p = m at the start, with n moving along `along`."""
        moved = _tangents(self.n, along)
        p: Tangents = {0: m}
        r: Tangents = {}
        for j, node in enumerate(self.nodes):
            for i, block in zip(node.inputs, node.blocks, strict=True):
                if i in p:
                    _add(p, j, block.push(p[i]))
                    for change in _changes(block, self.n.tape, moved):
                        _add(r, j, change.push(p[i]))
                if i in r:
                    _add(r, j, block.push(r[i]))
        return p, r


def settled(results: list[Any]) -> list[Any]:
    """The results of a sweep without poles: the last to be made, which may hold others, are settled first."""
    while True:
        tapes = [y.tape for y in results if isinstance(y, Traced) and isinstance(y.tape, Poles)]
        if not tapes:
            return results
        results = max(tapes, key=lambda tape: tape.level).settle(results)


def _on(tape: Tape, a: Any) -> Traced | None:
    """The array as this tape traces it; None if it does not."""
    while isinstance(a, Traced) and a.tape.level > tape.level:
        a = a.value
    return a if isinstance(a, Traced) and a.tape is tape else None


def _add(total: Tangents, k: int, term: Any) -> None:
    total[k] = total[k] + term if k in total else term


def _tangents(n: Traced, along: Array) -> Tangents:
    """The tangents of all nodes of the outer tape that depend on n, for a tangent of n."""
    nodes = n.tape.nodes
    v: Tangents = dict.fromkeys(_same(n.tape, nodes[n.index]), along)
    for j in range(min(v), len(nodes)):
        node = nodes[j]
        if j in v or not any(i in v for i in node.inputs):
            continue
        if node.joint is not None:
            y = node.joint.push([v.get(i) for i in node.inputs])
            if y is not None:
                v[j] = y
        else:
            for i, block in zip(node.inputs, node.blocks, strict=True):
                if i in v:
                    _add(v, j, block.push(v[i]))
    return v


def _same(tape: Tape, node: Node) -> list[int]:
    """The nodes of the tape that hold the same array as this one: norm(A @ x) * norm(A @ x) computes both twice."""
    if tape not in _numberings:
        _numberings[tape] = _Numbering(tape.nodes, tape.like)
    return _numberings[tape].same(node)


class _Numbering:
    """Nodes with equal blocks of equal nodes have one number: equal linear maps of the inputs, whatever the values are.

    Source: value numbering of compilers (Cocke & Schwartz 1970, section 6.1).
    """

    def __init__(self, nodes: Sequence[Node], like: Array) -> None:
        self.nodes, self.like = nodes, like
        self.number: list[int] = []  # per node the first one that is like it
        self.alike: dict[Any, list[int]] = {}  # the first ones, by primitive, shape, dtype and numbers of their inputs

    def same(self, this: Node) -> list[int]:
        """The nodes that are like this one, which need not be on the tape."""
        for k in range(len(self.number), len(self.nodes)):
            node = self.nodes[k]
            first = self._find(node) if node.inputs else k
            self.number.append(k if first is None else first)
            if first is None:
                self.alike.setdefault(self._key(node), []).append(k)
        first = self._find(this)
        return [] if first is None else [k for k, j in enumerate(self.number) if j == first]

    def _key(self, node: Node) -> Any:
        return node.primitive, node.spec.shape, node.spec.dtype, tuple(self.number[i] for i in node.inputs)

    def _find(self, node: Node) -> int | None:
        candidates = self.alike.get(self._key(node), ())
        return next((k for k in candidates if _equal_blocks(self.nodes[k], node, self.like)), None)


_numberings: weakref.WeakKeyDictionary[Tape, _Numbering] = weakref.WeakKeyDictionary()


def _equal_blocks(a: Node, b: Node, like: Array) -> bool:
    """True if both nodes are one, or map random tangents alike, each argument by itself."""
    if a is b:
        return True
    if a.joint is not None and b.joint is not None:
        V: list[Any] = [_random(block.x, like) for block in a.blocks]
        return _equal(a.joint.push(V), b.joint.push(V))
    return all(_equal_block(p, q, like) for p, q in zip(a.blocks, b.blocks, strict=True))


def _equal_block(a: Block, b: Block, like: Array) -> bool:
    if a.argnum != b.argnum:
        return False
    if isinstance(a, _LengthBlock) and isinstance(b, _LengthBlock):
        return all(map(_equal, a.settings, b.settings))
    v = _random(a.x, like)
    return _equal(a.push(v), b.push(v))


def _random(spec: ArraySpec, like: Array) -> Array:
    draw = np.random.default_rng(0).standard_normal((2, *spec.shape))
    return arrays.moved_to(like, (draw[0] + 1j * draw[1] if spec.dtype.kind == "c" else draw[0]).astype(spec.dtype))


def _equal(p: Any, q: Any) -> bool:
    if hasattr(p, "dtype") and hasattr(q, "dtype"):
        return p is q or bool(np.array_equal(stop(p), stop(q)))
    return p is q or (type(p) is type(q) and p == q)


def _changes(block: Block, tape: Tape, moved: Tangents) -> Iterator[Block]:
    """The derivative of a block along n: its terms, each of them a block like it."""
    if isinstance(block, Diagonal):
        d = _on(tape, block.d)
        if d is not None and d.index in moved:
            yield Diagonal(block.primitive, block.argnum, block.x, block.y, moved[d.index])
    elif isinstance(block, Linear):
        for k, a in enumerate(block.args):
            a = _on(tape, a)
            if a is not None and a.index in moved:
                args = (*block.args[:k], moved[a.index], *block.args[k + 1 :])
                yield Linear(block.primitive, block.argnum, block.x, block.y, block.transpose, args, block.kwargs)


def _directions(zero: Array, dtype: Any) -> tuple[Array, Array]:
    """Two tangents with a number of its own at every zero of n."""
    draw = np.random.default_rng(0).uniform(0.5, 1.5, (2, *zero.shape)).astype(dtype)
    a, b = (zero * (d if isinstance(zero, np.generic) else arrays.moved_to(zero, d)) for d in draw)
    return a, b


def _agree(a: Array, b: Array) -> Array:
    """True where two arrays agree to half of their digits."""
    a, b = stop(a), stop(b)
    return np.abs(a - b) <= np.sqrt(np.finfo(np.result_type(a, np.float32)).eps) * (np.abs(a) + np.abs(b))
