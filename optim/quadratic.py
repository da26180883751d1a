"""The local quadratic model of the objective, as a sum over shards of a batch.

    M(δ) = f(θ) + ∇f(θ)ᵀ δ + ½ δᵀ B δ        B = G = Jᵀ L″ J  (GGN)  or  B = H

A thread works through its shards in turn, the whole product on one shard before the next, so that a shard of the
right size stays in cache; shards that are worked on in turn share their buffers. Source: Martens & Sutskever (2012),
sections 4 to 6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from optim.losses import loss_value, loss_value_and_gradient
from optim.shards import Share, cases
from optim.vectors import dot
from rmad import tree as _tree
from rmad.operators import loss_curvature, symmetric_operator
from rmad.plan import Plan
from rmad.sweeps import squares
from rmad.transforms import Record, grad

if TYPE_CHECKING:
    from optim.objective import Objective

__all__ = ["Quadratic"]


class Quadratic:
    """M(δ) = value + gradientᵀ δ + ½ δᵀ B δ at the parameters of the moment when it was made.

    value: float; gradient: (p,); ggn, hessian: LinearOperators on (p,) vectors, l2 included. The fast path
    for solvers is ggn_product(v, out), which writes into an array. No product runs the model again. `products` counts
    them.
    """

    def __init__(self, objective: Objective, parts: list[Share]) -> None:
        self.objective, self.parts = objective, parts
        self._arrays = _tree.flatten(objective.model, "model")[0]  # θ of this moment: steps rebind, never overwrite
        self.products = 0
        self._v = np.zeros_like(self._arrays[0], shape=(objective.size,))
        self.lanes = self._each(lambda mine: Lane(objective, objective.model, mine, self._v))
        self._hessian_lanes: list[HessianLane] | None = None
        self.value = sum(lane.value for lane in self.lanes) + objective._penalty(self._arrays)

    def _each(self, task: Callable[[list[Share]], Any]) -> list[Any]:
        """task(its parts) on every thread."""
        parts, crew = self.parts, self.objective.crew
        threads = min(crew.threads, len(parts))
        return crew.run(lambda j: task(parts[j::threads]), threads)

    def _sum(self, task: Callable[[Any], Any], lanes: list[Any], v: Any, out: Any) -> Any:
        """out ← Σ over threads task(lane) + l2 v."""
        terms = self.objective.crew.run(lambda j: task(lanes[j]), len(lanes))
        if len(terms) == 1:
            np.copyto(out, terms[0])
        else:
            np.add(terms[0], terms[1], out)
            for term in terms[2:]:
                np.add(out, term, out)
        if self.objective.l2 and v is not None:
            out += self.objective.dtype.type(self.objective.l2) * v
        return out

    @cached_property
    def gradient(self) -> Any:
        """∇f(θ), (p,)."""
        return self._sum(Lane.gradient, self.lanes, self.theta, np.empty_like(self._v))

    @property
    def theta(self) -> Any:
        """θ of the moment when the model was made, (p,)."""
        return _tree.ravel(self._arrays)[0]

    def ggn_product(self, v: Any, out: Any) -> None:
        """out ← G v = Σ over shards Jᵀ L″ J v, plus l2 v."""
        np.copyto(self._v, v)
        self.products += 1
        self._sum(Lane.ggn, self.lanes, self._v, out)

    def residual(self, v: Any, out: Any) -> tuple[float, float]:
        """out ← G v + ∇f, by one push and one pull: Jᵀ(L″ J v + ∂L). Returns vᵀG v and ∇fᵀv.

        Source: Henriques et al. (2018), eq. (18). What `residual_along` needs of v stays with the shards.
        """
        np.copyto(self._v, v)
        self.products += 1
        self._sum(Lane.residual, self.lanes, None, out)
        vGv, slope = self._inner_products()
        if l2 := self.objective.l2:
            theta = self.theta
            vGv, slope = vGv + l2 * dot(v, v), slope + l2 * dot(theta, v)
            np.add(theta, v, out=theta)
            out += self.objective.dtype.type(l2) * theta
        return vGv, slope

    def residual_along(self, w: Any, v: Any) -> tuple[float, float, float]:
        """wᵀG w, vᵀG w and ∇fᵀw by one push, after `residual(v, …)`."""
        np.copyto(self._v, w)
        self.products += 1
        self.objective.crew.run(lambda j: self.lanes[j].residual_along(), len(self.lanes))
        wGw, vGw, slope = self._inner_products()
        if l2 := self.objective.l2:
            wGw, vGw, slope = wGw + l2 * dot(w, w), vGw + l2 * dot(v, w), slope + l2 * dot(self.theta, w)
        return wGw, vGw, slope

    def _inner_products(self) -> tuple[float, ...]:
        """The sums over all shards of what their last sweep left."""
        shards = [shard for lane in self.lanes for shard in lane.shards]
        return tuple(map(sum, zip(*(shard.inner for shard in shards), strict=True)))

    def hessian_product(self, v: Any, out: Any) -> None:
        """out ← H v = Σ over shards of the directional derivative of the gradient, plus l2 v."""
        if self._hessian_lanes is None:
            model = self.objective.model_at(self.theta)
            self._hessian_lanes = self._each(lambda mine: HessianLane(self.objective, model, mine, self._v))
        np.copyto(self._v, v)
        self.products += 1
        self._sum(HessianLane.product, self._hessian_lanes, self._v, out)

    def squared_gradients(self) -> Any:
        """Mean over cases of the squared per-case gradients, (p,), without l2 (section 11.3)."""
        return self._sum(Lane.squared_gradients, self.lanes, None, np.empty_like(self._v))

    @property
    def ggn(self) -> Any:
        return _operator(self, self.ggn_product)

    @property
    def hessian(self) -> Any:
        return _operator(self, self.hessian_product)


class Lane:
    """The shards of one thread, worked on in turn; every method gives the sum over them, (p,), in a buffer."""

    def __init__(self, objective: Objective, model: Any, parts: list[Share], v: Any) -> None:
        self.shards: list[Shard] = []
        for part in parts:
            self.shards.append(Shard(objective, model, part, v, self.shards[0].plan if self.shards else None))
        self.value = sum(s.value for s in self.shards)
        self._total = np.empty_like(v) if len(parts) > 1 else None

    def gradient(self) -> Any:
        return self._sum(Shard.gradient)

    def ggn(self) -> Any:
        return self._sum(Shard.ggn)

    def residual(self) -> Any:
        return self._sum(Shard.residual)

    def residual_along(self) -> None:
        for shard in self.shards:
            shard.residual_along()

    def squared_gradients(self) -> Any:
        return self._sum(Shard.squared_gradients)

    def _sum(self, task: Callable[[Shard], Any]) -> Any:
        return _accumulated(map(task, self.shards), self._total)


class Shard:
    """One part's tape with its plan and L″: value, gradient and GGN product of that part, times its weight.

    beside: the plan of a shard that is worked on in turn with this one, whose buffers it may use.
    """

    def __init__(self, objective: Objective, model: Any, part: Share, v: Any, beside: Plan | None) -> None:
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
        u = self.out.match(loss_value_and_gradient(self.loss)(self.z, self.part.t)[1], "loss gradient")
        _set_outputs(self.plan.z, u, self.part.weight)
        self.plan.pull()
        return self.plan.u

    def ggn(self) -> Any:
        """Jᵀ L″ J v in a buffer, v in the buffer that all plans of the batch share."""
        self.plan.push()
        self._apply_curvature()
        self.plan.pull()
        return self.plan.u

    def residual(self) -> Any:
        """Jᵀ(L″ J v + ∂L) in a buffer; L″ J v and ∂L are kept, and vᵀG v, ∇fᵀv in `inner`."""
        self.plan.push()
        z, Jv = self.plan.z, self._outputs()
        self._apply_curvature()
        curved, self._set_aside = self._outputs(), []
        slopes = self.out.match(loss_value_and_gradient(self.loss)(self.z, self.part.t)[1], "loss gradient")
        for buffer, LJv, c in zip(z, curved, slopes, strict=True):
            if buffer is None:
                self._set_aside.append(None)
                continue
            u = c if self.part.weight == 1 else c * self.part.weight
            np.add(buffer, u, buffer)
            self._set_aside.append((LJv, u))
        self.plan.pull()
        self.inner = self._inner(Jv)
        return self.plan.u

    def residual_along(self) -> None:
        """wᵀG w, vᵀG w and ∇fᵀw in `inner`, w in the shared buffer and v that of `residual`; one push."""
        self.plan.push()
        Jw = self._outputs()
        self._apply_curvature()
        wGw = sum(_inner_product(a, z) for a, z in zip(Jw, self.plan.z, strict=True) if z is not None)
        self.inner = (wGw, *self._inner(Jw))

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
            d = curvature.diagonal * weight
            d = d.astype(z[0].dtype, copy=False) if hasattr(d, "astype") else z[0].dtype.type(d)
            return partial(np.multiply, z[0], d, z[0])

        out = self.out  # not self: a cycle would keep the buffers until the collector comes
        specs = zip(z, out.shapes, out.dtypes, strict=True)
        v = [np.zeros(shape, dtype) if buffer is None else buffer for buffer, shape, dtype in specs]
        return lambda: _set_outputs(z, out.match(curvature(out.unflatten(v)), "L″ J v"), weight)

    def squared_gradients(self) -> Any:
        """Σ over the part's cases of the squared per-case gradients, over all cases of the batch."""
        n = cases(self.part.x, self.part.t) or 1
        u = self.out.match(loss_value_and_gradient(self.loss)(self.z, self.part.t)[1], "loss gradient")
        u = [c * n for c in u]  # the gradient of a sum, not of a mean
        found = squares(self.tape, u, self.outputs, self.n_inputs, n)
        if found is None and n == 1:  # one case, or no batch at all: the gradient itself
            return np.square(self.gradient()) / self.plan.u.dtype.type(self.part.weight)
        if found is None:
            raise NotImplementedError(
                "per-case squared gradients need outputs with one row per case, and cases that do not mix "
                "(as batch statistics make them in training); without them HessianFree takes preconditioner=False"
            )
        return _tree.ravel(found)[0] * found[0].dtype.type(self.part.weight / n)


class HessianLane:
    """Gradients of one thread's shards, each on a tape: their pushes are Hessian products, times the parts' weights."""

    def __init__(self, objective: Objective, model: Any, parts: list[Share], v: Any) -> None:
        value = loss_value(objective.loss)
        kept = [_tree.is_differentiable(leaf) for _, leaf in _tree.leaves(model)]

        def gradient(part: Share, model: Any) -> list[Any]:
            """By the float leaves only: a gradient has zeros at a model's integer leaves."""
            whole = grad(lambda m: value(part.run(m), part.t) * part.weight)(model)
            return [leaf for (_, leaf), keep in zip(_tree.leaves(whole), kept, strict=True) if keep]

        self.plans: list[Plan] = []
        for part in parts:
            record = Record(partial(gradient, part), model, ())
            beside = self.plans[0] if self.plans else None
            self.plans.append(Plan(record.tape, record.outputs, record.n_inputs, v, beside))
        self._total = np.empty_like(v)
        self._views = objective._split(self._total)

    def product(self) -> Any:
        """Σ over the shards H v, (p,), in a buffer."""
        self._total.fill(0)
        for plan in self.plans:
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


def _operator(quadratic: Quadratic, product: Callable[[Any, Any], None]) -> Any:
    """product(v, out) as a symmetric LinearOperator of the parameters' dtype."""

    def apply(v: Any) -> Any:
        out = np.empty_like(quadratic._v)
        product(v, out)
        return out

    return symmetric_operator(quadratic._v, apply)
