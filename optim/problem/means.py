"""Shows on the batch at hand that a loss is a mean over cases, so that the batch may be divided.

    L(z, t) = Σ_s w_s L(z_s, t_s)        s the shards, w_s their shares of the cases

A loss that is no such mean (a sum, a mean over those cases that have a label, a loss that couples cases) has another
value on the shards. `mean_over_cases = True` on a loss says that it is one; for any other loss the value, the gradient
and one product with L″ are formed on the whole batch as well and compared with the shards'. That costs three
evaluations of the loss for each local model, none of the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from optim.problem.batch import Shard, cases
from optim.problem.losses import loss_value_and_gradient
from rmad.extend import Array, arrays, loss_curvature, tree

__all__ = ["comes_apart", "declared_mean", "evaluate", "is_mean", "name_of", "same_value", "together"]

ROUNDING = 1 << 10  # units in the last place by which sums of the same terms may differ


def declared_mean(loss: Any) -> bool | None:
    """True or False if the loss says whether it is a mean over cases, None if it does not say."""
    found = getattr(loss, "mean_over_cases", None)
    return None if found is None else bool(found)


def name_of(loss: Any) -> str:
    """The name of a loss, a function or an object."""
    return getattr(loss, "__name__", type(loss).__name__)


def together(outputs: Sequence[Any]) -> Any:
    """The outputs z of the shards as those of the batch; None if an array in them does not have a row per case."""
    rows = [[leaf for _, leaf in tree.leaves(z)] for z in outputs]
    if len({len(row) for row in rows}) != 1 or any(cases(row) is None for row in rows):
        return None
    arrays = list(zip(*rows, strict=True))
    if any(len({(a.dtype, a.shape[1:]) for a in same}) != 1 for same in arrays):
        return None
    return tree.replace_leaves(outputs[0], iter([np.concatenate(same) for same in arrays]))


def is_mean(
    loss: Any,
    shards: Sequence[Shard],
    outputs: Sequence[Any],
    t: Any,
    found: Sequence[tuple[float, Any]] | None = None,
    curvature: bool = False,
) -> bool:
    """True if value and gradient of the loss on the batch are those of its shards, weighted.

    Parameters
    ----------
    shards, outputs : the shards, and z of each
    t : the targets of the batch
    found : (L, ∂L/∂z) of every shard, if they are known
    curvature : compare a product with L″, too, with a vector of random numbers
    """
    z = together(outputs)
    if z is None or any(cases(z_s) != cases(shard.x, shard.t) for z_s, shard in zip(outputs, shards, strict=True)):
        return False
    both = loss_value_and_gradient(loss)
    value, slope = both(z, t)
    if found is None:
        found = [both(z_s, shard.targets) for z_s, shard in zip(outputs, shards, strict=True)]
    weights = [shard.weight for shard in shards]
    eps = _eps(z)
    if not same_value(z, float(value), [w * float(L) for w, (L, _) in zip(weights, found, strict=True)]):
        return False
    if not _agree(slope, [u for _, u in found], weights, eps):
        return False
    if not curvature:
        return True
    rng = np.random.default_rng(0)
    parts = [tree.map_leaves(lambda a: _noise(a, rng), z_s) for z_s in outputs]
    along = [loss_curvature(loss, z_s, shard.targets)(v) for z_s, shard, v in zip(outputs, shards, parts, strict=True)]
    return _agree(loss_curvature(loss, z, t)(together(parts)), along, weights, eps)


def evaluate(loss: Any, z: Any, t: Any, curvature: bool) -> None:
    """Forms what `is_mean` compares on the batch, to raise what the loss raises there."""
    loss_value_and_gradient(loss)(z, t)
    if curvature:
        loss_curvature(loss, z, t)(tree.map_leaves(np.zeros_like, z))


def same_value(z: Any, value: float, terms: Sequence[float]) -> bool:
    """True if L(z, t) is the sum of the shards' terms, up to rounding, or if neither is finite, which shows nothing."""
    if not math.isfinite(value):
        return not math.isfinite(sum(terms))
    return abs(value - sum(terms)) <= ROUNDING * _eps(z) * sum(map(abs, terms))


def comes_apart(whole: Any, parts: Sequence[Any]) -> bool:
    """True if a model's outputs for some cases are those that it has for fewer of them at a time."""
    joined = together(parts)
    return joined is not None and _agree(whole, parts, [1.0] * len(parts), None)


def _agree(whole: Any, parts: Sequence[Any], weights: Sequence[float], eps: float | None) -> bool:
    """True if the arrays of the whole are those of the parts times their weights, up to rounding.

    An array that is finite neither in the whole nor in the parts shows nothing, and is left out.

    eps: of the numbers; None for outputs of a model, where rounding grows on the way.
    """
    rows = [_floats(part) for part in parts]
    leaves = _floats(whole)
    if any(len(row) != len(leaves) for row in rows):
        return False
    for k, a in enumerate(leaves):
        b = np.concatenate([row[k] * a.real.dtype.type(w) for row, w in zip(rows, weights, strict=True)])
        if a.shape == b.shape and not np.isfinite(a).all() and not np.isfinite(b).all():
            continue  # an overflow, which says nothing about the rest
        own = float(np.finfo(a.dtype).eps)
        tolerance = np.sqrt(own) if eps is None else ROUNDING * max(eps, own)
        if a.shape != b.shape or not arrays.largest(a - b) <= tolerance * arrays.largest(a):
            return False
    return True


def _eps(z: Any) -> float:
    return max((float(np.finfo(leaf.dtype).eps) for leaf in _floats(z)), default=0.0)


def _floats(z: Any) -> list[Array]:
    return [leaf for _, leaf in tree.leaves(z) if leaf.dtype.kind in "fc"]


def _noise(a: Array, rng: np.random.Generator) -> Array:
    """Random numbers like a, of the size of a derivative's direction."""
    return arrays.moved_to(a, rng.standard_normal(a.shape), a.dtype)
