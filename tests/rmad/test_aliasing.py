"""Results share no memory with arguments, with each other or with a plan's buffers."""

from __future__ import annotations

import numpy as np
import pytest

import rmad

RNG = np.random.default_rng(0)
A, W, C = RNG.standard_normal((6, 5)), RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3))


def passes_on(x):
    """A primitive whose push and pull hand their argument on as it is."""
    return _passes_on(x)


_passes_on = rmad.primitive(lambda x: x.copy(), lambda y, x: ((lambda v: v, lambda u: u),), name="passes_on")
ALIASING = {
    "identity": lambda x: x,
    "twice": lambda x: (x, x),
    "residual": lambda x: x + np.sin(x),
    "x + x": lambda x: x + x,
    "x + x + x": lambda x: x + x + x,
    "x, -x, x": lambda x: [x, -x, x + 1],
    "reshape": lambda x: (np.reshape(x, -1), x),
    "transpose": lambda x: x.T + 0.0,
    "slices": lambda x: (x[1:], x[:-1], x[::-1]),
    "negative": lambda x: -x,
    "explicit": lambda x: passes_on(x),
    "explicit twice": lambda x: passes_on(x) + passes_on(x),
    "explicit, shared": lambda x: (lambda y: (y, y + y, y * 2))(passes_on(x)),
    "intermediate twice": lambda x: (lambda y: (y, y))(np.sin(x)),
    "chain of ones": lambda x: passes_on(passes_on(x) + 1) + 1,
    "broadcast": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "sum": lambda x: np.sum(x),
    "sums": lambda x: (np.sum(x), np.sum(x, 0), x),
    "constant": lambda x: (x, np.ones(3)),
}
ways = pytest.mark.parametrize("way", ["compiled", "one sweep"])


def products(f, x, way):
    if way == "compiled":
        y, lin = rmad.linearize(f, x)
        return y, lin.Jv, lin.JTu
    y, pull = rmad.vjp(f, x)
    return y, lambda v: rmad.jvp(f, x, v)[1], pull


def arrays(t):
    return [a for _, a in rmad.trees.tree.leaves(t) if isinstance(a, np.ndarray)]


@ways
@pytest.mark.parametrize("f", ALIASING.values(), ids=ALIASING)
def test_results_share_no_memory(f, way):
    """Jv and JTu are writable arrays of the caller's own: not v, not u, not x, not each other, not the next result."""
    x = A.copy()
    y, Jv, JTu = products(f, x, way)
    v = A + 1
    u = rmad.trees.tree.map_leaves(lambda a: np.array(np.cos(np.arange(np.size(a))).reshape(np.shape(a))), y)
    before = rmad.trees.tree.map_leaves(np.copy, (x, v, u))
    forward, backward = Jv(v), JTu(u)
    copies = rmad.trees.tree.map_leaves(np.copy, (forward, backward))
    own = [*arrays(forward), *arrays(backward)]
    for k, a in enumerate(own):
        assert a.flags.writeable
        for b in [x, v, *arrays(u), *own[:k], *arrays(y)]:
            assert not np.shares_memory(a, b)
    for a in own:
        a[...] = np.nan  # whatever the caller does to a result changes no later one
    for a, b in zip(arrays((x, v, u)), arrays(before), strict=True):
        np.testing.assert_array_equal(a, b)
    again = Jv(v), JTu(u)
    for (path, a), (_, b) in zip(rmad.trees.tree.leaves(again), rmad.trees.tree.leaves(copies), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


@pytest.mark.parametrize("f", ALIASING.values(), ids=ALIASING)
def test_the_two_ways_agree(f):
    rmad.check_grads(f, A)
    v = A + 1
    (_, Jv, JTu), (y, Jv1, JTu1) = products(f, A, "compiled"), products(f, A, "one sweep")
    for got, wanted in ((Jv(v), Jv1(v)), (JTu(y), JTu1(y))):
        for (path, a), (_, b) in zip(rmad.trees.tree.leaves(got), rmad.trees.tree.leaves(wanted), strict=True):
            assert np.shape(a) == np.shape(b), path
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=path)


@ways
def test_the_same_cotangent_array_for_two_outputs(way):
    """u = (w, w), one array twice: sums must not be made in it."""
    w = A.copy()
    _, _, JTu = products(lambda x: (x, x, x * 2), A, way)
    np.testing.assert_array_equal(JTu((w, w, w)), 4 * A)
    np.testing.assert_array_equal(w, A)


@ways
def test_read_only_vectors_are_accepted(way):
    v = np.broadcast_to(np.float64(1), A.shape)
    _, Jv, JTu = products(lambda x: x + np.sin(x), A, way)
    np.testing.assert_allclose(Jv(v), 1 + np.cos(A))
    np.testing.assert_allclose(JTu(v), 1 + np.cos(A))


def test_products_of_a_view_that_has_no_rows():
    """A transposed buffer cannot be seen as a matrix of rows: it is gathered in every sweep, not once."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 5))
    p = {"W": rng.standard_normal((5, 6)), "V": rng.standard_normal((6, 2)), "b": rng.standard_normal(2)}

    def f(p):
        y = np.swapaxes(np.tanh(x @ p["W"]), 0, 1) @ p["V"]
        return np.swapaxes(y + p["b"], 0, 1) @ p["V"].T

    y, lin = rmad.linearize(f, p)
    for _ in range(2):
        v, u = {k: rng.standard_normal(a.shape) for k, a in p.items()}, rng.standard_normal(y.shape)
        np.testing.assert_allclose(lin.Jv(v), rmad.jvp(f, p, v)[1], rtol=1e-12)
        wanted = rmad.vjp(f, p)[1](u)
        for name, JTu in lin.JTu(u).items():
            np.testing.assert_allclose(JTu, wanted[name], rtol=1e-11)
