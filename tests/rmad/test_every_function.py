"""A sweep over the public functions of NumPy, in ten forms each; docs/numpy_functions.md says what it finds."""

from __future__ import annotations

import re

import numpy as np
import pytest
from every_function.arguments import LEFT_OUT, calls
from every_function.page import PAGE, functions, line, page, results

import rmad

SHARE = 12  # one function in so many is part of the default run

# What differs, by call, as a regular expression: why
EXPLAINED = {
    r"np\.empty": "what NumPy returns was never written",
    r"np\.einsum": "pairs of operands are contracted by BLAS, also with optimize=True",
    r"split\(.*lists": "of a list, NumPy finds no shape",
    r"np\.dot\(.*out=y": "np.dot returns a number in place of `out` without axes",
    r"isfortran.*gaps": "a small x is copied, without its gaps",
}
# Derivatives that differences do not show
TURNS = {
    r"linalg\.eigh?\(.*complex": "eigenvectors turn by a phase",
    r"unique_values\(.*complex": "NumPy sorts by hash values",
}
CLEAR = (
    r"derivative|written into|writes a traced|arbitrary basis|changes its memory|as other numbers|cannot hold|"
    "mode must be"
)


def defects(name):
    """Values that differ from NumPy's, derivatives that are wrong, and errors that say nothing."""
    for call, found in results(name, functions()[name]):
        text = str(call)
        if found.kind == "differs" and not any(re.search(r, text) for r in EXPLAINED):
            yield f"{text}: {found.words}"
        if found.kind == "last bits" and call.form != "gaps" and not re.match(r"np\.(einsum|empty)", text):
            yield f"{text}: {found.words}"
        if found.kind == "refused" and not re.search(CLEAR, found.words):
            yield f"{text}: {found.words}"
        checked = found.derivative in ("right", "zero", "none", "not checked")
        if not checked and not any(re.search(r, text) for r in TURNS | EXPLAINED):
            yield f"{text}: {found.derivative}"


@pytest.mark.parametrize("name", list(functions())[::SHARE])
def test_a_share_of_the_functions(name):
    assert not list(defects(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", functions())
def test_every_function(name):
    assert not list(defects(name))


@pytest.mark.parametrize("module", [np, np.linalg, np.fft])
def test_no_public_function_is_missing(module):
    prefix = {np: "np.", np.linalg: "np.linalg.", np.fft: "np.fft."}[module]
    public = {
        n
        for n in module.__all__
        if n[0] != "_" and callable(getattr(module, n)) and not isinstance(getattr(module, n), type)
    }
    left_out = set(" ".join(LEFT_OUT.values()).split()) if module is np else set()
    assert not {n for n in public - left_out if f"{prefix}{n}" not in calls()}


NEWEST = np.lib.NumpyVersion(np.__version__) >= "2.4.0"


@pytest.mark.skipif(not NEWEST, reason="the page is of the newest NumPy")
@pytest.mark.parametrize("name", list(functions())[5::SHARE])
def test_the_page_has_the_line_of_a_function(name):
    assert line(name, results(name, functions()[name])) in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
@pytest.mark.skipif(not NEWEST, reason="the page is of the newest NumPy")
def test_the_page_is_up_to_date():
    """`python -m every_function`, in tests/rmad, writes it."""
    version = re.compile(r"NumPy [0-9.]+\)")
    assert version.sub("", page()) == version.sub("", PAGE.read_text(encoding="utf-8"))


def test_the_sweep_sees_a_wrong_value_and_a_wrong_derivative(monkeypatch):
    from rmad.tracing.handlers import HANDLERS

    for wrong in (lambda x: np.cbrt(rmad.stop_gradient(x)), lambda x: x):
        monkeypatch.setitem(HANDLERS, np.cbrt, wrong)
        assert list(defects("np.cbrt"))
