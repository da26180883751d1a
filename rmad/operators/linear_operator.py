"""LinearOperators through which derivatives pass, and their sums, products, multiples, powers and adjoints.

SciPy's own methods make a plain array of every vector and result. These take traced ones as they are, so that a product
may be part of a differentiated function: A @ v with a traced v, with a traced A (an operator at a traced x), or both.
An operator of SciPy's in a combination is a primitive, `multiplied`: a linear function with its transpose.
"""

from __future__ import annotations

from functools import cache, reduce
from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from rmad.machine.backend import is_cupy, linear_operator
from rmad.primitives.sparse import left as times_sparse
from rmad.rules import linear
from rmad.stacked import side_by_side
from rmad.tapes.blocks import Linear
from rmad.tracing.traced import Traced
from rmad.types import Array

__all__ = ["Dense", "Foreign", "Operator", "Sparse", "multiplied"]


class Operator(LinearOperator):
    """A, (m, n): a LinearOperator of SciPy's, or of cupyx's on the GPU.

    A subclass defines `_dot`, and `_adjoint_dot` or `_adjoint` and `_transpose`; the arrays that these are given have
    one axis, or two with the vectors as columns.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return object.__new__(cls)

    def _init(self, base: Any, dtype: Any, shape: tuple[int, int]) -> None:
        """Sets dtype and shape, and makes this an operator of cupyx's if `base` is its class."""
        if base is not LinearOperator:
            self.__class__ = _on_gpu(type(self), base)  # type: ignore[arg-type]
        base.__init__(self, dtype, shape)
        self._base = base

    # -- products ------------------------------------------------------------------------------------------------

    def matvec(self, v: Any) -> Array:
        """The product with v, (n,) or (n, 1); ValueError shows both shapes if v does not fit."""
        m, n = self.shape
        v = _array(v)
        if v.shape == (n,):
            return self._dot(v)
        self._check("v", v, (n, 1), n)
        return np.reshape(self._dot(np.reshape(v, (n,))), (m, 1))

    def rmatvec(self, u: Any) -> Array:
        """The product of the adjoint with u, (m,) or (m, 1)."""
        m, n = self.shape
        u = _array(u)
        if u.shape == (m,):
            return self._adjoint_dot(u)
        self._check("u", u, (m, 1), m)
        return np.reshape(self._adjoint_dot(np.reshape(u, (m,))), (n, 1))

    def matmat(self, V: Any) -> Array:
        """The products with the columns of V, (n, k)."""
        V = _array(V)
        self._check("V", V, (self.shape[1], *V.shape[1:2]), f"{self.shape[1]}, k")
        return self._dot(V)

    def rmatmat(self, U: Any) -> Array:
        """The products of the adjoint with the columns of U, (m, k)."""
        U = _array(U)
        self._check("U", U, (self.shape[0], *U.shape[1:2]), f"{self.shape[0]}, k")
        return self._adjoint_dot(U)

    def _check(self, name: str, a: Array, fits: tuple[int, ...], expected: object) -> None:
        if a.shape != fits or len(fits) != 2:
            expected = f"({expected})" if isinstance(expected, str) else f"({expected},)"
            kind = type(self).__name__
            hint = "; rmad.ravel(v, pairs=True) counts complex numbers as pairs of reals" if a.dtype.kind == "c" else ""
            raise ValueError(f"{kind} of shape {self.shape}: {name} has shape {a.shape}, expected {expected}{hint}")

    _matvec, _rmatvec, _matmat, _rmatmat = matvec, rmatvec, matmat, rmatmat  # which SciPy's wrappers call

    def _dot(self, v: Array) -> Array:
        """A v."""
        raise NotImplementedError(f"{type(self).__name__}: A v")

    def _adjoint_dot(self, u: Array) -> Array:
        """Aᴴ u."""
        return self._adjoint().dot(u)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """np.dot(A, x) and np.dot(x, A), by which SciPy's trust-region methods multiply; the rest is as without it."""
        if function is np.dot and len(args) == 2 and not kwargs:
            A, x = args
            return A.dot(x) if _is_operator(A) else x._rdot(A)
        return function._implementation(*args, **kwargs)

    # -- algebra ---------------------------------------------------------------------------------------------------

    def dot(self, x: Any) -> Any:
        """A x for a vector, for the columns of a matrix, for another operator, or for a number."""
        if _is_operator(x):
            return _Product(self, _own(x, self._base))
        if np.ndim(x) == 0:
            return _Scaled(self, x)
        x = _array(x)
        return self.matvec(x) if x.ndim == 1 or x.shape[1:] == (1,) else self.matmat(x)

    def _rdot(self, x: Any) -> Any:
        """x A."""
        if _is_operator(x):
            return _Product(_own(x, self._base), self)
        return self.dot(x) if np.ndim(x) == 0 else self._transpose().dot(_array(x).T).T

    def __rmul__(self, x: Any) -> Any:
        return self._rdot(x)

    def __add__(self, x: Any) -> Any:
        return _Sum(self, _own(x, self._base)) if _is_operator(x) else NotImplemented

    def __sub__(self, x: Any) -> Any:
        return _Sum(self, -_own(x, self._base)) if _is_operator(x) else NotImplemented

    def __neg__(self) -> Any:
        return _Scaled(self, -1)

    def __truediv__(self, c: Any) -> Any:
        return _Scaled(self, 1 / c) if np.ndim(c) == 0 else NotImplemented

    def __pow__(self, p: Any) -> Any:
        return _Power(self, p)

    def _adjoint(self) -> Any:
        return _Adjoint(self)

    def _transpose(self) -> Any:  # the operators that do not define it are real
        return self._adjoint()


def _array(x: Any) -> Any:
    """A vector or matrix: traced ones and CuPy's as they are."""
    if type(x) is np.ndarray or isinstance(x, Traced) or is_cupy(x):
        return x
    if hasattr(x, "toarray"):
        raise TypeError("an operator times a sparse matrix: pass A.toarray(), or aslinearoperator(A) for an operator")
    return np.asarray(x)


def _is_operator(x: Any) -> bool:
    return hasattr(x, "rmatvec")


_MATRICES = [type(A) for A in (aslinearoperator(np.zeros((1, 1))), aslinearoperator(np.zeros((1, 1))).H)]

multiplied: Any = linear(lambda v, A: A.dot(v), lambda u, v, A: multiplied(u, A.T), name="operator")
"""(v, A) → A v for an operator A of any kind that holds no traced array."""


class _OneProduct(Linear):
    """A V for a stack of vectors, or of matrices: their columns side by side."""

    __slots__ = ()

    def of_stack(self, V: Array) -> Array:
        return side_by_side(V, lambda X: self.primitive(X, self.args[1]))

    def transpose_of_stack(self, U: Array) -> Array:
        return side_by_side(U, lambda X: self.transpose(X, *self.args))


multiplied.block = _OneProduct


def _own(x: Any, base: Any) -> Any:
    """An operator of SciPy's, or of cupyx's, as one of ours."""
    if hasattr(x, "_base"):
        return x
    return Dense(x.A) if type(x) in _MATRICES and isinstance(x.A, np.ndarray) else Foreign(x, base)


@cache
def _on_gpu(kind: type, base: type) -> type:
    """The same operator as a subclass of cupyx's LinearOperator, which answers cupyx's solvers."""
    methods: dict[str, Any] = {}
    for cls in reversed(kind.__mro__[: kind.__mro__.index(LinearOperator)]):
        methods.update({k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", "__new__")})
    return type(kind.__name__, (base,), methods)


class _Combination(Operator):
    """An operator made of others, `args`."""

    def _combine(self, shape: tuple[int, int], *args: Any) -> None:
        self.args = args
        self._init(
            args[0]._base, np.result_type(*(getattr(a, "dtype", a) for a in args)), shape
        )  # a Python number is weak


class _Adjoint(_Combination):
    """Aᴴ = Aᵀ of a real A that has `_adjoint_dot`."""

    def __init__(self, A: Operator) -> None:
        self._combine(A.shape[::-1], A)

    def _dot(self, v: Array) -> Array:
        return self.args[0]._adjoint_dot(v)

    def _adjoint(self) -> Any:
        return self.args[0]


class Dense(Operator):
    """A matrix."""

    def __init__(self, A: Array) -> None:
        self._init(linear_operator(A), A.dtype, A.shape)
        self._matrix = A

    def _dot(self, v: Array) -> Array:
        return self._matrix @ v

    def _adjoint(self) -> Any:
        return Dense(self._matrix.conj().T)

    def _transpose(self) -> Any:
        return Dense(self._matrix.T)


class Sparse(Operator):
    """A sparse matrix of SciPy's, in a format that has products."""

    def __init__(self, S: Any) -> None:
        self._init(LinearOperator, S.dtype, S.shape)
        self._matrix = S if S.format in ("csr", "csc", "bsr", "dia") else S.tocsr()

    def _dot(self, v: Array) -> Array:
        return times_sparse(v, self._matrix)

    def _adjoint(self) -> Any:
        return Sparse(self._matrix.conj().T)

    def _transpose(self) -> Any:
        return Sparse(self._matrix.T)


class Foreign(Operator):
    """An operator of SciPy's, or of cupyx's."""

    def __init__(self, A: Any, base: Any) -> None:
        self._init(base, np.result_type(A.dtype), A.shape)
        self._foreign = A

    def _dot(self, v: Array) -> Array:
        return multiplied(v, self._foreign)

    def _adjoint(self) -> Any:
        return Foreign(self._foreign.H, self._base)

    def _transpose(self) -> Any:
        return Foreign(self._foreign.T, self._base)


class _Sum(_Combination):
    """A + B."""

    def __init__(self, A: Any, B: Any) -> None:
        if A.shape != B.shape:
            raise ValueError(f"cannot add operators of shapes {A.shape} and {B.shape}")
        self._combine(A.shape, A, B)

    def _dot(self, v: Array) -> Array:
        A, B = self.args
        return A.dot(v) + B.dot(v)

    def _adjoint(self) -> Any:
        A, B = self.args
        return _Sum(A.H, B.H)

    def _transpose(self) -> Any:
        A, B = self.args
        return _Sum(A.T, B.T)


class _Product(_Combination):
    """A B."""

    def __init__(self, A: Any, B: Any) -> None:
        if A.shape[1] != B.shape[0]:
            raise ValueError(f"cannot multiply operators of shapes {A.shape} and {B.shape}")
        self._combine((A.shape[0], B.shape[1]), A, B)

    def _dot(self, v: Array) -> Array:
        A, B = self.args
        return A.dot(B.dot(v))

    def _adjoint(self) -> Any:
        A, B = self.args
        return _Product(B.H, A.H)

    def _transpose(self) -> Any:
        A, B = self.args
        return _Product(B.T, A.T)


class _Scaled(_Combination):
    """c A."""

    def __init__(self, A: Any, c: Any) -> None:
        self._combine(A.shape, A, c)

    def _dot(self, v: Array) -> Array:
        A, c = self.args
        return c * A.dot(v)

    def _adjoint(self) -> Any:
        A, c = self.args
        return _Scaled(A.H, c.conjugate())

    def _transpose(self) -> Any:
        A, c = self.args
        return _Scaled(A.T, c)


class _Power(_Combination):
    """Aᵖ for p = 0, 1, …"""

    def __init__(self, A: Any, p: int) -> None:
        if A.shape[0] != A.shape[1]:
            raise ValueError(f"a power of an operator of shape {A.shape}, which is not square")
        if not (isinstance(p, int | np.integer) and p >= 0):
            raise ValueError(f"a power of an operator must be an integer ≥ 0, got {p!r}")
        self._combine(A.shape, A)
        self._p = p

    def _dot(self, v: Array) -> Array:
        return reduce(lambda v, _: self.args[0].dot(v), range(self._p), 1 * v)

    def _adjoint(self) -> Any:
        return _Power(self.args[0].H, self._p)

    def _transpose(self) -> Any:
        return _Power(self.args[0].T, self._p)
