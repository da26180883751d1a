"""The local quadratic model of the objective, as a sum over shards of a batch.

    M(δ) = f(θ) + ∇f(θ)ᵀ δ + ½ δᵀ B δ        B = G = Jᵀ L″ J  (GGN)  or  B = H

Source: Martens & Sutskever (2012), sections 4 to 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from optim.problem.batch import Share
from optim.problem.lanes import HessianLane, Lane, Shard
from optim.problem.parameters import Parameters
from optim.problem.vectors import blocks, dot
from rmad.extend import address, shares, symmetric_operator
from rmad.extend import tree as _tree

__all__ = ["Quadratic"]


LONG = 1 << 20  # bytes of a vector from which it is worth planning the sweeps anew to save a copy
PATIENCE = 4  # how often that is done for other arrays


class _Vector:
    """A vector (p,) of the kind of θ, made when it is first asked for."""

    def __init__(self, like: Any, size: int) -> None:
        self._like, self._size = like, size
        self._made: Any = None

    def another(self) -> Any:
        return np.empty_like(self._like, shape=(self._size,))

    def __call__(self) -> Any:
        if self._made is None:
            self._made = np.zeros_like(self._like, shape=(self._size,))
        return self._made


class Quadratic:
    """M(δ) = value + gradientᵀ δ + ½ δᵀ B δ at the parameters of the moment when it was made.

    value: float; gradient: (p,); ggn, hessian: LinearOperators on (p,) vectors, l2 included. The fast path
    for solvers is ggn_product(v, out), which writes into an array. No product runs the model again, unless the batch
    is larger than memory (keep = False, section 7.1). `products` counts products, `passes` the times that the model
    ran over the batch.
    """

    def __init__(self, objective: Parameters, parts: list[Share], keep: bool = True) -> None:
        self.objective, self.parts, self.keep = objective, parts, keep
        arrays, treedef = _tree.flatten(objective.model, "model")
        self._arrays = arrays  # θ of this moment: steps rebind, never overwrite
        self.products, self.passes = 0, int(keep)
        self._shared = _Vector(arrays[0], objective.size)
        self._seen: tuple[Any, ...] = ()  # the arrays of the last product
        self._changes = 0  # how often they were not those of the product before
        model, shared = objective.model if keep else treedef.unflatten(arrays), self._shared
        self.lanes = self._each(lambda mine: Lane(objective, model, mine, shared, keep))
        self._hessian_lanes: list[HessianLane] | None = None

    def _each(self, task: Callable[[list[Share]], Any]) -> list[Any]:
        """task(its parts) on every thread."""
        parts, crew = self.parts, self.objective.crew
        threads = min(crew.threads, len(parts))
        return crew.run(lambda j: task(parts[j::threads]), threads)

    @property
    def _v(self) -> Any:
        """The vector to multiply, (p,), where the lanes look for it."""
        return self._shared()

    def _sweep(self, task: Callable[[Any], Any], lanes: list[Any]) -> list[Any]:
        """[task(lane), …]: one sweep over every tape, which is made first where it is not kept."""
        self.passes += not self.keep
        return self.objective.crew.run(lambda j: task(lanes[j]), len(lanes))

    def _sum(self, task: Callable[[Any], Any], lanes: list[Any], v: Any, out: Any) -> Any:
        """out ← Σ over threads task(lane) + l2 v."""
        return self._added(self._sweep(task, lanes), v, out)

    def _added(self, terms: list[Any], v: Any, out: Any) -> Any:
        """out ← Σ terms + l2 v; the first of the terms may be `out` itself."""
        if len(terms) > 1:
            np.add(terms[0], terms[1], out)
        elif terms[0] is not out:
            np.copyto(out, terms[0])
        for term in terms[2:]:
            np.add(out, term, out)
        if self.objective.l2 and v is not None:
            l2 = self.objective.dtype.type(self.objective.l2)
            for part, of_v in blocks(out, v):
                part += l2 * of_v
        return out

    @cached_property
    def value(self) -> float:
        """f(θ), in float64."""
        if not self.keep:
            _ = self.gradient  # by the same pass
        return sum(lane.value for lane in self.lanes) + self.objective._penalty(self._arrays)

    @cached_property
    def gradient(self) -> Any:
        """∇f(θ), (p,)."""
        task = Lane.gradient if self.keep else Lane.value_and_gradient
        theta = self.theta if self.objective.l2 else None
        return self._sum(task, self.lanes, theta, self._shared.another())

    @property
    def theta(self) -> Any:
        """θ of the moment when the model was made, (p,)."""
        return _tree.ravel(self._arrays)[0]

    def ggn_product(self, v: Any, out: Any) -> None:
        """out ← G v = Σ over shards Jᵀ L″ J v, plus l2 v.

        Long vectors are read and written where they are, if products come with the same two arrays, as those of CG do:
        the sweeps are bound to them then, and no copy of v is held. out is scratch until the product is done.
        """
        if not self._in_place(v, out):
            self._copied_product(v, out)
            return
        self.products += 1
        crew, lanes = self.objective.crew, self.lanes
        self._added(crew.run(lambda j: lanes[j].ggn(v, None if j else out), len(lanes)), v, out)

    def _copied_product(self, v: Any, out: Any) -> None:
        np.copyto(self._v, v)
        self.products += 1
        self._sum(Lane.ggn, self.lanes, self._v, out)

    def _in_place(self, v: Any, out: Any) -> bool:
        """Whether the sweeps of a product are bound to these arrays of the caller's."""
        if not self.keep or self._changes > PATIENCE or self.objective.size * self.objective.dtype.itemsize < LONG:
            return False
        fit = all(
            type(a) is type(self._arrays[0])
            and (a.shape, a.dtype) == ((self.objective.size,), self.objective.dtype)
            and a.flags.c_contiguous
            and getattr(a.flags, "aligned", True)  # BLAS writes nowhere else
            for a in (v, out)
        )
        if not fit or not getattr(out.flags, "writeable", True) or shares(v, out):
            return False
        seen = (address(v), address(out))
        self._changes += seen != self._seen
        self._seen = seen
        return self._changes <= PATIENCE

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
        self._sweep(lambda lane: lane.residual_along(v), self.lanes)
        wGw, vGw, slope = self._inner_products()
        if l2 := self.objective.l2:
            wGw, vGw, slope = wGw + l2 * dot(w, w), vGw + l2 * dot(v, w), slope + l2 * dot(self.theta, w)
        return wGw, vGw, slope

    def curvature_along(self, v: Any) -> list[float]:
        """⟨J_j v, (L″ J v)_j⟩ for every output j of the model (one or several arrays), and l2‖v‖²; by one push.

        Their sum is vᵀG v.
        """
        np.copyto(self._v, v)
        self.products += 1
        self._sweep(Lane.curvature_along, self.lanes)
        l2 = self.objective.l2
        return [*self._inner_products(), l2 * dot(v, v) if l2 else 0.0]

    def _inner_products(self) -> tuple[float, ...]:
        """The sums over all shards of what their last sweep left."""
        return tuple(map(sum, zip(*(lane.inner for lane in self.lanes), strict=True)))

    def hessian_product(self, v: Any, out: Any) -> None:
        """out ← H v = Σ over shards of the directional derivative of the gradient, plus l2 v."""
        if self._hessian_lanes is None:
            model = self.objective.model_at(self.theta)
            more = (self._shared, self.keep)
            self._hessian_lanes = self._each(lambda mine: HessianLane(self.objective, model, mine, *more))
            self.passes += self.keep
        np.copyto(self._v, v)
        self.products += 1
        self._sum(HessianLane.product, self._hessian_lanes, self._v, out)

    def each_shard(self, task: Callable[[Shard], Any]) -> list[Any]:
        """[task(shard), …] for every shard of the batch, on the threads: for sweeps that carry something else."""
        return [found for lane in self._sweep(lambda lane: lane.each(task), self.lanes) for found in lane]

    def squared_gradients(self) -> Any:
        """Mean over cases of the squared per-case gradients, (p,), without l2 (section 11.3)."""
        return self.squares(Shard.per_case_gradients, "the squared gradient of every case")

    def squares(self, cotangents: Callable[[Shard], Iterator[list[Any]]], what: str = "the diagonal") -> Any:
        """Σ over the cotangents that every shard is given of the squared per-case pulls, (p,), without l2."""
        out = self._shared.another()
        return self._sum(lambda lane: lane.squares(cotangents, what), self.lanes, None, out)

    @property
    def ggn(self) -> Any:
        return _operator(self, self._copied_product)

    @property
    def hessian(self) -> Any:
        return _operator(self, self.hessian_product)


def _operator(quadratic: Quadratic, product: Callable[[Any, Any], None]) -> Any:
    """product(v, out) as a symmetric LinearOperator of the parameters' dtype."""

    def apply(v: Any) -> Any:
        out = quadratic._shared.another()
        product(v, out)
        return out

    return symmetric_operator(quadratic._shared.another(), apply)
