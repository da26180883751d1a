"""Whatever would lose a derivative raises an error, and wrong arguments are named."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.special

import rmad

RNG = np.random.default_rng(0)
array, zeros = np.array, np.zeros  # by a name of its own it is NumPy's
W, X, B = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3)), RNG.standard_normal(4)


class NotATree:
    pass


ERRORS = {
    "float": (lambda x: float(x[0]), TypeError, r"float\(x\).*stop_gradient"),
    "int": (lambda x: list(map(int, x)), TypeError, r"int\(x\)"),
    "complex": (lambda x: complex(x[0]), TypeError, r"complex\(x\)"),
    "index": (lambda x: [1, 2][x[0]], TypeError, "no integer"),
    "item": (lambda x: x[0].item(), TypeError, "item"),
    "tolist": (lambda x: x.tolist(), TypeError, "tolist"),
    "asarray": (np.asarray, TypeError, "without losing its derivative"),
    "array of": (lambda x: array([x[0], x[1]]), TypeError, "derivative"),
    "out": (lambda x: np.sin(x, out=zeros(3)), TypeError, "sin.*out"),
    "out of a function": (lambda x: np.sum(x, out=zeros(())), TypeError, "sum.*out"),
    "unknown ufunc": (scipy.special.kolmogorov, NotImplementedError, r"scipy.special.kolmogorov has no deriv"),
    "how to add one": (scipy.special.kolmogorov, NotImplementedError, r"Add one with rmad\.elementwise"),
    "unknown function": (lambda x: np.savetxt("", x), NotImplementedError, r"savetxt has no derivative rule"),
    "unknown ufunc method": (
        lambda x: scipy.special.betaln.accumulate(x),
        NotImplementedError,
        r"special\.betaln\.accumulate",
    ),
    "pickle": (lambda x: pickle.dumps(x), TypeError, "pickled without losing its derivative"),
    "returns no tree": (lambda x: NotATree(), TypeError, "f must return a tree of arrays.*NotATree"),
    "returns a string": (lambda x: {"a": "no"}, TypeError, r"f\(x\)\['a'\]"),
    "len of 0-d": (lambda x: len(x[0]), TypeError, "0-d"),
    "iterates 0-d": (lambda x: list(x[0]), TypeError, "0-d"),
}


@pytest.mark.parametrize("row", ERRORS.values(), ids=ERRORS)
def test_what_would_lose_a_derivative_is_an_error(row):
    f, kind, message = row
    with pytest.raises(kind, match=message):
        rmad.linearize(f, np.ones(3))


def test_a_traced_number_does_not_go_into_a_plain_array():
    """NumPy raises its own error here; ours, which says why, is the cause of it."""
    with pytest.raises((TypeError, ValueError)) as error:
        rmad.linearize(lambda x: zeros(3).__setitem__(0, x[0]), np.ones(3))
    chain = f"{error.value} {error.value.__cause__} {error.value.__context__}"
    assert "derivative" in chain


def test_wrong_arguments_name_the_leaf():
    x = {"w": np.ones((2, 3)), "b": [np.ones(3)]}
    f = lambda x: (np.sum(x["w"], 0) + x["b"][0], x["b"][0])  # noqa: E731
    _, lin = rmad.linearize(f, x)
    with pytest.raises(ValueError, match=r"v\['w'\] has shape \(3, 2\), but x\['w'\] has shape \(2, 3\)"):
        lin.Jv({"w": np.ones((3, 2)), "b": [np.ones(3)]})
    with pytest.raises(ValueError, match=r"v.*keys of x"):
        lin.Jv({"w": np.ones((2, 3))})
    with pytest.raises(ValueError, match=r"v\['b'\] must be a sequence of 1"):
        lin.Jv({"w": np.ones((2, 3)), "b": []})
    with pytest.raises(ValueError, match=r"u\[1\] has shape \(\), but f\(x\)\[1\] has shape \(3,\)"):
        lin.JTu((np.ones(3), 1.0))
    with pytest.raises(TypeError, match=r"u\[0\] is complex"):
        lin.JTu((np.ones(3) * 1j, np.ones(3)))
    for again in (rmad.jvp, rmad.hvp):
        with pytest.raises(ValueError, match=r"v\['w'\] has shape"):
            again(lambda x: np.sum(x["w"]), x, {"w": np.ones(2), "b": [np.ones(3)]})


def test_a_traced_array_that_outlives_its_function_is_an_error():
    leaked = []
    rmad.grad(lambda x: (leaked.append(np.sin(x)), np.sum(x))[1])(B)
    with pytest.raises(RuntimeError, match="after the function that it was traced in has returned"):
        np.sin(leaked[0])
    with pytest.raises(RuntimeError, match="has returned"):
        rmad.grad(lambda x: np.sum(leaked[0]) * x)(1.0)
    np.testing.assert_array_equal(rmad.stop_gradient(leaked[0]), np.sin(B))


def test_a_list_is_no_tangent():
    with pytest.raises(TypeError, match=r"v\[0\] is of type list, not an array like x\[0\]"):
        rmad.jvp(lambda x: x[0] * 2, [B], [list(B)])
    with pytest.raises(TypeError, match="v is of type list, not an array like x"):
        rmad.jvp(lambda x: x * 2, B, list(B))


def test_nothing_to_differentiate():
    for x in (3, np.arange(3), [np.arange(2), True], (), {}, None):
        with pytest.raises(TypeError, match="nothing to differentiate"):
            rmad.linearize(lambda x: x, x)
    with pytest.raises(TypeError, match=r"x\['a'\] is of type str"):
        rmad.linearize(lambda x: x, {"a": "text", "b": 1.0})


def test_gradients_are_of_real_scalars():
    with pytest.raises(TypeError, match=r"scalar, but f returned shape \(3,\)"):
        rmad.grad(np.sin)(np.ones(3))
    with pytest.raises(TypeError, match="tuple"):
        rmad.grad(lambda x: (x, x))(1.0)
    with pytest.raises(TypeError, match="complex"):
        rmad.grad(np.sin)(1j)


def test_no_derivative_in_that_argument():
    def half(f):
        return rmad.elementwise(f, lambda y, a, b: b, None, name="half")

    g = half(lambda a, b: a * b)
    assert rmad.grad(lambda a: g(a, 2.0))(1.0) == 2
    with pytest.raises(NotImplementedError, match="half has no derivative with respect to argument 1"):
        rmad.grad(lambda b: g(1.0, b))(1.0)
    assert rmad.grad(lambda b: g(b, rmad.stop_gradient(b)))(3.0) == 3


@pytest.mark.parametrize("x", [np.ma.array([1.0, 2.0], mask=[0, 1])])
def test_arrays_with_an_arithmetic_of_their_own_are_refused(x):
    with pytest.raises(TypeError, match="x holds a MaskedArray"):
        rmad.grad(np.sum)(x)


def test_a_rule_that_is_no_rule_names_its_primitive():
    with pytest.raises(TypeError, match=r"derivative 0 must be a function of \(y, x…\), 1, -1 or None, not 2"):
        rmad.elementwise(lambda x: 2 * x, 2)
    half = rmad.primitive(lambda x: x / 2, lambda y, x: (lambda v: v / 2, lambda u: u / 2), name="half")
    with pytest.raises(TypeError, match="half: the rule must give a pair"):
        rmad.grad(half)(1.0)
