"""Rows of the table: SciPy's functions that are no ufuncs, as rmad offers them."""

from __future__ import annotations

import numpy as np

import rmad
from cases import Case, any_shape, made, real, spd, well_conditioned
from rmad import linalg


def no_real_below_zero(*shape):
    """Maker of complex matrices with eigenvalues away from the negative axis."""

    def make(rng):
        noise = rng.standard_normal((*shape, shape[-1])) + 1j * rng.standard_normal((*shape, shape[-1]))
        return 0.3 * noise + np.diag(2.0 + np.arange(shape[-1]))

    return make


def exchanged(*shape, imaginary=0.0):
    """Maker of matrices whose rows LU exchanges."""

    def make(rng):
        noise = 0.3 * rng.standard_normal((2, *shape, shape[-1]))
        return np.roll(noise[0] + imaginary * noise[1] + np.diag(1.0 + np.arange(shape[-1])), 1, axis=-2)

    return make


def projector(Q):
    """Q Qᴴ, which is that of the space and not of a basis."""
    return Q @ np.conj(Q).T


def triangular(trans, lower, unit, *, vector=False, stack=False):
    b = real(3) if vector else real(2, 3, 2) if stack else real(3, 2)
    a = made(well_conditioned(2, 3)) if stack else made(well_conditioned(3))
    name = f"solve_triangular {trans} {'lower' if lower else 'upper'}{' unit' * unit}{' vector' * vector}"
    return Case(
        name + " stack" * stack,
        lambda a, b: rmad.solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit),
        args=[a, b],
        complex=True,
    )


CASES: list[Case] = [
    Case("logsumexp", rmad.logsumexp, args=[real(3, 4)], complex=True),
    Case("logsumexp scalar", rmad.logsumexp, args=[real()]),
    Case("logsumexp axis", lambda a: rmad.logsumexp(a, axis=0), args=[real(3, 4)], complex=True),
    Case("logsumexp axes", lambda a: rmad.logsumexp(a, (0, -1), keepdims=True), args=[real(2, 3, 2)], complex=True),
    Case("logsumexp b", lambda a, b: rmad.logsumexp(a, 1, b), args=[real(3, 4), real(3, 4, lo=0.1)], complex=True),
    Case(
        "logsumexp b broadcast",
        lambda a, b: rmad.logsumexp(a, -1, b=b, keepdims=True),
        args=[real(4), real(3, 4, lo=0.1)],
    ),
    Case("logsumexp b shared", lambda a, b: rmad.logsumexp(a, -1, b=b), args=[real(3, 4), real(4, lo=0.1)]),
    Case(
        "logsumexp sign",
        lambda a, b: rmad.logsumexp(a, 1, b=b, return_sign=True),
        args=[real(2, 3), real(2, 3)],
        complex=True,
    ),
    Case("softmax", rmad.softmax, args=[real(3, 4)]),
    Case("softmax axis", lambda x: rmad.softmax(x, axis=0), args=[real(3, 4)]),
    Case("softmax of rows", lambda x: rmad.softmax(x, axis=-1), args=[real(2, 3, 4)]),
    Case("softmax axes", lambda x: rmad.softmax(x, axis=(0, 2)), args=[real(2, 3, 2)]),
    Case("log_softmax", rmad.log_softmax, args=[real(3, 4)]),
    Case("log_softmax axis", lambda x: rmad.log_softmax(x, axis=-1), args=[real(3, 4)]),
    Case("multigammaln", lambda a: rmad.multigammaln(a, 3), args=[any_shape(1.5, 5)]),
    *(triangular(trans, lower, False) for trans in (0, "T", "C") for lower in (False, True)),
    *(triangular(trans, lower, True) for trans in (0, 1, 2) for lower in (False, True)),
    triangular("N", True, False, vector=True),
    triangular("C", False, False, vector=True),
    triangular(0, True, False, stack=True),
    Case(
        "solve_triangular broadcast",
        lambda a, b: rmad.solve_triangular(a, b, lower=True),
        args=[made(well_conditioned(3)), real(2, 3, 2)],
    ),
    Case("cho_factor", lambda a: rmad.cho_factor(a, lower=True)[0], args=[made(spd(3))]),
    Case(
        "cho_solve", lambda a, b: rmad.cho_solve(rmad.cho_factor(a), b), args=[made(spd(3)), real(3, 2)], complex=True
    ),
    Case(
        "cho_solve lower",
        lambda a, b: rmad.cho_solve(rmad.cho_factor(a, lower=True), b),
        args=[made(spd(2, 3)), real(3)],
        complex=True,
    ),
    Case("expm", rmad.expm, args=[real(3, 3)], complex=True),
    Case("expm third order", rmad.expm, args=[real(2, 2)], order=3, layouts=False),
    Case("expm stack", rmad.expm, args=[real(2, 2, 2, lo=-5, hi=5)]),
    Case("expm of zero", rmad.expm, args=[made(lambda rng: np.zeros((2, 2)))]),
    Case(
        "solve_sylvester",
        linalg.solve_sylvester,
        args=[made(spd(3)), made(well_conditioned(2)), real(3, 2)],
        complex=True,
    ),
    Case("sqrtm", rmad.sqrtm, args=[made(spd(3))]),
    Case("sqrtm complex", rmad.sqrtm, args=[made(no_real_below_zero(2, 3))], order=3),
    Case("sqrtm real to complex", rmad.sqrtm, args=[made(lambda rng: well_conditioned(3)(rng) * [[-1], [1], [1]])]),
    Case("logm", linalg.logm, args=[made(spd(3))], float32=False),  # SciPy's warns of lost digits in single precision
    Case("logm complex", linalg.logm, args=[made(no_real_below_zero(2, 3))], float32=False),
    Case(
        "logm real to complex",
        linalg.logm,
        args=[made(lambda rng: well_conditioned(3)(rng) * [[-1], [1], [1]])],
        float32=False,
    ),
    Case("lu_factor", lambda a: linalg.lu_factor(a)[0], args=[made(exchanged(4))]),
    Case("lu_factor stack", lambda a: linalg.lu_factor(a)[0], args=[made(exchanged(2, 3))]),
    *(
        Case(f"lu_solve {trans}", lambda a, b, t=trans: linalg.lu_solve(linalg.lu_factor(a), b, t), args=[a, b])
        for trans, a, b in (
            (0, made(exchanged(3)), real(3)),
            (1, made(exchanged(3)), real(3, 2)),
            (2, made(exchanged(2, 3, imaginary=1j)), real(2, 3, 2)),
        )
    ),
    Case("toeplitz", linalg.toeplitz, args=[real(3), real(4)], complex=True),
    Case("toeplitz Hermitian", linalg.toeplitz, args=[real(3)], complex=True),
    Case("block_diag", linalg.block_diag, args=[real(2, 3), real(2), real(), real(3, 1)], complex=True),
    Case("block_diag stack", linalg.block_diag, args=[real(2, 1, 2), real(2, 2)]),
    Case("null_space", lambda A: projector(linalg.null_space(A)), args=[real(2, 4)], complex=True),
    Case("null_space of low rank", lambda a: projector(linalg.null_space(np.outer([1, 2], a))), args=[real(4)]),
]
