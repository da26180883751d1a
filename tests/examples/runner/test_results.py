"""The results of a run: the best model, records, figures, a table."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import nn
import optim

TINY = ["--n-train", "60", "--n-test", "20", "--out", "out"]
ADAM = [*TINY, "--optimizer", "adam", "--batch", "20"]


def test_early_stopping_keeps_the_best_model(
    run: Any, autoencoder: Any, capsys: pytest.CaptureFixture[str], arrays: Any, same: Any, records: Any
) -> None:
    arguments = [*ADAM, "--lr", "3e-2", "--validation", "10", "--log-every", "2", "--patience", "3"]
    assert run(*arguments, "--updates", "2000") == 0
    out = capsys.readouterr().out
    assert "no better validation error in 3 records" in out
    found = records()
    best = min(found, key=lambda r: r["validation_error"])
    assert found.index(best) == len(found) - 4
    summary = json.loads(pathlib.Path("out/summary.json").read_text())
    assert summary["best_update"] == best["update"]
    assert f"best, update {best['update']}" in out
    model = nn.models.autoencoder((784, 8, 3), rng=np.random.default_rng(0))
    nn.load(model, "out/best.safetensors")
    held_out = nn.data.curves(60, 20).x_train[-10:]
    assert autoencoder.error(model, held_out, autoencoder.PROBLEMS["curves"]) == pytest.approx(best["validation_error"])
    assert not same(arrays("best.safetensors"), arrays())


def test_early_stopping_goes_on(run: Any, arrays: Any, same: Any) -> None:
    arguments = [*ADAM, "--lr", "3e-2", "--validation", "10", "--log-every", "2"]
    assert run(*arguments[:5], "whole", *arguments[6:], "--patience", "3", "--updates", "2000") == 0
    best = json.loads(pathlib.Path("whole/summary.json").read_text())["best_update"]
    for updates in (3, best + 3, 2000):
        assert run(*arguments, "--updates", str(updates), "--patience", "3", "--resume") == 0
    assert same(arrays("best.safetensors"), arrays("best.safetensors", "whole"))
    assert same(arrays(), arrays(folder="whole"))


def test_patience_needs_a_validation_set(refused: Any) -> None:
    assert "--patience looks at a validation set: give --validation" in refused(*ADAM, "--patience", "3")
    assert "--validation 60 leaves none of the 60 images" in refused(*ADAM, "--validation", "60")


def test_records_have_all_of_the_step(run: Any, records: Any) -> None:
    assert (
        run(
            *TINY,
            "--batch",
            "40",
            "--curvature-batch",
            "20",
            "--cg-iterations",
            "4",
            "--updates",
            "2",
            "--log-every",
            "1",
        )
        == 0
    )
    assert set(optim.StepInfo.__dataclass_fields__) <= records()[-1].keys()
    assert records()[-1]["products"] > 0
    assert records()[-1]["gradient_norm"] > 0


def test_a_figure_on_demand(
    run: Any, refused: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import runner.report

    assert run(*ADAM, "--updates", "3", "--log-every", "1") == 0
    monkeypatch.setattr("runner.command.draw_training", runner.report.draw_training)
    figure = pathlib.Path("out/training.png")
    capsys.readouterr()
    assert run("--draw", "--out", "out") == 0
    assert capsys.readouterr().out == "out/training.png\n"
    assert figure.stat().st_size > 1000
    assert "there is no run in nowhere to draw" in refused("--draw", "--out", "nowhere")


def test_a_table_at_the_end(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ADAM, "--updates", "3") == 0
    error, loss, _, *lines = capsys.readouterr().out.splitlines()
    assert error.startswith("error: squared difference")
    assert loss.startswith("loss: the objective")
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["", "start", "end", "end, all cases"]
    assert [line.split("|")[1].strip() for line in lines[2:6]] == [
        "train error",
        "test error",
        "mean image error",
        "loss",
    ]


@pytest.mark.parametrize("half", ['{"seconds": 1.0, "upd', '{"seconds": 1.0, "update": 3}', "\0\0\0"])
def test_a_last_line_that_is_not_whole(
    run: Any, monkeypatch: pytest.MonkeyPatch, records: Any, arrays: Any, same: Any, half: str
) -> None:
    """A record under way, or what a full disk or a power cut left of one."""
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "4", "--log-every", "1") == 0
    assert run(*ADAM, "--updates", "2", "--log-every", "1") == 0
    with open("out/metrics.jsonl", "a") as file:
        file.write(half)
    drawn: list[Any] = []
    monkeypatch.setattr("runner.command.draw_training", lambda records, *rest: drawn.extend(records))
    assert run("--draw", "--out", "out") == 0
    assert [record["update"] for record in drawn] == [0, 1, 2]
    assert run(*ADAM, "--updates", "4", "--log-every", "1", "--resume") == 0
    assert [record["update"] for record in records()] == [0, 1, 2, 3, 4]
    assert same(arrays(), arrays(folder="whole"))


def test_a_damaged_record_is_named(run: Any, refused: Any) -> None:
    assert run(*ADAM, "--updates", "1") == 0
    path = pathlib.Path("out/metrics.jsonl")
    path.write_text('{"seconds"\n' + path.read_text())
    assert "autoencoder.py: out/metrics.jsonl, line 1: " in refused("--draw", "--out", "out")


def test_records_are_json_that_every_program_reads(autoencoder: Any) -> None:
    import runner.report

    from optim.training.history import summary

    infos = [optim.StepInfo(1.0, reduction_ratio=ratio) for ratio in (-np.inf, 0.5, -np.inf)]
    record = summary(infos, 1.0)
    assert record["reduction_ratio"] == -np.inf
    assert record["rises"] == 2
    text = runner.report.as_json(record | {"loss": np.inf, "train_error": float("nan")})
    assert "Infinity" not in text
    assert "NaN" not in text
    again = runner.report.from_json(text)
    assert all(np.isnan(again[name]) for name in ("reduction_ratio", "loss", "train_error"))
    assert again["rises"] == 2
