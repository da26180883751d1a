"""Checkpoints: whole or refused, at every moment and after every damage."""

import errno
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import nn

NAMES = ("checkpoint.safetensors", "checkpoint.previous.safetensors")


@pytest.fixture
def checkpoints(tmp_path: pathlib.Path) -> nn.Checkpoints:
    return nn.Checkpoints(tmp_path)


def same(a: Any, b: Any) -> bool:
    """Bit for bit, NaN included."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and repr(a) == repr(b)


def test_there_and_back(checkpoints: nn.Checkpoints) -> None:
    rng = np.random.default_rng(0)
    state = {
        "arrays": {d: rng.integers(0, 2, (2, 3)).astype(d) for d in ("f2", "f4", "f8", "i8", "u1", "?", "c8")},
        "shapes": [np.array(2.5), np.zeros((0, 3)), rng.random((4, 3)).T, rng.random(9)[::2]],
        "numbers": {"int": 3, "huge": 2**127 + 1, "float": 0.1 + 0.2, "nan": float("nan"), "inf": float("-inf")},
        "rest": ["text", True, None, [], {}, {"a/b": np.ones(1)}],
        "a/b": np.zeros(2),
        "a": {"b": np.ones(2)},
        "__metadata__": np.ones(1),
        "generators": {k.__name__: k(1).state for k in (np.random.PCG64, np.random.Philox, np.random.MT19937)},
    }
    checkpoints.save(state)
    found = checkpoints.load()
    assert found is not None
    assert checkpoints.refused is None
    state["shapes"] = [np.ascontiguousarray(a).reshape(a.shape) for a in state["shapes"]]
    assert same(found, state)
    assert all(a.flags.writeable for a in found["arrays"].values())


def test_numpy_numbers_and_tuples_become_plain(checkpoints: nn.Checkpoints) -> None:
    checkpoints.save({"a": np.float32(0.1), "b": np.int64(3), "c": (1, 2), "d": np.True_})
    assert same(checkpoints.load(), {"a": float(np.float32(0.1)), "b": 3, "c": [1, 2], "d": True})


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"a": {"b": object()}}, "a/b is a object, which cannot be saved"),
        ({"a": {1: 2}}, "a has the key 1"),
        ({"a": np.zeros(2, np.complex128)}, "'a' is complex128, for which safetensors files have no type"),
        ({"a": np.array([object()])}, "'a' is object"),
        ({"a": lambda: 0}, "a is a function"),
        ({"a": 1j}, "a is a complex"),
        ([1], "a state is a dict, not list"),
        ({"a": nn.Tanh()}, "a is a Tanh, which cannot be saved; save its state_dict()"),
        ({"a": np.random.default_rng(0)}, "a is a Generator, which cannot be saved; save its bit_generator.state"),
    ],
)
def test_what_cannot_be_saved_is_named(checkpoints: nn.Checkpoints, state: dict[str, Any], told: str) -> None:
    checkpoints.save({"k": 1})
    with pytest.raises(TypeError) as error:
        checkpoints.save(state)
    assert told in str(error.value)
    assert checkpoints.load() == {"k": 1}


def test_a_folder_without_checkpoint(checkpoints: nn.Checkpoints) -> None:
    assert checkpoints.load() is None
    checkpoints.remove()
    made = nn.Checkpoints(checkpoints.path.parent / "new" / "folder")
    made.save({"k": 1})
    assert made.load() == {"k": 1}


def test_the_previous_one_is_kept(checkpoints: nn.Checkpoints, tmp_path: pathlib.Path) -> None:
    for k in range(4):
        checkpoints.save({"k": k})
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)
    assert checkpoints.load() == {"k": 3}
    (tmp_path / NAMES[0]).unlink()
    assert checkpoints.load() == {"k": 2}
    assert checkpoints.refused is None  # it is not there: killed between the two renames
    checkpoints.remove()
    assert os.listdir(tmp_path) == []


def test_any_damage_is_refused_by_name(checkpoints: nn.Checkpoints, tmp_path: pathlib.Path) -> None:
    """Every byte of the newer file, turned over in turn; it cut off anywhere; nothing but zeros; something else."""
    for k in range(2):
        checkpoints.save({"k": k, "x": np.arange(3.0) + k})
    newest = tmp_path / NAMES[0]
    good = newest.read_bytes()
    rng = random.Random(0)
    damaged = [good[:k] for k in range(0, len(good), 7)] + [good + b"\0", bytes(len(good)), b"", b"PK\x03\x04"]
    for k in range(len(good)):
        damaged.append(good[:k] + bytes([good[k] ^ 1 << rng.randrange(8)]) + good[k + 1 :])
    for content in damaged:
        newest.write_bytes(content)
        state = checkpoints.load()
        assert state is not None
        if state["k"] == 0:
            assert NAMES[0] in str(checkpoints.refused)
        else:  # a blank of the header, where any white space does
            assert same(state, {"k": 1, "x": np.arange(3.0) + 1})
            assert checkpoints.refused is None


def test_a_damaged_file_does_not_push_out_the_whole_one(checkpoints: nn.Checkpoints, tmp_path: pathlib.Path) -> None:
    for k in range(2):
        checkpoints.save({"k": k})
    (tmp_path / NAMES[0]).write_bytes(b"damaged")
    assert checkpoints.load() == {"k": 0}
    checkpoints.save({"k": 5})
    (tmp_path / NAMES[0]).write_bytes(b"damaged")
    assert checkpoints.load() == {"k": 0}


def test_a_folder_in_its_place_is_refused_by_name(checkpoints: nn.Checkpoints, tmp_path: pathlib.Path) -> None:
    for k in range(2):
        checkpoints.save({"k": k})
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[0]).mkdir()
    assert checkpoints.load() == {"k": 0}
    assert "is a folder, not a checkpoint" in str(checkpoints.refused)


def test_both_damaged(checkpoints: nn.Checkpoints, tmp_path: pathlib.Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(nn.DamagedCheckpoint) as error:
        checkpoints.load()
    assert all(name in str(error.value) for name in NAMES)


def test_a_model_is_no_checkpoint_and_a_later_version_is_refused(
    checkpoints: nn.Checkpoints, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nn.save(nn.Linear(2, 2, rng=np.random.default_rng(0)), tmp_path / NAMES[0])
    with pytest.raises(nn.DamagedCheckpoint, match="is no checkpoint"):
        checkpoints.load()
    checkpoints.remove()
    with monkeypatch.context() as patch:
        patch.setattr("nn.files.checkpoint.VERSION", "2")
        checkpoints.save({})
    with pytest.raises(nn.DamagedCheckpoint, match="is a rmad checkpoint 2, and this program reads rmad checkpoint 1"):
        checkpoints.load()


def test_other_programs_can_read_it(checkpoints: nn.Checkpoints, tmp_path: pathlib.Path) -> None:
    import safetensors

    checkpoints.save({"model": {"0.weight": np.eye(2)}, "update": 3})
    with safetensors.safe_open(tmp_path / NAMES[0], "np") as file:
        np.testing.assert_array_equal(file.get_tensor("model/0.weight"), np.eye(2))
        assert json.loads(file.metadata()["state"])["update"] == 3


@pytest.mark.parametrize("what", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_last_checkpoint(
    checkpoints: nn.Checkpoints, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    checkpoints.save({"k": 0})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if what == "write":
            real = open

            def opened(*args: Any) -> Any:
                file = real(*args)
                if "x" in args[1]:
                    file.close()
                    return real("/dev/full", "wb", buffering=0)
                return file

            patch.setattr("nn.files.io.open", opened, raising=False)
        else:
            patch.setattr(os, what, full)
        with pytest.raises(OSError, match=r"No space left on device: .*/checkpoint.safetensors'"):
            checkpoints.save({"k": 1, "x": np.zeros(100_000)})
    assert checkpoints.load() == {"k": 0}
    assert os.listdir(tmp_path) == [NAMES[0]]


WRITER = """
import sys
import numpy as np
import nn

checkpoints = nn.Checkpoints(sys.argv[1])
state = checkpoints.load()
if checkpoints.refused:
    sys.exit(f"refused: {checkpoints.refused}")
k = state["k"] if state else 0
print("ready", flush=True)
while True:
    k += 1
    checkpoints.save({"k": k, "x": np.full(30_000, k), "y": np.full(30_000, k, np.float32)})
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: pathlib.Path) -> None:
    """It does nothing but write, so nearly every kill falls into a write."""
    rng, last, parts = random.Random(3), 0, 0
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        checkpoints = nn.Checkpoints(tmp_path)
        state = checkpoints.load()
        assert checkpoints.refused is None
        left = [name for name in os.listdir(tmp_path) if name.endswith(".part")]
        parts += len(left)
        assert len(left) <= 1
        if state is not None:
            assert state["k"] >= last
            last = state["k"]
            assert (state["x"] == last).all()
            assert (state["y"] == last).all()
    assert last > 0
    assert parts > 0  # some kills fell into a write
