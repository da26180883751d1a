"""The derivative checks of `check_grads`, where f has a derivative; and the primitive whose rule is wrong.

`check_grads` takes f to be smooth around x. Drawn points may lie at a kink, at the edge of the domain or where a
derivative is infinite: there differences show nothing, and the other checks remain.

    rough      no step h gives differences from the right and from the left that agree
    wrong      at several steps Jv is farther from the central difference than the two sides are from each other
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad.check import KINKS, _Check, _Point, _precision
from rmad.rules import Elementwise, LinearPrimitive
from rmad.tapes.tape import ArraySpec
from rmad.testing.compare import is_finite
from rmad.tracing.dispatch import Primitive
from rmad.tracing.traced import Traced, stop
from rmad.transforms.transforms import linearize
from rmad.trees import tree as _tree
from rmad.types import Array

__all__ = ["Derivatives", "blamed"]

_STEPS = {8: (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), 4: (1e-1, 3e-2, 1e-2)}  # by bytes of the real type


class Derivatives(_Check):
    """Jv, Jᵀu and their derivatives against differences; `measured` counts the comparisons that were possible."""

    def __init__(self, modes: Sequence[str], rtol: float | None, seed: int = 0) -> None:
        super().__init__(tuple(modes), rtol, None, np.random.default_rng(seed))
        self.measured = 0
        self._moved: tuple[_Point, int, Array] | None = None

    def run(self, f: Callable[[Any], Any], x: Any, order: int, where: str) -> None:
        if order >= 1 and self._is_defined(f, x, where):
            super().run(f, x, order, where)

    def _is_defined(self, f: Callable[[Any], Any], x: Any, where: str) -> bool:
        """True if f and its products are finite at x. AssertionError if they are not and differences are."""
        y, lin = linearize(f, x)
        if not is_finite(y):
            return False
        products = {"Jv": lambda: lin.Jv(self.random_like(x)), "Jᵀu": lambda: lin.JTu(self.random_like(y))}
        wanted = [name for name, mode in (("Jv", "fwd"), ("Jᵀu", "rev")) if mode in self.modes]
        bad = [name for name in wanted if not is_finite(products[name]())]
        if bad and self._is_smooth(f, x):
            self.blocks(lin, where)
            raise AssertionError(f"{where}{bad[0]} is not finite, but differences of f are")
        return not bad

    def _is_smooth(self, f: Callable[[Any], Any], x: Any) -> bool:
        """True if at some step the one-sided differences of every output, over h and over h/2, agree to a tenth."""
        v = self.random_like(x)
        for h in _STEPS[_precision(_tree.flatten(x, "x")[0])]:
            coarse, fine = (_sides(lambda h: f(_along(x, v, h)), step) for step in (h, h / 2))
            if coarse is not None and fine is not None:
                found = [np.stack(parts) for parts in zip(*coarse, *fine, strict=True)]
                if all(bool((np.ptp(np.abs(a), 0) <= 0.1 * np.abs(a[0]) + 1e-6).all()) for a in found):
                    return True
        return False

    def rounding(self, u: Array, v: Array, y: Array) -> tuple[float, float]:
        """Second derivatives may be small differences of large numbers, as of hypot at (1, 0.004), or 0 up to them."""
        return 1e3, super().rounding(u, v, y)[1]

    def differences(self, at: _Point, i: int, v: Array) -> Iterator[list[Array]]:
        self._moved = at, i, v
        return super().differences(at, i, v)

    def close(
        self, names: list[str], what: str, got: list[Array], estimates: Iterator[list[Array]], ys: list[Array]
    ) -> None:
        try:
            super().close(names, what, got, estimates, ys)
        except AssertionError as error:
            if self._is_wrong(got, "fwd" in self.modes):
                raise AssertionError(str(error).removesuffix(KINKS)) from error.__cause__
        else:
            self.measured += 1

    def _is_wrong(self, got: list[Array], elementwise: bool) -> bool:
        """True if an element of Jv is refuted by the differences at two steps or more, and confirmed by those at none.

        One-sided differences p and q over h, and central ones D over h/2, are uncertain by what they differ. At ties,
        as of a median, D may be sharp and f have no derivative: then the differences along v and w do not add up.
        """
        assert self._moved is not None
        at, i, v = self._moved
        size = _precision([*at.xs, *at.ys])
        eps, rtol = (2e-16, 1e-6) if size == 8 else (1e-7, 2e-4)
        rtol = rtol if self.rtol is None else self.rtol
        w = self.random(ArraySpec.of(v))
        refuted = [np.zeros(np.shape(y), int) for y in at.ys]
        confirmed = [np.zeros(np.shape(y), bool) for y in at.ys]
        for h in _STEPS[size]:
            along, half, other, both = (_difference(at, i, *step) for step in ((v, h), (v, h / 2), (w, h), (v + w, h)))
            if along is None or half is None or other is None or both is None:
                continue
            for k, (J, y) in enumerate(zip(got, at.ys, strict=True)):
                noise = 100 * eps * float(np.max(np.abs(np.asarray(y)), initial=1e-300)) / h
                D = half.central(k)
                U = 2 * np.abs(along.jump(k)) + 4 * np.abs(along.central(k) - D) + noise
                rest = [a[k] + b[k] - c[k] for a, b, c in zip(along, other, both, strict=True)]
                adds = np.max(np.abs(rest), axis=0) <= 1e-2 * (np.abs(D) + np.abs(other.central(k))) + noise
                sharp = adds & (0.1 * float(np.max(np.abs(D), initial=0)) + 2 * noise >= U)
                if h * float(np.max(np.abs(J), initial=0)) > 1e4 * along.reach(k, y, h):
                    continue  # f changes within much less than a step, as the inverse of a singular matrix
                if not elementwise:  # J is ⟨Jᵀu, v⟩, which was refuted by ⟨u, D⟩
                    refuted[k] += bool(np.all(sharp & (1e-3 * float(np.max(np.abs(D), initial=0)) + 2 * noise >= U)))
                    continue
                size_J = np.abs(np.asarray(J))
                agrees = np.abs(J - D) <= U + rtol * np.abs(D)
                refuted[k] += sharp & ~agrees
                confirmed[k] |= agrees & (np.maximum(1e-4 * size_J, 1e-6 * np.max(size_J, initial=0)) >= U)
        return any(bool(np.any((r > 1) & ~c)) for r, c in zip(refuted, confirmed, strict=True))


def _along(x: Any, v: Any, h: float) -> Any:
    """x + h v."""
    leaves, treedef = _tree.flatten(x, "x")
    return treedef.unflatten(
        [np.asarray(a + h * b, _tree.dtype_of(a)) for a, b in zip(leaves, _tree.flatten(v, "v")[0])]
    )


class _Difference(NamedTuple):
    """Differences per output: [(f(x + hv) − f(x))/h] and [(f(x) − f(x − hv))/h]."""

    right: list[Array]
    left: list[Array]

    def central(self, k: int) -> Array:
        return (self.right[k] + self.left[k]) / 2

    def jump(self, k: int) -> Array:
        return self.right[k] - self.left[k]

    def reach(self, k: int, y: Array, h: float) -> float:
        """The size of output k around x, where it is y."""
        moved = [np.abs(y), h * np.abs(self.right[k]), h * np.abs(self.left[k])]
        return float(max(np.max(a, initial=1e-300) for a in moved))


def _difference(at: _Point, i: int, v: Array, h: float) -> _Difference | None:
    """The differences of f along v in its i-th input; None outside of its domain."""

    def moved(h: float) -> Any:
        leaves = list(at.xs)
        leaves[i] = leaves[i] + (h * v).astype(v.dtype)
        return at.f(at.xdef.unflatten(leaves))

    found = _sides(moved, h)
    return None if found is None else _Difference(*found)


def _sides(moved: Callable[[float], Any], h: float) -> tuple[list[Array], list[Array]] | None:
    """Differences from the right and from the left per output, [(f(h) − f(0))/h], [(f(0) − f(−h))/h]; None outside."""
    try:
        ys = [_tree.flatten(moved(k * h), "f(x)")[0] for k in (1, 0, -1)]
    except (ValueError, ArithmeticError):
        return None
    right, here, left = ([np.asarray(a, complex if np.iscomplexobj(a) else float) for a in leaves] for leaves in ys)
    if [a.shape for a in right] != [a.shape for a in left] or not (is_finite(right) and is_finite(left)):
        return None
    pairs = [((r - y) / h, (y - s) / h) for r, y, s in zip(right, here, left, strict=True)]
    return [p for p, _ in pairs], [m for _, m in pairs]


# -- which primitive -------------------------------------------------------------------------------------------------


class _Call(NamedTuple):
    """A call of a primitive with plain arguments, and the positions of those that were traced."""

    primitive: Primitive
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    argnums: tuple[int, ...]

    def __call__(self, traced: Any) -> Any:
        args = list(self.args)
        for k, a in zip(self.argnums, traced, strict=True):
            args[k] = a
        return self.primitive(*args, **self.kwargs)


def blamed(f: Callable[[Any], Any], x: Any, order: int, modes: Sequence[str], rtol: float | None) -> str:
    """The first primitive called by f whose rule fails by itself, with the block and the values; "" if none does.

    A rule that is wrong in both directions has adjoint push and pull, so only differences see it, and those of f do
    not tell which of its primitives is wrong: each is checked alone, at the arguments that it had.
    """
    for call in _calls(f, x):
        check = Derivatives(modes, rtol)
        try:
            check.run(call.__call__, [call.args[k] for k in call.argnums], order, "")
        except AssertionError as error:
            text = str(error).replace("f(x)", call.primitive.name)
            for k, argnum in enumerate(call.argnums):
                text = text.replace(f"x[{k}]", f"(argument {argnum})")
            return text
    return ""


_swapped = threading.Lock()


def _calls(f: Callable[[Any], Any], x: Any) -> list[_Call]:
    """The calls of primitives on traced arrays of this thread while f is linearized at x, in order."""
    found: list[_Call] = []
    here = threading.get_ident()
    kinds: list[Any] = [kind for kind in (Primitive, Elementwise) if "__call__" in vars(kind)]
    originals = [kind.__call__ for kind in kinds]
    ways = *((Elementwise, name) for name in ("quick", "of_one", "of_two")), (LinearPrimitive, "quick_product")
    quick = [getattr(kind, name) for kind, name in ways]
    depth = 0

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Primitive, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if threading.get_ident() != here:
                return original(self, *args, **kwargs)
            argnums = tuple(k for k, a in enumerate(args) if isinstance(a, Traced))
            if argnums and not depth:  # not again where a subclass calls its base
                found.append(_Call(self, tuple(stop(list(args))), stop(dict(kwargs)), argnums))
            depth += 1
            try:
                return original(self, *args, **kwargs)
            finally:
                depth -= 1

        return noted

    with _swapped:
        for kind, original in zip(kinds, originals, strict=True):
            kind.__call__ = noting(original)
        for kind, name in ways:
            setattr(kind, name, lambda *_: None)  # every call is an ordinary one
        try:
            linearize(f, x)
        finally:
            for kind, original in zip(kinds, originals, strict=True):
                kind.__call__ = original
            for (kind, name), way in zip(ways, quick, strict=True):
                setattr(kind, name, way)
    return found
