"""The checks of a function at one point, in the order in which one error hides others.

plain        f gives the same result twice, and writes into no argument
traced       a recorded call gives the value, shape and dtype of the plain call
plan         the planned sweeps give what the sweeps over the tape give, again and again, on several threads
derivatives  Jv and Jᵀu: shapes, dtypes, adjoint identity, differences; likewise of x ↦ Jv and x ↦ Jᵀu
layouts      arrays in any order of memory, and read-only ones, change nothing
precision    float32 in, float32 out, wherever the plain call stays in it
matrices     ∇²L(f) is symmetric, and GGN products are those of the dense JᵀL″J
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.operators.operators import GGNOperator, HessianOperator
from rmad.testing.compare import assert_same, assert_specs, at_once, copied, is_finite, random_like, same
from rmad.testing.derivatives import Derivatives, blamed
from rmad.testing.strategies import LAYOUTS
from rmad.transforms.transforms import jvp, linearize, vjp
from rmad.trees import tree as _tree
from rmad.trees.flat import ravel
from rmad.types import Array

__all__ = ["FunctionCheck", "as_single", "is_pure"]

THREADS = 3
MOST_COLUMNS = 24  # of the dense matrices


class FunctionCheck:
    """Checks f at as many points as are given; `measured` counts those where f has a derivative.

    name: of f in messages; args: what is not differentiated, with places for what is.
    """

    single_rtol: float | None = None  # allowed difference of a value in float32, recorded and plain

    def __init__(self, order: int, modes: Sequence[str], rtol: float | None, precision: bool = True) -> None:
        self.order, self.modes, self.rtol, self.precision = order, tuple(modes), rtol, precision
        self.measured = 0

    def __call__(self, f: Callable[[Any], Any], x: Any) -> None:
        """Raises AssertionError for the first check that fails at x."""
        if _is_defined(f, x):
            y = is_pure(f, x)
            traced, lin = linearize(f, x)
            assert_same(traced, y, "under tracing, f(x)")
            try:
                self.at(f, x, y, lin)
            except np.linalg.LinAlgError:  # no derivative here, as of vectors of a repeated eigenvalue
                return

    def at(self, f: Callable[[Any], Any], x: Any, y: Any, lin: Any) -> None:
        """The checks that need a derivative."""
        if not _tree.flatten(y, "f(x)")[0] or not self.order:
            self.measured += 1
            return
        self.plan(f, x, y, lin)
        self.derivatives(f, x)
        self.layouts(f, x)
        if self.precision:
            self.single(f, x)
        if is_finite(y) and self.order > 1 and set(self.modes) == {"fwd", "rev"}:
            matrices(f, x, y, lin)

    def derivatives(self, f: Callable[[Any], Any], x: Any) -> None:
        check = Derivatives(self.modes, self.rtol)
        try:
            check.run(f, x, self.order, "")
        except AssertionError as error:
            block = blamed(f, x, self.order, self.modes, self.rtol)
            raise AssertionError(f"{error}\nthe block that is wrong: {block}" if block else str(error)) from None
        self.measured += bool(check.measured)

    def plan(self, f: Callable[[Any], Any], x: Any, y: Any, lin: Any) -> None:
        """Products of the plan next to those of the tape; results and v stay as they are when more follow."""
        rng, ways = np.random.default_rng(1), []
        lin.plan  # noqa: B018 (it is made now, however short the tape)
        if "fwd" in self.modes:
            ways.append(("Jv", lambda v: jvp(f, x, v)[1], lin.Jv, x))
        if "rev" in self.modes:
            ways.append(("Jᵀu", vjp(f, x)[1], lin.JTu, y))
        for name, once, planned, like in ways:
            _planned(name, once, planned, [random_like(like, rng) for _ in range(2)])

    def layouts(self, f: Callable[[Any], Any], x: Any) -> None:
        y = f(x)
        wanted = self.products(f, x, "C")
        for name in LAYOUTS:
            moved = _in_layout(x, name)
            plain = is_pure(f, moved)
            if same(plain, y):  # reshape(order="A") is another function there
                found = self.products(f, moved, name)
                assert_same(found, wanted, f"with x in the layout {name!r}, [f(x), products]")

    def products(self, f: Callable[[Any], Any], x: Any, layout: str) -> list[Any]:
        """f, Jv and Jᵀu at x, for random v and u in some layout."""
        rng = np.random.default_rng(2)
        y, lin = linearize(f, x)
        v, u = random_like(x, rng), random_like(y, rng)
        found = [y]
        if "fwd" in self.modes:
            found.append(lin.Jv(_in_layout(v, layout)))
        if "rev" in self.modes:
            found.append(lin.JTu(_in_layout(u, layout)))
        return found

    def single(self, f: Callable[[Any], Any], x: Any) -> None:
        """Dtypes of value and products, and the blocks of the tape, in single precision."""
        x = _tree.map_leaves(as_single, x)
        y = is_pure(f, x)
        traced, lin = linearize(f, x)
        assert_same(traced, y, "of float32, under tracing, f(x)", self.single_rtol)
        rng = np.random.default_rng(3)
        if is_finite(y):
            v, u = random_like(x, rng), random_like(y, rng)
            if "fwd" in self.modes:
                assert_specs(lin.Jv(v), y, "of float32, Jv")
                assert_specs(jvp(f, x, v)[1], y, "of float32, Jv in one sweep")
            if "rev" in self.modes:
                assert_specs(lin.JTu(u), x, "of float32, Jᵀu")
                assert_specs(vjp(f, x)[1](u), x, "of float32, Jᵀu in one sweep")
            if is_finite((lin.Jv(v), lin.JTu(u)) if set(self.modes) == {"fwd", "rev"} else ()):
                Derivatives(self.modes, self.rtol).blocks(linearize(f, x)[1], "of float32: ")


def _planned(name: str, once: Callable[[Any], Any], planned: Callable[[Any], Any], vs: list[Any]) -> None:
    """The planned products with vs are those of the sweep `once`, in any order and number."""
    kept = copied(vs)
    held = [once(v) for v in vs]
    wanted = [copied(once(v)) for v in vs]
    assert_same(held, wanted, f"while other products follow, the results [{name}, {name}]", 0.0)
    for k, Jv in enumerate([planned(v) for v in [*vs, *vs]]):
        assert_same(Jv, wanted[k % 2], f"{name} by the plan, which differs from that of the tape,")
    for k, Jv in enumerate(at_once(lambda k: planned(vs[k % 2]), THREADS)):
        assert_same(Jv, wanted[k % 2], f"{name} on {THREADS} threads at once")
    assert_same(vs, kept, f"after the products, the argument of {name}", 0.0)


def _is_defined(f: Callable[[Any], Any], x: Any) -> bool:
    """False if f raises at x, where a recorded call must not return either."""
    try:
        f(copied(x))
    except (ValueError, ArithmeticError) as error:  # NumPy's LinAlgError among them
        try:
            linearize(f, copied(x))
        except type(error):
            return False
        raise AssertionError(f"the plain call raises {error!r}, but a recorded one gives a value") from None
    return True


def is_pure(f: Callable[[Any], Any], x: Any) -> Any:
    """f(x), once it is shown that f gives it twice and leaves x as it is."""
    kept = copied(x)
    y = copied(f(x))
    assert_same(x, kept, "f writes into its argument: after f(x), x", 0.0)
    assert_same(f(x), y, "f is no function of x alone: the second time, f(x)", 0.0)
    return y


def matrices(f: Callable[[Any], Any], x: Any, y: Any, lin: Any) -> None:
    """∇²L(f(x)) and JᵀL″J for L = Σ log 2 cosh z, column by column, next to the dense matrices."""
    dtypes = [d for t in (x, y) for d in _tree.flatten(t, "x")[1].dtypes]
    if any(d.kind != "f" for d in dtypes):
        return
    flat, unravel = ravel(x)
    p, z = flat.size, ravel(y)[0]
    if not 0 < p <= MOST_COLUMNS or not 0 < z.size <= MOST_COLUMNS:
        return

    def loss(y: Any) -> Any:
        return sum(np.sum(np.logaddexp(a, -a)) for a in _tree.flatten(y, "y")[0])

    with np.errstate(all="ignore"):
        J = np.stack([ravel(lin.Jv(unravel(e)))[0] for e in np.eye(p, dtype=flat.dtype)], axis=1)
        G = GGNOperator(f, loss, x) @ np.eye(p, dtype=flat.dtype)
        H = HessianOperator(lambda x: loss(f(x)), x) @ np.eye(p, dtype=flat.dtype)
    if not is_finite((J, G, H)):
        return
    curvature = 1 - np.tanh(z) ** 2
    rtol = 1e-8 if {d.itemsize for d in dtypes} == {8} else 1e-3
    _close(G, J.T @ (curvature[:, None] * J), "GGNOperator's matrix and the dense JᵀL″J differ", rtol * np.sum(J**2))
    _close(H, H.T, "the Hessian is not symmetric, so second derivatives are wrong", rtol * float(np.max(np.abs(H))))


def _close(a: Array, b: Array, what: str, tolerance: float) -> None:
    error = np.abs(a - b)
    if not np.all(error <= tolerance):
        k = np.unravel_index(np.argmax(error), error.shape)
        raise AssertionError(f"{what}: {a[k]} at {list(map(int, k))} for {b[k]}")


def _in_layout(tree: Any, layout: str) -> Any:
    return _tree.map_leaves(lambda a: LAYOUTS[layout](a) if isinstance(a, np.ndarray) else a, tree)


def as_single(leaf: Any) -> Any:
    """A leaf in single precision, if it holds floats."""
    kind = _tree.dtype_of(leaf).kind
    return leaf if kind not in "fc" else np.asarray(leaf, np.float32 if kind == "f" else np.complex64)
