"""The scripts that repeat published experiments, on tiny sizes: they run, and print the paper's table next to ours."""

import importlib
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def script(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """script(name, *arguments): the example's main in an empty folder; returns the module."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> Any:
        module = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        assert module.main() == 0
        return module

    return run


@pytest.mark.parametrize("name", ["rosenbrock", "curveball", "sgn_regression", "sgn_classification"])
def test_help(script: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        script(name, "--help")
    assert ended.value.code == 0
    assert "Source: " in capsys.readouterr().out


def test_rosenbrock(script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    script("rosenbrock", "--runs", "3", "--methods", "lm,bfgs,curveball", "--out", "figure.png")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["Levenberg-Marquardt", "BFGS", "CurveBall"]
    assert "not)" not in "".join(lines)  # every run got there
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize("column", ["deterministic", "noise1", "noise3"])
def test_curveball_needs_no_more_updates_than_published(script: Any, column: str) -> None:
    """Table 1, in its Rosenbrock columns: at most the published mean and one standard deviation, here over 20 runs."""
    rosenbrock = script("rosenbrock", "--runs", "1", "--methods", "lm", "--problems", "deterministic")
    runs = [rosenbrock.run("curveball", rosenbrock.PROBLEMS[column], {}, [0, k]).updates for k in range(20)]
    mean, deviation = map(
        float, rosenbrock.PUBLISHED["curveball"][list(rosenbrock.PROBLEMS).index(column)].split(" ± ")
    )
    assert np.mean(runs) <= mean + deviation


def test_tuning(script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    rosenbrock = importlib.import_module("rosenbrock")
    monkeypatch.setattr(rosenbrock, "MOST", 60)
    monkeypatch.setattr(rosenbrock, "TOLERANCE", 10.0)
    arguments = ["--tune", "--tuning-starts", "1", "--methods", "sgd", "--problems", "deterministic", "--runs", "1"]
    script("rosenbrock", *arguments)
    assert "deterministic, sgd: {'momentum': " in capsys.readouterr().out


def test_regression(script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    script("sgn_regression", "--problem", "sine", "--methods", "sgn:5,sgd:0.01", "--seeds", "2", "--epochs", "2")
    out = capsys.readouterr().out
    assert "sine, after 2 epochs" in out
    assert "| SGN(5) " in out
    assert "| SGD(0.01) " in out
    assert (tmp_path / "sgn-sine.png").stat().st_size > 1000


def test_boston(script: Any, data_dir: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SGN(10), 20 epochs: the published training loss is 0.0107."""
    folder = ["--data-dir", str(data_dir)]
    script("sgn_regression", "--problem", "boston", "--methods", "sgn:10", "--seeds", "1", *folder)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| SGN(10)"))
    assert float(row.split("|")[2].split()[0]) < 0.014


@pytest.mark.parametrize("data", ["mnist", "fashion"])
def test_classification(
    script: Any, tmp_path: pathlib.Path, data_dir: pathlib.Path, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    sizes = ["--n-train", "300", "--n-test", "100", "--seeds", "1", "--epochs", "2", "--data-dir", str(data_dir)]
    script("sgn_classification", "--data", data, "--methods", "sgn:2,sgd:0.1", *sizes)
    out = capsys.readouterr().out
    assert "| SGN(2) " in out
    assert (tmp_path / f"sgn-{data}.png").stat().st_size > 1000


@pytest.mark.parametrize("net", ["mnist", "basic-bn"])
def test_curveball(
    script: Any, tmp_path: pathlib.Path, data_dir: pathlib.Path, capsys: pytest.CaptureFixture[str], net: str
) -> None:
    """Baselines are tuned, or have a learning rate; the paper's table 2 is printed next to them."""
    sizes = ["--n-train", "16", "--n-test", "8", "--batch", "8", "--data-dir", str(data_dir)]
    sizes += ["--epochs", "2", "--tuning-epochs", "1"]
    script("curveball", "--net", net, "--methods", "curveball-lambda,curveball:3,sgd,adam:0.01", *sizes)
    out = capsys.readouterr().out
    assert "sgd: learning rate 0." in out
    rows = [line for line in out.splitlines() if line.startswith(("| curveball:3 ", "| adam:0.01 "))]
    assert len(rows) == 4  # in the table of the best errors, and in that of the epochs
    assert ("9.4 / 15.8" in out) == (net == "basic-bn")
    assert (tmp_path / f"curveball-{net}.png").stat().st_size > 1000


def test_curveball_runs_within_seconds_of_the_cpu(script: Any, data_dir: pathlib.Path) -> None:
    sizes = ["--n-train", "256", "--n-test", "20", "--data-dir", str(data_dir)]
    curveball = script("curveball", "--methods", "sgd:0.01", "--seconds", "1e-6", "--clock", "cpu", *sizes)
    assert curveball.PROBLEMS["basic"].damping == 10  # the paper's, without batch normalisation


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("rosenbrock", ["--methods", "magic"], "--methods: magic is none of sgd, adam"),
        ("rosenbrock", ["--runs", "0"], "0 is not a finite number above zero"),
        ("curveball", ["--methods", "magic"], "magic: expected one of curveball-lambda, curveball, sgd, adam"),
        ("curveball", ["--methods", "sgd:0"], "sgd:0: expected"),
        ("curveball", ["--methods", "sgd,adam:fast"], "adam:fast: expected"),
        ("curveball", ["--width", "8"], "--width means nothing to --net mnist"),
        ("sgn_regression", ["--methods", "lm:3"], "lm:3: expected sgn:STEPS or sgd:LR"),
        ("sgn_classification", ["--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_bad_arguments_give_one_clear_line(
    script: Any, capsys: pytest.CaptureFixture[str], name: str, arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        script(name, *arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert told in err
