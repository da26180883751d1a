"""One process in a folder: the second is told who has it, and a dead one is in nobody's way."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import pytest

import nn

HOLDER = """
import sys
from nn.files.claim import Claim

with Claim(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: pathlib.Path) -> Any:
    """Another process that has the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_the_second_process_is_told_who_has_the_folder(holder: Any, tmp_path: pathlib.Path) -> None:
    for _ in range(2):
        with (
            pytest.raises(nn.FolderInUse, match=f"{tmp_path} is in use by process {holder.pid} on .*, since 20"),
            nn.Claim(tmp_path),
        ):
            pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "lock").exists()  # what it left is in nobody's way
    with nn.Claim(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()
    assert not os.listdir(tmp_path)


def test_in_one_process_too(tmp_path: pathlib.Path) -> None:
    with nn.Claim(tmp_path), pytest.raises(nn.FolderInUse), nn.Claim(tmp_path):
        pass
    with nn.Claim(tmp_path):
        pass


def test_the_same_claim_is_not_entered_twice(tmp_path: pathlib.Path) -> None:
    claim = nn.Claim(tmp_path)
    with claim:
        with pytest.raises(nn.FolderInUse, match=f"{tmp_path} is in use by this very Claim"), claim:
            pass
        with pytest.raises(nn.FolderInUse), nn.Claim(tmp_path):  # the first one still holds
            pass
    with claim:
        pass


def test_a_folder_that_its_last_holder_took_away_is_made_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the folder and opening the file."""
    real = nn.Claim._locked

    def locked(claim: nn.Claim) -> Any:
        monkeypatch.setattr(nn.Claim, "_locked", real)
        (tmp_path / "a").rmdir()
        return real(claim)

    monkeypatch.setattr(nn.Claim, "_locked", locked)
    with nn.Claim(tmp_path / "a"):
        assert (tmp_path / "a" / "lock").exists()
    assert not os.listdir(tmp_path)


def test_readers_need_no_claim(holder: Any, tmp_path: pathlib.Path) -> None:
    nn.Checkpoints(tmp_path).save({"k": 1})
    assert nn.Checkpoints(tmp_path).load() == {"k": 1}


def test_a_folder_is_made_and_goes_where_nothing_is_written(tmp_path: pathlib.Path) -> None:
    with nn.Claim(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / "lock").exists()
    assert not os.listdir(tmp_path)
    with nn.Claim(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "x").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["x"]


def test_a_file_in_the_place_of_the_folder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError), nn.Claim(tmp_path / "a"):
        pass


def test_a_file_that_its_last_holder_took_away_is_not_the_lock(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking: what is locked then is at no path, and another process may lock the next file."""
    real, count = nn.files.claim._lock, 0

    def lock(file: Any) -> bool:
        nonlocal count
        count += 1
        if count == 1:
            (tmp_path / "lock").unlink()
        return real(file)

    monkeypatch.setattr("nn.files.claim._lock", lock)
    with nn.Claim(tmp_path):
        assert count == 2
        with pytest.raises(nn.FolderInUse), nn.Claim(tmp_path):
            pass


@pytest.mark.parametrize("what", ["file system", "system"])
def test_without_locks_nobody_is_kept_out(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def none(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if what == "system":
        monkeypatch.setattr("nn.files.claim.fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", none)
    with nn.Claim(tmp_path), nn.Claim(tmp_path):
        pass
    assert not os.listdir(tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("socket.gethostname", full)  # as the file is written
    with pytest.raises(OSError, match=r"No space left on device: .*/a/lock'"), nn.Claim(tmp_path / "a"):
        pass
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("kind", ["link", "link to nothing", "second name", "pipe", "text", "bytes"])
def test_another_file_of_that_name_is_left_alone(tmp_path: pathlib.Path, kind: str) -> None:
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_text("precious")
    lock = folder / "lock"
    make = {
        "link": lambda: lock.symlink_to(target),
        "link to nothing": lambda: lock.symlink_to(tmp_path / "nothing"),
        "second name": lambda: os.link(target, lock),
        "pipe": lambda: os.mkfifo(lock),
        "text": lambda: lock.write_text("precious"),
        "bytes": lambda: lock.write_bytes(b"\xff\0"),
    }
    make[kind]()
    with pytest.raises(FileExistsError, match=f"no lock file of nn.Claim, which needs the name: '{lock}'"):
        nn.Claim(folder).__enter__()
    assert target.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    assert os.path.lexists(lock)
    if kind == "text":
        assert lock.read_text() == "precious"
