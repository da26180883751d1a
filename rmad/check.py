"""check_grads: is the derivative of f right? Shapes first, then adjoints, then central differences.

Three tests, each of which sees errors that the others miss:

    shape, dtype    Jv like y and Jᵀu like x, block by block     broadcasting would hide a wrong one
    adjoint         ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ to machine precision      no step size; blind to a J that is wrong both ways
    differences     Jv = (f(x + hv) − f(x − hv)) / 2h + O(h²)    ties J to f; Richardson's step makes it O(h⁴)

Higher orders apply the same to x ↦ Jv (v fixed) and x ↦ Jᵀu (u fixed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmad.machine.arrays import ON_THE_CPU, moved_to, sample
from rmad.machine.backend import to_numpy
from rmad.tapes.tape import ArraySpec
from rmad.transforms.transforms import Linearization, jvp, linearize, vjp
from rmad.trees import tree as _tree
from rmad.types import Array

__all__ = ["check_grads"]

_STEPS = {8: (1e-2, 1e-3, 1e-4), 4: (1e-1, 3e-2, 1e-2)}  # by bytes of the real type: ~ε^(1/5), and neighbours
_RTOL = {8: 1e-6, 4: 2e-4}
_ADJOINT = {8: 1e-12, 4: 1e-5}
KINKS = "; differences are no measure where f has a kink within a step of x"


def check_grads(
    f: Callable[..., Any],
    x: Any,
    *args: Any,
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    rtol: float | None = None,
    eps: float | Sequence[float] | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Jv = lim (f(x + hv) − f(x − hv)) / 2h and ⟨u, Jv⟩ = Re⟨Jᵀu, v⟩, for random u, v.

    Parameters
    ----------
    f : callable (x, *args) → tree of arrays
    x : tree of float arrays; complex ones count as pairs of reals
    *args : passed to f, not differentiated
    order : int, the number of derivatives to check; default 2
    modes : sequence of "fwd" (Jv) and "rev" (Jᵀu); default both
    rtol : float, allowed error of Jv against differences, per element; default 1e-6, in float32 2e-4
    eps : float or sequence of floats, steps h of the differences, of which the best counts; default three by precision
    rng : numpy.random.Generator that draws u and v; default seed 0

    Raises
    ------
    AssertionError
        The derivative is wrong; the message names the block of the Jacobian.
    ValueError
        An unknown mode.

    Examples
    --------
    >>> check_grads(np.tanh, np.zeros(3))
    """
    if unknown := set(modes) - {"fwd", "rev"}:
        raise ValueError(f'modes={modes!r}: {unknown.pop()!r} is neither "fwd" nor "rev"')
    steps = None if eps is None else (eps,) if isinstance(eps, int | float) else tuple(eps)
    _Check(tuple(modes), rtol, steps, rng or np.random.default_rng(0)).run(lambda x: f(x, *args), x, order, "")


class _Point(NamedTuple):
    """f linearized at x: the leaves of x and f(x) with their structures; `where` begins every message."""

    f: Callable[[Any], Any]
    lin: Linearization[Any, Any]
    xs: list[Array]
    xdef: _tree.TreeDef
    ys: list[Array]
    ydef: _tree.TreeDef
    where: str


class _Check:
    """The settings of one call, and the three tests."""

    def __init__(
        self,
        modes: tuple[str, ...],
        rtol: float | None,
        steps: tuple[float, ...] | None,
        rng: np.random.Generator,
    ) -> None:
        self.modes, self.rtol, self.steps, self.rng = modes, rtol, steps, rng
        self.left_domain: Exception | None = None  # raised by f at a displaced x
        self.like = ON_THE_CPU  # the kind of x, NumPy's or CuPy's: u and v are made on its device

    def run(self, f: Callable[[Any], Any], x: Any, order: int, where: str) -> None:
        if order < 1:
            return
        leaves, _ = _tree.flatten(x, "x")
        self.like = sample(leaves)
        y, lin = linearize(f, x)
        self.blocks(lin, where)
        self.jacobian(_Point(f, lin, *_tree.flatten(x, "x"), *_tree.flatten(y, "f(x)"), where))
        if order > 1:
            v, u = self.random_like(x), self.random_like(y)
            if "fwd" in self.modes:
                self.run(lambda x: jvp(f, x, v)[1], x, order - 1, f"{where}in x ↦ Jv: ")
            if "rev" in self.modes:
                self.run(lambda x: vjp(f, x)[1](u), x, order - 1, f"{where}in x ↦ Jᵀu: ")

    # -- every block on the tape, so that the message names the primitive -----------------------------

    def blocks(self, lin: Linearization[Any, Any], where: str) -> None:
        """Shapes, dtypes and the adjoint identity of every block on the tape."""
        for node in lin._record.tape.nodes:
            for block in node.blocks:
                name = f"{where}∂{block.primitive.name}/∂(argument {block.argnum}), {block.x} -> {block.y}"
                v, u = self.random(block.x), self.random(block.y)
                Jv = block.push(v) if "fwd" in self.modes else None
                JTu = block.pull(u) if "rev" in self.modes else None
                if Jv is not None:
                    _same_spec(f"{name}: Jv", Jv, block.y)
                if JTu is not None:
                    _same_spec(f"{name}: Jᵀu", JTu, block.x)
                if Jv is not None and JTu is not None:
                    _adjoint(name, [(u, Jv)], [(JTu, v)])

    # -- the whole Jacobian, one input leaf after the other -------------------------------------------

    def jacobian(self, at: _Point) -> None:
        """Jᵀu of every output leaf, then per input leaf Jv against Jᵀu and against differences."""
        u = [self.random(ArraySpec.of(leaf)) for leaf in at.ys]
        pulled = self.pulled(at, u) if "rev" in self.modes else []
        for i, path in enumerate(at.xdef.paths):
            names = [f"{at.where}∂{output_path}/∂{path}" for output_path in at.ydef.paths]
            v = self.random(ArraySpec.of(at.xs[i]))
            estimates = self.differences(at, i, v)
            if "fwd" in self.modes:
                self.forward(at, names, i, v, estimates, [(w, JTu[i]) for w, JTu in zip(u, pulled, strict=False)])
            else:  # reverse alone is held against ⟨u, (f(x + hv) − f(x − hv)) / 2h⟩
                got = [np.asarray(_inner([(JTu[i], v)])) for JTu in pulled]
                wanted = ([np.asarray(_inner([(a, b)])) for a, b in zip(u, e, strict=True)] for e in estimates)
                self.close(names, "⟨Jᵀu, v⟩", got, wanted, at.ys)

    def pulled(self, at: _Point, u: list[Array]) -> list[list[Array]]:
        """Jᵀu_k per output leaf k, u_k zero in the other leaves; shapes and dtypes checked."""
        found = []
        for k, path in enumerate(at.ydef.paths):
            only = [w if j == k else np.zeros_like(w) for j, w in enumerate(u)]
            JTu = _varying(at.lin.JTu(at.ydef.unflatten(only)), at.xdef)
            for leaf, input_path, given in zip(JTu, at.xdef.paths, at.xs, strict=True):
                _same_spec(f"{at.where}∂{path}/∂{input_path}: Jᵀu", leaf, ArraySpec.of(given))
            found.append(JTu)
        return found

    def forward(
        self,
        at: _Point,
        names: list[str],
        i: int,
        v: Array,
        estimates: Iterator[list[Array]],
        adjoints: list[tuple[Array, Array]],
    ) -> None:
        """Jv of input leaf i: its shape and dtype, then the differences. adjoints: (u_k, Jᵀu_k) per output leaf.

        An error of the adjoint identity is raised last: differences tell if Jv or Jᵀu is wrong.
        """
        tangent = at.xdef.unflatten([v if j == i else np.zeros_like(leaf) for j, leaf in enumerate(at.xs)])
        Jv = _varying(at.lin.Jv(tangent), at.ydef)
        for name, leaf, given in zip(names, Jv, at.ys, strict=True):
            _same_spec(f"{name}: Jv", leaf, ArraySpec.of(given))
        adjoint_error = None
        for k, (u, JTu) in enumerate(adjoints):
            try:
                _adjoint(names[k], [(u, Jv[k])], [(JTu, v)], *self.rounding(u, v, at.ys[k]))
            except AssertionError as error:
                adjoint_error = error
                break
        self.close(names, "Jv", Jv, estimates, at.ys)
        if adjoint_error is not None:
            raise AssertionError(f"{adjoint_error}; Jv agrees with central differences, so Jᵀu is wrong")

    def rounding(self, u: Array, v: Array, y: Array) -> tuple[float, float]:
        """A factor of the tolerance of ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ of the whole J, next to that of a block, and an allowance.

        A derivative may be 0 up to rounding, as the second one of the standard deviation of two numbers is.
        """
        eps = 1e-13 if _precision([u, v, y]) == 8 else 1e-5
        return 1.0, eps * _norm(u) * _norm(v) * _largest(to_numpy(y))

    def differences(self, at: _Point, i: int, v: Array) -> Iterator[list[Array]]:
        """(4 D(h/2) − D(h)) / 3 with D(h) = (f(x + hv) − f(x − hv)) / 2h, per output leaf, for each step h.

        A step that leaves the domain of f, by an error or by another shape of f(x), gives nan.
        """
        xs, shapes = at.xs, at.ydef.shapes

        def moved(h: float) -> list[Array]:
            step = xs[i] + (h * v).astype(v.dtype)
            try:
                leaves = [step if j == i else np.copy(leaf) for j, leaf in enumerate(xs)]  # f may write into them
                y = at.f(at.xdef.unflatten(leaves))
            except (ValueError, ArithmeticError) as error:  # NumPy's LinAlgError among them
                self.left_domain = error
                return [np.full(shape, np.nan) for shape in shapes]
            found = [to_numpy(leaf).astype(_wide(leaf)) for leaf in _tree.flatten(y, "f(x)")[0]]
            if [leaf.shape for leaf in found] != shapes:
                return [np.full(shape, np.nan) for shape in shapes]
            return found

        def central(h: float) -> list[Array]:
            return [(p - m) / (2 * h) for p, m in zip(moved(h), moved(-h), strict=True)]

        for h in self.steps or _STEPS[_precision(xs)]:
            with np.errstate(all="ignore"):  # a large step may leave the domain of f; a smaller one follows
                yield [(4 * fine - coarse) / 3 for coarse, fine in zip(central(h), central(h / 2), strict=True)]

    def close(
        self, names: list[str], what: str, got: list[Array], estimates: Iterator[list[Array]], ys: list[Array]
    ) -> None:
        """Every element of `got` agrees with one of the estimates."""
        size = _precision([*got, *ys])
        rtol = _RTOL[size] if self.rtol is None else self.rtol
        wanted = [to_numpy(J).astype(_wide(J)) for J in got]
        best = [np.full(J.shape, np.inf) for J in wanted]
        for estimate in estimates:
            for k, (J, D, y) in enumerate(zip(wanted, estimate, ys, strict=True)):
                scale = max(_largest(J), _largest(to_numpy(y)), 1e-300)
                noise = (1e-10 if size == 8 else 1e-5) * scale  # rounding of f, divided by the step
                with np.errstate(invalid="ignore"):
                    error = np.where(np.isnan(D), np.inf, np.abs(J - D)) / (rtol * np.abs(D) + noise)
                best[k] = np.minimum(best[k], np.where(np.isnan(error), np.inf, error))
            if all((e <= 1).all() for e in best):
                return
        for name, J, D, e in zip(names, wanted, estimate, best, strict=True):
            if not (e <= 1).all():
                at = np.unravel_index(np.argmax(e), e.shape)
                raise AssertionError(
                    f"{name}: {what}{list(map(int, at))} = {J[at]}, but central differences give {D[at]} "
                    f"({int((e > 1).sum())} of {e.size} elements differ, rtol = {rtol:g}){KINKS}"
                ) from self.left_domain

    # -- random trees ----------------------------------------------------------------------------------

    def random(self, spec: ArraySpec) -> Array:
        a = self.rng.standard_normal(spec.shape)
        if spec.dtype.kind == "c":
            a = a + 1j * self.rng.standard_normal(spec.shape)
        return moved_to(self.like, np.asarray(a).astype(spec.dtype))

    def random_like(self, tree: Any) -> Any:
        arrays, treedef = _tree.flatten(tree, "x")
        return treedef.unflatten([self.random(ArraySpec.of(leaf)) for leaf in arrays])


def _varying(tree: Any, treedef: _tree.TreeDef) -> list[Array]:
    """The leaves of a derivative that belong to differentiable leaves, shapes unchecked."""
    every = [leaf for _, leaf in _tree.leaves(tree)]
    return [leaf for leaf, k in zip(every, treedef._where, strict=True) if k is not None]


def _wide(a: Any) -> Any:
    return complex if _tree.dtype_of(a).kind == "c" else float


def _precision(arrays: Sequence[Array]) -> int:
    """4 if any array is single precision, else 8 (bytes of the real type)."""
    sizes = [d.itemsize // (2 if d.kind == "c" else 1) for d in map(_tree.dtype_of, arrays) if d.kind in "fc"]
    return 4 if min(sizes, default=8) < 8 else 8


def _largest(a: Array) -> float:
    a = np.abs(a[np.isfinite(a)])
    return float(a.max()) if a.size else 0.0


def _inner(pairs: Sequence[tuple[Array, Array]]) -> float:
    """Σ Re⟨a, b⟩ in double precision."""
    return float(sum(np.vdot(to_numpy(a).astype(_wide(a)), to_numpy(b).astype(_wide(b))).real for a, b in pairs))


def _norm(a: Array) -> float:
    return float(np.linalg.norm(to_numpy(a).astype(_wide(a)).ravel()))


def _same_spec(name: str, a: Array, spec: ArraySpec) -> None:
    if np.shape(a) != spec.shape:
        raise AssertionError(f"{name} has shape {np.shape(a)}, must have {spec.shape}")
    if _tree.dtype_of(a) != spec.dtype:
        raise AssertionError(f"{name} has dtype {_tree.dtype_of(a)}, must have {spec.dtype}")


def _adjoint(
    name: str,
    forward: Sequence[tuple[Array, Array]],
    backward: Sequence[tuple[Array, Array]],
    slack: float = 1.0,
    noise: float = 0.0,
) -> None:
    """⟨u, Jv⟩ = Re⟨Jᵀu, v⟩, relative to |u||Jv| + |Jᵀu||v|."""
    left, right = _inner(forward), _inner(backward)
    scale = sum(_norm(a) * _norm(b) for a, b in (*forward, *backward))
    tolerance = slack * _ADJOINT[_precision([a for pair in (*forward, *backward) for a in pair])]
    if not abs(left - right) <= tolerance * scale + noise:  # also true of nan
        raise AssertionError(f"{name}: push and pull are not adjoint, ⟨u, Jv⟩ = {left!r}, ⟨Jᵀu, v⟩ = {right!r}")
