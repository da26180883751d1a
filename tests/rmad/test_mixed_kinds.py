"""Functions of several matrices, some of them real and some complex: ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, and every cotangent fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import rmad
from rmad.primitives.matrix_functions import _sylvester
from rmad.trees import tree

la = np.linalg

FUNCTIONS = {
    "solve": (la.solve, ["square", "columns"]),
    "solve a vector": (la.solve, ["square", "vector"]),
    "solve_triangular": (rmad.solve_triangular, ["square", "columns"]),
    "solve_triangular, trans": (lambda a, b: rmad.solve_triangular(a, b, "T", True), ["square", "columns"]),
    "solve_triangular, conjugate": (lambda a, b: rmad.solve_triangular(a, b, "C"), ["square", "vector"]),
    "cho_solve": (lambda a, b: rmad.cho_solve(rmad.cho_factor(a), b), ["positive", "columns"]),
    "cho_solve, lower": (lambda a, b: rmad.cho_solve(rmad.cho_factor(a, lower=True), b), ["positive", "vector"]),
    "sylvester": (_sylvester, ["square", "positive", "any"]),
    "sqrtm of a product": (lambda a, b: rmad.sqrtm(a @ b), ["positive", "positive"]),
    "expm of a sum": (lambda a, b: rmad.expm(a + b), ["square", "any"]),
    "lstsq": (lambda a, b: la.lstsq(a, b)[0], ["tall", "tall"]),
    "pinv of a product": (lambda a, b: la.pinv(a @ b), ["tall", "square"]),
    "tensorsolve": (la.tensorsolve, ["square", "vector"]),
    "multi_dot": (lambda a, b, c: la.multi_dot([a, b, c]), ["tall", "square", "columns"]),
    "matmul": (np.matmul, ["square", "columns"]),
    "einsum": (lambda a, b, c: np.einsum("ij,jk,ik->i", a, b, c), ["square", "square", "square"]),
    "kron": (np.kron, ["square", "columns"]),
    "vdot": (np.vdot, ["square", "square"]),
    "vecdot": (lambda a, b: np.sum(np.conj(a) * b, axis=-1), ["square", "square"]),
    "convolve": (np.convolve, ["vector", "vector"]),
    "correlate": (np.correlate, ["vector", "vector"]),
}
MIXTURES = [(name, kinds) for name, (_, of) in FUNCTIONS.items() for kinds in itertools.product("dD", repeat=len(of))]


def matrix(of, kind, rng):
    shape = {"columns": (3, 2), "vector": (3,), "tall": (5, 3)}.get(of, (3, 3))
    a = noise(shape, kind, rng)
    if of == "square":
        return a + 4 * np.eye(3)
    return a @ np.conj(a).T + np.eye(3) if of == "positive" else a


def noise(shape, kind, rng):
    a = rng.standard_normal(shape)
    return a + 1j * rng.standard_normal(shape) if kind == "D" else a


def inner(a, b):
    """Re aᴴb over two trees."""
    pairs = zip(tree.leaves(a), tree.leaves(b), strict=True)
    return sum(np.sum(np.real(np.conj(p) * q)) for (_, p), (_, q) in pairs)


@pytest.mark.parametrize(("name", "kinds"), MIXTURES, ids=[f"{name}: {''.join(kinds)}" for name, kinds in MIXTURES])
def test_pull_is_the_adjoint_of_push_and_push_the_derivative(name, kinds):
    f, of = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x = tuple(map(matrix, of, kinds, [rng] * len(of)))
    v = tuple(noise(a.shape, a.dtype.char, rng) for a in x)
    if "cho_solve" in name:
        v = (v[0] + np.conj(v[0]).T, *v[1:])  # one triangle is read: differences of the other would show nothing
    y, lin = rmad.linearize(lambda x: f(*x), x)
    Jv = lin.Jv(v)
    u = tree.map_leaves(lambda a: noise(a.shape, a.dtype.char, rng), y)
    JTu = lin.JTu(u)
    for a, cotangent in zip(x, JTu, strict=True):
        assert (cotangent.shape, cotangent.dtype) == (a.shape, a.dtype)
    np.testing.assert_allclose(inner(u, Jv), inner(JTu, v), rtol=1e-12)
    h = 1e-6
    ahead, behind = (f(*(a + s * h * t for a, t in zip(x, v, strict=True))) for s in (1, -1))
    np.testing.assert_allclose(Jv, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-6 * np.abs(Jv).max())


@pytest.mark.parametrize(("name", "kinds"), MIXTURES, ids=[f"{name}: {''.join(kinds)}" for name, kinds in MIXTURES])
def test_each_argument_alone(name, kinds):
    """The others are constants, whose kind decides that of the result, and not that of the cotangent."""
    f, of = FUNCTIONS[name]
    rng = np.random.default_rng(1)
    x = list(map(matrix, of, kinds, [rng] * len(of)))
    for k, a in enumerate(x):
        y, lin = rmad.linearize(lambda a, k=k: f(*x[:k], a, *x[k + 1 :]), a)
        v, u = noise(a.shape, a.dtype.char, rng), noise(y.shape, y.dtype.char, rng)
        JTu = lin.JTu(u)
        assert (JTu.shape, JTu.dtype) == (a.shape, a.dtype)
        np.testing.assert_allclose(inner(u, lin.Jv(v)), inner(JTu, v), rtol=1e-11)
