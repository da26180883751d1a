"""The record of a step, and the two ways in which numbers that are not finite are reported."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["NumericalWarning", "StepInfo", "TrainingDiverged"]


class NumericalWarning(RuntimeWarning):
    """A step was rejected because a number in it was NaN or infinite; the message names the quantity."""


class TrainingDiverged(RuntimeError):
    """Ten steps in a row met NaN or Inf and were rejected. The parameters are as they were before the first of them.

    The optimizer is as it was before the tenth, and counts rejected steps from zero again.
    """


@dataclass(frozen=True)
class StepInfo:
    """One step: the objective before it, and what the method did.

    Attributes
    ----------
    loss : float
        f(θ) on the batch before the step, l2 included.
    gradient_norm : float
        ‖∇f(θ)‖; NaN for a method that does not form ∇f.
    damping : float
        λ that the step was computed with; 0 for methods without damping.
    reduction_ratio : float
        ρ, the change of f over the change that the model predicted; NaN if it was not measured.
    step_size : float
        α (the learning rate of SGD and Adam); 0 if the parameters stayed.
    cg_iterations : int
        Iterations of CG.
    products : int
        Curvature products, those included that only start or judge a run of CG.
    rejected : bool
        True if the step was refused; `reason` says why.
    reason : str
        Why the step was refused, or what ended CG; may be empty.
    cases : int
        The cases of `loss`, where a method took a sample of the batch; 0 for all.
    choice : str
        What a method decided for this step that its user left open, and why.

    Examples
    --------
    >>> from optim import StepInfo
    >>> StepInfo(loss=0.5).rejected
    False
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
    cases: int = 0
    choice: str = ""
