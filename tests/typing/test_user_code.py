"""The file that type checkers read (`.ci/run`) also runs, and its derivatives are right."""

from __future__ import annotations

import pathlib
import runpy

import numpy as np

from rmad.tracing import handlers as table


def test_typical_user_code_runs() -> None:
    handlers = dict(table.HANDLERS)
    try:
        names = runpy.run_path(str(pathlib.Path(__file__).with_name("user_code.py")))
    finally:  # the primitives of the file are not those that tests/rmad looks for rows of
        table.HANDLERS.clear()
        table.HANDLERS.update(handlers)
    x = names["x"]
    tanh = np.tanh(x)
    np.testing.assert_allclose(names["rmad"].grad(names["energy"])(x), 2 * tanh * (1 - tanh**2))
    np.testing.assert_allclose(names["slope"], 12.0)
    np.testing.assert_allclose(names["bends"], 3 * x**3)  # x is sorted
    assert np.isfinite(names["info"].loss)
