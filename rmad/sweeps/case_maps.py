"""J_n, the Jacobian of one node in one input for case n, and expectations over the cases of products with it.

mean_pull   E[J_nᵀ] M          M: (d_y, m), d_y and d_x the numbers of y and x per case
both        E[J_nᵀ M K_n]      M: (d_y, d_y), K another map of the same node

Fixed       J is the same for every case:  Weight y = x W,  Scalar y = d x,  Constants y = d ⊙ x,  other linear maps
Scale       J_n = diag(b_n):               M ⊙ E[b cᵀ]
Selected    y = chosen elements of x:      M ⊙ E[1{tap k} 1{tap l}ᵀ], scattered for every pair of taps
General     any map that works case by case, one row of M at a time
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.primitives.layers import conv, selection
from rmad.primitives.matmul import matmul
from rmad.sweeps.rows import Rows
from rmad.tapes.blocks import ONE, Block, Diagonal, Linear
from rmad.types import Array

__all__ = ["CaseMap", "Elsewhere", "find_map"]

T = TypeVar("T")

Run = Callable[[Callable[[int], Any], int], list[Any]]  # (task, n) → [task(0), …, task(n - 1)], on threads


class Elsewhere(Protocol):
    """Parts of a batch that other processes hold; all of them call every method, in the same order."""

    def total(self, own: Array) -> Array:
        """The sum over all processes."""
        ...

    def of_most(self, value: T, n: int) -> T:
        """The value of the process whose n is the largest."""
        ...

    def of_first(self, value: T) -> T:
        """The value of the first process."""
        ...

    def all(self, value: bool) -> bool:
        """True if it is True in all processes."""
        ...


class CaseMap(ABC):
    """J_n, (d_y, d_x), for the cases n of the parts of a batch, part s with weight w_s.

    blocks: the node's block in every part; y, x: the layouts of the cases in its output and input; elsewhere: other
    processes with further parts.
    """

    def __init__(
        self,
        blocks: Sequence[Any],
        y: Sequence[Rows],
        x: Sequence[Rows],
        weights: Sequence[float],
        run: Run,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.blocks, self.y, self.x, self.weights, self.run = blocks, y, x, weights, run
        self.elsewhere, self.dtype = elsewhere, blocks[0].y.dtype

    def of_all(self, own: Array) -> Array:
        """The sum over all parts of what was summed over those of this process."""
        return own if self.elsewhere is None else self.elsewhere.total(own)

    @abstractmethod
    def mean_pull(self, M: Array) -> Array:
        """E[J_nᵀ] M, (d_x, m), of M: (d_y, m)."""

    def both(self, M: Array, other: CaseMap) -> Array:
        """E[J_nᵀ M K_n], (d_x, d_x′), of M: (d_y, d_y), K the map `other` of the same node."""
        if isinstance(self, Fixed):
            return self.mean_pull(other.mean_pull(M.T).T)
        if isinstance(other, Fixed):
            return other.both(M.T, self).T
        if isinstance(self, Scale) and isinstance(other, Scale):
            return self.scaled(M, other)
        return self._by_cases(M, other)

    def pull(self, s: int, row: Array) -> Array:
        """J_nᵀ row for every case n of part s: (n, d_x); row: (d_y,), or one for every case, (n, d_y)."""
        block = self.blocks[s]
        u = arrays.empty(row, block.y.shape, block.y.dtype)
        view = self.y[s].view(u)
        view[...] = np.reshape(row, (-1, *view.shape[1:]))
        return np.reshape(self.x[s].view(block.pull(u)), (self.y[s].n, -1))

    def _by_cases(self, M: Array, other: CaseMap) -> Array:
        """Row by row of M, Σ_r E[(J_nᵀ e_r)(K_nᵀ M_r)ᵀ]: two pulls and a product for each, and no array of all J_n."""

        def part(s: int) -> Any:
            n, total = self.y[s].n, None
            e = np.zeros_like(M[0])
            for r in range(len(M)):
                e[r] = 1
                term = self.pull(s, e).T @ other.pull(s, M[r])
                e[r] = 0
                total = term if total is None else np.add(total, term, total)
            return total * self.dtype.type(self.weights[s] / n)

        return self.of_all(_total(self.run(part, len(self.blocks))))


class Fixed(CaseMap):
    """J_n = J for every case: any m rows are pulled as if they were cases, n at a time."""

    def mean_pull(self, M: Array) -> Array:
        rows, n = arrays.contiguous(M.T), self.y[0].n
        found = []
        for k in range(0, len(rows), n):
            part = rows[k : k + n]
            if len(part) < n:
                part = np.concatenate([part, arrays.zeros(rows, (n - len(part), rows.shape[1]))])
            found.append(self.pull(0, part)[: len(rows) - k].copy())
        return np.concatenate(found).T


class Weight(Fixed):
    """y = x W on every row of a case, W: (i, o)."""

    def mean_pull(self, M: Array) -> Array:
        W = self.blocks[0].args[1]
        return np.reshape(np.matmul(W, np.reshape(M, (-1, W.shape[1], M.shape[1]))), (-1, M.shape[1]))

    def both(self, M: Array, other: CaseMap) -> Array:
        """W M Wᵀ of a symmetric M; the second product forms the lower triangle only."""
        W = self.blocks[0].args[1]
        if other is not self or len(M) != W.shape[1]:
            return super().both(M, other)
        left, out = W @ M, arrays.empty(M, (len(W), len(W)))
        for k in range(0, len(W), tuning.SYMMETRIC_PRODUCT_ROWS):
            last = min(k + tuning.SYMMETRIC_PRODUCT_ROWS, len(W))
            np.matmul(left[k:last], W[:last].T, out[k:last, :last])
            out[:k, k:last] = out[k:last, :k].T
        return out


class Scalar(Fixed):
    """y = d x, d one number."""

    def mean_pull(self, M: Array) -> Array:
        d = self.blocks[0].d
        return M if d is ONE else M * self.dtype.type(d)


class Scale(CaseMap):
    """y = b x elementwise; b_n: (d,)."""

    def rows_of(self, s: int) -> Array:
        """b_n of the cases of part s, (n, d)."""
        block = self.blocks[s]
        return np.reshape(self.y[s].view(np.broadcast_to(block.d, block.y.shape)), (self.y[s].n, -1))

    def mean(self) -> Array:
        """E[b], (d,)."""
        means = [np.mean(self.rows_of(s), axis=0) * self.dtype.type(w) for s, w in enumerate(self.weights)]
        return self.of_all(_total(means).astype(self.dtype, copy=False))

    def mean_pull(self, M: Array) -> Array:
        return self.mean()[:, None] * M

    def scaled(self, M: Array, other: Scale) -> Array:
        """M ⊙ E[b cᵀ]."""

        def part(s: int) -> Any:
            b = self.rows_of(s)
            c = b if other is self else other.rows_of(s)
            return (b.T @ c) * self.dtype.type(self.weights[s] / len(b))

        E = self.of_all(_total(self.run(part, len(self.blocks))))
        return np.multiply(M, E, E)


class Constants(Fixed):
    """y = d x elementwise, with the same d for every case."""

    def mean_pull(self, M: Array) -> Array:
        block, rows = self.blocks[0], self.y[0]
        d = np.broadcast_to(block.d, block.y.shape)
        return np.reshape(rows.view(d)[0], (-1, 1)) * M


class Selected(CaseMap):
    """y = the chosen elements of x: a maximum over windows.

    Tap k of all windows is at the places x_k, no two of them the same, and b_k, (n, d_y), is one where it is chosen:
    J_n = Σ_k diag(b_nk) P_k, with (P_k x) = x[x_k].
    """

    def taps(self) -> tuple[Array, list[Array]]:
        """x_k, (taps, d_y), where −1 is for padding, and b_k for all cases of the batch."""
        codes = [np.reshape(block.args[1].code, (rows.n, -1)) for block, rows in zip(self.blocks, self.y, strict=True)]
        places = self.blocks[0].args[1].places()
        return places, [np.concatenate([code == k for code in codes]).astype(self.dtype) for k in range(len(places))]

    def shares(self) -> Array:
        """(n, 1): what each case of the batch counts for in a mean."""
        like, weighted = self.blocks[0].args[1].code, zip(self.y, self.weights, strict=True)
        return np.concatenate([arrays.full(like, (rows.n, 1), w / rows.n, self.dtype) for rows, w in weighted])

    def mean_pull(self, M: Array) -> Array:
        """Σ_k P_kᵀ (E[b_k] ⊙ M)."""
        (places, chosen), shares = self.taps(), self.shares()
        out = arrays.zeros(M, (self.width + 1, M.shape[1]))  # the last row is that of the padding
        for at, b in zip(places, chosen, strict=True):
            out[at] += self.of_all(np.sum(shares * b, axis=0))[:, None] * M
        return out[:-1]

    def both(self, M: Array, other: CaseMap) -> Array:
        """Σ_kl P_kᵀ (M ⊙ E[b_k b_lᵀ]) P_l: for every pair of taps a product of matrices and one scattered sum."""
        if other is not self:
            return super().both(M, other)
        (places, chosen), shares = self.taps(), self.shares()
        out = arrays.zeros(M, (self.width + 1, self.width))
        for x_k, b_k in zip(places, chosen, strict=True):
            right = arrays.zeros(M, (self.width + 1, len(M)))  # Σ_l P_lᵀ (M ⊙ E[b_k b_lᵀ])ᵀ
            for x_l, b_l in zip(places, chosen, strict=True):
                right[x_l] += self.of_all((shares * b_l).T @ b_k) * M.T
            out[x_k] += right[:-1].T
        return out[:-1]

    @property
    def width(self) -> int:
        """d_x."""
        return int(self.blocks[0].x.size // self.y[0].n)


class General(CaseMap):
    """Any map that works case by case."""

    def mean_pull(self, M: Array) -> Array:
        e, J = np.zeros_like(M[:, 0]), []
        for r in range(len(M)):
            e[r] = 1
            means = [np.mean(self.pull(s, e), axis=0) * self.dtype.type(w) for s, w in enumerate(self.weights)]
            J.append(_total(means))
            e[r] = 0
        return self.of_all(np.stack(J, axis=1)) @ M


def _total(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def find_map(
    blocks: Sequence[Any],
    y: list[Rows],
    x: list[Rows] | None,
    weights: Sequence[float],
    run: Run,
    like: Array,
    elsewhere: Elsewhere | None = None,
) -> tuple[CaseMap, list[Rows]]:
    """The map that the blocks are, and the layout of the cases in the input (x: if known already).

    like: an array of the kind that the blocks take. elsewhere: as for `CaseMap`.

    ValueError names a primitive that mixes cases.
    """
    largest = max(range(len(y)), key=lambda s: y[s].n)  # one case tells little: every axis of length 1 may be its own
    kind, place = _kind(blocks[largest], y[largest]), None
    if kind is None and elsewhere is None:
        place = _place(_rows_of_input(blocks[largest], y[largest], like))
    elif elsewhere is not None:
        kind, place = _found_elsewhere(elsewhere, kind, blocks[largest], y[largest], like)
    rows = y if place is None else [Rows(at.n, *place) for at in y]
    if kind is None:
        general = General(blocks, y, rows, weights, run)
        kind = Fixed if _is_fixed(general, like, elsewhere) else General
    if x is not None and any(_place(a) != _place(b) for a, b in zip(x, rows, strict=True)):
        raise ValueError(f"KFRA: at {blocks[0].primitive.name} the cases lie along other axes than at another use")
    return kind(blocks, y, rows, weights, run, elsewhere), rows


def _found_elsewhere(
    elsewhere: Elsewhere, kind: type[CaseMap] | None, block: Block, y: Rows, like: Array
) -> tuple[type[CaseMap] | None, tuple[Any, ...] | None]:
    """The kind, if the block tells it, else the place of the cases in the input, by the process with the most cases.

    ValueError on all processes if that one finds none.
    """
    place, problem = None, ""
    if kind is None:
        try:
            place = _place(_rows_of_input(block, y, like))
        except ValueError as error:  # one case tells little, and others may know
            problem = str(error)
    kind, place, problem = elsewhere.of_most((kind, place, problem), y.n)
    if problem:
        raise ValueError(problem)
    return kind, place


def _place(rows: Rows) -> tuple[Any, ...]:
    return rows.axis, rows.rest, rows.last


def _kind(block: Block, rows: Rows) -> type[CaseMap] | None:
    """The kinds that are known by their block, and keep the cases where they are; None for others."""
    if block.x.dtype.kind != "f" or block.y.dtype != block.x.dtype:
        raise ValueError(f"KFRA is not defined for {block.primitive.name} of {block.x.dtype}: one real dtype is wanted")
    if isinstance(block, Diagonal):
        return _kind_of_diagonal(block, rows)
    return _kind_of_linear(block, rows) if isinstance(block, Linear) else None


def _kind_of_diagonal(block: Diagonal, rows: Rows) -> type[CaseMap] | None:
    if block.x.shape != block.y.shape:
        return None
    d = block.d
    if np.ndim(d) == 0:
        return Scalar
    missing = block.y.ndim - d.ndim  # leading axes along which d is broadcast
    if rows.without((1,) * missing + d.shape) is None:
        return Scale
    one_case = rows.axis >= missing and block.y.shape[rows.axis] == 1  # its own d, as far as can be seen
    return Scale if one_case else Constants


def _kind_of_linear(block: Linear, rows: Rows) -> type[CaseMap] | None:
    if block.primitive is matmul and block.argnum == 0 and block.args[1].ndim == 2:
        return Weight if rows.axis < block.y.ndim - 1 else None
    if rows.axis != 0 or rows.rest != 1:  # windows run over images, one per case
        return None
    if block.primitive in (conv.forward, conv.backward) and block.argnum == 0:
        return Fixed
    return Selected if block.primitive is selection.select else None


def _rows_of_input(block: Block, y: Rows, like: Array) -> Rows:
    """The layout of the cases in x, in which the cotangents of two halves of them are zero in each other's rows."""
    rng = np.random.default_rng(0)
    order = rng.permutation(y.n)
    halves = order[: (y.n + 1) // 2], order[(y.n + 1) // 2 :]
    pulled = []
    for others in reversed(halves):
        u = rng.standard_normal(block.y.shape).astype(block.y.dtype)
        y.view(u)[others] = 0
        pulled.append(block.pull(arrays.moved_to(like, u)))
    found = Rows.find([arrays.moved_to(like, half) for half in halves], pulled)
    if found is None:
        raise ValueError(
            f"KFRA is not defined for {block.primitive.name} from {block.x} to {block.y}: its cases mix, "
            "or do not lie along an axis; use KFAC or KFLR"
        )
    return found


def _is_fixed(jacobian: CaseMap, like: Array, elsewhere: Elsewhere | None = None) -> bool:
    """True if one row pulled through every case gives one result."""
    row = np.random.default_rng(1).standard_normal(jacobian.blocks[0].y.size // jacobian.y[0].n)
    row = arrays.moved_to(like, row.astype(jacobian.dtype))
    found = [jacobian.pull(s, row) for s in range(len(jacobian.blocks))]
    first = found[0][0] if elsewhere is None else elsewhere.of_first(found[0][0])
    sizes = [arrays.highest(np.abs(a), 0.0) for a in found]
    differences = [arrays.highest(np.abs(a - first), 0.0) for a in found]
    numbers = arrays.numbers([*sizes, *differences])
    tolerance = 8 * float(np.finfo(jacobian.dtype).eps) * max(numbers[: len(found)])
    fixed = all(difference <= tolerance for difference in numbers[len(found) :])
    return fixed if elsewhere is None else elsewhere.all(fixed)
