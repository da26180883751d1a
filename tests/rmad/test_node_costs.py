"""What a recorded node takes apart from time: calls of NumPy's dispatch, objects, bytes."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import numpy as np
import pytest

import rmad
from rmad import tuning
from rmad.extend import Record, Traced
from rmad.tapes.blocks import LightNode

NODES = 1000
X = np.linspace(0.1, 0.5, 4)
M = np.outer(X, X)

STEPS = {
    "add": lambda x: x + 0.5,
    "reflected": lambda x: 0.5 * x,
    "of two": lambda x: x - x,
    "array": lambda x: x * X,
    "number": lambda x: x / np.float32(2),
    "ufunc": np.sin,
}


def chain(step):
    def f(x):
        for _ in range(NODES):
            x = step(x)
        return x

    return f


@pytest.mark.parametrize("step", [s for name, s in STEPS.items() if name != "ufunc"], ids=list(STEPS)[:-1])
def test_operators_skip_numpys_dispatch(step, monkeypatch):
    want = rmad.jvp(step, X, X)

    def refuse(self, ufunc, method, *inputs, **kwargs):
        if not all(isinstance(a, Traced | float) for a in inputs):  # array * x is NumPy's to dispatch
            return original(self, ufunc, method, *inputs, **kwargs)
        raise AssertionError(f"{ufunc} went through __array_ufunc__")

    original = Traced.__array_ufunc__
    monkeypatch.setattr(Traced, "__array_ufunc__", refuse)
    found = rmad.jvp(step, X, X)
    assert all(map(np.array_equal, found, want))


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_node_holds_few_objects_and_bytes(step):
    f = chain(step)
    record, objects, size = held(lambda: Record(f, X, ()))
    assert len(record.tape.nodes) == NODES + 1
    assert objects <= NODES + 100, "more than a node: the collector visits its block, too"
    blocks = [block for node in record.tape.nodes for block in node.blocks]
    arrays = {id(b.d): sys.getsizeof(b.d) for b in blocks if isinstance(b.d, np.ndarray)}
    assert size - sum(arrays.values()) <= 400 * NODES


@pytest.mark.parametrize("call", [lambda x: np.sum(x), lambda x: M @ x, lambda x: x @ M, lambda x: x @ X])
def test_one_call_is_one_node(call):
    assert len(Record(call, X, ()).tape.nodes) == 2


def test_what_is_used_once_needs_no_blocks_and_no_plan(monkeypatch):
    def f(x):
        return np.sum(np.sin(x) * x - x / 3) * x

    def refuse(*args, **kwargs):
        raise AssertionError("made for a single use")

    monkeypatch.setattr(tuning, "PRODUCTS_ON_A_SHORT_TAPE", 2)  # as it is outside of tests
    monkeypatch.setattr("rmad.plan.plan.Program.__init__", refuse)
    monkeypatch.setattr("rmad.tapes.blocks.Diagonal.__init__", refuse)
    J = rmad.jacobian(f)(X)
    assert np.allclose(rmad.jvp(f, X, X)[1], J @ X)
    assert np.allclose(rmad.vjp(f, X)[1](X), X @ J)
    _, lin = rmad.linearize(f, X)
    assert np.allclose(lin.Jv(X), J @ X)
    assert np.allclose(lin.JTu(X), X @ J)
    assert np.allclose(rmad.JacobianOperator(f, X) @ X, J @ X)
    assert np.allclose(rmad.hvp(lambda x: np.sum(f(x)), X, X), rmad.hessian(lambda x: np.sum(f(x)))(X) @ X)


def test_blocks_of_a_node_are_made_once():
    record = Record(lambda x: x * X - 2 * x, X, ())
    for node in record.tape.nodes[1:]:
        first = node.blocks
        assert node.blocks is first
        assert node.held is None
        assert [block.argnum for block in first] == {"subtract": [0, 1]}.get(node.primitive.name, [first[0].argnum])
    assert [node.blocks[0].argnum for node in record.tape.nodes[1:3]] == [0, 1]
    assert np.array_equal(record.push(X), X * X - 2 * X)
    assert np.array_equal(record.pull(X), X * X - 2 * X)


def test_a_plan_works_on_nodes_with_blocks():
    """Planning asks a node for its blocks again and again: an attribute is quicker than a property."""
    _, lin = rmad.linearize(lambda x: np.sin(x) * x, X)
    want = rmad.jacobian(lambda x: np.sin(x) * x)(X) @ X
    assert lin.plan.nodes
    assert not any(isinstance(node, LightNode) for node in lin.plan.nodes)
    assert np.allclose(lin.Jv(X), want)


def test_a_number_that_a_loop_asks_for_again_leaves_one_node():
    def f(x):
        total = 0.0
        for _ in range(10):
            a, b, *_ = x
            total = total + a * b + x[0]
        return total

    record = Record(f, X, ())
    assert sum(node.primitive.name == "getitem" for node in record.tape.nodes[1:]) == len(X)
    assert np.allclose(record.pull(np.float64(1)), [10 * X[1] + 10, 10 * X[0], 0, 0])


def test_numbers_of_more_arrays_than_are_remembered():
    def f(x):
        found = [k * x for k in range(tuning.ELEMENTS_KNOWN)]
        return sum(y[0] * y[-1] + y[0] for y in [*found, *found])

    squares = sum(k**2 for k in range(tuning.ELEMENTS_KNOWN))
    want = [2 * squares * X[3] + sum(range(tuning.ELEMENTS_KNOWN)) * 2, 0, 0, 2 * squares * X[0]]
    assert np.allclose(rmad.grad(f)(X), want)


def test_products_walk_no_paths(monkeypatch):
    """Trees that fit are matched by their containers, which are looked at once."""
    params = [{"W": M, "b": X}, (X, None, np.arange(3)), {}]
    _, lin = rmad.linearize(lambda p: {"y": X @ p[0]["W"] + p[0]["b"], "z": p[1][0] * 2}, params)
    want = lin.JTu(lin.Jv(params))
    monkeypatch.setattr("rmad.trees.tree._walk", None)
    found = lin.JTu(lin.Jv(params))
    assert found[2] == {}
    assert found[1][1] is None
    assert not found[1][2].any()
    assert np.array_equal(found[0]["W"], want[0]["W"])
    assert np.array_equal(found[1][0], 4 * X)


def held(call):
    """What a call returns, and the containers and bytes that it holds."""
    call()
    gc.collect()
    before = len(gc.get_objects())
    tracemalloc.start()
    result = call()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    gc.collect()
    return result, len(gc.get_objects()) - before, size


LISTS = {
    "numbers": lambda x: np.array([x[0] * x[1], 2.0, x[1], x[0] * x[1]]),
    "rows": lambda x: np.array([[x[0], 1], [0.5, x[1] ** 2], [x[1], x[0]]]),
    "in columns": lambda x: np.array([[x[0], x[1] * x[0]], [1.0, x[1]]], order="F"),
    "stacked": lambda x: np.stack([x[0] * x[1], x[1], np.float64(1.0)]),
    "of integers": lambda x: np.array([x[0] * x[1], 1, 2]),
}
VIEWS = {
    "elements": lambda x: x[0] * x[-1] + x[1] * x[0],
    "slices": lambda x: x[1:] * x[:-1] + x[::2],
    "of a matrix": lambda x: np.outer(x, x)[1] + np.outer(x, x)[:, 0] + np.outer(x, x)[1, 1],
    "none": lambda x: x[None] * x[..., None],
    "of a number": lambda x: np.reshape(x[0], ())[()] * x[1],
}


@pytest.mark.parametrize("f", [*LISTS.values(), *VIEWS.values()], ids=[*LISTS, *VIEWS])
def test_lists_and_views_sweep_themselves_as_their_blocks_do(f):
    x, v = np.array([0.3, 0.7, 0.4]), np.array([1.0, -2.0, 0.5])
    record = Record(f, x, ())
    assert any(isinstance(node, LightNode) for node in record.tape.nodes)
    u = np.linspace(1.0, 2.0, np.size(record.y)).reshape(np.shape(record.y))
    light, J = (record.push(v), record.pull(u)), rmad.jacobian(f)(x)
    assert any(getattr(node, "held", None) is not None for node in record.tape.nodes), "no blocks were asked for"
    assert all(node.blocks is node.blocks for node in record.tape.nodes)
    _, lin = rmad.linearize(f, x)
    assert lin.plan.nodes
    for found in ((record.push(v), record.pull(u)), (lin.Jv(v), lin.JTu(u)), (J @ v, np.tensordot(u, J, np.ndim(u)))):
        assert all(map(np.allclose, found, light))
    rmad.check_grads(f, x, order=2)


def test_stacks_of_cotangents_go_through_lists_and_views():
    def f(x):
        return np.array([x[0] * x[1], x[2]]) @ np.array([[x[1], 1], [x[0], x[3] * x[4]]])

    x = np.array([0.3, 0.7, 0.4, 0.2, 0.9])
    by_rows = rmad.jacobian(f)(x)
    assert np.allclose(by_rows, np.stack([rmad.jvp(f, x, e)[1] for e in np.eye(5)], axis=-1))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_a_few_tangents_of_a_loop_over_numbers(k):
    def f(x):
        y, z = x[0], -x[-1]
        for _ in range(3):
            y = y * z - x[0] * 0.5 + np.sin(y) * np.sum(np.array([z, 1.0]) * x[0])
            z = np.maximum(y, z) + x[0]
        return y, np.array([z, y * X[1], 2.0]), np.reshape(z, (1, 1)) + M, y + z

    x = np.linspace(0.2, 0.9, k)
    columns = [rmad.jvp(f, x, e)[1] for e in np.eye(k)]
    for J, of_columns in zip(rmad.jacobian(f)(x), zip(*columns, strict=True), strict=True):
        assert np.allclose(J, np.stack(of_columns, axis=-1), rtol=1e-14)
        assert J.dtype == np.float64
    numbers = rmad.jacobian(lambda a, b: a * b + np.sin(a), argnums=(0, 1))(np.float64(0.3), np.float64(0.4))
    assert np.allclose(numbers, (0.4 + np.cos(0.3), 0.3))


def test_tangents_that_are_not_finite_are_numpys_in_a_loop_over_numbers():
    with np.errstate(all="ignore"):
        J = rmad.jacobian(lambda x: np.log(x[0]) * x[1] + x[2])(np.zeros(3))
    assert np.array_equal(J, [np.nan, -np.inf, 1], equal_nan=True)
