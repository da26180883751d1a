"""Programs that write into CuPy's arrays: values and derivatives are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from moving import assert_equal, to_device
from test_written import PROGRAMS

import rmad

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_write(name):
    f, shape = PROGRAMS[name]
    x = np.random.default_rng(3).uniform(0.2, 1.5, shape)
    y, lin = rmad.linearize(f, x)
    y_device, lin_device = rmad.linearize(f, to_device(x))
    assert_equal(y_device, y)
    assert_equal(lin_device.Jv(to_device(x)), lin.Jv(x))
    assert_equal(lin_device.JTu(y_device), lin.JTu(y))
