"""checkpoint: the derivatives of f, which runs again in every sweep and keeps nothing."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import rmad
from rmad.extend import stop

RNG = np.random.default_rng(0)
W, X, B = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3)), RNG.standard_normal(4)
P = {"W": W, "b": B}


def checkpointed_net(p, x):
    block = rmad.checkpoint(lambda q, h: {"h": np.tanh(h @ q["W"] + q["b"]), "n": 3})
    return block(p, np.sin(x))["h"] * 2.0


def plain_net(p, x):
    return np.tanh(np.sin(x) @ p["W"] + p["b"]) * 2.0


def test_checkpoint_gives_the_same():
    tree, v = (P, X), ({"W": W[::-1], "b": B[::-1]}, X[::-1])
    f, h = (lambda t: checkpointed_net(*t)), (lambda t: plain_net(*t))
    np.testing.assert_array_equal(f(tree), h(tree))
    y, lin = rmad.linearize(f, tree)
    _, wanted = rmad.linearize(h, tree)
    np.testing.assert_array_equal(y, h(tree))
    np.testing.assert_allclose(lin.Jv(v), wanted.Jv(v), rtol=1e-12)
    for a, b in zip(rmad.ravel(lin.JTu(y))[0], rmad.ravel(wanted.JTu(y))[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)
    rmad.check_grads(f, tree)
    s = lambda t: np.sum(np.square(f(t)))  # noqa: E731
    r = lambda t: np.sum(np.square(h(t)))  # noqa: E731
    np.testing.assert_allclose(rmad.hvp(s, tree, v)[1], rmad.hvp(r, tree, v)[1], rtol=1e-10)


def test_checkpoint_runs_f_again_and_keeps_nothing():
    calls, kept = [], []

    @rmad.checkpoint
    def f(x):
        calls.append(1)
        y = np.sin(x)
        kept.append(weakref.ref(stop(y)))
        return np.tanh(y * np.cos(x))

    x = np.ones(1000)
    y, lin = rmad.linearize(lambda x: f(x) * 2.0, x)
    assert len(calls) == 1
    lin.Jv(x)
    assert len(calls) == 2
    lin.JTu(y)
    assert len(calls) == 3
    lin.JTu(y)
    gc.collect()
    assert all(ref() is None for ref in kept)


def test_checkpoint_on_plain_arrays_is_f():
    f = rmad.checkpoint(lambda x, k: {"y": np.sin(x) * k})
    np.testing.assert_array_equal(f(B, 2)["y"], np.sin(B) * 2)


def test_checkpoint_refuses_closures():
    def f(x):
        return np.sum(rmad.checkpoint(lambda z: z * x)(np.sin(x)))

    with pytest.raises(ValueError, match="closes over a traced array"):
        rmad.grad(f)(B)


def test_checkpoint_of_an_array_and_a_view_of_it():
    def twice(f, x):
        y = np.tanh(x)
        return f(y, y.T, y[1:]) + f(y[:, 1:] @ y.T[1:], y.T, y[1:])

    def plain(a, b, c):
        return np.sum(np.sin(a @ b)) + np.sum(c**3) * np.sum(a)

    x = np.random.default_rng(0).standard_normal((4, 4))
    expected = rmad.grad(lambda x: twice(plain, x))(x)
    _, lin = rmad.linearize(lambda x: twice(rmad.checkpoint(plain), x), x)
    np.testing.assert_allclose(lin.JTu(1.0), expected, rtol=1e-12)
    direct = rmad.linearize(lambda x: rmad.checkpoint(lambda a, b: np.tanh(a @ b) * a)(x, x.T), x)[1]
    reference = rmad.vjp(lambda x: np.tanh(x @ x.T) * x, x)[1]
    np.testing.assert_allclose(direct.JTu(x), reference(x), rtol=1e-12)
