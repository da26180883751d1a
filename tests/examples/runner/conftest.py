"""examples/autoencoder.py with a small network, and others, in an empty folder; what they leave there."""

import importlib
import json
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import optim

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def autoencoder(example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module with a small network, in an empty folder."""
    module = example("autoencoder")
    monkeypatch.setitem(module.PROBLEMS, "curves", module.Problem((784, 8, 3)))
    monkeypatch.setattr(module, "draw_reconstructions", lambda *arguments: None)
    monkeypatch.setattr("runner.command.draw_training", lambda *arguments: None)  # test_autoencoder.py looks at them
    return module


@pytest.fixture
def run(autoencoder: Any, command_line: Callable[[Any], Callable[..., int]]) -> Callable[..., int]:
    """The command line, in this process: returns the exit code."""
    return command_line(autoencoder)


@pytest.fixture
def script(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """script(name, *arguments): the main of an example in an empty folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return importlib.import_module(name).main()

    return run


@pytest.fixture
def arrays() -> Callable[..., dict[str, Any]]:
    """arrays(name, folder): those of a model that was saved."""
    import safetensors.numpy

    def of(name: str = "model.safetensors", folder: str = "out") -> dict[str, Any]:
        return safetensors.numpy.load_file(pathlib.Path(folder) / name)

    return of


@pytest.fixture
def same() -> Callable[..., bool]:
    """True if two models are the same, bit for bit."""

    def whether(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)

    return whether


@pytest.fixture
def records() -> Callable[..., list[dict[str, Any]]]:
    """records(folder): all that a run has recorded."""

    def of(folder: str = "out") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]

    return of


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """interrupted(k): the process gets signals in the middle of update k."""

    def at(k: int, *numbers: signal.Signals) -> None:
        real, count = optim.Adam.step, 0

        def step(self: Any, *arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == k:
                for number in numbers:
                    os.kill(os.getpid(), number)
                    time.sleep(0.01)
            return real(self, *arguments, **keywords)

        monkeypatch.setattr(optim.Adam, "step", step)

    return at
