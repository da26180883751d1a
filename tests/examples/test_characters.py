"""examples/characters.py as a person runs it: a tiny model on the real text, and on a text made up."""

import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

import nn

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "examples" / "characters.py"
TINY = ["--length", "16", "--features", "8", "--heads", "2", "--blocks", "1", "--sample", "20", "--batch", "8"]
RUN = {"config.json", "metrics.jsonl", "checkpoint.safetensors", "checkpoint.previous.safetensors"}
RESULTS = RUN | {"best.safetensors", "model.safetensors", "sample.txt", "summary.json", "training.png"}


@pytest.mark.parametrize("optimizer", ["hf", "adam"])
def test_a_run_leaves_metrics_model_picture_and_text(
    run: Any, tmp_path: pathlib.Path, data_dir: pathlib.Path, capsys: pytest.CaptureFixture[str], optimizer: str
) -> None:
    if not (data_dir / "tinyshakespeare").is_dir():
        pytest.skip(f"no tinyshakespeare in {data_dir}")
    extra = ["--curvature-batch", "4", "--cg-iterations", "4"] if optimizer == "hf" else []
    more = ["--updates", "3", "--log-interval", "1e-6", "--optimizer", optimizer, *extra]
    assert run("--data-dir", str(data_dir), *TINY, *more) == 0
    folder = tmp_path / "runs" / f"characters-{optimizer}"
    assert {path.name for path in folder.iterdir()} == RESULTS
    assert "all updates are done: 3 updates" in capsys.readouterr().out
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["update"] for record in records] == [0, 1, 2, 3]
    # tokens are as good as equally likely at first
    assert records[0]["validation_bits"] == pytest.approx(math.log2(65), abs=0.1)
    assert records[-1]["train_bits"] < records[0]["train_bits"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["validation_bits"] == pytest.approx(records[-1]["validation_bits"], rel=0.05)  # 64 pieces, and all
    assert len((folder / "sample.txt").read_text()) == 20 + 1


@pytest.fixture
def alphabet() -> Any:
    """A text in which every character follows from the one before it."""
    return nn.data.Text("abcdefgh" * 200)


@pytest.mark.parametrize(
    ("optimizer", "hyper", "updates"),
    [("adam", {"batch": 16, "lr": 1e-2}, 60), ("hf", {"batch": 16, "curvature_batch": 16, "cg_iterations": 15}, 12)],
)
def test_it_learns_the_alphabet(
    script: Any, alphabet: Any, optimizer: str, hyper: dict[str, Any], updates: int
) -> None:
    config = script.Config(
        optimizer=optimizer, hyper=hyper, updates=updates, length=8, features=8, heads=2, blocks=1, sample=24
    )
    run = script.train(config, script.build(config, alphabet), alphabet)
    assert run.records[0]["validation_bits"] == pytest.approx(3, abs=0.1)
    assert run.records[-1]["validation_bits"] < 0.5


def test_the_text_it_writes_is_of_its_probabilities(script: Any, alphabet: Any) -> None:
    """A model that is sure of the next character writes that character."""
    config = script.Config(length=4, sample=20)

    class Sure(nn.Module):
        def forward(self, x: Any) -> Any:
            assert x.shape[1] <= config.length
            return 1e3 * np.eye(8)[(x + 1) % 8]

    text = nn.data.Text("\nbcdefgh" * 2)
    assert script.write(Sure(), text, config, np.random.default_rng(0)) == "bcdefgh\nbcdefgh\nbcde"


def test_bits_are_a_mean_over_characters(script: Any) -> None:
    x = np.zeros((70, 5), int)
    assert script.bits(lambda x: np.zeros((*x.shape, 8)), x, x) == pytest.approx(3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data-dir", "nowhere"], "nowhere"),
        (["--heads", "0"], "0 is not a finite"),
        (["--optimizer", "adam", "--damping", "1"], "--damping means nothing to --optimizer adam"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_give_one_clear_line(refused: Any, arguments: list[str], told: str) -> None:
    err = refused(*arguments)
    assert err.startswith("characters.py: ")
    assert told in err
