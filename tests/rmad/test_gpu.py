"""Transforms and operators on CuPy's arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import rmad

RNG = np.random.default_rng(0)
W, X, B = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3)), RNG.standard_normal(4)


def net(p, x=X):
    return np.tanh(x @ p["W"] + p["b"])


P = {"W": W, "b": B}


@pytest.mark.gpu
def test_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    p, x = {k: cupy.asarray(a) for k, a in P.items()}, cupy.asarray(X)
    v, u = {k: a[::-1].copy() for k, a in p.items()}, cupy.ones((5, 4))
    _, lin = rmad.linearize(net, p, x)
    _, wanted = rmad.linearize(net, P, X)
    assert isinstance(lin.Jv(v), cupy.ndarray)
    np.testing.assert_allclose(lin.Jv(v).get(), wanted.Jv({k: a.get() for k, a in v.items()}), rtol=1e-12)
    np.testing.assert_allclose(lin.JTu(u)["W"].get(), wanted.JTu(u.get())["W"], rtol=1e-12)
    J = rmad.grad(lambda p: np.sum(np.square(net(p, x))))(p)
    np.testing.assert_allclose(J["b"].get(), rmad.grad(lambda p: np.sum(np.square(net(p, X))))(P)["b"], rtol=1e-12)
    rmad.check_grads(net, p, x)


@pytest.mark.gpu
def test_cupy_operators():
    cupy = pytest.importorskip("cupy")
    p, x = {k: cupy.asarray(a) for k, a in P.items()}, cupy.asarray(X)
    flat, _ = rmad.ravel(p)
    loss = lambda z: np.sum(np.exp(z) * z)  # noqa: E731
    G, H = rmad.GGNOperator(net, loss, p, x), rmad.HessianOperator(lambda p: loss(net(p, x)), p)
    plain = rmad.ravel(P)[0]
    np.testing.assert_allclose((G @ flat).get(), rmad.GGNOperator(net, loss, P, X) @ plain, rtol=1e-10)
    np.testing.assert_allclose((H @ flat).get(), rmad.HessianOperator(lambda p: loss(net(p, X)), P) @ plain, rtol=1e-10)


def refused(call, message, kind=TypeError):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.gpu
def test_what_cupy_lacks_is_named():
    cupy = pytest.importorskip("cupy")
    x, A = cupy.full(3, 0.5), cupy.eye(3)
    refused(lambda: rmad.grad(lambda x: np.sum(special.erfi(x)))(x), "^erfi is a function that CuPy does not have")
    refused(lambda: rmad.grad(lambda x: np.sum(special.exprel(x)))(x), "^exprel, or its derivative, needs hyp1f1")
    for f in (rmad.expm, rmad.sqrtm):
        refused(lambda f=f: f(A), f"^{f.__name__} is SciPy's and takes NumPy's arrays only, not CuPy's")
        refused(lambda f=f: rmad.grad(lambda A: np.sum(f(A)))(A), f"^{f.__name__} is SciPy's")


@pytest.mark.gpu
def test_arrays_of_the_cpu_are_refused_wherever_they_stand():
    cupy = pytest.importorskip("cupy")
    x, c = cupy.ones(3), np.arange(3.0)
    mixed = "of arrays of NumPy and of CuPy"
    for f in (lambda x: x * c, lambda x: np.concatenate([x, c]), lambda x: np.where(c > 1, x, 0.0)):
        refused(lambda f=f: rmad.grad(lambda x: np.sum(f(x)))(x), mixed)
    refused(lambda: rmad.grad(lambda x: np.sum(x * [1.0, 2.0, 3.0]))(x), "multiply of a list and of arrays of CuPy")


@pytest.mark.gpu
def test_a_factor_of_what_is_not_positive_definite():
    """CuPy's Cholesky does not look at the verdict of the GPU's library, and gives NaN."""
    cupy = pytest.importorskip("cupy")
    A = cupy.asarray(np.array([[1.0, 2.0], [2.0, 1.0]]))
    refused(lambda: rmad.cho_factor(A), "not positive definite", np.linalg.LinAlgError)
    assert np.isnan(rmad.cho_factor(A, check_finite=False)[0]).any()
    B = cupy.asarray(np.array([[2.0, 1.0], [1.0, 2.0]]))
    x = rmad.cho_solve(rmad.cho_factor(B), cupy.ones(2))
    np.testing.assert_allclose(x.get(), np.full(2, 1 / 3), rtol=1e-14)


@pytest.mark.gpu
def test_numbers_join_arrays_of_the_gpu():
    cupy = pytest.importorskip("cupy")
    x = np.array([0.5, -1.0, 2.0])

    def f(x):
        filled, ends = np.full_like(x, 2.0), np.diff(x, prepend=0.0, append=1.0)
        return np.sum(filled * x**2) + np.sum(ends**2) + np.sum(np.insert(x, 1, 5.0) ** 3 + np.linspace(0.0, x[0], 4))

    found = rmad.grad(f)(cupy.asarray(x))
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_allclose(found.get(), rmad.grad(f)(x), rtol=1e-14)
