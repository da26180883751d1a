"""The local quadratic model of the objective, as a sum over shards of a batch.

    M(δ) = f(θ) + ∇f(θ)ᵀ δ + ½ δᵀ B δ        B = G = Jᵀ L″ J  (GGN)  or  B = H

Source: Martens & Sutskever (2012), sections 4 to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from scipy.sparse.linalg import LinearOperator

from optim import tuning
from optim.problem.batch import Shard
from optim.problem.parameters import Parameters
from optim.problem.ranks import Terms
from optim.problem.shard import LinearizedShard
from optim.problem.shards import HessianShards, Shards
from optim.problem.vectors import Scalar, Unread, inner, sum_into, summed
from rmad.extend import Array, SymmetricOperator, address, arrays, in_turn, lazy, lent, shares, tree

__all__ = ["Quadratic"]

R = TypeVar("R")
S = TypeVar("S")


@in_turn  # the vector to multiply and the buffers of the sweeps are shared
class Quadratic:
    """M(δ) = f(θ) + ∇f(θ)ᵀ δ + ½ δᵀ B δ at the parameters θ of the moment when it was made, l2 included.

    `Objective.quadratic(x, t)` makes it. `value` is f(θ), `gradient` is ∇f(θ), `ggn` and `hessian` are B as
    LinearOperators; solvers take the faster `ggn_product(v, out)`, which writes into an array. Several threads may use
    one model; their calls run one after the other. No product runs the network again, unless the batch is larger than
    memory. `products` counts the products, `passes` how often the network ran over the batch.

    Parameters
    ----------
    objective : Objective
        The model, the loss and l2.
    shards : list of Shard
        The batch, as `objective.divide(x, t)` divides it.
    keep : bool, default True
        Keep the tapes of the shards; False for a batch that is larger than memory.

    References
    ----------
    Martens & Sutskever (2012), sections 4 to 6 and 7.1.

    Examples
    --------
    >>> import numpy as np
    >>> from optim import Function, Objective
    >>> model = Function(lambda params, x: x @ params["W"], {"W": np.array([[2.0], [0.0]])})
    >>> q = Objective(model, lambda z, t: np.mean((z - t) ** 2) / 2).quadratic(np.eye(2), np.zeros((2, 1)))
    >>> q.value, q.gradient, q.ggn @ np.array([1.0, 4.0])
    (1.0, array([1., 0.]), array([0.5, 2. ]))
    """

    def __init__(self, objective: Parameters, shards: list[Shard], keep: bool = True) -> None:
        self.objective, self.shards, self.keep = objective, shards, keep
        structure = objective._structure()
        self._arrays = structure.leaves  # θ of this moment: steps rebind, never overwrite
        self.products, self.passes = 0, int(keep)
        self._shared = _Vector(self._arrays[0], objective.size)
        self._may_bind = keep and objective.size * objective.dtype.itemsize >= tuning.IN_PLACE_FROM
        self._bound: tuple[Array | None, Array | None] = (None, None)  # the arrays of the last product in place
        self._seen: tuple[Any, ...] = ()  # where they begin in memory
        self._changes = 0  # how often they were not those of the product before
        step = tuning.BLOCK if isinstance(self._arrays[0], np.ndarray) else objective.size
        self._stretches = [slice(k, k + step) for k in range(0, objective.size, step)]
        here = structure if keep else structure.replaced(self._arrays)
        self.by_thread = self._each(lambda mine: Shards(objective, here, mine, self._shared, keep))
        self._terms_of_f: Sequence[Scalar] | None = None
        self._aside: Array | None = None  # the vector of the last residual
        self._hessians: list[HessianShards] | None = None

    def _each(self, task: Callable[[list[Shard]], R]) -> list[R]:
        """[task(its shards), …], on every thread."""
        shards, crew = self.shards, self.objective.crew
        threads = min(crew.threads, len(shards))
        return crew.run(lambda j: task(shards[j::threads]), threads)

    def _sweep(self, task: Callable[[S], R], by_thread: list[S]) -> list[R]:
        """[task(shards of a thread), …]: one sweep over every tape, which is recorded first unless it is kept."""
        self.passes += not self.keep
        return self.objective.crew.run(lambda j: task(by_thread[j]), len(by_thread))

    def _sum(
        self,
        task: Callable[[S], Array],
        by_thread: list[S],
        v: Array | None,
        out: Array,
        numbers: Callable[[], Sequence[Sequence[Scalar]]] = lambda: [],
    ) -> Sequence[Sequence[Scalar]]:
        """out ← Σ over threads, and ranks, task(shards of a thread) + l2 v; returns `numbers` after that, of all ranks.

        numbers: columns of a rank's terms, as `_values` and `_inner` give them.
        """

        def terms() -> Terms:
            sum_into(out, self._sweep(task, by_thread))
            return numbers(), [out]

        found = self._exchange(terms)
        self._add_l2(v, out)
        return found

    def _exchange(self, terms: Callable[[], Terms]) -> Sequence[Sequence[Scalar]]:
        """The columns of terms() of all ranks, and its arrays summed; the first of all such messages brings f along."""
        ranks = self.objective.ranks
        if ranks.size == 1 or not self.keep or self._terms_of_f is not None:
            return ranks.exchange(terms)

        def with_values() -> Terms:
            columns, summands = terms()
            return [*columns, *self._values()], summands

        *found, self._terms_of_f = ranks.exchange(with_values)
        return found

    def _values(self) -> list[list[Scalar]]:
        return [[mine.value for mine in self.by_thread]]

    def _inner(self) -> list[list[Scalar]]:
        """The inner products that the last sweep left, a column for each."""
        return [list(column) for column in zip(*(mine.inner for mine in self.by_thread), strict=True)]

    def _add_l2(self, v: Array | None, out: Array) -> None:
        if self.objective.l2 and v is not None:
            l2 = self.objective.dtype.type(self.objective.l2)
            for part in self._stretches:
                out[part] += l2 * v[part]

    @property
    def value(self) -> float:
        """f(θ), in float64."""
        return float(self.f)

    @lazy
    def f(self) -> float | Unread:
        """f(θ), in float64, which stays on a device until `read` or `value` asks for it."""
        if not self.keep:
            _ = self.gradient  # by the same pass
        elif self.objective.ranks.size == 1:
            (self._terms_of_f,) = self._values()
        elif self._terms_of_f is None:
            self._exchange(lambda: ([], []))
        assert self._terms_of_f is not None
        found = summed([*self._terms_of_f, self.objective._penalty(self._arrays)])
        return found if isinstance(found, float) else Unread(found)

    @lazy
    def gradient(self) -> Array:
        """∇f(θ), (p,)."""
        theta, out = self.theta if self.objective.l2 else None, self._shared.another()
        if self.keep:
            self._sum(Shards.gradient, self.by_thread, theta, out)
        else:
            (self._terms_of_f,) = self._sum(Shards.value_and_gradient, self.by_thread, theta, out, self._values)
        return out

    @property
    def theta(self) -> Array:
        """θ of the moment when the model was made, (p,)."""
        return tree.joined(self._arrays)

    def ggn_product(self, v: Array, out: Array, in_place: bool = True) -> None:
        """out ← G v = Σ over shards Jᵀ L″ J v, plus l2 v.

        Long vectors are read and written where they are, if products come with the same two arrays, as those of CG do:
        the sweeps are bound to them then, and no copy of v is held. out is scratch until the product is done.

        Parameters
        ----------
        v : (p,) array
            The vector to multiply.
        out : (p,) array
            The product; may be v.
        in_place : bool, default True
            False for arrays that will not come again: no sweep is bound to them.
        """
        given: Array | None = v
        target: Array | None = out
        bound = v is self._bound[0] and out is self._bound[1] and getattr(out.flags, "writeable", True)
        if not (in_place and self._may_bind and (bound or self._binds(v, out))):
            np.copyto(self._shared.made, v)
            v, given, target = self._shared.made, None, None
        self.products += 1
        if self.objective.ranks.size > 1:
            first = self.by_thread[0]
            own = (target, out)
            self._sum(lambda mine: mine.ggn(given, *(own if mine is first else (None, None))), self.by_thread, v, out)
            return
        self.passes += not self.keep
        threads = self.by_thread
        if len(threads) == 1:  # not by way of the crew: the overhead of a product is that of its function calls
            found = threads[0].ggn(given, target, out)
            if found is not out:
                np.copyto(out, found)
        else:
            own = (target, out)
            terms = self.objective.crew.run(
                lambda j: threads[j].ggn(given, *((None, None) if j else own)), len(threads)
            )
            sum_into(out, terms)
        if self.objective.l2:
            self._add_l2(v, out)

    def _binds(self, v: Array, out: Array) -> bool:
        """Binds the sweeps of a product to these arrays of the caller's, unless they do not fit or change too often."""
        self._bound = (None, None)
        if self._changes > tuning.MOST_BINDINGS or not self._can_bind(v, out):
            return False
        seen = (address(v), address(out))
        self._changes += seen != self._seen
        self._seen = seen
        if self._changes > tuning.MOST_BINDINGS:
            return False
        self._bound = (v, out)
        return True

    def _can_bind(self, v: Array, out: Array) -> bool:
        """True if a sweep can read v and write out: aligned vectors of the kind of θ, apart in memory."""
        fit = all(
            type(a) is type(self._arrays[0])
            and (a.shape, a.dtype) == ((self.objective.size,), self.objective.dtype)
            and a.flags.c_contiguous
            and getattr(a.flags, "aligned", True)  # BLAS writes nowhere else
            for a in (v, out)
        )
        return fit and getattr(out.flags, "writeable", True) and not shares(v, out)

    def residual(self, v: Array, out: Array) -> tuple[Scalar, Scalar]:
        """out ← G v + ∇f, by one push and one pull: Jᵀ(L″ J v + ∂L). Returns vᵀG v and ∇fᵀv, Scalars.

        Source: Henriques et al. (2018), eq. (18). What `residual_along` needs of v stays with the shards.
        """
        self._take(v)
        self._aside = None
        vGv, slope = map(summed, self._sum(Shards.residual, self.by_thread, None, out, self._inner))
        self._aside = v
        if l2 := self.objective.l2:
            theta = self.theta
            vGv, slope = vGv + l2 * inner(v, v), slope + l2 * inner(theta, v)
            np.add(theta, v, out=theta)
            out += self.objective.dtype.type(l2) * theta
        return vGv, slope

    def residual_along(self, w: Array, v: Array) -> tuple[Scalar, Scalar, Scalar]:
        """Returns wᵀG w, vᵀG w and ∇fᵀw, Scalars, by one push after `residual(v, …)`; v the same array, unchanged."""
        if self.keep and self._aside is not v:  # another thread's residual came between
            self._take(v)
            self._aside = None
            self._swept(Shards.set_aside, lambda: [])
            self._aside = v
        self._take(w)
        wGw, vGw, slope = map(summed, self._swept(lambda mine: mine.residual_along(v), self._inner))
        if l2 := self.objective.l2:
            wGw, vGw, slope = wGw + l2 * inner(w, w), vGw + l2 * inner(v, w), slope + l2 * inner(self.theta, w)
        return wGw, vGw, slope

    def curvature_between(self, v: Array, w: Array) -> tuple[Scalar, Scalar, Scalar]:
        """Returns vᵀG v, vᵀG w and wᵀG w, Scalars, by two pushes."""
        self._take(v)
        self._aside = None
        vGv, _ = map(summed, self._swept(Shards.curvature_aside, self._inner))
        self._aside = v
        if l2 := self.objective.l2:
            vGv = vGv + l2 * inner(v, v)
        wGw, vGw, _ = self.residual_along(w, v)
        return vGv, vGw, wGw

    def curvature_along(self, v: Array) -> list[Scalar]:
        """Returns ⟨J_j v, (L″ J v)_j⟩ for every output j of the model (one or several arrays), and l2‖v‖²; by one push.

        Their sum is vᵀG v. They are Scalars: `read` makes floats of those on a device.
        """
        self._take(v)
        found = self._swept(Shards.curvature_along, self._inner)
        l2 = self.objective.l2
        return [*map(summed, found), l2 * inner(v, v) if l2 else 0.0]

    def _take(self, v: Array) -> None:
        """Begins a product with v."""
        np.copyto(self._shared.made, v)
        self.products += 1

    def _swept(
        self, task: Callable[[Shards], object], numbers: Callable[[], Sequence[Sequence[Scalar]]]
    ) -> Sequence[Sequence[Scalar]]:
        """`numbers` of all ranks after a sweep."""

        def terms() -> Terms:
            self._sweep(task, self.by_thread)
            return numbers(), []

        return self._exchange(terms)

    def hessian_product(self, v: Array, out: Array) -> None:
        """out ← H v = Σ over shards of the directional derivative of the gradient, plus l2 v.

        Parameters
        ----------
        v : (p,) array
            The vector to multiply.
        out : (p,) array
            The product; may be v.
        """
        self._take(v)
        if self._hessians is None:
            here, shared, keep = self.objective._structure_at(self.theta), self._shared, self.keep

            def made() -> Terms:
                self._hessians = self._each(lambda mine: HessianShards(self.objective, here, mine, shared, keep))
                return [], []

            self.objective.ranks.exchange(made)
            assert self._hessians is not None
            self.passes += keep
        self._sum(HessianShards.product, self._hessians, self._shared.made, out)

    def product_between(
        self, matrix: Callable[[LinearizedShard], Callable[[list[Array]], list[Array]]], v: Array, out: Array
    ) -> None:
        """out ← Σ over shards Jᵀ M J v: a product with any M between the two Jacobians in place of L″, without l2.

        Parameters
        ----------
        matrix : callable
            matrix(shard) is M on that shard, a function of one tangent per output that returns as many arrays.
        v : (p,) array
            The vector to multiply.
        out : (p,) array
            The product; may be v.
        """
        self._take(v)
        with lent(self):
            self._sum(lambda mine: mine.between(matrix), self.by_thread, None, out)

    def along_gradients(self, v: Array, out: Array) -> None:
        """out[first + k] ← ∇ℓᵀ v of case k of every shard, those of all ranks, without l2; by one push.

        Parameters
        ----------
        v : (p,) array
            The vector.
        out : (N,) array
            Places for the cases by their numbers; on ranks those of all of them, zero before.
        """
        self._take(v)

        def along(shard: LinearizedShard) -> None:
            found = shard.along_gradients()
            out[shard.first : shard.first + len(found)] = found

        def terms() -> Terms:
            with lent(self):
                self._sweep(lambda mine: mine.each(along), self.by_thread)
            return [], [out]

        self.objective.ranks.exchange(terms)

    def each_shard(self, task: Callable[[LinearizedShard], R]) -> list[R]:
        """Returns [task(shard), …] for every shard of the batch on this rank, computed on the threads."""
        with lent(self):
            return [found for mine in self._sweep(lambda mine: mine.each(task), self.by_thread) for found in mine]

    def squared_gradients(self) -> Array:
        """Returns the mean over cases of the squared per-case gradients, (p,), without l2 (section 11.3)."""
        return self.squares(LinearizedShard.per_case_gradients, "the squared gradient of every case")

    def squares(
        self, cotangents: Callable[[LinearizedShard], Iterator[list[Array]]], what: str = "the diagonal"
    ) -> Array:
        """Returns Σ of the squared per-case pulls of cotangents(shard), over all of them, (p,), without l2."""
        out = self._shared.another()
        with lent(self):
            self._sum(lambda mine: mine.squares(cotangents, what), self.by_thread, None, out)
        return out

    def squared_columns(
        self, stacks: Callable[[LinearizedShard], Iterator[list[Array]]], what: str = "the diagonal"
    ) -> Array:
        """Returns the same for stacks(shard), each (k, *z.shape) per output: one sweep for all columns of a stack."""
        out = self._shared.another()
        with lent(self):
            self._sum(lambda mine: mine.squared_columns(stacks, what), self.by_thread, None, out)
        return out

    @property
    def ggn(self) -> LinearOperator:
        """The GGN Jᵀ L″ J + l2 I, (p, p)."""
        return self._operator(partial(self.ggn_product, in_place=False))

    @property
    def hessian(self) -> LinearOperator:
        """The Hessian of f, (p, p)."""
        return self._operator(self.hessian_product)

    def _operator(self, product: Callable[[Array, Array], None]) -> LinearOperator:
        """product(v, out) as a symmetric LinearOperator of the parameters' dtype."""

        def apply(v: Array) -> Array:
            out = self._shared.another()
            product(v, out)
            return out

        return SymmetricOperator(self._shared.another(), apply)


class _Vector:
    """A vector (p,) of the kind of θ, made when it is first asked for."""

    def __init__(self, like: Array, size: int) -> None:
        self._like, self._size = like, size

    def another(self) -> Array:
        return arrays.empty(self._like, (self._size,))

    @lazy
    def made(self) -> Array:
        return arrays.zeros(self._like, (self._size,))

    def __call__(self) -> Array:
        return self.made
