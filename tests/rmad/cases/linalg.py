"""Rows of the table: numpy.linalg. Eigenvectors and singular vectors are seen through what their freedom leaves alone,
except where LAPACK fixes them.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from cases import Case, made, real, spd, well_conditioned
from rmad.primitives.determinants import _cofactors_by_svd
from rmad.primitives.linalg import to_triangle

la = np.linalg


def complex_matrix(*shape):
    """Maker of complex matrices, (…, n, n), with eigenvalues and singular values apart."""
    return lambda rng: well_conditioned(*shape)(rng) + 0.3j * rng.standard_normal((*shape, shape[-1]))


def hermitian(*shape):
    def make(rng):
        A = complex_matrix(*shape)(rng)
        return A + np.conj(np.swapaxes(A, -1, -2))

    return make


def rotations(*shape):
    """Maker of real matrices with pairs of complex eigenvalues."""

    def make(rng):
        return 0.2 * rng.standard_normal((*shape, 4, 4)) + np.array(
            [[1, 4, 0, 0], [-1, 1, 0, 0], [0, 0, 3, 2], [0, 0, -0.5, 3]]
        )

    return make


def up_to_sign(A):
    """Eigenvalues in order, and squares of the vectors' components: LAPACK fixes phases, not signs or order."""
    w, V = la.eig(A)
    order = np.argsort(w.real + 0.01 * w.imag, axis=-1)
    return np.take_along_axis(w, order, -1), np.take_along_axis(V * V, order[..., None, :], -1)


def of_rank(r, m, n):
    """Maker of (m, n) matrices of rank r, whose other singular values are zero to rounding."""
    return lambda rng: rng.standard_normal((m, r)) @ rng.standard_normal((r, n))


def rectangular(*shape, is_complex=False):
    """Maker of matrices with singular values apart."""

    def make(rng):
        m, n = shape[-2:]
        A = 0.3 * rng.standard_normal(shape) + np.eye(m, n) * np.arange(1, n + 1)
        return A + 0.3j * rng.standard_normal(shape) if is_complex else A

    return make


def projectors(V):
    """v vᴴ / ‖v‖² of every column: no phase, sign or length in it."""
    return (
        V[..., :, None, :]
        * np.conj(V[..., None, :, :])
        / np.sum(np.abs(V) ** 2, axis=-2, keepdims=True)[..., None, :, :]
    )


def pairs(U, Vh):
    """u vᴴ of every pair of singular vectors: their common phase is not in it."""
    return U[..., :, None, :] * np.swapaxes(Vh, -1, -2)[..., None, :, :]


def svd_seen(A):
    U, s, Vh = la.svd(A, full_matrices=False)
    return projectors(U), s, pairs(U, Vh)


def eigh_seen(A, UPLO="L"):
    w, Q = la.eigh(A, UPLO)
    return w, projectors(Q), np.abs(Q) ** 2


SYSTEMS = [
    Case("solve", la.solve, args=[made(well_conditioned(3)), real(3, 2)], complex=True, covers=[la.solve]),
    Case("solve complex", la.solve, args=[made(complex_matrix(3)), real(3, 2)], complex=True),
    Case("solve vector", la.solve, args=[made(well_conditioned(3)), real(3)], complex=True),
    Case("solve stack", la.solve, args=[made(well_conditioned(2, 3)), real(2, 3, 2)], complex=True),
    Case("solve stack, one b", la.solve, args=[made(well_conditioned(2, 3)), real(3, 1)]),
    Case("solve stack, one vector", la.solve, args=[made(complex_matrix(2, 3)), real(3)]),
    Case("solve one A, stack", la.solve, args=[made(well_conditioned(3)), real(2, 1, 3, 2)]),
    Case("solve broadcast", la.solve, args=[made(well_conditioned(2, 1, 2)), real(1, 3, 2, 2)], complex=True),
    Case("solve with a square b", la.solve, args=[made(well_conditioned(2, 2)), real(2, 2)]),
    Case("solve shared", lambda A: la.solve(A, np.swapaxes(A, 0, 1)), args=[made(well_conditioned(3))]),
    Case("inv", la.inv, args=[made(well_conditioned(3))], covers=[la.inv], order=3),
    Case("inv stack", la.inv, args=[made(complex_matrix(2, 3))]),
    Case("pinv", la.pinv, args=[real(4, 2)], complex=True, covers=[la.pinv]),
    Case("pinv wide", la.pinv, args=[real(2, 2, 3)], complex=True),
    Case("pinv square", lambda A: la.pinv(A, rcond=1e-10), args=[made(complex_matrix(3))]),
    Case("pinv hermitian", lambda A: la.pinv(A, hermitian=True), args=[made(hermitian(3))]),
    Case("pinv rtol", lambda A: la.pinv(A, rtol=None), args=[made(spd(3))]),
    Case("pinv of large values", lambda A: la.pinv(A, 0.5), args=[made(rectangular(4, 3))]),
    Case("pinv of large values, stacked", lambda A: la.pinv(A, [0.5, 0.5]), args=[made(rectangular(2, 3, 3))]),
    Case(
        "pinv of large values, complex",
        lambda A: la.pinv(A, rcond=0.5),
        args=[made(rectangular(3, 4, is_complex=True))],
    ),
    Case("lstsq of large values", lambda A, b: la.lstsq(A, b, 0.5)[0], args=[made(rectangular(4, 3)), real(4, 2)]),
    Case("lstsq", lambda A, b: la.lstsq(A, b)[:2], args=[real(5, 2), real(5, 3)], complex=True, covers=[la.lstsq]),
    Case("lstsq vector", lambda A, b: la.lstsq(A, b, rcond=None)[:2], args=[real(4, 2), real(4)], complex=True),
    Case("lstsq wide", lambda A, b: la.lstsq(A, b)[0], args=[real(2, 4), real(2, 2)], complex=True),
    Case("lstsq values", lambda A, b: la.lstsq(A, b)[3], args=[made(rectangular(4, 3)), real(4)]),
    Case("lstsq of b", lambda b: la.lstsq(np.vander(np.arange(5.0), 3), b), args=[real(5)]),
    Case(
        "tensorsolve",
        la.tensorsolve,
        args=[made(lambda rng: well_conditioned(6)(rng).reshape(2, 3, 6)), real(2, 3)],
        complex=True,
        covers=[la.tensorsolve],
    ),
    Case(
        "tensorsolve axes",
        lambda a, b: la.tensorsolve(a, b, axes=(0, 2)),
        args=[made(lambda rng: np.moveaxis(well_conditioned(6)(rng).reshape(6, 2, 3), 0, 1)), real(6)],
    ),
    Case(
        "tensorinv",
        la.tensorinv,
        args=[made(lambda rng: well_conditioned(6)(rng).reshape(2, 3, 6))],
        covers=[la.tensorinv],
    ),
    Case(
        "tensorinv ind",
        lambda a: la.tensorinv(a, ind=1),
        args=[made(lambda rng: well_conditioned(4)(rng).reshape(4, 2, 2))],
    ),
]

DETERMINANTS = [
    Case("det", la.det, args=[real(3, 3)], complex=True, covers=[la.det], order=3),
    Case("det stack", la.det, args=[real(2, 2, 2)], complex=True),
    Case("det of one number", lambda A: la.det(A) ** 2, args=[real(1, 1)], complex=True),
    Case("det of rank n - 1", la.det, args=[made(of_rank(2, 3, 3))]),
    Case("det of rank n - 2", lambda A: la.det(A) + np.sum(A**3), args=[made(of_rank(1, 3, 3))]),
    Case(
        "det of rank n - 2, complex",
        lambda A: la.det(A) + np.sum(A**3),
        args=[made(lambda rng: of_rank(2, 4, 4)(rng) * (1 + 1j) ** np.arange(4))],
    ),
    Case("det of zero", lambda A: la.det(A) + np.sum(np.exp(A)), args=[made(lambda rng: np.zeros((2, 2)))]),
    Case("det, one singular", la.det, args=[made(lambda rng: np.array([[[1.0, 2], [2, 4]], [[1, 2], [3, 4]]]))]),
    Case("cofactors", _cofactors_by_svd, args=[made(well_conditioned(3))]),
    Case("cofactors complex", _cofactors_by_svd, args=[made(complex_matrix(2, 3))]),
    Case("cofactors of rank n - 2", _cofactors_by_svd, args=[made(of_rank(1, 3, 3))], order=1),
    Case("slogdet", la.slogdet, args=[made(well_conditioned(3))], covers=[la.slogdet]),
    Case("slogdet negative", lambda A: la.slogdet(A).logabsdet, args=[made(lambda rng: -well_conditioned(3)(rng))]),
    Case("slogdet complex", la.slogdet, args=[made(lambda rng: (1 + 2j) * complex_matrix(2, 3)(rng))]),
]

FACTORS = [
    Case("to_triangle", lambda A: to_triangle(A, True), args=[real(2, 3, 3)], complex=True),
    Case("to_triangle upper", lambda A: to_triangle(A, False), args=[real(2, 3, 3)], complex=True),
    Case("cholesky", la.cholesky, args=[made(spd(3))], covers=[la.cholesky], order=3),
    Case("cholesky upper", lambda A: la.cholesky(A, upper=True), args=[made(spd(2, 3))]),
    Case("cholesky complex", la.cholesky, args=[made(lambda rng: hermitian(2, 3)(rng) + 3 * np.eye(3))]),
    Case(
        "cholesky upper complex",
        lambda A: la.cholesky(A, upper=True),
        args=[made(lambda rng: hermitian(3)(rng) + 3 * np.eye(3))],
    ),
    Case("qr", la.qr, args=[made(rectangular(4, 3))], covers=[la.qr]),
    Case("qr stack", la.qr, args=[made(rectangular(2, 3, 2, is_complex=True))]),
    Case("qr square", lambda A: la.qr(A, mode="complete"), args=[made(complex_matrix(3))]),
    Case("qr wide", lambda A: la.qr(A, "complete"), args=[made(rectangular(2, 4))]),
    Case("qr wide complex", la.qr, args=[made(rectangular(2, 2, 3, is_complex=True))]),
    Case("qr r", lambda A: la.qr(A, mode="r"), args=[made(rectangular(4, 2, is_complex=True))]),
]

EIGENVALUES = [
    Case("eigh", la.eigh, args=[made(spd(3))], covers=[la.eigh]),
    Case("eigh upper", lambda A: la.eigh(A, "U"), args=[made(spd(2, 3))]),
    Case("eigh complex", eigh_seen, args=[made(hermitian(3))]),
    Case("eigh upper complex", lambda A: eigh_seen(A, "U"), args=[made(hermitian(2, 2))]),
    Case("eigvalsh", la.eigvalsh, args=[made(spd(2, 3))], covers=[la.eigvalsh]),
    Case("eigvalsh upper", lambda A: la.eigvalsh(A, UPLO="U"), args=[made(hermitian(3))]),
    Case("eig", la.eig, args=[made(well_conditioned(3))], covers=[la.eig]),
    Case("eig of rotations", up_to_sign, args=[made(rotations())]),
    Case("eig complex", up_to_sign, args=[made(lambda rng: 0.3 * complex_matrix(2, 3)(rng) + np.diag([1, 3, 5]))]),
    Case("eig projectors", lambda A: projectors(la.eig(A)[1]), args=[made(complex_matrix(3))]),
    Case("eigvals", la.eigvals, args=[made(well_conditioned(2, 3))], covers=[la.eigvals]),
    Case("eigvals of rotations", la.eigvals, args=[made(rotations(2))]),
    Case("eigvals complex", la.eigvals, args=[made(complex_matrix(3))]),
    Case("sum of repeated eigenvalues", lambda A: np.sum(la.eigvalsh(A)), args=[made(lambda rng: np.eye(3))], order=1),
]

SINGULAR_VALUES = [
    Case("svd", lambda A: la.svd(A, full_matrices=False), args=[made(rectangular(4, 3))], covers=[la.svd]),
    Case("svd wide", lambda A: la.svd(A, False), args=[made(rectangular(2, 2, 3))]),
    Case("svd square", la.svd, args=[made(well_conditioned(2, 3))]),
    Case(
        "svd of rank n - 1",
        lambda A: projectors(la.svd(A)[0]),
        args=[made(lambda rng: np.diag([3.0, 1.0, 0.0]))],
        order=1,
    ),
    Case("svd complex", svd_seen, args=[made(rectangular(4, 3, is_complex=True))]),
    Case("svd complex wide", svd_seen, args=[made(rectangular(2, 2, 3, is_complex=True))]),
    Case("svd complex square", svd_seen, args=[made(complex_matrix(2, 3))]),
    Case("svd hermitian", lambda A: la.svd(A, hermitian=True)[1], args=[made(hermitian(3))]),
    Case("svd values", lambda A: la.svd(A, compute_uv=False), args=[made(rectangular(2, 3, 2))]),
    Case("svdvals", la.svdvals, args=[made(rectangular(3, 4, is_complex=True))], covers=[la.svdvals]),
]

VECTOR_ORDERS = (None, 2, 1, 3, 2.5, 0.5, -1, np.inf, -np.inf, 0)
MATRIX_ORDERS = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)

NORMS = [
    Case("norm", la.norm, args=[real(2, 3, 2)], complex=True, covers=[la.norm]),
    Case("norm ord=0 with zeros", lambda x: la.norm(np.round(x), 0, axis=1), args=[real(2, 9)], complex=True),
    Case("norm keepdims", lambda x: la.norm(x, keepdims=True), args=[real(2, 3)]),
    *(
        Case(f"norm ord={p}", lambda x, p=p: la.norm(x, p), args=[real(4, hi=1.5)], complex=True, distinct=True)
        for p in VECTOR_ORDERS
    ),
    *(
        Case(
            f"norm ord={p} axis",
            lambda x, p=p: la.norm(x, p, 1, True),
            args=[real(2, 3, hi=1.2)],
            complex=True,
            distinct=True,
        )
        for p in VECTOR_ORDERS
    ),
    *(
        Case(f"norm matrix ord={p}", lambda x, p=p: la.norm(x, p), args=[made(rectangular(4, 3))])
        for p in MATRIX_ORDERS
    ),
    *(
        Case(
            f"norm matrix ord={p} axes",
            lambda x, p=p: la.norm(x, p, axis=(2, 0)),
            args=[made(rectangular(2, 2, 3, is_complex=True))],
        )
        for p in MATRIX_ORDERS
    ),
    Case(
        "norm matrix keepdims", lambda x: la.norm(x, 2, axis=(0, -1), keepdims=True), args=[made(rectangular(3, 2, 2))]
    ),
    Case("norm of zeros", lambda x: la.norm(x - x, axis=-1), args=[real(2, 3)]),
    Case("norm ord=3 with a zero", lambda x: la.norm(x * [1, 0, 1], 3), args=[real(3)]),
    Case("vector_norm", la.vector_norm, args=[real(2, 3)], complex=True, covers=[la.vector_norm]),
    Case(
        "vector_norm axes",
        lambda x: la.vector_norm(x, axis=(0, 2), ord=3, keepdims=True),
        args=[real(2, 2, 3)],
        complex=True,
    ),
    Case("matrix_norm", la.matrix_norm, args=[real(2, 2, 3)], complex=True, covers=[la.matrix_norm]),
    Case("matrix_norm nuc", lambda x: la.matrix_norm(x, ord="nuc", keepdims=True), args=[made(rectangular(2, 3, 2))]),
    Case("cond", la.cond, args=[made(rectangular(2, 3, 2))], covers=[la.cond]),
    Case("cond p=2", lambda x: (la.cond(x, 2), la.cond(x, -2)), args=[made(rectangular(3, 2))]),
    *(  # NumPy 2.0 gives the real number a complex dtype
        Case(f"cond p={p}", lambda x, p=p: np.real(la.cond(x, p)), args=[made(complex_matrix(3))])
        for p in (-2, "fro", 1, np.inf)
    ),
]

PRODUCTS = [
    Case(
        "multi_dot",
        lambda *a: la.multi_dot(a),
        args=[real(2, 3), real(3, 4), real(4, 2), real(2, 1)],
        complex=True,
        covers=[la.multi_dot],
    ),
    Case("multi_dot vectors", lambda *a: la.multi_dot(a), args=[real(3), real(3, 2), real(2)], complex=True),
    Case("multi_dot last vector", lambda *a: la.multi_dot(a), args=[real(2, 3), real(3, 3), real(3)]),
    Case("multi_dot of one", lambda a: la.multi_dot([a, np.ones((3, 3)), a, a]), args=[real(3, 3)]),
    *(
        Case(
            f"matrix_power {n}",
            lambda a, n=n: la.matrix_power(a, n),
            args=[made(complex_matrix(2, 2))],
            covers=[la.matrix_power],
        )
        for n in (1, 5, -3)
    ),
    Case("matrix_power 0", lambda a: la.matrix_power(a, 0) + 0 * a, args=[real(2, 3, 3)]),
    Case("linalg.trace", lambda a: la.trace(a, offset=1), args=[real(2, 3, 4)], complex=True, covers=[la.trace]),
    Case(
        "linalg.diagonal", lambda a: la.diagonal(a, offset=-1), args=[real(2, 3, 4)], complex=True, covers=[la.diagonal]
    ),
    Case("linalg.outer", la.outer, args=[real(2), real(3)], complex=True, covers=[la.outer]),
    *(
        Case(f"linalg.{f.__name__}", partial(f, **options), args=[real(*a), real(*b)], complex=True, covers=[f])
        for f, options, a, b in (
            (la.cross, {"axis": 0}, (3, 2), (3, 2)),
            (la.tensordot, {"axes": 1}, (2, 3), (3, 2)),
            (la.vecdot, {"axis": 0}, (3, 2), (3, 2)),
        )
    ),
    Case(
        "linalg products, default axes",
        lambda a, b: (la.vecdot(a, b), la.cross(a, b), la.tensordot(a, b)),
        args=[real(3, 3), real(3, 3)],
        complex=True,
    ),
    Case("linalg.matmul", la.matmul, args=[real(2, 2, 3), real(3, 2)], complex=True, covers=[la.matmul]),
    Case(
        "linalg.matrix_transpose", la.matrix_transpose, args=[real(2, 3, 2)], complex=True, covers=[la.matrix_transpose]
    ),
]

CASES: list[Case] = [*SYSTEMS, *DETERMINANTS, *FACTORS, *EIGENVALUES, *SINGULAR_VALUES, *NORMS, *PRODUCTS]
