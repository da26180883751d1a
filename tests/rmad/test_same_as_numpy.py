"""A traced call gives NumPy's value to the last bit, its shape, dtype and kind (scalar or array), and its errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from same_as_numpy import elementwise, lists, order, products, reductions, shapes
from same_as_numpy.table import as_it_is, as_lists, derivative, difference, differences, traced_together

import rmad
import rmad.primitives.scipy_ufuncs  # registers its rules
from rmad.tracing.handlers import HANDLERS
from rmad.tracing.traced import stop
from rmad.written.calls import WRITERS

TABLE = elementwise.ROWS | lists.ROWS | order.ROWS | products.ROWS | reductions.ROWS | shapes.ROWS
SHARE = 16  # one call in so many is part of the default run

# Errors that are documented, where NumPy returns a value or raises an error of another type.
REFUSALS = (
    "has no derivative rule",
    "has no derivative",
    "has no rule",
    "would lose its derivative",
    "without losing its derivative",
    "is no number, and loses the derivative",
    "never written into",
    "cannot be written into",
    "arbitrary basis",
    "takes no weights",
    "np.unique of a traced array along an axis",
    "np.matmul of a traced array takes no",
    "changes its memory, which rmad does not follow",
)

# call, as a regular expression: why it differs
EXCEPTIONS = {
    r"dtype=object": "objects that are computed with are traced numbers, and come back as one array of doubles",
    r"np\.einsum": "pairs of operands are contracted by BLAS, which sums in another order",
    r"np\.tensordot\(C, C, (0|-1)\)": "elementwise, where NumPy calls BLAS, which fuses complex products",
    r"sp\.expit": "rmad's own loop, which takes a fraction of the time",
    r"np\.(arctan2|atan2|power|pow)\.reduce": "NumPy's own is wrong on CPUs with AVX-512, and compared in cases",
    r"np\.empty|'empty'": "what NumPy returns was never written",
    r"fft\.\w+\((E|EV)\b": "NumPy transforms memory that was never written",
    r"np\.linalg\.cond\(S \* 0": "the condition of a singular matrix, inf, has no derivative",
    r"nan(quantile|percentile)\(T, \[\[0\.1": "NumPy moves the axes of q to another place than np.quantile does",
    r"'a' %": "text",
    r"^\w\.sort\(\)": "writes into the array and returns nothing",
    r"trim_zeros\(\[": "NumPy returns a list of a list",
    r"\.(tobytes|view|flat|item|__\w+__|choose)\b": "the memory of a traced array is not accessible",
    r"\.(fill|sort)\(": "it returns nothing; what it writes is compared in test_written.py",
    r"\.(dtype|shape|size|ndim|nbytes|itemsize)$": "no array",
    r"X\[0, 0\]\.(\w+)\(": "a traced number has the methods of an array",
}

if np.lib.NumpyVersion(np.__version__) < "2.3.0":
    EXCEPTIONS[r"\*\* np\.array\(0\.5\)"] = "older versions take the square root of an array"
    EXCEPTIONS[r"\*\* np\.float64\(2\)"] = "older versions square an array without a look at the dtype of the exponent"

# The same for lists: where NumPy itself treats a list in another way than an array.
OF_LISTS = {
    r"nan(max|min)\(.*(where|initial|True|M)": "of a list, NumPy returns NaN where the mask leaves nothing",
    r"split\(": "of a list, NumPy splits the rows, or finds no shape",
    r"copy=False": "NumPy cannot but copy a list",
    r"np\.take\(\w+, X": "a list of floats is no list of indices",
    r"^[A-Z]+[0-9]*\.\w+\(": "methods of lists",
}


def unexplained(rows: list[str], form: Callable[[Any], Any] = as_it_is) -> list[str]:
    exceptions = EXCEPTIONS | (OF_LISTS if form is as_lists else {})
    return [
        f"{call}, traced: {', '.join(traced)}: {found}"
        for call, traced, found in differences(rows, form)
        if not any(reason in found for reason in REFUSALS) and not any(re.search(r, call) for r in exceptions)
    ]


@pytest.mark.parametrize("group", TABLE)
def test_a_share_of_the_table(group):
    found = unexplained(TABLE[group][len(group) % SHARE :: SHARE])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("group", TABLE)
def test_a_share_of_the_table_on_lists(group):
    found = unexplained(TABLE[group][len(group) % (8 * SHARE) :: 8 * SHARE], as_lists)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("group", TABLE)
def test_lists_have_the_derivatives_of_arrays(group):
    calls = [call for call in TABLE[group] if call.startswith("np.") and not re.search(r"\b(E|EV)\b|empty", call)]
    for call in calls[len(group) % SHARE :: 4 * SHARE]:
        for traced in traced_together(call):
            (array, _), (listed, error) = derivative(call, traced, as_it_is), derivative(call, traced, as_lists)
            if error is None and array is not None:
                for a, b in zip(rmad.ravel(array)[0], rmad.ravel(listed)[0], strict=True):
                    np.testing.assert_allclose(b, a, rtol=1e-4, err_msg=call)


@pytest.mark.slow
@pytest.mark.parametrize("group", TABLE)
def test_the_whole_table(group):
    found = unexplained(TABLE[group])
    assert not found, f"{len(found)} calls differ\n" + "\n".join(found[:100])


def test_every_function_with_a_rule_is_in_the_table():
    text = "\n".join(call for rows in TABLE.values() for call in rows)
    names = {name_in_table(f) for f in HANDLERS if f not in WRITERS} - {None}  # these return None: test_written.py
    assert not {name for name in names if not re.search(rf"{re.escape(name)}\b", text)}


def name_in_table(f):
    """np.add, np.add.reduce, np.linalg.norm, sp.erf; None for functions of rmad."""
    if isinstance(f, tuple):
        return f"np.{f[0].__name__}.{f[1]}"
    homes = {"np": np, "sp": scipy.special, "np.linalg": np.linalg, "np.fft": np.fft}
    name = getattr(f, "__name__", "")
    return next((f"{home}.{name}" for home, module in homes.items() if getattr(module, name, None) is f), None)


WRONG = {
    "one bit": ("np.cos(X)", np.cos, lambda x: np.sin(x) + np.sin(x) * 2e-16),
    "dtype": ("np.cos(X)", np.cos, lambda x: np.cos(stop(x)).astype(np.float32)),
    "kind": ("np.positive(O)", np.positive, lambda x: x),
    "shape": ("np.cos(X)", np.cos, lambda x: np.cos(stop(x))[None]),
    "sign of zero": ("np.real(A)", np.real, lambda x: stop(x) + 0.0),
    "fails": ("np.cos(X)", np.cos, lambda x: 1 / 0),
    "hides an error": ("np.linalg.inv(X)", np.linalg.inv, lambda a: stop(a)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_the_comparison_sees_every_kind_of_difference(monkeypatch, kind):
    call, f, handler = WRONG[kind]
    assert difference(call, traced_together(call)[0]) is None
    monkeypatch.setitem(HANDLERS, f, handler)
    assert difference(call, traced_together(call)[0]) is not None
