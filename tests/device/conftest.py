"""What the tests on CuPy arrays share. They need a GPU, or the stand-in: see README.md."""

import sys

import pytest


@pytest.fixture(scope="session")
def stand_in():
    """The package cupy_on_host, which counts; a real GPU does not."""
    if "cupy_on_host" not in sys.modules:
        pytest.skip("counts launches and copies: needs -p cupy_on_host")
    return sys.modules["cupy_on_host"]


@pytest.fixture
def nothing_leaves_the_device(stand_in):
    """A context manager: an error that names the lines, if anything in its block is copied to the host."""
    return stand_in.no_copies_to_host
