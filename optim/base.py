"""What all optimizers share: the record of a step, rejected steps, state, checks of hyper-parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optim.problem.objective import Objective
from optim.problem.vectors import is_finite
from rmad import tree as _tree

__all__ = ["NumericalWarning", "Optimizer", "StepInfo", "TrainingDiverged"]


class NumericalWarning(RuntimeWarning):
    """A step was rejected because something was NaN or infinite; the message names what."""


class TrainingDiverged(RuntimeError):
    """Ten steps in a row met NaN or Inf and were rejected. The parameters are as they were before the first of them."""


@dataclass(frozen=True)
class StepInfo:
    """One step: the objective before it, and what the method did.

    loss: f(θ) on the batch before the step, l2 included. gradient_norm: ‖∇f(θ)‖. damping: λ the step was computed
    with. reduction_ratio: ρ, NaN where there is none. step_size: α (the learning rate of SGD and Adam), 0 where the
    parameters stayed. products: curvature products, those that only start or judge CG included. rejected: the step
    was refused, `reason` says why; else `reason` says what ended CG, or is empty.
    """

    loss: float
    gradient_norm: float = math.nan
    damping: float = 0.0
    reduction_ratio: float = math.nan
    step_size: float = 0.0
    cg_iterations: int = 0
    products: int = 0
    rejected: bool = False
    reason: str = ""


class Optimizer:
    """Base of the optimizers: opt = Method(model, loss, **hyper); info = opt.step(x, t).

    A step rebinds the model's arrays to new ones and never writes into the old. Subclasses name what `state_dict`
    holds in `_state`; the model's own parameters are not in it.
    """

    most_rejected = 10  # in a row
    _state: tuple[str, ...] = ()

    def __init__(self, model: Any, loss: Any, *, l2: float = 0.0) -> None:
        self.objective = Objective(model, loss, l2=at_least("l2", l2, 0.0))
        if place := _tree.in_tuple(model, "model"):
            raise TypeError(f"{place} sits in a tuple and cannot be rebound; use a list or a dict")
        self.rejected_in_a_row = 0

    @property
    def model(self) -> Any:
        return self.objective.model

    def state_dict(self) -> dict[str, Any]:
        """Arrays and numbers, by name: with the model's parameters, all that continues the run bit for bit."""
        values = {name: getattr(self, name) for name in ("rejected_in_a_row", *self._state)}
        return {name: v.copy() if hasattr(v, "copy") else v for name, v in values.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state_dict. ValueError names what does not fit, and then nothing is changed."""
        own, name = self.state_dict(), type(self).__name__
        self._check_state(state)
        if state.keys() != own.keys():
            raise ValueError(f"{name}: the state has the entries {sorted(state)}, expected {sorted(own)}")
        new = {key: _fitting(f"{name}: state[{key!r}]", state[key], own[key]) for key in own}
        try:
            for key, value in new.items():
                setattr(self, key, value)
        except ValueError:  # a hyper-parameter out of range
            for key, value in own.items():
                setattr(self, key, value)
            raise

    def _check_state(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{type(self).__name__}: a state is a dict, as state_dict gives it, not {type(state).__name__}"
            )

    def _accept(self, flat: Any) -> None:
        self.objective.assign(flat)
        self.objective.end_step()
        self.rejected_in_a_row = 0

    def _reject(self, reason: str, record: Mapping[str, Any], stacklevel: int = 4) -> StepInfo:
        """Parameters stay. Where a number was not finite: a warning, and TrainingDiverged at the tenth in a row.

        A step that is refused with all numbers finite neither counts nor starts the count anew: at a minimum, where
        rounding decides, a line search finds no decrease, and that is no divergence.
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
        """What a method changes when a step was refused."""


def not_finite(loss: float, gradient: Any, squared_norm: float) -> str:
    """What is not finite, or nothing. The squares may overflow the gradient's dtype where the entries do not."""
    if not math.isfinite(loss):
        return "non-finite loss"
    if squared_norm < float(np.finfo(gradient.dtype).max):
        return ""
    return "overflow in the squared gradient" if is_finite(gradient) else "non-finite gradient"


def _fitting(what: str, value: Any, own: Any) -> Any:
    """A copy of `value` as an entry of the state like `own`: an array of its shape and dtype, or a number."""
    if getattr(own, "shape", ()) == ():
        number = np.shape(value) == () and np.asarray(value).dtype.kind in "iuf" and bool(np.isfinite(value))
        if not (number and type(own)(value) == value):
            raise ValueError(f"{what} must be a finite number like {own!r}, got {value!r}")
        return type(own)(value)
    if getattr(value, "shape", None) != own.shape or value.dtype != own.dtype:
        found = f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)
        raise ValueError(f"{what} must be an array of {own.dtype}{list(own.shape)}, got {found}")
    if not np.isfinite(value).all():
        raise ValueError(f"{what} holds NaN or Inf")
    return np.array(value, like=own)  # on the device of the parameters


def _number(name: str, value: Any) -> None:
    if np.shape(value) != () or np.asarray(value).dtype.kind not in "iufb":
        raise TypeError(f"{name} must be a number, got {value!r}")


def generator(rng: Any) -> np.random.Generator:
    """rng, where it is a generator of random numbers, or a new one with the seed 0 for None; TypeError otherwise."""
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a Generator, as np.random.default_rng(0), not {type(rng).__name__}")
    return rng


def above(name: str, value: float, bound: float) -> float:
    """value, where it is a finite number > bound; ValueError otherwise."""
    _number(name, value)
    if not (math.isfinite(value) and value > bound):
        raise ValueError(f"{name} must be > {bound:g}, got {value!r}")
    return value


def at_least(name: str, value: float, bound: float) -> float:
    """value, where it is a finite number ≥ bound; ValueError otherwise."""
    _number(name, value)
    if not (math.isfinite(value) and value >= bound):
        raise ValueError(f"{name} must be ≥ {bound:g}, got {value!r}")
    return value


def at_most(name: str, value: float, bound: float) -> float:
    """value, a number, where it is ≤ bound; ValueError otherwise."""
    if value > bound:
        raise ValueError(f"{name} must be ≤ {bound:g}, got {value!r}")
    return value


def whole(name: str, value: float, bound: int) -> int:
    """value as an int, where it is a whole number ≥ bound; ValueError otherwise."""
    if at_least(name, value, bound) != int(value):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """value, where it is True or False; TypeError otherwise: "no" would be true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def fraction(name: str, value: float) -> float:
    """value, where 0 ≤ value < 1; ValueError otherwise."""
    _number(name, value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be ≥ 0 and < 1, got {value!r}")
    return value
