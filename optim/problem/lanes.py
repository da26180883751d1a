"""The shards of one thread: their tapes, and the sums over them that make a value, a gradient or a product.

A thread works through its shards in turn, the whole product on one shard before the next, so that a shard of the
right size stays in cache; shards that are worked on in turn share their buffers. Where a batch does not fit into
memory, no tape outlives its turn: it is made anew for every product. Source: Martens & Sutskever (2012), section 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from optim.problem.batch import Share, cases
from optim.problem.losses import loss_gradient, loss_value
from optim.problem.parameters import Parameters
from optim.problem.vectors import dot
from rmad import grad
from rmad.extend import Plan, Record, loss_curvature, squares
from rmad.extend import tree as _tree

__all__ = ["HessianLane", "Lane", "Shard"]


class Lane:
    """The shards of one thread, worked on in turn; every method gives the sum over them, (p,), in a buffer.

    v: gives the buffer of the vector to multiply, which all lanes read. keep: whether the tapes stay; without it every
    method runs the model again, shard by shard, and only one tape is alive at a time.
    """

    def __init__(
        self, objective: Parameters, model: Any, parts: list[Share], v: Callable[[], Any], keep: bool = True
    ) -> None:
        self._make = partial(Shard, objective, model)
        self.parts, self._shared, self.value = parts, v, 0.0
        self.inner: tuple[float, ...] = ()
        like = _tree.flatten(model, "model")[0][0]
        self._total = np.empty_like(like, shape=(objective.size,)) if len(parts) > 1 or not keep else None
        self._v: Any = None if keep else np.empty_like(like, shape=(objective.size,))
        self._kept: list[Shard] | None = None
        if keep:
            self._kept = []
            for part in parts:
                self._kept.append(self._make(part, v, self._kept[0].plan if self._kept else None))
            self.value = sum(shard.value for shard in self._kept)

    def _shards(self) -> Iterator[Shard]:
        if self._kept is not None:
            yield from self._kept
            return
        for part in self.parts:
            np.copyto(self._v, self._shared())
            yield self._make(part, lambda: self._v, None)

    def gradient(self) -> Any:
        return self._sum(Shard.gradient)

    def value_and_gradient(self) -> Any:
        """The gradient, and `value` as it comes by on the way."""
        self.value = 0.0
        return self._sum(self._gradient_and_value)

    def _gradient_and_value(self, shard: Shard) -> Any:
        self.value += shard.value
        return shard.gradient()

    def ggn(self, v: Any = None, out: Any = None) -> Any:
        """G v. v and out: arrays of the caller's that are read and may be written in place of the shared ones."""
        single = out if len(self.parts) == 1 else None
        return self._sum(lambda shard: shard.ggn(v, single))

    def residual(self) -> Any:
        return self._sum(Shard.residual)

    def residual_along(self, v: Any) -> None:
        """`inner` for the shared vector w, after `residual` for v."""
        self.inner = ()
        for shard in self._shards():
            if self._kept is None:
                np.copyto(self._v, v)
                shard.set_aside()
                np.copyto(self._v, self._shared())
            shard.residual_along()
            self._add_inner(shard)

    def curvature_along(self) -> None:
        """`inner`: vᵀ J_jᵀ (L″ J v)_j for every output j."""
        self.inner = ()
        for shard in self._shards():
            shard.curvature_along()
            self._add_inner(shard)

    def each(self, task: Callable[[Shard], Any]) -> list[Any]:
        """[task(shard), …]"""
        return [task(shard) for shard in self._shards()]

    def squares(self, cotangents: Callable[[Shard], Iterator[list[Any]]], what: str) -> Any:
        """Σ over the given cotangents u, one row per case, of Σ_i (J_iᵀ u_i)², times the shards' weights."""
        return self._sum(lambda shard: shard.squares(cotangents(shard), what))

    def _sum(self, task: Callable[[Shard], Any]) -> Any:
        self.inner = ()

        def terms() -> Iterator[Any]:
            for shard in self._shards():
                term = task(shard)
                self._add_inner(shard)
                yield term

        return _accumulated(terms(), self._total)

    def _add_inner(self, shard: Shard) -> None:
        self.inner = tuple(map(sum, zip(self.inner, shard.inner, strict=True))) if self.inner else shard.inner


class Shard:
    """One part's tape with its plan and L″: value, gradient and GGN product of that part, times its weight.

    beside: the plan of a shard that is worked on in turn with this one, whose buffers it may use.
    """

    def __init__(
        self, objective: Parameters, model: Any, part: Share, v: Callable[[], Any], beside: Plan | None
    ) -> None:
        self.part, self.loss = part, objective.loss
        record = Record(part.run, model, ())
        self.z, self.out = record.y, record.out
        self.tape, self.outputs, self.n_inputs = record.tape, record.outputs, record.n_inputs
        self.value = part.weight * float(loss_value(self.loss)(self.z, part.t))
        self.plan = Plan(record.tape, record.outputs, record.n_inputs, v, beside)
        self._curvature: Callable[[], Any] | None = None
        self.inner: tuple[float, ...] = ()
        self._set_aside: list[Any] = []

    def gradient(self) -> Any:
        """The part's share of ∇f, in a buffer."""
        u = self.out.match(loss_gradient(self.loss)(self.z, self.part.t), "loss gradient")
        _set_outputs(self.plan.z, u, self.part.weight)
        self.plan.pull()
        return self.plan.u

    def ggn(self, v: Any = None, out: Any = None) -> Any:
        """Jᵀ L″ J v in a buffer, v in the buffer that all plans of the batch share; or from v, and in `out`."""
        if self._curvature is None:  # before the sweeps have buffers: making it takes as much as z
            self._curvature = self._bind_curvature()
        self.plan.push(v, out)
        self._curvature()
        self.plan.pull(out)
        return self.plan.u if out is None else out

    def residual(self) -> Any:
        """Jᵀ(L″ J v + ∂L) in a buffer; L″ J v and ∂L are kept, and vᵀG v, ∇fᵀv in `inner`."""
        Jv = self.set_aside()
        for buffer, pair in zip(self.plan.z, self._set_aside, strict=True):
            if buffer is not None:
                np.add(buffer, pair[1], buffer)
        self.plan.pull()
        self.inner = self._inner(Jv)
        return self.plan.u

    def set_aside(self) -> list[Any]:
        """Keeps L″ J v, which is in z then too, and ∂L for `residual_along`; returns J v."""
        self.plan.push()
        z, Jv = self.plan.z, self._outputs()
        self._apply_curvature()
        slopes = self.out.match(loss_gradient(self.loss)(self.z, self.part.t), "loss gradient")
        slopes = [c if self.part.weight == 1 else c * self.part.weight for c in slopes]
        triples = zip(z, self._outputs(), slopes, strict=True)
        self._set_aside = [None if buffer is None else (LJv, u) for buffer, LJv, u in triples]
        return Jv

    def residual_along(self) -> None:
        """wᵀG w, vᵀG w and ∇fᵀw in `inner`, w in the shared buffer and v that of `residual`; one push."""
        Jw = self._outputs_along()
        self.inner = (sum(self.inner), *self._inner(Jw))

    def curvature_along(self) -> None:
        """⟨J_j v, (L″ J v)_j⟩ for every output j in `inner`; one push."""
        self._outputs_along()

    def _outputs_along(self) -> list[Any]:
        """J v, with its inner products with L″ J v in `inner`."""
        self.plan.push()
        Jv = self._outputs()
        self._apply_curvature()
        pairs = zip(Jv, self.plan.z, strict=True)
        self.inner = tuple(0.0 if z is None else _inner_product(a, z) for a, z in pairs)
        return Jv

    def _outputs(self) -> list[Any]:
        return [None if z is None else z.copy() for z in self.plan.z]

    def _inner(self, Jw: list[Any]) -> tuple[float, float]:
        """⟨J w, L″ J v⟩ and ⟨J w, ∂L⟩."""
        kept = [(a, *pair) for a, pair in zip(Jw, self._set_aside, strict=True) if pair is not None]
        return sum(_inner_product(a, LJv) for a, LJv, _ in kept), sum(_inner_product(a, u) for a, _, u in kept)

    def _apply_curvature(self) -> None:
        if self._curvature is None:
            self._curvature = self._bind_curvature()
        self._curvature()

    def _bind_curvature(self) -> Callable[[], Any]:
        """z ← weight · L″ z on the plan's output buffers."""
        curvature, weight, z = loss_curvature(self.loss, self.z, self.part.t), self.part.weight, self.plan.z
        if hasattr(curvature, "diagonal") and len(z) == 1 and z[0] is not None:
            d = curvature.diagonal if weight == 1 else curvature.diagonal * weight
            d = d.astype(z[0].dtype, copy=False) if hasattr(d, "astype") else z[0].dtype.type(d)
            return partial(np.multiply, z[0], d, z[0])

        if hasattr(curvature, "in_place") and not any(buffer is None for buffer in z):
            return partial(curvature.in_place, z, weight)
        out = self.out  # not self: a cycle would keep the buffers until the collector comes
        specs = zip(z, out.shapes, out.dtypes, strict=True)
        v = [np.zeros(shape, dtype) if buffer is None else buffer for buffer, shape, dtype in specs]
        return lambda: _set_outputs(z, out.match(curvature(out.unflatten(v)), "L″ J v"), weight)

    def per_case_gradients(self) -> Iterator[list[Any]]:
        """The cotangents whose squares are those of the per-case gradients (section 11.3)."""
        n = cases(self.part.x, self.part.t) or 1
        u = self.out.match(loss_gradient(self.loss)(self.z, self.part.t), "loss gradient")
        yield [c * np.sqrt(n).astype(c.real.dtype) for c in u]  # of sums, not means: times n; and the mean of squares

    def squares(self, cotangents: Iterator[list[Any]], what: str) -> Any:
        """weight · Σ over the cotangents u of Σ_i (J_iᵀ u_i)², i the cases of the part."""
        n, weight = cases(self.part.x, self.part.t) or 1, self.part.weight
        total: Any = None
        for u in cotangents:
            found = squares(self.tape, u, self.outputs, self.n_inputs, n)
            term = self._square_of_one(u) if found is None and n == 1 else found and _tree.ravel(found)[0]
            if term is None:
                raise NotImplementedError(
                    f"{what} needs outputs with one row per case, and cases that do not mix "
                    "(as batch statistics make them in training); without it HessianFree takes preconditioner=False"
                )
            total = term if total is None else np.add(total, term, total)
        return total * total.dtype.type(weight)

    def _square_of_one(self, u: list[Any]) -> Any:
        """(Jᵀu)² of one case, or of no batch at all."""
        _set_outputs(self.plan.z, u, 1)
        self.plan.pull()
        return np.square(self.plan.u)


class HessianLane:
    """Gradients of one thread's shards, each on a tape: their pushes are Hessian products, times the parts' weights.

    keep: whether the tapes stay, as in `Lane`.
    """

    def __init__(
        self, objective: Parameters, model: Any, parts: list[Share], v: Callable[[], Any], keep: bool = True
    ) -> None:
        self._value, self._model, self.parts, self._v = loss_value(objective.loss), model, parts, v
        self._trained = [_tree.is_differentiable(leaf) for _, leaf in _tree.leaves(model)]
        self._total = np.empty_like(v())
        self._views = objective._split(self._total)
        self._kept: list[Plan] | None = None
        if keep:
            self._kept = []
            for part in parts:
                self._kept.append(self._plan(part, self._kept[0] if self._kept else None))

    def _plan(self, part: Share, beside: Plan | None = None) -> Plan:
        record = Record(partial(self._gradient, part), self._model, ())
        return Plan(record.tape, record.outputs, record.n_inputs, self._v, beside)

    def _gradient(self, part: Share, model: Any) -> list[Any]:
        """By the float leaves only: a gradient has zeros at a model's integer leaves."""
        whole = grad(lambda m: self._value(part.run(m), part.t) * part.weight)(model)
        return [leaf for (_, leaf), trained in zip(_tree.leaves(whole), self._trained, strict=True) if trained]

    def product(self) -> Any:
        """Σ over the shards H v, (p,), in a buffer."""
        self._total.fill(0)
        for plan in self._kept if self._kept is not None else map(self._plan, self.parts):
            plan.push()
            for total, z in zip(self._views, plan.z, strict=True):
                if z is not None:
                    np.add(total, z, total)
        return self._total


def _accumulated(terms: Any, total: Any) -> Any:
    """Σ terms, which may come in one and the same buffer, in `total`; the only term itself where total is None."""
    for k, term in enumerate(terms):
        if total is None:
            return term
        np.add(total, term, total) if k else np.copyto(total, term)
    return total


def _set_outputs(z: list[Any], u: list[Any], weight: float) -> None:
    """z ← weight · u, on the buffers of the outputs that depend on θ."""
    for buffer, c in zip(z, u, strict=True):
        if buffer is not None:
            np.multiply(c, weight, buffer) if weight != 1 else np.copyto(buffer, c)


def _inner_product(a: Any, b: Any) -> float:
    """Re⟨a, b⟩ of arrays of one shape, in float64."""
    if a.dtype.kind == "c":
        return float(np.vdot(a, b).real)
    return dot(np.reshape(a, -1), np.reshape(b, -1))
