"""What a user calls: linearize, jvp, vjp, grad, value_and_grad, hvp, stop_gradient.

The first argument of a differentiated function is what is differentiated: a tree of float arrays.
Further positional arguments pass through.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from rmad import tree as _tree
from rmad.plan.plan import Plan
from rmad.record import Record, _filled
from rmad.traced import Traced, stop

__all__ = [
    "Linearization",
    "grad",
    "hvp",
    "jvp",
    "linearize",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]


class Linearization:
    """The Jacobian J of f at x, from one run of f: Jv(v) and JTu(u) as often as wanted.

    Jv:  tree like x → tree like y      the R-operator
    JTu: tree like y → tree like x      the adjoint under ⟨u, v⟩ = Re uᴴv
    Trees are checked; ValueError names the first leaf that does not fit. Safe to call from several threads.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._plan: Plan | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        x, y, nodes = self._record.x, self._record.out, self._record.tape.nodes
        p, q = (sum(_tree.sizes(tree.shapes)) for tree in (x, y))
        return f"<Linearization: {p:,} numbers to {q:,}, {len(nodes) - self._record.n_inputs} nodes>"

    def Jv(self, v: Any) -> Any:
        record = self._record
        tangents = record.x.match(v, "v")
        if record.tape.nested or any(isinstance(t, Traced) for t in tangents):
            return record.push(v)
        with self._lock:
            return _filled(record.out, self.plan.Jv(tangents))

    def JTu(self, u: Any) -> Any:
        record = self._record
        cotangents = record.out.match(u, "u")
        if record.tape.nested or any(isinstance(t, Traced) for t in cotangents):
            return record.pull(u)
        with self._lock:
            return _filled(record.x, self.plan.JTu(cotangents))

    @property
    def plan(self) -> Plan:
        """The tape rewritten for many sweeps; made at the first product."""
        if self._plan is None:
            self._plan = Plan(self._record.tape, self._record.outputs, self._record.n_inputs)
        return self._plan


def linearize(f: Callable[..., Any], x: Any, *args: Any) -> tuple[Any, Linearization]:
    """y, lin: f(x, *args) and its Jacobian at x, from one run of f.

    x: a tree of float arrays; y: whatever tree f returns. lin.Jv(v) and lin.JTu(u) never run f again.
    y may share memory with the tape (y of exp is its own derivative): copy it before you write into it.
    Raises TypeError where x holds nothing to differentiate.

    >>> y, lin = linearize(np.tanh, np.zeros(3))
    >>> lin.Jv(np.ones(3))
    array([1., 1., 1.])
    """
    record = Record(f, x, args)
    return record.give_y(), Linearization(record)


def jvp(f: Callable[..., Any], x: Any, v: Any, *args: Any) -> tuple[Any, Any]:
    """y, Jv: f(x, *args) and the directional derivative of f along v, a tree like x."""
    record = Record(f, x, args)
    return record.y, record.push(v)


def vjp(f: Callable[..., Any], x: Any, *args: Any) -> tuple[Any, Callable[[Any], Any]]:
    """y, pull: f(x, *args), and pull(u) = Jᵀu, a tree like x for u like y."""
    record = Record(f, x, args)
    return record.give_y(), record.pull


def value_and_grad(f: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """g with g(x, *args, **kwargs) = (f(x, *args, **kwargs), ∇f), for a real scalar f; ∇f is a tree like x.

    Of a complex x it is the gradient under ⟨u, v⟩ = Re uᴴv: ∂f/∂Re x + i ∂f/∂Im x.
    Raises TypeError where f returns no real scalar.
    """

    def evaluate(x: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        record = Record(partial(f, **kwargs) if kwargs else f, x, args)
        y, specs = record.y, record.out
        if getattr(y, "shape", ()) != () or isinstance(y, tuple | list | dict) or y is None:
            kind = f"shape {y.shape}" if hasattr(y, "shape") else type(y).__name__
            raise TypeError(f"the gradient is of a scalar, but f returned {kind}; use rmad.vjp or rmad.linearize")
        if specs.dtypes and specs.dtypes[0].kind == "c":
            raise TypeError("the gradient is of a real scalar, but f returned a complex one; use rmad.vjp")
        one = specs.dtypes[0].type(1) if specs.dtypes else y
        return y, record.pull(one)

    return evaluate


def grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """∇f as a function of (x, *args, **kwargs), for a real scalar f. See value_and_grad.

    >>> grad(lambda x: x**3)(2.0)
    np.float64(12.0)
    """
    evaluate = value_and_grad(f)
    return lambda x, *args, **kwargs: evaluate(x, *args, **kwargs)[1]


def hvp(f: Callable[..., Any], x: Any, v: Any, *args: Any) -> Any:
    """Hv, H the Hessian of the scalar f at x: the push of the gradient (Pearlmutter 1994).

    For many v at the same x, `linearize(grad(f), x)[1].Jv` or a HessianOperator runs f once.
    """
    return jvp(grad(f), x, v, *args)[1]


def stop_gradient(x: Any) -> Any:
    """x as a constant: its value with a derivative of zero. x: an array or any tree."""
    return stop(x) if isinstance(x, Traced) else _tree.map_leaves(stop, x)
