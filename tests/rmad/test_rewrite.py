"""Rewriting a tape: sums and chains become single nodes, in work that grows with the number of terms only."""

import sys

import numpy as np
import pytest

import rmad
from rmad.plan import rewrite as module
from rmad.record import Record


def loops(n):
    """Sums built in a loop, from few inputs and from many, and the reverse products of their terms."""

    def few(x):
        s = 0.0
        for i in range(n):
            s = s + x[i % 4] * x[(i + 1) % 4]
        return s

    def rosenbrock(x):
        s = 0.0
        for i in range(3):
            s = s + 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
        return s

    def falling(x):
        s = np.zeros(4)
        for i in range(n):
            s = s - i * np.sin(x) + (x if i % 3 else 2 * x)
        return s

    return {"few": few, "rosenbrock": rosenbrock, "falling": falling}


@pytest.mark.parametrize("name", loops(0))
def test_a_rewritten_sum_has_the_same_products(name):
    f, x = loops(30)[name], np.random.default_rng(0).standard_normal(4)
    y, lin = rmad.linearize(f, x)
    u, v = np.random.default_rng(1).standard_normal(np.shape(y)), np.random.default_rng(2).standard_normal(4)
    for _ in range(2):
        np.testing.assert_allclose(lin.Jv(v), rmad.jvp(f, x, v)[1], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(lin.JTu(u), rmad.vjp(f, x)[1](u), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["few", "falling"])
def test_the_work_is_linear_in_the_number_of_terms(name, monkeypatch):
    """Twice the terms are at most twice the terms looked at: s = s + … copies no term of s."""
    counts = []
    add = module._Sum.add
    monkeypatch.setattr(module._Sum, "add", lambda *args: (counts.append(1), add(*args))[1])
    found = []
    for n in (100, 200, 400):
        record = Record(loops(n)[name], np.ones(4), ())
        counts.clear()
        module.rewrite(record.tape, record.outputs)
        found.append(len(counts))
    assert found[1] <= 2.1 * found[0]
    assert found[2] <= 2.1 * found[1]


def test_views_of_views_deeper_than_the_stack():
    def f(x):
        for _ in range(2 * sys.getrecursionlimit()):
            x = x[::-1]
        return 3 * x[:2]

    _, lin = rmad.linearize(f, np.arange(3.0))
    np.testing.assert_array_equal(lin.JTu(np.array([1.0, 2.0])), [3, 6, 0])
    np.testing.assert_array_equal(lin.Jv(np.array([1.0, 2.0, 5.0])), [3, 6])


@pytest.mark.parametrize(
    ("f", "kept"),
    [
        (lambda x: (np.sin(x) + np.cos(x)) + np.tanh(x), 1),  # one diagonal from x
        (lambda x: 3 * np.sin(x), 1),
        (lambda x: x[::-1] @ np.ones((3, 3)) + (x @ np.eye(3) + x @ np.full((3, 3), 2.0)), 2),  # x[::-1], and one sum
        (lambda x: (x @ np.eye(3) + x) * np.cos(x), 2),  # the sum is scaled, not formed twice
    ],
    ids=["twins", "chain", "sums", "factors"],
)
def test_nodes_that_one_node_reads_are_absorbed(f, kept):
    record = Record(f, np.arange(3.0), ())
    module.rewrite(record.tape, record.outputs)
    assert sum(bool(node.inputs) for node in record.tape.nodes) == kept
