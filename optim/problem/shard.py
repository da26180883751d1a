"""One shard with the model linearized on it: its tape, plan and L″, and the sweeps that make up its products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from optim.problem.batch import Shard, cases
from optim.problem.losses import loss_gradient, loss_value
from optim.problem.stored import in_memory
from optim.problem.vectors import inner, summed, weighted
from rmad.extend import Array, Plan, Record, arrays, lazy, loss_curvature, squares, stacked_squares, tree

__all__ = ["LinearizedShard"]


class LinearizedShard(Shard):
    """Value, gradient and GGN product of one shard, times its weight, by sweeps over one tape.

    structure: of the model, which is its `tree`. v: returns the buffer of the vector to multiply, which all shards
    read. sharing: the plan of a shard that is worked on in turn with this one, whose buffers it may use. `inner` are
    the inner products that the last sweep left, which stay on a device, as `value` does, until they are read.
    """

    def __init__(
        self,
        loss: Any,
        structure: tree.TreeDef,
        shard: Shard,
        v: Callable[[], Array | None],
        sharing: Plan | None = None,
    ) -> None:
        super().__init__(in_memory(shard.x), in_memory(shard.t), shard.weight, shard.first)
        self.loss = loss
        record = Record(self.run, structure, ())
        self.z, self.out = record.y, record.out
        self.tape, self.outputs, self.n_inputs = record.tape, record.outputs, record.n_inputs
        self.value = weighted(self.weight, loss_value(loss)(self.z, self.t))  # a Scalar
        self.plan = Plan(record.tape, record.outputs, record.n_inputs, v, sharing)
        self.inner: tuple[Any, ...] = ()
        self._set_aside: list[tuple[Array, Array] | None] = []

    @property
    def n(self) -> int:
        """The number of cases, 1 if the shard is no batch."""
        return cases(self.x, self.t) or 1

    # -- sweeps, whose results lie in buffers of the plan -----------------------------------------------------

    def gradient(self) -> Array:
        """The shard's term of ∇f, in a buffer."""
        self.plan.set_outputs(self.slopes(), self.weight)
        self.plan.pull()
        return self.plan.u

    def ggn(self, v: Array | None = None, out: Array | None = None) -> Array:
        """Jᵀ L″ J v in a buffer, v in the buffer that all plans of the batch share; or from v, and in `out`."""
        curvature = self._curvature  # before the sweeps have buffers: making it takes as much as z
        self.plan.push(v, out)
        curvature()
        self.plan.pull(out)
        return self.plan.u if out is None else out

    def between(self, matrix: Callable[[list[Array]], list[Array]]) -> Array:
        """Jᵀ M J v in a buffer, times the weight, v in the shared buffer; M as a function of the outputs' tangents."""
        triples = zip(self._push(), self.out.shapes, self.out.dtypes, strict=True)
        like = self.plan.pool.like
        Jv = [arrays.zeros(like, shape, dtype) if a is None else a for a, shape, dtype in triples]
        self.plan.set_outputs(matrix(Jv), self.weight)
        self.plan.pull()
        return self.plan.u

    def along_gradients(self) -> Array:
        """∇ℓ_nᵀ v of every case, (n,), v in the shared buffer; ℓ_n is the loss of a case, not a share of the mean."""
        total: Any = 0.0
        for Jv, u in zip(self._push(), self.slopes(), strict=True):
            if Jv is None:
                continue
            if self.n > 1 and (not u.ndim or len(u) != self.n):
                raise ValueError(f"the gradients of the cases need outputs with a row for each, found shape {u.shape}")
            product = np.real(np.conj(u) * Jv) if u.dtype.kind == "c" else u * Jv
            total = total + np.sum(np.reshape(product, (self.n, -1)), axis=1)
        if np.ndim(total) == 0:
            return arrays.zeros(self.plan.pool.like, (self.n,))
        return total * total.dtype.type(self.n)

    def residual(self) -> Array:
        """Jᵀ(L″ J v + ∂L) in a buffer; L″ J v and ∂L are kept, and vᵀG v, ∇fᵀv are in `inner`."""
        Jv = self.set_aside()
        for buffer, pair in zip(self.plan.z, self._set_aside, strict=True):
            if buffer is not None and pair is not None:
                np.add(buffer, pair[1], buffer)
        self.plan.pull()
        self.inner = self._inner_products(Jv)
        return self.plan.u

    def set_aside(self) -> list[Array | None]:
        """Keeps L″ J v, which is then in z too, and ∂L for `residual_along`; returns J v."""
        Jv = self._push()
        self._curvature()
        slopes = [u if self.weight == 1 else u * self.weight for u in self.slopes()]
        triples = zip(self.plan.z, self._outputs(), slopes, strict=True)
        self._set_aside = [None if buffer is None or LJv is None else (LJv, u) for buffer, LJv, u in triples]
        return Jv

    def curvature_aside(self) -> None:
        """Leaves vᵀG v and ∇fᵀv in `inner`, and sets v aside; one push."""
        self.inner = self._inner_products(self.set_aside())

    def residual_along(self) -> None:
        """Leaves wᵀG w, vᵀG w and ∇fᵀw in `inner`, w in the shared buffer and v that of `residual`; one push."""
        Jw = self.curvature_along()
        self.inner = (summed(self.inner), *self._inner_products(Jw))

    def curvature_along(self) -> list[Array | None]:
        """Leaves ⟨J_j v, (L″ J v)_j⟩ for every output j in `inner`; one push. Returns J v."""
        Jv = self._push()
        self._curvature()
        pairs = list(zip(Jv, self.plan.z, strict=True))
        given = [(a, z) for a, z in pairs if a is not None and z is not None]
        found = iter(_inner_products(given))
        self.inner = tuple(0.0 if a is None or z is None else next(found) for a, z in pairs)
        return Jv

    def squares(self, cotangents: Iterator[list[Array]], what: str) -> Array:
        """weight · Σ over the cotangents u of Σ_i (J_iᵀ u_i)², i the cases of the shard. what: names it in an error."""
        terms = (self._squared_pulls(u, what) for u in cotangents)
        total = reduce(lambda total, term: np.add(total, term, total), terms)
        return total * total.dtype.type(self.weight)

    def squared_columns(self, stacks: Iterator[list[Array]], what: str) -> Array:
        """weight · Σ over stacked cotangents, (k, *z.shape) per output, of Σ_i (J_iᵀ u_ik)², in one sweep per stack."""
        total: Any = None
        for stack in stacks:
            found = stacked_squares(self.tape, stack, self.outputs, self.n_inputs, self.n)
            if found is not None:
                term = tree.joined(found)
            else:
                columns = range(len(stack[0]))
                term = reduce(np.add, (self._squared_pulls([u[k] for u in stack], what) for k in columns))
            total = term if total is None else np.add(total, term, total)
        return total * total.dtype.type(self.weight)

    def squared_pull(self, u: list[Array]) -> list[Array]:
        """(Jᵀu)²: for u of independent signs its expectation is the diagonal of Jᵀ diag(u²) J."""
        self.plan.set_outputs(u)
        self.plan.pull()
        return [np.square(c) for c in self.plan.cotangents]

    def pulled(self, u: list[Array]) -> Array:
        """Jᵀu, (p,), in a buffer."""
        self.plan.set_outputs(u)
        self.plan.pull()
        return self.plan.u

    def per_case_gradients(self) -> Iterator[list[Array]]:
        """The cotangents whose squares are those of the per-case gradients (section 11.3)."""
        root = np.sqrt(self.n)  # of sums, not means: times n; and the mean of squares
        yield [u * root.astype(u.real.dtype) for u in self.slopes()]

    def arrays(self) -> list[Array]:
        """The outputs z as a list."""
        return self.out.match(self.z, "z")

    def slopes(self) -> list[Array]:
        """∂L/∂z, one array per output, without the weight."""
        return self.out.match(loss_gradient(self.loss)(self.z, self.t), "loss gradient")

    # -- their steps ---------------------------------------------------------------------------------------------

    def _push(self) -> list[Array | None]:
        """J v, in z and as copies."""
        self.plan.push()
        return self._outputs()

    def _outputs(self) -> list[Array | None]:
        return [None if z is None else z.copy() for z in self.plan.z]

    def _inner_products(self, Jw: Sequence[Array | None]) -> tuple[Any, Any]:
        """⟨J w, L″ J v⟩ and ⟨J w, ∂L⟩, of what was set aside."""
        kept = [(a, *pair) for a, pair in zip(Jw, self._set_aside, strict=True) if a is not None and pair is not None]
        found = _inner_products([(a, LJv) for a, LJv, _ in kept] + [(a, u) for a, _, u in kept])
        return summed(found[: len(kept)]), summed(found[len(kept) :])

    def _squared_pulls(self, u: list[Array], what: str) -> Array:
        """Σ_i (J_iᵀ u_i)², (p,), a new array."""
        found = squares(self.tape, u, self.outputs, self.n_inputs, self.n)
        if found is not None:
            return tree.joined(found)
        if self.n > 1:
            raise NotImplementedError(
                f"{what} needs outputs with one row per case, and cases that do not mix "
                "(as batch statistics make them in training); without it HessianFree takes preconditioner=False"
            )
        return tree.joined(self.squared_pull(u))

    @lazy
    def _curvature(self) -> Callable[[], Any]:
        """z ← weight · L″ z on the plan's output buffers, bound to them at the first product."""
        curvature, weight, z = loss_curvature(self.loss, self.z, self.t), self.weight, self.plan.z
        alone = z[0] if len(z) == 1 else None
        if hasattr(curvature, "diagonal") and alone is not None:
            d = curvature.diagonal if weight == 1 else curvature.diagonal * weight
            d = d.astype(alone.dtype, copy=False) if hasattr(d, "astype") else alone.dtype.type(d)
            return partial(np.multiply, alone, d, alone)
        if hasattr(curvature, "product_into") and alone is not None and weight == 1 and hasattr(self.z, "dtype"):
            return partial(curvature.product_into, alone, alone)
        if hasattr(curvature, "in_place") and not any(buffer is None for buffer in z):
            return partial(curvature.in_place, z, weight)
        out, plan = self.out, self.plan  # not self: a cycle would keep the buffers until the collector comes
        specs = zip(z, out.shapes, out.dtypes, strict=True)
        v = [arrays.zeros(plan.pool.like, shape, dtype) if buffer is None else buffer for buffer, shape, dtype in specs]
        return lambda: plan.set_outputs(out.match(curvature(out.unflatten(v)), "L″ J v"), weight)


def _inner_products(pairs: Sequence[tuple[Array, Array]]) -> list[Any]:
    """Re⟨a, b⟩ of every pair of arrays of one shape, Scalars."""
    if any(a.dtype.kind == "c" for a, _ in pairs):
        return [weighted(1.0, np.vdot(a, b).real) for a, b in pairs]
    return [inner(np.reshape(a, -1), np.reshape(b, -1)) for a, b in pairs]
