"""Sparse Jacobians and Hessians from few products: J V for V with one column per group of columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.machine.memory import keep_freed_memory
from rmad.record import Record
from rmad.sparse.colouring import one_way, symmetric
from rmad.sparse.reach import reach
from rmad.stacked import at_a_time, pull_stack, push_stack
from rmad.transforms.argnums import Argnums, chooser
from rmad.transforms.transforms import grad
from rmad.trees.leaf import sizes
from rmad.types import Array

__all__ = ["Sparsity", "sparse_hessian", "sparse_jacobian"]


class Sparsity:
    """Where a Jacobian can differ from zero, and the groups of its columns, or rows, that one product finds.

    pattern: csr_array of bool, (m, n). by_rows: True if rows are grouped, and products are pulls. groups: the group of
    each column, or row. products: the number of groups. dense: the names of primitives that hide their pattern.
    """

    def __init__(self, pattern: Any, dense: Iterable[str] = (), symmetric_too: bool = False) -> None:
        from scipy.sparse import csr_array

        self.pattern = csr_array(pattern, dtype=bool)
        self.pattern.sum_duplicates()
        if not self.pattern.data.all():
            self.pattern.eliminate_zeros()
        self.dense = sorted(dense)
        columns = self.pattern.tocsc()
        self.groups, self.by_rows, self.stars = one_way(columns), False, False
        longest = int(np.diff(self.pattern.indptr).max(initial=0))
        if symmetric_too:
            if self.products > 3 and self.products > longest / 2:
                self._take(symmetric(self.pattern), False, True)
        elif self.pattern.shape[0] != self.pattern.shape[1] or (
            self.products > longest and not np.array_equal(columns.indices, self.pattern.indices)
        ):
            self._take(one_way(self.pattern.T), True, False)
        if not self.pattern.nnz:
            self.groups[:] = -1  # no column has to be found
        rows = np.repeat(np.arange(self.pattern.shape[0]), np.diff(self.pattern.indptr))
        few = np.int16 if self.products < 2**15 else np.intp  # short ones are sorted faster
        self._members = np.argsort(self.groups.astype(few), kind="stable")
        self._ends = np.searchsorted(self.groups[self._members], np.arange(self.products + 1))
        product, at = self._places(rows, self.pattern.indices)
        self._places_in_products = product * self.pattern.shape[self.by_rows] + at

    def __repr__(self) -> str:
        m, n = self.pattern.shape
        hidden = f", dense by {', '.join(self.dense)}" if self.dense else ""
        return f"<Sparsity of ({m}, {n}): {self.pattern.nnz} elements in {self.products} products{hidden}>"

    def _take(self, groups: Array, by_rows: bool, stars: bool) -> None:
        """Takes these groups if they are fewer."""
        if int(groups.max(initial=-1)) + 1 < self.products:
            self.groups, self.by_rows, self.stars = groups, by_rows, stars

    @property
    def products(self) -> int:
        return int(self.groups.max(initial=-1)) + 1

    def _places(self, rows: Array, columns: Array) -> tuple[Array, Array]:
        """Per element the product that holds it, and where in that."""
        if self.by_rows:
            return self.groups[rows], columns
        if not self.stars:
            return self.groups[columns], rows
        # h_ij stands alone in the product of j's group at row i if no other column of row i has that colour
        key = rows.astype(np.int64) * (self.products + 1) + self.groups[columns]
        _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
        alone = counts[inverse] == 1
        return np.where(alone, self.groups[columns], self.groups[rows]), np.where(alone, rows, columns)

    def seeds(self, start: int, stop: int, like: Array, dtype: Any) -> Array:
        """Sums of unit vectors, one row per group start … stop − 1."""
        V = arrays.zeros(like, (stop - start, len(self.groups)), dtype)
        for k in range(start, stop):
            V[k - start, self._members[self._ends[k] : self._ends[k + 1]]] = 1
        return V

    def matrix(self, products: Array) -> Any:
        """The Jacobian from its products, one per row."""
        from scipy.sparse import csr_array

        data = products.reshape(-1).take(self._places_in_products)
        return csr_array((data, self.pattern.indices, self.pattern.indptr), shape=self.pattern.shape)


def sparse_jacobian(f: Callable[..., Any], argnums: Argnums = 0, *, pattern: Any = None) -> Callable[..., Any]:
    """(*args, **kwargs) → J = ∂f/∂x as a sparse matrix: element [j, k] is ∂y_j/∂x_k, of flat y and x.

    The elements that can differ from zero are read off the tape. Columns that share no row are then found by one
    product together, so the cost depends on the pattern and not on n. The pattern of one call is kept for the next; a
    product with a random vector shows, in every call, whether it still holds, and if not, it is read anew.

    Parameters
    ----------
    f : callable (*args, **kwargs) → y, a tree of real arrays
    argnums : int or tuple of int, default 0
        The argument x, a tree of real arrays; or several. Columns are in the order of `rmad.ravel`.
    pattern : sparse or dense matrix, (m, n), optional
        Where J can differ from zero, if that is known.

    Returns
    -------
    evaluate : callable (*args, **kwargs) → J
        J is a `scipy.sparse.csr_array`, (m, n). `evaluate.sparsity` has the pattern and the groups of the last call.

    Raises
    ------
    TypeError
        When called: x or y is complex or on a GPU, or holds no floats.
    ValueError
        When called: `pattern` has another shape, or J differs from zero outside of it.

    Warns
    -----
    UserWarning
        The pattern is mostly dense because of primitives that hide theirs, which it names.

    References
    ----------
    Curtis, Powell & Reid (1974), On the estimation of sparse Jacobian matrices; Griewank & Walther (2008), chapter 8.

    Examples
    --------
    >>> def residual(u):
    ...     return u[1:-1] ** 2 - u[2:] - u[:-2]
    >>> J = sparse_jacobian(residual)(np.arange(5.0))
    >>> J.toarray()
    array([[-1.,  2., -1.,  0.,  0.],
           [ 0., -1.,  4., -1.,  0.],
           [ 0.,  0., -1.,  6., -1.]])
    """
    return Evaluate(chooser(f, argnums), pattern, False)


def sparse_hessian(f: Callable[..., Any], argnums: Argnums = 0, *, pattern: Any = None) -> Callable[..., Any]:
    """(*args, **kwargs) → H = ∇²f as a sparse matrix, for a real scalar f of a real x.

    As `sparse_jacobian` of the gradient; symmetry often makes fewer products do.

    Parameters
    ----------
    f : callable (*args, **kwargs) → real scalar
    argnums : int or tuple of int, default 0
        The argument x, a tree of real arrays; or several.
    pattern : sparse or dense matrix, (n, n), optional
        Where H can differ from zero, if that is known.

    Returns
    -------
    evaluate : callable (*args, **kwargs) → H
        H is a `scipy.sparse.csr_array`, (n, n).

    Raises
    ------
    TypeError
        When called: f returns no real scalar, or x is complex, on a GPU, or holds no floats.
    ValueError
        When called: `pattern` has another shape, or H differs from zero outside of it.

    References
    ----------
    Coleman & Moré (1984), Estimation of sparse Hessian matrices and graph coloring problems.

    Examples
    --------
    >>> H = sparse_hessian(lambda x: np.sum(x[1:] * x[:-1]))(np.ones(3))
    >>> H.toarray()
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    choose = chooser(f, argnums)

    def of_gradient(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        g, x, rest = choose(args, kwargs)
        return grad(g), x, rest

    return Evaluate(of_gradient, pattern, True)


class Evaluate:
    """A sparse derivative as a function; it keeps the pattern of the last call."""

    def __init__(self, choose: Callable[..., Any], pattern: Any, symmetric_too: bool) -> None:
        self._choose, self._symmetric = choose, symmetric_too
        self._given = None if pattern is None else Sparsity(pattern, symmetric_too=symmetric_too)
        self.sparsity: Sparsity | None = self._given

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        keep_freed_memory()
        record = Record(*self._choose(args, kwargs))
        _need_real(record)
        m, n = (sum(sizes(tree.shapes)) for tree in (record.out, record.x))
        if self._given is not None and self._given.pattern.shape != (m, n):
            raise ValueError(f"pattern has shape {self._given.pattern.shape}, the derivative has shape {(m, n)}")
        if self.sparsity is not None and self.sparsity.pattern.shape == (m, n):
            J, error = _evaluated(record, self.sparsity, n)
            if not error > _tolerance(J.dtype):
                return J
            if self._given is not None:
                raise ValueError("pattern: the derivative differs from zero outside of the pattern that was given")
        starts = np.concatenate([[0], np.cumsum(sizes(record.x.shapes))]).tolist()
        pattern, dense = reach(record, starts, n)
        if self._symmetric:  # a maximum hides the elements of others in one of the two triangles
            pattern = pattern + pattern.T
        self.sparsity = Sparsity(pattern, dense, self._symmetric)
        if self.sparsity.dense and 2 * self.sparsity.pattern.nnz > m * n:
            warnings.warn(
                f"the pattern is dense because of {', '.join(self.sparsity.dense)}, whose own pattern is not known; "
                "rmad.jacobian is faster then, and pattern= says what is zero",
                stacklevel=2,
            )
        J, error = _evaluated(record, self.sparsity, n)
        if error > _tolerance(J.dtype):  # a block has hidden a dependence: whatever it costs, the result is right
            self.sparsity = Sparsity(np.ones((m, n), bool), [*dense, "unknown primitives"])
            J, _ = _evaluated(record, self.sparsity, n)
        return J


def _need_real(record: Record) -> None:
    for name, tree in (("x", record.x), ("f(x)", record.out)):
        if any(dtype.kind == "c" for dtype in tree.dtypes):
            raise TypeError(f"{name} is complex; make f a function of the real and the imaginary part")
    if is_cupy(record.tape.like):
        raise TypeError("sparse derivatives are of NumPy's arrays only, not of CuPy's")


def _tolerance(dtype: np.dtype[Any]) -> float:
    """An error that rounding explains; a larger one says that a kept pattern has to be read anew."""
    return float(np.finfo(dtype).eps ** 0.5)


def _evaluated(record: Record, sparsity: Sparsity, n: int) -> tuple[Any, float]:
    """J from its products, and by how much, relatively, its product with a random vector differs from that of the tape.

    An element outside of the pattern would be missing in one of the two, so it shows in the difference.
    """
    m = sparsity.pattern.shape[0]
    outside, inside = (m, n) if sparsity.by_rows else (n, m)
    dtype = np.result_type(*record.x.dtypes, *record.out.dtypes)
    check = np.random.default_rng(0).uniform(1, 2, outside).astype(dtype)
    step = at_a_time(record.tape, tuning.SPARSE_STACK_BYTES)
    products = np.empty((sparsity.products, inside), dtype)
    for start in range(0, sparsity.products, step):
        stop = min(start + step, sparsity.products)
        _products(record, sparsity, sparsity.seeds(start, stop, check, dtype), products[start:stop])
    J = sparsity.matrix(products)
    of_check = np.empty((1, inside), dtype)
    _products(record, sparsity, check[None], of_check)
    given = (J.T if sparsity.by_rows else J) @ check
    size = np.abs(given) + np.abs(of_check[0])
    size += np.finfo(dtype).eps ** 0.5 * np.max(size, initial=0)  # sums may cancel on the way
    error = np.abs(given - of_check[0])
    return J, float(np.max(error[size > 0] / size[size > 0], initial=0))


def _products(record: Record, sparsity: Sparsity, V: Array, out: Array) -> None:
    """J V, or Jᵀ V, for stacked flat vectors, one per row, into the rows of `out`."""
    given, made = (record.out, record.x) if sparsity.by_rows else (record.x, record.out)
    ends = np.cumsum([0, *sizes(given.shapes)])
    stacks = [
        V[:, a:b].reshape(len(V), *shape).astype(dtype, copy=False)
        for a, b, shape, dtype in zip(ends[:-1], ends[1:], given.shapes, given.dtypes, strict=True)
    ]
    if sparsity.by_rows:
        found = pull_stack(record.tape, stacks, record.outputs, record.n_inputs)
    else:
        found = push_stack(record.tape, stacks, record.outputs)
    start = 0
    for Y, size in zip(found, sizes(made.shapes), strict=True):
        out[:, start : start + size] = 0 if Y is None else np.reshape(Y, (len(V), size))
        start += size
