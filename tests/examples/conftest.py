"""The script that a module of tests is about, as a module and as a command."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def script(example: Callable[[str], Any], request: pytest.FixtureRequest) -> Any:
    """SCRIPT of the tests as a module, in an empty folder, with a cache of its own."""
    return example(request.module.SCRIPT.stem)


@pytest.fixture
def run(script: Any, command_line: Callable[[Any], Callable[..., int]]) -> Callable[..., int]:
    """The command line, in this process: returns the exit code."""
    return command_line(script)
