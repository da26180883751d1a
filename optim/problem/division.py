"""Divides a batch into shards to fit memory or use threads, or leaves it whole."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from optim import tuning
from optim.problem.batch import Shard, cases, slices, take
from optim.problem.means import comes_apart, declared_mean, is_mean, name_of
from optim.problem.pairing import BroadcastError
from optim.problem.parameters import Parameters
from optim.problem.ranks import Alone
from optim.problem.stored import in_memory
from optim.types import Loss, Model
from rmad.extend import Diagonal, Linear, Record, Tape, is_cupy, keep_freed_memory, matmul, tree
from rmad.extend import tuning as engine_tuning

__all__ = ["Division"]


class Division(Parameters):
    """The parameters of an objective, and the number of shards that its batches are divided into.

    Parameters
    ----------
    model, loss, l2, threads
        As for `Parameters`.
    shards : int, optional
        Shards of a batch; by default one per thread, if the work per shard justifies it.
    cases_in_memory : int, optional
        The most cases whose activations are held at a time, on each rank.
    ranks : Ranks, optional
        The processes that share every batch; each divides its own cases.

    Raises
    ------
    ValueError
        If a number is not a whole number ≥ 1.
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
        ranks: Alone | None = None,
    ) -> None:
        for name, number in (("shards", shards), ("threads", threads), ("cases_in_memory", cases_in_memory)):
            if number is not None and not (isinstance(number, int | np.integer) and number >= 1):
                raise ValueError(f"{name} must be a whole number ≥ 1, got {number}")
        super().__init__(model, loss, l2, threads, ranks)
        keep_freed_memory()
        self.shards, self.cases_in_memory = shards, cases_in_memory
        self._work: dict[Any, float] = {}
        self._apart: dict[Any, bool] = {}  # by the shapes of one case: if a model works case by case
        self.loss_couples = 0  # 1 once found on some batch; from then on none is divided
        self._counted_batches: list[tuple[Any, Any, list[int]]] = []  # of this step, on ranks with cases of their own

    def begin_step(self) -> None:
        super().begin_step()
        self._counted_batches = []

    def counts(self, x: Any, t: Any) -> list[int]:
        """The cases of every rank; [] if those of this one cannot be counted.

        Ranks that are given their own cases tell each other how many, once for every batch of a step.
        """
        n, ranks = cases(x, t), self.ranks
        if not ranks.sliced:
            return [] if n is None else [s.stop - s.start for s in slices(n, ranks.size)]
        for a, b, known in self._counted_batches:
            if a is x and b is t:
                return known
        found = ranks.gathered(lambda: n)
        counts = [] if None in found else [int(k) for k in found if k is not None]
        self.note(x, t, counts)
        return counts

    def given(self, x: Any, t: Any) -> list[int]:
        """The cases that every rank was given, if each has its own, else those of the batch; [] if there are none."""
        return self.counts(x, t) if self.ranks.sliced else [cases(x, t) or 0]

    def note(self, x: Any, t: Any, counts: list[int]) -> None:
        """Keeps the counts of a batch that is a part of one whose counts are known."""
        if self.ranks.sliced:
            self._counted_batches = [*self._counted_batches[-4:], (x, t, counts)]

    def cases(self, x: Any, t: Any) -> int | None:
        """The number of cases of a batch, those of all ranks."""
        return (sum(self.counts(x, t)) or None) if self.ranks.sliced else cases(x, t)

    def divide(self, x: Any, t: Any) -> list[Shard]:
        """Returns the batch as a list of shards, whose weights sum to one; on ranks to their share of the cases."""
        n = cases(x, t)
        if n == 0 and not self.ranks.sliced:
            raise ValueError("the batch is empty: x and t have no cases")
        self._check_device(x, t)
        if self.ranks.size > 1:
            return self._own_shards(x, t)
        number = self._number_of_shards(n, x)
        if n is None or number == 1:
            return [Shard(x, t, 1.0, 0)]
        return [Shard(take(x, s), take(t, s), (s.stop - s.start) / n, s.start) for s in slices(n, number)]

    def _own_shards(self, x: Any, t: Any) -> list[Shard]:
        """The cases of this rank, divided; ValueError on all ranks if the batch does not come apart."""
        ranks, counts = self.ranks, self.counts(x, t)
        if 0 in counts:
            where = f": rank {counts.index(0)} has none" if ranks.sliced else ""
            raise ValueError(f"ranks: {sum(counts)} cases are too few for {ranks.size} ranks{where}")
        if not counts or self._says_that_it_couples() or self._model_couples(x, must="ranks share the batch"):
            raise self._not_on_ranks(counts)
        first, own, total = sum(counts[: ranks.rank]), counts[ranks.rank], sum(counts)
        if not ranks.sliced:
            ranks.given((x, t))
            x, t = (take(a, slice(first, first + own)) for a in (x, t))
        parts = slices(own, self._number_of_shards(own, x))
        if len(parts) == 1:
            return [Shard(x, t, own / total, first)]
        return [Shard(take(x, s), take(t, s), (s.stop - s.start) / total, first + s.start) for s in parts]

    def _not_on_ranks(self, counts: list[int]) -> ValueError:
        if not counts:
            why = "x and t have no cases along their first axis, as many in each array"
        elif self.loss_couples or declared_mean(self.loss) is False:
            why = f"the loss {name_of(self.loss)} is no mean over cases"
        else:
            why = "the model's outputs for a case depend on the other cases of the batch"
        return ValueError(f"ranks: the cases of this batch do not come apart, so that no ranks can share them: {why}")

    def _check_device(self, x: Any, t: Any) -> None:
        """Raises TypeError if the batch is on the GPU and the model is not, or the other way round."""
        if "cupy" not in sys.modules:
            return
        here = is_cupy(self._structure().leaves[0])
        for name, given in (("x", x), ("t", t)):
            for path, a in tree.leaves(given, name):
                if is_cupy(a) != here and (is_cupy(a) or isinstance(a, np.ndarray)):
                    kinds, move = ("NumPy", "CuPy"), ("cupy.asnumpy", "cupy.asarray")[here]
                    raise TypeError(
                        f"{path} is an array of {kinds[not here]}, the model has arrays of {kinds[here]}: "
                        f"pass {move}({path})"
                    )

    def _fits(self, n: int | None) -> bool:
        """True if the activations of so many cases are held at a time."""
        return self.cases_in_memory is None or n is None or n <= self.cases_in_memory

    def _number_of_shards(self, n: int | None, x: Any) -> int:
        if n is None or n == 1:
            return 1
        if not self._says_that_it_couples():  # before the model runs on a case, which BatchNorm would remember
            number = self._shards_at_once(n, x)
            if not self._fits(n):
                assert self.cases_in_memory is not None
                size = max(1, self.cases_in_memory // self.threads)  # a chunk on every thread at a time
                number = max(number, -(-n // size))
            larger = f"the batch is larger than cases_in_memory = {self.cases_in_memory}"
            if number == 1 or not self._model_couples(x, must="" if self._fits(n) else larger):
                return number
        if not self._fits(n):
            raise self._does_not_come_apart(n)
        return 1

    def _does_not_come_apart(self, n: int | None) -> ValueError:
        whose = "" if not self.loss_couples else f": the loss {name_of(self.loss)} is no mean over cases"
        return ValueError(
            f"cases_in_memory = {self.cases_in_memory}: the {n} cases of this batch do not come apart{whose}"
        )

    def _says_that_it_couples(self) -> bool:
        """True if the model or the loss says so, or if the loss was found to on some batch."""
        couples = bool(getattr(self.model, "couples_cases", False))
        return couples or declared_mean(self.loss) is False or bool(self.loss_couples)

    def _model_couples(self, x: Any, must: str = "") -> bool:
        """True if the outputs for a few cases depend on which cases come together; found once per shape of x.

        Also True if the model takes no part of the batch, as where x holds an array that all cases share and that is
        as long as the batch. The error of the model is raised if the batch must be divided, for the reason `must`.
        """
        key = _shapes(take(x, slice(0, 1)))
        if key not in self._apart:
            if self.ranks.sliced:  # each looks at cases of its own
                found = (
                    None
                    if None in (verdicts := self.ranks.gathered(lambda: self._comes_apart(x, must)))
                    else all(verdicts)
                )
            else:
                found = self._comes_apart(x, must)
            if found is None:
                return True  # the batch as it is will say if something is wrong
            self._apart[key] = found
        return not self._apart[key]

    def _comes_apart(self, x: Any, must: str) -> bool | None:
        """True if the outputs for a few cases are those for parts of them; None if the model does not run on them."""
        n = cases(x) or 1
        few = min(4, n)
        if few == 1:
            return True  # one case tells nothing
        some = (slice(few), slice(1), slice(1, few))
        try:
            whole, *parts = (Shard(take(x, s), None, 1.0, s.start or 0).run(self.model) for s in some)
        except (TypeError, ValueError) as error:
            if must:
                error.add_note(
                    f"The model was called with {few} of the {n} cases, because {must}; all arrays of x are divided "
                    "along their first axis."
                )
                raise
            return None
        return comes_apart(whole, parts)

    def has_independent_cases(self, x: Any, t: Any) -> bool:
        """True if f on some cases estimates f on all: the model works case by case, and the loss is a mean over cases.

        A loss that does not say so is compared on a few cases and parts of them; one that is no mean there, or is not
        defined, is taken for none from then on.
        """
        n = cases(x, t)
        if n is None or self._says_that_it_couples() or self._model_couples(x):
            return False
        if self.cases(x, t) == 1 or declared_mean(self.loss):
            return True
        if self.ranks.sliced:
            means = all(self.ranks.gathered(lambda: self._is_mean(x, t, n)))
        else:
            means = self._is_mean(x, t, n)
        self.loss_couples = int(not means)
        return means

    def _is_mean(self, x: Any, t: Any, n: int) -> bool:
        """True if the loss on a few cases is the mean of those on parts of them; False if it is not defined there."""
        few = min(4, n)
        if few == 1:
            return True
        parts = [slice(1), slice(1, few)]
        shards = [Shard(take(x, s), take(t, s), (s.stop - (s.start or 0)) / few, s.start or 0) for s in parts]
        outputs = [shard.run(self.model) for shard in shards]
        try:
            return is_mean(self.loss, shards, outputs, in_memory(take(t, slice(few))))
        except (BroadcastError, MemoryError):
            raise
        except Exception:  # the batch as it is will say if something is wrong
            return False

    def _shards_at_once(self, n: int, x: Any) -> int:
        """The number of shards for the threads; memory does not count here."""
        if self.shards is not None:
            return max(1, min(self.shards, n))
        most = min(self.threads, n)
        if most == 1 or is_cupy(self._structure().leaves[0]):
            return 1
        return max(1, min(most, int(n * self.work_per_case(x) / tuning.WORK_PER_SHARD)))

    def work(self, x: Any, t: Any = None) -> float:
        """Multiply-adds of a forward pass over the batch; of a run over all of it if it does not come apart."""
        n = cases(x, t)
        per_case = 0.0 if n is None else self.work_per_case(x)
        if n is not None and per_case:
            return n * per_case
        key = "whole", *_shapes(x)
        if key not in self._work:
            try:
                self._work[key] = self._counted(x, None)
            except (TypeError, ValueError):
                return 0.0  # the run that follows raises the error
        return self._work[key]

    def work_per_case(self, x: Any) -> float:
        """Multiply-adds of a forward pass of one case, counted on its tape once per shape of x; 0 if not known."""
        one = take(x, slice(0, 1))
        key = _shapes(one)
        if key not in self._work:
            try:
                few = 1 + bool(getattr(self.model, "couples_cases", False))
                self._work[key] = self._counted(x, few) / few
            except (TypeError, ValueError):
                return 0.0  # the run over the whole batch raises the error
        return self._work[key]

    def bytes_per_case(self, x: Any) -> float:
        """Bytes of the arrays of one case on a tape: what a forward pass leaves behind; 0 if the model fails on it."""
        few = 1 + bool(getattr(self.model, "couples_cases", False))
        try:
            nodes = self._tape(x, few).nodes
        except (TypeError, ValueError):
            return 0.0
        return _bytes(nodes[len(self._structure().leaves) :]) / few

    def _counted(self, x: Any, few: int | None) -> float:
        """The work of a run on a few cases, or on all."""
        return _work(self._tape(x, few))

    def _tape(self, x: Any, few: int | None) -> Tape:
        """The tape of a few cases, or of all; of a copy for a model that would remember their statistics."""
        there = copy.copy(self)
        if getattr(self.model, "couples_cases", False):
            there.model = copy.deepcopy(self.model)
        some = Shard(x if few is None else take(x, slice(0, few)), None, 1.0, 0)
        return Record(some.run, there._structure(), ()).tape


def _shapes(x: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(np.shape(a) for _, a in tree.leaves(x))


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
                work += engine_tuning.ELEMENT_WORK * node.spec.size
            elif hasattr(block.primitive, "kernels"):
                work += block.primitive.kernels.work(block)
    return work


def _bytes(nodes: Sequence[Any]) -> float:
    """Bytes of the arrays that some nodes stand for."""
    inner = (_bytes(node.joint.tape.nodes) for node in nodes if node.joint is not None)
    return sum(float(node.spec.size * node.spec.dtype.itemsize) for node in nodes) + sum(inner)
