"""Operators of trees with complex, integer, boolean and unused leaves: their lengths, and the products of a matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator, cg, eigsh, expm_multiply, gmres, lsmr, svds

import nn
import rmad

OUT = 5
VARIED = ("float", "single", "number", "complex", "complex number", "complex single")
CONSTANT = ("unused", "unused complex", "integer", "boolean", "count", "empty", "empty complex")


class Problem:
    """h = Σ_k C_k x_k over the leaves that are used, for a tree of these kinds of leaves; z and w depend on h.

    Flat vectors hold pairs of reals: p of them for x, 3 OUT + 2 for f(x) if h is complex, else 2 OUT + 2.
    """

    def __init__(self, kinds, seed):
        self.rng = np.random.default_rng(seed)
        self.kinds = kinds
        leaves = [self.leaf(kind) for kind in kinds]
        half = len(leaves) // 2
        self.x = {"first": leaves[:half], "second": (tuple(leaves[half:]), None)}
        self.C = [self.rng.standard_normal((OUT, np.size(leaf))) for leaf in leaves]
        self.flat, self.unravel = rmad.ravel(self.x, pairs=True)
        self.p = self.flat.size
        self.coarse = any("single" in kind for kind in kinds)

    def leaf(self, kind):
        shape = tuple(self.rng.integers(1, 4, self.rng.integers(1, 3)))
        numbers = lambda *shape: self.rng.standard_normal((*shape, 2)) @ np.array([1, 1j])  # noqa: E731
        return {
            "float": lambda: self.rng.standard_normal(shape),
            "single": lambda: self.rng.standard_normal(shape).astype(np.float32),
            "number": lambda: float(self.rng.standard_normal()),
            "unused": lambda: self.rng.standard_normal(shape),
            "complex": lambda: np.asfortranarray(numbers(*shape)),
            "complex number": lambda: complex(numbers()),
            "complex single": lambda: numbers(*shape).astype(np.complex64),
            "unused complex": lambda: numbers(*shape),
            "integer": lambda: self.rng.integers(0, 3, shape),
            "boolean": lambda: self.rng.integers(0, 2, shape).astype(bool),
            "count": lambda: 3,
            "empty": lambda: np.zeros((0, 2)),
            "empty complex": lambda: np.zeros((2, 0), complex),
        }[kind]()

    def f(self, x):
        h = np.zeros(OUT)
        for kind, C, leaf in zip(self.kinds, self.C, [*x["first"], *x["second"][0]], strict=True):
            if "unused" not in kind:
                h = h + C @ np.reshape(leaf, -1)
        h = h / 3
        w = 0.3 * np.conj(h) * np.real(h) + (0.1 * np.sin(h) if h.dtype.kind == "f" else 0.2j * h)  # not holomorphic
        return {"z": np.tanh(np.real(h)), "w": w, "labels": np.arange(7), "constant": np.ones(2)}

    def loss(self, z):
        w = (
            np.abs(z["w"] - 0.2) ** 2 / 2
            if z["w"].dtype.kind == "f"
            else np.real((z["w"] - 0.2) * np.conj(z["w"] - 0.2)) / 2
        )
        return np.sum(np.logaddexp(0.0, z["z"] - 0.3)) + np.sum(w) / 5 + np.sum(z["constant"])

    def total(self, x):
        return self.loss(self.f(x))

    def jacobian(self):
        """(OUT + … + 2, p), one tangent at a time; the integer output has no rows."""
        columns = [rmad.jvp(self.f, self.x, self.unravel(e))[1] for e in np.eye(self.p)]
        return np.stack([np.concatenate([c["z"], reals(c["w"]), c["constant"]]) for c in columns], axis=1)

    def hessian(self):
        rows = [rmad.hvp(self.total, self.x, self.unravel(e)) for e in np.eye(self.p)]
        return np.stack([rmad.ravel(row, pairs=True)[0] for row in rows], axis=1)

    def ggn(self):
        J, z = self.jacobian(), self.f(self.x)["z"]
        s = 1 / (1 + np.exp(0.3 - z))
        return J.T @ np.diag([*s * (1 - s), *[0.2] * (len(J) - OUT - 2), 0, 0]) @ J


def reals(a):
    return a if np.isrealobj(a) else np.stack([a.real, a.imag], axis=-1).ravel()


@st.composite
def problems(draw):
    kinds = draw(st.lists(st.sampled_from((*VARIED, *CONSTANT)), min_size=1, max_size=5))
    return Problem([*kinds, draw(st.sampled_from(VARIED))], draw(st.integers(0, 2**31)))


def compare(operator, dense, problem, shape):
    assert operator.shape == dense.shape == shape
    tol = 3e-5 if operator.dtype == np.float32 or problem.coarse else 1e-12
    V, U = problem.rng.standard_normal((shape[1], 3)), problem.rng.standard_normal((shape[0], 3))
    np.testing.assert_allclose(operator @ np.eye(shape[1]), dense, atol=tol)
    np.testing.assert_allclose(operator @ V, dense @ V, atol=10 * tol)
    np.testing.assert_allclose(operator.matvec(V[:, 0]), dense @ V[:, 0], atol=10 * tol)
    np.testing.assert_allclose(operator.rmatmat(U), dense.T @ U, atol=10 * tol)
    np.testing.assert_allclose(operator.rmatvec(U[:, 0]), dense.T @ U[:, 0], atol=10 * tol)
    np.testing.assert_allclose(operator.T @ U, dense.T @ U, atol=10 * tol)


@settings(max_examples=10)
@given(problem=problems())
def test_an_operator_has_the_length_of_ravel_and_the_products_of_the_matrix(problem):
    p = problem.p
    J = rmad.JacobianOperator(problem.f, problem.x)
    H = rmad.HessianOperator(problem.total, problem.x)
    G = rmad.GGNOperator(problem.f, problem.loss, problem.x)
    compare(J, problem.jacobian(), problem, (rmad.ravel(J.value, pairs=True)[0].size, p))
    assert p == rmad.ravel(problem.x)[0].size or any("complex" in kind for kind in problem.kinds)
    compare(H, problem.hessian(), problem, (p, p))
    compare(G, problem.ggn(), problem, (p, p))
    gradient = rmad.grad(problem.total)(problem.x)
    assert H.gradient.shape == (p,)
    np.testing.assert_array_equal(H.gradient, rmad.ravel(gradient, pairs=True)[0])
    back = problem.unravel(H.gradient)  # every entry belongs to the leaf that it came from
    for got, wanted in zip(
        [*back["first"], *back["second"][0]], [*gradient["first"], *gradient["second"][0]], strict=True
    ):
        if np.asarray(wanted).dtype.kind in "fc":
            np.testing.assert_array_equal(got, wanted)


@settings(max_examples=10)
@given(problem=problems())
def test_scipy_solves_with_operators_of_any_tree(problem):
    """eigsh, svds, cg, gmres, lsmr, expm_multiply with J, H, G, against the dense matrices."""
    p = problem.p
    J, H, G = problem.jacobian(), problem.hessian(), problem.ggn()
    as_J = rmad.JacobianOperator(problem.f, problem.x)
    as_H = rmad.HessianOperator(problem.total, problem.x)
    as_G = rmad.GGNOperator(problem.f, problem.loss, problem.x)
    tol = 2e-4 if problem.coarse else 1e-8
    b, u, v0 = problem.rng.standard_normal(p), problem.rng.standard_normal(len(J)), np.ones(p)
    damped = G + 0.5 * np.eye(p)
    x, info = cg(as_G + aslinearoperator(0.5 * np.eye(p)), b, rtol=1e-12 if tol < 1e-6 else 1e-6)
    assert info == 0
    np.testing.assert_allclose(x, np.linalg.solve(damped, b), atol=tol)
    x, info = gmres(as_H + aslinearoperator(5 * np.eye(p)), b, rtol=1e-12 if tol < 1e-6 else 1e-6)
    assert info == 0
    np.testing.assert_allclose(x, np.linalg.solve(H + 5 * np.eye(p), b), atol=tol)
    with np.errstate(over="ignore"):  # lsmr starts a minimum at 1e100, in float32 too
        x = lsmr(as_J, u, damp=0.5, atol=1e-14, btol=1e-14)[0]
    np.testing.assert_allclose(x, np.linalg.solve(J.T @ J + 0.25 * np.eye(p), J.T @ u), atol=tol)
    np.testing.assert_allclose(
        expm_multiply(-0.1 * as_G, b, traceA=-0.1 * np.trace(G)),
        (lambda w, Q: Q @ (np.exp(-0.1 * w) * (Q.T @ b)))(*np.linalg.eigh(G)),
        atol=tol,
    )
    if p > 2:
        values = eigsh(as_G, k=1, which="LA", v0=v0, return_eigenvectors=False)
        np.testing.assert_allclose(values, np.linalg.eigvalsh(G)[-1:], atol=tol)
        values = svds(as_J, k=1, v0=np.ones(min(J.shape)), return_singular_vectors=False)
        np.testing.assert_allclose(values, np.linalg.svd(J, compute_uv=False)[:1], atol=tol)


def test_a_model_with_dropout_has_a_gradient_of_its_own_length():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(2, 3, rng=rng), nn.Dropout(0.5, rng=rng), nn.Linear(3, 1, rng=rng))
    x = rng.standard_normal((5, 2))
    f = lambda m: np.sum(m(x) ** 2)  # noqa: E731
    assert rmad.ravel(model)[0].size == rmad.ravel(rmad.grad(f)(model))[0].size == 13
    H = rmad.HessianOperator(f, model)
    G = rmad.GGNOperator(lambda m: m(x), lambda z: np.sum(z**2), model)
    assert H.gradient.shape == H.matvec(np.ones(13)).shape == G.matvec(np.ones(13)).shape == (13,)
    assert H.matmat(np.eye(13)).shape == G.matmat(np.eye(13)).shape == (13, 13)


@pytest.mark.parametrize("sweep", ["grad", "vjp", "linearize", "planned twice", "jvp", "hvp"])
def test_derivatives_hold_zeros_of_the_dtype_of_a_constant_leaf(sweep):
    x = {"i": np.arange(3), "w": np.array([1.0, 2.0]), "b": np.array([True]), "n": 4, "s": np.array("name")}
    f = lambda x: np.sum(x["w"] ** 3) * x["n"]  # noqa: E731
    _, lin = rmad.linearize(f, x)
    back = {
        "grad": lambda: rmad.grad(f)(x),
        "vjp": lambda: rmad.vjp(f, x)[1](1.0),
        "linearize": lambda: lin.JTu(1.0),
        "planned twice": lambda: (lin.JTu(1.0), lin.JTu(1.0))[1],
        "jvp": lambda: rmad.jvp(lambda x: {**x, "w": 12 * x["w"] ** 2}, x, {**x, "w": np.array([0.5, 0.5])})[1],
        "hvp": lambda: rmad.hvp(f, x, {**x, "w": np.array([0.5, 0.5])}),
    }[sweep]()
    np.testing.assert_array_equal(back["w"], [12.0, 48.0] if sweep not in ("jvp", "hvp") else [12.0, 24.0])
    assert [np.asarray(back[k]).dtype.kind for k in "ibns"] == ["i", "b", "i", "U"]
    np.testing.assert_array_equal(back["i"], np.zeros(3, int))
