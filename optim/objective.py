"""The objective f(θ) = L(F(θ)) + ½ l2 ‖θ‖² on a batch, and its local quadratic model.

    M(δ) = f(θ) + ∇f(θ)ᵀ δ + ½ δᵀ B δ        B = G = Jᵀ L″ J  (GGN)  or  B = H

Every optimizer sees its problem through these two classes. Everything is a sum over shards of the batch
(`optim.shards`). Source: Martens & Sutskever (2012), sections 4 to 6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np

from optim.shards import Crew, cases, cores, slices, take
from optim.vectors import dot
from rmad import tree as _tree
from rmad.backend import is_cupy
from rmad.batch import cases_from
from rmad.memory import keep_freed_memory
from rmad.operators import loss_curvature, symmetric_operator
from rmad.plan import Plan
from rmad.primitives.products import matmul
from rmad.rules import Diagonal, Linear
from rmad.sweeps import squares
from rmad.tape import pull
from rmad.transforms import Record, grad, value_and_grad

__all__ = ["Objective", "Quadratic"]

# Work below which a second thread costs more than it saves, in multiply-adds of one forward pass.
WORTH_A_THREAD = 1_000_000


class Objective:
    """f(θ) = mean over cases of loss(model(x), t), plus ½ l2 ‖θ‖².

    model: a tree of float arrays of one dtype that can be called, model(x) → z. loss: an object with
    value, gradient and hessian_product (`nn.losses.base` tells what more it may offer), or any callable
    (z, t) → scalar that is a mean over cases. x, t: whatever they take (also None); the first axis of every array
    in them counts the cases. Flat vectors have the order of rmad.ravel(model).

    shards, threads: how the batch is divided; by default decided from the cores and the work. A model
    with `couples_cases = True` (train-mode batch normalisation) and a loss with
    `mean_over_cases = False` are never divided.
    """

    def __init__(
        self, model: Any, loss: Any, l2: float = 0.0, *, shards: int | None = None, threads: int | None = None
    ) -> None:
        if not callable(model):
            raise TypeError(f"model must be callable, model(x) -> z; got {type(model).__name__}")
        if not (callable(loss) or hasattr(loss, "value")):
            raise TypeError(f"loss must be a loss object or a callable (z, t) -> scalar; got {type(loss).__name__}")
        if not (l2 >= 0 and np.isfinite(l2)):
            raise ValueError(f"l2 must be a finite number ≥ 0, got {l2}")
        for name, number in (("shards", shards), ("threads", threads)):
            if number is not None and not (isinstance(number, int | np.integer) and number >= 1):
                raise ValueError(f"{name} must be a whole number ≥ 1, got {number}")
        keep_freed_memory()
        self.model, self.loss, self.l2, self.shards = model, loss, float(l2), shards
        self.threads = cores() if threads is None else threads
        self._work: dict[Any, float] = {}
        arrays, treedef = _tree.flatten(model, "model")
        if not arrays:
            raise TypeError("model holds no float arrays to train")
        if len(set(treedef.dtypes)) > 1:
            found = sorted({str(d) for d in treedef.dtypes})
            raise TypeError(f"model mixes dtypes {found}; use one for all parameters")
        self.dtype, self._shapes = treedef.dtypes[0], treedef.shapes
        self.size = sum(_tree.sizes(self._shapes))

    # -- parameters as one flat vector ---------------------------------------------------------------------

    def flat(self) -> Any:
        """θ, (p,), a new array."""
        return _tree.ravel(self.model)[0]

    def assign(self, flat: Any) -> None:
        """Rebinds the model's arrays to views of a new copy of `flat`; the old arrays stay as they were."""
        _tree.rebind(self.model, self._split(flat.astype(self.dtype, copy=True)))

    def _split(self, flat: Any) -> list[Any]:
        if np.shape(flat) != (self.size,):
            raise ValueError(f"expected a flat vector of shape ({self.size},), got {np.shape(flat)}")
        return _tree.split(flat, self._shapes)

    def model_at(self, flat: Any) -> Any:
        """The model with other parameters; the model itself is untouched."""
        _, treedef = _tree.flatten(self.model, "model")
        return treedef.unflatten(self._split(flat.astype(self.dtype, copy=False)))

    # -- updates --------------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Tells the model that an update begins: from now on it is one fixed function (masks are drawn now)."""
        if hasattr(self.model, "begin_step"):
            self.model.begin_step()

    def end_step(self) -> None:
        """Tells the model that the update was accepted (running statistics take in the batch)."""
        if hasattr(self.model, "end_step"):
            self.model.end_step()

    # -- values and gradients ---------------------------------------------------------------------------------

    def value(self, x: Any, t: Any = None) -> float:
        """f(θ) on the batch, in float64."""
        return self._value(self.model, x, t)

    def value_at(self, flat: Any, x: Any, t: Any = None) -> float:
        """f at the parameters `flat`, (p,); the model is untouched."""
        return self._value(self.model_at(flat), x, t)

    def _value(self, model: Any, x: Any, t: Any) -> float:
        parts = self.divide(x, t)
        value = loss_value(self.loss)
        values = self.crew.run(lambda k: parts[k].weight * float(value(parts[k].run(model), parts[k].t)), len(parts))
        return sum(values) + self._penalty(_tree.flatten(model, "model")[0])

    def _penalty(self, arrays: list[Any]) -> float:
        if not self.l2:
            return 0.0
        return 0.5 * self.l2 * sum(dot(flat, flat) for flat in (np.reshape(a, -1) for a in arrays))

    def value_and_gradient(self, x: Any, t: Any = None) -> tuple[float, Any]:
        """f(θ) and ∇f(θ), (p,): one forward and one backward sweep, nothing kept."""
        parts = self.divide(x, t)
        both = loss_value_and_gradient(self.loss)

        def one(k: int) -> tuple[float, list[Any]]:
            part = parts[k]
            record = Record(part.run, self.model, ())
            value, u = both(record.y, part.t)
            cotangents = [_scaled(c, part.weight) for c in record.out.match(u, "loss gradient")]
            return part.weight * float(value), pull(record.tape, cotangents, record.outputs, record.n_inputs)

        results = self.crew.run(one, len(parts))
        arrays, _ = _tree.flatten(self.model, "model")
        total = np.empty_like(arrays[0], shape=(self.size,))
        for k, view in enumerate(self._split(total)):
            _sum_into(view, [leaves[k] for _, leaves in results if leaves[k] is not None])
        if self.l2:
            total += self.dtype.type(self.l2) * self.flat()
        return sum(value for value, _ in results) + self._penalty(arrays), total

    def quadratic(self, x: Any, t: Any = None) -> Quadratic:
        """The local quadratic model at the present parameters: runs the model once per shard."""
        return Quadratic(self, self.divide(x, t))

    # -- shards ---------------------------------------------------------------------------------------------------

    @cached_property
    def crew(self) -> Crew:
        return Crew(self.threads)

    def divide(self, x: Any, t: Any) -> list[Share]:
        """The batch as a list of parts, whose weights sum to one."""
        n = cases(x, t)
        if n == 0:
            raise ValueError("the batch is empty: x and t have no cases")
        parts = self._number_of_parts(n, x, t)
        if n is None or parts == 1:
            return [Share(x, t, 1.0, 0)]
        return [Share(take(x, s), take(t, s), (s.stop - s.start) / n, s.start) for s in slices(n, parts)]

    def _number_of_parts(self, n: int | None, x: Any, t: Any) -> int:
        coupled = getattr(self.model, "couples_cases", False) or not getattr(self.loss, "mean_over_cases", True)
        if n is None or coupled:
            return 1
        if self.shards is not None:
            return max(1, min(self.shards, n))
        parts = min(self.threads, n)
        if parts == 1 or is_cupy(_tree.flatten(self.model, "model")[0][0]):
            return 1
        return parts if n * self._work_per_case(x) >= parts * WORTH_A_THREAD else 1

    def _work_per_case(self, x: Any) -> float:
        """Multiply-adds of a forward pass of one case, counted on its tape once per shape of x."""
        one = take(x, slice(0, 1))
        key = tuple(np.shape(a) for _, a in _tree.leaves(one))
        if key not in self._work:
            self._work[key] = _work(Record(Share(one, None, 1.0, 0).run, self.model, ()))
        return self._work[key]


class Share:
    """A slice of the batch; `weight` is its share of the cases, `first` the number of its first one."""

    def __init__(self, x: Any, t: Any, weight: float, first: int) -> None:
        self.x, self.t, self.weight, self.first = x, t, weight, first

    def run(self, model: Any) -> Any:
        """model(x), where layers that draw random numbers know which cases these are."""
        with cases_from(self.first):
            return model(self.x)


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
        self.shards = objective.crew.run(lambda k: Shard(objective, parts[k], self._v), len(parts))
        self._hessian_shards: list[HessianShard] | None = None
        self.value = sum(s.value for s in self.shards) + objective._penalty(self._arrays)

    @cached_property
    def gradient(self) -> Any:
        """∇f(θ), (p,)."""
        self.objective.crew.run(lambda k: self.shards[k].gradient(), len(self.shards))
        out = np.empty_like(self._v)
        self._collect([s.plan.u for s in self.shards], self.theta if self.objective.l2 else None, out)
        return out

    @property
    def theta(self) -> Any:
        """θ of the moment when the model was made, (p,)."""
        return _tree.ravel(self._arrays)[0]

    def ggn_product(self, v: Any, out: Any) -> None:
        """out ← G v = Σ over shards Jᵀ L″ J v, plus l2 v."""
        np.copyto(self._v, v)
        self.products += 1
        self.objective.crew.run(lambda k: self.shards[k].ggn(), len(self.shards))
        self._collect([s.plan.u for s in self.shards], self._v, out)

    def hessian_product(self, v: Any, out: Any) -> None:
        """out ← H v = Σ over shards of the directional derivative of the gradient, plus l2 v."""
        if self._hessian_shards is None:
            model = self.objective.model_at(self.theta)
            make = partial(HessianShard, self.objective, model, self._v)
            self._hessian_shards = self.objective.crew.run(lambda k: make(self.parts[k]), len(self.parts))
        shards = self._hessian_shards
        np.copyto(self._v, v)
        self.products += 1
        self.objective.crew.run(lambda k: shards[k].plan.push(), len(shards))
        for k, view in enumerate(self.objective._split(out)):
            _sum_into(view, [s.plan.z[k] for s in shards if s.plan.z[k] is not None])
        self._collect([out], self._v, out)

    def _collect(self, terms: list[Any], v: Any, out: Any) -> None:
        """out ← Σ terms + l2 v."""
        _sum_into(out, terms)
        if self.objective.l2:
            out += self.objective.dtype.type(self.objective.l2) * v

    def squared_gradients(self) -> Any:
        """Mean over cases of the squared per-case gradients, (p,), without l2 (section 11.3)."""
        squared = self.objective.crew.run(lambda k: self.shards[k].squared_gradients(), len(self.shards))
        out = np.empty_like(self._v)
        _sum_into(out, squared)
        return out

    @property
    def ggn(self) -> Any:
        return _operator(self, self.ggn_product)

    @property
    def hessian(self) -> Any:
        return _operator(self, self.hessian_product)


class Shard:
    """One part's tape with its plan and L″: value, gradient and GGN product of that part, times its weight."""

    def __init__(self, objective: Objective, part: Share, v: Any) -> None:
        self.part, self.loss = part, objective.loss
        record = Record(part.run, objective.model, ())
        self.z, self.out = record.y, record.out
        self.tape, self.outputs, self.n_inputs = record.tape, record.outputs, record.n_inputs
        self.value = part.weight * float(loss_value(self.loss)(self.z, part.t))
        self.plan = Plan(record.tape, record.outputs, record.n_inputs, v)
        self._curvature: Callable[[], Any] | None = None

    def gradient(self) -> None:
        """plan.u ← the part's share of ∇f."""
        self._set_z(loss_value_and_gradient(self.loss)(self.z, self.part.t)[1])
        self.plan.pull()

    def ggn(self) -> None:
        """plan.u ← Jᵀ L″ J v, v in the buffer that all plans of the batch share."""
        if self._curvature is None:
            self._curvature = self._bind_curvature()
        self.plan.push()
        self._curvature()
        self.plan.pull()

    def _bind_curvature(self) -> Callable[[], Any]:
        """z ← weight · L″ z on the plan's output buffers."""
        curvature, weight, z = loss_curvature(self.loss, self.z, self.part.t), self.part.weight, self.plan.z
        if hasattr(curvature, "diagonal") and len(z) == 1 and z[0] is not None:
            d = curvature.diagonal * weight
            d = d.astype(z[0].dtype, copy=False) if hasattr(d, "astype") else z[0].dtype.type(d)
            return partial(np.multiply, z[0], d, z[0])

        specs = zip(z, self.out.shapes, self.out.dtypes, strict=True)
        v = [np.zeros(shape, dtype) if buffer is None else buffer for buffer, shape, dtype in specs]

        def general() -> None:
            self._set_z(curvature(self.out.unflatten(v)))

        return general

    def _set_z(self, u: Any) -> None:
        for buffer, c in zip(self.plan.z, self.out.match(u, "L″ J v"), strict=True):
            if buffer is not None:
                np.multiply(c, self.part.weight, buffer) if self.part.weight != 1 else np.copyto(buffer, c)

    def squared_gradients(self) -> Any:
        """Σ over the part's cases of the squared per-case gradients, over all cases of the batch."""
        n = cases(self.part.x, self.part.t) or 1
        u = self.out.match(loss_value_and_gradient(self.loss)(self.z, self.part.t)[1], "loss gradient")
        u = [c * n for c in u]  # the gradient of a sum, not of a mean
        found = squares(self.tape, u, self.outputs, self.n_inputs, n)
        if found is None and n == 1:  # one case, or no batch at all: the gradient itself
            self.gradient()
            return np.square(self.plan.u) / self.plan.u.dtype.type(self.part.weight)
        if found is None:
            raise NotImplementedError(
                "per-case squared gradients need parameters that are used as x @ W or + b with one row per case"
            )
        return _tree.ravel(found)[0] * found[0].dtype.type(self.part.weight / n)


class HessianShard:
    """One part's gradient on a tape: its push is the Hessian product, times the part's weight."""

    def __init__(self, objective: Objective, model: Any, v: Any, part: Share) -> None:
        value = loss_value(objective.loss)

        def share(model: Any) -> Any:
            return value(part.run(model), part.t) * part.weight

        record = Record(grad(share), model, ())
        self.plan = Plan(record.tape, record.outputs, record.n_inputs, v)


def loss_value(loss: Any) -> Callable[[Any, Any], Any]:
    """(z, t) → L, of a loss object or a callable."""
    return loss.value if hasattr(loss, "value") else loss


def loss_value_and_gradient(loss: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """(z, t) → L, ∂L/∂z: in closed form where the loss has one, else by a sweep."""
    if hasattr(loss, "value_and_gradient"):
        return loss.value_and_gradient
    if hasattr(loss, "gradient"):
        return lambda z, t: (loss.value(z, t), loss.gradient(z, t))
    return value_and_grad(loss_value(loss))


def _scaled(u: Any, weight: float) -> Any:
    return u if weight == 1 else u * weight


def _sum_into(out: Any, terms: list[Any]) -> None:
    """out ← Σ terms, in their order."""
    if not terms:
        out.fill(0)
    elif len(terms) == 1:
        if terms[0] is not out:
            np.copyto(out, terms[0])
    else:
        np.add(terms[0], terms[1], out)
        for term in terms[2:]:
            np.add(out, term, out)


def _work(record: Record) -> float:
    """Multiply-adds of one forward pass, as far as the tape tells; an elementwise node counts ten per entry."""
    work = 0.0
    for node in record.tape.nodes:
        for block in node.blocks:
            if isinstance(block, Linear) and block.primitive is matmul:
                work += block.args[0].size * block.args[1].shape[-1]
            elif isinstance(block, Diagonal):
                work += 10 * node.spec.size
    return work


def _operator(quadratic: Quadratic, product: Callable[[Any, Any], None]) -> Any:
    """product(v, out) as a symmetric LinearOperator of the parameters' dtype."""

    def apply(v: Any) -> Any:
        out = np.empty_like(quadratic._v)
        product(v, out)
        return out

    return symmetric_operator(quadratic._v, apply)
