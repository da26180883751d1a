"""Runs that are stopped, killed, or begun twice at a time."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import nn

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "examples" / "autoencoder.py"
TINY = ["--n-train", "60", "--n-test", "20", "--out", "out"]
ADAM = [*TINY, "--optimizer", "adam", "--batch", "20"]


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_stopped_and_resumed(
    run: Any,
    refused: Any,
    interrupted: Any,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    word: str,
    arrays: Any,
    same: Any,
    records: Any,
) -> None:
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "7") == 0
    interrupted(3, number)
    assert run(*ADAM, "--updates", "7") == 128 + number
    assert f"stopped by {word}: 3 updates" in capsys.readouterr().out
    told = refused(*ADAM, "--updates", "7")
    assert "out has a run that is not over, at update 3: --resume continues it, --restart starts over" in told
    assert run(*ADAM, "--updates", "7", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))
    assert run(*ADAM, "--updates", "1") == 0  # a finished run may be started again
    assert records()[-1]["update"] == 1


def test_restart(run: Any, interrupted: Any, records: Any) -> None:
    interrupted(2, signal.SIGINT)
    assert run(*ADAM, "--updates", "7") == 130
    assert run(*ADAM, "--updates", "3", "--restart") == 0
    assert [record["update"] for record in records()] == [0, 3]


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_ends_it_at_once(run: Any, interrupted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(3, signal.SIGINT, signal.SIGINT)
    assert run(*ADAM, "--checkpoint-every", "1e-9", "--updates", "7") == 130
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "autoencoder.py: ended by Ctrl-C; --resume continues from the checkpoint of update 2 in out"


def test_a_second_sigterm_ends_it_at_once(run: Any, interrupted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    interrupted(3, signal.SIGTERM, signal.SIGTERM)
    assert run(*ADAM, "--checkpoint-every", "1e-9", "--updates", "7") == 143
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "autoencoder.py: ended by SIGTERM; --resume continues from the checkpoint of update 2 in out"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_stopped_while_the_data_are_made(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals, word: str
) -> None:
    def curves(*arguments: Any) -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr(nn.data, "curves", curves)
    with pytest.raises(SystemExit) as ended:
        run(*ADAM)
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == f"autoencoder.py: ended by {word}\n"
    assert not pathlib.Path("out").exists()


def test_a_second_process_is_refused(run: Any, refused: Any, interrupted: Any) -> None:
    interrupted(3, signal.SIGINT)
    assert run(*ADAM, "--updates", "7") == 130
    part = pathlib.Path("out/checkpoint.safetensors.1-a.part")
    part.touch()  # what the other one is about to write
    before = {path.name: path.read_bytes() for path in pathlib.Path("out").iterdir()}
    with nn.Claim("out"):
        for extra in ([], ["--resume"], ["--restart"]):
            told = refused(*ADAM, "--updates", "9", *extra)
            assert f"autoencoder.py: out is in use by process {os.getpid()} on " in told
        assert run("--draw", "--out", "out") == 0
        assert {p.name: p.read_bytes() for p in pathlib.Path("out").iterdir() if p.name != "lock"} == before
    assert run(*ADAM, "--updates", "7", "--resume") == 0
    assert not part.exists()
    assert not pathlib.Path("out/lock").exists()


@pytest.mark.slow
def test_killed_at_fifty_random_moments(tmp_path: pathlib.Path, arrays: Any, same: Any) -> None:
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


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("act", "code", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGINT), 130, "it.py: ended by Ctrl-C\n"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 143, "it.py: ended by SIGTERM\n"),
        (
            lambda: os.mkdir("no/such/folder"),
            1,
            "it.py: [Errno 2] No such file or directory: 'no/such/folder'\n",
        ),
    ],
    ids=["Ctrl-C", "SIGTERM", "file"],
)
def test_one_line(autoencoder: Any, capsys: pytest.CaptureFixture[str], act: Any, code: int, told: str) -> None:
    import runner

    before = signal.getsignal(signal.SIGTERM)

    @runner.one_line("it.py")
    def main() -> int:
        act()
        time.sleep(1)
        return 0

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert capsys.readouterr() == ("", told)
    assert signal.getsignal(signal.SIGTERM) == before


def test_every_script_ends_so() -> None:
    """runner.main does that by itself."""
    for path in SCRIPT.parent.glob("*.py"):
        text = path.read_text()
        if "__main__" in text:
            assert f'one_line("{path.name}")\ndef main()' in text or "return runner.main(" in text, path.name
