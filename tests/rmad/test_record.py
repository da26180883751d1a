"""Recording runs f once; the tape keeps and computes only what some sweep needs."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from recorded import Counted

import rmad
from rmad.extend import stop
from rmad.record import Record
from rmad.tapes.tape import push
from rmad.tracing.handlers import HANDLERS

RNG = np.random.default_rng(0)
A, W, C = RNG.standard_normal((6, 5)), RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3))


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


def kept(f, x):
    """Names of the intermediate arrays that outlive the run of f: f calls keep(name, array) on them."""
    refs = {}

    def keep(name, traced):
        refs[name] = weakref.ref(stop(traced))
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


def test_a_step_does_not_disturb_a_live_jacobian():
    """A linearization refers to the parameters it was taken at; rebinding makes new arrays."""
    model = {"W": W.copy(), "b": np.zeros(4)}
    f = lambda p: np.tanh(A @ p["W"] + p["b"])  # noqa: E731
    y, lin = rmad.linearize(f, model)
    before = lin.JTu(y)["W"].copy()
    rmad.trees.tree.rebind(model, [p + 1 for p in (model["W"], model["b"])])
    np.testing.assert_array_equal(lin.JTu(y)["W"], before)


def test_an_output_that_is_read_again_is_not_freed(monkeypatch):
    """Tangents are freed after their last use, but not those of outputs."""
    monkeypatch.setattr("rmad.tuning.TANGENTS_KEPT", 0)
    record = Record(lambda x: (y := np.sin(x), np.tanh(y)), np.arange(3.0), ())
    v = np.ones(3)
    first, second = push(record.tape, [v], record.outputs)
    np.testing.assert_allclose(first, np.cos(np.arange(3.0)))
    np.testing.assert_allclose(second, (1 - np.tanh(np.sin(np.arange(3.0))) ** 2) * first)
