"""Programs that write into CuPy's arrays: values and derivatives are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from moving import assert_equal, to_device
from test_written import PROGRAMS

import rmad

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu


def first_column(x):
    z = np.stack([x, x * 0, x])
    z[:, 0] = 1.0
    return z


def through_a_transpose(x):
    z = np.stack([x, x])
    z[0, :3] = x[:3]
    w = z.copy()
    w.T[2] = 1
    return w


def where_large(x):
    y = np.zeros_like(x)
    y[1:-1] = x[:-2] * x[2:]
    y[y > 0.5] = 2.0
    y[y < 0.1] *= 0.5
    return y


def added_to_an_element(x):
    y = np.zeros_like(x)
    y[:2], y[-1] = x[:2], 3.0
    y[2] += x[0]
    y[3] = np.float64(2.0)
    return y


def rows_and_sums(x):
    z = np.stack([x, x * 0, x])
    z[1] = np.cumsum(x)
    z[::2] += x
    z[:, 0], z[2, 1] = 1.0, 0
    return z.copy()


NUMBERS = [first_column, through_a_transpose, where_large, added_to_an_element, rows_and_sums]


@pytest.mark.parametrize("f", NUMBERS, ids=lambda f: f.__name__)
def test_numbers_are_written(f):
    x = np.random.default_rng(3).uniform(0.2, 1.5, 6)
    assert_equal(rmad.jacobian(f)(to_device(x)), rmad.jacobian(f)(x))
    g = lambda x: np.sum(f(x) ** 3)  # noqa: E731
    assert_equal(rmad.hvp(g, to_device(x), to_device(x)), rmad.hvp(g, x, x))


def test_an_array_of_numpy_is_not_written_into():
    def f(x):
        y = np.zeros(6)
        y[1] = x[0]
        return y

    with pytest.raises(TypeError, match=r"an array of CuPy is written into one of NumPy; np\.zeros_like"):
        rmad.jacobian(f)(cupy.ones(6))


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_write(name):
    f, shape = PROGRAMS[name]
    x = np.random.default_rng(3).uniform(0.2, 1.5, shape)
    y, lin = rmad.linearize(f, x)
    y_device, lin_device = rmad.linearize(f, to_device(x))
    assert_equal(y_device, y)
    assert_equal(lin_device.Jv(to_device(x)), lin.Jv(x))
    assert_equal(lin_device.JTu(y_device), lin.JTu(y))
