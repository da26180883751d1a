"""examples/pathological.py as a person runs it, on tiny tasks."""

import importlib
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
TINY = ("--batch", "60", "--curvature-batch", "20", "--cg-iterations", "3", "--quiet")


@pytest.fixture
def script(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("pathological")


@pytest.fixture
def run(script: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line, in this process, without the figure, which takes two seconds: returns the exit code."""
    monkeypatch.setattr(script, "draw_figure", lambda runs, path: None)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["pathological.py", *arguments])
        return int(script.main())

    return run


def test_nothing_to_draw(run: Callable[..., int], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out" / "addition-30-0.03-0").mkdir(parents=True)
    (tmp_path / "out" / "addition-30-0.03-0" / "metrics.jsonl").touch()  # as a run begins
    for folder in ("none", "out"):
        with pytest.raises(SystemExit):
            run("--draw", "--out", folder)
        assert f"{folder} has no records" in capsys.readouterr().err


def records(name: str) -> list[dict[str, Any]]:
    path = pathlib.Path("runs/pathological") / name / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_help(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0
    assert "Source: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "task",
    ["addition", "multiplication", "xor", "temporal_order", "temporal_order_3", "random_permutation", "memorisation_5"],
)
def test_every_task_trains(run: Callable[..., int], task: str) -> None:
    assert run("--task", task, "--T", "20", "--updates", "2", *TINY) == 0
    found = records(f"{task}-20-0.03-0")
    assert [record["update"] for record in found] == [0, 1, 2]
    assert all(0 <= record["test_error"] <= 1 for record in found)
    assert all(np.isfinite(record["loss"]) and record["products"] > 0 for record in found[1:])


def test_damping_is_in_the_units_of_the_loss(run: Callable[..., int]) -> None:
    """Damping is scaled by the outputs, and by the steps whose losses are summed."""
    found = {}
    for task in ("temporal_order", "memorisation_5"):
        run("--task", task, "--T", "20", "--updates", "1", *TINY)
        found[task] = records(f"{task}-20-0.03-0")[1]["damping"]
    assert found == pytest.approx({"temporal_order": 0.01 * 4, "memorisation_5": 0.01 * 3 * 30})


def test_ends_when_the_task_is_solved(script: Any, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--batch", "1000", "--curvature-batch", "200", "--quiet")
    assert run("--task", "temporal_order", "--T", "10", "--updates", "60", *sizes) == 0
    found = records("temporal_order-10-0.03-0")
    assert found[-1]["test_error"] < script.SOLVED <= found[-2]["test_error"]
    assert len(found) < 60
    assert "seed 0: solved" in capsys.readouterr().out


def test_a_run_goes_on_as_if_it_had_not_been_cut(run: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optim.tuning.WORK_PER_SHARD", 1)  # in parts, on threads
    options = ("--task", "addition", "--T", "20", *TINY)
    assert run(*options, "--updates", "4") == 0
    whole = records("addition-20-0.03-0")
    assert run(*options, "--updates", "2", "--out", "cut") == 0
    assert run(*options, "--updates", "4", "--out", "cut", "--resume") == 0
    path = pathlib.Path("cut/addition-20-0.03-0/metrics.jsonl")
    resumed = [json.loads(line) for line in path.read_text().splitlines()]
    for name in ("loss", "test_error", "damping", "reduction_ratio"):
        np.testing.assert_array_equal(*([record[name] for record in found[1:]] for found in (whole, resumed)))
    seconds = [record["cpu_seconds"] for record in resumed]
    assert seconds == sorted(seconds)  # the clock goes on too


def test_seeds_with_and_without(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--task", "addition,xor", "--T", "20", "--seeds", "2", "--mu", "0.03,0", "--updates", "1", *TINY) == 0
    rows = [line.split("|")[1:5] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [" ".join(cell.strip() for cell in row) for row in rows[1:]] == [
        "addition 20 0 0 of 2",
        "addition 20 0.03 0 of 2",
        "xor 20 0 0 of 2",
        "xor 20 0.03 0 of 2",
    ]


def test_figure(script: Any, tmp_path: pathlib.Path) -> None:
    falling = [{"cpu_seconds": 2.0 * k, "update": k, "test_error": 10.0**-k} for k in range(5)]
    tasks = ("addition-30-0.03-0", "addition-30-0-0", "xor-30-0.03-1", "addition-100-0.03-0", "temporal_order-30-0-0")
    script.draw_figure(dict.fromkeys(tasks, falling), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_cpu_seconds_end_a_run(run: Callable[..., int]) -> None:
    assert run("--task", "addition", "--T", "20", "--cpu-seconds", "1e-9", *TINY) == 0
    assert len(records("addition-20-0.03-0")) <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "sorting"), "--task sorting: expected one of addition"),
        (("--task", "addition", "--T", "12"), "T must be ≥ 20, got 12"),
    ],
)
def test_refusals(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_records_without_the_test_error(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    metrics = pathlib.Path("out/addition-30-0.03-0/metrics.jsonl")
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"update": 0, "seconds": 0.0, "cpu_seconds": 0.0}\n')
    for arguments in (["--draw"], ["--resume", "--task", "addition", *TINY]):
        with pytest.raises(SystemExit) as ended:
            run(*arguments, "--out", "out")
        assert ended.value.code == 1
        assert f"{metrics}, line 1: test_error is missing\n" in capsys.readouterr().err
