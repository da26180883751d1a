"""The objective f(θ) = L(F(θ)) + ½ l2 ‖θ‖² on a batch.

Every optimizer sees its problem through this class and its local model (`optim.problem.quadratic`). Everything is a
sum over the shards of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from optim.problem.batch import Shard, cases
from optim.problem.division import Division
from optim.problem.losses import loss_value, loss_value_and_gradient
from optim.problem.means import declared_mean, evaluate, is_mean, same_value, together
from optim.problem.pairing import BroadcastError
from optim.problem.quadratic import Quadratic
from optim.problem.stored import in_memory
from optim.problem.threads import in_order
from optim.problem.vectors import Scalar, read, sum_into, summed, weighted
from rmad.extend import Array, Record, arrays, pull, tree

__all__ = ["Objective"]

R = TypeVar("R")


class Objective(Division):
    """f(θ) = loss(model(x), t), a mean over cases as a rule, plus ½ l2 ‖θ‖².

    x and t are whatever model and loss take (t may be None); the first axis of every array in them counts the cases.
    Flat vectors have the order of rmad.ravel(model). A batch is divided into shards only if f is a sum over
    independent cases: a model with `couples_cases = True` (batch normalization in training) and a loss with
    `mean_over_cases = False` take it whole. A loss that says neither is compared on the whole batch and on the
    shards; if it is no mean over cases (a sum, a mean over labelled cases, a loss that couples cases), f is its value
    on the whole batch.

    Parameters
    ----------
    model : Model
        A tree of float arrays of one dtype that can be called, model(x) → z.
    loss : Loss
        An object with value, gradient and hessian_product, or a function (z, t) → scalar. `mean_over_cases = True`
        on it says that it is a mean over cases, and saves the comparison.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f; ≥ 0.
    shards : int, optional
        Shards of a batch; by default decided from the cores and the work.
    threads : int, optional
        Threads that work on the shards; by default one per core.
    cases_in_memory : int, optional
        The most cases whose activations are held at a time (one for each thread at least), on each rank. A larger batch
        is worked through in chunks with the same results; every product then runs the model again, chunk by chunk.
    ranks : Ranks, optional
        The processes of an MPI job that share every batch; all of them call every method.

    Raises
    ------
    TypeError
        If the model or the loss lacks the required interface, or the model has no float arrays, float16 or several
        dtypes.
    ValueError
        If a number is out of range, or the model holds one object in two places; from value, value_and_gradient and
        quadratic, if a batch is larger than cases_in_memory and cannot be divided.

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

    def value(self, x: Any, t: Any = None) -> float:
        """Returns f(θ) on the batch, in float64."""
        return read(self._value(self.model, self._structure().leaves, x, t))[0]

    def value_at(self, flat: Array, x: Any, t: Any = None) -> float:
        """Returns f at the parameters `flat`, (p,); the model is untouched."""
        return read(self.scalar_at(flat, x, t))[0]

    def scalar_at(self, flat: Array, x: Any, t: Any = None) -> Scalar:
        """Returns the same as a Scalar, which stays on a device until `read`."""
        there = self._structure_at(flat)
        return self._value(there.tree, there.leaves, x, t)

    def _value(self, model: Any, arrays: Sequence[Array], x: Any, t: Any) -> Any:
        shards, value = self.divide(x, t), loss_value(self.loss)
        if self._is_compared(shards):
            found = self._if_mean(model, shards, x, t, lambda: self._compared_value(shards, model, t))
            return self._value(model, arrays, x, t) if found is None else summed([found, self._penalty(arrays)])

        def term(k: int) -> Any:
            return weighted(shards[k].weight, value(shards[k].run(model), shards[k].targets))

        (terms,) = self.ranks.exchange(lambda: ([self.crew.run(term, len(shards))], []))
        return summed([*terms, self._penalty(arrays)])

    def _compared_value(self, shards: list[Shard], model: Any, t: Any) -> float | None:
        """L as the sum over the shards; None if the whole batch gives a different value."""
        value = loss_value(self.loss)
        shards, outputs, t = self._of_all(shards, lambda: self.crew.run(lambda k: shards[k].run(model), len(shards)), t)
        z = together(outputs)
        terms = [shard.weight * float(value(z_s, shard.targets)) for z_s, shard in zip(outputs, shards, strict=True)]
        return sum(terms) if z is not None and same_value(z, float(value(z, t)), terms) else None

    def _of_all(
        self, shards: list[Shard], outputs: Callable[[], Sequence[Any]], t: Any
    ) -> tuple[list[Shard], list[Any], Any]:
        """The shards of all ranks with their outputs, and the targets of the batch, for comparisons of a loss."""
        if self.ranks.size == 1:
            return shards, list(outputs()), in_memory(t)
        of_ranks = self.ranks.gathered(
            lambda: [
                (z, shard.targets, shard.weight, shard.first, cases(shard.x, shard.t))
                for z, shard in zip(outputs(), shards, strict=True)
            ]
        )
        rows = [row for rows in of_ranks for row in rows]
        everything = [Shard(range(n or 0), t_s, weight, first) for _, t_s, weight, first, n in rows]
        targets = None if t is None else together([row[1] for row in rows]) if self.ranks.sliced else in_memory(t)
        return everything, [row[0] for row in rows], targets

    def _is_compared(self, shards: list[Shard]) -> bool:
        """True if results on shards hold only once they are compared: the loss does not say that it is a mean."""
        return (len(shards) > 1 or self.ranks.size > 1) and declared_mean(self.loss) is None

    def _if_mean(
        self,
        model: Any,
        shards: list[Shard],
        x: Any,
        t: Any,
        on_shards: Callable[[], R | None],
        curvature: bool = False,
    ) -> R | None:
        """on_shards(), or None if that is None: no batch is divided again, since the loss is no mean.

        A loss may not even be defined on some cases alone; that counts as None, without warnings. Other errors are
        raised. ValueError if the batch is larger than memory.
        """
        problem = None
        with np.errstate(all="ignore"):
            try:
                found = on_shards()
            except (BroadcastError, MemoryError):
                raise
            except Exception as error:
                problem, found = error, None
            if problem is not None and (
                self.ranks.size > 1 or not self._needs_all_cases(model, shards, t, on_shards, curvature)
            ):
                raise problem
        if found is None:
            self.loss_couples = 1
            n = cases(x, t)
            if self.ranks.size > 1:
                raise self._not_on_ranks([n or 0])
            if not self._fits(n):
                raise self._does_not_come_apart(n) from problem
        return found

    def _needs_all_cases(
        self, model: Any, shards: list[Shard], t: Any, on_shards: Callable[[], Any], curvature: bool
    ) -> bool:
        """True if the loss, which raised on the shards, is defined on the batch, and raises on the shards again.

        An error on the batch is the user's, and is raised.
        """
        z = together(self.crew.run(lambda k: shards[k].run(model), len(shards)))
        if z is None:
            return False
        evaluate(self.loss, z, in_memory(t), curvature)
        try:
            on_shards()
        except Exception:
            return True
        return False

    def value_and_gradient(self, x: Any, t: Any = None) -> tuple[float, Array]:
        """Returns f(θ) and ∇f(θ), (p,): one forward and one backward sweep, nothing kept."""
        f, gradient = self.scalar_and_gradient(x, t)
        return read(f)[0], gradient

    def scalar_and_gradient(self, x: Any, t: Any = None) -> tuple[Scalar, Array]:
        """Returns the same with f(θ) as a Scalar, which stays on a device until `read`."""
        shards = self.divide(x, t)
        if self._is_compared(shards):
            found = self._if_mean(self.model, shards, x, t, lambda: self._value_and_gradient(shards, t, True))
            return self.scalar_and_gradient(x, t) if found is None else found
        result = self._value_and_gradient(shards, t, False)
        assert result is not None  # None is the outcome of a comparison
        return result

    def _value_and_gradient(self, shards: list[Shard], t: Any, compared: bool) -> tuple[Any, Array] | None:
        """f and ∇f as sums over the shards; None if they are compared and others on the batch."""
        structure, threads = self._structure(), min(self.crew.threads, len(shards))
        losses: list[Any] = []
        totals: list[Array] = []

        def terms() -> tuple[list[list[Any]], list[Array]]:
            found = self.crew.run(lambda j: self._gradient_in_turn(structure, shards[j::threads], compared), threads)
            losses.extend(in_order([seen for _, _, seen in found]))
            total = arrays.empty(structure.leaves[0], (self.size,))
            totals.append(total)
            for k, view in enumerate(self._split(total)):
                sum_into(view, [leaves[k] for _, leaves, _ in found if leaves[k] is not None])
                for _, leaves, _ in found:
                    leaves[k] = None  # total takes up memory as it is written, so that no more than one gradient does
            return [in_order([values for values, _, _ in found])], totals

        (values,) = self.ranks.exchange(terms)
        (total,) = totals
        if compared and not self._is_mean_of(shards, losses, t):
            return None
        if self.l2:
            total += self.dtype.type(self.l2) * self.flat()
        return summed([*values, self._penalty(structure.leaves)]), total

    def _is_mean_of(self, shards: list[Shard], losses: Sequence[Any], t: Any) -> bool:
        """True if value and gradient of the loss are those of the shards; losses: z and (L, ∂L/∂z) of each."""
        if self.ranks.size == 1:
            outputs, pairs = zip(*losses, strict=True)
            return is_mean(self.loss, shards, outputs, in_memory(t), pairs)
        return is_mean(self.loss, *self._of_all(shards, lambda: [z for z, _ in losses], t))

    def _gradient_in_turn(
        self, structure: tree.TreeDef, shards: list[Shard], compared: bool
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The weighted values of one thread's shards, and the sum of their gradients, one array per parameter.

        compared: also z and (L, ∂L/∂z) of every shard.
        """
        both = loss_value_and_gradient(self.loss)
        values, sums, seen = list[Any](), list[Any](), list[Any]()
        for shard in shards:
            record = Record(shard.run, structure, ())
            value, u = both(record.y, shard.targets)
            if compared:
                seen.append((record.y, (value, u)))
            slopes = record.out.match(u, "loss gradient")
            cotangents = slopes if shard.weight == 1 else [c * shard.weight for c in slopes]
            leaves = pull(record.tape, cotangents, record.outputs, record.n_inputs)
            pairs = zip(sums or [None] * len(leaves), leaves, strict=True)
            sums = [b if a is None else a if b is None else a + b for a, b in pairs]
            values.append(weighted(shard.weight, value))
            del record, value, u, slopes, cotangents, leaves, pairs  # before the next shard's are made
        return values, sums, seen

    def quadratic(self, x: Any, t: Any = None) -> Quadratic:
        """Returns the local quadratic model at the present parameters; the model runs once per shard.

        A loss that does not say that it is a mean over cases is compared on the whole batch first; it costs one more
        run of the model if the batch is larger than memory.
        """
        try:
            return self._quadratic(x, t)
        except BaseException as error:
            self.ranks.fail(error)  # no message has told the other ranks
            raise

    def _quadratic(self, x: Any, t: Any) -> Quadratic:
        shards = self.divide(x, t)
        keep = self._fits(sum(cases(shard.x, shard.t) or 0 for shard in shards))
        if not self._is_compared(shards):
            return Quadratic(self, shards, keep=keep)
        found = self._if_mean(
            self.model, shards, x, t, lambda: self._compared_quadratic(shards, t, keep), curvature=True
        )
        return self.quadratic(x, t) if found is None else found

    def parts(self, x: Any, t: Any = None) -> list[Shard]:
        """Returns the shards over which f on a batch is a sum: those that `quadratic` would take.

        They depend on shapes, cores and `cases_in_memory` only. A loss that does not say that it is a mean over cases
        is compared on the whole batch first, at one more run of the model.
        """
        shards = self.divide(x, t)
        if not self._is_compared(shards):
            return shards

        def compared() -> list[Shard] | None:
            found = self._of_all(shards, lambda: self.crew.run(lambda k: shards[k].run(self.model), len(shards)), t)
            return shards if is_mean(self.loss, *found, curvature=True) else None

        found = self._if_mean(self.model, shards, x, t, compared, curvature=True)
        return self.parts(x, t) if found is None else found

    def _compared_quadratic(self, shards: list[Shard], t: Any, keep: bool) -> Quadratic | None:
        """The local model on the shards; None if the whole batch gives a different loss."""
        q = Quadratic(self, shards, keep=keep)

        def outputs() -> list[Any]:
            if keep:
                return in_order([[shard.z for shard in mine] for mine in q.by_thread])
            return self.crew.run(lambda k: shards[k].run(self.model), len(shards))

        everything, z, targets = self._of_all(shards, outputs, t)
        return q if is_mean(self.loss, everything, z, targets, curvature=True) else None
