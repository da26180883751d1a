"""Damaged files, full disks, folders that cannot be written: one line, and the last checkpoint is whole."""

import errno
import json
import os
import pathlib
from typing import Any

import pytest

import nn

TINY = ["--n-train", "60", "--n-test", "20", "--out", "out"]
ADAM = [*TINY, "--optimizer", "adam", "--batch", "20"]


def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(
    run: Any, capsys: pytest.CaptureFixture[str], arrays: Any, same: Any
) -> None:
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
def test_a_full_disk(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str, arrays: Any, same: Any
) -> None:
    """The third checkpoint finds no room."""
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "5") == 0
    calls = 0

    def full(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 4:  # config.json, metrics.jsonl and two checkpoints
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        capsys.readouterr()
        if what == "fsync":
            real: Any = os.fsync
            patch.setattr("nn.files.io._sync", lambda folder: None)
            patch.setattr(os, "fsync", full)
        else:
            real = open
            patch.setattr("nn.files.io.open", full, raising=False)
            patch.setattr("nn.files.io._sync", lambda folder: None)
        assert run(*ADAM, "--updates", "5", "--checkpoint-every", "1e-9") == 1
    out, err = capsys.readouterr()
    assert out == ""
    told = err.strip().splitlines()[-1]
    assert told == (
        "autoencoder.py: [Errno 28] No space left on device: 'out/checkpoint.safetensors'; "
        "--resume continues from the checkpoint of update 1 in out"
    )
    assert "Traceback" not in err
    assert run(*ADAM, "--updates", "5", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))


def test_no_room_for_records(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arrays: Any, same: Any
) -> None:
    """/dev/full takes nothing: the same error as that of a full disk."""
    assert run(*ADAM[:5], "whole", *ADAM[6:], "--updates", "4") == 0
    pathlib.Path("out").mkdir()
    pathlib.Path("out/config.json.1-a.part").write_text("what a killed run left")
    count = 0

    def opened(path: Any, mode: str) -> Any:
        nonlocal count
        count += 1
        return open("/dev/full" if count > 2 else path, mode)

    with monkeypatch.context() as patch:
        patch.setattr("runner.command.open", opened, raising=False)
        assert run(*ADAM, "--updates", "4", "--log-every", "1", "--checkpoint-every", "1e-9") == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    continues = "--resume continues from the checkpoint of update 1 in out"
    assert f"No space left on device: 'out/metrics.jsonl'; {continues}" in told
    assert not list(pathlib.Path("out").glob("*.part"))
    assert run(*ADAM, "--updates", "4", "--resume") == 0
    assert same(arrays(), arrays(folder="whole"))


@pytest.mark.parametrize("name", ["model.safetensors", "summary.json"])
def test_no_room_for_results(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import runner.command

    real, where = nn.files.io.write_whole, nn.files.io if name.startswith("model") else runner.command

    def full(path: Any, *arguments: Any, **keywords: Any) -> None:
        if pathlib.Path(path).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(where, "write_whole", full)
        assert run(*ADAM, "--updates", "2") == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device; --resume continues from the checkpoint of update 2" in told
    assert run("--out", "out", "--resume") == 0  # there is nothing left to do but the results
    assert pathlib.Path("out", name).exists()


def test_a_folder_that_cannot_be_written(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/proc/self/none" in refused(*ADAM[:5], "/proc/self/none", *ADAM[6:])

    def denied(*arguments: Any, **keywords: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "out/lock")

    monkeypatch.setattr("nn.files.claim.open", denied, raising=False)
    assert refused(*ADAM) == ("autoencoder.py: [Errno 13] Permission denied: 'out/lock' (--help shows all arguments)\n")


def test_no_room_for_a_figure(autoencoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib's own error names no file."""
    from matplotlib.figure import Figure
    from runner import save_figure

    monkeypatch.setattr("nn.files.io.open", lambda *_: open("/dev/full", "wb", buffering=0), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match=r"No space left on device: 'training.png'"):
        save_figure(Figure(), pathlib.Path("training.png"), dpi=10)
    assert not list(pathlib.Path().glob("training*"))
