"""k stacked tangents or cotangents in one sweep: the same as k sweeps, for every row of the table of primitives."""

from __future__ import annotations

import numpy as np
import pytest
from cases import table

import rmad
from rmad import tuning
from rmad.record import Record
from rmad.singular.limits import settled
from rmad.stacked import pull_stack, push_stack
from rmad.tapes.tape import ArraySpec, Block, pull, push

rows = pytest.mark.parametrize("case", [case for _, case in table()], ids=[name for name, _ in table()])
K = 3


def stack_like(specs, rng):
    """K random arrays for each of these."""

    def draw(spec):
        a = rng.standard_normal((K, *spec.shape))
        return (a + 1j * rng.standard_normal(a.shape) if spec.dtype.kind == "c" else a).astype(spec.dtype)

    return [draw(spec) for spec in specs]


def assert_same(found, wanted, specs):
    """wanted: per vector a list of arrays; found: per array a stack. None is zero."""
    for place, (stack, spec) in enumerate(zip(found, specs, strict=True)):
        parts = [row[place] for row in wanted]
        if stack is None:
            assert all(part is None for part in parts)
            continue
        assert ArraySpec.of(stack) == ArraySpec((K, *spec.shape), spec.dtype)
        for part, got in zip(parts, stack, strict=True):
            np.testing.assert_allclose(got, part, rtol=1e-9, atol=1e-9)


def check(f, xs):
    record = Record(lambda args: f(*args), tuple(xs), ())
    tape, outputs, n = record.tape, record.outputs, record.n_inputs
    rng = np.random.default_rng(0)
    of_x = [node.spec for node in tape.nodes[:n]]
    of_y = [None if k is None else tape.nodes[k].spec for k in outputs]
    V = stack_like(of_x, rng)
    assert_same(push_stack(tape, V, outputs), [push(tape, [v[r] for v in V], outputs) for r in range(K)], of_y)
    U = [None if spec is None else stack_like([spec], rng)[0] for spec in of_y]
    by_one = [settled(pull(tape, [None if u is None else u[r] for u in U], outputs, n)) for r in range(K)]
    assert_same(pull_stack(tape, U, outputs, n), by_one, of_x)


@rows
def test_a_stack_is_swept_as_its_vectors_are(case):
    shapes = {2: [(3, 1), (2, 3, 4)], 3: [(2, 1), (1, 3), (2, 3)]}.get(case.any_shapes, [(2, 3)] * case.any_shapes)
    for some in (shapes, [()] * case.any_shapes, [(0,)] * case.any_shapes)[: 3 if case.any_shapes else 1]:
        check(case.f, case.arrays(0, some))
    if case.complex:
        check(case.f, case.arrays(1, shapes, as_complex=True))


X = np.random.default_rng(0).standard_normal((2, 3, 4))
TAKE_STACKS = {
    "arithmetic": lambda x: -2 * np.sin(x[0]) * x + x / 3 - X[1],
    "broadcasts": lambda x: np.where(x[0] > 0, x, x[0, 0]) + np.broadcast_to(x[1, 1], (5, 3, 4))[2:4],
    "keys": lambda x: x[0, ..., None, ::2] * x[:, [0, 0, 2]][0, 1:3, 1].sum() + x[X > 0].sum() + x[1, 0, [3, 3]].sum(),
    "sums": lambda x: np.sum(x) + x.mean(axis=(0, 2)) + np.cumsum(x, axis=1).sum(axis=0, keepdims=True).mean(),
    "shapes": lambda x: np.moveaxis(x, 0, 2).reshape(-1, 8).T.ravel() + np.swapaxes(x, 0, 2).ravel()[:24],
    "places": lambda x: np.roll(np.flip(x, 1), 2, axis=0) + np.diff(np.pad(x, ((0, 0), (0, 0), (0, 1))), axis=2),
    "diagonals": lambda x: np.diagonal(x, 0, 1, 2) @ np.triu(x[:, :, :3])[0] + np.diag(x[0, 0])[0, :3],
    "joins": lambda x: np.stack([x[0], np.concatenate([x[1, :1], x[0, 1:]])]),
    "products": lambda x: x @ np.swapaxes(x, 1, 2) + x[0] @ X[0].T + np.outer(x[0, 0, :3], x[1, 1, :3]) + X[0] @ x[1].T,
    "vectors": lambda x: X[0] @ x[0, 0] + x[0, 1] @ X[0].T + np.dot(x[0, 0], x[1, 1]),
    "einsum": lambda x: np.einsum("aij,aij->ai", x, X) + np.einsum("ijk,lk->jl", x, X[0])[0],
    "complex parts": lambda x: np.real(np.conj(np.exp(1j * x))) + np.imag(x * 1j).astype("f4"),
}


@pytest.mark.parametrize("f", TAKE_STACKS.values(), ids=TAKE_STACKS)
def test_elementwise_and_linear_functions_take_stacks_as_one_array(f, monkeypatch):
    check(lambda x: f(x), [X])

    def refused(self, stack):
        raise AssertionError(f"{self.primitive} goes through a stack one by one")

    monkeypatch.setattr(Block, "push_stack", refused)
    monkeypatch.setattr(Block, "pull_stack", refused)
    rmad.jacobian(f)(X)
    rmad.jacobian(lambda x: np.sum(f(x) ** 2))(X)


@pytest.mark.parametrize("n", [130, 140])
def test_products_with_unit_vectors_select(n, monkeypatch):
    """Rows of an identity, scaled, some of them of another array, and dense ones: all as products."""
    A = np.random.default_rng(n).standard_normal((n, 130))
    x = {"a": np.linspace(-1, 1, 130), "b": np.ones(7)}
    f = lambda x: A @ (3 * x["a"]) + np.sum(x["b"]) + A @ np.sin(np.flip(x["a"]))  # noqa: E731
    J = rmad.jacobian(f)(x)
    monkeypatch.setattr(tuning, "SELECTED_PRODUCT_FROM", 1 << 60)
    for key, part in rmad.jacobian(f)(x).items():
        np.testing.assert_allclose(J[key], part, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(J["a"], 3 * A + (A * np.cos(x["a"][::-1]))[:, ::-1], rtol=1e-12, atol=1e-12)
