"""A model, a loss and l2: the model's arrays as one flat vector θ, and the threads that work on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optim.problem.pairs import original, real_model
from optim.problem.ranks import ALONE, Alone
from optim.problem.threads import Crew, cores
from optim.problem.vectors import inner, summed
from optim.types import Loss, Model
from rmad.extend import Array, lazy, tree

__all__ = ["Parameters", "Updates"]


class Updates:
    """Calls the model's `begin_step` and `end_step`, if it has them."""

    model: Any

    def begin_step(self) -> None:
        """Tells the model that an update begins: from now on it is one fixed function (masks are drawn now)."""
        if hasattr(self.model, "begin_step"):
            self.model.begin_step()

    def end_step(self) -> None:
        """Tells the model that the update was accepted (running statistics take in the batch)."""
        if hasattr(self.model, "end_step"):
            self.model.end_step()


class Parameters(Updates):
    """θ, (p,), in the order of rmad.ravel(model); the model's own arrays are views of it after a step.

    A complex array counts as pairs of reals: each of its numbers is two neighbours of θ.

    Parameters
    ----------
    model : Model
        A tree of float arrays of one dtype that can be called.
    loss : Loss
        An object with closed forms, or a function (z, t) → scalar.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f; ≥ 0.
    threads : int, optional
        Threads that work on a batch; by default one per core, or as many as the ranks have.
    ranks : Ranks, optional
        The processes that share every batch; by default this one alone.

    Raises
    ------
    TypeError
        If the model or the loss lacks the required interface, or the model has no float arrays, float16 or several
        dtypes.
    ValueError
        If l2 is negative or not finite, or the model holds one object in two places.
    """

    def __init__(
        self, model: Model, loss: Loss, l2: float = 0.0, threads: int | None = None, ranks: Alone | None = None
    ) -> None:
        _check_objects(model, loss)
        if not (l2 >= 0 and np.isfinite(l2)):
            raise ValueError(f"l2 must be a finite number ≥ 0, got {l2}")
        _check_is_tree(model)
        self.model: Any = real_model(model)
        self.loss: Any = loss
        self.l2 = float(l2)
        if not (ranks is None or isinstance(ranks, Alone)):
            raise TypeError(f"ranks must be a Ranks, got {ranks!r}")
        self.ranks = ALONE if ranks is None else ranks
        self.threads = getattr(ranks, "threads", cores()) if threads is None else threads
        self.warned_of: frozenset[str] = frozenset()  # each warning comes once
        self._known = tree.TreeDef(self.model, "model")
        _check_arrays(model, self._known)
        self.dtype, self._shapes = self._known.dtypes[0], self._known.shapes
        self._paths = tree.TreeDef(model, "model").paths
        self.size = sum(tree.sizes(self._shapes))

    def begin_step(self) -> None:
        """Tells the model that an update begins; parameters that differ between ranks are found at the next sum."""
        super().begin_step()
        self.ranks.begin(self._structure().leaves)

    def flat(self) -> Array:
        """Returns θ, (p,), a new array."""
        return tree.joined(self._structure().leaves)

    def assign(self, flat: Array) -> None:
        """Rebinds the model's arrays to views of a new copy of `flat`, (p,); the old arrays stay as they were."""
        self.adopt(flat.astype(self.dtype, copy=True))

    def adopt(self, flat: Array) -> None:
        """Rebinds the model's arrays to views of `flat` itself, (p,), which must not be written into any more."""
        structure, views = self._structure(), self._split(flat.astype(self.dtype, copy=False))
        tree.rebind(self.model, views)
        structure.leaves = views

    def model_at(self, flat: Array) -> Any:
        """Returns the model with the parameters `flat`, (p,); the model itself is untouched."""
        return self._structure_at(flat).tree

    def _structure(self) -> tree.TreeDef:
        """The model's structure with its present arrays, recomputed if they were changed other than by `assign`.

        ValueError names a float array that the model did not have at first, or lost, or that has another shape.
        """
        if not self._known.holds(self.model):
            known = tree.TreeDef(self.model, "model")
            if known.shapes != self._shapes:
                _raise_for_change(dict(zip(self._paths, self._shapes, strict=True)), original(self.model))
            self._known = known
        return self._known

    def _structure_at(self, flat: Array) -> tree.TreeDef:
        """The structure of the model with other parameters: its `tree` is that model."""
        return self._structure().replaced(self._split(flat.astype(self.dtype, copy=False)))

    def _split(self, flat: Array) -> list[Array]:
        if np.shape(flat) != (self.size,):
            raise ValueError(f"expected a flat vector of shape ({self.size},), got {np.shape(flat)}")
        return tree.split(flat, self._shapes)

    def _penalty(self, arrays: Sequence[Array]) -> Any:
        """½ l2 ‖θ‖², θ in pieces; a Scalar."""
        if not self.l2:
            return 0.0
        return 0.5 * self.l2 * summed([inner(flat, flat) for flat in (np.reshape(a, -1) for a in arrays)])

    @lazy
    def crew(self) -> Crew:
        """The threads that work on shards and on long vectors; `threads` may be set until the first use."""
        return Crew(self.threads)


# -- checks of the model and the loss ------------------------------------------------------------------------------


def _check_objects(model: Any, loss: Any) -> None:
    for name, given in (("model", model), ("loss", loss)):
        if isinstance(given, type):
            raise TypeError(f"{name} is the class {given.__name__}; give an object, {given.__name__}(…)")
        if type(given).__module__.startswith("torch."):
            own = "a model" if name == "model" else "a loss"
            raise TypeError(f"{name} is PyTorch's {type(given).__name__}; {own} of nn, or one of NumPy, goes here")
    if hasattr(model, "hessian_product") and not hasattr(model, "__tree_items__"):
        raise TypeError(f"the model comes first, then the loss; the model given is a {type(model).__name__}")
    if not callable(model):
        raise TypeError(
            f"model must be callable, model(x) -> z; got {type(model).__name__}. "
            "optim.Function(forward, params) makes one of parameters and a function forward(params, x)"
        )
    if not (callable(loss) or hasattr(loss, "value")):
        raise TypeError(f"loss must be a loss object or a callable (z, t) -> scalar; got {type(loss).__name__}")


def _check_is_tree(model: Any) -> None:
    if not (hasattr(type(model), "__tree_items__") or isinstance(model, tuple | list | dict)):
        raise TypeError(
            f"model must be a tree of arrays that can be called, as nn.Module; got {type(model).__name__}. "
            "optim.Function(forward, params) makes one of a plain function forward(params, x)"
        )


def _check_arrays(model: Any, structure: tree.TreeDef) -> None:
    dtypes = sorted({str(d) for d in structure.dtypes})
    if not dtypes:
        found = sorted({str(tree.dtype_of(leaf)) for _, leaf in tree.leaves(model) if hasattr(leaf, "dtype")})
        hint = f"; it holds {', '.join(found)}, which is constant: make it float32" if found else ""
        raise TypeError(f"model holds no float arrays to train, NumPy arrays among its attributes{hint}")
    if twice := tree.met_twice(model, "model"):
        raise ValueError(
            f"{twice[0]} and {twice[1]} are one and the same object, but its arrays would count as two and get two "
            "different updates; hold it in one place of the model, and use it as often as you like in forward"
        )
    if "float16" in dtypes:
        raise TypeError("model holds float16, too coarse for sums over cases; make its parameters float32")
    if len(dtypes) > 1:
        raise TypeError(f"model mixes dtypes {dtypes}; use one for all parameters")


def _raise_for_change(before: Mapping[str, tuple[int, ...]], model: Any) -> None:
    """Raises for the first array that is not as it was when the objective was made.

    before: path → shape of the parameters then, that of complex arrays as pairs.
    """
    now = tree.TreeDef(model, "model")
    for path, array in zip(now.paths, now.leaves, strict=True):
        if path not in before:
            raise ValueError(
                f"{path}, {array.dtype} of shape {array.shape}, was not in the model when its optimizer or Objective "
                "was made. Set parameters in __init__; name an array that is not trained, such as a mask, in the "
                "class attribute `buffers`, and set it to None in __init__"
            )
        shape = tree.as_pairs(array).shape if array.dtype.kind == "c" else array.shape
        if shape != before[path]:
            raise ValueError(f"{path} has shape {array.shape}, but another when the optimizer was made: make a new one")
    if lost := [path for path in before if path not in now.paths]:
        raise ValueError(f"{lost[0]} is not in the model any more: make a new optimizer")
    raise ValueError("the order of the arrays of the model has changed: make a new optimizer")
