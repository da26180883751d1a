"""Products with SciPy's sparse matrices and arrays, which are constants: S @ x and x @ S, by SciPy.

The transpose of a product with S is one with S.T; neither direction makes a dense matrix.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rmad.refusals import numpys_only
from rmad.rules import linear
from rmad.traced import on_gpu, register
from rmad.types import Array


def _left_transpose(u, x, S) -> Array:
    return left(u, S.T)


def _right_transpose(u, x, S) -> Array:
    return right(u, S.T)


left = linear(lambda x, S: S @ x, _left_transpose, "sparse @")
right = linear(lambda x, S: x @ S, _right_transpose, "@ sparse")


def ufunc_of_sparse(ufunc, inputs) -> Array:
    """np.matmul of a traced array and a sparse one; np.multiply, too, if that is a matrix, whose `*` is the product."""
    a, b = inputs
    S, x, product = (a, b, left) if hasattr(a, "tocsr") else (b, a, right)
    if on_gpu(inputs):
        raise numpys_only("a product with a sparse matrix of SciPy")
    if ufunc is np.matmul or (ufunc is np.multiply and x.ndim and _is_matrix(S)):
        return product(x, S.tocsr() if S.format in ("dok", "lil") else S)  # as SciPy does
    raise TypeError(
        f"{ufunc.__name__} of a traced array and a {type(S).__name__}: products S @ x and x @ S can be differentiated; "
        "for anything else pass S.toarray()"
    )


def _is_matrix(S: Any) -> bool:
    return isinstance(S, sys.modules["scipy.sparse"].spmatrix)


register("sparse", ufunc_of_sparse)
