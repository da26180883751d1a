"""The checks of a loss (z, t) → L: its closed forms against its own value, and what it says of means over cases.

The value is checked as a function of z first; everything else is held against it:

    gradient, value_and_gradient       rmad.grad of the value
    hessian_product, curvature         rmad.hvp of the value; symmetric, with and without `out`
    sqrt_hessian                       Σ_c S_c S_cᵀ = L″, case by case
    sample                             E[g] = 0 and E[g gᵀ] = L″ for g = ∂ℓ/∂z at drawn targets
    mean_over_cases                    L(z, t) = Σ_s w_s L(z_s, t_s), its gradient and its products
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rmad.operators.operators import GGNOperator, loss_curvature
from rmad.testing.compare import assert_same, assert_specs, at_once, copied, is_finite, random_like
from rmad.testing.functions import THREADS, FunctionCheck
from rmad.transforms.transforms import grad, hvp, linearize
from rmad.trees import tree as _tree
from rmad.types import Array

__all__ = ["LossCheck", "parts", "rows"]

DRAWS = 4000  # of `sample`: the mean is uncertain by 1.6 %
SHARDS = (2, 3, 5, 16)


class LossCheck(FunctionCheck):
    """Checks a loss at as many (z, t) as are given."""

    single_rtol = 1e-5  # sums in float64 of terms in float32, in another order

    def __call__(self, loss: Any, z: Any, t: Any = None) -> None:
        value = getattr(loss, "value", loss)
        kept = copied(t)
        L = value(z, t)
        if np.shape(L) != () or np.asarray(L).dtype.kind != "f":
            raise AssertionError(f"the loss is no real scalar: it has shape {np.shape(L)}, {np.asarray(L).dtype}")
        super().__call__(lambda z: value(z, t), z)
        if not is_finite(L):
            return
        rng = np.random.default_rng(5)
        v = random_like(z, rng)
        u, Hv = grad(lambda z: value(z, t))(z), hvp(lambda z: value(z, t), z, v)
        self.gradients(loss, z, t, L, u)
        if self.order > 1:
            self.curvature(loss, z, t, v, Hv)
            if hasattr(loss, "sqrt_hessian"):
                roots(loss, z, t)
            if hasattr(loss, "sample") and getattr(loss, "mean_over_cases", False):
                samples(loss, z)
        if getattr(loss, "mean_over_cases", False):
            self.means(loss, z, t, v)
        assert_same(t, kept, "the loss writes into its targets: t", 0.0)

    def gradients(self, loss: Any, z: Any, t: Any, L: Any, u: Any) -> None:
        z_single = _tree.map_leaves(lambda a: a.astype(np.float32), z) if _is_double(z) and self.precision else None
        if hasattr(loss, "gradient"):
            assert_same(loss.gradient(z, t), u, "gradient(z, t), which is not that of value,", 1e-9)
            if z_single is not None:
                assert_specs(loss.gradient(z_single, t), z_single, "of float32, gradient(z, t)")
            for found in at_once(lambda k: loss.gradient(z, t), THREADS):
                assert_same(found, u, f"on {THREADS} threads at once, gradient(z, t)", 1e-9)
        if hasattr(loss, "value_and_gradient"):
            both = loss.value_and_gradient(z, t)
            assert_same(np.asarray(both[0], float), np.asarray(L, float), "value_and_gradient(z, t)[0]", 1e-12)
            assert_same(both[1], u, "value_and_gradient(z, t)[1]", 1e-9)

    def curvature(self, loss: Any, z: Any, t: Any, v: Any, Hv: Any) -> None:
        if hasattr(loss, "hessian_product"):
            kept = copied(v)
            found = loss.hessian_product(z, t, v)
            assert_same(found, Hv, "hessian_product(z, t, v), which is not that of value,", 1e-9)
            assert_same(v, kept, "hessian_product(z, t, v) writes into v: v", 0.0)
        if hasattr(loss, "curvature"):
            product = loss.curvature(z, t)
            first, second = product(v), product(_tree.map_leaves(lambda a: 2 * a, v))
            assert_same(first, Hv, "curvature(z, t)(v)", 1e-9)
            assert_same(second, _tree.map_leaves(lambda a: 2 * a, Hv), "curvature(z, t)(2 v)", 1e-9)
            if hasattr(product, "product_into"):
                out = copied(v)
                product.product_into(out, out)
                assert_same(out, Hv, "curvature(z, t).product_into(v, v)", 1e-9)
            if hasattr(product, "diagonal"):
                assert_same(product.diagonal * v, Hv, "curvature(z, t).diagonal * v", 1e-9)
        for found in at_once(lambda k: loss_curvature(loss, z, t)(v), THREADS):
            assert_same(found, Hv, f"on {THREADS} threads at once, L″v", 1e-9)
        if not isinstance(z, tuple | list | dict):
            ggn(loss, z, t)

    def means(self, loss: Any, z: Any, t: Any, v: Any) -> None:
        """Value, gradient and product on parts of the batch, weighted, are those of the batch."""
        n = rows(z)

        def on(s: slice) -> list[Any]:
            z_s, t_s, v_s = (_tree.map_leaves(lambda a: a[s] if np.ndim(a) else a, part) for part in (z, t, v))
            w = len(range(*s.indices(n))) / n
            value = getattr(loss, "value", loss)
            slope, Hv = grad(lambda z: value(z, t_s))(z_s), loss_curvature(loss, z_s, t_s)(v_s)
            return [w * float(value(z_s, t_s)), *(_tree.map_leaves(lambda a: w * a, part) for part in (slope, Hv))]

        value, slope, Hv = on(slice(0, n))
        for k in SHARDS:
            found = [on(s) for s in parts(n, k)]
            what = f"mean_over_cases is claimed, but on {min(k, n)} parts of the {n} cases"
            assert_same(np.float64(sum(f[0] for f in found)), np.float64(value), f"{what} the value", 1e-9)
            assert_same(_joined([f[1] for f in found]), slope, f"{what} the gradient", 1e-9)
            assert_same(_joined([f[2] for f in found]), Hv, f"{what} L″v", 1e-9)


def parts(n: int, k: int) -> list[slice]:
    """k slices of n cases, of lengths that differ by one at most; fewer if there are fewer cases."""
    k = min(k, n)
    bounds = [n * j // k for j in range(k + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def rows(z: Any) -> int:
    """The number of cases: the length of the first axis of every array."""
    found = {np.shape(leaf)[0] if np.ndim(leaf) else None for _, leaf in _tree.leaves(z)}
    if len(found) != 1 or None in found:
        raise AssertionError(f"no first axis that counts the cases: shapes {[np.shape(a) for _, a in _tree.leaves(z)]}")
    return next(iter(found))  # type: ignore[return-value]


def _joined(pieces: Sequence[Any]) -> Any:
    columns = zip(*([leaf for _, leaf in _tree.leaves(piece)] for piece in pieces), strict=True)
    return _tree.replace_leaves(pieces[0], iter([np.concatenate(column) for column in columns]))


def _is_double(z: Any) -> bool:
    return all(leaf.dtype == np.float64 for _, leaf in _tree.leaves(z))


def _dense(loss: Any, z: Array, t: Any) -> Array:
    """L″, (z.size, z.size), from products with the value's own tape."""
    value = getattr(loss, "value", loss)
    _, lin = linearize(grad(lambda z: value(z, t)), z)
    return np.stack([np.ravel(lin.Jv(np.reshape(e, z.shape))) for e in np.eye(z.size, dtype=z.dtype)], axis=1)


class _Bound:
    """The loss with its target, as GGNOperator takes it."""

    def __init__(self, loss: Any, t: Any) -> None:
        self.hessian_product: Callable[[Any, Any], Any] = lambda z, v: loss_curvature(loss, z, t)(v)


def ggn(loss: Any, z: Array, t: Any) -> None:
    """The GGN of tanh(A x) under the loss is the dense JᵀL″J, where tanh(A x) = z up to its range."""
    rng = np.random.default_rng(6)
    A = rng.standard_normal((z.size, 3)).astype(z.dtype)
    x = rng.standard_normal(3).astype(z.dtype) / 2

    def f(x: Any) -> Any:
        return np.reshape(np.tanh(A @ x), z.shape)

    y = f(x)
    J = (1 - np.ravel(y)[:, None] ** 2) * A
    if not is_finite(getattr(loss, "value", loss)(y, t)):
        return
    found, wanted = GGNOperator(f, _Bound(loss, t), x) @ np.eye(3, dtype=z.dtype), J.T @ _dense(loss, y, t) @ J
    assert_same(
        found, wanted, "the GGN of tanh(A x) under the loss, not the dense JᵀL″J,", 1e-8 if _is_double(z) else 1e-3
    )


def roots(loss: Any, z: Array, t: Any) -> None:
    """Σ_c S_c S_cᵀ is the block of L″ that belongs to a case."""
    S = loss.sqrt_hessian(z, t)
    n = rows(z)
    if S.shape[1:] != z.shape:
        raise AssertionError(f"sqrt_hessian(z, t) has shape {S.shape}, must have (columns, *{z.shape})")
    H = np.reshape(_dense(loss, z, t), (n, z.size // n, n, z.size // n))
    S = np.reshape(S, (len(S), n, -1))
    for k in range(n):
        assert_same(S[:, k].T @ S[:, k], H[k, :, k], f"Σ S Sᵀ of sqrt_hessian, not L″ of case {k},", 1e-7)


def samples(loss: Any, z: Array) -> None:
    """At targets drawn from the model the gradient is 0 on average, and its second moment is L″ (Fisher = GGN)."""
    one = np.repeat(z[:1], DRAWS, axis=0)
    t = loss.sample(one, np.random.default_rng(7))
    g = np.reshape(DRAWS * grad(lambda z: getattr(loss, "value", loss)(z, t))(one), (DRAWS, -1))
    H = _dense(loss, z[:1], loss.sample(z[:1], np.random.default_rng(8)))
    spread = np.sqrt(np.diag(H) + 1e-12)
    mean = np.abs(np.mean(g, axis=0)) / spread
    second = np.abs(g.T @ g / DRAWS - H) / np.outer(spread, spread)
    if not (np.all(mean < 0.1) and np.all(second < 0.3)):
        raise AssertionError(
            f"sample(z, rng) does not draw from p(t | z) ∝ exp(−ℓ): over {DRAWS} draws the mean gradient is "
            f"{mean.max():.2g} of its deviation, must be 0; its second moment differs from L″ by {second.max():.2g}"
        )
