"""Optimizers built on Jv and Jᵀu: each is Method(model, loss, **hyper) with .step(x, t).

A model is a tree of arrays that can be called; a loss is an object with value, gradient and hessian_product, or a
callable (z, t) → scalar. See `optim.Objective`.
"""

import sys
from typing import TYPE_CHECKING

import rmad  # noqa: F401 (before NumPy: it chooses the BLAS kernel)

# isort: split
from optim import schedules as schedules
from optim.adam import Adam
from optim.base import Optimizer
from optim.check import check_ggn
from optim.curvature.curvature import Curvature
from optim.curvature.estimates import Estimate
from optim.curvature.influence import influence
from optim.curvature.laplace import Laplace
from optim.curveball import CurveBall
from optim.grid_search import grid_search
from optim.hessian_free import HessianFree
from optim.kfac import EKFAC, KFAC, KFLR, KFRA
from optim.lbfgs import BFGS, LBFGS
from optim.levenberg_marquardt import LevenbergMarquardt
from optim.parts.automatic import Automatic
from optim.parts.cg import pcg, relative_progress
from optim.parts.damping import DiagonalDamping, MatrixDamping, Tikhonov, reduction_ratio
from optim.parts.directions import ConjugateGradient, RescaledMomentum, SteihaugToint
from optim.parts.estimate import kronecker_factors
from optim.parts.factors import KroneckerFactors
from optim.parts.kronecker import KroneckerInverse, KroneckerOperator
from optim.parts.krylov import KrylovSubspace
from optim.parts.linesearch import LineSearch, cg_backtracking, line_search
from optim.parts.preconditioner import EmpiricalFisher, ExactDiagonal, KroneckerPreconditioner, UnbiasedDiagonal
from optim.parts.roles import Roles
from optim.parts.selection import Backtracking, HeldOut
from optim.parts.structural import StructuralDamping
from optim.presets import Phases
from optim.problem.function import Function
from optim.problem.nonconvex import ClippedCurvature, Through
from optim.problem.objective import Objective
from optim.problem.quadratic import Quadratic
from optim.problem.ranks import RankFailed, Ranks
from optim.sgd import SGD
from optim.sgn import SGN
from optim.spectrum import spectral_density
from optim.step_info import NumericalWarning, StepInfo, TrainingDiverged
from optim.training.checks import StateDoesNotFit
from optim.training.history import History
from optim.training.stop import Stop
from optim.types import Loss, Model

__all__ = [
    "BFGS",
    "EKFAC",
    "KFAC",
    "KFLR",
    "KFRA",
    "LBFGS",
    "SGD",
    "SGN",
    "Adam",
    "Automatic",
    "Backtracking",
    "ClippedCurvature",
    "ConjugateGradient",
    "Curvature",
    "CurveBall",
    "DiagonalDamping",
    "EmpiricalFisher",
    "Estimate",
    "ExactDiagonal",
    "Function",
    "HeldOut",
    "HessianFree",
    "History",
    "KroneckerFactors",
    "KroneckerInverse",
    "KroneckerOperator",
    "KroneckerPreconditioner",
    "KrylovSubspace",
    "Laplace",
    "LevenbergMarquardt",
    "LineSearch",
    "Loss",
    "MatrixDamping",
    "Model",
    "NumericalWarning",
    "Objective",
    "Optimizer",
    "Phases",
    "Quadratic",
    "RankFailed",
    "Ranks",
    "RescaledMomentum",
    "Roles",
    "StateDoesNotFit",
    "SteihaugToint",
    "StepInfo",
    "Stop",
    "StructuralDamping",
    "Through",
    "Tikhonov",
    "TrainingDiverged",
    "UnbiasedDiagonal",
    "cg_backtracking",
    "check_ggn",
    "grid_search",
    "influence",
    "kronecker_factors",
    "line_search",
    "pcg",
    "reduction_ratio",
    "relative_progress",
    "spectral_density",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        """Raises AttributeError for an unknown name; for one of another library, the message gives the name here."""
        from optim.other_names import HERE
        from rmad.extend import other_names

        raise other_names.absent(sys.modules[__name__], HERE, name)
