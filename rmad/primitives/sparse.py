"""Products with SciPy's sparse matrices and arrays, which are constants: S @ x and x @ S, by SciPy.

The transpose of a product with S is one with S.T; neither direction makes a dense matrix.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rmad.errors.refusals import numpys_only
from rmad.rules import linear
from rmad.stacked import side_by_side
from rmad.tapes.blocks import Linear
from rmad.tracing.handlers import register
from rmad.tracing.traced import on_gpu
from rmad.types import Array


def _left_transpose(u, x, S) -> Array:
    return left(u, S.T)


def _right_transpose(u, x, S) -> Array:
    return right(u, S.T)


left = linear(lambda x, S: S @ x, _left_transpose, "sparse @")
right = linear(lambda x, S: x @ S, _right_transpose, "@ sparse")


class Left(Linear):
    """S V for a stack: the columns of all its arrays side by side, in one product."""

    __slots__ = ()

    def of_stack(self, V: Array) -> Array:
        return side_by_side(V, lambda X: left(X, self.args[1]))

    def transpose_of_stack(self, U: Array) -> Array:
        return side_by_side(U, lambda X: left(X, self.args[1].T))


class Right(Linear):
    """V S for a stack: the rows of all its arrays, in one product."""

    __slots__ = ()

    def of_stack(self, V: Array) -> Array:
        return _below_each_other(V, self.args[1])

    def transpose_of_stack(self, U: Array) -> Array:
        return _below_each_other(U, self.args[1].T)


def _below_each_other(V: Array, S: Any) -> Array:
    """V: (k, n) or (k, c, n)."""
    return np.reshape(right(np.reshape(V, (-1, V.shape[-1])), S), (*V.shape[:-1], -1))


def _pattern_of_left(block) -> Any:
    """S, or with c columns S ⊗ 1."""
    return _kron(block.args[1], block.x.shape[1:], False)


def _pattern_of_right(block) -> Any:
    """Sᵀ, or with c rows 1 ⊗ Sᵀ."""
    return _kron(block.args[1].T, block.x.shape[:-1], True)


def _kron(S: Any, others: tuple[int, ...], first: bool) -> Any:
    from scipy.sparse import csr_array, eye_array, kron

    P = csr_array(S) != 0
    one = [eye_array(n, dtype=bool) for n in others]
    return csr_array(kron(*one, P) if one and first else kron(P, *one) if one else P)


left.block, right.block = Left, Right
left.pattern, right.pattern = _pattern_of_left, _pattern_of_right


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
