"""Optimizers that live on Jv and Jᵀu: every one is Method(model, loss, **hyper) with .step(x, t).

A model is a tree of arrays that can be called; a loss is an object with value, gradient and hessian_product, or a
callable (z, t) → scalar. See `optim.Objective`.
"""

import rmad  # noqa: F401 (before NumPy: it chooses the BLAS kernel)

# isort: split
from optim.adam import Adam
from optim.base import NumericalWarning, StepInfo, TrainingDiverged
from optim.curveball import CurveBall
from optim.function import Function
from optim.grid_search import grid_search
from optim.hessian_free import HessianFree
from optim.lbfgs import BFGS, LBFGS
from optim.levenberg_marquardt import LevenbergMarquardt
from optim.objective import Objective
from optim.quadratic import Quadratic
from optim.sgd import SGD
from optim.sgn import SGN

__all__ = [
    "BFGS",
    "LBFGS",
    "SGD",
    "SGN",
    "Adam",
    "CurveBall",
    "Function",
    "HessianFree",
    "LevenbergMarquardt",
    "NumericalWarning",
    "Objective",
    "Quadratic",
    "StepInfo",
    "TrainingDiverged",
    "grid_search",
]
