"""A data set as a list of shards: f(θ) = Σ_b n_b/N f_b(θ) over its batches, held on tapes or streamed in groups.

The tapes of all shards are kept if they fit; then no product runs the network. Else every sum streams through the data
in groups that fit: a group is linearized once, used for all vectors of the product, and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from optim import tuning
from optim.hyper import COUNT, NONE
from optim.problem.batch import Shard, cases
from optim.problem.means import declared_mean, is_mean, name_of, together
from optim.problem.objective import Objective
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import Ranks
from optim.problem.threads import in_order
from optim.types import Loss, Model
from rmad.extend import import_cupy, is_cupy, lazy

__all__ = ["DataSet", "Group", "Progress", "batches"]

Progress = Callable[[str, int, int], object]
"""progress(what, done, total), called as work goes on."""


class Group(NamedTuple):
    """Some of the cases, which are held at a time: f is the sum of weight · value of the local models."""

    weight: float
    q: Quadratic
    cases: int


def batches(data: Any) -> Iterable[Any]:
    """The batches (x, t) of `data`; TypeError if they can be read only once, or if it is no data."""
    if isinstance(data, tuple):
        if len(data) != 2:
            raise TypeError(f"data: a tuple is one batch, (x, t); this one has {len(data)} entries. A list has batches")
        return [data]
    if hasattr(data, "__next__"):
        raise TypeError(
            f"data is a {type(data).__name__}, which can be read only once, but every product reads the data again: "
            "pass (x, t), a list of batches, as list(nn.data.batches(x, t, size, passes=1, rest=True)), or an object "
            "whose __iter__ starts from the beginning"
        )
    if not hasattr(data, "__iter__") or hasattr(data, "shape"):
        raise TypeError(f"data must be (x, t), a list of such batches or an iterable of them, not {_kind(data)}")
    return data  # type: ignore[no-any-return]


def _kind(data: Any) -> str:
    return type(data).__name__


class DataSet:
    """The batches of a data set with the objective on them, at the parameters of the moment when it is made.

    Parameters
    ----------
    model, loss
        As for `optim.Objective`.
    data : (x, t), a list or a re-iterable of them
        The batches.
    cases_in_memory : int, default None
        The most cases whose tapes are held; None decides by the memory of the machine.
    threads : int, default None
        Threads that work on the shards.
    ranks : Ranks, default None
        The processes that share every batch.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        data: Any,
        cases_in_memory: int | None = None,
        threads: int | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.batches = batches(data)
        how: dict[str, Any] = {"threads": threads} | ({} if ranks is None else {"ranks": ranks})
        now = Objective(model, loss, **how)
        self.theta = now.flat()  # of which the arrays of this objective are views: later steps rebind the model's
        self.objective = Objective(now.model_at(self.theta), loss, **how)
        self.sizes = [self._cases(x, t) for x, t in self]
        self._compared = False  # the loss on several batches with the loss on all of them
        if not self.sizes:
            raise ValueError("data has no batches")
        self.cases = sum(self.sizes)
        (COUNT | NONE)("cases_in_memory", cases_in_memory)
        most = self.objective.ranks.share(self._automatic()) if cases_in_memory is None else int(cases_in_memory)
        own = -(-self.cases // self.objective.ranks.size)
        self.held = own <= most
        self.most = most
        if not self.held and max(self.sizes) > most * self.objective.ranks.size:
            self.objective.cases_in_memory = most

    def _cases(self, x: Any, t: Any) -> int:
        """The cases of a batch, those of all ranks; 1 if it has none that can be counted."""
        n = cases(x, t)
        if n == 0:
            raise ValueError("data: a batch is empty, x and t have no cases")
        return 1 if n is None else self.objective.cases(x, t) or 1

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for batch in self.batches:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise TypeError(f"data: a batch must be (x, t), got {_kind(batch)}; pass (x, None) without targets")
            yield batch[0], batch[1]

    def _automatic(self) -> int:
        """The cases whose tapes fit into a part of the memory."""
        x, _ = next(iter(self))
        each = tuning.TAPE_AND_BUFFERS * self.objective.bytes_per_case(x)
        memory = tuning.HELD_MEMORY * _memory(self.theta)
        return self.cases if each == 0 else max(1, int(memory / each))

    def _shards(self) -> Iterator[Shard]:
        """The shards of all batches, with their shares of the whole, and the numbers that their cases have in it."""
        first = 0
        for k, (x, t) in enumerate(self):
            n = self._cases(x, t)
            if k >= len(self.sizes) or n != self.sizes[k]:
                raise ValueError(
                    f"data: batch {k} has {n} cases now, and other ones before; it must be the same each time"
                )
            for shard in self.objective.parts(x, t):
                yield Shard(shard.x, shard.t, shard.weight * n / self.cases, first + shard.first)
            first += n
        if first != self.cases:
            raise ValueError(f"data has {first} cases now, and had {self.cases} before; it must be the same each time")

    @lazy
    def _kept(self) -> Group:
        return self._group(list(self._shards()), 1.0)

    def _group(self, shards: list[Shard], weight: float | None = None) -> Group:
        weight = sum(shard.weight for shard in shards) if weight is None else weight
        own = [Shard(shard.x, shard.t, shard.weight / weight, shard.first) for shard in shards]
        q = Quadratic(self.objective, own)
        if not self._compared and self.objective.ranks.size == 1:
            self._compare(own, q)
        return Group(weight, q, round(weight * self.cases))

    def _compare(self, shards: list[Shard], q: Quadratic) -> None:
        """ValueError if the loss says nothing of means, and is no mean over the cases of several batches.

        Nothing is said of outputs or targets that do not come in one row per case.
        """
        loss = self.objective.loss
        if len(self.sizes) == 1 or declared_mean(loss) is not None:
            return
        if not (self._is_mean_on_a_few(shards[0]) if len(shards) == 1 else self._is_mean_over(shards, q)):
            raise ValueError(
                f"data: the loss {name_of(loss)} is no mean over cases, so f on all of them is not the mean of f on "
                "the batches: pass one batch, (x, t). If that mean is what you want, say mean_over_cases = True on "
                "the loss"
            )

    def _is_mean_on_a_few(self, shard: Shard) -> bool:
        self.objective.has_independent_cases(shard.x, shard.t)
        return not self.objective.loss_couples

    def _is_mean_over(self, shards: list[Shard], q: Quadratic) -> bool:
        outputs = in_order([[shard.z for shard in mine] for mine in q.by_thread])
        targets = [shard.t for shard in shards]
        t = None if all(part is None for part in targets) else together(targets)
        if together(outputs) is None or (t is None and targets[0] is not None):
            return True
        return is_mean(self.objective.loss, shards, outputs, t, curvature=True)

    def groups(self) -> Iterator[Group]:
        """The whole as one group that is kept, or group after group, each linearized when its turn comes.

        Ranks hold no group alike, so that theirs is one in which every product runs the model again, shard by shard.
        """
        if self.held:
            yield self._kept
            return
        if self.objective.ranks.size > 1:
            yield Group(1.0, Quadratic(self.objective, list(self._shards()), keep=False), self.cases)
            return
        waiting: list[Shard] = []
        held = 0
        for shard in self._shards():
            n = cases(shard.x, shard.t) or 1
            if waiting and held + n > self.most:
                yield self._group(waiting)
                waiting, held = [], 0
            waiting.append(shard)
            held += n
        yield self._group(waiting)
        self._compared = True


def _memory(like: Any) -> float:
    """Bytes of memory of the machine, or of the GPU that the array is on."""
    if is_cupy(like):
        return float(import_cupy().cuda.runtime.memGetInfo()[1])
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not on this system
        return tuning.MEMORY_UNLESS_KNOWN
