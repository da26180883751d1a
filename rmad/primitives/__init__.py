"""The rules: every NumPy and SciPy function that rmad differentiates, one file per kind.

`scipy_ufuncs` holds SciPy's ufuncs, `numpys_code` functions whose rule is NumPy's own code; both are loaded when the
first of them meets a traced array.
Read `arguments` first (axes, dtypes and masks as all files need them), then the others in any order; `layers/` has
those that NumPy and SciPy lack.
"""

from rmad.primitives import (
    chains,
    choices,
    complexes,
    decompositions,
    determinants,
    diagonal,
    eigen,
    einsum,
    elementwise,
    fft,
    grid,
    index,
    join,
    linalg,
    norms,
    pad,
    polynomials,
    products,
    pseudo_inverses,
    reduce,
    shape,
    sorting,
    sparse,
    statistics,
    svd,
    tied,
    writing,
)
from rmad.tracing.handlers import DEFERRED

__all__ = [
    "chains",
    "choices",
    "complexes",
    "decompositions",
    "determinants",
    "diagonal",
    "eigen",
    "einsum",
    "elementwise",
    "fft",
    "grid",
    "index",
    "join",
    "linalg",
    "norms",
    "pad",
    "polynomials",
    "products",
    "pseudo_inverses",
    "reduce",
    "shape",
    "sorting",
    "sparse",
    "statistics",
    "svd",
    "tied",
    "writing",
]

for _rearrangement in (shape.reshape, shape.transpose, shape.swapaxes, shape.broadcast_to, reduce.sum, reduce.mean):
    _rearrangement.captures = False  # their constant arguments are shapes and axes

DEFERRED += [
    "rmad.primitives.folds",  # hardly ever needed
    "rmad.primitives.numpys_code",  # reads a good part of NumPy
    "rmad.primitives.scipy_ufuncs",  # importing SciPy takes longer than importing rmad
]
