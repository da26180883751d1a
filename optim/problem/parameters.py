"""A model, a loss and l2: the model's arrays as one flat vector θ, and the threads that work on them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from optim.problem.threads import Crew, cores
from optim.problem.vectors import dot
from rmad.extend import tree as _tree

__all__ = ["Parameters"]


class Parameters:
    """θ, (p,), in the order of rmad.ravel(model); the model's own arrays are views of it after a step."""

    def __init__(
        self,
        model: Any,
        loss: Any,
        l2: float = 0.0,
        threads: int | None = None,
    ) -> None:
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
        if not (l2 >= 0 and np.isfinite(l2)):
            raise ValueError(f"l2 must be a finite number ≥ 0, got {l2}")
        self.model, self.loss, self.l2 = model, loss, float(l2)
        self.threads = cores() if threads is None else threads
        if not (hasattr(type(model), "__tree_items__") or isinstance(model, tuple | list | dict)):
            raise TypeError(
                f"model must be a tree of arrays that can be called, as nn.Module; got {type(model).__name__}. "
                "optim.Function(forward, params) makes one of a plain function forward(params, x)"
            )
        arrays, treedef = _tree.flatten(model, "model")
        if not arrays:
            found = sorted({str(_tree.dtype_of(leaf)) for _, leaf in _tree.leaves(model) if hasattr(leaf, "dtype")})
            hint = f"; it holds {', '.join(found)}, which is constant: make it float32" if found else ""
            raise TypeError(f"model holds no float arrays to train, NumPy arrays among its attributes{hint}")
        if twice := _tree.met_twice(model, "model"):
            raise ValueError(
                f"{twice[0]} and {twice[1]} are one and the same object, but its arrays would count as two and get two "
                "different updates; hold it in one place of the model, and use it as often as you like in forward"
            )
        if np.dtype(np.float16) in treedef.dtypes:
            raise TypeError("model holds float16, too coarse for sums over cases; make its parameters float32")
        if len(set(treedef.dtypes)) > 1:
            found = sorted({str(d) for d in treedef.dtypes})
            raise TypeError(f"model mixes dtypes {found}; use one for all parameters")
        self.dtype, self._shapes = treedef.dtypes[0], treedef.shapes
        self.size = sum(_tree.sizes(self._shapes))

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

    def _arrays(self) -> list[Any]:
        return _tree.flatten(self.model, "model")[0]

    def _penalty(self, arrays: list[Any]) -> float:
        if not self.l2:
            return 0.0
        return 0.5 * self.l2 * sum(dot(flat, flat) for flat in (np.reshape(a, -1) for a in arrays))

    def begin_step(self) -> None:
        """Tells the model that an update begins: from now on it is one fixed function (masks are drawn now)."""
        if hasattr(self.model, "begin_step"):
            self.model.begin_step()

    def end_step(self) -> None:
        """Tells the model that the update was accepted (running statistics take in the batch)."""
        if hasattr(self.model, "end_step"):
            self.model.end_step()

    @cached_property
    def crew(self) -> Crew:
        return Crew(self.threads)
