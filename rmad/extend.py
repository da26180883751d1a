"""The one door to inner parts of rmad, for packages built on it, such as nn and optim.

An extension (a layer, an optimizer, another package) imports from `rmad` and from this module, and from nothing else
inside rmad. A primitive needs only the public names: rmad.elementwise, rmad.linear, rmad.bilinear, rmad.primitive.

    types            Array, Tree: the names used in signatures
    trees            tree: models, parameters and targets as lists of arrays, and back
    tapes            Tape, pull, stop, Traced; Diagonal, Linear: two kinds of blocks of a Jacobian
    repeated sweeps  Record keeps the tape of one run of a model, Plan sweeps it again and again without allocating
    curvature        loss_curvature, SymmetricOperator; squares, stacked_squares, averaged, Meetings, second_moments:
                     the sweeps for diag(G), KFAC and EKFAC; cost: the Cost of averaged
    layers           affine, conv2d, conv2d_input, pooling, moments and standardize, recur and its cells; the arithmetic
                     of windows (Pair, pair, paddings); the functions sigmoid, softplus, normal_cdf
    batches          first_case, cases_from: the position of the current cases when a batch is processed in parts
    errors           other_names: names of other libraries, and ours
    threads          in_turn: a class whose methods run on one thread at a time; lazy: an attribute computed once; lent:
                     the context of a task that the object waits for
    machine          is_cupy, import_cupy, to_numpy; arrays: makes arrays of the kind of another, NumPy's or CuPy's;
                     fused, gpu_rows: kernels of a GPU that save launches; keep_freed_memory; address, shares: which
                     memory an array occupies; tuning: measured constants; fast: compiled loops for exp, tanh and a few
                     more

loss_curvature and SymmetricOperator are imported on first use, because their module loads scipy.sparse.linalg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmad import tuning
from rmad.batch import cases_from, first_case
from rmad.errors import other_names
from rmad.joint.recurrence import recur
from rmad.kernels import elementwise as fast
from rmad.kernels import gpu_rows
from rmad.kernels.cells import GRUCell, LSTMCell, RNNCell
from rmad.kernels.windows import Pair, paddings, pair
from rmad.machine import arrays, fused
from rmad.machine.backend import import_cupy, is_cupy, to_numpy
from rmad.machine.memory import keep_freed_memory
from rmad.machine.turns import in_turn, lazy, lent
from rmad.plan.buffers import address, shares
from rmad.plan.plan import Plan
from rmad.primitives.elementwise import sigmoid, softplus
from rmad.primitives.layers.affine import affine
from rmad.primitives.layers.conv import conv2d, conv2d_input
from rmad.primitives.layers.normal import normal_cdf
from rmad.primitives.layers.normalize import moments, standardize
from rmad.primitives.layers.pool import avg_pool2d, max_pool2d
from rmad.primitives.products import matmul
from rmad.record import Record
from rmad.sweeps.averaged import Cost, averaged, cost
from rmad.sweeps.factors import Meetings
from rmad.sweeps.rotated import second_moments, stacked_squares
from rmad.sweeps.squares import squares
from rmad.tapes.blocks import Diagonal, Linear
from rmad.tapes.tape import Tape, pull
from rmad.tracing.traced import Traced, stop
from rmad.trees import tree
from rmad.types import Array, Tree

if TYPE_CHECKING:
    from rmad.operators.operators import SymmetricOperator, loss_curvature

__all__ = [
    "Array",
    "Cost",
    "Diagonal",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "Meetings",
    "Pair",
    "Plan",
    "RNNCell",
    "Record",
    "SymmetricOperator",
    "Tape",
    "Traced",
    "Tree",
    "address",
    "affine",
    "arrays",
    "averaged",
    "avg_pool2d",
    "cases_from",
    "conv2d",
    "conv2d_input",
    "cost",
    "fast",
    "first_case",
    "fused",
    "gpu_rows",
    "import_cupy",
    "in_turn",
    "is_cupy",
    "keep_freed_memory",
    "lazy",
    "lent",
    "loss_curvature",
    "matmul",
    "max_pool2d",
    "moments",
    "normal_cdf",
    "other_names",
    "paddings",
    "pair",
    "pull",
    "recur",
    "second_moments",
    "shares",
    "sigmoid",
    "softplus",
    "squares",
    "stacked_squares",
    "standardize",
    "stop",
    "to_numpy",
    "tree",
    "tuning",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        """Imports the operators on first use."""
        if name in {"SymmetricOperator", "loss_curvature"}:
            import rmad.operators.operators

            return getattr(rmad.operators.operators, name)
        raise AttributeError(f"module 'rmad.extend' has no attribute {name!r}")
