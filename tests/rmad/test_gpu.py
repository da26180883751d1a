"""Transforms and operators on CuPy's arrays."""

from __future__ import annotations

import numpy as np
import pytest

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
