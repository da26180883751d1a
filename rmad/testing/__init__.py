"""A tester for your own primitives, functions, layers, losses and optimizers: one line in a test.

    rmad.testing.check(softplus, rmad.testing.arrays())

compare       assert_same and assert_specs: trees of arrays, shapes and dtypes before values
strategies    what is drawn by hypothesis: arrays, shapes, layouts, dtypes, trees
losses        what is drawn: losses that are means over cases, and losses that are none
derivatives   check_grads at any point, kinks and edges of the domain included; the primitive whose rule is wrong
functions     the checks of a function at one point
loss_checks   those of a loss: its closed forms, and what it says of means over cases
layers        those of a layer or a model: a tree of arrays that can be called
optimizers    those of an optimizer: a class with a method step
check         the one line: what kind of object it is, examples, the report of a failure
"""

try:
    import hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError('rmad.testing needs hypothesis: pip install "rmad[test]"', name="hypothesis") from error

from rmad.testing.check import check
from rmad.testing.compare import assert_same, assert_specs
from rmad.testing.losses import LOSSES, LossCase, losses
from rmad.testing.strategies import LAYOUTS, arrays, broadcastable, dtypes, shapes, trees

__all__ = [
    "LAYOUTS",
    "LOSSES",
    "LossCase",
    "arrays",
    "assert_same",
    "assert_specs",
    "broadcastable",
    "check",
    "dtypes",
    "losses",
    "shapes",
    "trees",
]
