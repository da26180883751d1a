"""python -m rmad: what it prints, and that a fault of the installation is found and named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import rmad
from rmad import self_check


def test_the_command() -> None:
    """All checks pass here, or name a package that is not installed; in less than a minute."""
    done = subprocess.run([sys.executable, "-m", "rmad"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("rmad ")
    assert any(line.startswith("BLAS kernel") for line in lines)
    for name in self_check.CHECKS:
        (line,) = [line for line in lines if line.startswith(name)]
        assert line[len(name) :].split()[0] in ("ok", "absent")
    assert lines[-1] == "rmad works"


def test_a_wrong_derivative_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(x: Any) -> Any:  # its derivative lacks a part in a thousand
        return np.tanh(x) + 0.001 * rmad.stop_gradient(x)

    monkeypatch.setattr(self_check, "show_config", lambda: None)
    monkeypatch.setattr(self_check, "CHECKS", {"tanh": lambda: rmad.check_grads(wrong, np.array(0.3)) or ""})
    assert self_check.main() == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("tanh               FAILS")
    assert out[-1] == "1 of 1 checks fail"


@pytest.mark.parametrize("name", ["a network", "curvature", "solvers"])
def test_checks_compare(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each finds a product that is off by a part in a thousand."""
    honest = self_check._close
    monkeypatch.setattr(self_check, "_close", lambda a, b, tolerance: honest(np.asarray(a) * 1.001, b, tolerance))
    outcome, words = self_check.run(self_check.CHECKS[name])
    assert outcome == "FAILS"
    assert words.startswith("off by 1.0e-03 of ")


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("numba (fast)", "numba", "fast"), ("CuPy (gpu)", "cupy", "gpu"), ("MPI (mpi)", "mpi4py", "mpi")],
)
def test_a_package_that_is_absent(monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str) -> None:
    real = self_check.importlib.util.find_spec
    monkeypatch.setattr(self_check.importlib.util, "find_spec", lambda n: None if n == package else real(n))
    outcome, words = self_check.run(self_check.CHECKS[name])
    assert outcome == "absent"
    assert f"pip install 'rmad[{extra}]'" in words


def test_an_mpi_that_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check.importlib.util, "find_spec", lambda name: name)

    class Done:
        returncode, stdout, stderr = 15, "", "Fatal error in MPI_Init\nabort: no launcher\n"

    monkeypatch.setattr(self_check.subprocess, "run", lambda *args, **options: Done)
    assert self_check.run(self_check.mpi) == ("FAILS", "abort: no launcher")


def test_other_errors_have_their_kind() -> None:
    def check() -> Any:
        raise OSError("no library")

    assert self_check.run(check) == ("FAILS", "OSError: no library")
