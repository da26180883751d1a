"""Sparse Jacobians and Hessians are the dense ones; their patterns; how many products they take."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import scipy.sparse
from test_written import poisson, start
from written_programs import run

import rmad
from rmad.sparse.colouring import one_way
from rmad.sparse.slots import Slots, as_matrix, selected, united

RNG = np.random.default_rng(0)
X = RNG.uniform(0.3, 1.5, 30)


MATRIX = RNG.normal(size=(20, 30)) * (RNG.random((20, 30)) < 0.1)

FUNCTIONS = {  # f, products that suffice
    "Poisson's equation": (lambda u: poisson(5)(u[:25]), 8),
    "elementwise": (lambda x: np.sin(x) * x, 1),
    "three diagonals": (lambda x: x[1:-1] ** 2 - x[2:] * x[:-2], 3),
    "a constant matrix": (lambda x: np.tanh(MATRIX @ x), 20),
    "few rows": (lambda x: np.stack([np.sum(x**2), np.prod(x), x[3]]), 3),
    "moved": (lambda x: np.concatenate([x[::-2], np.roll(x, 3), np.reshape(x, (5, 6)).T.ravel()]), 1),
    "sums": (lambda x: np.sum(np.reshape(x, (5, 6)) ** 2, axis=0), 5),
    "broadcast": (lambda x: x[:3, None] * x[3:7], 30),
    "cumsum of parts": (lambda x: np.cumsum(np.reshape(x, (10, 3)), axis=1), 3),
    "rows of a matrix": (lambda x: np.reshape(x, (10, 3)) @ np.ones((3, 2)), 3),
    "sorted": (np.sort, 1),
    "selected": (lambda x: x[x > 0.8] ** 2, 1),
    "a constant": (lambda x: np.concatenate([np.ones(2), x[:2]]), 1),
    "independent of x": (lambda x: np.floor(x), 0),
    "checkpoint": (rmad.checkpoint(lambda x: np.sin(x[1:]) * x[:-1]), 2),
    "a product of parts": (lambda x: np.linalg.det(np.reshape(x[:27], (3, 3, 3))), 9),
    "complex numbers on the way": (lambda x: (x * np.exp(1j * x[::-1])).imag + np.abs(1j * x), 2),
    "parts of complex numbers": (lambda x: np.conj(x + 1j * x[::-1]).imag * x + (1j * x).imag, 2),
    "a transform": (lambda x: np.fft.ifft(np.fft.fft(np.reshape(x, (10, 3)))).real.ravel() ** 2, 3),
    "convolution": (lambda x: np.convolve(x, [1.0, -2, 1], "valid"), 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_jacobian(name):
    f, products = FUNCTIONS[name]
    evaluate = rmad.sparse_jacobian(f)
    J = evaluate(X)
    dense = rmad.jacobian(f)(X)
    assert isinstance(J, scipy.sparse.csr_array)
    np.testing.assert_allclose(J.toarray(), dense.reshape(-1, 30), rtol=1e-13, atol=1e-14)
    assert evaluate.sparsity.products <= products
    for x in (X + 0.01, X):  # the pattern is kept
        np.testing.assert_allclose(evaluate(x).toarray(), rmad.jacobian(f)(x).reshape(-1, 30), rtol=1e-13, atol=1e-14)


SCALARS = {
    "Rosenbrock": (lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), 3),
    "an arrow": (lambda x: np.sum(x[1:] ** 2 * x[0]) + np.sin(x[0]), 2),
    "separable": (lambda x: np.sum(np.exp(x)), 1),
    "dense": (lambda x: np.sum(x) ** 3, 30),
    "linear": (lambda x: np.sum(x), 0),
    "extremes": (lambda x: x.max() ** 2 + x.min() ** 2 + (x[0] + x[5]) ** 2, 6),
    "an extreme of some": (lambda x: x[[0, 2]].max() ** 2 + np.sum(np.diff(x[1:]) ** 2 * x[2:]), 6),
    "complex on the way": (lambda x: np.sum((1j * x).imag ** 2 * x[::-1]), 2),
    "blocks": (lambda x: np.sum(np.prod(np.reshape(x, (10, 3)), axis=1)), 3),
    "two hubs": (lambda x: np.sum(x[2:] ** 3) * 0 + np.sum(x[2:16] ** 2) * x[0] + np.sum(x[16:] ** 2) * x[1], 3),
}


@pytest.mark.parametrize("name", SCALARS)
def test_the_hessian(name):
    f, products = SCALARS[name]
    evaluate = rmad.sparse_hessian(f)
    H = evaluate(X)
    np.testing.assert_allclose(H.toarray(), rmad.hessian(f)(X), rtol=1e-12, atol=1e-13)
    assert evaluate.sparsity.products <= products


@pytest.mark.parametrize("block", range(6))
def test_random_programs(block):
    for seed in range(20 * block, 20 * (block + 1)):
        x, _ = start(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dense patterns
            J = rmad.sparse_jacobian(lambda x, seed=seed: run(seed, x.copy()))(x)
        want = rmad.jacobian(lambda x, seed=seed: run(seed, x.copy()))(x).reshape(-1, x.size)
        np.testing.assert_allclose(J.toarray(), want, rtol=1e-12, atol=1e-13, err_msg=f"seed {seed}")


def test_a_branch_changes_the_pattern():
    def f(x):
        return x * x[::-1] if x[0] > 0 else x**2

    evaluate = rmad.sparse_jacobian(f)
    for sign in (1, -1, 1):
        x = sign * np.arange(1.0, 6)
        np.testing.assert_array_equal(evaluate(x).toarray(), rmad.jacobian(f)(x))


def test_a_pattern_that_is_given():
    f, _ = FUNCTIONS["three diagonals"]
    pattern = scipy.sparse.diags([1.0, 1.0, 1.0], [0, 1, 2], shape=(28, 30))
    evaluate = rmad.sparse_jacobian(f, pattern=pattern)
    np.testing.assert_array_equal(evaluate(X).toarray(), rmad.jacobian(f)(X))
    with pytest.raises(ValueError, match="outside of the pattern that was given"):
        rmad.sparse_jacobian(f, pattern=scipy.sparse.eye(28, 30))(X)
    with pytest.raises(ValueError, match=r"pattern has shape \(3, 3\), the derivative has shape \(28, 30\)"):
        rmad.sparse_jacobian(f, pattern=np.eye(3))(X)


def test_trees_arguments_and_single_precision():
    x = {"a": X[:4].astype(np.float32), "b": [X[4:6].astype(np.float32)]}

    def f(scale, x):
        return {"y": scale * x["a"] ** 2, "z": x["b"][0] * x["a"][:2]}

    J = rmad.sparse_jacobian(f, argnums=1)(2.0, x)
    assert (J.shape, J.dtype) == ((6, 6), np.float32)
    flat, unravel = rmad.ravel(x)
    want = rmad.jacobian(lambda v: rmad.ravel(f(2.0, unravel(v)))[0])(flat)
    np.testing.assert_allclose(J.toarray(), want, rtol=1e-6)


def test_errors_and_warnings():
    with pytest.raises(TypeError, match="x is complex"):
        rmad.sparse_jacobian(lambda x: x)(X * 1j)
    with pytest.raises(TypeError, match=r"f\(x\) is complex"):
        rmad.sparse_jacobian(lambda x: x * 1j)(X)
    with pytest.raises(TypeError, match="scalar"):
        rmad.sparse_hessian(lambda x: x)(X)


def test_a_primitive_that_hides_its_pattern():
    """It counts as dense, and a warning names it."""

    def both(a):
        return a[::-1] + a

    fold = rmad.primitive(both, lambda y, x: ((both, both),), name="fold")
    evaluate, n = rmad.sparse_jacobian(lambda x: fold(x)[:3]), 2100
    with pytest.warns(UserWarning, match="dense because of fold"):
        J = evaluate(np.arange(n) * 1.0)
    assert J.shape == (3, n)
    assert J.nnz == 3 * n
    assert repr(evaluate.sparsity) == "<Sparsity of (3, 2100): 6300 elements in 3 products, dense by fold>"


def test_a_large_constant_matrix():
    n = 3000
    A = np.diag(np.ones(n)) + np.diag(np.full(n - 1, 0.5), 1)
    evaluate = rmad.sparse_jacobian(lambda x: A @ x + x @ A)
    J = evaluate(np.ones(n))
    assert abs(J - scipy.sparse.csr_array(A + A.T)).max() == 0
    assert evaluate.sparsity.products == 3


def sets(D):
    """Per number the set of inputs."""
    A = as_matrix(D)
    assert A.has_canonical_format
    return [set(A.indices[a:b].tolist()) for a, b in itertools.pairwise(A.indptr)]


def test_sets_of_few_inputs():
    """Unions and selections of index arrays are those of sets; with many slots they become a matrix."""
    rng = np.random.default_rng(5)
    D = selected(rng.integers(-1, 9, 40), 9)
    expected = sets(D)
    for _ in range(8):
        index, other = rng.integers(-1, 40, 40), selected(rng.integers(-3, 9, 40), 9)
        D = united(D.rows(index), other)
        expected = [(expected[i] if i >= 0 else set()) | of for i, of in zip(index, sets(other), strict=True)]
        assert isinstance(D, Slots)
        assert sets(D) == expected
    for _ in range(12):
        other = selected(rng.integers(0, 9, 40), 9)
        D, expected = united(D, other), [a | b for a, b in zip(expected, sets(other), strict=True)]
        assert sets(D) == expected
    assert not isinstance(D, Slots)
    assert united(D, D) is D


def test_slots_that_are_empty_where_others_are_filled_share_an_array():
    """The pieces of a written array: as many slots as the piece with the most."""
    a, b = np.array([0, 1, -1, -1]), np.array([-1, -1, 5, 6])
    D = united(selected(a, 9), selected(b, 9))
    assert [s.tolist() for s in D.columns] == [[0, 1, 5, 6]]
    assert len(united(D, selected(np.array([0, 1, 5, 6]), 9)).columns) == 1
    assert len(united(D, selected(np.array([0, 2, 5, 6]), 9)).columns) == 2


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csc_array])
def test_no_two_columns_of_a_group_share_a_row(form):
    rng = np.random.default_rng(0)
    for shape in ((30, 30), (7, 40), (40, 7)):
        pattern = form(rng.random(shape) < 0.15)
        groups = one_way(pattern)
        for group in range(groups.max() + 1):
            assert pattern.toarray()[:, groups == group].sum(axis=1).max() <= 1
