"""The examples on a GPU: a few updates, and a run that goes on as if it had not been cut."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nn

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

TINY = ["--n-train", "60", "--n-test", "20", "--device", "gpu"]
HF = ["--optimizer", "hf", "--batch", "30", "--curvature-batch", "15", "--cg-iterations", "3"]


@pytest.fixture
def autoencoder(example, command_line):
    return command_line(example("autoencoder"))


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def numbers(folder):
    """The records without their times."""
    return [{k: v for k, v in r.items() if "second" not in k} for r in records(folder)]


def test_hessian_free_goes_on_bit_for_bit(autoencoder, tmp_path):
    assert autoencoder(*TINY, *HF, "--updates", "3", "--out", "whole") == 0
    assert autoencoder(*TINY, *HF, "--updates", "1", "--out", "cut") == 0
    assert autoencoder(*TINY, *HF, "--updates", "3", "--out", "cut", "--resume") == 0
    models = [nn.models.autoencoder(nn.models.CURVES, rng=np.random.default_rng(9)) for _ in range(2)]
    for model, folder in zip(models, ("whole", "cut"), strict=True):
        nn.load(model, tmp_path / folder / "model.safetensors")
    for (name, a), (_, b) in zip(*(model.named_parameters() for model in models), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    found = records(tmp_path / "whole")
    assert found[-1]["train_error"] < found[0]["train_error"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_first_order_updates(autoencoder, optimizer):
    assert autoencoder(*TINY, "--optimizer", optimizer, "--batch", "30", "--updates", "3", "--out", "out") == 0


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["original", "held-out", "momentum"])
def test_recipes(autoencoder, preset):
    assert autoencoder(*TINY, "--preset", preset, "--updates", "2", "--out", "out") == 0


# -- commands with several runs: the same records as on the CPU, and an interrupted command goes on -------------------

SMALL = {
    "pathological": (
        ["--T", "20", "--batch", "40", "--curvature-batch", "20", "--cg-iterations", "4", "--quiet"],
        ["--updates", "3"],
        ["--updates", "1"],
    ),
    "kronecker": (
        ["--data", "tiny", "--methods", "kfac,kfra,adam:1e-3", "--hidden", "12,6", "--judged", "50", "--every", "1"],
        ["--updates", "3"],
        ["--updates", "1"],
    ),
    "sgn_regression": (
        ["--problem", "sine", "--methods", "sgn:3,sgd:0.1", "--seeds", "1"],
        ["--epochs", "2"],
        ["--epochs", "1"],
    ),
    "sgn_classification": (
        ["--data", "tiny", "--methods", "sgn:3,sgd:0.1", "--seeds", "1"],
        ["--epochs", "2"],
        ["--epochs", "1"],
    ),
    "curveball": (
        ["--net", "tiny", "--methods", "curveball-lambda,curveball,adam:1e-3", "--batch", "30"],
        ["--epochs", "2"],
        ["--epochs", "1"],
    ),
}
FAST = {"pathological"}
EQUAL = {"rel": 1e-3, "abs": 1e-5}  # float32, and every update feeds the rounding of the last into the next


def images(n, *shape, rng=None):
    return (rng or np.random.default_rng(0)).random((n, *shape), dtype=np.float32)


def dataset(*shape):
    rng = np.random.default_rng(1)
    return nn.data.Dataset(
        images(90, *shape, rng=rng), np.arange(90) % 10, images(30, *shape, rng=rng), np.arange(30) % 10
    )


@pytest.fixture
def small(example, monkeypatch):
    """small(name): the example, with tiny data that need no files."""

    def of(name):
        script = example(name)
        if name == "kronecker":
            tiny = dataset(20)
            monkeypatch.setitem(script.SETS, "tiny", (lambda: tiny, (20, 12, 6), nn.SigmoidCrossEntropy))
        elif name == "sgn_classification":
            lenet = script.PROBLEMS["fashion"]._replace(load=lambda *given: dataset(28, 28, 1))
            monkeypatch.setitem(script.PROBLEMS, "tiny", lenet)
        elif name == "curveball":
            mnist = script.PROBLEMS["mnist"]
            monkeypatch.setitem(script.PROBLEMS, "tiny", mnist._replace(load=lambda *given: dataset(784)))
        elif name == "sgn_regression":
            monkeypatch.setattr(script, "load", lambda name, folder: nn.data.sine(120, 40))
        return script

    return of


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in SMALL])
def test_a_command(small, command_line, tmp_path, name):
    run = command_line(small(name))
    given, whole, part = SMALL[name]
    gpu = [*given, "--device", "gpu"]
    assert run(*given, *whole, "--out", "cpu") == 0
    assert run(*gpu, *whole, "--out", "gpu") == 0
    assert run(*gpu, *part, "--out", "cut") == 0
    assert run(*gpu, *whole, "--out", "cut", "--resume") == 0
    folders = {
        kind: sorted(p.parent for p in tmp_path.glob(f"{kind}*/**/metrics.jsonl")) for kind in ("cpu", "gpu", "cut")
    }
    assert len({len(found) for found in folders.values()} - {0}) == 1
    for cpu, there, cut in zip(*folders.values(), strict=True):
        assert numbers(there) == numbers(cut)
        first, last = (([r[i] for r in (records(cpu), records(there))]) for i in (0, -1))
        for ours, theirs in (first, last):
            for key in {"test_error", "objective", "loss", "test", "error"} & ours.keys():
                assert theirs[key] == pytest.approx(ours[key], **EQUAL), (cpu.name, key)


@pytest.mark.parametrize("optimizer", ["hf", "adam"])
def test_characters(example, command_line, monkeypatch, tmp_path, optimizer):
    script = example("characters")
    monkeypatch.setattr(script, "load", lambda config: nn.data.Text("abcdefg\n" * 200))
    tiny = ["--length", "8", "--features", "8", "--heads", "2", "--blocks", "1", "--sample", "5", "--batch", "8"]
    more = ["--curvature-batch", "4", "--cg-iterations", "3"] if optimizer == "hf" else []
    given = [*tiny, *more, "--optimizer", optimizer, "--device", "gpu", "--log-every", "1"]
    run = command_line(script)
    assert run(*given, "--updates", "3", "--out", "whole") == 0
    assert run(*given, "--updates", "1", "--out", "cut") == 0
    assert run(*given, "--updates", "3", "--out", "cut", "--resume") == 0
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "cut")
    assert len((tmp_path / "whole" / "sample.txt").read_text()) == 5 + 1
