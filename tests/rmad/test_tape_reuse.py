"""The tape is the Jacobian: nothing runs f again, nothing is kept or computed that no sweep needs, nothing aliases."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import rmad
from rmad.traced import HANDLERS

RNG = np.random.default_rng(0)
A, W, C = RNG.standard_normal((6, 5)), RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3))


# -- no product runs f again ---------------------------------------------------------------------------------


class Counted:
    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, *args):
        self.calls += 1
        return self.f(*args)


def test_linearize_runs_f_once():
    f = Counted(lambda W: np.tanh(A @ W))
    y, lin = rmad.linearize(f, W)
    for k in range(5):
        lin.Jv(k * W)
        lin.JTu(k * y)
    assert f.calls == 1


def test_every_transform_runs_f_once():
    for run in (
        lambda f: rmad.jvp(f, W, W),
        lambda f: [rmad.vjp(f, W)[1](u) for u in (1.0,)],
        lambda f: rmad.grad(f)(W),
        lambda f: rmad.value_and_grad(f)(W),
        lambda f: rmad.hvp(f, W, W),
    ):
        f = Counted(lambda W: np.sum(np.tanh(A @ W)))
        run(f)
        assert f.calls == 1
    f = Counted(lambda W: np.tanh(A @ W))
    _, pull = rmad.vjp(f, W)
    pull(A @ W)
    pull(A @ W)
    assert f.calls == 1


def test_a_cached_hessian_runs_f_once():
    f = Counted(lambda W: np.sum(np.tanh(A @ W)))
    _, lin = rmad.linearize(rmad.grad(f), W)
    for _ in range(3):
        lin.Jv(W)
        lin.JTu(W)
    assert f.calls == 1


@pytest.mark.parametrize("kind", ["Jacobian", "Hessian", "GGN"])
def test_operators_run_f_once(kind):
    f = Counted(lambda w: np.tanh(A @ w))
    h = Counted(lambda w: np.sum(np.tanh(A @ w)))
    loss = Counted(lambda z: np.sum(np.square(z) * np.exp(z)))
    w = W[:, 0]
    if kind == "Jacobian":
        op = rmad.JacobianOperator(f, w)
    elif kind == "Hessian":
        op = rmad.HessianOperator(h, w)
    else:
        op = rmad.GGNOperator(f, loss, w)
    counts = f.calls, h.calls, loss.calls
    assert max(counts) == 1
    for k in range(3):
        op.matvec(k * np.ones(op.shape[1]))
        op.rmatvec(k * np.ones(op.shape[0]))
    op.matmat(np.eye(op.shape[1]))
    assert (f.calls, h.calls, loss.calls) == counts


# -- residuals are kept where some sweep needs them, and nowhere else --------------------------------------------


def kept(f, x):
    """Names of the intermediate arrays that outlive the run of f: f calls keep(name, array) on them."""
    refs = {}

    def keep(name, traced):
        refs[name] = weakref.ref(rmad.stop_gradient(traced))
        return traced

    y, lin = rmad.linearize(lambda x: f(x, keep), x)
    del y
    gc.collect()
    before = {name for name, ref in refs.items() if ref() is not None}
    lin.Jv(x)
    gc.collect()
    after = {name for name, ref in refs.items() if ref() is not None}
    assert after <= before
    return before


def test_the_partner_of_an_untracked_operand_is_freed():
    """h @ C with a constant C: ∂/∂h needs C alone, so h goes; with a traced C the sweep needs h."""
    assert kept(lambda W, keep: keep("h", np.sin(A @ W)) @ C, W) == set()
    assert kept(lambda t, keep: keep("h", np.sin(A @ t[0])) @ t[1], (W, C)) == {"h"}
    assert kept(lambda W, keep: keep("h", np.sin(A @ W)) * 3.0, W) == set()
    assert kept(lambda W, keep: np.sum(keep("h", np.sin(A @ W)) - 1.0), W) == set()


def test_linear_maps_keep_nothing():
    def f(W, keep):
        y = keep("product", A @ W)
        y = keep("sum", y + 1.0)
        y = keep("reshape", np.reshape(y, (2, -1)))
        y = keep("getitem", y[:, 1:])
        y = keep("transpose", -y.T)
        y = keep("reduced", np.sum(y, axis=0))
        return 2.0 * y

    assert kept(f, W) == set()


def test_tanh_keeps_its_derivative_and_not_its_value():
    assert kept(lambda W, keep: keep("y", np.tanh(A @ W)), W) == set()
    assert kept(lambda W, keep: keep("y", np.exp(A @ W)) + 1.0, W) <= {"y"}  # exp is its own derivative


def test_dead_branches_go():
    def f(W, keep):
        dead = keep("a", np.sin(A @ W))
        keep("b", np.exp(dead) * dead)
        return np.sum(W)

    assert kept(f, W) == set()


def test_inputs_are_not_held_by_linear_maps():
    x = RNG.standard_normal(50)
    ref = weakref.ref(x)
    y, lin = rmad.linearize(lambda x: 2.0 * x[1:], x)
    del x
    gc.collect()
    assert ref() is None
    assert lin.Jv(np.ones(50)).shape == y.shape


# -- an input without a tangent costs nothing -------------------------------------------------------------------


@pytest.fixture
def product():
    """matmul as a user would write it, with its calls counted."""
    calls = []

    def f(A, B):
        calls.append("f")
        return np.matmul(A, B)

    def transpose0(u, A, B):
        calls.append("A")
        return u @ B.T

    def transpose1(u, A, B):
        calls.append("B")
        return A.T @ u

    p = rmad.bilinear(f, transpose0, transpose1, name="product")
    yield p, calls
    del HANDLERS[f]
    rmad.rules.PRIMITIVES.remove(p)


def test_untracked_inputs_cost_no_product(product):
    p, calls = product
    y, lin = rmad.linearize(lambda W: np.tanh(p(A, W)), W)
    assert calls == ["f"]
    lin.Jv(W)
    assert calls == ["f", "f"]
    lin.JTu(y)
    assert calls == ["f", "f", "B"]
    calls.clear()
    y, lin = rmad.linearize(lambda t: p(t["a"], t["w"]), {"a": A, "w": W, "n": 3})
    lin.JTu(y)
    assert sorted(calls) == ["A", "B", "f"]


def test_untracked_inputs_leave_no_block():
    for f, blocks in (
        (lambda W: A @ W, 1),
        (lambda W: (A @ W) @ C, 2),
        (lambda W: (A @ A.T) @ (A @ W) + np.sum(A), 3),
        (lambda W: np.sin(A) * np.sum(W), 2),
    ):
        record = rmad.linearize(f, W)[1]._record
        assert sum(len(node.blocks) for node in record.tape.nodes) == blocks


def test_derivatives_of_untracked_arguments_are_not_computed():
    asked = []
    g = rmad.elementwise(
        lambda a, b: a * b, lambda y, a, b: asked.append(0) or b, lambda y, a, b: asked.append(1) or a, name="times"
    )
    rmad.grad(lambda a: g(a, 2.0))(1.0)
    assert asked == [0]
    rmad.grad(lambda b: g(2.0, b))(1.0)
    assert asked == [0, 1]
    g(1.0, 2.0)
    assert asked == [0, 1]


def test_factors_of_one_cost_no_multiplication():
    for f in (lambda x: x + 1, lambda x: x - 1, lambda x: 1 - x, lambda x: -x, lambda x: +x):
        (block,) = rmad.linearize(f, A)[1]._record.tape.nodes[-1].blocks
        assert block.d in (1, -1)
        assert isinstance(block.d, int)


# -- nothing aliases ----------------------------------------------------------------------------------------------


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
    return [a for _, a in rmad.tree.leaves(t) if isinstance(a, np.ndarray)]


@ways
@pytest.mark.parametrize("f", ALIASING.values(), ids=ALIASING)
def test_results_share_no_memory(f, way):
    """Jv and JTu are writable arrays of the caller's own: not v, not u, not x, not each other, not the next result."""
    x = A.copy()
    y, Jv, JTu = products(f, x, way)
    v = A + 1
    u = rmad.tree.map_leaves(lambda a: np.array(np.cos(np.arange(np.size(a))).reshape(np.shape(a))), y)
    before = rmad.tree.map_leaves(np.copy, (x, v, u))
    forward, backward = Jv(v), JTu(u)
    copies = rmad.tree.map_leaves(np.copy, (forward, backward))
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
    for (path, a), (_, b) in zip(rmad.tree.leaves(again), rmad.tree.leaves(copies), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


@pytest.mark.parametrize("f", ALIASING.values(), ids=ALIASING)
def test_the_two_ways_agree(f):
    rmad.check_grads(f, A)
    v = A + 1
    (_, Jv, JTu), (y, Jv1, JTu1) = products(f, A, "compiled"), products(f, A, "one sweep")
    for got, wanted in ((Jv(v), Jv1(v)), (JTu(y), JTu1(y))):
        for (path, a), (_, b) in zip(rmad.tree.leaves(got), rmad.tree.leaves(wanted), strict=True):
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


def test_a_step_does_not_disturb_a_live_jacobian():
    """A linearization refers to the parameters it was taken at; rebinding makes new arrays."""
    model = {"W": W.copy(), "b": np.zeros(4)}
    f = lambda p: np.tanh(A @ p["W"] + p["b"])  # noqa: E731
    y, lin = rmad.linearize(f, model)
    before = lin.JTu(y)["W"].copy()
    rmad.tree.rebind(model, [p + 1 for p in (model["W"], model["b"])])
    np.testing.assert_array_equal(lin.JTu(y)["W"], before)


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
