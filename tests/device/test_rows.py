"""Every row of the table of primitives on CuPy's arrays: values, both modes and second order are NumPy's."""

from __future__ import annotations

import importlib
import pathlib
import re

import cases
import numpy as np
import pytest
import scipy.special
from moving import assert_equal, on_device, to_device
from test_primitives import fixed_shapes, random_like, variants

import rmad
from rmad.tracing.handlers import DEFERRED, HANDLERS

cupy = pytest.importorskip("cupy")
special = pytest.importorskip("cupyx.scipy.special")
pytestmark = pytest.mark.gpu

NO_FUNCTION = re.compile(r"(\w+)(?: is a function that|, which) CuPy does not have")
OF_SCIPY = r"takes NumPy's arrays only, not CuPy's"
A_LIST = r"of a list and of arrays of CuPy"
NOT_COMPLEX = r"of complex arrays, which CuPy does not have"
LACKS: dict[str, str] = {  # rows that CuPy cannot run, by the error that says so
    **dict.fromkeys(
        map(
            "own_code: {}".format,
            [
                *("geomspace", "histogram", "histogram2d", "histogramdd", "logspace", "piecewise", "poly", "polyadd"),
                *("polyder", "polydiv", "polyint", "polysub", "roots", "setdiff1d", "setxor1d", "trim_zeros"),
                *("sparse @", "@ sparse"),
            ],
        ),
        OF_SCIPY,
    ),
    **dict.fromkeys(
        map(
            "functions: {}".format,
            [
                "expm",
                "expm of zero",
                "expm stack",
                "expm third order",
                "sqrtm",
                "sqrtm complex",
                "sqrtm real to complex",
                "logm",
                "logm complex",
                "logm real to complex",
                "lu_factor",
                "lu_factor stack",
                "lu_solve 0",
                "lu_solve 1",
                "lu_solve 2",
                "null_space",
                "solve_sylvester",
            ],
        ),
        OF_SCIPY,
    ),
    **dict.fromkeys(
        [
            "elementwise: lists",
            "functions: null_space of low rank",
            "elementwise: where, numbers",
            "index: choose",
            "linalg: norm ord=3 with a zero",
            "linalg: pinv of large values, stacked",
            "products: matmul by constants",
        ],
        A_LIST,
    ),
    "reduce: of a number along an axis": "axis 0 is out of bounds for array of dimension 0",
    **dict.fromkeys(
        [
            "higher: spherical_jn at 0",
            *(f"higher: spherical_{n}n{d}" for n in "jyik" for d in ("", ", derivative")),
        ],
        "CuPy does not have|namespace of traced arrays is for NumPy's arrays",
    ),
    **dict.fromkeys(["special: erf", "special: erfc", "special: erfcx"], NOT_COMPLEX),
}

EVERY = 8  # of so many rows, one belongs to the quick tests
TABLE = [
    pytest.param(name, case, id=name, marks=[] if k % EVERY == 0 else pytest.mark.slow)
    for k, (name, case) in enumerate(cases.table())
]


def products(f, xs, v, u, case):
    """The value, Jv and JTu from the plan, from one sweep, and the derivative of JTu."""
    y, lin = rmad.linearize(f, xs)
    found = {"y": y}
    if "fwd" in case.modes:
        found |= {"Jv in one sweep": rmad.jvp(f, xs, v)[1]}
    if "rev" in case.modes:
        found |= {"JTu in one sweep": rmad.vjp(f, xs)[1](u)}
    _ = lin.plan  # which the first products may do without
    found |= {"Jv": lin.Jv(v)} if "fwd" in case.modes else {}
    found |= {"JTu": lin.JTu(u)} if "rev" in case.modes else {}
    if case.order > 1 and len(case.modes) == 2:
        found["second order"] = rmad.jvp(lambda xs: rmad.vjp(f, xs)[1](u), xs, v)[1]
    return found


def compare(case, as_complex):
    """The row here and on the device."""
    moved, rng = on_device(case.f), np.random.default_rng(3)
    xs = case.arrays(4, fixed_shapes(case), as_complex)
    f, g = (lambda xs: case.f(*xs)), (lambda xs: moved(*xs))
    v, u = random_like(xs, rng), random_like(f(xs), rng)
    wanted, found = products(f, xs, v, u, case), products(g, *to_device((xs, v, u)), case)
    for what, value in found.items():
        assert_equal(value, wanted[what], what)


@pytest.mark.parametrize(("name", "case"), TABLE)
def test_row(name, case):
    if name in LACKS:
        with pytest.raises(Exception, match=LACKS[name]):
            [compare(case, as_complex) for as_complex in variants(case)]
        return
    try:
        for as_complex in variants(case):
            compare(case, as_complex)
    except TypeError as error:
        missing = NO_FUNCTION.search(str(error))
        if missing is None or hasattr(special, missing[1]):
            raise
        assert hasattr(scipy.special, missing[1])


def test_the_exceptions_are_rows():
    assert set(LACKS) <= {name for name, _ in cases.table()}


def test_the_page_names_every_special_function_that_cupy_lacks():
    text = (pathlib.Path(__file__).parents[2] / "docs/gpu.md").read_text()
    (listed,) = re.findall(r"\* \*Special functions\* without.*?The derivatives", text, re.S)
    for module in DEFERRED:
        importlib.import_module(module)
    names = {f.__name__ for f in HANDLERS if isinstance(f, np.ufunc)}
    lacking = {name for name in names if hasattr(scipy.special, name) and not hasattr(special, name)}
    assert lacking == set(re.findall(r"`(\w+)`", listed))
