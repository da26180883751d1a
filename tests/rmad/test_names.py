"""Plain arrays that take a traced number: right if nothing but names of functions hold them, else an error."""

from __future__ import annotations

import named_programs
import numpy as np
import pytest

import rmad
from rmad.as_written import names
from rmad.trees.tree import flatten

X = np.array([1.5, -2.25, 0.75, 3.0, 0.125])
V = np.array([0.5, -1.0, 0.25, 2.0, 1.0])


def leaves(y):
    return flatten(y, "y")[0]


@pytest.mark.parametrize("f", named_programs.RIGHT, ids=lambda f: f.__name__)
def test_numbers_and_derivatives(f):
    before = named_programs.u0.copy()
    y, Jv = rmad.jvp(f, X, V)
    assert (named_programs.u0 == before).all()
    h = 1e-6
    for a, b, t, plus, minus in zip(
        leaves(y), leaves(f(X.copy())), leaves(Jv), leaves(f(X + h * V)), leaves(f(X - h * V)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
        with np.errstate(invalid="ignore"):  # inf - inf
            slope = np.nan_to_num((plus - minus) / (2 * h))
        np.testing.assert_allclose(t, slope, atol=1e-8 if a.real.dtype == np.float64 else 1)


@pytest.mark.parametrize("f", named_programs.WRONG, ids=lambda f: f.__name__)
def test_other_holders_are_an_error(f):
    before = named_programs.u0.copy()
    with pytest.raises(TypeError, match=r"a plain array that something else holds, too"):
        rmad.jvp(f, X, V)
    assert (named_programs.u0 == before).all()


def test_arguments_of_the_caller():
    def f(x, c):
        c[0] = x[0]
        return c

    c = np.zeros(2)
    for given in (c, np.zeros(2)):
        with pytest.raises(TypeError, match=r"write c = np.array\(c\)"):
            rmad.jvp(f, X, V, given)
    assert (c == 0).all()


def test_marks_survive_every_conversion():
    assert names._keep_bits()


def test_code_without_source():
    namespace = {"np": np}
    exec("def f(x):\n    c = np.arange(3.0) * 2\n    c[0] = x[0]\n    return c", namespace)
    with pytest.raises(TypeError, match=r"would lose its derivative"):
        rmad.jvp(namespace["f"], X, V)


def test_second_derivatives_and_threads():
    def f(x):
        return np.sum(np.sin(named_programs.recursion(x)[0]))

    Hv = rmad.hvp(f, X, V)
    h = 1e-5
    want = (rmad.grad(f)(X + h * V) - rmad.grad(f)(X - h * V)) / (2 * h)
    np.testing.assert_allclose(Hv, want, rtol=1e-6, atol=1e-6)
