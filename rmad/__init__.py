"""rmad: exact derivatives of plain NumPy code, in both directions, over one recorded tape."""

from rmad.machine import config  # noqa: F401 (first: it chooses the BLAS kernel before NumPy is loaded)

# isort: split
from typing import TYPE_CHECKING

from rmad import primitives  # noqa: F401
from rmad.check import check_grads
from rmad.joint.checkpointing import checkpoint
from rmad.machine.config import show_config
from rmad.primitives.matrix_functions import expm, sqrtm
from rmad.primitives.scipy_linalg import cho_factor, cho_solve, solve_triangular
from rmad.primitives.scipy_special import logsumexp, multigammaln
from rmad.primitives.softmax import log_softmax, softmax
from rmad.rules import bilinear, constant, elementwise, linear, primitive
from rmad.transforms.dense import hessian, jacobian
from rmad.transforms.transforms import grad, hvp, jvp, linearize, stop_gradient, value_and_grad, vjp
from rmad.trees.flat import ravel
from rmad.trees.tree import map_leaves

if TYPE_CHECKING:
    from rmad import linalg, stats
    from rmad.operators.linear_maps import linear_map
    from rmad.operators.operators import GGNOperator, HessianOperator, JacobianOperator
    from rmad.pictures.view import show
    from rmad.primitives.polygamma import polygamma
    from rmad.solvers.implicit import implicit
    from rmad.solvers.ivp import solve_ivp
    from rmad.solvers.quadrature import quad
    from rmad.sparse.derivatives import sparse_hessian, sparse_jacobian
    from rmad.splines.bsplines import make_interp_spline
    from rmad.splines.cubic import Akima1DInterpolator, CubicHermiteSpline, CubicSpline, PchipInterpolator

__all__ = [
    "Akima1DInterpolator",
    "CubicHermiteSpline",
    "CubicSpline",
    "GGNOperator",
    "HessianOperator",
    "JacobianOperator",
    "PchipInterpolator",
    "bilinear",
    "check_grads",
    "checkpoint",
    "cho_factor",
    "cho_solve",
    "constant",
    "elementwise",
    "expm",
    "grad",
    "hessian",
    "hvp",
    "implicit",
    "jacobian",
    "jvp",
    "linalg",
    "linear",
    "linear_map",
    "linearize",
    "log_softmax",
    "logsumexp",
    "make_interp_spline",
    "map_leaves",
    "multigammaln",
    "polygamma",
    "primitive",
    "quad",
    "ravel",
    "show",
    "show_config",
    "softmax",
    "solve_ivp",
    "solve_triangular",
    "sparse_hessian",
    "sparse_jacobian",
    "sqrtm",
    "stats",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        """Imports on first use what is slow to import: whatever loads parts of SciPy, and show."""
        if name in {"GGNOperator", "HessianOperator", "JacobianOperator"}:
            from rmad.operators import operators

            return getattr(operators, name)
        if name == "show":
            from rmad.pictures.view import show

            return show
        if name == "implicit":
            from rmad.solvers.implicit import implicit

            return implicit
        if name in {"sparse_hessian", "sparse_jacobian"}:
            from rmad.sparse import derivatives

            return getattr(derivatives, name)
        if name == "linear_map":
            from rmad.operators.linear_maps import linear_map

            return linear_map
        if name == "quad":
            from rmad.solvers.quadrature import quad

            return quad
        if name == "make_interp_spline":
            from rmad.splines.bsplines import make_interp_spline

            return make_interp_spline
        if name in {"Akima1DInterpolator", "CubicHermiteSpline", "CubicSpline", "PchipInterpolator"}:
            from rmad.splines import cubic

            return getattr(cubic, name)
        if name == "solve_ivp":
            from rmad.solvers.ivp import solve_ivp

            return solve_ivp
        if name == "polygamma":
            from rmad.primitives.polygamma import polygamma

            return polygamma
        if name in {"array_api", "linalg", "stats", "testing"}:  # rmad.testing needs hypothesis
            import importlib

            return importlib.import_module(f"rmad.{name}")
        import sys

        from rmad.errors.other_names import HERE, absent

        raise absent(sys.modules[__name__], HERE, name)
