"""Shared by the tests on CuPy arrays. They need a GPU, or the stand-in: see README.md."""

import contextlib
import sys

import pytest


@pytest.fixture(scope="session")
def stand_in():
    """The package cupy_on_host, which counts; a real GPU does not."""
    if "cupy_on_host" not in sys.modules:
        pytest.skip("counts launches and copies: needs -p cupy_on_host")
    return sys.modules["cupy_on_host"]


@pytest.fixture
def nothing_leaves_the_device():
    """nothing_leaves_the_device(at_most=0): a context; an error names the lines that copy to the host in it."""
    package = sys.modules.get("cupy_on_host")
    return package.no_copies_to_host if package else lambda at_most=0: contextlib.nullcontext()
