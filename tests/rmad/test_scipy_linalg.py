"""rmad.linalg has scipy.linalg's names, arguments and values; derivatives are rows of cases/functions.py."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.linalg
from cases import functions

import rmad
from rmad import linalg

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 4)) + np.diag([2.0, 3, 4, 5])[[1, 0, 3, 2]]
S = A @ A.T + np.eye(4)
b = RNG.standard_normal((4, 2))

CALLS = {
    "block_diag": [(A, b, 3.0, [1.0, 2.0]), (), ([[1, 2]], [[3]]), (np.zeros((0, 2)), A)],
    "cho_solve": [((scipy.linalg.cho_factor(S)), b), ((scipy.linalg.cho_factor(S, lower=True)), b[:, 0])],
    "cho_factor": [(S, True)],
    "expm": [(A,), (A.astype(np.float32),)],
    "logm": [(S,), (-S,)],
    "lu_factor": [(A,), (A * 1j,), (A.astype(np.float32),), (np.arange(4).reshape(2, 2),)],
    "lu_solve": [
        (scipy.linalg.lu_factor(A), b[:, 0]),
        *((scipy.linalg.lu_factor(A * (1 + 1j)), b, t) for t in range(3)),
    ],
    "null_space": [(A[:2],), (A,), (np.ones((3, 3)),), (A[:2] * 1j, 1e-3)],
    "solve_sylvester": [(A, S[:2, :2], b)],
    "solve_triangular": [(A, b), (A, b[:, 0], "T", True, True)],
    "sqrtm": [(S,)],
    "toeplitz": [(b[:, 0],), (b[:, 0], A[0, :3]), (b[:, 0] * 1j,), ([1, 2, 3], [1, 5]), (2.0,)],
}


def test_every_name_is_tested():
    assert set(CALLS) == set(linalg.__all__)
    source = inspect.getsource(functions)
    assert [name for name in linalg.__all__ if f".{name}" not in source] == []


@pytest.mark.parametrize("name", CALLS)
def test_values_and_dtypes_are_scipys(name):
    for args in CALLS[name]:
        got, want = getattr(linalg, name)(*args), getattr(scipy.linalg, name)(*args)
        for g, w in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, want)), strict=True):
            if name == "cho_factor" and np.ndim(w):
                w = np.tril(w)
            np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-13)
            assert np.asarray(g).dtype == np.asarray(w).dtype


@pytest.mark.parametrize("name", CALLS)
def test_arguments_are_scipys(name):
    ours = inspect.signature(getattr(linalg, name)).parameters
    theirs = inspect.signature(getattr(scipy.linalg, name)).parameters
    newer = {"disp", "blocksize", "overwrite_a", "check_finite", "lapack_driver"} - set(ours)
    assert list(ours) == [p for p in theirs if p not in newer]


def test_stacks():
    stack = np.stack([A, S])
    lu, piv = linalg.lu_factor(stack)
    x = linalg.lu_solve((lu, piv), np.stack([b, b]))
    np.testing.assert_allclose(stack @ x, np.stack([b, b]), atol=1e-12)
    np.testing.assert_allclose(scipy.linalg.expm(linalg.logm(stack)), stack, atol=1e-11)
    assert linalg.lu_factor(np.zeros((0, 3, 3)))[0].shape == (0, 3, 3)


def test_lists_of_traced_numbers():
    f = lambda x: np.sum(linalg.toeplitz([x[0], 2.0, x[1]]) ** 2)  # noqa: E731
    np.testing.assert_allclose(rmad.grad(f)(np.array([1.0, 3.0])), [6.0, 12.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linalg.lu_factor(b), "not square"),
        (lambda: linalg.lu_factor(A * np.nan), "infs or NaNs"),
        (lambda: linalg.lu_solve(linalg.lu_factor(A), np.ones(3)), "do not fit"),
        (lambda: linalg.lu_solve(linalg.lu_factor(A), b, 4), "trans must be"),
        (lambda: linalg.solve_sylvester(A, A, b), "q has shape"),
        (lambda: linalg.toeplitz(A), "must be vectors"),
        (lambda: linalg.null_space(b[0]), "must be a matrix"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
