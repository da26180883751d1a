"""The objective f(θ) = L(F(θ)) + ½ l2 ‖θ‖² on a batch.

Every optimizer sees its problem through this class and its local model (`optim.problem.quadratic`). Everything is a
sum over the shards of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from optim.problem.batch import Shard, cases
from optim.problem.division import Division
from optim.problem.losses import loss_value, loss_value_and_gradient
from optim.problem.quadratic import Quadratic
from optim.problem.threads import in_order
from optim.problem.vectors import sum_into
from optim.types import Loss, Model
from rmad.extend import Array, Record, keep_freed_memory, pull, tree

__all__ = ["Objective"]


class Objective(Division):
    """f(θ) = mean over cases of loss(model(x), t), plus ½ l2 ‖θ‖².

    x and t are whatever model and loss take (t may be None); the first axis of every array in them counts the cases.
    Flat vectors have the order of rmad.ravel(model). A model with `couples_cases = True` (batch normalization in
    training) and a loss with `mean_over_cases = False` are never divided into shards.

    Parameters
    ----------
    model : Model
        A tree of float arrays of one dtype that can be called, model(x) → z.
    loss : Loss
        An object with value, gradient and hessian_product, or a function (z, t) → scalar; a mean over cases.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f; ≥ 0.
    shards : int, optional
        Shards of a batch; by default decided from the cores and the work.
    threads : int, optional
        Threads that work on the shards; by default one per core.
    cases_in_memory : int, optional
        The most cases whose activations are held at a time (one for each thread at least). A larger batch is worked
        through in chunks with the same results; every product then runs the model again, chunk by chunk.

    Raises
    ------
    TypeError
        If the model or the loss is of no use, or the model has no float arrays, float16 or several dtypes.
    ValueError
        If a number is out of range, or the model holds one object in two places.

    References
    ----------
    Martens & Sutskever (2012), section 7.1: chunks ("computational minibatches").

    Examples
    --------
    >>> import numpy as np
    >>> from optim import Function, Objective
    >>> model = Function(lambda params, x: x @ params["W"], {"W": np.array([[2.0], [0.0]])})
    >>> objective = Objective(model, lambda z, t: np.mean((z - t) ** 2) / 2)
    >>> objective.value_and_gradient(np.eye(2), np.zeros((2, 1)))
    (1.0, array([1., 0.]))
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        l2: float = 0.0,
        *,
        shards: int | None = None,
        threads: int | None = None,
        cases_in_memory: int | None = None,
    ) -> None:
        super().__init__(model, loss, l2, shards=shards, threads=threads, cases_in_memory=cases_in_memory)
        keep_freed_memory()

    def value(self, x: Any, t: Any = None) -> float:
        """Returns f(θ) on the batch, in float64."""
        return self._value(self.model, self._structure().leaves, x, t)

    def value_at(self, flat: Array, x: Any, t: Any = None) -> float:
        """Returns f at the parameters `flat`, (p,); the model is untouched."""
        there = self._structure_at(flat)
        return self._value(there.tree, there.leaves, x, t)

    def _value(self, model: Any, arrays: Sequence[Array], x: Any, t: Any) -> float:
        shards, value = self.divide(x, t), loss_value(self.loss)

        def weighted(k: int) -> float:
            return shards[k].weight * float(value(shards[k].run(model), shards[k].t))

        return sum(self.crew.run(weighted, len(shards))) + self._penalty(arrays)

    def value_and_gradient(self, x: Any, t: Any = None) -> tuple[float, Array]:
        """Returns f(θ) and ∇f(θ), (p,): one forward and one backward sweep, nothing kept."""
        structure, shards = self._structure(), self.divide(x, t)
        threads = min(self.crew.threads, len(shards))
        found = self.crew.run(lambda j: self._gradient_in_turn(structure, shards[j::threads]), threads)
        total = np.empty_like(structure.leaves[0], shape=(self.size,))
        for k, view in enumerate(self._split(total)):
            sum_into(view, [leaves[k] for _, leaves in found if leaves[k] is not None])
            for _, leaves in found:
                leaves[k] = None  # total takes up memory as it is written, so that no more than one gradient does
        if self.l2:
            total += self.dtype.type(self.l2) * self.flat()
        return sum(in_order([values for values, _ in found])) + self._penalty(structure.leaves), total

    def _gradient_in_turn(self, structure: tree.TreeDef, shards: list[Shard]) -> tuple[list[float], list[Any]]:
        """The weighted values of one thread's shards, and the sum of their gradients, one array per parameter."""
        both = loss_value_and_gradient(self.loss)
        values, sums = list[float](), list[Any]()
        for shard in shards:
            record = Record(shard.run, structure, ())
            value, u = both(record.y, shard.t)
            slopes = record.out.match(u, "loss gradient")
            cotangents = slopes if shard.weight == 1 else [c * shard.weight for c in slopes]
            leaves = pull(record.tape, cotangents, record.outputs, record.n_inputs)
            pairs = zip(sums or [None] * len(leaves), leaves, strict=True)
            sums = [b if a is None else a if b is None else a + b for a, b in pairs]
            values.append(shard.weight * float(value))
            del record, value, u, slopes, cotangents, leaves, pairs  # before the next shard's are made
        return values, sums

    def quadratic(self, x: Any, t: Any = None) -> Quadratic:
        """Returns the local quadratic model at the present parameters; the model runs once per shard."""
        return Quadratic(self, self.divide(x, t), keep=self._fits(cases(x, t)))
