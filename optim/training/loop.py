"""fit: updates over batches, with records, validation, checkpoints, and an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np

from optim.hyper import COUNT, NONE, Flag, Number, OneOf, Rule, checked, generator
from optim.problem.ranks import ALONE, Alone
from optim.step_info import StepInfo, TrainingDiverged
from optim.training.bar import Bar
from optim.training.checks import StateDoesNotFit, check_state
from optim.training.history import History, Record
from optim.training.limits import CLOCKS, Limits
from optim.training.passes import Passes, held_out
from optim.training.stop import Stop
from optim.undo import Before

__all__ = ["Checkpoints", "fit"]

WHOLE = Number(at_least=0, whole=True)
ARGUMENTS: dict[str, Rule] = {
    "batch": COUNT | NONE,
    "epochs": WHOLE | NONE,
    "updates": WHOLE | NONE,
    "seconds": Number(above=0.0) | NONE,
    "patience": COUNT | NONE,
    "every": COUNT | NONE,
    "every_seconds": Number(above=0.0) | NONE,
    "checkpoint_every": Number(at_least=0.0),
    "shuffle": Flag(),
    "keep": OneOf(("best", "last")) | NONE,
}
REFUSED = 10  # updates in a row on all cases, after which no further one is tried


class Checkpoints(Protocol):
    """Keeps states: `nn.Checkpoints(folder)` in files."""

    def save(self, state: Mapping[str, Any], /) -> None: ...

    def load(self) -> Mapping[str, Any] | None: ...


def fit(
    optimizer: Any,
    x: Any,
    t: Any = None,
    *,
    batch: int | None = None,
    epochs: int | None = None,
    updates: int | None = None,
    seconds: float | None = None,
    clock: str | Callable[[], float] = "wall",
    validation: Any = None,
    measure: Callable[[Any], Mapping[str, Any]] | None = None,
    monitor: str | None = None,
    patience: int | None = None,
    keep: str | None = None,
    every: int | None = None,
    every_seconds: float | None = None,
    progress: bool | Callable[[Record], str] | None = None,
    on_record: Callable[[History], Any] | None = None,
    on_update: Callable[[History], Any] | None = None,
    stop: Callable[[], str] | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 60.0,
    resume: Any = False,
    rng: np.random.Generator | None = None,
    shuffle: bool = True,
) -> History:
    """Trains the model: one step per batch, until epochs, updates or seconds are used up.

    The model is in training mode during updates and out of it for measures; afterwards it is in the mode in which it
    was. Ctrl-C ends the training after the update in progress and keeps what was reached, in the model as in the
    history; a second Ctrl-C interrupts that update, undoes it and raises KeyboardInterrupt. On all cases, the training
    also ends when the optimizer has converged, or refuses ten updates in a row.

    On ranks all call it alike. The clock, the bar, the checkpoints and the measures of records are those of rank 0;
    an end that one rank asks for is one for all.

    Parameters
    ----------
    x, t : trees of arrays
        All cases of the training, along the first axis; or x is an iterator of batches, and t is None: pairs (x, t),
        or dicts of the arguments of `step`.
    batch : int, default None
        Cases of an update. None is the default of the method: 128 for SGD, Adam and CurveBall, 1000 for SGN, KFAC,
        EKFAC, KFLR and KFRA; all for LBFGS, BFGS and LevenbergMarquardt, and for HessianFree, which takes a sample of
        many cases by itself.
    epochs : int, default None
        Passes over the cases, of the whole training. A pass leaves out the last cases that fill no batch, which differ
        from pass to pass.
    updates : int, default None
        Updates of the whole training, those before `resume` included.
    seconds : float, default None
        Seconds of the updates, measures excluded. One of epochs, updates and seconds must be given; the first that is
        used up ends the training.
    clock : {"wall", "cpu"} or callable, default "wall"
        What counts as seconds: wall-clock time, CPU time of all threads, or the function's value.
    validation : (x, t) or float, default None
        Cases for the measure "validation_loss", without l2; or the share of the cases, in (0, 1), that is held out
        for it at random.
    measure : callable, default None
        measure(model) -> {name: number}, further measures for the records.
    monitor : str, default None
        The measure whose minimum is the best model; None is "validation_loss", if there is one.
    patience : int, default None
        Ends the training after so many records without a better one.
    keep : {"best", "last"}, default None
        The model at the end; None is the best, if something is monitored.
    every : int, default None
        Updates from record to record; a pass unless every_seconds is given.
    every_seconds : float, default None
        Seconds from record to record.
    progress : bool or callable, default None
        A bar on standard error, 80 columns wide: None draws it in a terminal or notebook unless RMAD_PROGRESS=off, True
        also makes a line per record elsewhere, a function progress(record) -> str gives its text.
    on_record, on_update : callable, default None
        Called with the history after every record, and after every update. A text that is returned ends the training,
        and is the reason.
    stop : callable, default None
        stop() -> str, asked before every update: a text ends the training. None is `Stop`, for Ctrl-C.
    checkpoints : object with save and load, default None
        Saves the state at the start, every checkpoint_every seconds, and at the end: `nn.Checkpoints(folder)`.
    checkpoint_every : float, default 60.0
        Seconds of updates between two checkpoints.
    resume : bool, dict or History, default False
        Continues a training bit for bit: True from the checkpoints, or from the start if there are none; otherwise
        from the state of an earlier one. The other arguments must be those of the start, but for the budgets.
    rng : numpy.random.Generator, default None
        Draws the seed of the orders of the cases; None is the seed 0.
    shuffle : bool, default True
        Whether every pass has its own order of the cases.

    Returns
    -------
    History
        The records by name, the reason for the end, the best model, the state to continue from.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type, no budget is given, or batch does not go with x and t.
    StateDoesNotFit
        If the state to continue from is damaged, or of another model, optimizer or data. Nothing is changed then.

    Examples
    --------
    >>> import optim
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 3)).astype(np.float32)
    >>> t = x @ np.array([[1.0], [2.0], [3.0]], np.float32)
    >>> model = nn.Linear(3, 1, rng=rng)
    >>> history = optim.Adam(model, nn.SquaredError(), lr=0.1).fit(x, t, batch=50, epochs=20, validation=0.2)
    >>> bool(history["validation_loss"][-1] < history["validation_loss"][0])
    True
    """
    given = checked(ARGUMENTS, locals())
    state = _ranks(optimizer).of_root(lambda: _state_of(resume, checkpoints))
    ranks = _ranks(optimizer)
    batches, validation = _batches(optimizer, x, t, validation, given, ranks.share(_seed(state, rng)))
    limits = _limits(given, batches, clock, monitor, validation, stop or str, ranks)
    loop = _Loop(optimizer, batches, limits, checkpoints)
    loop.validation, loop.measure = validation, measure
    loop.on_record, loop.on_update = on_record or _nothing, on_update or _nothing
    with ExitStack() as held:
        if stop is None:
            limits.stop = held.enter_context(Stop())
        if ranks.rank == 0:
            loop.bar = held.enter_context(_bar(progress, loop.history))
        held.enter_context(_training(optimizer.model))
        loop.run(state)
    if loop.history.best is not None and given["keep"] != "last":
        loop.history.load_best()
    return loop.history


def _ranks(optimizer: Any) -> Alone:
    """The processes that share the batches of an optimizer; one of the user's may know of none."""
    found: Alone = getattr(getattr(optimizer, "objective", None), "ranks", ALONE)
    return found


def _nothing(history: History) -> None:
    """The callback that is not given."""


class _Loop:
    """The loop itself: its parts are set by `fit`."""

    bar: Bar | None = None
    validation: Any = None
    measure: Callable[[Any], Mapping[str, Any]] | None = None
    on_record: Callable[[History], Any] = staticmethod(_nothing)
    on_update: Callable[[History], Any] = staticmethod(_nothing)

    def __init__(self, optimizer: Any, batches: Any, limits: Limits, checkpoints: Checkpoints | None) -> None:
        self.optimizer, self.batches, self.limits, self.checkpoints = optimizer, batches, limits, checkpoints
        self.history, self.ranks = History(optimizer), limits.ranks
        self.on_all_cases = isinstance(batches, Passes) and batches.size is None
        self.refused = 0  # updates in a row

    def run(self, state: Mapping[str, Any] | None) -> None:
        """Makes updates until there is a reason not to."""
        history, limits = self.history, self.limits
        if state is None:
            self.record()
            self.save()  # fails early if nothing can be written
        else:
            self.load(state)
        if self.bar:
            self.bar.begin(limits.fraction(history))
        saved = history.seconds
        while not (history.failed or limits.verdict(history)):
            try:
                batch = next(self.batches)
            except StopIteration:
                history.end = "there are no more batches"
                break
            if not self.update(arguments_of(batch)):
                break
            if limits.due(history):
                self.record()
            if history.seconds >= saved + limits.checkpoint_every:
                self.save()
                saved = history.seconds
        history.end_with(self.save())  # before the last record: a run that continues makes none at this update
        if history.infos:
            self.record()

    def update(self, arguments: dict[str, Any]) -> bool:
        """Makes one update; False if the training has diverged."""
        history, started = self.history, self.limits.clock()
        try:
            info = self.optimizer.step(**arguments)
        except TrainingDiverged as failure:
            history.end, history.failed = str(failure), True
            return False
        history.infos.append(info)
        elapsed = self.limits.clock() - started
        ((seconds, *_),) = self.ranks.exchange(lambda: ([[elapsed]], []))  # of rank 0
        history.seconds, history.update = history.seconds + float(seconds), history.update + 1
        if self.on_all_cases and info.cases == 0:
            self.limits.settled = self.settled(info)
        if self.bar:
            self.bar.update(self.limits.fraction(history))
        self.called(self.on_update)
        return True

    def called(self, callback: Callable[[History], Any]) -> None:
        """Calls a callback; what it returns on any rank counts on all."""
        if callback is _nothing:
            return
        for words in self.ranks.gathered(lambda: callback(self.history)):
            self.limits.note(words)

    def settled(self, info: StepInfo) -> str:
        """Returns the reason why another update on all cases would change nothing; "" if it may."""
        self.refused = self.refused + 1 if info.rejected else 0
        if info.reason.startswith("converged"):
            return info.reason
        return f"the last {REFUSED} updates were refused: {info.reason}" if self.refused >= REFUSED else ""

    def record(self) -> None:
        """Measures the model in use, not in training, and makes a record."""
        model, history = self.optimizer.model, self.history
        switch(model, False)
        measured: Record = {}
        if isinstance(self.batches, Passes) and self.batches.n is not None:
            measured["epoch"] = history.update / self.batches.per_pass
        if self.validation is not None:
            measured["validation_loss"] = self.loss_on(*self.validation)
        measured = self.ranks.share({**measured, **self.measures(model)})
        switch(model, True)
        if (monitor := self.limits.monitor) is not None and monitor not in measured:
            known = ", ".join(name for name in measured if name != "epoch") or "none"
            raise ValueError(f"monitor={monitor!r} is not among the measures of a record: {known}")
        record = history.record(measured, monitor)
        if self.bar:
            self.bar.record(record)
        self.called(self.on_record)

    def measures(self, model: Any) -> Mapping[str, Any]:
        """Returns the measures of the user."""
        if self.measure is None:
            return {}
        measured = self.measure(model)
        if not isinstance(measured, Mapping):
            raise TypeError(f"measure(model) must return a dict of numbers by name, not {type(measured).__name__}")
        return {name: value.item() if hasattr(value, "item") else value for name, value in measured.items()}

    def loss_on(self, x: Any, t: Any) -> float:
        """Returns the loss on a batch without l2."""
        objective = self.optimizer.objective
        l2, objective.l2 = objective.l2, 0.0
        try:
            return float(objective.value(x, t))
        finally:
            objective.l2 = l2

    def save(self) -> dict[str, Any]:
        """Returns the state, and saves it if there are checkpoints."""
        place = getattr(self.batches, "state_dict", None)
        if place is None and self.checkpoints is not None:
            raise TypeError(
                f"checkpoints: {type(self.batches).__name__} has no state_dict and load_state_dict, with which the "
                "batches would continue; nn.data.batches(x, t, size, rng) has"
            )
        state = {"run": self.history.run_state(), "batches": {} if place is None else place()}
        if self.checkpoints is not None:
            saved = self.checkpoints
            self.ranks.of_root(lambda: saved.save(state))
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Continues from a state. StateDoesNotFit if it belongs to others, and then nothing is changed."""
        before = Before(self.optimizer)
        try:
            check_state(state)
            self.history.load_run_state(state["run"])
            self.batches.load_state_dict(state["batches"])
        except Exception as misfit:  # the parts raise what they meet in a state that is not theirs
            before.restore()
            name = str(getattr(self.checkpoints, "path", "")) or "the state"
            raise StateDoesNotFit(f"{name} does not fit: {misfit}") from None


def arguments_of(batch: Any) -> dict[str, Any]:
    """Returns the arguments of a step: of a pair (x, t), or as they are."""
    if isinstance(batch, dict):
        return batch
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        found = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
        raise TypeError(f"a batch is a pair (x, t), or a dict of the arguments of step; this one is of {found}")
    return {"x": batch[0], "t": batch[1]}


def switch(model: Any, training: bool) -> None:
    """Puts a model into training mode, or out of it, if it has such modes."""
    getattr(model, "train", lambda training: None)(training)


@contextmanager
def _training(model: Any) -> Any:
    """The model in training mode, and afterwards in the mode in which it was."""
    before = getattr(model, "training", True)
    switch(model, True)
    try:
        yield
    finally:
        switch(model, before)


@contextmanager
def _shown(bar: Bar, history: History) -> Any:
    try:
        yield bar
    finally:
        bar.close(history.end if history.stopped or history.failed else "")


def _bar(progress: bool | Callable[[Record], str] | None, history: History) -> Any:
    """The bar, or none, for a `with`."""
    bar = Bar(progress) if callable(progress) else Bar()
    return _shown(bar, history) if progress or (progress is None and bar.redraws) else nullcontext()


def _state_of(resume: Any, checkpoints: Checkpoints | None) -> Mapping[str, Any] | None:
    """The state that `resume` names; None for a training from the start."""
    if isinstance(resume, History):
        return resume.state_dict()
    if isinstance(resume, Mapping):
        return resume
    if not isinstance(resume, bool | np.bool_):
        raise TypeError(f"resume must be True, False, a state or a History, not {type(resume).__name__}")
    if not resume:
        return None
    if checkpoints is None:
        raise ValueError("resume=True continues from checkpoints: give checkpoints=nn.Checkpoints(folder)")
    return checkpoints.load()


def _seed(state: Mapping[str, Any] | None, rng: Any) -> int:
    """The seed of the orders: that of the state, if there is one."""
    drawn = int(generator(rng).integers(2**32))
    batches = state.get("batches") if state is not None else None
    seed = batches.get("seed") if isinstance(batches, Mapping) else None
    return seed if type(seed) is int and seed >= 0 else drawn


def _batches(
    optimizer: Any, x: Any, t: Any, validation: Any, given: Mapping[str, Any], seed: int
) -> tuple[Any, tuple[Any, Any] | None]:
    """The iterator of batches, and the cases for validation."""
    is_share = isinstance(validation, float | np.floating)
    if hasattr(x, "__next__"):
        for name, value in (("t", t), ("batch", given["batch"]), ("epochs", given["epochs"])):
            if value is not None:
                raise ValueError(f"x is an iterator of batches, so {name} must be None")
        if is_share:
            raise ValueError("x is an iterator of batches, so validation must be a pair (x, t), not a share")
        return x, _pair(validation)
    if is_share:
        Number(above=0.0, below=1.0)("validation", validation)
        (x, t), validation = held_out((x, t), float(validation), seed)
    size = type(optimizer).fit_batch if given["batch"] is None else given["batch"]
    if given["batch"] is None and size is not None and not _has_cases(x, t):
        size = None
    ranks = _ranks(optimizer)
    passes = Passes(x, t, size, seed, given["shuffle"])
    if ranks.sliced:  # one number of batches, and one state, for ranks with cases of their own
        passes.of_all(*zip(*ranks.gathered(lambda: (passes.n or 0, passes.per_pass)), strict=True))
    return passes, _pair(validation)


def _has_cases(x: Any, t: Any) -> bool:
    return Passes(x, t, None, 0, False).n is not None


def _pair(validation: Any) -> tuple[Any, Any] | None:
    if validation is not None and not (isinstance(validation, tuple | list) and len(validation) == 2):
        raise TypeError(f"validation must be a pair (x, t) or a share of the cases, not {type(validation).__name__}")
    return None if validation is None else (validation[0], validation[1])


def _limits(
    given: Mapping[str, Any],
    batches: Any,
    clock: Any,
    monitor: str | None,
    validation: Any,
    stop: Callable[[], str],
    ranks: Alone,
) -> Limits:
    """The limits of a training."""
    updates, epochs = given["updates"], given["epochs"]
    if updates is None and epochs is None and given["seconds"] is None:
        raise ValueError("fit needs a budget: epochs, updates or seconds")
    if epochs is not None:
        of_epochs = epochs * batches.per_pass
        updates = of_epochs if updates is None else min(updates, of_epochs)
    if monitor is None and validation is not None:
        monitor = "validation_loss"
    for name in ("patience", "keep"):
        if monitor is None and given[name] not in (None, "last"):
            raise ValueError(f"{name} looks at a measure: give validation, or measure and monitor")
    if not callable(clock) and clock not in CLOCKS:
        raise ValueError(f'clock must be "wall", "cpu" or a function that returns seconds, got {clock!r}')
    every, every_seconds = given["every"], given["every_seconds"]
    if every is None and every_seconds is None:
        every = getattr(batches, "per_pass", None) or 1
    return Limits(
        clock if callable(clock) else CLOCKS[clock],
        updates,
        given["seconds"],
        given["patience"],
        monitor,
        every,
        every_seconds,
        given["checkpoint_every"],
        stop,
        ranks,
    )
