"""Structural damping: a penalty on the change of hidden states, as one L″ on a larger output.

    M̂(δ) = M(δ) + ½ λδᵀδ + μ S(δ),   S(δ) = d(h(θ + δ); h(θ)) ≈ ½ δᵀ J_hᵀ d″ J_h δ

The model returns its states next to its outputs, c(θ) = [z, h], and L″ becomes blockdiag(L″, μ d″): the same sweeps
give both. f itself does not change.

References
----------
Martens & Sutskever (2012), section 8.4; Martens & Sutskever (2011).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from optim.hyper import Flag, Number, OneOf, Rule, check
from optim.problem.losses import loss_value, loss_value_and_gradient, one_entry_columns, root_columns, root_product
from optim.types import Loss
from rmad.extend import loss_curvature, tree

__all__ = ["StructuralDamping", "StructuralLoss"]


@dataclass(frozen=True)
class StructuralDamping:
    """μ d(h(θ + δ); h(θ)), summed over the states of a case, averaged over cases. Section 8.4.

    The model must return (z, h): outputs and hidden states, one array (n, …) or a tree of such.

    Parameters
    ----------
    mu : float, default 0.03
        μ ≥ 0; the default is that of Sutskever's code.
    distance : {"squared", "cross-entropy"}, default "squared"
        d: ½‖h − h₀‖², or the cross-entropy, for states in (0, 1), logistic units.
    scaled : bool, default True
        The strength is λμ, so that it follows the Levenberg-Marquardt rule with λ (Sutskever's code); else μ.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of range or of the wrong type.

    References
    ----------
    Martens & Sutskever (2012), section 8.4.

    Examples
    --------
    >>> import optim
    >>> optim.StructuralDamping(mu=0.1).strength(damping=2.0)
    0.2
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "mu": Number(at_least=0.0),
        "distance": OneOf(("squared", "cross-entropy")),
        "scaled": Flag(),
    }

    mu: float = 0.03
    distance: str = "squared"
    scaled: bool = True

    def __post_init__(self) -> None:
        check(self)

    def strength(self, damping: float) -> float:
        """The factor of d″ for λ = damping."""
        return self.mu * damping if self.scaled else self.mu


class StructuralLoss:
    """L(z, t) of outputs (z, h), whose curvature is blockdiag(L″, strength · d″). f does not see h."""

    def __init__(self, loss: Loss, distance: str = "squared", strength: float = 0.0) -> None:
        self.loss, self.distance, self.strength = loss, distance, strength
        self.mean_over_cases = getattr(loss, "mean_over_cases", None)
        self.outputs = 1  # arrays in z: what follows them are the states

    def value(self, outputs: Any, t: Any) -> Any:
        z, _ = _parts(outputs)
        return loss_value(self.loss)(z, t)

    def value_and_gradient(self, outputs: Any, t: Any) -> tuple[Any, Any]:
        z, h = _parts(outputs)
        value, u = loss_value_and_gradient(self.loss)(z, t)
        return value, (u, tree.map_leaves(np.zeros_like, h))

    def curvature(self, outputs: Any, t: Any) -> StructuralCurvature:
        z, h = _parts(outputs)
        diagonals = [self._second(leaf) * leaf.dtype.type(self.strength) for _, leaf in tree.leaves(h)]
        self.outputs = len(tree.leaves(z))
        return StructuralCurvature(loss_curvature(self.loss, z, t), diagonals, z)

    def hessian_product(self, outputs: Any, t: Any, v: Any) -> Any:
        return self.curvature(outputs, t)(v)

    def root_product(self, outputs: Any, t: Any, v: Any) -> Any:
        """L″^½ v, block by block."""
        (z, h), (v_z, v_h) = _parts(outputs), v
        roots = iter(self._roots(h))
        return root_product(self.loss, z, t, v_z), tree.map_leaves(lambda leaf: next(roots) * leaf, v_h)

    def root_columns(self, outputs: Any, t: Any) -> Iterator[Any]:
        z, h = _parts(outputs)
        none_z, none_h = tree.map_leaves(np.zeros_like, z), tree.map_leaves(np.zeros_like, h)
        for column in root_columns(self.loss, z, t):
            yield column, none_h
        for (_, column), root in zip(tree.leaves(none_h), self._roots(h), strict=True):
            for _ in one_entry_columns(column, root):
                yield none_z, none_h

    def _roots(self, h: Any) -> list[Any]:
        leaves = [leaf for _, leaf in tree.leaves(h)]
        roots = [np.sqrt(self._second(leaf) * leaf.dtype.type(self.strength)) for leaf in leaves]
        return [np.broadcast_to(root, leaf.shape) for root, leaf in zip(roots, leaves, strict=True)]

    def _second(self, h: Any) -> Any:
        """d″ at h, 1/n included: 1, or 1 / (h (1 − h)) with h (1 − h) kept above rounding."""
        if self.distance == "squared":
            return h.dtype.type(1 / len(h))
        if np.any((h < 0) | (h > 1)):
            raise ValueError(f'distance="cross-entropy" needs states in [0, 1], found {h.min():g} to {h.max():g}')
        return 1 / (np.maximum(h * (1 - h), np.finfo(h.dtype).eps) * h.dtype.type(len(h)))


class StructuralCurvature:
    """v → blockdiag(L″, strength · d″) v; `in_place` does the same to a list of buffers, the states' last."""

    def __init__(self, inner: Any, diagonals: list[Any], z: Any) -> None:
        self.inner, self.diagonals, self.outputs = inner, diagonals, len(tree.leaves(z))
        self._like = tree.map_leaves(lambda leaf: 0, z)

    def __call__(self, v: Any) -> Any:
        z, h = v
        diagonals = iter(self.diagonals)
        return self.inner(z), tree.map_leaves(lambda leaf: next(diagonals) * leaf, h)

    def in_place(self, buffers: list[Any], weight: float) -> None:
        """buffers ← weight · L″ buffers, without copies of the states, which are large."""
        z = tree.replace_leaves(self._like, iter(buffers))
        for buffer, u in zip(buffers, (u for _, u in tree.leaves(self.inner(z))), strict=False):
            np.multiply(u, weight, out=buffer)
        for buffer, d in zip(buffers[self.outputs :], self.diagonals, strict=True):
            np.multiply(buffer, d if weight == 1 else d * d.dtype.type(weight), out=buffer)


def _parts(outputs: Any) -> tuple[Any, Any]:
    if not (isinstance(outputs, tuple | list) and len(outputs) == 2):
        found = type(outputs).__name__
        raise ValueError(f"structural damping needs a model that returns (outputs, states), got {found}")
    return outputs[0], outputs[1]
