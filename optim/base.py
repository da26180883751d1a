"""The base of all optimizers: how a step begins, rejected steps, the state that resumes a run, and `fit`."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np

from optim import hyper
from optim.hyper import NONE, Instance, Number, Rule
from optim.other_names import OF_OPTIMIZERS, wrong_call
from optim.problem.objective import Objective
from optim.problem.pairs import original
from optim.problem.ranks import Alone, Ranks
from optim.problem.vectors import Scalar, inner, is_finite, read
from optim.step_info import NumericalWarning, StepInfo, TrainingDiverged
from optim.training import loop
from optim.types import Loss, Model
from optim.undo import Before
from rmad.extend import Array, arrays, other_names, tree

__all__ = ["NumericalWarning", "Optimizer", "StepInfo", "TrainingDiverged", "all_or_nothing"]

M = TypeVar("M", bound="Optimizer")
P = ParamSpec("P")

State: TypeAlias = "dict[str, Array | float]"
"""The entries of a state_dict by name."""

quiet = functools.partial(np.errstate, over="ignore", invalid="ignore", divide="ignore")
"""In a step NumPy does not warn, because what is not finite is found and reported as a rejected step."""


class Optimizer:
    """Base of the optimizers: opt = Method(model, loss, **hyper); info = opt.step(x, t).

    A step rebinds arrays to new ones, the model's and the method's own, and never writes into the old. Decorated with
    `all_or_nothing`, it leaves everything as it was if it raises. Subclasses name in `_state` what `state_dict` holds
    ("part.name" for an attribute of a part), in `_parts` the objects among their attributes that a step changes, and in
    `HYPER` what their hyper-parameters may be; the model's own parameters are not state.

    Parameters
    ----------
    model : callable tree of arrays
        model(x) -> z.
    loss : loss object or callable
        loss(z, t) -> scalar, convex in z.
    l2 : float, default 0.0
        Adds ½ l2‖θ‖² to f; ≥ 0.
    ranks : Ranks, default None
        The processes of an MPI job that share every batch; None is this one alone.

    Raises
    ------
    TypeError
        If the model or the loss lacks the required interface, or a parameter is in a tuple, where it cannot be
        rebound.
    ValueError
        If l2 is out of range.
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {"l2": Number(at_least=0.0), "ranks": Instance(Alone) | NONE}
    most_rejected = 10  # in a row
    fit_batch: ClassVar[int | None] = 128  # cases of a batch that `fit` takes by itself; None for all
    fit = loop.fit
    _state: tuple[str, ...] = ()
    _parts: tuple[str, ...] = ()

    def __init__(self, model: Model, loss: Loss, *, l2: float = 0.0, ranks: Ranks | None = None) -> None:
        self.objective = Objective(model, loss, **hyper.checked(Optimizer.HYPER, {"l2": l2, "ranks": ranks}))
        if place := tree.in_tuple(model, "model"):
            raise TypeError(f"{place} sits in a tuple and cannot be rebound; use a list or a dict")
        self.rejected_in_a_row = 0
        self._is_function: bool | None = None  # if f has one value at one point; None before that is known

    if not TYPE_CHECKING:  # a type checker would take every attribute for one of ours

        def __init_subclass__(cls, **keywords: Any) -> None:
            """Has the class say what is wrong with a call that does not fit it."""
            super().__init_subclass__(**keywords)
            if "__init__" in vars(cls):
                cls.__init__ = other_names.explaining(vars(cls)["__init__"], wrong_call)

        def __getattr__(self, name: str) -> Any:
            raise other_names.absent(self, OF_OPTIMIZERS, name)

    def _keep(self, rules: Mapping[str, Rule], given: Mapping[str, Any]) -> None:
        """Makes the hyper-parameters that have a rule attributes of the same name; raises for one out of range."""
        vars(self).update(hyper.checked(rules, given))

    @property
    def model(self) -> Model:
        """The model as it stands."""
        return original(self.objective.model)

    def state_dict(self) -> State:
        """Arrays and numbers by name; with the model's parameters they continue the run bit for bit."""
        values = {name: attrgetter(name)(self) for name in self._names_of_state}
        return {name: v.copy() if hasattr(v, "copy") else v for name, v in values.items()}

    @property
    def _names_of_state(self) -> tuple[str, ...]:
        return "rejected_in_a_row", "objective.loss_couples", *self._state

    def load_state_dict(self, state: Mapping[str, Array | float]) -> None:
        """Continues from a state_dict. ValueError names what does not fit, and then nothing is changed."""
        own, name = self.state_dict(), type(self).__name__
        self._check_state(state)
        if state.keys() != own.keys():
            raise ValueError(f"{name}: the state has the entries {sorted(state)}, expected {sorted(own)}")
        new = {key: _fitting(f"{name}: state[{key!r}]", state[key], own[key]) for key in own}
        if new.get("damping", 0) < 0:
            raise ValueError(f"damping must be ≥ 0, got {new['damping']}")
        try:
            self._set(new)
        except ValueError:  # a hyper-parameter out of range
            self._set(own)
            raise

    def _set(self, values: Mapping[str, Any]) -> None:
        """Sets attributes by the names that a state has for them: "k", "running.estimates"."""
        for name, value in values.items():
            part, _, attribute = name.rpartition(".")
            setattr(attrgetter(part)(self) if part else self, attribute, value)

    def _check_state(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{type(self).__name__}: a state is a dict, as state_dict gives it, not {type(state).__name__}"
            )
        for key in state:
            if not isinstance(key, str):
                raise ValueError(f"{type(self).__name__}: the state has the entry {key!r}, whose name is no text")

    def _accept(self, flat: Array) -> None:
        """Ends a step at `flat`, a new vector: the model's arrays become views of it."""
        self.objective.adopt(flat)
        self.objective.end_step()
        self.rejected_in_a_row = 0

    def _begun(
        self, f: Scalar, gradient: Array, *, reason: str = "", converges: bool = False, **record: float
    ) -> tuple[dict[str, Any], StepInfo | None]:
        """The record of a step as far as f and ∇f give it, and the step itself if it ends here.

        It is rejected if f or ∇f is not finite, or for `reason`; if the method converges, it ends at ∇f = 0.
        """
        loss, squared_norm = read(f, inner(gradient, gradient))
        norm = math.sqrt(squared_norm) if squared_norm >= 0 else math.nan
        record = {"loss": loss, "gradient_norm": norm, **record}
        reason = not_finite(loss, gradient, squared_norm) or reason
        if reason:
            return record, self._reject(reason, record, stacklevel=5)
        return record, self._converged("the gradient is zero", record) if converges and norm == 0 else None

    def _check_function(self, f: float, x: Any, t: Any) -> None:
        """Warns, in the first step only, if f on (x, t) at the present point is no longer the f given.

        Methods call it that compare values of f within a step. The f given may be rounded in another way, by a closed
        form; evaluated twice in one way, a function has the same value to the last bit.
        """
        if self._is_function is not None:
            return
        again = self.objective.value(x, t)
        near = math.isclose(again, f, rel_tol=math.sqrt(np.finfo(self.objective.dtype).eps))
        self._is_function = near or math.isnan(again) or again == self.objective.value(x, t)
        if not self._is_function:
            warnings.warn(
                f"{type(self).__name__}: the loss of one batch at the same parameters was {f:.6g}, and then "
                f"{again:.6g}: model or loss draw random numbers in every evaluation, but a step compares several. "
                "Draw the numbers once per update, outside of the model, and pass them with the batch: "
                "opt.step((x, noise), t)",
                RuntimeWarning,
                stacklevel=4,
            )

    def _converged(self, why: str, record: Mapping[str, Any]) -> StepInfo:
        """A step that leaves the parameters alone because nothing is left to gain."""
        self.rejected_in_a_row = 0
        return StepInfo(**record, reason=f"converged: {why}")

    def _reject(self, reason: str, record: Mapping[str, Any], stacklevel: int = 4) -> StepInfo:
        """Leaves the parameters alone. After a non-finite number: a warning, TrainingDiverged at the tenth in a row.

        A step that is refused with all numbers finite does not change the count: at a minimum, where rounding decides,
        a line search finds no decrease, and that is no divergence.
        """
        self._on_reject()
        if reason.startswith(("non-finite", "overflow")):
            self.rejected_in_a_row += 1
            warnings.warn(f"{type(self).__name__}: {reason}; the step is rejected", NumericalWarning, stacklevel)
            if self.rejected_in_a_row >= self.most_rejected:
                raise TrainingDiverged(
                    f"{type(self).__name__}: {self.rejected_in_a_row} steps in a row were rejected, the last because "
                    f"of: {reason}. The parameters are as they were before them"
                )
        return StepInfo(**record, rejected=True, reason=reason)

    def _on_reject(self) -> None:
        """Changes the method's own state after a step that was refused."""


def all_or_nothing(step: Callable[Concatenate[M, P], StepInfo]) -> Callable[Concatenate[M, P], StepInfo]:
    """Decorates the step of an optimizer: an exception in it, or Ctrl-C, leaves optimizer and model as they were.

    On ranks it ends the step on all of them.

    Only the count of rejected steps starts again after TrainingDiverged, so that a caller may go on.

    NumPy does not warn in it, because what is not finite is found and reported as a rejected step.
    """

    @functools.wraps(step)
    def whole(self: M, *args: P.args, **kwargs: P.kwargs) -> StepInfo:
        if not args and "x" not in kwargs:
            raise TypeError(f"{type(self).__name__}: step takes a batch, opt.step(x, t), and forms the gradient itself")
        before = Before(self)
        try:
            with quiet():
                return step(self, *args, **kwargs)
        except BaseException as error:
            try:
                before.restore()
            except BaseException:  # Ctrl-C again, with half of it restored
                before.restore()
                raise
            if isinstance(error, TrainingDiverged):
                self.rejected_in_a_row = 0
            self.objective.ranks.fail(error)
            raise

    return whole


def not_finite(loss: float, gradient: Array, squared_norm: float) -> str:
    """Names the first quantity that is not finite, or "". The squares may overflow although no entry does."""
    if not math.isfinite(loss):
        return "non-finite loss"
    if squared_norm < float(np.finfo(gradient.dtype).max):
        return ""
    return "overflow in the squared gradient" if is_finite(gradient) else "non-finite gradient"


NO_GAIN = "the change that the model predicts is within rounding"


def _fitting(what: str, value: Any, own: Any) -> Any:
    """A copy of `value` as an entry of the state like `own`: an array of its shape and dtype, or a number."""
    if getattr(own, "shape", ()) == ():
        number = np.shape(value) == () and np.asarray(value).dtype.kind in "iuf" and bool(np.isfinite(value))
        if not (number and type(own)(value) == value and (type(own) is float or value >= 0)):  # seeds and counts
            raise ValueError(f"{what} must be a finite number like {own!r}, got {value!r}")
        return type(own)(value)
    if getattr(value, "shape", None) != own.shape or value.dtype != own.dtype:
        found = f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)
        raise ValueError(f"{what} must be an array of {own.dtype}{list(own.shape)}, got {found}")
    if not np.isfinite(value).all():
        raise ValueError(f"{what} holds NaN or Inf")
    return arrays.copied(own, value)  # on the device of the parameters
