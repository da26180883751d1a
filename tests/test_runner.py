"""Runs that one can trust: examples/autoencoder.py cut, stopped, killed, on a full disk, and resumed."""

import errno
import importlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import optim

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "examples" / "autoencoder.py"
TINY = ["--n-train", "60", "--n-test", "20", "--out", "out"]
ADAM = [*TINY, "--optimizer", "adam", "--batch", "20"]
QUICK = {  # short forms of the slow ones
    "hf": ["--batch", "40", "--curvature-batch", "20", "--cg-iterations", "4"],
    "lm": ["--batch", "20", "--cg-iterations", "4"],
    "nesterov": ["--batch", "20"],
}


@pytest.fixture
def autoencoder(example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module with a small network, in an empty folder."""
    module = example("autoencoder")
    monkeypatch.setitem(module.PROBLEMS, "curves", module.Problem((784, 8, 3)))
    monkeypatch.setattr(module, "draw_reconstructions", lambda *arguments: None)
    monkeypatch.setattr("runner.command.draw_training", lambda *arguments: None)  # test_examples.py looks at them
    return module


@pytest.fixture
def run(autoencoder: Any, command_line: Callable[[Any], Callable[..., int]]) -> Callable[..., int]:
    """The command line, in this process: returns the exit code."""
    return command_line(autoencoder)


@pytest.fixture
def refused(run: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line with which the command line refuses these arguments."""

    def refused(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        return err

    return refused


def arrays(name: str = "model.safetensors", folder: str = "out") -> dict[str, Any]:
    import safetensors.numpy

    return safetensors.numpy.load_file(pathlib.Path(folder) / name)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def records(folder: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]


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


# -- going on --------------------------------------------------------------------------------------------------------


def methods() -> list[str]:
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        return list(importlib.import_module("autoencoder").METHODS)
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.mark.parametrize("optimizer", methods())
def test_a_run_that_goes_on_is_the_run_that_was_not_cut(run: Any, optimizer: str) -> None:
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
def test_presets_go_on(run: Any, refused: Any, preset: str, interrupted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--preset", preset, *TINY[:-2], "--cg-iterations", "4", "--updates", "6"]
    assert run(*arguments, "--out", "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr("runner.loop.Run.over", lambda self, config: "cut" * (self.update == 3))
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


# -- stopped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_stopped_and_resumed(
    run: Any, refused: Any, interrupted: Any, capsys: pytest.CaptureFixture[str], number: signal.Signals, word: str
) -> None:
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "7") == 0
    interrupted(3, number)
    assert run(*ADAM, "--updates", "7") == 128 + number
    assert f"stopped by {word}: 3 updates" in capsys.readouterr().out
    told = refused(*ADAM, "--updates", "7")
    assert "out has a run that is not over, at update 3: --resume goes on with it, --restart begins anew" in told
    assert run(*ADAM, "--updates", "7", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))
    assert run(*ADAM, "--updates", "1") == 0  # what is over may be begun anew
    assert records()[-1]["update"] == 1


def test_restart(run: Any, interrupted: Any) -> None:
    interrupted(2, signal.SIGINT)
    assert run(*ADAM, "--updates", "7") == 130
    assert run(*ADAM, "--updates", "3", "--restart") == 0
    assert [record["update"] for record in records()] == [0, 3]


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_ends_it_at_once(run: Any, interrupted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(3, signal.SIGINT, signal.SIGINT)
    assert run(*ADAM, "--checkpoint-every", "1e-9", "--updates", "7") == 130
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "ended by Ctrl-C; --resume goes on from the checkpoint of update 2 in out"


# -- damaged files, full disks ---------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "6") == 0
    assert run(*ADAM, "--updates", "4", "--checkpoint-every", "1e-9") == 0
    newest = pathlib.Path("out/checkpoint.safetensors")
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    capsys.readouterr()
    assert run(*ADAM, "--updates", "6", "--resume") == 0
    told = capsys.readouterr().err.splitlines()[0]
    assert told == f"{newest} is damaged: its checksum does not fit its content; taking checkpoint.previous.safetensors"
    assert same(arrays(), arrays(folder="whole"))


def test_what_another_program_left_is_refused_in_one_line(run: Any, refused: Any) -> None:
    nn.Checkpoints("other").save({"update": 1})
    for arguments in ((), ("--resume",)):
        assert "other has the checkpoint of another program" in refused(*ADAM, "--out", "other", *arguments)
    assert run(*ADAM, "--updates", "1") == 0
    checkpoints = nn.Checkpoints("out")
    state = checkpoints.load()
    assert state is not None
    for changed, told in (({"preset": "x"}, "preset"), ({"optimizer": "newton"}, "newton")):
        checkpoints.save(state | {"config": state["config"] | changed})
        pathlib.Path("out/config.json").write_text(json.dumps(state["config"] | changed))
        for arguments in ((*TINY, "--resume"), ("--draw", "--out", "out")):
            line = refused(*arguments)
            assert "another program, or of another version" in line
            assert told in line


def test_no_figure_before_the_first_record(run: Any, refused: Any) -> None:
    assert run(*ADAM, "--updates", "1") == 0
    pathlib.Path("out/metrics.jsonl").write_text("")
    assert "out/metrics.jsonl has no records yet" in refused("--draw", "--out", "out")


def test_two_damaged_checkpoints(run: Any, refused: Any) -> None:
    assert run(*ADAM, "--updates", "2") == 0
    for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors"):
        (pathlib.Path("out") / name).write_bytes(b"no")
    told = refused(*ADAM, "--resume")
    assert "out/checkpoint.safetensors is no checkpoint" in told
    assert "out/checkpoint.previous.safetensors is no checkpoint" in told
    assert run(*ADAM, "--updates", "2", "--restart") == 0


@pytest.mark.parametrize("what", ["write", "fsync"])
def test_a_full_disk(run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The third checkpoint finds no room."""
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "5") == 0
    calls = 0

    def full(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:  # config.json, and two checkpoints
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        capsys.readouterr()
        if what == "fsync":
            real: Any = os.fsync
            patch.setattr("nn.io._sync", lambda folder: None)
            patch.setattr(os, "fsync", full)
        else:
            real = open
            patch.setattr("nn.io.open", full, raising=False)
            patch.setattr("nn.io._sync", lambda folder: None)
        assert run(*ADAM, "--updates", "5", "--checkpoint-every", "1e-9") == 1
    out, err = capsys.readouterr()
    assert out == ""
    told = err.strip().splitlines()[-1]
    assert told == (
        "autoencoder.py: [Errno 28] No space left on device; --resume goes on from the checkpoint of update 1 in out"
    )
    assert "Traceback" not in err
    assert run(*ADAM, "--updates", "5", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))


def test_no_room_for_records(run: Any, refused: Any, tmp_path: pathlib.Path) -> None:
    """/dev/full takes nothing: the same error as that of a full disk, found at the start."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.jsonl").symlink_to("/dev/full")
    (tmp_path / "out" / "config.json.1-a.part").write_text("what a killed run left")
    assert run(*ADAM, "--updates", "2") == 1
    assert not list((tmp_path / "out").glob("*.part"))


def test_no_room_for_results(run: Any, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").symlink_to("/dev/full")
    assert run(*ADAM, "--updates", "2") == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device; --resume goes on from the checkpoint of update 2" in told


def test_a_folder_that_cannot_be_written(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/proc/self/none" in refused(*ADAM[:5], "/proc/self/none", *ADAM[6:])

    def denied(*arguments: Any, **keywords: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "out/config.json")

    monkeypatch.setattr("runner.command.write_whole", denied)
    assert refused(*ADAM) == (
        "autoencoder.py: [Errno 13] Permission denied: 'out/config.json' (--help shows all arguments)\n"
    )


# -- early stopping, figures -----------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_model(run: Any, autoencoder: Any, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_early_stopping_goes_on(run: Any) -> None:
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


def test_records_have_all_of_the_step(run: Any) -> None:
    assert run(*TINY, *QUICK["hf"], "--updates", "2", "--log-every", "1") == 0
    assert set(optim.StepInfo.__dataclass_fields__) <= records()[-1].keys()
    assert records()[-1]["products"] > 0
    assert records()[-1]["gradient_norm"] > 0


def test_a_figure_on_demand(
    run: Any, refused: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import runner.report

    monkeypatch.setattr("runner.command.draw_training", runner.report.draw_training)
    assert run(*ADAM, "--updates", "3", "--log-every", "1") == 0
    figure = pathlib.Path("out/training.png")
    figure.unlink()
    capsys.readouterr()
    assert run("--draw", "--out", "out") == 0
    assert capsys.readouterr().out == "out/training.png\n"
    assert figure.stat().st_size > 1000
    assert "nowhere" in refused("--draw", "--out", "nowhere")


def test_a_table_at_the_end(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*ADAM, "--updates", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["", "start", "end", "end, all cases"]
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["train error", "test error", "loss"]


# -- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_fifty_random_moments(tmp_path: pathlib.Path) -> None:
    """The whole script with its own network, a checkpoint after every update. Two of three kills aim at a write."""
    rng, environment = random.Random(1), os.environ | {"RMAD_CACHE": str(tmp_path / "cache")}
    arguments = ["--n-train", "60", "--n-test", "20", "--optimizer", "adam", "--batch", "20", "--resume"]
    command = [sys.executable, str(SCRIPT), *arguments, "--time-budget", "1e6", "--log-interval", "1e6"]
    out, last, halves = tmp_path / "out", 0, 0

    def parts() -> set[str]:
        return {path.name for path in out.glob("checkpoint*.part")}

    def written() -> int:
        try:
            return (out / "checkpoint.safetensors").stat().st_mtime_ns
        except FileNotFoundError:  # not yet, or between the two renames
            return 0

    for k in range(50):
        before = parts()
        process = subprocess.Popen(
            [*command, "--out", "out", "--checkpoint-every", "1e-9"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if k % 3:  # after its first checkpoint, as soon as another is begun
            for known, now in ((written(), written), (parts(), parts)):
                while now() == known:  # type: ignore[operator]
                    assert process.poll() is None, process.communicate()[1].decode()
                    time.sleep(0.0005)
        time.sleep((6.0, 0.01, 0.0)[k % 3] * rng.random())
        process.send_signal(signal.SIGKILL)
        told = process.communicate()[1].decode()
        assert process.returncode == -signal.SIGKILL, told
        assert "damaged" not in told
        halves += bool(parts() - before)
        state = nn.Checkpoints(out).load()
        if state is not None:
            assert state["run"]["update"] >= last
            last = state["run"]["update"]
    assert halves > 3  # a busy machine lets many a write end first
    for folder in ("out", "whole"):
        done = [*command, "--out", folder, "--updates", str(last + 2), "--checkpoint-every", "1e6"]
        ended = subprocess.run(done, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    os.chdir(tmp_path)
    assert same(arrays(), arrays(folder="whole"))
    print(f"50 kills, {halves} of them in a write, up to update {last}")


# -- many runs in one command ----------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """script(name, *arguments): the main of an example in an empty folder."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return importlib.import_module(name).main()

    return run


SINE = ["--problem", "sine", "--methods", "sgn:3,sgd:0.1", "--seeds", "2", "--epochs", "2"]


def test_a_series_goes_on(
    script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its third run, update 5 of 14."""
    assert script("sgn_regression", *SINE, "--out", "whole") == 0
    count, step = 0, optim.SGD.step

    def interrupted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(optim.SGD, "step", interrupted)
        with pytest.raises(SystemExit) as ended:
            script("sgn_regression", *SINE, "--out", "out")
    assert ended.value.code == 128 + signal.SIGTERM
    told = capsys.readouterr().err
    assert told == (
        "sgn_regression.py: stopped by SIGTERM, at update 5 of SGD(0.1)-0; "
        "--resume goes on from the checkpoints in out-sine\n"
    )
    made = 0

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal made
        made += 1
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(optim.SGD, "step", counted)
    monkeypatch.setattr(optim.SGN, "step", None)  # these runs are over
    assert script("sgn_regression", *SINE, "--out", "out", "--resume") == 0
    assert made == 9 + 14
    for folder in (tmp_path / "whole-sine").iterdir():
        a, b = (nn.Checkpoints(tmp_path / out / folder.name).load() for out in ("whole-sine", "out-sine"))
        assert a is not None
        assert b is not None
        assert same(a["run"]["model"], b["run"]["model"])


def test_a_series_on_a_full_disk(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as ended:
        script("sgn_regression", *SINE)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "No space left on device; --resume goes on from the checkpoints in sgn-sine" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--methods", "magic:1"], "--methods magic:1: expected one of kfac, kflr, kfra"),
        (["--data", "magic"], "--data magic: expected one of curves, mnist, faces"),
        (["--methods", "adam"], "--methods adam: expected one of"),
        (["--cosine", "3", "--every", "2"], "--cosine 3 is no multiple of --every 2"),
    ],
)
def test_kronecker_refuses(script: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    with pytest.raises(SystemExit):
        script("kronecker", *arguments)
    assert told in capsys.readouterr().err


def test_kronecker(
    script: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import kronecker

    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    data = nn.data.Dataset(x, None, x, None)
    monkeypatch.setitem(kronecker.SETS, "curves", (lambda: data, (6, 4, 2), nn.SigmoidCrossEntropy))
    monkeypatch.setattr(kronecker, "BATCH", 10)
    common = ["--methods", "kfac,adam:1e-2", "--every", "2", "--cosine", "4", "--out", "runs"]
    assert script("kronecker", *common, "--updates", "6") == 0
    assert script("kronecker", *common, "--updates", "8", "--resume") == 0
    found = records("runs/curves-kfac")
    assert [record["update"] for record in found] == [0, 2, 4, 6, 8]
    assert [record["update"] for record in found if "cosine" in record] == [4, 8]
    assert found[-1]["objective"] < found[0]["objective"]
    assert (tmp_path / "runs" / "curves.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        script("kronecker", *common, "--updates", "8", "--resume", "--decay", "3")
    assert "curves-kfac/checkpoint.safetensors is of a run with another hyper" in capsys.readouterr().err
