"""examples/autoencoder.py as a person runs it: on tiny data."""

import functools
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "autoencoder.py"
TINY = ["--n-train", "200", "--n-test", "50", "--batch", "100"]
RUN = {"config.json", "metrics.jsonl", "checkpoint.safetensors", "checkpoint.previous.safetensors"}
RESULTS = RUN | {"model.safetensors", "reconstructions.png", "summary.json", "training.png"}


def records(folder: pathlib.Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def image(path: pathlib.Path) -> Any:
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize("optimizer", ["hf", "sgd", "nesterov", "adam"])
def test_a_run_leaves_metrics_model_and_pictures(
    run: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], optimizer: str
) -> None:
    extra = ["--curvature-batch", "50", "--cg-iterations", "8"] if optimizer == "hf" else []
    assert run(*TINY, "--updates", "4", "--log-interval", "1e-6", "--optimizer", optimizer, *extra) == 0
    assert "all updates are done: 4 updates" in capsys.readouterr().out
    folder = tmp_path / "runs" / f"curves-{optimizer}"
    assert {path.name for path in folder.iterdir()} == RESULTS

    found = records(folder)
    assert [record["update"] for record in found] == [0, 1, 2, 3, 4]
    assert found[-1]["train_error"] < found[0]["train_error"]
    assert (found[-1]["products_per_second"] > 0) == (optimizer == "hf")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["config"]["hyper"]["batch"] == 100
    assert summary["train_error"] == pytest.approx(found[-1]["train_error"], rel=1e-5)  # 200 images: the sample is all

    pictures = image(folder / "reconstructions.png")
    assert pictures.shape[:2] == (2 * 64, 16 * 64)
    assert np.ptp(pictures[:64, :, 0]) > 0.9  # the inputs are black on white
    assert min(image(folder / "training.png").shape[:2]) > 400


def test_the_saved_model_is_the_trained_one(run: Any, tmp_path: pathlib.Path) -> None:
    import nn

    assert run(*TINY, "--updates", "3", "--optimizer", "adam", "--out", "here") == 0
    model = nn.models.autoencoder(nn.models.CURVES, rng=np.random.default_rng(99))
    nn.load(model, tmp_path / "here" / "model.safetensors")
    x = nn.data.curves(200, 50, cache=False).x_train
    error = np.mean(np.sum((1 / (1 + np.exp(-model(x))) - x) ** 2, axis=1))
    assert error == pytest.approx(json.loads((tmp_path / "here" / "summary.json").read_text())["train_error"], rel=1e-4)


def test_the_same_seed_gives_the_same_run(script: Any) -> None:
    def last_error(seed: int) -> float:
        hyper = {"batch": 60, "curvature_batch": 30, "cg_iterations": 4}
        config = script.Config(hyper=hyper, updates=2, seed=seed)
        return script.train(config, script.build(config), data).records[-1]["train_error"]

    x = np.random.default_rng(0).random((120, 784)).astype(np.float32)
    data = x, x[:20]
    assert last_error(3) == last_error(3) != last_error(4)


@pytest.mark.parametrize("optimizer", ["hf", "adam"])
def test_the_bar_fits_eighty_columns_and_names_the_plateau(script: Any, optimizer: str) -> None:
    """The longest texts: of MNIST, with 250 CG steps."""
    from optim.training.bar import Bar

    record = {"train_error": 52.734, "test_error": 52.123, "mean_image_error": 52.7, "loss": 205.34, "damping": 0.00123}
    record |= {"cg_iterations": 250 if optimizer == "hf" else 0, "updates_per_second": 123.4}
    for change, said in (({}, "plateau: error 52.73"), ({"train_error": 40.5}, "error 40.50 (test 52.12), loss 205")):
        bar = Bar(script.numbers)
        bar.began -= 3599
        bar.update(0.5)
        bar.text = script.numbers(record | change)
        assert said in bar.text
        assert not bar.line().endswith("…"), bar.line()
        assert len(bar.line()) < 80


def test_the_plateau_is_where_the_mean_image_is(script: Any) -> None:
    """A network that answers with the mean image, as far as the data go."""
    x = np.random.default_rng(0).random((300, 784)).astype(np.float32)
    problem = script.PROBLEMS["curves"]
    mean = x.mean(axis=0)
    logits = np.log(mean / (1 - mean))
    assert script.error(lambda x: np.tile(logits, (len(x), 1)), x, problem) == pytest.approx(script.mean_image_error(x))


def test_the_loss_is_not_below_the_entropy_of_the_pixels(script: Any) -> None:
    import nn

    x = np.random.default_rng(0).random((300, 784))
    least = float(script.scales(x, script.PROBLEMS["curves"]).split("; ")[1].split()[0])
    assert least == pytest.approx(nn.SigmoidCrossEntropy()(np.log(x / (1 - x)), x), abs=0.051)
    assert "half the error" in script.scales(x, script.PROBLEMS["faces"])


def test_cpu_seconds_end_it(run: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.process_time()
    assert run(*TINY, "--optimizer", "sgd", "--cpu-seconds", "0.1", "--out", "here") == 0
    assert "the time is used up" in capsys.readouterr().out
    assert 0.1 <= records(tmp_path / "here")[-1]["seconds"] <= time.process_time() - begun
    with pytest.raises(SystemExit):
        run("--cpu-seconds", "1", "--time-budget", "1", "--out", "two")
    assert "are two budgets" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--resume", "--time-budget", "1", "--out", "here")
    assert "--time-budget 1.0 does not go with --resume" in capsys.readouterr().err


def test_the_time_budget_ends_it(run: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*TINY, "--optimizer", "sgd", "--time-budget", "0.1", "--out", "here") == 0
    assert "the time is used up" in capsys.readouterr().out
    assert records(tmp_path / "here")[-1]["seconds"] >= 0.1


def test_mnist_from_a_folder(run: Any, tmp_path: pathlib.Path, data_dir: pathlib.Path) -> None:
    data = ["--data", "mnist", "--data-dir", str(data_dir)]
    assert run(*data, *TINY, "--updates", "1", "--cg-iterations", "2", "--curvature-batch", "20", "--out", "here") == 0
    assert json.loads((tmp_path / "here" / "summary.json").read_text())["config"]["data"] == "mnist"


def test_faces_from_a_folder(
    run: Any, script: Any, tmp_path: pathlib.Path, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear outputs and half the squared error: the objective is half of the error that is reported."""
    import nn

    monkeypatch.setattr(nn.data, "faces", functools.partial(nn.data.faces, pairs=1))
    monkeypatch.setitem(script.PROBLEMS, "faces", script.Problem((625, 20, 5), 25, nn.SquaredError))
    data = ["--data", "faces", "--data-dir", str(data_dir), "--n-train", "250", "--n-test", "50"]
    assert (
        run(*data, "--updates", "2", "--batch", "250", "--optimizer", "adam", "--log-every", "1", "--out", "here") == 0
    )
    first, last = records(tmp_path / "here")[1:3]
    assert last["loss"] == pytest.approx(first["train_error"] / 2, rel=1e-3)
    assert (tmp_path / "here" / "reconstructions.png").stat().st_size > 1000


def test_batches_of_hessian_free_grow(script: Any) -> None:
    config = script.Config(hyper={"batch": 40, "curvature_batch": 10, "batch_growth": 30})
    opt = script.build(config)
    x = np.random.default_rng(0).random((100, 784)).astype(np.float32)
    batches = script.Growing(config, opt, x)
    sizes = []
    for opt.k in (0, 9, 10, 29, 500):
        batch, again = next(batches), next(batches)
        np.testing.assert_array_equal(batch["x"], again["x"])  # by the count of updates alone: nothing to save
        sizes.append((len(batch["x"]), len(batch["curvature_batch"][0])))
        assert batch["ratio_batch"][0] is batch["x"]
        assert {row.tobytes() for row in batch["curvature_batch"][0]} <= {row.tobytes() for row in batch["x"]}
    assert sizes == [(40, 10), (40, 10), (70, 17), (100, 25), (100, 25)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--optimizer", "magic"], "magic"),
        (["--optimizer", "adam", "--cg-iterations", "5"], "--cg-iterations means nothing to --optimizer adam"),
        (["--lr", "0.1"], "--lr means nothing to --optimizer hf"),
        (["--optimizer", "sgd", "--lr", "fast"], "fast"),
        (["--optimizer", "sgd", "--lr", "-1"], "lr must be"),
        (["--optimizer", "adam", "--lr", "nan"], "lr must be"),
        (["--optimizer", "sgd", "--momentum", "1.5"], "momentum must be"),
        (["--damping", "-1"], "damping must be"),
        (["--decay", "2"], "decay must be"),
        (["--batch", "0"], "--batch: 0 is not a finite"),
        (["--batch", "2.5"], "invalid whole number value: '2.5'"),
        (["--updates", "-3"], "-3 is not a finite"),
        (["--time-budget", "inf"], "inf is not a finite"),
        (["--seed", "-1"], "argument --seed: -1 is below zero"),
        (["--n-train", "0"], "0 is not a finite"),
        (["--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["--out", "file"], "file"),
        (["--unknown"], "--unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_give_one_clear_line(
    refused: Any, tmp_path: pathlib.Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    err = refused(*arguments)
    assert err.startswith("autoencoder.py: ")
    assert told in err


def test_damaged_mnist_names_the_file(run: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(b"not gzip")
    with pytest.raises(SystemExit) as ended:
        run("--data", "mnist", "--data-dir", str(tmp_path))
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("train-images-idx3-ubyte.gz") == 1


@pytest.mark.parametrize("extra", ["matplotlib", "safetensors"])
def test_a_missing_extra_is_named_before_anything_is_done(
    run: Any,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert f"{extra} is not installed: pip install" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_the_training_with_what_there_is(
    tmp_path: pathlib.Path, number: signal.Signals, word: str
) -> None:
    command = [sys.executable, str(SCRIPT), *TINY, "--cg-iterations", "2", "--log-interval", "1e-6", "--out", "here"]
    environment = os.environ | {"RMAD_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics, deadline = tmp_path / "here" / "metrics.jsonl", time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"stopped by {word}: " in out
    assert "Traceback" not in err
    assert {path.name for path in (tmp_path / "here").iterdir()} == RESULTS
    assert records(tmp_path / "here")[-1]["update"] > 0


def test_the_job_can_be_called_from_python(script: Any) -> None:
    config = script.Config(optimizer="adam", hyper={"lr": 3e-3, "batch": 50}, updates=3, log_interval=1e-6)
    x = np.random.default_rng(0).random((120, 784)).astype(np.float32)
    run = script.train(config, script.build(config), (x, x[:20]))
    assert [record["update"] for record in run.records] == [0, 1, 2, 3]
    assert run.end == "all updates are done"
    assert not run.failed
    with pytest.raises(ValueError, match="--damping means nothing to --optimizer adam"):
        script.Config(optimizer="adam", hyper={"damping": 1.0})


def test_data_with_nan_end_the_run_and_keep_the_model(script: Any) -> None:
    import optim

    config = script.Config(optimizer="adam", updates=50)
    optimizer = script.build(config)
    before = optimizer.model.parameters()[0].copy()
    x = np.full((200, 784), np.nan, np.float32)
    with pytest.warns(optim.NumericalWarning):
        run = script.train(config, optimizer, (x, np.zeros((5, 784), np.float32)))
    assert run.failed
    assert "10 steps in a row were rejected" in run.end
    assert np.array_equal(run.model.parameters()[0], before)
    assert np.isnan(run.records[-1]["loss"])
    assert json.loads(script.as_json(run.records[-1]))["loss"] is None


def test_ctrl_c_while_the_data_are_made(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import nn

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nn.data, "curves", interrupted)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 130
    assert capsys.readouterr().err == "autoencoder.py: ended by Ctrl-C\n"
