"""CIFAR-10: right numbers, and errors that name the file."""

import gzip
import hashlib
import io
import shutil
import tarfile

import numpy as np
import pytest
from data_files import flip

import nn
from nn.data import cifar
from nn.data.sources import CIFAR, SOURCES, File

pytestmark = pytest.mark.usefixtures("no_environment")


def records(n, seed=0):
    r = np.random.default_rng(seed).integers(0, 256, (n, 3073), np.uint8)
    r[:, 0] %= 10
    return r


def write_batches(folder, *names, n=3):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        content = records(n, k).tobytes()
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)


@pytest.mark.parametrize("where", [".", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_cifar10_from_single_files(tmp_path, where):
    write_batches(tmp_path / where, "data_batch_1.bin", "data_batch_3.bin.gz", "test_batch.bin.gz")
    data = nn.data.cifar10(tmp_path)
    assert [a.shape for a in data] == [(6, 32, 32, 3), (6,), (3, 32, 32, 3), (3,)]
    assert [a.dtype for a in data] == [np.float32, np.int64, np.float32, np.int64]
    assert data.x_train.flags.c_contiguous
    r = np.concatenate([records(3, 0), records(3, 1)])
    np.testing.assert_array_equal(data.t_train, r[:, 0])
    for c in range(3):  # one plane after the other, each row by row
        plane = r[:, 1 + 1024 * c : 1 + 1024 * (c + 1)].reshape(6, 32, 32)
        np.testing.assert_array_equal(np.rint(255 * data.x_train[..., c]), plane)
    np.testing.assert_array_equal(data.t_test, records(3, 2)[:, 0])


def test_cifar10_is_found_by_the_environment(tmp_path, monkeypatch):
    write_batches(tmp_path / "d" / "cifar10", "data_batch_2.bin", "test_batch.bin")
    monkeypatch.setenv("RMAD_DATA", str(tmp_path / "d"))
    assert len(nn.data.cifar10().x_train) == 3


def archive(path, names, n, kind="gz"):
    with tarfile.open(path, f"w:{kind}") as file:
        for k, name in enumerate(names):
            content = records(n, k).tobytes() if name.endswith(".bin") else b"text"
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


MEMBERS = ("batches.meta.txt", "test_batch.bin", *(f"data_batch_{k}.bin" for k in (5, 1, 2, 3, 4)))


def test_cifar10_from_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "FULL", 2)
    monkeypatch.setattr(cifar, "SHA256", {})
    archive(tmp_path / CIFAR, MEMBERS, 2)
    data = nn.data.cifar10(tmp_path)
    assert [a.shape for a in data] == [(10, 32, 32, 3), (10,), (2, 32, 32, 3), (2,)]
    expected = [records(2, MEMBERS.index(f"data_batch_{k}.bin"))[:, 0] for k in range(1, 6)]
    np.testing.assert_array_equal(data.t_train, np.concatenate(expected))
    # the same out of the cache
    shutil.copytree(tmp_path, tmp_path / "cache" / "cifar10", ignore=shutil.ignore_patterns("cache"))
    sha = hashlib.sha256((tmp_path / CIFAR).read_bytes()).hexdigest()
    monkeypatch.setitem(SOURCES, "cifar10", {CIFAR: File(sha)})
    np.testing.assert_array_equal(nn.data.cifar10().x_train, data.x_train)


def test_damaged_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "FULL", 2)
    monkeypatch.setattr(cifar, "SHA256", {})
    path = tmp_path / CIFAR
    archive(path, MEMBERS[:-1], 2)
    with pytest.raises(ValueError, match=f"{CIFAR}: has no data_batch_4.bin in it"):
        nn.data.cifar10(tmp_path)
    archive(path, MEMBERS, 3)
    with pytest.raises(ValueError, match=rf"{CIFAR}: test_batch.bin in it has 9219 bytes, expected 6146"):
        nn.data.cifar10(tmp_path)
    archive(path, MEMBERS, 2)
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[:-5000], whole[:300], gzip.compress(b"abc"), flip(whole, 9000)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{CIFAR}: (the archive is cut short, damaged or none at all|has no)"):
            nn.data.cifar10(tmp_path)


BATCH = gzip.compress(records(2).tobytes(), mtime=0)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("data_batch_1.bin", b"", "holds 0 bytes, expected a multiple of 3073"),
        ("data_batch_1.bin", records(2).tobytes()[:-1], "holds 6145 bytes, expected a multiple of 3073"),
        (
            "data_batch_1.bin",
            records(2).tobytes()[:3073] + b"\x0b" + bytes(3072),
            "record 1 has the label 11, expected 0",
        ),
        ("test_batch.bin.gz", BATCH[:-9], "the gzip file is cut short"),
        ("test_batch.bin.gz", flip(BATCH, 3000), "the gzip file is damaged"),
        ("test_batch.bin.gz", records(2).tobytes(), "which is no gzip file"),
    ],
)
def test_damaged_batches(tmp_path, file, content, message):
    write_batches(tmp_path, *{"data_batch_1.bin", "test_batch.bin.gz"} - {file})
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file}: .*{message}"):
        nn.data.cifar10(tmp_path)


def test_missing_batches(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"cifar10: no cifar-10-binary.tar.gz, data_batch_1.bin or .* in .*cifar10 or "
    ):
        nn.data.cifar10(tmp_path)
    write_batches(tmp_path, "data_batch_1.bin")
    with pytest.raises(FileNotFoundError, match=r"has data_batch_1.bin but no test batch"):
        nn.data.cifar10(tmp_path)
    with pytest.raises(ConnectionError, match=r"cifar10: could not download cifar-10-binary.tar.gz; pass data_dir"):
        nn.data.cifar10()


def test_the_real_cifar10(data_dir, tmp_path):
    data = nn.data.cifar10(data_dir)
    assert data.x_train.shape[1:] == (32, 32, 3)
    means = data.x_train[:10_000].mean(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, [0.4935, 0.4834, 0.4472], atol=5e-5)
    assert np.bincount(data.t_train[:10_000]).tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    content = gzip.decompress((data_dir / "cifar10" / "data_batch_1.bin.gz").read_bytes())
    (tmp_path / "data_batch_1.bin").write_bytes(flip(content, 5000))  # one pixel that only the checksum tells
    write_batches(tmp_path, "test_batch.bin")
    with pytest.raises(ValueError, match=r"data_batch_1.bin: has the form of CIFAR-10's data_batch_1.bin but not its"):
        nn.data.cifar10(tmp_path)
