"""The objective f(θ) = L(F(θ)) + ½ l2 ‖θ‖² on a batch.

Every optimizer sees its problem through this class and its local model (`optim.problem.quadratic`). Everything is a
sum over shards of the batch (`optim.problem.batch`).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from optim.problem.batch import Share, cases, slices, take
from optim.problem.losses import loss_value, loss_value_and_gradient
from optim.problem.parameters import Parameters
from optim.problem.quadratic import Quadratic
from optim.problem.threads import in_order
from rmad.extend import Diagonal, Linear, Record, Tape, is_cupy, keep_freed_memory, matmul, pull
from rmad.extend import tree as _tree

__all__ = ["Objective"]

# Work of a part below which another thread costs more than it saves, in multiply-adds of one forward pass: every part
# has a tape of its own, which Python records, one after the other. Measured on two cores (docs/benchmarks.md).
WORTH_A_THREAD = 20_000_000


class Objective(Parameters):
    """f(θ) = mean over cases of loss(model(x), t), plus ½ l2 ‖θ‖².

    model: a tree of float arrays of one dtype that can be called, model(x) → z. loss: an object with
    value, gradient and hessian_product (`nn.losses.base` tells what more it may offer), or any callable
    (z, t) → scalar that is a mean over cases. x, t: whatever they take (also None); the first axis of every array
    in them counts the cases. Flat vectors have the order of rmad.ravel(model).

    shards, threads: how the batch is divided; by default decided from the cores and the work. A model
    with `couples_cases = True` (train-mode batch normalisation) and a loss with
    `mean_over_cases = False` are never divided.

    cases_in_memory: the most cases whose activations are held at a time (one for each thread at least). A larger
    batch is worked through in chunks ("computational minibatches", Martens & Sutskever 2012, section 7.1): same
    results, but every product then runs the model again, chunk by chunk.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        l2: float = 0.0,
        *,
        shards: int | None = None,
        threads: int | None = None,
        cases_in_memory: int | None = None,
    ) -> None:
        for name, number in (("shards", shards), ("threads", threads), ("cases_in_memory", cases_in_memory)):
            if number is not None and not (isinstance(number, int | np.integer) and number >= 1):
                raise ValueError(f"{name} must be a whole number ≥ 1, got {number}")
        super().__init__(model, loss, l2, threads)
        keep_freed_memory()
        self.shards, self.cases_in_memory = shards, cases_in_memory
        self._work: dict[Any, float] = {}

    # -- parameters as one flat vector ---------------------------------------------------------------------

    # -- updates --------------------------------------------------------------------------------------------------

    # -- values and gradients ---------------------------------------------------------------------------------

    def value(self, x: Any, t: Any = None) -> float:
        """f(θ) on the batch, in float64."""
        return self._value(self.model, x, t)

    def value_at(self, flat: Any, x: Any, t: Any = None) -> float:
        """f at the parameters `flat`, (p,); the model is untouched."""
        return self._value(self.model_at(flat), x, t)

    def _value(self, model: Any, x: Any, t: Any) -> float:
        parts = self.divide(x, t)
        value = loss_value(self.loss)
        values = self.crew.run(lambda k: parts[k].weight * float(value(parts[k].run(model), parts[k].t)), len(parts))
        return sum(values) + self._penalty(_tree.flatten(model, "model")[0])

    def value_and_gradient(self, x: Any, t: Any = None) -> tuple[float, Any]:
        """f(θ) and ∇f(θ), (p,): one forward and one backward sweep, nothing kept."""
        parts = self.divide(x, t)
        threads = min(self.crew.threads, len(parts))
        lanes = self.crew.run(lambda j: self._lane_gradient(parts[j::threads]), threads)
        total = np.empty_like(self._arrays()[0], shape=(self.size,))
        for k, view in enumerate(self._split(total)):
            _sum_into(view, [leaves[k] for _, leaves in lanes if leaves[k] is not None])
            for _, leaves in lanes:
                leaves[k] = None  # total takes up memory as it is written, so that no more than one gradient does
        if self.l2:
            total += self.dtype.type(self.l2) * self.flat()
        return sum(in_order([values for values, _ in lanes])) + self._penalty(self._arrays()), total

    def _lane_gradient(self, parts: list[Share]) -> tuple[list[float], list[Any]]:
        """The weighted values of one thread's parts, worked through in turn, and the sum of their gradients."""
        both = loss_value_and_gradient(self.loss)
        values, sums = list[float](), list[Any]()
        for part in parts:
            record = Record(part.run, self.model, ())
            value, u = both(record.y, part.t)
            cotangents = [_scaled(c, part.weight) for c in record.out.match(u, "loss gradient")]
            leaves = pull(record.tape, cotangents, record.outputs, record.n_inputs)
            sums = [_added(a, b) for a, b in zip(sums, leaves, strict=True)] if sums else leaves
            values.append(part.weight * float(value))
            del record, value, u, cotangents, leaves  # before the next part's are made
        return values, sums

    def quadratic(self, x: Any, t: Any = None) -> Quadratic:
        """The local quadratic model at the present parameters: runs the model once per shard."""
        return Quadratic(self, self.divide(x, t), keep=self._fits(cases(x, t)))

    # -- shards ---------------------------------------------------------------------------------------------------

    def divide(self, x: Any, t: Any) -> list[Share]:
        """The batch as a list of parts, whose weights sum to one."""
        n = cases(x, t)
        if n == 0:
            raise ValueError("the batch is empty: x and t have no cases")
        self._check_device(x, t)
        parts = self._number_of_parts(n, x, t)
        if n is None or parts == 1:
            return [Share(x, t, 1.0, 0)]
        return [Share(take(x, s), take(t, s), (s.stop - s.start) / n, s.start) for s in slices(n, parts)]

    def _check_device(self, x: Any, t: Any) -> None:
        """Raises TypeError where the batch is on the GPU and the model is not, or the other way round."""
        if "cupy" not in sys.modules:
            return
        here = is_cupy(self._arrays()[0])
        for name, part in (("x", x), ("t", t)):
            for path, a in _tree.leaves(part, name):
                if is_cupy(a) != here and (is_cupy(a) or isinstance(a, np.ndarray)):
                    kinds, move = ("NumPy", "CuPy"), ("cupy.asnumpy", "cupy.asarray")[here]
                    raise TypeError(
                        f"{path} is an array of {kinds[not here]}, the model has arrays of {kinds[here]}: "
                        f"pass {move}({path})"
                    )

    def _fits(self, n: int | None) -> bool:
        """Whether the activations of so many cases are held at a time."""
        return self.cases_in_memory is None or n is None or n <= self.cases_in_memory

    def _number_of_parts(self, n: int | None, x: Any, t: Any) -> int:
        coupled = getattr(self.model, "couples_cases", False) or not getattr(self.loss, "mean_over_cases", True)
        if coupled and not self._fits(n):
            raise ValueError(f"cases_in_memory = {self.cases_in_memory}: the {n} cases of this batch do not come apart")
        if n is None or coupled:
            return 1
        parts = self._parts_at_once(n, x)
        if self.cases_in_memory is None or n <= self.cases_in_memory:
            return parts
        size = max(1, self.cases_in_memory // self.threads)  # a chunk on every thread at a time
        return max(parts, -(-n // size))

    def _parts_at_once(self, n: int, x: Any) -> int:
        if self.shards is not None:
            return max(1, min(self.shards, n))
        parts = min(self.threads, n)
        if parts == 1 or is_cupy(self._arrays()[0]):
            return 1
        return max(1, min(parts, int(n * self._work_per_case(x) / WORTH_A_THREAD)))

    def _work_per_case(self, x: Any) -> float:
        """Multiply-adds of a forward pass of one case, counted on its tape once per shape of x."""
        one = take(x, slice(0, 1))
        key = tuple(np.shape(a) for _, a in _tree.leaves(one))
        if key not in self._work:
            try:
                tape = Record(Share(one, None, 1.0, 0).run, self.model, ()).tape
            except (TypeError, ValueError):
                return 0.0  # the batch as it is will say what is wrong
            self._work[key] = _work(tape)
        return self._work[key]


def _scaled(u: Any, weight: float) -> Any:
    return u if weight == 1 else u * weight


def _added(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def _sum_into(out: Any, terms: list[Any]) -> None:
    """out ← Σ terms, in their order."""
    if not terms:
        out.fill(0)
    elif len(terms) == 1:
        np.copyto(out, terms[0])
    else:
        np.add(terms[0], terms[1], out)
        for term in terms[2:]:
            np.add(out, term, out)


def _work(tape: Tape) -> float:
    """Multiply-adds of one forward pass, as far as the tape tells; an elementwise node counts ten per entry."""
    work = 0.0
    for node in tape.nodes:
        if node.joint is not None:
            work += _work(node.joint.tape)
            continue
        for block in node.blocks:
            if isinstance(block, Linear) and block.primitive is matmul:
                work += block.args[0].size * block.args[1].shape[-1]
            elif isinstance(block, Diagonal):
                work += 10 * node.spec.size
            elif hasattr(block.primitive, "kernels"):
                work += block.primitive.kernels.work(block)
    return work
