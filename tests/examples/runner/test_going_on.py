"""Runs of examples/autoencoder.py that go on are the runs that were not cut, bit for bit."""

import importlib
import json
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "examples" / "autoencoder.py"
TINY = ["--n-train", "60", "--n-test", "20", "--out", "out"]
ADAM = [*TINY, "--optimizer", "adam", "--batch", "20"]
QUICK = {  # short forms of the slow ones
    "hf": ["--batch", "40", "--curvature-batch", "20", "--cg-iterations", "4"],
    "lm": ["--batch", "20", "--cg-iterations", "4"],
    "nesterov": ["--batch", "20"],
}


def methods() -> list[str]:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        return list(importlib.import_module("autoencoder").METHODS)
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.mark.parametrize("optimizer", methods())
def test_a_run_that_goes_on_is_the_run_that_was_not_cut(
    run: Any, optimizer: str, arrays: Any, same: Any, records: Any
) -> None:
    arguments = [*TINY[:-1], "whole", "--optimizer", optimizer, *QUICK.get(optimizer, ["--batch", "20"])]
    assert run(*arguments, "--updates", "5", "--log-every", "1") == 0
    arguments[5] = "out"
    assert run(*arguments, "--updates", "2", "--log-every", "1") == 0
    assert run("--resume", "--out", "out", "--updates", "4") == 0  # the rest is in the folder
    assert run(*arguments, "--resume", "--updates", "5") == 0
    assert same(arrays(), arrays(folder="whole"))
    timed = {"seconds", "products_per_second", "updates_per_second"}
    for a, b in zip(records(), records("whole"), strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}


@pytest.mark.parametrize("preset", ["original", "held-out", "momentum"])
def test_presets_go_on(
    run: Any, refused: Any, preset: str, interrupted: Any, monkeypatch: pytest.MonkeyPatch, arrays: Any, same: Any
) -> None:
    arguments = ["--preset", preset, *TINY[:-2], "--cg-iterations", "4", "--updates", "6"]
    assert run(*arguments, "--out", "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr("optim.training.limits.Limits.over", lambda self, history: "cut" * (history.update == 3))
        assert run(*arguments, "--out", "out") == 0
    told = refused("--out", "out", "--resume", "--updates", "9")  # its schedules are of 6 updates
    assert "--updates 9 does not go with --resume: the run began with 6" in told
    assert run(*arguments, "--out", "out", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))
    assert run(*arguments, "--draw", "--out", "out") == 0


def test_the_batches_of_a_preset(autoencoder: Any) -> None:
    x = np.zeros((200, 784), np.float32)
    sizes = {}
    for preset in ("original", "held-out", "momentum"):
        config = autoencoder.Config(preset=preset, updates=100)
        opt = autoencoder.build(config)
        recipe = autoencoder.Recipe(config, opt, x, np.random.default_rng(0))
        for opt.k in (0, 59, 90):
            sizes[preset, opt.k] = {k: len(v[0]) if "_" in k else len(v) for k, v in next(recipe).items() if k != "t"}
    original = {"x": 200, "curvature_batch": 10}
    held_out = {**original, "backtracking_batch": 10}
    assert [sizes["original", k] for k in (0, 59, 90)] == [original] * 3
    assert [sizes["held-out", k] for k in (0, 59, 90)] == [held_out] * 3
    assert [sizes["momentum", k] for k in (0, 59, 90)] == [{"x": 10}, {"x": 10}, original]


def test_resume_of_nothing_begins(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ADAM, "--updates", "2", "--resume") == 0
    assert "out has no checkpoint: the run begins" in capsys.readouterr().err


def test_a_run_that_is_beyond_its_end_makes_no_update(run: Any, records: Any) -> None:
    """It goes on with fewer updates than it has made."""
    assert run(*ADAM, "--updates", "3") == 0
    assert run("--resume", "--out", "out", "--updates", "2", "--time-budget", "2") == 0
    assert records()[-1]["update"] == 3


def test_only_budgets_may_change(run: Any, refused: Any) -> None:
    assert run(*ADAM, "--updates", "2") == 0
    for given in (["--lr", "0.1"], ["--seed", "3"], ["--optimizer", "sgd"], ["--n-train", "50"], ["--batch", "10"]):
        told = refused("--out", "out", "--resume", *given)
        assert f"{given[0]} {given[1]} does not go with --resume: the run began with " in told
    more = ["--updates", "3", "--time-budget", "50", "--log-interval", "2", "--checkpoint-every", "9"]
    assert run("--out", "out", "--resume", "--lr", "1e-3", *more) == 0
    assert json.loads(pathlib.Path("out/config.json").read_text())["time_budget"] == 50


def test_the_state_of_another_network_is_refused_in_one_line(
    run: Any, autoencoder: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*ADAM, "--updates", "2") == 0
    monkeypatch.setitem(autoencoder.PROBLEMS, "curves", autoencoder.Problem((784, 9, 3)))
    with pytest.raises(SystemExit):
        run(*ADAM, "--resume")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("autoencoder.py: out/checkpoint.safetensors does not fit: Sequential: '0.weight' has shape")


def test_characters_go_on(script: Any, monkeypatch: pytest.MonkeyPatch, arrays: Any, same: Any) -> None:
    """A transformer, and pieces of a text by a generator of their own."""
    import nn

    monkeypatch.setattr(nn.data, "tiny_shakespeare", lambda folder: nn.data.Text("abcdefg\n" * 40))
    monkeypatch.setattr("runner.command.draw_training", lambda *arguments: None)
    sizes = ["--length", "8", "--features", "4", "--heads", "2", "--blocks", "1", "--sample", "0", "--batch", "6"]
    arguments = [*sizes, "--cg-iterations", "3"]
    assert script("characters", *arguments, "--updates", "3", "--out", "whole") == 0
    for updates in ("1", "3"):
        assert script("characters", *arguments, "--updates", updates, "--out", "out", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))
    assert same(arrays("best.safetensors"), arrays("best.safetensors", "whole"))
