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


@pytest.fixture
def refused(run: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line with which the command line refuses these arguments."""

    def refused(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return refused
