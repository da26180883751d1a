"""Eigenvectors and singular vectors of values that agree to rounding.

Values within max(10, 3√n) ε ‖A‖ of each other are *tied*: rounding decides which vectors LAPACK returns for them, and
C_ij/(λ_j − λ_i) in the derivative is noise, C the coefficient that a cotangent gives. A function of values and vectors
has a derivative there if it does not depend on the choice of the vectors. Then C vanishes with the gap, and by
L'Hôpital's rule the quotient is the derivative of C along the gap: 0 for Σ_k v_k v_kᴴ, f′ for Q f(λ) Qᴴ.

pull  `Vectors.pull` knows C, but not its derivative. If it needs that, it raises `Undecided`, and the record runs f
      once more, on a tape `AtTies`, with the values and vectors as inputs of an outer tape, `Choice`: C is traced by
      that, and its derivatives are pushes. If C does not vanish, the sweep raises LinAlgError. So it does if one more
      run, with the tied vectors turned at random, gives other cotangents: C may vanish because f happens to be
      stationary at LAPACK's choice, or because the vectors have a factor that is 0. A sweep that is not a record's,
      such as those of plans, leaves `Undecided` to its caller.
push  v knows nothing of what follows. The tangents of tied vectors are NaN, which marks the results that depend on
      them. Those come from pulls, one for each number.

A decomposition is one node: values and vectors are the rows of one array, so that a pull has both cotangents. An
array that f decomposes again, once for the values and once for the vectors, has that node only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.tapes.blocks import Explicit
from rmad.tapes.tape import ArraySpec, Block, Node, Tape, pull, push
from rmad.tracing.dispatch import Primitive
from rmad.tracing.traced import Traced, stop
from rmad.types import Array

__all__ = [
    "AtTies",
    "Choice",
    "Decomposition",
    "Undecided",
    "VectorBlock",
    "Vectors",
    "agreed",
    "determined",
    "is_lost",
    "may_lose",
    "rounding",
]


class Undecided(np.linalg.LinAlgError):
    """A pull needs to know how its cotangent depends on the choice of tied vectors."""


class Choice(Tape):
    """The tape of all that f makes of its decompositions, of the sweep included; their packed arrays are its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.captured.watches = False  # nobody but a sweep records on it

    def below(self, a: Any) -> Any:
        """The array without this tape."""
        return a.value if isinstance(a, Traced) and a.tape is self else a


class AtTies(Tape):
    """The tape of a run of f whose tied decompositions are inputs of `choice`.

    sites: of the run before, every decomposition in order, None for one without ties. turned: True for other vectors.
    """

    def __init__(self, sites: Sequence[Vectors | None], turned: bool = False) -> None:
        self.choice = Choice()  # made first: the later tape is the inner one
        super().__init__()
        self._sites: Iterator[Vectors | None] = iter(sites)
        self._turned = turned

    def next(self, A: Any) -> Any:
        """The packed array of the next decomposition as an input of `choice`; None if it has no ties."""
        site = next(self._sites, None)
        if site is None:
            return None
        if isinstance(A, Traced) and A.tape is self.choice:
            raise np.linalg.LinAlgError("a repeated value of a matrix made of vectors of a repeated value")
        y = site.turned() if self._turned else site.y
        return Traced(y, self.choice, self.choice.append(Node(None, (), (), ArraySpec.of(y))))


class Vectors:
    """The derivative of one decomposition; subclasses give `push`, `pull`, `has_ties`, `turned`, all of packed arrays.

    y: the packed array. readers: the nodes that take the vectors out of it; a tape that is pruned has cut off unused
    ones. rounding: the size of the errors in the last pull, (…, 1, 1), if there were ties.
    """

    def __init__(self, y: Any) -> None:
        self.y = y
        self.readers: list[Node] = []
        self.rounding: Any = 0.0

    @property
    def are_used(self) -> bool:
        """False if f takes the values alone."""
        return any(node.inputs for node in self.readers)

    def has_ties(self) -> bool:
        """True if the vectors are used and some of them have no derivative of their own."""
        raise NotImplementedError(f"{type(self).__name__}.has_ties")

    def push(self, v: Array) -> Array:
        """J v, with NaN for the vectors of tied values."""
        raise NotImplementedError(f"{type(self).__name__}.push")

    def pull(self, u: Array) -> Array:
        """Jᵀ u. Raises LinAlgError if u depends on the choice of tied vectors."""
        raise NotImplementedError(f"{type(self).__name__}.pull")

    def turned(self) -> Any:
        """The packed array with other vectors of the tied values, drawn at random."""
        raise NotImplementedError(f"{type(self).__name__}.turned")

    @property
    def choice(self) -> Choice | None:
        """The tape on which the packed array is an input; None in the first run of f."""
        return self.y.tape if isinstance(self.y, Traced) and isinstance(self.y.tape, Choice) else None

    def slope(self, a: Any, direction: Array) -> Any:
        """The derivative of an array along a direction of the packed array."""
        assert self.choice is not None
        found = None
        if isinstance(a, Traced) and a.tape is self.choice:
            tangents = [None] * self.y.index + [direction]
            (found,) = push(self.choice, tangents, [a.index])
        return np.zeros_like(stop(a)) if found is None else found

    def along_value(self, k: int) -> Array:
        """The direction of value k."""
        direction = np.zeros_like(stop(self.y))
        direction[..., 0, k] = 1
        return direction


class VectorBlock(Explicit):
    """The block of a decomposition."""

    __slots__ = ("vectors",)
    vectors: Vectors


class Decomposition(Primitive):
    """y = f(A, …), values and vectors packed as rows.

    rule: (y, A, …) → Vectors. part: (a, …) → A, what f reads of a; None for all of it.
    """

    def __init__(
        self, f: Callable[..., Any], rule: Callable[..., Vectors], name: str, part: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(f, name)
        self.rule, self.part = rule, part

    def of(self, a: Traced, *options: Any) -> Any:
        """The packed array of a, made once: the values of one call and the vectors of another belong together."""
        key = self, a.index, options
        if key not in a.tape.decomposed:
            A = a if self.part is None else self.part(a, *options)
            a.tape.decomposed[key] = self(A, *options)
        return a.tape.decomposed[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        A = args[0]
        if isinstance(A, Traced) and isinstance(A.tape, AtTies):
            y = A.tape.next(A.value)
            if y is not None:
                return self._record(A.tape, [A.index], self.blocks([0], y, [A.value, *args[1:]], kwargs), y)
        return super().__call__(*args, **kwargs)

    def _record(self, tape: Tape, inputs: list[int], blocks: Sequence[Block | None], y: Any) -> Any:
        tape.decomposes = True
        return super()._record(tape, inputs, blocks, y)

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Block]:
        vectors = self.rule(y, *args, **kwargs)
        block = VectorBlock(self, 0, ArraySpec.of(args[0]), ArraySpec.of(y), (vectors.push, vectors.pull))
        block.vectors = vectors
        return [block]

    @staticmethod
    def read_by(y: Any, *vectors: Any) -> None:
        """Tells the decomposition which arrays hold its vectors, on every tape that traces it."""
        while isinstance(y, Traced):
            for block in y.tape.nodes[y.index].blocks:
                if isinstance(block, VectorBlock):  # no others but in an array that was turned
                    block.vectors.readers += [a.tape.nodes[a.index] for a in vectors]
            y, vectors = y.value, tuple(a.value for a in vectors)

    @staticmethod
    def sites(tape: Tape) -> list[Vectors | None]:
        """The decompositions on a tape in order, None for one that no output depends on or that has no ties."""
        found: list[Vectors | None] = []
        for node in tape.nodes:
            if isinstance(node.primitive, Decomposition):
                block = node.blocks[0] if node.blocks else None
                has_ties = isinstance(block, VectorBlock) and block.vectors.has_ties()
                found.append(block.vectors if has_ties else None)  # type: ignore[union-attr]
        return found


def rounding(tape: Tape, n_inputs: int) -> list[Array | None]:
    """The size of the errors that the last pull of tied vectors has left in the cotangents of the inputs."""
    rng, seeds, indices = np.random.default_rng(0), [], []
    for node in tape.nodes:
        for index, block in zip(node.inputs, node.blocks, strict=True):
            if isinstance(block, VectorBlock) and np.any(block.vectors.rounding):
                draw = arrays.moved_to(block.vectors.y, rng.standard_normal(block.x.shape))
                seeds.append((block.vectors.rounding * draw).astype(block.x.dtype))
                indices.append(index)
    return pull(tape, seeds, indices, n_inputs)


def agreed(found: list[Array | None], turned: list[Array | None], errors: Sequence[Array | None]) -> list[Array | None]:
    """The cotangents that were found; LinAlgError if those with other vectors differ by more than rounding errors."""
    for a, b, error in zip(found, turned, errors, strict=True):
        if a is None or b is None:
            continue
        limit = np.finfo(a.dtype).eps ** 0.5 * _size(a) + (0 if error is None else _size(error))
        if not _size(stop(a) - stop(b)) <= limit and np.isfinite(limit):
            raise np.linalg.LinAlgError(
                "f depends on the choice of vectors of a repeated value, or of a singular value zero (to rounding), "
                "and has no derivative there"
            )
    return found


def _size(a: Any) -> float:
    return float(arrays.highest(np.abs(stop(a)), 0))


def may_lose(tape: Tape) -> bool:
    """True if a push that was made over this tape may have left NaN for numbers that have a derivative."""
    return tape.decomposes or any(node.joint is not None and node.joint.decomposes for node in tape.nodes)


def is_lost(y: Any) -> bool:
    """True if a result of a push holds NaN."""
    return y is not None and bool(np.isnan(stop(y)).any())


def determined(
    results: list[Any], tape: Tape, tangents: Sequence[Any], pulled: Callable[[list[Any]], Sequence[Any]]
) -> list[Any]:
    """The results of a push; the numbers that depend on tied vectors, which are NaN, as ⟨Jᵀu, v⟩ with unit vectors u.

    pulled: cotangents of the outputs → cotangents of the inputs.
    """
    lost = [k for k, y in enumerate(results) if is_lost(y)]
    if not lost or not _has_ties(tape):
        return results
    for k in lost:
        y = results[k]
        unknown = np.isnan(stop(y))
        total = np.where(unknown, np.zeros_like(stop(y)), y)
        for where in np.argwhere(unknown):
            for unit in (1, 1j) if y.dtype.kind == "c" else (1,):
                u = np.zeros_like(stop(y))[()] if not unknown.ndim else np.zeros_like(stop(y))
                u = u + unit if not unknown.ndim else u
                if unknown.ndim:
                    u[tuple(where)] = unit
                found = pulled([u if j == k else None for j in range(len(results))])
                pairs = [(a, v) for a, v in zip(found, tangents, strict=True) if a is not None and v is not None]
                total = total + u * sum(np.sum(np.real(np.conj(a) * v)) for a, v in pairs)
        results[k] = total.astype(y.dtype)
    return results


def _has_ties(tape: Tape) -> bool:
    """True if a push may leave NaN for numbers that have a derivative, also in a part of f on a tape of its own."""
    if tape.decomposes and any(site is not None for site in Decomposition.sites(tape)):
        return True
    return any(node.joint is not None and _has_ties(node.joint.tape) for node in tape.nodes)
