"""Operators as parts of functions that are differentiated: traced vectors, traced x, sums and products of operators."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import nn
import rmad

rng = np.random.default_rng(0)
M = rng.standard_normal((3, 3)) / 2
X, V, W = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal((3, 2))
D = rng.standard_normal((3, 3))
X6, V6 = rng.standard_normal(6), rng.standard_normal(6)


def f(x):
    return np.sin(M @ x)


def loss(z):
    return np.sum(np.logaddexp(0.0, z))


def curvature(z):
    return 1 / (1 + np.exp(-z)) / (1 + np.exp(z))


def slopes(x):
    return np.reshape(np.cos(M @ x), (3, 1)) * M


def f_written(x):
    y = np.zeros(3)
    for k in range(3):
        y[k] += x @ M[k]
    return np.sin(y, out=y)


OPERATORS = {  # the operator at x, and its matrix as a function that rmad differentiates
    "J": (lambda x: rmad.JacobianOperator(f, x), slopes),
    "J of a function that writes": (lambda x: rmad.JacobianOperator(f_written, x), slopes),
    "H": (
        lambda x: rmad.HessianOperator(lambda x: np.sum(np.exp(M @ x)), x),
        lambda x: M.T @ (np.reshape(np.exp(M @ x), (3, 1)) * M),
    ),
    "G": (
        lambda x: rmad.GGNOperator(f, loss, x),
        lambda x: slopes(x).T @ (np.reshape(curvature(f(x)), (3, 1)) * slopes(x)),
    ),
}

PRODUCTS = {  # with an operator or a matrix A
    "A @ v": lambda A, v, c: A @ v,
    "A @ column": lambda A, v, c: A @ np.reshape(v, (3, 1)),
    "A @ matrix": lambda A, v, c: A @ (np.reshape(v, (3, 1)) * W[:1]),
    "A.T @ v": lambda A, v, c: A.T @ v,
    "A.T.T @ v": lambda A, v, c: A.T.T @ v,
    "A.T @ matrix": lambda A, v, c: A.T @ (np.reshape(v, (3, 1)) * W[:1]),
    "v @ A": lambda A, v, c: v @ A,
    "row @ A": lambda A, v, c: np.reshape(v, (1, 3)) @ A,
    "matrix @ A": lambda A, v, c: (np.reshape(v, (1, 3)) * W[:2, :1]) @ A,
    "c A": lambda A, v, c: (c * A) @ v,
    "c A, transposed": lambda A, v, c: (A * c).T @ v,
    "A / c": lambda A, v, c: (A / c) @ v,
    "-A": lambda A, v, c: -A @ v,
    "A + A.T": lambda A, v, c: (A + A.T) @ v,
    "A.T A": lambda A, v, c: (A.T @ A) @ v,
    "damped": lambda A, v, c: (A.T @ A + c * A - 2 * A) @ v,
    "transposed product": lambda A, v, c: (A @ (c * A) + A).T @ v,
    "of a matrix": lambda A, v, c: (A @ (A + A.T)) @ W * v[0],
}

NAMES = {  # the same by the names of SciPy's methods
    "matvec": (lambda A, v: A.matvec(v), lambda A, v: A @ v),
    "matvec of a column": (lambda A, v: A.matvec(np.reshape(v, (3, 1))), lambda A, v: A @ np.reshape(v, (3, 1))),
    "rmatvec": (lambda A, v: A.rmatvec(v), lambda A, v: A.T @ v),
    "rmatvec of a column": (lambda A, v: A.rmatvec(np.reshape(v, (3, 1))), lambda A, v: A.T @ np.reshape(v, (3, 1))),
    "matmat": (lambda A, v: A.matmat(np.outer(v, W[0])), lambda A, v: A @ np.outer(v, W[0])),
    "rmatmat": (lambda A, v: A.rmatmat(np.outer(v, W[0])), lambda A, v: A.T @ np.outer(v, W[0])),
    "dot": (lambda A, v: A.dot(v), lambda A, v: A @ v),
    "call": (lambda A, v: A(v), lambda A, v: A @ v),
    "H": (lambda A, v: A.H @ v, lambda A, v: A.T @ v),
    "adjoint": (lambda A, v: (2 * A).adjoint().rmatvec(v), lambda A, v: 2 * A @ v),
    "power": (lambda A, v: (A**2) @ v + A**0 @ v + (A**3).T @ v, lambda A, v: A @ (A @ v) + v + (A @ (A @ A)).T @ v),
    "dense": (
        lambda A, v: (A + aslinearoperator(D)) @ v + (A @ aslinearoperator(D).H) @ v + (A - aslinearoperator(D)).T @ v,
        lambda A, v: A @ v + D @ v + A @ (D.T @ v) + A.T @ v - D.T @ v,
    ),
}

CASES = {
    **{name: (lambda A, v, c, e=e: e(A, v, c), lambda A, v, c, e=e: e(A, v, c)) for name, e in PRODUCTS.items()},
    **{name: tuple(lambda A, v, c, e=e: e(A, v) for e in pair) for name, pair in NAMES.items()},
}


def of_some(g, point, varied):
    """g as a function of these of its variables, the others fixed."""
    return lambda q: g([q[varied.index(k)] if k in varied else point[k] for k in range(len(point))])


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("case", CASES)
def test_a_product_in_a_function_has_the_derivatives_of_the_matrix(kind, case):
    """Value, gradient and Hessian product with respect to x, v and a factor, all traced or one of them."""
    (operator, matrix), (ours, theirs) = OPERATORS[kind], CASES[case]
    by_operator = lambda p, e=ours: np.sum(np.cos(e(operator(p[0]), p[1], p[2])))  # noqa: E731
    by_matrix = lambda p, e=theirs: np.sum(np.cos(e(matrix(p[0]), p[1], p[2])))  # noqa: E731
    point, along = (X, V, 0.7), (V, X, 0.3)
    np.testing.assert_allclose(by_operator(point), by_matrix(point), rtol=1e-13)
    for varied in ((0, 1, 2), (0,), (1,)):
        q, v = tuple(point[k] for k in varied), tuple(along[k] for k in varied)
        ours, theirs = (of_some(g, point, varied) for g in (by_operator, by_matrix))
        for found, expected in (
            (rmad.grad(ours)(q), rmad.grad(theirs)(q)),
            (rmad.hvp(ours, q, v), rmad.hvp(theirs, q, v)),
        ):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_function_of_the_operator_at_a_traced_point_and_of_what_it_holds():
    """The operator's x is plain, but f closes over a traced array; .value and .gradient are traced, too."""

    def by_operator(x):
        J = rmad.JacobianOperator(lambda w: np.sin(M @ (w * x)), V)
        H = rmad.HessianOperator(lambda w: np.sum(np.exp(w * x)), V)
        return np.sum(J @ V) + np.sum(J.value**2) + np.sum(H.gradient) + V @ (H @ W[:, 0])

    def by_hand(x):
        z = M @ (V * x)
        return (
            np.sum(np.cos(z) * (M @ (V * x)))
            + np.sum(np.sin(z) ** 2)
            + np.sum(x * np.exp(V * x))
            + np.sum(V * W[:, 0] * x**2 * np.exp(V * x))
        )

    np.testing.assert_allclose(rmad.grad(by_operator)(X), rmad.grad(by_hand)(X), rtol=1e-12)
    np.testing.assert_allclose(rmad.hvp(by_operator, X, V), rmad.hvp(by_hand, X, V), rtol=1e-11)


def test_operators_of_complex_trees_in_a_function():
    def energy(x):
        J = rmad.JacobianOperator(lambda x: {"z": x["z"] ** 2 * x["r"], "n": 1}, x)
        flat = rmad.ravel(x, pairs=True)[0]
        return np.sum((J @ flat) ** 2) / 2 + np.sum(np.abs(rmad.ravel(x, pairs=True)[1](2 * flat)["z"]) ** 2)

    def by_hand(x):
        return np.sum(np.abs(3 * x["z"] ** 2 * x["r"]) ** 2) / 2 + 4 * np.sum(np.abs(x["z"]) ** 2)

    x = {"i": np.arange(2), "z": np.array([0.3 + 0.2j, -0.5j]), "r": np.array([1.5, -0.5])}
    v = {"i": np.arange(2), "z": np.array([0.1 - 0.2j, 0.4 + 0.3j]), "r": np.array([0.2, 0.7])}
    for found, expected in (
        (rmad.grad(energy)(x), rmad.grad(by_hand)(x)),
        (rmad.hvp(energy, x, v), rmad.hvp(by_hand, x, v)),
    ):
        for name in "zr":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


class Shifted(LinearOperator):
    """A + 2 I: its attribute A is not its matrix."""

    def __init__(self, A):
        super().__init__(A.dtype, A.shape)
        self.A = A

    def _matvec(self, v):
        return self.A @ v + 2 * v

    def _rmatvec(self, u):
        return self.A.T @ u + 2 * u


SCIPY = {  # an operator of SciPy's, and its matrix
    "dense": (aslinearoperator(D), D),
    "transposed": (aslinearoperator(D).T, D.T),
    "sparse": (aslinearoperator(csr_array(np.diag([1.0, 2.0, 3.0], k=0))), np.diag([1.0, 2.0, 3.0])),
    "functions": (LinearOperator((3, 3), matvec=lambda v: D @ v, rmatvec=lambda u: D.T @ u, dtype=float), D),
    "a class": (Shifted(D), D + 2 * np.eye(3)),
    "complex": (
        LinearOperator((3, 3), matvec=lambda v: 1j * (D @ v), rmatvec=lambda u: -1j * (D.T @ u), dtype=complex),
        1j * D,
    ),
}
COMBINED = {
    "A + B": lambda A, B, v: (A + B) @ v,
    "A - B": lambda A, B, v: (A - B) @ v,
    "A B": lambda A, B, v: (A @ B) @ v,
    "(A + B)ᵀ": lambda A, B, v: (A + B).T @ v,
    "(A B)ᵀ": lambda A, B, v: (A @ B).T @ v,
    "(A + B)²": lambda A, B, v: (A + B) @ ((A + B) @ v),
    "columns": lambda A, B, v: (A + B) @ (np.reshape(v, (3, 1)) * W[:1]),
}


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("how", COMBINED)
@pytest.mark.parametrize("other", SCIPY)
def test_combinations_with_operators_of_scipy(other, how, real):
    (B, matrix), combined = SCIPY[other], COMBINED[how]
    J, M_J = rmad.JacobianOperator(f, X), slopes(X)
    v, w = (V, X) if real else (V + 1j * X, X - 2j * V)
    ours = lambda v: np.sum(np.abs(combined(J, B, v) + 1.0) ** 2)  # noqa: E731
    theirs = lambda v: np.sum(np.abs(combined(M_J, matrix, v) + 1.0) ** 2)  # noqa: E731
    np.testing.assert_allclose(ours(v), theirs(v), rtol=1e-13)
    np.testing.assert_allclose(rmad.grad(ours)(v), rmad.grad(theirs)(v), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(rmad.hvp(ours, v, w), rmad.hvp(theirs, v, w), rtol=1e-12, atol=1e-13)


def test_scipys_operator_first_makes_one_of_scipys():
    """B + J is SciPy's own sum: right, but closed to traced arrays, with an error that says so."""
    J = rmad.JacobianOperator(f, X)
    np.testing.assert_allclose((aslinearoperator(D) + J) @ V, D @ V + slopes(X) @ V, rtol=1e-13)
    with pytest.raises(TypeError, match="a traced array cannot become a plain NumPy array"):
        rmad.grad(lambda v: np.sum((aslinearoperator(D) + J) @ v))(V)


def test_a_dense_matrix_is_that_of_the_time_of_the_product():
    """The derivative holds a copy, as of every array that f uses."""
    A = D.copy()
    J = rmad.JacobianOperator(f, X)
    _, lin = rmad.linearize(lambda v: (J + aslinearoperator(A)) @ v, V)
    A *= 0
    np.testing.assert_allclose(lin.Jv(X), slopes(X) @ X + D @ X, rtol=1e-13)


def test_mistakes_name_the_shapes():
    J = rmad.JacobianOperator(lambda x: x[:2] ** 2, X)
    for mistake, error, match in (
        (lambda: J.matvec(np.ones(2)), ValueError, r"v has shape \(2,\), expected \(3,\)"),
        (lambda: J.matvec(np.ones((1, 3))), ValueError, r"v has shape \(1, 3\), expected \(3,\)"),
        (lambda: J.rmatvec(np.ones(3)), ValueError, r"u has shape \(3,\), expected \(2,\)"),
        (lambda: J.matmat(np.ones(3)), ValueError, r"V has shape \(3,\), expected \(3, k\)"),
        (lambda: J @ np.ones((2, 4)), ValueError, r"V has shape \(2, 4\), expected \(3, k\)"),
        (lambda: J @ np.ones((3, 4, 2)), ValueError, r"V has shape \(3, 4, 2\), expected \(3, k\)"),
        (lambda: J.rmatmat(np.ones((3, 2))), ValueError, r"U has shape \(3, 2\), expected \(2, k\)"),
        (lambda: np.ones(3) @ J, ValueError, r"v has shape \(3,\), expected \(2,\)"),
        (lambda: J @ np.ones(2, complex), ValueError, r"expected \(3,\); rmad.ravel\(v, pairs=True\)"),
        (lambda: J + J.T, ValueError, r"cannot add operators of shapes \(2, 3\) and \(3, 2\)"),
        (lambda: J @ J, ValueError, r"cannot multiply operators of shapes \(2, 3\) and \(2, 3\)"),
        (lambda: J**2, ValueError, "not square"),
        (lambda: (J.T @ J) ** -1, ValueError, "integer ≥ 0"),
        (lambda: J @ 2.0, ValueError, "Scalar operands"),
        (lambda: J + np.ones((2, 3)), TypeError, "operand"),
        (lambda: J / np.ones(3), TypeError, "operand"),
        (lambda: J @ eye_array(3), TypeError, "sparse matrix"),
    ):
        with pytest.raises(error, match=match):
            mistake()


@pytest.mark.parametrize("name", ["SquaredError", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"])
def test_the_gauss_newton_matrix_of_a_bound_loss_at_a_traced_point(name):
    """The closed forms of a loss are for plain arrays; at a traced x the value is differentiated."""
    bound = getattr(nn, name)().bind(np.array([0, 1]) if name == "SoftmaxCrossEntropy" else np.eye(2, 3))
    W = rng.standard_normal((3, 3))
    net = lambda x: np.tanh(np.reshape(x, (2, 3)) @ W)  # noqa: E731
    along = [lambda x, loss=loss: np.sum((rmad.GGNOperator(net, loss, x) @ V6) ** 2) for loss in (bound, bound.value)]
    found, expected = (rmad.grad(f)(X6) for f in along)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.linalg.norm(found) > 1e-3
    rmad.check_grads(along[0], X6, order=1)
