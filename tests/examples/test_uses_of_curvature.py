"""examples/uses_of_curvature.py on tiny data: its three figures, and what it prints."""

import importlib
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def script(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("uses_of_curvature")
    rng = np.random.default_rng(0)
    centres = rng.random((10, 16))

    def drawn(n: int) -> tuple[Any, Any]:
        t = np.arange(n) % 10
        return centres[t] + 0.3 * rng.standard_normal((n, 16)), t

    monkeypatch.setattr(module, "digits", lambda side: (*drawn(80), *drawn(40)))
    return module


def run(module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    given = ["--side", "4", "--hidden", "4", "--cases", "60", "--updates", "5", "--out", "p"]
    monkeypatch.setattr(sys, "argv", ["uses_of_curvature.py", *arguments, *given])
    assert module.main() == 0
    assert pathlib.Path("p", f"curvature-{arguments[0]}.png").stat().st_size > 1000
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_estimates(script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(script, monkeypatch, capsys, "estimates", "--seeds", "3", "--products", "12", "60")
    assert len(rows) == 2 * 9
    errors = {(name, method, int(k)): float(error) for name, method, k, error, _ in rows}
    assert errors["trace", "xtrace", 60] < errors["trace", "hutchinson", 60]
    assert errors["trace", "xtrace", 60] < errors["trace", "xtrace", 12]


def test_calibration(script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(script, monkeypatch, capsys, "calibration", "--tested", "40", "--held-out", "20")
    structures = [name for name in ("full", "kron", "diag", "last-layer") for _ in range(2)]
    assert [row[0] for row in rows] == ["network", *structures]
    assert [row[1].split(", ")[1] for row in rows[1:]] == ["evidence", "held out"] * 4
    assert all(0 <= float(row[4]) <= 1 for row in rows)


def test_the_calibration_error(script: Any) -> None:
    """A forecaster that says 0.8 and is right in 6 of 10 cases, and one that says 1 and always is."""
    p = np.full((10, 2), 0.2)
    p[:, 0] = 0.8
    t = np.array([0] * 6 + [1] * 4)
    assert script.reliability(p, t)[2] == pytest.approx(0.2)
    assert script.reliability(np.eye(2)[t], t)[2] == 0


def test_influence(script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(script, monkeypatch, capsys, "influence", "--queries", "2", "--tested", "40")
    assert len(rows) == 2
    assert all(len(row[3].split(",")) == len(row[4].split(",")) == 4 for row in rows)


def test_a_bad_argument_ends_with_a_line(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["uses_of_curvature.py", "influence", "--method", "lissa", "--side", "4"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
