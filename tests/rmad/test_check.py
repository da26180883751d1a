"""The tester itself: check_grads finds rules that are wrong in every way we know."""

from __future__ import annotations

import numpy as np
import pytest

import rmad
from rmad.tracing.handlers import HANDLERS


@pytest.fixture
def make():
    """make(family, f, …): a primitive that is forgotten after the test."""
    made = []

    def build(family, f, *rules):
        made.append(f)
        return family(f, *rules, name="wrong")

    yield build
    for f in made:
        del HANDLERS[f]
        rmad.rules.PRIMITIVES[:] = [p for p in rmad.rules.PRIMITIVES if p.f is not f]


X = np.random.default_rng(0).uniform(0.5, 1.5, (3, 2))
Z = X + 1j * X[::-1]
A, B = X, X.T + 0.5

WRONG = {
    # -- wrong both ways: push and pull are adjoint, so only differences see it
    "elementwise 0.05 %": (rmad.elementwise, lambda x: x**3, [lambda y, x: 3.0015 * x**2], X, "central differences"),
    "elementwise sign": (rmad.elementwise, lambda x: -x, [1], X, "central differences"),
    "elementwise missing term": (rmad.elementwise, lambda x: x * np.sin(x), [lambda y, x: np.sin(x)], X, "central"),
    "explicit 0.05 %": (
        rmad.primitive,
        lambda x: np.sum(x**2),
        [lambda y, x: ((lambda v: 2.001 * np.sum(x * v), lambda u: 2.001 * u * x),)],
        X,
        "central differences",
    ),
    # -- wrong one way
    "push right, pull wrong by 1e-9": (
        rmad.primitive,
        lambda x: x**2,
        [lambda y, x: ((lambda v: 2 * x * v, lambda u: (2 + 1e-9) * x * u),)],
        X,
        "not adjoint",
    ),
    "pull right, push wrong": (
        rmad.primitive,
        lambda x: x**2,
        [lambda y, x: ((lambda v: 2.001 * x * v, lambda u: 2 * x * u),)],
        X,
        "not adjoint",
    ),
    "transpose of a linear map": (rmad.linear, lambda x: 2 * x[::-1], [lambda u, x: 2 * u], X, "not adjoint"),
    "a transpose that drops a term": (
        rmad.linear,
        lambda x: x + x[:1],
        [lambda u, x: u],
        X,
        "not adjoint",
    ),
    # -- wrong shapes and dtypes
    "pull of a wrong shape": (
        rmad.primitive,
        lambda x: x * 2.0,
        [lambda y, x: ((lambda v: 2 * v, lambda u: 2 * np.sum(u, 0)),)],
        X,
        "shape",
    ),
    "push of a wrong shape": (
        rmad.primitive,
        lambda x: np.sum(x, 0),
        [lambda y, x: ((lambda v: np.sum(v, 0, keepdims=True), lambda u: u + np.zeros_like(x)),)],
        X,
        "shape",
    ),
    "a column for a matrix, summed": (
        rmad.primitive,
        lambda x: np.sum(x, 1),
        [lambda y, x: ((lambda v: np.sum(v, 1), lambda u: u[:, None]),)],
        X,
        "shape",
    ),
    # -- complex
    "missing conj in an explicit pull": (
        rmad.primitive,
        lambda x: x * x,
        [lambda y, x: ((lambda v: 2 * x * v, lambda u: 2 * x * u),)],
        Z,
        "not adjoint",
    ),
    "not holomorphic": (rmad.elementwise, lambda x: x * np.conj(x), [lambda y, x: 2 * np.conj(x)], Z, "central"),
    # -- second order
    "second derivative only": (
        rmad.elementwise,
        lambda x: x**3,
        [lambda y, x: 3 * rmad.stop_gradient(x) * x],
        X,
        "in x ↦ Jv",
    ),
    "second derivative through y": (
        rmad.elementwise,
        lambda x: np.exp(x),
        [lambda y, x: rmad.stop_gradient(y)],
        X,
        "in x ↦ Jv",
    ),
    "nan": (rmad.elementwise, lambda x: x**2, [lambda y, x: 2 * x * np.nan], X, "nan"),
}


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG)
def test_wrong_rules_are_caught(make, row):
    family, f, rules, x, message = row
    g = make(family, f, *rules)
    with pytest.raises(AssertionError, match=message) as error:
        rmad.check_grads(g, x)
    if message in ("not adjoint", "shape"):
        assert "∂wrong/∂(argument 0)" in str(error.value)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_one_mode_sees_its_own_errors_only(make, mode):
    """A wrong pull fails "rev" and passes "fwd"; a wrong push the other way round."""
    push, pull = (lambda x: lambda v: 2 * x * v), (lambda x: lambda u: 2 * x * u)
    wrong_push, wrong_pull = (lambda x: lambda v: 2.001 * x * v), (lambda x: lambda u: 2.001 * x * u)
    bad_pull = make(rmad.primitive, lambda x: x**2, lambda y, x: ((push(x), wrong_pull(x)),))
    bad_push = make(rmad.primitive, lambda x: x * x, lambda y, x: ((wrong_push(x), pull(x)),))
    bad, good = (bad_push, bad_pull) if mode == "fwd" else (bad_pull, bad_push)
    rmad.check_grads(good, X, modes=(mode,), order=1)
    with pytest.raises(AssertionError, match="central differences"):
        rmad.check_grads(bad, X, modes=(mode,), order=1)


def test_a_wrong_shape_that_broadcasting_hides_downstream(make):
    """The row sum's pull gives (3, 1) for (3, 2); the node before it would broadcast it back without a word."""
    rowsum = make(
        rmad.primitive, lambda x: np.sum(x, 1), lambda y, x: ((lambda v: np.sum(v, 1), lambda u: u[:, None]),)
    )
    f = lambda x: rowsum(np.sin(x))  # noqa: E731
    right = rmad.vjp(f, X)[1](np.ones(3))
    assert right.shape == X.shape  # the result looks right, and is
    with pytest.raises(AssertionError, match=r"∂wrong/∂\(argument 0\).*shape \(3, 1\), must have \(3, 2\)"):
        rmad.check_grads(f, X)


@pytest.mark.parametrize("argument", [0, 1])
def test_the_wrong_argument_is_named(make, argument):
    right = [lambda u, A, B: u @ B.T, lambda u, A, B: A.T @ u]
    right[argument] = lambda u, A, B, t=right[argument]: 1.001 * t(u, A, B)
    product = make(rmad.bilinear, lambda A, B: A @ B, *right)
    with pytest.raises(AssertionError, match=rf"∂wrong/∂\(argument {argument}\).*not adjoint"):
        rmad.check_grads(lambda x: np.tanh(product(x["A"], x["B"])), {"A": A, "B": B})


def test_the_wrong_leaf_is_named(make):
    """Both ways wrong, so no primitive can be named: the input and the output are."""
    cube = make(rmad.elementwise, lambda x: x**3, lambda y, x: 3.003 * x**2)
    with pytest.raises(AssertionError, match=r"∂f\(x\)\[1\]/∂x\['b'\]\[0\]: Jv"):
        rmad.check_grads(lambda x: (x["a"], x["a"] * cube(x["b"][0])), {"a": X, "b": [X + 1]})


def test_orders(make):
    """An error in the third derivative passes order 2 and fails order 3."""
    s = make(rmad.elementwise, lambda x: x**3, lambda y, x: 3 * x * x)
    rmad.check_grads(s, X, order=3)
    d = make(rmad.elementwise, lambda x: 3 * x**2, lambda y, x: 6 * rmad.stop_gradient(x))
    outer = make(rmad.elementwise, lambda x: x * x * x, lambda y, x: d(x))
    rmad.check_grads(outer, X, order=2)
    with pytest.raises(AssertionError, match="in x ↦ Jv: in x ↦ Jv"):
        rmad.check_grads(outer, X, order=3)


def test_float32(make):
    x = X.astype(np.float32)
    rmad.check_grads(lambda x: np.tanh(x) * x, x)
    cube = make(rmad.elementwise, lambda x: x**3, lambda y, x: x.dtype.type(3.003) * x**2)
    with pytest.raises(AssertionError, match="central differences"):
        rmad.check_grads(cube, x)


def test_arguments():
    rmad.check_grads(lambda x, a: a * x**2, X, 3.0)
    rmad.check_grads(lambda x: x**2, X, order=0)
    rmad.check_grads(np.sin, 0.3, order=4, rng=np.random.default_rng(1))
    rmad.check_grads(lambda x: np.log(x), 1e-3 * X, eps=(1e-5, 1e-6), rtol=1e-5)
    with pytest.raises(ValueError, match="'backward'"):
        rmad.check_grads(np.sin, X, modes=("backward",))


def test_trees_complex_and_constants():
    """Trees in and out, integer leaves, constant outputs, complex and real mixed, empty arrays."""
    x = {"w": X, "n": np.arange(3), "z": [Z, None, np.zeros((0, 2))], "s": 0.7}

    def f(x):
        z = x["z"][0]
        return {"a": x["w"][x["n"]] * np.sin(z), "b": (np.ones(2), x["s"] * np.sum(x["w"])), "n": x["n"]}

    rmad.check_grads(f, x)


def test_f_is_not_judged_by_a_step_that_leaves_its_domain():
    rmad.check_grads(np.log, np.array([3e-3, 1.0]), rtol=1e-5)
    rmad.check_grads(lambda x: x[x > 0] ** 2, np.array([3e-3, 1.0, -2e-3]))  # f(x) changes its shape
    singular = lambda: np.linalg.inv(np.zeros((2, 2)))  # noqa: E731
    rmad.check_grads(lambda x: 1.0 * x if rmad.stop_gradient(x) > 0 else singular(), 3e-3)
    with pytest.raises(AssertionError, match="give nan") as error:
        rmad.check_grads(lambda x: x if isinstance(x, rmad.tracing.traced.Traced) else [].index(1), 1.0)
    assert isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_second_derivative_that_is_zero_up_to_rounding(keepdims):
    """The standard deviation of two numbers is half their distance."""
    x = np.random.default_rng(4).normal(size=(2, 3))
    rmad.check_grads(lambda x: np.std(x, axis=0, keepdims=keepdims), x, order=2)
